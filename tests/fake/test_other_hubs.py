"""A second Hub that has the same id, such as one with a copy of the config, and lives."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from support.engine.watching import eventually
from support.stage import HUB, KEY, NAMES, SERVER, Stage, names

from dockernamed import naming
from dockernamed.backends.executor import Executor
from dockernamed.errors import ForeignObject
from dockernamed.hub import other_hubs
from dockernamed.hub.other_hubs import another_hub_at
from dockernamed.lifecycle.orphans import OrphanReaper

THEIRS, GONE = "http://theirs:8081/hub/api", "http://gone:8081/hub/api"


class Neighbours:
    """The other Hubs that live.

    Attributes:
        living: URLs at which one answers.
        asked: URLs that were asked about.
    """

    def __init__(self) -> None:
        self.living = {THEIRS}
        self.asked: list[str] = []

    async def __call__(self, api_url: str) -> bool:
        """See `AskForHub`."""
        self.asked.append(api_url)
        return api_url in self.living


@pytest.fixture
def neighbours() -> Neighbours:
    """One Hub lives."""
    return Neighbours()


@pytest.fixture
def backend(stage: Stage, neighbours: Neighbours) -> Executor:
    """An executor that can ask for them; it is the stage's too."""
    stage.backend = stage.executor(another_hub_at=neighbours)
    return stage.backend


async def twin(stage: Stage, api_url: str, name: str = "twin") -> str:
    """A container of our server that a Hub made; its id."""
    before = len(stage.watcher.records())
    container_id = await stage.twin(name, api_url=api_url)
    await eventually(lambda: len(stage.watcher.records()) == before + 1)
    return container_id


async def test_a_start_is_refused(stage: Stage, backend: Executor) -> None:
    """The other Hub's server runs on, and the refusal says who has it and what to set."""
    theirs = await twin(stage, THEIRS)
    with pytest.raises(ForeignObject, match=f"another Hub.*{THEIRS}") as refused:
        await stage.start()
    assert "hub_id" in refused.value.hint
    assert stage.fake.container(theirs).running
    assert names(stage.fake) == ["twin"]


async def test_a_start_over_the_name(stage: Stage, backend: Executor) -> None:
    """Nor is a container removed that has our name, and that no event told of."""
    stage.fake.lose_events()
    theirs = await stage.twin(NAMES[0], api_url=THEIRS)
    stage.fake.lose_events(False)
    with pytest.raises(ForeignObject, match=THEIRS):
        await stage.start()
    assert stage.fake.container(theirs).running
    assert names(stage.fake) == [NAMES[0]]


async def test_it_is_neither_adopted_nor_ended(stage: Stage, backend: Executor) -> None:
    """Nor stopped, nor deleted: after a start that was refused, JupyterHub asks for all of it."""
    theirs = await twin(stage, THEIRS)
    assert await backend.running_id(SERVER) is None
    await stage.stop()
    await backend.delete(SERVER)
    assert stage.fake.container(theirs).running


async def test_the_leftovers_of_a_hub_that_is_gone(stage: Stage, backend: Executor) -> None:
    """Nobody answers there any more: they are ours, as those of a Hub that was killed are."""
    await twin(stage, GONE)
    await stage.start()
    assert names(stage.fake) == [NAMES[0]]


async def test_nobody_is_asked_about_our_own(
    stage: Stage, backend: Executor, neighbours: Neighbours
) -> None:
    """The Hub's database has the id of a running server's container, and of a kept one."""
    own = await twin(stage, THEIRS)
    kept = replace(SERVER, own_id="", made={stage.fake.container(own).labels.get("x", "s"): own})
    await backend.stop(replace(SERVER, own_id=own), grace=1.0, keep=True)
    await backend.delete(kept)
    assert neighbours.asked == []
    assert names(stage.fake) == []


