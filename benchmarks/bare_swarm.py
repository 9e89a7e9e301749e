"""The bare API of a Swarm's managers: the calls that a start cannot do without, and nothing else.

The tasks of all services that are starting are looked at in one request, so that many at once
cost the manager no more than they must.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from .bare import PORT, BareEngine, RefusedError

LOOK_S = 0.05  # between two looks at tasks that do not run yet
#: Of services made here: their names, by which their tasks are found when they are removed.
LABEL = "benchmark.service"
ENDED = ("failed", "rejected", "shutdown", "orphaned", "complete")


class BareSwarm(BareEngine):
    """A Swarm by one of its managers. Make it in a running event loop.

    Args:
        url: of the manager's Engine.
        network: the overlay network of all services.
    """

    def __init__(self, url: str, network: str) -> None:
        super().__init__(url)
        self._network = network
        self._starting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._addresses: dict[str, str] = {}
        self._names: dict[str, str] = {}

    async def create(self, name: str, image: str, env: Mapping[str, str]) -> str:
        """Create a service of one task, with an init and its port published at its node; its id."""
        port = {"Protocol": "tcp", "TargetPort": PORT, "PublishMode": "host"}
        spec = {
            "Name": name,
            "Labels": {LABEL: name},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": image,
                    "Env": [f"{key}={value}" for key, value in env.items()],
                    "Init": True,
                },
                "RestartPolicy": {"Condition": "none"},
                "Networks": [{"Target": self._network}],
            },
            "Mode": {"Replicated": {"Replicas": 1}},
            "EndpointSpec": {"Mode": "dnsrr", "Ports": [port]},
        }
        id = str((await self.call("POST", "/services/create", spec))["ID"])
        self._names[id] = name
        return id

    async def start(
        self, name: str, image: str, env: Mapping[str, str], path: str = "/"
    ) -> tuple[str, int]:
        """Create, wait until its task runs, wait for the first answer: its id and its port."""
        service = await self.create(name, image, env)
        task = await self.running(service)
        port = int(task["Status"]["PortStatus"]["Ports"][0]["PublishedPort"])
        await self.first_answer(f"http://{await self.address(task['NodeID'])}:{port}{path}")
        return service, port

    async def running(self, service: str) -> dict[str, Any]:
        """The task of a service, once it runs.

        Raises:
            RefusedError: it ended instead.
        """
        waiting: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._starting[service] = waiting
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        return await waiting

    async def tasks(self, *services: str) -> list[dict[str, Any]]:
        """All tasks of some services."""
        return await self._tasks(service=services)

    async def address(self, node: str) -> str:
        """Of a node, by its id."""
        if node not in self._addresses:
            for one in await self.call("GET", "/nodes"):
                self._addresses[one["ID"]] = one["Status"]["Addr"]
        return self._addresses[node]

    async def stop(self, container: str, grace: int = 10) -> None:
        """Remove a service and wait for the end of its task, which takes seconds.

        Who is measured next would do that work otherwise.
        """
        await self.remove(container)
        labels = [f"{LABEL}={self._names.pop(container)}"]
        while True:
            tasks = await self._tasks(label=labels)
            if all(task["Status"]["State"] in ENDED for task in tasks):
                return
            await asyncio.sleep(LOOK_S)

    async def remove(self, container: str) -> None:
        """Remove a service, by its id or name."""
        await self.call("DELETE", f"/services/{container}")

    async def _tasks(self, **filters: Sequence[str]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = await self.call("GET", "/tasks", filters=json.dumps(filters))
        return found

    async def _look(self) -> None:
        while self._starting:
            try:
                tasks = await self.tasks(*self._starting)
            except Exception as error:
                for waiting in self._starting.values():
                    waiting.set_exception(error)
                self._starting.clear()
                raise
            for task in tasks:
                self._take(task)
            await asyncio.sleep(LOOK_S)

    def _take(self, task: dict[str, Any]) -> None:
        status, service = task["Status"], task["ServiceID"]
        if service not in self._starting:
            return
        if status["State"] in ENDED:
            error = RefusedError(f"the task of {service} ended: {status}")
            self._starting.pop(service).set_exception(error)
        elif status["State"] == "running" and status.get("PortStatus", {}).get("Ports"):
            self._starting.pop(service).set_result(task)
