"""A JupyterHub Spawner for Docker: one container for each (user, server name).

Configure it as ``c.JupyterHub.spawner_class = "dockernamed"``.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .spawner import DockerNamedSpawner

__all__ = ["DockerNamedSpawner"]
__version__ = version("dockernamed")


def __getattr__(name: str) -> object:
    """Load the spawner when it is asked for: the pure rooms need no JupyterHub.

    A Hub asks while it reads its configuration, whichever way the class is named there. JupyterHub
    has no hook for a spawner at the Hub's start, so this is where that start is noticed.
    """
    if name != "DockerNamedSpawner":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import hubstart
    from .spawner import DockerNamedSpawner

    hubstart.when_hub_runs(DockerNamedSpawner)
    return DockerNamedSpawner
