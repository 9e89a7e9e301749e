"""Pulls images before they are needed, in the background, two at a time, and retries failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from ..backends.table import Table
from ..errors import EngineError, PullFailed
from ..timeouts import retry
from ..timings import DEFAULT

#: Pulls at once: few, to leave the Engine's bandwidth to pulls that a user waits for.
AT_ONCE = 2


async def prepull(
    images: Sequence[str],
    pull: Callable[[str], Awaitable[object]],
    watcher: Table,
    log: logging.Logger,
    pauses: Sequence[float] = DEFAULT.prepull_again,
) -> None:
    """Pull images before anybody needs them.

    What cannot be pulled is reported in the log, and pulled when a server needs it.

    Args:
        images: references.
        pull: gets one of them, if it is not there.
        watcher: knows when the Engine can be reached.
        log: where failures are reported.
        pauses: seconds before each further try of an image.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def attempt(image: str) -> None:
        async with slots:
            await watcher.in_sync()
            await pull(image)

    async def wait(error: Exception, pause: float) -> None:
        log.warning("Prepull: %s; will try again in %g s", error, pause)
        await asyncio.sleep(pause)

    async def get(image: str) -> None:
        try:
            await retry(lambda: attempt(image), pauses, on=(EngineError, PullFailed), wait=wait)
        except Exception as error:  # an admin's callable for credentials may raise anything
            log.warning("Prepull: %s; given up", error)

    await asyncio.gather(*map(get, images))
