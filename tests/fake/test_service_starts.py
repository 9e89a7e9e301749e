"""Who watches a Swarm's services is told which start a service is at, before its tasks are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from support.engine.watching import eventually
from support.fake_engine import FakeEngine, FakeSwarm
from support.stage import IMAGE, KEY, QUICK

from dockernamed.backends.nodes import Nobody
from dockernamed.backends.services import Services
from dockernamed.desired.environment import Environment
from dockernamed.desired.spec import ServerSpec
from dockernamed.engine.client import Connection, Engine
from dockernamed.engine.swarm import Swarm


class Listener(Nobody):
    """Keeps what it is told, each time with the number that the Swarm has at that moment."""

    def __init__(self, swarm: FakeSwarm) -> None:
        self._swarm = swarm
        self.told: list[tuple[int, int]] = []

    def note_start(self, id: str, number: int) -> None:
        """See `Watch.note_start`."""
        (spec,) = (one["Spec"] for one in self._swarm.services.values() if one["ID"] == id)
        self.told.append((number, spec["TaskTemplate"]["ForceUpdate"]))


@asynccontextmanager
async def listened_to(fake: FakeEngine, listener: Listener) -> AsyncIterator[Services]:
    """A backend of which somebody is told."""
    engine = Engine(Connection(fake.url, timeout=30.0), timings=QUICK)
    services = Services(engine, Swarm(engine), timings=QUICK, watch=listener)
    try:
        yield services
    finally:
        await services.close()
        await engine.close()


async def test_each_start_has_its_number(fake: FakeEngine) -> None:
    """The first and the next one; and where it runs by now, the one that it runs by."""
    swarm = fake.init_swarm(3)
    listener = Listener(swarm)
    async with listened_to(fake, listener) as services:
        id = await services.create("s", ServerSpec(KEY, ("s",), IMAGE), Environment(), "s")
        await services.start(id)
        await eventually(lambda: swarm.states == ["running"])
        await services.start(id)
        await services.stop(id, 1)
        await services.start(id)
    assert listener.told == [(1, 0), (1, 1), (2, 1)]


async def test_a_start_that_somebody_else_overtakes(fake: FakeEngine) -> None:
    """The number is told again, of the start that it comes to be."""
    swarm = fake.init_swarm(3)
    listener = Listener(swarm)
    async with listened_to(fake, listener) as services:
        id = await services.create("s", ServerSpec(KEY, ("s",), IMAGE), Environment(), "s")
        fault = fake.fault("stall", "POST", f"/services/{id}/update", times=1)
        starting = asyncio.ensure_future(services.start(id))
        assert await asyncio.to_thread(fault.reached.wait, 30)
        async with listened_to(fake, Listener(swarm)) as another:
            await another.start(id)
        fault.release()
        await starting
    assert listener.told == [(1, 0), (2, 1)]
