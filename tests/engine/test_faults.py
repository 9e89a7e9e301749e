"""What our way to the Engine makes of everything that can go wrong on it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from fake_engine import Behaviour, FakeEngine, RemoteImage

from dockernamed import engine as engine_module
from dockernamed.engine import Connection, Engine
from dockernamed.errors import (
    BadRequest,
    ConfigError,
    Conflict,
    EngineError,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    NameTaken,
    NotFound,
)

from .watching import IMAGE, eventually
from .worlds import connect

CREATE = "/containers/create"


@pytest.fixture
def engine(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """Our way to the fake Engine, which has an image; it repeats calls without a pause."""
    monkeypatch.setattr(engine_module, "RETRIES", (0, 0))
    fake.add_image(IMAGE)
    engine = connect(fake.url, timeout=5.0)
    yield engine
    engine.close()


@pytest.fixture
def impatient(fake: FakeEngine) -> Iterator[Engine]:
    """The same with a deadline that stalls exceed."""
    fake.add_image(IMAGE)
    engine = connect(fake.url, timeout=0.2)
    yield engine
    fake.well_again()
    engine.close()


async def create(engine: Engine, name: str = "c1") -> str:
    """A container."""
    return await engine.create_container(name, {"Image": IMAGE})


async def soon(awaitable: Awaitable[Any]) -> Any:
    """Its result, or a failed test."""
    return await asyncio.wait_for(awaitable, 20)


# --- no connection -----------------------------------------------------------------------------


async def test_no_engine(fake: FakeEngine, engine: Engine) -> None:
    """An Engine that isn't there is unavailable, and the message tells where it was sought."""
    fake.down()
    with pytest.raises(EngineUnavailable) as caught:
        await engine.inspect_container("x")
    assert str(fake.socket) in str(caught.value)
    assert caught.value.action == "inspect container x"


async def test_engine_comes_back(fake: FakeEngine, engine: Engine) -> None:
    """After a restart of the Engine the first call works, even one that is never repeated."""
    await asyncio.gather(*(engine.version() for _ in range(5)))
    fake.down()
    fake.up()
    await create(engine)
    assert fake.count("POST", CREATE) == 1


READS: dict[str, Callable[[Engine], Awaitable[Any]]] = {
    "GET /version": lambda engine: engine.version(),
    "GET /containers/json": lambda engine: engine.list_containers([]),
    "GET /containers/c1/json": lambda engine: engine.inspect_container("c1"),
    "GET /containers/c1/logs": lambda engine: engine.logs("c1", 5),
    "GET /images/.*/json": lambda engine: engine.inspect_image(IMAGE),
    "GET /volumes": lambda engine: engine.list_volumes([]),
    "GET /networks/bridge": lambda engine: engine.inspect_network("bridge"),
    "POST /volumes/create": lambda engine: engine.create_volume("v1"),
    "DELETE /containers/c1": lambda engine: engine.remove_container("c1"),
    "PUT /containers/c1/archive": lambda engine: engine.put_archive("c1", "/", b""),
}
CHANGES: dict[str, Callable[[Engine], Awaitable[Any]]] = {
    "POST /containers/create": lambda engine: create(engine, "c2"),
    "POST /containers/c1/start": lambda engine: engine.start_container("c1"),
    "POST /containers/c1/stop": lambda engine: engine.stop_container("c1", 1),
    "POST /containers/c1/kill": lambda engine: engine.kill_container("c1"),
    "POST /containers/c1/rename": lambda engine: engine.rename_container("c1", "c2"),
}

ALL = {
    **READS,
    **CHANGES,
    "POST /containers/c1/stop": lambda engine: engine.stop_container("c1", 0),
}


