"""Our way to the Engine: who waits for whom and who never does, connections, streams and ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.engine.asking import CREATE, create, soon
from support.engine.watching import IMAGE, eventually
from support.engine.worlds import connect
from support.fake_engine import Behaviour, FakeEngine, RemoteImage

from dockernamed.engine.client import Engine
from dockernamed.errors import EngineUnavailable, NotFound


@pytest.fixture
def engine(prompt: Engine) -> Engine:
    """It repeats calls without a pause."""
    return prompt


@asynccontextmanager
async def connected(fake: FakeEngine, **options: Any) -> AsyncIterator[Engine]:
    """Another way to the fake Engine, which has an image."""
    fake.add_image(IMAGE)
    engine = connect(fake.url, **options)
    yield engine
    await engine.close()


class Turns:
    """Counts the turns of the event loop while it is entered."""

    def __init__(self) -> None:
        self.count = 0

    async def __aenter__(self) -> Turns:
        self._task = asyncio.ensure_future(self._run())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        while True:
            self.count += 1
            await asyncio.sleep(0)


# --- turns -------------------------------------------------------------------------------------


async def test_slow_calls_keep_nobody_waiting(fake: FakeEngine) -> None:
    """Stops, pulls and streams that hang leave all places of short calls free."""
    fake.publish("slow:1", RemoteImage(hold=0))
    async with connected(fake, workers=1, stops=2) as engine:
        await create(engine)
        stall = fake.fault("stall", "POST", "/containers/c1/stop", times=2)
        async with engine.events():
            slow = [asyncio.ensure_future(engine.stop_container("c1", 10)) for _ in range(3)]
            slow += [
                asyncio.ensure_future(engine.pull("slow", "1", {}, lambda line: None))
                for _ in range(20)
            ]
            await eventually(lambda: stall.hits == 2 and fake.pulls_holding == 16)
            await soon(engine.inspect_container("c1"))
            stall.release()
            fake.let_pulls_go()
            await soon(asyncio.gather(*slow))


async def test_short_calls_keep_no_stop_waiting(fake: FakeEngine) -> None:
    """And the other way round."""
    async with connected(fake, workers=1) as engine:
        await create(engine)
        stall = fake.fault("stall", "GET", "/containers/c1/json")
        looking = asyncio.ensure_future(engine.inspect_container("c1"))
        await eventually(stall.reached.is_set)
        await soon(engine.stop_container("c1", 1))
        await soon(engine.remove_container("c1"))
        stall.release()
        with pytest.raises(NotFound):
            await soon(looking)


async def test_short_calls_are_bounded(fake: FakeEngine) -> None:
    """No more are under way at once than asked for, over no more connections; others wait."""
    async with connected(fake, workers=3) as engine:
        stall = fake.fault("stall", "GET", "/images/.*", times=10)
        calls = [asyncio.ensure_future(engine.inspect_image(IMAGE)) for _ in range(10)]
        await eventually(lambda: stall.hits == 3)
        assert fake.count("GET", "/images/.*") == 3
        stall.release()
        await soon(asyncio.gather(*calls))
        assert fake.count("GET", "/images/.*") == 10
        assert fake.connections == 3


async def test_cancelled_in_turn(fake: FakeEngine) -> None:
    """A call that is cancelled while it waits for its turn is never made."""
    async with connected(fake, workers=1) as engine:
        stall = fake.fault("stall", "GET", "/images/.*")
        first = asyncio.ensure_future(engine.inspect_image(IMAGE))
        await eventually(stall.reached.is_set)
        second = asyncio.ensure_future(create(engine))
        await asyncio.sleep(0)
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        stall.release()
        await soon(first)
        await soon(engine.version())
        assert fake.count("POST", CREATE) == 0


async def test_cancelled_under_way(fake: FakeEngine) -> None:
    """A call that is cancelled under way may be done by the Engine; its place is free again."""
    async with connected(fake, workers=1) as engine:
        stall = fake.fault("stall after", "POST", CREATE)
        call = asyncio.ensure_future(create(engine))
        await eventually(stall.reached.is_set)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await soon(engine.inspect_container("c1")))["Name"] == "/c1"


# --- connections -------------------------------------------------------------------------------


async def test_reads_share_a_connection(fake: FakeEngine, engine: Engine) -> None:
    """One connection serves many calls that may be repeated, whatever their paths."""
    await engine.create_volume("v1")
    for _ in range(10):
        await engine.inspect_image(IMAGE)
        await engine.inspect_volume("v1")
        await engine.list_containers([])
    assert fake.connections_made - 1 == fake.connections == 1  # the other one asked the version


async def test_a_new_connection(fake: FakeEngine, engine: Engine) -> None:
    """Who asks for one gets one: an Engine that is ending answers over those that it has."""
    await create(engine)
    await engine.inspect_container("c1")
    before = fake.connections_made
    await engine.inspect_container("c1", anew=True)
    assert fake.connections_made == before + 1
    await engine.inspect_container("c1")
    assert fake.connections_made == before + 1


async def test_connections_that_were_closed_while_idle(fake: FakeEngine, engine: Engine) -> None:
    """An Engine may hang up whenever it likes: neither a read nor a create suffers from that."""
    await create(engine)
    await engine.start_container("c1")
    for name in ("c2", "c3"):
        await engine.inspect_container("c1")
        assert fake.connections == 1
        fake.hang_up()  # the event loop has had no turn yet to notice it
        await create(engine, name)
        fake.hang_up()
        assert (await engine.inspect_container(name))["Name"] == f"/{name}"
    assert fake.count("POST", CREATE) == 3


async def test_a_connection_that_is_closed_when_used_again(
    fake: FakeEngine, engine: Engine
) -> None:
    """Nor does a call that must not be repeated when the Engine hangs up on kept connections."""
    await create(engine)
    await asyncio.gather(*(engine.inspect_container("c1") for _ in range(5)))
    fake.hang_up_on_reuse()
    await engine.start_container("c1")
    await engine.stop_container("c1", 1)
    assert (await engine.inspect_container("c1"))["State"]["Status"] == "exited"


# --- long lists --------------------------------------------------------------------------------


async def test_a_long_list_lets_others_have_their_turn(fake: FakeEngine, engine: Engine) -> None:
    """Ten thousand containers are decoded in pieces, and the event loop goes on in between."""
    fake.populate(10_000, lambda number: {"number": str(number)})
    async with Turns() as turns:
        when = await engine.list_containers([], lambda one: turns.count)
    assert len(when) == 10_000
    assert len(set(when)) > 3


# --- pulls and streams -------------------------------------------------------------------------


@pytest.mark.parametrize("hold", [0, 3])
async def test_cancelled_pull_ends_at_the_engine(
    fake: FakeEngine, engine: Engine, hold: int
) -> None:
    """A pull that is cancelled is given up by the Engine too, even before it began to answer."""
    fake.publish("slow:1", RemoteImage(hold=hold))
    pull = asyncio.ensure_future(engine.pull("slow", "1", {}, lambda line: None))
    await eventually(lambda: fake.pulls_holding == 1)
    pull.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pull
    await eventually(lambda: fake.pulls_cancelled == ["slow:1"])


async def test_refused_pull(engine: Engine) -> None:
    """A pull that is refused before it begins raises what the Engine said."""
    with pytest.raises(NotFound, match="repository does not exist"):
        await engine.pull("nowhere", "1", {}, lambda line: None)


async def test_listener_that_fails(fake: FakeEngine, engine: Engine) -> None:
    """An error raised by who listens to a pull ends the pull, and is nobody else's."""
    fake.publish("slow:1", RemoteImage(hold=3))

    def fail(line: object) -> None:
        raise TimeoutError("of the listener")

    with pytest.raises(TimeoutError, match="of the listener"):
        await soon(engine.pull("slow", "1", {}, fail))
    await eventually(lambda: fake.pulls_cancelled == ["slow:1"])


