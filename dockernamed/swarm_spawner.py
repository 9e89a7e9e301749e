"""DockerNamedSwarmSpawner: each server is a service of a Docker Swarm, on one of its machines."""

from __future__ import annotations

from .lifecycle.backends import SERVICES
from .lifecycle.swarm_pulls import SwarmPulls
from .lifecycle.swarm_resolver import SwarmResolver
from .settings_swarm import DockerNamedSwarmSettings
from .spawner import DockerNamedSpawner


class DockerNamedSwarmSpawner(DockerNamedSwarmSettings, DockerNamedSpawner):
    """Runs each (user, server name) in a service of its own of a Docker Swarm.

    All settings of `DockerNamedSpawner` hold, under its name as well.
    """

    backend = SERVICES
    resolver_class = SwarmResolver
    pulls_class = SwarmPulls
