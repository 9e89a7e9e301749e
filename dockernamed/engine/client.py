"""The Docker Engine as awaitable calls: one method a call of its API.

Nothing here blocks the event loop, and slow calls never keep quick ones waiting:

- short calls (`Engine.inspect_container` and most others), ``workers`` at once;
- long calls (stop and remove), ``stops`` at once;
- pulls, ``pulls`` at once, and event streams, any number.

Failures are raised as subclasses of `EngineError`. Reads and removals of containers are repeated
when the connection breaks. Calls that create, start or stop something are never repeated: the
caller has to look at what became of them.

A call that is cancelled closes its connection at once. Whether the Engine still does the work is
up to the Engine, so a caller who needs to know the outcome shields the call.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import tarfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, TypeVar, overload

from ..errors import Conflict, EngineFailed, EngineTimeout, NotFound
from ..timeouts import retry, within
from ..timings import DEFAULT, Timings
from .archive import first_entry
from .call import Call, Tail, demultiplex, parse_items, parse_nothing, parse_object
from .caller import Caller, Convert, any_event, filters_of, quoted, whole
from .connection import Connection, account_credentials, encode_auth
from .transport import Transport

__all__ = ["Connection", "Engine"]

T = TypeVar("T")

#: Seconds between two looks at what somebody else removes.
GONE_S = 0.05
#: Bytes of a command's output that are kept: its end.
MAX_OUTPUT = 64 << 10
#: The kinds and the actions of events that are asked for. Everything else (exec, attach, top, …)
#: is left out by the Engine: health checks alone would make several events a second and container.
EVENT_KINDS = ("container", "image", "network")
EVENT_ACTIONS = (
    *("create", "start", "kill", "stop", "oom", "die", "destroy", "remove", "rename"),
    "died",  # Podman's name of "die" in filters, though not in its events
    *("pull", "tag", "untag", "delete", "import", "load"),
    *("connect", "disconnect"),
)


class Engine:
    """An Engine, for any number of callers at once; belongs to one event loop.

    Creating it connects to nothing; the API version is agreed on with the first call. All calls
    raise `EngineError`, and `ConfigError` when the connection's settings cannot work.

    Args:
        connection: where it is.
        workers: how many short calls may be under way at once; more wait in turn.
        stops: how many stops and removals may be under way at once.
        pulls: how many pulls may be under way at once.
        timings: how long making a connection may take, and the pauses before repetitions.

    Attributes:
        connection: where it is.
        timeout: seconds within which a short call must be answered.
        caller: makes the calls, for what else knows calls of this Engine.

    Raises:
        ConfigError: the connection's timeout is no number.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        workers: int = 16,
        stops: int = 64,
        pulls: int = 16,
        timings: Timings = DEFAULT,
    ) -> None:
        self.connection = connection
        self.timeout = connection.deadline
        self._transport = Transport(connection, timings.connect)
        self.caller = Caller(self._transport, self.timeout, workers, timings.repeat_after)
        self._slow, self._pulls = asyncio.Semaphore(stops), asyncio.Semaphore(pulls)

    @property
    def base_url(self) -> str:
        """Where the Engine is, ``unix://…`` or ``tcp://…``, as configured or by DOCKER_HOST."""
        return self.connection.url

    async def close(self) -> None:
        """Close all connections; calls under way and later ones raise `EngineUnavailable`."""
        await self._transport.close()

    # --- the Engine itself -----------------------------------------------------------------

    async def version(self) -> dict[str, Any]:
        """``GET /version``: among others ``Version``, ``ApiVersion`` and ``Components``."""
        return await self.caller.get("ask its version", "/version")

    async def api_version(self) -> str:
        """The version of the API in which calls are made, such as ``1.41``."""
        return await self._transport.api_version()

    async def info(self) -> dict[str, Any]:
        """``GET /info``: among others ``LoggingDriver`` and ``DiscoveredDevices``."""
        return await self.caller.get("ask about it", "/info")

    @asynccontextmanager
    async def events(
        self,
        keep: Callable[[dict[str, Any]], bool] = any_event,
        *,
        patience: float = DEFAULT.stream_opens,
    ) -> AsyncIterator[AsyncIterator[list[dict[str, Any]]]]:
        """Events of containers, images and networks from now on, as the Engine sends them.

        ``async with engine.events() as batches: async for batch in batches: …``. Each batch is a
        list with at least one event. However slow its reader, memory stays bounded.

        Args:
            keep: an event for which it returns False is dropped.
            patience: seconds to wait for the beginning of the answer, before the block is entered
                without it: some Engines send nothing until there is an event.

        Raises:
            EngineUnavailable: when the stream ends, in whatever way. It is never begun again.
        """
        filters = {"type": EVENT_KINDS, "event": EVENT_ACTIONS}
        async with self.caller.events(filters, keep, patience) as batches:
            yield batches

    # --- containers ------------------------------------------------------------------------

    async def create_container(self, name: str, config: Mapping[str, Any]) -> str:
        """Create a container and return its id.

        Args:
            name: without a slash.
            config: the Engine API's body; its key ``platform``, if any, goes into the query.

        Raises:
            NameTaken: another container has the name.
            NotFound: the image is not there.
            EngineTimeout, EngineUnavailable: it may have been created all the same.
        """
        body = {key: value for key, value in config.items() if key != "platform"}
        params = {"name": name, "platform": config.get("platform")}
        call = self.caller.call(
            f"create container {name}", "POST", "/containers/create", params, body
        )
        return await self.caller.create(call)

    async def start_container(self, id: str) -> None:
        """Start it; fine when it runs already."""
        await self.caller.do(
            f"start container {_short(id)}", "POST", f"/containers/{quoted(id)}/start"
        )

    async def stop_container(self, id: str, grace: float) -> None:
        """Stop it, and return once it has ended; fine when it had ended already.

        Args:
            id: or name.
            grace: seconds between the stop signal and SIGKILL, rounded up to a whole number.
        """
        action, path = f"stop container {_short(id)}", f"/containers/{quoted(id)}/stop"
        seconds = math.ceil(grace)
        call = Call(action, "POST", path, {"t": seconds}, timeout=seconds + self.timeout)
        parse_nothing(call, await self.caller.ask(call, self._slow))

    async def kill_container(self, id: str) -> None:
        """Send SIGKILL.

        Raises:
            Conflict: it does not run.
        """
        await self.caller.do(
            f"kill container {_short(id)}", "POST", f"/containers/{quoted(id)}/kill"
        )

    async def remove_container(self, id: str, *, force: bool = False, volumes: bool = True) -> None:
        """Remove it, and return once it is gone; fine when it was gone already.

        Args:
            id: or name.
            force: kill it first when it runs.
            volumes: remove its anonymous volumes too.

        Raises:
            Conflict: it runs, and ``force`` is False.
        """
        params = {"force": int(force), "v": int(volumes)}
        action, path = f"remove container {_short(id)}", f"/containers/{quoted(id)}"
        call = self.caller.call(action, "DELETE", path, params, repeat=True)
        try:
            parse_nothing(call, await self.caller.ask(call, self._slow))
        except NotFound:
            return
        except Conflict as error:
            if "in progress" not in error.message:
                raise
            await self._until_gone(id, error)

    async def inspect_container(self, id: str, *, anew: bool = False) -> dict[str, Any]:
        """All the Engine knows of a container, by id or name.

        Args:
            id: or name.
            anew: ask over a new connection, which an Engine that is ending does not take, and
                with patience: while an Engine starts, stops or restarts a container, it answers
                nothing about it.
        """
        action, path = f"inspect container {_short(id)}", f"/containers/{quoted(id)}/json"
        call = self.caller.call(action, "GET", path, repeat=True, anew=anew)
        return parse_object(call, await self.caller.ask(call, self._slow if anew else None))

    @overload
    async def list_containers(self, labels: Sequence[str]) -> list[dict[str, Any]]: ...
    @overload
    async def list_containers(self, labels: Sequence[str], convert: Convert[T]) -> list[T]: ...
    async def list_containers(
        self, labels: Sequence[str], convert: Convert[Any] = whole
    ) -> list[Any]:
        """Containers in any state that have all the labels.

        Args:
            labels: each ``key=value`` or just ``key``.
            convert: turns each into something smaller; None from it drops it.
        """
        action, path = "list containers", "/containers/json"
        return await self._list(action, path, convert, labels, {"all": 1})

    async def logs(self, id: str, tail: int) -> str:
        """The last ``tail`` lines of its output, stdout and stderr as they came."""
        action, path = f"read the log of container {_short(id)}", f"/containers/{quoted(id)}/logs"
        params = {"stdout": 1, "stderr": 1, "tail": tail}
        return demultiplex(
            await self.caller.ask(self.caller.call(action, "GET", path, params, repeat=True))
        )

    async def execute(
        self, id: str, command: Sequence[str], user: str, seconds: float
    ) -> tuple[int, str]:
        """Run a command in a running container; its exit code, and the end of what it wrote.

        Args:
            id: of the container.
            command: program and arguments.
            user: name or number, as of ``docker exec --user``; "" is the container's.
            seconds: how long it may take.

        Raises:
            Conflict: the container does not run.
            EngineTimeout: it has not ended by then. It runs on: no call of the API ends it.
        """
        where, until = f"container {_short(id)}", time.monotonic() + seconds
        body = {"AttachStdout": True, "AttachStderr": True, "Cmd": list(command), "User": user}
        call = self.caller.call(
            f"prepare a command in {where}", "POST", f"/containers/{quoted(id)}/exec", body=body
        )
        run = await self.caller.create(call)
        output, action = Tail(MAX_OUTPUT), f"run a command in {where}"
        call = Call(
            action, "POST", f"/exec/{quoted(run)}/start", body={"Detach": False, "Tty": False},
            timeout=max(until - time.monotonic(), 0.001),
        )  # fmt: skip
        # In no turn of others: it may last, and only a start waits for it.
        await self.caller.each_part(call, output.feed)
        while True:  # what it wrote may end a moment before it does
            ended_with = await self.caller.get(
                f"look at a command in {where}", f"/exec/{quoted(run)}/json"
            )
            if not ended_with.get("Running"):
                return int(ended_with.get("ExitCode") or 0), output.text
            if time.monotonic() > until:
                raise EngineTimeout(action, f"no end within {seconds:g} s")
            await asyncio.sleep(GONE_S)

    async def put_archive(self, id: str, path: str, data: bytes) -> None:
        """Unpack a tar archive in a container's directory, which Docker wants to exist."""
        action, target = f"copy into container {_short(id)}", f"/containers/{quoted(id)}/archive"
        call = self.caller.call(action, "PUT", target, {"path": path}, data, repeat=True)
        parse_nothing(call, await self.caller.ask(call))

    async def get_archive(self, id: str, path: str) -> bytes:
        """A tar archive of what is at a path in a container, running or not."""
        return await self.caller.ask(self._from_container(id, path))

    async def first_of_archive(self, id: str, path: str) -> tarfile.TarInfo:
        """What is at a path in a container, without what is in it, as `get_archive` has it."""
        call = self._from_container(id, path)
        entry = await self.caller.beginning(call, first_entry)
        if entry is None:
            raise EngineFailed(call.action, f"no archive of {path}")
        return entry

    def _from_container(self, id: str, path: str) -> Call:
        action, target = (
            f"look at {path} in container {_short(id)}",
            f"/containers/{quoted(id)}/archive",
        )
        return self.caller.call(action, "GET", target, {"path": path}, repeat=True)

    async def has_file(self, id: str, path: str) -> bool:
        """Whether there is something at a path in a container, running or not."""
        action, target = f"look into container {_short(id)}", f"/containers/{quoted(id)}/archive"
        try:
            await self.caller.ask(
                self.caller.call(action, "HEAD", target, {"path": path}, repeat=True)
            )
        except NotFound:
            return False
        except EngineFailed:
            # The answer to HEAD has no body, and so no reason: of a mount that fails, for example.
            try:
                await self.first_of_archive(id, path)
            except NotFound:
                return False
        return True

    # --- images ----------------------------------------------------------------------------

    async def inspect_image(self, ref: str) -> dict[str, Any]:
        """All the Engine knows of an image that it has, by reference or id."""
        return await self.caller.get(f"inspect image {ref}", f"/images/{quoted(ref)}/json")

    async def list_images(self) -> list[str]:
        """References of all images that the Engine has, by tag and by digest."""
        return [
            str(reference)
            for image in await self._list("list images", "/images/json", whole)
            for kind in ("RepoTags", "RepoDigests")
            for reference in image.get(kind) or ()
        ]

    async def credentials(self, repository: str) -> dict[str, str]:
        """What a pull without credentials of its own is made with; nothing where there is none.

        Args:
            repository: with registry, without tag.

        Raises:
            ConfigError: the Docker client's configuration of this account is of no use.
        """
        return await asyncio.to_thread(account_credentials, self.connection, repository)

    async def pull(
        self,
        repository: str,
        tag: str,
        auth: Mapping[str, str] | None,
        on_line: Callable[[dict[str, Any]], None],
    ) -> None:
        """Pull an image; cancelling the caller ends the pull, at the Engine too.

        Args:
            repository: with registry, without tag.
            tag: or digest.
            auth: ``username`` and ``password``, or ``identitytoken``, …; None takes what
                `credentials` has; empty asks anonymously.
            on_line: called with each object that the Engine sends: progress, and also
                ``{"error": …}``, which is not raised here.

        Raises:
            ConfigError: the Docker client's configuration is of no use.
        """
        params, action = {"fromImage": repository, "tag": tag}, f"pull {repository}:{tag}"
        async with self._pulls:
            known = await self.credentials(repository) if auth is None else auth
            headers = {"X-Registry-Auth": encode_auth(known)} if known else {}
            call = Call(action, "POST", "/images/create", params, headers=headers, timeout=None)
            response = await self._transport.open(call)
            try:
                async with aclosing(self._transport.objects(call, response)) as batches:
                    async for batch in batches:
                        for line in batch:
                            on_line(line)
            finally:
                response.close()

    # --- volumes and networks --------------------------------------------------------------

    async def create_volume(
        self,
        name: str,
        *,
        driver: str | None = None,
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Create a volume or, where it exists, return it as it is: compare the labels."""
        body: dict[str, Any] = {"Name": name, "Labels": dict(labels or {})}
        if driver:
            body["Driver"] = driver
        if options:
            body["DriverOpts"] = dict(options)
        call = self.caller.call(
            f"create volume {name}", "POST", "/volumes/create", body=body, repeat=True
        )
        return parse_object(call, await self.caller.ask(call))

    async def inspect_volume(self, name: str) -> dict[str, Any]:
        """All the Engine knows of a volume."""
        return await self.caller.get(f"inspect volume {name}", f"/volumes/{quoted(name)}")

    async def remove_volume(self, name: str, *, force: bool = False) -> None:
        """Remove a volume.

        Raises:
            NotFound: there is none.
            Conflict: a container uses it.
        """
        params = {"force": int(force)}
        await self.caller.do(f"remove volume {name}", "DELETE", f"/volumes/{quoted(name)}", params)

    async def list_volumes(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Volumes that have all the labels, each ``key=value`` or just ``key``."""
        params = {"filters": _by_labels(labels)}
        call = self.caller.call("list volumes", "GET", "/volumes", params, repeat=True)
        found = parse_object(call, await self.caller.ask(call)).get("Volumes") or []
        return [volume for volume in found if _has_labels(volume, labels)]

    async def inspect_network(self, name: str) -> dict[str, Any]:
        """All the Engine knows of a network, by name or id."""
        return await self.caller.get(f"inspect network {name}", f"/networks/{quoted(name)}")

    async def create_network(self, name: str, config: Mapping[str, Any]) -> str:
        """Create a network and return its id.

        Args:
            name: of the network.
            config: the Engine API's body but for the name.

        Raises:
            Conflict: another network has the name, or its interface on the host.
            EngineTimeout, EngineUnavailable: it may have been created all the same.
        """
        body = {**config, "Name": name, "CheckDuplicate": True}
        call = self.caller.call(f"create network {name}", "POST", "/networks/create", body=body)
        return await self.caller.create(call)

    async def connect_network(self, network: str, container: str) -> None:
        """Connect a container to a network, both by name or id; fine when it is connected.

        Raises:
            NotFound: one of them is not there.
        """
        action = f"connect container {_short(container)} to network {_short(network)}"
        path = f"/networks/{quoted(network)}/connect"
        call = self.caller.call(action, "POST", path, body={"Container": container})
        try:
            parse_nothing(call, await self.caller.ask(call))
        except Conflict as error:
            if "already" not in error.message:
                raise

    async def disconnect_network(self, network: str, container: str) -> None:
        """Disconnect a container from a network, whether it runs or not; fine when it is not on it.

        Raises:
            NotFound: there is no such network.
        """
        action = f"disconnect container {_short(container)} from network {_short(network)}"
        path = f"/networks/{quoted(network)}/disconnect"
        body = {"Container": container, "Force": True}
        call = self.caller.call(action, "POST", path, body=body)
        try:
            parse_nothing(call, await self.caller.ask(call))
        except Conflict as error:
            if "not connected" not in error.message:
                raise

    async def containers_of_network(self, name: str) -> list[str]:
        """The ids of all containers of a network, by its name, in any state."""
        params = {"all": 1, "filters": filters_of(network=[name])}
        call = self.caller.call("list containers", "GET", "/containers/json", params, repeat=True)
        return [str(one["Id"]) for one in parse_items(call, await self.caller.ask(call))]

    async def list_networks(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Networks that have all the labels, each ``key=value`` or just ``key``."""
        return await self._list("list networks", "/networks", whole, labels)

    async def remove_network(self, name: str) -> None:
        """Remove it, by name or id.

        Raises:
            Conflict: a container is connected to it.
        """
        await self.caller.do(f"remove network {name}", "DELETE", f"/networks/{quoted(name)}")

    # --- how calls are made ----------------------------------------------------------------

    async def _list(
        self,
        action: str,
        path: str,
        convert: Convert[T],
        labels: Sequence[str] = (),
        params: Mapping[str, Any] | None = None,
    ) -> list[T]:
        """The items of an array that have all the labels."""
        query = {**(params or {}), "filters": _by_labels(labels)}

        def kept(one: dict[str, Any]) -> T | None:
            return convert(one) if _has_labels(one, labels) else None

        return await self.caller.items(
            self.caller.call(action, "GET", path, query, repeat=True), kept
        )

    async def _until_gone(self, id: str, error: Conflict) -> None:
        """Somebody else's removal is under way: wait for its end, at most the usual deadline."""

        async def look() -> None:
            try:
                await self.inspect_container(id)
            except NotFound:
                return
            raise error

        try:
            await within(self.timeout, retry(look, itertools.repeat(GONE_S), on=Conflict))
        except asyncio.TimeoutError:
            raise EngineTimeout(error.action, error.message, error.status) from error


def _has_labels(thing: Mapping[str, Any], labels: Sequence[str]) -> bool:
    """Asked again of what the Engine filtered: Podman returns what has any of them."""
    has = thing.get("Labels") or {}
    for label in labels:
        key, equals, value = label.partition("=")
        if key not in has or (equals and has[key] != value):
            return False
    return True


def _by_labels(labels: Sequence[str]) -> str | None:
    """Podman finds nothing by a key alone: such labels are looked for in the answer only."""
    full = [label for label in labels if "=" in label]
    return filters_of(label=full) if full else None


def _short(id: str) -> str:
    return id[:12] if len(id) == 64 else id
