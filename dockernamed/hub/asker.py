"""Who reads a message: the same error is shown in several requests, of several people.

JupyterHub keeps the error of a failed start, and shows it in the answer to whoever asked for the
start, in the stream of its progress, and on the pages of later requests. Some may read more of it
than others. So an error's message is made when it is read, and here is for whom.
"""

from __future__ import annotations

import weakref
from contextvars import ContextVar
from typing import Any

# Weak: a server's watchers are begun in the request that starts it, and live as long as it does.
_handler: ContextVar[weakref.ref[Any] | None] = ContextVar("dockernamed_handler", default=None)


def may_read_output(user: str, server: str) -> bool:
    """Whether whoever makes the request that is answered now may read what a server wrote.

    That are the server's owner, and those with the scope ``access:servers`` for it, who could ask
    the server itself. A token is what its scopes are, also a token of the owner.

    Args:
        user: the owner's name.
        server: the server's name; "" is the default server.
    """
    reference = _handler.get()
    handler = reference() if reference is not None else None
    asker = getattr(handler, "_jupyterhub_user", None)
    if handler is None or asker is None:
        return False
    if handler.has_scope(f"access:servers!server={user}/{server}"):
        return True
    is_owner = getattr(asker, "kind", "") == "user" and asker.name == user
    return is_owner and handler.get_token() is None


def answering(handler: Any) -> None:
    """From now on in this task, and in those that it begins, a handler's request is answered."""
    _handler.set(weakref.ref(handler))
