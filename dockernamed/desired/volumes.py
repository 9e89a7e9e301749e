"""Which volumes and directories one server gets, under which names, and whose they are. Pure.

A volume that a server once had stays its volume: names are remembered, so that a changed prefix,
template or server name never makes files vanish; and a name that another server remembers is never
given to a second one.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .. import naming, templates
from ..errors import ConfigError
from .mounts import Mount, check_targets, mount_from, volume_mounts

#: What the server's own volume is remembered under; the others go by their path.
OWN = "server_volume"


@dataclass(frozen=True)
class StorageSettings:
    """The settings that decide, as the admin wrote them; see traits.py."""

    server_volume: str = ""
    volumes: Mapping[str, Any] = field(default_factory=dict)
    read_only_volumes: Mapping[str, Any] = field(default_factory=dict)
    mounts: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Storage:
    """What one server gets.

    Attributes:
        mounts: in the order of the settings, the server's own volume first.
        owners: volume name → the labels it must not contradict where it exists already.
        remembered: where → volume name, to hand in at the next start.
        notes: sentences for the log, where a remembered name won over a template.
    """

    mounts: tuple[Mount, ...]
    owners: Mapping[str, Mapping[str, str]]
    remembered: Mapping[str, str]
    notes: tuple[str, ...] = ()


def plan_storage(
    settings: StorageSettings,
    key: naming.Key,
    namespace: Mapping[str, str],
    *,
    home: str,
    remembered: Mapping[str, str],
    taken: Container[str] = (),
    elsewhere: Container[str] = (),
) -> Storage:
    """Decide on every mount of a server.

    Args:
        settings: the admin's.
        key: whose server.
        namespace: the fields of templates.
        home: where the server's own volume goes; "" or "/": nowhere.
        remembered: `Storage.remembered` of the last start.
        taken: names that other servers of the Hub remember as theirs.
        elsewhere: those that servers of other users do: the user was called as ours is now.

    Raises:
        ConfigError: a template's field is unknown (TemplateError), Docker could not take a
            mount, or two are at one path.
    """
    planner = _Planner(key, namespace, remembered, taken, elsewhere)
    mounts = [
        *_expanded_volumes("volumes", settings.volumes, planner, read_only=False),
        *_expanded_volumes(
            "read_only_volumes", settings.read_only_volumes, planner, read_only=True
        ),
        *(_expanded_mount(mount, planner) for mount in settings.mounts),
    ]
    covered = {mount.target for mount in mounts}
    home = posixpath.normpath(home) if home else ""
    if settings.server_volume and home not in ("", "/", "//") and home not in covered:
        name = planner.name("server_volume", settings.server_volume, OWN)
        mounts.insert(0, Mount("volume", name, home))
    check_targets(mounts)
    labelled = tuple(
        replace(mount, labels={**mount.labels, **planner.labels.get(mount.source, {})})
        if mount.kind == "volume"
        else mount
        for mount in mounts
    )
    return Storage(labelled, planner.owners, planner.kept, tuple(planner.notes))


def is_this_servers_alone(
    name: str,
    labels: Mapping[str, str],
    key: naming.Key,
    *,
    remembered: Collection[str],
    taken: Container[str],
) -> bool:
    """Whether a volume goes when its server is deleted for good.

    Args:
        name: of a volume with these labels.
        labels: as the Engine has them.
        key: the server that is deleted.
        remembered: names of this server's volumes, shared ones among them.
        taken: names that other servers of the Hub remember: one of them, or its user, may have
            been called as this one is when its volume was made.
    """
    if labels.get(naming.LABEL_HUB) != key.hub or naming.LABEL_SERVER not in labels:
        return False
    return (naming.key_of(labels) == key or name in remembered) and name not in taken


class _Planner:
    """Names volumes and notes whose they are."""

    def __init__(
        self,
        key: naming.Key,
        namespace: Mapping[str, str],
        remembered: Mapping[str, str],
        taken: Container[str],
        elsewhere: Container[str],
    ) -> None:
        self.key, self.namespace, self.remembered = key, namespace, remembered
        self.taken, self.elsewhere = taken, elsewhere
        self.owners: dict[str, Mapping[str, str]] = {}
        self.labels: dict[str, Mapping[str, str]] = {}
        self.kept: dict[str, str] = {}
        self.notes: list[str] = []

    def name(self, setting: str, template: str, place: str) -> str:
        """The volume's name at a place, and on the way its owner and what to remember."""
        name = templates.expand(template, self.namespace, field=setting)
        parts = templates.identity_in(template, field=setting)
        whose = {naming.LABEL_HUB: self.key.hub}
        if not parts:
            # Named by the admin for all servers of this Hub.
            self.owners[name] = self.labels[name] = whose
            return name
        own = self.remembered.get(place)
        if own is not None and own != name:
            self.notes.append(
                f"keeping volume {own!r}, where this server's files are, though {setting} would "
                f"now give {name!r}"
            )
            name = own
        elif own is None:
            # One of them was renamed away from our name, or its user from our user's.
            name = _free(name, self.taken if "server" in parts else self.elsewhere)
        self.labels[name] = {
            label: value
            for label, value in naming.labels(self.key).items()
            if label != naming.LABEL_SERVER or "server" in parts
        }
        # A remembered volume may have been made under this server's or user's earlier name.
        self.owners[name] = whose if own is not None else self.labels[name]
        self.kept[place] = name
        return name


def _free(name: str, taken: Container[str]) -> str:
    """The name, or the first one like it that is not taken."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}.{number}"
    return free


def _expanded_volumes(
    setting: str, volumes: Mapping[str, Any], planner: _Planner, *, read_only: bool
) -> list[Mount]:
    found = []
    for template, value in volumes.items():
        target = templates.expand_all(value, planner.namespace, field=setting)
        if template.startswith(("/", "~")):
            # Host directories have no labels to check: the path itself must tell servers apart.
            source = templates.expand(template, planner.namespace, field=setting, distinct=True)
            found += volume_mounts(setting, {source: target}, read_only=read_only)
            continue
        (mount,) = volume_mounts(setting, {"x": target}, read_only=read_only)
        name = planner.name(setting, template, mount.target)
        found += volume_mounts(setting, {name: target}, read_only=read_only)
    return found


def _expanded_mount(value: Mapping[str, Any], planner: _Planner) -> Mount:
    if not isinstance(value, Mapping):
        raise ConfigError("mounts", value, "use a dict with type, source and target")
    template = value.get("source") or ""
    rest = {name: item for name, item in value.items() if name != "source"}
    mount = mount_from("mounts", templates.expand_all(rest, planner.namespace, field="mounts"))
    if mount.kind == "volume" and template:
        return replace(mount, source=planner.name("mounts", template, mount.target))
    source = templates.expand(template, planner.namespace, field="mounts", distinct=True)
    return replace(mount, source=source)
