"""The service that brings an image to the nodes of a Swarm, and what its tasks tell."""

from __future__ import annotations

from typing import Any

import pytest

from dockernamed import naming
from dockernamed.desired.node_images import (
    NOTHING,
    Spread,
    fit_nodes,
    prepull_service,
    spread,
)

IMAGE = "quay.io/lab:1@sha256:" + "0" * 64
NODES = {"id1": "n1", "id2": "n2", "id3": "n3"}
#: States of a task, in the order in which it has them.
BEFORE = ("new", "pending", "assigned", "accepted")
SINCE = ("ready", "starting", "running", "complete")


def node(id: str, hostname: str = "", **other: str) -> dict[str, Any]:
    """One of ``GET /nodes``."""
    said = {"State": "ready", "Availability": "active", "OS": "linux", **other}
    return {
        "ID": id,
        "Spec": {"Availability": said["Availability"]},
        "Description": {"Hostname": hostname or id, "Platform": {"OS": said["OS"]}},
        "Status": {"State": said["State"]},
    }


def task(node: str, state: str, error: str = "", *, at: str = "1") -> dict[str, Any]:
    """One of ``GET /tasks``."""
    status = {"State": state, "Message": state, **({"Err": error} if error else {})}
    return {"ID": f"{node}{at}", "NodeID": node, "CreatedAt": at, "Status": status}


def test_service() -> None:
    """It runs once on each Linux node, whatever is in the image, and no list of servers has it."""
    spec = prepull_service("jupyter-prepull", "hub1", IMAGE)
    template = spec["TaskTemplate"]
    assert spec["Mode"] == {"Global": {}}
    assert template["RestartPolicy"] == {"Condition": "none"}
    assert template["ContainerSpec"]["Image"] == IMAGE
    assert template["ContainerSpec"]["Command"] == list(NOTHING)
    assert template["ContainerSpec"]["Init"] is True, "that brings what it runs"
    assert template["Placement"]["Constraints"] == ["node.platform.os==linux"]
    assert spec["Labels"] == {naming.LABEL_PREPULL: "hub1"}
    assert not {naming.LABEL_HUB, naming.LABEL_USER, naming.LABEL_SERVER} & set(spec["Labels"])


def test_one_node() -> None:
    """A node that comes later gets the image without a task on the others."""
    spec = prepull_service("jupyter-prepull", "hub1", IMAGE, node="id2")
    assert "node.id==id2" in spec["TaskTemplate"]["Placement"]["Constraints"]


def test_nodes_that_can_run_servers() -> None:
    """Not those that are away, or that take no tasks, or cannot run the image."""
    nodes = [
        node("id1", "n1"),
        node("id2", "n2", State="down"),
        node("id3", "n3", Availability="drain"),
        node("id4", "n4", Availability="pause"),
        node("id5", "n5", OS="windows"),
        node("id6", "n6", State="unknown"),
    ]
    assert fit_nodes(nodes) == {"id1": "n1"}


def test_nodes_of_one_name_are_told_apart() -> None:
    """Machines made from one template may all be called the same."""
    found = fit_nodes([node("id1", "n"), node("id2", "n"), node("id3", "m")])
    assert found == {"id1": "n (id1)", "id2": "n (id2)", "id3": "m"}


@pytest.mark.parametrize("state", [*BEFORE, "preparing", *SINCE, "failed", "rejected"])
def test_states_of_a_task(state: str) -> None:
    """A node has the image as soon as it makes a container of it, however that ends."""
    found = spread([task("id1", state, "words")], {"id1": "n1"})
    assert found.there == (("n1",) if state in (*SINCE, "failed") else ())
    assert found.preparing == (("n1",) if state == "preparing" else ())
    assert found.waiting == (("n1",) if state in BEFORE else ())
    assert found.failed == ({"n1": "words"} if state == "rejected" else {})
    assert found.over is (state in (*SINCE, "failed", "rejected"))


def test_a_node_without_a_task_is_waited_for() -> None:
    """Tasks are made some time after the service."""
    assert not spread([], NODES).over
    assert spread([], NODES).waiting == ("n1", "n2", "n3")


def test_nodes_that_went_away_are_not_waited_for() -> None:
    """The task of a node that is down says for ever that it is preparing."""
    tasks = [task("id1", "complete"), task("id9", "preparing")]
    assert spread(tasks, {"id1": "n1"}) == Spread(there=("n1",))


def test_the_newest_task_of_a_node_counts() -> None:
    """A node that was away gets another one."""
    tasks = [task("id1", "complete", at="2"), task("id1", "shutdown", at="1")]
    for order in (tasks, tasks[::-1]):
        assert spread(order, {"id1": "n1"}).there == ("n1",)


@pytest.mark.parametrize(("found", "words"), [
    (Spread(("n1", "n3"), preparing=("n2",)), "node n2 preparing … done 2 of 3"),
    (Spread(preparing=("n1", "n2")), "nodes n1 and n2 preparing … done 0 of 2"),
    (Spread(("n1",), ("n2",), ("n3",)), "node n2 preparing, node n3 waiting … done 1 of 3"),
    (Spread(("n1",), failed={"n2": "x"}), "node n2 failed … done 1 of 2"),
    (Spread(("n1", "n2")), "done 2 of 2"),
    (
        Spread(waiting=tuple(f"n{number}" for number in range(200))),
        "nodes n0, n1, n2 and 197 more waiting … done 0 of 200",
    ),
])  # fmt: skip
def test_progress_in_words(found: Spread, words: str) -> None:
    """It says which nodes are at it and how many are done, in one short line."""
    assert str(found) == words


def test_failures_in_words() -> None:
    """Each node with the words of its task; what many say is said once."""
    found = Spread(
        failed={"n1": "No such image: lab", "n2": "no space left", "n3": "No such image: lab"}
    )
    assert found.failures == "nodes n1 and n3: No such image: lab; node n2: no space left"


def test_names() -> None:
    """One name for each Hub, image and node, that no server's service can have."""
    names = {
        naming.prepull_name(hub, image, node, prefix="jupyter")
        for hub in ("h1", "h2") for image in ("a", "b") for node in ("", "id1")
    }  # fmt: skip
    assert len(names) == 8
    assert all(len(name) <= naming.MAX_NAME for name in names)
    assert all(name.startswith("jupyter-prepull---") for name in names)
    long = naming.prepull_name("h", "i" * 300, "n" * 25, prefix="p" * naming.MAX_PREFIX)
    assert len(long) <= naming.MAX_NAME
    assert naming.object_name(naming.Key("h1", "prepull", "")) not in names
