"""The progress of one start, for any number of listeners, including late ones."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from ..desired.plan import Op

#: A step of a start → how far the start is when it begins, in percent, and what people are told,
#: but for what a server is there: a container, a service.
STEPS = {
    Op.REMOVE: (51, "Removing the {} of an earlier run"),
    Op.REUSE: (55, "Taking up the {} that was kept"),
    Op.CREATE: (55, "Creating the {}"),
    Op.START: (65, "Starting the {}"),
}


class StartProgress:
    """The events of one start, in JupyterHub's shape for ``Spawner.progress``.

    Each event is ``{"progress": int 0..100, "message": str}``; numbers never go down, whoever
    tells them. A listener gets all events from the first on and ends after :meth:`close`.
    """

    def __init__(self) -> None:
        self._events: list[dict[str, Any]] = []
        self._more = asyncio.Event()
        self._closed = False

    def tell(self, progress: int, message: str) -> None:
        """Add an event; a number below the last one counts as the last one."""
        if self._events:
            progress = max(progress, self._events[-1]["progress"])
        self._events.append({"progress": progress, "message": message})
        self._wake()

    def step(self, op: Op, noun: str = "container") -> None:
        """Tell that a step of the start begins; the noun is what a server is there."""
        progress, message = STEPS[op]
        self.tell(progress, message.format(noun))

    def close(self) -> None:
        """No more events will come: listeners end when they have seen all."""
        self._closed = True
        self._wake()

    async def listen(self) -> AsyncIterator[dict[str, Any]]:
        """All events so far, then each new one as it comes, until closed."""
        seen = 0
        while True:
            more = self._more
            while seen < len(self._events):
                yield dict(self._events[seen])
                seen += 1
            if self._closed:
                return
            await more.wait()

    def _wake(self) -> None:
        self._more.set()
        self._more = asyncio.Event()
