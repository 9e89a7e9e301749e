"""From a spawner's settings to the `ResolvedSettings` of one start.

Every callable among the settings is called here, once, and every template expanded, once; the
network, and how the Hub gets to the server, are decided here. What follows computes with values.
"""

from __future__ import annotations

import asyncio
import os
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

from traitlets import TraitError

from .. import naming, templates
from ..callables import evaluated
from ..desired.gpus import check_alone
from ..desired.hardening import Hardening
from ..desired.isolation import OwnNetwork, check_further, check_internal, isolation
from ..desired.network import (
    Access,
    check_certified,
    hub_host,
    hub_host_beside,
    own_network,
)
from ..desired.plan import UNPLUGGED
from ..desired.proof import checked_readiness
from ..desired.resolved import KeptSettings, Place, PostStart, ResolvedSettings
from ..desired.unsafe import Judge
from ..desired.volumes import RequestedVolumes, requested_volumes
from ..errors import ConfigError
from ..options.chooser import TEMPLATES
from ..options.overrides import with_names_shielded
from ..settings import DockerNamedSettings
from .further import AT_CREATE, FOR_HOST, Further, further
from .hardened import hardening_of, refuse_unsafe, wants_internal_network
from .runtime import Runtime
from .secrets import secrets_of

T = TypeVar("T")

#: Docker's and Podman's networks from which ports are published rather than reached directly.
DEFAULT_NETWORKS = ("bridge", "podman", "default")


