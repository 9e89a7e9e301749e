"""Waiting for a server's first answer, whatever a port says before it."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from certipy import Certipy

from dockernamed.desired.proof import Answer, Proof
from dockernamed.lifecycle.readiness import wrong_answer
from dockernamed.timings import Timings

#: Any answer will do, or only one of the server itself.
ANY = Proof("http", "/user/ann/", "id-of-ann")
OWN = Proof("jupyterhub", "/user/ann/", "id-of-ann")


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
        assert (
            await wrong_answer(f"http://127.0.0.1:{server.port}/user/ann/api", ANY, timings=QUICK)
            is None
        )
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
        assert await wrong_answer(f"http://127.0.0.1:{server.port}", ANY, timings=QUICK) is None
    assert len(server.requests) == 3
    assert server.requests[0].startswith(b"GET / HTTP/1.1\r\n")


OWN_ANSWER = b"HTTP/1.1 200 OK\r\nx-jupyterhub-VERSION: 6.1\r\n\r\n"
PAGE = (
    b"HTTP/1.1 404 Not Found\r\nServer: other/1\r\n\r\n<title>Oh</title><script>x()</script>"
    b"<p>no &amp; never</p>"
)


async def test_wrong_answers_before_the_right_one() -> None:
    """A program may answer before all of it is up: that is waited for."""
    async with Server(PAGE, PAGE, OWN_ANSWER).listening() as server:
        url = f"http://127.0.0.1:{server.port}/user/ann/api"
        assert await wrong_answer(url, OWN, timings=QUICK, patience=30) is None
    assert len(server.requests) == 3


async def test_nothing_but_wrong_answers() -> None:
    """The last one is returned, with who gave it and what a person would read of it."""
    async with Server(PAGE).listening() as server:
        url = f"http://127.0.0.1:{server.port}/user/ann/api"
        wrong = await wrong_answer(url, OWN, timings=QUICK, patience=0.05)
    assert str(wrong) == "404 Not Found from other/1: Oh no & never"
    assert len(server.requests) > 1


@pytest.mark.parametrize("between", [None, b"", b"HTTP/1.1 503 X\r\n\r\n"])
async def test_wrong_answers_that_are_not_steady(between: bytes | None) -> None:
    """Silence, a hang-up or an error in between: it is still starting."""
    timings = Timings(longest_probe=0.01, probe_answer=0.2)
    clock = asyncio.get_running_loop()
    async with Server(*[PAGE, between] * 20, OWN_ANSWER).listening() as server:
        url = f"http://127.0.0.1:{server.port}/user/ann/api"
        began = clock.time()
        waiting = asyncio.ensure_future(wrong_answer(url, OWN, timings=timings, patience=0.1))
        assert await waiting is None
    assert clock.time() - began > 0.1


async def test_a_long_page_and_an_endless_one() -> None:
    """Only the beginning is read, and no more than comes at once is waited for."""
    long = b"HTTP/1.1 200 OK\r\n\r\n" + b"words " * 10_000
    async with Server(long).listening() as server:
        wrong = await wrong_answer(
            f"http://127.0.0.1:{server.port}/", OWN, timings=QUICK, patience=0
        )
    assert wrong is not None
    assert len(wrong.words) < 300

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await reader.read()  # the request
        await reader.read()  # until the other side hangs up
        writer.close()

    endless = await asyncio.start_server(begin, "127.0.0.1", 0)
    async with endless:
        port = endless.sockets[0].getsockname()[1]
        assert await wrong_answer(
            f"http://127.0.0.1:{port}/", OWN, timings=QUICK, patience=0
        ) == Answer(200, "OK")


async def test_nobody_listens_yet() -> None:
    """A refused connection is tried again, until somebody does."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        waiting = asyncio.ensure_future(
            wrong_answer(f"http://127.0.0.1:{port}/", ANY, timings=QUICK)
        )
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
        timings = Timings(longest_probe=0.01, probe_answer=1.0)
        assert await wrong_answer(url, ANY, timings=timings) is None
    assert len(server.requests) == 1


async def test_cancelled() -> None:
    """It waits without end, and can be cancelled at any moment without a word in the log."""
    async with Server(None).listening() as server:
        waiting = asyncio.ensure_future(
            wrong_answer(f"http://127.0.0.1:{server.port}/", ANY, timings=QUICK)
        )
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
        stranger = asyncio.ensure_future(
            wrong_answer(url, ANY, ssl.create_default_context(), QUICK)
        )
        await asyncio.wait_for(wrong_answer(url, ANY, ours, QUICK), 30)
        assert not stranger.done()
        stranger.cancel()
        await asyncio.wait({stranger})
