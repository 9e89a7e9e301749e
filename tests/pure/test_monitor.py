"""Watching over one running server: it ends, it restarts, it comes back at another address."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from dockernamed.backends.observed import ObservedContainer, State
from dockernamed.errors import EngineError
from dockernamed.lifecycle.monitor import ServerMonitor
from dockernamed.timings import DEFAULT, Timings

#: A stop is believed soon to be no restart.
IMPATIENT = Timings(restart_goes_on=0.01, stop_is_over=30)


class StandIn:
    """Deaths, news and an Engine's word of the container when the test says so."""

    noun = "container"

    def __init__(self) -> None:
        self.disconnects = 0
        self.moves: list[Callable[[ObservedContainer], None]] = []
        self.synced = asyncio.Event()
        self.synced.set()
        self.waited_for = asyncio.Event()
        self.record: ObservedContainer | None = None
        self.news = asyncio.Event()
        self.looks: asyncio.Queue[State | EngineError] = asyncio.Queue()
        self.looked_at = asyncio.Event()
        self.deaths: asyncio.Queue[ObservedContainer] = asyncio.Queue()

    def die(self, stop_requested: bool) -> None:
        """The container ends."""
        self.record = death(stop_requested)
        self.deaths.put_nowait(self.record)

    def hear(self, **news: Any) -> None:
        """Something is heard of the container."""
        assert self.record is not None
        self.record = replace(self.record, **news)
        self.news.set()

    async def wait_dead(self, id: str) -> ObservedContainer:
        return await self.deaths.get()

    def on_move(self, id: str, callback: Callable[[ObservedContainer], None]) -> Callable[[], None]:
        self.moves.append(callback)
        return self.moves.clear

    async def until(self, id: str, condition: Callable[[ObservedContainer], bool]) -> None:
        while self.record is None or not condition(self.record):
            self.news.clear()
            await self.news.wait()

    async def look_at(self, id: str) -> None:
        self.looked_at.set()
        found = await self.looks.get()
        if isinstance(found, EngineError):
            raise found
        assert self.record is not None
        self.record = replace(self.record, state=found)

    async def in_sync(self) -> None:
        self.waited_for.set()
        await self.synced.wait()

    @property
    def connected(self) -> bool:
        return self.synced.is_set()

    def get(self, id: str) -> ObservedContainer | None:
        return self.record

    def lose(self) -> None:
        """The stream is lost."""
        self.disconnects += 1
        self.synced.clear()


def death(stop_requested: bool) -> ObservedContainer:
    return ObservedContainer(
        "id", "name", "ann", "", "s", "i", State.EXITED, 143, stop_requested=stop_requested
    )


class Stage(NamedTuple):
    """A monitor, what it hears, and what it tells."""

    watcher: StandIn
    monitor: ServerMonitor
    ended: asyncio.Queue[tuple[ObservedContainer, str]]
    moved: asyncio.Queue[bool]


@pytest.fixture
def timings() -> Timings:
    """The monitor's; a test that wants others is parametrized with them."""
    return DEFAULT


@pytest.fixture
async def stage(timings: Timings) -> AsyncIterator[Stage]:
    """A monitor of a container that runs, and queues of what it tells."""
    watcher: Any = StandIn()
    ended: asyncio.Queue[tuple[ObservedContainer, str]] = asyncio.Queue()
    moved: asyncio.Queue[bool] = asyncio.Queue()

    async def on_ended(record: ObservedContainer, how: str) -> None:
        ended.put_nowait((record, how))

    async def on_moved() -> None:
        moved.put_nowait(True)

    monitor = ServerMonitor(watcher, "id", on_ended, on_moved, timings)
    yield Stage(watcher, monitor, ended, moved)
    monitor.end()


async def test_an_end_by_itself_is_told_at_once(stage: Stage) -> None:
    """Nobody asked it to end, so nobody will start it again."""
    watcher, _, ended, moved = stage
    watcher.die(stop_requested=False)
    record, how = await asyncio.wait_for(ended.get(), 30)
    assert (record.exit_code, how) == (143, "ended")
    assert moved.empty()


