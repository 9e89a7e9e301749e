"""From the settings of a server in a Swarm to those of one start: what is read otherwise there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from .. import templates
from ..desired.isolation import OwnNetwork, isolation
from ..desired.network import ALL_INTERFACES, Access, is_loopback
from ..desired.placement import ServiceSettings
from ..desired.resolved import Place, PostStart, ResolvedSettings
from ..desired.swarm_network import (
    certified_in_swarm,
    check_overlay,
    is_of_service,
    name_in_swarm,
    networks_of,
    no_way,
)
from ..errors import ConfigError
from . import swarm_settings
from .resolver import SettingsResolver
from .swarm_settings import CONSTRAINTS, PREFERENCES, RESOURCES

#: Where a task's port is published: at all addresses of its node.
EVERYWHERE = "0.0.0.0"  # noqa: S104  (of the node, whose firewall is the admin's)


class SwarmResolver(SettingsResolver):
    """What the settings of one server ask for in a Swarm."""

    overlay = True

    async def place(self) -> Place:
        """See `SettingsResolver`.

        Raises:
            ConfigError: a setting that is read for that cannot work in a Swarm.
        """
        for name in (*swarm_settings.REFUSED, "use_internal_ip"):
            value = getattr(self._settings, name)
            if not callable(value):
                swarm_settings.refuse(name, value)
        place = await super().place()
        swarm_settings.refuse("network_name", place.network)
        for setting, name in self._named(place):
            self.check_network(setting, name, await self._runtime.network(name))
        return place

    @staticmethod
    def _named(place: Place) -> list[tuple[str, str]]:
        named = [] if place.own else [("network_name", place.network)]
        return [*named, *(("networks", name) for name in place.networks)]

    async def resolve(self, place: Place, args: Sequence[str]) -> ResolvedSettings:
        """See `SettingsResolver`."""
        resolved = await super().resolve(place, args)
        return replace(resolved, service=await self._service())

    async def _service(self) -> ServiceSettings:
        setting = swarm_settings.EXTRA
        given = swarm_settings.service_spec(await self._evaluated(setting))
        extra = templates.expand_all(given, self._namespace, field=setting, in_passing=True)
        (await self.judge()).service(swarm_settings.EXTRA, extra)
        return ServiceSettings(
            constraints=swarm_settings.constraints(await self._evaluated(CONSTRAINTS)),
            preferences=swarm_settings.preferences(await self._evaluated(PREFERENCES)),
            generic_resources=swarm_settings.generic_resources(await self._evaluated(RESOURCES)),
            restart_policy=await self._evaluated("restart_policy"),
            endpoint_mode=await self._evaluated("endpoint_mode"),
            stop_grace=self._settings.stop_timeout,
            extra=extra,
        )

    async def _gpu_count(self, extra: Mapping[str, Any]) -> int:
        count = await super()._gpu_count(extra)
        swarm_settings.refuse("gpus", count)
        return count

    async def _post_start(self) -> PostStart | None:
        found = await super()._post_start()
        swarm_settings.refuse("post_start_cmd", list(found.command) if found else [])
        return found

    # --- networks --------------------------------------------------------------------------

    async def _isolation(self) -> str:
        setting, name = self._settings.network_isolation, str(self._settings.network_name)
        beside = bool(await self._hub_overlays())
        return isolation(setting, name, beside=beside, swarm=True)

    def check_network(self, setting: str, name: str, info: Mapping[str, Any]) -> None:
        """See `SettingsResolver`: all of them are to be the whole Swarm's."""
        check_overlay(setting, name, info)

    async def _network(self) -> str:
        if self._settings.network_name:
            return self._expanded("network_name", str(self._settings.network_name))
        names = await self._hub_overlays()
        if not names:
            raise ConfigError(
                "network_isolation",
                self._settings.network_isolation,
                'servers would be in no network of the Swarm; set network_isolation = "user", or '
                "network_name to the name of an overlay network",
            )
        return names[0]

    async def _hub_overlays(self) -> list[str]:
        """The networks of the whole Swarm that the Hub's own container is in, by their names."""
        found = []
        for name in networks_of(await self._runtime.hub_container()):
            info = await self._runtime.network(name)
            if info.get("Scope") == "swarm" and not info.get("Ingress"):
                found.append(name)
        return found

    async def _access(self, network: str, own: OwnNetwork | None) -> Access:
        hub = await self._runtime.hub_container()
        beside = hub is not None and _is_in(hub, network, own)
        if self._settings.use_internal_hostname:
            return Access("name")
        if getattr(self._settings, "internal_ssl", False):
            return certified_in_swarm(beside, network, own)
        if beside and self._settings.use_internal_ip is not False:
            return Access("name")
        internal = own.internal if own else (await self._runtime.network(network)).get("Internal")
        if internal:
            raise no_way(network, own)
        return Access("published")

    def _publish_ip(self) -> str:
        return EVERYWHERE

    async def hub_host(self, place: Place, gateway: str | None = None) -> str:
        """See `SettingsResolver`: known beforehand, since overlays have no gateway to the Hub.

        Raises:
            ConfigError: it is not known; the message has the line to set.
        """
        hub = await self._runtime.hub_container()
        if hub is not None:
            if not _is_in(hub, place.network, place.own):
                raise _not_there(place, hub)
            return name_in_swarm(hub)
        address = ""
        if self._runtime.engine_is_local:
            address = str((await self._runtime.membership()).get("NodeAddr") or "")
        if address in ALL_INTERFACES or is_loopback(address):
            raise _unknown(address, local=self._runtime.engine_is_local)
        return address


def _is_in(hub: Mapping[str, Any], network: str, own: OwnNetwork | None) -> bool:
    """Whether the Hub's container is in a network, or will be in one that is made."""
    return not is_of_service(hub) if own is not None else network in networks_of(hub)


def _not_there(place: Place, hub: Mapping[str, Any]) -> ConfigError:
    line = 'c.DockerNamedSpawner.hub_connect_url = "http://<address>:8081"'
    if place.own is not None:
        hint = (
            "the Hub's container belongs to a service, and so cannot join the networks that are "
            "made for servers; have the service join an overlay network (docker service update "
            '--network-add), with network_isolation = "none"; or run the Hub as a container of '
            f"its own; or publish its port, and write {line}"
        )
        return ConfigError("network_isolation", place.own.scope, hint)
    where = ", ".join(networks_of(hub)) or "none"
    hint = f"the Hub's own container is not on that network; its networks: {where}; connect it "
    hint += "(docker network connect; a service: docker service update --network-add), or write "
    return ConfigError("network_name", place.network, f"{hint}{line}")


def _unknown(address: str, *, local: bool) -> ConfigError:
    why = "the Hub runs on another machine than the Swarm's manager, and its address is not known"
    if local:
        why = "other nodes cannot reach this node at the address that it has in the Swarm; give it "
        why += "another (docker swarm init --advertise-addr)"
    return ConfigError(
        "hub_connect_url",
        address or None,
        f'{why}; set c.DockerNamedSpawner.hub_connect_url = "http://<address>:8081", with an '
        "address at which all nodes reach the Hub",
    )
