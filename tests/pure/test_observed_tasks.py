"""What is known of a service by the tasks and nodes that a Swarm lists."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from dockernamed.backends.observed import NOWHERE, ObservedContainer, State
from dockernamed.backends.observed_tasks import (
    LEFT,
    ServiceStatus,
    given_up,
    node_after,
    service_from,
    status_of,
    updated,
)
from dockernamed.backends.task_state import NodeSeen, TaskSeen, drained_words, lost_words

NODES = {
    "here": NodeSeen("here", "n1", "10.0.0.1"),
    "lost": NodeSeen("lost", "n2", "10.0.0.2", down=True, words="heartbeat failure"),
    "drained": NodeSeen("drained", "n3", availability="drain"),
}


def seen(state: str, desired: str = "running", node: str = "here", **more: Any) -> TaskSeen:
    """A task of the only service."""
    fields = {"id": "t1", "restart": "none", "created": "1", **more}
    return TaskSeen(service="s", state=state, desired=desired, node=node, **fields)


def told(*tasks: TaskSeen) -> ServiceStatus:
    """What they say, where they say anything."""
    found = status_of(tasks, NODES)
    assert found is not None
    return found


UNDECIDED = None
ENDED = ("complete", "shutdown", "failed", "rejected", "remove", "orphaned")
PREPARING = (
    *("new", "allocated", "pending", "assigned", "accepted", "preparing", "ready", "starting"),
)


WISHES = ("running", "ready", "accepted", "shutdown", "remove")


@pytest.mark.parametrize("state", [*PREPARING, "running", *ENDED])
def test_truth_table(state: str) -> None:
    """Whatever a single task, the Swarm's wish and its node say, they make one state of ours."""
    restarts = ("none", "on-failure", "any")
    for desired, where, restart in product(WISHES, ["", *NODES, "gone"], restarts):
        wanted, away = desired not in ("shutdown", "remove"), where in ("", "lost", "gone")
        if state in ENDED:
            successor = restart == "any" or (restart == "on-failure" and state != "complete")
            expected = UNDECIDED if wanted and successor else State.EXITED
        elif wanted:
            expected = State.RUNNING if state == "running" else State.CREATED
        else:
            expected = State.EXITED if away else UNDECIDED
        found = told(seen(state, desired, where, restart=restart))
        assert found.state is expected, (desired, where, restart)
        assert found.settled or expected is not State.EXITED
        assert (found.fingerprint is not None) == (expected is State.RUNNING)


def test_no_task() -> None:
    """Without a task nothing is said."""
    assert status_of([], NODES) is None


def test_the_last_task_of_the_last_start() -> None:
    """Others say nothing, whatever they are and whenever they were made."""
    tasks = [
        seen("failed", "shutdown", created="1", start=2),
        seen("pending", id="t2", created="2", start=2),
        seen("running", id="t3", created="3", start=1),
    ]
    assert told(*tasks).task.id == "t2"


def test_an_earlier_task_that_is_still_stopped() -> None:
    """A service has not ended before all tasks of its last start have."""
    failed = seen("failed", "shutdown", id="t2", created="2", start=1, exit_code=3)
    for earlier in (seen("running", "shutdown", start=1), seen("pending", "shutdown", start=1)):
        found = told(earlier, failed)
        assert (found.state, found.stopping, found.task.id) == (UNDECIDED, True, "t1")
    for earlier in (
        seen("running", "shutdown", "lost", start=1),
        seen("shutdown", "shutdown", start=1),
        seen("running", "shutdown", start=0),
    ):
        found = told(earlier, failed)
        assert (found.state, found.exit_code, found.task.id) == (State.EXITED, 3, "t2")


def test_running_is_settled_unless_its_node_is_lost() -> None:
    """What runs changes by an event alone; on a lost node the Swarm is about to decide."""
    assert told(seen("running")).settled
    assert not told(seen("running", node="lost")).settled
    assert not told(seen("starting")).settled


@pytest.mark.parametrize(
    ("end", "code", "stopping", "words"),
    [
        (seen("failed", "shutdown", exit_code=3), 3, False, ""),
        (seen("complete", "shutdown", exit_code=0), 0, False, ""),
        (seen("shutdown", "remove", exit_code=137), 137, True, ""),
        (seen("shutdown", "shutdown", "drained", exit_code=0), 0, True,
         drained_words(NODES["drained"])),
        (seen("rejected", "shutdown", words="No such image: x"), None, False, "No such image: x"),
        (seen("running", "shutdown", "lost"), None, False, lost_words(NODES["lost"])),
        (seen("running", "remove", "gone"), None, False, LEFT),
        (seen("pending", "remove", "", words="no suitable node"), None, False, "no suitable node"),
    ],
)  # fmt: skip
def test_how_it_ended(end: TaskSeen, code: int | None, stopping: bool, words: str) -> None:
    """An end has its exit code where one is known, whether it was asked for, and its words."""
    found = told(end)
    assert (found.exit_code, found.stopping, found.words) == (code, stopping, words)


