"""What starts made and may have to take back: at once, or once the Engine can be asked again.

No answer from the Engine is no proof that nothing was done. Every object that a start makes carries
a label with a random value of that very start. So what is found of a failed start later, after an
outage or because a create that nobody waited for any more was done after all, can be told from
everybody else's, and removed without a risk for the next start of the same server.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import naming
from ..desired.spec import LABEL_START
from ..errors import (
    Conflict,
    DockerNamedError,
    EngineError,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    NotFound,
)
from ..timeouts import retry, within
from ..timings import DEFAULT, Timings
from .base import Seen, Things
from .observed import ObservedContainer
from .table import Table

LOG = logging.getLogger("dockernamed.rollback")

#: What trying again may help against.
TRANSIENT = (EngineUnavailable, EngineTimeout, EngineFailed)
#: Failed starts remembered for what a call without an answer may still bring.
MAX_DOUBTFUL = 1000


@dataclass(eq=False)
class StartResources:
    """What one start made, and would have to be taken back.

    Attributes:
        key: whose start.
        id: value of the label `LABEL_START` on all of it.
        containers: ids of new containers, as far as known: one, in most cases.
        reused: id of a kept container that was started again: stopped, never removed.
        volumes: names of the volumes that it made, or may have made.
        in_doubt: a create call ended without a clear answer: there may be a container.
        start_in_doubt: likewise the start call of a kept container: it may run later.
        failed: it is to be taken back.
        busy: held while it is taken back.
    """

    key: naming.Key
    id: str
    containers: set[str] = field(default_factory=set)
    reused: str = ""
    volumes: set[str] = field(default_factory=set)
    in_doubt: bool = False
    start_in_doubt: bool = False
    failed: bool = False
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)


class Rollback:
    """The starts of one Hub on one Engine that are under way, or not taken back yet."""

    def __init__(
        self,
        things: Things,
        watcher: Table,
        log: logging.Logger,
        timings: Timings = DEFAULT,
    ) -> None:
        self._things, self._watcher, self._log = things, watcher, log
        self._timings = timings
        self._open: dict[str, StartResources] = {}
        # Calls under way: by the volume that is removed, and with the kept container that is ended.
        self._removals: dict[str, asyncio.Task[None]] = {}
        self._kills: dict[asyncio.Task[None], str] = {}
        self._background: set[asyncio.Task[None]] = set()
        watcher.on_new(self._look_at)

    @property
    def starts(self) -> list[StartResources]:
        """All starts that are under way or not taken back yet, oldest first."""
        return list(self._open.values())

    def begin(self, key: naming.Key) -> StartResources:
        """A new start of a server, which from now on answers for the containers of earlier ones."""
        for other in self.starts:
            if other.key == key:
                other.reused = ""
        made = StartResources(key, secrets.token_hex(8))
        self._open[made.id] = made
        return made

    async def claim(self, made: StartResources, volume: str) -> None:
        """Say that a start wants a volume: from now on no other start takes that one back."""
        for other in self.starts:
            other.volumes.discard(volume)
        made.volumes.add(volume)
        if volume in self._removals:
            await asyncio.wait({self._removals[volume]})

    async def reuse(self, made: StartResources, container_id: str) -> None:
        """Say that a start takes a kept container: no belated end of an earlier one hits it."""
        made.reused = container_id
        if kills := {kill for kill, id in self._kills.items() if id == container_id}:
            await asyncio.wait(kills)

    def keep(self, made: StartResources) -> None:
        """Whatever the start made and is still there stays."""
        self._open.pop(made.id, None)
        made.volumes.clear()
        made.reused = ""

    async def undo(self, made: StartResources) -> None:
        """Take back what a start made; never raises: what cannot be done now is done later."""
        made.failed = True
        if made.start_in_doubt:
            self.spawn(self._undo_late_start(made))
        try:
            await self._take_back(made)
        except TRANSIENT as error:
            self._log.warning("Something of a failed start is left for now: %s", error)
            self.spawn(self._undo_later(made))
        except DockerNamedError as error:
            self._give_up(made, error)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Do something that must be done whoever waits for it."""
        task = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    async def retry(
        self, work: Callable[[], Awaitable[None]], patience: float | None = None
    ) -> None:
        """`retry_transient` with the pauses of our timings."""
        await retry_transient(work, self._watcher, self._timings.retry_after, patience)

    async def _undo_later(self, made: StartResources) -> None:
        await self._watcher.in_sync()
        try:
            await self.retry(lambda: self._take_back(made))
        except DockerNamedError as error:
            self._give_up(made, error)

    def _give_up(self, made: StartResources, error: DockerNamedError) -> None:
        self._log.warning("Something of a failed start is left: %s", error)
        self.keep(made)

    async def _undo_late_start(self, made: StartResources) -> None:
        try:
            started = self._watcher.until(made.reused, lambda record: record.running)
            await within(self._timings.late_start, started)
            await self.retry(lambda: self._halt(made))
        except asyncio.TimeoutError:
            self._log.debug("%s was not started late", made.reused[:12])
        except DockerNamedError as error:
            self._log.warning("Something of a failed start is left: %s", error)
        made.start_in_doubt = False
        self.keep(made)

    async def _take_back(self, made: StartResources) -> None:
        async with made.busy:
            await self._take_back_all(made)
        if made.in_doubt or made.start_in_doubt:
            self._forget_oldest_doubt()
        else:
            self.keep(made)

    async def _take_back_all(self, made: StartResources) -> None:
        """Newest first: a volume is free only when its container is gone."""
        await self._halt(made)
        if made.in_doubt:
            found = await self._things.list({LABEL_START: made.id})
            # A copy that somebody made of one meanwhile has its labels, but not its name.
            made.containers |= {
                one.id for one in found if one.labels.get(naming.LABEL_CONTAINER) == one.name
            }
            made.in_doubt = not made.containers
        for container_id in list(made.containers):
            await force_remove(self._things, self._watcher, container_id)
        for volume in sorted(made.volumes):
            removal = self._removals[volume] = self.spawn(self._remove_volume(made, volume))
            try:
                await removal
            finally:
                self._removals.pop(volume, None)

    async def _halt(self, made: StartResources) -> None:
        if id := made.reused:
            kill = self.spawn(self._kill(id))
            self._kills[kill] = id
            try:
                await kill
            finally:
                del self._kills[kill]

    async def _kill(self, container_id: str) -> None:
        try:
            await self._things.kill(container_id)
        except (NotFound, Conflict) as error:
            self._log.debug("A kept container does not run: %s", error)

    async def _remove_volume(self, made: StartResources, name: str) -> None:
        try:
            volume = await self._things.inspect_volume(name)
            ours = volume.labels.get(LABEL_START) == made.id
            # A plugin's volume may be older than its first mention on this Engine.
            if ours and volume.driver == "local" and name in made.volumes:
                await self._things.remove_volume(name)
        except (NotFound, Conflict) as error:
            self._log.debug("A new volume is gone, or in use by now: %s", error)

    def _forget_oldest_doubt(self) -> None:
        doubtful = [made for made in self.starts if made.failed]
        for made in doubtful[: max(0, len(doubtful) - MAX_DOUBTFUL)]:
            self.keep(made)

    def _look_at(self, record: ObservedContainer) -> None:
        """A container that nobody waits for may be the late work of a start that is long over."""
        for made in self.starts:
            whose = (made.key.user, made.key.server)
            if made.failed and made.in_doubt and whose == (record.user, record.server):
                self.spawn(self.undo(made))


