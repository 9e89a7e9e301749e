"""The Docker Engine as awaitable calls; the only module that knows the Docker SDK.

Every call runs in a thread of the lane of its kind, so that nothing blocks the event loop and a
slow kind never keeps a quick one waiting:

- short calls (`Engine.inspect_container` and most others), ``workers`` at once;
- long calls (stop and remove), ``stops`` at once;
- pulls, ``pulls`` at once, and event streams: each in a thread of its own.

A thread uses one `docker.APIClient` at a time that no other uses meanwhile: its
`requests.Session` is not promised to be thread-safe. Each client keeps one connection open.

What fails is raised as one of `EngineError`'s subclasses. Reads and removals are repeated when the
connection broke; what creates, starts or stops never is: look what became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import inspect
import os
import socket
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import docker
import docker.auth
import docker.constants
import docker.errors
import docker.tls
import docker.types
import docker.utils
import docker.utils.config
import requests
from docker.transport.unixconn import (
    UnixHTTPAdapter,
    UnixHTTPConnection,
    UnixHTTPConnectionPool,
)

from ..errors import BadRequest, ConfigError, EngineTimeout, EngineUnavailable
from . import wire
from .calls import Calls
from .lanes import Feed, Lane
from .wire import Call, JSONLines

T = TypeVar("T")

DEFAULT_URL = "unix:///var/run/docker.sock"
API_VERSION = docker.constants.DEFAULT_DOCKER_API_VERSION  # the newest that the SDK knows
RETRIES = (0.1, 0.4)  # seconds before each repetition of a call that may be repeated
MAX_IDLE_CLIENTS = 32


@dataclass(frozen=True)
class Connection:
    """How to reach an Engine; hashable, so that all spawners of a Hub can share one `Engine`.

    Attributes:
        base_url: such as ``unix:///var/run/docker.sock`` or ``tcp://host:2376``; None follows
            DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH.
        timeout: seconds within which a short call must be answered.
        options: further arguments of `docker.APIClient`.
        tls: arguments of `docker.tls.TLSConfig`.
    """

    base_url: str | None = None
    timeout: float = 60.0
    options: tuple[tuple[str, object], ...] = ()
    tls: tuple[tuple[str, object], ...] = ()

    def __hash__(self) -> int:
        # Values may be unhashable, such as a list of certificate files.
        names = (name for name, _ in (*self.options, *self.tls))
        return hash((self.base_url, self.timeout, *names))


class Engine(Calls):
    """An Engine, for any number of callers at once; what it can be asked stands in `Calls`.

    Making one connects to nothing; the API version is agreed on with the first call. All calls
    raise `EngineError`, and `ConfigError` when the connection's settings cannot work.

    Args:
        connection: where it is.
        workers: how many short calls may be under way at once; more wait in turn.
        stops: how many stops and removals may be under way at once.
        pulls: how many pulls may be under way at once.
    """

    def __init__(
        self, connection: Connection, *, workers: int = 16, stops: int = 64, pulls: int = 16
    ) -> None:
        self.connection = connection
        self._options: dict[str, Any] = dict(connection.options)
        super().__init__(float(self._options.get("timeout", connection.timeout)), pulls)
        self._short = Lane("dockernamed-call", workers)
        self._slow = Lane("dockernamed-slow", stops)
        self._feeds: set[Feed[dict[str, Any]]] = set()
        self._idle: deque[docker.APIClient] = deque()
        self._settings: dict[str, Any] | None = None
        version = self._options.pop("version", None)
        self._fixed_version = None if version == "auto" else version
        self._version = self._fixed_version
        self._closed = False

    @property
    def base_url(self) -> str:
        """Where the Engine is, ``unix://…`` or ``tcp://…``, as configured or by DOCKER_HOST."""
        configured = self._options.get("base_url") or self.connection.base_url
        return str(configured or os.environ.get("DOCKER_HOST") or DEFAULT_URL)

    def close(self) -> None:
        """End threads and connections; calls under way end by themselves. Doesn't block."""
        self._closed = True
        self._short.close()
        self._slow.close()
        for feed in list(self._feeds):
            feed.close()
        while self._idle:
            self._idle.pop().close()

    # --- how calls are made ----------------------------------------------------------------

    async def _fetch(
        self,
        call: Call,
        read: Callable[[bytes], T],
        *,
        slow: bool = False,
        repeat: bool = False,
    ) -> T:
        lane = self._slow if slow else self._short
        for wait in RETRIES if repeat else ():
            try:
                return await self._once(call, read, lane)
            except EngineUnavailable:
                if self._closed:
                    raise
                await asyncio.sleep(wait)
        return await self._once(call, read, lane)

    async def _once(self, call: Call, read: Callable[[bytes], T], lane: Lane) -> T:
        def work() -> T:
            return read(self._ask(call))

        try:
            return await lane.run(work)
        except ConnectionAbortedError as error:
            raise EngineUnavailable(call.action, str(error)) from None
        except BadRequest as error:
            if self._fixed_version or not _is_about_version(error):
                raise
        self._version = None  # the Engine was replaced by one that speaks another
        return await lane.run(work)

    def _stream(self, call: Call, keep: Callable[[dict[str, Any]], bool]) -> Feed[dict[str, Any]]:
        def connect() -> tuple[requests.Session, str]:
            return self._connect(call.action)

        return self._feed("dockernamed-events", JSONLines(connect, call, keep))

    def _pull(
        self, repository: str, auth: Mapping[str, str] | None, call: Call
    ) -> Feed[dict[str, Any]]:
        def connect() -> tuple[requests.Session, str]:
            client, base = self._connect(call.action)
            if auth is None:
                registry, _ = docker.auth.resolve_repository_name(repository)
                header = docker.auth.get_config_header(client, registry)
            else:
                header = docker.auth.encode_header(dict(auth)) if auth else None
            if header:
                client.headers["X-Registry-Auth"] = header
            return client, base

        return self._feed("dockernamed-pull", JSONLines(connect, call))

    def _feed(self, name: str, source: JSONLines) -> Feed[dict[str, Any]]:
        feed: Feed[dict[str, Any]] = Feed(name, source, on_close=self._feeds.discard)
        self._feeds.add(feed)
        return feed

    # --- clients; in threads only ----------------------------------------------------------

    def _ask(self, call: Call) -> bytes:
        version = self._version or self._agree_on_version(call.action)
        return self._ask_at(f"/v{version}", call)

    def _ask_at(self, prefix: str, call: Call) -> bytes:
        client = None
        if not call.anew:
            with contextlib.suppress(IndexError):
                client = self._idle.pop()
        client = client or self._make_client()
        try:
            return wire.fetch(client, client.base_url + prefix, call)
        except (EngineUnavailable, EngineTimeout) as error:
            raise type(error)(call.action, f"{error.message} ({self.base_url})") from error
        finally:
            self._put_back(client)  # a broken connection it has closed, and will replace

    def _agree_on_version(self, action: str) -> str:
        call = Call(action, "GET", "/version", timeout=self.timeout)
        self._version = version = _agree(wire.parse_object(call, self._ask_at("", call)))
        return version

    def _put_back(self, client: docker.APIClient) -> None:
        if self._closed or len(self._idle) >= MAX_IDLE_CLIENTS:
            client.close()
        else:
            self._idle.append(client)

    def _connect(self, action: str) -> tuple[docker.APIClient, str]:
        """A client for an answer that takes long; the caller closes it."""
        version = self._version or self._agree_on_version(action)
        client = self._make_client()
        return client, f"{client.base_url}/v{version}"

    def _make_client(self) -> docker.APIClient:
        if self._settings is None:
            self._settings = _client_settings(self.connection)
        try:
            client = docker.APIClient(
                **{**self._settings, **self._options, "timeout": self.timeout},
                version=API_VERSION,  # of no effect: each URL names the version agreed on
            )
            address = str(docker.utils.parse_host(self.base_url))
        except (docker.errors.DockerException, TypeError, ValueError) as error:
            hint = f"the Docker SDK cannot connect to {self.base_url!r} with it: {error}"
            raise ConfigError("client_kwargs", self._options, hint) from error
        client.headers.update(docker.utils.config.load_general_config().get("HttpHeaders") or {})
        if client.base_url == "http+docker://localhost":
            client.trust_env = False  # no proxies on a Unix socket: don't look for them each time
            client.mount("http+docker://", _UnixAdapter(address, pool_connections=1))
        return client


