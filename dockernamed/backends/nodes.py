"""A Swarm's nodes: whether they take tasks, and how long is waited for what tasks do there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from typing import NamedTuple, Protocol

from ..engine.swarm import Swarm
from ..errors import NotFound
from ..timings import Timings
from .task_state import NodeSeen, TaskSeen, is_lost, node_from, task_from


class Away(NamedTuple):
    """Why a node takes no tasks, in words that follow its name; and what to do about it."""

    state: str
    way_out: str


def away(node: NodeSeen | None) -> Away | None:
    """Why a node takes no tasks; None if it does.

    Args:
        node: None where it is not in the Swarm any more.
    """
    if node is None:
        return Away("has left the Swarm", "the files have to be copied from that machine by hand")
    if node.down:
        return Away("is down", "start that machine and its Docker Engine (docker node ls)")
    if not node.takes_tasks:
        command = f"docker node update --availability active {node.name}"
        return Away(f"is set to {node.availability}", f"have it take servers again: {command}")
    return None


class Watch(Protocol):
    """Who is told of what happens in a Swarm, and need not ask."""

    def node(self, id: str) -> NodeSeen | None:
        """How a node is, by its id; None where that is not known for sure."""

    async def runs_on(self, id: str) -> str:
        """The id of the node of a service's task, once it runs; "" where that is not known."""

    def note_start(self, id: str, number: int) -> None:
        """A service is asked to run, or runs: tasks of this start count, and of later ones."""


class Nobody:
    """A `Watch` that is told of nothing."""

    def node(self, id: str) -> NodeSeen | None:
        """See `Watch.node`."""
        return None

    async def runs_on(self, id: str) -> str:
        """See `Watch.runs_on`."""
        return ""

    def note_start(self, id: str, number: int) -> None:
        """See `Watch.note_start`."""


class Nodes:
    """A Swarm's nodes, of which those are asked for that nobody keeps an eye on.

    Args:
        swarm: whose they are.
        watch: who may know how they are.
    """

    def __init__(self, swarm: Swarm, watch: Watch) -> None:
        self._swarm, self._watch = swarm, watch

    async def get(self, id: str) -> NodeSeen | None:
        """A node; None where it is not in the Swarm any more."""
        return self._watch.node(id) or await self.ask(id)

    async def ask(self, id: str) -> NodeSeen | None:
        """A node as the manager tells of it now; None where it is not in the Swarm any more."""
        try:
            return node_from(await self._swarm.inspect_node(id))
        except NotFound:
            return None

    async def of(self, tasks: Iterable[TaskSeen]) -> dict[str, NodeSeen]:
        """The nodes that tasks are on, by id, but for those that have left the Swarm."""
        ids = {one.node for one in tasks} - {""}
        found = [await self.get(id) for id in ids]
        return {one.id: one for one in found if one is not None}


async def until_over(
    swarm: Swarm, nodes: Nodes, labels: Sequence[str], timings: Timings, *, service: str = ""
) -> None:
    """Wait until no task runs any more of those that have labels, as far as nodes can be asked.

    Nor does one run later: a moment after they were told that a service is to have none, managers
    may still want a task that they have given to no node yet, or give one to a node that they are
    about to remove.

    Args:
        swarm: whose tasks.
        nodes: of that.
        labels: of their services, as filters have them.
        timings: how often is looked.
        service: the id of the service that is meant, which may be gone; "" for all.
    """
    async for _ in looks(timings):
        tasks = await swarm.list_tasks(labels=labels, convert=task_from)
        left = [one for one in tasks if not one.over and service in ("", one.service)]
        there = await nodes.of(left)
        if not any(_may_run(one, there.get(one.node)) for one in left):
            return


def _may_run(task: TaskSeen, node: NodeSeen | None) -> bool:
    if not task.node:
        return task.wanted or task.removed
    return not is_lost(node)


async def looks(timings: Timings) -> AsyncIterator[None]:
    """Times to look at something that changes soon or later: more and more seldom, without end."""
    pause = timings.look_at_task
    while True:
        yield
        await asyncio.sleep(pause)
        pause = min(1.5 * pause, timings.look_at_task_at_most)
