"""What all spawners of one Hub share on one Engine: the connection, its watcher, its puller."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from ..backends.base import AskForHub, nobody_else
from ..backends.executor import Executor
from ..backends.networks import Networks
from ..desired.network import own_container_id
from ..desired.resolved import SERVICE
from ..desired.swarm_network import is_of_service
from ..engine.client import Connection, Engine
from ..engine.swarm import Swarm
from ..errors import ConfigError, EngineError, EngineTimeout, EngineUnavailable, NotFound
from ..images.node_images import NodeImages
from ..images.pull_queue import PULL_LIMITS, PullLimits
from ..images.puller import Puller
from ..timeouts import ended
from ..timings import DEFAULT, Timings
from .backends import CONTAINERS, Backend
from .earlier_volumes import EarlierVolumes
from .gpus import Gpus
from .hostports import HostPorts, refused_by, unused_here
from .promises import Promises

LOG = logging.getLogger("dockernamed")
MOUNTINFO = Path("/proc/self/mountinfo")


_Shared = dict[tuple[Connection, str, str], "Runtime"]
_shared: WeakKeyDictionary[asyncio.AbstractEventLoop, _Shared]
_shared = WeakKeyDictionary()


class Runtime:
    """One Engine as one Hub sees it."""

    def __init__(
        self,
        connection: Connection,
        hub: str,
        log: logging.Logger,
        workers: int,
        timings: Timings = DEFAULT,
        another_hub_at: AskForHub = nobody_else,
        pulls: PullLimits = PULL_LIMITS,
        backend: Backend = CONTAINERS,
    ) -> None:
        # As JupyterHub does with tornado's loggers: ours speak in the Hub's log.
        LOG.parent, LOG.propagate = log, True
        self.engine = Engine(connection, workers=workers, pulls=pulls.at_once, timings=timings)
        self.timings = timings
        self.kind = backend.kind
        self.parts = backend.build(self.engine, hub, timings)
        self.watcher = self.parts.watcher
        self.puller = Puller(self.engine, self.watcher, pulls)
        self.another_hub_at = another_hub_at
        things = self.parts.things
        self.backend = Executor(things, self.watcher, log, timings, another_hub_at)
        self.networks = Networks(
            things, self.backend.rollback, self._hub_container_id, self.backend.undone, log, timings
        )
        self.earlier_volumes = EarlierVolumes(self.backend.volumes, timings.other_volumes)
        self.host_ports = HostPorts(self._port_is_free)
        self.promises = Promises()
        self.gpus = Gpus(self.engine, self._info)
        self._networks: dict[str, tuple[float, dict[str, Any]]] = {}
        self._hub_container: asyncio.Task[dict[str, Any] | None] | None = None
        self._podman: bool | None = None
        self._told: tuple[int, Mapping[str, Any]] | None = None
        self._asking = asyncio.Lock()
        self.watcher.start()
        self._open = asyncio.ensure_future(self._until_cancelled())
        self._hub, self._node_images = hub, dict[str, NodeImages]()

    @classmethod
    def shared(
        cls,
        connection: Connection,
        hub: str,
        log: logging.Logger,
        workers: int = 16,
        timings: Timings = DEFAULT,
        another_hub_at: AskForHub = nobody_else,
        pulls: PullLimits = PULL_LIMITS,
        backend: Backend = CONTAINERS,
    ) -> Runtime:
        """The one of this event loop, Engine and Hub; made at the first call.

        Args:
            connection: where the Engine is.
            hub: the Hub's id.
            log: the Hub's log.
            workers: short calls under way at once; counts at the first call.
            timings: how long is waited for what; likewise.
            another_hub_at: whether a Hub that is not this one answers at a URL; likewise.
            pulls: how many pulls may be under way; likewise.
            backend: what the servers are.
        """
        runtimes = _shared.setdefault(asyncio.get_running_loop(), {})
        key = (connection, hub, backend.kind)
        runtime = runtimes.get(key)
        if runtime is None:
            runtime = runtimes[key] = cls(
                connection, hub, log, workers, timings, another_hub_at, pulls, backend
            )
        return runtime

    @property
    def engine_is_local(self) -> bool:
        """Whether the Engine's networks are this host's."""
        return not self.engine.base_url.startswith(("tcp://", "http://", "https://", "ssh://"))

    @property
    def swarm(self) -> bool:
        """Whether the servers are services of a Swarm."""
        return self.kind == SERVICE

    async def membership(self) -> Mapping[str, Any]:
        """What ``GET /info`` says of the Engine's part in a Swarm; empty where it does not tell."""
        return (await self._info()).get("Swarm") or {}

    async def network(self, name: str) -> dict[str, Any]:
        """``GET /networks/{name}``, up to half a minute old.

        Raises:
            ConfigError: there is no such network.
        """
        known = self._networks.get(name)
        if known is None or known[0] <= time.monotonic():
            try:
                info = await self.engine.inspect_network(name)
            except NotFound:
                hint = "the Engine has no such network; make it: docker network create "
                hint += f"{'--driver overlay --attachable ' if self.swarm else ''}{name}"
                raise ConfigError("network_name", name, hint) from None
            # Networks change rarely; a burst of starts asks for theirs once.
            known = self._networks[name] = (time.monotonic() + self.timings.network_facts, info)
        return known[1]

    async def log_driver(self) -> str:
        """The log driver of containers that name none; "" where the Engine does not tell."""
        return str((await self._info()).get("LoggingDriver") or "")

    async def _info(self) -> Mapping[str, Any]:
        """``GET /info``; empty where the Engine does not tell.

        It is asked again once the Engine was lost: it may have another configuration since.
        """
        async with self._asking:
            lost = self.watcher.disconnects
            if self._told is None or self._told[0] != lost:
                self._told = (lost, await self._ask_for_info())
        return self._told[1]

    async def _ask_for_info(self) -> Mapping[str, Any]:
        try:
            return await self.engine.info()
        except (EngineUnavailable, EngineTimeout):
            raise
        except EngineError as error:
            LOG.warning(
                "The Engine does not say which log driver it uses, so that logs of servers are not "
                "bounded; set c.DockerNamedSpawner.log_config: %s",
                error,
            )
            return {}

    async def shares_files(self) -> bool:
        """Whether a path means the same here and on the Engine's host."""
        return self.engine_is_local and await self.hub_container() is None

    async def engine_paths(self) -> list[str]:
        """The Engine's socket and its files on the Engine's host, as far as known from here."""
        root = str((await self._info()).get("DockerRootDir") or "")
        found = [root] if root.startswith("/") else []
        path = socket_of(self.engine.base_url)
        if path:
            hub = await self.hub_container() or {}
            # A Hub in a container may have the socket of another path of the host.
            found += [path, *sources_of(path, hub.get("Mounts") or ())]
        return found

    async def _port_is_free(self, port: int) -> bool:
        if self.engine_is_local:
            return await unused_here(port)
        host = urlsplit(self.engine.base_url).hostname or ""
        return await refused_by(host, port, self.timings.connect_to_port)

    async def hub_container(self) -> dict[str, Any] | None:
        """``GET /containers/{id}/json`` of the container that the Hub runs in.

        None where it runs in none, or in one of another Engine than the servers'.
        """
        if not self.engine_is_local:
            return None
        if self._hub_container is None or self._failed(self._hub_container):
            self._hub_container = asyncio.ensure_future(self._find_hub_container())
        return await asyncio.shield(self._hub_container)

    async def _hub_container_id(self) -> str:
        """The id of that container; "" for none, or for one that cannot join networks."""
        found = await self.hub_container()
        if found is None or (self.swarm and is_of_service(found)):
            return ""
        return str(found["Id"])

    async def podman(self) -> bool:
        """Whether the Engine is Podman: asked once."""
        if self._podman is None:
            components = (await self.engine.version()).get("Components") or ()
            self._podman = any("Podman" in str(one.get("Name")) for one in components)
        return self._podman

    def node_images(self, prefix: str) -> NodeImages:
        """What brings images to the nodes of the Swarm; made at the first call.

        Args:
            prefix: begins the names of what it makes.
        """
        if prefix not in self._node_images:
            self._node_images[prefix] = NodeImages(
                Swarm(self.engine), self._hub, LOG, prefix=prefix, timings=self.timings
            )
        return self._node_images[prefix]

    async def close(self) -> None:
        """End the stream and the connections; who asks for a runtime from now on gets another."""
        runtimes = _shared[asyncio.get_running_loop()]
        for key in [key for key, one in runtimes.items() if one is self]:
            del runtimes[key]
        await self.parts.close()
        await self.watcher.close()
        await self.engine.close()
        await ended(self._open)

    async def _until_cancelled(self) -> None:
        """A Hub that ends cancels all tasks, and tells nobody else: then connections are closed."""
        try:
            await asyncio.Event().wait()
        finally:
            await self.engine.close()

    async def _find_hub_container(self) -> dict[str, Any] | None:
        try:
            text = await asyncio.to_thread(MOUNTINFO.read_text)
        except OSError:
            return None
        container_id = own_container_id(text)
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


def socket_of(url: str) -> str:
    """The path in an Engine's address such as ``unix:///run/docker.sock``; "" where it has none."""
    scheme, _, path = url.partition("://")
    return f"/{path.lstrip('/')}" if scheme in ("unix", "http+unix") else ""


def sources_of(path: str, mounts: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """What a path in a container is on the Engine's host, by the container's mounts.

    Args:
        path: in the container.
        mounts: those of ``GET /containers/{id}/json``.
    """
    for mount in mounts:
        source, target = str(mount.get("Source") or ""), str(mount.get("Destination") or "")
        below = path.removeprefix(target.rstrip("/"))
        if source and target and below != path and below[:1] in ("", "/"):
            yield f"{source}{below}"
