"""What a cluster knows of named volumes, as the labels of an object that stands for each. Pure.

The managers of a Swarm see no volumes of other nodes. So for each volume that servers have there is
a config in the Swarm, whose name follows from the volume's: two never have one, and who makes it
second finds it there. Its labels are the volume's own, and those of `VolumeRecord`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import naming
from .service_keys import NO_HEALTH_CHECK

#: Label of each record with the volume's name, and the beginning of all that only records have.
LABEL_VOLUME = "dockernamed.volume"
#: Label of what stands for files that are to be deleted on a node: the volume's name.
LABEL_REMOVAL = "dockernamed.removal"
#: Label of the services that delete a volume's files: the volume's name.
LABEL_EMPTIES = "dockernamed.empties"
_DRIVER = f"{LABEL_VOLUME}.driver"
_SHARED = f"{LABEL_VOLUME}.shared"
_NODE = f"{LABEL_VOLUME}.node"
_HOSTNAME = f"{LABEL_VOLUME}.hostname"
_FIRST = f"{LABEL_VOLUME}.first"
_IMAGE = f"{LABEL_VOLUME}.image"
_GOING = f"{LABEL_VOLUME}.going"
_FOUND = "found"
_DIGITS = 40
#: All that is in the directory goes, whatever its name begins with.
_EMPTY = ["/bin/sh", "-c", "cd /volume && rm -rf -- ..?* .[!.]* *"]


@dataclass(frozen=True)
class VolumeRecord:
    """One named volume.

    Attributes:
        name: of the volume.
        labels: of the volume.
        driver: of the volume, ``local`` for the Engine's own.
        shared: its files are the same on all nodes.
        found: so it was before there was a record: whoever made it did so on the nodes themselves.
        node: id of the node where its files are; "" as long as nothing has used it, and where it
            is shared.
        hostname: of that node, for people.
        first: id of the service that was to use it first; its tasks tell the node.
        image: that a server with it had last: what deletes its files is made from it.
        going: its files are being deleted.
    """

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    driver: str = "local"
    shared: bool = False
    found: bool = False
    node: str = ""
    hostname: str = ""
    first: str = ""
    image: str = ""
    going: bool = False

    @classmethod
    def read(cls, labels: Mapping[str, str]) -> VolumeRecord | None:
        """The volume that a config of these labels stands for; None if it stands for none."""
        if LABEL_VOLUME not in labels:
            return None
        return cls(
            labels[LABEL_VOLUME],
            {label: value for label, value in labels.items() if not _of_records(label)},
            labels.get(_DRIVER) or "local",
            _SHARED in labels,
            labels.get(_SHARED) == _FOUND,
            labels.get(_NODE, ""),
            labels.get(_HOSTNAME, ""),
            labels.get(_FIRST, ""),
            labels.get(_IMAGE, ""),
            _GOING in labels,
        )

    @property
    def all_labels(self) -> dict[str, str]:
        """The labels of the config that stands for it."""
        own = {
            _DRIVER: self.driver,
            _SHARED: (_FOUND if self.found else "yes") if self.shared else "",
            _NODE: self.node,
            _HOSTNAME: self.hostname,
            _FIRST: self.first,
            _IMAGE: self.image,
            _GOING: "yes" if self.going else "",
        }
        named = {LABEL_VOLUME: self.name}
        return {**self.labels, **named, **{label: value for label, value in own.items() if value}}

    @property
    def config_name(self) -> str:
        """The name of the config that stands for it."""
        return record_name(self.name)


@dataclass(frozen=True)
class Removal:
    """Files of a volume that are to be deleted on a node, once it takes tasks again.

    Attributes:
        hub: the Hub's id whose volume it was.
        volume: its name.
        node: the node's id; ``hostname`` for people.
        image: as for `VolumeRecord`.
    """

    hub: str
    volume: str
    node: str
    hostname: str = ""
    image: str = ""

    @classmethod
    def read(cls, labels: Mapping[str, str]) -> Removal | None:
        """What a config of these labels stands for; None if it stands for nothing of the kind."""
        if LABEL_REMOVAL not in labels:
            return None
        rest = (labels.get(label, "") for label in (_NODE, _HOSTNAME, _IMAGE))
        return cls(labels.get(naming.LABEL_HUB, ""), labels[LABEL_REMOVAL], *rest)

    @property
    def labels(self) -> dict[str, str]:
        """The labels of the config that stands for it."""
        return {
            naming.LABEL_HUB: self.hub,
            LABEL_REMOVAL: self.volume,
            _NODE: self.node,
            _HOSTNAME: self.hostname,
            _IMAGE: self.image,
        }

    @property
    def config_name(self) -> str:
        """The name of the config that stands for it."""
        return f"dockernamed-removal-{_digest(f'{self.node} {self.volume}')}"


def record_name(volume: str) -> str:
    """The name of the config that stands for a volume: never the same for two."""
    return f"dockernamed-volume-{_digest(volume)}"


def local_volumes(mounts: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """The named volumes among a service's mounts whose files are on one node: name → labels.

    Args:
        mounts: of the API's ContainerSpec.
    """
    return _named_volumes(mounts, shared=False)


def shared_volumes(mounts: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of those that these mounts have on all nodes.

    Args:
        mounts: as for `local_volumes`.
    """
    return list(_named_volumes(mounts, shared=True))


def _named_volumes(
    mounts: Iterable[Mapping[str, Any]], *, shared: bool
) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for mount in mounts:
        options = mount.get("VolumeOptions") or {}
        driver = options.get("DriverConfig") or {}
        named = mount.get("Type") == "volume" and mount.get("Source")
        if named and is_shared(driver.get("Name"), driver.get("Options") or {}) == shared:
            found[str(mount["Source"])] = dict(options.get("Labels") or {})
    return found


def emptying(removal: Removal, name: str) -> dict[str, Any]:
    """The service of this name whose only task deletes a volume's files on a node.

    It needs a shell and ``rm`` in the image. Of a superuser's powers its process has those to look
    into directories, and delete files, that are others'.
    """
    return {
        "Name": name,
        "Labels": {naming.LABEL_HUB: removal.hub, LABEL_EMPTIES: removal.volume},
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": removal.image,
                "Command": _EMPTY,
                "User": "0",
                "ReadOnly": True,
                "Healthcheck": NO_HEALTH_CHECK,
                "CapabilityDrop": ["ALL"],
                "CapabilityAdd": ["CAP_DAC_OVERRIDE", "CAP_FOWNER"],
                "Mounts": [{"Type": "volume", "Source": removal.volume, "Target": "/volume"}],
            },
            "Placement": {"Constraints": [f"node.id=={removal.node}"]},
            "RestartPolicy": {"Condition": "none"},
        },
        "Mode": {"Replicated": {"Replicas": 1}},
    }


def is_shared(driver: str | None, options: Mapping[str, str]) -> bool:
    """Whether a volume's files are the same on all nodes: only plain local ones are on one."""
    return driver not in (None, "", "local") or bool(options)


def _of_records(label: str) -> bool:
    return label == LABEL_VOLUME or label.startswith(f"{LABEL_VOLUME}.")


def _digest(text: str) -> str:
    data = text.encode("utf-8", "surrogatepass")
    return hashlib.sha256(data).hexdigest()[:_DIGITS]
