"""What managers say of tasks and nodes: which task counts, whether it has ended, where it is."""

from __future__ import annotations

from typing import Any

import pytest

from dockernamed.backends.task_state import (
    NodeSeen,
    TaskSeen,
    has_ended,
    location,
    lost_words,
    node_from,
    task_from,
)
from dockernamed.desired.network import Access, Location, reached_at


def item(**more: Any) -> dict[str, Any]:
    """A task of the Engine's list."""
    port = {"Protocol": "tcp", "TargetPort": 8888, "PublishedPort": 32768, "PublishMode": "host"}
    return {
        "ID": "t1",
        "CreatedAt": "2026-11-26T20:35:47.847327324Z",
        "ServiceID": "s1",
        "NodeID": "n1",
        "Status": {
            "State": "running",
            "Message": "started",
            "ContainerStatus": {"ContainerID": "c1", "PID": 5, "ExitCode": 0},
            "PortStatus": {"Ports": [port, port, {**port, "Protocol": "udp", "TargetPort": 53}]},
        },
        "DesiredState": "running",
        "NetworksAttachments": [
            {"Network": {"ID": "o1", "Spec": {"Name": "hub"}}, "Addresses": ["10.0.1.3/24"]},
            {"Network": {"ID": "o2", "Spec": {"Name": "course"}}, "Addresses": ["10.0.2.3/24"]},
        ],
        **more,
    }


def test_a_task_that_runs() -> None:
    """Its ports, listed twice by the Engine, its addresses and networks."""
    assert task_from(item()) == TaskSeen(
        id="t1",
        service="s1",
        node="n1",
        state="running",
        desired="running",
        created="2026-11-26T20:35:47.847327324",
        ports={8888: 32768},
        addresses=("10.0.1.3", "10.0.2.3"),
        networks={"hub": "o1", "course": "o2"},
        has_container=True,
    )
    spec = {"RestartPolicy": {"Condition": "none"}, "ForceUpdate": 3}
    found = task_from(item(Spec=spec))
    assert (found.restart, found.start) == ("none", 3)


@pytest.mark.parametrize(
    ("status", "exit_code", "words"),
    [
        ({"State": "pending", "Err": "no suitable node"}, None, "no suitable node"),
        ({"State": "pending", "Message": "pending task scheduling"}, None, ""),
        ({"State": "preparing", "Message": "preparing"}, None, ""),
        ({"State": "running", "ContainerStatus": {"ContainerID": "c", "ExitCode": -1}}, None, ""),
        (
            {
                "State": "failed",
                "Err": "task: non-zero exit (137)",
                "ContainerStatus": {"ContainerID": "c", "ExitCode": 137},
            },
            137,
            "",
        ),
        (
            {
                "State": "failed",
                "Err": "task: non-zero exit (1): OCI runtime create failed",
                "ContainerStatus": {"ContainerID": "c", "ExitCode": 1},
            },
            1,
            "OCI runtime create failed",
        ),
        (
            {"State": "complete", "ContainerStatus": {"ContainerID": "c", "PID": 0, "ExitCode": 0}},
            0,
            "",
        ),
        (
            {"State": "rejected", "Err": "No such image: x", "ContainerStatus": {}},
            None,
            "No such image: x",
        ),
        ({"State": "orphaned", "Message": "node is gone"}, None, "node is gone"),
        ({}, None, ""),
    ],
)
def test_how_it_is_with_a_task(status: dict[str, Any], exit_code: int | None, words: str) -> None:
    """The exit code of a container that ran and ended; words only where they say more."""
    task = task_from(item(Status=status))
    assert (task.exit_code, task.words) == (exit_code, words)


@pytest.mark.parametrize(
    ("state", "desired", "node", "down", "ended"),
    [
        ("running", "running", "n1", False, False),
        ("running", "running", "n1", True, False),
        ("running", "shutdown", "n1", False, False),
        ("running", "shutdown", "n1", True, True),
        ("running", "remove", "n1", True, True),
        ("running", "remove", "n1", False, False),
        ("failed", "running", "n1", False, True),
        ("rejected", "shutdown", "n1", False, True),
        ("complete", "shutdown", "n1", False, True),
        ("shutdown", "shutdown", "n1", False, True),
        ("pending", "running", "", False, False),
        ("pending", "shutdown", "", False, True),
        ("ready", "ready", "n2", False, False),
    ],
)
def test_whether_it_has_ended(state: str, desired: str, node: str, down: bool, ended: bool) -> None:
    """A lost node's tasks have ended once the manager has given them up, and not before."""
    assert has_ended(TaskSeen("t", "s", node, state, desired), down) is ended


