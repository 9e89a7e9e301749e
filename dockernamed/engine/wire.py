"""HTTP with a Docker Engine over a `requests.Session`: answers read, errors put in our tree.

Everything here blocks, so it runs in the threads of `lanes` only; `JSONLines.abort` alone may be
called from anywhere.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
import urllib3

from ..errors import (
    BadRequest,
    Conflict,
    EngineError,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    NameTaken,
    NotFound,
)

CONNECT_SECONDS = 10.0
_CHUNK = 65536

# Podman answers 500 where Docker answers 409, and Docker 403 for a network in use.
_NAME_TAKEN = re.compile(r"already in use by|name .*is in use")
_CONFLICT = re.compile(r"in use|is being used|active endpoints|is running|state improper")
_ANY_TRANSPORT_ERROR = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
)


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
        timeout: seconds within which the whole answer must be there; None: it may take for ever.
        anew: over a new connection, which an Engine that is ending does not take.
    """

    action: str
    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float | None = 60.0
    anew: bool = False


def fetch(session: requests.Session, base: str, call: Call) -> bytes:
    """Make a call and return the body of its answer; b"" for 204 and 304.

    Args:
        session: used by this thread only.
        base: such as ``http+docker://localhost/v1.41``.
        call: what to ask.

    Raises:
        EngineError: in the class that tells what to do about it.
    """
    deadline = None if call.timeout is None else time.monotonic() + call.timeout
    response = _open(session, base, call)
    try:
        chunks = []
        for chunk in response.iter_content(_CHUNK):
            chunks.append(chunk)
            if deadline is not None and time.monotonic() > deadline:
                raise EngineTimeout(call.action, f"no whole answer within {call.timeout:g} s")
    except _ANY_TRANSPORT_ERROR as error:
        raise _translate(call, error) from error
    finally:
        response.close()
    body = b"".join(chunks)
    if response.status_code >= 300 and response.status_code != 304:
        raise _refusal(call, response.status_code, body)
    return body


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

    A list of 10,000 containers takes a good part of a second to decode. In one go that would hold
    the interpreter's lock, and so the event loop, for all that time.

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
            time.sleep(0)  # lets the event loop have its turn now, not at the next switch
        if position != end or text[end] != "]":
            raise _not_json(call, body)
    except (ValueError, IndexError) as error:  # the latter: it ends too soon
        raise _not_json(call, body) from error


def _skip(text: str, position: int) -> int:
    while text[position] in ", \t\r\n":
        position += 1
    return position


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