async def test_a_restart_is_no_end(stage: Stage) -> None:
    """``docker restart`` moves the server, and the monitor goes on."""
    watcher, monitor, ended, moved = stage
    watcher.die(stop_requested=True)
    watcher.hear(state=State.RUNNING)
    assert await asyncio.wait_for(moved.get(), 30)
    assert ended.empty()
    assert not monitor.restarting
    watcher.record = None
    watcher.die(stop_requested=False)
    await asyncio.wait_for(ended.get(), 30)


@pytest.mark.parametrize(
    ("signal", "timings"), [(False, IMPATIENT), (True, replace(IMPATIENT, stop_is_over=0.01))]
)
async def test_one_that_was_stopped_is_told_soon(stage: Stage, signal: bool) -> None:
    """``docker stop`` looks like a restart at first; a mere signal brings no news of its end."""
    watcher, _, ended, moved = stage
    watcher.die(stop_requested=True)
    if not signal:
        watcher.hear(stopped=True)
    watcher.looks.put_nowait(State.EXITED)
    assert (await asyncio.wait_for(ended.get(), 30))[1] == "was stopped from outside"
    assert moved.empty()


@pytest.mark.parametrize("timings", [IMPATIENT])
async def test_a_restart_that_takes_its_time(stage: Stage) -> None:
    """Nothing is heard of the start for long: the Engine's word is waited for, and counts."""
    watcher, monitor, ended, moved = stage
    watcher.die(stop_requested=True)
    watcher.hear(stopped=True)
    await asyncio.wait_for(watcher.looked_at.wait(), 30)
    assert monitor.restarting
    watcher.looks.put_nowait(State.RUNNING)
    assert await asyncio.wait_for(moved.get(), 30)
    assert ended.empty()


