"""What is known of one service, read from the tasks that the Swarm has of it. Pure.

The word of a task alone is not enough. Of a node that is lost the last word of its tasks stays
``running`` for ever, and the Swarm only says that it wants them no more; a task that failed may
have a successor; and one that is to end may take its time.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..naming import key_of
from . import observed
from .observed import NOWHERE, ObservedContainer, State

#: Of a task: it has ended, or never ran and never will.
_ENDED = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})
#: What the Swarm wants a task to be that it does not want to run (any more).
_UNWANTED = frozenset({"shutdown", "remove"})
#: Of a node that is lost. Of one that is ``unknown`` nothing was heard yet, as of all nodes once
#: the Swarm has another leader, and a ``disconnected`` one looks for that leader.
_AWAY = "down"
#: Swarm's way to say no more than the exit code.
_ONLY_CODE = re.compile(r"^task: non-zero exit \(-?\d+\)(: )?")
#: Of a server whose node is lost.
LOST = "the node that it ran on does not answer any more"
#: Of a server whose node was drained.
DRAINED = "the node that it ran on was drained"


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the Swarm.

    Attributes:
        name: its hostname.
        state: ``ready``, ``down``, ``unknown`` or ``disconnected``.
        drained: it is to run no tasks.
        address: at which the other nodes know it; "" where that is not told.
    """

    name: str
    state: str
    drained: bool = False
    address: str = ""

    @property
    def away(self) -> bool:
        """Nothing can be known of its tasks."""
        return self.state == _AWAY


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """A task as a list told.

    Attributes:
        id: the Swarm's.
        service: id of its service.
        state: what its node said last, such as ``pending``, ``running`` or ``failed``.
        desired: what the Swarm wants it to be: ``ready``, ``running``, ``shutdown``, ``remove``.
        node: id of its node; "" while it has none.
        restart: when it is to have a successor: ``none``, ``on-failure`` or ``any``.
        exit_code: None where it has not ended, or never ran.
        words: why it does not run, as its scheduler or its node says; "" where they say no more
            than its exit code.
        ports: that its node publishes for it: (port in the container, of the node, protocol).
        created: sorts by when it was made.
    """

    id: str
    service: str
    state: str
    desired: str
    node: str = ""
    restart: str = "any"
    exit_code: int | None = None
    words: str = ""
    ports: tuple[tuple[int, int, str], ...] = ()
    created: str = ""

    @property
    def ended(self) -> bool:
        """It runs no more, as its node says."""
        return self.state in _ENDED

    @property
    def wanted(self) -> bool:
        """The Swarm wants it to run, now or in a moment."""
        return self.desired not in _UNWANTED

    @property
    def has_successor(self) -> bool:
        """Though it has ended, another one is to run in its place."""
        return self.restart == "any" or (self.restart == "on-failure" and self.state != "complete")


def task(item: Mapping[str, Any]) -> TaskSeen | None:
    """Of an item of ``GET /tasks``, unless it is none of a service."""
    status, spec = item.get("Status") or {}, item.get("Spec") or {}
    id, service = item.get("ID"), item.get("ServiceID")
    if not isinstance(id, str) or not isinstance(service, str):
        return None
    state = str(status.get("State", ""))
    code = (status.get("ContainerStatus") or {}).get("ExitCode")
    ran = state in _ENDED and state != "rejected" and isinstance(code, int) and code >= 0
    words = _ONLY_CODE.sub("", str(status.get("Err") or ""))
    ports = (status.get("PortStatus") or {}).get("Ports") or ()
    return TaskSeen(
        id,
        service,
        state,
        str(item.get("DesiredState", "")),
        str(item.get("NodeID") or ""),
        str((spec.get("RestartPolicy") or {}).get("Condition") or "any"),
        code if ran else None,
        words,
        tuple(sorted({_port(port) for port in ports})),
        _sortable(str(item.get("CreatedAt", ""))),
    )


def node(item: Mapping[str, Any]) -> Node:
    """Of an item of ``GET /nodes``."""
    status, spec = item.get("Status") or {}, item.get("Spec") or {}
    name = str((item.get("Description") or {}).get("Hostname") or item.get("ID"))
    drained = spec.get("Availability") == "drain"
    return Node(name, str(status.get("State", "")), drained, str(status.get("Addr") or ""))


def node_after(before: Node, attributes: Mapping[str, str]) -> Node:
    """What an event says of a node that changed."""
    drained = before.drained
    if (availability := attributes.get("availability.new")) is not None:
        drained = availability == "drain"
    return replace(before, state=attributes.get("state.new", before.state), drained=drained)


@dataclass(frozen=True, slots=True)
class ServiceSeen:
    """A service as a list or an inspect told.

    Attributes:
        record: what it is, but not how it is: that its tasks tell.
        replicas: how many tasks it is to have.
        changed: somebody has updated it since it was made; the Swarm itself does so as well.
    """

    record: ObservedContainer
    replicas: int
    changed: bool


