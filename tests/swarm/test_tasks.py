"""The table of a Hub's services is true, whatever becomes of tasks, nodes and managers."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from support.hub.dockerview import BUSYBOX
from support.swarm import Node, Swarm

from dockernamed.backends.observed import NOWHERE, ObservedContainer, State
from dockernamed.backends.tasks import TaskWatcher
from dockernamed.engine.client import Connection, Engine
from dockernamed.engine.swarm import Swarm as Managers
from dockernamed.errors import Conflict, shown
from dockernamed.naming import LABEL_HUB, LABEL_SERVER, LABEL_USER
from dockernamed.timings import Timings

NAMES = itertools.count(1)
#: A node that is lost is down after 10 to 16 seconds, as with Docker's own heartbeat.
HEARTBEAT = 5


class Watched:
    """A Swarm, the table of a Hub's services there, and what is to be done to these."""

    def __init__(self, swarm: Swarm, node: Node, prefix: str) -> None:
        self.prefix, hub = prefix, f"hub-{prefix}"
        self.engine = Engine(Connection(options=(("base_url", node.url),)))
        self.managers = Managers(self.engine)
        self.swarm = swarm
        self.labels = {LABEL_HUB: hub, LABEL_USER: "ann", LABEL_SERVER: ""}
        self.table = TaskWatcher(self.managers, node.url, hub, Timings(reconnect_at_most=0.5))

    async def start(self, node: str, *, restart: str = "none", command: str = "httpd -f") -> str:
        """A service of one task on a node whose name fits, as a Hub makes one; its id."""
        name = f"{self.prefix}{next(NAMES)}"
        spec = {
            "Name": name,
            "Labels": self.labels,
            "TaskTemplate": {
                # It ignores SIGTERM.
                "ContainerSpec": {
                    "Image": BUSYBOX,
                    "Command": ["sh", "-c", command],
                    "StopSignal": "SIGKILL",
                },
                "RestartPolicy": {"Condition": restart, "Delay": 10**8},
                "Placement": {"Constraints": [f"node.hostname{node}"]},
            },
            "Mode": {"Replicated": {"Replicas": 0}},
            "EndpointSpec": {
                "Mode": "dnsrr",
                "Ports": [{"Protocol": "tcp", "TargetPort": 8888, "PublishMode": "host"}],
            },
        }
        id = await self.managers.create_service(spec)
        self.table.note_created(id, name, self.labels, BUSYBOX)
        self.table.note_starting(id)
        await self.scale(id, 1)
        self.table.note_started(id)
        return id

    async def scale(self, id: str, replicas: int) -> None:
        """Have so many tasks of a service."""
        while True:
            info = await self.managers.inspect_service(id)
            info["Spec"]["Mode"]["Replicated"]["Replicas"] = replicas
            try:
                await self.managers.update_service(id, info["Version"]["Index"], info["Spec"])
            except Conflict:
                continue
            return

    async def until(self, id: str, condition: Callable[[ObservedContainer], bool]) -> None:
        """Wait for what the table has to say of a service."""
        await asyncio.wait_for(self.table.until(id, condition), 60)

    async def running(self, id: str) -> ObservedContainer:
        """Its record once it runs."""
        await self.until(id, lambda now: now.running or now.ended)
        return self.now(id)

    def now(self, id: str) -> ObservedContainer:
        """Its record."""
        record = self.table.get(id)
        assert record is not None
        return record


@asynccontextmanager
async def watching(swarm: Swarm, node: Node, prefix: str) -> AsyncIterator[Watched]:
    """The table, once it is filled."""
    watched = Watched(swarm, node, prefix)
    watched.table.start()
    try:
        await asyncio.wait_for(watched.table.in_sync(), 30)
        yield watched
    finally:
        await watched.table.close()
        await watched.engine.close()
        await asyncio.to_thread(swarm.restore)
        await asyncio.to_thread(swarm.remove_all, prefix)


async def test_ends(swarm: Swarm, prefix: str) -> None:
    """A crash, an end by itself, a stop from outside and a removal are told, each as what it is."""
    async with watching(swarm, swarm.manager, prefix) as watched:
        table = watched.table
        crash = await watched.start("!=n1", command="sleep 1; exit 3")
        end = await watched.start("==n1", command="sleep 1")
        stopped, removed = await watched.start("==n2"), await watched.start("==n3")
        for id in (crash, end, stopped, removed):
            assert (await watched.running(id)).state is State.RUNNING
        record = await asyncio.wait_for(table.wait_dead(crash), 30)
        assert (record.state, record.exit_code, record.stop_requested) == (State.EXITED, 3, False)
        record = await asyncio.wait_for(table.wait_dead(end), 30)
        assert (record.state, record.exit_code, record.words) == (State.EXITED, 0, "")
        await watched.scale(stopped, 0)
        record = await asyncio.wait_for(table.wait_dead(stopped), 30)
        assert (record.state, record.stop_requested, record.stopped) == (State.EXITED, True, True)
        await watched.managers.remove_service(removed)
        assert (await asyncio.wait_for(table.wait_dead(removed), 30)).state is State.GONE
        assert table.get(removed) is None


