"""The rooms below the spawner, set up on a fake Engine, and what tests ask of them."""

from __future__ import annotations

import asyncio
import io
import logging
import tarfile
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientResponse, web

from dockernamed import naming
from dockernamed.backends.base import AskForHub, ServerRef, StartRequest, Things, nobody_else
from dockernamed.backends.containers import Containers
from dockernamed.backends.executor import Executor
from dockernamed.backends.watcher import Watcher
from dockernamed.desired.environment import Environment, split
from dockernamed.desired.mounts import Mount
from dockernamed.desired.private import PrivateFile
from dockernamed.desired.spec import ServerSpec
from dockernamed.engine.call import Call
from dockernamed.engine.caller import close_answer
from dockernamed.engine.client import Connection, Engine
from dockernamed.engine.transport import Transport
from dockernamed.errors import EngineTimeout
from dockernamed.timeouts import ended
from dockernamed.timings import DEFAULT, Timings
from support.engine.watching import eventually
from support.fake_engine import Container, FakeEngine, Fault
from support.fake_engine.faults import Handler

IMAGE = "lab:latest"
HUB = "hub-1"
KEY = naming.Key(HUB, "ann", "exp-1")
SERVER = ServerRef(KEY)
NAMES = ("lab-ann--exp-1", f"lab-ann--exp-1--{HUB}")
VOLUME = "files-ann"
OWNER = naming.labels(KEY)
MOUNT = Mount("volume", VOLUME, "/work", labels=OWNER)
ENV = split({"JUPYTERHUB_API_TOKEN": "t", "LANG": "C"})
SPEC = ServerSpec(KEY, NAMES, IMAGE, mounts=(MOUNT,), publish_ip="127.0.0.1")

#: Pauses before something is tried again, which go on until a slow machine is done.
AGAIN = (0.001, 0.01, 0.05, 0.1, 0.3, *30 * (1.0,))
#: What is tried again is tried again soon. What ends by itself is waited for, on any machine, and
#: no server is given up meanwhile: tests in which it does not end are impatient themselves.
QUICK = Timings(
    no_node=600.0,
    note_node=0.0,
    repeat_after=(0.001, 0.01),
    reconnect=0.001,
    reconnect_at_most=0.02,
    # What no event has told is not told by another list in the middle of a test.
    confirm=3600.0,
    retry_after=(0.001, 0.01, 0.05, 0.1),
    engine_first_seen=60.0,
    other_hub=30.0,
    first_words=30.0,
    probe_answer=30.0,
    look_at_homes=30.0,
    list_images=30.0,
    network_exists=30.0,
    cancelled_start=30.0,
    failed_start=30.0,
    news_of_end=30.0,
    tasks_told=30.0,
    empty_volume_at_once=30.0,
    look_at_task=0.005,
    look_at_task_at_most=0.05,
    volume_free=AGAIN,
    network_free=AGAIN,
)
#: The end of a start is told as soon as the package does, though nothing can be taken back yet.
TOLD_SOON = replace(
    QUICK, cancelled_start=DEFAULT.cancelled_start, failed_start=DEFAULT.failed_start
)

CREATE = ("POST", "/containers/create")
START = ("POST", "/containers/[^/]+/start")
STOP = ("POST", "/containers/[^/]+/stop")
KILL = ("POST", "/containers/[^/]+/kill")
INSPECT = ("GET", "/containers/[^/]+/json")
LOGS = ("GET", "/containers/[^/]+/logs")
ARCHIVE = ("PUT", "/containers/[^/]+/archive")
REMOVE = ("DELETE", "/containers/[^/]+")
LIST = ("GET", "/containers/json")
EVENTS = ("GET", "/events")
VOLUME_CREATE = ("POST", "/volumes/create")
VOLUME_INSPECT = ("GET", "/volumes/[^/]+")
VOLUME_REMOVE = ("DELETE", "/volumes/[^/]+")
VOLUME_LIST = ("GET", "/volumes")
NETWORK = ("GET", "/networks/[^/]+")
NETWORK_LIST = ("GET", "/networks")
NETWORK_CREATE = ("POST", "/networks/create")
NETWORK_REMOVE = ("DELETE", "/networks/[^/]+")