@pytest.mark.parametrize("kind", ["reset", "lost"])
@pytest.mark.parametrize("call", READS)
async def test_reads_and_removals_are_repeated(
    fake: FakeEngine, engine: Engine, call: str, kind: str
) -> None:
    """A call that does no harm when made twice survives two broken connections, not three."""
    await create(engine)
    method, path = call.split()
    before = fake.count(method, path)
    fake.fault(kind, method, path, times=2)
    await READS[call](engine)
    assert fake.count(method, path) == before + 3
    fake.fault(kind, method, path, times=3)
    with pytest.raises(EngineUnavailable):
        await READS[call](engine)


@pytest.mark.parametrize("kind", ["reset", "lost"])
@pytest.mark.parametrize("call", CHANGES)
async def test_changes_are_never_repeated(
    fake: FakeEngine, engine: Engine, call: str, kind: str
) -> None:
    """A call that might have been done is not made again blindly."""
    await create(engine)
    method, path = call.split()
    before = fake.count(method, path)
    fake.fault(kind, method, path)
    with pytest.raises(EngineUnavailable):
        await CHANGES[call](engine)
    assert fake.count(method, path) == before + 1


async def test_lost_answer_was_done(fake: FakeEngine, engine: Engine) -> None:
    """The container of a create whose answer was lost is there, to be found by its name."""
    fake.fault("lost", "POST", CREATE)
    with pytest.raises(EngineUnavailable):
        await create(engine, "c1")
    assert (await engine.inspect_container("c1"))["Name"] == "/c1"
    with pytest.raises(NameTaken):
        await create(engine, "c1")


# --- deadlines ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stall", "stall after", "drip"])
@pytest.mark.parametrize("call", ALL)
async def test_deadline(fake: FakeEngine, impatient: Engine, call: str, kind: str) -> None:
    """No answer, or one that never ends, is a timeout; it is not asked again."""
    await create(impatient)
    method, path = call.split()
    before = fake.count(method, path)
    fake.fault(kind, method, path)
    with pytest.raises(EngineTimeout, match=r"within [\d.]+ s"):
        await soon(ALL[call](impatient))
    assert fake.count(method, path) == before + 1


async def test_stop_may_take_its_grace(fake: FakeEngine, impatient: Engine) -> None:
    """A stop's deadline is its grace period longer than that of other calls."""
    await create(impatient)
    await impatient.start_container("c1")
    stall = fake.fault("stall", "POST", "/containers/c1/stop")
    stopping = asyncio.ensure_future(impatient.stop_container("c1", 10))
    await eventually(stall.reached.is_set)
    done, _ = await asyncio.wait({stopping}, timeout=0.5)
    assert not done
    stall.release()
    await soon(stopping)


# --- what the Engine says ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, EngineFailed), (400, BadRequest), (401, BadRequest), (403, BadRequest),
        (404, NotFound), (409, Conflict), (500, EngineFailed), (503, EngineFailed),
    ],
)  # fmt: skip
async def test_statuses(
    fake: FakeEngine, engine: Engine, status: int, kind: type[EngineError]
) -> None:
    """Each status is raised as its class, with the Engine's own words and what was asked."""
    fake.fault(status, "POST", "/containers/c1/start", message="it is Monday")
    with pytest.raises(EngineError) as caught:
        await engine.start_container("c1")
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.message) == (status, "it is Monday")
    assert caught.value.action == "start container c1"


async def test_podmans_words(engine: Engine) -> None:
    """Podman's 500 for a taken name and a running container are what Docker's 409 are."""
    with FakeEngine("podman") as podman:
        podman.add_image(IMAGE)
        engine = connect(podman.url)
        await create(engine, "c1")
        with pytest.raises(NameTaken) as caught:
            await create(engine, "c1")
        assert caught.value.status == 500
        await engine.start_container("c1")
        with pytest.raises(Conflict):
            await engine.remove_container("c1")
        engine.close()


