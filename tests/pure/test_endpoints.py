"""Where a server is reached, read from what the Engine says of its container."""

from __future__ import annotations

from typing import Any

import pytest

from dockernamed.desired.network import Access, Endpoint, endpoint_from
from dockernamed.errors import ConfigError, ServerDied


def inspected(**changes: Any) -> dict[str, Any]:
    """A running container as the Engine shows it."""
    return {
        "Id": "abc",
        "Name": "/lab-ann",
        "State": {"Running": True, "ExitCode": 0},
        "HostConfig": {"NetworkMode": "bridge"},
        "NetworkSettings": {
            "IPAddress": "",
            "Networks": {"none": {"IPAddress": ""}, "hub": {"IPAddress": "172.18.0.5"}},
            "Ports": {"8888/tcp": [{"HostIp": "127.0.0.1", "HostPort": "32768"}]},
        },
        "Config": {"Env": ["A=1", "B=2=3", "C"]},
        **changes,
    }


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
    found = endpoint_from(inspected(), 8888, access)
    assert found == Endpoint("abc", "lab-ann", *where)


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
    info = inspected(NetworkSettings={"Ports": {"8888/tcp": bindings}})
    found = endpoint_from(info, 8888, Access("published", "engine.example"))
    assert (found.host, found.port) == where


def test_in_the_hosts_network() -> None:
    """There it has the Engine's own address, whatever was asked for."""
    info = inspected(HostConfig={"NetworkMode": "host"}, NetworkSettings={})
    found = endpoint_from(info, 9999, Access("ip", "engine.example"))
    assert (found.host, found.port) == ("engine.example", 9999)


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"IPAddress": "172.17.0.2", "Networks": None}, "172.17.0.2"),
        ({"Networks": {"v6": {"IPAddress": "", "GlobalIPv6Address": "fd00::2"}}}, "fd00::2"),
    ],
)
def test_other_places_of_an_address(settings: dict[str, Any], host: str) -> None:
    """The default bridge's own field, and networks that have IPv6 alone."""
    assert endpoint_from(inspected(NetworkSettings=settings), 8888, Access("ip")).host == host


@pytest.mark.parametrize(
    ("by", "lack"), [("ip", "no IP address"), ("published", "no published ports")]
)
def test_no_address_at_all(by: str, lack: str) -> None:
    """A server that nobody could reach is an error of the setting, and no guess who answers."""
    networks = {"Networks": {}, "Ports": {}}
    info = inspected(HostConfig={"NetworkMode": "none"}, NetworkSettings=networks)
    with pytest.raises(ConfigError, match=f"network_name = 'none': .* {lack}"):
        endpoint_from(info, 8888, Access(by))


def test_no_address_when_it_has_ended() -> None:
    """What does not run has none: the exit code is told instead."""
    state = {"Running": False, "ExitCode": 137, "OOMKilled": True}
    with pytest.raises(ServerDied) as died:
        endpoint_from(inspected(State=state), 8888, Access("ip"))
    assert (died.value.exit_code, died.value.oom) == (137, True)