def check_connection(connection: Connection) -> None:
    """Read the settings of a connection; connects to nothing, but reads files: blocks.

    Raises:
        ConfigError: they cannot work.
    """
    Engine(connection)._make_client().close()


class _UnixConnection(UnixHTTPConnection):  # type: ignore[misc]  # the SDK has no types
    def connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.timeout)
            sock.connect(self.unix_socket)
        except BaseException:
            sock.close()  # the SDK's own leaves that to the garbage collector
            raise
        self.sock = sock


class _UnixPool(UnixHTTPConnectionPool):  # type: ignore[misc]  # likewise
    def _new_conn(self) -> Any:
        timeout: Any = self.timeout
        return _UnixConnection(self.base_url, self.socket_path, timeout)


class _UnixAdapter(UnixHTTPAdapter):  # type: ignore[misc]  # likewise
    """One pool for all URLs, so that a connection is kept: the SDK's own has a pool per URL."""

    def get_connection(self, url: Any, proxies: Any = None) -> Any:
        with self.pools.lock:
            pool = self.pools.get("")
            if pool is None:
                pool = self.pools[""] = _UnixPool(url, self.socket_path, self.timeout, maxsize=1)
        return pool


def _client_settings(connection: Connection) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    try:
        if connection.base_url is None:
            settings.update(docker.utils.kwargs_from_env())
        else:
            settings["base_url"] = connection.base_url
        if connection.tls:
            settings["tls"] = docker.tls.TLSConfig(**dict(connection.tls))
        authority = getattr(settings.get("tls"), "ca_cert", None)
        if authority:
            os.stat(authority)  # the SDK itself looks only when it connects
    except (docker.errors.DockerException, TypeError, ValueError, OSError) as error:
        hint = f"the Docker SDK cannot use it: {error}"
        raise ConfigError("tls_config", dict(connection.tls), hint) from error
    return settings


