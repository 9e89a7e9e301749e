"""The watch over one running server: the Hub is told when it ends, and follows where it moves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..backends.observed import ObservedContainer
from ..lifecycle.monitor import ServerMonitor
from ..lifecycle.runtime import Runtime
from .whereabouts import Whereabouts


class Watch:
    """The watch over whatever runs for one server, if anything does.

    Args:
        spawner: the server's.
        runtime: the Engine as the Hub sees it.
        whereabouts: followed when it moves.
    """

    def __init__(
        self, spawner: Any, runtime: Callable[[], Runtime], whereabouts: Whereabouts
    ) -> None:
        self._spawner, self._runtime, self._whereabouts = spawner, runtime, whereabouts
        self._monitor: ServerMonitor | None = None

    def begin(self) -> None:
        """Watch over the server, which runs now; nothing changes where that is done already."""
        self._begun()

    async def catch_up(self) -> None:
        """Watch over the server, which runs now, and follow it if it may have moved unseen."""
        if self._begun().outdated():
            await self._whereabouts.follow()

    def stop(self) -> None:
        """Watch no more."""
        self._whereabouts.stop()
        if self._monitor is not None:
            self._monitor.end()
            self._monitor = None

    def exit_code(self, record: ObservedContainer) -> int | None:
        """With which code the server has ended; None where it may come back in a moment.

        Args:
            record: its container, which does not run.
        """
        if self._monitor is None and record.ended:
            self._log_end(record, "ended while the Hub was down (was the Engine restarted?)")
        if self._monitor is not None and self._monitor.restarting:
            return None
        return record.exit_code or 0

    def _begun(self) -> ServerMonitor:
        id, moved = self._spawner.object_id, self._whereabouts.follow
        if self._monitor is None or self._monitor.id != id:
            self.stop()
            runtime = self._runtime()
            self._monitor = ServerMonitor(runtime.watcher, id, self._ended, moved, runtime.timings)
        return self._monitor

    async def _ended(self, record: ObservedContainer, how: str) -> None:
        """Tell the Hub at once, if it listens yet: poll_and_notify asks its callbacks only once."""
        self._log_end(record, how)
        if self._spawner._callbacks:
            await self._spawner.poll_and_notify()

    def _log_end(self, record: ObservedContainer, how: str) -> None:
        why = " (out of memory)" if record.oom else f" ({record.words})" if record.words else ""
        who, code = self._spawner._log_name, record.exit_code
        self._spawner.log.warning("%s %s, with exit code %s%s", who, how, code, why)
