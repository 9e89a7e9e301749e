"""A proxy between a Hub and its Engine, at which requests go wrong as a test orders.

It is for what the fake Engine cannot prove: that a real Hub and a real Engine come through. Faults
are those of the fake Engine, and two more; all come by the request, none by the clock.

Requests are known by paths that people can tell: containers and services by their names instead of
their ids, and what is created by ``/containers/create/NAME``, likewise volumes, networks and
services; secrets and configs by ``/secrets/create/SERVER``, as their names say nothing. An update
of a service that asks for tasks is ``/services/NAME/update/1``. So each of many servers that start
at once can have a fault of its own.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import tempfile
import threading
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp import ClientResponse, web
from docker.utils import kwargs_from_env
from yarl import URL

from dockernamed.naming import LABEL_SERVER
from support.fake_engine import Fault
from support.fake_engine.faults import Handler
from support.fake_engine.listening import Listener, serve

STREAMS = ("/events", "/images/create")
#: What is created with its name in the body.
NAMED = re.compile("/(volumes|networks|services)/create")
#: What is created with the name of its server in the labels.
LABELLED = re.compile("/(secrets|configs)/create")
#: What is known by its id, which an answer to its creation told.
BY_ID = re.compile("/(containers|services)/([0-9a-z]{25,64})(/.*)?")
HOP_BY_HOP = ("connection", "content-length", "keep-alive", "transfer-encoding")


class EngineFault(Fault):
    """A `Fault` of the fake Engine's kinds, or of two more.

    ``"down"``: the Engine is gone from this request on, until `EngineProxy.well_again`; ``"cut"``:
    all event streams break, then the request is done as if nothing were.
    """

    proxy: EngineProxy

    def wait(self) -> None:
        """Until such a request has come."""
        assert self.reached.wait(60), f"nobody asked {self.method} {self.path}"

    async def strike(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer in the handler's place."""
        if self.kind not in ("cut", "down"):
            return await super().strike(request, handler)
        self.hits += 1
        self.reached.set()
        if self.kind == "cut":
            self.proxy.break_streams()
            return await handler(request)
        await self.proxy.go_down()
        return web.Response()


