"""TCP ports for servers in the network of the Engine's host, where they all share one address."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Collection

from .. import naming
from ..errors import ConfigError
from ..timeouts import within

#: How many ports are tried, from the setting ``port`` on. They stay below those that Linux gives to
#: outgoing connections, with the default port.
RANGE = 10_000


class HostPorts:
    """Which ports are given to servers that are starting; one for each Engine.

    Args:
        is_free: whether nobody listens at a port of the Engine's host, as far as can be seen.
    """

    def __init__(self, is_free: Callable[[int], Awaitable[bool]]) -> None:
        self._is_free = is_free
        self._given: dict[naming.Key, int] = {}
        #: Where starts failed of late: somebody may be there whom the Hub cannot see.
        self._failed: deque[int] = deque(maxlen=16)

    async def give(
        self, server: naming.Key, first: int, earlier: int, taken: Collection[int]
    ) -> int:
        """A port that is a server's own until `take_back`.

        Args:
            server: whose; what it was given before is free again.
            first: the port to prefer, and the lowest one to try.
            earlier: the one that it had at its last start, which is better still; 0: none.
            taken: ports of servers that run or have been started.

        Raises:
            ConfigError: none of the 10,000 from ``first`` on is free.
        """
        self._given.pop(server, None)
        candidates = range(first, min(first + RANGE, 65536))
        order: list[int] = [*([earlier] if earlier in candidates else []), *candidates]
        # Stable: those where no start failed of late come first, in their order.
        for port in sorted(order, key=self._failed.__contains__):
            if port in taken or port in self._given.values():
                continue
            self._given[server] = port
            if await self._is_free(port):
                return port
            del self._given[server]
        hint = f"none of the ports {first} to {candidates[-1]} of the Engine's host is free"
        raise ConfigError("port", first, hint)

    def take_back(self, server: naming.Key, *, failed: bool) -> None:
        """A server has started, or its start has failed: from now on `give` is told of its port."""
        port = self._given.pop(server, 0)
        if failed and port:
            self._failed.append(port)


async def unused_here(port: int) -> bool:
    """Whether a port of this host can be bound, on all its addresses."""
    both = socket.has_dualstack_ipv6()
    with socket.socket(socket.AF_INET6 if both else socket.AF_INET) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
        if both:
            tried.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        try:
            tried.bind(("", port))
        except OSError:
            return False
    return True


async def refused_by(host: str, port: int, patience: float) -> bool:
    """Whether nobody accepts connections at a port of another host.

    Args:
        host: its name or address.
        port: which.
        patience: seconds after which silence counts as nobody, as that of a firewall.
    """
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        _, writer = await within(patience, asyncio.open_connection(host, port))
        writer.close()
        return False
    return True
