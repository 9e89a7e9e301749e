"""Waiting for a server's first answer, whatever a port says before it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from certipy import Certipy

from dockernamed.lifecycle.readiness import answers
from dockernamed.timings import Timings

Answer = Callable[[bytes], Awaitable[bytes]]


QUICK = Timings(longest_probe=0.01)


class Server:
    """Says one thing after the other, to one connection each, and the last one for ever."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.requests: list[bytes] = []
        self.port = 0

    @asynccontextmanager
    async def listening(self, context: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
        """On a free port of loopback."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        async with server:
            yield self

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is None:  # never; until the other side hangs up
            await reader.read()
        else:
            self.requests.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
        writer.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("status", [200, 302, 403, 404, 499])
async def test_anything_below_500_counts(status: int) -> None:
    """A server that redirects or refuses is up."""
    async with Server(b"HTTP/1.1 %d X\r\n\r\n" % status).listening() as server:
        await answers(f"http://127.0.0.1:{server.port}/user/ann/api", timings=QUICK)
    assert len(server.requests) == 1
    assert server.requests[0].startswith(b"GET /user/ann/api HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "first",
    [
        b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
        b"HTTP/1.1 503 X\r\n\r\n",
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 what ever\r\n",
        b"HTTP/1.1\r\n",
        b"\xff\xfe\r\n",
        b"x" * 100_000,
    ],
)
async def test_what_is_not_an_answer(first: bytes) -> None:
    """An error of a proxy, a hang-up, another protocol: asked again until the server is up."""
    async with Server(first, first, OK).listening() as server:
        await answers(f"http://127.0.0.1:{server.port}", timings=QUICK)
    assert len(server.requests) == 3
    assert server.requests[0].startswith(b"GET / HTTP/1.1\r\n")


async def test_nobody_listens_yet() -> None:
    """A refused connection is tried again, until somebody does."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        waiting = asyncio.ensure_future(answers(f"http://127.0.0.1:{port}/", timings=QUICK))
        taken.listen()
        taken.setblocking(False)
        loop = asyncio.get_running_loop()
        connection, _ = await asyncio.wait_for(loop.sock_accept(taken), 30)
        with connection:
            await loop.sock_sendall(connection, OK)
            await asyncio.wait_for(waiting, 30)


async def test_a_silent_port() -> None:
    """One that accepts and says nothing is hung up on, and asked again."""
    async with Server(None, OK).listening() as server:
        url = f"http://127.0.0.1:{server.port}/"
        await answers(url, timings=Timings(longest_probe=0.01, probe_answer=0.05))
    assert len(server.requests) == 1


async def test_cancelled() -> None:
    """It waits without end, and can be cancelled at any moment without a word in the log."""
    async with Server(None).listening() as server:
        waiting = asyncio.ensure_future(answers(f"http://127.0.0.1:{server.port}/", timings=QUICK))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting


async def test_https(tmp_path: Path) -> None:
    """With a context for it, the server is asked over TLS; a stranger's certificate won't do."""
    certipy = Certipy(store_dir=str(tmp_path))
    certipy.create_ca("ca")
    files = certipy.create_signed_pair("server", "ca", alt_names=["IP:127.0.0.1"])["files"]
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(files["cert"], files["key"])
    ours = ssl.create_default_context(cafile=files["ca"])
    async with Server(OK).listening(theirs) as server:
        url = f"https://127.0.0.1:{server.port}/"
        stranger = asyncio.ensure_future(answers(url, ssl.create_default_context(), QUICK))
        await asyncio.wait_for(answers(url, ours, QUICK), 30)
        assert not stranger.done()
        stranger.cancel()
        await asyncio.wait({stranger})
