"""Our errors as JupyterHub shows them to the one who asked, in pages and over REST."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import Any, TypeVar

from jupyterhub import spawner
from tornado import web

from .. import errors
from .hints import hint

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
