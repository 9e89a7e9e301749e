"""Any lives of services, in a Swarm whose nodes and managers come and go meanwhile.

Whatever happens, in whatever order: no service is called ended of which a task runs or is to run;
and once the manager can be asked, the table says of each service what its tasks say, where they
are reached, and is not busy with those that do not change.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support.engine.watching import HUB, IMAGE, LABELS, eventually
from support.examples import examples
from support.fake_engine import FakeEngine
from support.service_table import QUICK, Hub

from dockernamed.backends.observed import ObservedContainer, State
from dockernamed.backends.tasks import TaskWatcher
from dockernamed.errors import DockerNamedError

T = TypeVar("T")

WHICH = st.integers(0, 100)
NODES = ("node-1", "node-2", "node-3")
#: A manager that says nothing is given up soon, and nothing is begun anew without a reason.
TIMINGS = replace(QUICK, tasks_told=0.3, starting=600)
#: So is a call that stalls: it must be well before those who wait for the table give up.
UNANSWERED_S = 5.0
TASKS, SERVICES = ("GET", "/tasks"), ("GET", "/services")
#: Services at once.
MOST = 5
OVER = ("complete", "shutdown", "failed", "rejected", "orphaned", "remove")


@dataclass(eq=False)
class Service:
    """What is known of a service by who does something to it.

    Attributes:
        id: of it.
        replicas: how many tasks it is to have; in doubt, one.
        restart: whether another task follows one that has failed: ``none`` or ``on-failure``.
        started: it was to have a task once.
        doubt: a start of it has failed, of which nobody knows whether it was done.
        over: its process was ended since it was started.
        touched: since it was started, its node was lost, or it was asked to end.
        lost: the first of these: what runs there ends some time after it has come back.
        risen: somebody else changed it since, and so it runs again where it had ended.
        deaths: what was told of its last start's end.
        place: the last one that was told; None since its end was.
    """

    id: str
    restart: str
    replicas: int = 1
    started: bool = False
    doubt: bool = False
    over: bool = False
    touched: bool = False
    lost: bool = False
    risen: bool = False
    deaths: list[ObservedContainer] = field(default_factory=list)
    place: int | None = None
    take_back: list[Callable[[], None]] = field(default_factory=list)


class Services(RuleBasedStateMachine):
    """What can happen."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.false_deaths: list[str] = []
        self.made = 0
        self.known: list[Service] = []
        self.leader, self.deaf, self.hurry = True, False, False
        self.lost: set[str] = set()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let it all go on until some work is done."""
        return self.loop.run_until_complete(work)

    @initialize(hurry=st.booleans())
    def begin(self, hurry: bool) -> None:
        self.hurry = hurry
        self.fake = FakeEngine()
        self.fake.__enter__()
        self.fake.add_image(IMAGE)
        self.swarm = self.fake.init_swarm(3)

        async def make() -> Hub:
            hub = Hub(self.fake, TIMINGS, UNANSWERED_S)
            hub.table.start()
            await asyncio.wait_for(hub.table.in_sync(), 30)
            return hub

        self.hub = self.run(make())
        for restart in ("none", "on-failure"):
            self.start_new(restart, told=True)

    def teardown(self) -> None:
        try:
            if hasattr(self, "hub"):
                self.heal()
                self.run(self.settled())
        finally:
            if hasattr(self, "hub"):
                self.fake.well_again()
                self.run(self.hub.table.close())
                self.run(self.hub.engine.close())
                self.fake.close()
            self.run(self.loop.shutdown_asyncgens())
            self.loop.close()

    def heal(self) -> None:
        """All nodes and managers are back, and what events did not tell is asked for."""
        self.fake.well_again()
        if not self.leader:
            self.leader_or_none(True)
        for name in NODES:
            if name in self.lost:
                self.lose_or_find(name)
            self.swarm.change(name, availability="active")
        if self.deaf:
            self.deaf_or_not()

    def one(self, which: int, replicas: int | None = None) -> Service:
        """One of the services, of those that have so many replicas."""
        found = [one for one in self.known if replicas in (None, one.replicas)]
        return found[which % len(found)]

    def can_start(self) -> bool:
        """There is a leader, and a service without tasks."""
        return self.leader and any(not one.replicas for one in self.known)

    def can_stop(self) -> bool:
        """There is a leader, and a service that has a task, or is to have one."""
        return self.leader and any(one.replicas for one in self.known)

    def can_remove(self) -> bool:
        """There is a leader, and a service."""
        return self.leader and bool(self.known)

    # --- what we do ------------------------------------------------------------------------

    @precondition(lambda self: self.leader and len(self.known) < MOST)
    @rule(restart=st.sampled_from(["none", "on-failure"]), told=st.booleans())
    def start_new(self, restart: str, told: bool) -> None:
        """Make and start a service; or somebody else, or another Hub of ours, does it."""
        self.made += 1
        name = f"s{self.made}"

        async def make() -> None:
            id = await self.hub.create(name, 0 if told else 1, restart=restart)
            service = Service(id, restart, started=not told)
            self.known.append(service)
            if told:
                self.hub.table.note_created(id, name, LABELS, IMAGE)
                await self._begin(service)

        self.run(make())

    async def _begin(self, service: Service) -> None:
        self._forget(service)
        service.replicas, service.started = 1, True
        service.over = service.touched = service.lost = service.risen = False
        await self.hub.begin(service.id, self.made)
        service.doubt = False
        self._listen(service)

    def _listen(self, service: Service) -> None:
        """As who waits for the end of what he has started, and follows it to other places."""
        record = self.hub.table.get(service.id)
        if record is None:
            return

        def died(record: ObservedContainer) -> None:
            service.deaths.append(record)
            # Who was told of its end asks anew, if somebody else has it run again.
            follow_no_more()
            service.place = None
            if service not in self.known:  # its tasks end some time after it is gone
                return
            alive = [one for one in self._tasks(service) if self._lives(one) or self._ends(one)]
            if alive and not (service.lost or service.risen):
                self.false_deaths.append(f"{record} has {alive}")

        def moved(record: ObservedContainer) -> None:
            service.place = record.endpoint_fingerprint

        service.place = record.endpoint_fingerprint
        follow_no_more = self.hub.table.on_move(service.id, moved)
        service.take_back = [self.hub.table.on_death(service.id, died), follow_no_more]

    def _forget(self, service: Service) -> None:
        for take_back in service.take_back:
            take_back()
        service.take_back, service.deaths, service.place = [], [], None

    @precondition(can_remove)
    @rule(which=WHICH)
    def start_again(self, which: int) -> None:
        """Start one if it is stopped, or has ended, as a Hub does that keeps them."""
        service = self.one(which)
        record = self.hub.table.get(service.id)
        # A Hub starts what it knows, and else makes another one.
        if record is not None and (not service.replicas or record.ended):
            self.run(self._begin(service))

    @precondition(can_start)
    @rule(which=WHICH, kind=st.sampled_from(["lost", "reset", 500]))
    def start_in_doubt(self, which: int, kind: str | int) -> None:
        """The call that starts one fails, and was done or not."""
        service = self.one(which, 0)
        if self.hub.table.get(service.id) is None:
            return
        fault = self.fake.fault(kind, "POST", f"/services/{service.id}/update")

        async def begin() -> None:
            self._forget(service)
            service.replicas, service.started, service.doubt = 1, True, True
            service.over = service.touched = service.lost = service.risen = False
            with pytest.raises(DockerNamedError):
                await self.hub.begin(service.id, self.made)

        self.run(begin())
        self.fake.gate.faults.remove(fault)

    @precondition(can_stop)
    @rule(which=WHICH)
    def stop(self, which: int) -> None:
        """Stop one; or somebody else does."""
        service = self.one(which, 1)
        service.replicas, service.touched = 0, True
        self.run(self.hub.scale(service.id, 0))

    @precondition(can_stop)
    @rule(which=WHICH)
    def update(self, which: int) -> None:
        """Somebody else changes one that runs: another task takes its place."""
        service = self.one(which, 1)
        # An end before that may be told after it.
        service.risen = service.risen or service.over or service.touched
        service.touched = True
        self.made += 1
        self.run(self.hub.scale(service.id, 1, OTHER=str(self.made)))

    @precondition(can_remove)
    @rule(which=WHICH, told=st.booleans())
    def remove(self, which: int, told: bool) -> None:
        """Remove one, whatever it does; or somebody else does."""
        service = self.one(which)
        self.known.remove(service)

        async def remove() -> None:
            await self.hub.managers.remove_service(service.id)
            if told:
                self.hub.table.note_removed(service.id)

        self.run(remove())

    @precondition(can_remove)
    @rule(which=WHICH)
    def look(self, which: int) -> None:
        """Somebody wants to know of one, now."""

        async def look() -> None:
            with contextlib.suppress(DockerNamedError):
                await self.hub.table.look_at(self.one(which).id)

        self.run(look())

    # --- what happens ----------------------------------------------------------------------

    @precondition(lambda self: bool(self.known))
    @rule(which=WHICH, code=st.sampled_from([0, 1, 137]))
    def end(self, which: int, code: int) -> None:
        """The process of one ends, if it runs, whether or not managers hear of it."""
        service = self.one(which)
        if [one["Status"]["State"] for one in self._tasks(service)[-1:]] == ["running"]:
            # Another task, without a node or a container as yet, may have followed just now.
            service.over = True
            with contextlib.suppress(KeyError, AssertionError):
                self.swarm.end(service.id, code)

    @precondition(lambda self: self.leader)
    @rule(
        name=st.sampled_from(NODES),
        what=st.sampled_from(["lose_or_find", "active", "pause", "drain"]),
    )
    def change_node(self, name: str, what: str) -> None:
        """A node is lost or found, or somebody drains it, or takes it into use again."""
        if what == "lose_or_find":
            self.lose_or_find(name)
            return
        for service in self.known:
            service.touched = True
        self.swarm.change(name, availability=what)

    def lose_or_find(self, name: str) -> None:
        """A node and the managers lose each other, until they find each other again."""
        if name in self.lost:
            self.lost.discard(name)
            self.swarm.find(name)
            return
        node = self.swarm.node(name).id
        for service in self.known:
            if any(one.get("NodeID") in (node, None, "") for one in self._tasks(service)):
                service.touched = service.lost = True
        self.lost.add(name)
        self.run(asyncio.to_thread(self.swarm.lose, name))

    @rule(
        call=st.sampled_from([TASKS, SERVICES, ("GET", "/nodes")]),
        kind=st.sampled_from([None, 500, "reset", "stall", "stall after", "garbage"]),
    )
    def fail(self, call: tuple[str, str], kind: int | str | None) -> None:
        """A request will be answered late, or never, or by an error; or what was late is done."""
        if kind is None or len(self.fake.gate.faults) > 2:
            self.fake.well_again()
        else:
            self.fake.fault(kind, *call)

    @rule(what=st.sampled_from(["leader", "deaf", "cut", "restart"]), flag=st.booleans())
    def lose_sight(self, what: str, flag: bool) -> None:
        """The Hub's sight of the Swarm is lost, or comes back."""
        if what == "leader":
            self.leader_or_none(settled=flag)
        elif what == "deaf":
            self.deaf_or_not()
        elif what == "cut":
            self.cut("end" if flag else "abort")
        else:
            self.restart()

    def leader_or_none(self, settled: bool) -> None:
        """The managers have no leader any more, or one again."""
        self.leader = not self.leader
        if self.leader:
            self.swarm.elect_leader()
        else:
            self.swarm.lose_leader(settled=settled)

    def deaf_or_not(self) -> None:
        """Events are lost, unnoticed; or the stream ends, which is noticed."""
        self.deaf = not self.deaf
        self.fake.lose_events(self.deaf)
        if not self.deaf:
            self.cut("end")

    def cut(self, how: str) -> None:
        """The stream ends."""
        before, connected = self.hub.table.disconnects, self.hub.table.connected
        self.fake.lose_streams(how)
        if connected:
            self.run(eventually(lambda: self.hub.table.disconnects > before))

    def restart(self) -> None:
        """The Hub ends, and another one begins."""

        async def again() -> None:
            await self.hub.table.close()
            for service in self.known:
                self._forget(service)
            self.hub.table = TaskWatcher(self.hub.managers, self.fake.url, HUB, TIMINGS)
            self.hub.table.start()
            if self.leader:
                await asyncio.wait_for(self.hub.table.in_sync(), 30)
                for service in self.known:
                    self._listen(service)

        self.run(again())

    @rule(hurry=st.booleans())
    def hurry_or_not(self, hurry: bool) -> None:
        """From now on one thing happens upon the other; or each once all is as it is to be."""
        self.hurry = hurry

    # --- what must be so -------------------------------------------------------------------

    @invariant()
    def nothing_is_called_ended_that_lives(self) -> None:
        if not self.hurry:
            self.run(self.settled())
        assert not self.false_deaths

    async def settled(self) -> None:
        """Wait until the table says what there is, if it can know."""
        if not self.leader or self.deaf:
            return
        try:
            await eventually(lambda: self.hub.table.connected and not self.untrue())
        except asyncio.TimeoutError:
            pytest.fail("\n".join(self.untrue()) or "the table is not in sync")

    def untrue(self) -> list[str]:
        """What the table says that is not so, or does not say."""
        table, there = self.hub.table, {service.id for service in self.known}
        wrong = [f"is gone: {one}" for one in table.records() if one.id not in there]
        wrong += [f"is gone and remembered: {id}" for id in table._rows.keys() - there]
        for service in self.known:
            record, tasks = table.get(service.id), self._tasks(service)
            if words := "is unknown" if record is None else self._untrue(service, record, tasks):
                wrong.append(f"{words}: {record}, {service}, {tasks}")
        return wrong

    def _untrue(
        self, service: Service, record: ObservedContainer, tasks: list[dict[str, Any]]
    ) -> str:
        living = [one for one in tasks if self._lives(one)]
        running = [one for one in living if one["Status"]["State"] == "running"]
        if running:
            return self._runs(service, record, running[-1], still=len(living) == 1)
        if living:
            ended = record.ended or (service.deaths and not service.risen)
            return "is to run" if ended else ""
        if any(self._ends(one) for one in tasks):
            return "ends only now"
        if not service.started:
            return "" if record.state is State.CREATED else "never ran"
        if service.doubt and record.state is State.CREATED:
            return ""
        return self._has_ended(service, record, tasks)

    def _runs(
        self, service: Service, record: ObservedContainer, task: Mapping[str, Any], *, still: bool
    ) -> str:
        """What is wrong of one that runs; ``still``: it is the only task that does, or is to."""
        (node,) = (one for one in self.swarm.nodes if one["ID"] == task["NodeID"])
        port = task["Status"]["PortStatus"]["Ports"][0]["PublishedPort"]  # it is told twice
        place = self.hub.table.place(service.id)
        if service.doubt and record.state is State.CREATED:
            return ""  # as whoever tries to start it, and lists are not believed meanwhile
        if record.state is not State.RUNNING or record.stop_requested:
            return "runs"
        if place is None or place.ports != {8888: (node["Status"]["Addr"], port)}:
            return f"is elsewhere than {place}"
        if service.deaths and not service.risen:
            return "was called ended"
        if service.place not in (None, record.endpoint_fingerprint):
            return "has moved, untold"
        return "is looked at still" if still and self._is_due(service) else ""

    def _has_ended(
        self, service: Service, record: ObservedContainer, tasks: list[dict[str, Any]]
    ) -> str:
        """What is wrong of one that does not run, and did once."""
        if record.state is not State.EXITED:
            return "has ended"
        if service.take_back and len(service.deaths) != 1:
            return f"was called ended {len(service.deaths)} times"
        last = tasks[-1]["Status"] if tasks and not service.touched else {}
        if (
            last.get("State") == "failed"
            and record.exit_code != last["ContainerStatus"]["ExitCode"]
        ):
            return "has another exit code"
        return "is looked at still" if self._is_due(service) else ""

    def _is_due(self, service: Service) -> bool:
        return self.hub.table._rows[service.id].due is not None

    def _ends(self, task: Mapping[str, Any]) -> bool:
        """It is to end, and its node can say when it has."""
        reached = {one["ID"] for one in self.swarm.nodes if one["Status"]["State"] != "down"}
        return task["Status"]["State"] not in OVER and task.get("NodeID") in reached

    def _tasks(self, service: Service) -> list[dict[str, Any]]:
        """Of its last start, as they are now; none if it is gone."""
        mine = [one for one in self.swarm.tasks() if one["ServiceID"] == service.id]
        starts = [int(one["Spec"].get("ForceUpdate") or 0) for one in mine]
        return [one for one, start in zip(mine, starts, strict=True) if start == max(starts)]

    def _lives(self, task: Mapping[str, Any]) -> bool:
        """It runs and is to, or is to be followed by another."""
        state, restart = task["Status"]["State"], task["Spec"]["RestartPolicy"]["Condition"]
        if task["DesiredState"] not in ("ready", "running"):
            return False
        return state not in OVER or (restart == "on-failure" and state != "complete")


# Hypothesis looks for the shortest life that fails, which takes its time.
@pytest.mark.timeout(900)
def test_any_services() -> None:
    """See the module's docstring."""
    run_state_machine_as_test(
        Services, settings=settings(max_examples=examples(20), stateful_step_count=25)
    )
