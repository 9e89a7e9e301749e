"""Counting what a Hub asks its Engine for, on a Unix socket between the two."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

from .hubs import CONTENDERS, Hub
from .setting import BUSYBOX, Setting

CHUNK = 65536
SOME = 8  # starts whose requests are counted: few enough to be over before the first poll
Request = tuple[str, str]


class CountingProxy:
    """Hands an Engine's socket on, and notes each request.

    Attributes:
        requests: method and path, without API version and query, oldest first.
    """

    def __init__(self, engine: str, socket: Path) -> None:
        self.url = f"unix://{socket}"
        self.requests: list[Request] = []
        self._engine, self._socket = urlsplit(engine), socket
        self._tasks: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[CountingProxy]:
        """Listen."""
        server = await asyncio.start_unix_server(self._client, str(self._socket))
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def count(self, method: str, path: str) -> int:
        """Requests whose whole path matches an expression."""
        return sum(m == method and bool(re.fullmatch(path, p)) for m, p in self.requests)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        where = self._engine
        try:
            if where.scheme == "unix":
                back, forth = await asyncio.open_unix_connection(where.path)
            else:
                back, forth = await asyncio.open_connection(where.hostname, where.port)
            answers = asyncio.ensure_future(_pour(back, writer))
            try:
                await self._requests(reader, forth)
            finally:
                forth.close()
                answers.cancel()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # one of the two hung up
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            path = re.sub(r"^/v\d+\.\d+(?=/)", "", target.partition("?")[0])
            self.requests.append((method, path))
            writer.write(head)
            length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
            if length:
                writer.write(await reader.readexactly(int(length[1])))
            elif re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
                await _chunks(reader, writer)
            await writer.drain()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


async def _chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    size = -1
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        writer.write(line + await reader.readexactly(size + 2))


@asynccontextmanager
async def counted_hubs(
    setting: Setting, contenders: tuple[str, ...], further: str = ""
) -> AsyncIterator[list[tuple[Hub, CountingProxy]]]:
    """Hubs whose requests to the Engine are counted."""
    async with AsyncExitStack() as stack:
        proxies = {}
        for name in set(contenders) & set(setting.contenders):
            # A socket's path has a limit of 107 characters.
            proxy = CountingProxy(setting.engine.url, setting.folder / f"{name[:6]}.sock")
            proxies[name] = await stack.enter_async_context(proxy.running())
        hosts = {name: proxy.url for name, proxy in proxies.items()}
        hubs = await stack.enter_async_context(
            setting.hubs(BUSYBOX, contenders, further=further, docker_host=hosts)
        )
        yield [(hub, proxies[hub.contender]) for hub in hubs]


async def requests_of(
    setting: Setting, count: int, interval: float, intervals: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Engine requests per start, and per poll interval while ``count`` servers run.

    Args:
        setting: where.
        count: of servers.
        interval: ``c.Spawner.poll_interval``, seconds; longer than `SOME` starts take.
        intervals: how many of them are watched.
    """
    starts: dict[str, float] = {}
    polls: dict[str, float] = {}
    further = f"c.Spawner.poll_interval = {interval}\n"
    names = [f"count{index}" for index in range(count)]
    async with counted_hubs(setting, tuple(CONTENDERS), further) as counted:
        for hub, proxy in counted:
            await hub.spawn("first")
            before = len(proxy.requests)
            await asyncio.gather(*(hub.spawn(name) for name in names[:SOME]))
            starts[hub.contender] = (len(proxy.requests) - before) / SOME
            await asyncio.gather(*(hub.spawn(name) for name in names[SOME:-1]))
        begins = {hub.contender: len(proxy.requests) for hub, proxy in counted}
        await asyncio.sleep(interval * intervals)
        for hub, proxy in counted:
            polls[hub.contender] = (len(proxy.requests) - begins[hub.contender]) / intervals
    return starts, polls
