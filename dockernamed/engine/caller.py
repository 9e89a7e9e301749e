"""How calls are made: in their turn, within a deadline, and again where that does no harm."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp

from ..errors import EngineFailed, EngineTimeout, EngineUnavailable
from ..timeouts import ended, retry
from .call import Call, parse_items, parse_nothing, parse_object
from .transport import Transport

LOG = logging.getLogger("dockernamed.engine")
T = TypeVar("T")

#: Turns an item of a list into something smaller; None from it drops the item.
Convert = Callable[[dict[str, Any]], T | None]

#: Seconds after which the decoding of a long list lets the event loop run.
TURN_S = 0.002


def any_event(event: object) -> bool:
    """Keep them all."""
    return True


def whole(item: dict[str, Any]) -> dict[str, Any]:
    """Keep it as it is."""
    return item


def filters_of(**filters: Sequence[str]) -> str:
    """The query's ``filters``, as the API has them."""
    return json.dumps({key: list(values) for key, values in filters.items()})


def quoted(name: str) -> str:
    """A name as a part of a path; an image's reference keeps its slashes."""
    return quote(name, safe="/:")


class Caller:
    """Makes the calls of one Engine's API, for any number of callers at once.

    Args:
        transport: the way there.
        timeout: seconds within which a short call must be answered.
        workers: how many short calls may be under way at once; more wait in turn.
        repeat_after: seconds before each repetition of a call that may be repeated.
    """

    def __init__(
        self,
        transport: Transport,
        timeout: float,
        workers: int,
        repeat_after: Sequence[float],
    ) -> None:
        self.timeout = timeout
        self._silent = False
        self._transport = transport
        self._short = asyncio.Semaphore(workers)
        self._repeat_after = repeat_after

    def call(
        self,
        action: str,
        method: str,
        path: str,
        params: Mapping[str, Any] | None = None,
        body: object = None,
        *,
        headers: Mapping[str, str] | None = None,
        repeat: bool = False,
        anew: bool = False,
    ) -> Call:
        """A short call; see `Call` for the arguments."""
        return Call(
            action, method, path, params or {}, body, headers or {},
            timeout=self.timeout, repeat=repeat, anew=anew,
        )  # fmt: skip

    async def get(self, action: str, path: str) -> dict[str, Any]:
        """Read one object."""
        call = self.call(action, "GET", path, repeat=True)
        return parse_object(call, await self.ask(call))

    async def do(
        self, action: str, method: str, path: str, params: Mapping[str, Any] | None = None
    ) -> None:
        """Have something done, once, of which there is nothing to read."""
        call = self.call(action, method, path, params)
        parse_nothing(call, await self.ask(call))

    async def create(self, call: Call, key: str = "Id") -> str:
        """Have something made, and return its id, which is under a key of the answer.

        Raises:
            EngineFailed: there is none. A proxy's answer is no proof that the Engine did anything.
        """
        answer = parse_object(call, await self.ask(call))
        if key not in answer:
            raise EngineFailed(call.action, f"no id in the answer: {str(answer)[:200]}")
        return str(answer[key])

    async def items(self, call: Call, convert: Convert[T]) -> list[T]:
        """The items of an array, however long; the event loop runs in between.

        Args:
            call: whose answer is the array.
            convert: is given each.
        """
        found, turn = list[T](), time.monotonic()
        for one in parse_items(call, await self.ask(call)):
            item = convert(one)
            if item is not None:
                found.append(item)
            if time.monotonic() - turn > TURN_S:
                await asyncio.sleep(0)
                turn = time.monotonic()
        return found

    async def ask(self, call: Call, slots: asyncio.Semaphore | None = None) -> bytes:
        """Make a call in its turn, repeat it if that does no harm, and return the answer's body.

        Args:
            call: what to ask.
            slots: limit the calls of its kind; those for short calls by default.
        """

        async def ask() -> bytes:
            async with slots or self._short:
                try:
                    answer = await self._transport.fetch(call)
                except EngineTimeout as error:
                    self._note_silence(error)
                    raise
            self._silent = False
            return answer

        async def unless_closed(error: EngineUnavailable, pause: float) -> None:
            nonlocal call
            if self._transport.closed:
                raise error
            call = replace(call, anew=True)  # the other kept connections may be just as dead
            await asyncio.sleep(pause)

        if not call.repeat:
            return await ask()
        return await retry(ask, self._repeat_after, on=EngineUnavailable, wait=unless_closed)

    async def beginning(self, call: Call, read: Callable[[bytes], T | None]) -> T | None:
        """Make a call in its turn and read no more of its answer than is needed.

        Args:
            call: what to ask.
            read: what a beginning of the answer's body says; None: it is too short to tell.
        """
        async with self._short:
            return await self._transport.beginning(call, read)

    async def each_part(self, call: Call, take: Callable[[bytes], None]) -> None:
        """Make a call and hand over its answer as it comes, in no turn of others: it may last."""
        await self._transport.each_part(call, take)

    @asynccontextmanager
    async def events(
        self,
        filters: Mapping[str, Sequence[str]],
        keep: Callable[[dict[str, Any]], bool],
        patience: float,
    ) -> AsyncIterator[AsyncIterator[list[dict[str, Any]]]]:
        """Events from now on; see `Engine.events`.

        Args:
            filters: what to ask for.
            keep: an event for which it returns False is dropped.
            patience: seconds to wait for the beginning of the answer, before the block is entered
                without it.
        """
        params = {"filters": filters_of(**filters)}
        call = Call("watch events", "GET", "/events", params, timeout=None)
        opening = asyncio.ensure_future(self._transport.open(call))

        async def batches() -> AsyncIterator[list[dict[str, Any]]]:
            async with aclosing(self._transport.objects(call, await opening, keep)) as found:
                async for batch in found:
                    yield batch
            raise EngineUnavailable(call.action, "the stream ended")

        try:
            await asyncio.wait({opening}, timeout=patience)
            if opening.done():
                opening.result()
            yield batches()
        finally:
            # Also where we are cancelled once more, while it ends.
            opening.add_done_callback(close_answer)
            await ended(opening)

    def _note_silence(self, error: EngineTimeout) -> None:
        """Tell once, until it answers again, what an Engine may be that answers nothing."""
        if not self._silent:
            LOG.warning(
                "%s. An Engine that takes requests and answers nothing may be deadlocked, as "
                "Docker before 23 can be while many containers are removed: restart it",
                error,
            )
        self._silent = True


def close_answer(opening: asyncio.Task[aiohttp.ClientResponse]) -> None:
    """Close what a request that nobody waits for any more has opened; nothing if it failed."""
    if not opening.cancelled() and not opening.exception():
        opening.result().close()
