"""One start's own objects: made under names that are free, proven ours, and taken back on failure.

No answer from the Engine is no proof that nothing was done. Every object that a launch makes
carries a label with a random value of that launch, so that what a lost answer left behind can be
told from everybody else's.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from . import naming
from .engine import Engine
from .errors import (
    DockerNamedError,
    EngineTimeout,
    EngineUnavailable,
    ForeignObject,
    NameTaken,
    NotFound,
)
from .spec import LABEL_START, Mount, ServerSpec, container_config, spec_hash
from .watcher import Watcher

Undo = Callable[[], Awaitable[None]]


class Launch:
    """What one start makes: volumes that were missing, and one container."""

    def __init__(
        self,
        engine: Engine,
        watcher: Watcher,
        log: logging.Logger,
        spec: ServerSpec,
        env: Mapping[str, str],
    ) -> None:
        self._engine, self._watcher, self._log = engine, watcher, log
        self._spec, self._env = spec, env
        self._id = secrets.token_hex(8)
        self._undo_volumes: list[Undo] = []
        self._undo_container: Undo | None = None

    # --- volumes ---------------------------------------------------------------------------

    async def claim_volumes(self, owners: Mapping[str, Mapping[str, str]]) -> None:
        """Create the named volumes that are missing; check that the others are not a stranger's.

        Args:
            owners: volume name → the labels that it must not contradict.

        Raises:
            ForeignObject: a volume is another Hub's, user's or server's.
            EngineError: the Engine refused one.
        """
        claims = [
            asyncio.ensure_future(self._claim(mount, owners.get(mount.source, {})))
            for mount in self._spec.mounts
            if mount.kind == "volume" and mount.source
        ]
        try:
            await asyncio.gather(*claims)
        finally:
            # After a first error the others still run: their ends belong to this start.
            await asyncio.gather(*claims, return_exceptions=True)

    async def _claim(self, mount: Mount, owner: Mapping[str, str]) -> None:
        """One call creates the volume or finds it there, and answers with its labels."""
        creating = asyncio.ensure_future(
            self._engine.create_volume(
                mount.source,
                driver=mount.driver,
                options=dict(mount.options),
                labels={**mount.labels, LABEL_START: self._id},
            )
        )

        async def undo() -> None:
            if ((await creating).get("Labels") or {}).get(LABEL_START) == self._id:
                await self._engine.remove_volume(mount.source)

        self._undo_volumes.append(undo)
        labels = (await asyncio.shield(creating)).get("Labels") or {}
        for label, value in owner.items():
            if labels.get(label, value) != value:
                raise ForeignObject(
                    "volume",
                    mount.source,
                    describe_owner(labels),
                    _volume_hint(label, labels[label]),
                )

    # --- the container ---------------------------------------------------------------------

    async def create(self) -> str:
        """Create the container and return its id.

        Raises:
            ForeignObject: all its names belong to others.
            EngineError: the Engine refused.
        """
        config = container_config(self._spec, self._env, start_id=self._id)
        creating = asyncio.ensure_future(self._create_under_a_free_name(config))

        async def undo() -> None:
            # The call may still be in flight in its thread: only its end tells what to remove.
            container_id = await creating
            await self._engine.remove_container(container_id, force=True, volumes=True)
            self._watcher.note_removed(container_id)

        self._undo_container = undo
        return await asyncio.shield(creating)

    async def start(self, container_id: str) -> None:
        """Start a container; from here on its volumes may hold files, and so stay."""
        self._undo_volumes.clear()
        self._watcher.note_starting(container_id)
        try:
            await self._engine.start_container(container_id)
        except (EngineTimeout, EngineUnavailable):
            info = await self._engine.inspect_container(container_id)
            if not info["State"]["Running"]:
                raise
        self._watcher.note_started(container_id)

    async def undo(self) -> None:
        """Take back whatever this launch made, newest first. Never raises: it logs."""
        undos = [*([self._undo_container] if self._undo_container else []), *self._undo_volumes]
        for undo in undos:
            try:
                await undo()
            except NotFound:
                continue
            except (DockerNamedError, asyncio.CancelledError) as error:
                # What could not be created needs no removal: its own error is on its way.
                self._log.debug("Nothing to take back, or it could not be: %s", error)

    async def _create_under_a_free_name(self, config: dict[str, Any]) -> str:
        owner = ""
        for name in self._spec.names:
            try:
                return await self._create_named(name, config)
            except NameTaken:
                labels = await self._make_way(name)
            if labels is None:
                return await self._create_named(name, config)
            owner = describe_owner(labels)
            self._log.warning("The container name %s is in use by %s", name, owner)
        raise ForeignObject(
            "container", self._spec.names[-1], owner, "set another c.DockerNamedSpawner.prefix"
        )

    async def _make_way(self, name: str) -> Mapping[str, str] | None:
        """Free a taken name if its holder is ours; else return the holder's labels."""
        try:
            holder = await self._engine.inspect_container(name)
        except NotFound:
            return None
        labels: Mapping[str, str] = holder["Config"].get("Labels") or {}
        if naming.key_of(labels) != self._spec.key:
            return labels
        self._log.warning("remove container %s: ours, and unknown until now", name)
        await self._engine.remove_container(holder["Id"], force=True, volumes=True)
        self._watcher.note_removed(holder["Id"])
        return None

    async def _create_named(self, name: str, config: dict[str, Any]) -> str:
        try:
            container_id = await self._engine.create_container(name, config)
        except (EngineTimeout, EngineUnavailable):
            container_id = await self._id_after_lost_answer(name)
            if not container_id:
                raise
        key = self._spec.key
        self._watcher.note_created(
            container_id, name, key.user, key.server, spec_hash(self._spec, self._env),
            self._spec.image,
        )  # fmt: skip
        return container_id

    async def _id_after_lost_answer(self, name: str) -> str:
        try:
            holder = await self._engine.inspect_container(name)
        except NotFound:
            return ""
        labels = holder["Config"].get("Labels") or {}
        return str(holder["Id"]) if labels.get(LABEL_START) == self._id else ""


def describe_owner(labels: Mapping[str, str]) -> str:
    """Whose object this is, in words, from its labels."""
    key = naming.key_of(labels)
    if key is None:
        hub = labels.get(naming.LABEL_HUB)
        return f"the Hub {hub!r}" if hub else "somebody else (it has no labels of ours)"
    return f"server {key.server!r} of user {key.user!r} of the Hub {key.hub!r}"


def _volume_hint(label: str, value: str) -> str:
    if label == naming.LABEL_HUB:
        return (
            f"if that Hub is this one, set c.DockerNamedSpawner.hub_id = {value!r}; if not, set "
            "another c.DockerNamedSpawner.prefix"
        )
    return "use {user_server} in its name, which is never the same for two servers"