async def test_words(swarm: Swarm, prefix: str) -> None:
    """Who waits for a node has the scheduler's words; whose program is missing has the node's."""
    async with watching(swarm, swarm.manager, prefix) as watched:
        waiting = await watched.start("==nowhere")
        await watched.until(waiting, lambda now: "no suitable node" in now.words)
        assert watched.now(waiting).state is State.CREATED
        await watched.managers.remove_service(waiting)
        missing = await watched.start("==n2", command="exec /no/such")
        record = await asyncio.wait_for(watched.table.wait_dead(missing), 30)
        assert (record.exit_code, record.state) == (127, State.EXITED)


async def test_a_lost_node(swarm: Swarm, prefix: str) -> None:
    """Its servers end as soon as the Swarm calls it lost, or move, and twins there mean nothing.

    When the node is back, they are gone from it, and nothing has come to life again.
    """
    lost, other = swarm["n3"], swarm["n2"]
    async with watching(swarm, swarm.manager, prefix) as watched:
        await asyncio.to_thread(swarm.drain, other)
        ends, moves = await watched.start("==n3"), await watched.start("!=n1", restart="on-failure")
        await watched.running(ends)
        first = (await watched.running(moves)).endpoint_fingerprint
        await asyncio.to_thread(swarm.activate, other)
        places: list[int | None] = []
        watched.table.on_move(moves, lambda record: places.append(record.endpoint_fingerprint))
        lost.partition()
        await asyncio.to_thread(swarm.wait_state, lost, "down")
        record = await asyncio.wait_for(watched.table.wait_dead(ends), 30)
        assert (record.state, record.exit_code) == (State.EXITED, None)
        assert shown(record.words) == "the node that it ran on is down"
        await watched.until(moves, lambda now: now.endpoint_fingerprint not in (first, NOWHERE))
        now = watched.now(moves)
        twins = partial(lost.containers, prefix, running=True)
        assert {one["Names"][0].split(".")[0] for one in twins()} == {
            f"/{record.name}",
            f"/{now.name}",
        }
        assert places == [NOWHERE, now.endpoint_fingerprint]
        task = await asyncio.to_thread(swarm.running, moves)
        assert swarm.node_of(task) is other
        lost.heal()
        await asyncio.to_thread(swarm.wait_state, lost, "ready")
        await eventually_none(twins)
        assert watched.now(moves) == now
        assert watched.now(ends) == record
        assert watched.table.disconnects == 0


async def eventually_none(look: Callable[[], list[Any]]) -> None:
    """Wait until there is none of it left."""

    async def wait() -> None:
        while await asyncio.to_thread(look):  # noqa: ASYNC110  it has no event
            await asyncio.sleep(0.1)

    await asyncio.wait_for(wait(), 60)


async def test_a_drained_node(swarm: Swarm, prefix: str) -> None:
    """Its servers are stopped, and it is said why."""
    async with watching(swarm, swarm.manager, prefix) as watched:
        id = await watched.start("==n2")
        await watched.running(id)
        await asyncio.to_thread(swarm.drain, swarm["n2"])
        record = await asyncio.wait_for(watched.table.wait_dead(id), 30)
        assert record.stop_requested
        assert "drained" in record.words


async def test_managers_without_a_leader(managers: Swarm, prefix: str) -> None:
    """Nothing is called ended while no manager can tell; what ended meanwhile is told after."""
    first, *others = managers.managers
    async with watching(managers, first, prefix) as watched:
        runs = await watched.start(f"=={first.name}")
        ends = await watched.start(f"=={first.name}")
        await watched.running(runs)
        task = await asyncio.to_thread(managers.running, ends)
        deaths: list[ObservedContainer] = []
        for id in (runs, ends):
            watched.table.on_death(id, deaths.append)
        for node in others:
            await asyncio.to_thread(node.kill)
        await eventually_none(lambda: [True] if watched.table.connected else [])
        container = task["Status"]["ContainerStatus"]["ContainerID"]
        await asyncio.to_thread(first.client.kill, container)
        await asyncio.to_thread(managers.has_no_leader, first)
        assert watched.now(runs).running
        assert watched.now(ends).running
        assert deaths == []
        for node in others:
            await asyncio.to_thread(node.start)
        await asyncio.to_thread(managers.has_leader, first)
        await asyncio.wait_for(watched.table.in_sync(), 60)
        record = await asyncio.wait_for(watched.table.wait_dead(ends), 30)
        assert record.exit_code == 137
        assert watched.now(runs).running


async def test_a_manager_that_restarts(swarm: Swarm, prefix: str) -> None:
    """Nodes are unknown to it at first, and their servers run all the same."""
    async with watching(swarm, swarm.manager, prefix) as watched:
        id = await watched.start("==n2")
        before = await watched.running(id)
        deaths: list[ObservedContainer] = []
        watched.table.on_death(id, deaths.append)
        await asyncio.to_thread(swarm["n1"].kill)
        await eventually_none(lambda: [True] if watched.table.connected else [])
        await asyncio.to_thread(swarm["n1"].start)
        await asyncio.wait_for(watched.table.in_sync(), 60)
        await asyncio.to_thread(swarm.ready)
        assert watched.now(id) == before
        assert deaths == []
