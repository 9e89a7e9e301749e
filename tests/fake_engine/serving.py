"""What answers at a started container's address and published ports."""

from __future__ import annotations

import asyncio
import contextlib
import socket

from aiohttp import web

_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"


def hang_up(runner: web.AppRunner) -> None:
    """Break all connections, as an Engine does that ends."""
    assert runner.server is not None
    for connection in list(runner.server.connections):
        if connection.transport is not None:
            connection.transport.abort()


class Servers:
    """Listeners on loopback, by container id."""

    def __init__(self) -> None:
        self._open: dict[str, list[asyncio.AbstractServer | socket.socket]] = {}

    async def start(
        self, id: str, serve: str, address: str, exposed: list[int], published: dict[str, int]
    ) -> dict[str, int]:
        """Listen at a container's own address and ports, and at its published ones.

        Args:
            id: of the container.
            serve: as of `Behaviour`.
            address: the container's.
            exposed: ports to listen on there.
            published: container port → host port, 0 for any.

        Returns:
            container port → host port.
        """
        for port in exposed:
            with contextlib.suppress(OSError):  # of several fakes at once, one has the address
                await self._listen(id, serve, address, port)
        found = {}
        for name, port in published.items():
            found[name] = await self._listen(id, serve, "127.0.0.1", port)
        return found

    async def _listen(self, id: str, serve: str, host: str, port: int) -> int:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError:
            sock.close()
            raise
        kept = self._open.setdefault(id, [])
        if serve == "refuse":
            kept.append(sock)  # bound, so that nobody else gets the port, but nobody listens
        else:
            answer = _answer if serve == "ok" else _say_nothing
            kept.append(await asyncio.start_server(answer, sock=sock))
        return int(sock.getsockname()[1])

    def stop(self, id: str) -> None:
        """Nobody listens any more."""
        for server in self._open.pop(id, []):
            server.close()

    def stop_all(self) -> None:
        """The same for all containers."""
        for id in list(self._open):
            self.stop(id)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(_ANSWER)
        await writer.drain()
    writer.close()


async def _say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(1024):
            pass
    writer.close()
