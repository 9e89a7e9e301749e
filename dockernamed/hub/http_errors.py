"""Our errors as HTTP errors, as JupyterHub shows them in pages and over REST."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from jupyterhub import spawner
from tornado import web

from .. import errors

T = TypeVar("T")

#: HTTP status and reason of an error, by the first class that fits.
STATUS: tuple[tuple[type[errors.DockerNamedError], int, str], ...] = (
    (errors.OptionsError, 400, "options"),
    (errors.ConfigError, 500, "config"),
    (errors.ImageError, 500, "image"),
    (errors.ForeignObject, 409, "foreign"),
    (errors.ServerDied, 500, "died"),
    (errors.ServerSilent, 500, "timeout"),
    (errors.EngineUnavailable, 503, "engine"),
    (errors.DockerNamedError, 500, "engine"),
)

#: Pattern in the Engine's message, the setting that it is about ("" for none), what would work.
HINTS: tuple[tuple[str, str, str], ...] = (
    (
        r"no space left on device|disk quota exceeded",
        "",
        "The Engine's host is full: free some space, for example with docker system prune",
    ),
    (
        r"cannot allocate memory",
        "",
        "The Engine's host has no memory left: stop some servers, or lower their mem_limit",
    ),
    (
        r"all ports are allocated",
        "",
        "The Engine's host has no free port left: stop some servers, or set network_name to a "
        "network of your own, from which no ports are published",
    ),
    (
        r"port is already allocated|address already in use",
        "extra_host_config",
        "another program uses that port of the Engine's host; name another port in port_bindings, "
        "or none to get a free one",
    ),
    (
        r"no available (IPv\d )?addresses",
        "network_name",
        "all addresses of that network are in use; stop some servers, or make a larger network: "
        "docker network create --subnet 10.99.0.0/16 NAME",
    ),
    (
        r"inimum memory limit allowed",
        "mem_limit",
        "the Engine requires more; set at least that minimum, or None for no limit",
    ),
    (
        r"inimum memory reservation allowed|less than memory reservation",
        "mem_guarantee",
        "set at least the Engine's minimum and at most mem_limit, or None",
    ),
    (
        r"looking up volume plugin",
        "mounts",
        "the Engine has no such volume driver; install it (docker plugin install), or leave "
        "out driver_config for local volumes",
    ),
    (
        r"while mounting volume|failed to mount local volume",
        "mounts",
        "the volume's driver could not mount it; check the options in driver_config, and that its "
        "storage exists",
    ),
    (
        r"No such image|image not known",
        "image",
        "it is no longer on the Engine; start again, and the image is pulled if pull_policy "
        "allows it",
    ),
)


def http_error(error: errors.DockerNamedError, settings: object = None) -> web.HTTPError:
    """The error to raise instead: JupyterHub shows its message, and keeps its traceback out.

    Args:
        error: what went wrong.
        settings: those of the server that was to be started; the Engine's words get a hint then.
    """
    status, reason = next(
        (status, reason) for kind, status, reason in STATUS if isinstance(error, kind)
    )
    message = str(error)
    if settings is not None and isinstance(error, errors.EngineError):
        advice = hint(error.message, partial(getattr, settings))
        message += f". {advice}" if advice else ""
    made_for_it = getattr(spawner, "SpawnException", None)  # new in JupyterHub 6
    found: Any = (
        made_for_it(message, reason=reason, status_code=status)
        if made_for_it
        else web.HTTPError(status, message)
    )
    found.jupyterhub_message = message
    return found  # type: ignore[no-any-return]


async def as_http_error(work: Awaitable[T]) -> T:
    """Do it, and raise what goes wrong as a `http_error`."""
    try:
        return await work
    except errors.DockerNamedError as error:
        raise http_error(error) from error


def hint(message: str, value_of: Callable[[str], object]) -> str:
    """What to do about the Engine's own words, which name neither a setting nor a way out.

    Args:
        message: the Engine's.
        value_of: setting → the value that it has for this server.

    Returns:
        "" if there is no advice for this message.
    """
    for pattern, setting, words in HINTS:
        if re.search(pattern, message):
            return str(errors.ConfigError(setting, value_of(setting), words)) if setting else words
    return ""
