"""Who reaches whom over the network, tried from inside of servers' containers."""

from __future__ import annotations

import re
import socket
import subprocess
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.hub.hubproc import Hub, Hubs
from support.hub.waiting import eventually

from dockernamed import naming

SECURITY = Path(__file__).parents[3] / "docs" / "security.md"
GET = r"printf 'GET / HTTP/1.0\r\n\r\n' | nc -w 2 {host} {port}; true"
#: A port of a container besides its server's.
OTHER_PORT = 9000


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub with the default settings; some users have a network of their own."""
    by_user: dict[str, dict[str, Any]] = {
        "own": {"network_isolation": "user"},
        "alone": {"network_isolation": "server"},
        "inner": {"network_isolation": "user", "internal_network": True},
    }
    prefix = hubs.prefix()
    by_user["joined"] = {"networks": [f"{prefix}-a", f"{prefix}-z"]}
    with hubs.running(prefix=prefix, by_user=by_user) as hub:
        for name in ("a", "z"):
            hub.docker.network(name)
        yield hub


def spawned(hub: Hub, *servers: tuple[str, str]) -> list[Any]:
    """Servers started at once, each with a second port that something listens at."""
    for user in {user for user, _ in servers}:
        if hub.api("GET", f"/users/{user}").status != 200:
            hub.add_user(user)
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda one: hub.spawn(*one), servers))
    for container in found:
        hub.docker.run(container, "httpd", "-p", str(OTHER_PORT), "-h", "/www")
    return found


def reaches(hub: Hub, container: Any, host: str, port: int | str = 8888) -> bool:
    """Whether a program in a container gets an HTTP answer from an address and port."""
    said = hub.docker.run(container, "sh", "-c", GET.format(host=host, port=port))
    return "HTTP/1." in said


def open_ways(
    hub: Hub, container: Any, ways: Iterable[tuple[str, int | str]]
) -> list[tuple[str, int | str]]:
    """The ways that a program in a container gets an answer by.

    Each is tried once more where it was open: at each making of a network Docker takes its own
    rules away and puts them back, a moment in which everybody reaches everybody.
    """
    return [way for way in ways if reaches(hub, container, *way) and reaches(hub, container, *way)]


def reaches_in_time(hub: Hub, container: Any, host: str, port: int | str = 8888) -> None:
    """Wait until it gets one: where much else runs, an answer takes longer than it is patient."""
    eventually(lambda: reaches(hub, container, host, port), what=f"{host}:{port} answers")


def network(container: Any) -> tuple[str, dict[str, Any]]:
    """The name of a container's first network, and what it has there."""
    name = container["HostConfig"]["NetworkMode"]
    return name, container["NetworkSettings"]["Networks"][name]


def ways_to(container: Any) -> list[tuple[str, int]]:
    """Host and port of all ways into a container from within its network: address and name."""
    address, name = network(container)[1]["IPAddress"], container["Name"].lstrip("/")
    return [(host, port) for host in (address, name) for port in (8888, OTHER_PORT)]


def own_networks(hub: Hub, user: str) -> list[str]:
    """The networks that were made for a user."""
    return [
        one["Name"]
        for one in hub.docker.client.networks(filters={"label": naming.LABEL_NETWORK})
        if one["Labels"].get(naming.LABEL_USER) == user and one["Name"].startswith(hub.prefix)
    ]


def test_users_do_not_reach_each_other(hub: Hub, user: str) -> None:
    """By default: no port of another server, by address, by name, or where it is published; but
    the Hub is reached, and reaches all.
    """
    theirs, mine, second = spawned(hub, (f"x{user}", ""), (user, ""), (user, "b"))
    gateway = network(mine)[1]["Gateway"]
    assert network(mine)[0] == network(theirs)[0]
    published = int(theirs["NetworkSettings"]["Ports"]["8888/tcp"][0]["HostPort"])
    attempts = [*ways_to(theirs), (gateway, published), ("127.0.0.1", published)]
    assert open_ways(hub, mine, attempts) == []
    # Nor does a user's other server: whoever takes over one has not got them all.
    assert open_ways(hub, mine, ways_to(second)) == []
    reaches_in_time(hub, mine, gateway, hub.hub_port)
    reaches_in_time(hub, mine, "127.0.0.1")


def test_what_holds_the_machine_is_out_of_reach(hub: Hub, user: str) -> None:
    """Neither the proxy's API nor the Engine answers a server, at its usual ports or by socket."""
    (mine,) = spawned(hub, (user, ""))
    gateway = network(mine)[1]["Gateway"]
    config = (hub.directory / "jupyterhub_config.py").read_text()
    (api_port,) = re.findall(r"api_url = \"http://127.0.0.1:(\d+)\"", config)
    with socket.create_connection(("127.0.0.1", int(api_port)), timeout=30):
        pass
    for port in (api_port, 2375, 2376, hub.port):
        assert not reaches(hub, mine, gateway, port), port
    found = hub.docker.run(mine, "sh", "-c", "find / -xdev -type s 2>/dev/null; ls /var/run; true")
    assert "docker" not in found