class SettingsResolver:
    """What the settings of one server ask for on one Engine.

    Args:
        settings: the spawner; callables among its settings are given it.
        key: whose server.
        namespace: the fields of templates.
        runtime: the Engine.
        chosen: text in a setting about volumes → the part of the user's choice that put it there.
    """

    #: The networks that are made are on all nodes of a Swarm.
    overlay = False

    def __init__(
        self,
        settings: DockerNamedSettings,
        key: naming.Key,
        namespace: Mapping[str, str],
        runtime: Runtime,
        chosen: Mapping[str, str] | None = None,
    ) -> None:
        self._settings, self._key, self._namespace = settings, key, namespace
        self._runtime, self._chosen = runtime, chosen

    async def resolve(self, place: Place, args: Sequence[str]) -> ResolvedSettings:
        """All that one start needs to know of the settings.

        Args:
            place: what `place` returned.
            args: arguments after the command, as JupyterHub gives them.

        Raises:
            ConfigError: a setting cannot work; a template's field is unknown (TemplateError).
        """
        settings = self._settings
        arguments = further(
            await self._arguments(AT_CREATE), await self._arguments(FOR_HOST), self._namespace
        )
        resolved = ResolvedSettings(
            key=self._key,
            names=self.names(),
            image=settings.image,
            place=place,
            kept=self.kept(place),
            cmd=tuple(settings.cmd) if settings.cmd else None,
            args=tuple(args),
            notebook_dir=self._expanded("notebook_dir", settings.notebook_dir or ""),
            volumes=self._volumes(arguments),
            mem_limit=await self._limit("mem_limit"),
            mem_guarantee=settings.mem_guarantee,
            cpu_limit=await self._limit("cpu_limit"),
            cpu_guarantee=settings.cpu_guarantee,
            uid=await self._number("uid"),
            gid=await self._number("gid"),
            groups=await self._groups(),
            gpu_count=await self._gpu_count(arguments.host_config),
            secrets=await secrets_of(settings),
            private_tokens=settings.private_tokens,
            config=arguments.config,
            host_config=arguments.host_config,
            hardening=await self._hardening(),
            post_start=await self._post_start(),
        )
        await self._refuse_unsafe(resolved)
        await self._refuse_ways_out(resolved)
        return resolved

    async def _hardening(self) -> Hardening:
        found = hardening_of(self._settings)
        if not found.bounds_logs:
            return found
        return replace(found, log_driver=await self._runtime.log_driver())

    async def judge(self) -> Judge:
        """Who tells what may be created, with the setting ``allow_unsafe``."""
        allowed = frozenset(self._settings.allow_unsafe)
        runtime = self._runtime
        real = os.path.realpath if await runtime.shares_files() else str
        return Judge(allowed, await runtime.engine_paths(), real)

    async def _refuse_unsafe(self, resolved: ResolvedSettings) -> None:
        judge = await self.judge()
        # In a thread: to follow links is to read a file system, perhaps a remote one.
        await asyncio.to_thread(refuse_unsafe, resolved, judge)

    async def _refuse_ways_out(self, resolved: ResolvedSettings) -> None:
        """With ``internal_network``: the one place that decides whether a network will do."""
        if not resolved.hardening.wants_internal_network:
            return
        mode, place = resolved.host_config.get("NetworkMode"), resolved.place
        names = [("networks", name) for name in place.networks]
        if mode or place.own is None:  # else it is made without a way out
            names.append(("network_name", str(mode or place.network)))
        for setting, name in names:
            if name in UNPLUGGED or not (await self._runtime.network(name)).get("Internal"):
                hint = (
                    'servers would have a way out, which hardening = "strict" and internal_network '
                    "do not let them have; name a network that was made with docker network create "
                    '--internal, or set network_isolation = "user" instead of network_name, or set '
                    "c.DockerNamedSpawner.internal_network = False"
                )
                raise ConfigError(setting, name, hint)

    async def place(self) -> Place:
        """The server's network, and how the Hub gets there.

        Raises:
            EngineError: the Hub's own container could not be looked at.
            ConfigError: the settings of networks contradict each other; ``network_name`` or
                ``networks`` has an unknown field (TemplateError).
        """
        own = await self._own_network()
        network = own.names[0] if own else await self._network()
        access = await self._access(network, own)
        published = access.by == "published" and network != "host"
        publish_ip = self._publish_ip() if published else None
        return Place(network, access, publish_ip, own, self._further_networks(network))

    async def hub_host(self, place: Place, gateway: str | None = None) -> str | None:
        """At which host servers reach the Hub; None where that is not known, or not yet.

        Args:
            place: of the server.
            gateway: of the network that was made for it; None as long as that may be missing.

        Raises:
            ConfigError: the Hub cannot be reached there; the message has the line to set.
            EngineError: the Engine could not be asked.
        """
        runtime = self._runtime
        if not runtime.engine_is_local:
            return None
        if place.own is None:
            info = await runtime.network(place.network)
            return hub_host(place.network, info, await runtime.hub_container())
        if gateway is None:
            return None
        return hub_host_beside(place.network, gateway, await runtime.hub_container())

    def kept(self, place: Place) -> KeptSettings:
        """What stays with a server at a place.

        Raises:
            ConfigError: ``readiness`` has none of its forms, or an unknown field (TemplateError).
        """
        settings = self._settings
        return KeptSettings(
            access=place.access,
            port=settings.port,
            remove=settings.remove,
            keep_failed=settings.keep_failed,
            stop_timeout=settings.stop_timeout,
            delete_volumes=settings.delete_volumes,
            readiness=checked_readiness(self._expanded("readiness", str(settings.readiness))),
        )

    def names(self) -> tuple[str, str]:
        """The container's name, and the one for when somebody else has that."""
        prefix, template = self._settings.prefix, self._settings.name_template
        return (
            naming.object_name(self._key, prefix=prefix, template=template),
            naming.object_name_for_hub(self._key, prefix=prefix, template=template),
        )

    async def scope(self) -> str:
        """Whose servers share a network with the server: see `isolation`.

        Raises:
            ConfigError: the settings of networks contradict each other.
            EngineError: the Engine could not be asked.
        """
        scope = await self._isolation()
        if scope != "none":
            internal = wants_internal_network(self._settings)
            check_internal(internal, self._settings.use_internal_ip)
        return scope

    async def _isolation(self) -> str:
        setting, name = self._settings.network_isolation, str(self._settings.network_name)
        beside = await self._runtime.hub_container() is not None
        asked = not name and setting in (None, "hub")
        podman = asked and await self._runtime.podman()
        return isolation(setting, name, beside=beside, podman=podman)

    async def _own_network(self) -> OwnNetwork | None:
        """The network that is made for the server, if one is."""
        scope = await self.scope()
        if scope == "none":
            return None
        return OwnNetwork.of(
            self._key,
            scope,
            prefix=self._settings.prefix,
            internal=wants_internal_network(self._settings),
            overlay=self.overlay,
        )

    def check_network(self, setting: str, name: str, info: Mapping[str, Any]) -> None:
        """Refuse a network that is there, but will not do: none, of those of one Engine.

        Args:
            setting: that names it.
            name: of the network.
            info: ``GET /networks/{name}``.

        Raises:
            ConfigError: servers cannot be in it.
        """

    async def _network(self) -> str:
        if self._settings.network_name:
            return self._expanded("network_name", str(self._settings.network_name))
        return own_network(await self._runtime.hub_container()) or "bridge"

    def _further_networks(self, network: str) -> tuple[str, ...]:
        names = self._expanded("networks", list(self._settings.networks))
        check_further(network, names)
        return tuple(dict.fromkeys(name for name in names if name != network))

    async def _access(self, network: str, own: OwnNetwork | None) -> Access:
        if self._settings.use_internal_hostname:
            return Access("name")
        if getattr(self._settings, "internal_ssl", False):
            return await self._certified_access(network, own)
        internal = self._settings.use_internal_ip
        if internal is None:
            # Ports cannot be published from a network that leads nowhere. From the others of ours
            # they are: that also works where the host has no way to their containers.
            elsewhere = own.internal if own else network not in DEFAULT_NETWORKS
            internal = elsewhere or await self._runtime.hub_container() is not None
        return Access("ip" if internal else "published", self._engine_host())

    async def _certified_access(self, network: str, own: OwnNetwork | None) -> Access:
        """With internal_ssl: by a name or address that is known before the container is."""
        beside = await self._runtime.hub_container() is not None
        if check_certified(network, own, beside, self._settings.use_internal_ip) == "name":
            return Access("name")
        return Access("published", self._engine_host())

    def _engine_host(self) -> str:
        local = self._runtime.engine_is_local
        remote = "" if local else urlsplit(self._runtime.engine.base_url).hostname
        return remote or "127.0.0.1"

    def _publish_ip(self) -> str:
        everywhere = "0.0.0.0"  # noqa: S104  (of another host, whose addresses nobody knows here)
        fallback = "127.0.0.1" if self._runtime.engine_is_local else everywhere
        return self._settings.host_ip or fallback

    def _volumes(self, arguments: Further) -> RequestedVolumes:
        settings = self._settings
        return requested_volumes(
            self._namespace,
            server_volume=settings.server_volume,
            volumes=settings.volumes,
            read_only_volumes=settings.read_only_volumes,
            mounts=tuple(settings.mounts),
            binds=arguments.binds,
            api_mounts=arguments.mounts,
            chosen=self._chosen,
        )

    async def _post_start(self) -> PostStart | None:
        settings = self._settings
        command = words_of(await evaluated(settings.post_start_cmd, settings))
        if not command:
            return None
        user, timeout = settings.post_start_user, settings.post_start_timeout
        return PostStart(command, user, timeout, settings.post_start_failure)

    async def _evaluated(self, setting: str) -> Any:
        """A setting's value, or what its callable returns."""
        return await evaluated(getattr(self._settings, setting), self._settings)

    async def _number(self, setting: str) -> int | None:
        """A setting with the number of a user or group, or a callable's."""
        value = await self._evaluated(setting)
        return None if value is None else _id(setting, value)

    async def _groups(self) -> tuple[int, ...]:
        setting = "supplemental_gids"
        value = await evaluated(self._settings.supplemental_gids, self._settings)
        if value is not None and (isinstance(value, str) or not isinstance(value, Iterable)):
            raise ConfigError(setting, value, "use a list of whole numbers, such as [2000, 2001]")
        return tuple(_id(setting, one) for one in value or ())

    async def _limit(self, setting: str) -> Any:
        """A limit as a number, also where a callable gave it as text, such as ``"2G"``."""
        settings = self._settings
        value = await evaluated(getattr(settings, setting), settings)
        if value is None:
            return None
        hint = 'its callable must return a number, or for memory text such as "2G"'
        try:
            number = settings.traits()[setting]._validate(settings, value)
        except (TraitError, TypeError, ValueError) as error:
            raise ConfigError(setting, value, hint) from error
        if callable(number):
            raise ConfigError(setting, value, hint)
        return number

    async def _gpu_count(self, extra: Mapping[str, Any]) -> int:
        """How many GPUs the server gets; ``extra`` are the admin's own keys of HostConfig."""
        count = await evaluated(self._settings.gpus, self._settings) or 0
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ConfigError("gpus", count, "use a whole number that is not negative, such as 1")
        if count:
            check_alone(extra, "gpus", count)
        elif self._settings.gpu_devices:
            check_alone(extra, "gpu_devices", self._settings.gpu_devices)
        return count

    async def _arguments(self, setting: str) -> Mapping[str, Any]:
        """One of the settings with docker-py's arguments; a callable's None means none."""
        given = getattr(self._settings, setting)
        value = await evaluated(given, self._settings)
        if callable(given):
            names = (self._key.user, self._key.server)
            value = with_names_shielded(setting, value, names, TEMPLATES)
        return {} if value is None else cast("Mapping[str, Any]", value)

    def _expanded(self, setting: str, value: T) -> T:
        return templates.expand_all(value, self._namespace, field=setting)


def words_of(value: object) -> tuple[str, ...]:
    """The setting ``post_start_cmd`` as program and arguments.

    Raises:
        ConfigError: it is neither a list of words nor text that can be split into words.
    """
    setting = "post_start_cmd"
    if isinstance(value, str):
        try:
            return tuple(shlex.split(value))
        except ValueError as error:
            raise ConfigError(setting, value, f"it cannot be split into words: {error}") from None
    if value is None:
        return ()
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        hint = 'use a list of words, such as ["/opt/setup", "--quick"]'
        raise ConfigError(setting, value, hint)
    return tuple(value)


def _id(setting: str, value: object) -> int:
    """The number of a user or group."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32 - 1:
        raise ConfigError(setting, value, "use a whole number that is not negative, such as 1000")
    return value
