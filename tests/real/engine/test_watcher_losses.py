"""The watcher's table stays true, whatever happens to list and stream; and small."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.engine.watching import HUB, IMAGE, LABELS, dead, eventually, heard, run, watching
from support.engine.worlds import connect
from support.fake_engine import FakeEngine

from dockernamed.backends.observed_containers import from_list
from dockernamed.backends.watcher import ObservedContainer, State, Watcher
from dockernamed.engine.call import Call, parse_items
from dockernamed.engine.client import Engine
from dockernamed.timings import Timings


@pytest.fixture
async def engine(fake: FakeEngine) -> AsyncIterator[Engine]:
    """Our way to the fake Engine, which has an image."""
    fake.add_image(IMAGE)
    engine = connect(fake.url, timeout=30.0)
    yield engine
    await engine.close()


# --- disconnects ------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["end", "abort"])
async def test_lost_stream(fake: FakeEngine, engine: Engine, how: str) -> None:
    """What ended while the stream was lost is told as soon as it is back."""
    async with watching(engine) as watcher:
        died, removed, lives = [await run(engine, name, watcher) for name in ("c-a", "c-b", "c-c")]
        await heard(fake, watcher)
        fake.lose_events()
        fake.die(died, 3)
        fake.remove(removed)
        deaths: list[ObservedContainer] = []
        for id in (died, removed, lives):
            watcher.on_death(id, deaths.append)
        fake.lose_streams(how)
        await eventually(lambda: len(deaths) == 2)
        told = {record.id: (record.state, record.exit_code) for record in deaths}
        assert told == {died: (State.EXITED, 3), removed: (State.GONE, None)}
        assert [record.id for record in watcher.find("ann", "x")] == [died, lives]
        await asyncio.wait_for(watcher.in_sync(), 30)


async def test_engine_away(
    fake: FakeEngine, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """While the Engine is away the table says what it last knew, and one warning is logged."""
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        await heard(fake, watcher)
        fake.down()
        await eventually(lambda: not watcher.connected)
        record = watcher.get(id)
        assert record is not None
        assert record.state is State.RUNNING
        deaths: list[ObservedContainer] = []
        watcher.on_death(id, deaths.append)
        unknown: list[ObservedContainer] = []
        watcher.on_death("f" * 64, unknown.append)
        disconnects = watcher.disconnects
        await eventually(lambda: watcher.disconnects > disconnects + 3)  # some attempts
        assert deaths == unknown == [], "nobody is dead because the Engine is away"
        fake.up()
        await asyncio.wait_for(watcher.in_sync(), 30)
        assert deaths == []
        assert [one.state for one in unknown] == [State.GONE], "now it is known to be gone"
        fake.die(id)
        await dead(watcher, id)
        warnings = [one for one in caplog.records if one.levelno >= logging.WARNING]
        assert len(warnings) == 1


async def test_engine_away_at_first(fake: FakeEngine) -> None:
    """A Hub that starts before its Engine waits for it."""
    fake.down()
    engine = connect(fake.url)
    watcher = Watcher(engine, HUB, Timings(reconnect=0.001, reconnect_at_most=0.01))
    watcher.start()
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(watcher.synced(), 0.1)
    fake.up()
    await asyncio.wait_for(watcher.synced(), 30)
    assert watcher.connected
    await watcher.close()
    await engine.close()


@pytest.mark.parametrize("kind", ["reset", 500, "garbage", "lost"])
@pytest.mark.parametrize("path", ["/events", "/containers/json"])
async def test_fault_while_it_begins(
    fake: FakeEngine, engine: Engine, path: str, kind: str | int
) -> None:
    """Whatever goes wrong with stream or list at first, it is tried again until it works."""
    id = await run(engine)
    fake.fault(kind, "GET", path, times=5)
    async with watching(engine) as watcher:
        assert watcher.get(id) is not None


async def test_silent_stall(fake: FakeEngine, engine: Engine) -> None:
    """A stream that stays open but tells nothing is found out by the timer."""
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        await heard(fake, watcher)
        fake.stall_streams()
        fake.die(id, 4)
        assert (record := watcher.get(id)) is not None
        assert record.state is State.RUNNING
    async with watching(engine, confirm=0.01, resync=0.05) as watcher:
        other = await run(engine, "other", watcher)
        await heard(fake, watcher)
        fake.stall_streams()
        fake.die(other, 5)
        assert (await dead(watcher, other)).exit_code == 5


async def test_list_behind_the_event(fake: FakeEngine, engine: Engine) -> None:
    """A list that still shows as running what was heard to have ended brings nothing back.

    Docker sends ``die`` some milliseconds before its lists know.
    """
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        await heard(fake, watcher)
        fake.freeze_list()
        fake.die(id, 3)
        await dead(watcher, id)
        fake.lose_streams()
        await eventually(lambda: fake.count("GET", "/containers/json") == 2)
        await asyncio.wait_for(watcher.in_sync(), 30)
        assert [(one.state, one.exit_code) for one in watcher.records()] == [(State.EXITED, 3)]


async def test_restarted_meanwhile(fake: FakeEngine, engine: Engine) -> None:
    """What had ended and runs again, unheard, is looked at singly and believed."""
    async with watching(engine) as watcher:
        id, gone = await run(engine, "c-a"), await run(engine, "c-b", watcher)
        fake.die(id, 3)
        fake.die(gone, 3)
        await dead(watcher, gone)
        fake.lose_events()
        await engine.start_container(id)
        await engine.start_container(gone)
        fake.freeze_list()
        fake.remove(gone)
        fake.lose_streams()
        await eventually(lambda: fake.count("GET", f"/containers/{gone}/json"))
        await asyncio.wait_for(watcher.in_sync(), 30)
        assert [(one.id, one.state) for one in watcher.records()] == [(id, State.RUNNING)]


async def test_ended_just_before_the_stream(fake: FakeEngine, engine: Engine) -> None:
    """An end between its event and the list, with the stream begun just after, is found too."""
    id = await run(engine)
    fake.freeze_list()
    fake.die(id, 3)
    async with watching(engine, confirm=0.01) as watcher:
        assert (await dead(watcher, id)).exit_code == 3


async def test_malformed_events(fake: FakeEngine, engine: Engine) -> None:
    """Events that lack what events have end neither the watch nor the test."""
    async with watching(engine) as watcher:
        fake.emit("container", "die", "a" * 64, {**LABELS, "exitCode": "many"})
        fake.emit("container", "start", "b" * 64, LABELS)
        fake.emit("container", "start", "e" * 64, {"dockernamed.hub": HUB})
        fake.emit("container", "mystery", "c" * 64, LABELS)
        fake.emit("network", "start", "d" * 64, LABELS)
        await heard(fake, watcher)
        states = {one.id[0]: (one.state, one.exit_code) for one in watcher.records()}
        assert states == {"a": (State.EXITED, None), "b": (State.RUNNING, None)}


# --- size --------------------------------------------------------------------------------------


async def test_memory_is_bounded_by_containers_not_events(
    fake: FakeEngine, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """100,000 events of containers that come and go leave no memory behind."""
    monkeypatch.setattr("dockernamed.backends.records.MAX_GONE", 500)
    async with watching(engine) as watcher:

        def burst(start: int, count: int) -> None:
            for number in range(start, start + count):
                id = f"{number:064x}"
                for action in ("create", "start", "oom", "die", "destroy"):
                    watcher._on_event(
                        {
                            "Type": "container",
                            "Action": action,
                            "Actor": {"ID": id, "Attributes": {**LABELS, "name": f"n{number}"}},
                            "timeNano": number,
                        }
                    )

        burst(0, 2_000)  # until what is bounded has reached its bound
        gc.collect()
        before = sys.getallocatedblocks()
        burst(2_000, 20_000)
        gc.collect()
        assert len(watcher.records()) == 0
        assert sys.getallocatedblocks() - before < 1_000


def row(number: int) -> dict[str, Any]:
    """An item of an Engine's list."""
    return {
        "Id": f"{number:064x}",
        "Names": [f"/jupyter-user-{number}--a-server"],
        "Image": "registry.example:5000/lab:2024",
        "State": "running",
        "Status": "Up 3 hours",
        "Labels": {**LABELS, "dockernamed.user": f"user-{number}", "dockernamed.spec": "0" * 16},
    }


async def test_size_of_ten_thousand(engine: Engine) -> None:
    """10,000 servers take less than 1 KiB each."""
    watcher = Watcher(engine, HUB)
    body = json.dumps([row(number) for number in range(10_000)]).encode()
    gc.collect()
    tracemalloc.start()

    def read() -> list[ObservedContainer]:
        items = parse_items(Call("list", "GET", "/"), body)
        return [record for item in items if (record := from_list(item))]

    await watcher._apply(await asyncio.to_thread(read), set())
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(watcher.records()) == 10_000
    assert grown / 10_000 < 1024


async def test_ten_thousand(fake: FakeEngine, engine: Engine) -> None:
    """A list of 10,000 is taken over whole."""
    ids = fake.populate(10_000, lambda number: {**LABELS, "dockernamed.user": f"user-{number}"})
    async with watching(engine) as watcher:
        assert len(watcher.records()) == 10_000
        assert all(watcher.get(id) for id in ids)
        assert watcher.find("user-77", "x") == [watcher.get(ids[77])]
