"""Pulls images before they are needed, in the background, two at a time, and retries failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from ..backends.table import Table
from ..errors import EngineError, PullFailed
from ..timeouts import retry
from ..timings import DEFAULT
from .node_images import NodeImage, NodeImages

T = TypeVar("T")
#: Pulls at once: few, to leave the Engine's bandwidth to pulls that a user waits for.
AT_ONCE = 2


async def prepull(
    images: Sequence[T],
    pull: Callable[[T], Awaitable[object]],
    watcher: Table,
    log: logging.Logger,
    pauses: Sequence[float] = DEFAULT.prepull_again,
) -> None:
    """Pull images before anybody needs them.

    What cannot be pulled is reported in the log, and pulled when a server needs it.

    Args:
        images: references, or whatever ``pull`` takes.
        pull: gets one of them, if it is not there.
        watcher: knows when the Engine can be reached.
        log: where failures are reported.
        pauses: seconds before each further try of an image.
    """
    slots = asyncio.Semaphore(AT_ONCE)

    async def attempt(image: T) -> None:
        async with slots:
            await watcher.in_sync()
            await pull(image)

    async def wait(error: Exception, pause: float) -> None:
        log.warning("Prepull: %s; will try again in %g s", error, pause)
        await asyncio.sleep(pause)

    async def get(image: T) -> None:
        try:
            await retry(lambda: attempt(image), pauses, on=(EngineError, PullFailed), wait=wait)
        except Exception as error:  # an admin's callable for credentials may raise anything
            log.warning("Prepull: %s; given up", error)

    await asyncio.gather(*map(get, images))


async def prepull_on_nodes(
    images: Sequence[str],
    find: Callable[[str], Awaitable[NodeImage]],
    nodes: NodeImages,
    watcher: Table,
    log: logging.Logger,
    timeout: float,
    pauses: Sequence[float] = DEFAULT.prepull_again,
) -> None:
    """Pull images on each node of a Swarm, and on those that come later.

    What a Hub that was killed has left of that is removed first. Returns after that if there are no
    images; else never.

    Args:
        images: references.
        find: gets one of them onto the manager, and tells as what nodes are to get it.
        nodes: brings it there.
        watcher: as for `prepull`.
        log: likewise.
        timeout: seconds that the nodes may take for one.
        pauses: as for `prepull`.
    """

    async def bring(what: tuple[str, str]) -> None:
        image, node = what
        await nodes.bring(image, partial(find, image), timeout=timeout, node=node)

    await watcher.in_sync()
    await nodes.remove_leftovers()
    lacking = [(image, "") for image in images]
    while images:
        await prepull(lacking, bring, watcher, log, pauses)
        lacking = await nodes.lacking(images)
