"""What containers may reach besides each other, and whether the Engine keeps them apart at all.

Seen from the Hub, as far as that costs nothing: a firewall that the admin has set up is not seen.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..timeouts import within

#: Where clouds answer the machines of a customer, with credentials among other things.
METADATA = ("169.254.169.254", 80)
DAEMON_JSON = Path("/etc/docker/daemon.json")
LISTENING = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
#: From this version on the Engine sees to the kernel's bridge filter, and no longer tells of it.
_SEES_TO_IT = 28
_OFF = re.compile(r"--iptables=(false|f|0)", re.I)
_LISTENS = "0A"


def without_firewall(info: Mapping[str, Any], dockerd: Iterable[str], config: str) -> str:
    """Why the Engine cannot keep containers of one network apart; "" if it is not known to.

    Args:
        info: ``GET /info``.
        dockerd: its command line, as far as it can be seen.
        config: the text of its configuration file, likewise.
    """
    try:
        written = json.loads(config or "{}")
    except ValueError:
        written = {}
    off = isinstance(written, dict) and written.get("iptables") is False
    if off or any(_OFF.fullmatch(word) for word in dockerd):
        return "it runs with --iptables=false, and so makes no firewall rules"
    major = str(info.get("ServerVersion", "")).partition(".")[0]
    if info.get("BridgeNfIptables") is False and major.isdigit() and int(major) < _SEES_TO_IT:
        return "the kernel's net.bridge.bridge-nf-call-iptables is off"
    return ""


def dockerd_of(url: str) -> tuple[list[str], str]:
    """The command line and the configuration of the dockerd at a Unix socket; empty where unknown.

    Args:
        url: ``unix://…``; the kernel says which process listens there.
    """
    words: list[str] = []
    with suppress(OSError), socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(1)
        asking.connect(url.removeprefix("unix://"))
        peer = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        command = Path(f"/proc/{struct.unpack('3i', peer)[0]}/cmdline").read_bytes()
        words = [word.decode(errors="replace") for word in command.split(b"\0") if word]
    if words and Path(words[0]).name != "dockerd":
        words = []  # systemd holds the socket for it
    files = [word.partition("=")[2] for word in words if word.startswith("--config-file=")]
    files += [after for word, after in pairwise(words) if word == "--config-file"]
    with suppress(OSError):
        return words, Path(files[0] if files else DAEMON_JSON).read_text(errors="replace")
    return words, ""


def open_ports(tables: Iterable[str]) -> list[int]:
    """TCP ports at which something listens on all addresses.

    Args:
        tables: the texts of ``/proc/net/tcp`` and ``/proc/net/tcp6``.
    """
    found = set()
    for line in (line for table in tables for line in table.splitlines()[1:]):
        fields = line.split()
        if len(fields) > 3 and fields[3] == _LISTENS:
            address, _, port = fields[1].partition(":")
            if not address.strip("0"):
                found.add(int(port, 16))
    return sorted(found)


def ports_here() -> list[int]:
    """TCP ports of this machine at which something listens on all addresses."""
    texts = []
    for path in LISTENING:
        with suppress(OSError):
            texts.append(path.read_text())
    return open_ports(texts)


async def answers(address: tuple[str, int], patience: float) -> bool:
    """Whether somebody takes a TCP connection at an address within so many seconds."""
    try:
        _, writer = await within(patience, asyncio.open_connection(*address))
    except (OSError, asyncio.TimeoutError):
        return False
    writer.close()
    return True
