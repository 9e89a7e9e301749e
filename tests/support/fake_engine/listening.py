"""Servers with an event loop of their own: how they listen, go away, come back, and end."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from aiohttp import web

Step = Callable[[], Coroutine[Any, Any, None]]


class Listener:
    """A Unix socket at which a server answers, or is gone for a while.

    Args:
        runner: of the server, set up.
        path: of the socket.
    """

    def __init__(self, runner: web.AppRunner, path: Path) -> None:
        self._runner, self._path = runner, path
        self._socket: socket.socket | None = None

    async def up(self) -> None:
        """Listen; fine where it does."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(str(self._path))
            self._site = web.SockSite(self._runner, self._socket)
            await self._site.start()

    async def down(self) -> None:
        """Stop listening, and break all connections; fine where nobody listens."""
        listening, self._socket = self._socket, None
        if listening is not None:
            # asyncio loses a connection that it accepts in the moment in which it stops listening:
            # those accepted by now first become the server's, which takes two rounds of the loop.
            asyncio.get_running_loop().remove_reader(listening)
            for _ in range(2):
                await asyncio.sleep(0)
            await self._site.stop()
        self._path.unlink(missing_ok=True)
        self.hang_up()

    def hang_up(self) -> None:
        """Break all connections, as an Engine does that ends."""
        assert self._runner.server is not None
        for connection in list(self._runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()


def serve(
    loop: asyncio.AbstractEventLoop, begin: Step, begun: threading.Event, *ends: Step
) -> None:
    """Run a loop in this thread until it is stopped, and then end all that is in it.

    Args:
        loop: is closed afterwards.
        begin: brings the server up.
        begun: set once it is up.
        ends: done one after the other; after each one no task is left.
    """
    asyncio.set_event_loop(loop)
    loop.run_until_complete(begin())
    begun.set()
    loop.run_forever()
    for end in ends:
        loop.run_until_complete(end())
        end_tasks(loop)
    loop.close()


def end_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel all tasks of a loop that does not run now, and wait for their ends.

    What was planned for later can begin other tasks meanwhile: they end too. One that stayed
    pending would be reported by a test that has nothing to do with it.
    """
    while tasks := asyncio.all_tasks(loop):
        for task in tasks:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
