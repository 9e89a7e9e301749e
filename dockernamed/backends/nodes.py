"""What nodes and tasks of a Swarm say of themselves, and looks at them until something changes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, NamedTuple

from ..timings import Timings

#: States of a task that has ended, or will never begin.
_OVER = frozenset({"complete", "shutdown", "failed", "rejected", "orphaned", "remove"})


class Away(NamedTuple):
    """Why a node takes no tasks, in words that follow its name; and what to do about it."""

    state: str
    way_out: str


def away(node: Mapping[str, Any] | None) -> Away | None:
    """Why a node takes no tasks; None if it does.

    Args:
        node: ``GET /nodes/{id}``; None where there is none.
    """
    if node is None:
        return Away("has left the Swarm", "the files have to be copied from that machine by hand")
    state = str((node.get("Status") or {}).get("State"))
    if state != "ready":
        return Away(f"is {state}", "start that machine and its Docker Engine (docker node ls)")
    availability = str((node.get("Spec") or {}).get("Availability"))
    if availability in ("drain", "pause"):
        command = f"docker node update --availability active {hostname_of(node)}"
        return Away(f"is set to {availability}", f"have it take servers again: {command}")
    return None


def hostname_of(node: Mapping[str, Any]) -> str:
    """What people call a node."""
    return str((node.get("Description") or {}).get("Hostname") or node["ID"])


def status_of(task: Mapping[str, Any]) -> Mapping[str, Any]:
    """A task's ``Status``."""
    found: Mapping[str, Any] = task.get("Status") or {}
    return found


def is_over(task: Mapping[str, Any]) -> bool:
    """Whether nothing of a task runs any more, as far as its node has told."""
    return status_of(task).get("State") in _OVER


async def looks(timings: Timings) -> AsyncIterator[None]:
    """Times to look at something that changes soon or later: more and more seldom, without end."""
    pause = timings.look_at_task
    while True:
        yield
        await asyncio.sleep(pause)
        pause = min(1.5 * pause, timings.look_at_task_at_most)
