"""What the tests of the watcher share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from dockernamed.backends.watcher import ObservedContainer, State, Watcher
from dockernamed.engine.client import Engine
from dockernamed.timings import Timings
from support.fake_engine import FakeEngine

HUB = "hub-1"
LABELS = {"dockernamed.hub": HUB, "dockernamed.user": "ann", "dockernamed.server": "x"}
IMAGE = "lab:latest"


@asynccontextmanager
async def watching(engine: Engine, hub: str = HUB, **timings: Any) -> AsyncIterator[Watcher]:
    """A watcher in sync, that takes up lost streams at once, and nothing else in good time."""
    quick = Timings(confirm=600, resync=600, reconnect=0.001, reconnect_at_most=0.01)
    watcher = Watcher(engine, hub, replace(quick, **timings))
    watcher.start()
    try:
        await asyncio.wait_for(watcher.in_sync(), 30)
        yield watcher
    finally:
        await watcher.close()


async def create(engine: Engine, name: str = "c1", labels: Mapping[str, str] | None = None) -> str:
    """A container with our labels, and others in their place."""
    config = {"Image": IMAGE, "Labels": {**LABELS, **(labels or {})}}
    return await engine.create_container(name, config)


async def run(
    engine: Engine,
    name: str = "c1",
    watcher: Watcher | None = None,
    labels: Mapping[str, str] | None = None,
) -> str:
    """The same, started; a watcher, if given, has heard of it."""
    id = await create(engine, name, labels)
    await engine.start_container(id)
    if watcher is not None:
        await eventually(lambda: (one := watcher.get(id)) and one.state is not State.CREATED)
    return id


async def eventually(condition: Callable[[], object]) -> None:
    """Wait until something is true."""

    async def wait() -> None:
        while not condition():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), 30)


async def dead(watcher: Watcher, id: str) -> ObservedContainer:
    """How it ended, soon."""
    return await asyncio.wait_for(watcher.wait_dead(id), 30)


async def heard(fake: FakeEngine, watcher: Watcher) -> None:
    """Wait until the watcher has heard of all that the Engine has told so far."""
    told = asyncio.Event()
    stop = watcher.on_image_event(
        lambda event: told.set() if event and event["Actor"]["ID"] == "marker" else None
    )
    fake.emit("image", "tag", "marker", {})
    await asyncio.wait_for(told.wait(), 30)
    stop()
