"""What answers at a started container's address and published ports."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable
from functools import partial

#: What is open of a container: where it listens, and who is connected there.
Open = asyncio.AbstractServer | socket.socket | asyncio.BaseTransport
#: What a container answers to anything: as a JupyterHub server; as that of somebody else, to whom
#: the path is unknown; as a program that knows nothing of the Hub.
ANSWERS = {
    "ok": b"HTTP/1.1 200 OK\r\nX-JupyterHub-Version: 6.1\r\nConnection: close\r\n\r\nok",
    "another": b"HTTP/1.1 404 X\r\nX-JupyterHub-Version: 6.1\r\nConnection: close\r\n\r\n",
    "web": (
        b"HTTP/1.1 404 Not Found\r\nServer: FakeWeb/1\r\nConnection: close\r\n\r\n"
        b"<html><style>p {}</style><p>No such <b>page</b>"
    ),
}


class Servers:
    """Listeners on loopback, by container id, in a part of it that no other fake Engine has.

    Attributes:
        network: the part, as the first two numbers of its addresses.

    Raises:
        RuntimeError: all parts are taken.
    """

    def __init__(self) -> None:
        self._open: dict[str, list[Open]] = {}
        self._claim, self.network = _claim()
        self._containers, self._nodes = itertools.count(), itertools.count()

    def container_address(self) -> str:
        """One that no container has had, so long as there are any."""
        third, fourth = divmod(next(self._containers) % 250**2, 250)
        return f"{self.network}.{third}.{fourth + 2}"

    def node_address(self) -> str:
        """One that no node has."""
        third, fourth = divmod(next(self._nodes), 250)
        return f"{self.network}.{third + 251}.{fourth + 2}"

    async def start(
        self,
        id: str,
        serve: str,
        address: str,
        exposed: list[int],
        published: dict[str, int],
        host: str = "127.0.0.1",
    ) -> dict[str, int]:
        """Listen at a container's own address and ports, and at its published ones.

        Args:
            id: of the container.
            serve: as of `Behaviour`.
            address: the container's.
            exposed: ports to listen on there.
            published: container port → host port, 0 for any.
            host: the address at which they are published.

        Returns:
            container port → host port.
        """
        kept = self._open[id] = []
        for port in exposed:
            await self._listen(id, kept, serve, address, port)
        found = {}
        for name, port in published.items():
            found[name] = await self._listen(id, kept, serve, host, port)
        return found

    async def _listen(self, id: str, kept: list[Open], serve: str, host: str, port: int) -> int:
        sock = socket.socket()
        if port:  # any port must be nobody else's: of two that share one, only one may listen
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            if self._open.get(id) is not kept:
                raise ConnectionAbortedError("the container was stopped while it was started")
            sock.bind((host, port))
            number = int(sock.getsockname()[1])
            if serve == "refuse":
                kept.append(sock)  # bound, so that nobody else gets the port, but nobody listens
            else:
                answer = partial(_Answer, partial(self._keep, id, kept), ANSWERS.get(serve))
                loop = asyncio.get_running_loop()
                # Kept before it is waited for: whatever ends meanwhile closes it.
                server = await loop.create_server(answer, sock=sock, start_serving=False)
                kept.append(server)
                await server.start_serving()
        except OSError:
            sock.close()
            self.stop(id)
            raise
        return number

    def _keep(self, id: str, kept: list[Open], transport: asyncio.Transport) -> None:
        """Somebody is connected."""
        kept[:] = [one for one in kept if not _is_over(one)]
        if self._open.get(id) is kept:
            kept.append(transport)
        else:  # accepted before the container ended
            transport.abort()

    def stop(self, id: str) -> None:
        """Nobody listens any more, and all connections end."""
        for one in self._open.pop(id, []):
            one.close()

    def stop_all(self) -> None:
        """The same for all containers, for good: the addresses are free for another fake."""
        for id in list(self._open):
            self.stop(id)
        self._claim.close()


def _claim() -> tuple[socket.socket, str]:
    """Take a part of loopback; it is ours so long as the socket is open."""
    for second in range(77, 250):
        claim = socket.socket()
        try:
            claim.bind((f"127.{second}.0.1", 8888))  # no container has an address that ends in 1
        except OSError:
            claim.close()
        else:
            return claim, f"127.{second}"
    raise RuntimeError("no part of 127.0.0.0/8 is free")


def _is_over(one: Open) -> bool:
    return isinstance(one, asyncio.BaseTransport) and one.is_closing()


class _Answer(asyncio.Protocol):
    """One connection.

    Args:
        keep: is told of it.
        answer: what is said to any request, and then hung up; None: nothing.
    """

    def __init__(self, keep: Callable[[asyncio.Transport], None], answer: bytes | None) -> None:
        self._keep, self._answer, self._asked = keep, answer, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._keep(transport)

    def data_received(self, data: bytes) -> None:
        self._asked += data
        if self._answer is not None and b"\r\n\r\n" in self._asked:
            self._transport.write(self._answer)
            self._transport.close()
