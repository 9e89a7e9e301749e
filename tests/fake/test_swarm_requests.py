"""What a manager of a Swarm is asked at starts and stops, request by request.

Looks at tasks are left out: how many there are depends on how long a task takes to begin or end,
and one look is for all services that begin.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from support.driving import MakeHub
from support.engine.watching import eventually
from support.fake_engine import FakeEngine
from support.stage import QUICK
from support.stub_hub import Hub, all_noted, runtime_of

#: What a start is asked for besides, where its volume is new.
NEW_VOLUME = [
    "GET /configs/NAME",  # is there such a volume
    "GET /volumes/NAME",  # or on the manager, from a time before the Swarm
    "POST /configs/create",
]
#: A service claims the volume, and avoids nodes where files of an earlier one are still to go.
CLAIM = ["GET /configs/NAME", "POST /configs/ID/update", "GET /configs"]
#: Where it came to be, once that is known: nobody waits for that.
NOTE = ["GET /configs/NAME", "POST /configs/ID/update"]
#: Asked for now and then, whatever is started.
OTHERS = ("/tasks", "/images/", "/info", "/version", "/events")
CREATE = ["POST /services/create", "POST /secrets/create"]
RUN = ["GET /services/ID", "POST /services/ID/update"]
STOP = ["GET /services/ID", "POST /services/ID/update", "DELETE /secrets/NAME"]


class Counted:
    """A Hub whose servers are in one network that was there before, and what it asks for."""

    def __init__(self, hub: Hub, fake: FakeEngine) -> None:
        self.hub, self.fake = hub, fake

    async def asked(self, work: Awaitable[Any]) -> list[str]:
        """What something asks for, and what follows it by itself.

        A service that the Swarm itself has changed meanwhile is read and updated again: once here.
        """
        done = len(self.fake.requests)
        await work
        await eventually(all_noted)
        asked = [one for one in self.fake.requests[done:] if not one[1].startswith(OTHERS)]
        text = "\n".join(f"{method} {_anonymous(path)}" for method, path in asked)
        once = "\n".join(RUN)
        while f"{once}\n{once}" in text:
            text = text.replace(f"{once}\n{once}", once)
        return text.splitlines()


def _anonymous(path: str) -> str:
    path = re.sub(r"^/((?:configs|secrets)/dockernamed-|volumes/)[^/]+", r"/\1NAME", path)
    path = path.replace("dockernamed-NAME", "NAME")
    return re.sub(r"/[a-z0-9]{25}(?=/|$)", "/ID", path)


@pytest.fixture
def counted(make_hub: MakeHub, fake: FakeEngine) -> Callable[..., Awaitable[Counted]]:
    """Makes Hubs that have started a server before."""

    async def make(**settings: Any) -> Counted:
        fake.init_swarm(2)
        # No service is looked at that is heard of before the Hub is told that it was made.
        timings = replace(QUICK, ended_tasks=600)
        made = make_hub(swarm=True, network_name="servers", timings=timings, **settings)
        await runtime_of(made.spawner("warm")).engine.create_network(
            "servers", {"Driver": "overlay", "Attachable": True}
        )
        counted = Counted(made, fake)
        await counted.asked(made.spawn("warm"))
        return counted

    return make


async def test_a_volume_that_is_new(counted: Callable[..., Awaitable[Counted]]) -> None:
    """It is made and claimed; the next start looks at its record once, for where it is."""
    one = await counted()
    first = await one.asked(one.hub.spawn("exp-1"))
    assert first == [*NEW_VOLUME, *CREATE, *CLAIM, *RUN, *NOTE]
    assert await one.asked(one.hub.stop("exp-1")) == [*STOP, "DELETE /services/ID"]
    again = await one.asked(one.hub.spawn("exp-1"))
    assert again == [*CREATE, "GET /configs/NAME", *RUN]
    await one.hub.stop("exp-1")
    await one.hub.restart()
    await one.asked(one.hub.spawn("warm-2"))
    found = await one.asked(one.hub.spawn("exp-1"))
    assert found == ["GET /configs/NAME", *again]


async def test_no_volume(counted: Callable[..., Awaitable[Counted]]) -> None:
    """What its task is given, and the service, twice: it has an id before it runs."""
    one = await counted(server_volume="")
    assert await one.asked(one.hub.spawn("exp-1")) == [*CREATE, *RUN]
    assert await one.asked(one.hub.stop("exp-1")) == [*STOP, "DELETE /services/ID"]


async def test_no_secret(counted: Callable[..., Awaitable[Counted]]) -> None:
    """Where nothing is private, nothing is handed over."""
    one = await counted(server_volume="", private_tokens=False)
    assert await one.asked(one.hub.spawn("exp-1")) == [CREATE[0], *RUN]
    assert await one.asked(one.hub.stop("exp-1")) == [*STOP[:2], "DELETE /services/ID"]


async def test_a_kept_service(counted: Callable[..., Awaitable[Counted]]) -> None:
    """It is looked at, whether its networks are still there and what it is by now."""
    one = await counted(remove=False)
    await one.asked(one.hub.spawn("exp-1"))
    assert await one.asked(one.hub.stop("exp-1")) == STOP
    asked = await one.asked(one.hub.spawn("exp-1"))
    looks = ["GET /services/ID", "GET /networks/ID", "GET /services/ID"]
    assert asked == [*looks, "POST /secrets/create", "GET /configs/NAME", *RUN]


async def test_many_at_once(counted: Callable[..., Awaitable[Counted]]) -> None:
    """Each asks for as much as one alone, and the looks at their tasks are shared."""
    one = await counted(server_volume="", private_tokens=False)
    fake = one.fake
    done = len(fake.requests)
    await asyncio.gather(*(one.hub.spawn(f"many-{number}") for number in range(10)))
    asked = [_anonymous(path) for _, path in fake.requests[done:]]
    assert asked.count("/services/create") == asked.count("/services/ID/update") == 10
    # A new service changes by itself, so that some have to be read again.
    assert asked.count("/services/ID") <= 20
    assert asked.count("/tasks") < 50
