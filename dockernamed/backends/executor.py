"""The backend over plain containers: carries plans out, one Engine call a step.

A start is all or nothing: whatever ends it early, an error, a cancel at any await, a create whose
answer never came, what it had made is removed again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Container, Iterable, Mapping
from typing import Any, TypeVar

from .. import naming
from ..desired.network import Access, Endpoint, endpoint_from
from ..desired.plan import Observed, Op, Step, plan_delete, plan_start, plan_stop
from ..desired.spec import ServerSpec, spec_hash
from ..engine.client import Engine
from ..errors import Conflict, EngineError, EngineUnavailable, NotFound, ServerDied
from ..timeouts import within
from .launch import Launch
from .rollback import Rollback, force_remove, retry_transient
from .watcher import ObservedContainer, Watcher

T = TypeVar("T")

#: Seconds that an Engine which was never seen yet is waited for.
PATIENCE_S = 20
#: Seconds that a stop waits for an Engine that went away: a Hub that ends must not wait for ever,
#: and what runs on is an orphan, found when both are back.
STOP_PATIENCE_S = 45.0
#: Seconds that the news of an end may take, after the Engine has said that it is done.
NEWS_S = 5.0
#: Seconds in which a cancelled start is over. JupyterHub gives it one; if it is not over by then,
#: the request that interrupts it fails, and the Hub calls the server ready for ever.
CANCEL_S = 0.5


class Containers:
    """One per Hub and Engine, for all servers; calls for one server come one after another."""

    def __init__(self, engine: Engine, watcher: Watcher, log: logging.Logger) -> None:
        self._engine, self._watcher, self._log = engine, watcher, log
        self._leftovers = Rollback(engine, watcher, log)
        self._undoing: dict[tuple[str, str], asyncio.Task[None]] = {}

    # --- observing -------------------------------------------------------------------------

    def observed(
        self, user: str, server: str, *, own: str = "", others: Container[str] = ()
    ) -> list[Observed]:
        """Every container of a server, from the watcher's table: no request.

        Args:
            user: raw user name, as in the containers' labels.
            server: raw server name, likewise.
            own: id of one that is this server's whatever its labels: its user was renamed since.
            others: ids of those that are not, for the same reason.
        """
        found = {record.id: record for record in self._watcher.find(user, server)}
        if (known := self._watcher.get(own)) is not None:
            found[own] = known
        return [_observed(record) for id, record in found.items() if id == own or id not in others]

    async def running_id(self, user: str, server: str, others: Container[str] = ()) -> str | None:
        """Id of a running container of this server, found by labels, or None.

        Args:
            user: as of `observed`.
            server: likewise.
            others: likewise.
        """
        await self._table_filled(PATIENCE_S)
        found = self.observed(user, server, others=others)
        return next((container.id for container in found if container.running), None)

    async def address(self, container_id: str, port: int, access: Access) -> Endpoint:
        """Where a container's server is reached now.

        Raises:
            NotFound: it is gone.
            ServerDied: it has ended, and so has no address.
            EngineError: the Engine could not be asked.
        """
        return endpoint_from(await self._engine.inspect_container(container_id), port, access)

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
        spec: ServerSpec,
        env: Mapping[str, str],
        *,
        volume_owners: Mapping[str, Mapping[str, str]],
        until_ready: Callable[[str], Awaitable[T]],
        before_start: Callable[[str], Awaitable[None]] | None = None,
        on_step: Callable[[Op], None] | None = None,
        keep_failed: bool = False,
        others: Container[str] = (),
    ) -> T:
        """Make one running container of the wanted spec, and no other of the same server.

        Args:
            spec: what is wanted; with a ``process`` a container of an earlier run may do.
            env: the environment, tokens included.
            volume_owners: volume name → the labels that it must not contradict.
            until_ready: called with the container's id once its process has been started; what it
                raises ends the start.
            before_start: called with the container's id before it runs (certificates).
            on_step: called as each step begins.
            keep_failed: leave a container in place that ends before it is ready.
            others: as of `observed`.

        Returns:
            What ``until_ready`` does.

        Raises:
            ForeignObject: a name or volume belongs to somebody else.
            EngineError: a step failed. Whatever is raised, nothing of this start is left: neither
                a container nor a volume that it made. What the Engine cannot be asked to remove
                now is removed as soon as it can. A kept container is stopped again. Who cancels
                does not wait for that long; the next call for this server does.
        """
        await self._quiet(spec.key.user, spec.key.server, PATIENCE_S)
        wanted = spec_hash(spec, env)
        launch = Launch(self._engine, self._watcher, self._leftovers, self._log, spec, env, others)
        try:
            await launch.claim_volumes(volume_owners)
            observed = self.observed(spec.key.user, spec.key.server, others=others)
            steps = plan_start(wanted, observed, keep=bool(spec.process))
            container_id = await self._carry_out(steps, launch, spec.key, before_start, on_step)
            answer = await until_ready(container_id)
        except BaseException as error:
            if keep_failed and isinstance(error, ServerDied):
                launch.keep()
            else:
                cancelled = isinstance(error, asyncio.CancelledError)
                undo = self._undo(launch, spec.key)
                await asyncio.wait({undo}, timeout=CANCEL_S if cancelled else None)
            raise
        launch.keep()
        return answer

    def _undo(self, launch: Launch, key: naming.Key) -> asyncio.Task[None]:
        server = (key.user, key.server)
        undo = self._undoing[server] = self._leftovers.spawn(launch.undo())
        undo.add_done_callback(lambda _: self._undoing.pop(server, None))
        return undo

    async def _quiet(self, user: str, server: str, patience: float | None) -> None:
        """Wait until the table says what there is of a server, and no earlier start is undone."""
        await self._table_filled(patience)
        while undo := self._undoing.get((user, server)):
            await asyncio.wait({undo})

    async def _carry_out(
        self,
        steps: list[Step],
        launch: Launch,
        key: naming.Key,
        before_start: Callable[[str], Awaitable[None]] | None,
        on_step: Callable[[Op], None] | None,
    ) -> str:
        container_id = ""
        for step in steps:
            if on_step is not None:
                on_step(step.op)
            self._say(step, step.target or container_id, key.user, key.server)
            if step.op is Op.REMOVE:
                await self._remove(step.target)
            elif step.op is Op.START:
                if before_start is not None:
                    await before_start(container_id)
                await launch.start(container_id)
            elif step.op is Op.REUSE and await launch.hand_over(step.target):
                container_id = step.target
            else:
                container_id = await launch.create()
        return container_id

    # --- ending ----------------------------------------------------------------------------

    async def stop(
        self,
        user: str,
        server: str,
        *,
        grace: float,
        keep: bool,
        own: str = "",
        others: Container[str] = (),
    ) -> None:
        """Stop a server's containers, and remove them unless they are kept.

        The Hub forgets a server whose stop failed, so an Engine that goes away is waited for, but
        not for ever.

        Args:
            user: raw user name.
            server: raw server name.
            grace: seconds between SIGTERM and SIGKILL; 0 kills at once.
            keep: leave the stopped container in place.
            own: as of `observed`.
            others: likewise.

        Raises:
            EngineError: it could not be done, and trying again did not help.
        """
        await self._quiet(user, server, PATIENCE_S)

        async def stop() -> None:
            observed = self.observed(user, server, own=own, others=others)
            for step in plan_stop(observed, keep=keep):
                self._say(step, step.target, user, server)
                if step.op is Op.STOP:
                    await self._stop(step.target, grace)
                    if keep:
                        await self._news_of_the_end(step.target)
                else:
                    await self._remove(step.target)

        await retry_transient(stop, self._watcher, STOP_PATIENCE_S)

    async def delete(
        self,
        user: str,
        server: str,
        patience: float | None = None,
        others: Container[str] = (),
    ) -> None:
        """Remove every container of a server, whatever its state.

        Args:
            user: raw user name.
            server: raw server name.
            patience: seconds that an Engine which is gone is waited for; None: for ever.
            others: as of `observed`.

        Raises:
            EngineError: as of `stop`.
        """
        await self._quiet(user, server, patience)

        async def delete() -> None:
            for step in plan_delete(self.observed(user, server, others=others)):
                self._say(step, step.target, user, server)
                await self._remove(step.target)

        await retry_transient(delete, self._watcher, patience)

    async def delete_volumes(
        self, hub: str, goes: Callable[[Mapping[str, Mapping[str, str]]], Iterable[str]]
    ) -> None:
        """Remove volumes of a Hub; one that is in use stays, and the log says so.

        Args:
            hub: the Hub's id.
            goes: called with name → labels of all the Hub's volumes; returns the names of those
                to remove.
        """

        async def delete() -> None:
            found = await self._engine.list_volumes([f"{naming.LABEL_HUB}={hub}"])
            labels = {str(volume["Name"]): volume.get("Labels") or {} for volume in found}
            for name in goes(labels):
                await self._delete_volume(name)

        await retry_transient(delete, self._watcher)

    async def _delete_volume(self, name: str) -> None:
        try:
            await self._engine.remove_volume(name)
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
            state = (await self._engine.inspect_container(container_id))["State"]
        except NotFound:
            gone = "(its container was removed by somebody else)"
            return ServerDied(-1 if code is None else code, oom, gone)
        log = (await self._last_words(container_id, lines)).strip() if lines > 0 else None
        code = int(state["ExitCode"]) if code is None else code
        return ServerDied(code, oom or bool(state.get("OOMKilled")), log)

    async def _last_words(self, container_id: str, lines: int) -> str:
        try:
            return await self._engine.logs(container_id, lines)
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

        await asyncio.shield(self._leftovers.spawn(discard()))

    async def networks(self, hub: str) -> list[dict[str, Any]]:
        """All networks that have a Hub's label, as of ``GET /networks``."""
        return await self._engine.list_networks([f"{naming.LABEL_HUB}={hub}"])

    async def discard_network(self, network_id: str) -> None:
        """Remove a network; fine when it is gone already.

        Raises:
            Conflict: a container is connected to it.
        """
        try:
            await self._engine.remove_network(network_id)
        except NotFound:
            self._log.debug("Network %s is gone already", network_id[:12])

    def _say(self, step: Step, container_id: str, user: str, server: str) -> None:
        which = f" {container_id[:12]}" if container_id else ""
        self._log.info("%s/%s: %s container%s: %s", user, server, step.op.value, which, step.cause)

    async def _stop(self, container_id: str, grace: float) -> None:
        try:
            if grace > 0:
                await self._engine.stop_container(container_id, grace)
            else:
                await self._engine.kill_container(container_id)
        except NotFound:
            self._watcher.note_removed(container_id)
        except Conflict:
            # Docker's answer to killing what has ended by itself just now.
            self._log.debug("Container %s had ended already", container_id[:12])

    async def _news_of_the_end(self, container_id: str) -> None:
        """A start right after would otherwise find a kept container running, and replace it."""
        try:
            await within(NEWS_S, self._watcher.wait_dead(container_id))
        except asyncio.TimeoutError:
            self._log.warning("No news of the end of container %s", container_id[:12])

    async def _remove(self, container_id: str) -> None:
        await force_remove(self._engine, self._watcher, container_id)


def _observed(record: ObservedContainer) -> Observed:
    return Observed(id=record.id, running=record.running, spec=record.spec)
