"""A service and its tasks, as a manager tells of them, as one thing that is seen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..desired.network import Location
from .base import Seen
from .task_state import (
    ENDED,
    NodeSeen,
    TaskSeen,
    current_task,
    has_ended,
    location,
    lost_words,
    task_from,
)


@dataclass(frozen=True)
class TaskFacts:
    """What is needed of a task besides how it is.

    Attributes:
        seen: how it is.
        start: number of the start that it is of.
        has_container: it came that far.
    """

    seen: TaskSeen
    start: int
    has_container: bool

    @property
    def over(self) -> bool:
        """Nothing of it runs any more, as far as its node has told."""
        return self.seen.state in ENDED


def facts(item: Mapping[str, Any]) -> TaskFacts:
    """Of an item of ``GET /tasks``."""
    container = (item.get("Status") or {}).get("ContainerStatus") or {}
    number = (item.get("Spec") or {}).get("ForceUpdate")
    return TaskFacts(task_from(item), int(number or 0), bool(container.get("ContainerID")))


def start_of(spec: Mapping[str, Any]) -> int:
    """The number of a service's last start, by its ``Spec``; 0: it was never started."""
    return int(spec["TaskTemplate"].get("ForceUpdate") or 0)


def replicas_of(spec: Mapping[str, Any]) -> int:
    """How many tasks a service is to have, by its ``Spec``."""
    return int(((spec.get("Mode") or {}).get("Replicated") or {}).get("Replicas") or 0)


def seen(
    info: Mapping[str, Any], tasks: Iterable[TaskFacts], nodes: Mapping[str, NodeSeen]
) -> Seen:
    """A service as it is.

    Args:
        info: ``GET /services/{id}``.
        tasks: of it.
        nodes: those that tasks of its last start are on, by id; one that has left is missing.
    """
    spec = info["Spec"]
    start, wanted = start_of(spec), replicas_of(spec) > 0
    task = current_task(one.seen for one in tasks if one.start == start)
    running, words, code = _state(spec, task, nodes, wanted=wanted)
    pending = running and (task is None or not task.running)
    place = _place(spec)
    if task is not None and running and not pending:
        place = location(task, nodes.get(task.node))
    return Seen(
        id=str(info["ID"]),
        name=str(spec["Name"]),
        labels=spec.get("Labels") or {},
        running=running,
        exit_code=code,
        has_run=start > 0,
        place=place,
        volumes=volumes_of(spec),
        words=words,
        pending=pending,
    )


def _state(
    spec: Mapping[str, Any],
    task: TaskSeen | None,
    nodes: Mapping[str, NodeSeen],
    *,
    wanted: bool,
) -> tuple[bool, str, int]:
    """Whether a service runs, or will in a moment; why not; the exit code of its last task."""
    if task is None:
        return wanted, "", 0  # a task that is wanted is made a moment later
    node = nodes.get(task.node)
    if not has_ended(task, node is None or node.down):
        return True, task.words, 0
    restart = (spec["TaskTemplate"].get("RestartPolicy") or {}).get("Condition")
    again = restart == "on-failure" and task.state != "complete"
    if wanted and again:
        return True, task.words, 0  # and so is the one that is to follow
    if task.state not in ENDED and node is not None:
        return False, lost_words(node), 0
    return False, task.words, task.exit_code or 0


def _place(spec: Mapping[str, Any]) -> Location:
    """Of a service that does not run: only a task has the names of networks."""
    targets = [str(one["Target"]) for one in spec["TaskTemplate"].get("Networks") or ()]
    networks = dict(zip(targets, targets, strict=True)) or {"bridge": ""}
    return Location(next(iter(networks)), networks=networks)


def mounts_of(spec: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """All that a service mounts, by its ``Spec``."""
    container = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    return tuple(container.get("Mounts") or ())


def volumes_of(spec: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of the volumes that a service mounts, by its ``Spec``."""
    sources = [one.get("Source") for one in mounts_of(spec) if one.get("Type") == "volume"]
    return tuple(str(source) for source in sources if source)