class EngineProxy:
    """Hands an Engine on at a Unix socket of its own; use it as a context manager.

    Args:
        engine: the Engine's ``unix://`` or ``tcp://`` URL.

    Attributes:
        granted: method and path of all requests so far that the Engine has done as they asked: it
            refuses, say, to change what it has just changed itself.
        busy: requests that the Engine has not answered yet, streams left out.
    """

    def __init__(self, engine: str) -> None:
        self.granted: list[tuple[str, str]] = []
        self.busy = 0
        self._engine = urlsplit(engine)
        self._folder = Path(tempfile.mkdtemp(prefix="engine-proxy-"))
        self._socket = self._folder / "docker.sock"
        self.url = f"unix://{self._socket}"
        self._faults: list[EngineFault] = []
        self._names: dict[str, str] = {}  # id of a container or service → its name
        self._streams: set[asyncio.Transport] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name="engine-proxy", daemon=True)
        self._ready = threading.Event()

    @classmethod
    def of_this_engine(cls) -> EngineProxy:
        """The Engine that DOCKER_HOST and friends say."""
        return cls(str(kwargs_from_env().get("base_url", "unix:///var/run/docker.sock")))

    def __enter__(self) -> EngineProxy:
        self._thread.start()
        assert self._ready.wait(60)
        return self

    def __exit__(self, *error: object) -> None:
        self.well_again()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)
        shutil.rmtree(self._folder)

    # --- what a test orders ----------------------------------------------------------------

    def fault(self, kind: str | int, method: str, path: str, *, times: int = 1) -> EngineFault:
        """Have the next ``times`` such requests go wrong, as of `EngineFault`.

        Args:
            kind: how.
            method: of HTTP.
            path: expression that the whole path matches.
            times: how often.
        """
        fault = EngineFault(kind, method, path, times, "the Engine broke")
        fault.proxy = self
        self._faults.append(fault)
        return fault

    def well_again(self) -> None:
        """Forget all faults: the Engine is there, and what is held goes on."""
        for fault in self._faults:
            fault.release()
        self._faults.clear()
        asyncio.run_coroutine_threadsafe(self._listener.up(), self._loop).result(60)

    def count(self, method: str, path: str) -> int:
        """Requests that were granted, and whose whole path matches an expression."""
        return sum(m == method and bool(re.fullmatch(path, p)) for m, p in self.granted)

    # --- in the thread ---------------------------------------------------------------------

    def break_streams(self) -> None:
        """Break every connection on which the Engine tells of events or pulls."""
        for transport in list(self._streams):
            transport.abort()

    async def go_down(self) -> None:
        """Break all connections, and refuse new ones."""
        await self._listener.down()

    def _serve(self) -> None:
        serve(self._loop, self._begin, self._ready, self.go_down, self._clean_up)

    async def _begin(self) -> None:
        where = self._engine
        connector: aiohttp.BaseConnector
        if where.scheme == "unix":
            connector, self._base = aiohttp.UnixConnector(where.path, limit=0), "http://engine"
        else:
            connector, self._base = aiohttp.TCPConnector(limit=0), f"http://{where.netloc}"
        self._session = aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        )
        app = web.Application(client_max_size=2**26)
        app.router.add_route("*", "/{path:.*}", self._take)
        # What a Hub asked for is done even if the Hub is killed meanwhile, as an Engine does.
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        self._listener = Listener(self._runner, self._socket)
        await self._listener.up()

    async def _clean_up(self) -> None:
        await self._session.close()
        await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.StreamResponse:
        path = self._path(request, await request.read())
        if path in STREAMS:
            return await self._through_faults(request, path, self._pour)
        self.busy += 1
        try:
            return await self._through_faults(request, path, self._hand_on)
        finally:
            self.busy -= 1

    async def _through_faults(
        self, request: web.Request, path: str, handler: Handler
    ) -> web.StreamResponse:
        for fault in self._faults:
            if fault.matches(request.method, path):
                return await fault.strike(request, handler)
        return await handler(request)

    def _path(self, request: web.Request, body: bytes) -> str:
        path = re.sub(r"^/v\d+\.\d+(?=/)", "", unquote(request.path))
        if path == "/containers/create":
            return f"{path}/{request.query['name']}"
        if NAMED.fullmatch(path):
            return f"{path}/{json.loads(body)['Name']}"
        if LABELLED.fullmatch(path):
            return f"{path}/{json.loads(body)['Labels'].get(LABEL_SERVER, '')}"
        if (found := BY_ID.fullmatch(path)) is None:
            return path
        kind, id, rest = found[1], found[2], found[3] or ""
        if (kind, rest) == ("services", "/update"):
            rest += "/1" * bool(json.loads(body)["Mode"]["Replicated"]["Replicas"])
        return f"/{kind}/{self._names.get(id, id)}{rest}"

    def _ask(
        self, request: web.Request, body: bytes
    ) -> AbstractAsyncContextManager[ClientResponse]:
        return self._session.request(
            request.method,
            URL(self._base + request.raw_path, encoded=True),
            data=body or None,
            headers=_end_to_end(request.headers),
            skip_auto_headers=("Content-Type", "User-Agent"),
        )

    async def _hand_on(self, request: web.Request) -> web.StreamResponse:
        sent = await request.read()
        async with self._ask(request, sent) as answer:
            body = await answer.read()
        if answer.ok:
            self.granted.append((request.method, self._path(request, sent)))
        if request.path.endswith("/containers/create") and answer.status == 201:
            self._names[json.loads(body)["Id"]] = request.query["name"]
        if request.path.endswith("/services/create") and answer.status == 201:
            self._names[json.loads(body)["ID"]] = json.loads(sent)["Name"]
        return web.Response(status=answer.status, body=body, headers=_end_to_end(answer.headers))

    async def _pour(self, request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        self._streams.add(request.transport)
        try:
            async with self._ask(request, b"") as answer:
                headers = _end_to_end(answer.headers)
                response = web.StreamResponse(status=answer.status, headers=headers)
                await response.prepare(request)
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
        except ConnectionError:
            pass  # one of the two hung up
        finally:
            self._streams.discard(request.transport)
        return response


def _end_to_end(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in HOP_BY_HOP}
