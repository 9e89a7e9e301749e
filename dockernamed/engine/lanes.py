"""Threads for calls that block, so that the event loop never does.

- `Lane`: up to so many daemon threads that carry out one call each at a time. Different kinds of
  calls get lanes of their own, so that a slow kind never keeps a quick kind waiting.
- `Feed`: one daemon thread that reads an endless answer and hands it to the event loop in batches.

Threads are daemons: a process whose Engine hangs can still exit (`ThreadPoolExecutor` would join
its threads at exit, and so wait for the Engine).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from collections.abc import AsyncIterator, Callable
from queue import Empty, SimpleQueue
from typing import Any, Generic, Protocol, TypeVar

from ..timeouts import within

T = TypeVar("T")

IDLE_SECONDS = 60.0  # a thread without work ends after so long


class Lane:
    """A bounded number of threads, begun when needed and ended when idle.

    Args:
        name: of the threads, for debuggers.
        size: how many calls may be under way at once; more wait in turn, first come first served.
    """

    def __init__(self, name: str, size: int) -> None:
        self.name, self.size = name, size
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = self._free = 0
        self._closed = False

    async def run(self, call: Callable[[], T]) -> T:
        """Await ``call()`` in one of the threads.

        When the awaiting task is cancelled, a call that still waits for its turn is never made; one
        that is under way goes on, and what it returns or raises is dropped.

        Raises:
            ConnectionAbortedError: the lane is closed.
            Exception: whatever the call raises.
        """
        loop = asyncio.get_running_loop()
        job = _Job(call, loop, loop.create_future())
        with self._lock:  # never held for longer than these lines
            if self._closed:
                raise ConnectionAbortedError(f"{self.name} is closed")
            grow = self._free <= 0 and self._threads < self.size
            self._free -= not grow
            self._threads += grow
            number = self._threads
            self._jobs.put(job)
        if grow:
            threading.Thread(target=self._work, name=f"{self.name}-{number}", daemon=True).start()
        result: T = await job.future
        return result

    def close(self) -> None:
        """Let each thread end once its call is over; calls that wait for their turn are refused."""
        with self._lock:
            self._closed = True
            threads = self._threads
        while True:
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
            if job is not None:
                job.refuse(ConnectionAbortedError(f"{self.name} is closed"))
        for _ in range(threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._free <= 0:  # a job was promised to a free thread just now
                        continue
                    self._free -= 1
                    self._threads -= 1
                return
            if job is None:
                return
            tell = job.do()
            with self._lock:
                self._free += 1  # before who waits can make the next call
            tell()
            del job, tell  # an idle thread must not keep the last answer alive


class _Job:
    __slots__ = ("call", "future", "loop")

    def __init__(
        self,
        call: Callable[[], Any],
        loop: asyncio.AbstractEventLoop,
        future: asyncio.Future[Any],
    ) -> None:
        self.call, self.loop, self.future = call, loop, future

    def do(self) -> Callable[[], None]:
        """Make the call; returns a function that tells who waits what came of it."""
        if self.future.done():  # cancelled while it waited for its turn
            return lambda: None
        try:
            result = self.call()
        except BaseException as error:
            return functools.partial(self._tell, None, error)
        return functools.partial(self._tell, result, None)

    def refuse(self, error: BaseException) -> None:
        self._tell(None, error)

    def _tell(self, result: object, error: BaseException | None) -> None:
        # A closed loop refuses with RuntimeError: nobody waits any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._settle, result, error)

    def _settle(self, result: object, error: BaseException | None) -> None:
        if self.future.done():
            return
        if error is None:
            self.future.set_result(result)
        else:
            self.future.set_exception(error)


class Source(Protocol):
    """What a `Feed` reads: ``read`` runs in the thread, ``abort`` in the event loop."""

    def read(self, opened: Callable[[], None], push: Callable[[list[Any]], bool]) -> None:
        """Open the answer, say so, push batches until it ends or ``push`` returns False."""

    def abort(self) -> None:
        """Make ``read`` end soon; must not block; may be called at any time, also twice."""


class Feed(Generic[T]):
    """An endless answer, read in a thread of its own and iterated in the event loop.

    Each item of the iteration is a non-empty list: what had come in since the last one. The thread
    waits while more than ``limit`` items lie there, so memory stays bounded however slow the
    reader, and the event loop is woken once for a burst.

    Use it as ``async with Feed(...) as feed``; leaving aborts the answer.
    """

    def __init__(
        self,
        name: str,
        source: Source,
        *,
        limit: int = 5000,
        on_close: Callable[[Feed[T]], object] = lambda _: None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._source, self._limit, self._on_close = source, limit, on_close
        self._items: list[T] = []
        self._changed = threading.Condition()  # guards _items and _closed; held for moments only
        self._closed = False
        self._wake = asyncio.Event()
        self._opened = asyncio.Event()
        self._error: BaseException | None = None
        self._ended = False
        self._thread = threading.Thread(target=self._read, name=name, daemon=True)

    async def __aenter__(self) -> Feed[T]:
        self._thread.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.close()

    async def opened(self, patience: float) -> bool:
        """Wait until the Engine has begun to answer, at most ``patience`` seconds.

        Returns:
            False when it has not: some Engines send nothing until there is something to tell.

        Raises:
            Exception: what kept the answer from being opened.
        """
        try:
            await within(patience, self._opened.wait())
        except asyncio.TimeoutError:
            return False
        if self._error is not None:
            raise self._error
        return True

    async def __aiter__(self) -> AsyncIterator[list[T]]:
        while True:
            await self._wake.wait()
            self._wake.clear()
            ended = self._ended  # looked at before the items: none come after the end
            with self._changed:
                batch, self._items = self._items, []
                self._changed.notify()
            if batch:
                yield batch
            if ended:
                if self._error is not None:
                    raise self._error
                return

    def close(self) -> None:
        """End the thread soon; does not wait for it."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify()
        self._source.abort()
        self._on_close(self)

    # --- in the thread ---------------------------------------------------------------------

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            self._source.read(lambda: self._tell(self._opened.set), self._push)
        except BaseException as caught:
            error = caught
        self._tell(self._end, error)

    def _push(self, items: list[T]) -> bool:
        with self._changed:
            while len(self._items) > self._limit and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            wake = not self._items
            self._items.extend(items)
        if wake and items:
            self._tell(self._wake.set)
        return True

    def _tell(self, callback: Callable[..., object], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:  # the loop is closed: nobody listens any more
            with self._changed:
                self._closed = True

    # --- in the event loop -----------------------------------------------------------------

    def _end(self, error: BaseException | None) -> None:
        self._error, self._ended = error, True
        self._opened.set()
        self._wake.set()
