"""What is known of a service by the tasks and nodes that a Swarm lists."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest

from dockernamed.backends.observed import NOWHERE, ObservedContainer, State
from dockernamed.backends.observed_tasks import (
    DRAINED,
    LOST,
    Node,
    Sight,
    TaskSeen,
    node,
    node_after,
    service,
    sight,
    task,
    updated,
)

NODES = {
    "here": Node("n1", "ready", address="10.0.0.1"),
    "lost": Node("n2", "down", address="10.0.0.2"),
    "silent": Node("n3", "unknown"),
    "seeking": Node("n4", "disconnected"),
    "drained": Node("n5", "ready", drained=True),
}


def seen(state: str, desired: str = "running", node: str = "here", **more: Any) -> TaskSeen:
    """A task of the only service."""
    fields = {"id": "t1", "restart": "none", "created": "1", **more}
    return TaskSeen(service="s", state=state, desired=desired, node=node, **fields)


def told(*tasks: TaskSeen) -> Sight:
    """What they say, where they say anything."""
    found = sight(tasks, NODES)
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
    """Without a task nothing is said; tasks of an earlier start say nothing either."""
    assert sight([], NODES) is None
    assert sight([seen("failed", "remove")], NODES, earlier={"t1"}) is None
    both = [seen("failed", "shutdown"), seen("pending", id="t2", created="2")]
    assert told(*both).task == "t2"


def test_running_is_settled_unless_its_node_is_lost() -> None:
    """What runs changes by an event alone; on a lost node the Swarm is about to decide."""
    assert told(seen("running")).settled
    assert told(seen("running", node="silent")).settled
    assert not told(seen("running", node="lost")).settled
    assert not told(seen("starting")).settled


@pytest.mark.parametrize(
    ("end", "code", "stopping", "words"),
    [
        (seen("failed", "shutdown", exit_code=3), 3, False, ""),
        (seen("complete", "shutdown", exit_code=0), 0, False, ""),
        (seen("shutdown", "remove", exit_code=137), 137, True, ""),
        (seen("shutdown", "shutdown", "drained", exit_code=0), 0, True, DRAINED),
        (seen("rejected", "shutdown", words="No such image: x"), None, False, "No such image: x"),
        (seen("running", "shutdown", "lost"), None, False, LOST),
        (seen("running", "remove", "gone"), None, False, LOST),
        (seen("pending", "remove", "", words="no suitable node"), None, False, "no suitable node"),
    ],
)  # fmt: skip
def test_how_it_ended(end: TaskSeen, code: int | None, stopping: bool, words: str) -> None:
    """An end has its exit code where one is known, whether it was asked for, and its words."""
    found = told(end)
    assert (found.exit_code, found.stopping, found.words) == (code, stopping, words)


def test_successors() -> None:
    """The wanted task stands for the service, wherever the other ones still run."""
    twin = seen("running", "shutdown", "lost")
    assert told(twin, seen("pending", "ready", "", id="t2", created="2")).state is State.RUNNING
    now = told(twin, seen("running", "running", "here", id="t2", created="2"))
    assert (now.state, now.task, now.node, now.settled) == (State.RUNNING, "t2", "here", True)
    alone = told(seen("running", "running", "here", id="t2", created="2"))
    assert now.fingerprint == alone.fingerprint
    assert now.fingerprint != told(seen("running")).fingerprint
    # Started before the other one is stopped: that one serves until then.
    both = told(seen("running"), seen("preparing", id="t2", created="2"))
    assert (both.state, both.task, both.settled) == (State.RUNNING, "t1", False)


def test_place_of_a_task() -> None:
    """Its fingerprint is that of its own node's address and its own ports, in any order."""
    ports = ((8888, 32768, "tcp"),)
    at = told(seen("running", ports=ports)).fingerprint
    assert at != told(seen("running")).fingerprint
    moved = {**NODES, "here": replace(NODES["here"], address="10.0.0.9")}
    elsewhere = sight([seen("running", ports=ports)], moved)
    assert elsewhere is not None
    assert elsewhere.fingerprint != at


def record(state: State = State.CREATED, **more: Any) -> ObservedContainer:
    """What was known before."""
    return ObservedContainer("s", "n", "ann", "x", "", "lab", state, **more)


