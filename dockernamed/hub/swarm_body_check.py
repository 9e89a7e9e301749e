"""What a service cannot have of the settings that become parts of a container's body.

Without an Engine that is judged by the newest API there could be; which one there is, is known once
the Hub runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from ..desired.environment import Environment
from ..desired.hardening import Hardening
from ..desired.services import Api, service_body
from ..desired.spec import ServerSpec
from ..desired.volumes import requested_volumes
from ..errors import ConfigError, DockerNamedError
from ..lifecycle import hardened
from ..lifecycle.further import AT_CREATE, FOR_HOST, further
from . import sample

#: Later than any that there is.
NEWEST: Api = (2, 0)
FILES = ("volumes", "read_only_volumes", "mounts")
HARDENING = ("tmpfs", "log_config", "memswap_limit", "allow_privilege_escalation")
#: Settings that are judged here.
NAMES = (AT_CREATE, FOR_HOST, *FILES, *HARDENING, "ulimits", "shm_size")
_SPEC = ServerSpec(sample.KEY, ("jupyter-ann--exp-1",), "lab")


def check(name: str, value: Any, fields: Mapping[str, str], api: Api = NEWEST) -> None:
    """Refuse what no service of an API can have.

    Args:
        name: one of `NAMES`.
        value: of that setting; a callable's is not known.
        fields: those of templates.
        api: the version.

    Raises:
        ConfigError: the message says what to use instead.
    """
    if callable(value) or value is None:
        return
    try:
        spec = _spec_of(name, value, fields)
    except DockerNamedError:
        return  # told by another check
    service_body(spec, Environment(), name=spec.names[0], start_id="", api=api)


def problems(settings: Any, fields: Mapping[str, str], api: Api) -> Iterator[ConfigError]:
    """What services of an API cannot have of the settings.

    Args:
        settings: the spawner.
        fields: as for `check`.
        api: likewise.
    """
    for name in NAMES:
        try:
            check(name, getattr(settings, name), fields, api)
        except ConfigError as error:
            yield error


def _spec_of(name: str, value: Any, fields: Mapping[str, str]) -> ServerSpec:
    """A server that has nothing but this setting."""
    if name in (AT_CREATE, FOR_HOST):
        found = further(*((value, {}) if name == AT_CREATE else ({}, value)), fields)
        files = requested_volumes(fields, binds=found.binds, api_mounts=found.mounts)
        mounts = tuple(one.mount for one in files.all)
        spec = replace(_SPEC, config=found.config, host_config=found.host_config)
        return replace(spec, mounts=mounts)
    if name in FILES:
        files = requested_volumes(fields, **{name: value})
        return replace(_SPEC, mounts=tuple(one.mount for one in files.all))
    if name in HARDENING:
        read = {"tmpfs": hardened.tmpfs, "log_config": hardened.log_config}.get(name)
        given: Any = {name: read(value) if read else value}
        return replace(_SPEC, mem_limit=1, hardening=Hardening(**given))
    return replace(_SPEC, hardening=Hardening(limits=hardened.limit(name, value)))
