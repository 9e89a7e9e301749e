"""What our way to the Engine makes of everything that can go wrong on it."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from support.engine.asking import CREATE, create, soon
from support.engine.watching import IMAGE, eventually
from support.engine.worlds import connect
from support.fake_engine import FakeEngine

from dockernamed.engine.archive import pack
from dockernamed.engine.client import Connection, Engine
from dockernamed.errors import (
    BadRequest,
    Conflict,
    EngineError,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    NameTaken,
    NotFound,
)


@pytest.fixture
def engine(prompt: Engine) -> Engine:
    """It repeats calls without a pause."""
    return prompt


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
    "PUT /containers/c1/archive": lambda engine: engine.put_archive("c1", "/", pack({})),
}
CHANGES: dict[str, Callable[[Engine], Awaitable[Any]]] = {
    "POST /containers/create": lambda engine: create(engine, "c2"),
    "POST /containers/c1/start": lambda engine: engine.start_container("c1"),
    "POST /containers/c1/stop": lambda engine: engine.stop_container("c1", 1),
    "POST /containers/c1/kill": lambda engine: engine.kill_container("c1"),
}

ALL: dict[str, Callable[[Engine], Awaitable[Any]]] = {
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
async def test_deadline(fake: FakeEngine, engine: Engine, call: str, kind: str) -> None:
    """No answer, or one that never ends, is a timeout; it is not asked again."""
    await create(engine)
    method, path = call.split()
    before = fake.count(method, path)
    fault = fake.fault(kind, method, path, times=9)
    for tries in (1, 2, 3):
        impatient = connect(fake.url, timeout=0.02 * 10**tries, version="1.41")
        with pytest.raises(EngineError) as caught:
            await soon(ALL[call](impatient))
        await impatient.close()
        if fault.hits:  # else this machine was too slow to ask in time
            break
    assert isinstance(caught.value, EngineTimeout)
    assert re.search(r"within [\d.]+ s", caught.value.message)
    assert fake.count(method, path) <= before + tries


async def test_stop_may_take_its_grace(fake: FakeEngine, engine: Engine, impatient: Engine) -> None:
    """A stop's deadline is its grace period longer than that of other calls."""
    await create(engine)
    await engine.start_container("c1")
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
        await engine.close()


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
        await engine.close()


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


async def test_removal_that_never_ends(fake: FakeEngine, engine: Engine, impatient: Engine) -> None:
    """It is waited for no longer than any call."""
    id = await create(engine)
    fake.fault(409, "DELETE", f"/containers/{id}", message="removal already in progress")
    with pytest.raises(EngineTimeout, match="already in progress"):
        await soon(impatient.remove_container(id))


async def test_fakes_at_once(fake: FakeEngine, engine: Engine) -> None:
    """Of two fake Engines, as tests that run side by side have, each has addresses of its own."""
    with FakeEngine() as other:
        other.add_image(IMAGE)
        their = connect(other.url)
        addresses = []
        for one in (engine, their):
            id = await one.create_container(
                "c1", {"Image": IMAGE, "ExposedPorts": {"8888/tcp": {}}}
            )
            await one.start_container(id)
            inspected = await one.inspect_container(id)
            addresses.append(inspected["NetworkSettings"]["IPAddress"])
        await their.close()
    assert len(set(addresses)) == 2
    with socket.create_connection((addresses[0], 8888)):
        pass


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
    await engine.close()


async def test_an_engine_that_answers_nothing_is_told_once(
    fake: FakeEngine, impatient: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says what it may be, and says it again only after the Engine has answered."""

    def told() -> int:
        return caplog.text.count("may be deadlocked")

    fake.fault("stall", "GET", "/containers/x/json", times=3)
    for count in (1, 1):
        with pytest.raises(EngineTimeout):
            await impatient.inspect_container("x")
        assert told() == count
    await impatient.inspect_image(IMAGE)
    with pytest.raises(EngineTimeout):
        await impatient.inspect_container("x")
    assert told() == 2
