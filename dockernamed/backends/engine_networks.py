"""What the backends over an Engine have in common: its networks, and how its answers are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..desired.isolation import OwnNetwork
from ..desired.network import gateway_of
from ..engine.client import Engine
from ..errors import NotFound
from .base import SeenNetwork, SeenVolume


class EngineNetworks:
    """What backends over an Engine do alike, see `base.Things`.

    Args:
        engine: whose networks.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create_network(self, name: str, network: OwnNetwork) -> str:
        """See `base.Things.create_network`."""
        return await self._engine.create_network(name, network.body(name))

    async def inspect_network(self, name: str) -> SeenNetwork:
        """See `base.Things.inspect_network`."""
        return seen_network(await self._engine.inspect_network(name))

    async def has_network(self, id: str) -> bool:
        """See `base.Things.has_network`."""
        try:
            await self._engine.inspect_network(id)
        except NotFound:
            return False
        return True

    async def is_network_gone(self, id: str) -> bool:
        """See `base.Things.is_network_gone`."""
        return not await self.has_network(id)

    async def list_networks(self, labels: Mapping[str, str]) -> Sequence[SeenNetwork]:
        """See `base.Things.list_networks`."""
        return [seen_network(one) for one in await self._engine.list_networks(pairs(labels))]

    async def remove_network(self, id: str) -> None:
        """See `base.Things.remove_network`."""
        await self._engine.remove_network(id)

    async def join(self, network: str, container: str) -> None:
        """See `base.Things.join`."""
        await self._engine.connect_network(network, container)

    async def leave(self, network: str, container: str) -> None:
        """See `base.Things.leave`."""
        try:
            await self._engine.disconnect_network(network, container)
        except NotFound:
            return


def seen_network(info: Mapping[str, Any]) -> SeenNetwork:
    """What ``GET /networks/{id}`` says."""
    return SeenNetwork(
        str(info["Id"]),
        str(info["Name"]),
        info.get("Labels") or {},
        gateway_of(info),
        frozenset(info.get("Containers") or ()),
    )


def seen_volume(info: Mapping[str, Any]) -> SeenVolume:
    """What ``GET /volumes/{name}`` says."""
    driver = str(info.get("Driver") or "local")
    return SeenVolume(str(info["Name"]), info.get("Labels") or {}, driver)


def pairs(labels: Mapping[str, str]) -> list[str]:
    """Labels as the Engine's filters have them."""
    return [f"{name}={value}" for name, value in labels.items()]
