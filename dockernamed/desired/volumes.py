"""Which volumes and directories one server gets, under which names, and whose they are. Pure.

A volume that a server once had stays its volume: names are remembered, so that a changed prefix,
template or server name never makes files vanish; and a name that another server remembers is never
given to a second one.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import naming, templates
from ..errors import ConfigError
from .mounts import Mount, check_targets, mount_from, volume_mounts

#: What the server's own volume is remembered under; the others go by their path.
OWN = "server_volume"


@dataclass(frozen=True)
class RequestedMount:
    """One mount as the settings ask for it, templates expanded.

    Attributes:
        setting: where it is asked for.
        mount: the mount; of a named volume the name may still change, see `plan_volumes`.
        identity: which parts of an identity the volume's name tells apart: of ``"user"`` and
            ``"server"``; empty for what all servers of the Hub share, and for what is no volume.
        chosen: the part of the user's choice that the name comes from; "": it is the setting's.
    """

    setting: str
    mount: Mount
    identity: frozenset[str] = frozenset()
    chosen: str = ""

    @property
    def is_named_volume(self) -> bool:
        """A volume with a name, rather than a directory, a tmpfs or an anonymous volume."""
        return self.mount.kind == "volume" and bool(self.mount.source)


@dataclass(frozen=True)
class RequestedVolumes:
    """All that the settings ask for.

    Attributes:
        server_volume: the server's own volume, whose place is not known yet; None: there is none.
        mounts: the others, in the order of the settings.
    """

    server_volume: RequestedMount | None = None
    mounts: tuple[RequestedMount, ...] = ()

    @property
    def all(self) -> tuple[RequestedMount, ...]:
        """All of them, the server's own volume first."""
        return (*((self.server_volume,) if self.server_volume else ()), *self.mounts)


@dataclass(frozen=True)
class VolumePlan:
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


def requested_volumes(
    namespace: Mapping[str, str],
    *,
    server_volume: str = "",
    volumes: Mapping[str, Any] | None = None,
    read_only_volumes: Mapping[str, Any] | None = None,
    mounts: Sequence[Mapping[str, Any]] = (),
    chosen: Mapping[str, str] | None = None,
) -> RequestedVolumes:
    """Read the settings about files, and expand their templates.

    Args:
        namespace: the fields of templates.
        server_volume: the setting of that name; likewise the others.
        volumes: see above.
        read_only_volumes: see above.
        mounts: see above.
        chosen: template → the part of the user's choice that put it into one of these settings.

    Raises:
        ConfigError: a template's field is unknown (TemplateError), or Docker could not take a
            mount.
    """
    reader = _Reader(namespace, chosen or {})
    own = None
    if server_volume:
        name = templates.expand(server_volume, namespace, field="server_volume")
        mount = Mount("volume", name, "")
        own = reader.requested("server_volume", server_volume, mount)
    return RequestedVolumes(
        own,
        (
            *reader.volumes("volumes", volumes or {}, read_only=False),
            *reader.volumes("read_only_volumes", read_only_volumes or {}, read_only=True),
            *map(reader.mount, mounts),
        ),
    )


def plan_volumes(
    requested: RequestedVolumes,
    key: naming.Key,
    *,
    home: str,
    remembered: Mapping[str, str],
    taken: Container[str] = (),
    elsewhere: Container[str] = (),
) -> VolumePlan:
    """Decide on every mount of a server.

    Args:
        requested: what the settings ask for.
        key: whose server.
        home: where the server's own volume goes; "" or "/": nowhere.
        remembered: `VolumePlan.remembered` of the last start.
        taken: names that other servers of the Hub remember as theirs.
        elsewhere: those that servers of other users do: the user was called as ours is now.

    Raises:
        ConfigError: two mounts are at one path.
    """
    planner = _Planner(key, remembered, taken, elsewhere)
    mounts = [planner.named(one, one.mount.target) for one in requested.mounts]
    covered = {mount.target for mount in mounts}
    home = posixpath.normpath(home) if home else ""
    if requested.server_volume and home not in ("", "/", "//") and home not in covered:
        own = planner.named(requested.server_volume, OWN)
        mounts.insert(0, replace(own, target=home))
    check_targets(mounts)
    return VolumePlan(tuple(mounts), planner.owners, planner.kept, tuple(planner.notes))


