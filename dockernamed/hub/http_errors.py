"""Our errors as HTTP errors, as JupyterHub shows them in pages and over REST."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from jupyterhub import spawner
from tornado import web

from .. import errors
from ..lifecycle.redact import masked, secrets_in, without
from .advice import advice_on
from .asker import may_read_output

LOG = logging.getLogger("dockernamed.errors")
T = TypeVar("T")

# Read here, since nothing may read a file while the event loop waits.
_LOADER = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
_PAGE = jinja2.Environment(loader=_LOADER, autoescape=True).get_template("message.html")

#: HTTP status and reason of an error, by the first class that fits.
STATUS: tuple[tuple[type[errors.DockerNamedError], int, str], ...] = (
    (errors.OptionsError, 400, "options"),
    (errors.LimitReached, 429, "throttled"),
    (errors.ConfigError, 500, "config"),
    (errors.ImageError, 500, "image"),
    (errors.ForeignObject, 409, "foreign"),
    (errors.ServerDied, 500, "died"),
    (errors.CommandFailed, 500, "post start"),
    (errors.WrongServer, 500, "wrong server"),
    (errors.ServerSilent, 500, "timeout"),
    (errors.VolumeOutOfReach, 503, "engine"),
    (errors.NeverRan, 500, "timeout"),
    (errors.EngineUnavailable, 503, "engine"),
    (errors.DockerNamedError, 500, "engine"),
)


class _Told:
    """What an error says, which depends on who reads it: see `asker`.

    JupyterHub reads these attributes of an error in the request in which it shows it.
    """

    _text: str
    _said: errors.ServerFailed | None
    _server: tuple[str, str]

    @property
    def jupyterhub_message(self) -> str:
        """As plain text."""
        return errors.followed(self._text, self._output)

    @property
    def jupyterhub_html_message(self) -> str:
        """As HTML: a server's log line by line."""
        log = self._said.log if self._said else None
        if log and may_read_output(*self._server):
            return _PAGE.render(text=self._text, log=log)
        return _PAGE.render(text=self.jupyterhub_message, log="")

    @property
    def _output(self) -> str:
        if self._said is None or not self._said.quoted:
            return ""
        if not self._said.output or may_read_output(*self._server):
            return self._said.quoted
        user, _ = self._server
        return f"What it said is shown to {user or 'its owner'}, and to who may access it"

    def __str__(self) -> str:
        # JupyterHub 5 puts this on the page with the form, JupyterHub 6 into its log alone.
        made_for_it = isinstance(self, getattr(spawner, "SpawnException", ()))
        return self._text if made_for_it else self.jupyterhub_message


class _ToldByTornado(_Told):
    """A `_Told` for JupyterHub 5, which takes its REST answer from what tornado would log."""

    @property
    def log_message(self) -> str:
        """A pattern for ``%`` without any fields."""
        return self.jupyterhub_message.replace("%", "%%")

    @log_message.setter
    def log_message(self, pattern: str) -> None:
        """What tornado sets is in our text already."""


@cache
def _start_failed(base: type[Exception]) -> Any:
    """The class of our errors, made of JupyterHub's."""
    told = _ToldByTornado if base is web.HTTPError else _Told
    return type("StartFailed", (told, base), {"__doc__": "A start failed; the Hub is told."})


def http_error(
    error: errors.DockerNamedError,
    settings: object = None,
    command: Iterable[str] = (),
    secrets: Iterable[str] = (),
) -> web.HTTPError:
    """The error to raise instead: what of it who may read. All of it goes into the Hub's log.

    Args:
        error: what went wrong.
        settings: those of the server that was to be started; the message gets advice then.
        command: what its container runs, as far as known.
        secrets: of its environment and files, as far as known, which no message has.
    """
    status, reason = next(
        (status, reason) for kind, status, reason in STATUS if isinstance(error, kind)
    )
    hidden = frozenset((*secrets, *_secrets(settings)))
    advice = advice_on(error, settings, tuple(command))
    text = error.public
    wait = seconds_to_wait(settings) if isinstance(error, errors.LimitReached) else 0
    if wait:
        text += f", or try again in {wait} seconds"
    if advice:
        text = errors.followed(text, advice)
    elif isinstance(error, errors.EngineError) and str(error) != text:
        text += f"; {errors.IN_THE_LOG}"
    text = masked(without(text, hidden))
    _log_whole(error, text, settings, hidden)
    made_for_it = getattr(spawner, "SpawnException", None)  # new in JupyterHub 6
    found: Any = (
        _start_failed(made_for_it)(text, reason=reason, status_code=status)
        if made_for_it
        else _start_failed(web.HTTPError)(status, text)
    )
    user, server = getattr(settings, "user", None), str(getattr(settings, "name", ""))
    found._text, found._server = text, (str(getattr(user, "name", "")), server)
    found._said = error if isinstance(error, errors.ServerFailed) else None
    if wait:
        found.headers = {"Retry-After": str(wait)}
    return found  # type: ignore[no-any-return]


def seconds_to_wait(settings: object) -> int:
    """When to try again, as JupyterHub spreads it where too many servers start at once.

    Args:
        settings: as for `http_error`; JupyterHub's ``spawn_throttle_retry_range`` counts.
    """
    hub = getattr(getattr(settings, "user", None), "settings", None) or {}
    low, high = hub.get("spawn_throttle_retry_range", (30, 60))
    return max(1, round(random.uniform(low, high)))  # noqa: S311  # no secret


def _secrets(settings: object) -> Iterator[str]:
    yield from secrets_in(getattr(settings, "api_token", ""), "token")
    for name in sorted(errors.PRIVATE):
        yield from secrets_in(getattr(settings, name, None))


def _log_whole(
    error: errors.DockerNamedError, told: str, settings: object, secrets: Iterable[str]
) -> None:
    """Tell the log what people are not told: the Engine's own words, values of settings."""
    whole = str(error)
    cause = error.__cause__
    if isinstance(cause, errors.DockerNamedError) and str(cause) not in whole:
        whole += f" (because: {cause})"
    quiet = isinstance(error, (errors.OptionsError, errors.LimitReached))
    if whole != told and not quiet:
        text = masked(without(whole, secrets)).replace("\n", "\n    | ")
        LOG.error("%s: %s", getattr(settings, "_log_name", "a server"), text)


async def as_http_error(work: Awaitable[T], settings: object = None) -> T:
    """Do it, and raise what goes wrong as a `http_error` with the same settings."""
    try:
        return await work
    except errors.DockerNamedError as error:
        raise http_error(error, settings) from error
