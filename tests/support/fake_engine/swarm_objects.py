"""What the fake Swarm holds, and how the API shows it."""

from __future__ import annotations

import json
import secrets
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from support.fake_engine.objects import iso

#: The states of a task in their order: one never goes back.
STATES = (
    *("new", "pending", "assigned", "accepted", "preparing", "ready", "starting", "running"),
    *("complete", "shutdown", "failed", "rejected", "remove", "orphaned"),
)
_RANK = {state: rank for rank, state in enumerate(STATES)}
_ALPHABET = string.digits + string.ascii_lowercase
#: What a manager calls the modes of services, the keys of ``Mode``, in filters.
MODES = {
    "Replicated": "replicated",
    "Global": "global",
    "ReplicatedJob": "replicated-job",
    "GlobalJob": "global-job",
}


def rank(state: str) -> int:
    """Its place among `STATES`."""
    return _RANK[state]


def new_name() -> str:
    """Of what was given none."""
    return f"thirsty_{secrets.token_hex(4)}"


def swarm_id() -> str:
    """25 digits and letters, as all objects of a Swarm have."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(25))


@dataclass(eq=False)
class Object:
    """Something that the managers keep.

    Attributes:
        index: its version, of which each change makes another.
    """

    kind: ClassVar[str] = ""

    id: str = field(default_factory=swarm_id)
    index: int = 0
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    _text: str | None = None

    @property
    def name(self) -> str:
        """As events tell it."""
        return ""

    @property
    def labels(self) -> Mapping[str, str]:
        """That filters look at."""
        return {}

    def touch(self, index: int) -> None:
        """Note a change."""
        self.index, self.updated, self._text = index, time.time(), None

    def inspect(self) -> dict[str, Any]:
        """As the API shows it."""
        raise NotImplementedError

    def text(self) -> str:
        """The same as JSON, made once for each version: lists of thousands are asked for often."""
        if self._text is None:
            self._text = json.dumps(self.inspect())
        return self._text

    def _head(self) -> dict[str, Any]:
        return {
            "ID": self.id,
            "Version": {"Index": self.index},
            "CreatedAt": iso(self.created),
            "UpdatedAt": iso(self.updated),
        }


@dataclass(eq=False)
class Stored(Object):
    """A secret or a config.

    Attributes:
        data: in base64.
    """

    spec_name: str = ""
    spec_labels: Mapping[str, str] = field(default_factory=dict)
    data: str = ""

    @property
    def name(self) -> str:
        """See `Object`."""
        return self.spec_name

    @property
    def labels(self) -> Mapping[str, str]:
        """See `Object`."""
        return self.spec_labels

    def inspect(self) -> dict[str, Any]:
        """See `Object`."""
        return {**self._head(), "Spec": {"Name": self.name, "Labels": dict(self.labels)}}


class Secret(Stored):
    """A secret, whose data nobody is shown."""

    kind = "secret"


class Config(Stored):
    """A config."""

    kind = "config"

    def inspect(self) -> dict[str, Any]:
        """See `Object`."""
        shown = super().inspect()
        shown["Spec"]["Data"] = self.data
        return shown


@dataclass(eq=False)
class Service(Object):
    """A service.

    Attributes:
        spec: as the API shows it.
        previous: the one before.
        update: ``UpdateStatus``.
        auth: credentials of the registry, given with it.
        endpoint: what the Swarm has added to it: published ports and addresses.
        generation: how often its template was changed.
    """

    kind = "service"

    spec: dict[str, Any] = field(default_factory=dict)
    previous: dict[str, Any] | None = None
    update: dict[str, Any] | None = None
    auth: Mapping[str, Any] | None = None
    endpoint: dict[str, Any] = field(default_factory=dict)
    generation: int = 0
    removed: bool = False

    @property
    def name(self) -> str:
        """See `Object`."""
        return str(self.spec["Name"])

    @property
    def labels(self) -> Mapping[str, str]:
        """See `Object`."""
        return self.spec.get("Labels") or {}

    @property
    def template(self) -> dict[str, Any]:
        """What its tasks are made after."""
        found: dict[str, Any] = self.spec["TaskTemplate"]
        return found

    @property
    def mode(self) -> str:
        """A key of `MODES`."""
        return str(next(iter(self.spec["Mode"])))

    @property
    def job(self) -> bool:
        """Its tasks are to complete."""
        return self.mode.endswith("Job")

    @property
    def is_global(self) -> bool:
        """It has a task on each node."""
        return self.mode.startswith("Global")

    @property
    def wanted(self) -> int:
        """How many tasks there are to be, when it is not global."""
        options = self.spec["Mode"][self.mode] or {}
        key = "TotalCompletions" if self.job else "Replicas"
        return int(options.get(key, 1))

    def inspect(self) -> dict[str, Any]:
        """See `Object`."""
        shown = {**self._head(), "Spec": self.spec}
        if self.previous is not None:
            shown["PreviousSpec"] = self.previous
        shown["Endpoint"] = {"Spec": self.spec.get("EndpointSpec") or {}, **self.endpoint}
        if self.update is not None:
            shown["UpdateStatus"] = self.update
        if self.job:
            status = {"JobIteration": {}, "LastExecution": iso(self.created)}
            shown["JobStatus"] = status
        return shown


@dataclass
class Status:
    """What is known of a task.

    Attributes:
        container: ``ContainerStatus``.
        ports: ``PortStatus.Ports``.
    """

    state: str = "new"
    message: str = "created"
    err: str = ""
    container: dict[str, Any] | None = None
    ports: list[dict[str, Any]] = field(default_factory=list)
    changed: float = field(default_factory=time.time)

    @property
    def ended(self) -> bool:
        """It does not run, and will not."""
        return rank(self.state) > rank("running")

    def inspect(self) -> dict[str, Any]:
        """As the API shows it."""
        shown: dict[str, Any] = {
            "Timestamp": iso(self.changed),
            "State": self.state,
            "Message": self.message,
        }
        if self.err:
            shown["Err"] = self.err
        if self.container is not None:
            shown["ContainerStatus"] = self.container
        return {**shown, "PortStatus": {"Ports": self.ports} if self.ports else {}}


@dataclass(eq=False)
class Task(Object):
    """A task.

    Attributes:
        service: whose; it may be gone.
        spec: the service's ``TaskTemplate`` when it was made.
        endpoint: the service's ``EndpointSpec`` then.
        service_labels: the service's labels then.
        slot: which of the service's it is, None when the service is global or a job.
        node_id: where it runs; "" before it is known.
        status: as the managers know it.
        desired: what they want it to be.
        generic: generic resources that it has been given.
        attachments: to networks.
        delayed: the delay before its beginning is not over.
        generation: the service's then.
        tells_volumes: it is shown with the volumes of the Swarm that it uses, which are none.
    """

    kind = "task"

    service: Service = field(default_factory=Service)
    spec: dict[str, Any] = field(default_factory=dict)
    endpoint: dict[str, Any] | None = None
    service_labels: Mapping[str, str] = field(default_factory=dict)
    slot: int | None = None
    node_id: str = ""
    status: Status = field(default_factory=Status)
    desired: str = "running"
    generic: list[dict[str, Any]] = field(default_factory=list)
    attachments: list[dict[str, Any]] = field(default_factory=list)
    delayed: bool = False
    generation: int = 0
    tells_volumes: bool = False

    @property
    def name(self) -> str:
        """Also its container's."""
        return f"{self.service.name}.{self.slot or self.node_id}.{self.id}"

    @property
    def labels(self) -> Mapping[str, str]:
        """See `Object`."""
        return self.service_labels

    @property
    def image(self) -> str:
        """Of its container."""
        return str(self.spec["ContainerSpec"]["Image"])

    @property
    def restart(self) -> Mapping[str, Any]:
        """Its restart policy."""
        return self.spec.get("RestartPolicy") or {}

    @property
    def host_ports(self) -> list[dict[str, Any]]:
        """Those to be published on its node."""
        ports = (self.endpoint or {}).get("Ports") or []
        return [port for port in ports if port.get("PublishMode") == "host"]

    @property
    def reserved(self) -> Mapping[str, Any]:
        """What it wants to have of a node."""
        return (self.spec.get("Resources") or {}).get("Reservations") or {}

    @property
    def wanted(self) -> bool:
        """It is to run, or to have run."""
        return rank(self.desired) <= rank("complete")

    def inspect(self) -> dict[str, Any]:
        """See `Object`."""
        shown = {
            **self._head(),
            "Labels": {},
            "Spec": {key: value for key, value in self.spec.items() if key != "Runtime"},
            "ServiceID": self.service.id,
        }
        if self.slot is not None:
            shown["Slot"] = self.slot
        if self.node_id:
            shown["NodeID"] = self.node_id
        shown |= {"Status": self.status.inspect(), "DesiredState": self.desired}
        if self.attachments:
            shown["NetworksAttachments"] = self.attachments
        if self.generic:
            shown["GenericResources"] = self.generic
        if self.service.job:
            shown["JobIteration"] = {}
        return {**shown, "Volumes": None} if self.tells_volumes else shown
