"""A stop and a restart from outside look alike at first: which it was, over both Engines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import docker
import pytest
from support.engine.watching import IMAGE, LABELS, eventually, heard, run, watching
from support.engine.worlds import Make, Program, World, connect
from support.fake_engine import FakeEngine

from dockernamed.backends.observed import ObservedContainer
from dockernamed.backends.watcher import Watcher
from dockernamed.engine.client import Engine
from dockernamed.lifecycle.monitor import ServerMonitor
from dockernamed.timings import DEFAULT, Timings

#: News of a stop's end is waited for, however late.
PATIENT = Timings(stop_is_over=3600.0)


class Observer:
    """A monitor of one container, and what it tells."""

    def __init__(self, watcher: Watcher, id: str, timings: Timings = DEFAULT) -> None:
        self.moved = 0
        self.ends: asyncio.Queue[str] = asyncio.Queue()
        self.monitor = ServerMonitor(watcher, id, self._ended, self._moved, timings)

    async def _ended(self, record: ObservedContainer, how: str) -> None:
        self.ends.put_nowait(how)

    async def _moved(self) -> None:
        self.moved += 1


@asynccontextmanager
async def observed(
    engine: Engine, hub: str, id: str, timings: Timings = DEFAULT
) -> AsyncIterator[Observer]:
    """Somebody who watches a container that runs."""
    async with watching(engine, hub) as watcher:
        observer = Observer(watcher, id, timings)
        yield observer
        observer.monitor.end()


@pytest.fixture
async def id(make: Make, engine: Engine) -> str:
    """A container that runs, and ends when it is asked to."""
    id = await make(Program())
    await engine.start_container(id)
    return id


def restart(url: str, id: str) -> None:
    """``docker restart``; blocks."""
    client = docker.APIClient(base_url=url, timeout=60)
    try:
        client.restart(id, timeout=5)
    finally:
        client.close()


async def test_a_restart(world: World, engine: Engine, id: str) -> None:
    """It is no end, also where its start takes longer than the news of it is waited for."""
    if world.podman:
        pytest.skip("Podman does not always say beforehand that an end was asked for")
    async with observed(engine, world.prefix, id) as observer:
        await asyncio.to_thread(restart, world.url, id)
        await eventually(lambda: observer.moved == 1)
        assert observer.ends.empty()
        assert not observer.monitor.restarting


async def test_a_stop(world: World, engine: Engine, id: str) -> None:
    """It is told as soon as the Engine says that it is over, and that it is no restart."""
    async with observed(engine, world.prefix, id, PATIENT) as observer:
        await engine.stop_container(id, 5)
        how = await asyncio.wait_for(observer.ends.get(), 60)
        assert how == "was stopped from outside" or world.podman
        assert observer.moved == 0


async def test_a_stop_and_a_removal(fake: FakeEngine) -> None:
    """Who is removed before anything else is heard is not waited for."""
    fake.add_image(IMAGE)
    engine = connect(fake.url)
    async with watching(engine) as watcher:
        id = await run(engine, watcher=watcher)
        observer = Observer(watcher, id, PATIENT)
        fake.emit("container", "kill", id, {**LABELS, "signal": "15"})
        fake.die(id, 143)
        await heard(fake, watcher)
        assert observer.monitor.restarting
        fake.remove(id)
        assert await asyncio.wait_for(observer.ends.get(), 60) == "was stopped from outside"
    await engine.close()
