"""What is done to a server in its life, and what the Engine is asked on the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from dockernamed import naming
from dockernamed.engine.swarm import Swarm
from dockernamed.hub.ownership import servers_of
from dockernamed.lifecycle.orphans import OrphanReaper
from dockernamed.lifecycle.runtime import Runtime
from support.engine.watching import eventually
from support.fake_engine import Behaviour, FakeEngine
from support.stage import (
    ARCHIVE,
    CONFIG_CREATE,
    CONFIG_INSPECT,
    CONFIG_LIST,
    CONFIG_REMOVE,
    CONFIG_UPDATE,
    CREATE,
    EVENTS,
    IMAGE,
    INSPECT,
    KILL,
    LIST,
    LOGS,
    NETWORK,
    NETWORK_CREATE,
    NETWORK_LIST,
    NETWORK_REMOVE,
    NODE_LIST,
    QUICK,
    REMOVE,
    SECRET_CREATE,
    SECRET_LIST,
    SECRET_REMOVE,
    SERVICE_CREATE,
    SERVICE_INSPECT,
    SERVICE_LIST,
    SERVICE_REMOVE,
    SERVICE_UPDATE,
    START,
    STOP,
    TASK_LIST,
    TASK_LOGS,
    VOLUME_CREATE,
    VOLUME_INSPECT,
    VOLUME_LIST,
    VOLUME_REMOVE,
)
from support.stub_hub import LOG, Hub, all_noted, names_of, runtime_of

SERVER = "exp-1"
VERSION = ("GET", "/version")
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
    await runs(hub, fake)
    await hub.stop(SERVER)


async def runs(hub: Hub, fake: FakeEngine) -> None:
    """The server runs, and what is noted of its first run has been."""
    await hub.spawn(SERVER)
    await eventually(all_noted)


async def dies(hub: Hub, fake: FakeEngine) -> None:
    """The server never ran, and will die at its start; another has run."""
    await hub.spawn("another")
    await hub.stop("another")
    fake.behave(Behaviour(exit_code=3, log="oh no\n"))


async def has_strange_neighbour(hub: Hub, fake: FakeEngine) -> None:
    """Somebody else's container or service has the name."""
    spawner = hub.spawner(SERVER)
    await _make(runtime_of(spawner), names_of(spawner)[0], {}, running=False)


async def has_twin(hub: Hub, fake: FakeEngine) -> None:
    """One of an earlier start runs, that the Hub does not know of."""
    spawner = hub.spawner(SERVER)
    rooms = runtime_of(spawner)
    labels = {**naming.labels(spawner.key), naming.LABEL_CONTAINER: "twin"}
    await _make(rooms, "twin", labels, running=True)
    await eventually(lambda: [one.running for one in rooms.watcher.records()] == [True])


async def has_unknown_twin(hub: Hub, fake: FakeEngine) -> None:
    """The same under the server's own name, and the watcher has not heard of it."""
    spawner = hub.spawner(SERVER)
    rooms = runtime_of(spawner)
    await asyncio.wait_for(rooms.watcher.in_sync(), 30)
    fake.lose_events()
    name = names_of(spawner)[0]
    labels = {**naming.labels(spawner.key), naming.LABEL_CONTAINER: name}
    await _make(rooms, name, labels, running=False)
    fake.lose_events(False)


async def _make(rooms: Runtime, name: str, labels: Mapping[str, str], *, running: bool) -> None:
    """Have another container, or service, as somebody else makes one."""
    if rooms.swarm:
        task = {"ContainerSpec": {"Image": IMAGE}, "RestartPolicy": {"Condition": "none"}}
        mode = {"Replicated": {"Replicas": int(running)}}
        spec = {"Name": name, "Labels": dict(labels), "TaskTemplate": task, "Mode": mode}
        await Swarm(rooms.engine).create_service(spec)
        return
    id = await rooms.engine.create_container(name, {"Image": IMAGE, "Labels": dict(labels)})
    if running:
        await rooms.engine.start_container(id)


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


async def rename(hub: Hub, fake: FakeEngine) -> None:
    """Give it another name, and the first one again."""
    await hub.rename(SERVER, "other")
    await hub.rename("other", SERVER)


