"""The watcher's table: what is in it, who died, and what we did ourselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from support.engine.watching import IMAGE, LABELS, create, dead, eventually, heard, run, watching
from support.engine.worlds import connect
from support.fake_engine import Behaviour, FakeEngine

from dockernamed.backends.watcher import ObservedContainer, State
from dockernamed.engine.client import Engine
from dockernamed.timings import Timings


@pytest.fixture
async def engine(fake: FakeEngine) -> AsyncIterator[Engine]:
    """Our way to the fake Engine, which has an image."""
    fake.add_image(IMAGE)
    engine = connect(fake.url, timeout=30.0)
    yield engine
    await engine.close()


# --- the table ---------------------------------------------------------------------------------


async def test_what_is_there_at_first(fake: FakeEngine, engine: Engine) -> None:
    """The first list fills the table with all that carries our Hub's label, in any state."""
    running = await run(engine, "c-a")
    exited = await run(engine, "c-b")
    fake.die(exited, 7)
    created = await create(engine, "c-c")
    await run(engine, "c-d", labels={"dockernamed.hub": "another"})
    async with watching(engine) as watcher:
        states = {record.id: (record.state, record.exit_code) for record in watcher.records()}
    assert states == {
        running: (State.RUNNING, None),
        exited: (State.EXITED, 7),
        created: (State.CREATED, None),
    }


async def test_other_hubs_are_not_ours(fake: FakeEngine, engine: Engine) -> None:
    """Events of containers with another Hub's label, or none, change nothing."""
    async with watching(engine) as watcher:
        await run(engine, "c-a", labels={"dockernamed.hub": "another"})
        plain = await engine.create_container("c-b", {"Image": IMAGE})
        await engine.start_container(plain)
        fake.die(plain)
        await heard(fake, watcher)
        assert len(watcher.records()) == 0


@pytest.mark.parametrize("missing", ["dockernamed.user", "dockernamed.server"])
async def test_a_hub_alone_is_no_owner(engine: Engine, missing: str) -> None:
    """A container of which no label says whose it is is none of ours: nobody may remove it."""
    labels = {label: value for label, value in LABELS.items() if label != missing}

    async def strange(name: str) -> None:
        made = await engine.create_container(name, {"Image": IMAGE, "Labels": labels})
        await engine.start_container(made)

    await strange("c-listed")
    async with watching(engine) as watcher:
        await strange("c-heard-of")
        ours = await run(engine, "c-ours", watcher)
        assert [record.id for record in watcher.records()] == [ours]


