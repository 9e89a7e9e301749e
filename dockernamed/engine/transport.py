"""HTTP with a Docker Engine: sends requests, keeps deadlines, raises errors of our own tree.

`aiodocker.Docker` is the client underneath: its session carries every request, and it knows how to
get through ssh. The requests are made by one helper, `Transport.open`, and not by aiodocker's own
methods, because those

- take any answer with the status 200 for success, even a proxy's page;
- put names into paths without quoting them, and report only the status and text of an error;
- use the newest API version of the Engine, even one that is newer than ours, and never agree on
  another when the Engine is replaced;
- end a stream silently when the connection is lost;
- offer no HEAD request for archives, no raw logs, and no lists that are decoded piece by piece.

There are two clients. One keeps its connections open, and is used for calls that may be repeated.
An Engine, or a proxy in front of it, may close an idle connection at any moment. If it does so just
when a request is sent, nobody can tell whether the request was read. So each call that must not be
repeated gets a new connection.
"""

from __future__ import annotations

import asyncio
import functools
import json
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

import aiodocker
import aiohttp
import docker.constants
import docker.utils
from aiodocker.ssh import SSHConnector
from yarl import URL

from ..errors import BadRequest, ConfigError, EngineError, EngineTimeout, EngineUnavailable
from .call import Call, parse_object, refusal
from .connection import Connection, Route, route_to

T = TypeVar("T")

#: The share of a call's deadline that making a connection may take: a timeout that comes later
#: means that the request may have been read.
CONNECT_SHARE = 0.5
#: The newest API version that docker-py knows, whose arguments admins write.
API_VERSION: str = docker.constants.DEFAULT_DOCKER_API_VERSION

_TRANSPORT_ERRORS = (
    aiohttp.ClientError,
    aiodocker.DockerError,  # of its ssh connections
    asyncio.TimeoutError,
    OSError,
    RuntimeError,  # how aiohttp calls a connection that was closed here a moment ago
)


@dataclass(frozen=True)
class _Clients:
    route: Route
    kept: aiodocker.Docker
    anew: aiodocker.Docker


