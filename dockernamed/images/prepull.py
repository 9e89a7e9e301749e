"""Pulls images before they are needed, in the background, two at a time, and retries failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from ..backends.watcher import Watcher
from ..errors import EngineError, PullFailed

#: Pulls at once: few, to leave the Engine's bandwidth to pulls that a user waits for.
AT_ONCE = 2
#: Seconds before each further try.
PAUSES_S = (10.0, 60.0, 300.0)


async def prepull(
    images: Sequence[str],
    pull: Callable[[str], Awaitable[object]],
    watcher: Watcher,
    log: logging.Logger,
    pauses: Sequence[float] = PAUSES_S,
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

    async def attempt(image: str) -> Exception | None:
        async with slots:
            await watcher.in_sync()
            try:
                await pull(image)
            except Exception as error:  # an admin's callable for credentials may raise anything
                return error
        return None

    async def get(image: str) -> None:
        for pause in pauses:
            error = await attempt(image)
            if not isinstance(error, (EngineError, PullFailed)):
                break
            log.warning("Prepull: %s; will try again in %g s", error, pause)
            await asyncio.sleep(pause)
        else:
            error = await attempt(image)
        if error is not None:
            log.warning("Prepull: %s; given up", error)

    await asyncio.gather(*map(get, images))
