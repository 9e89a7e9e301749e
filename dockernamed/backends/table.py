"""The records of this Hub's things, kept in step with a backend: by its events, and lists of all.

What is asked and what events mean is each backend's own: `watcher` has that of containers, and
`tasks` that of services. A stream of events that is lost is taken up again, after growing pauses.
"""

from __future__ import annotations

import asyncio
import logging
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any

from ..engine.unreachable import in_words
from ..errors import CallNotAllowed, DockerNamedError
from ..timeouts import during, ended
from ..timings import DEFAULT, Timings
from .records import Records, guarded

LOG = logging.getLogger("dockernamed.watcher")

CHUNK = 100  # records or events handled between two looks at the event loop
ImageCallback = Callable[[Mapping[str, Any] | None], None]


class Table(Records, ABC):
    """The records of one Hub's things on one backend; see `Records` for what may be asked of them.

    Args:
        url: where the backend is, for messages.
        hub: value of the label that ours have.
        timings: when it is looked again, and how long is waited for what.

    Attributes:
        noun: what its things are called in messages: ``container`` or ``service``.
    """

    noun = "container"

    def __init__(self, url: str, hub: str, timings: Timings = DEFAULT) -> None:
        super().__init__(timings)
        self._url, self._hub = url, hub
        #: How often the stream was lost: what was read from the Engine before may be outdated.
        self.disconnects = 0
        #: Why nothing can be watched until somebody changes what a proxy lets through, or None.
        self.not_allowed: CallNotAllowed | None = None
        self._image_callbacks: list[ImageCallback] = []
        self._told_absence = False
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
            await ended(task)
        self._in_sync.clear()

    @abstractmethod
    async def look_at(self, id: str) -> None:
        """Ask for one thing, whatever is known of it, and put the table right.

        Raises:
            EngineError: it could not be asked for.
        """

    # --- images ----------------------------------------------------------------------------

    def on_image_event(self, callback: ImageCallback) -> Callable[[], None]:
        """Have ``callback`` called with each event of an image, and with None when some were lost.

        Returns:
            A function that takes this back.
        """
        self._image_callbacks.append(callback)
        return lambda: self._image_callbacks.remove(callback)

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

    @abstractmethod
    async def _until_anew(self, following: asyncio.Task[None]) -> None:
        """Ask for what events do not tell, until it is time to begin anew.

        Args:
            following: ends when the stream does.
        """

    def _tell_images(self, event: Mapping[str, Any] | None) -> None:
        for callback in list(self._image_callbacks):
            guarded(callback, event)
