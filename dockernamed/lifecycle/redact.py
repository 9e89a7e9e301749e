"""Removes secrets and control characters from what people are shown. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html.parser import HTMLParser
from urllib.parse import quote, quote_plus

_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASS|CREDENTIAL|API_?KEY|PRIVATE", re.IGNORECASE)
#: Shorter values would take ordinary words out of a log.
MIN_LENGTH = 8
HIDDEN = "[hidden]"

# A terminal's colours and titles, as servers log them, and then any other control character.
_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def hidden(text: str, env: Mapping[str, str], secrets: Iterable[str] = ()) -> str:
    """A text without the values of the environment's secrets, also where they were encoded.

    Args:
        text: such as a crashed server's log.
        env: name → value; a name with TOKEN, SECRET, PASS… in it holds a secret.
        secrets: further secrets, whatever their names are.
    """
    named = (value for name, value in env.items() if _SECRET_NAME.search(name))
    values = {
        form for value in (*named, *secrets) if len(value) >= MIN_LENGTH for form in _forms(value)
    }
    # Longest first: one secret may be the beginning of another.
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return text


def printable(text: str) -> str:
    """A text as a terminal would show it: without what moves its cursor or changes its colours."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROL.sub("", _SEQUENCE.sub("", text))


def plain_text(page: str) -> str:
    """The words of text or HTML, which may be cut in the middle, on one line."""
    parser = _Words()
    parser.feed(page)
    parser.close()
    return " ".join(printable(" ".join(parser.words)).split())


class _Words(HTMLParser):
    """Collects what a browser would show."""

    def __init__(self) -> None:
        super().__init__()
        self.words: list[str] = []
        self._shown = True

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self._shown = tag not in ("script", "style")

    def handle_endtag(self, tag: str) -> None:
        self._shown = True

    def handle_data(self, data: str) -> None:
        if self._shown:
            self.words.append(data)


def _forms(value: str) -> Iterator[str]:
    """A secret as programs write it: as it is, in URLs, in JSON, and in headers."""
    yield value
    yield from (quote(value, safe=""), quote(value), quote_plus(value))
    yield from (json.dumps(value)[1:-1], repr(value)[1:-1])
    raw = value.encode("utf-8", "surrogateescape")
    # Base64 of three bytes is four letters: where the secret begins among them, three ways are
    # possible. At its ends the letters depend on what else was encoded, such as a user's name.
    for before in range(3):
        whole = -(-before * 8 // 6), (before + len(raw)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(bytes(before) + raw).decode()[slice(*whole)]