def test_earlier_starts() -> None:
    """Tasks of an earlier start of the service, by its number, say nothing of this one."""
    old = seen("failed", "shutdown", exit_code=3, start=1)
    now = told(old, seen("pending", "running", "", id="t2", created="2", start=2))
    assert (now.state, now.restarts, now.exit_code) == (State.CREATED, 0, None)
    again = told(old, seen("pending", "running", "", id="t2", created="2", start=1))
    assert (again.state, again.restarts, again.exit_code) == (State.RUNNING, 1, 3)


def test_failures_before_it_runs_again() -> None:
    """Where another task follows one that failed, that end is told, but not as the end."""
    rejected = seen("rejected", "shutdown", words="No such image", restart="any")
    follower = seen("pending", "ready", "", id="t2", created="2", restart="any")
    for tasks in ([replace(rejected, desired="running")], [rejected, follower]):
        now = updated(record(), told(*tasks))
        assert (now.ended, now.restarts, now.words) == (False, 1, "No such image")
    runs = updated(now, told(rejected, replace(follower, state="running", desired="running")))
    assert (runs.state, runs.restarts, runs.words) == (State.RUNNING, 1, "")
    # That its node was lost or drained is no failure of its own.
    for other in (seen("running", "shutdown", "lost"), seen("shutdown", "shutdown")):
        assert told(other, follower).restarts == 0


def test_successors() -> None:
    """The wanted task stands for the service, wherever the other ones still run."""
    twin = seen("running", "shutdown", "lost")
    assert told(twin, seen("pending", "ready", "", id="t2", created="2")).state is State.RUNNING
    now = told(twin, seen("running", "running", "here", id="t2", created="2"))
    assert (now.state, now.task.id, now.settled) == (State.RUNNING, "t2", True)
    alone = told(seen("running", "running", "here", id="t2", created="2"))
    assert now.fingerprint == alone.fingerprint
    assert now.fingerprint != told(seen("running")).fingerprint
    # Started before the other one is stopped: that one serves until then.
    both = told(seen("running"), seen("preparing", id="t2", created="2"))
    assert (both.state, both.task.id, both.settled) == (State.RUNNING, "t1", False)


def test_place_of_a_task() -> None:
    """Its fingerprint is that of its own node's address and its own ports, in any order."""
    ports = {8888: 32768}
    at = told(seen("running", ports=ports)).fingerprint
    assert at != told(seen("running")).fingerprint
    moved = {**NODES, "here": replace(NODES["here"], address="10.0.0.9")}
    elsewhere = status_of([seen("running", ports=ports)], moved)
    assert elsewhere is not None
    assert elsewhere.fingerprint != at


@pytest.mark.parametrize(
    ("last", "why"),
    [
        (seen("running", "shutdown", "lost"), f"{lost_words(NODES['lost'])}; "),
        (seen("running", "shutdown", "gone"), f"{LEFT}; "),
        (seen("running", "shutdown", "drained"), f"{drained_words(NODES['drained'])}; "),
        (seen("shutdown", "shutdown", "drained"), f"{drained_words(NODES['drained'])}; "),
        (seen("shutdown", "shutdown", "lost"), ""),
        (seen("rejected", "shutdown", words="No such image: x"), "No such image: x; "),
        (seen("failed", "shutdown", exit_code=3), ""),
    ],
)
def test_no_node_for_what_is_to_follow(last: TaskSeen, why: str) -> None:
    """It is told why the last one ended, where that says more, and what the scheduler says."""
    waits = seen("pending", "running", "", id="t2", created="2", words="no suitable node")
    now = told(last, waits)
    assert (now.state, now.words) == (State.RUNNING, f"{why}no suitable node")
    ended = given_up(record(State.RUNNING, endpoint_fingerprint=7), now)
    assert (ended.state, ended.exit_code, ended.words) == (State.EXITED, last.exit_code, now.words)
    assert (ended.endpoint_fingerprint, ended.stop_requested) == (None, False)
    assert given_up(record(State.EXITED, exit_code=5), now) == record(State.EXITED, exit_code=5)
    assert now.task.unplaced
    # The scheduler may not have looked yet; or a node prepares; or it is not wanted any more.
    assert not replace(waits, words="").unplaced
    assert not replace(waits, node="here", state="preparing").unplaced
    assert not replace(waits, desired="remove").unplaced


