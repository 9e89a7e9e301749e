"""Mounts of a container: read from the settings' two forms, and written as Docker's API has them.

All values are final: templates have been expanded before they come here.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import ConfigError
from .merging import merged

_MODES = {"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent"}
_SHORT_MODES = {"z", "Z"}  # which there are in strings only
_PROPAGATIONS = {"private", "rprivate", "shared", "rshared", "slave", "rslave"}


@dataclass(frozen=True)
class Mount:
    """One mount of a container.

    Attributes:
        kind: ``"volume"``, ``"bind"`` or ``"tmpfs"``, the Docker API's words.
        source: volume name or absolute path on the Engine's host; ``""`` for tmpfs.
        target: absolute path in the container.
        flags: of a bind such as ``ro``, ``Z`` or ``rslave``; of a volume ``ro`` or ``nocopy``.
        labels: for a volume that does not exist yet.
        driver: volume driver, or None for the Engine's default.
        options: the driver's options.
        extra: further keys of the API's Mount object, as they are (``TmpfsOptions``, …).
    """

    kind: str
    source: str
    target: str
    flags: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    driver: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_bind_string(self) -> bool:
        """True where the API's ``Binds`` form is needed.

        Docker creates a missing host directory for a bind string, as users of ``-v`` expect, but
        refuses it for a Mount object; SELinux flags, and those of other Engines, exist as strings
        only.
        """
        short = self.flags - (_MODES - _SHORT_MODES) - _PROPAGATIONS
        return (self.kind == "bind" and not self.extra) or bool(short)

    def to_bind(self) -> str:
        """``source:target:flags``, for HostConfig.Binds."""
        flags = ",".join(sorted(self.flags))
        return f"{self.source}:{self.target}" + (f":{flags}" if flags else "")

    def to_api(self) -> dict[str, Any]:
        """The Mount object of HostConfig.Mounts."""
        body: dict[str, Any] = {"Type": self.kind, "Target": self.target}
        if self.source:
            body["Source"] = self.source
        if "ro" in self.flags:
            body["ReadOnly"] = True
        if self.kind == "volume":
            # If the volume disappears before the container is created, the Engine creates it again.
            options: dict[str, Any] = {"NoCopy": "nocopy" in self.flags}
            if self.labels:
                options["Labels"] = dict(self.labels)
            if self.driver or self.options:
                driver = {"Name": self.driver} if self.driver else {}
                options["DriverConfig"] = {**driver, "Options": dict(self.options)}
            body["VolumeOptions"] = options
        propagation = self.flags & _PROPAGATIONS
        if propagation:
            body["BindOptions"] = {"Propagation": min(propagation)}
        return merged(body, self.extra)


def volume_mounts(
    setting: str, volumes: Mapping[str, Any], *, read_only: bool = False
) -> list[Mount]:
    """DockerSpawner's ``volumes`` form as mounts.

    Args:
        setting: the setting's name, for errors.
        volumes: expanded; source → target, or source → ``{"bind": target, "mode": "ro,Z",
            "propagation": "rslave"}``. A source that starts with ``/`` or ``~`` is a path on the
            Engine's host, any other is a volume's name.
        read_only: make every one of them read-only unless its mode says otherwise.

    Raises:
        ConfigError: a source or target that Docker could not take, or an unknown mode.
    """
    mounts = []
    for source, value in volumes.items():
        details = value if isinstance(value, Mapping) else {"bind": value}
        unknown = set(details) - {"bind", "mode", "propagation"}
        if unknown or "bind" not in details:
            raise ConfigError(
                setting, {source: value}, 'use "target" or {"bind": "target", "mode": "rw"}'
            )
        mode = str(details.get("mode") or ("ro" if read_only else "rw"))
        flags = {flag for flag in (*mode.split(","), details.get("propagation")) if flag}
        if not flags <= _MODES | _PROPAGATIONS:
            known = ", ".join(sorted(_MODES | _PROPAGATIONS))
            raise ConfigError(setting, mode, f"unknown mode; use a list with commas of: {known}")
        mounts.append(_volume_mount(setting, source, str(details["bind"]), flags - {"rw"}))
    return mounts


def _volume_mount(setting: str, source: str, target: str, flags: set[str]) -> Mount:
    is_path = source.startswith(("/", "~"))
    if not target.startswith("/") or ":" in target:
        raise ConfigError(setting, target, 'the target must be an absolute path without ":"')
    if ":" in source or not source or (not is_path and "/" in source):
        raise ConfigError(
            setting, source, 'use a volume\'s name or an absolute path, both without ":"'
        )
    kind = "bind" if is_path else "volume"
    return Mount(kind, source, posixpath.normpath(target), frozenset(flags))


_MOUNT_KEYS = {
    "target", "source", "type", "read_only", "consistency", "propagation", "no_copy", "labels",
    "driver_config", "tmpfs_size", "tmpfs_mode",
}  # fmt: skip


def mount_from(setting: str, value: Mapping[str, Any]) -> Mount:
    """One entry of ``mounts``: the keyword arguments of docker-py's ``types.Mount``.

    Raises:
        ConfigError: an unknown key, type or target.
    """
    unknown = set(value) - _MOUNT_KEYS
    if unknown:
        raise ConfigError(
            setting, dict(value), f"unknown {sorted(unknown)}; known are {sorted(_MOUNT_KEYS)}"
        )
    kind = value.get("type", "volume")
    target = value.get("target", "")
    if kind not in ("volume", "bind", "tmpfs"):
        raise ConfigError(setting, kind, 'type must be "volume", "bind" or "tmpfs"')
    if not isinstance(target, str) or not target.startswith("/"):
        raise ConfigError(setting, target, "target must be an absolute path")
    driver = value.get("driver_config") or {}
    extra: dict[str, Any] = {}
    if value.get("consistency"):
        extra["Consistency"] = value["consistency"]
    if kind == "bind":
        # A Mount object and not a bind string, as for docker-py's Mount: no silent mkdir.
        extra["BindOptions"] = {}
    if kind == "tmpfs":
        sizes = {"SizeBytes": value.get("tmpfs_size"), "Mode": value.get("tmpfs_mode")}
        for number in filter(None, sizes.values()):
            if not isinstance(number, int) or isinstance(number, bool) or number < 0:
                hint = "tmpfs_size is a number of bytes, and tmpfs_mode a number such as 0o1777"
                raise ConfigError(setting, dict(value), hint)
        extra["TmpfsOptions"] = {name: number for name, number in sizes.items() if number}
    return Mount(
        kind=kind,
        source=value.get("source") or "",
        target=posixpath.normpath(target),
        flags=frozenset(
            flag
            for flag, wanted in (
                ("ro", value.get("read_only")),
                ("nocopy", value.get("no_copy")),
                (value.get("propagation") or "", value.get("propagation")),
            )
            if wanted
        ),
        labels=dict(value.get("labels") or {}),
        driver=driver.get("Name") or driver.get("name"),
        options=dict(driver.get("Options") or driver.get("options") or {}),
        extra=extra,
    )


_API_KEYS = (
    *("Type", "Source", "Target", "ReadOnly", "Consistency"),
    *("BindOptions", "VolumeOptions", "TmpfsOptions"),
)
_API_VOLUME_KEYS = ("NoCopy", "Labels", "DriverConfig", "Subpath")


def bind_mount(setting: str, source: str, target: str, flags: str) -> Mount:
    """One of HostConfig's ``Binds``, in its parts; every flag that an Engine may know.

    Args:
        setting: the setting's name, for errors.
        source: a path or a volume's name; "" for an anonymous volume.
        target: absolute path in the container.
        flags: with commas between them.

    Raises:
        ConfigError: a source or target that Docker could not take.
    """
    known = {flag for flag in flags.split(",") if flag} - {"rw"}
    if source:
        return _volume_mount(setting, source, target, known)
    return replace(_volume_mount(setting, "anonymous", target, known), source="")


def bind_parts(setting: str, bind: str) -> tuple[str, str, str]:
    """Source, target and flags of a bind string such as ``/srv/data:/data:ro``.

    Raises:
        ConfigError: it has other parts.
    """
    source, *rest = bind.split(":")
    if not rest:
        return "", source, ""
    if len(rest) > 2:
        raise ConfigError(setting, bind, 'use "source:target" or "source:target:mode"')
    return source, rest[0], rest[1] if len(rest) > 1 else ""


def spelled(keys: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Keys of Docker's API under the names that it has for them: it reads any case of letters."""
    known = {name.lower(): name for name in names}
    return {known.get(str(key).lower(), str(key)): value for key, value in keys.items()}


