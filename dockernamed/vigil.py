"""Watching over one running container: it ends, or it comes back at another address."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from .records import Record
from .waiting import within
from .watcher import Watcher

LOG = logging.getLogger("dockernamed.vigil")

#: Seconds that a container which was asked to end may take to be started again (``docker
#: restart``). One that ended by itself is believed at once.
RESTART_S = 3.0


class Vigil:
    """From the moment a server is known to run until `end`.

    Args:
        watcher: tells what happens.
        id: of the container.
        ended: called once, when it has ended for good.
        moved: called when it was restarted: published ports are new then.
    """

    def __init__(
        self,
        watcher: Watcher,
        id: str,
        ended: Callable[[Record], Awaitable[object]],
        moved: Callable[[], Awaitable[object]],
    ) -> None:
        self.id = id
        self._watcher, self._ended, self._moved = watcher, ended, moved
        self._losses = watcher.losses
        self._restarting = False
        self._task = asyncio.ensure_future(self._watch())
        self._task.add_done_callback(_report)

    @property
    def restarting(self) -> bool:
        """It ended because it was asked to, a moment ago, and may come back."""
        return self._restarting

    def outdated(self) -> bool:
        """Whether the Engine was lost from sight since the last time this was asked."""
        losses, self._losses = self._losses, self._watcher.losses
        return losses != self._losses

    def end(self) -> None:
        """Watch no more; nothing is called from now on."""
        self._task.cancel()

    async def _watch(self) -> None:
        while True:
            record = await self._watcher.wait_dead(self.id)
            if not await self._comes_back(record):
                break
            LOG.info("Container %s was restarted", record.name)
            await self._moved()
        # Not in this task: what the Hub does about it may well end this vigil.
        task = asyncio.ensure_future(self._ended(record))
        task.add_done_callback(_report)

    async def _comes_back(self, record: Record) -> bool:
        if not record.asked:
            return False
        self._restarting = True
        try:
            await within(RESTART_S, self._watcher.wait_restarted(self.id))
        except asyncio.TimeoutError:
            return False
        finally:
            self._restarting = False
        return True


def _report(task: asyncio.Future[Any]) -> None:
    if not task.cancelled() and task.exception() is not None:
        LOG.error("Watching a container failed", exc_info=task.exception())
