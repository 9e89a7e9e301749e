"""What to do, and why: observed state against a wish, in, steps out. Pure decisions, no calls.

An executor carries the steps out in their order, one Engine call each, and logs each with its
cause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from .spec import drift


class Op(str, Enum):
    """What one step does."""

    REMOVE = "remove"
    CREATE = "create"
    START = "start"
    STOP = "stop"
    REUSE = "reuse"


@dataclass(frozen=True)
class Observed:
    """One container that carries our labels for this very server.

    Attributes:
        id: the Engine's id.
        running: True also while paused or restarting: a process may be alive.
        spec: the hash in its label; "" where it has none.
    """

    id: str
    running: bool
    spec: str


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        op: what.
        target: a container's id; "" for the one of the CREATE or REUSE before it.
        cause: why, for the log.
    """

    op: Op
    target: str
    cause: str


def plan_start(wanted: str, observed: Sequence[Observed], *, keep: bool) -> list[Step]:
    """Steps to one running container of the wanted spec.

    Args:
        wanted: spec hash of the server to start.
        observed: every container of this server, in any state.
        keep: a container may serve one start after another (``remove = False``).

    Returns:
        Removals first, then either REUSE or CREATE, then START. At most one container of this
        server is left.
    """
    steps: list[Step] = []
    reused: Observed | None = None
    for container in observed:
        cause = _why_not_reuse(container, wanted, keep=keep)
        if cause is None and reused is None:
            reused = container
        else:
            steps.append(Step(Op.REMOVE, container.id, cause or "a second one of the same server"))
    if reused is None:
        steps.append(Step(Op.CREATE, "", "replaced" if observed else "none exists"))
        steps.append(Step(Op.START, "", "requested"))
    else:
        steps.append(Step(Op.REUSE, reused.id, "kept from the last run and still as wanted"))
        steps.append(Step(Op.START, "", "requested"))
    return steps


def _why_not_reuse(container: Observed, wanted: str, *, keep: bool) -> str | None:
    if container.running:
        return "left running by a start that the Hub does not know of"
    if not keep:
        return "left over from an earlier run, and not made to be used again"
    if container.spec != wanted:
        return f"not as wanted any more: {', '.join(drift(container.spec, wanted))}"
    return None


def plan_stop(observed: Sequence[Observed], *, keep: bool) -> list[Step]:
    """Steps to no running container, and to none at all unless they are kept."""
    steps: list[Step] = []
    for container in observed:
        if container.running:
            steps.append(Step(Op.STOP, container.id, "requested"))
        if not keep:
            steps.append(Step(Op.REMOVE, container.id, "containers are not kept"))
    return steps


def plan_delete(observed: Sequence[Observed]) -> list[Step]:
    """Steps to no container of this server, whatever state it is in."""
    return [Step(Op.REMOVE, container.id, "the server is deleted") for container in observed]
