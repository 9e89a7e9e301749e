"""What the Hub sees of the Engine's firewall and of its host."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from dockernamed.lifecycle import surroundings

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
TCP = f"""{HEAD}\
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   1: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0
   2: 00000000:1F92 0100007F:ABCD 01 00000000:00000000 00:00000000 00000000     0
"""
TCP6 = f"""{HEAD}\
   0: 00000000000000000000000000000000:006F 00000000000000000000000000000000:0000 0A 0 0 0
   1: 00000000000000000000000001000000:0277 00000000000000000000000000000000:0000 0A 0 0 0
"""


@pytest.mark.parametrize(
    ("info", "words", "config", "told"),
    [
        ({"ServerVersion": "20.10.24", "BridgeNfIptables": True}, ["dockerd"], "", ""),
        ({}, ["dockerd", "--iptables=false"], "", "--iptables=false"),
        ({}, ["dockerd", "--iptables=0"], "", "--iptables=false"),
        ({}, ["dockerd", "--iptables=true", "--ip6tables=false"], "{}", ""),
        ({}, [], '{"iptables": false}', "--iptables=false"),
        ({}, [], "not json", ""),
        ({}, [], "[1]", ""),
        ({"ServerVersion": "20.10.24", "BridgeNfIptables": False}, [], "", "bridge-nf-call"),
        # Later engines see to it themselves, and say False of it always.
        ({"ServerVersion": "28.0.1", "BridgeNfIptables": False}, [], "", ""),
        ({"ServerVersion": "dev", "BridgeNfIptables": False}, [], "", ""),
    ],
)
def test_without_firewall(info: dict[str, Any], words: list[str], config: str, told: str) -> None:
    """Told where it is known, and never where it is not."""
    found = surroundings.without_firewall(info, words, config)
    assert told in found if told else found == ""


def test_open_ports() -> None:
    """Those of all addresses that something listens at, of both families."""
    assert surroundings.open_ports([TCP, TCP6]) == [22, 111]


def test_a_socket_that_is_no_dockerds(tmp_path: Path) -> None:
    """As systemd's, or none at all: nothing is known of its command line."""
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        words, _ = surroundings.dockerd_of(f"unix://{path}")
    assert words == []
    assert surroundings.dockerd_of(f"unix://{tmp_path}/none")[0] == []


async def test_answers(unused_tcp_port: int) -> None:
    """Whoever takes the connection; nobody does not."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        assert await surroundings.answers(("127.0.0.1", listening.getsockname()[1]), 5)
    assert not await surroundings.answers(("127.0.0.1", unused_tcp_port), 5)
