"""A service and its tasks, as a manager tells of them, as one thing that is seen. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..desired.network import Location
from .base import Seen
from .observed import State
from .observed_services import Node, TaskSeen, replicas_of, sight, task

#: Of the built-in network in which a task has the ports of its node.
_HOST = "host"


@dataclass(frozen=True)
class TaskFacts:
    """What is needed of a task besides how it is.

    Attributes:
        seen: how it is.
        start: number of the start that it is of.
        has_container: it came that far.
        networks: name → id of those that it is in, its first one first.
        addresses: that it has there.
    """

    seen: TaskSeen
    start: int
    has_container: bool = False
    networks: Mapping[str, str] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()


def facts(item: Mapping[str, Any]) -> TaskFacts | None:
    """Of an item of ``GET /tasks``, unless it is none of a service."""
    found = task(item)
    if found is None:
        return None
    attachments = item.get("NetworksAttachments") or ()
    container = (item.get("Status") or {}).get("ContainerStatus") or {}
    addresses = [address for one in attachments for address in one.get("Addresses") or ()]
    return TaskFacts(
        found,
        start_of(item),
        bool(container.get("ContainerID")),
        dict(map(_network, attachments)),
        tuple(str(address).partition("/")[0] for address in addresses),
    )


def _network(attachment: Mapping[str, Any]) -> tuple[str, str]:
    network = attachment.get("Network") or {}
    id = str(network.get("ID") or "")
    return str((network.get("Spec") or {}).get("Name") or id), id


def start_of(item: Mapping[str, Any]) -> int:
    """The number of the last start: of a service's ``Spec``, or of a task the one that it is of."""
    template = item.get("TaskTemplate") or item.get("Spec") or {}
    return int(template.get("ForceUpdate") or 0)


def seen(info: Mapping[str, Any], tasks: Iterable[TaskFacts], nodes: Mapping[str, Node]) -> Seen:
    """A service as it is.

    Args:
        info: ``GET /services/{id}``.
        tasks: of it.
        nodes: by id, as far as tasks of its last start are on them.
    """
    spec, found = info["Spec"], list(tasks)
    start = start_of(spec)
    now = sight(
        (one.seen for one in found),
        nodes,
        earlier={one.seen.id for one in found if one.start != start},
    )
    # A task that is wanted is made a moment later.
    running = replicas_of(spec) > 0 if now is None else now.state is not State.EXITED
    current = next((one for one in found if now is not None and one.seen.id == now.task), None)
    return Seen(
        id=str(info["ID"]),
        name=str(spec["Name"]),
        labels=spec.get("Labels") or {},
        running=running,
        exit_code=(now.exit_code if now is not None else 0) or 0,
        has_run=start > 0,
        place=_place(spec, current if running else None, nodes),
        volumes=_volumes(spec),
        words="" if now is None else now.words,
        pending=running and (current is None or current.seen.state != "running"),
    )


def _place(
    spec: Mapping[str, Any], current: TaskFacts | None, nodes: Mapping[str, Node]
) -> Location:
    template: Mapping[str, Any] = spec.get("TaskTemplate") or {}
    # Only a task has the names of its networks.
    targets = {str(one["Target"]): str(one["Target"]) for one in template.get("Networks") or ()}
    networks = current.networks if current is not None and current.networks else targets
    networks = networks or {"bridge": ""}
    mode = next(iter(networks))
    if current is None or current.seen.state != "running":
        return Location(mode, networks=networks)
    # Where nobody tells the node's address, it is the one that the manager is asked at.
    node = nodes.get(current.seen.node)
    address = node.address if node is not None else ""
    ports = {
        inside: (address, outside)
        for inside, outside, protocol in current.seen.ports
        if protocol == "tcp"
    }
    addresses = (address,) if mode == _HOST else current.addresses
    return Location(mode, tuple(filter(None, addresses)), ports, networks)


def _volumes(spec: Mapping[str, Any]) -> tuple[str, ...]:
    container = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    return tuple(
        str(mount["Source"])
        for mount in container.get("Mounts") or ()
        if mount.get("Type") == "volume" and mount.get("Source")
    )
