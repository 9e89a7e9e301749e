"""DockerNamedSwarmSpawner: each server is a service of a Docker Swarm, on one of its machines."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from .images import reference
from .images.node_images import NodeImage
from .images.prepull import prepull_on_nodes
from .images.puller import Pulled
from .lifecycle.backends import SERVICES
from .lifecycle.runtime import Runtime
from .lifecycle.swarm_resolver import SwarmResolver
from .options import chooser
from .settings_swarm import DockerNamedSwarmSettings
from .spawner import DockerNamedSpawner


class DockerNamedSwarmSpawner(DockerNamedSwarmSettings, DockerNamedSpawner):
    """Runs each (user, server name) in a service of its own of a Docker Swarm.

    All settings of `DockerNamedSpawner` hold, under its name as well.
    """

    backend = SERVICES
    resolver_class = SwarmResolver

    async def _pull_for_user(self) -> Pulled:
        """The image as the manager has it, which nodes get by its digest."""
        pulled = await super()._pull_for_user()
        attempt, runtime = self._attempt, self._runtime
        assert attempt is not None, "JupyterHub prepares a start"
        assert attempt.settings is not None, "what is started is known by now"
        wanted = await _node_image(runtime, self.image, pulled)
        service = replace(attempt.settings.service, image=wanted.reference, auth=wanted.auth)
        attempt.settings = replace(attempt.settings, service=service)
        # Else the time that a pull on its node takes would count against start_timeout.
        nodes = runtime.node_images(self.prefix)
        await nodes.arrived(self.image, self.pull_timeout, self._pulling)
        return pulled

    async def _found(self, runtime: Runtime, image: str) -> NodeImage:
        """An image that is on the manager now."""
        return await _node_image(runtime, image, await self._pull(runtime, image))

    async def prepull_all(self, runtime: Runtime) -> None:
        """With ``prepull``, pull every image that can be chosen on every node."""
        await prepull_on_nodes(
            chooser.images(self) if self.prepull else (),
            partial(self._found, runtime),
            runtime.node_images(self.prefix),
            runtime.watcher,
            self.log,
            self.pull_timeout,
            runtime.timings.prepull_again,
        )


async def _node_image(runtime: Runtime, image: str, pulled: Pulled) -> NodeImage:
    """An image as nodes get it: what the manager has, and what that was pulled with."""
    auth = pulled.credentials
    if auth is None:
        auth = await runtime.engine.credentials(reference.parse(image).name)
    digests = (pulled.info or {}).get("RepoDigests") or ()
    return NodeImage(reference.pinned(image, digests), auth or None)