async def keep_house(hub: Hub, fake: FakeEngine) -> None:
    """Look for what nobody stands for, and take it away."""
    spawner = hub.spawner(SERVER)
    rooms = runtime_of(spawner)
    await asyncio.wait_for(rooms.watcher.in_sync(), 30)
    users = {user.id: user for user in hub.users.values()}
    keeper = OrphanReaper(
        spawner.key.hub, rooms.watcher, rooms.backend,
        lambda: servers_of(SimpleNamespace(db=hub.db, users=users)), keep=not spawner.remove,
        policy="remove", grace=0, stop_timeout=1, interval=0, log=LOG, timings=QUICK,
        networks=rooms.networks, hub_network=False,
    )  # fmt: skip
    await keeper.round()


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
        calls: of all that the Engine is asked on the way, where faults strike; what is listed for
            the second time stands for the second such call.
        leaves: state of the server afterwards: "running", "stopped", "deleted"; "failed" for a
            start that can never succeed.
        settings: of the spawner.
        also: calls that it makes too, and that have been struck in another operation.
        swarm: servers are services.
    """

    name: str
    before: Step
    do: Step
    calls: tuple[Call, ...]
    leaves: str
    settings: dict[str, Any] = field(default_factory=dict)
    also: tuple[Call, ...] = ()
    swarm: bool = False


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
    Operation("house-keeping", has_twin, keep_house, (NETWORK_LIST, STOP, REMOVE), "stopped",
              also=FIRST),
)  # fmt: skip

WATCHED = (VERSION, EVENTS, NODE_LIST, SERVICE_LIST, TASK_LIST)
NEW_SERVICE = (INFO, CONFIG_LIST, VOLUME_LIST, IMAGE_INSPECT, NETWORK, NETWORK_CREATE,
               CONFIG_INSPECT, VOLUME_INSPECT, CONFIG_CREATE, CONFIG_UPDATE, CONFIG_UPDATE,
               SERVICE_CREATE, SECRET_CREATE, SERVICE_INSPECT, SERVICE_UPDATE)  # fmt: skip
STARTED = (*WATCHED, *NEW_SERVICE)
ENDED = (TASK_LIST, SERVICE_INSPECT, SERVICE_UPDATE, SECRET_REMOVE, SERVICE_REMOVE, NETWORK,
         SERVICE_LIST, NETWORK_REMOVE)  # fmt: skip


def _of_services(name: str, *given: Any, **more: Any) -> Operation:
    return Operation(f"{name} (service)", *given, **{**more, "swarm": True})


SERVICE_OPERATIONS = (
    _of_services("first start", nothing, start, NEW_SERVICE, "running", also=WATCHED),
    _of_services("later start", ran, start, (), "running", also=STARTED),
    _of_services("start of a kept one", ran, start,
                 (SERVICE_INSPECT, SECRET_CREATE, SERVICE_INSPECT, SERVICE_UPDATE), "running",
                 settings=KEPT, also=STARTED),
    _of_services("start beside a stranger", has_strange_neighbour, start,
                 (SERVICE_CREATE, SERVICE_INSPECT), "running", also=STARTED),
    _of_services("start over a twin", has_twin, start, (SERVICE_REMOVE,), "running",
                 also=STARTED),
    _of_services("start over an unknown twin", has_unknown_twin, start,
                 (SERVICE_INSPECT, SERVICE_REMOVE), "running", also=STARTED),
    _of_services("start that dies", dies, start,
                 (TASK_LOGS, SERVICE_REMOVE, SECRET_REMOVE, CONFIG_REMOVE, NETWORK_REMOVE),
                 "failed", also=(*STARTED, VOLUME_REMOVE)),
    _of_services("stop", runs, stop, ENDED, "stopped"),
    _of_services("stop and keep", runs, stop, (SERVICE_UPDATE, SECRET_REMOVE), "stopped",
                 settings=KEPT, also=ENDED),
    _of_services("delete", ran, delete,
                 (SERVICE_REMOVE, CONFIG_LIST, CONFIG_INSPECT, CONFIG_UPDATE, VOLUME_REMOVE,
                  CONFIG_REMOVE), "deleted", settings=KEPT, also=(*ENDED, INFO, VOLUME_LIST)),
    _of_services("rename", ran, rename, (), "stopped", also=(NETWORK,)),
    _of_services("Hub start", runs, come_up, WATCHED, "running"),
    _of_services("get_url", runs, get_url, (), "running"),
    _of_services("house-keeping", has_twin, keep_house,
                 (NETWORK_LIST, SERVICE_UPDATE, SERVICE_REMOVE, SECRET_LIST), "stopped",
                 also=(*ENDED, CONFIG_LIST)),
)  # fmt: skip