async def test_a_lost_stream_in_words(
    fake: FakeEngine, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says that the Engine hung up, and not what could not be read of its last bytes."""
    async with watching(engine) as watcher:
        fake.lose_streams("abort")
        await eventually(lambda: watcher.disconnects)
    assert "cannot watch events: the connection ended in the middle of the answer" in caplog.text


async def test_table_without_requests(fake: FakeEngine, engine: Engine) -> None:
    """Whatever is asked of the table, the Engine is asked for nothing."""
    async with watching(engine) as watcher:
        ids = [await run(engine, f"c{number}", watcher) for number in range(3)]
        await heard(fake, watcher)
        before = len(fake.requests)
        for _ in range(100):
            assert all(watcher.get(id) for id in ids)
            assert len(watcher.find("ann", "x")) == 3
        assert len(fake.requests) == before


async def test_one_stream_and_one_list(fake: FakeEngine, engine: Engine) -> None:
    """Many servers that come and go cost no more lists and no more streams."""
    async with watching(engine) as watcher:
        for number in range(20):
            id = await run(engine, f"c{number}", watcher)
            await engine.remove_container(id, force=True)
        await heard(fake, watcher)
        assert fake.count("GET", "/containers/json") == 1
        assert fake.count("GET", "/events") == 1


async def test_find_by_labels(fake: FakeEngine, engine: Engine) -> None:
    """Containers are found by user and server, which are never mixed up with names."""
    async with watching(engine) as watcher:
        one = await run(engine, "c-a", watcher)
        two = await run(engine, "c-b", watcher)
        other = await run(engine, "c-c", labels={"dockernamed.server": ""})
        await heard(fake, watcher)
        assert [record.id for record in watcher.find("ann", "x")] == [one, two]
        assert [record.id for record in watcher.find("ann", "")] == [other]
        assert watcher.find("x", "ann") == []
        fake.remove(one)
        await eventually(lambda: watcher.get(one) is None)
        assert [record.id for record in watcher.find("ann", "x")] == [two]


async def test_rename(fake: FakeEngine, engine: Engine) -> None:
    """A container that is renamed is known by its new name."""
    async with watching(engine) as watcher:
        id = await run(engine, "before", watcher)
        fake.rename(id, "after")
        await eventually(lambda: (record := watcher.get(id)) and record.name == "after")


async def test_networks(fake: FakeEngine, engine: Engine) -> None:
    """A container that is plugged in or out is noted; other containers' are no business of ours."""
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        for action, container in (("disconnect", id), ("connect", "stranger"), ("connect", id)):
            fake.emit("network", action, "net", {"container": container, "name": "net"})
        await heard(fake, watcher)
        assert [(one.id, one.network_changes) for one in watcher.records()] == [(id, 2)]


# --- deaths ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dialect", ["docker20", "docker28", "podman"])
@pytest.mark.parametrize("how", ["die", "stop", "remove"])
async def test_death_is_told_once(dialect: str, how: str) -> None:
    """Each Engine's order and names of events make one death, with the exit code."""
    with FakeEngine(dialect) as fake:
        fake.add_image(IMAGE)
        engine = connect(fake.url)
        async with watching(engine) as watcher:
            id = await run(engine, watcher=watcher)
            deaths: list[ObservedContainer] = []
            watcher.on_death(id, deaths.append)
            if how == "die":
                fake.die(id, 3)
            elif how == "stop":
                await engine.stop_container(id, 1)
            else:
                fake.remove(id)
            await heard(fake, watcher)
            code = {"die": 3, "stop": 143, "remove": 137}[how]
            assert [(one.state, one.exit_code) for one in deaths] == [(State.EXITED, code)]
            assert deaths[0].stop_requested == (how == "stop")
            assert (watcher.get(id) is None) == (how == "remove")
        await engine.close()


async def test_out_of_memory(fake: FakeEngine, engine: Engine) -> None:
    """An ``oom`` event before the end is the reason for it."""
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        fake.die(id, 137, oom=True)
        assert (await dead(watcher, id)).oom is True
        assert (await dead(watcher, id)).exit_code == 137


async def test_out_of_memory_is_told_late(fake: FakeEngine, engine: Engine) -> None:
    """A busy Engine may tell of the kernel's kill after the end; of a good end it is no reason."""
    async with watching(engine) as watcher:
        for name, code in [("c1", 137), ("c2", 0)]:
            id = await run(engine, name, watcher)
            fake.die(id, code)
            await dead(watcher, id)
            fake.emit("container", "oom", id, LABELS)
            await heard(fake, watcher)
            record = watcher.get(id)
            assert record is not None
            assert record.oom is (code == 137)


async def test_killed_child_is_not_the_reason(fake: FakeEngine, engine: Engine) -> None:
    """A kernel's kill inside the container that ran on is not why it ended well later."""
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        fake.emit("container", "oom", id, LABELS)
        fake.die(id, 0)
        assert (await dead(watcher, id)).oom is False


async def test_death_before_anybody_asked(fake: FakeEngine, engine: Engine) -> None:
    """Who asks about a container that has ended, or that nobody knows, is told soon."""
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        fake.die(id, 9)
        await heard(fake, watcher)
        deaths: list[ObservedContainer] = []
        watcher.on_death(id, deaths.append)
        assert deaths == [], "never from inside the call"
        await asyncio.sleep(0)
        assert [one.exit_code for one in deaths] == [9]
        assert (await dead(watcher, "f" * 64)).state is State.GONE


async def test_unsubscribed(fake: FakeEngine, engine: Engine) -> None:
    """Who took it back is not called, even when the call was due already."""
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        deaths: list[ObservedContainer] = []
        watcher.on_death(id, deaths.append)()
        fake.die(id)
        await heard(fake, watcher)
        watcher.on_death(id, deaths.append)()
        await asyncio.sleep(0)
        assert deaths == []


async def test_failing_callback(
    fake: FakeEngine, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """A callback that raises is logged; the others are called, and the watch goes on."""
    async with watching(engine) as watcher:
        id, later = await run(engine, "c-a"), await run(engine, "c-b", watcher)
        watcher.on_death(id, lambda record: 1 / 0)  # type: ignore[arg-type]
        waiting = asyncio.ensure_future(dead(watcher, id))
        fake.die(id, 2)
        assert (await waiting).exit_code == 2
        fake.die(later, 4)
        assert (await dead(watcher, later)).exit_code == 4
        assert "ZeroDivisionError" in caplog.text
        assert watcher.connected


async def test_cancelled_waiter_leaves_nothing(fake: FakeEngine, engine: Engine) -> None:
    """A waiter that is cancelled is forgotten."""
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        for _ in range(100):
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(watcher.wait_dead(id), 0)
        assert not watcher._deaths


# --- what we did ourselves ---------------------------------------------------------------------


async def test_notes_are_known_at_once(fake: FakeEngine, engine: Engine) -> None:
    """What we did ourselves is in the table before any event comes."""
    async with watching(engine) as watcher:
        fake.hold_events()
        id = await create(engine)
        watcher.note_created(id, "c1", {**LABELS, "dockernamed.spec": "hash"}, IMAGE)
        assert [record.state for record in watcher.find("ann", "x")] == [State.CREATED]
        await engine.start_container(id)
        watcher.note_started(id)
        assert watcher.get(id) == ObservedContainer(
            id, "c1", "ann", "x", "hash", IMAGE, State.RUNNING
        )
        await engine.remove_container(id, force=True)
        watcher.note_removed(id)
        assert watcher.get(id) is None
        fake.release_events()
        await heard(fake, watcher)
        assert len(watcher.records()) == 0, "late events brought it back"


async def test_note_started_after_the_end(fake: FakeEngine, engine: Engine) -> None:
    """An end that was heard before our start call returned is not overruled by our note."""
    fake.behave(Behaviour(exit_code=6))
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        await heard(fake, watcher)
        watcher.note_started(id)
        assert [(one.state, one.exit_code) for one in watcher.records()] == [(State.EXITED, 6)]


async def test_starting_again(fake: FakeEngine, engine: Engine) -> None:
    """Once we are about to start a container again, its old end is nobody's death."""
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        fake.die(id, 1)
        await dead(watcher, id)
        fake.hold_events()
        watcher.note_starting(id)
        deaths: list[ObservedContainer] = []
        watcher.on_death(id, deaths.append)
        # A list from before the start takes effect says "exited" still.
        fake.lose_streams()
        await eventually(lambda: fake.count("GET", "/containers/json") == 2)
        await asyncio.wait_for(watcher.in_sync(), 30)
        await engine.start_container(id)
        watcher.note_started(id)
        fake.release_events()
        await heard(fake, watcher)
        assert deaths == []
        fake.die(id, 2)
        assert (await dead(watcher, id)).exit_code == 2


@pytest.mark.parametrize("how", ["stale", "fresh"])
async def test_note_during_a_list(fake: FakeEngine, engine: Engine, how: str) -> None:
    """What we did since a list was asked for is newer than that list."""
    async with watching(engine) as watcher:
        old = await run(engine, "old", watcher)
        await heard(fake, watcher)
        if how == "stale":
            fake.freeze_list()
        stall = fake.fault("stall", "GET", "/containers/json")
        fake.lose_events()
        fake.lose_streams()
        await eventually(stall.reached.is_set)
        new = await create(engine, "new")
        watcher.note_created(new, "new", LABELS, IMAGE)
        await engine.remove_container(old, force=True)
        watcher.note_removed(old)
        stall.release()
        await asyncio.wait_for(watcher.in_sync(), 30)
        assert [record.id for record in watcher.records()] == [new]


async def test_event_during_a_list(fake: FakeEngine, engine: Engine) -> None:
    """An event that came since a list was asked for is newer than that list."""
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        await heard(fake, watcher)
        fake.freeze_list()
        stall = fake.fault("stall", "GET", "/containers/json")
        fake.lose_streams()
        await eventually(lambda: stall.reached.is_set() and fake.streams == 1)
        fake.die(id, 8)
        assert (await dead(watcher, id)).exit_code == 8
        stall.release()
        await asyncio.wait_for(watcher.in_sync(), 30)
        assert [record.exit_code for record in watcher.records()] == [8]


# --- images ------------------------------------------------------------------------------------


async def test_image_events(fake: FakeEngine, engine: Engine) -> None:
    """Changes of images are told; after a loss, None says that some may have been missed."""
    async with watching(engine) as watcher:
        told: list[Mapping[str, Any] | None] = []
        stop = watcher.on_image_event(told.append)
        fake.add_image("other:1")
        await heard(fake, watcher)
        assert told[0] is not None
        assert told[0]["Action"] == "tag"
        fake.lose_streams()
        await eventually(lambda: told[-1] is None)
        stop()
        count = len(told)
        await asyncio.wait_for(watcher.in_sync(), 30)
        await heard(fake, watcher)
        assert len(told) == count


# --- looks -------------------------------------------------------------------------------------


async def test_a_look(fake: FakeEngine, engine: Engine) -> None:
    """It finds what no event told; where there is nothing new, what events told stays."""
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        fake.emit("container", "kill", id, {**LABELS, "signal": "15"})
        fake.emit("container", "oom", id, LABELS)
        fake.die(id, 137)
        await heard(fake, watcher)
        before = watcher.get(id)
        await watcher.look_at(id)
        assert watcher.get(id) is before
        fake.lose_events()
        await engine.start_container(id)
        await watcher.look_at(id)
        after = watcher.get(id)
        assert after is not None
        assert (after.running, after.stop_requested, after.oom) == (True, False, False)
        fake.remove(id)
        await watcher.look_at(id)
        assert watcher.get(id) is None
        await watcher.look_at(id)


async def test_a_look_that_an_event_overtakes(fake: FakeEngine, engine: Engine) -> None:
    """What was heard while the answer was on its way is newer."""
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        late = fake.fault("stall after", "GET", f"/containers/{id}/json")
        look = asyncio.ensure_future(watcher.look_at(id))
        await eventually(late.reached.is_set)
        fake.die(id, 3)
        await dead(watcher, id)
        await engine.start_container(id)
        fake.die(id, 4)
        await heard(fake, watcher)
        late.release()
        await look
        record = watcher.get(id)
        assert record is not None
        assert (record.state, record.exit_code) == (State.EXITED, 4)


async def test_a_look_at_an_engine_that_is_ending(fake: FakeEngine) -> None:
    """It takes no new connections, though its stream goes on: the end of that is waited for."""
    fake.add_image(IMAGE)
    engine = connect(fake.url, timings=Timings(repeat_after=()))
    async with watching(engine, look_again=0.001) as watcher:
        id = await run(engine, watcher=watcher)
        path = f"/containers/{id}/json"
        fake.fault("reset", "GET", path, times=10**6)
        look = asyncio.ensure_future(watcher.look_at(id))
        await eventually(lambda: fake.count("GET", path) > 2)
        assert not look.done()
        fake.fault(503, "GET", "/events", times=10**6)
        fake.lose_streams()
        await asyncio.wait_for(look, 30)
    await engine.close()
