"""The Swarm that the tests make is one: what it is used for works, and nothing is left of it."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from docker.types import EndpointSpec
from support.hub.dockerview import BUSYBOX
from support.hub.waiting import eventually
from support.swarm import Node, Swarm


@pytest.fixture(autouse=True)
def _nothing_left(swarm: Swarm, prefix: str) -> Iterator[None]:
    yield
    swarm.restore()
    swarm.remove_all(prefix)


def serve(swarm: Swarm, name: str, constraint: str = "", **more: Any) -> str:
    """A service of one task that answers at port 8888 of its node; its id."""
    port = {"Protocol": "tcp", "TargetPort": 8888, "PublishMode": "host"}
    return str(
        swarm.manager.client.create_service(
            {
                # It ignores SIGTERM.
                "ContainerSpec": {"Image": BUSYBOX, "StopGracePeriod": 0},
                "Placement": {"Constraints": [constraint] if constraint else []},
            },
            name=name,
            endpoint_spec=EndpointSpec(mode="dnsrr") | {"Ports": [port]},
            **more,
        )["ID"]
    )


def address(swarm: Swarm, task: Any) -> str:
    """Where this machine reaches a task."""
    port = task["Status"]["PortStatus"]["Ports"][0]["PublishedPort"]
    return f"http://{swarm.node_of(task).address}:{port}/"


def run_in(node: Node, task: Any, command: str) -> str:
    """What a shell's command prints in a task's container, both streams."""
    container = task["Status"]["ContainerStatus"]["ContainerID"]
    created = node.client.exec_create(container, ["sh", "-c", command])
    return str(node.client.exec_start(created["Id"]).decode())


def answers(url: str) -> bool:
    """Whether something answers at all there."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


def test_three_nodes(swarm: Swarm) -> None:
    """Each node has its own host name, address, label and images; one is the manager."""
    seen = [swarm.inspect(node) for node in swarm.nodes]
    assert [node["Description"]["Hostname"] for node in seen] == ["n1", "n2", "n3"]
    assert [node["Status"]["Addr"] for node in seen] == [node.address for node in swarm.nodes]
    assert [node["Description"]["Engine"]["Labels"] for node in seen] == [
        {"node": "n1"},
        {"node": "n2"},
        {"node": "n3"},
    ]
    assert swarm.managers == [swarm["n1"]]
    assert swarm.workers == [swarm["n2"], swarm["n3"]]
    for node in swarm.nodes:
        assert node.client.inspect_image(BUSYBOX)
    assert len({node.client.info()["ID"] for node in swarm.nodes}) == 3


@pytest.mark.parametrize("name", ["n1", "n3"])
def test_a_port_of_the_node(swarm: Swarm, prefix: str, name: str) -> None:
    """This machine reaches a task at its node's address, and a task this machine."""
    service = serve(swarm, f"{prefix}a", f"node.hostname=={name}")
    task = swarm.running(service)
    assert swarm.node_of(task).name == name
    eventually(lambda: answers(address(swarm, task)), what="it answers")


def test_an_overlay(swarm: Swarm, prefix: str) -> None:
    """A task finds another one of another node by its service's name."""
    client = swarm.manager.client
    network = client.create_network(f"{prefix}net", driver="overlay", attachable=True)["Id"]
    tasks = {}
    for name in ("n2", "n3"):
        serve(swarm, f"{prefix}{name}", f"engine.labels.node=={name}", networks=[network])
        tasks[name] = swarm.running(f"{prefix}{name}")
    # By an address: busybox's other tools crash when they look up a name.
    ask = (
        f"a=$(nslookup {prefix}n3 | sed -n '/^Name/{{n;s/Address: //p}}'); wget -SO- http://$a:8888"
    )
    eventually(
        lambda: run_in(swarm["n2"], tasks["n2"], ask),
        lambda said: "HTTP/1." in said,
        what="n3's task answers n2's",
    )


def test_a_partition(swarm: Swarm, prefix: str) -> None:
    """A node that is cut off is down, its task runs twice; healed, it is ready and runs one."""
    lost = swarm["n3"]
    service = serve(swarm, f"{prefix}a", "node.role==worker")
    if swarm.node_of(swarm.running(service)) != lost:
        lost = swarm["n2"]
    lost.partition(keep=[swarm.hub_address])
    swarm.wait_state(lost, "down")
    task = eventually(
        lambda: swarm.running(service), lambda task: swarm.node_of(task) != lost, what="it moved"
    )
    assert len(lost.containers(prefix, running=True)) == 1
    lost.heal()
    swarm.wait_state(lost, "ready")
    eventually(lambda: lost.containers(prefix, running=True), lambda seen: not seen, what="one")
    assert answers(address(swarm, task))
