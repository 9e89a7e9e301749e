"""Whether a request to start a server sent options, or JupyterHub took those of the last start.

JupyterHub hands both to the spawner in the same way. The difference matters when they are refused:
what was sent is wrong; what was saved was right once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import OptionsError
from ..options.chooser import Chooser
from ..options.user_options import Choice

#: What JupyterHub itself takes of a query.
_RESERVED = frozenset({"next", "display_name"})


def were_sent(handler: Any) -> bool:
    """The request has options of its own, be they none.

    Args:
        handler: JupyterHub's, of the request that starts the server; None: a program's own start.
    """
    request = getattr(handler, "request", None)
    if request is None:
        return True
    if request.method == "GET":
        return bool(request.query_arguments.keys() - _RESERVED)
    body = _json(request.body)
    if body is None:
        return bool(request.body)  # a form
    if isinstance(body, dict) and "user_options" in body:
        return body["user_options"] is not None
    return not (isinstance(body, dict) and "display_name" in body)


def ask_for_defaults(handler: Any) -> bool:
    """The body is an empty object, for which JupyterHub 6 takes the options of the last start."""
    request = getattr(handler, "request", None)
    return request is not None and request.method == "POST" and _json(request.body) == {}


async def applied(
    user_options: Mapping[str, Any],
    chooser: Chooser,
    handler: Any,
    warn: Callable[[str], None],
    *,
    others: bool,
) -> Choice:
    """Apply a choice; one that was saved and is no longer offered never locks anybody out.

    Args:
        user_options: sent or saved.
        chooser: of the server.
        handler: as for `were_sent`.
        warn: told that the defaults are taken in place of what was saved.
        others: as for `Chooser.apply`.

    Raises:
        OptionsError: it may not be chosen.
        ConfigError: the settings cannot work.
    """
    try:
        return await chooser.apply(user_options, others=others)
    except OptionsError as error:
        if were_sent(handler):
            raise
        if not (await chooser.menu()).empty:
            hint = "these options are of an earlier start; send {} for the defaults"
            raise OptionsError(
                error.field, error.value, f"{error.hint} ({hint})", error.choices
            ) from error
        warn(f"The options of the last start are no longer offered ({error}): using defaults")
        return await chooser.apply({})


def _json(body: bytes) -> Any:
    """The body as JSON; None where it is none."""
    try:
        return json.loads(body)
    except ValueError:
        return None
