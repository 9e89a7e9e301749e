"""A table of services over a fake Swarm, and what is done to services there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from dockernamed.backends.observed import ObservedContainer
from dockernamed.backends.observed_tasks import start_of
from dockernamed.backends.tasks import TaskWatcher
from dockernamed.engine.swarm import Swarm
from dockernamed.errors import Conflict
from dockernamed.timings import Timings
from support.engine.watching import HUB, IMAGE, LABELS, eventually
from support.engine.worlds import connect
from support.fake_engine import FakeEngine

#: Rounds follow each other quickly, a lost stream is taken up at once, and no server is given up
#: while a test makes room for it.
QUICK = Timings(
    ended_tasks=0.02, changing_tasks=0.005, resync=600, reconnect=0.001, reconnect_at_most=0.01,
    no_node=600,
)  # fmt: skip


class Hub:
    """A table over a fake Swarm, and what is done to services there.

    Args:
        fake: where the Swarm is.
        timings: of the table.
        timeout: seconds after which a call without an answer is given up.
    """

    def __init__(self, fake: FakeEngine, timings: Timings = QUICK, timeout: float = 30.0) -> None:
        self.fake = fake
        self.engine = connect(fake.url, timeout=timeout)
        self.managers = Swarm(self.engine)
        self.table = TaskWatcher(self.managers, fake.url, HUB, timings)

    async def create(self, name: str = "s1", replicas: int = 0, **more: Any) -> str:
        """A service with our labels, of which the table is told nothing.

        Args:
            name: of the service.
            replicas: how many tasks it is to have.
            more: ``labels``, ``image``, ``restart`` and ``constraints``, in place of the usual.
        """
        restart = {"Condition": more.get("restart", "none"), "Delay": 10**9}
        return await self.managers.create_service(
            {
                "Name": name,
                "Labels": {**LABELS, **more.get("labels", {})},
                "TaskTemplate": {
                    "ContainerSpec": {"Image": more.get("image", IMAGE)},
                    "RestartPolicy": restart,
                    "Placement": {"Constraints": more.get("constraints", [])},
                },
                "Mode": {"Replicated": {"Replicas": replicas}},
                "EndpointSpec": {
                    "Mode": "dnsrr",
                    "Ports": [{"Protocol": "tcp", "TargetPort": 8888, "PublishMode": "host"}],
                },
            }
        )

    async def scale(self, id: str, replicas: int, *, start: bool = False, **env: str) -> None:
        """Have so many tasks of a service, with this environment.

        Args:
            id: of the service.
            replicas: how many tasks.
            start: it is another start, which has a number of its own; the table is not told.
            env: all of the environment.
        """
        while True:
            info = await self.managers.inspect_service(id)
            spec = info["Spec"]
            spec["Mode"]["Replicated"]["Replicas"] = replicas
            spec["TaskTemplate"]["ForceUpdate"] = spec["TaskTemplate"].get("ForceUpdate", 0) + start
            spec["TaskTemplate"]["ContainerSpec"]["Env"] = [f"{k}={v}" for k, v in env.items()]
            try:
                await self.managers.update_service(id, info["Version"]["Index"], spec)
            except Conflict:  # the Swarm itself has changed it
                continue
            return

    async def begin(self, id: str, run: int = 1) -> None:
        """Start a service as the executor does."""
        self.table.note_starting(id)
        before = start_of((await self.managers.inspect_service(id))["Spec"])
        self.table.note_start(id, before + 1)
        await self.scale(id, 1, start=True, RUN=str(run))
        self.table.note_started(id)

    async def start(self, name: str = "s1", **more: Any) -> str:
        """Make one and start it."""
        id = await self.create(name, **more)
        self.table.note_created(id, name, {**LABELS, **more.get("labels", {})}, IMAGE)
        await self.begin(id)
        return id

    async def run(self, name: str = "s1", **more: Any) -> str:
        """The same, and it runs."""
        id = await self.start(name, **more)
        await self.running(id)
        return id

    async def running(self, id: str) -> None:
        """Wait until the table says that it runs."""
        await eventually(lambda: (one := self.table.get(id)) and one.running)

    async def dead(self, id: str) -> ObservedContainer:
        """How it ended, soon."""
        return await asyncio.wait_for(self.table.wait_dead(id), 30)

    def now(self, id: str) -> ObservedContainer:
        """Its record."""
        record = self.table.get(id)
        assert record is not None
        return record

    async def rounds(self, count: int = 2) -> None:
        """Wait for so many whole rounds from now on."""
        asked = len(self.fake.requests)

        def done() -> bool:
            return self.fake.requests[asked:].count(("GET", "/tasks")) > count

        await eventually(done)


@asynccontextmanager
async def watching(fake: FakeEngine, **timings: Any) -> AsyncIterator[Hub]:
    """A Hub whose table is filled."""
    async with starting(fake, **timings) as hub:
        await asyncio.wait_for(hub.table.in_sync(), 30)
        yield hub


@asynccontextmanager
async def starting(fake: FakeEngine, **timings: Any) -> AsyncIterator[Hub]:
    """A Hub that begins to fill its table."""
    hub = Hub(fake, replace(QUICK, **timings))
    hub.table.start()
    try:
        yield hub
    finally:
        fake.well_again()
        await hub.table.close()
        await hub.engine.close()
