"""Removes secrets and control characters from what people are shown. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html.parser import HTMLParser
from urllib.parse import quote, quote_plus

#: Part of a name that says that the value is a secret: of variables, options, keys, arguments.
_TELLING = r"TOKEN|SECRET|PASS(?!ED|ING|IVE|ES\b)|PWD|CREDENTIAL|API_?KEY|PRIVATE|DATABASE_UR[LI]"
_SECRET_NAME = re.compile(
    rf"{_TELLING}|(?:^|[_.-])KEY$|(?-i:[a-z]Key$)|^AWS_|_DSN$|^AUTH$|AUTHORIZATION",
    re.IGNORECASE,
)
# `NAME=value`, as in environments, queries of URLs and options of mounts, and `"name": "value"`.
_ASSIGNED = re.compile(
    rf"""(?P<name>[\w.-]*(?:{_TELLING})[\w.-]*|\bAWS_\w+|\b\w*_KEY|\b\w+_DSN)"""
    r"""(?P<sign>=|["']\s*:\s*(?=["']))(?P<value>"[^"\n]*"|'[^'\n]*'|[^\s,;&"'\]})]+)""",
    re.IGNORECASE,
)
_USERINFO = re.compile(r"(?P<before>//[^/\s:@'\"]*:)(?P<value>[^/\s'\"]+)(?=@)")
_HEADER = re.compile(r"(?P<before>\b(?:Bearer|Basic|token) +)(?P<value>[\w+/=~.-]{8,})")
#: Shorter values would take ordinary words out of a server's log.
MIN_LENGTH = 8
#: Of our own messages they go where they stand as words of their own, from this length on.
MIN_WORD = 4
HIDDEN = "[hidden]"

#: Values of no secret, whatever its name is.
_NO_SECRETS = frozenset({"true", "false", "none", "null"})

# A terminal's colours and titles, as servers log them, and then any other control character.
_SEQUENCE = re.compile(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)|[@-Z\\^_])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def hidden(text: str, *holders: object, secrets: Iterable[str] = ()) -> str:
    """A server's output without secrets of its environment or settings, also if encoded.

    Args:
        text: such as a crashed server's log.
        holders: what `secrets_in` finds secrets in.
        secrets: further secrets, whatever their names are.
    """
    found = {*secrets, *(value for holder in holders for value in secrets_in(holder))}
    return without(text, (value for value in found if len(value) >= MIN_LENGTH))


def without(text: str, secrets: Iterable[str]) -> str:
    """A message without some secrets, also where they were encoded."""
    # Longest first: one secret may be the beginning of another.
    for value in sorted({form for one in secrets for form in _forms(one)}, key=len, reverse=True):
        if len(value) >= MIN_LENGTH:
            text = text.replace(value, HIDDEN)
        elif value in text:
            text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", HIDDEN, text)
    return text


def masked(text: str) -> str:
    """A text without what its form shows to be secrets, whosever they are.

    That is the value in ``PASSWORD=value``, in ``"token": "value"`` and in
    ``https://name:value@host``, and the credentials of an HTTP header.
    """
    text = _ASSIGNED.sub(lambda found: f"{found['name']}{found['sign']}{HIDDEN}", text)
    text = _USERINFO.sub(rf"\g<before>{HIDDEN}", text)
    return _HEADER.sub(rf"\g<before>{HIDDEN}", text)


def secrets_in(holder: object, name: str = "") -> Iterator[str]:
    """The secrets in an environment, or in the value of a setting.

    Args:
        holder: a dict, list or text, at any depth. A key with TOKEN, SECRET, PASS… in it has a
            secret, and so has ``NAME=value`` in a text, as in a list of variables or in a mount's
            options, and a URL with a password.
        name: of this value.
    """
    if isinstance(holder, Mapping):
        for key, value in holder.items():
            yield from secrets_in(value, str(key))
    elif isinstance(holder, (list, tuple, set, frozenset)):
        for value in holder:
            yield from secrets_in(value, name)
    elif isinstance(holder, str):
        if _SECRET_NAME.search(name) and _is_one(holder):
            yield holder
        yield from _secrets_in_text(holder)


def _secrets_in_text(text: str) -> Iterator[str]:
    for part in (text, *text.split(",")):
        key, sign, value = part.partition("=")
        if sign and _is_one(value) and _SECRET_NAME.search(key.strip()):
            yield value
    yield from (found["value"] for found in _USERINFO.finditer(text) if _is_one(found["value"]))


def _is_one(value: str) -> bool:
    return len(value) >= MIN_WORD and value.lower() not in _NO_SECRETS


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