def test_running_goes_on() -> None:
    """What runs goes on while a successor prepares, but is nowhere until that runs."""
    before = record(State.RUNNING, endpoint_fingerprint=7)
    next_one = seen("pending", "ready", "", id="t2", created="2", words="no suitable node")
    now = updated(before, told(seen("failed", "shutdown"), next_one))
    assert now == replace(before, words="no suitable node", endpoint_fingerprint=NOWHERE)
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
    assert (lost.state, lost.exit_code, lost.words) == (State.EXITED, None, LOST)
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


ITEM: dict[str, Any] = {
    "ID": "t1",
    "CreatedAt": "2026-01-02T03:04:05.1Z",
    "ServiceID": "s",
    "NodeID": "here",
    "DesiredState": "shutdown",
    "Spec": {"RestartPolicy": {"Condition": "none"}},
    "Status": {
        "State": "failed",
        "Err": "task: non-zero exit (3)",
        "ContainerStatus": {"ExitCode": 3},
        "PortStatus": {
            "Ports": [
                {"Protocol": "tcp", "TargetPort": 8888, "PublishedPort": 32768},
                {"Protocol": "tcp", "TargetPort": 8888, "PublishedPort": 32768},
            ]
        },
    },
}  # fmt: skip


def test_reading_a_task() -> None:
    """A listed task has its code, its words unless they only say that code, each port once."""
    assert task(ITEM) == TaskSeen(
        *("t1", "s", "failed", "shutdown", "here", "none", 3, ""),
        ((8888, 32768, "tcp"),),
        "2026-01-02T03:04:05.100000000",
    )
    cause = {**ITEM, "Status": {**ITEM["Status"], "Err": "task: non-zero exit (1): unhealthy"}}
    assert (found := task(cause)) is not None
    assert found.words == "unhealthy"
    later = task({**ITEM, "CreatedAt": "2026-01-02T03:04:05.09Z"})
    assert later is not None
    assert later.created < found.created


@pytest.mark.parametrize(
    ("state", "code"), [("running", 0), ("shutdown", -1), ("rejected", 0), ("starting", 0)]
)
def test_no_exit_code(state: str, code: int) -> None:
    """A code that is none, because nothing ended or nothing ran, is not told as one."""
    status = {"State": state, "ContainerStatus": {"ExitCode": code}}
    assert (found := task({**ITEM, "Status": status})) is not None
    assert found.exit_code is None


def test_odd_items() -> None:
    """What an item may lack is empty; what names no service, or nobody's server, is left out."""
    assert task({"ID": "t1", "ServiceID": "s"}) == TaskSeen("t1", "s", "", "", created=".000000000")
    assert task({"ID": "t1"}) is None
    assert service({"ID": "s", "Spec": {"Labels": {"dockernamed.hub": "h"}}}) is None
    assert service({}) is None
    assert node({"ID": "n"}) == Node("n", "")


def test_reading_a_service() -> None:
    """A listed service has its name, whose it is, its image without digest, and its replicas."""
    labels = {"dockernamed.hub": "h", "dockernamed.user": "ann", "dockernamed.server": "x"}
    spec = {
        "Name": "n",
        "Labels": labels,
        "TaskTemplate": {"ContainerSpec": {"Image": "lab:1@sha256:0"}},
        "Mode": {"Replicated": {"Replicas": 0}},
    }
    found = service({"ID": "s", "CreatedAt": "1", "UpdatedAt": "2", "Spec": spec})
    assert found is not None
    assert (found.replicas, found.changed) == (0, False)
    assert found.record == replace(record(), image="lab:1")
    everywhere = service(
        {"ID": "s", "Spec": {**spec, "Mode": {"Global": {}}}, "PreviousSpec": spec}
    )
    assert everywhere is not None
    assert (everywhere.replicas, everywhere.changed) == (1, True)


def test_reading_a_node() -> None:
    """Lists and events tell a node's state and whether it is drained."""
    item = {
        "ID": "id",
        "Description": {"Hostname": "n1"},
        "Spec": {"Availability": "active"},
        "Status": {"State": "ready", "Addr": "10.0.0.1"},
    }
    found = node(item)
    assert found == NODES["here"]
    assert node_after(found, {"state.new": "down"}) == replace(found, state="down")
    drained = node_after(found, {"availability.new": "drain"})
    assert drained == replace(found, drained=True)
    assert node_after(drained, {"availability.new": "active"}) == found
