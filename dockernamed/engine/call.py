"""One request to the Engine as a value, and how the body of its answer is read. Pure."""

from __future__ import annotations

import http.client
import json
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import (
    BadRequest,
    CallNotAllowed,
    Conflict,
    EngineError,
    EngineFailed,
    NameTaken,
    NotFound,
)
from .calls import known

# Podman answers 500 where Docker answers 409, and Docker 403 for a network in use.
_NAME_TAKEN = re.compile(r"already in use by|name .*is in use")
_CONFLICT = re.compile(r"in use|is being used|active endpoints|is running|state improper")
_PLUGIN = re.compile(r"authorization denied by plugin")
# Docker answers 403 or 500 to these calls where its other answers to the like are 409.
_NETWORK_CONFLICT = re.compile(r"already (exists|in use|connected|used)|not connected|same bridge")
_AMBIGUOUS = re.compile(r"is ambiguous \(")
_OF_NETWORKS = ("/networks/create", "/connect", "/disconnect")


@dataclass(frozen=True)
class Call:
    """One request to the Engine.

    Attributes:
        action: for messages, such as ``"inspect container abc"``.
        method: of HTTP.
        path: such as ``/containers/abc/json``, quoted, without API version.
        params: query; values None are left out, others are sent as ``str``.
        body: sent as JSON; ``bytes`` are sent as a tar archive.
        headers: further headers.
        timeout: seconds within which the whole answer must have come; None: no limit.
        repeat: making the call twice does no harm, so it is repeated when the connection breaks.
        anew: use a new connection even for a call that may be repeated.
    """

    action: str
    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = 60.0
    repeat: bool = False
    anew: bool = False


def parse_object(call: Call, body: bytes) -> dict[str, Any]:
    """The JSON object of an answer.

    Raises:
        EngineFailed: it is none.
    """
    try:
        answer = json.loads(body)
    except ValueError as error:
        raise _not_json(call, body) from error
    if not isinstance(answer, dict):
        raise _not_json(call, body)
    return answer


def parse_items(call: Call, body: bytes) -> Iterator[Any]:
    """The items of a JSON array, decoded one by one.

    A list of 10,000 containers takes a good part of a second to decode. Between two items the
    caller can let the event loop run.

    Raises:
        EngineFailed: it is no JSON array.
    """
    try:
        text = body.decode().strip()
        if text in ("null", ""):  # Go's empty list
            return
        if text[0] != "[":
            raise _not_json(call, body)
        decode, end, position = json.JSONDecoder().raw_decode, len(text) - 1, _skip(text, 1)
        while position < end:
            item, position = decode(text, position)
            yield item
            position = _skip(text, position)
        if position != end or text[end] != "]":
            raise _not_json(call, body)
    except (ValueError, IndexError) as error:  # the latter: it ends too soon
        raise _not_json(call, body) from error


def parse_nothing(call: Call, body: bytes) -> None:
    """An answer that says by its status alone that the call was done.

    Raises:
        EngineFailed: it has a body. A proxy's page with status 200 is no proof that the Engine did
            anything.
    """
    if body.strip():
        raise EngineFailed(call.action, f"unexpected answer: {body[:100]!r}")


def demultiplex(body: bytes) -> str:
    """The text of a log, whether or not the container has a terminal.

    Without one, output comes in frames of an eight byte header (stream, three zeros, length) and
    the payload. Only a body that is made of nothing but such frames is taken for that, so that no
    second request is needed to learn if there is a terminal.
    """
    parts, position, size = [], 0, len(body)
    while position < size:
        header = body[position : position + 8]
        if len(header) < 8 or header[0] > 2 or header[1:4] != b"\0\0\0":
            return body.decode(errors="replace")
        end = position + 8 + int(struct.unpack(">I", header[4:])[0])
        if end > size:
            return body.decode(errors="replace")
        parts.append(body[position + 8 : end])
        position = end
    return b"".join(parts).decode(errors="replace")


class Tail:
    """The end of an output that comes in frames as `demultiplex` knows them, however long it is.

    Args:
        limit: bytes to keep.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rest, self._kept = b"", b""

    def feed(self, data: bytes) -> None:
        """Take the next part of the answer's body."""
        data = self._rest + data
        position = 0
        while len(data) - position >= 8:
            end = position + 8 + int(struct.unpack(">I", data[position + 4 : position + 8])[0])
            if end > len(data):
                break
            self._kept = (self._kept + data[position + 8 : end])[-self._limit :]
            position = end
        self._rest = data[position:]

    @property
    def text(self) -> str:
        """What was kept, without the beginning of a line that was cut."""
        return self._kept.decode(errors="replace")


def refusal(call: Call, status: int, body: bytes) -> EngineError:
    """The error that an answer of a status other than 2xx means, in the Engine's own words."""
    try:
        message, by_engine = str(json.loads(body)["message"]), True
    except (ValueError, KeyError, TypeError):
        message, by_engine = body[:1000].decode(errors="replace").strip(), False
    if status in (403, 405) and (not by_engine or _PLUGIN.search(message)):
        return _not_allowed(call, status, message if by_engine else "")
    message = message or http.client.responses.get(status, "no reason given")
    creating = call.path == "/containers/create"
    changing = call.method == "DELETE" or call.path.endswith("/kill")
    if status == 404:
        kind: type[EngineError] = NotFound
    elif creating and _NAME_TAKEN.search(message):
        kind = NameTaken
    elif (
        status == 409
        or (changing and status in (403, 500) and _CONFLICT.search(message))
        or (call.path.endswith(_OF_NETWORKS) and _NETWORK_CONFLICT.search(message))
        or (status == 400 and _AMBIGUOUS.search(message))
    ):
        kind = Conflict
    else:
        kind = EngineFailed if status >= 500 or status < 400 else BadRequest
    return kind(call.action, message, status)


def _not_allowed(call: Call, status: int, message: str) -> EngineError:
    """Something in front of the Engine does not let a call through.

    Args:
        call: that was made.
        status: of the answer.
        message: the words of one of the Engine's own plugins; "" of a proxy, whose page says less.
    """
    found = known(call.method, call.path)
    what = f"{call.method} {found.path if found else call.path}"
    who = f"its authorization plugin ({message})" if message else "a proxy in front of it"
    why = f", which is needed to {found.purpose}" if found else ""
    hint = f"{who} does not allow {what}{why}; docs/engine-calls.md lists the calls to allow"
    return CallNotAllowed(call.action, hint, status)


def _skip(text: str, position: int) -> int:
    while text[position] in ", \t\r\n":
        position += 1
    return position


def _not_json(call: Call, body: bytes) -> EngineFailed:
    return EngineFailed(call.action, f"the answer is not JSON: {body[:100]!r}")
