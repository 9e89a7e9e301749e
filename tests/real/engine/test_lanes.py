"""Threads, streams and ends of our way to the Engine: who waits for whom, and who never does."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest
from support.engine.asking import CREATE, create, soon
from support.engine.watching import IMAGE, eventually
from support.engine.worlds import connect
from support.fake_engine import Behaviour, FakeEngine, RemoteImage

from dockernamed.engine import client as engine_module
from dockernamed.engine.client import Connection, Engine
from dockernamed.errors import ConfigError, EngineUnavailable, NotFound


@pytest.fixture
def engine(prompt: Engine) -> Engine:
    """It repeats calls without a pause."""
    return prompt


# --- lanes -------------------------------------------------------------------------------------


async def test_slow_calls_keep_nobody_waiting(fake: FakeEngine) -> None:
    """Stops, pulls and streams that hang leave all workers of short calls free."""
    fake.add_image(IMAGE)
    fake.publish("slow:1", RemoteImage(hold=0))
    engine = connect(fake.url, workers=1, stops=2)
    await create(engine)
    stall = fake.fault("stall", "POST", "/containers/c1/stop", times=2)
    async with engine.events() as feed:
        await feed.opened(5)
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
    engine.close()


async def test_short_calls_keep_no_stop_waiting(fake: FakeEngine) -> None:
    """And the other way round."""
    fake.add_image(IMAGE)
    engine = connect(fake.url, workers=1)
    await create(engine)
    stall = fake.fault("stall", "GET", "/containers/c1/json")
    looking = asyncio.ensure_future(engine.inspect_container("c1"))
    await eventually(stall.reached.is_set)
    await soon(engine.stop_container("c1", 1))
    await soon(engine.remove_container("c1"))
    stall.release()
    with pytest.raises(NotFound):
        await soon(looking)
    engine.close()


async def test_back_pressure(fake: FakeEngine) -> None:
    """No more short calls are under way at once than there are workers; the rest waits in turn."""
    fake.add_image(IMAGE)
    engine = connect(fake.url, workers=3)
    await engine.version()
    stall = fake.fault("stall", "GET", "/images/.*", times=10)
    calls = [asyncio.ensure_future(engine.inspect_image(IMAGE)) for _ in range(10)]
    await eventually(lambda: stall.hits == 3)
    assert fake.count("GET", "/images/.*") == 3
    stall.release()
    await soon(asyncio.gather(*calls))
    assert fake.count("GET", "/images/.*") == 10
    engine.close()


async def test_cancelled_in_turn(fake: FakeEngine) -> None:
    """A call that is cancelled while it waits for its turn is never made."""
    fake.add_image(IMAGE)
    engine = connect(fake.url, workers=1)
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
    engine.close()


async def test_cancelled_under_way(fake: FakeEngine, engine: Engine) -> None:
    """A call that is cancelled under way is done by the Engine, and its worker is free again."""
    stall = fake.fault("stall after", "POST", CREATE)
    call = asyncio.ensure_future(create(engine))
    await eventually(stall.reached.is_set)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    stall.release()
    assert (await soon(engine.inspect_container("c1")))["Name"] == "/c1"


async def test_connection_is_kept(fake: FakeEngine, engine: Engine) -> None:
    """One connection serves many calls, whatever their paths."""
    await create(engine)
    for _ in range(10):
        await engine.inspect_image(IMAGE)
        await engine.inspect_container("c1")
        await engine.list_containers([])
    assert fake.connections_made == fake.connections == 1


async def test_a_new_connection(fake: FakeEngine, engine: Engine) -> None:
    """Who asks for one gets one: an Engine that is ending answers over those that it has."""
    await create(engine)
    await engine.inspect_container("c1", anew=True)
    assert fake.connections_made == 2
    await engine.inspect_container("c1")
    assert fake.connections_made == 2


async def test_connections_are_bounded(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a burst only so many connections stay open."""
    monkeypatch.setattr(engine_module, "MAX_IDLE_CLIENTS", 3)
    fake.add_image(IMAGE)
    engine = connect(fake.url, workers=10)
    stall = fake.fault("stall", "GET", "/images/.*", times=10)
    calls = [asyncio.ensure_future(engine.inspect_image(IMAGE)) for _ in range(10)]
    await eventually(lambda: stall.hits == 10)
    stall.release()
    await soon(asyncio.gather(*calls))
    await eventually(lambda: fake.connections <= 3)
    engine.close()
    await eventually(lambda: fake.connections == 0)


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


async def test_refused_pull(fake: FakeEngine, engine: Engine) -> None:
    """A pull that is refused before it begins raises what the Engine said."""
    with pytest.raises(NotFound, match="repository does not exist"):
        await engine.pull("nowhere", "1", {}, lambda line: None)


async def test_listener_that_fails(fake: FakeEngine, engine: Engine) -> None:
    """An error raised by who listens to a pull ends the pull."""
    fake.publish("slow:1", RemoteImage(hold=3))

    def fail(line: object) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
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
    """Leaving the block ends stream and thread at once, though nothing is told meanwhile."""
    async with engine.events() as feed:
        await feed.opened(5)
        assert fake.streams == 1
    await eventually(lambda: fake.streams == 0)
    await eventually(lambda: not threads("dockernamed-events"))


