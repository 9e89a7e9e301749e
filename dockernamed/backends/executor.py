"""Plans carried out over any backend's things, one request a step.

A start is all or nothing: whatever ends it early, an error, a cancel at any await, a create whose
answer never came, what it had made is removed again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from .. import naming
from ..desired.network import Access, Endpoint, reached_at
from ..desired.plan import Op, plan_delete, plan_stop
from ..desired.provenance import of_another_hub, other_hub
from ..desired.spec import ServerSpec
from ..errors import (
    CallNotAllowed,
    ConfigError,
    Conflict,
    EngineError,
    EngineUnavailable,
    NotFound,
    NotRunningYet,
    ServerDied,
)
from ..timeouts import before_raising, ended, within
from ..timings import DEFAULT, Timings
from .base import (
    AskForHub,
    Can,
    Executed,
    SeenNetwork,
    SeenVolume,
    ServerRef,
    StartRequest,
    Things,
    nobody_else,
)
from .observed import ObservedContainer
from .owners import Owners
from .rollback import Rollback, force_remove
from .start import Start, containers_of, instances_of, say
from .table import Table

T = TypeVar("T")


class Executor:
    """One per Hub and backend, for all servers; calls for one server come one after another.

    Args:
        things: the backend.
        watcher: whose table says what there is.
        log: where each step is told with its cause.
        timings: how long is waited for what.
        another_hub_at: asked about the Hub of a container that this Hub's database does not know.
    """

    def __init__(
        self,
        things: Things,
        watcher: Table,
        log: logging.Logger,
        timings: Timings = DEFAULT,
        another_hub_at: AskForHub = nobody_else,
    ) -> None:
        self._things, self._watcher, self._log = things, watcher, log
        self._timings, self._another_hub_at = timings, another_hub_at
        self.rollback = Rollback(things, watcher, log, timings)
        self._owners = Owners(things, log)
        self._undoing: dict[naming.Key, asyncio.Task[None]] = {}

    # --- observing -------------------------------------------------------------------------

    async def running_id(self, server: ServerRef) -> str | None:
        """Id of a running container of a server, found by labels, or None.

        Raises:
            EngineUnavailable: the Engine has never been seen yet, and does not come.
        """
        await self._table_filled(self._timings.engine_first_seen)
        server = await self._without_other_hubs(server)
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
            NotRunningYet: not yet, or not again yet; or nobody tells so far at which port.
            ConfigError: it cannot be reached though it runs.
            EngineError: the Engine could not be asked.
        """
        record, place = self._watcher.get(container_id), self._watcher.place(container_id)
        if record is not None and place is not None and (place.ports or access.by != "published"):
            return Endpoint(record.id, record.name, *reached_at(place, record.name, port, access))
        seen = await self._things.inspect(container_id)
        if not seen.running or seen.place is None:
            raise ServerDied(seen.exit_code, seen.oom, "", seen.words)
        if seen.pending:
            action = f"look where {self._watcher.noun} {seen.name} is"
            raise NotRunningYet(action, seen.words or "it does not run yet")
        return Endpoint(seen.id, seen.name, *reached_at(seen.place, seen.name, port, access))

    async def _without_other_hubs(self, server: ServerRef) -> ServerRef:
        """A server without the containers that look like its own, but are another living Hub's."""
        theirs = await self._of_other_hubs(server)
        for record in theirs:
            other, noun = other_hub(record.api_url), self._watcher.noun
            self._log.warning("Leaving %s %s to %s", noun, record.name, other)
        others = {*server.others, *(record.id for record in theirs)}
        return replace(server, others=others) if theirs else server

    async def _of_other_hubs(self, server: ServerRef) -> list[ObservedContainer]:
        """What looks like a server's, but belongs to another Hub of the same id that lives.

        Nobody is asked about a container whose id the Hub has: in most cases, about none.
        """
        records = containers_of(self._watcher, server)
        doubtful = [record for record in records if not server.knows(record.id)]
        urls = {record.api_url for record in doubtful}
        living = {url for url in urls if await self._another_hub_at(url)}
        return [record for record in doubtful if record.api_url in living]

    async def _table_filled(self, patience: float | None) -> None:
        error = self._watcher.not_allowed
        if error is not None:  # no waiting helps
            raise CallNotAllowed(error.action, error.message, error.status) from error
        try:
            await within(patience, self._watcher.synced())
        except asyncio.TimeoutError:
            raise EngineUnavailable(
                f"look for {self._watcher.noun}s", f"it could not be reached for {patience} seconds"
            ) from None

    # --- starting --------------------------------------------------------------------------

    async def start(
        self,
        request: StartRequest,
        *,
        until_ready: Callable[[str], Awaitable[T]],
        on_step: Callable[[Op], None] | None = None,
        on_note: Callable[[str], None] | None = None,
    ) -> T:
        """Make one running container of the wanted spec, and no other of the same server.

        Args:
            request: what is wanted, and whose it is.
            until_ready: called with the container's id once its process has been started; what it
                raises ends the start.
            on_step: called as each step begins that changes something.
            on_note: called with sentences for the user, before this returns; they are logged too.

        Returns:
            What ``until_ready`` does.

        Raises:
            ForeignObject: a name or volume belongs to somebody else, or the server to another Hub.
            ConfigError: files are to be put into what cannot be given any.
            EngineError: a step failed. Whatever is raised, nothing of this start is left: neither
                a container nor a volume that it made. What the Engine cannot be asked to remove
                now is removed as soon as it can. A kept container is stopped again. Nobody waits
                for that long; the next call for this server does. See `undoes`.
        """
        if request.files and Can.FILES not in self._things.can:
            hint = "servers of this backend cannot be given certificates"
            raise ConfigError("JupyterHub.internal_ssl", True, hint)
        await self._quiet(request.server, self._timings.engine_first_seen)
        for record in await self._of_other_hubs(request.server):
            noun, hub = self._watcher.noun, request.server.key.hub
            raise of_another_hub(noun, record.name, record.api_url, hub)
        start = Start(
            self._things,
            self._watcher,
            self.rollback,
            self._owners,
            self._log,
            request,
            self._another_hub_at,
        )
        try:
            id = await start.run(on_step)
            async with self._notes(id, request.spec, start.homes_in_doubt, on_note):
                answer = await until_ready(id)
        except BaseException as error:
            if request.keep_failed and isinstance(error, ServerDied):
                start.keep()
            else:
                cancelled = isinstance(error, asyncio.CancelledError)
                undo = self._undo(start, request.server.key)
                timings = self._timings
                timeout = timings.cancelled_start if cancelled else timings.failed_start
                await before_raising(undo, timeout)
            raise
        start.keep()
        return answer

    @asynccontextmanager
    async def _notes(
        self,
        id: str,
        spec: ServerSpec,
        homes: Sequence[str],
        on_note: Callable[[str], None] | None,
    ) -> AsyncIterator[None]:
        """While something else goes on, or soon after, tell of homes that cannot be written."""
        if not homes:
            yield
            return

        async def tell() -> None:
            for note in await self._owners.look(id, spec, homes):
                self._log.warning("%s: %s", spec.key.shown, note)
                if on_note is not None:
                    on_note(note)

        telling = asyncio.ensure_future(tell())
        try:
            yield
            await asyncio.wait({telling}, timeout=self._timings.look_at_homes)
        finally:
            await ended(telling)

    def _undo(self, start: Start, key: naming.Key) -> asyncio.Task[None]:
        undo = self._undoing[key] = self.rollback.spawn(start.undo())
        undo.add_done_callback(lambda _: self._undoing.pop(key, None))
        return undo

    async def _quiet(self, server: ServerRef, patience: float | None) -> None:
        """Wait until the table says what there is of a server, and no earlier start is undone."""
        await self._table_filled(patience)
        await self.undone(server.key)

    def undoes(self, key: naming.Key) -> bool:
        """Whether what a failed start of a server made is being taken back just now."""
        return key in self._undoing

    async def undone(self, key: naming.Key) -> None:
        """Wait until what failed starts of a server made is taken back, as far as that goes now."""
        while undo := self._undoing.get(key):
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
        server = await self._without_other_hubs(server)

        async def stop() -> None:
            for step in plan_stop(instances_of(self._watcher, server), keep=keep):
                say(self._log, server.key, step, step.target, self._watcher.noun)
                if step.op is Op.STOP:
                    await self._stop(step.target, grace)
                    if keep:
                        await self._news_of_the_end(step.target)
                else:
                    await self._remove(step.target)

        await self.rollback.retry(stop, self._timings.stop_waits_for_engine)

    async def delete(self, server: ServerRef, patience: float | None = None) -> None:
        """Remove every container of a server, whatever its state.

        Args:
            server: whose.
            patience: seconds that an Engine which is gone is waited for; None: for ever.

        Raises:
            EngineError: as for `stop`.
        """
        await self._quiet(server, patience)
        server = await self._without_other_hubs(server)

        async def delete() -> None:
            for step in plan_delete(instances_of(self._watcher, server)):
                say(self._log, server.key, step, step.target, self._watcher.noun)
                await self._remove(step.target)

        await self.rollback.retry(delete, patience)

    async def volumes(self) -> Sequence[SeenVolume]:
        """All volumes of the backend, whoever made them."""
        return await self._things.list_volumes({})

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
            found = await self._things.list_volumes({naming.LABEL_HUB: hub})
            for name in goes({volume.name: volume.labels for volume in found}):
                await self._delete_volume(name)

        await self.rollback.retry(delete)

    async def _delete_volume(self, name: str) -> None:
        try:
            if await self._things.remove_volume(name):
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
        code, oom, words = (end.exit_code, end.oom, end.words) if end else (None, False, "")
        try:
            seen = await self._things.inspect(container_id)
        except NotFound:
            gone = f"its {self._watcher.noun} was removed by somebody else"
            return ServerDied(code, oom, None, words or gone)
        if code is None and words:
            return ServerDied(None, oom, None, words)  # there is nobody to ask what it wrote
        if end is not None and end.stop_requested:
            words = words or "it was stopped from outside"
        log = (await self.last_words(container_id, lines)).strip() if lines > 0 else None
        code = seen.exit_code if code is None else code
        return ServerDied(code, oom or seen.oom, log, words or seen.words)

    async def last_words(self, container_id: str, lines: int) -> str:
        """The last lines of a container's output, or in words why they cannot be read."""
        try:
            return await self._things.logs(container_id, lines)
        except EngineError as error:
            # Not every log driver can be read; the exit code alone is worth telling.
            return f"(its log cannot be read: {error.message})"

    async def execute(
        self, container_id: str, command: Sequence[str], user: str, seconds: float
    ) -> Executed:
        """Run a command in a running container, see `base.Things.execute`.

        Raises:
            ConfigError: this backend cannot do that.
            EngineError: it could not be run, or did not end in time.
        """
        if Can.EXECUTE not in self._things.can:
            hint = "this backend cannot run commands in servers: put it into the image"
            raise ConfigError("post_start_cmd", list(command), hint)
        return await self._things.execute(container_id, command, user, seconds)

    async def is_running(self, container_id: str) -> bool:
        """Whether a container runs now.

        Raises:
            EngineError: the Engine could not be asked.
        """
        try:
            return (await self._things.inspect(container_id)).running
        except NotFound:
            return False

    async def discard(self, container_id: str, *, grace: float, keep: bool = False) -> None:
        """Stop and remove a container that no server stands for, also if we are cancelled.

        Args:
            container_id: which.
            grace: as for `stop`.
            keep: likewise.
        """

        async def discard() -> None:
            await self._stop(container_id, grace)
            if not keep:
                await self._remove(container_id)

        await asyncio.shield(self.rollback.spawn(discard()))

    async def tidy(self, hub: str, *, orphans: bool = True) -> None:
        """See `base.Things.tidy`.

        Raises:
            EngineError: the backend could not be asked.
        """
        await self._things.tidy(hub, orphans=orphans)

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
            self._log.debug("%s %s had ended already", self._watcher.noun, container_id[:12])

    async def _news_of_the_end(self, container_id: str) -> None:
        """A start right after would otherwise find a kept container running, and replace it."""
        try:
            await within(self._timings.news_of_end, self._watcher.wait_dead(container_id))
        except asyncio.TimeoutError:
            noun = self._watcher.noun
            self._log.warning("No news of the end of %s %s", noun, container_id[:12])

    async def _remove(self, container_id: str) -> None:
        await force_remove(self._things, self._watcher, container_id)
