"""JupyterHub's handlers, with what has to be known or asked before they answer."""

from __future__ import annotations

from typing import Any

from jupyterhub.handlers import BaseHandler
from jupyterhub.handlers.pages import SpawnHandler

from .asker import answering
from .link_start import LinkStart


class _Asked:
    """A handler whose requests are known to `may_read_output`."""

    def prepare(self) -> Any:
        """Remember the request for all that is done in it; a coroutine in JupyterHub."""
        answering(self)
        return super().prepare()  # type: ignore[misc]


def know_askers(app: Any) -> None:
    """Have all of the Hub's handlers tell who asks, and links confirmed; see `link_start`.

    Each rule stays in its place and gets another target: the first that fits a request counts, and
    those for static files come before all.

    Args:
        app: the Hub's, which is about to listen.
    """
    for rule in app.tornado_application.wildcard_router.rules:
        handler = rule.target
        if isinstance(handler, type) and issubclass(handler, BaseHandler):
            more = (LinkStart,) if issubclass(handler, SpawnHandler) else ()
            rule.target = type(handler.__name__, (*more, _Asked, handler), {})