SERVICE_CREATE = ("POST", "/services/create")
SERVICE_UPDATE = ("POST", "/services/[^/]+/update")
SERVICE_INSPECT = ("GET", "/services/[^/]+")
SERVICE_REMOVE = ("DELETE", "/services/[^/]+")
SERVICE_LIST = ("GET", "/services")
TASK_LIST = ("GET", "/tasks")
TASK_LOGS = ("GET", "/tasks/[^/]+/logs")
NODE_LIST = ("GET", "/nodes")
SECRET_CREATE = ("POST", "/secrets/create")
SECRET_LIST = ("GET", "/secrets")
SECRET_REMOVE = ("DELETE", "/secrets/[^/]+")
CONFIG_CREATE = ("POST", "/configs/create")
CONFIG_UPDATE = ("POST", "/configs/[^/]+/update")
CONFIG_INSPECT = ("GET", "/configs/[^/]+")
CONFIG_LIST = ("GET", "/configs")
CONFIG_REMOVE = ("DELETE", "/configs/[^/]+")


class Late(Fault):
    """A call that is done when released, also when the client has hung up long before.

    A plain stall ends with its client, as the Engine itself treats some calls, but not all.
    """

    _work: asyncio.Task[web.StreamResponse] | None = None

    @property
    def done(self) -> bool:
        """It was made, and is over."""
        return self._work is not None and self._work.done()

    async def strike(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """See `Fault`."""
        self.hits += 1
        self._loop = asyncio.get_running_loop()
        self._work = asyncio.ensure_future(self._do_late(request, handler))
        return await asyncio.shield(self._work)

    async def _do_late(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        await request.read()
        self.reached.set()
        await self._until_released()
        return await handler(request)


def late(fake: FakeEngine, method: str, path: str) -> Late:
    """Have the next such call done when released, whoever waits for it by then."""
    fault = Late("stall", method, path)
    fake.gate.faults.append(fault)
    return fault


class Stage:
    """Engine, watcher and backend of one Hub; an async context manager."""

    def __init__(self, fake: FakeEngine, hub: str = HUB, timings: Timings = QUICK) -> None:
        self.fake = fake
        self.engine = Engine(Connection(fake.url, timeout=30.0), timings=timings)
        self.watcher = Watcher(self.engine, hub, timings)
        self.things: Things = Containers(self.engine)
        self.backend = self.executor(timings)

    async def __aenter__(self) -> Stage:
        self.watcher.start()
        await asyncio.wait_for(self.watcher.in_sync(), 30)
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.fake.well_again()
        await self.watcher.close()
        await self.engine.close()

    def executor(
        self,
        timings: Timings = QUICK,
        things: Things | None = None,
        another_hub_at: AskForHub = nobody_else,
    ) -> Executor:
        """One of another pace, over other things or beside other Hubs; the watcher is the same."""
        log = logging.getLogger("stage")
        return Executor(things or self.things, self.watcher, log, timings, another_hub_at)

    async def start(
        self,
        spec: ServerSpec = SPEC,
        *,
        keep: bool = False,
        env: Environment = ENV,
        files: Mapping[str, bytes] | None = None,
        until_ready: Callable[[str], Awaitable[str]] | None = None,
        on_note: Callable[[str], None] | None = None,
        **request: Any,
    ) -> str:
        """Start a server; ready at once. Returns the container's id."""
        if keep:
            spec = replace(spec, process=("/bin/server",), keep=True)
        if files:
            spec = replace(spec, files=tuple(sorted(files)))
            request["files"] = {path: PrivateFile(content) for path, content in files.items()}
        owners = {mount.source: mount.labels for mount in spec.mounts if mount.kind == "volume"}
        more = {"volume_owners": owners, **request}
        wanted = StartRequest(ServerRef(spec.key), spec, env, **more)
        return await self.backend.start(wanted, until_ready=until_ready or ready, on_note=on_note)

    async def stop(self, *, grace: float = 1.0, keep: bool = False) -> None:
        """Stop the server."""
        await self.backend.stop(SERVER, grace=grace, keep=keep)

    async def stranger(self, name: str, labels: Mapping[str, str] | None = None) -> str:
        """A running container that this Hub's watcher may or may not take for its own."""
        body = {"Image": IMAGE, "Labels": dict(labels or {})}
        container_id = await self.engine.create_container(name, body)
        await self.engine.start_container(container_id)
        return container_id

    async def twin(self, name: str, key: naming.Key = KEY, api_url: str = "") -> str:
        """A running container of a server that somebody made as this Hub does.

        Args:
            name: of the container.
            key: whose.
            api_url: where its Hub is.
        """
        marks = {naming.LABEL_CONTAINER: name, naming.LABEL_API_URL: api_url}
        return await self.stranger(name, {**naming.labels(key), **marks})

    async def volume(self, name: str = VOLUME, labels: Mapping[str, str] | None = None) -> None:
        """A volume that is there already."""
        await self.engine.create_volume(name, labels=labels)


async def ready(container_id: str) -> str:
    """For ``until_ready``: it is."""
    return container_id


def failing(error: BaseException) -> Callable[[str], Awaitable[str]]:
    """For ``until_ready``: it never will be."""

    async def fail(container_id: str) -> str:
        raise error

    return fail


def names(fake: FakeEngine) -> list[str]:
    """Of all containers."""
    return sorted(one.name for one in fake.containers)


def running(fake: FakeEngine) -> list[Container]:
    """The containers that run."""
    return [one for one in fake.containers if one.running]


def contents(container: Container) -> dict[str, bytes]:
    """Path → content of the files that were put into a container; the last of each path counts.

    Links are followed.
    """
    found: dict[str, bytes] = {}
    for base, data in container.archives or ():
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for entry in archive:
                path = f"{base.rstrip('/')}/{entry.name}"
                if entry.issym():
                    found[path] = found[entry.linkname]
                elif entry.isfile():
                    found[path] = archive.extractfile(entry).read()  # type: ignore[union-attr]
    return found


async def reached(fault: Fault) -> None:
    """Wait until a request meets the fault."""
    assert await asyncio.to_thread(fault.reached.wait, 30)


async def cancelled(work: Coroutine[Any, Any, Any], stalled: Fault) -> None:
    """Cancel some work in the middle of a call, which then goes on to its end."""
    task = asyncio.ensure_future(work)
    await reached(stalled)
    task.cancel()
    await asyncio.sleep(0)
    stalled.release()
    with pytest.raises(asyncio.CancelledError):
        await task


def give_up_soon(
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    done: Callable[[], object] = lambda: True,
) -> None:
    """Have the deadline of the request that a fault stalls be over as soon as it has struck.

    Args:
        monkeypatch: of the test.
        fault: which.
        done: what the Engine must have done by then.
    """
    # Each request, also that for the API's version, which others wait for.
    send = Transport._send

    async def impatient(transport: Transport, call: Call, prefix: str) -> ClientResponse:
        endless = call.timeout is None
        if endless or fault.passing or not fault.matches(call.method, call.path):
            return await send(transport, call, prefix)
        asking = asyncio.ensure_future(send(transport, call, prefix))
        try:
            await reached(fault)
            await eventually(done)
            await asyncio.wait({asking}, timeout=0.02)
            if asking.done():
                return asking.result()
        finally:
            if not asking.done():
                asking.add_done_callback(close_answer)
                await ended(asking)
        raise EngineTimeout(call.action, "no answer in time")

    monkeypatch.setattr(Transport, "_send", impatient)
