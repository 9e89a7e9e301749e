"""Which volumes and directories one server gets, under which names, and whose they are. Pure.

A volume that a server once had stays its volume: names are remembered, so that a changed prefix,
template or server name never makes files vanish; and a name that another server remembers is never
given to a second one.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from .. import naming, templates
from ..errors import ConfigError, ForeignObject
from .mounts import (
    Mount,
    api_mount,
    bind_mount,
    bind_parts,
    check_targets,
    mount_from,
    volume_mounts,
)

T = TypeVar("T")

#: The setting with further arguments, among them mounts.
FURTHER = "extra_host_config"
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
    binds: Sequence[str] = (),
    api_mounts: Sequence[Mapping[str, Any]] = (),
    chosen: Mapping[str, str] | None = None,
) -> RequestedVolumes:
    """Read the settings about files, and expand their templates.

    Args:
        namespace: the fields of templates.
        server_volume: the setting of that name; likewise the others.
        volumes: see above.
        read_only_volumes: see above.
        mounts: see above.
        binds: those of ``extra_host_config``, whose templates are expanded in passing.
        api_mounts: likewise, Mount objects of Docker's API.
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
            *map(reader.bind, binds),
            *map(reader.api_mount, api_mounts),
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
        ForeignObject: another user of the Hub is remembered to have a volume that is asked for.
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
        name, labels = mount.source, {naming.LABEL_HUB: self.key.hub}
        if requested.chosen:
            # Another choice has another volume there, and is remembered beside this one.
            place = f"{place} ({requested.chosen})"
        if requested.identity:
            name, labels = self._own_name(requested, place)
            # A remembered volume may have been made under this server's or user's earlier name.
            whose: Mapping[str, str] = labels
            if place in self.remembered:
                whose = {naming.LABEL_HUB: self.key.hub}
            self.kept[place] = name
        else:
            whose = self._whose(requested)
        self.owners[name] = whose
        return replace(mount, source=name, labels={**mount.labels, **labels})

    def _whose(self, requested: RequestedMount) -> dict[str, str]:
        """What the labels of a volume that is for everybody must not contradict.

        Labels may name its user by an earlier name: the Hub remembers who has it now.
        """
        name, hub = requested.mount.source, {naming.LABEL_HUB: self.key.hub}
        if name in self.remembered.values():
            return hub
        if name in self.elsewhere:
            hint = f"name another volume in {requested.setting}: this one is a user's own"
            raise ForeignObject("volume", name, "another user of this Hub", hint)
        return hub if name in self.taken else {**hub, naming.LABEL_USER: self.key.user}

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

    def requested(
        self, setting: str, template: str, mount: Mount, *, in_passing: bool = False, text: str = ""
    ) -> RequestedMount:
        """A mount with what its name's template says of it; ``text`` is what that stands in."""
        if mount.kind != "volume" or not template:
            return RequestedMount(setting, mount)
        pieces = (
            templates.pieces_in_passing(template, setting, self._namespace)
            if in_passing
            else templates.pieces(template, setting)
        )
        fields = frozenset(name for _, name in pieces)
        chosen = self._chosen.get(template, "") or self._chosen.get(text, "")
        if "imagename" in fields:
            chosen = f"{chosen} image {self._namespace['imagename']}".strip()
        return RequestedMount(setting, mount, templates.identity_in(fields), chosen)

    def volumes(
        self, setting: str, volumes: Mapping[str, Any], *, read_only: bool
    ) -> Iterator[RequestedMount]:
        """The form of ``volumes``: source → target."""
        for template, value in volumes.items():
            target = templates.expand_all(value, self._namespace, field=setting)
            source = self._source(
                template, partial(templates.expand, namespace=self._namespace, field=setting)
            )
            for mount in volume_mounts(setting, {source: target}, read_only=read_only):
                yield self.requested(setting, template, mount)

    def mount(self, value: Mapping[str, Any]) -> RequestedMount:
        """One entry of ``mounts``."""
        if not isinstance(value, Mapping):
            raise ConfigError("mounts", value, "use a dict with type, source and target")
        template = value.get("source") or ""
        expand = partial(templates.expand_all, namespace=self._namespace, field="mounts")
        # What a driver's options name has no labels to check either.
        made = {
            name: expand(item, distinct=name == "driver_config")
            for name, item in value.items()
            if name != "source"
        }
        mount = mount_from("mounts", made)
        distinct = mount.kind != "volume" or not template
        source = templates.expand(template, self._namespace, field="mounts", distinct=distinct)
        return self.requested("mounts", template, replace(mount, source=source))

    def bind(self, text: str) -> RequestedMount:
        """One of ``Binds``."""
        template, target, flags = bind_parts(FURTHER, text)
        source = self._source(template, self._in_passing)
        mount = bind_mount(FURTHER, source, *map(self._in_passing, (target, flags)))
        return self.requested(FURTHER, template, mount, in_passing=True, text=text)

    def api_mount(self, body: Mapping[str, Any]) -> RequestedMount:
        """One of HostConfig's ``Mounts``."""
        template = body.get("Source") or ""
        volume = body.get("Type", "volume") == "volume"
        self._in_passing(_paths_of(body), distinct=True)
        source = self._in_passing(template, distinct=not volume)
        mount = api_mount(FURTHER, {**self._in_passing(dict(body)), "Source": source})
        return self.requested(FURTHER, template, mount, in_passing=True)

    @staticmethod
    def _source(template: str, expand: Callable[..., str]) -> str:
        """A volume's name or a path; of a path, the text itself must tell servers apart.

        Directories of the host have no labels to check.
        """
        source = expand(template)
        return expand(template, distinct=True) if source.startswith(("/", "~")) else source

    def _in_passing(self, value: T, *, distinct: bool = False) -> T:
        expand = partial(templates.expand_all, field=FURTHER, in_passing=True)
        return expand(value, self._namespace, distinct=distinct)


def _paths_of(body: Mapping[str, Any]) -> list[Any]:
    """What a Mount object of Docker's API says about where in a volume, or in a driver's store."""
    options = body.get("VolumeOptions") or {}
    return [options.get("Subpath"), options.get("DriverConfig")]