async def test_orphans_are_left_alone(
    stage: Stage,
    backend: Executor,
    neighbours: Neighbours,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As long as their Hub answers, which is told once; then they are removed like others."""
    await stage.twin("theirs", replace(KEY, user="zed"), THEIRS)
    await stage.twin("gone", replace(KEY, user="zed"), GONE)
    await eventually(lambda: len(stage.watcher.records()) == 2)
    stage.fake.add_network("net", naming.labels(replace(KEY, user="zed")))
    reaper = OrphanReaper(
        HUB,
        stage.watcher,
        backend,
        lambda: (),
        keep=False,
        policy="remove",
        grace=0.0,
        stop_timeout=1.0,
        interval=1.0,
        log=logging.getLogger("test"),
        another_hub_at=neighbours,
        here="http://ours:8081/hub/api",
    )
    for _ in range(2):
        await reaper.round()
        assert names(stage.fake) == ["theirs"]
        assert [one.name for one in await backend.networks(HUB)] == ["net"]
    [told] = [one.getMessage() for one in caplog.records if "another Hub" in one.getMessage()]
    assert THEIRS in told
    assert "http://ours:8081/hub/api" in told
    assert "hub_id = " in told
    neighbours.living.clear()
    await reaper.round()
    assert names(stage.fake) == []
    assert await backend.networks(HUB) == []


# --- who answers -------------------------------------------------------------------------------

Serve = Callable[[Callable[[web.Request], Awaitable[web.StreamResponse]]], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Has a handler answer all requests; the URL of its API."""
    servers: list[TestServer] = []

    async def begin(handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> str:
        app = web.Application()
        app.router.add_get("/hub/api{path:.*}", handler)
        server = TestServer(app, host="127.0.0.1")
        await server.start_server()
        servers.append(server)
        return str(server.make_url("/hub/api"))

    yield begin
    for server in servers:
        await server.close()


def answering(
    status: int, text: str = "", **headers: str
) -> Callable[..., Awaitable[web.Response]]:
    """A handler."""

    async def answer(request: web.Request) -> web.Response:
        assert request.path == f"/hub/api{other_hubs.PATH}"
        return web.Response(status=status, text=text, headers=headers)

    return answer


VERSION = {other_hubs.VERSION_HEADER: "6.1.1"}


@pytest.mark.parametrize("text", ['{"instance": "another"}', "{}", "[]", "nonsense"])
@pytest.mark.parametrize("status", [200, 404, 503])
async def test_another_hub(serve: Serve, status: int, text: str) -> None:
    """Whatever JupyterHub answers, of whatever version and spawner: it is one."""
    assert await another_hub_at(await serve(answering(status, text, **VERSION)))


async def test_this_hub(serve: Serve) -> None:
    """This very process: it is asked once, however many of its own containers it is unsure of."""
    asked = 0
    own = answering(200, f'{{"instance": "{other_hubs.INSTANCE}"}}', **VERSION)

    async def answer(request: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return await own(request)

    url = await serve(answer)
    for _ in range(3):
        assert not await another_hub_at(url)
    assert asked == 1


@pytest.mark.parametrize("status", [200, 302, 404, 502])
async def test_no_hub(serve: Serve, status: int) -> None:
    """Another program listens where the Hub did, or a proxy that finds no Hub."""
    assert not await another_hub_at(await serve(answering(status, location="/elsewhere")))


async def test_a_hub_that_is_busy(serve: Serve) -> None:
    """It takes the connection and does not answer in time: in doubt it lives."""
    forever = asyncio.Event()

    async def answer(request: web.Request) -> web.StreamResponse:
        await forever.wait()
        return web.Response()

    url = await serve(answer)
    assert await another_hub_at(url, patience=0.05)
    forever.set()


async def test_nobody() -> None:
    """Nothing listens there, there is no such host, or the container does not say where."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    for url in (f"http://127.0.0.1:{port}/hub/api", "http://no.such.host.invalid/hub/api", ""):
        assert not await another_hub_at(url)


async def test_what_hangs_up() -> None:
    """Something takes the connection and ends it, as Docker's proxy of a port does."""

    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        assert not await another_hub_at(f"http://127.0.0.1:{port}/hub/api")
