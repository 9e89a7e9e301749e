"""What is known of one service, read from the tasks that the Swarm has of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..naming import key_of
from . import observed
from .observed import NOWHERE, ObservedContainer, State
from .task_state import NodeSeen, TaskSeen, drained_words, has_ended, is_lost, lost_words

#: Of a server whose node is in the Swarm no more.
LEFT = "the node that it ran on has left the Swarm"


def node_after(before: NodeSeen, attributes: Mapping[str, str]) -> NodeSeen:
    """What an event says of a node that changed."""
    state = attributes.get("state.new")
    return replace(
        before,
        down=before.down if state is None else state == "down",
        availability=attributes.get("availability.new", before.availability),
        words=before.words if state is None else "",
    )


@dataclass(frozen=True, slots=True)
class ServiceSeen:
    """A service as a list or an inspect told.

    Attributes:
        record: what it is, but not how it is: that its tasks tell.
        replicas: how many tasks it is to have.
        start: the number of its last start.
        changed: somebody has updated it since it was made; the Swarm itself does so as well.
    """

    record: ObservedContainer
    replicas: int
    start: int
    changed: bool


def start_of(spec: Mapping[str, Any]) -> int:
    """The number of a service's last start, by its ``Spec``; 0: it was never started."""
    return int((spec.get("TaskTemplate") or {}).get("ForceUpdate") or 0)


def service_from(item: Mapping[str, Any]) -> ServiceSeen | None:
    """What an item of ``GET /services`` says; None where it is no server."""
    spec = item.get("Spec") or {}
    labels, id = spec.get("Labels") or {}, item.get("ID")
    if not isinstance(id, str) or key_of(labels) is None:
        return None
    container = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    image = str(container.get("Image") or "").partition("@")[0]
    name, replicated = str(spec.get("Name") or ""), (spec.get("Mode") or {}).get("Replicated")
    replicas = 1 if replicated is None else int(replicated.get("Replicas") or 0)
    record = observed.make(id, name, labels, image, State.CREATED)
    return ServiceSeen(record, replicas, start_of(spec), bool(item.get("PreviousSpec")))


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """What the tasks of a service say of it.

    Attributes:
        state: None where nothing has changed by what they say.
        settled: nothing will change without an event, or without the end of `task`.
        task: the one that is meant.
        stopping: it was asked to end.
        exit_code: of `task`, or of the last one that failed where `task` is to follow it; None
            where the Swarm does not tell.
        words: see `ObservedContainer`; ``fingerprint`` and ``restarts`` likewise.
    """

    state: State | None
    settled: bool
    task: TaskSeen
    stopping: bool = False
    exit_code: int | None = None
    words: str = ""
    fingerprint: int | None = None
    restarts: int = 0


def status_of(tasks: Sequence[TaskSeen], nodes: Mapping[str, NodeSeen]) -> ServiceStatus | None:
    """How a service is; None where it has no task.

    Args:
        tasks: all that the Swarm has of the service; those of its last start count.
        nodes: all nodes of the Swarm, by id.
    """
    if not tasks:
        return None
    start = max(one.start for one in tasks)
    found = sorted((one for one in tasks if one.start == start), key=lambda one: one.created)
    alive = [one for one in found if one.wanted and not one.over]
    if alive:
        return _alive(alive, [one for one in found if one not in alive], nodes)
    last = found[-1]
    if last.over and last.wanted and last.has_successor:
        count = len(_failed(found))
        return ServiceStatus(
            None, False, last, exit_code=last.exit_code, words=last.words, restarts=count
        )
    # An earlier one may still be stopped on its node.
    ending = [one for one in found if not has_ended(one, is_lost(nodes.get(one.node)))]
    if ending:
        return ServiceStatus(None, False, ending[-1], stopping=True)
    words, asked = _words_of_end(last, nodes.get(last.node)), last.state == "shutdown"
    return ServiceStatus(
        State.EXITED, True, last, stopping=asked, exit_code=last.exit_code, words=words
    )


def _failed(tasks: Iterable[TaskSeen]) -> Sequence[TaskSeen]:
    return [one for one in tasks if one.state in ("failed", "rejected")]


def _alive(
    alive: Sequence[TaskSeen], before: Sequence[TaskSeen], nodes: Mapping[str, NodeSeen]
) -> ServiceStatus:
    """By the wanted task that runs, or the one that was made last; others went before."""
    running, failed = [one for one in alive if one.running], _failed(before)
    now = (running or alive)[-1]
    where = nodes.get(now.node)
    if running:
        address = where.address if where is not None else ""
        return ServiceStatus(
            State.RUNNING,
            len(alive) == 1 and not is_lost(where),
            now,
            fingerprint=hash((now.fingerprint, address)),
            restarts=len(failed),
        )
    code, words = (failed[-1].exit_code, failed[-1].words) if failed else (None, "")
    if before and now.unplaced:
        why = _words_of_end(before[-1], nodes.get(before[-1].node))
        words = f"{why}; {now.words}" if why else now.words
    else:
        words = now.words or words
    return ServiceStatus(
        State.RUNNING if before else State.CREATED,
        False,
        now,
        exit_code=code,
        words=words,
        fingerprint=NOWHERE if before else None,
        restarts=len(failed),
    )


def _words_of_end(task: TaskSeen, node: NodeSeen | None) -> str:
    """Why a task is not to run any more: where that lies in its node, this is told."""
    if not task.over and task.node and is_lost(node):
        return LEFT if node is None else lost_words(node)
    asked = not task.over or task.state == "shutdown"
    if asked and node is not None and node.availability == "drain":
        return drained_words(node)
    return task.words


def updated(before: ObservedContainer, now: ServiceStatus) -> ObservedContainer:
    """What is known of a service, put right by what its tasks say.

    What has ended rises by a wanted task alone, and what runs goes on while such a task prepares.
    """
    if now.state is None or now.state is State.EXITED:
        return before if before.ended else _towards_end(before, now)
    goes_on = before.running
    return replace(
        before,
        state=State.RUNNING if goes_on else now.state,
        exit_code=now.exit_code,
        oom=False,
        stop_requested=False,
        stopped=False,
        words=now.words,
        endpoint_fingerprint=NOWHERE if goes_on and now.fingerprint is None else now.fingerprint,
        restarts=now.restarts,
    )


def given_up(before: ObservedContainer, now: ServiceStatus) -> ObservedContainer:
    """What is known of a service that ran, and that no node takes: it has ended."""
    if before.ended:
        return before
    record = replace(before, exit_code=now.exit_code, words=now.words, restarts=now.restarts)
    return replace(record, state=State.EXITED, endpoint_fingerprint=None)


def _towards_end(before: ObservedContainer, now: ServiceStatus) -> ObservedContainer:
    record = replace(before, stop_requested=before.stop_requested or now.stopping)
    if now.state is None and now.stopping:
        return record
    record = replace(record, exit_code=now.exit_code, words=now.words)
    if now.state is None:  # another task is to follow
        place = NOWHERE if before.running else None
        return replace(record, endpoint_fingerprint=place, restarts=now.restarts)
    stopped = record.stop_requested
    return replace(record, state=now.state, stopped=stopped, endpoint_fingerprint=None)
