"""The nodes of the fake Swarm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from support.fake_engine.core import Core
from support.fake_engine.swarm_objects import Object, Task

#: As many as a machine with two processors and 16 GiB has.
NANO_CPUS, MEMORY = 2 * 10**9, 16 << 30


@dataclass(eq=False)
class Node(Object):
    """A node.

    Attributes:
        hostname: which nothing else in the Swarm has, in tests.
        core: its Engine's own things: containers, images, volumes.
        address: its own, and that of its published ports.
        role: ``manager`` or ``worker``.
        generic: its generic resources: kind → how many, or their names.
        state: ``ready`` or ``down``.
        connected: it and the managers hear of each other.
        tasks: those that take up room here, by id.
        by_service: how many of them a service has.
        used: what of it is reserved.
    """

    kind = "node"

    hostname: str = ""
    core: Core = field(default_factory=lambda: Core("docker20"))
    address: str = ""
    role: str = "worker"
    availability: str = "active"
    spec_labels: dict[str, str] = field(default_factory=dict)
    engine_labels: dict[str, str] = field(default_factory=dict)
    generic: Mapping[str, int | tuple[str, ...]] = field(default_factory=dict)
    state: str = "ready"
    message: str = ""
    connected: bool = True
    tasks: dict[str, Task] = field(default_factory=dict)
    by_service: Counter[str] = field(default_factory=Counter)
    used: dict[str, int] = field(default_factory=lambda: {"NanoCPUs": 0, "MemoryBytes": 0})

    @property
    def name(self) -> str:
        """See `Object`."""
        return self.hostname

    @property
    def labels(self) -> Mapping[str, str]:
        """See `Object`."""
        return self.engine_labels

    @property
    def spec(self) -> dict[str, Any]:
        """As the API shows it."""
        labels = dict(self.spec_labels)
        return {"Labels": labels, "Role": self.role, "Availability": self.availability}

    def place(self, task: Task) -> None:
        """A task takes up room here from now on."""
        self.tasks[task.id] = task
        self.by_service[task.service.id] += 1
        for kind in self.used:
            self.used[kind] += int(task.reserved.get(kind) or 0)

    def release(self, task: Task) -> None:
        """No longer."""
        if self.tasks.pop(task.id, None) is not None:
            self.by_service[task.service.id] -= 1
            for kind in self.used:
                self.used[kind] -= int(task.reserved.get(kind) or 0)

    def inspect(self) -> dict[str, Any]:
        """See `Object`."""
        resources: dict[str, Any] = {"NanoCPUs": NANO_CPUS, "MemoryBytes": MEMORY}
        if self.generic:
            resources["GenericResources"] = [
                one for kind, have in self.generic.items() for one in resource(kind, have)
            ]
        engine: dict[str, Any] = {"EngineVersion": "0.fake", "Plugins": PLUGINS}
        if self.engine_labels:
            engine["Labels"] = self.engine_labels
        status = {"State": self.state, "Addr": self.address}
        if self.message:
            status["Message"] = self.message
        shown = {
            **self._head(),
            "Spec": self.spec,
            "Description": {
                "Hostname": self.hostname,
                "Platform": {"Architecture": "x86_64", "OS": "linux"},
                "Resources": resources,
                "Engine": engine,
            },
            "Status": status,
        }
        if self.role == "manager":
            where = f"{self.address}:2377"
            shown["ManagerStatus"] = {"Reachability": "reachable", "Addr": where}
        return shown


PLUGINS = [
    *({"Type": "Log", "Name": name} for name in ("json-file", "local", "syslog")),
    *({"Type": "Network", "Name": name} for name in ("bridge", "host", "null", "overlay")),
    {"Type": "Volume", "Name": "local"},
]


def resource(kind: str, have: int | tuple[str, ...]) -> list[dict[str, Any]]:
    """A generic resource as the API shows it."""
    if isinstance(have, int):
        return [{"DiscreteResourceSpec": {"Kind": kind, "Value": have}}]
    return [{"NamedResourceSpec": {"Kind": kind, "Value": value}} for value in have]
