"""Watching over one running container."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from dockernamed.backends.observed import ObservedContainer, State
from dockernamed.errors import EngineError
from dockernamed.lifecycle import monitor as vigil_module
from dockernamed.lifecycle.monitor import ServerMonitor


class Watcher:
    """Deaths, news and an Engine's word of the container when the test says so."""

    def __init__(self):
        self.disconnects = 0
        self.synced = asyncio.Event()
        self.synced.set()
        self.waited_for = asyncio.Event()
        self.record = None
        self.news = asyncio.Event()
        self.looks: asyncio.Queue[State | EngineError] = asyncio.Queue()
        self.looked_at = asyncio.Event()
        self.deaths: asyncio.Queue[ObservedContainer] = asyncio.Queue()

    def die(self, stop_requested):
        """The container ends."""
        self.record = death(stop_requested)
        self.deaths.put_nowait(self.record)

    def hear(self, **news):
        """Something is heard of the container."""
        self.record = replace(self.record, **news)
        self.news.set()

    async def wait_dead(self, id):
        return await self.deaths.get()

    async def until(self, id, condition):
        while self.record is None or not condition(self.record):
            self.news.clear()
            await self.news.wait()

    async def look_at(self, id):
        self.looked_at.set()
        found = await self.looks.get()
        if isinstance(found, EngineError):
            raise found
        self.record = replace(self.record, state=found)

    async def in_sync(self):
        self.waited_for.set()
        await self.synced.wait()

    @property
    def connected(self):
        return self.synced.is_set()

    def get(self, id):
        return self.record

    def lose(self):
        """The stream is lost."""
        self.disconnects += 1
        self.synced.clear()


def death(stop_requested):
    return ObservedContainer(
        "id", "name", "ann", "", "s", "i", State.EXITED, 143, stop_requested=stop_requested
    )


@pytest.fixture
async def stage():
    """A vigil, and queues of what it tells."""
    watcher = Watcher()
    ended: asyncio.Queue[tuple[ObservedContainer, str]] = asyncio.Queue()
    moved: asyncio.Queue[bool] = asyncio.Queue()

    async def on_ended(record, how):
        ended.put_nowait((record, how))

    async def on_moved():
        moved.put_nowait(True)

    vigil = ServerMonitor(watcher, "id", on_ended, on_moved)
    yield watcher, vigil, ended, moved
    vigil.end()


async def test_an_end_by_itself_is_told_at_once(stage):
    """Nobody asked it to end, so nobody will start it again."""
    watcher, _, ended, moved = stage
    watcher.die(stop_requested=False)
    record, how = await asyncio.wait_for(ended.get(), 10)
    assert (record.exit_code, how) == (143, "ended")
    assert moved.empty()


async def test_a_restart_is_no_end(stage):
    """``docker restart`` moves the server, and the vigil goes on."""
    watcher, vigil, ended, moved = stage
    watcher.die(stop_requested=True)
    watcher.hear(state=State.RUNNING)
    assert await asyncio.wait_for(moved.get(), 10)
    assert ended.empty()
    assert not vigil.restarting
    watcher.record = None
    watcher.die(stop_requested=False)
    await asyncio.wait_for(ended.get(), 10)


@pytest.mark.parametrize("signal", [False, True])
async def test_one_that_was_stopped_is_told_soon(stage, monkeypatch, signal):
    """``docker stop`` looks like a restart at first; a mere signal brings no news of its end."""
    monkeypatch.setattr(vigil_module, "START_S", 0.01)
    monkeypatch.setattr(vigil_module, "STOP_S", 0.01 if signal else 30)
    watcher, _, ended, moved = stage
    watcher.die(stop_requested=True)
    if not signal:
        watcher.hear(stopped=True)
    watcher.looks.put_nowait(State.EXITED)
    assert (await asyncio.wait_for(ended.get(), 10))[1] == "was stopped from outside"
    assert moved.empty()


async def test_a_restart_that_takes_its_time(stage, monkeypatch):
    """Nothing is heard of the start for long: the Engine's word is waited for, and counts."""
    monkeypatch.setattr(vigil_module, "START_S", 0.01)
    watcher, vigil, ended, moved = stage
    watcher.die(stop_requested=True)
    watcher.hear(stopped=True)
    await asyncio.wait_for(watcher.looked_at.wait(), 10)
    assert vigil.restarting
    watcher.looks.put_nowait(State.RUNNING)
    assert await asyncio.wait_for(moved.get(), 10)
    assert ended.empty()


async def test_an_engine_that_does_not_say(stage, monkeypatch, caplog):
    """What was heard counts then."""
    monkeypatch.setattr(vigil_module, "START_S", 0.01)
    watcher, _, ended, _ = stage
    watcher.die(stop_requested=True)
    watcher.hear(stopped=True)
    watcher.looks.put_nowait(EngineError("inspect container id", "broken"))
    assert (await asyncio.wait_for(ended.get(), 10))[1] == "was stopped from outside"
    assert "broken" in caplog.text