def _agree(version: Mapping[str, Any]) -> str:
    """The newest API version that both sides know."""
    newest = str(version.get("ApiVersion") or API_VERSION)
    oldest = str(version.get("MinAPIVersion") or newest)
    if docker.utils.version_lt(newest, API_VERSION):
        return newest
    return oldest if docker.utils.version_lt(API_VERSION, oldest) else API_VERSION


def _is_about_version(error: BadRequest) -> bool:
    return "client version" in error.message and "API version" in error.message


# --- the SDK's own names for settings, in those of the Engine ----------------------------------


def host_config(kwargs: Mapping[str, object]) -> dict[str, Any]:
    """Arguments of the SDK's ``create_host_config`` as the keys of the API's ``HostConfig``.

    Raises:
        ConfigError: unknown, or of a value that cannot be read.
    """
    if not kwargs:
        return {}
    field = "extra_host_config"
    given: dict[str, Any] = dict(kwargs)
    _check_known(field, kwargs, inspect.signature(docker.types.HostConfig.__init__).parameters)
    try:
        config = dict(docker.types.HostConfig(API_VERSION, **given))
    except _UNREADABLE as error:
        raise ConfigError(field, dict(kwargs), f"the Docker SDK says: {error}") from error
    if not kwargs.get("network_mode"):
        config.pop("NetworkMode", None)  # the SDK's default, which nobody asked for
    return config


def create_config(kwargs: Mapping[str, object]) -> dict[str, Any]:
    """Arguments of the SDK's ``create_container`` as the keys of the API's create call.

    ``platform`` is kept under its own name: `Engine.create_container` knows it.

    Raises:
        ConfigError: unknown, ``image`` or ``name``, or of a value that cannot be read.
    """
    if not kwargs:
        return {}
    field = "extra_create_kwargs"
    given: dict[str, Any] = dict(kwargs)
    known = set(inspect.signature(docker.types.ContainerConfig.__init__).parameters)
    _check_known(field, given, known - {"image"} | {"platform"})
    extra = {"platform": given.pop("platform")} if given.get("platform") else {}
    try:
        config = docker.types.ContainerConfig(API_VERSION, **{**_NOTHING, **given})
    except _UNREADABLE as error:
        raise ConfigError(field, dict(kwargs), f"the Docker SDK says: {error}") from error
    unset = docker.types.ContainerConfig(API_VERSION, **_NOTHING)
    return {**{key: config[key] for key in config if config[key] != unset.get(key)}, **extra}


_NOTHING: Mapping[str, Any] = {"image": None, "command": None}
_UNREADABLE = (
    docker.errors.DockerException,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
)


def _check_known(field: str, kwargs: Mapping[str, object], known: Iterable[str]) -> None:
    names = sorted(set(known) - {"self", "version"})
    for key in kwargs:
        if key not in names:
            close = difflib.get_close_matches(str(key), names, 3)
            meant = f"did you mean {' or '.join(close)}?" if close else f"known: {', '.join(names)}"
            hint = f"{key!r} is not an argument of the Docker SDK; {meant}"
            raise ConfigError(field, dict(kwargs), hint)
