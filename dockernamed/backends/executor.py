"""Plans carried out over any backend's things, one request a step.

A start is all or nothing: whatever ends it early, an error, a cancel at any await, a create whose
answer never came, what it had made is removed again. No answer is no proof that nothing was done:
what a call may have made is noted before the call, in `rollback.StartResources`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from .. import naming
from ..desired.network import Access, Endpoint, reached_at
from ..desired.plan import (
    BUILT_IN,
    LOOKS,
    Connections,
    Desired,
    Holder,
    Instance,
    Observed,
    Op,
    Step,
    no_shell,
    plan_delete,
    plan_start,
    plan_stop,
)
from ..desired.spec import LABEL_START, ServerSpec, spec_hash, volumes_of
from ..errors import (
    ConfigError,
    Conflict,
    EngineError,
    EngineUnavailable,
    NameTaken,
    NotFound,
    ServerDied,
)
from ..timeouts import within
from ..timings import DEFAULT, Timings
from .base import Can, Incomplete, SeenNetwork, ServerRef, StartRequest, Things
from .rollback import TRANSIENT, Rollback, force_remove
from .watcher import ObservedContainer, Watcher

T = TypeVar("T")


class Executor:
    """One per Hub and backend, for all servers; calls for one server come one after another.

    Args:
        things: the backend.
        watcher: whose table says what there is.
        log: where each step is told with its cause.
        timings: how long is waited for what.
    """

    def __init__(
        self,
        things: Things,
        watcher: Watcher,
        log: logging.Logger,
        timings: Timings = DEFAULT,
    ) -> None:
        self._things, self._watcher, self._log = things, watcher, log
        self._timings = timings
        self._rollback = Rollback(things, watcher, log, timings)
        self._undoing: dict[naming.Key, asyncio.Task[None]] = {}

    # --- observing -------------------------------------------------------------------------

    async def running_id(self, server: ServerRef) -> str | None:
        """Id of a running container of a server, found by labels, or None.

        Raises:
            EngineUnavailable: the Engine has never been seen yet, and does not come.
        """
        await self._table_filled(self._timings.engine_first_seen)
        found = instances_of(self._watcher, server)
        return next((one.id for one in found if one.running), None)

    async def endpoint(self, container_id: str, port: int, access: Access) -> Endpoint:
        """Where a container's server is reached now.

        Args:
            container_id: which.
            port: of the server in its container.
            access: how the Hub gets there.

        Raises:
            NotFound: it is gone.
            ServerDied: it has ended, and so is nowhere.
            ConfigError: it cannot be reached though it runs.
            EngineError: the Engine could not be asked.
        """
        seen = await self._things.inspect(container_id)
        if not seen.running or seen.place is None:
            raise ServerDied(seen.exit_code, seen.oom, "")
        return Endpoint(seen.id, seen.name, *reached_at(seen.place, seen.name, port, access))

    async def _table_filled(self, patience: float | None) -> None:
        try:
            await within(patience, self._watcher.synced())
        except asyncio.TimeoutError:
            raise EngineUnavailable(
                "look for containers", f"it could not be reached for {patience} seconds"
            ) from None

    # --- starting --------------------------------------------------------------------------

    async def start(
        self,
        request: StartRequest,
        *,
        until_ready: Callable[[str], Awaitable[T]],
        on_step: Callable[[Op], None] | None = None,
    ) -> T:
        """Make one running container of the wanted spec, and no other of the same server.

        Args:
            request: what is wanted, and whose it is.
            until_ready: called with the container's id once its process has been started; what it
                raises ends the start.
            on_step: called as each step begins that changes something.

        Returns:
            What ``until_ready`` does.

        Raises:
            ForeignObject: a name or volume belongs to somebody else.
            ConfigError: files are to be put into what cannot be given any.
            EngineError: a step failed. Whatever is raised, nothing of this start is left: neither
                a container nor a volume that it made. What the Engine cannot be asked to remove
                now is removed as soon as it can. A kept container is stopped again. Who cancels
                does not wait for that long; the next call for this server does.
        """
        if request.files and Can.FILES not in self._things.can:
            hint = "servers of this backend cannot be given certificates"
            raise ConfigError("JupyterHub.internal_ssl", True, hint)
        await self._quiet(request.server, self._timings.engine_first_seen)
        start = _Start(self._things, self._watcher, self._rollback, self._log, request)
        try:
            answer = await until_ready(await start.run(on_step))
        except BaseException as error:
            if request.keep_failed and isinstance(error, ServerDied):
                start.keep()
            else:
                cancelled = isinstance(error, asyncio.CancelledError)
                undo = self._undo(start, request.server.key)
                timeout = self._timings.cancelled_start if cancelled else None
                await asyncio.wait({undo}, timeout=timeout)
            raise
        start.keep()
        return answer

    def _undo(self, start: _Start, key: naming.Key) -> asyncio.Task[None]:
        undo = self._undoing[key] = self._rollback.spawn(start.undo())
        undo.add_done_callback(lambda _: self._undoing.pop(key, None))
        return undo

    async def _quiet(self, server: ServerRef, patience: float | None) -> None:
        """Wait until the table says what there is of a server, and no earlier start is undone."""
        await self._table_filled(patience)
        while undo := self._undoing.get(server.key):
            await asyncio.wait({undo})

    # --- ending ----------------------------------------------------------------------------

    async def stop(self, server: ServerRef, *, grace: float, keep: bool) -> None:
        """Stop a server's containers, and remove them unless they are kept.

        The Hub forgets a server whose stop failed, so an Engine that goes away is waited for, but
        not for ever.

        Args:
            server: whose.
            grace: seconds between SIGTERM and SIGKILL; 0 kills at once.
            keep: leave the stopped container in place.

        Raises:
            EngineError: it could not be done, and trying again did not help.
        """
        await self._quiet(server, self._timings.engine_first_seen)

        async def stop() -> None:
            for step in plan_stop(instances_of(self._watcher, server), keep=keep):
                _say(self._log, server.key, step, step.target)
                if step.op is Op.STOP:
                    await self._stop(step.target, grace)
                    if keep:
                        await self._news_of_the_end(step.target)
                else:
                    await self._remove(step.target)

        await self._rollback.retry(stop, self._timings.stop_waits_for_engine)

    async def delete(self, server: ServerRef, patience: float | None = None) -> None:
        """Remove every container of a server, whatever its state.

        Args:
            server: whose.
            patience: seconds that an Engine which is gone is waited for; None: for ever.

        Raises:
            EngineError: as of `stop`.
        """
        await self._quiet(server, patience)

        async def delete() -> None:
            for step in plan_delete(instances_of(self._watcher, server)):
                _say(self._log, server.key, step, step.target)
                await self._remove(step.target)

        await self._rollback.retry(delete, patience)

    async def delete_volumes(
        self, hub: str, goes: Callable[[str, Mapping[str, str]], bool]
    ) -> None:
        """Remove volumes of a Hub; one that is in use stays, and the log says so.

        Args:
            hub: the Hub's id.
            goes: called with a volume's name and labels.
        """

        async def delete() -> None:
            for volume in await self._things.list_volumes({naming.LABEL_HUB: hub}):
                if goes(volume.name, volume.labels):
                    await self._delete_volume(volume.name)

        await self._rollback.retry(delete)

    async def _delete_volume(self, name: str) -> None:
        try:
            await self._things.remove_volume(name)
            self._log.info("Removed volume %s: its server is deleted", name)
        except NotFound:
            self._log.debug("Volume %s is gone already", name)
        except Conflict as error:
            self._log.warning("Keeping volume %s: %s", name, error)

    async def post_mortem(
        self, container_id: str, lines: int, end: ObservedContainer | None = None
    ) -> ServerDied:
        """What to say about a container that ended before it was ready.

        Args:
            container_id: which.
            lines: how many of its last log lines to quote.
            end: what was heard of its end; by now it may run again, or be gone.
        """
        code, oom = (end.exit_code, end.oom) if end is not None else (None, False)
        try:
            seen = await self._things.inspect(container_id)
        except NotFound:
            gone = "(its container was removed by somebody else)"
            return ServerDied(-1 if code is None else code, oom, gone)
        log = (await self._last_words(container_id, lines)).strip() if lines > 0 else None
        return ServerDied(seen.exit_code if code is None else code, oom or seen.oom, log)

    async def _last_words(self, container_id: str, lines: int) -> str:
        try:
            return await self._things.logs(container_id, lines)
        except EngineError as error:
            # Not every log driver can be read; the exit code alone is worth telling.
            return f"(its log cannot be read: {error.message})"

    async def discard(self, container_id: str, *, grace: float, keep: bool = False) -> None:
        """Stop and remove a container that no server stands for, also if we are cancelled.

        Args:
            container_id: which.
            grace: as of `stop`.
            keep: likewise.
        """

        async def discard() -> None:
            await self._stop(container_id, grace)
            if not keep:
                await self._remove(container_id)

        await asyncio.shield(self._rollback.spawn(discard()))

    async def networks(self, hub: str) -> Sequence[SeenNetwork]:
        """All networks that have a Hub's label."""
        return await self._things.list_networks({naming.LABEL_HUB: hub})

    async def discard_network(self, network_id: str) -> None:
        """Remove a network; fine when it is gone already.

        Raises:
            Conflict: a container is connected to it.
        """
        try:
            await self._things.remove_network(network_id)
        except NotFound:
            self._log.debug("Network %s is gone already", network_id[:12])

    async def _stop(self, container_id: str, grace: float) -> None:
        try:
            if grace > 0:
                await self._things.stop(container_id, grace)
            else:
                await self._things.kill(container_id)
        except NotFound:
            self._watcher.note_removed(container_id)
        except Conflict:
            # Docker's answer to killing what has ended by itself just now.
            self._log.debug("Container %s had ended already", container_id[:12])

    async def _news_of_the_end(self, container_id: str) -> None:
        """A start right after would otherwise find a kept container running, and replace it."""
        try:
            await within(self._timings.news_of_end, self._watcher.wait_dead(container_id))
        except asyncio.TimeoutError:
            self._log.warning("No news of the end of container %s", container_id[:12])

    async def _remove(self, container_id: str) -> None:
        await force_remove(self._things, self._watcher, container_id)


