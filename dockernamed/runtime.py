"""What all spawners of one Hub share on one Engine: the connection, its watcher, its puller."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from . import hubaddress
from .containers import Containers
from .engine import Connection, Engine
from .errors import NotFound
from .puller import Puller
from .watcher import Watcher

if TYPE_CHECKING:
    Log = logging.Logger | logging.LoggerAdapter[logging.Logger]

#: Networks change rarely; a burst of starts asks for theirs once.
NETWORK_FACTS_S = 30.0
MOUNTINFO = Path("/proc/self/mountinfo")

_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Connection, str], Runtime]]
_shared = WeakKeyDictionary()


class Runtime:
    """One Engine as one Hub sees it."""

    def __init__(self, connection: Connection, hub: str, log: Log) -> None:
        self.engine = Engine(connection)
        self.watcher = Watcher(self.engine, hub)
        self.puller = Puller(self.engine, self.watcher)
        self.backend = Containers(self.engine, self.watcher, log)
        self._networks: dict[str, tuple[float, dict[str, Any]]] = {}
        self._hub_container: asyncio.Task[dict[str, Any] | None] | None = None
        self.watcher.start()

    @classmethod
    def shared(cls, connection: Connection, hub: str, log: Log) -> Runtime:
        """The one of this event loop, Engine and Hub; made at the first call."""
        runtimes = _shared.setdefault(asyncio.get_running_loop(), {})
        runtime = runtimes.get((connection, hub))
        if runtime is None:
            runtime = runtimes[connection, hub] = cls(connection, hub, log)
        return runtime

    @property
    def engine_is_local(self) -> bool:
        """Whether the Engine's networks are this host's."""
        return not self.engine.base_url.startswith(("tcp://", "http://", "https://", "ssh://"))

    async def network(self, name: str) -> dict[str, Any]:
        """``GET /networks/{name}``, up to half a minute old.

        Raises:
            NotFound: there is no such network.
        """
        known = self._networks.get(name)
        if known is None or known[0] < time.monotonic():
            info = await self.engine.inspect_network(name)
            known = self._networks[name] = (time.monotonic() + NETWORK_FACTS_S, info)
        return known[1]

    async def hub_container(self) -> dict[str, Any] | None:
        """``GET /containers/{id}/json`` of the container that the Hub runs in; None outside."""
        if self._hub_container is None or self._failed(self._hub_container):
            self._hub_container = asyncio.ensure_future(self._find_hub_container())
        return await asyncio.shield(self._hub_container)

    async def close(self) -> None:
        """End the stream and the threads."""
        await self.watcher.close()
        self.engine.close()

    async def _find_hub_container(self) -> dict[str, Any] | None:
        try:
            text = await asyncio.to_thread(MOUNTINFO.read_text)
        except OSError:
            return None
        container_id = hubaddress.own_container_id(text)
        if container_id is None:
            return None
        try:
            return await self.engine.inspect_container(container_id)
        except NotFound:
            # In a container, but of another Engine than the one that runs the servers.
            return None

    @staticmethod
    def _failed(task: asyncio.Task[Any]) -> bool:
        return task.done() and (task.cancelled() or task.exception() is not None)
