"""The same for Docker Swarm: each server is a service, and runs on one of many machines."""

from __future__ import annotations

from .desired.resolved import Place
from .lifecycle.backends import SERVICES
from .lifecycle.swarm_resolver import SwarmResolver
from .settings_swarm import DockerNamedSwarmSettings
from .spawner import DockerNamedSpawner


class DockerNamedSwarmSpawner(DockerNamedSwarmSettings, DockerNamedSpawner):
    """Runs each (user, server name) in a service of its own of a Docker Swarm.

    All settings of `DockerNamedSpawner` hold, under its name as well.
    """

    backend = SERVICES
    resolver_class = SwarmResolver

    async def _hub_host(self, place: Place, gateway: str | None) -> str:
        resolver = self._resolver
        assert isinstance(resolver, SwarmResolver), "resolver_class is one"
        return await resolver.hub_host(place)
