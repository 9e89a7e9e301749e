"""The part of the fake Swarm's managers that makes tasks, begins them again and gives them up.

It follows SwarmKit's orchestrators of Docker 20.10 also where these surprise, since a Hub meets the
same surprises:

- A task that ended, or is being ended, and is not to be begun again takes up its service's slot, so
  that 0 and then 1 replica make no new task while it is known, unless the template is another.
- Tasks of a job outlive their service.
- A job on all nodes begins again what nodes reject, whatever its restart policy says.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import Any

from support.fake_engine.agents import Agent
from support.fake_engine.nodes import Node
from support.fake_engine.objects import iso
from support.fake_engine.scheduling import best, generic_given, meets_constraints
from support.fake_engine.store import Store
from support.fake_engine.swarm_objects import Service, Status, Task, rank

#: Seconds before a task is begun again, where the service says nothing else.
DELAY_S = 5.0
#: Seconds for which a task must run for an update to be complete.
MONITOR_S = 5.0
#: Seconds between two looks for what there is to do.
SCHEDULE_S, REAP_S = 0.05, 0.2
#: Ended tasks that are kept for each slot.
HISTORY = 5
#: What is said of a task whose node is no longer as its constraints want it.
ENFORCED: dict[str, Any] = {
    "message": "task rejected by constraint enforcer",
    "err": "assigned node no longer meets constraints",
}


class Orchestrator:
    """Makes tasks of services and gives them to nodes.

    Args:
        store: where services, tasks and nodes are.
        second: how long a second of the Swarm lasts here.
        attach: gives a task its attachments to networks.

    Attributes:
        agents: by the node's id.
    """

    def __init__(
        self, store: Store, second: float, attach: Callable[[Task], list[dict[str, Any]]]
    ) -> None:
        self.store, self.second, self._attach = store, second, attach
        self.agents: dict[str, Agent] = {}
        self._pending: dict[str, Task] = {}
        self._reaping: dict[str, Task] = {}
        self._due: set[str] = set()  # what is to be done soon, and must not be planned twice
        self._restarts: defaultdict[tuple[str, int | str, int], list[float]] = defaultdict(list)
        self._ends: dict[str, asyncio.Event] = {}
        self._updated: dict[str, Service] = {}  # by the new task whose life decides
        self._jobs: set[asyncio.Task[None]] = set()

    # --- what happens ----------------------------------------------------------------------

    def service_changed(self, service: Service) -> None:
        """It is new, or has another specification."""
        self._soon(f"service {service.id}", 0.0, lambda: self._reconcile(service))

    def service_removed(self, service: Service) -> None:
        """Its tasks are to go, but for those of a job."""
        if not service.job:
            for task in list(self.store.tasks_of.get(service.id, {}).values()):
                self._send_away(task)

    def node_changed(self, node: Node) -> None:
        """It is new, came back, was lost, or has other labels, another role or availability."""
        if node.state == "down":
            for task in node.tasks.values():
                self._end_of(task).set()
        for task in list(node.tasks.values()):
            if not task.wanted:
                continue
            if node.state == "down" or node.availability == "drain":
                self._restart(task)
            elif not meets_constraints(task.spec, node):
                self.heard(task, replace(task.status, state="rejected", **ENFORCED))
        for service in self.store.services.values():
            if service.is_global:
                self.service_changed(service)
        self._schedule_soon()

    def heard(self, task: Task, status: Status) -> None:
        """A task's status is another now."""
        if task.id not in self.store.tasks or rank(status.state) < rank(task.status.state):
            return
        task.status = status
        self.store.changed(task)
        if not status.ended:
            return
        self._release(task)
        if task.desired == "remove":
            self._reap(task)
        elif task.wanted and not task.service.removed:
            self._later(0.01, lambda: self._over(task))

    # --- what services are to have ---------------------------------------------------------

    def _reconcile(self, service: Service) -> None:
        if service.removed:
            return
        tasks = list(self.store.tasks_of.get(service.id, {}).values())
        if service.is_global:
            self._reconcile_global(service, tasks)
        elif service.job:
            busy = [one for one in tasks if one.wanted]
            for _ in range(service.wanted - len(busy)):
                self._new(service)
        else:
            self._reconcile_replicas(service, tasks)
        self._forget_history(service)

    def _reconcile_replicas(self, service: Service, tasks: list[Task]) -> None:
        slots: defaultdict[int, list[Task]] = defaultdict(list)
        for task in tasks:
            slots[task.slot or 0].append(task)
        taken = {slot: found for slot, ones in slots.items() if (found := self._counting(ones))}
        dead = {slot: ones for slot, ones in slots.items() if slot not in taken}
        kept = sorted(taken)[: service.wanted]
        self._update(service, [taken[slot] for slot in kept])
        for slot in sorted(taken)[service.wanted :]:
            for task in taken[slot]:
                self._send_away(task)
        free = (slot for slot in itertools.count(1) if slot not in taken)
        for slot in itertools.islice(free, max(0, service.wanted - len(taken))):
            dead.pop(slot, None)
            self._new(service, slot=slot)
        for task in (one for ones in dead.values() for one in ones):
            self._drop(task)

    def _reconcile_global(self, service: Service, tasks: list[Task]) -> None:
        for node in self.store.nodes.values():
            away = node.state != "ready" or node.availability == "drain"
            if away or not meets_constraints(service.template, node):
                continue
            mine = self._counting([one for one in tasks if one.node_id == node.id])
            if mine and not service.job:
                self._update(service, [mine])
            elif not mine:
                self._new(service, node_id=node.id)

    def _counting(self, tasks: list[Task]) -> list[Task]:
        """Those of one slot that make it taken: also one that ended, and is not begun again."""
        running = [one for one in tasks if one.wanted]
        if running or not tasks:
            return running
        newest = max(tasks, key=lambda one: one.status.changed)
        return [] if self._may_restart(newest) else [newest]

    def _update(self, service: Service, slots: list[list[Task]]) -> None:
        """Have other tasks in the place of those that are not as the service is now."""
        old = [ones for ones in slots if any(self._differs(one, service) for one in ones)]
        if not old:
            return
        self._say_update(service, "updating", "update in progress")
        for ones in old:
            node_id = ones[0].node_id if service.is_global else ""
            new = self._new(service, slot=ones[0].slot, node_id=node_id, desired="ready")
            self._updated[new.id] = service
            running = [one for one in ones if one.wanted]
            for task in running:
                self._shut_down(task)
            self._begin_later(new, running[0] if running else None, 0.0)
            self._later(MONITOR_S, partial(self._update_over, new, "completed"))

    def _update_over(self, new: Task, how: str) -> None:
        """An update is complete, or has failed, if this is its task."""
        service = self._updated.pop(new.id, None)
        if service is None or (service.update or {}).get("State") != "updating":
            return
        why = f"due to failure or early termination of task {new.id}"
        words = {"completed": "update completed", "paused": f"update paused {why}"}
        self._say_update(service, how, words[how])

    def _say_update(self, service: Service, state: str, message: str) -> None:
        before = (service.update or {}).get("State")
        service.update = {"State": state, "StartedAt": iso(time.time()), "Message": message}
        self.store.changed(service)
        more = {"updatestate.new": state, **({"updatestate.old": before} if before else {})}
        self.store.tell(service, "update", **more)

    def _differs(self, task: Task, service: Service) -> bool:
        """It is not as a new one would be; where it may run counts only if it runs elsewhere."""
        if task.endpoint != service.spec.get("EndpointSpec"):
            return True
        if task.spec == service.template:
            return False
        node = self.store.nodes.get(task.node_id)
        there = node is not None and meets_constraints(service.template, node)
        mine, its = ({**one, "Placement": None} for one in (task.spec, service.template))
        return not there or mine != its

    # --- tasks -----------------------------------------------------------------------------

    def _new(
        self, service: Service, slot: int | None = None, node_id: str = "", desired: str = ""
    ) -> Task:
        task = Task(
            service=service, spec=service.template, endpoint=service.spec.get("EndpointSpec"),
            service_labels=service.labels, slot=slot, node_id=node_id,
            desired=desired or ("complete" if service.job else "running"),
            generation=service.generation,
        )  # fmt: skip
        self.store.add(task)
        self._later(0.01, lambda: self._allocate(task))
        return task

    def _allocate(self, task: Task) -> None:
        if task.id not in self.store.tasks:
            return
        task.attachments = self._attach(task)
        pending = replace(task.status, state="pending", message="pending task scheduling")
        self.heard(task, pending)
        self._pending[task.id] = task
        self._schedule_soon()

    def _over(self, task: Task) -> None:
        """A task that was to run, or to complete, has ended."""
        if task.id not in self.store.tasks or not task.wanted or task.service.removed:
            return
        self._update_over(task, "paused")
        if task.service.job and task.status.state == "complete":
            return
        if task.service.mode == "GlobalJob":
            self.store.want(task, "shutdown")
            self._new(task.service, node_id=task.node_id)
        elif not task.delayed:
            self._restart(task)

    def _restart(self, task: Task) -> None:
        """Give a task up, and have another in its place if its policy wants that."""
        self._shut_down(task)
        service, node = task.service, self.store.nodes.get(task.node_id)
        drained = node is not None and node.availability == "drain"
        lost = node is not None and node.state == "down"
        if not self._may_restart(task) or (service.is_global and (drained or lost)):
            return
        node_id = task.node_id if service.is_global else ""
        new = self._new(service, slot=task.slot, node_id=node_id, desired="ready")
        self._restarts[_instance(task)].append(time.monotonic())
        nanoseconds = task.restart.get("Delay")
        delay = DELAY_S if nanoseconds is None else nanoseconds / 1e9
        self._begin_later(new, None if lost else task, 0.0 if drained else delay)

    def _may_restart(self, task: Task) -> bool:
        condition = task.restart.get("Condition") or "any"
        if condition == "none" or task.service.removed:
            return False
        if condition == "on-failure" and task.status.state == "complete":
            return False
        attempts = int(task.restart.get("MaxAttempts") or 0)
        window = int(task.restart.get("Window") or 0) / 1e9 * self.second or math.inf
        since = time.monotonic() - window
        return not attempts or sum(at > since for at in self._restarts[_instance(task)]) < attempts

    def _begin_later(self, new: Task, old: Task | None, delay: float) -> None:
        """Have a task begin after a time, and after the end of another."""

        async def begin() -> None:
            await asyncio.sleep(delay * self.second)
            if old is not None and not old.status.ended:
                await self._end_of(old).wait()
            new.delayed = False
            if new.id not in self.store.tasks or not new.wanted:
                return
            if new.status.ended:
                self._over(new)
            elif self.store.want(new, "complete" if new.service.job else "running"):
                self._tell(new)

        new.delayed = True
        job = asyncio.get_running_loop().create_task(begin())
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    def _shut_down(self, task: Task) -> None:
        if self.store.want(task, "shutdown"):
            self._tell(task)
            self._pending.pop(task.id, None)

    def _send_away(self, task: Task) -> None:
        """It is to end, and to be forgotten."""
        if self.store.want(task, "remove"):
            self._tell(task)
            self._pending.pop(task.id, None)
            if task.status.ended or rank(task.status.state) < rank("assigned"):
                self._reap(task)

    def _tell(self, task: Task) -> None:
        if task.node_id in self.agents and rank(task.status.state) >= rank("assigned"):
            self.agents[task.node_id].tell(task)

    def _reap(self, task: Task) -> None:
        self._reaping[task.id] = task
        self._soon("reap", REAP_S, self._reap_all)

    def _reap_all(self) -> None:
        for task in self._reaping.values():
            self._drop(task)
        self._reaping.clear()

    def _forget_history(self, service: Service) -> None:
        """Keep no more ended tasks of a slot than managers do."""
        over: defaultdict[int | str, list[Task]] = defaultdict(list)
        for task in self.store.tasks_of.get(service.id, {}).values():
            if task.status.ended and task.desired == "shutdown":
                over[task.slot or task.node_id].append(task)
        for tasks in over.values():
            for task in sorted(tasks, key=lambda one: one.status.changed)[:-HISTORY]:
                self._drop(task)

    def _drop(self, task: Task) -> None:
        self.store.drop(task)
        self._release(task)
        self._pending.pop(task.id, None)
        self._ends.pop(task.id, None)
        if task.node_id in self.agents:
            self.agents[task.node_id].forget(task)

    def _release(self, task: Task) -> None:
        """It takes up no room any more."""
        self._end_of(task).set()
        node = self.store.nodes.get(task.node_id)
        if node is not None:
            node.release(task)
        if self._pending:
            self._schedule_soon()

    def _end_of(self, task: Task) -> asyncio.Event:
        return self._ends.setdefault(task.id, asyncio.Event())

    # --- where they run --------------------------------------------------------------------

    def _schedule_soon(self) -> None:
        self._soon("schedule", SCHEDULE_S, self._schedule)

    def _schedule(self) -> None:
        for task in list(self._pending.values()):
            nodes: Iterable[Node] = self.store.nodes.values()
            if task.node_id:
                nodes = [node for node in nodes if node.id == task.node_id]
            node, words = best(task, nodes)
            if node is None:
                if words != task.status.err:
                    self.heard(task, replace(task.status, err=words, changed=time.time()))
            else:
                self._assign(task, node)

    def _assign(self, task: Task, node: Node) -> None:
        del self._pending[task.id]
        given = "scheduler confirmed task can run on preassigned node"
        message = given if task.node_id else "scheduler assigned task to node"
        task.node_id, task.generic = node.id, generic_given(task, node)
        node.place(task)
        self.heard(task, Status(state="assigned", message=message))
        self._tell(task)

    # --- time ------------------------------------------------------------------------------

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(seconds * self.second, what)

    def _soon(self, key: str, seconds: float, what: Callable[[], None]) -> None:
        """The same, unless it is planned already."""

        def run() -> None:
            self._due.discard(key)
            what()

        if key not in self._due:
            self._due.add(key)
            self._later(seconds, run)


def _instance(task: Task) -> tuple[str, int | str, int]:
    """Whose restarts are counted together."""
    return task.service.id, task.slot or task.node_id, task.generation