class _Start:
    """One start under way: what it knows, what it made, and calls that must come to their end.

    It looks, plans and acts until a plan was carried out without learning anything new.
    """

    def __init__(
        self,
        things: Things,
        watcher: Watcher,
        rollback: Rollback,
        log: logging.Logger,
        request: StartRequest,
    ) -> None:
        self._things, self._watcher, self._rollback, self._log = things, watcher, rollback, log
        if Can.KEEP not in things.can:
            request = replace(request, spec=replace(request.spec, process=()))
        self._request, self._desired = request, _desired(request)
        self._key = request.server.key
        self._known = Observed()
        self._made = rollback.begin(self._key)
        self._calls: set[asyncio.Task[Any]] = set()
        self._container = ""

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
            _say(self._log, self._key, step, "" if created else step.target or self._container)
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
        self._log.debug("%s/%s: %s", self._key.user, self._key.server, step)
        if step.op is Op.CLAIM_VOLUME:
            await self._claim(step.target)
        elif step.op is Op.LOOK_AT_VOLUME:
            await self._look_at_volume(step.target)
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
        request = self._request
        try:
            await self._things.renew(container_id, request.spec, request.env, request.files)
        except TRANSIENT:
            raise
        except EngineError as error:
            self._is_useless(container_id, error)
            return False
        self._container = container_id
        return True

    async def _create(self, name: str, *, once: bool) -> bool:
        spec = replace(self._request.spec, process=()) if once else self._request.spec
        try:
            container_id = await self._to_its_end(self._make(name, spec))
        except NameTaken:
            if name in self._known.holders:
                raise  # the Engine contradicts itself: nobody had it
            self._learn(holders={**self._known.holders, name: await self._holder_of(name)})
            return False
        self._container = container_id
        if not spec.process or await self._things.renewable(container_id):
            return True
        useless = {container_id: no_shell(spec.image)}
        self._learn(shell=False, useless={**self._known.useless, **useless})
        return False

    async def _make(self, name: str, spec: ServerSpec) -> str:
        env, files = self._request.env, self._request.files
        try:
            container_id = await self._things.create(name, spec, env, files, self._made.id)
        except Incomplete as error:
            self._made.containers.add(error.id)
            raise error.error from error
        except TRANSIENT:
            container_id = await self._id_after_lost_answer(name)
            if not container_id:
                raise
            self._made.containers.add(container_id)
            if files:
                await self._things.renew(container_id, spec, env, files)
        self._made.containers.add(container_id)
        self._watcher.note_created(
            container_id,
            name,
            self._key.user,
            self._key.server,
            spec_hash(spec, env),
            spec.image,
        )
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
        return Holder(seen.id, seen.labels)

    async def _start(self, container_id: str) -> None:
        """Start a container: the new one, or one that was kept from an earlier run."""
        if container_id not in self._made.containers:
            self._made.reused = container_id
        self._watcher.note_starting(container_id)
        try:
            await self._to_its_end(self._things.start(container_id))
        except TRANSIENT:
            self._made.start_in_doubt = bool(self._made.reused)
            if not await self._was_started(container_id):
                raise
            self._made.start_in_doubt = False
        self._watcher.note_started(container_id)

    async def _was_started(self, container_id: str) -> bool:
        # It may have ended by now: that is for others to find out and to say why. What was kept
        # has run before, so there it proves nothing.
        seen = await self._things.inspect(container_id)
        return seen.running or (seen.has_run and not self._made.reused)

    async def _to_its_end(self, call: Coroutine[Any, Any, T]) -> T:
        """Await a call that goes on when we are cancelled, as the Engine's work would."""
        task = asyncio.ensure_future(call)
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        return await asyncio.shield(task)


