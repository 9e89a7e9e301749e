"""Mounts of a container as those of a Swarm service's task, which has one form for all. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import ConfigError
from .mounts import api_spelled, bind_parts, spelled
from .private import PRIVATE_DIR

#: Refuses a value: the key in the container's body, the value, what would work.
Refuse = Callable[[str, object, str], ConfigError]
Api = tuple[int, int]

SHM = "/dev/shm"  # noqa: S108  (of the container)
_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
#: Flags of binds without a meaning on Linux, or that are as if there were none.
_NO_FLAGS = ("rw", "cached", "consistent", "delegated", "default")
_RELABEL = (
    "services do not set SELinux labels: have them on the nodes, such as with "
    "chcon -R -t container_file_t, and leave out z and Z"
)
_MAKE_IT = "services make no directories: make it on each node where the server may run"
#: Keys of a mount that other kinds than these have not → since which version of the API.
_KINDS: Mapping[str, Api] = {
    "bind": (1, 41),
    "volume": (1, 41),
    "tmpfs": (1, 41),
    "cluster": (1, 42),
}
_SIZE = re.compile(r"(\d+)([kmgt]?)b?", re.IGNORECASE)
_UNITS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
#: Flags of a tmpfs that it has anyhow.
_TMPFS_DEFAULTS = ("rw", "noexec", "nosuid", "nodev", "noatime", "relatime")
#: Since when a tmpfs of a service can have programs in it that run.
_TMPFS_EXEC: Api = (1, 46)
_SUBPATH: Api = (1, 45)


def literal(text: str) -> str:
    """A text that Swarm's nodes take for a template, so that it stays what it is."""
    return text.replace("{{", '{{"{{"}}')


def service_mounts(
    config: Mapping[str, Any], host: Mapping[str, Any], api: Api, refuse: Refuse
) -> list[dict[str, Any]]:
    """All that a container's body mounts, but for the volume of what is private.

    Args:
        config: the body.
        host: its HostConfig.
        api: version of the API.
        refuse: makes the error for what services cannot have.

    Raises:
        ConfigError: such a mount.
    """
    found = [
        *(_bind(str(bind), refuse) for bind in host.get("Binds") or ()),
        *(_mount(api_spelled(mount), api, refuse) for mount in host.get("Mounts") or ()),
        *({"Type": "volume", "Target": path} for path in config.get("Volumes") or ()),
        *(_tmpfs(path, text, api, refuse) for path, text in (host.get("Tmpfs") or {}).items()),
    ]
    found = [one for one in found if one["Target"] != PRIVATE_DIR]
    size = host.get("ShmSize")
    if size and not any(posixpath.normpath(one["Target"]) == SHM for one in found):
        # A service has no other way to say how large it is.
        found.append({"Type": "tmpfs", "Target": SHM, "TmpfsOptions": {"SizeBytes": int(size)}})
    return [_without_templates(one) for one in found]


def _bind(bind: str, refuse: Refuse) -> dict[str, Any]:
    source, target, flags = bind_parts("volumes", bind)
    return _of_flags(source, target, [flag for flag in flags.split(",") if flag], refuse)


def _of_flags(source: str, target: str, flags: Iterable[str], refuse: Refuse) -> dict[str, Any]:
    kind = "bind" if source.startswith(("/", "~")) else "volume"
    mount: dict[str, Any] = {"Type": kind, "Target": target}
    if source:
        mount["Source"] = source
    for flag in flags:
        if flag == "ro":
            mount["ReadOnly"] = True
        elif flag == "nocopy" and kind == "volume":
            mount["VolumeOptions"] = {"NoCopy": True}
        elif flag in _PROPAGATIONS and kind == "bind":
            mount["BindOptions"] = {"Propagation": flag}
        elif flag not in _NO_FLAGS:
            hint = _RELABEL if flag in ("z", "Z") else f"services know no mode {flag!r}"
            raise refuse("Binds", f"{source}:{target}:{flag}", hint)
    return mount


def _mount(mount: Mapping[str, Any], api: Api, refuse: Refuse) -> dict[str, Any]:
    kind = str(mount["Type"])
    if kind not in _KINDS or api < _KINDS[kind]:
        hint = "services mount volumes, directories of their node and tmpfs"
        raise refuse("Mounts", dict(mount), hint)
    found = {
        key: value
        for key, value in mount.items()
        if key != "Consistency" and value not in (None, "", False, {})
    }
    if "BindOptions" in found:
        found["BindOptions"] = _bind_options(found["BindOptions"], refuse)
    if (found.get("VolumeOptions") or {}).get("Subpath") and api < _SUBPATH:
        raise refuse("Mounts", dict(mount), f"Subpath needs version {version(_SUBPATH)} of the API")
    return found


def _bind_options(options: Mapping[str, Any], refuse: Refuse) -> dict[str, Any]:
    known = ("Propagation", "NonRecursive", "CreateMountpoint")
    given = {key: value for key, value in spelled(options, known).items() if value}
    if given.pop("CreateMountpoint", None):
        raise refuse("Mounts", dict(options), _MAKE_IT)
    if other := sorted(set(given) - set(known)):
        raise refuse("Mounts", dict(options), f"services have no {', '.join(other)}")
    return given


def _tmpfs(path: str, text: str, api: Api, refuse: Refuse) -> dict[str, Any]:
    mount: dict[str, Any] = {"Type": "tmpfs", "Target": path}
    options: dict[str, Any] = {}
    for option in filter(None, (part.strip() for part in str(text).split(","))):
        name, _, value = option.partition("=")
        size = _SIZE.fullmatch(value)
        if name == "size" and size:
            options["SizeBytes"] = int(size[1]) * 1024 ** _UNITS[size[2].lower()]
        elif name == "mode" and re.fullmatch("[0-7]+", value):
            options["Mode"] = int(value, 8)
        elif option == "ro":
            mount["ReadOnly"] = True
        elif option == "exec" and api >= _TMPFS_EXEC:
            options["Options"] = [["exec"]]
        elif option not in _TMPFS_DEFAULTS:
            hint = "a tmpfs of a service has a size in bytes, a mode, and ro; "
            hint += f"exec needs version {version(_TMPFS_EXEC)} of the API"
            raise refuse("Tmpfs", {path: text}, hint)
    return {**mount, **({"TmpfsOptions": options} if options else {})}


def _without_templates(mount: Mapping[str, Any]) -> dict[str, Any]:
    """The mount with `literal` texts, wherever nodes would expand them."""
    found = dict(mount)
    for key in ("Source", "Target"):
        if key in found:
            found[key] = literal(str(found[key]))
    if options := dict(found.get("VolumeOptions") or {}):
        if options.get("Labels"):
            options["Labels"] = _literals(options["Labels"])
        if driver := dict(options.get("DriverConfig") or {}):
            if driver.get("Options"):
                driver["Options"] = _literals(driver["Options"])
            options["DriverConfig"] = driver
        found["VolumeOptions"] = options
    return found


def _literals(texts: Mapping[str, Any]) -> dict[str, str]:
    return {name: literal(str(text)) for name, text in texts.items()}


def version(api: Api) -> str:
    """A version of the API in words, such as ``1.41``."""
    return ".".join(map(str, api))
