"""Fixtures of the tests over any world: a way to its Engine, and what is removed after a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from dockernamed.backends.base import Things
from dockernamed.engine.client import Engine
from support.engine.things import MakeNetwork, MakeThing, create_thing, network_of
from support.engine.worlds import Make, Program, World, connect

__all__ = ["engine", "make", "make_network", "make_thing"]


@pytest.fixture
async def engine(world: World) -> AsyncIterator[Engine]:
    """Our way to the Engine."""
    engine = connect(world.url)
    yield engine
    await engine.close()


@pytest.fixture
async def make_network(world: World, things: Things, overlay: bool) -> AsyncIterator[MakeNetwork]:
    """Makes networks that are removed after the test, and after what is in them."""
    made: list[str] = []

    async def create() -> str:
        name = world.name()
        made.append(await things.create_network(name, network_of(world, overlay=overlay)))
        return name

    yield create
    for id in made:
        await things.remove_network(id)


@pytest.fixture
async def make_thing(
    world: World, things: Things, make_network: MakeNetwork
) -> AsyncIterator[MakeThing]:
    """Makes things of a backend that are removed after the test."""
    made: list[str] = []

    async def create(program: Program | None = None, **more: Any) -> str:
        id = await create_thing(world, things, program, **more)
        made.append(id)
        return id

    yield create
    for id in made:
        await things.remove(id)


@pytest.fixture
async def make(world: World, engine: Engine, make_network: MakeNetwork) -> AsyncIterator[Make]:
    """Creates containers that are removed after the test."""
    made: list[str] = []

    async def create(program: Program | None = None, **more: Any) -> str:
        id = await world.create(engine, program, **more)
        made.append(id)
        return id

    yield create
    for id in made:
        await engine.remove_container(id, force=True)
