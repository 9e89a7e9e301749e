"""Arguments of docker-py's functions, as admins write them, in the keys of the Engine API."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any

import docker.constants
import docker.errors
import docker.types

from ..errors import ConfigError

_VERSION = docker.constants.DEFAULT_DOCKER_API_VERSION  # the newest that docker-py knows


def host_config(kwargs: Mapping[str, object], field: str = "extra_host_config") -> dict[str, Any]:
    """Arguments of the SDK's ``create_host_config`` as the keys of the API's ``HostConfig``.

    Args:
        kwargs: name → value.
        field: the setting that they are from.

    Raises:
        ConfigError: unknown, or of a value that cannot be read.
    """
    if not kwargs:
        return {}
    given: dict[str, Any] = dict(kwargs)
    _check_known(field, kwargs, inspect.signature(docker.types.HostConfig.__init__).parameters)
    try:
        config = dict(docker.types.HostConfig(_VERSION, **given))
    except _UNREADABLE as error:
        raise ConfigError(field, dict(kwargs), f"the Docker SDK says: {error}") from error
    if not kwargs.get("network_mode"):
        config.pop("NetworkMode", None)  # the SDK's default, which nobody asked for
    return config


def create_config(kwargs: Mapping[str, object]) -> dict[str, Any]:
    """Arguments of the SDK's ``create_container`` as the keys of the API's create call.

    ``platform`` is kept under its own name: `Engine.create_container` knows it.

    Raises:
        ConfigError: unknown, ``image`` or ``name``, or of a value that cannot be read.
    """
    if not kwargs:
        return {}
    field = "extra_create_kwargs"
    given: dict[str, Any] = dict(kwargs)
    known = set(inspect.signature(docker.types.ContainerConfig.__init__).parameters)
    _check_known(field, given, known - {"image"} | {"platform"})
    extra = {"platform": given.pop("platform")} if given.get("platform") else {}
    try:
        config = docker.types.ContainerConfig(_VERSION, **{**_NOTHING, **given})
    except _UNREADABLE as error:
        raise ConfigError(field, dict(kwargs), f"the Docker SDK says: {error}") from error
    unset = docker.types.ContainerConfig(_VERSION, **_NOTHING)
    return {**{key: config[key] for key in config if config[key] != unset.get(key)}, **extra}


_NOTHING: Mapping[str, Any] = {"image": None, "command": None}
_UNREADABLE = (
    docker.errors.DockerException,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
)


def _check_known(field: str, kwargs: Mapping[str, object], known: Iterable[str]) -> None:
    names = sorted(set(known) - {"self", "version"})
    for key in kwargs:
        if key not in names:
            close = difflib.get_close_matches(str(key), names, 3)
            meant = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"
            hint = f"{key!r} is not an argument of the Docker SDK; {meant}"
            raise ConfigError(field, dict(kwargs), hint)
