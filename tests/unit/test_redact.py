"""Secrets in what people are shown."""

from __future__ import annotations

from dockernamed.redact import HIDDEN, hidden

ENV = {
    "JUPYTERHUB_API_TOKEN": "0123456789abcdef",
    "DB_PASSWORD": "0123456789abcdef-and-more",
    "MY_SECRET": "short",
    "HOME": "/home/jovyan",
}


def test_values_of_secret_names_are_hidden():
    """Tokens and passwords go, the longest first; other values stay."""
    text = "token 0123456789abcdef at /home/jovyan, 0123456789abcdef-and-more"
    assert hidden(text, ENV) == f"token {HIDDEN} at /home/jovyan, {HIDDEN}"


def test_short_values_stay():
    """A secret of a few letters would take ordinary words out of the log."""
    assert hidden("a short word", ENV) == "a short word"