async def test_lost_pull(fake: FakeEngine, engine: Engine) -> None:
    """A pull whose connection breaks is no success."""
    fake.publish("slow:1", RemoteImage(hold=3))
    pull = asyncio.ensure_future(engine.pull("slow", "1", {}, lambda line: None))
    await eventually(lambda: fake.pulls_holding == 1)
    fake.down()
    with pytest.raises(EngineUnavailable):
        await soon(pull)


async def test_stream_is_closed_with_its_block(fake: FakeEngine, engine: Engine) -> None:
    """Leaving the block ends the stream at once, though nothing is told meanwhile."""
    async with engine.events():
        assert fake.streams == 1
    await eventually(lambda: fake.streams == 0)


@pytest.mark.parametrize("how", ["end", "abort"])
async def test_the_end_of_a_stream_is_an_error(fake: FakeEngine, engine: Engine, how: str) -> None:
    """Whether the Engine ended it or the connection broke: what happens next is not told."""
    async with engine.events() as batches:
        fake.emit("image", "tag", "lab", {})
        assert await soon(read(batches, 1)) == [["lab"]]
        fake.lose_streams(how)
        with pytest.raises(EngineUnavailable, match="watch events"):
            await soon(read(batches, 1))


async def test_stream_that_is_refused(fake: FakeEngine, engine: Engine) -> None:
    """It raises what the Engine said before the block is entered."""
    fake.fault(500, "GET", "/events", message="too many")
    with pytest.raises(Exception, match="too many"):
        async with engine.events():
            pytest.fail("there is no stream")


