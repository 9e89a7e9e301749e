"""Containers as things, over a made-up client: what the Engine is not asked to do at once."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from dockernamed.backends.containers import MAX_REMOVALS, Containers


class Client:
    """Counts removals under way."""

    def __init__(self) -> None:
        self.now = self.most = self.done = 0

    async def remove_container(self, id: str, **how: Any) -> None:
        """As of the Engine's client."""
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        self.done += 1


async def test_few_are_removed_at_once() -> None:
    """Engines before version 23 may hang for good otherwise; all of them go all the same."""
    client = Client()
    things = Containers(cast("Any", client))
    await asyncio.gather(*(things.remove(str(number)) for number in range(30)))
    assert (client.most, client.done) == (MAX_REMOVALS, 30)
