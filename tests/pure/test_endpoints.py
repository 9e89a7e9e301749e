"""Where a server is reached, read from what the Engine says of its container."""

from __future__ import annotations

from typing import Any

import pytest

from dockernamed.backends.containers import seen_from
from dockernamed.desired.network import Access, Location, reached_at
from dockernamed.errors import ConfigError


def reached(port: int, access: Access, **changes: Any) -> tuple[str, int]:
    """Where a server is whose container the Engine shows like this."""
    info = {
        "Id": "abc",
        "Name": "/lab-ann",
        "State": {"Status": "running", "Running": True, "ExitCode": 0},
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {
            "IPAddress": "",
            "Networks": {"none": {"IPAddress": ""}, "hub": {"IPAddress": "172.18.0.5"}},
            "Ports": {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]},
        },
        "Config": {"Env": ["A=1", "B=2=3", "C"]},
        **changes,
    }
    seen = seen_from(info)
    assert seen.place is not None
    return reached_at(seen.place, seen.name, port, access)


@pytest.mark.parametrize(
    ("access", "where"),
    [
        (Access("published"), ("127.0.0.1", 32768)),
        (Access("ip"), ("172.18.0.5", 8888)),
        (Access("name"), ("lab-ann", 8888)),
    ],
)
def test_where_a_server_is(access: Access, where: tuple[str, int]) -> None:
    """By its published port, its address in the network, or its container's name."""
    assert reached(8888, access) == where


@pytest.mark.parametrize(
    ("bindings", "where"),
    [
        ([{"HostIp": "0.0.0.0", "HostPort": "7"}], ("engine.example", 7)),
        ([{"HostIp": "::", "HostPort": "7"}], ("engine.example", 7)),
        ([{"HostIp": "", "HostPort": "7"}], ("engine.example", 7)),
        ([{"HostIp": "10.0.0.5", "HostPort": "7"}], ("10.0.0.5", 7)),
    ],
)
def test_published_at_which_address(bindings: list[Any], where: tuple[str, int]) -> None:
    """A port published at every address is reached at the Engine's host."""
    settings = {"Ports": {"8888/udp": [{"HostPort": "9"}], "8888/tcp": bindings, "1/tcp": None}}
    access = Access("published", "engine.example")
    assert reached(8888, access, NetworkSettings=settings) == where


def test_in_the_hosts_network() -> None:
    """There it has the Engine's own address, whatever was asked for."""
    changes: dict[str, Any] = {"HostConfig": {"NetworkMode": "host"}, "NetworkSettings": {}}
    assert reached(9999, Access("ip", "engine.example"), **changes) == ("engine.example", 9999)


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"IPAddress": "172.17.0.2", "Networks": None}, "172.17.0.2"),
        ({"Networks": {"v6": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"}}}, "fd00::2"),
    ],
)
def test_other_places_of_an_address(settings: dict[str, Any], host: str) -> None:
    """The default bridge's own field, and networks that have IPv6 alone."""
    assert reached(8888, Access("ip"), NetworkSettings=settings) == (host, 8888)


@pytest.mark.parametrize(
    ("by", "lack"), [("ip", "no IP address"), ("published", "no published ports")]
)
def test_no_address_at_all(by: str, lack: str) -> None:
    """A server that nobody could reach is an error of the setting, and no guess who answers."""
    settings: dict[str, Any] = {"Networks": {}, "Ports": {}}
    with pytest.raises(ConfigError, match=f"network_name = 'none': .* {lack}"):
        reached(8888, Access(by), HostConfig={"NetworkMode": "none"}, NetworkSettings=settings)


def test_a_host_that_is_not_the_engines() -> None:
    """On another node of a Swarm, ports and the host's network are reached at that node."""
    engine = Access("published", "192.0.2.1")
    ports = {8888: ("", 32768), 8889: ("198.51.100.7", 5)}
    place = Location("bridge", ports=ports, host="198.51.100.1")
    assert reached_at(place, "n", 8888, engine) == ("198.51.100.1", 32768)
    assert reached_at(place, "n", 8889, engine) == ("198.51.100.7", 5)
    there = Location("host", host="198.51.100.1")
    assert reached_at(there, "n", 8888, engine) == ("198.51.100.1", 8888)
    assert reached_at(Location("host"), "n", 8888, engine) == ("192.0.2.1", 8888)
