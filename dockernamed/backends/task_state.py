"""What a Swarm's managers say of tasks and nodes, as small values. Pure.

A service has one task at a time that the manager wants, and may have others: those that ended, and
those on a node that is lost, whose state stays what it was when the node was last heard of. So a
task's own state says nothing without what the manager wants of it, and without its node.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from sys import intern
from typing import Any

from ..desired.network import Location

#: States of a task that has ended, or was never begun and never will be.
ENDED = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})
#: What a manager wants of a task that is to run, now or in a moment.
WANTED = frozenset({"running", "ready", "accepted", "complete"})
#: An exit code says it better.
_EXIT = re.compile(r"task: non-zero exit \(-?\d+\)(: )?")
#: What stands for no address of its own.
_NO_ADDRESS = ("", "0.0.0.0", "::", "127.0.0.1", "::1")  # noqa: S104  (to tell them from one)


@dataclass(frozen=True, slots=True)
class TaskSeen:
    """One task as it was a moment ago.

    Attributes:
        id: of the task; likewise ``service``.
        node: id of the node that it was given to; "" before that.
        state: in the API's words: ``pending``, ``running``, ``failed``, …
        desired: what the manager wants it to be, likewise.
        created: when, as a text that sorts by time.
        exit_code: of its container; None unless that ran and ended.
        words: why it does not run, in the words of the manager or the node; "" where they say
            nothing beyond its state and exit code.
        ports: TCP ports published on its node: port in the container → port there.
        addresses: of its container in overlay networks.
        networks: that it is connected to, the first one first: name → id.
        restart: when another one is to follow it: ``none``, ``on-failure`` or ``any``.
        start: of which start of its service it is; later ones have higher numbers.
        has_container: it came that far.
    """

    id: str
    service: str
    node: str = ""
    state: str = "new"
    desired: str = "running"
    created: str = ""
    exit_code: int | None = None
    words: str = ""
    ports: Mapping[int, int] = field(default_factory=dict)
    addresses: tuple[str, ...] = ()
    networks: Mapping[str, str] = field(default_factory=dict)
    restart: str = "any"
    start: int = 0
    has_container: bool = False

    @property
    def over(self) -> bool:
        """Nothing of it runs any more, as far as its node has told."""
        return self.state in ENDED

    @property
    def wanted(self) -> bool:
        """The manager wants it to run."""
        return self.desired in WANTED

    @property
    def removed(self) -> bool:
        """The manager forgets it in a moment, or once its node has ended it."""
        return self.desired == "remove"

    @property
    def running(self) -> bool:
        """Its node said that it runs; see `has_ended` for whether that is still to be believed."""
        return self.state == "running"

    @property
    def unplaced(self) -> bool:
        """The manager wants it to run, but finds no node that takes it; `words` say why."""
        return self.wanted and not self.over and not self.node and bool(self.words)

    @property
    def has_successor(self) -> bool:
        """Though it has ended, another one is to follow."""
        return self.restart == "any" or (self.restart == "on-failure" and self.state != "complete")

    @property
    def fingerprint(self) -> int:
        """Equal numbers, equal places: another task, node or port has another one."""
        return hash((self.id, self.node, tuple(sorted(self.ports.items())), self.addresses))


@dataclass(frozen=True, slots=True)
class NodeSeen:
    """One node.

    Attributes:
        id: of the node.
        name: of its host.
        address: at which the other nodes reach it; "" where none is known.
        down: the manager has lost it. A node of which a new leader knows nothing yet is not.
        availability: ``active``, ``pause`` or ``drain``.
        manager: it is one of the Swarm's managers.
        words: why it is down; "" where nothing is said.
    """

    id: str
    name: str
    address: str = ""
    down: bool = False
    availability: str = "active"
    manager: bool = False
    words: str = ""

    @property
    def takes_tasks(self) -> bool:
        """New tasks may be given to it."""
        return not self.down and self.availability == "active"


def task_from(item: Mapping[str, Any]) -> TaskSeen:
    """What an item of ``GET /tasks``, or ``GET /tasks/{id}``, says."""
    status, spec = item.get("Status") or {}, item.get("Spec") or {}
    state = intern(str(status.get("State") or "new").lower())
    attached = item.get("NetworksAttachments") or ()
    return TaskSeen(
        id=str(item["ID"]),
        service=str(item.get("ServiceID") or ""),
        node=intern(str(item.get("NodeID") or "")),
        state=state,
        desired=intern(str(item.get("DesiredState") or "running").lower()),
        created=_sortable(str(item.get("CreatedAt") or "")),
        exit_code=_exit_code(state, status.get("ContainerStatus") or {}),
        words=_words(state, status),
        ports=dict(_published(status)),
        addresses=tuple(
            str(address).partition("/")[0]
            for one in attached
            for address in one.get("Addresses") or ()
        ),
        networks=dict(_network(one) for one in attached),
        restart=intern(str((spec.get("RestartPolicy") or {}).get("Condition") or "any")),
        start=int(spec.get("ForceUpdate") or 0),
        has_container=bool((status.get("ContainerStatus") or {}).get("ContainerID")),
    )


def node_from(item: Mapping[str, Any]) -> NodeSeen:
    """What an item of ``GET /nodes``, or ``GET /nodes/{id}``, says."""
    status, spec = item.get("Status") or {}, item.get("Spec") or {}
    manager = item.get("ManagerStatus") or {}
    addresses = (str(status.get("Addr") or ""), _host_of(str(manager.get("Addr") or "")))
    return NodeSeen(
        id=str(item["ID"]),
        name=str((item.get("Description") or {}).get("Hostname") or item["ID"]),
        # A manager that was made without --advertise-addr may know itself by none.
        address=next((one for one in addresses if one not in _NO_ADDRESS), addresses[0]),
        down=str(status.get("State") or "").lower() == "down",
        availability=str(spec.get("Availability") or "active").lower(),
        manager=bool(manager),
        words=str(status.get("Message") or ""),
    )


def is_lost(node: NodeSeen | None) -> bool:
    """Whether nobody can be asked what runs on a node; None has left the Swarm."""
    return node is None or node.down


def has_ended(task: TaskSeen, lost: bool) -> bool:
    """Whether nothing of a task runs any more, or will, as far as its manager can tell.

    Args:
        task: which.
        lost: its node is. What runs there is ended by the node, when it is back.
    """
    if task.over:
        return True
    if task.wanted:
        return False
    return lost or not task.node


def lost_words(node: NodeSeen) -> str:
    """Why a task ended that was lost with its node, in words."""
    return f"the node that it ran on is down: {node.name}{f' ({node.words})' if node.words else ''}"


def drained_words(node: NodeSeen) -> str:
    """Why a task ended whose node is to run none, in words."""
    return f"the node that it ran on was drained: {node.name}"


def location(task: TaskSeen, node: NodeSeen | None) -> Location:
    """Where a task is reached: at its own node and port, or in its networks; never elsewhere.

    Args:
        task: which.
        node: that it is on; None where that is not known: no port of it is told then.
    """
    address = node.address if node is not None and node.id == task.node else ""
    first = next(iter(task.networks), "bridge")
    ports = {port: (address, number) for port, number in task.ports.items()} if address else {}
    return Location(first, task.addresses, ports, task.networks, address)


def _exit_code(state: str, container: Mapping[str, Any]) -> int | None:
    # Of one that is being stopped it is -1, of one that was rejected there is no container.
    if state not in ENDED or not container.get("ContainerID"):
        return None
    return int(container.get("ExitCode") or 0)


def _words(state: str, status: Mapping[str, Any]) -> str:
    error = str(status.get("Err") or "")
    if state == "running":
        return ""
    if error:
        return _EXIT.sub("", error, count=1)
    return str(status.get("Message") or "") if state in ("rejected", "orphaned") else ""


def _published(status: Mapping[str, Any]) -> Iterable[tuple[int, int]]:
    for port in (status.get("PortStatus") or {}).get("Ports") or ():
        if port.get("Protocol", "tcp") == "tcp" and port.get("PublishedPort"):
            yield int(port["TargetPort"]), int(port["PublishedPort"])


def _network(attached: Mapping[str, Any]) -> tuple[str, str]:
    network = attached.get("Network") or {}
    return str((network.get("Spec") or {}).get("Name") or ""), str(network.get("ID") or "")


def _host_of(address: str) -> str:
    return address.rpartition(":")[0].strip("[]")


def _sortable(time: str) -> str:
    """Go writes fractions of a second without the zeros at their end."""
    whole, _, fraction = time.removesuffix("Z").partition(".")
    return f"{whole}.{fraction:0<9}"
