"""The URL at which a server finds the Hub, where the admin has not set one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from ..desired.network import ALL_INTERFACES, certified, check_reachable
from ..desired.resolved import Place
from ..lifecycle.resolver import SettingsResolver
from .internal_ssl import names_in


class HubUrl:
    """The setting ``hub_connect_url`` of one server, set where the admin left it to us.

    Args:
        spawner: the server's.

    Attributes:
        hosts: name → address of the hosts that the server's container has to be told of.
    """

    def __init__(self, spawner: Any) -> None:
        self._spawner = spawner
        self._found: str | None = None
        self.hosts: Mapping[str, str] = {}

    async def find(
        self, resolver: SettingsResolver, place: Place, gateway: str | None = None
    ) -> None:
        """Set it for a server.

        Args:
            resolver: reads the spawner's settings.
            place: of the server.
            gateway: of the network that was made for it; None as long as that may be missing.

        Raises:
            ConfigError: no server can reach the Hub there; the message has the line to set.
            EngineError: the Engine could not be asked.
        """
        spawner, hub = self._spawner, self._spawner.hub
        set_by_admin = spawner.hub_connect_url != self._found
        if set_by_admin or hub.connect_ip or hub.connect_url:
            return
        if place.network != "host":
            check_reachable(hub.ip)
        if hub.ip not in ALL_INTERFACES:
            return
        host = await resolver.hub_host(place, gateway)
        if host is None:
            return
        if spawner.internal_ssl:
            certificate = spawner.user.settings["internal_ssl_cert"]
            names = await asyncio.to_thread(names_in, certificate)
            host, self.hosts = certified(host, names)
        url = f"{hub.proto}://{host}:{hub.connect_port or hub.port}"
        spawner.hub_connect_url = self._found = url