async def test_stream_that_begins_late(fake: FakeEngine, engine: Engine) -> None:
    """The block is entered all the same, and what is told later is heard in it."""
    stall = fake.fault("stall", "GET", "/events")
    async with engine.events(patience=0.01) as batches:
        stall.release()
        await eventually(lambda: fake.streams == 1)
        fake.emit("image", "tag", "lab", {})
        assert await soon(read(batches, 1)) == [["lab"]]


async def test_a_flood_of_events(fake: FakeEngine, engine: Engine) -> None:
    """Who reads slowly makes the Engine wait, not the memory grow; and nothing is lost."""
    count = 2_000
    async with engine.events() as slow, engine.events() as quick, Turns() as turns:
        for number in range(count):
            fake.emit("container", "start", str(number), {"padding": "x" * 10_000})
        await soon(read(quick, count))
        assert fake.events_unsent > count // 2
        before = turns.count
        batches = await soon(read(slow, count))
        assert [id for batch in batches for id in batch] == [str(n) for n in range(count)]
        assert max(map(len, batches)) < count // 4
        assert turns.count - before >= len(batches)


async def read(stream: AsyncIterator[Any], count: int) -> list[list[str]]:
    """The next so many events of a stream, each by whom it speaks of, in batches."""
    batches: list[list[str]] = []
    async for batch in stream:
        batches.append([event["Actor"]["ID"] for event in batch])
        if sum(map(len, batches)) >= count:
            break
    return batches


async def test_events_that_nobody_wants(fake: FakeEngine, engine: Engine) -> None:
    """They are dropped one by one, and no batch is empty."""
    async with engine.events(lambda event: event["Actor"]["ID"] == "lab") as batches:
        for name in ("a", "b", "lab"):
            fake.emit("image", "tag", name, {})
        assert await soon(read(batches, 1)) == [["lab"]]


# --- ends --------------------------------------------------------------------------------------


async def test_closed(fake: FakeEngine) -> None:
    """After `close` nothing is open; what is under way, waits or comes later fails and says so."""
    fake.add_image(IMAGE)
    engine = connect(fake.url, workers=1)
    fake.fault("stall", "GET", "/images/.*")
    first = asyncio.ensure_future(engine.inspect_image(IMAGE))
    await eventually(lambda: fake.count("GET", "/images/.*"))
    waiting = asyncio.ensure_future(engine.version())
    async with engine.events() as batches:
        await engine.close()
        for call in (first, waiting, engine.version(), create(engine), read(batches, 1)):
            with pytest.raises(EngineUnavailable, match="closed"):
                await soon(call)
    await eventually(lambda: fake.connections == 0)
    await engine.close()


async def test_process_ends_though_the_engine_hangs(fake: FakeEngine) -> None:
    """Calls, pulls and streams that hang don't keep a process from ending, nor leave noise."""
    fake.add_image(IMAGE)
    fake.publish("slow:1", RemoteImage(hold=0))
    stall = fake.fault("stall", "GET", "/images/.*")
    code = f"""
import asyncio, sys
from dockernamed.engine.client import Connection, Engine

async def main():
    engine = Engine(Connection({fake.url!r}, timeout=600))
    calls = [engine.inspect_image("x"), engine.pull("slow", "1", {{}}, print)]
    calls = [asyncio.ensure_future(call) for call in calls]
    async with engine.events():
        await asyncio.to_thread(sys.stdin.readline)
    await engine.close()
    print(*[type(error).__name__ for error in await asyncio.gather(*calls, return_exceptions=True)])

asyncio.run(main())
"""
    command, pipe = [sys.executable, "-W", "error", "-c", code], subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    await eventually(lambda: stall.hits and fake.pulls_holding)
    output, errors = await asyncio.wait_for(process.communicate(b"go on\n"), 60)
    assert (process.returncode, errors) == (0, b"")
    assert output.split() == [b"EngineUnavailable"] * 2
    assert stall.hits == 1


# --- the fake ----------------------------------------------------------------------------------


async def test_served_container(fake: FakeEngine, engine: Engine) -> None:
    """The fake's containers answer HTTP, say nothing, or refuse, as a test orders."""
    for name, serve in [("c-ok", "ok"), ("c-silent", "silent"), ("c-refuse", "refuse")]:
        fake.behave(Behaviour(serve=serve), name=name)
        ports = {"PortBindings": {"8888/tcp": [{"HostPort": ""}]}}
        await engine.create_container(name, {"Image": IMAGE, "HostConfig": ports})
        await engine.start_container(name)

    async def ask(name: str, seconds: float = 30) -> bytes:
        info = await engine.inspect_container(name)
        port = int(info["NetworkSettings"]["Ports"]["8888/tcp"][0]["HostPort"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            return await asyncio.wait_for(reader.readline(), seconds)
        finally:
            writer.close()

    assert await ask("c-ok") == b"HTTP/1.1 200 OK\r\n"
    with pytest.raises(asyncio.TimeoutError):
        await ask("c-silent", 0.2)
    with pytest.raises(ConnectionRefusedError):
        await ask("c-refuse")
