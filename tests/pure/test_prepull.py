"""Images pulled ahead at the Hub's start."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter

import pytest

from dockernamed.errors import EngineUnavailable, ImageMissing, PullFailed
from dockernamed.images.prepull import AT_ONCE, prepull

LOG = logging.getLogger("prepull")
PAUSES = (0.0, 0.0)


class Engine:
    """Pulls, as far as the test lets it; also says whether it is there, as a watcher does."""

    def __init__(self) -> None:
        self.there, self.free = asyncio.Event(), asyncio.Event()
        self.there.set()
        self.free.set()
        self.failures: dict[str, list[Exception]] = {}
        self.pulls: Counter[str] = Counter()
        self.now = self.most = 0

    async def in_sync(self) -> None:
        await self.there.wait()

    async def pull(self, image: str) -> None:
        self.pulls[image] += 1
        self.now += 1
        self.most = max(self.most, self.now)
        await self.free.wait()
        self.now -= 1
        if self.failures.get(image):
            raise self.failures[image].pop()


async def test_a_few_at_a_time() -> None:
    """All images, but never so many at once that nobody else gets a turn."""
    engine = Engine()
    engine.free.clear()
    task = asyncio.ensure_future(prepull(list("abcde"), engine.pull, engine, LOG))  # type: ignore[arg-type]
    while engine.now < AT_ONCE:  # noqa: ASYNC110  what is waited for has no event
        await asyncio.sleep(0)
    assert sum(engine.pulls.values()) == AT_ONCE
    engine.free.set()
    await asyncio.wait_for(task, 30)
    assert engine.pulls == Counter("abcde")
    assert engine.most == AT_ONCE


@pytest.mark.parametrize("error", [PullFailed("a", "no route"), EngineUnavailable("pull", "gone")])
async def test_what_failed_is_tried_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """The registry or the Engine may be there a while later."""
    engine = Engine()
    engine.failures["a"] = [error]
    await asyncio.wait_for(prepull(["a", "b"], engine.pull, engine, LOG, PAUSES), 30)  # type: ignore[arg-type]
    assert engine.pulls == {"a": 2, "b": 1}
    assert "will try again" in caplog.text
    assert "given up" not in caplog.text


async def test_not_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """An image that nobody has is told in the log, in the registry's words."""
    engine = Engine()
    engine.failures["a"] = [PullFailed("a", "manifest unknown")] * 5
    await asyncio.wait_for(prepull(["a"], engine.pull, engine, LOG, PAUSES), 30)  # type: ignore[arg-type]
    assert engine.pulls == {"a": len(PAUSES) + 1}
    assert "manifest unknown" in caplog.text
    assert "given up" in caplog.text


@pytest.mark.parametrize("error", [ImageMissing("a", "pull_policy"), ValueError("a callable's")])
async def test_what_will_not_change_is_not_tried_again(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """A policy and an admin's mistake stay what they are; the other images are pulled."""
    engine = Engine()
    engine.failures["a"] = [error]
    await asyncio.wait_for(prepull(["a", "b"], engine.pull, engine, LOG, PAUSES), 30)  # type: ignore[arg-type]
    assert engine.pulls == {"a": 1, "b": 1}
    assert "given up" in caplog.text


async def test_an_engine_that_comes_later() -> None:
    """A Hub that starts before its Engine pulls when that is there."""
    engine = Engine()
    engine.there.clear()
    task = asyncio.ensure_future(prepull(["a"], engine.pull, engine, LOG))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert not engine.pulls
    engine.there.set()
    await asyncio.wait_for(task, 30)
    assert engine.pulls == {"a": 1}