def test_the_newest_is_told_by_parts_of_a_second() -> None:
    """Go writes no zeros at the end of a time, so that it does not sort as it is."""
    times = ("2026-11-26T20:35:47.8Z", "2026-11-26T20:35:47.81Z", "2026-11-26T20:35:47Z")
    tasks = [task_from(item(ID=time, CreatedAt=time)) for time in times]
    newest = max(tasks, key=lambda one: one.created)
    assert newest.id == "2026-11-26T20:35:47.81Z"


def node(state: str = "ready", **more: Any) -> dict[str, Any]:
    """A node of the Engine's list."""
    return {
        "ID": "n1",
        "Spec": {"Role": "worker", "Availability": "active"},
        "Description": {"Hostname": "host1"},
        "Status": {"State": state, "Addr": "10.1.0.1"},
        **more,
    }


@pytest.mark.parametrize(
    ("state", "down"),
    [("ready", False), ("down", True), ("unknown", False), ("disconnected", False)],
)
def test_which_nodes_are_lost(state: str, down: bool) -> None:
    """A new leader knows nothing of its nodes yet: that is no death."""
    assert node_from(node(state)).down is down


def test_where_a_node_is() -> None:
    """A manager that does not say its address in one place says it in another."""
    assert node_from(node()) == NodeSeen("n1", "host1", "10.1.0.1")
    status = {"State": "ready", "Addr": "0.0.0.0"}
    manager = node_from(node(Status=status, ManagerStatus={"Addr": "[fd00::1]:2377"}))
    assert (manager.address, manager.manager) == ("fd00::1", True)
    assert node_from(node(Status=status)).address == "0.0.0.0"


def test_drained_nodes_take_nothing() -> None:
    """Nor do those that are down."""
    assert node_from(node()).takes_tasks
    assert not node_from(node(Spec={"Availability": "drain"})).takes_tasks
    assert not node_from(node("down")).takes_tasks


def test_words_for_a_lost_node() -> None:
    """They name it."""
    status = {"State": "down", "Message": "heartbeat failure"}
    found = node_from(node(Status=status))
    assert lost_words(found) == ("the node that it ran on is down: host1 (heartbeat failure)")
    assert lost_words(NodeSeen("n", "x")) == "the node that it ran on is down: x"


def test_where_a_task_is_reached() -> None:
    """At its own node's address and its own port, or in its networks; never at another's."""
    task, here = task_from(item()), node_from(node())
    place = location(task, here)
    assert place == Location(
        "hub",
        ("10.0.1.3", "10.0.2.3"),
        {8888: ("10.1.0.1", 32768)},
        {"hub": "o1", "course": "o2"},
        "10.1.0.1",
    )
    assert reached_at(place, "n", 8888, Access("published", "1.2.3.4")) == ("10.1.0.1", 32768)
    assert reached_at(place, "n", 8888, Access("name", "1.2.3.4")) == ("n", 8888)
    for other in (None, NodeSeen("n2", "host2", "10.1.0.2")):
        assert location(task, other).ports == {}


def test_a_task_in_its_hosts_network() -> None:
    """It is reached at its node, not at the host of the Engine that is asked."""
    attached = [{"Network": {"ID": "h", "Spec": {"Name": "host"}}}]
    task = task_from(item(NetworksAttachments=attached, Status={"State": "running"}))
    place = location(task, node_from(node()))
    assert reached_at(place, "n", 8888, Access("published", "1.2.3.4")) == ("10.1.0.1", 8888)


def test_a_move_is_seen() -> None:
    """Another task, port or node has another fingerprint; the same one has the same."""
    first = task_from(item()).fingerprint
    assert task_from(item()).fingerprint == first
    for change in ({"ID": "t2"}, {"NodeID": "n2"}, {"Status": {"State": "running"}}):
        assert task_from(item(**change)).fingerprint != first