class Transport:
    """Sends requests to one Engine, any number at once; belongs to one event loop.

    Creating it neither connects to anything nor reads anything.

    Args:
        connection: where the Engine is.
        connect: seconds that making a connection may take.
    """

    def __init__(self, connection: Connection, connect: float) -> None:
        self._connect = connect
        self._connection = connection
        self._clients: _Clients | None = None
        self._version: str | None = None
        self.closed = False

    async def close(self) -> None:
        """Close all connections; calls under way and later ones raise `EngineUnavailable`."""
        self.closed = True
        clients, self._clients = self._clients, None
        if clients is not None:
            for client in (clients.kept, clients.anew):
                await client.close()
                await client.connector.close()

    async def fetch(self, call: Call) -> bytes:
        """Make a call and return the whole body of its answer; b"" for the statuses 204 and 304.

        Raises:
            EngineError: one of its subclasses, by what the caller can do about it.
            ConfigError: the connection's settings cannot work.
        """
        response = await self.open(call)
        try:
            return await response.read()
        except _TRANSPORT_ERRORS as error:
            raise self._translated(call, error, "no whole answer") from error
        finally:
            response.close()

    async def open(self, call: Call) -> aiohttp.ClientResponse:
        """Make a call and return its answer as soon as it begins; the caller closes the answer.

        Raises:
            EngineError: one of its subclasses, by what the caller can do about it.
            ConfigError: the connection's settings cannot work.
        """
        version = self._version or await self._agree_on_version(call)
        try:
            return await self._send(call, f"/v{version}")
        except BadRequest as error:
            if not _is_about_version(error) or (self._clients and self._clients.route.version):
                raise
        # The Engine was replaced by one that speaks another version.
        return await self._send(call, f"/v{await self._agree_on_version(call)}")

    async def beginning(self, call: Call, read: Callable[[bytes], T | None]) -> T | None:
        """Make a call and read no more of its answer than is needed; None where all is too short.

        Args:
            call: what to ask.
            read: what a beginning of the answer's body says; None: it is too short to tell.

        Raises:
            EngineError: as from `fetch`.
            ConfigError: likewise.
        """
        response = await self.open(call)
        data, found = b"", None
        try:
            while found is None and (chunk := await response.content.readany()):
                data += chunk
                found = read(data)
        except _TRANSPORT_ERRORS as error:
            raise self._translated(call, error, "no whole answer") from error
        finally:
            response.close()
        return found

    async def each_part(self, call: Call, take: Callable[[bytes], None]) -> None:
        """Make a call and hand over its answer as it comes, to its end.

        Raises:
            EngineError: as from `fetch`.
            ConfigError: likewise.
        """
        response = await self.open(call)
        try:
            while chunk := await response.content.readany():
                take(chunk)
        except _TRANSPORT_ERRORS as error:
            raise self._translated(call, error, "no whole answer") from error
        finally:
            response.close()

    async def objects(
        self,
        call: Call,
        response: aiohttp.ClientResponse,
        keep: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> AsyncGenerator[list[dict[str, Any]], None]:
        """The objects of an answer that has one object per line, in batches, until it ends.

        The next batch is read only when it is asked for: a slow reader makes the Engine wait, and
        memory stays bounded. The event loop runs between two batches.

        Args:
            call: the call that was made, for messages.
            response: its answer.
            keep: an object for which it returns False is dropped.
        """
        rest = b""
        while True:
            try:
                chunk = await response.content.readany()
            except _TRANSPORT_ERRORS as error:
                raise self._translated(call, error, "no whole answer") from error
            *lines, rest = (rest + chunk).split(b"\n")
            if not chunk:
                lines = [rest]
            found = [parse_object(call, line) for line in lines if line.strip()]
            if batch := [one for one in found if keep(one)]:
                yield batch
            if not chunk:
                return
            await asyncio.sleep(0)

    # --- one request -----------------------------------------------------------------------

    async def _send(self, call: Call, prefix: str) -> aiohttp.ClientResponse:
        clients = await self._connected(call)
        client = clients.kept if call.repeat and not call.anew else clients.anew
        query = {key: str(value) for key, value in call.params.items() if value is not None}
        url = f"{clients.route.base}{prefix}{call.path}"
        headers, data = dict(clients.route.headers), call.body
        if client is clients.anew:
            headers["Connection"] = "close"
        if isinstance(data, bytes):
            headers["Content-Type"] = "application/x-tar"
        elif data is not None:
            headers["Content-Type"], data = "application/json", json.dumps(data).encode()
        try:
            response = await client.session.request(
                call.method,
                URL(f"{url}?{urlencode(query)}" if query else url, encoded=True),
                data=data,
                headers={**headers, **call.headers},
                timeout=_patience(call.timeout, self._connect),
                allow_redirects=False,
                proxy=clients.route.proxy,
            )
            if response.status < 300 or response.status == 304:
                return response
            try:
                body = await response.read()
            finally:
                response.close()
        except _TRANSPORT_ERRORS as error:
            raise self._translated(call, error, "no answer") from error
        raise refusal(call, response.status, body)

    async def api_version(self) -> str:
        """The version of the API that requests are made in."""
        ask = Call("ask its version", "GET", "/version", timeout=self._connection.deadline)
        return self._version or await self._agree_on_version(ask)

    async def _agree_on_version(self, call: Call) -> str:
        """The newest API version that both sides know, or the one that the admin has fixed."""
        fixed = (await self._connected(call)).route.version
        if fixed is None:
            ask = Call(call.action, "GET", "/version", timeout=self._connection.deadline)
            response = await self._send(ask, "")
            try:
                fixed = _newest_of_both(parse_object(ask, await response.read()))
            except _TRANSPORT_ERRORS as error:
                raise self._translated(ask, error, "no whole answer") from error
            finally:
                response.close()
        self._version = fixed
        return fixed

    async def _connected(self, call: Call) -> _Clients:
        if self._clients is None and not self.closed:
            route = await asyncio.to_thread(route_to, self._connection)
            if self._clients is None and not self.closed:  # somebody else may have been quicker
                self._clients = _Clients(
                    route, _client(route, anew=False), _client(route, anew=True)
                )
        if self._clients is None:
            raise EngineUnavailable(call.action, "the connection to the Engine is closed")
        return self._clients

    def _translated(self, call: Call, error: Exception, missing: str) -> EngineError:
        """The error of our own tree for an error of the transport.

        Args:
            call: the call that failed.
            error: what aiohttp or the system raised.
            missing: what did not come in time, if this is a timeout.
        """
        kind: type[EngineError] = EngineUnavailable
        if self.closed:
            message = "the connection to the Engine is closed"
        elif isinstance(error, aiohttp.ServerTimeoutError):  # the only one that we set
            message = (
                f"no connection within {_patience(call.timeout, self._connect).sock_connect:g} s"
            )
        elif isinstance(error, asyncio.TimeoutError):
            kind, message = EngineTimeout, f"{missing} within {call.timeout or 0:g} s"
        elif isinstance(error, aiohttp.ClientConnectorCertificateError):
            message = str(error.certificate_error)
        elif isinstance(error, aiohttp.ClientConnectorError):
            message = _in_words(error.os_error)
            if isinstance(error, aiohttp.ClientProxyConnectionError):
                message = f"the proxy of the environment: {message}"
        elif isinstance(error, aiohttp.ServerDisconnectedError):
            message = "the connection ended before the answer"
        elif isinstance(error, aiohttp.ClientPayloadError):
            message = "the connection ended in the middle of the answer"
        elif isinstance(error, aiodocker.DockerError):
            message = str(error.message)
        else:
            message = str(error) or type(error).__name__
        return kind(call.action, f"{message} ({self._connection.url})")


def _client(route: Route, *, anew: bool) -> aiodocker.Docker:
    """A client without a limit of connections: `Engine` decides how many calls go on at once."""
    connector: aiohttp.BaseConnector
    if route.ssh:
        try:
            connector = SSHConnector(route.ssh)
        except aiodocker.DockerError as error:
            hint = f"no way to the Engine at {route.ssh!r}: {error.message}"
            raise ConfigError("client_kwargs", {"base_url": route.ssh}, hint) from error
    elif route.socket:
        connector = aiohttp.UnixConnector(route.socket, limit=0, force_close=anew)
    else:
        connector = aiohttp.TCPConnector(ssl=route.tls, limit=0, force_close=anew)
    client = aiodocker.Docker(route.base, connector=connector)
    # aiohttp repeats methods that HTTP calls idempotent by itself, and so would hide that a removal
    # was made twice. There is no public way to forbid it; aiohttp's own test client does it so.
    client.session._retry_connection = False
    return client


@functools.lru_cache(maxsize=64)
def _patience(timeout: float | None, connect: float) -> aiohttp.ClientTimeout:
    if timeout is not None:
        connect = min(connect, timeout * CONNECT_SHARE)
    return aiohttp.ClientTimeout(total=timeout, sock_connect=connect)


def _in_words(error: OSError) -> str:
    """The system's own words, where asyncio has others for them."""
    if isinstance(error, ConnectionError) and error.errno:
        return f"[Errno {error.errno}] {os.strerror(error.errno)}"
    return str(error)


def _newest_of_both(version: Mapping[str, Any]) -> str:
    newest = str(version.get("ApiVersion") or API_VERSION)
    oldest = str(version.get("MinAPIVersion") or newest)
    if docker.utils.version_lt(newest, API_VERSION):
        return newest
    return oldest if docker.utils.version_lt(API_VERSION, oldest) else API_VERSION


def _is_about_version(error: BadRequest) -> bool:
    return "client version" in error.message and "API version" in error.message
