"""One start of a server: looks, plans, acts, and notes what has to be taken back if it fails.

No answer of a backend is no proof that nothing was done: what a call may have made is noted before
the call, in `rollback.StartResources`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from .. import naming
from ..desired.entrypoint import SHELL
from ..desired.mounts import Mount
from ..desired.plan import (
    BUILT_IN,
    LOOKS,
    Connections,
    Desired,
    Holder,
    Instance,
    Lender,
    Observed,
    Op,
    Step,
    no_shell,
    plan_start,
)
from ..desired.provenance import Provenance, of_another_hub
from ..desired.spec import (
    LABEL_START,
    ServerSpec,
    container_config,
    container_labels,
    lenders_of,
    spec_hash,
    volumes_of,
)
from ..errors import ConfigError, EngineError, NameTaken, NotFound
from .base import AskForHub, Can, ServerRef, StartRequest, Things
from .observed import ObservedContainer
from .owners import Owners
from .rollback import TRANSIENT, Rollback, force_remove
from .table import Table

T = TypeVar("T")


class Start:
    """One start under way: what it knows, what it made, and calls that must come to their end.

    It looks, plans and acts until a plan was carried out without learning anything new.
    """

    def __init__(
        self,
        things: Things,
        watcher: Table,
        rollback: Rollback,
        owners: Owners,
        log: logging.Logger,
        request: StartRequest,
        another_hub_at: AskForHub,
    ) -> None:
        self._things, self._watcher, self._rollback, self._log = things, watcher, rollback, log
        self._owners, self._another_hub_at = owners, another_hub_at
        if Can.KEEP not in things.can:
            request = replace(request, spec=replace(request.spec, process=(), keep=False))
        elif Can.RECONFIGURE not in things.can and not request.spec.process:
            request = replace(request, spec=replace(request.spec, keep=False))
        self._request, self._desired = request, _desired(request, watcher.noun)
        self._key = request.server.key
        self._known = Observed(shell=owners.may_have_shell(request.spec))
        self._made = rollback.begin(self._key)
        self._calls: set[asyncio.Task[Any]] = set()
        self._container = ""
        self._writable: frozenset[str] = frozenset()

    @property
    def homes_in_doubt(self) -> list[str]:
        """Where the server's user is expected to write, and perhaps cannot."""
        if not self._owners.matter(self._request.spec):
            return []
        return [path for path in self._request.homes if path not in self._writable]

    def keep(self) -> None:
        """Let all that was made stay."""
        self._rollback.keep(self._made)

    async def undo(self) -> None:
        """Take back whatever this start made. Never raises."""
        if self._calls:
            # Those still in flight: only their ends tell what there is.
            await asyncio.wait(self._calls)
        await self._rollback.undo(self._made)

    async def run(self, on_step: Callable[[Op], None] | None) -> str:
        """Bring the start about, and return the container's id.

        Raises:
            ForeignObject: a name or volume belongs to somebody else.
            EngineError: a step failed.
        """
        while True:
            instances = instances_of(self._watcher, self._request.server)
            plan = plan_start(self._desired, replace(self._known, instances=instances))
            looks = [step for step in plan if step.op in LOOKS]
            if looks:
                await _all(self._look(step) for step in looks)
            elif await self._carry_out(plan, on_step):
                return self._container

    async def _carry_out(self, steps: Iterable[Step], on_step: Callable[[Op], None] | None) -> bool:
        """Do one step after the other. False: something is known now that asks for a new plan."""
        for step in steps:
            if on_step is not None:
                on_step(step.op)
            created = step.op is Op.CREATE
            id = "" if created else step.target or self._container
            say(self._log, self._key, step, id, self._watcher.noun)
            if not await self._do(step):
                return False
        return True

    async def _do(self, step: Step) -> bool:
        if step.op is Op.REMOVE:
            return await self._remove(step.target)
        if step.op is Op.REUSE:
            return await self._reuse(step.target)
        if step.op is Op.CREATE:
            return await self._create(step.target, once=step.once)
        await self._start(self._container)
        return True

    # --- looking ---------------------------------------------------------------------------

    async def _look(self, step: Step) -> None:
        self._log.debug("%s: %s", self._key.shown, step)
        if step.op is Op.CLAIM_VOLUME:
            await self._claim(step.target)
        elif step.op is Op.LOOK_AT_VOLUME:
            await self._look_at_volume(step.target)
        elif step.op is Op.LOOK_AT_LENDER:
            await self._look_at_lender(step.target)
        else:
            await self._look_at_networks(step.target)

    async def _claim(self, name: str) -> None:
        """One call creates the volume or finds it there, and answers with its labels."""
        mounts = self._request.spec.mounts
        mount = next(one for one in mounts if (one.kind, one.source) == ("volume", name))
        await self._rollback.claim(self._made, name)
        labels = {**mount.labels, LABEL_START: self._made.id}
        volume = await self._to_its_end(
            self._things.create_volume(name, mount.driver, dict(mount.options), labels)
        )
        if volume.labels.get(LABEL_START) != self._made.id:
            self._made.volumes.discard(name)
        self._learn(volumes={**self._known.volumes, name: volume.labels})

    async def _look_at_volume(self, name: str) -> None:
        labels: Mapping[str, str] = {}
        try:
            labels = (await self._things.inspect_volume(name)).labels
        except NotFound:
            self._log.debug("Volume %s is not there yet", name)
        self._learn(volumes={**self._known.volumes, name: labels})

    async def _look_at_lender(self, name: str) -> None:
        lender = Lender()
        try:
            seen = await self._things.inspect(name)
            lender = Lender(seen.labels, seen.volumes)
        except NotFound:
            self._log.debug("There is no container %s", name)  # as the Engine will say
        self._learn(lenders={**self._known.lenders, name: lender})

    async def _look_at_networks(self, container_id: str) -> None:
        try:
            place = (await self._things.inspect(container_id)).place
            networks, mode = (place.networks, place.mode) if place else ({}, "none")
            there = {
                name: not id or name in BUILT_IN or await self._things.has_network(id)
                for name, id in networks.items()
            }
        except TRANSIENT:
            raise
        except EngineError as error:
            self._is_useless(container_id, error)
        else:
            found = {container_id: Connections(mode, there)}
            self._learn(connections={**self._known.connections, **found})

    def _learn(self, **facts: Any) -> None:
        self._known = replace(self._known, **facts)

    def _is_useless(self, container_id: str, error: EngineError) -> None:
        cause = f"it cannot take a new token: {error}"
        self._learn(useless={**self._known.useless, container_id: cause})

    # --- acting ----------------------------------------------------------------------------

    async def _remove(self, container_id: str) -> bool:
        gone = await force_remove(self._things, self._watcher, container_id)
        self._made.containers.discard(container_id)
        holders = {
            name: Holder() if gone and holder.id == container_id else holder
            for name, holder in self._known.holders.items()
        }
        self._learn(holders=holders, replaced=True)
        if not gone:
            self._learn(stuck=self._known.stuck | {container_id})
        return gone

    async def _reuse(self, container_id: str) -> bool:
        await self._rollback.reuse(self._made, container_id)
        try:
            await self._hand_over(container_id, self._request.spec, unused=False)
        except TRANSIENT:
            raise
        except EngineError as error:
            self._made.reused = ""
            self._is_useless(container_id, error)
            return False
        self._container = container_id
        return True

    async def _create(self, name: str, *, once: bool) -> bool:
        spec = self._request.spec
        if once:
            spec = replace(spec, process=(), keep=False)
        if not spec.process:
            self._require_no_secrets()
        try:
            container_id = await self._to_its_end(self._make(name, spec))
        except NameTaken:
            if name in self._known.holders:
                raise  # the Engine contradicts itself: nobody had it
            self._learn(holders={**self._known.holders, name: await self._holder_of(name)})
            return False
        self._container = container_id
        await self._to_its_end(self._things.connect(container_id, spec.networks))
        if spec.process and not await self._owners.has_shell(container_id, spec):
            why = no_shell(spec.image) if spec.keep else f"{spec.image} has no {SHELL}"
            useless = {**self._known.useless, container_id: why}
            self._learn(shell=False, useless=useless)
            return False
        await self._hand_over(container_id, spec, unused=True)
        return True

    def _require_no_secrets(self) -> None:
        """Refuse to put what is secret into a container's configuration."""
        if names := self._request.env.private_only:
            hint = (
                f"the image {self._request.spec.image!r} has no {SHELL}, which hands them over; "
                "use secret_files"
            )
            raise ConfigError("secret_environment", names, hint)

    async def _hand_over(self, container_id: str, spec: ServerSpec, *, unused: bool) -> None:
        """Give a container, new or kept, what is private of this start."""
        if not spec.is_private and Can.RECONFIGURE not in self._things.can:
            return
        reader = await self._owners.reader(container_id, spec, unused=unused)
        env, files = self._request.env, self._request.files
        await self._to_its_end(self._things.hand_over(container_id, spec, env, files, reader))

    async def _make(self, name: str, spec: ServerSpec) -> str:
        env = self._request.env
        try:
            container_id = await self._things.create(name, spec, env, self._made.id)
        except TRANSIENT:
            container_id = await self._id_after_lost_answer(name)
            if not container_id:
                raise
        self._made.containers.add(container_id)
        labels = container_labels(spec, env, name=name, start_id=self._made.id)
        self._watcher.note_created(container_id, name, labels, spec.image)
        return container_id

    async def _id_after_lost_answer(self, name: str) -> str:
        self._made.in_doubt = True
        try:
            holder = await self._things.inspect(name)
        except NotFound:
            return ""
        if holder.labels.get(LABEL_START) != self._made.id:
            return ""
        self._made.in_doubt = False
        return holder.id

    async def _holder_of(self, name: str) -> Holder:
        try:
            seen = await self._things.inspect(name)
        except NotFound:
            return Holder()
        server, api_url = self._request.server, seen.labels.get(naming.LABEL_API_URL, "")
        ours = server.has(Provenance.read(seen.id, seen.name, seen.labels))
        if ours and not server.knows(seen.id) and await self._another_hub_at(api_url):
            raise of_another_hub(self._watcher.noun, name, api_url, self._key.hub)
        return Holder(seen.id, seen.labels)

    async def _start(self, container_id: str) -> None:
        """Start a container: the new one, or one that was kept from an earlier run."""
        if container_id in self._made.containers:
            spec = self._request.spec
            self._writable = await self._owners.give(container_id, spec, self._new_volumes())
        self._watcher.note_starting(container_id)
        try:
            await self._to_its_end(self._things.start(container_id))
        except TRANSIENT:
            self._made.start_in_doubt = bool(self._made.reused)
            if not await self._was_started(container_id):
                raise
            self._made.start_in_doubt = False
        self._watcher.note_started(container_id)

    def _new_volumes(self) -> list[Mount]:
        """Mounts of volumes that are as new as the container; those without a name always are."""
        return [
            mount
            for mount in self._request.spec.mounts
            if mount.kind == "volume" and (not mount.source or mount.source in self._made.volumes)
        ]

    async def _was_started(self, container_id: str) -> bool:
        # It may have ended by now: that is for others to find out and to say why. What was kept
        # has run before, so there it proves nothing.
        seen = await self._things.inspect(container_id)
        return seen.running or (seen.has_run and not self._made.reused)

    async def _to_its_end(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call that goes on when we are cancelled, as the Engine's work would."""
        task = asyncio.ensure_future(call)
        self._calls.add(task)
        task.add_done_callback(self._over)
        return await asyncio.shield(task)

    def _over(self, call: asyncio.Task[Any]) -> None:
        self._calls.discard(call)
        if not call.cancelled() and (error := call.exception()) is not None:
            # Whoever was cancelled is not told; what the call may have made is taken back.
            self._log.debug("%s: %s", self._key.shown, error)


def containers_of(watcher: Table, server: ServerRef) -> list[ObservedContainer]:
    """Every container of a server, from the watcher's table: no request."""
    key = server.key
    found = {record.id: record for record in watcher.find(key.user, key.server)}
    if (own := watcher.get(server.own_id)) is not None:
        found[own.id] = own
    return [record for record in found.values() if server.has(record.provenance(key.hub))]


def instances_of(watcher: Table, server: ServerRef) -> list[Instance]:
    """Every container of a server, as a plan needs it."""
    return [
        Instance(record.id, record.running, record.spec, watcher.is_wanted(record.id))
        for record in containers_of(watcher, server)
    ]


def _desired(request: StartRequest, noun: str) -> Desired:
    spec = request.spec
    mounted = [one.source for one in spec.mounts if one.kind == "volume" and one.source]
    # As it will be sent, whoever had a hand in it.
    host_config = container_config(spec, request.env)["HostConfig"]
    return Desired(
        server=request.server,
        names=spec.names,
        spec=spec_hash(spec, request.env),
        image=spec.image,
        keep=spec.keep,
        by_shell=bool(spec.process),
        volumes={name: request.volume_owners.get(name, {}) for name in mounted},
        past_us=tuple(sorted(volumes_of(host_config) - set(mounted))),
        lenders=lenders_of(host_config),
        noun=noun,
    )


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it at once, to the end; then raise the first error, if any."""
    for error in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(error, BaseException):
            raise error


def say(log: logging.Logger, key: naming.Key, step: Step, container_id: str, noun: str) -> None:
    """Log a step with its cause, and which container it is about, if that has an id by now."""
    which = f" {container_id[:12]}" if container_id else ""
    level = logging.WARNING if step.notable else logging.INFO
    log.log(level, "%s: %s %s%s: %s", key.shown, step.op.value, noun, which, step.cause)
