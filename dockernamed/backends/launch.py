"""One start's own objects: made under names that are free, proven ours, and taken back on failure.

No answer from the Engine is no proof that nothing was done: what a call may have made is noted
before the call, in `leftovers.StartResources`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Coroutine, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from .. import naming
from ..desired.entrypoint import ENV_FILE, SHELL, variables
from ..desired.mounts import Mount
from ..desired.spec import LABEL_START, ServerSpec, container_config, spec_hash, volumes_of
from ..engine.archive import pack
from ..engine.client import Engine
from ..errors import EngineError, ForeignObject, NameTaken, NotFound
from .rollback import TRANSIENT, Rollback, force_remove
from .watcher import Watcher

T = TypeVar("T")

#: Modes of Docker and Podman in which a container need not be in a network.
UNPLUGGED = ("host", "none", "slirp4netns", "pasta")
#: Networks that are always there.
BUILT_IN = ("bridge", "podman", *UNPLUGGED)


class Launch:
    """What one start makes: volumes that were missing, and one container."""

    def __init__(
        self,
        engine: Engine,
        watcher: Watcher,
        leftovers: Rollback,
        log: logging.Logger,
        spec: ServerSpec,
        env: Mapping[str, str],
        others: Container[str] = (),
    ) -> None:
        self._engine, self._watcher, self._leftovers, self._log = engine, watcher, leftovers, log
        self._spec, self._env, self._others = spec, env, others
        self._made = leftovers.begin(spec.key)
        self._calls: set[asyncio.Task[Any]] = set()

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
            self._claim(mount, owners.get(mount.source, {}))
            for mount in self._spec.mounts
            if mount.kind == "volume" and mount.source
        ]
        claims += [self._look_at(name) for name in volumes_of(self._spec.host_config)]
        for error in await asyncio.gather(*claims, return_exceptions=True):
            if isinstance(error, BaseException):
                raise error

    async def _claim(self, mount: Mount, owner: Mapping[str, str]) -> None:
        """One call creates the volume or finds it there, and answers with its labels."""
        await self._leftovers.claim(self._made, mount.source)
        volume = await self._to_its_end(
            self._engine.create_volume(
                mount.source,
                driver=mount.driver,
                options=dict(mount.options),
                labels={**mount.labels, LABEL_START: self._made.id},
            )
        )
        labels = volume.get("Labels") or {}
        if labels.get(LABEL_START) != self._made.id:
            self._made.volumes.discard(mount.source)
        _refuse_strangers(mount.source, labels, owner)

    async def _look_at(self, name: str) -> None:
        """A volume that the admin mounts past us: not ours to make, but it may be another Hub's."""
        try:
            volume = await self._engine.inspect_volume(name)
        except NotFound:
            return
        owner = {naming.LABEL_HUB: self._spec.key.hub}
        _refuse_strangers(name, volume.get("Labels") or {}, owner)

    # --- the container ---------------------------------------------------------------------

    async def create(self) -> str:
        """Create the container and return its id.

        Raises:
            ForeignObject: all its names belong to others.
            EngineError: the Engine refused.
        """
        config = container_config(self._spec, self._env, start_id=self._made.id)
        container_id = await self._to_its_end(self._create_under_a_free_name(config))
        if not self._spec.process or await self._engine.has_file(container_id, SHELL):
            return container_id
        await self._remove(container_id, f"for one start only: {self._spec.image} has no {SHELL}")
        self._made.containers.discard(container_id)
        self._spec = replace(self._spec, process=())
        return await self.create()

    async def hand_over(self, container_id: str) -> bool:
        """Give a kept container this start's tokens; one that is of no use any more is removed.

        Raises:
            EngineError: the Engine could not be asked.
        """
        file = pack({ENV_FILE: variables(self._env).encode()})
        try:
            cause = await self._cut_off(container_id)
            if not cause:
                await self._engine.put_archive(container_id, "/", file)
        except TRANSIENT:
            raise
        except EngineError as error:
            cause = f"it cannot take a new token: {error}"
        if cause:
            await self._remove(container_id, cause)
        return not cause

    async def _cut_off(self, container_id: str) -> str:
        """Why a kept container would not be reached in its networks any more; "" if it would.

        Its start would be refused, or nobody could get to its server, this time and ever after.
        """
        info = await self._engine.inspect_container(container_id)
        mode = str(info["HostConfig"].get("NetworkMode"))
        networks = info["NetworkSettings"].get("Networks") or {}
        if not networks and mode not in UNPLUGGED and not mode.startswith("container:"):
            return "it was disconnected from its network"
        for name, network in networks.items():
            # The Engine's own get a new id whenever it starts, which harms nobody.
            if network.get("NetworkID") and name not in BUILT_IN:
                try:
                    await self._engine.inspect_network(network["NetworkID"])
                except NotFound:
                    return f"its network {name} was removed since"
        return ""

    async def start(self, container_id: str) -> None:
        """Start a container: the new one, or one that was kept from an earlier run."""
        if container_id not in self._made.containers:
            self._made.reused = container_id
        self._watcher.note_starting(container_id)
        try:
            await self._to_its_end(self._engine.start_container(container_id))
        except TRANSIENT:
            self._made.start_in_doubt = bool(self._made.reused)
            if not await self._was_started(container_id):
                raise
            self._made.start_in_doubt = False
        self._watcher.note_started(container_id)

    async def _was_started(self, container_id: str) -> bool:
        state = (await self._engine.inspect_container(container_id))["State"]
        # It may have ended by now: that is for others to find out and to say why. What was kept
        # has run before, so there it proves nothing.
        has_run = not str(state.get("StartedAt") or "0001").startswith("0001")
        return bool(state["Running"]) or (has_run and not self._made.reused)

    # --- the end ---------------------------------------------------------------------------

    def keep(self) -> None:
        """Let all that was made stay."""
        self._leftovers.keep(self._made)

    async def undo(self) -> None:
        """Take back whatever this launch made. Never raises."""
        if self._calls:
            # Those still in flight: only their ends tell what there is.
            await asyncio.wait(self._calls)
        await self._leftovers.undo(self._made)

    async def _to_its_end(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call that goes on when we are cancelled, as the Engine's work would."""
        task = asyncio.ensure_future(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return await asyncio.shield(task)

    # --- names -----------------------------------------------------------------------------

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
        if naming.key_of(labels) != self._spec.key or holder["Id"] in self._others:
            return labels
        gone = await self._remove(holder["Id"], "ours, and unknown until now")
        return None if gone else labels

    async def _remove(self, container_id: str, cause: str) -> bool:
        key = self._spec.key
        self._log.warning(
            "%s/%s: remove container %s: %s", key.user, key.server, container_id[:12], cause
        )
        return await force_remove(self._engine, self._watcher, container_id)

    async def _create_named(self, name: str, config: dict[str, Any]) -> str:
        try:
            container_id = await self._engine.create_container(name, config)
        except TRANSIENT:
            container_id = await self._id_after_lost_answer(name)
            if not container_id:
                raise
        self._made.containers.add(container_id)
        key = self._spec.key
        self._watcher.note_created(
            container_id, name, key.user, key.server, spec_hash(self._spec, self._env),
            self._spec.image,
        )  # fmt: skip
        return container_id

    async def _id_after_lost_answer(self, name: str) -> str:
        self._made.in_doubt = True
        try:
            holder = await self._engine.inspect_container(name)
        except NotFound:
            return ""
        labels = holder["Config"].get("Labels") or {}
        if labels.get(LABEL_START) != self._made.id:
            return ""
        self._made.in_doubt = False
        return str(holder["Id"])


def describe_owner(labels: Mapping[str, str]) -> str:
    """Whose object this is, in words, from its labels."""
    key = naming.key_of(labels)
    if key is None:
        hub = labels.get(naming.LABEL_HUB)
        return f"the Hub {hub!r}" if hub else "somebody else (it has no labels of ours)"
    return f"server {key.server!r} of user {key.user!r} of the Hub {key.hub!r}"


def _refuse_strangers(name: str, labels: Mapping[str, str], owner: Mapping[str, str]) -> None:
    for label, value in owner.items():
        if labels.get(label, value) != value:
            hint = _volume_hint(label, labels[label])
            raise ForeignObject("volume", name, describe_owner(labels), hint)


def _volume_hint(label: str, value: str) -> str:
    if label == naming.LABEL_HUB:
        return (
            f"if that Hub is this one, set c.DockerNamedSpawner.hub_id = {value!r}; if not, set "
            "another c.DockerNamedSpawner.prefix"
        )
    return "use {user_server} in its name, which is never the same for two servers"