def is_of_server(
    name: str, labels: Mapping[str, str], key: naming.Key, remembered: Collection[str]
) -> bool:
    """Whether a volume is a server's own, so that it goes when the server is deleted for good.

    Another server may remember it as its own: one of them, or its user, may have been called as
    this one is when the volume was made.

    Args:
        name: of a volume with these labels.
        labels: as the Engine has them.
        key: the server that is deleted.
        remembered: names of this server's volumes, shared ones among them.
    """
    if labels.get(naming.LABEL_HUB) != key.hub or naming.LABEL_SERVER not in labels:
        return False
    return naming.key_of(labels) == key or name in remembered


class _Planner:
    """Names volumes and notes whose they are."""

    def __init__(
        self,
        key: naming.Key,
        remembered: Mapping[str, str],
        taken: Container[str],
        elsewhere: Container[str],
    ) -> None:
        self.key, self.remembered = key, remembered
        self.taken, self.elsewhere = taken, elsewhere
        self.owners: dict[str, Mapping[str, str]] = {}
        self.kept: dict[str, str] = {}
        self.notes: list[str] = []

    def named(self, requested: RequestedMount, place: str) -> Mount:
        """The mount with its volume's final name and labels; noted on the way: whose it is."""
        mount = requested.mount
        if not requested.is_named_volume:
            return mount
        name, whose = mount.source, {naming.LABEL_HUB: self.key.hub}
        labels = whose
        if requested.chosen:
            # Another choice has another volume there, and is remembered beside this one.
            place = f"{place} ({requested.chosen})"
        if requested.identity:
            name, labels = self._own_name(requested, place)
            # A remembered volume may have been made under this server's or user's earlier name.
            whose = whose if place in self.remembered else labels
            self.kept[place] = name
        self.owners[name] = whose
        return replace(mount, source=name, labels={**mount.labels, **labels})

    def _own_name(self, requested: RequestedMount, place: str) -> tuple[str, dict[str, str]]:
        """Name and labels of a volume that is not for all servers of the Hub."""
        name, parts = requested.mount.source, requested.identity
        own = self.remembered.get(place)
        if own is None:
            # One of them was renamed away from our name, or its user from our user's.
            name = _free(name, self.taken if "server" in parts else self.elsewhere)
        elif own != name:
            self.notes.append(
                f"keeping volume {own!r}, where this server's files are, though "
                f"{requested.setting} would now give {name!r}"
            )
            name = own
        labels = naming.labels(self.key)
        if "server" not in parts:
            del labels[naming.LABEL_SERVER]
        return name, labels


def _free(name: str, taken: Container[str]) -> str:
    """The name, or the first one like it that is not taken."""
    free, number = name, 1
    while free in taken:
        number += 1
        free = f"{name}.{number}"
    return free


class _Reader:
    """Reads settings with templates of the fields of one server."""

    def __init__(self, namespace: Mapping[str, str], chosen: Mapping[str, str]) -> None:
        self._namespace, self._chosen = namespace, chosen

    def requested(self, setting: str, template: str, mount: Mount) -> RequestedMount:
        """A mount with what its name's template says of it."""
        if mount.kind != "volume" or not template:
            return RequestedMount(setting, mount)
        parts = templates.identity_in(template, field=setting)
        chosen = self._chosen.get(template, "")
        if "imagename" in templates.fields_in(template, field=setting):
            chosen = f"{chosen} image {self._namespace['imagename']}".strip()
        return RequestedMount(setting, mount, parts, chosen)

    def volumes(
        self, setting: str, volumes: Mapping[str, Any], *, read_only: bool
    ) -> Iterator[RequestedMount]:
        """The form of ``volumes``: source → target."""
        for template, value in volumes.items():
            target = templates.expand_all(value, self._namespace, field=setting)
            # Host directories have no labels to check: the path itself must tell servers apart.
            is_path = template.startswith(("/", "~"))
            source = templates.expand(template, self._namespace, field=setting, distinct=is_path)
            for mount in volume_mounts(setting, {source: target}, read_only=read_only):
                yield self.requested(setting, template, mount)

    def mount(self, value: Mapping[str, Any]) -> RequestedMount:
        """One entry of ``mounts``."""
        if not isinstance(value, Mapping):
            raise ConfigError("mounts", value, "use a dict with type, source and target")
        template = value.get("source") or ""
        rest = {name: item for name, item in value.items() if name != "source"}
        mount = mount_from("mounts", templates.expand_all(rest, self._namespace, field="mounts"))
        distinct = mount.kind != "volume" or not template
        source = templates.expand(template, self._namespace, field="mounts", distinct=distinct)
        return self.requested("mounts", template, replace(mount, source=source))
