"""Keeping house on an Engine: containers that no server of the Hub stands for any more.

A Hub that was killed at the wrong moment, or restored from a backup, leaves containers of which it
knows nothing. They are ours by label, and only by label: another Hub's are never looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .containers import Containers
from .errors import DockerNamedError
from .records import Record, State
from .watcher import Watcher


@dataclass(frozen=True)
class Known:
    """What the Hub knows of one server.

    Attributes:
        user: raw user name.
        server: raw server name.
        active: it runs, starts, stops or is being looked at, as far as the Hub knows.
        object_id: its container, "" where the Hub knows of none.
    """

    user: str
    server: str
    active: bool
    object_id: str = ""


def orphans(records: Iterable[Record], known: Iterable[Known], *, keep: bool) -> list[Record]:
    """The containers that no server stands for.

    Args:
        records: this Hub's containers.
        known: all servers of the Hub, running or not.
        keep: stopped containers of stopped servers are kept on purpose.
    """
    servers = {(one.user, one.server): one for one in known}
    # A user can be renamed while the server runs: the labels then say an old name.
    claimed = {one.object_id for one in servers.values() if one.active and one.object_id}
    found = []
    for record in records:
        one = servers.get((record.user, record.server))
        if record.id in claimed or (one is not None and one.active):
            continue
        if one is not None and keep and record.state is not State.RUNNING:
            continue
        found.append(record)
    return found


class Keeper:
    """Looks for orphans at the Hub's start and every so often; removes or reports them.

    Args:
        watcher: whose table is searched.
        backend: removes.
        known: asks the Hub for its servers; called in the event loop.
        keep: see `orphans`.
        policy: ``"remove"`` or ``"report"``.
        grace: seconds that a container must have been an orphan before it is touched.
        interval: seconds between two rounds.
        log: where to tell.
    """

    def __init__(
        self,
        watcher: Watcher,
        backend: Containers,
        known: Callable[[], Iterable[Known]],
        *,
        keep: bool,
        policy: str,
        grace: float,
        interval: float,
        log: logging.Logger,
    ) -> None:
        self._watcher, self._backend, self._known = watcher, backend, known
        self._keep, self._policy = keep, policy
        self._grace, self._interval, self._log = grace, interval, log
        self._since: dict[str, float] = {}

    async def run(self) -> None:
        """Rounds without end; one that fails is logged."""
        while True:
            await self._watcher.in_sync()
            try:
                waiting = await self.round()
            except DockerNamedError as error:
                self._log.warning("Looking for orphans failed, will try again: %s", error)
                waiting = True
            await asyncio.sleep(self._grace if waiting else self._interval)

    async def round(self) -> bool:
        """Look once. True where something was found whose grace period is not over yet."""
        now = asyncio.get_running_loop().time()
        found = orphans(self._watcher.records(), self._known(), keep=self._keep)
        self._since = {record.id: self._since.get(record.id, now) for record in found}
        waiting = False
        for record in found:
            if now - self._since[record.id] < self._grace:
                waiting = True
            elif self._policy == "report":
                self._log.warning(
                    "Orphan: container %s (%s): %s", record.name, record.id[:12], _whose(record)
                )
            else:
                self._log.warning(
                    "Removing orphan %s (%s): %s", record.name, record.id[:12], _whose(record)
                )
                await self._backend.discard(record.id)
        return waiting


def _whose(record: Record) -> str:
    return f"the Hub has no running server {record.server!r} of user {record.user!r}"
