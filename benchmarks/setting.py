"""What all figures are measured in: an Engine, its images, Hubs of all contenders, one name."""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from .bare import BareEngine, RefusedError
from .hubs import CONTENDERS, Hub

BUSYBOX = "dockernamed-test/busybox:latest"
LAB = "dockernamed/lab:latest"


@dataclass
class Setting:
    """Use as ``async with``; all objects it names are removed at the end.

    Attributes:
        name: begins the names of everything that is made on the Engine.
        gateway: this host's address in the containers' network.
    """

    name: str = field(default_factory=lambda: f"bench{secrets.token_hex(3)}")
    gateway: str = ""

    async def __aenter__(self) -> Setting:
        self._stack = AsyncExitStack()
        self._folder = Path(
            self._stack.enter_context(tempfile.TemporaryDirectory(prefix=self.name))
        )
        self.engine = BareEngine()
        self._stack.push_async_callback(self.engine.close)
        self._stack.push_async_callback(self.tidy)
        network = await self.engine.call("GET", "/networks/bridge")
        config = network["IPAM"]["Config"][0]
        self.gateway = config.get("Gateway") or _first_address(config["Subnet"])
        return self

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
        docker_host: str | None = None,
    ) -> AsyncIterator[list[Hub]]:
        """One running Hub for each contender, alike but for the Spawner."""
        hubs = [
            Hub(
                contender,
                self._folder / f"{contender}-{secrets.token_hex(3)}",
                self.name,
                image,
                self.gateway,
                further=further,
                docker_host=docker_host,
            )
            for contender in contenders
        ]
        try:
            for hub in hubs:
                await hub.start()
            yield hubs
        finally:
            for hub in hubs:
                await hub.stop()
            await self.tidy()

    async def tidy(self) -> None:
        """Remove every container and volume that begins with our name."""
        for container in await self.engine.call("GET", "/containers/json", all="true"):
            if any(name.startswith(f"/{self.name}") for name in container["Names"]):
                await self._remove(f"/containers/{container['Id']}", force="true", v="true")
        for volume in (await self.engine.call("GET", "/volumes"))["Volumes"] or ():
            if volume["Name"].startswith(self.name):
                await self._remove(f"/volumes/{volume['Name']}", force="true")

    async def remove(self, name: str) -> None:
        """Remove a container at once, without a stop."""
        await self._remove(f"/containers/{name}", force="true", v="true")

    async def _remove(self, path: str, **params: str) -> None:
        try:
            await self.engine.call("DELETE", path, **params)
        except RefusedError as error:
            print(f"left behind: {error}")

    async def bare_start(
        self, image: str, env: dict[str, str] | None = None, path: str = "/"
    ) -> tuple[str, float]:
        """A container's id, and the seconds from its create to its first answer."""
        name = f"{self.name}-bare-{secrets.token_hex(4)}"
        begin = time.perf_counter()
        container, _ = await self.engine.start(name, image, env or {}, path=path)
        return container, time.perf_counter() - begin


def _first_address(subnet: str) -> str:
    import ipaddress

    return str(next(ipaddress.ip_network(subnet, strict=False).hosts()))