async def test_podmans_filters(engine: Engine) -> None:
    """Podman's lists, which have what has any of the labels, are filtered again."""
    with FakeEngine("podman") as podman:
        podman.add_image(IMAGE)
        engine = connect(podman.url)
        for name, labels in [("c1", {"a": "1"}), ("c2", {"b": "1"}), ("c3", {"a": "1", "b": "1"})]:
            await engine.create_container(name, {"Image": IMAGE, "Labels": labels})
            await engine.create_volume(name, labels=labels)
        for wanted in (["a=1", "b=1"], ["a", "b"], ["a=1", "b"]):
            found = await engine.list_containers(wanted)
            assert [one["Names"] for one in found] == [["/c3"]]
            assert [one["Name"] for one in await engine.list_volumes(wanted)] == ["c3"]
        engine.close()


async def test_port_in_use_is_no_name_conflict(fake: FakeEngine, engine: Engine) -> None:
    """Words that merely look like a conflict don't make one."""
    await create(engine)
    words = "driver failed: Bind for 0.0.0.0:80: address already in use"
    fake.fault(500, "POST", "/containers/c1/start", message=words)
    with pytest.raises(EngineFailed):
        await engine.start_container("c1")


async def test_garbage(fake: FakeEngine, engine: Engine) -> None:
    """An answer that isn't the Engine's is the Engine's failure, and the message quotes it."""
    await create(engine)
    for call in ("GET /containers/c1/json", "GET /containers/json", f"POST {CREATE}"):
        fake.fault("garbage", *call.split())
        with pytest.raises(EngineFailed, match="a proxy's page"):
            await ALL[call](engine)


async def test_removal_by_somebody_else(fake: FakeEngine, engine: Engine) -> None:
    """When a removal is under way already, ours ends with it, successfully."""
    id = await create(engine)
    words = f"removal of container {id} is already in progress"
    fake.fault(409, "DELETE", f"/containers/{id}", message=words)
    removing = asyncio.ensure_future(engine.remove_container(id))
    await eventually(lambda: fake.count("GET", f"/containers/{id}/json"))
    assert not removing.done()
    fake.remove(id)
    await soon(removing)


async def test_removal_that_never_ends(fake: FakeEngine, impatient: Engine) -> None:
    """It is waited for no longer than any call."""
    id = await create(impatient)
    fake.fault(409, "DELETE", f"/containers/{id}", message="removal already in progress")
    with pytest.raises(EngineTimeout, match="already in progress"):
        await soon(impatient.remove_container(id))


# --- API versions ------------------------------------------------------------------------------


async def test_version_is_asked_once(fake: FakeEngine, engine: Engine) -> None:
    """The API version is agreed on once for an Engine, not for each thread or call."""
    await engine.inspect_image(IMAGE)
    await asyncio.gather(*(engine.inspect_image(IMAGE) for _ in range(20)))
    assert fake.count("GET", "/version") == 1


@pytest.mark.parametrize(
    ("newest", "oldest"), [("1.24", "1.12"), ("1.99", "1.12"), ("1.99", "1.98")]
)
async def test_other_api_versions(
    fake: FakeEngine, engine: Engine, newest: str, oldest: str
) -> None:
    """Old and new Engines are spoken to in a version that they know."""
    fake.replace(newest, oldest)
    await engine.inspect_image(IMAGE)


async def test_engine_replaced_by_an_older_one(fake: FakeEngine, engine: Engine) -> None:
    """When the Engine suddenly speaks another version, that is agreed on anew."""
    await engine.inspect_image(IMAGE)
    fake.replace("1.30")
    await engine.inspect_image(IMAGE)
    fake.replace("1.99", "1.98")
    await engine.inspect_image(IMAGE)


async def test_version_as_configured(fake: FakeEngine) -> None:
    """An API version that the admin fixed is used, and nothing else."""
    engine = Engine(Connection(fake.url, options=(("version", "1.30"),)))
    fake.add_image(IMAGE)
    await engine.inspect_image(IMAGE)
    assert fake.count("GET", "/version") == 0
    fake.replace("1.99", "1.98")
    with pytest.raises(BadRequest, match=r"1\.30 is too old"):
        await engine.inspect_image(IMAGE)
    engine.close()


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