async def force_remove(things: Things, watcher: Table, container_id: str) -> bool:
    """Remove a container, whether it runs or not.

    Returns:
        False where the Engine itself calls it dead and cannot remove it: nothing runs there, but
        its name stays taken.

    Raises:
        EngineError: it could not be removed.
    """
    try:
        await things.remove(container_id)
    except (EngineFailed, EngineTimeout) as error:
        seen = await _look_at(things, container_id)
        if seen is not None and seen.dead:
            text = "The %s %s is dead and stays for now: %s"
            LOG.warning(text, watcher.noun, container_id[:12], error)
            return False
        if seen is not None:
            raise
        # It is gone, but not all that goes with it need be.
        await things.remove(container_id)
    watcher.note_removed(container_id)
    return True


async def _look_at(things: Things, container_id: str) -> Seen | None:
    """A container as it is; None when it is gone."""
    try:
        return await things.inspect(container_id)
    except NotFound:
        return None


async def retry_transient(
    work: Callable[[], Awaitable[None]],
    watcher: Table,
    pauses: Sequence[float],
    patience: float | None = None,
) -> None:
    """Do something that has to be done, however the Engine comes and goes meanwhile.

    Args:
        work: done again from its beginning when it failed in a way that may pass.
        watcher: tells when the Engine is back.
        pauses: seconds before each further try, once the Engine is back.
        patience: seconds that an Engine which is gone is waited for; None: for ever.

    Raises:
        EngineError: it failed for good, or too often, or the Engine stayed away for too long.
    """

    async def wait(error: EngineError, pause: float) -> None:
        LOG.warning("Will try again: %s", error)
        await asyncio.sleep(pause)
        try:
            await within(patience, watcher.in_sync())
        except asyncio.TimeoutError:
            raise error from None

    await retry(work, pauses, on=TRANSIENT, wait=wait)
