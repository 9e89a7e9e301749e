"""What all figures are measured in: an Engine, its images, Hubs of all contenders, one name."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from .bare import BareEngine, RefusedError
from .hubs import BEFORE, CONTENDERS, ROOT, Hub

S = TypeVar("S", bound="Setting")

BUSYBOX = "dockernamed-test/busybox:latest"
LAB = "dockernamed/lab:latest"


def run(main: Coroutine[Any, Any, None]) -> None:
    """Run a program that tidies up after itself, also when it is told to end."""

    async def guarded() -> None:
        task = asyncio.ensure_future(main)
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(signum, task.cancel)
        await task

    try:
        asyncio.run(guarded())
    except asyncio.CancelledError:
        raise SystemExit(130) from None


@dataclass
class Setting:
    """Use as ``async with``; all objects it names are removed at the end.

    Attributes:
        contenders: who is measured, besides the bare Engine.
        beside: another checkout, resolved, whose dockernamed is the contender ``before``; without
            it there is no such contender.
        name: begins the names of everything that is made on the Engine.
        spawner_class: of the Hubs with dockernamed; "" is that for containers.
        gateway: this host's address in the containers' network.
        folder: for files, while it lasts.
    """

    contenders: Sequence[str] = tuple(CONTENDERS)
    beside: Path | None = None
    name: str = field(default_factory=lambda: f"bench{secrets.token_hex(3)}")
    gateway: str = ""
    spawner_class: str = ""

    def __post_init__(self) -> None:
        if self.beside is None:
            self.contenders = tuple(name for name in self.contenders if name != BEFORE)

    async def __aenter__(self: S) -> S:
        self._stack = AsyncExitStack()
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix=self.name)))
        try:
            await self.open(self._stack)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def open(self, stack: AsyncExitStack) -> None:
        """Have an Engine, until the stack ends."""
        self.engine = BareEngine()
        stack.push_async_callback(self.engine.close)
        stack.push_async_callback(self.tidy)
        config = (await self.engine.call("GET", "/networks/bridge"))["IPAM"]["Config"][0]
        first = next(ipaddress.ip_network(config["Subnet"], strict=False).hosts())
        self.gateway = config.get("Gateway") or str(first)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    @asynccontextmanager
    async def hubs(
        self,
        image: str,
        contenders: Sequence[str] = tuple(CONTENDERS),
        *,
        further: str = "",
        docker_host: Mapping[str, str] | None = None,
    ) -> AsyncIterator[list[Hub]]:
        """One running Hub for each contender, alike but for the Spawner.

        Args:
            image: of its servers.
            contenders: whose Hubs, of those who are measured.
            further: more Python text for their config files.
            docker_host: contender → Engine, if another one than ``DOCKER_HOST``.
        """
        hubs = [
            Hub(
                contender,
                self.folder / f"{contender}-{secrets.token_hex(3)}",
                self.name,
                image,
                self.gateway,
                checkout=self.beside if contender == BEFORE and self.beside else ROOT,
                further=further,
                docker_host=(docker_host or {}).get(contender),
                spawner_class=self.spawner_class,
            )
            for contender in contenders
            if contender in self.contenders
        ]
        try:
            await asyncio.gather(*(hub.start() for hub in hubs))
            yield hubs
        finally:
            await asyncio.gather(*(hub.stop() for hub in hubs))
            await self.tidy()

    async def tidy(self) -> None:
        """Remove every container, volume and image that begins with our name."""
        containers = await self.engine.call("GET", "/containers/json", all="true")
        await self._remove_all(
            f"/containers/{container['Id']}"
            for container in containers
            if any(name.startswith(f"/{self.name}") for name in container["Names"])
        )
        volumes = (await self.engine.call("GET", "/volumes"))["Volumes"] or ()
        await self._remove_all(
            f"/volumes/{volume['Name']}"
            for volume in volumes
            if volume["Name"].startswith(self.name)
        )
        tags = [
            t for i in await self.engine.call("GET", "/images/json") for t in i["RepoTags"] or ()
        ]
        await self._remove_all(f"/images/{tag}" for tag in tags if f"/{self.name}" in tag)

    async def quiet(self) -> None:
        """Wait until nothing is left to do of what has ended: an Engine has done it by then."""

    async def _remove_all(self, paths: Any) -> None:
        async def remove(path: str) -> None:
            # Of what a Hub is removing at this moment, the Engine says so; it goes anyway.
            with suppress(RefusedError):
                await self.engine.call("DELETE", path, force="true")

        await asyncio.gather(*(remove(path) for path in paths))

    async def bare_start(
        self, image: str, env: Mapping[str, str] | None = None, path: str = "/"
    ) -> tuple[str, float]:
        """A container's id, and the seconds from its create to its first answer."""
        name = f"{self.name}-bare-{secrets.token_hex(4)}"
        begin = time.perf_counter()
        container, _ = await self.engine.start(name, image, env or {}, path)
        return container, time.perf_counter() - begin

    async def bare_stop(self, container: str) -> float:
        """Seconds of a stop and removal."""
        begin = time.perf_counter()
        await self.engine.stop(container)
        return time.perf_counter() - begin
