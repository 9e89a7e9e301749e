"""When nothing runs any more of a service that was stopped, as its tasks and nodes tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from dockernamed.backends.nodes import Nobody, Nodes, until_over
from dockernamed.errors import NotFound
from dockernamed.timings import DEFAULT

NODES = {"up": "ready", "down": "down"}


class Swarm:
    """Tells of one task at the first look, and of none at the next one."""

    def __init__(self, **task: Any) -> None:
        self.looks = 0
        self._task = {"ID": "t", "ServiceID": "s", "NodeID": "", **task}

    async def list_tasks(
        self, *, labels: Any, convert: Callable[[Mapping[str, Any]], Any]
    ) -> list[Any]:
        """As of `engine.swarm.Swarm`."""
        self.looks += 1
        return [convert(self._task)] if self.looks == 1 else []

    async def inspect_node(self, id: str) -> dict[str, Any]:
        """Likewise."""
        if id not in NODES:
            raise NotFound("inspect node", f"node {id} not found")
        return {"ID": id, "Status": {"State": NODES[id]}}


@pytest.mark.parametrize(
    ("node", "state", "desired", "over"),
    [
        ("", "pending", "running", False),
        ("", "new", "ready", False),
        ("", "pending", "remove", False),
        ("", "pending", "shutdown", True),
        ("up", "running", "running", False),
        ("up", "running", "remove", False),
        ("up", "shutdown", "shutdown", True),
        ("down", "running", "shutdown", True),
        ("gone", "running", "shutdown", True),
    ],
)
async def test_until_over(node: str, state: str, desired: str, over: bool) -> None:
    """What runs on a node that can be asked is waited for, and what may still be given to one.

    Also one that is to be removed, until that is done: managers may give it to a node meanwhile.
    """
    swarm: Any = Swarm(NodeID=node, Status={"State": state}, DesiredState=desired)
    nodes = Nodes(swarm, Nobody())
    over_by_then = until_over(swarm, nodes, ["x"], DEFAULT, service="s")
    await asyncio.wait_for(over_by_then, 30)
    assert swarm.looks == (1 if over else 2)


async def test_another_service() -> None:
    """It is not waited for, though its tasks have the same labels."""
    swarm: Any = Swarm(Status={"State": "running"}, DesiredState="running", NodeID="up")
    await until_over(swarm, Nodes(swarm, Nobody()), ["x"], DEFAULT, service="another")
    assert swarm.looks == 1
