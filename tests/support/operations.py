"""What is done to a server in its life, and what the Engine is asked on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from dockernamed import naming
from support.fake_engine import Behaviour, FakeEngine
from support.stage import (
    ARCHIVE,
    CREATE,
    EVENTS,
    IMAGE,
    INSPECT,
    KILL,
    LIST,
    LOGS,
    REMOVE,
    START,
    STOP,
    VOLUME_CREATE,
    VOLUME_INSPECT,
    VOLUME_LIST,
    VOLUME_REMOVE,
    eventually,
)
from support.stub_hub import Hub, names_of, runtime_of

SERVER = "exp-1"
VERSION = ("GET", "/version")
NETWORK = ("GET", "/networks/[^/]+")
INFO = ("GET", "/info")
IMAGE_INSPECT = ("GET", "/images/.*/json")
LOOK_INSIDE = ("HEAD", "/containers/[^/]+/archive")

Call = tuple[str, str]
Step = Callable[[Hub, FakeEngine], Awaitable[Any]]

# --- how it begins -----------------------------------------------------------------------------


async def nothing(hub: Hub, fake: FakeEngine) -> None:
    """No server has run yet."""


async def ran(hub: Hub, fake: FakeEngine) -> None:
    """The server ran before, and has a volume from then."""
    await hub.spawn(SERVER)
    await hub.stop(SERVER)


async def runs(hub: Hub, fake: FakeEngine) -> None:
    """The server runs."""
    await hub.spawn(SERVER)


async def dies(hub: Hub, fake: FakeEngine) -> None:
    """The server never ran, and will die at its start; another has run."""
    await hub.spawn("another")
    await hub.stop("another")
    fake.behave(Behaviour(exit_code=3, log="oh no\n"))


async def has_strange_neighbour(hub: Hub, fake: FakeEngine) -> None:
    """Somebody else's container has the name."""
    spawner = hub.spawner(SERVER)
    engine = runtime_of(spawner).engine
    await engine.create_container(names_of(spawner)[0], {"Image": IMAGE})


async def has_twin(hub: Hub, fake: FakeEngine) -> None:
    """A container of an earlier start runs, that the Hub does not know of."""
    spawner = hub.spawner(SERVER)
    rooms = runtime_of(spawner)
    labels = {**naming.labels(spawner.key), naming.LABEL_CONTAINER: "twin"}
    body = {"Image": IMAGE, "Labels": labels}
    await rooms.engine.start_container(await rooms.engine.create_container("twin", body))
    await eventually(lambda: len(rooms.watcher.records()) == 1)


async def has_unknown_twin(hub: Hub, fake: FakeEngine) -> None:
    """The same under the server's own name, and the watcher has not heard of it."""
    spawner = hub.spawner(SERVER)
    rooms = runtime_of(spawner)
    await asyncio.wait_for(rooms.watcher.in_sync(), 30)
    fake.lose_events()
    name = names_of(spawner)[0]
    labels = {**naming.labels(spawner.key), naming.LABEL_CONTAINER: name}
    await rooms.engine.create_container(name, {"Image": IMAGE, "Labels": labels})
    fake.lose_events(False)


# --- what is done ------------------------------------------------------------------------------


async def start(hub: Hub, fake: FakeEngine) -> None:
    """Start it."""
    await hub.spawn(SERVER)


async def stop(hub: Hub, fake: FakeEngine) -> None:
    """Stop it."""
    await hub.stop(SERVER)


async def stop_now(hub: Hub, fake: FakeEngine) -> None:
    """Stop it without grace."""
    spawner = hub.spawner(SERVER)
    await spawner.stop(now=True)
    await hub.stop(SERVER)


async def delete(hub: Hub, fake: FakeEngine) -> None:
    """Delete it for good."""
    await hub.delete(SERVER)


async def come_up(hub: Hub, fake: FakeEngine) -> None:
    """The Hub comes up again and looks whether the server runs."""
    await hub.restart()
    assert await hub.spawner(SERVER).poll() is None


async def get_url(hub: Hub, fake: FakeEngine) -> None:
    """The Hub asks where the server is."""
    spawner = hub.spawner(SERVER)
    assert spawner.server.url.startswith(await spawner.get_url())


# --- all of it ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Operation:
    """One thing that is done to a server.

    Attributes:
        name: of it.
        before: brings about what it begins with.
        do: the thing itself.
        calls: of all that the Engine is asked on the way, where faults strike.
        leaves: state of the server afterwards: "running", "stopped", "deleted"; "failed" for a
            start that can never succeed.
        settings: of the spawner.
        also: calls that it makes too, and that have been struck in another operation.
    """

    name: str
    before: Step
    do: Step
    calls: tuple[Call, ...]
    leaves: str
    settings: dict[str, Any] = field(default_factory=dict)
    also: tuple[Call, ...] = ()


FIRST = (VERSION, EVENTS, LIST, INFO, NETWORK, VOLUME_LIST, IMAGE_INSPECT, LOOK_INSIDE)
NEW = (VOLUME_CREATE, CREATE, ARCHIVE, START, INSPECT)
KEPT = {"remove": False}
OPERATIONS = (
    Operation("first start", nothing, start, (*FIRST, *NEW), "running"),
    Operation("later start", ran, start, NEW, "running", also=FIRST),
    Operation("start of a container to keep", nothing, start, (LOOK_INSIDE, START), "running",
              KEPT, also=(*FIRST, *NEW)),
    Operation("start of a kept container", ran, start, (VOLUME_CREATE, ARCHIVE, START, INSPECT),
              "running", KEPT, also=FIRST),
    Operation("start beside a stranger", has_strange_neighbour, start, (CREATE, INSPECT),
              "running", also=(*FIRST, *NEW)),
    Operation("start over a twin", has_twin, start, (REMOVE,), "running", also=(*FIRST, *NEW)),
    Operation("start over an unknown twin", has_unknown_twin, start, (CREATE, INSPECT, REMOVE),
              "running", also=(*FIRST, *NEW)),
    Operation("start that dies", dies, start,
              (INSPECT, LOGS, REMOVE, VOLUME_INSPECT, VOLUME_REMOVE), "failed",
              also=(*FIRST, *NEW)),
    Operation("stop", runs, stop, (STOP, REMOVE), "stopped"),
    Operation("stop now", runs, stop_now, (KILL, REMOVE), "stopped"),
    Operation("stop and keep", runs, stop, (STOP,), "stopped", KEPT),
    Operation("delete", ran, delete, (REMOVE, VOLUME_LIST, VOLUME_REMOVE), "deleted", KEPT),
    Operation("Hub start", runs, come_up, (VERSION, EVENTS, LIST), "running"),
    Operation("get_url", runs, get_url, (INSPECT,), "running"),
)  # fmt: skip