async def test_an_engine_that_ends_stops_its_containers_first(stage, monkeypatch):
    """Asked to end, and then the Engine is lost: told when it is back, and that it was the Engine.

    Until then it counts as running: the Engine may bring it up again.
    """
    monkeypatch.setattr(vigil_module, "START_S", 0.01)
    watcher, vigil, ended, moved = stage
    watcher.die(stop_requested=True)
    watcher.hear(stopped=True)
    await asyncio.wait_for(watcher.looked_at.wait(), 10)
    watcher.lose()
    watcher.looks.put_nowait(State.EXITED)
    watcher.disconnects += 1  # a try to come back that was in vain
    await asyncio.wait_for(watcher.waited_for.wait(), 10)
    assert vigil.restarting
    assert ended.empty()
    watcher.synced.set()
    assert (await asyncio.wait_for(ended.get(), 10))[1] == "was stopped with the Engine"
    assert moved.empty()


async def test_an_end_that_the_new_list_tells(stage):
    """It ended while nobody could see it: the log says so, and not that it ended by itself."""
    watcher, _, ended, _ = stage
    watcher.lose()
    watcher.die(stop_requested=False)
    await asyncio.wait_for(watcher.waited_for.wait(), 10)
    assert ended.empty()
    watcher.synced.set()
    assert "while the Engine was out of sight" in (await asyncio.wait_for(ended.get(), 10))[1]


async def test_a_container_that_comes_back_with_the_engine(stage):
    """A restart policy brings it up again, which no event tells: the server has moved, no more."""
    watcher, _, ended, moved = stage
    watcher.die(stop_requested=True)
    watcher.lose()
    watcher.hear(state=State.RUNNING)
    watcher.synced.set()
    assert await asyncio.wait_for(moved.get(), 10)
    assert ended.empty()


async def test_between_end_and_restart_it_counts_as_restarting(stage):
    """So that a poll at that moment does not call the server dead."""
    watcher, vigil, _, moved = stage
    watcher.die(stop_requested=True)
    while not vigil.restarting:  # noqa: ASYNC110  it has no event
        await asyncio.sleep(0)
    watcher.hear(state=State.RUNNING)
    await asyncio.wait_for(moved.get(), 10)


async def test_a_lost_stream_is_told_once(stage):
    """After it, what was known of the container may be outdated, as long as no list told."""
    watcher, vigil, _, _ = stage
    assert not vigil.outdated()
    watcher.lose()
    assert not vigil.outdated()
    watcher.synced.set()
    assert vigil.outdated()
    assert not vigil.outdated()


async def test_a_list_tells_who_is_elsewhere(stage):
    """A lost stream is no reason to ask after those that the list shows where they were."""
    watcher, vigil, _, moved = stage
    at = replace(death(stop_requested=False), state=State.RUNNING, endpoint_fingerprint=1)
    watcher.record = at
    assert not vigil.outdated()
    watcher.disconnects += 1
    assert not vigil.outdated()
    watcher.record = replace(at, endpoint_fingerprint=2)
    assert vigil.outdated()
    assert not vigil.outdated()
    # After a restart that was heard of, the next list has nothing to be compared with.
    watcher.die(stop_requested=True)
    watcher.hear(state=State.RUNNING)
    await asyncio.wait_for(moved.get(), 10)
    watcher.record = replace(at, endpoint_fingerprint=3)
    assert not vigil.outdated()


async def test_networks_tell_who_is_elsewhere(stage):
    """Connected anew, it may have another address, whether or not a list has told the last one."""
    watcher, vigil, _, _ = stage
    at = replace(death(stop_requested=False), state=State.RUNNING)
    for where in (None, 1):
        watcher.record = replace(at, endpoint_fingerprint=where)
        vigil.outdated()
        assert not vigil.outdated()
        watcher.record = replace(watcher.record, network_changes=watcher.record.network_changes + 1)
        assert vigil.outdated()
        assert not vigil.outdated()


async def test_after_its_end_nothing_is_called(stage):
    """A server that the Hub stops itself is no news."""
    watcher, vigil, ended, _ = stage
    vigil.end()
    await asyncio.sleep(0)
    watcher.die(stop_requested=False)
    for _ in range(5):
        await asyncio.sleep(0)
    assert ended.empty()


async def test_a_failing_callback_is_logged(caplog):
    """An error in what the Hub does about it must not vanish."""
    told = asyncio.Event()

    async def fail(*_):
        told.set()
        raise RuntimeError("hub broke")

    watcher = Watcher()
    ServerMonitor(watcher, "id", fail, fail)
    watcher.die(stop_requested=False)
    await asyncio.wait_for(told.wait(), 10)
    while "Watching a container failed" not in caplog.text:  # noqa: ASYNC110
        await asyncio.sleep(0)
