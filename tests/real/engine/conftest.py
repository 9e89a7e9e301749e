"""Tests of the Engine room, over the fake Engine and over a real one.

Environment:
    DOCKER_HOST and friends: the real Engine. When none answers, its tests fail: a run that tested
        nothing must not look like a pass.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import AsyncIterator, Iterator

import docker
import pytest
from docker.utils import kwargs_from_env
from support import loopguard
from support.engine.fixtures import *  # noqa: F403  (the fixtures)
from support.engine.watching import IMAGE
from support.engine.worlds import FakeWorld, RealWorld, World, connect
from support.fake_engine import FakeEngine

from dockernamed.backends.base import Things
from dockernamed.backends.containers import Containers
from dockernamed.backends.services import Services
from dockernamed.engine.client import Engine
from dockernamed.engine.swarm import Swarm
from dockernamed.timings import Timings


@pytest.fixture(autouse=True)
def _loop_never_blocked() -> Iterator[None]:
    """Fail a test in which dockernamed blocks the event loop."""
    with loopguard.never_blocked():
        yield


@pytest.fixture
def fake() -> Iterator[FakeEngine]:
    """A fake Engine."""
    with FakeEngine() as fake:
        yield fake


@pytest.fixture
async def prompt(fake: FakeEngine) -> AsyncIterator[Engine]:
    """Our way to the fake Engine, which has an image; it repeats calls without a pause."""
    fake.add_image(IMAGE)
    engine = connect(fake.url, timeout=30.0, timings=Timings(repeat_after=(0, 0)))
    yield engine
    await engine.close()


@pytest.fixture
async def impatient(fake: FakeEngine) -> AsyncIterator[Engine]:
    """The same with a deadline that stalls exceed; it need not ask for the Engine's version."""
    fake.add_image(IMAGE)
    engine = connect(fake.url, timeout=1.0, version="1.41")
    yield engine
    fake.well_again()
    await engine.close()


@pytest.fixture(scope="module")
def real_world() -> Iterator[RealWorld]:
    """The real Engine; fails when a module leaves anything of its own there."""
    settings = kwargs_from_env()
    url = str(settings.get("base_url", "unix:///var/run/docker.sock"))
    client = docker.APIClient(timeout=60, **settings)
    try:
        client.ping()
    except Exception as error:
        client.close()
        pytest.fail(f"no Docker Engine answers at {url}: {error}", pytrace=False)
    run = os.environ.get("DOCKERNAMED_TEST_RUN", "dockernamed-test")
    world = RealWorld(client, url, f"{run}-e{secrets.token_hex(3)}")
    yield world
    left = world.leftovers()
    client.close()
    assert not left, f"left behind: {left}"


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> World:
    """Each kind of Engine in turn."""
    if request.param == "fake":
        return FakeWorld(request.getfixturevalue("fake"), f"fake-{secrets.token_hex(3)}")
    found: World = request.getfixturevalue("real_world")
    return found


@pytest.fixture(params=["containers", "services"])
async def things(
    request: pytest.FixtureRequest, world: World, engine: Engine
) -> AsyncIterator[Things]:
    """Each backend in turn, over each Engine; real Swarms are in tests/swarm."""
    if request.param == "containers":
        yield Containers(engine)
        return
    if not isinstance(world, FakeWorld):
        pytest.skip("real Swarms are in tests/swarm")
    request.getfixturevalue("fake").init_swarm(3)
    services = Services(engine, Swarm(engine))
    yield services
    await services.close()


@pytest.fixture
def overlay(things: Things) -> bool:
    """Whether networks are those of a Swarm."""
    return isinstance(things, Services)
