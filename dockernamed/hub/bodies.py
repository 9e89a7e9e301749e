"""Bodies that JupyterHub itself could not take: too large, too deep, ill titled, or no text.

What is sent to start a server goes into its database before any spawner sees it. Nested so deeply
that it can be read but not be written, it left a server that seemed to run and did not. Half a
character in a title broke the request, and others beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jupyterhub.apihandlers.users import UserServerAPIHandler
from tornado import web

from .. import naming

#: Levels of lists and objects in one another; a choice of ours has two.
MAX_DEPTH = 50
#: Bytes; more than any form needs.
MAX_BYTES = 1 << 20

_OURS = "dockernamed_limits_bodies"


def limit_bodies() -> None:
    """Have JupyterHub refuse such bodies about servers, before it does anything with them."""
    handler: Any = UserServerAPIHandler
    if getattr(handler, _OURS, False):
        return
    setattr(handler, _OURS, True)
    for name in ("get_json_body", "get_server_json_body"):  # the second is new in JupyterHub 6
        if hasattr(handler, name):
            setattr(handler, name, _limited(getattr(handler, name)))


def _limited(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def limited(handler: Any) -> Any:
        if len(handler.request.body) > MAX_BYTES:
            raise web.HTTPError(413, f"The body may have at most {MAX_BYTES} bytes")
        try:
            body = read(handler)
        except UnicodeDecodeError as error:  # JupyterHub 5 answers 500
            raise web.HTTPError(400, "The body is not UTF-8") from error
        if is_deeper(body, MAX_DEPTH):
            raise web.HTTPError(400, f"The body may be nested at most {MAX_DEPTH} levels deep")
        title = body.get("display_name") if isinstance(body, dict) else None
        if isinstance(title, str) and naming.breaks_lines(title):
            raise web.HTTPError(400, "display_name has a line break or a control character")
        return body

    return limited


def is_deeper(value: object, levels: int) -> bool:
    """Whether JSON has lists or objects in one another deeper than so many levels."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [
            inner
            for one in layer
            if isinstance(one, (list, dict))
            for inner in (one.values() if isinstance(one, dict) else one)
        ]
        if not any(isinstance(one, (list, dict)) for one in layer):
            return False
    return True
