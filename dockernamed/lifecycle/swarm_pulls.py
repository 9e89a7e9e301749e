"""The images of a Swarm's servers: on the manager first, then on the nodes, by their digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from ..desired.resolved import ResolvedSettings
from ..images import reference
from ..images.node_images import NodeImage
from ..images.prepull import prepull_on_nodes
from ..images.puller import Pulled
from .pulls import Pulls, Tell, told


class SwarmPulls(Pulls):
    """What the settings of one spawner have pulled onto the nodes of a Swarm."""

    async def for_start(
        self, settings: ResolvedSettings, tell: Tell, *, registry_unknown: bool
    ) -> tuple[ResolvedSettings, Mapping[str, Any]]:
        """As of `Pulls`; the settings have the image as the manager has it, by its digest."""
        image, runtime, spawner = settings.image, self._runtime, self._spawner
        pulled = await self._for_user(image, tell, registry_unknown)
        wanted = await self._as_nodes_get_it(image, pulled)
        service = replace(settings.service, image=wanted.reference, auth=wanted.auth)
        # Else the time that a pull on its node takes would count against start_timeout.
        nodes = runtime.node_images(spawner.prefix)
        await nodes.arrived(image, spawner.pull_timeout, partial(told, image, tell))
        return replace(settings, service=service), pulled.info or {}

    async def beforehand(self) -> None:
        """With ``prepull``, pull every image that can be chosen on every node."""
        runtime, spawner = self._runtime, self._spawner
        await prepull_on_nodes(
            self._choosable(),
            self._on_manager,
            runtime.node_images(spawner.prefix),
            runtime.watcher,
            spawner.log,
            spawner.pull_timeout,
            runtime.timings.prepull_again,
        )

    async def _on_manager(self, image: str) -> NodeImage:
        """An image that is on the manager now."""
        return await self._as_nodes_get_it(image, await self._pull(image))

    async def _as_nodes_get_it(self, image: str, pulled: Pulled) -> NodeImage:
        """What the manager has, and what that was pulled with."""
        auth = pulled.credentials
        if auth is None:
            auth = await self._runtime.engine.credentials(reference.parse(image).name)
        digests = (pulled.info or {}).get("RepoDigests") or ()
        return NodeImage(reference.pinned(image, digests), auth or None)
