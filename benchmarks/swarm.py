"""The same on a Swarm of three nodes on this machine, brought up for as long as it is measured."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

from support.hub.dockerview import BUSYBOX
from support.swarm import Swarm

from .bare import RefusedError
from .bare_swarm import ENDED, BareSwarm
from .counting import counted_hubs
from .hubs import BEFORE, Hub
from .samples import Samples
from .setting import Setting

OURS = ("ours",)
CONTENDERS = (*OURS, BEFORE)
#: The overlay network that all servers are in, also those of the bare API.
NETWORK = "servers"
LOOK_S = 0.02  # between two looks at what has become of a server


class SwarmSetting(Setting):
    """A Swarm, and Hubs that run their servers on it from outside.

    Args:
        beside: as of `Setting`.

    Attributes:
        swarm: of three nodes, of which the first is the manager.
        engine: the bare API of the manager.
    """

    swarm: Swarm
    engine: BareSwarm

    def __init__(self, beside: Path | None = None) -> None:
        super().__init__(CONTENDERS, beside, spawner_class="dockernamed-swarm")

    async def open(self, stack: AsyncExitStack) -> None:
        """Bring up the Swarm, and take it down when the stack ends."""
        self.swarm = Swarm(images=[BUSYBOX])
        # Whatever of it was brought up is taken down, in a thread as well: both take seconds.
        stack.push_async_callback(asyncio.to_thread, self.swarm.end)
        await asyncio.to_thread(self.swarm.start)
        self.gateway = self.swarm.hub_address
        self.engine = BareSwarm(self.swarm.manager.url, NETWORK)
        stack.push_async_callback(self.engine.close)
        network = {"Name": NETWORK, "Driver": "overlay", "Attachable": True}
        await self.engine.call("POST", "/networks/create", network)

    @asynccontextmanager
    async def hubs(
        self,
        image: str,
        contenders: Sequence[str] = CONTENDERS,
        *,
        further: str = "",
        docker_host: Mapping[str, str] | None = None,
    ) -> AsyncIterator[list[Hub]]:
        """As of an Engine, but for the Engine: it is the manager, where none is named."""
        hosts = docker_host or dict.fromkeys(contenders, self.engine.url)
        further = f"c.DockerNamedSpawner.network_name = {NETWORK!r}\n{further}"
        async with super().hubs(image, contenders, further=further, docker_host=hosts) as hubs:
            yield hubs

    async def tidy(self) -> None:
        """Remove all services that begin with our name, and wait until their tasks are gone."""
        for service in await self.engine.call("GET", "/services"):
            if service["Spec"]["Name"].startswith(self.name):
                with suppress(RefusedError):
                    await self.engine.remove(service["ID"])
        await asyncio.to_thread(self.swarm.remove_all, self.name)

    async def quiet(self) -> None:
        """Wait until no node has containers that have ended.

        To remove them takes a node much work, a while after it told that their tasks have ended;
        who is measured next would be slowed down by it.
        """
        while await asyncio.to_thread(self._has_ended_containers):  # noqa: ASYNC110  (asks)
            await asyncio.sleep(LOOK_S)

    def _has_ended_containers(self) -> bool:
        found = [one for node in self.swarm.nodes for one in node.containers()]
        return any(one["State"] != "running" for one in found)

    async def service(self, hub: Hub, server: str) -> str:
        """The id of a server's service."""
        (found,) = [
            one["ID"]
            for one in await self.engine.call("GET", "/services")
            if one["Spec"]["Name"].startswith(hub.prefix) and one["Spec"]["Name"].endswith(server)
        ]
        return str(found)


async def requests_of(setting: SwarmSetting, counts: Sequence[int], seconds: float) -> list[float]:
    """Requests to the manager per second while so many servers run, for each number of them."""
    found = []
    async with counted_hubs(setting, OURS) as counted:
        ((hub, proxy),) = counted
        running = 0
        for count in counts:
            names = [f"count{number}" for number in range(running, count)]
            await asyncio.gather(*(hub.spawn(name) for name in names))
            running = count
            # What a start is followed by, such as a look at its home, is not asked here.
            await asyncio.sleep(seconds)
            before = len(proxy.requests)
            await asyncio.sleep(seconds)
            found.append((len(proxy.requests) - before) / seconds)
    return found


async def noticed(setting: SwarmSetting, rounds: int) -> tuple[Samples, Samples]:
    """Seconds from a container's end until the Swarm's API tells, and from then to the Hub's.

    The first by looking at the task as often as at the Hub.
    """
    told: Samples = {}
    after: Samples = {}
    async with setting.hubs(BUSYBOX, OURS) as (hub,):
        for number in range(rounds):
            server = f"death{number}"
            await hub.spawn(server)
            service = await setting.service(hub, server)
            (task,) = await setting.engine.tasks(service)
            node = setting.swarm.node_of(task)
            container = task["Status"]["ContainerStatus"]["ContainerID"]
            api = asyncio.create_task(_ended(setting, service))
            begin = time.monotonic()
            await asyncio.to_thread(node.client.kill, container)
            gone = asyncio.create_task(_gone(hub, server))
            news = await api
            told.setdefault("bare", []).append(news - begin)
            after.setdefault("ours", []).append(await gone - news)
    return told, after


async def _ended(setting: SwarmSetting, service: str) -> float:
    """When the API tells that a service's only task has ended, or is gone."""
    while True:
        try:
            (task,) = await setting.engine.tasks(service)
        except (RefusedError, ValueError):
            return time.monotonic()
        if task["Status"]["State"] in ENDED:
            return time.monotonic()
        await asyncio.sleep(LOOK_S)


async def _gone(hub: Hub, server: str) -> float:
    """When a server is gone from the Hub's API."""
    while server in await hub.servers():  # noqa: ASYNC110  (asks over HTTP)
        await asyncio.sleep(LOOK_S)
    return time.monotonic()
