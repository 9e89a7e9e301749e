"""The table of this Hub's things on one backend, and who is told when it changes.

Who looks up what there is, or waits for it, makes no request. How the table is kept true is each
backend's own: `watcher` has that of containers, and `tasks` that of services. While the backend is
out of sight the table says what was last known, and `Table.connected` is False.

Memory is bounded by the number of things.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from ..desired.network import Location
from ..engine.unreachable import in_words
from ..errors import CallNotAllowed, DockerNamedError
from ..timeouts import during, ended
from ..timings import DEFAULT, Timings
from . import observed
from .observed import ObservedContainer, State

__all__ = ["ObservedContainer", "State", "Table"]

LOG = logging.getLogger("dockernamed.watcher")

CHUNK = 100  # rows or events handled between two looks at the event loop
MAX_GONE = 10_000  # ids remembered, of removed things that late news may still speak of
Callback = Callable[[ObservedContainer], None]
ImageCallback = Callable[[Mapping[str, Any] | None], None]


class Table(ABC):
    """What is known of one Hub's things on one backend; lives in one event loop.

    Args:
        url: where the backend is, for messages.
        hub: value of the label that ours have.
        timings: when it is looked again, and how long is waited for what.

    Attributes:
        noun: what its things are called in messages: ``container`` or ``service``.
    """

    noun = "container"

    def __init__(self, url: str, hub: str, timings: Timings = DEFAULT) -> None:
        self._url, self._hub, self._timings = url, hub, timings
        self._table: dict[str, ObservedContainer] = {}
        self._by_server: dict[tuple[str, str], tuple[str, ...]] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        # Ids that are being started, and until when a list is not believed that says otherwise.
        self._starting: dict[str, float] = {}
        # Ids heard of since a list was asked for; None when no list is under way.
        self._heard: set[str] | None = None
        self._deaths: dict[str, list[Callback]] = {}
        self._moves: dict[str, list[Callback]] = {}
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

    def on_death(self, id: str, callback: Callback) -> Callable[[], None]:
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

    def on_move(self, id: str, callback: Callback) -> Callable[[], None]:
        """Have ``callback`` called with the record each time when it says another place.

        That is `ObservedContainer.endpoint_fingerprint`, which may be told late or never.

        Returns:
            A function that takes this back.
        """
        self._moves.setdefault(id, []).append(callback)

        def cancel() -> None:
            callbacks = self._moves.get(id, [])
            if callback in callbacks:
                callbacks.remove(callback)
            if not callbacks:
                self._moves.pop(id, None)

        return cancel

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

    @abstractmethod
    async def look_at(self, id: str) -> None:
        """Ask for one thing, whatever is known of it, and put the table right.

        Raises:
            EngineError: it could not be asked for.
        """

    def is_wanted(self, id: str) -> bool:
        """Whether the backend is to have something run, whatever became of it since it was started.

        Containers are told to start, and no more: where they have ended, nothing is to be done.
        """
        return False

    def place(self, id: str) -> Location | None:
        """Where a thing that runs is reached; None where the backend has to be asked."""
        return None

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

    # --- watching ----------------------------------------------------------------------------

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
            where = in_words(error, self._url)
            LOG.warning("The Docker Engine cannot be reached, will try again: %s", where)

    async def _session(self) -> None:
        """One stream, and one list of all; returns when it is time to begin anew.

        Raises:
            DockerNamedError: the backend was lost.
        """
        forgettable = set(self._gone)  # the stream to come tells nothing of these
        async with self._events() as batches:
            self._tell_images(None)  # events from before this stream are lost
            following = asyncio.ensure_future(self._follow(batches))
            try:
                await during(following, self._read_all(forgettable))
                if not self.connected:
                    LOG.info("Watching %d %ss", len(self._table), self.noun)
                self.not_allowed = None
                self._in_sync.set()
                self._synced.set()
                await self._until_anew(following)
            finally:
                await ended(following)

    async def _follow(self, batches: AsyncIterator[list[dict[str, Any]]]) -> None:
        """Take over what is told, until the end of the stream is raised."""
        async for batch in batches:
            for start in range(0, len(batch), CHUNK):
                for event in batch[start : start + CHUNK]:
                    self._on_event(event)
                await asyncio.sleep(0)

    @abstractmethod
    def _events(self) -> AbstractAsyncContextManager[AsyncIterator[list[dict[str, Any]]]]:
        """The backend's stream of events, in batches."""

    @abstractmethod
    def _on_event(self, event: Mapping[str, Any]) -> None:
        """Take over one event."""

    async def _read_all(self, forgettable: set[str]) -> None:
        """Ask for all there is, and put the table right.

        Args:
            forgettable: ids of removed things that the stream cannot speak of any more.
        """
        heard = self._heard = set()
        try:
            await self._list(heard)
        finally:
            self._heard = None
        for id in forgettable - heard:
            self._gone.pop(id, None)

    @abstractmethod
    async def _list(self, heard: set[str]) -> None:
        """Ask for all there is, and take it over where nothing newer was heard since, or meanwhile.

        Args:
            heard: ids of what was heard of since; it grows meanwhile.
        """

    def _not_listed(self, ids: Iterable[str]) -> None:
        """A list tells nothing any more of things that the table has."""
        for id in ids:
            self._remove(id)
        for id in [id for id in self._deaths if id not in self._table]:
            self._announce(observed.unknown(id))

    @abstractmethod
    async def _until_anew(self, following: asyncio.Task[None]) -> None:
        """Ask for what events do not tell, until it is time to begin anew.

        Args:
            following: ends when the stream does.
        """

    def _is_starting(self, id: str) -> bool:
        return self._starting.get(id, 0) > asyncio.get_running_loop().time()

    def _tell_images(self, event: Mapping[str, Any] | None) -> None:
        for callback in list(self._image_callbacks):
            guarded(callback, event)

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
                    record,
                    state=state,
                    exit_code=exit_code,
                    oom=oom,
                    endpoint_fingerprint=None,
                    words="",
                    restarts=0,
                )
            )

    def _put(self, record: ObservedContainer) -> None:
        before = self._table.get(record.id)
        new = before is None
        self._table[record.id] = record
        if new:
            key = (record.user, record.server)
            self._by_server[key] = (*self._by_server.get(key, ()), record.id)
            for callback in self._new_callbacks:
                guarded(callback, record)
        for condition, fulfilled in self._waiters.get(record.id, ()):
            if condition(record):
                fulfilled.set()
        if record.ended:
            self._announce(record)
        elif before is not None and observed.moved(before, record):
            for callback in list(self._moves.get(record.id, ())):
                guarded(callback, record)

    def _remove(self, id: str) -> None:
        self._gone[id] = None
        self._gone.move_to_end(id)
        while len(self._gone) > MAX_GONE:
            self._gone.popitem(last=False)
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
            guarded(callback, record)


def guarded(callback: Callable[[Any], None], argument: object) -> None:
    """Call a callback whose failure is its own."""
    try:
        callback(argument)
    except Exception:
        LOG.exception("A callback failed")  # the others, and the watch, must not suffer