def instances_of(watcher: Watcher, server: ServerRef) -> list[Instance]:
    """Every container of a server, from the watcher's table: no request."""
    key = server.key
    found = {record.id: (record, key) for record in watcher.find(key.user, key.server)}
    if (own := watcher.get(server.own_id)) is not None:
        found[own.id] = (own, naming.Key(key.hub, own.user, own.server))
    return [
        Instance(record.id, record.running, record.spec)
        for record, whose in found.values()
        if server.has(record.id, whose)
    ]


def _desired(request: StartRequest) -> Desired:
    spec = request.spec
    mounted = [one.source for one in spec.mounts if one.kind == "volume" and one.source]
    hub = {naming.LABEL_HUB: spec.key.hub}
    return Desired(
        server=request.server,
        names=spec.names,
        spec=spec_hash(spec, request.env),
        image=spec.image,
        keep=bool(spec.process),
        volumes={name: request.volume_owners.get(name, {}) for name in mounted},
        past_us={name: hub for name in sorted(volumes_of(spec.host_config))},
    )


async def _all(work: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it at once, to the end; then raise the first error, if any."""
    for error in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(error, BaseException):
            raise error


def _say(log: logging.Logger, key: naming.Key, step: Step, container_id: str) -> None:
    which = f" {container_id[:12]}" if container_id else ""
    level = logging.WARNING if step.notable else logging.INFO
    text = "%s/%s: %s container%s: %s"
    log.log(level, text, key.user, key.server, step.op.value, which, step.cause)