class JSONLines:
    """An answer of one JSON object a line, as of events and pulls: a `lanes.Source`.

    Args:
        connect: makes the session (used for this answer only) and its base URL.
        call: what to ask; its timeout is that of each read, so normally None.
        keep: drops an object in the thread when it returns False.
    """

    def __init__(
        self,
        connect: Callable[[], tuple[requests.Session, str]],
        call: Call,
        keep: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> None:
        self._connect, self._call, self._keep = connect, call, keep
        self._connection: Any = None  # urllib3's, while the request is under way
        self._aborted = False

    def read(
        self, opened: Callable[[], None], push: Callable[[list[dict[str, Any]]], bool]
    ) -> None:
        """See `lanes.Source`; raises `EngineError`. An end without an error is just an end."""
        session, base = self._connect()
        try:
            with session:
                self._watch_connection(session, base)
                self._read(session, base, opened, push)
        except EngineError:
            if not self._aborted:
                raise

    def abort(self) -> None:
        """Shut the connection, so that the reading thread wakes up and the Engine gives up too."""
        self._aborted = True
        sock = getattr(self._connection, "sock", None)
        if sock is not None:
            with contextlib.suppress(Exception):  # closed already, or a kind that can't
                sock.shutdown(socket.SHUT_RDWR)

    def _read(
        self,
        session: requests.Session,
        base: str,
        opened: Callable[[], None],
        push: Callable[[list[dict[str, Any]]], bool],
    ) -> None:
        if self._aborted:
            return
        response = _open(session, base, self._call)
        with response:
            try:
                if response.status_code >= 300:
                    raise _refusal(self._call, response.status_code, response.content)
                opened()
                rest = b""
                for chunk in response.iter_content(_CHUNK):
                    *lines, rest = (rest + chunk).split(b"\n")
                    if self._aborted or (lines and not push(self._decode(lines))):
                        return
                if rest.strip():
                    push(self._decode([rest]))
            except _ANY_TRANSPORT_ERROR as error:
                raise _translate(self._call, error) from error
            except (ValueError, AttributeError) as error:
                # What urllib3 makes of a connection that is shut while it reads.
                raise EngineUnavailable(self._call.action, str(error)) from error

    def _decode(self, lines: list[bytes]) -> list[dict[str, Any]]:
        objects = []
        for line in lines:
            if line.strip():
                item = parse_object(self._call, line)
                if self._keep(item):
                    objects.append(item)
        return objects

    def _watch_connection(self, session: requests.Session, base: str) -> None:
        """Learn of the connection before the request is sent.

        The only other way to it is the answer, and a registry that hangs keeps the Engine from
        beginning one: such a pull could never be given up.
        """
        adapter: Any = session.get_adapter(base)
        find_pool = adapter.get_connection_with_tls_context

        def find(*args: Any, **kwargs: Any) -> Any:
            pool = find_pool(*args, **kwargs)
            connect = pool._new_conn

            def remember() -> Any:
                self._connection = connect()
                return self._connection

            pool._new_conn = remember
            return pool

        adapter.get_connection_with_tls_context = find


def _open(session: requests.Session, base: str, call: Call) -> requests.Response:
    data: Any = None
    headers = dict(call.headers)
    if isinstance(call.body, bytes):
        data = call.body
        headers["Content-Type"] = "application/x-tar"
    elif call.body is not None:
        data = json.dumps(call.body)
        headers["Content-Type"] = "application/json"
    connect = CONNECT_SECONDS if call.timeout is None else min(CONNECT_SECONDS, call.timeout)
    try:
        return session.request(
            call.method,
            base + call.path,
            params={key: str(value) for key, value in call.params.items() if value is not None},
            data=data,
            headers=headers,
            timeout=(connect, call.timeout),
            stream=True,
            allow_redirects=False,
        )
    except _ANY_TRANSPORT_ERROR as error:
        raise _translate(call, error) from error


def _translate(call: Call, error: Exception) -> EngineError:
    """A transport error in our tree; ``ConnectTimeout`` is a timeout before anything was sent."""
    causes = list(_causes(error))
    if isinstance(error, requests.ConnectTimeout):
        return EngineUnavailable(call.action, f"no connection within {CONNECT_SECONDS:g} s")
    timeouts = (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError, TimeoutError)
    if any(isinstance(cause, timeouts) for cause in causes):
        return EngineTimeout(call.action, f"no answer within {call.timeout or 0:g} s")
    system = [cause for cause in causes if isinstance(cause, OSError) and cause.errno]
    if isinstance(error, requests.exceptions.ChunkedEncodingError) and not system:
        # The cause below tells of the number that http.client could not read.
        return EngineUnavailable(call.action, "the connection ended in the middle of the answer")
    return EngineUnavailable(call.action, str((system or causes)[-1]))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what lies under it: libraries hand the cause on as context or argument."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [one.__cause__ or one.__context__, *one.args, getattr(one, "reason", None)]


def _refusal(call: Call, status: int, body: bytes) -> EngineError:
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body[:1000].decode(errors="replace").strip()
    message = message or http.client.responses.get(status, "no reason given")
    creating = call.path == "/containers/create"
    changing = call.method == "DELETE" or call.path.endswith("/kill")
    if status == 404:
        kind: type[EngineError] = NotFound
    elif creating and _NAME_TAKEN.search(message):
        kind = NameTaken
    elif status == 409 or (changing and status in (403, 500) and _CONFLICT.search(message)):
        kind = Conflict
    else:
        kind = EngineFailed if status >= 500 or status < 400 else BadRequest
    return kind(call.action, message, status)


def _not_json(call: Call, body: bytes) -> EngineFailed:
    return EngineFailed(call.action, f"the answer is not JSON: {body[:100]!r}")
