"""Where servers find the Hub when the admin has not said so."""

from __future__ import annotations

from typing import Any

import pytest

from dockernamed.desired import network
from dockernamed.errors import ConfigError

ID = "ab" * 32
DOCKER = f"""\
1 0 8:1 / / rw - overlay overlay rw
612 594 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda1 rw
"""
PODMAN = (
    f"99 1 0:2 /containers/overlay-containers/{ID}/userdata/hosts /etc/hosts rw - tmpfs tmpfs rw\n"
)
HOST_OF_CONTAINERS = f"70 28 0:3 / /var/lib/docker/containers/{ID}/mounts/shm rw - tmpfs shm rw\n"
HUB = {
    "Name": "/hub",
    "NetworkSettings": {"Networks": {"bridge": {"IPAddress": "172.17.0.9"}, "lab": {}, "abc": {}}},
}


@pytest.mark.parametrize("text", [DOCKER, PODMAN])
def test_own_container_id(text: str) -> None:
    """Docker and Podman mount /etc files from a directory named by the container."""
    assert network.own_container_id(text) == ID


@pytest.mark.parametrize("text", ["", "nonsense", HOST_OF_CONTAINERS])
def test_a_host_is_no_container(text: str) -> None:
    """A host that runs containers sees their mounts and is still no container."""
    assert network.own_container_id(text) is None


@pytest.mark.parametrize("ip", ["127.0.0.1", "127.9.9.9", "localhost", "::1", "[::1]", "LocalHost"])
def test_a_hub_on_loopback_is_refused_with_the_line_to_set(ip: str) -> None:
    """No container could reach it, and the admin is told which line helps."""
    with pytest.raises(ConfigError, match=r'c\.JupyterHub\.hub_ip = "0\.0\.0\.0"'):
        network.check_reachable(ip)


@pytest.mark.parametrize("ip", ["", "0.0.0.0", "::", "10.0.0.1", "hub.example"])
def test_any_other_address_is_taken(ip: str) -> None:
    """All interfaces, an address or a name may be reachable."""
    network.check_reachable(ip)


def test_a_hub_on_the_host_is_at_the_networks_gateway() -> None:
    """IPv4 first, without a prefix length; the first address where the Engine names none."""
    v6 = {"Subnet": "fd00::/64", "Gateway": "fd00::1"}
    v4 = {"Subnet": "172.18.0.0/16", "Gateway": "172.18.0.1/16"}
    info: dict[str, Any] = {"IPAM": {"Config": [v6, v4]}}
    assert network.hub_host("lab", info, None) == "172.18.0.1"
    info = {"IPAM": {"Config": [{"Subnet": "172.19.0.0/16"}]}}
    assert network.hub_host("lab", info, None) == "172.19.0.1"


def test_a_network_without_a_gateway_is_refused() -> None:
    """A macvlan or null network has none: the admin must say where the Hub is."""
    with pytest.raises(ConfigError, match=r"c\.DockerNamedSpawner\.hub_connect_url = "):
        network.hub_host("lab", {"IPAM": {"Config": None}}, None)


def test_a_hub_in_a_container_is_found_by_its_name() -> None:
    """Docker's DNS knows container names on user-defined networks, and only there."""
    assert network.hub_host("lab", {}, HUB) == "hub"
    assert network.hub_host("bridge", {}, HUB) == "172.17.0.9"


def test_a_hub_that_is_not_on_the_network_is_refused() -> None:
    """The message lists the networks that would do, and what helps where none does."""
    with pytest.raises(ConfigError, match=r"\['abc', 'bridge', 'lab'\]") as caught:
        network.hub_host("other", {}, HUB)
    # Not JupyterHub's hub_connect_ip: the proxy, which is not on that network, would use it too.
    assert "c.DockerNamedSpawner.hub_connect_url = " in str(caught.value)


def test_the_host_network_has_the_hub_on_loopback() -> None:
    """A server in the host's network reaches the Hub like any process there."""
    assert network.hub_host("host", {}, None) == "127.0.0.1"


def test_servers_join_the_hubs_user_defined_network() -> None:
    """The default network is the Hub container's own, never the nameless bridge."""
    assert network.own_network(HUB) == "abc"
    assert network.own_network(None) is None
    only: dict[str, Any] = {"NetworkSettings": {"Networks": {"bridge": {}}}}
    assert network.own_network(only) is None
