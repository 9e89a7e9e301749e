"""The named volumes of a Swarm's services: what is known of them, and on which node they are.

A volume of the Engine's own driver is on one node, and no manager sees those of other nodes. What
is known of each is kept in the Swarm itself (`desired.volume_records`), so that it outlives the Hub
and whatever machine the Hub was on. Whoever starts the first service with a volume writes that into
its record before the start. The tasks of that service then tell on which node the volume came to
be, also after a Hub that was killed in between.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakValueDictionary

from .. import naming
from ..desired.volume_records import (
    LABEL_EMPTIES,
    LABEL_VOLUME,
    Removal,
    VolumeRecord,
    is_shared,
    local_volumes,
    record_name,
    shared_volumes,
)
from ..engine.client import Engine
from ..engine.swarm import Swarm
from ..errors import Conflict, DockerNamedError, NameTaken, NotFound, VolumeOutOfReach
from ..timeouts import ended
from ..timings import DEFAULT, Timings
from .base import SeenVolume
from .engine_networks import pairs, seen_volume
from .nodes import Nodes, Watch, away, looks
from .service_status import replicas_of, volumes_of
from .task_state import task_from
from .volume_files import VolumeFiles

#: Called with a node's id: it has a service's volumes from now on.
Pin = Callable[[str], Awaitable[None]]


@dataclass(frozen=True)
class _Kept:
    """A record, and the config that keeps it."""

    record: VolumeRecord
    id: str
    version: int
    spec: Mapping[str, Any]


class ServiceVolumes:
    """Keeps a record of each named volume of a Swarm, and binds services to their nodes by it.

    Args:
        engine: one of its managers.
        swarm: the Swarm.
        watch: who is told when its services run.
        log: where it is told what becomes of volumes on nodes that are away.
        timings: how long is waited for what.
    """

    def __init__(
        self,
        engine: Engine,
        swarm: Swarm,
        watch: Watch,
        log: logging.Logger,
        timings: Timings = DEFAULT,
    ) -> None:
        self._engine, self._swarm, self._log, self._timings = engine, swarm, log, timings
        self._watch, self._nodes = watch, Nodes(swarm, watch)
        self._files = VolumeFiles(engine, swarm, self._nodes, log, timings)
        # Answers of `create`, which are given again: each start looks at the record as it is.
        self._told: dict[str, SeenVolume] = {}
        # Of which it is known that their records say where they are, or that it does not matter.
        self._placed: set[str] = set()
        # Of which it is known that no node has one of its own.
        self._shared: set[str] = set()
        # Held from a look at a volume's record to the start of a service that is made from it.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._following: dict[str, asyncio.Task[None]] = {}

    async def close(self) -> None:
        """End what nobody waits for: what it would have noted is found out when it is needed."""
        for following in list(self._following.values()):
            await ended(following)

    # --- what there is ---------------------------------------------------------------------

    async def create(
        self, name: str, driver: str | None, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> SeenVolume:
        """See `base.Things.create_volume`.

        Where the manager itself has such a volume already, as from a time when it was the only
        machine, that is the one.
        """
        if (known := self._told.get(name)) is not None:
            return known
        wanted = VolumeRecord(name, labels, driver or "local", is_shared(driver, options))
        record = None
        while record is None:
            kept = await self._find(name)
            if kept is None:
                record = await self._make(wanted)
            elif kept.record.shared and kept.record.going:
                await self._renew(kept)  # others are renewed when they are claimed
            else:
                record = kept.record
        if record.shared:
            self._shared.add(name)
        told = self._told[name] = _seen(record)
        return told

    async def inspect(self, name: str) -> SeenVolume:
        """See `base.Things.inspect_volume`."""
        kept = await self._find(name)
        if kept is None:
            return seen_volume(await self._engine.inspect_volume(name))
        return _seen(kept.record)

    async def list(self, labels: Mapping[str, str]) -> Sequence[SeenVolume]:
        """See `base.Things.list_volumes`: also those of the manager that have no record yet."""
        configs = await self._swarm.list_configs([LABEL_VOLUME, *pairs(labels)])
        records = (VolumeRecord.read(config["Spec"].get("Labels") or {}) for config in configs)
        found = {record.name: _seen(record) for record in records if record is not None}
        for volume in map(seen_volume, await self._engine.list_volumes(pairs(labels))):
            if volume.name not in found and await self._find(volume.name) is None:
                found[volume.name] = volume
        return list(found.values())

    async def remove(self, name: str) -> bool:
        """See `base.Things.remove_volume`."""
        self._told.pop(name, None)
        self._shared.discard(name)
        while True:
            kept = await self._find(name)
            if kept is None:
                await self._engine.remove_volume(name)
                return True
            await self._require_unused(name)
            record, node = kept.record, kept.record.node
            if record.first and not node:
                node, _ = await self._node_of(record.first)
            # Whoever finds the record when this Hub is killed knows that files may be deleted, and
            # that the record itself may go at any time.
            if await self._write(kept, replace(record, going=True)):
                break
        hub, hostname = record.labels.get(naming.LABEL_HUB, ""), record.hostname or node
        removal = Removal(hub, name, node, hostname, record.image)
        gone = await self._files.delete(removal, self._timings.empty_volume_at_once)
        await self._swarm.remove_config(kept.id)
        self._placed.discard(name)
        return gone

    async def tidy(self, hub: str) -> None:
        """Delete the files of removed volumes on nodes that have come back.

        Args:
            hub: the Hub's id.
        """
        await self._files.tidy(hub, self._is_there)

    async def _is_there(self, removal: Removal) -> bool:
        kept = await self._find(removal.volume)
        return kept is not None and kept.record.node == removal.node

    # --- where they are --------------------------------------------------------------------

    @asynccontextmanager
    async def placed(
        self, service: str, mounts: Iterable[Mapping[str, Any]], image: str
    ) -> AsyncIterator[Sequence[str]]:
        """The constraints with which a service is to be started, within the block.

        Of two services that are to use a new volume first, the second one waits for the node of
        the first.

        Args:
            service: its id.
            mounts: of its ContainerSpec.
            image: of that.

        Raises:
            VolumeOutOfReach: they are on a node that takes no tasks, or on several, or on shared
                storage that the mounts do not name.
        """
        mounts = list(mounts)
        volumes = sorted(local_volumes(mounts).items())
        async with AsyncExitStack() as stack:
            # All in one order, so that no two services wait for each other.
            locks = [self._locks.setdefault(name, asyncio.Lock()) for name, _ in volumes]
            for lock in locks:
                await stack.enter_async_context(lock)
            records = [
                await self._claimed(name, labels, service, image) for name, labels in volumes
            ]
            local = [record for record in records if not record.shared]
            yield [*await self._constraints(local), *await self._but_where_local(mounts)]

    def follow(self, service: str, mounts: Iterable[Mapping[str, Any]], pin: Pin | None) -> None:
        """Note where the volumes come to be of a service that was just started, if that is open.

        Args:
            service: its id.
            mounts: of its ContainerSpec.
            pin: for a service that may be started again elsewhere.
        """
        names = self._open(mounts)
        if not names or service in self._following:
            return
        following = asyncio.ensure_future(self._follow(service, names, pin))
        self._following[service] = following
        following.add_done_callback(lambda _: self._following.pop(service, None))

    async def bind(self, service: str, mounts: Iterable[Mapping[str, Any]], pin: Pin) -> None:
        """Have a service stay where its volumes came to be; as soon as that is known.

        Args:
            service: its id.
            mounts: of its ContainerSpec.
            pin: binds it to a node.

        Raises:
            EngineError: that could not be done.
        """
        if names := list(local_volumes(mounts)):
            node, _ = await self._node_of(service)
            if not node:
                self.follow(service, mounts, pin)
                return
            try:
                await pin(node)
            except NotFound:
                self._log.debug("The service %s was just removed", service)
            await self._note(names, service, node)

    async def settle(self, service: str, mounts: Iterable[Mapping[str, Any]]) -> None:
        """Note where the volumes of a service came to be, before its tasks are forgotten.

        Raises:
            EngineError: that could not be done.
        """
        if names := self._open(mounts):
            node, _ = await self._node_of(service)
            await self._note(names, service, node)

    def _open(self, mounts: Iterable[Mapping[str, Any]]) -> Sequence[str]:
        return [name for name in local_volumes(mounts) if name not in self._placed]

    async def _follow(self, service: str, names: Sequence[str], pin: Pin | None) -> None:
        try:
            node = await self._watch.runs_on(service)
            if pin is not None:
                node = ""  # it may have been elsewhere before, and made its volumes there
            else:
                # Nothing depends on it soon, and servers that start just now come first.
                await asyncio.sleep(self._timings.note_node)
            async for _ in looks(self._timings):
                node, coming = (node, False) if node else await self._node_of(service)
                if node or not coming:
                    if node and pin is not None:
                        await pin(node)
                    await self._note(names, service, node)
                    return
        except DockerNamedError as error:
            # It is asked again when it matters: at a next start, at the stop, at the removal. Who
            # keeps house binds servers that may be started again elsewhere.
            self._log.warning("Where the volumes %s are is not noted yet: %s", names, error)

    async def _node_of(self, service: str) -> tuple[str, bool]:
        """On which node a service has made its volumes; and where on none, if it still may."""
        try:
            tasks = await self._swarm.list_tasks(services=[service], convert=task_from)
            # Volumes are made along with the container.
            made = [one for one in tasks if one.node and one.has_container]
            if made:
                return min(made, key=lambda one: one.created).node, False
            if tasks:
                return "", not all(one.over for one in tasks)
            wanted = replicas_of((await self._swarm.inspect_service(service))["Spec"]) > 0
        except NotFound:
            return "", False
        return "", wanted

    async def _note(self, names: Iterable[str], service: str, node: str) -> None:
        """Write the node where a service made its volumes into the records that wait for it."""
        for name in names:
            while (kept := await self._find(name)) is not None:
                record = kept.record
                if record.node or record.shared:
                    self._placed.add(name)
                elif node and record.first == service:
                    record = await self._on_node(record, node)
                    if not await self._write(kept, record):
                        continue
                    self._placed.add(name)
                break

    async def _claimed(
        self, name: str, labels: Mapping[str, str], service: str, image: str
    ) -> VolumeRecord:
        """The record of a volume that a service is to use: its node, or that service as the first.

        Called with the volume's lock held.
        """
        async for _ in looks(self._timings):
            kept = await self._find_or_make(VolumeRecord(name, labels))
            record, coming = kept.record, False
            told = self._told.get(name)
            if told is not None and naming.key_of(told.labels) != naming.key_of(record.labels):
                del self._told[name]
                raise Conflict(f"use volume {name}", "somebody else has just made it anew")
            if record.shared and not record.found:
                # Nodes without it yet would make one of their own.
                where, way_out = "on shared storage, which its mount does not name", "give the "
                way_out += "mount the driver and options with which it was made, or another volume"
                raise VolumeOutOfReach(name, where, way_out, kept.record.config_name)
            if record.shared:
                return record
            if record.going:
                await self._files.stop(name)
                await self._renew(kept)
                continue
            if record.first and not record.node:
                node, coming = await self._node_of(record.first)
                record = await self._on_node(record, node) if node else record
            if coming and record.first != service:
                continue
            first = record.first if record.node else service
            record = replace(record, first=first, image=image)
            if await self._write(kept, record):
                (self._placed.add if record.node else self._placed.discard)(name)
                return record
        raise AssertionError  # looks never end

    async def _constraints(self, records: Iterable[VolumeRecord]) -> Sequence[str]:
        nodes = {record.node: record for record in records if record.node}
        for node, record in nodes.items():
            # It is told before it is refused: news may still be on its way.
            if away(await self._nodes.get(node)) and (why := away(await self._nodes.ask(node))):
                where = f"on the node {record.hostname}, which {why.state}"
                raise VolumeOutOfReach(record.name, where, why.way_out, record.config_name)
        if len(nodes) > 1:
            one, *others = nodes.values()
            where = f"on the node {one.hostname}, and others on {others[0].hostname}"
            raise VolumeOutOfReach(one.name, where, "copy them to one node", one.config_name)
        new = {record.name for record in records if not record.node}
        left = (await self._files.left()).values() if new else ()
        avoided = {removal.node for removal in left if removal.volume in new}
        return [*(f"node.id=={node}" for node in nodes), *(f"node.id!={node}" for node in avoided)]

    async def _but_where_local(self, mounts: Iterable[Mapping[str, Any]]) -> Sequence[str]:
        """Away from nodes where volumes on shared storage would be those of the node instead."""
        found = []
        for name in shared_volumes(mounts):
            kept = None if name in self._shared else await self._find(name)
            if kept is not None and kept.record.node and not kept.record.shared:
                found.append(f"node.id!={kept.record.node}")
        return found

    async def _on_node(self, record: VolumeRecord, id: str) -> VolumeRecord:
        node = await self._nodes.get(id)
        return replace(record, node=id, hostname=id if node is None else node.name)

    # --- records ---------------------------------------------------------------------------

    async def _require_unused(self, name: str) -> None:
        def user(service: Mapping[str, Any]) -> str | None:
            spec = service["Spec"]
            ours = LABEL_EMPTIES in (spec.get("Labels") or {})
            return str(spec.get("Name")) if name in volumes_of(spec) and not ours else None

        if users := await self._swarm.list_services([], user):
            raise Conflict(f"remove volume {name}", f"the service {users[0]} uses it")

    async def _find(self, name: str) -> _Kept | None:
        try:
            config = await self._swarm.inspect_config(record_name(name))
        except NotFound:
            return None
        record = VolumeRecord.read(config["Spec"].get("Labels") or {}) or VolumeRecord(name)
        return _Kept(record, str(config["ID"]), int(config["Version"]["Index"]), config["Spec"])

    async def _find_or_make(self, wanted: VolumeRecord) -> _Kept:
        while True:
            if (kept := await self._find(wanted.name)) is not None:
                return kept
            await self._make(wanted)

    async def _make(self, wanted: VolumeRecord) -> VolumeRecord | None:
        """The record of a volume that had none; None: somebody else was quicker."""
        record = await self._as_it_is(wanted)
        return record if await self._keep(record) else None

    async def _keep(self, record: VolumeRecord) -> bool:
        """Have a new config keep a record. False: somebody else was quicker."""
        data = record.name.encode("utf-8", "surrogatepass")
        try:
            await self._swarm.create_config(record.config_name, data, record.all_labels)
        except NameTaken:
            self._log.debug("Somebody else was quicker to note volume %s", record.name)
            return False
        return True

    async def _renew(self, kept: _Kept) -> None:
        """Have another config keep the record of a volume whose files are wanted again.

        That one is not meant by who asked for the removal, where a manager takes long to do it.
        """
        try:
            await self._swarm.remove_config(kept.id)
        except NotFound:
            self._log.debug("The record of volume %s was just removed", kept.record.name)
        await self._keep(replace(kept.record, going=False))

    async def _as_it_is(self, wanted: VolumeRecord) -> VolumeRecord:
        """The record of a volume that has none yet, but may be on the manager."""
        try:
            info = await self._engine.inspect_volume(wanted.name)
        except NotFound:
            return wanted
        driver, labels = str(info.get("Driver") or "local"), info.get("Labels") or {}
        shared = is_shared(driver, info.get("Options") or {})
        record = VolumeRecord(wanted.name, labels, driver, shared, found=not wanted.shared)
        own = str((await self._swarm.membership()).get("NodeID") or "")
        return record if shared or not own else await self._on_node(record, own)

    async def _write(self, kept: _Kept, record: VolumeRecord) -> bool:
        """Change a record. False: somebody else did so since it was read."""
        if record == kept.record:
            return True
        spec = {**kept.spec, "Labels": record.all_labels}
        try:
            await self._swarm.update_config(kept.id, kept.version, spec)
        except (Conflict, NotFound) as error:
            self._log.debug("%s", error)
            return False
        return True


def _seen(record: VolumeRecord) -> SeenVolume:
    return SeenVolume(record.name, record.labels, record.driver)
