"""A table of this Hub's containers, kept true by one list and one event stream.

However many servers there are, the Engine is asked for a list when the stream (re)begins, and for
nothing else: `Table.get` reads the table. How the table stays true:

- Events are subscribed to before the list is asked for, so nothing falls in between. What was
  heard since the list was asked for, from the stream or from ourselves (``note_…``), is newer than
  the list and wins over it.
- Docker tells of an end some milliseconds before its lists do. So a list alone brings nothing back
  to life: that is looked at singly. And each stream's list is followed by a second one, which
  finds what had ended in just those milliseconds before the stream began.
- A lost stream is taken up again after a growing, random pause. What ended meanwhile is found by
  the new list, and told as any death. Until then the table says what it last knew, and
  `Table.connected` is False.
- Every `Timings.resync` seconds stream and list are begun anew even if nothing seems wrong: that
  finds what a silently stalled stream did not tell.

Memory is bounded by the number of containers, not of events.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from typing import Any

from ..engine.client import Engine
from ..errors import EngineUnavailable, NotFound
from ..naming import LABEL_HUB, key_of
from ..timeouts import during, retry
from ..timings import DEFAULT, Timings
from .observed import ObservedContainer, State
from .observed_containers import (
    EVENT_STATES,
    REMOVALS,
    asks_to_end,
    exit_code_of,
    from_event,
    from_list,
    state_of,
    time_of,
    updated,
)
from .table import CHUNK, Table

__all__ = ["ObservedContainer", "State", "Watcher"]


class Watcher(Table):
    """The table of one Hub's containers on one Engine.

    Args:
        engine: whose containers.
        hub: value of the label that ours have.
        timings: when stream and list are begun anew, and how long is waited for what.
    """

    def __init__(self, engine: Engine, hub: str, timings: Timings = DEFAULT) -> None:
        super().__init__(engine.base_url, hub, timings)
        self._engine = engine
        self._oom_times: dict[str, float] = {}

    async def look_at(self, id: str) -> None:
        """Ask the Engine itself for one container, and put the table right.

        An Engine that ends goes on telling of its containers, but takes no new connections: then
        this waits until it is gone.
        """

        async def look() -> None:
            before = self._table.get(id)
            if before is None or not self.connected:
                return
            found = await self._ask(id, anew=True)
            if (
                found is not None
                and found["state"] is not before.state
                and self._table.get(id) is before  # else an event was quicker
            ):
                self._change(id, **found)

        pauses = itertools.repeat(self._timings.look_again)
        await retry(look, pauses, on=EngineUnavailable)

    # --- watching --------------------------------------------------------------------------

    def _events(self) -> AbstractAsyncContextManager[AsyncIterator[list[dict[str, Any]]]]:
        return self._engine.events(self._is_ours, patience=self._timings.stream_opens)

    async def _until_anew(self, following: asyncio.Task[None]) -> None:
        await during(following, asyncio.sleep(self._timings.confirm))
        await during(following, self._read_all(set()))
        await during(following, asyncio.sleep(self._timings.resync))

    async def _list(self, heard: set[str]) -> None:
        label = f"{LABEL_HUB}={self._hub}"
        listed = await self._engine.list_containers([label], from_list)
        for id in await self._apply(listed, heard):
            found = await self._ask(id)
            if found is not None and id not in heard:
                self._change(id, **found)

    async def _apply(self, listed: Sequence[ObservedContainer], heard: set[str]) -> list[str]:
        """Take a list over, where nothing newer was heard, also while we do.

        Returns:
            Ids of containers that run again, by the list alone.
        """
        missing, risen = set(self._table), []
        for start in range(0, len(listed), CHUNK):
            for record in listed[start : start + CHUNK]:
                missing.discard(record.id)
                if record.id in heard or record.id in self._gone or self._is_starting(record.id):
                    continue
                old = self._table.get(record.id)
                if old is not None and old.ended and not record.ended:
                    risen.append(record.id)
                else:
                    self._put(record if old is None else updated(old, record))
            await asyncio.sleep(0)
        self._not_listed(missing - heard)
        return risen

    async def _ask(self, id: str, *, anew: bool = False) -> dict[str, Any] | None:
        """State, exit code and oom of a container by its inspect; None: it is gone."""
        try:
            return state_of(await self._engine.inspect_container(id, anew=anew))
        except NotFound:
            self.note_removed(id)
            return None

    # --- events ----------------------------------------------------------------------------

    def _is_ours(self, event: dict[str, Any]) -> bool:
        if event.get("Type") == "image":
            return True
        attributes = (event.get("Actor") or {}).get("Attributes") or {}
        if event.get("Type") == "network":
            return attributes.get("container") in self._table
        key = key_of(attributes)
        return key is not None and key.hub == self._hub

    def _on_event(self, event: Mapping[str, Any]) -> None:
        if event.get("Type") == "image":
            self._tell_images(event)
            return
        actor = event.get("Actor") or {}
        id, attributes = actor.get("ID") or event.get("id"), actor.get("Attributes") or {}
        if event.get("Type") == "network":
            record = self._table.get(attributes.get("container", ""))
            if record is not None:
                self._put(replace(record, network_changes=record.network_changes + 1))
            return
        action = event.get("Action") or event.get("status")
        if not isinstance(id, str) or id in self._gone:
            return
        if action in REMOVALS:
            self.note_removed(id)
        elif action in EVENT_STATES:
            self._hear(id)
            self._on_state(id, EVENT_STATES[action], attributes, time_of(event))
        elif id in self._table and action == "oom":
            self._on_oom(id, time_of(event))
        elif id in self._table and asks_to_end(str(action), attributes):
            self._put(replace(self._table[id], stop_requested=True, stopped=action == "stop"))
        elif id in self._table and action == "rename":
            self._put(replace(self._table[id], name=attributes.get("name", "").lstrip("/")))

    def _on_state(self, id: str, state: State, attributes: Mapping[str, str], time: float) -> None:
        if id not in self._table:
            self._put(from_event(id, attributes))
        if state is State.CREATED:
            return
        code, oom = None, False
        if state is State.EXITED:
            code = exit_code_of(attributes)
            before = self._timings.oom_before_end
            oom = time - self._oom_times.pop(id, -before) < before and code != 0
        self._change(id, state, code, oom)
        self._starting.pop(id, None)

    def _on_oom(self, id: str, time: float) -> None:
        record = self._table[id]
        if not record.ended:
            self._oom_times[id] = time
        elif record.exit_code:
            # The kernel tells of it apart from the end, which may be quicker.
            self._put(replace(record, oom=True))

    def _remove(self, id: str) -> None:
        self._oom_times.pop(id, None)
        super()._remove(id)