@pytest.mark.parametrize("timings", [IMPATIENT])
async def test_an_engine_that_does_not_say(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """What was heard counts then."""
    watcher, _, ended, _ = stage
    watcher.die(stop_requested=True)
    watcher.hear(stopped=True)
    watcher.looks.put_nowait(EngineError("inspect container id", "broken"))
    assert (await asyncio.wait_for(ended.get(), 30))[1] == "was stopped from outside"
    assert "broken" in caplog.text


@pytest.mark.parametrize("timings", [IMPATIENT])
async def test_an_engine_that_ends_stops_its_containers_first(stage: Stage) -> None:
    """Asked to end, and then the Engine is lost: told when it is back, and that it was the Engine.

    Until then it counts as running: the Engine may bring it up again.
    """
    watcher, monitor, ended, moved = stage
    watcher.die(stop_requested=True)
    watcher.hear(stopped=True)
    await asyncio.wait_for(watcher.looked_at.wait(), 30)
    watcher.lose()
    watcher.looks.put_nowait(State.EXITED)
    watcher.disconnects += 1  # a try to come back that was in vain
    await asyncio.wait_for(watcher.waited_for.wait(), 30)
    assert monitor.restarting
    assert ended.empty()
    watcher.synced.set()
    assert (await asyncio.wait_for(ended.get(), 30))[1] == "was stopped with the Engine"
    assert moved.empty()


async def test_an_end_that_the_new_list_tells(stage: Stage) -> None:
    """It ended while nobody could see it: the log says so, and not that it ended by itself."""
    watcher, _, ended, _ = stage
    watcher.lose()
    watcher.die(stop_requested=False)
    await asyncio.wait_for(watcher.waited_for.wait(), 30)
    assert ended.empty()
    watcher.synced.set()
    assert "while the Engine was out of sight" in (await asyncio.wait_for(ended.get(), 30))[1]


async def test_a_container_that_comes_back_with_the_engine(stage: Stage) -> None:
    """A restart policy brings it up again, which no event tells: the server has moved, no more."""
    watcher, _, ended, moved = stage
    watcher.die(stop_requested=True)
    watcher.lose()
    watcher.hear(state=State.RUNNING)
    watcher.synced.set()
    assert await asyncio.wait_for(moved.get(), 30)
    assert ended.empty()


async def test_between_end_and_restart_it_counts_as_restarting(stage: Stage) -> None:
    """So that a poll at that moment does not call the server dead."""
    watcher, monitor, _, moved = stage
    watcher.die(stop_requested=True)
    while not monitor.restarting:  # noqa: ASYNC110  it has no event
        await asyncio.sleep(0)
    watcher.hear(state=State.RUNNING)
    await asyncio.wait_for(moved.get(), 30)


async def test_a_lost_stream_is_told_once(stage: Stage) -> None:
    """After it, what was known of the container may be outdated, as long as no list told."""
    watcher, monitor, _, _ = stage
    assert not monitor.outdated()
    watcher.lose()
    assert not monitor.outdated()
    watcher.synced.set()
    assert monitor.outdated()
    assert not monitor.outdated()


async def test_a_list_tells_who_is_elsewhere(stage: Stage) -> None:
    """A lost stream is no reason to ask after those that the list shows where they were."""
    watcher, monitor, _, moved = stage
    at = replace(death(stop_requested=False), state=State.RUNNING, endpoint_fingerprint=1)
    watcher.record = at
    assert not monitor.outdated()
    watcher.disconnects += 1
    assert not monitor.outdated()
    watcher.record = replace(at, endpoint_fingerprint=2)
    assert monitor.outdated()
    assert not monitor.outdated()
    # After a restart that was heard of, the next list has nothing to be compared with.
    watcher.die(stop_requested=True)
    watcher.hear(state=State.RUNNING)
    await asyncio.wait_for(moved.get(), 30)
    watcher.record = replace(at, endpoint_fingerprint=3)
    assert not monitor.outdated()


async def test_one_that_is_told_to_be_elsewhere_is_followed(stage: Stage) -> None:
    """At once, and not with the next poll; also when it moves on while the Hub follows it."""
    watcher, monitor, _, moved = stage
    at = replace(death(stop_requested=False), state=State.RUNNING, endpoint_fingerprint=1)
    watcher.record = at
    assert not monitor.outdated()
    for place in (0, 2):
        watcher.record = replace(at, endpoint_fingerprint=place)
        watcher.moves[0](watcher.record)
        assert await asyncio.wait_for(moved.get(), 30)
    assert not monitor.outdated()
    watcher.lose()
    watcher.record = replace(at, endpoint_fingerprint=3)
    watcher.moves[0](watcher.record)
    await asyncio.wait_for(watcher.waited_for.wait(), 30)
    assert moved.empty()
    watcher.synced.set()
    assert await asyncio.wait_for(moved.get(), 30)
    monitor.end()
    assert not watcher.moves


async def test_networks_tell_who_is_elsewhere(stage: Stage) -> None:
    """Connected anew, it may have another address, whether or not a list has told the last one."""
    watcher, monitor, _, _ = stage
    at = replace(death(stop_requested=False), state=State.RUNNING)
    for where in (None, 1):
        watcher.record = replace(at, endpoint_fingerprint=where)
        monitor.outdated()
        assert not monitor.outdated()
        watcher.hear(network_changes=1)
        assert monitor.outdated()
        assert not monitor.outdated()


async def test_after_its_end_nothing_is_called(stage: Stage) -> None:
    """A server that the Hub stops itself is no news."""
    watcher, monitor, ended, _ = stage
    monitor.end()
    await asyncio.sleep(0)
    watcher.die(stop_requested=False)
    for _ in range(5):
        await asyncio.sleep(0)
    assert ended.empty()


async def test_a_failing_callback_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """An error in what the Hub does about it must not vanish."""
    told = asyncio.Event()

    async def fail(*_: object) -> None:
        told.set()
        raise RuntimeError("hub broke")

    watcher: Any = StandIn()
    ServerMonitor(watcher, "id", fail, fail)
    watcher.die(stop_requested=False)
    await asyncio.wait_for(told.wait(), 30)
    while "Watching a container failed" not in caplog.text:  # noqa: ASYNC110
        await asyncio.sleep(0)
