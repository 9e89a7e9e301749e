"""Faults that a test orders, and the log of requests."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from weakref import WeakSet

from aiohttp import web

#: What HAProxy says.
FORBIDDEN = "<html><body><h1>403 Forbidden</h1>Request forbidden by administrative rules.</html>"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(eq=False)
class Fault:
    """What goes wrong with a request.

    Attributes:
        kind: ``"reset"``: the connection breaks and nothing is done; ``"lost"``: it is done, then
            the connection breaks; ``"stall"``: nothing happens until `release`, then it is done;
            ``"stall after"``: it is done, and answered after `release`; ``"garbage"``: 200 with
            something that isn't JSON; ``"drip"``: an answer that never ends; ``"forbidden"``: what
            a proxy answers that does not let the request through; or an HTTP status.
        method: of the requests meant.
        path: expression that their whole path matches, without API version.
        times: how often, then all is well again.
        message: with a status, the Engine's words.
        passing: how many such requests come first, with which nothing goes wrong.
    """

    kind: str | int
    method: str
    path: str
    times: int = 1
    message: str = "something broke"
    passing: int = 0
    hits: int = 0
    reached: threading.Event = field(default_factory=threading.Event)
    _released: threading.Event = field(default_factory=threading.Event)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _loop: asyncio.AbstractEventLoop | None = None

    def release(self) -> None:
        """Let stalled requests go on."""
        self._released.set()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    def matches(self, method: str, path: str) -> bool:
        """Whether this request is meant, and is one of the times."""
        return (
            self.hits < self.times
            and method == self.method
            and re.fullmatch(self.path, path) is not None
        )

    async def strike(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer in the handler's place."""
        self.hits += 1
        self._loop = asyncio.get_running_loop()
        self.reached.set()
        if isinstance(self.kind, int):
            return web.json_response({"message": self.message}, status=self.kind)
        if self.kind == "garbage":
            return web.Response(text="<html>a proxy's page</html>")
        if self.kind == "forbidden":
            return web.Response(text=FORBIDDEN, status=403, content_type="text/html")
        if self.kind == "drip":
            return await self._drip(request)
        if self.kind == "stall":
            await self._until_released()
        if self.kind == "reset":
            _abort(request)
            return web.Response()
        response = await handler(request)
        if self.kind == "lost":
            _abort(request)
        if self.kind == "stall after":
            await self._until_released()
        return response

    async def _until_released(self) -> None:
        if not self._released.is_set():
            await self._wake.wait()

    async def _drip(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while not self._released.is_set():
            await response.write(b" ")
            await asyncio.sleep(0.01)
        return response


def _abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()


class Gate:
    """Counts requests and applies faults, as an aiohttp middleware."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.connections = 0
        self.tired: set[object] = set()
        self.headers: Mapping[str, str] = {}
        self._seen: WeakSet[object] = WeakSet()
        self.log: deque[tuple[str, str]] = deque(maxlen=200_000)

    def middleware(self) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
        """For the application."""

        @web.middleware
        async def through(request: web.Request, handler: Handler) -> web.StreamResponse:
            if request.transport in self.tired:
                _abort(request)
                return web.Response()
            path = re.sub(r"^/v\d+\.\d+(?=/)", "", request.path)
            self.log.append((request.method, path))
            self.headers = request.headers
            if request.transport is not None and request.transport not in self._seen:
                self._seen.add(request.transport)
                self.connections += 1
            for fault in list(self.faults):
                if not fault.matches(request.method, path):
                    continue
                if fault.passing == 0:
                    return await fault.strike(request, handler)
                fault.passing -= 1
            return await handler(request)

        return through
