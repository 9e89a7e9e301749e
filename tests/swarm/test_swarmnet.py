"""The Swarm that the tests make is one: what it is used for works, and nothing is left of it."""

from __future__ import annotations

import http.server
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from docker.types import EndpointSpec
from support.hub.dockerview import BUSYBOX, HUB, LAB, SERVER, USER
from support.hub.waiting import eventually
from support.swarm import Node, Swarm
from support.swarm.remains import clear_the_killed, remains
from support.swarm.view import SwarmView

#: A node that is lost is down after 10 to 16 seconds, as with Docker's own heartbeat.
HEARTBEAT = 5


@pytest.fixture
def prefix(swarm: Swarm, prefix: str) -> Iterator[str]:
    """Whose things are removed when the test has ended."""
    yield prefix
    swarm.restore()
    swarm.remove_all(prefix)


class Refusing(http.server.BaseHTTPRequestHandler):
    """Answers 501, as it has no methods."""


def serve(swarm: Swarm, name: str, constraint: str = "", **more: Any) -> str:
    """A service of one task that answers at port 8888 of its node; its id."""
    labels = {USER: "ann", SERVER: "lab"}
    port = {"Protocol": "tcp", "TargetPort": 8888, "PublishMode": "host"}
    return str(
        swarm.manager.client.create_service(
            {
                # It ignores SIGTERM.
                "ContainerSpec": {"Image": BUSYBOX, "StopSignal": "SIGKILL", "Labels": labels},
                "RestartPolicy": {"Delay": 0},
                "Placement": {"Constraints": [constraint] if constraint else []},
            },
            name=name,
            labels=labels,
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
        with urllib.request.urlopen(url, timeout=10):
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
        tags = [image["RepoTags"] for image in node.client.images()]
        assert sorted(tags) == [[BUSYBOX], [LAB]]
    assert len({node.client.info()["ID"] for node in swarm.nodes}) == 3


@pytest.mark.parametrize("name", ["n1", "n3"])
def test_a_port_of_the_node(swarm: Swarm, prefix: str, name: str) -> None:
    """This machine reaches a task at its node's address, and a task this machine."""
    service = serve(swarm, f"{prefix}a", f"node.hostname=={name}")
    task = swarm.running(service)
    assert swarm.node_of(task).name == name
    eventually(lambda: answers(address(swarm, task)), what="it answers")
    with http.server.HTTPServer((swarm.hub_address, 0), Refusing) as server:
        Thread(target=server.handle_request).start()
        url = f"http://{swarm.hub_address}:{server.server_port}/"
        assert "501" in run_in(swarm[name], task, f"wget -O- {url}")


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
    service = serve(swarm, f"{prefix}a", "node.role==worker")
    first = swarm.running(service)
    lost, other = swarm.node_of(first), swarm.workers
    other.remove(lost)
    eventually(lambda: answers(address(swarm, first)), what="it answers")
    lost.partition(keep=[swarm.hub_address])
    swarm.wait_state(lost, "down")
    second = eventually(
        lambda: swarm.running(service), lambda task: swarm.node_of(task) in other, what="it moved"
    )
    eventually(lambda: answers(address(swarm, second)), what="the new one answers")
    assert answers(address(swarm, first))
    view = SwarmView(swarm, prefix.rstrip("-"))
    assert view.running("ann") == ["lab", "lab"]
    assert view.node("ann", "lab") in other

    lost.partition()
    assert not answers(address(swarm, first))

    lost.heal()
    swarm.wait_state(lost, "ready")
    eventually(lambda: view.running("ann"), lambda seen: seen == ["lab"], what="one is left")
    assert view.node_with(view.one("ann", "lab")) in other
    assert view.run(view.one("ann", "lab"), "hostname")
    assert answers(address(swarm, second))
    assert [service["Spec"]["Name"] for service in view.services("ann")] == [f"{prefix}a"]


def test_partitions_of_one_way(swarm: Swarm) -> None:
    """A node that hears nothing is down, as is one that is not heard."""
    swarm["n2"].partition(outgoing=False)
    swarm["n3"].partition(incoming=False)
    swarm.wait_state(swarm["n2"], "down")
    swarm.wait_state(swarm["n3"], "down")


def test_a_killed_dockerd(swarm: Swarm, prefix: str) -> None:
    """The containers of a node outlive its dockerd, until that is started again."""
    node = swarm["n2"]
    task = swarm.running(serve(swarm, f"{prefix}a", "node.hostname==n2"))
    eventually(lambda: answers(address(swarm, task)), what="it answers")
    container = task["Status"]["ContainerStatus"]["ContainerID"]
    pid = node.client.inspect_container(container)["State"]["Pid"]
    inside = Path(f"/proc/{node.namespaces.pid}/root/proc/{pid}")
    node.kill()
    assert not node.runs
    assert inside.exists()
    swarm.wait_state(node, "down")
    node.start()
    swarm.wait_state(node, "ready")
    eventually(lambda: not inside.exists(), what="the container has ended")


def test_roles(swarm: Swarm) -> None:
    """A node that is drained, promoted or demoted is so when that is said to be done."""
    node = swarm["n3"]
    swarm.drain(node)
    assert swarm.inspect(node)["Spec"]["Availability"] == "drain"
    swarm.activate(node)
    swarm.promote(node)
    assert node.client.nodes()
    swarm.demote(node)
    assert swarm.workers == [swarm["n2"], node]


def test_leftovers(swarm: Swarm, prefix: str) -> None:
    """What a test leaves is found on all nodes, by its name or by its Hub's label."""
    client, label = swarm.manager.client, {HUB: prefix.rstrip("-")}
    client.create_secret("s", b"-", labels=label)
    client.create_config("c", b"-", labels=label)
    client.create_network(f"{prefix}o", driver="overlay")
    swarm["n2"].client.create_volume(f"{prefix}v")
    swarm["n3"].client.create_network(f"{prefix}b")
    swarm["n3"].client.create_volume("another")
    assert swarm.leftovers(prefix) == [
        "config c",
        f"network {prefix}b (n3)",
        f"network {prefix}o",
        "secret s",
        f"volume {prefix}v (n2)",
    ]
    swarm.remove_all(prefix)
    assert swarm.leftovers(prefix) == []
    assert swarm["n3"].volumes() != []
    swarm["n3"].client.remove_volume("another")


def test_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """What there is of a Swarm is found while it is there, and nothing of it afterwards.

    This one loads its image, as where the Engine's files are elsewhere.
    """
    monkeypatch.setattr("support.swarm.swarm.records", lambda *_: None)
    with Swarm(nodes=1) as swarm:
        swarm.running(serve(swarm, "a"))
        there = remains(swarm.name, swarm.hub_address, swarm.ids)
    assert {line.partition(":")[0].split()[0] for line in there} == {
        "process",
        "link",
        "route",
        "folder",
    }
    assert remains(swarm.name, swarm.hub_address, swarm.ids) == []


def test_a_killed_run() -> None:
    """A Swarm ends with the process that made it; what the kernel leaves, the next one removes."""
    code = (
        "from support.swarm import Swarm; s = Swarm(1); s.start(); print(s.name, s.subnet); input()"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env) as run:
        assert run.stdout is not None
        name, subnet = run.stdout.readline().decode().split()
        assert remains(name, subnet, frozenset())
        run.kill()

    def left() -> list[str]:
        clear_the_killed()
        return remains(name, subnet, frozenset())

    eventually(left, lambda seen: not seen, what="nothing is left")
