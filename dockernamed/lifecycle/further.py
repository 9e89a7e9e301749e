"""The further arguments for docker-py, ``extra_create_kwargs`` and ``extra_host_config``, read.

Mounts among them, whichever of the two names them, are taken out: they go the way of ``volumes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import templates
from ..desired.merging import merged
from ..desired.mounts import api_spelled, spelled
from ..engine.sdk_kwargs import create_config, host_config
from ..errors import ConfigError

AT_CREATE, FOR_HOST = "extra_create_kwargs", "extra_host_config"
#: Kinds of Mount objects whose volumes and directories are looked after like any other.
_KINDS = ("bind", "tmpfs", "volume")
_MOUNTING = ("Binds", "Mounts")


@dataclass(frozen=True)
class Further:
    """What the two settings ask for, in the Engine API's spelling.

    Attributes:
        config: keys of the create call, templates expanded.
        host_config: keys of its HostConfig, likewise, without mounts.
        binds: mounts as strings, whose templates are not expanded yet.
        mounts: likewise, as Mount objects of the API.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    host_config: Mapping[str, Any] = field(default_factory=dict)
    binds: tuple[str, ...] = ()
    mounts: tuple[Mapping[str, Any], ...] = ()


def further(
    at_create: Mapping[str, Any], for_host: Mapping[str, Any], namespace: Mapping[str, str]
) -> Further:
    """Read both settings.

    Args:
        at_create: ``extra_create_kwargs``, any callable already called.
        for_host: ``extra_host_config``, likewise.
        namespace: the fields of templates.

    Raises:
        ConfigError: an argument that docker-py does not know, a value that cannot be read, or a
            template that cannot be expanded (TemplateError).
    """
    # Which are of the API already: docker-py hands the argument through.
    in_create = at_create.get("host_config") or {}
    if not isinstance(in_create, Mapping):
        raise ConfigError(AT_CREATE, {"host_config": in_create}, "expected a dict")
    in_create = spelled(in_create, (*_MOUNTING, "VolumesFrom"))
    found = merged(
        host_config({name: for_host[name] for name in ("binds", "mounts") if name in for_host}),
        {name: _list(in_create, name) for name in _MOUNTING},
    )
    mounts = [api_spelled(one) for one in found["Mounts"]]
    others = [one for one in mounts if one.get("Type", "volume") not in _KINDS]
    config = create_config(_expanded(at_create, namespace, AT_CREATE, but=("host_config",)))
    _check_paths(config.get("Volumes") or {})
    host = merged(
        host_config(_expanded(for_host, namespace, FOR_HOST, but=("binds", "mounts"))),
        _expanded(in_create, namespace, AT_CREATE, but=_MOUNTING),
    )
    if others:
        host["Mounts"] = templates.expand_all(others, namespace, field=FOR_HOST, in_passing=True)
    ours = tuple(one for one in mounts if one.get("Type", "volume") in _KINDS)
    return Further(config, host, tuple(map(str, found["Binds"])), ours)


def _expanded(
    arguments: Mapping[str, Any],
    namespace: Mapping[str, str],
    setting: str,
    but: tuple[str, ...] = (),
) -> dict[str, Any]:
    wanted = {name: value for name, value in arguments.items() if name not in but}
    return templates.expand_all(wanted, namespace, field=setting, in_passing=True)


def _list(config: Mapping[str, Any], name: str) -> list[Any]:
    value = config.get(name) or []
    if not isinstance(value, list):
        raise ConfigError(AT_CREATE, {"host_config": dict(config)}, f"{name} must be a list")
    return value


def _check_paths(volumes: Mapping[str, Any]) -> None:
    """Refuse anonymous volumes that an Engine might take for a volume with a name, or a bind."""
    for path in volumes:
        if not path.startswith("/") or ":" in path:
            hint = "name a path in the container only, and mounts in the setting volumes"
            raise ConfigError(AT_CREATE, {"volumes": path}, hint)
