"""Secrets in what people are shown."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest

from dockernamed.lifecycle.redact import HIDDEN, hidden, plain_text, printable

ENV = {
    "JUPYTERHUB_API_TOKEN": "0123456789abcdef",
    "DB_PASSWORD": "0123456789abcdef-and-more",
    "MY_SECRET": "short",
    "HOME": "/home/jovyan",
}


def test_values_of_secret_names_are_hidden() -> None:
    """Tokens and passwords go, the longest first; other values stay."""
    text = "token 0123456789abcdef at /home/jovyan, 0123456789abcdef-and-more"
    assert hidden(text, ENV) == f"token {HIDDEN} at /home/jovyan, {HIDDEN}"


def test_short_values_stay() -> None:
    """A secret of a few letters would take ordinary words out of the log."""
    assert hidden("a short word", ENV) == "a short word"


SECRET = 'pa/ss+"w\u00f6rd" of ann?~~'


@pytest.mark.parametrize("name", ["TOKEN", "MYSQL_PASS", "Db_Password", "SSH_PASSPHRASE"])
@pytest.mark.parametrize(
    "encoded",
    [quote(SECRET), quote(SECRET, safe=""), quote_plus(SECRET), json.dumps(SECRET)[1:-1],
     repr(SECRET)[1:-1]],
)  # fmt: skip
def test_encoded_values_are_hidden(name: str, encoded: str) -> None:
    """Servers print URLs and JSON, too."""
    assert hidden(f"<{encoded}>", {name: SECRET}) == f"<{HIDDEN}>"


@pytest.mark.parametrize("around", ["", "a", "ann:", "ab", "ann:x"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_nothing_of_a_secret_is_left_in_base64(
    around: str, encode: Callable[[bytes], bytes]
) -> None:
    """Wherever it begins among the bytes, as in a login's header: what is left says nothing."""
    text = encode(f"{around}{SECRET}{around}".encode()).decode()
    shown = hidden(f"Basic {text}!", {"TOKEN": SECRET})
    assert HIDDEN in shown
    rest = shown.removeprefix("Basic ").removesuffix("!").replace(HIDDEN, "")
    assert len(rest) <= 2 * len(base64.b64encode(around.encode())) + 4


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mERROR\x1b[0m \x1b[1;38;5;208mnow\x1b[m", "ERROR now"),
        ("\x1b]0;title\x07text \x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "text link"),
        ("a\x00b\x08\x7fc\x9b31m", "abc31m"),
        ("10 %\r20 %\r\nend\ttab", "10 %\n20 %\nend\ttab"),
        ("\x1bM\x1b", ""),
        ("na\u00efve \u597d", "na\u00efve \u597d"),
    ],
)
def test_what_a_terminal_would_obey_is_left_out(text: str, shown: str) -> None:
    """Colours make no sense in JSON and pages; a log must not drive the terminal it is read in."""
    assert printable(text) == shown


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("plain\n text", "plain text"),
        (
            "<html><style>p {}</style><p>No <b>such</b> page &amp; more<br>here",
            "No such page & more here",
        ),
        ("<script>if (a < b) {}</script>Hello <!-- hidden -->there", "Hello there"),
        ("\x1b[31mred\x00", "red"),
        ("<script>never closed", ""),
        ('{"message": "Not found"}', '{"message": "Not found"}'),
        ("", ""),
    ],
)
def test_words_of_a_page(page: str, words: str) -> None:
    """What a person would read of it, on one line."""
    assert plain_text(page) == words
