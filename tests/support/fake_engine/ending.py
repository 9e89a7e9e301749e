"""How a server with an event loop of its own ends: nobody is connected, and no task is left."""

from __future__ import annotations

import asyncio

from aiohttp import web


def hang_up(runner: web.AppRunner) -> None:
    """Break all connections, as an Engine does that ends."""
    assert runner.server is not None
    for connection in list(runner.server.connections):
        if connection.transport is not None:
            connection.transport.abort()


def end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel all tasks of a loop that does not run now, and wait for their ends.

    What was planned for later can begin other tasks meanwhile: they end too. One that stayed
    pending would be reported by a test that has nothing to do with it.
    """
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