def test_a_users_servers_share_a_network(hub: Hub, user: str) -> None:
    """Two that start at once reach each other by name; nobody else's do; the network goes with the
    last one.
    """
    user, other = f"own-{user}", f"own-x{user}"
    one, two, theirs = spawned(hub, (user, "a"), (user, "b"), (other, "a"))
    assert network(one)[0] == network(two)[0] != network(theirs)[0]
    for way in ways_to(two):
        reaches_in_time(hub, one, *way)
    assert open_ways(hub, one, ways_to(theirs)) == []
    reaches_in_time(hub, one, network(one)[1]["Gateway"], hub.hub_port)
    (name,) = own_networks(hub, user)
    info = hub.docker.client.inspect_network(name)
    assert info["Options"]["com.docker.network.bridge.name"] == naming.bridge_name(name)
    hub.halt(user, "a")
    assert own_networks(hub, user) == [name]
    hub.halt(user, "b")
    eventually(lambda: own_networks(hub, user) == [], what="the network is removed")
    assert own_networks(hub, other) == [network(theirs)[0]]


def test_each_server_by_itself(hub: Hub, user: str) -> None:
    """With a network each, not even one user's servers reach each other."""
    user = f"alone-{user}"
    one, two = spawned(hub, (user, ""), (user, "b"))
    assert network(one)[0] != network(two)[0]
    assert open_ways(hub, one, ways_to(two)) == []
    hub.halt(user)
    hub.halt(user, "b")
    eventually(lambda: own_networks(hub, user) == [], what="the networks are removed")


def test_a_network_without_a_way_out(hub: Hub, user: str) -> None:
    """Its servers are used, and reach the Hub; there is no port published and no way elsewhere."""
    (mine,) = spawned(hub, (f"inner-{user}", ""))
    name, place = network(mine)
    info = hub.docker.client.inspect_network(name)
    assert info["Internal"]
    assert not any((mine["NetworkSettings"]["Ports"] or {}).values())
    gateway = place["Gateway"] or info["IPAM"]["Config"][0]["Gateway"]
    reaches_in_time(hub, mine, gateway, hub.hub_port)
    assert f"//{gateway}:{hub.hub_port}/" in hub.docker.environment(mine)["JUPYTERHUB_API_URL"]


def test_further_networks(hub: Hub, user: str) -> None:
    """Two servers reach each other where both are, whichever of the networks Docker prefers; the
    Hub reaches both.
    """
    one, two = spawned(hub, (f"joined-{user}", ""), (f"joined-x{user}", ""))
    for name in (f"{hub.prefix}-a", f"{hub.prefix}-z"):
        address = two["NetworkSettings"]["Networks"][name]["IPAddress"]
        reaches_in_time(hub, one, address, OTHER_PORT)
    assert not reaches(hub, one, network(two)[1]["IPAddress"], OTHER_PORT)


def firewall_lines(bridge: str, hub_port: int) -> list[list[str]]:
    """The lines of docs/security.md for one network, and a Hub that listens at another port."""
    found = re.findall(r"^iptables -[IA] .*$", SECURITY.read_text(), re.M)
    lines = [line.replace("dn-+", bridge).replace("8081", str(hub_port)) for line in found]
    return [line.split() for line in lines]


def test_the_documented_firewall_lines(hub: Hub, user: str) -> None:
    """Without them a server reaches what listens on all addresses of the host; with them only the
    Hub.
    """
    (mine,) = spawned(hub, (user, ""))
    name, place = network(mine)
    lines = firewall_lines(naming.bridge_name(name), hub.hub_port)
    assert {line[2] for line in lines} == {"INPUT", "DOCKER-USER"}
    done: list[list[str]] = []
    with Listener() as listener:
        reaches_in_time(hub, mine, place["Gateway"], listener.port)
        try:
            for line in lines:
                subprocess.run(line, check=True)
                done.append(line)
            assert not reaches(hub, mine, place["Gateway"], listener.port)
            reaches_in_time(hub, mine, place["Gateway"], hub.hub_port)
        finally:
            for line in done:
                undo = [line[0], "-D", line[2], *line[4 if line[3].isdigit() else 3 :]]
                subprocess.run(undo, check=True)
    assert not hub.api("GET", f"/users/{user}").json()["servers"][""]["pending"]


class Listener:
    """A program of the host that answers at a port of all addresses."""

    def __enter__(self) -> Listener:
        self._process = subprocess.Popen(
            ["python3", "-u", "-m", "http.server", "0", "--bind", "0.0.0.0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd="/var/empty" if Path("/var/empty").is_dir() else "/proc/self/fdinfo",
        )
        assert self._process.stdout is not None
        self.port = int(re.findall(r"port (\d+)", self._process.stdout.readline())[0])
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        self._process.wait(60)
        assert self._process.stdout is not None
        self._process.stdout.close()
