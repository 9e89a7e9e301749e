"""JupyterLab on each node of a Swarm, and who reaches whom there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.hub.client import server_url
from support.hub.dockerview import LAB
from support.hub.hubproc import Hub
from support.hub.kernels import run_code
from support.hub.waiting import eventually
from support.swarm.hubs import SwarmHubs
from support.swarm.view import SwarmView

DOC = Path(__file__).parents[2] / "docs" / "swarm.md"
NODES = ("n1", "n2", "n3")
GET = r"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 2 {host} {port}; true"


@pytest.fixture(scope="module")
def hub(swarm_hubs: SwarmHubs) -> Iterator[Hub]:
    """A Hub with the default settings, and a profile for each node and image."""
    on = {name: {"placement_constraints": [f"engine.labels.node=={name}"]} for name in NODES}
    profiles: dict[str, dict[str, Any]] = dict(on)
    for name, override in on.items():
        profiles[f"lab-{name}"] = {**override, "image": LAB, "readiness": "jupyterhub"}
    config = f"""
        c.DockerNamedSpawner.profile_list = [
            {{"slug": slug, "display_name": slug, "spawner_override": override}}
            for slug, override in {profiles!r}.items()
        ]
    """
    with swarm_hubs.running(config) as hub:
        yield hub


@pytest.fixture
def view(hub: Hub) -> SwarmView:
    """What the Hub has made."""
    assert isinstance(hub.docker, SwarmView)
    return hub.docker


def spawned(hub: Hub, *servers: tuple[str, str, str]) -> list[Any]:
    """Start servers at once, each (user, server, profile); their containers."""

    def spawn(user: str, server: str, profile: str) -> Any:
        return hub.spawn(user, server, {"profile": profile})

    with ThreadPoolExecutor(len(servers)) as pool:
        return list(pool.map(spawn, *zip(*servers, strict=True)))


def test_a_kernel_on_each_node(hub: Hub, view: SwarmView, user: str) -> None:
    """Code runs there, through the proxy, and writes a file; others' tokens are refused."""
    token, stranger = hub.add_user(user), hub.add_user(f"x{user}")
    containers = spawned(hub, *((user, name, f"lab-{name}") for name in NODES))
    assert [view.node_with(container).name for container in containers] == list(NODES)
    for name, container in zip(NODES, containers, strict=True):
        lab = server_url(user, name)
        assert hub.request("GET", f"{lab}api/status", token=stranger).status == 403
        made = hub.request("POST", f"{lab}api/kernels", {"name": "python3"}, token=token)
        assert made.status == 201, made
        code = f"open('x', 'w').write('{name}') and __import__('socket').gethostname()"
        said = run_code(hub, lab, made.json()["id"], token, code)
        assert said == repr(container["Config"]["Hostname"])
        assert hub.request("GET", f"{lab}api/contents/x", token=token).json()["content"] == name
        activity = hub.servers(user)[name]["last_activity"]
        assert activity


def reaches(view: SwarmView, container: Any, host: str, port: int) -> bool:
    """Whether a program in a container gets an HTTP answer from there."""
    said = view.run(container, "sh", "-c", GET.format(host=host, port=port))
    return "HTTP/1." in said


def reaches_in_time(view: SwarmView, container: Any, host: str, port: int) -> None:
    """Wait until it gets one: where much else runs, an answer takes longer than it is patient."""
    eventually(lambda: reaches(view, container, host, port), what=f"{host}:{port} answers")


def published(view: SwarmView, user: str, server: str) -> tuple[str, int]:
    """The address of a server's node, and the port there by which the Hub reaches it."""
    task = view.task(user, server)
    (port,) = {one["PublishedPort"] for one in task["Status"]["PortStatus"]["Ports"]}
    return view.swarm.node_of(task).address, port


def firewall_lines(subnet: str) -> list[list[str]]:
    """The lines of docs/swarm.md for nodes in this subnet."""
    found = re.findall(r"^iptables -I .*$", DOC.read_text("utf-8"), re.M)
    return [line.replace("192.0.2.0/24", subnet).split() for line in found]


def networks(container: Any) -> dict[str, str]:
    """Name of a container's overlay network → its address there."""
    found = container["NetworkSettings"]["Networks"]
    return {name: one["IPAddress"] for name, one in found.items() if name != "ingress"}


def test_users_do_not_reach_each_other(hub: Hub, view: SwarmView, user: str) -> None:
    """Servers of one user on different nodes reach each other; those of two do not, on one node
    neither; the Hub reaches all. The network goes with the last server.
    """
    other = f"x{user}"
    for name in (user, other):
        hub.add_user(name)
    mine, second, theirs = spawned(hub, (user, "a", "n2"), (user, "b", "n3"), (other, "a", "n2"))
    ((ours, address),) = networks(second).items()
    assert list(networks(mine)) == [ours]
    assert ours not in networks(theirs)
    reaches_in_time(view, mine, address, 8888)
    service = view.service(user, "b")["Spec"]["Name"]
    assert address in view.run(mine, "nslookup", service)
    inside = view.run(theirs, "sh", "-c", "ip -4 -o a | grep -v ' lo '")
    addresses = re.findall(r"inet ([\d.]+)/", inside)
    assert len(addresses) == 2  # in their network, and where their port is published
    assert [host for host in addresses if reaches(view, mine, host, 8888)] == []
    name = view.service(other, "a")["Spec"]["Name"]
    assert "Address 1" not in view.run(mine, "sh", "-c", f"nslookup {name} 2>&1; true")
    reaches_in_time(view, mine, view.swarm.hub_address, hub.hub_port)
    hub.halt(user, "a")
    assert ours in view.networks()
    hub.halt(user, "b")
    eventually(lambda: ours not in view.networks(), what="the network is removed")


def test_the_documented_firewall_lines(hub: Hub, view: SwarmView, user: str) -> None:
    """Without them a server reaches where others are published, on its own node and on others;
    with them it does not, and the Hub reaches all.
    """
    other = f"x{user}"
    for name in (user, other):
        hub.add_user(name)
    servers = [(other, "a", "n2"), (other, "b", "n3")]
    mine, *_ = spawned(hub, (user, "", "n2"), *servers)
    places = [published(view, name, server) for name, server, _ in servers]
    lines = firewall_lines(view.swarm.subnet)
    assert len(lines) == 2
    for place in places:
        reaches_in_time(view, mine, *place)
    for node in view.swarm.nodes:
        for line in lines:
            node.namespaces.run(*line)
    try:
        assert [place for place in places if reaches(view, mine, *place)] == []
        reaches_in_time(view, mine, view.swarm.hub_address, hub.hub_port)
        for name, server, _ in servers:
            assert hub.request("GET", server_url(name, server)).status == 404  # busybox's own
    finally:
        for node in view.swarm.nodes:
            for line in lines:
                node.namespaces.run(*(word.replace("-I", "-D") for word in line))