def service(item: Mapping[str, Any]) -> ServiceSeen | None:
    """Of an item of ``GET /services``, unless it is no server."""
    spec = item.get("Spec") or {}
    labels, id = spec.get("Labels") or {}, item.get("ID")
    if not isinstance(id, str) or key_of(labels) is None:
        return None
    container = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    image = str(container.get("Image") or "").partition("@")[0]
    name, replicas = str(spec.get("Name") or ""), replicas_of(spec)
    record = observed.make(id, name, labels, image, State.CREATED)
    return ServiceSeen(record, replicas, bool(item.get("PreviousSpec")))


def replicas_of(spec: Mapping[str, Any]) -> int:
    """How many tasks a ServiceSpec asks for; 1 where it is not for it to say."""
    replicated = (spec.get("Mode") or {}).get("Replicated")
    return 1 if replicated is None else int(replicated.get("Replicas") or 0)


@dataclass(frozen=True, slots=True)
class Sight:
    """What the tasks of a service say of it.

    Attributes:
        state: None where nothing has changed by what they say.
        settled: nothing will change without an event, or without the end of `task`.
        stopping: it was asked to end.
        exit_code: None where it has not ended, or the Swarm does not tell.
        words: see `ObservedContainer`.
        task: id of the one that is meant; ``node`` is the id of its node, ``stage`` its state.
        fingerprint: see `ObservedContainer`.
    """

    state: State | None
    settled: bool
    task: str
    node: str
    stage: str
    stopping: bool = False
    exit_code: int | None = None
    words: str = ""
    fingerprint: int | None = None


def sight(
    tasks: Iterable[TaskSeen], nodes: Mapping[str, Node], *, earlier: Collection[str] = ()
) -> Sight | None:
    """How a service is; None where it has no task.

    Args:
        tasks: all that the Swarm has of the service.
        nodes: all nodes of the Swarm, by id.
        earlier: ids of tasks that ended before it was started the last time.
    """
    found = sorted((one for one in tasks if one.id not in earlier), key=lambda one: one.created)
    if not found:
        return None
    alive = [one for one in found if one.wanted and not one.ended]
    if alive:
        return _alive(alive, found, nodes)
    return _not_alive(found[-1], nodes)


def _alive(
    alive: Sequence[TaskSeen], all_tasks: Sequence[TaskSeen], nodes: Mapping[str, Node]
) -> Sight:
    """By the wanted task that runs, or the one that was made last."""
    running = [one for one in alive if one.state == "running"]
    now = (running or alive)[-1]
    where = nodes.get(now.node, _NOWHERE)
    again = len(all_tasks) > len(alive)  # it has run, and is taken up again
    place = hash((now.id, where.address or now.node, now.ports))
    return Sight(
        State.RUNNING if running or again else State.CREATED,
        len(running) == len(alive) == 1 and not where.away,
        now.id,
        now.node,
        now.state,
        words="" if running else now.words,
        fingerprint=place if running else NOWHERE if again else None,
    )


def _not_alive(last: TaskSeen, nodes: Mapping[str, Node]) -> Sight:
    """By the task that was made last, where none is to run."""
    where = nodes.get(last.node, _LOST) if last.node else _LOST
    words, asked = last.words, last.state == "shutdown"
    if last.ended and last.wanted and last.has_successor:
        return Sight(None, False, last.id, last.node, last.state, words=words)
    if not last.ended and not where.away:
        return Sight(None, False, last.id, last.node, last.state, stopping=True)
    if not last.ended and last.node:
        words = LOST
    elif asked and where.drained:
        words = DRAINED
    return Sight(
        State.EXITED, True, last.id, last.node, last.state,
        stopping=asked, exit_code=last.exit_code, words=words,
    )  # fmt: skip


_NOWHERE, _LOST = Node("", ""), Node("", _AWAY)


def updated(before: ObservedContainer, now: Sight) -> ObservedContainer:
    """What is known of a service, put right by what its tasks say.

    What has ended rises by a wanted task alone, and what runs goes on while such a task prepares.
    """
    if now.state is None or now.state is State.EXITED:
        if before.ended:
            return before
        record = replace(before, stop_requested=before.stop_requested or now.stopping)
        if now.state is None and now.stopping:
            return record
        if now.state is None:
            place = NOWHERE if before.running else None
            return replace(record, words=now.words, endpoint_fingerprint=place)
        return replace(
            record,
            state=State.EXITED,
            exit_code=now.exit_code,
            words=now.words,
            stopped=record.stop_requested,
            endpoint_fingerprint=None,
        )
    goes_on = before.state is State.RUNNING
    return replace(
        before,
        state=State.RUNNING if goes_on else now.state,
        exit_code=None,
        oom=False,
        stop_requested=False,
        stopped=False,
        words=now.words,
        endpoint_fingerprint=NOWHERE if goes_on and now.fingerprint is None else now.fingerprint,
    )


def _port(port: Mapping[str, Any]) -> tuple[int, int, str]:
    inside, outside = port.get("TargetPort"), port.get("PublishedPort")
    return int(inside or 0), int(outside or 0), str(port.get("Protocol") or "tcp")


def _sortable(time: str) -> str:
    """A time such as ``2026-01-02T03:04:05.67Z`` with all nine digits of its fraction."""
    seconds, _, fraction = time.rstrip("Z").partition(".")
    return f"{seconds}.{fraction:0<9}"
