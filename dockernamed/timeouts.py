"""Waiting for so long and no longer, or only while something else goes on; and trying again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
E = TypeVar("E", bound=Exception)


async def within(seconds: float | None, work: Awaitable[T]) -> T:
    """Await something that must end within so many seconds; None: whenever it does.

    Unlike `asyncio.wait_for` before Python 3.12, this never swallows a cancel that comes just
    when the work is done: who was cancelled would go on, and wait for ever somewhere else.

    Raises:
        asyncio.TimeoutError: it did not, and was cancelled.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except BaseException:
        task.cancel()
        # Its own end is nobody's business any more, and no news for the log either.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        raise
    if not done:
        task.cancel()
        await asyncio.wait({task})
        if task.cancelled():
            raise asyncio.TimeoutError
    return task.result()


async def during(other: asyncio.Task[None], work: Coroutine[Any, Any, None]) -> None:
    """Do some work while a task goes on; when that ends, the work is cancelled.

    Raises:
        Exception: what the work raised, or the task before it.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({other, task}, return_when=asyncio.FIRST_COMPLETED)
        await (other if other.done() else task)
    finally:
        await ended(task)


async def ended(task: asyncio.Task[Any]) -> None:
    """Cancel a task, and return when it is over, however it went."""
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def before_raising(task: asyncio.Task[Any], seconds: float) -> None:
    """Give a task that takes back what has failed a moment, before the failure is told.

    It goes on when that is over. Whoever is cancelled meanwhile tells the failure all the same:
    this never raises.
    """
    with suppress(asyncio.CancelledError):
        await asyncio.wait({task}, timeout=seconds)


async def retry(
    work: Callable[[], Awaitable[T]],
    pauses: Iterable[float],
    *,
    on: type[E] | tuple[type[E], ...],
    wait: Callable[[E, float], Awaitable[None]] | None = None,
) -> T:
    """Do something, and do it again while it fails in a way that may pass.

    Args:
        work: called anew each time.
        pauses: seconds before each repetition. If they never end, nor do the repetitions.
        on: the failures that may pass.
        wait: called with the failure and the pause, in place of `asyncio.sleep`. What it raises
            ends the repetitions.

    Raises:
        Exception: any other failure at once, and any failure when no pause is left.
    """
    for pause in pauses:
        try:
            return await work()
        except on as error:
            await (asyncio.sleep(pause) if wait is None else wait(error, pause))
    return await work()
