"""What is known of each of this Hub's things on one backend, and who is told when that changes.

Who looks up what there is, or waits for it, makes no request. `table` keeps the records in step
with the backend; while that is out of sight they say what was last known.

Memory is bounded by the number of things.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from ..desired.network import Location
from ..timings import DEFAULT, Timings
from . import observed
from .observed import ObservedContainer, State

LOG = logging.getLogger("dockernamed.watcher")

MAX_GONE = 10_000  # ids remembered, of removed things that late news may still speak of
Callback = Callable[[ObservedContainer], None]


class Records:
    """One record for each thing of a Hub that is known; lives in one event loop.

    Args:
        timings: how long a list is not believed of what is being started.
    """

    def __init__(self, timings: Timings = DEFAULT) -> None:
        self._timings = timings
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
        self._new_callbacks: list[Callback] = []
        self._synced = asyncio.Event()
        self._in_sync = asyncio.Event()

    # --- whether that is all there is ------------------------------------------------------

    async def synced(self) -> None:
        """Wait until all there is has been told for the first time."""
        await self._synced.wait()

    async def in_sync(self) -> None:
        """Wait until `connected`."""
        await self._in_sync.wait()

    @property
    def connected(self) -> bool:
        """The backend's events arrive, and all that came before them is known."""
        return self._in_sync.is_set()

    # --- what is known ---------------------------------------------------------------------

    def get(self, id: str) -> ObservedContainer | None:
        """The container with this id, or None when no such container is known."""
        return self._table.get(id)

    def find(self, user: str, server: str) -> list[ObservedContainer]:
        """The containers of a server, by their labels, oldest known first."""
        return [self._table[id] for id in self._by_server.get((user, server), ())]

    def records(self) -> list[ObservedContainer]:
        """All containers of this Hub."""
        return list(self._table.values())

    def is_wanted(self, id: str) -> bool:
        """Whether the backend is to have something run, whatever became of it since it was started.

        Containers are told to start, and no more: where they have ended, nothing is to be done.
        """
        return False

    def place(self, id: str) -> Location | None:
        """Where a thing that runs is reached; None where the backend has to be asked."""
        return None

    # --- who is told -----------------------------------------------------------------------

    def on_new(self, callback: Callback) -> None:
        """Have ``callback`` called with the record of each container when it is first heard of."""
        self._new_callbacks.append(callback)

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

    # --- changing them ---------------------------------------------------------------------

    def _hear(self, id: str) -> None:
        if self._heard is not None:
            self._heard.add(id)

    def _is_starting(self, id: str) -> bool:
        return self._starting.get(id, 0) > asyncio.get_running_loop().time()

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

    def _not_listed(self, ids: Iterable[str]) -> None:
        """A list of all there is tells nothing any more of some things that were known."""
        for id in ids:
            self._remove(id)
        for id in [id for id in self._deaths if id not in self._table]:
            self._announce(observed.unknown(id))

    def _announce(self, record: ObservedContainer) -> None:
        for callback in self._deaths.pop(record.id, ()):
            guarded(callback, record)


def guarded(callback: Callable[[Any], None], argument: object) -> None:
    """Call a callback whose failure is its own."""
    try:
        callback(argument)
    except Exception:
        LOG.exception("A callback failed")  # the others, and the watch, must not suffer
