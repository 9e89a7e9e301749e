"""One spawner's settings, at one start, as a :class:`~dockernamed.spec.ServerSpec`."""

from __future__ import annotations

import inspect
from collections.abc import Container, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from .. import naming, templates
from ..desired.entrypoint import process_of, survive_a_shell
from ..desired.network import Access, own_network
from ..desired.spec import ServerSpec
from ..desired.volumes import Storage, StorageSettings, plan_storage
from ..engine.client import create_config, host_config
from ..settings import DockerNamedSettings
from .runtime import Runtime

#: Docker's and Podman's networks from which ports are published rather than reached directly.
DEFAULT_NETWORKS = ("bridge", "podman", "default")


class SettingsResolver:
    """What the settings ask for, for one server on one Engine.

    Args:
        settings: the spawner; callables among its settings are given it.
        key: whose server.
        namespace: the fields of templates.
        runtime: the Engine.
    """

    def __init__(
        self,
        settings: DockerNamedSettings,
        key: naming.Key,
        namespace: Mapping[str, str],
        runtime: Runtime,
    ) -> None:
        self._settings, self._key, self._namespace = settings, key, namespace
        self._runtime = runtime

    async def value_of(self, setting: Any) -> Any:
        """A setting's value: callables are called with the spawner, awaitables awaited."""
        value = setting(self._settings) if callable(setting) else setting
        return await value if inspect.isawaitable(value) else value

    def expand(self, template: str, field: str) -> str:
        """One template of the setting ``field``, expanded."""
        return templates.expand(template, self._namespace, field=field)

    async def network(self) -> str:
        """Name of the servers' network."""
        if self._settings.network_name:
            return self.expand(self._settings.network_name, "network_name")
        if not self._runtime.engine_is_local:
            return "bridge"
        return own_network(await self._runtime.hub_container()) or "bridge"

    async def reach(self) -> Access:
        """How the Hub gets to its servers."""
        local = self._runtime.engine_is_local
        remote = "" if local else urlsplit(self._runtime.engine.base_url).hostname
        internal = self._settings.use_internal_ip
        if internal is None:
            in_container = local and await self._runtime.hub_container() is not None
            internal = in_container or await self.network() not in DEFAULT_NETWORKS
        if self._settings.use_internal_hostname:
            return Access("name")
        return Access("ip" if internal else "published", remote or "127.0.0.1")

    async def storage(
        self,
        image: Mapping[str, Any],
        remembered: Mapping[str, str],
        taken: Container[str],
        elsewhere: Container[str] = (),
    ) -> Storage:
        """The server's mounts.

        Args:
            image: ``GET /images/{name}/json``, or empty where it is not known.
            remembered: volumes of the last start.
            taken: volumes of the Hub's other servers.
            elsewhere: those of other users' servers.
        """
        settings = self._settings
        extra = await self.value_of(settings.extra_create_kwargs)
        return plan_storage(
            StorageSettings(
                settings.server_volume,
                settings.volumes,
                settings.read_only_volumes,
                tuple(settings.mounts),
            ),
            self._key,
            self._namespace,
            home=self._home(image, extra.get("working_dir")),
            remembered=remembered,
            taken=taken,
            elsewhere=elsewhere,
        )

    async def spec(
        self,
        image: Mapping[str, Any],
        storage: Storage,
        args: Sequence[str],
        env: Mapping[str, str],
    ) -> ServerSpec:
        """The server's container.

        Args:
            image: as for `storage`.
            storage: its mounts.
            args: arguments after the command, as JupyterHub gives them.
            env: the environment.
        """
        settings, network, access = self._settings, await self.network(), await self.reach()
        extra = templates.expand_all(
            await self.value_of(settings.extra_create_kwargs),
            self._namespace,
            field="extra_create_kwargs",
        )
        extra_host = templates.expand_all(
            await self.value_of(settings.extra_host_config),
            self._namespace,
            field="extra_host_config",
        )
        config, host = create_config(extra), host_config(extra_host)
        command = self._command(image, args)
        process: tuple[str, ...] = ()
        # A container whose root nothing can be put into is for one start.
        if not (settings.remove or host.get("ReadonlyRootfs")):
            own = image.get("Config") or {}
            names = [*env, *(entry.partition("=")[0] for entry in own.get("Env") or ())]
            process = process_of(config, own, command) if survive_a_shell(names) else ()
        published = access.by == "published" and network != "host"
        return ServerSpec(
            key=self._key,
            names=self.names(),
            image=settings.image,
            image_id=image.get("Id", ""),
            command=command,
            process=process,
            port=settings.port,
            publish_ip=self._publish_ip() if published else None,
            network=network,
            mounts=storage.mounts,
            mem_limit=settings.mem_limit,
            mem_guarantee=settings.mem_guarantee,
            cpu_limit=settings.cpu_limit,
            cpu_guarantee=settings.cpu_guarantee,
            config=config,
            host_config=host,
        )

    def names(self) -> tuple[str, str]:
        """The container's name, and the one for when somebody else has that."""
        prefix, template = self._settings.prefix, self._settings.name_template
        return (
            naming.object_name(self._key, prefix=prefix, template=template),
            naming.object_name_for_hub(self._key, prefix=prefix, template=template),
        )

    def _command(self, image: Mapping[str, Any], args: Sequence[str]) -> tuple[str, ...] | None:
        """CMD of the container; None keeps the image's own."""
        args = [self.expand(arg, "args") for arg in args]
        if self._settings.cmd:
            return (*(self.expand(word, "cmd") for word in self._settings.cmd), *args)
        own = (image.get("Config") or {}).get("Cmd") or []
        return (*own, *args) if args else None

    def _home(self, image: Mapping[str, Any], working_dir: str | None) -> str:
        """Where a user's files are: notebook_dir, unless the working directory holds it."""
        work = working_dir or (image.get("Config") or {}).get("WorkingDir") or ""
        notebooks = self.expand(self._settings.notebook_dir or "", "notebook_dir")
        inside = work not in ("", "/") and f"{notebooks}/".startswith(f"{work.rstrip('/')}/")
        return work if inside or not notebooks.startswith("/") else notebooks

    def _publish_ip(self) -> str:
        fallback = "127.0.0.1" if self._runtime.engine_is_local else "0.0.0.0"
        return self._settings.host_ip or fallback