def threads(name: str) -> list[threading.Thread]:
    """Threads that live, by the beginning of their names."""
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


# --- ends --------------------------------------------------------------------------------------


async def test_closed(fake: FakeEngine) -> None:
    """After `close` no thread is left, what waited for its turn fails, and so does what comes."""
    fake.add_image(IMAGE)
    engine = connect(fake.url, workers=1)
    stall = fake.fault("stall", "GET", "/images/.*")
    first = asyncio.ensure_future(engine.inspect_image(IMAGE))
    await eventually(stall.reached.is_set)
    waiting = asyncio.ensure_future(engine.version())
    await asyncio.sleep(0)
    engine.close()
    with pytest.raises(EngineUnavailable, match="closed"):
        await soon(waiting)
    with pytest.raises(EngineUnavailable, match="closed"):
        await soon(engine.version())
    stall.release()
    await soon(first)
    await eventually(lambda: not threads("dockernamed"))
    await eventually(lambda: fake.connections == 0)


async def test_process_ends_though_the_engine_hangs(fake: FakeEngine) -> None:
    """Calls, pulls and streams that hang don't keep a process from ending."""
    fake.add_image(IMAGE)
    fake.publish("slow:1", RemoteImage(hold=0))
    stall = fake.fault("stall", "GET", "/images/.*")
    code = f"""
import asyncio
from dockernamed.engine import Connection, Engine

async def main():
    engine = Engine(Connection({fake.url!r}, timeout=600))
    calls = [engine.inspect_image("x"), engine.pull("slow", "1", {{}}, print)]
    async with engine.events() as feed:
        await feed.opened(10)
        await asyncio.wait([asyncio.ensure_future(call) for call in calls], timeout=1)

asyncio.run(main())
"""
    command = [sys.executable, "-W", "error", "-c", code]
    done = await asyncio.to_thread(
        subprocess.run, command, timeout=30, check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert stall.hits == 1


# --- settings ----------------------------------------------------------------------------------


async def test_docker_host(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address the environment says where the Engine is, as for ``docker``."""
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    engine = Engine(Connection())
    assert engine.base_url == fake.url
    await engine.version()
    engine.close()


async def test_address_among_the_options(fake: FakeEngine) -> None:
    """``base_url`` and ``timeout`` may also stand in ``client_kwargs``."""
    engine = Engine(Connection(options=(("base_url", fake.url), ("timeout", 7))))
    assert (engine.base_url, engine.timeout) == (fake.url, 7)
    await engine.version()
    engine.close()


@pytest.mark.parametrize(
    ("connection", "field"),
    [
        (Connection("carrier-pigeon://x"), "client_kwargs"),
        (Connection("unix:///x", options=(("colour", "blue"),)), "client_kwargs"),
        (Connection("tcp://x:1", tls=(("ca_cert", "/no/such/file"),)), "tls_config"),
        (Connection("tcp://x:1", tls=(("colour", "blue"),)), "tls_config"),
    ],
)
async def test_settings_that_cannot_work(connection: Connection, field: str) -> None:
    """A setting that can never work is a ConfigError that names it, not an absent Engine."""
    engine = Engine(connection)
    with pytest.raises(ConfigError) as caught:
        await engine.version()
    assert caught.value.field == field
    engine.close()


async def test_tcp_without_engine() -> None:
    """Nobody at a TCP address is unavailable like nobody at a socket."""
    engine = Engine(Connection("tcp://127.0.0.1:1"))
    with pytest.raises(EngineUnavailable, match="refused"):
        await engine.version()
    engine.close()


def test_connections_compare_by_value() -> None:
    """Equal settings are one connection, also with values that can't be hashed."""
    one, two = (Connection(options=(("x", ["a"]),)) for _ in range(2))
    assert one == two
    assert len({one, two}) == 1


async def test_served_container(fake: FakeEngine, engine: Engine) -> None:
    """The fake's containers answer HTTP, say nothing, or refuse, as a test orders."""
    for name, serve in [("c-ok", "ok"), ("c-silent", "silent"), ("c-refuse", "refuse")]:
        fake.behave(Behaviour(serve=serve), name=name)
        ports = {"PortBindings": {"8888/tcp": [{"HostPort": ""}]}}
        await engine.create_container(name, {"Image": IMAGE, "HostConfig": ports})
        await engine.start_container(name)

    async def ask(name: str) -> bytes:
        info = await engine.inspect_container(name)
        port = int(info["NetworkSettings"]["Ports"]["8888/tcp"][0]["HostPort"])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /x HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            return await asyncio.wait_for(reader.readline(), 0.2)
        finally:
            writer.close()

    assert await ask("c-ok") == b"HTTP/1.1 200 OK\r\n"
    with pytest.raises(asyncio.TimeoutError):
        await ask("c-silent")
    with pytest.raises(ConnectionRefusedError):
        await ask("c-refuse")
