"""A JupyterHub Spawner for Docker: one container for each (user, server name).

Configure it as ``c.JupyterHub.spawner_class = "dockernamed"``.
"""

from importlib.metadata import version

from .spawner import DockerNamedSpawner

__all__ = ["DockerNamedSpawner"]
__version__ = version("dockernamed")
