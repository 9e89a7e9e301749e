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
    NotAManager,
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
# What Swarm's managers answer, with 500, 400 and 503. The last one but for a manager that begins.
_OF_SWARM = ("/services/create", "/secrets/create", "/configs/create")
_WITH_NETWORKS = ("/services/", "/networks/")
_NO_NETWORK = re.compile(r"(^|NotFound desc = )network \S+ not found$")
_CHANGED_SINCE = re.compile(r"update out of sequence")
_USED_BY_SERVICE = re.compile(r"is in use by (the following )?(service|task)")
_NO_MANAGER = re.compile(r"not a swarm manager(?!\. Manager is being prepared)")
_WORKER = re.compile(r"network from a worker node")
_MANAGER_HINT = (
    "Set DOCKER_HOST, or base_url in client_kwargs, to a manager's address; without a Swarm, make "
    "this Engine its manager: docker swarm init"
)
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
    frames, rest = _frames(body, _OUTPUTS)
    if rest:
        return body.decode(errors="replace")
    return b"".join(payload for _, payload in frames).decode(errors="replace")


def demultiplex_service(body: bytes) -> tuple[str, str]:
    """What a Swarm's manager sends of a log: its text, and why some of it is missing; "" if not.

    The last frame of a body may not be whole: managers wait for nodes that are lost.
    """
    frames, rest = _frames(body, (*_OUTPUTS, _SYSTEM))
    if rest and not frames and len(rest) >= _HEADER:  # of a terminal
        return body.decode(errors="replace"), ""
    output, missing = (
        b"".join(payload for stream, payload in frames if (stream == _SYSTEM) is system)
        for system in (False, True)
    )
    return output.decode(errors="replace"), missing.decode(errors="replace").strip()


#: Length of a frame's header; what its first byte is for a container's input, output and errors,
#: and for what the Engine itself has to say.
_HEADER = 8
_OUTPUTS = (0, 1, 2)
_SYSTEM = 3


def _frames(body: bytes, streams: tuple[int, ...]) -> tuple[list[tuple[int, bytes]], bytes]:
    """Stream and payload of each whole frame, and what is left behind the last one."""
    frames, position = [], 0
    while len(header := body[position : position + _HEADER]) == _HEADER:
        end = position + _HEADER + int(struct.unpack(">I", header[4:])[0])
        if header[0] not in streams or header[1:4] != b"\0\0\0" or end > len(body):
            break
        frames.append((header[0], body[position + _HEADER : end]))
        position = end
    return frames, body[position:]


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
    changing = call.method == "DELETE" or call.path.endswith("/kill")
    if status == 404 or (call.path.startswith(_WITH_NETWORKS) and _NO_NETWORK.search(message)):
        kind: type[EngineError] = NotFound
    elif _is_name_taken(call, status, message):
        kind = NameTaken
    elif (status == 503 and _NO_MANAGER.search(message)) or (
        status == 403 and _WORKER.search(message)
    ):
        kind, message = NotAManager, f"{message.rstrip('. ')}. {_MANAGER_HINT}"
    elif (
        status == 409
        or (status == 500 and _CHANGED_SINCE.search(message))
        or (status == 400 and _USED_BY_SERVICE.search(message))
        or (changing and status in (403, 500) and _CONFLICT.search(message))
        or (call.path.endswith(_OF_NETWORKS) and _NETWORK_CONFLICT.search(message))
        or (status == 400 and _AMBIGUOUS.search(message))
    ):
        kind = Conflict
    else:
        kind = EngineFailed if status >= 500 or status < 400 else BadRequest
    return kind(call.action, message, status)


def _is_name_taken(call: Call, status: int, message: str) -> bool:
    if call.path == "/containers/create":
        return _NAME_TAKEN.search(message) is not None
    return status == 409 and call.path in _OF_SWARM


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
