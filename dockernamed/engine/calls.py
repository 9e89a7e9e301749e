"""What an Engine can be asked: one method a call of its API, no idea of how calls are made.

`engine.Engine` adds that.
"""

from __future__ import annotations

import asyncio
import functools
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

from ..errors import Conflict, EngineError, EngineFailed, EngineTimeout, NotFound
from ..timeouts import within
from . import wire
from .lanes import Feed
from .wire import Call

T = TypeVar("T")

EVENT_KINDS = ("container", "image", "network")
# Everything else (exec, attach, top, …) is left out by the Engine: health checks alone would
# make several events a second and container. Podman tells "die" when asked for "died".
EVENT_ACTIONS = (
    *("create", "start", "kill", "stop", "oom", "die", "died", "destroy", "remove", "rename"),
    *("pull", "tag", "untag", "delete", "import", "load"),
    *("connect", "disconnect"),
)


def _any(event: object) -> bool:
    return True


def _expect_nothing(call: Call, body: bytes) -> None:
    """A proxy's page with status 200 is no proof that the Engine did anything."""
    if body.strip():
        raise EngineFailed(call.action, f"unexpected answer: {body[:100]!r}")


class Calls(ABC):
    """The calls; all of them raise `EngineError`.

    Args:
        timeout: seconds within which a short call must be answered.
        pulls: how many may be under way at once.
    """

    def __init__(self, timeout: float, pulls: int) -> None:
        self.timeout = timeout
        self._pull_slots = asyncio.Semaphore(pulls)

    @abstractmethod
    async def _fetch(
        self,
        call: Call,
        read: Callable[[bytes], T],
        *,
        slow: bool = False,
        repeat: bool = False,
    ) -> T:
        """Make a call and return what ``read`` makes, in the thread, of the answer's body.

        Args:
            call: what to ask.
            read: may raise `EngineError`.
            slow: it may take long, and must not keep others waiting.
            repeat: it may be made again when the connection broke.
        """

    @abstractmethod
    def _stream(self, call: Call, keep: Callable[[dict[str, Any]], bool]) -> Feed[dict[str, Any]]:
        """The objects of an answer that takes long, those for which ``keep`` is true."""

    @abstractmethod
    def _pull(
        self, repository: str, auth: Mapping[str, str] | None, call: Call
    ) -> Feed[dict[str, Any]]:
        """The same for a pull, with credentials as of `pull`."""

    # --- the Engine itself -----------------------------------------------------------------

    async def version(self) -> dict[str, Any]:
        """``GET /version``: among others ``Version``, ``ApiVersion`` and ``Components``."""
        return await self._get("ask its version", "/version")

    def events(self, keep: Callable[[dict[str, Any]], bool] = _any) -> Feed[dict[str, Any]]:
        """Events of containers, images and networks from now on, as the Engine sends them.

        ``async with engine.events() as feed: await feed.opened(2); async for batch in feed: …``
        It ends, or raises `EngineUnavailable`, when the connection is lost. Nothing is repeated.

        Args:
            keep: drops an event when it returns False; called in the thread.
        """
        params = {"filters": _filters(type=EVENT_KINDS, event=EVENT_ACTIONS)}
        call = Call("watch events", "GET", "/events", params, timeout=None)
        return self._stream(call, keep)

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
        call = self._call(f"create container {name}", "POST", "/containers/create", params, body)
        answer = await self._json(call)
        if "Id" not in answer:
            raise EngineFailed(call.action, f"no id in the answer: {str(answer)[:200]}")
        return str(answer["Id"])

    async def start_container(self, id: str) -> None:
        """Start it; fine when it runs already."""
        await self._send(f"start container {_short(id)}", "POST", f"/containers/{_q(id)}/start")

    async def stop_container(self, id: str, grace: float) -> None:
        """Stop it, and return once it has ended; fine when it had ended already.

        Args:
            id: or name.
            grace: seconds between the stop signal and SIGKILL, rounded up to a whole number.
        """
        path, seconds = f"/containers/{_q(id)}/stop", math.ceil(grace)
        call = Call(
            f"stop container {_short(id)}",
            "POST",
            path,
            {"t": seconds},
            timeout=seconds + self.timeout,
        )
        await self._fetch(call, functools.partial(_expect_nothing, call), slow=True)

    async def kill_container(self, id: str) -> None:
        """Send SIGKILL.

        Raises:
            Conflict: it does not run.
        """
        await self._send(f"kill container {_short(id)}", "POST", f"/containers/{_q(id)}/kill")

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
        action, path = f"remove container {_short(id)}", f"/containers/{_q(id)}"
        call = self._call(action, "DELETE", path, params)
        try:
            nothing = functools.partial(_expect_nothing, call)
            await self._fetch(call, nothing, slow=True, repeat=True)
        except NotFound:
            return
        except Conflict as error:
            if "in progress" not in error.message:
                raise
            await self._until_gone(id, error)

    async def rename_container(self, id: str, name: str) -> None:
        """Give it another name.

        Raises:
            Conflict: another container has the name.
        """
        path = f"/containers/{_q(id)}/rename"
        await self._send(f"rename container {_short(id)}", "POST", path, {"name": name})

    async def inspect_container(self, id: str, *, anew: bool = False) -> dict[str, Any]:
        """All the Engine knows of a container, by id or name.

        Args:
            id: or name.
            anew: ask over a new connection, and with patience: while an Engine starts, stops or
                restarts a container, it answers nothing about it.
        """
        path, action = f"/containers/{_q(id)}/json", f"inspect container {_short(id)}"
        call = replace(self._call(action, "GET", path), anew=anew)
        read = functools.partial(wire.parse_object, call)
        return await self._fetch(call, read, slow=anew, repeat=True)

    async def list_containers(
        self, labels: Sequence[str], convert: Callable[[dict[str, Any]], T | None] | None = None
    ) -> list[Any]:
        """Containers in any state that have all the labels.

        Args:
            labels: each ``key=value`` or just ``key``.
            convert: turns each into something smaller, in the thread; None from it drops it.
        """
        call = self._call(
            "list containers", "GET", "/containers/json", {"all": 1, "filters": _by_labels(labels)}
        )

        def read(body: bytes) -> list[Any]:
            found = (one for one in wire.parse_items(call, body) if _has_labels(one, labels))
            if convert is None:
                return list(found)
            return [item for item in map(convert, found) if item is not None]

        return await self._fetch(call, read, repeat=True)

    async def logs(self, id: str, tail: int) -> str:
        """The last ``tail`` lines of its output, stdout and stderr as they came."""
        params = {"stdout": 1, "stderr": 1, "tail": tail}
        call = self._call(
            f"read the log of container {_short(id)}", "GET", f"/containers/{_q(id)}/logs", params
        )
        return await self._fetch(call, wire.demultiplex, repeat=True)

    async def put_archive(self, id: str, path: str, data: bytes) -> None:
        """Unpack a tar archive in a container's directory, which Docker wants to exist."""
        action, target = f"copy into container {_short(id)}", f"/containers/{_q(id)}/archive"
        call = self._call(action, "PUT", target, {"path": path}, data)
        await self._fetch(call, functools.partial(_expect_nothing, call), repeat=True)

    async def has_file(self, id: str, path: str) -> bool:
        """Whether there is something at a path in a container, running or not."""
        action, target = f"look into container {_short(id)}", f"/containers/{_q(id)}/archive"
        call = self._call(action, "HEAD", target, {"path": path})
        try:
            await self._fetch(call, len, repeat=True)
        except NotFound:
            return False
        return True

    # --- images ----------------------------------------------------------------------------

    async def inspect_image(self, ref: str) -> dict[str, Any]:
        """All the Engine knows of an image that it has, by reference or id."""
        return await self._get(f"inspect image {ref}", f"/images/{_q(ref)}/json")

    async def list_images(self) -> list[str]:
        """References of all images that the Engine has, by tag and by digest."""
        action = "list images"
        found = await self._fetch(
            self._call(action, "GET", "/images/json"), json.loads, repeat=True
        )
        return [
            str(reference)
            for image in found
            for kind in ("RepoTags", "RepoDigests")
            for reference in image.get(kind) or ()
        ]

    async def pull(
        self,
        repository: str,
        tag: str,
        auth: Mapping[str, str] | None,
        on_line: Callable[[dict[str, Any]], None],
    ) -> None:
        """Pull an image; cancelling the caller ends the pull.

        Args:
            repository: with registry, without tag.
            tag: or digest.
            auth: ``username`` and ``password``, or ``identitytoken``, …; None looks into the
                Docker client's configuration of this account; empty asks anonymously.
            on_line: called in the event loop with each object that the Engine sends: progress,
                and also ``{"error": …}``, which is not raised here.
        """
        params = {"fromImage": repository, "tag": tag}
        call = Call(f"pull {repository}:{tag}", "POST", "/images/create", params, timeout=None)
        async with self._pull_slots, self._pull(repository, auth, call) as feed:
            async for batch in feed:
                for line in batch:
                    on_line(line)

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
        call = self._call(f"create volume {name}", "POST", "/volumes/create", body=body)
        return await self._json(call, repeat=True)

    async def inspect_volume(self, name: str) -> dict[str, Any]:
        """All the Engine knows of a volume."""
        return await self._get(f"inspect volume {name}", f"/volumes/{_q(name)}")

    async def remove_volume(self, name: str, *, force: bool = False) -> None:
        """Remove a volume.

        Raises:
            NotFound: there is none.
            Conflict: a container uses it.
        """
        params = {"force": int(force)}
        await self._send(f"remove volume {name}", "DELETE", f"/volumes/{_q(name)}", params)

    async def list_volumes(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Volumes that have all the labels, each ``key=value`` or just ``key``."""
        call = self._call("list volumes", "GET", "/volumes", {"filters": _by_labels(labels)})
        found = (await self._json(call, repeat=True)).get("Volumes") or []
        return [volume for volume in found if _has_labels(volume, labels)]

    async def inspect_network(self, name: str) -> dict[str, Any]:
        """All the Engine knows of a network, by name or id."""
        return await self._get(f"inspect network {name}", f"/networks/{_q(name)}")

    async def list_networks(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Networks that have all the labels, each ``key=value`` or just ``key``."""
        call = self._call("list networks", "GET", "/networks", {"filters": _by_labels(labels)})

        def read(body: bytes) -> list[dict[str, Any]]:
            return [one for one in wire.parse_items(call, body) if _has_labels(one, labels)]

        return await self._fetch(call, read, repeat=True)

    async def remove_network(self, name: str) -> None:
        """Remove it, by name or id.

        Raises:
            Conflict: a container is connected to it.
        """
        await self._send(f"remove network {name}", "DELETE", f"/networks/{_q(name)}")

    def _call(
        self,
        action: str,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        body: object = None,
    ) -> Call:
        return Call(action, method, path, params or {}, body, timeout=self.timeout)

    async def _send(
        self, action: str, method: str, path: str, params: Mapping[str, Any] | None = None
    ) -> None:
        call = self._call(action, method, path, params)
        await self._fetch(call, functools.partial(_expect_nothing, call))

    async def _get(self, action: str, path: str) -> dict[str, Any]:
        return await self._json(self._call(action, "GET", path), repeat=True)

    async def _json(self, call: Call, *, repeat: bool = False) -> dict[str, Any]:
        return await self._fetch(call, functools.partial(wire.parse_object, call), repeat=repeat)

    async def _until_gone(self, id: str, error: EngineError) -> None:
        """Somebody else's removal is under way: wait for its end, at most the usual deadline."""

        async def gone() -> None:
            while True:
                try:
                    await self.inspect_container(id)
                except NotFound:
                    return
                await asyncio.sleep(0.05)

        try:
            await within(self.timeout, gone())
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


def _filters(**filters: Sequence[str]) -> str:
    return json.dumps({key: list(values) for key, values in filters.items()})


def _by_labels(labels: Sequence[str]) -> str | None:
    """Podman finds nothing by a key alone: such labels are looked for in the answer only."""
    full = [label for label in labels if "=" in label]
    return _filters(label=full) if full else None


def _q(name: str) -> str:
    return quote(name, safe="/:")


def _short(id: str) -> str:
    return id[:12] if len(id) == 64 else id
