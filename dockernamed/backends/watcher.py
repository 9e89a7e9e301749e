"""A table of this Hub's containers, kept true by one list and one event stream.

However many servers there are, the Engine is asked for a list when the stream (re)begins, and for
nothing else: `Watcher.get` reads the table. How the table stays true:

- Events are subscribed to before the list is asked for, so nothing falls in between. What was
  heard since the list was asked for, from the stream or from ourselves (``note_…``), is newer than
  the list and wins over it.
- Docker tells of an end some milliseconds before its lists do. So a list alone brings nothing back
  to life: that is looked at singly. And each stream's list is followed by a second one, which
  finds what had ended in just those milliseconds before the stream began.
- A lost stream is taken up again after a growing, random pause. What ended meanwhile is found by
  the new list, and told as any death. Until then the table says what it last knew, and
  `Watcher.connected` is False.
- Every `Timings.resync` seconds stream and list are begun anew even if nothing seems wrong: that
  finds what a silently stalled stream did not tell.

Memory is bounded by the number of containers, not of events.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import random
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..engine.client import Engine
from ..engine.unreachable import in_words
from ..errors import CallNotAllowed, DockerNamedError, EngineUnavailable, NotFound
from ..naming import LABEL_HUB, key_of
from ..timeouts import during, ended, retry
from ..timings import DEFAULT, Timings
from . import observed
from .observed import ObservedContainer, State

__all__ = ["ObservedContainer", "State", "Watcher"]

LOG = logging.getLogger("dockernamed.watcher")

MAX_GONE = 10_000  # ids remembered, of removed containers that late events may still speak of
_CHUNK = 500  # table rows handled between two looks at the event loop
DeathCallback = Callable[[ObservedContainer], None]
ImageCallback = Callable[[Mapping[str, Any] | None], None]


class Watcher:
    """The table of one Hub's containers on one Engine; lives in one event loop.

    Args:
        engine: whose containers.
        hub: value of the label that ours have.
        timings: when stream and list are begun anew, and how long is waited for what.
    """

    def __init__(self, engine: Engine, hub: str, timings: Timings = DEFAULT) -> None:
        self._engine, self._hub, self._timings = engine, hub, timings
        self._table: dict[str, ObservedContainer] = {}
        self._by_server: dict[tuple[str, str], tuple[str, ...]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._oom_times: dict[str, float] = {}
        # Ids that are being started, and until when a list is not believed that says otherwise.
        self._starting: dict[str, float] = {}
        # Ids heard of since a list was asked for; None when no list is under way.
        self._heard: set[str] | None = None
        self._deaths: dict[str, list[DeathCallback]] = {}
        self._waiters: dict[
            str, list[tuple[Callable[[ObservedContainer], bool], asyncio.Event]]
        ] = {}
        #: How often the stream was lost: what was read from the Engine before may be outdated.
        self.disconnects = 0
        #: Why nothing can be watched until somebody changes what a proxy lets through, or None.
        self.not_allowed: CallNotAllowed | None = None
        self._image_callbacks: list[ImageCallback] = []
        self._new_callbacks: list[Callable[[ObservedContainer], None]] = []
        self._told_absence = False
        self._synced = asyncio.Event()
        self._in_sync = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    # --- life ------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch; needs a running event loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop watching; the table stays as it is."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        self._in_sync.clear()

    async def synced(self) -> None:
        """Wait until the table has been filled for the first time."""
        await self._synced.wait()

    async def in_sync(self) -> None:
        """Wait until `connected`."""
        await self._in_sync.wait()

    @property
    def connected(self) -> bool:
        """The stream is up, and the table knows all that came before it."""
        return self._in_sync.is_set()

    # --- the table -------------------------------------------------------------------------

    def get(self, id: str) -> ObservedContainer | None:
        """The container with this id, or None when no such container is known."""
        return self._table.get(id)

    def find(self, user: str, server: str) -> list[ObservedContainer]:
        """The containers of a server, by their labels, oldest known first."""
        return [self._table[id] for id in self._by_server.get((user, server), ())]

    def records(self) -> list[ObservedContainer]:
        """All containers of this Hub."""
        return list(self._table.values())

    def on_new(self, callback: Callable[[ObservedContainer], None]) -> None:
        """Have ``callback`` called with the record of each container when it is first heard of."""
        self._new_callbacks.append(callback)

    # --- deaths ----------------------------------------------------------------------------

    def on_death(self, id: str, callback: DeathCallback) -> Callable[[], None]:
        """Have ``callback`` called once, from the event loop, when the container ends.

        It is called soon when the container has ended already. Its argument has the state EXITED,
        or GONE with empty fields when nothing was ever known of the container.

        Returns:
            A function that takes this back.
        """
        loop, waiting = asyncio.get_running_loop(), True

        def call(record: ObservedContainer) -> None:
            nonlocal waiting
            if waiting:
                waiting = False
                callback(record)

        def cancel() -> None:
            nonlocal waiting
            waiting = False
            callbacks = self._deaths.get(id, [])
            if call in callbacks:
                callbacks.remove(call)
            if not callbacks:
                self._deaths.pop(id, None)

        record = self._table.get(id)
        if record is None and (self.connected or id in self._gone):
            record = observed.unknown(id)
        if record is not None and record.ended:
            loop.call_soon(call, record)
        else:
            self._deaths.setdefault(id, []).append(call)
        return cancel

    async def wait_dead(self, id: str) -> ObservedContainer:
        """Wait until the container has ended; what is returned is as for `on_death`."""
        dead: asyncio.Future[ObservedContainer] = asyncio.get_running_loop().create_future()

        def tell(record: ObservedContainer) -> None:
            if not dead.done():
                dead.set_result(record)

        cancel = self.on_death(id, tell)
        try:
            return await dead
        finally:
            cancel()

    async def until(self, id: str, condition: Callable[[ObservedContainer], bool]) -> None:
        """Wait until what is known of the container fulfils a condition, or it is removed."""
        record = self._table.get(id)
        if record is not None and condition(record):
            return
        waiter = (condition, asyncio.Event())
        waiters = self._waiters.setdefault(id, [])
        waiters.append(waiter)
        try:
            await waiter[1].wait()
        finally:
            waiters.remove(waiter)
            if not waiters and self._waiters.get(id) is waiters:
                del self._waiters[id]

    async def look_at(self, id: str) -> None:
        """Ask the Engine itself for one container, and put the table right.

        An Engine that ends goes on telling of its containers, but takes no new connections: then
        this waits until it is gone.
        """

        async def look() -> None:
            before = self._table.get(id)
            if before is None or not self.connected:
                return
            found = await self._ask(id, anew=True)
            if (
                found is not None
                and found["state"] is not before.state
                and self._table.get(id) is before  # else an event was quicker
            ):
                self._change(id, **found)

        pauses = itertools.repeat(self._timings.look_again)
        await retry(look, pauses, on=EngineUnavailable)

    # --- images ----------------------------------------------------------------------------

    def on_image_event(self, callback: ImageCallback) -> Callable[[], None]:
        """Have ``callback`` called with each event of an image, and with None when some were lost.

        Returns:
            A function that takes this back.
        """
        self._image_callbacks.append(callback)
        return lambda: self._image_callbacks.remove(callback)

    # --- what we did ourselves -------------------------------------------------------------

    def note_created(self, id: str, name: str, labels: Mapping[str, str], image: str) -> None:
        """We created a container; fine when its event was quicker."""
        self._hear(id)
        if id not in self._table and id not in self._gone:
            self._put(observed.make(id, name, labels, image, State.CREATED))

    def note_starting(self, id: str) -> None:
        """We are about to start a container: how it ended before no longer counts."""
        self._hear(id)
        if id in self._table:
            self._starting[id] = asyncio.get_running_loop().time() + self._timings.starting
            self._change(id, State.CREATED)

    def note_started(self, id: str) -> None:
        """We started a container, which may have ended since: then its event is the newer word."""
        self._hear(id)
        self._starting.pop(id, None)
        record = self._table.get(id)
        if record is not None and record.state is State.CREATED:
            self._change(id, State.RUNNING)

    def note_removed(self, id: str) -> None:
        """We removed a container; events of it that are still on their way change nothing."""
        self._hear(id)
        self._remove(id)

    # --- watching --------------------------------------------------------------------------

    async def _run(self) -> None:
        failures = 0
        while True:
            started = asyncio.get_running_loop().time()
            try:
                await self._session()
                failures = 0
            except Exception as error:
                if not isinstance(error, DockerNamedError):
                    # A fault of ours must not end the watch: the next session starts afresh.
                    LOG.exception("Watching the Engine failed")
                elif self.connected or not failures:
                    self._tell_loss(error)
                self._in_sync.clear()
                self.not_allowed = error if isinstance(error, CallNotAllowed) else None
                self.disconnects += 1
                longest = self._timings.reconnect_at_most
                if asyncio.get_running_loop().time() - started > longest:
                    failures = 0
                pause = min(longest, self._timings.reconnect * 2 ** min(failures, 20))
                failures += 1
                await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  (a pause, no secret)

    def _tell_loss(self, error: DockerNamedError) -> None:
        if self._synced.is_set():
            LOG.warning("Lost sight of the Engine, will try again: %s", error)
        elif not self._told_absence:
            self._told_absence = True
            where = in_words(error, self._engine.base_url)
            LOG.warning("The Docker Engine cannot be reached, will try again: %s", where)

    async def _session(self) -> None:
        """One stream and one list; returns when it is time for the next, raises on a loss."""
        forgettable = set(self._gone)  # the stream to come tells nothing of these
        patience = self._timings.stream_opens
        async with self._engine.events(self._is_ours, patience=patience) as batches:
            self._tell_images(None)  # events from before this stream are lost
            following = asyncio.ensure_future(self._follow(batches))
            try:
                await during(following, self._read_list(forgettable))
                if not self.connected:
                    LOG.info("Watching %d containers", len(self._table))
                self.not_allowed = None
                self._in_sync.set()
                self._synced.set()
                await during(following, asyncio.sleep(self._timings.confirm))
                await during(following, self._read_list(set()))
                await during(following, asyncio.sleep(self._timings.resync))
            finally:
                await ended(following)

    async def _follow(self, batches: AsyncIterator[list[dict[str, Any]]]) -> None:
        """Take over what is told, until the end of the stream is raised."""
        async for batch in batches:
            for start in range(0, len(batch), _CHUNK):
                for event in batch[start : start + _CHUNK]:
                    self._on_event(event)
                await asyncio.sleep(0)

    async def _read_list(self, forgettable: set[str]) -> None:
        """Ask for all containers and put the table right.

        Args:
            forgettable: ids of removed containers that the stream cannot speak of any more.
        """
        heard = self._heard = set()
        try:
            label = f"{LABEL_HUB}={self._hub}"
            listed = await self._engine.list_containers([label], observed.from_list)
            for id in await self._apply(listed, heard):
                found = await self._ask(id)
                if found is not None and id not in heard:
                    self._change(id, **found)
        finally:
            self._heard = None
        for id in forgettable - heard:
            self._gone.pop(id, None)

    async def _apply(self, listed: Sequence[ObservedContainer], heard: set[str]) -> list[str]:
        """Take a list over, where nothing newer was heard, also while we do.

        Returns:
            Ids of containers that run again, by the list alone.
        """
        missing, risen = set(self._table), []
        for start in range(0, len(listed), _CHUNK):
            for record in listed[start : start + _CHUNK]:
                missing.discard(record.id)
                if record.id in heard or record.id in self._gone or self._is_starting(record.id):
                    continue
                old = self._table.get(record.id)
                if old is not None and old.ended and not record.ended:
                    risen.append(record.id)
                else:
                    self._put(record if old is None else observed.updated(old, record))
            await asyncio.sleep(0)
        for id in missing - heard:
            self._remove(id)
        for id in [id for id in self._deaths if id not in self._table]:
            self._announce(observed.unknown(id))
        return risen

    def _is_starting(self, id: str) -> bool:
        return self._starting.get(id, 0) > asyncio.get_running_loop().time()

    async def _ask(self, id: str, *, anew: bool = False) -> dict[str, Any] | None:
        """State, exit code and oom of a container by its inspect; None: it is gone."""
        try:
            return observed.state_of(await self._engine.inspect_container(id, anew=anew))
        except NotFound:
            self.note_removed(id)
            return None

    # --- events ----------------------------------------------------------------------------

    def _is_ours(self, event: dict[str, Any]) -> bool:
        if event.get("Type") == "image":
            return True
        attributes = (event.get("Actor") or {}).get("Attributes") or {}
        if event.get("Type") == "network":
            return attributes.get("container") in self._table
        key = key_of(attributes)
        return key is not None and key.hub == self._hub

    def _on_event(self, event: Mapping[str, Any]) -> None:
        if event.get("Type") == "image":
            self._tell_images(event)
            return
        actor = event.get("Actor") or {}
        id, attributes = actor.get("ID") or event.get("id"), actor.get("Attributes") or {}
        if event.get("Type") == "network":
            record = self._table.get(attributes.get("container", ""))
            if record is not None:
                self._put(replace(record, network_changes=record.network_changes + 1))
            return
        action = event.get("Action") or event.get("status")
        if not isinstance(id, str) or id in self._gone:
            return
        if action in observed.REMOVALS:
            self.note_removed(id)
        elif action in observed.EVENT_STATES:
            self._hear(id)
            self._on_state(id, observed.EVENT_STATES[action], attributes, observed.time_of(event))
        elif id in self._table and action == "oom":
            self._on_oom(id, observed.time_of(event))
        elif id in self._table and observed.asks_to_end(str(action), attributes):
            self._put(replace(self._table[id], stop_requested=True, stopped=action == "stop"))
        elif id in self._table and action == "rename":
            self._put(replace(self._table[id], name=attributes.get("name", "").lstrip("/")))

    def _on_state(self, id: str, state: State, attributes: Mapping[str, str], time: float) -> None:
        if id not in self._table:
            self._put(observed.from_event(id, attributes))
        if state is State.CREATED:
            return
        code, oom = None, False
        if state is State.EXITED:
            code = observed.exit_code_of(attributes)
            before = self._timings.oom_before_end
            oom = time - self._oom_times.pop(id, -before) < before and code != 0
        self._change(id, state, code, oom)
        self._starting.pop(id, None)

    def _on_oom(self, id: str, time: float) -> None:
        record = self._table[id]
        if not record.ended:
            self._oom_times[id] = time
        elif record.exit_code:
            # The kernel tells of it apart from the end, which may be quicker.
            self._put(replace(record, oom=True))

    def _tell_images(self, event: Mapping[str, Any] | None) -> None:
        for callback in list(self._image_callbacks):
            _guarded(callback, event)

    # --- changing the table ----------------------------------------------------------------

    def _hear(self, id: str) -> None:
        if self._heard is not None:
            self._heard.add(id)

    def _change(
        self, id: str, state: State, exit_code: int | None = None, oom: bool = False
    ) -> None:
        record = self._table.get(id)
        if record is not None:
            if state is not State.EXITED:
                record = replace(record, stop_requested=False, stopped=False)
            self._put(
                replace(
                    record, state=state, exit_code=exit_code, oom=oom, endpoint_fingerprint=None
                )
            )

    def _put(self, record: ObservedContainer) -> None:
        new = record.id not in self._table
        self._table[record.id] = record
        if new:
            key = (record.user, record.server)
            self._by_server[key] = (*self._by_server.get(key, ()), record.id)
            for callback in self._new_callbacks:
                _guarded(callback, record)
        for condition, fulfilled in self._waiters.get(record.id, ()):
            if condition(record):
                fulfilled.set()
        if record.ended:
            self._announce(record)

    def _remove(self, id: str) -> None:
        self._gone[id] = None
        self._gone.move_to_end(id)
        while len(self._gone) > MAX_GONE:
            self._gone.popitem(last=False)
        self._oom_times.pop(id, None)
        self._starting.pop(id, None)
        for _, fulfilled in self._waiters.pop(id, ()):
            fulfilled.set()
        record = self._table.pop(id, None)
        if record is None:
            self._announce(observed.unknown(id))
            return
        key = (record.user, record.server)
        left = tuple(other for other in self._by_server[key] if other != id)
        if left:
            self._by_server[key] = left
        else:
            del self._by_server[key]
        self._announce(replace(record, state=State.GONE))

    def _announce(self, record: ObservedContainer) -> None:
        for callback in self._deaths.pop(record.id, ()):
            _guarded(callback, record)


def _guarded(callback: Callable[[Any], None], argument: object) -> None:
    try:
        callback(argument)
    except Exception:
        LOG.exception("A callback failed")  # the others, and the watch, must not suffer
