"""A JupyterHub Spawner for Docker: one container for each (user, server name).

Configure it as ``c.JupyterHub.spawner_class = "dockernamed"``; or ``"dockernamed-swarm"`` for many
machines.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .hub.handlers import template_paths
    from .spawner import DockerNamedSpawner
    from .swarm_spawner import DockerNamedSwarmSpawner

__all__ = ["DockerNamedSpawner", "DockerNamedSwarmSpawner", "template_paths"]
__version__ = version("dockernamed")


def __getattr__(name: str) -> object:
    """Load what faces JupyterHub when it is asked for: the pure modules need no JupyterHub."""
    if name == "template_paths":
        from .hub.handlers import template_paths

        return template_paths
    if name == "DockerNamedSpawner":
        from .spawner import DockerNamedSpawner

        return DockerNamedSpawner
    if name == "DockerNamedSwarmSpawner":
        from .swarm_spawner import DockerNamedSwarmSpawner

        return DockerNamedSwarmSpawner
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