def api_spelled(body: Mapping[str, Any]) -> dict[str, Any]:
    """A Mount object of Docker's API with its keys as the API spells them, and its type in full."""
    mount = spelled(body, _API_KEYS)
    mount["Type"] = str(mount.get("Type") or "volume").lower()
    options = mount.get("VolumeOptions")
    if isinstance(options, Mapping):
        options = mount["VolumeOptions"] = spelled(options, _API_VOLUME_KEYS)
        if isinstance(options.get("DriverConfig"), Mapping):
            options["DriverConfig"] = spelled(options["DriverConfig"], ("Name", "Options"))
    return mount


def api_mount(setting: str, body: Mapping[str, Any]) -> Mount:
    """A Mount object of Docker's API, of one of the kinds that `Mount` knows.

    Raises:
        ConfigError: a target that is no absolute path.
    """
    rest = {key: value for key, value in body.items() if key not in ("Type", "Source", "Target")}
    options = dict(rest.pop("VolumeOptions", None) or {})
    driver = options.pop("DriverConfig", None) or {}
    target, kind = body.get("Target"), body.get("Type", "volume")
    if not isinstance(target, str) or not target.startswith("/"):
        raise ConfigError(setting, dict(body), "Target must be an absolute path")
    flags = {"ro": rest.pop("ReadOnly", False), "nocopy": options.pop("NoCopy", False)}
    labels = dict(options.pop("Labels", None) or {})
    if kind == "bind":
        rest.setdefault("BindOptions", {})  # no silent mkdir, see `mount_from`
    return Mount(
        kind=kind,
        source=body.get("Source") or "",
        target=posixpath.normpath(target),
        flags=frozenset(flag for flag, wanted in flags.items() if wanted),
        labels=labels,
        driver=driver.get("Name"),
        options=dict(driver.get("Options") or {}),
        extra={**rest, **({"VolumeOptions": options} if options else {})},
    )


def check_targets(mounts: Sequence[Mount]) -> None:
    """Refuse two mounts at one path, which Docker would notice only after half of the work.

    Raises:
        ConfigError: names both sources and the path.
    """
    seen: dict[str, Mount] = {}
    for mount in mounts:
        other = seen.setdefault(mount.target, mount)
        if other is not mount:
            raise ConfigError(
                "volumes",
                mount.target,
                f"both {other.source!r} and {mount.source!r} would be "
                "mounted there; give each a path of its own",
            )


def under(mounts: Sequence[Mount], path: str) -> Mount | None:
    """The mount that a path in the container is in, if somebody could write there."""
    around = [one for one in mounts if f"{path}/".startswith(f"{one.target.rstrip('/')}/")]
    nearest = max(around, key=lambda mount: len(mount.target), default=None)
    return None if nearest is None or "ro" in nearest.flags else nearest
