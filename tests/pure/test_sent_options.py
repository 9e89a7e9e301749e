"""Whether a request to start a server sent options of its own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dockernamed.hub.sent_options import ask_for_defaults, were_sent


def handler(method: str, body: bytes = b"", **query: list[bytes]) -> Any:
    """JupyterHub's handler of such a request."""
    return SimpleNamespace(request=SimpleNamespace(method=method, body=body, query_arguments=query))


@pytest.mark.parametrize(
    ("request_of", "sent"),
    [
        (handler("POST"), False),
        (handler("POST", b"{}"), True),
        (handler("POST", b'{"image": "lab"}'), True),
        (handler("POST", b'{"user_options": {}}'), True),
        (handler("POST", b'{"user_options": null}'), False),
        (handler("POST", b'{"display_name": "Mine"}'), False),
        (handler("POST", b'{"display_name": "Mine", "user_options": {"image": "lab"}}'), True),
        (handler("POST", b"[1]"), True),
        (handler("POST", b"image=lab&_xsrf=2%7C"), True),
        (handler("GET"), False),
        (handler("GET", next=[b"/hub/home"]), False),
        (handler("GET", image=[b"lab"]), True),
        (None, True),
    ],
)
def test_whose_the_options_are(request_of: Any, sent: bool) -> None:
    """A body, a form or a link has its own; else JupyterHub takes those of the last start."""
    assert were_sent(request_of) is sent


@pytest.mark.parametrize(
    ("request_of", "asks"),
    [
        (handler("POST", b"{}"), True),
        (handler("POST", b" {} "), True),
        (handler("POST"), False),
        (handler("POST", b'{"image": "lab"}'), False),
        (handler("GET"), False),
        (None, False),
    ],
)
def test_an_empty_object_means_the_defaults(request_of: Any, asks: bool) -> None:
    """Also where JupyterHub itself would take it for no body at all."""
    assert ask_for_defaults(request_of) is asks
