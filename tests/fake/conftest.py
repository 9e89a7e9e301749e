"""What the tests share that need an Engine: a fake one, and a Hub or its rooms before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from support import loopback, loopguard
from support.fake_engine import FakeEngine
from support.stage import IMAGE, Stage
from support.stub_hub import Hub, close_runtimes


@pytest.fixture(autouse=True)
def _only_loopback() -> Iterator[None]:
    """Fail a test that connects to anything beyond this machine."""
    with loopback.only():
        yield


@pytest.fixture(autouse=True)
def _loop_never_blocked() -> Iterator[None]:
    """Fail a test in which dockernamed blocks the event loop."""
    with loopguard.never_blocked():
        yield


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    """A fake Engine that has an image."""
    with FakeEngine() as fake:
        fake.add_image(IMAGE, {"WorkingDir": "/work"})
        yield fake
        fake.well_again()


@pytest.fixture
async def stage(fake: FakeEngine) -> AsyncIterator[Stage]:
    """The rooms below the spawner, on the fake Engine."""
    async with Stage(fake) as stage:
        yield stage


@pytest.fixture
async def make_hub(fake: FakeEngine) -> AsyncIterator[Callable[..., Hub]]:
    """Makes Hubs on the fake Engine; takes settings of DockerNamedSpawner."""
    hubs: list[Hub] = []

    def make(**settings: Any) -> Hub:
        hubs.append(Hub(fake.url, **settings))
        return hubs[-1]

    yield make
    fake.well_again()
    await close_runtimes()
    for hub in hubs:
        hub.close()


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    """A Hub with the default settings."""
    return make_hub()