def record(state: State = State.CREATED, **more: Any) -> ObservedContainer:
    """What was known before."""
    return ObservedContainer("s", "n", "ann", "x", "", "lab", state, **more)


def test_running_goes_on() -> None:
    """What runs goes on while a successor prepares, but is nowhere until that runs."""
    before = record(State.RUNNING, endpoint_fingerprint=7)
    next_one = seen("pending", "ready", "", id="t2", created="2", words="no suitable node")
    now = updated(before, told(seen("failed", "shutdown"), next_one))
    nowhere = replace(before, words="no suitable node", endpoint_fingerprint=NOWHERE)
    assert now == replace(nowhere, restarts=1)
    assert updated(now, told(replace(next_one, state="starting"))).state is State.RUNNING
    there = updated(now, told(replace(next_one, state="running", words="")))
    assert there.words == ""
    assert there.endpoint_fingerprint not in (None, NOWHERE, 7)
    # Nothing was decided yet; and one that is to stop answers until it does.
    assert updated(before, told(seen("failed", restart="any"))).endpoint_fingerprint == NOWHERE
    assert updated(before, told(seen("running", "remove"))).endpoint_fingerprint == 7
    assert updated(record(), told(seen("failed", restart="any"))).endpoint_fingerprint is None


def test_ended_rises_by_a_wanted_task_alone() -> None:
    """A node that returns, and tells that its task runs on, brings nothing back to life."""
    lost = updated(record(State.RUNNING), told(seen("running", "shutdown", "lost")))
    assert (lost.state, lost.exit_code) == (State.EXITED, None)
    assert lost.words == lost_words(NODES["lost"])
    assert updated(lost, told(seen("running", "shutdown", "here"))) == lost
    assert updated(lost, told(seen("shutdown", "shutdown", exit_code=0))) == lost
    risen = updated(lost, told(seen("running", id="t2", created="2")))
    assert (risen.state, risen.words, risen.stop_requested) == (State.RUNNING, "", False)


def test_stopping() -> None:
    """What the Swarm no longer wants is being stopped, and its end is that of a stop."""
    now = updated(record(State.RUNNING), told(seen("running", "remove")))
    assert (now.state, now.stop_requested, now.stopped) == (State.RUNNING, True, False)
    end = updated(now, told(seen("shutdown", "remove", exit_code=143)))
    assert (end.state, end.exit_code, end.stopped) == (State.EXITED, 143, True)
    crash = updated(record(State.RUNNING), told(seen("failed", "shutdown", exit_code=3)))
    assert (crash.stop_requested, crash.stopped) == (False, False)


def test_odd_items() -> None:
    """A service without an id, or that is nobody's server, is left out."""
    assert service_from({"ID": "s", "Spec": {"Labels": {"dockernamed.hub": "h"}}}) is None
    assert service_from({}) is None


def test_reading_a_service() -> None:
    """A listed service has its name, whose it is, its image without digest, and its replicas."""
    labels = {"dockernamed.hub": "h", "dockernamed.user": "ann", "dockernamed.server": "x"}
    spec = {
        "Name": "n",
        "Labels": labels,
        "TaskTemplate": {"ContainerSpec": {"Image": "lab:1@sha256:0"}},
        "Mode": {"Replicated": {"Replicas": 0}},
    }
    found = service_from({"ID": "s", "CreatedAt": "1", "UpdatedAt": "2", "Spec": spec})
    assert found is not None
    assert (found.replicas, found.changed) == (0, False)
    assert found.record == replace(record(), image="lab:1")
    everywhere = service_from(
        {"ID": "s", "Spec": {**spec, "Mode": {"Global": {}}}, "PreviousSpec": spec}
    )
    assert everywhere is not None
    assert (everywhere.replicas, everywhere.changed) == (1, True)


def test_events_of_nodes() -> None:
    """They tell what has changed, and not why."""
    here, lost = NODES["here"], NODES["lost"]
    assert node_after(here, {"state.new": "down"}) == replace(here, down=True)
    assert node_after(lost, {"state.new": "ready"}) == replace(lost, down=False, words="")
    assert node_after(here, {"state.new": "unknown"}) == here
    drained = node_after(here, {"availability.new": "drain"})
    assert drained == replace(here, availability="drain")
    assert node_after(drained, {"availability.new": "active"}) == here
