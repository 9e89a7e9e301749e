"""The table of one Hub's services in a Swarm, kept true by events and a few requests.

Managers tell of services and of nodes, but never of tasks: those have to be asked for. How the
table stays true:

- Events are subscribed to, and then nodes, services and tasks listed. What was heard since is newer
  than the lists.
- Every `Timings.ended_tasks` seconds one request asks for the tasks that the Swarm does not want to
  run any more, of all services at once: its answer is as long as there are such tasks, and mostly
  empty. A service whose task is among them is looked at.
- Services that are about to change, as they start or stop, are looked at in turn, all in one
  request. The longer such a change takes, the less often; and after each look there is a rest, the
  longer the look took.
- A node that is lost, drained or back has its services looked at.
- A service that ran, and that the Swarm would run again but has no node for, has ended after
  `Timings.no_node` seconds: that may stay so without end.
- A request that fails ends all that, as a stream does that ends: nothing is called ended, and
  `Table.connected` is False until a manager answers all of it again.
- Every `Timings.resync` seconds all of it is begun anew even if nothing seems wrong.

Memory is bounded by the number of services and nodes.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from typing import Any

from ..desired.network import Location
from ..engine.swarm import Swarm
from ..errors import EngineTimeout, NotFound
from ..naming import LABEL_HUB, key_of
from ..timeouts import during, ended, within
from ..timings import DEFAULT, Timings
from .observed import ObservedContainer, State
from .observed_tasks import (
    ServiceSeen,
    ServiceStatus,
    given_up,
    node_after,
    service_from,
    status_of,
    updated,
)
from .table import CHUNK, Table
from .task_state import NodeSeen, TaskSeen, location, node_from, task_from

__all__ = ["TaskWatcher"]

AT_ONCE = 200  # services looked at by one request
NEW_AT_ONCE = 20  # services first heard of by an event that are inspected in a round
MAX_NEW = 1000  # of those, how many are remembered until then; a list finds the rest
#: Of the time that a change has taken so far: how much later it may be noticed for that.
_SHARE = 0.02
#: How many times as long as it took to look nobody looks after that, and for how long at most: a
#: manager that is slow as it starts many servers is not made slower, and still believed at once.
_REST, _REST_AT_MOST = 4.0, 0.1


@dataclass(slots=True)
class _Row:
    """What is known of a service beside its record.

    Attributes:
        replicas: how many tasks it is to have.
        started: it had tasks, or was asked to have one.
        task: id of the task that stands for it, "" while there is none; ``node`` is the id of the
            node of that, and ``stage`` its state.
        tasks: ids of all that it had when it was looked at last.
        earlier: ids of those that count no more, since it was started again, by whomever.
        first: number of the first start whose tasks count; None: we start it, and the number of
            that start is not known yet.
        place: where that is reached, as long as it runs.
        since: when the change began that is under way.
        due: when it is to be looked at; None: it is not about to change.
        unplaced: since when no node takes what is to follow its last task; None: one does.
    """

    replicas: int = 0
    started: bool = False
    task: str = ""
    node: str = ""
    stage: str = ""
    place: Location | None = None
    tasks: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()
    first: int | None = 0
    since: float = 0.0
    due: float | None = None
    unplaced: float | None = None


class TaskWatcher(Table):
    """The table of one Hub's services in one Swarm.

    Args:
        swarm: whose services.
        url: where its manager is, for messages.
        hub: value of the label that ours have.
        timings: how often tasks are asked for, when all is begun anew, and how long is waited.
    """

    noun = "service"

    def __init__(self, swarm: Swarm, url: str, hub: str, timings: Timings = DEFAULT) -> None:
        super().__init__(url, hub, timings)
        self._swarm, self._ours = swarm, [f"{LABEL_HUB}={hub}"]
        self._rows: dict[str, _Row] = {}
        self._changing: set[str] = set()  # ids of those that are due
        self._nodes: dict[str, NodeSeen] = {}
        self._nodes_outdated = False
        self._new: dict[str, None] = {}
        # How many tasks services are to have by events that came while a list was under way which
        # is the first to name them: that may be older.
        self._told: dict[str, str] = {}
        # One look after the other: what an earlier one tells is never taken for the newer word.
        self._looking = asyncio.Lock()
        self._touched: set[str] = set()
        self._more = asyncio.Event()

    async def look_at(self, id: str) -> None:
        """Ask for the tasks of one service, and put the table right."""
        if id in self._table and self.connected:
            await self._look([id])

    # --- what is known without a request -----------------------------------------------------

    def node(self, id: str) -> NodeSeen | None:
        """See `nodes.Watch.node`."""
        return self._nodes.get(id) if self.connected and not self._nodes_outdated else None

    async def runs_on(self, id: str) -> str:
        """See `nodes.Watch.runs_on`."""
        await self.until(id, lambda record: record.running or record.ended)
        record = self.get(id)
        return self._row(id).node if record is not None and record.running else ""

    def place(self, id: str) -> Location | None:
        """See `Table.place`."""
        record, row = self.get(id), self._rows.get(id)
        if row is None or record is None or not record.running or self.node(row.node) is None:
            return None
        return row.place

    def is_wanted(self, id: str) -> bool:
        """See `Table.is_wanted`: a service whose task has ended is told to have one still.

        Then that task stays, and whoever asks for tasks that have ended is told of it each time.
        """
        row = self._rows.get(id)
        return row is not None and row.replicas > 0

    # --- what we did ourselves -------------------------------------------------------------

    def note_starting(self, id: str) -> None:
        """We are about to start a service: tasks that it had before no longer count."""
        super().note_starting(id)
        if id in self._table:
            row = self._row(id)
            row.started, row.earlier, row.task, row.stage = True, row.tasks, "", ""
            row.place = row.unplaced = row.first = None

    def note_start(self, id: str, number: int) -> None:
        """See `nodes.Watch.note_start`: there may be tasks of earlier starts that we never saw."""
        if id in self._table:
            row = self._row(id)
            row.first, row.earlier = number, ()

    def note_started(self, id: str) -> None:
        """We asked for a service to run. Whether it does is for its tasks to say."""
        self._hear(id)
        self._starting.pop(id, None)
        if id in self._table:
            row = self._row(id)
            row.replicas = max(1, row.replicas)
            self._is_due(id)

    # --- watching --------------------------------------------------------------------------

    def _events(self) -> AbstractAsyncContextManager[AsyncIterator[list[dict[str, Any]]]]:
        return self._swarm.events(self._is_of_use, patience=self._timings.stream_opens)

    async def _until_anew(self, following: asyncio.Task[None]) -> None:
        await during(following, self._rounds())

    async def _read_all(self, forgettable: set[str]) -> None:
        async with self._looking:
            try:
                await super()._read_all(forgettable)
            finally:
                self._told.clear()

    async def _list(self, heard: set[str]) -> None:
        await self._read_nodes()
        services = await self._swarm.list_services(self._ours, service_from)
        tasks = await self._swarm.list_tasks(labels=self._ours, convert=task_from)
        await self._apply(services, _by_service(tasks), heard)

    async def _apply(
        self,
        services: Sequence[ServiceSeen],
        tasks: Mapping[str, Sequence[TaskSeen]],
        heard: Collection[str],
    ) -> None:
        """Take lists over, where nothing newer was heard, also while we do."""
        missing = set(self._table)
        for start in range(0, len(services), CHUNK):
            for service in services[start : start + CHUNK]:
                id = service.record.id
                missing.discard(id)
                if id not in heard and id not in self._gone and not self._is_starting(id):
                    self._take_service(service, tasks.get(id, ()))
            await asyncio.sleep(0)
        self._not_listed(missing.difference(heard))

    # --- rounds ----------------------------------------------------------------------------

    async def _rounds(self) -> None:
        """Ask for what events do not tell, until it is time to begin anew."""
        clock = asyncio.get_running_loop().time
        over, ask_at, look_from = clock() + self._timings.resync, 0.0, 0.0
        while clock() < over:
            self._more.clear()
            if clock() >= ask_at:
                ask_at = clock() + self._timings.ended_tasks
                await self._in_time(self._ask_for_ended())
            # What is due a moment later is looked at along with the rest.
            soon = clock() + self._timings.changing_tasks
            due = self._due(soon) if clock() >= look_from else []
            if due:
                began = clock()
                await self._in_time(self._look(due))
                look_from = clock() + min(_REST * (clock() - began), _REST_AT_MOST)
            next_look = min((self._rows[id].due or 0 for id in self._changing), default=math.inf)
            await self._pause(min(ask_at, max(next_look, look_from)) - clock())

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until something begins to change."""
        more = asyncio.ensure_future(self._more.wait())
        try:
            await asyncio.wait({more}, timeout=max(0.0, seconds))
        finally:
            await ended(more)

    async def _in_time(self, work: Any) -> None:
        """A manager without a leader takes half a minute to say so, or says nothing."""
        seconds = self._timings.tasks_told
        try:
            await within(seconds, work)
        except asyncio.TimeoutError:
            raise EngineTimeout("list tasks", f"no answer within {seconds:g} s") from None

    async def _ask_for_ended(self) -> None:
        """Find the services whose tasks have ended; and what events told of for the first time."""
        if self._nodes_outdated:
            await self._read_nodes()
        new = list(self._new)[:NEW_AT_ONCE]
        for id in new:
            await self._meet(id)
        unwanted = self._swarm.list_tasks(
            labels=self._ours, desired=["shutdown"], convert=task_from
        )
        for task in await unwanted:
            row = self._rows.get(task.service)
            if row is not None and row.task == task.id and not self._table[task.service].ended:
                node = self._nodes.get(task.node)
                if task.over or node is None or node.down:
                    self._is_due(task.service)

    async def _read_nodes(self) -> None:
        self._nodes_outdated = False
        before = self._nodes
        self._nodes = {one.id: one for one in map(node_from, await self._swarm.list_nodes())}
        ids = before.keys() | self._nodes.keys()
        self._nodes_changed({id for id in ids if before.get(id) != self._nodes.get(id)})

    def _nodes_changed(self, ids: Collection[str]) -> None:
        for id, row in self._rows.items():
            if row.node in ids and not self._table[id].ended:
                self._is_due(id)

    async def _meet(self, id: str) -> None:
        """See whether a service that was first heard of by an event is ours."""
        try:
            info = await self._swarm.inspect_service(id)
        except NotFound:
            self.note_removed(id)
            return
        if id not in self._new:
            return  # something newer was heard meanwhile
        del self._new[id]
        service = service_from(info)
        key = key_of((info.get("Spec") or {}).get("Labels"))
        if service is not None and key is not None and key.hub == self._hub:
            self._take_service(service, ())

    def _due(self, now: float) -> list[str]:
        due = ((self._rows[id].due or 0, id) for id in self._changing)
        return [id for at, id in sorted(due) if at <= now][:AT_ONCE]

    async def _look(self, ids: Iterable[str]) -> None:
        """Ask for all tasks of some services, in one request unless one of them is gone."""
        async with self._looking:
            self._touched = set()
            while left := [id for id in ids if id in self._table]:
                try:
                    tasks = await self._swarm.list_tasks(services=left, convert=task_from)
                except NotFound as error:
                    gone = [id for id in left if id in error.message]
                    if not gone:
                        raise
                    for id in gone:
                        self.note_removed(id)
                    continue
                found = _by_service(tasks)
                for id in left:
                    if id in self._table and id not in self._touched:
                        self._take_tasks(id, found.get(id, ()))
                return

    # --- events ----------------------------------------------------------------------------

    def _is_of_use(self, event: Mapping[str, Any]) -> bool:
        if event.get("Type") != "service" or event.get("Action") != "update":
            return True
        return self._heard is not None or (event.get("Actor") or {}).get("ID") in self._table

    def _on_event(self, event: Mapping[str, Any]) -> None:
        kind, actor = event.get("Type"), event.get("Actor") or {}
        id, attributes = actor.get("ID"), actor.get("Attributes") or {}
        if kind == "image":
            self._tell_images(event)
        elif kind == "node" and isinstance(id, str):
            self._on_node(id, str(event.get("Action")), attributes)
        elif kind == "service" and isinstance(id, str) and id not in self._gone:
            self._on_service(id, str(event.get("Action")), attributes)

    def _on_node(self, id: str, action: str, attributes: Mapping[str, str]) -> None:
        if action == "remove":
            self._nodes.pop(id, None)
        elif id in self._nodes:
            self._nodes[id] = node_after(self._nodes[id], attributes)
        if action == "create" or attributes.get("state.new") == "ready" or self._heard is not None:
            self._nodes_outdated = True  # its address is not told
        self._nodes_changed({id})

    def _on_service(self, id: str, action: str, attributes: Mapping[str, str]) -> None:
        if action == "remove":
            self.note_removed(id)
        elif action == "create" and id not in self._table and len(self._new) < MAX_NEW:
            self._new[id] = None
        elif action == "update":
            self._on_update(id, attributes.get("replicas.new", ""))

    def _on_update(self, id: str, replicas: str) -> None:
        """A service was changed; ``replicas`` says how many tasks it is to have, if that is new."""
        if id not in self._table:
            if replicas and self._heard is not None:
                self._told[id] = replicas
            return
        row = self._row(id)
        if replicas.isdecimal():
            self._hear(id)
            row.replicas = int(replicas)
            row.started = row.started or row.replicas > 0
            if row.replicas and self._table[id].ended:
                row.earlier = row.tasks  # another one is to be made, a moment later
            if not row.replicas and not self._table[id].ended:
                self._put(replace(self._table[id], stop_requested=True))
        if replicas or row.replicas:
            self._is_due(id)

    # --- changing the table ----------------------------------------------------------------

    def _row(self, id: str) -> _Row:
        return self._rows.setdefault(id, _Row())

    def _hear(self, id: str) -> None:
        super()._hear(id)
        if self._looking.locked():
            self._touched.add(id)

    def _is_due(self, id: str) -> None:
        """Look at it at once: something has changed there, or begins to."""
        row = self._row(id)
        row.since = row.due = asyncio.get_running_loop().time()
        self._changing.add(id)
        self._more.set()

    def _take_service(self, service: ServiceSeen, tasks: Sequence[TaskSeen]) -> None:
        id, row = service.record.id, self._row(service.record.id)
        met = id not in self._table
        row.replicas, row.first = service.replicas, service.start
        row.started = row.started or bool(service.replicas or (met and service.changed))
        if met:
            # Of one that is asked to end, or to run again, no task says that it has run.
            now = status_of(self._counting(id, tasks), self._nodes)
            runs = now is not None and now.state is None
            self._put(replace(service.record, state=State.RUNNING) if runs else service.record)
        self._take_tasks(id, tasks)
        if replicas := self._told.pop(id, ""):
            row.started = True  # if it was to have a task in between, none may be left
            self._on_update(id, replicas)

    def _take_tasks(self, id: str, tasks: Sequence[TaskSeen]) -> None:
        """Put the record of a service right by all its tasks."""
        row, before = self._row(id), self._table[id]
        row.tasks = tuple(task.id for task in tasks)
        row.started = row.started or bool(tasks)
        row.earlier = tuple(id for id in row.earlier if id in row.tasks)
        now = status_of(self._counting(id, tasks), self._nodes)
        stage = (row.task, row.stage)
        if now is None:
            settled = not row.replicas and not self._is_starting(id)
            record = before
            if settled and row.started and not before.ended:
                record = replace(
                    before, state=State.EXITED, stop_requested=True, stopped=True,
                    exit_code=None, endpoint_fingerprint=None, words="", restarts=0,
                )  # fmt: skip
        else:
            if now.state is State.RUNNING:
                self._starting.pop(id, None)  # it was started, whatever became of the call
            row.task, row.node, row.stage = now.task.id, now.task.node, now.task.state
            node = self._nodes.get(now.task.node)
            gone = not now.task.running or node is None or node.down
            row.place = None if gone else location(now.task, node)
            row.unplaced = self._unplaced_since(row, before, now)
            record = (given_up if self._is_too_long(row.unplaced) else updated)(before, now)
            # Of one that is to have no task any more, no event tells that the last one is gone.
            settled = record.ended or (now.settled and row.replicas > 0)
        if record != before:
            self._put(record)
        self._pace(id, settled=settled, moved_on=stage != (row.task, row.stage))

    def _counting(self, id: str, tasks: Sequence[TaskSeen]) -> Sequence[TaskSeen]:
        """Those of a service's tasks that are not of starts before the one that we know of."""
        row = self._rows[id]
        if row.first is None and self._is_starting(id):
            return ()
        first = row.first or 0
        return [one for one in tasks if one.start >= first and one.id not in row.earlier]

    @staticmethod
    def _unplaced_since(row: _Row, before: ObservedContainer, now: ServiceStatus) -> float | None:
        """Since when a service has run, and no node takes what is to follow."""
        if before.state is State.CREATED or not now.task.unplaced:
            return None
        return row.unplaced or asyncio.get_running_loop().time()

    def _is_too_long(self, unplaced: float | None) -> bool:
        clock = asyncio.get_running_loop().time()
        return unplaced is not None and clock - unplaced >= self._timings.no_node

    def _pace(self, id: str, *, settled: bool, moved_on: bool) -> None:
        """Say when it is to be looked at again."""
        row = self._rows.get(id)
        if row is None:
            return
        if settled:
            row.due = None
            self._changing.discard(id)
            return
        now = asyncio.get_running_loop().time()
        if moved_on or row.due is None:
            row.since = now
        shortest, longest = self._timings.changing_tasks, self._timings.ended_tasks
        row.due = now + min(max(shortest, _SHARE * (now - row.since)), longest)
        self._changing.add(id)

    def _put(self, record: ObservedContainer) -> None:
        self._new.pop(record.id, None)
        super()._put(record)

    def _remove(self, id: str) -> None:
        self._new.pop(id, None)
        self._rows.pop(id, None)
        self._changing.discard(id)
        super()._remove(id)


def _by_service(tasks: Iterable[TaskSeen]) -> dict[str, list[TaskSeen]]:
    found = defaultdict(list)
    for task in tasks:
        found[task.service].append(task)
    return found
