"""The service that brings an image to the nodes of a Swarm, and how far it has come. Pure.

Swarm has no call to pull an image on a node. What makes a node pull one is a task that needs it. So
a service has one task on each node, which ends as soon as it runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import naming
from .service_keys import NO_HEALTH_CHECK

#: It is in every container that has an init process, whatever is in the image, and ends at once.
NOTHING = ("/sbin/docker-init", "--version")
_MEMORY = 32 << 20  # bytes
_CPU = 10**8  # billionths of a CPU
_PROCESSES = 16
_AT_MOST = 3  # names in a list for people
#: States of a task whose node has the image: it made a container of it.
_THERE = frozenset({"ready", "starting", "running", "complete", "failed"})
#: States of a task that will not get that far.
_LOST = frozenset({"rejected", "shutdown", "orphaned", "remove"})


@dataclass(frozen=True)
class Spread:
    """How far an image has come, by the names of the nodes.

    Attributes:
        there: they have it.
        preparing: they are at it.
        waiting: they have not begun.
        failed: name → why it cannot be had there, in the words of its task.
    """

    there: tuple[str, ...] = ()
    preparing: tuple[str, ...] = ()
    waiting: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """No node will get any further."""
        return not self.preparing and not self.waiting

    @property
    def total(self) -> int:
        """The number of nodes."""
        return len(self.there) + len(self.preparing) + len(self.waiting) + len(self.failed)

    def __str__(self) -> str:
        """For people, such as ``node n2 preparing … done 2 of 3``."""
        parts = [
            f"{_listed(names)} {what}"
            for names, what in (
                (self.preparing, "preparing"),
                (self.waiting, "waiting"),
                (tuple(self.failed), "failed"),
            )
            if names
        ]
        done = f"done {len(self.there)} of {self.total}"
        return f"{', '.join(parts)} … {done}" if parts else done

    @property
    def failures(self) -> str:
        """Why it is not on all nodes; nodes that say the same are named together."""
        by_words: dict[str, list[str]] = {}
        for name, words in self.failed.items():
            by_words.setdefault(words, []).append(name)
        return "; ".join(f"{_listed(names)}: {words}" for words, names in by_words.items())


def prepull_service(name: str, hub: str, image: str, *, node: str = "") -> dict[str, Any]:
    """The ServiceSpec that brings an image to nodes.

    It is global and never starts a task again. A global *job* would: it repeats a task that its
    node rejects, several times a second and without end.

    Args:
        name: of the service.
        hub: the Hub's id.
        image: a reference.
        node: the id of the only node that is to have it; "" for all that run Linux.
    """
    constraints = ["node.platform.os==linux", *([f"node.id=={node}"] if node else ())]
    return {
        "Name": name,
        # None of the labels of a server: no list of those has it.
        "Labels": {naming.LABEL_PREPULL: hub},
        "Mode": {"Global": {}},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": image,
                "Command": list(NOTHING),
                "Init": True,
                "ReadOnly": True,
                "CapabilityDrop": ["ALL"],
                "Healthcheck": NO_HEALTH_CHECK,
            },
            "Resources": {"Limits": {"MemoryBytes": _MEMORY, "NanoCPUs": _CPU, "Pids": _PROCESSES}},
            "RestartPolicy": {"Condition": "none"},
            "Placement": {"Constraints": constraints},
            "LogDriver": {"Name": "none"},
        },
    }


def fit_nodes(nodes: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The nodes that can run servers now: id → name, with the id where two have one name.

    Args:
        nodes: as ``GET /nodes`` lists them.
    """
    found = {
        str(node["ID"]): str(_of(node, "Description").get("Hostname") or node["ID"])
        for node in nodes
        if _of(node, "Status").get("State") == "ready"
        and _of(node, "Spec").get("Availability") == "active"
        and _of(_of(node, "Description"), "Platform").get("OS", "linux") == "linux"
    }
    counts = Counter(found.values())
    return {id: name if counts[name] == 1 else f"{name} ({id[:12]})" for id, name in found.items()}


def spread(tasks: Sequence[Mapping[str, Any]], nodes: Mapping[str, str]) -> Spread:
    """How far it is, by the tasks of the service and the nodes as of `fit_nodes`.

    Nodes that are no longer among them do not count: their tasks may never end.
    """
    newest = {
        str(task.get("NodeID")): task
        for task in sorted(tasks, key=lambda task: str(task.get("CreatedAt")))
    }
    there, preparing, waiting, failed = [], [], [], {}
    for id, name in sorted(nodes.items(), key=lambda node: node[1]):
        status = _of(newest.get(id) or {}, "Status")
        state = status.get("State")
        if state in _THERE:
            there.append(name)
        elif state in _LOST:
            failed[name] = str(status.get("Err") or status.get("Message") or state)
        elif state == "preparing":
            preparing.append(name)
        else:
            waiting.append(name)
    return Spread(tuple(there), tuple(preparing), tuple(waiting), failed)


def _of(thing: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    return thing.get(key) or {}


def _listed(names: Sequence[str]) -> str:
    """Such as ``nodes n1, n2, n3 and 5 more``."""
    shown = list(names if len(names) <= _AT_MOST + 1 else names[:_AT_MOST])
    if len(names) > len(shown):
        shown.append(f"{len(names) - len(shown)} more")
    if len(shown) == 1:
        return f"node {shown[0]}"
    return f"nodes {', '.join(shown[:-1])} and {shown[-1]}"
