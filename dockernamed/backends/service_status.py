"""How a service is now, told from its body and its tasks: the `Seen` of one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..desired.network import Location
from .base import Seen
from .observed import State
from .observed_tasks import ServiceStatus, start_of, status_of
from .task_state import NodeSeen, TaskSeen, location


def replicas_of(spec: Mapping[str, Any]) -> int:
    """How many tasks a service is to have, by its ``Spec``."""
    return int(((spec.get("Mode") or {}).get("Replicated") or {}).get("Replicas") or 0)


def seen(info: Mapping[str, Any], tasks: Iterable[TaskSeen], nodes: Mapping[str, NodeSeen]) -> Seen:
    """A service as it is.

    Args:
        info: ``GET /services/{id}``.
        tasks: of it.
        nodes: those that tasks of its last start are on, by id; one that has left is missing.
    """
    spec = info["Spec"]
    start, wanted = start_of(spec), replicas_of(spec) > 0
    now = status_of([one for one in tasks if one.start == start], nodes)
    running = _runs(now, wanted=wanted)
    place, pending, words = _place(spec), running, "" if now is None else now.words
    if now is not None and running and now.task.running:
        place = location(now.task, nodes.get(now.task.node))
        # A manager that leads since a moment ago may tell of a task before it tells of its ports.
        if pending := _publishes(spec) and not place.ports:
            words = "its published ports are not known yet"
    return Seen(
        id=str(info["ID"]),
        name=str(spec["Name"]),
        labels=spec.get("Labels") or {},
        running=running,
        exit_code=0 if now is None or running else now.exit_code or 0,
        has_run=start > 0,
        place=place,
        volumes=volumes_of(spec),
        words=words,
        pending=pending,
    )


def _runs(now: ServiceStatus | None, *, wanted: bool) -> bool:
    """Whether a service runs, or will in a moment."""
    if now is None:
        return wanted  # a task that is wanted is made a moment later
    if now.state is None:
        return now.stopping or wanted  # it ends, or another one is to follow it
    return now.state is not State.EXITED


def _publishes(spec: Mapping[str, Any]) -> bool:
    """Whether a service has ports at the nodes of its tasks, by its ``Spec``."""
    ports = (spec.get("EndpointSpec") or {}).get("Ports") or ()
    return any(port.get("PublishMode") == "host" for port in ports)


def _place(spec: Mapping[str, Any]) -> Location:
    """Where a service is that does not run: only a task has the names of networks."""
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
