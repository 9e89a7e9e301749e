"""What every backend does, asked of services of a real Swarm; and what only these have to do."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from support.engine.contract import *  # noqa: F403  (the tests)
from support.engine.fixtures import *  # noqa: F403  (the fixtures)
from support.engine.worlds import RealWorld, World
from support.hub.waiting import eventually
from support.swarm import Swarm

from dockernamed import naming
from dockernamed.backends.base import Things
from dockernamed.backends.services import Services
from dockernamed.engine import swarm as calls
from dockernamed.engine.client import Engine


def left(swarm: Swarm, prefix: str) -> list[str]:
    """What a test has left, but for volumes, which no manager can remove; tasks take a moment."""
    client, hub = swarm.manager.client, f"{naming.LABEL_HUB}={prefix}"
    found = [one for one in swarm.leftovers(prefix) if not one.startswith("volume ")]
    found += [f"secret {one['ID']}" for one in client.secrets(filters={"label": hub})]
    return found + [f"config {one['ID']}" for one in client.configs(filters={"label": hub})]


@pytest.fixture
def world(swarm: Swarm, prefix: str) -> Iterator[World]:
    """The Swarm; fails where a test leaves anything there."""
    prefix = prefix.rstrip("-")
    yield RealWorld(swarm.manager.client, swarm.manager.url, prefix)
    try:
        eventually(lambda: left(swarm, prefix), lambda found: not found, what="nothing is left")
    finally:
        swarm.remove_all(prefix)


@pytest.fixture
async def things(engine: Engine) -> AsyncIterator[Things]:
    """The backend."""
    services = Services(engine, calls.Swarm(engine))
    yield services
    await services.close()


@pytest.fixture
def overlay() -> bool:
    """Networks are those of the Swarm."""
    return True
