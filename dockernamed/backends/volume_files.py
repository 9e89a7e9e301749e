"""The end of a Swarm's volumes: their files are deleted where they are, now or later.

A manager can remove the volumes of its own machine, and sees none of other nodes. There a task
deletes the files, and an empty volume stays. Where the node takes no tasks just now, what is left
to be done is kept in the Swarm itself, so that it is done once the node is back, whatever became of
the Hub meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from .. import naming
from ..desired.volume_records import LABEL_EMPTIES, LABEL_REMOVAL, Removal, emptying, local_volumes
from ..engine.client import Engine
from ..engine.swarm import Swarm
from ..errors import Conflict, NameTaken, NotFound
from ..timeouts import retry, within
from ..timings import DEFAULT, Timings
from .nodes import Nodes, away, looks, until_over
from .service_status import mounts_of
from .task_state import task_from


class VolumeFiles:
    """Deletes the files of a Swarm's volumes, on the node where they are.

    Args:
        engine: one of its managers.
        swarm: the Swarm.
        nodes: of that.
        log: where it is told what is left for later.
        timings: how long is waited for what.
    """

    def __init__(
        self,
        engine: Engine,
        swarm: Swarm,
        nodes: Nodes,
        log: logging.Logger,
        timings: Timings = DEFAULT,
    ) -> None:
        self._engine, self._swarm, self._log, self._timings = engine, swarm, log, timings
        self._nodes = nodes
        self._ours: set[str] = set()  # ids of services that delete files for this process
        self._told: set[Removal] = set()

    async def delete(self, removal: Removal, patience: float) -> bool:
        """Delete a volume's files. False: that is left for later, and was told.

        Args:
            removal: where they are.
            patience: seconds that a task may take for it.

        Raises:
            Conflict: a container on the manager uses it.
            EngineError: it is not known whether it was done.
        """
        if not removal.node or await self.is_here(removal.node):
            await self._remove_here(removal.volume)
            return True
        node = await self._nodes.ask(removal.node)
        if node is None:
            self._tell(removal, "that node has left the Swarm, and keeps the files")
            return True
        why = away(node)
        problem = f"the node {why.state}" if why else await self._empty(removal, patience)
        if problem:
            self._tell(removal, f"its files will be deleted later: {problem}")
            await self._defer(removal)
        return not problem

    async def is_here(self, node: str) -> bool:
        """Whether a node is the manager that is asked."""
        return (await self._swarm.membership()).get("NodeID") == node

    async def left(self, *, hub: str = "") -> dict[str, Removal]:
        """All that is left to be done, of one Hub or of any, by the id of what keeps it."""
        labels = [LABEL_REMOVAL, *([f"{naming.LABEL_HUB}={hub}"] if hub else ())]
        found = await self._swarm.list_configs(labels)
        read = {str(one["ID"]): Removal.read(one["Spec"].get("Labels") or {}) for one in found}
        return {id: removal for id, removal in read.items() if removal is not None}

    async def tidy(self, hub: str, is_there: Callable[[Removal], Awaitable[bool]]) -> None:
        """Do what was left, as far as that is possible by now.

        Args:
            hub: the Hub's id.
            is_there: whether servers have such a volume on that node again: its files stay.
        """
        for id in await self._services(f"{naming.LABEL_HUB}={hub}"):
            if id not in self._ours:  # of a Hub that was killed
                await self._swarm.remove_service(id)
        for id, removal in (await self.left(hub=hub)).items():
            if not await is_there(removal) and await self.delete(
                removal, self._timings.empty_volume
            ):
                await self._swarm.remove_config(id)
                self._log.info("Removed volume %s at last", removal.volume)

    async def stop(self, volume: str) -> None:
        """End what deletes a volume's files for a Hub that is gone: they are wanted again."""
        label = f"{LABEL_EMPTIES}={volume}"
        for id in await self._services(label):
            await self._swarm.remove_service(id)
        await until_over(self._swarm, self._nodes, [label], self._timings)

    async def _services(self, label: str) -> list[str]:
        found = await self._swarm.list_services([LABEL_EMPTIES, label])
        return [str(service["ID"]) for service in found]

    async def _remove_here(self, volume: str) -> None:
        """Remove one of the manager itself; containers of removed tasks take a moment to go."""

        async def remove() -> None:
            try:
                await self._engine.remove_volume(volume)
            except NotFound:
                self._log.debug("Volume %s is not on this node", volume)

        await retry(remove, self._timings.volume_free, on=Conflict)

    async def _empty(self, removal: Removal, patience: float) -> str:
        """Have a task delete the files; why they are not deleted yet, or ""."""
        if not removal.image:
            return "no server has used it yet, whose image could do that"
        if await self._is_mounted(removal):
            return "a task there still uses it"
        name = f"dockernamed-empty-{secrets.token_hex(8)}"
        id = await self._swarm.create_service(emptying(removal, name))
        self._ours.add(id)
        try:
            return await within(patience, self._end_of(id))
        except asyncio.TimeoutError:
            return "that takes long"  # what is deleted by now is
        finally:
            self._ours.discard(id)
            await self._swarm.remove_service(id)

    async def _end_of(self, service: str) -> str:
        """Wait for the end of a service's only task: what went wrong with it, or ""."""
        async for _ in looks(self._timings):
            for one in await self._swarm.list_tasks(services=[service], convert=task_from):
                if one.over:
                    done = one.state == "complete"
                    return "" if done else one.words or f"exit code {one.exit_code}"
        raise AssertionError  # looks never end

    async def _is_mounted(self, removal: Removal) -> bool:
        """Whether a task on the node has the volume, also after a wait: it may be about to end."""

        def has_it(task: Mapping[str, Any]) -> bool | None:
            mounted = local_volumes(mounts_of({"TaskTemplate": task.get("Spec") or {}}))
            return True if removal.volume in mounted and not task_from(task).over else None

        async def look() -> None:
            if await self._swarm.list_tasks(nodes=[removal.node], convert=has_it):
                raise Conflict(f"remove volume {removal.volume}", "a task uses it")

        try:
            await retry(look, self._timings.volume_free, on=Conflict)
        except Conflict:
            return True
        return False

    async def _defer(self, removal: Removal) -> None:
        data = removal.volume.encode("utf-8", "surrogatepass")
        try:
            await self._swarm.create_config(removal.config_name, data, removal.labels)
        except NameTaken:
            self._log.debug("Volume %s is to be removed later already", removal.volume)

    def _tell(self, removal: Removal, what: str) -> None:
        if removal not in self._told:
            self._log.warning("Volume %s on %s: %s", removal.volume, removal.hostname, what)
            self._told.add(removal)
