"""Watching over one running container: it ends, or it comes back at another address."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from ..backends.observed import ObservedContainer
from ..backends.table import Table
from ..errors import EngineError
from ..timeouts import within
from ..timings import DEFAULT, Timings

LOG = logging.getLogger("dockernamed.monitor")

#: (it was asked to end, the Engine was lost from sight about then) → how it ended. An Engine
#: without live-restore asks all its containers to end before it ends itself.
_HOW = {
    (False, False): "ended",
    (True, False): "was stopped from outside",
    (True, True): "was stopped with the Engine",
    (False, True): "ended while the Engine was out of sight (was it restarted?)",
}


class _Place(NamedTuple):
    """What tells whether a server may be elsewhere by now."""

    disconnects: int
    endpoint_fingerprint: int | None = None
    network_changes: int = 0


class ServerMonitor:
    """From the moment a server is known to run until `end`.

    Args:
        watcher: tells what happens.
        id: of the container.
        ended: called once, when it has ended for good, with how it ended, in words.
        moved: called when it was restarted, as published ports are new then, and when it is told
            to be elsewhere.
        timings: how long the news may take that tells a stop from a restart.
    """

    def __init__(
        self,
        watcher: Table,
        id: str,
        ended: Callable[[ObservedContainer, str], Awaitable[object]],
        moved: Callable[[], Awaitable[object]],
        timings: Timings = DEFAULT,
    ) -> None:
        self.id = id
        self._timings = timings
        self._watcher, self._ended, self._moved = watcher, ended, moved
        self._place = self._place_now()
        self._restarting = False
        self._task = asyncio.ensure_future(self._watch())
        self._task.add_done_callback(_report)
        self._following: asyncio.Task[None] | None = None
        self._no_moves = watcher.on_move(id, self._told_elsewhere)

    @property
    def restarting(self) -> bool:
        """It ended because it was asked to, a moment ago, and may come back."""
        return self._restarting

    def outdated(self) -> bool:
        """Whether the server may be elsewhere than when this was asked last.

        Lists tell, and events of networks. Where no list has told before, the Engine's having been
        out of sight must do.
        """
        if not self._watcher.connected:
            return False  # nobody could say where; asked again when it is back
        before, self._place = self._place, self._place_now()
        now = self._place
        if before.network_changes != now.network_changes:
            return True
        if before.endpoint_fingerprint is None or now.endpoint_fingerprint is None:
            return before.disconnects != now.disconnects
        return before.endpoint_fingerprint != now.endpoint_fingerprint

    def end(self) -> None:
        """Watch no more; nothing is called from now on."""
        self._no_moves()
        self._task.cancel()
        if self._following is not None:
            self._following.cancel()

    def _told_elsewhere(self, record: ObservedContainer) -> None:
        if self._following is None or self._following.done():
            self._following = asyncio.ensure_future(self._follow())
            self._following.add_done_callback(_report)

    async def _follow(self) -> None:
        """Tell where it is now, and again if it has moved on meanwhile."""
        await self._watcher.in_sync()  # a list tells before all of it is read
        while self.outdated():
            await self._moved()

    def _place_now(self) -> _Place:
        record, disconnects = self._watcher.get(self.id), self._watcher.disconnects
        return (
            _Place(disconnects)
            if record is None
            else _Place(disconnects, record.endpoint_fingerprint, record.network_changes)
        )

    async def _watch(self) -> None:
        while True:
            record = await self._watcher.wait_dead(self.id)
            # While the Engine is out of sight a death is found by the list that ends that.
            disconnects = self._watcher.disconnects - (not self._watcher.connected)
            if not await self._comes_back(record):
                break
            LOG.info("The %s %s was restarted", self._watcher.noun, record.name)
            self._place = self._place._replace(endpoint_fingerprint=None)
            await self._moved()
        how = _HOW[record.stop_requested, self._watcher.disconnects != disconnects]
        # Not in this task: what the Hub does about it may well end this monitor.
        task = asyncio.ensure_future(self._ended(record, how))
        task.add_done_callback(_report)

    async def _comes_back(self, record: ObservedContainer) -> bool:
        self._restarting = record.stop_requested
        try:
            if record.stop_requested:
                await self._settled()
            # An Engine that took it down at its own end may bring it up again; and a death found
            # by a list is told before all of the list is read.
            await self._watcher.in_sync()
        finally:
            self._restarting = False
        now = self._watcher.get(self.id)
        return now is not None and now.running

    async def _settled(self) -> None:
        """Wait until whoever asked it to end has what they want, be it a stop or a restart.

        An Engine that restarts a container answers nothing about it between its stop and its start.
        """
        with contextlib.suppress(asyncio.TimeoutError):
            over = self._watcher.until(self.id, lambda now: now.stopped or now.running)
            await within(self._timings.stop_is_over, over)
        try:
            again = self._watcher.until(self.id, lambda now: now.running)
            await within(self._timings.restart_goes_on, again)
        except asyncio.TimeoutError:
            await self._look()

    async def _look(self) -> None:
        try:
            await self._watcher.look_at(self.id)
        except EngineError as error:
            LOG.warning("Could not see whether a container is restarted: %s", error)


def _report(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        LOG.error("Watching a container failed", exc_info=task.exception())
