"""Whom a test connects to: nobody beyond loopback, where each network has another answer, or none.

The error that it raises may be caught on its way, so it is told at the end as well.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any


@contextmanager
def only() -> Iterator[None]:
    """Fail where this process connects to an address beyond loopback meanwhile."""
    found: list[Any] = []
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and not ip_address(address[0]).is_loopback:
            found.append(address)
            raise ConnectionRefusedError(f"{address} is not on loopback")
        connect(self, address)

    setattr(socket.socket, "connect", connect_here)  # noqa: B010  (mypy forbids the assignment)
    try:
        yield
    finally:
        setattr(socket.socket, "connect", connect)  # noqa: B010
    assert not found, f"connected beyond loopback: {found}"
