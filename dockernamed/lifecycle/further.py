"""The further arguments for docker-py, ``extra_create_kwargs`` and ``extra_host_config``, read.

Mounts among them, whichever of the two names them, are taken out: they go the way of ``volumes``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import templates
from ..desired.merging import merged
from ..engine.sdk_kwargs import create_config, host_config
from ..errors import ConfigError

AT_CREATE, FOR_HOST = "extra_create_kwargs", "extra_host_config"
#: Kinds of Mount objects whose volumes and directories are looked after like any other.
_KINDS = ("bind", "tmpfs", "volume")


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
    mounting = host_config(
        {name: for_host[name] for name in ("binds", "mounts") if name in for_host}
    )
    found = merged({name: _list(in_create, name) for name in ("Binds", "Mounts")}, mounting)
    ours = [one for one in found["Mounts"] if one.get("Type", "volume") in _KINDS]
    others = [one for one in found["Mounts"] if one.get("Type", "volume") not in _KINDS]
    rest = {name: value for name, value in for_host.items() if name not in ("binds", "mounts")}
    config = create_config(
        _expanded(
            {name: value for name, value in at_create.items() if name != "host_config"},
            namespace,
            AT_CREATE,
        )
    )
    _check_paths(config.get("Volumes") or {})
    of_create = {name: in_create[name] for name in in_create if name not in ("Binds", "Mounts")}
    host = merged(
        _expanded({**of_create, **({"Mounts": others} if others else {})}, namespace, AT_CREATE),
        host_config(_expanded(rest, namespace, FOR_HOST)),
    )
    return Further(config, host, tuple(map(str, found["Binds"])), tuple(ours))


def _expanded(
    arguments: Mapping[str, Any], namespace: Mapping[str, str], setting: str
) -> dict[str, Any]:
    return templates.expand_all(dict(arguments), namespace, field=setting, in_passing=True)


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
