"""Ports of the Engine's host: one for each server."""

from __future__ import annotations

import asyncio

import pytest

from dockernamed.errors import ConfigError
from dockernamed.lifecycle.hostports import HostPorts
from dockernamed.naming import Key

ANN, BOB, EVE = (Key("hub", name, "") for name in ("ann", "bob", "eve"))


def ports(*used: int) -> HostPorts:
    """On a host where others listen at some ports."""

    async def is_free(port: int) -> bool:
        await asyncio.sleep(0)
        return port not in used

    return HostPorts(is_free)


async def test_the_first_that_is_free() -> None:
    """The setting's own, or the next that neither a program nor a server has."""
    assert await ports().give(ANN, 8888, 0, ()) == 8888
    assert await ports(8888, 8890).give(ANN, 8888, 0, {8889}) == 8891


async def test_starts_at_the_same_time() -> None:
    """No two get the same one, until they have started and are told by ``taken``."""
    given = ports(8889)
    found = await asyncio.gather(*(given.give(key, 8888, 0, ()) for key in (ANN, BOB, EVE)))
    assert sorted(found) == [8888, 8890, 8891]
    given.take_back(ANN, failed=False)
    assert await given.give(Key("hub", "new", ""), 8888, 0, ()) == found[0]


async def test_a_second_try_of_the_same_server() -> None:
    """What was given to a start that never came to its end is free for the next one."""
    given = ports()
    assert await given.give(ANN, 8888, 0, ()) == await given.give(ANN, 8888, 0, ()) == 8888


async def test_the_port_of_the_last_time() -> None:
    """A server keeps its port if it can: a kept container can then be used again."""
    assert await ports().give(ANN, 8888, 8890, ()) == 8890
    assert await ports(8890).give(ANN, 8888, 8890, ()) == 8888
    assert await ports().give(ANN, 9000, 8890, ()) == 9000


async def test_where_a_start_failed() -> None:
    """Somebody may be there whom nobody sees: it is tried last, but it is tried."""
    given = ports()
    assert await given.give(ANN, 8888, 0, ()) == 8888
    given.take_back(ANN, failed=True)
    assert await given.give(ANN, 8888, 8888, ()) == 8889
    given = ports()
    assert await given.give(ANN, 65535, 0, ()) == 65535
    given.take_back(ANN, failed=True)
    assert await given.give(ANN, 65535, 0, ()) == 65535


async def test_none_is_free() -> None:
    """The setting, and which ports were tried; nothing stays given."""
    given = ports(65534, 65535)
    for _ in range(2):
        with pytest.raises(ConfigError, match="65534 to 65535"):
            await given.give(ANN, 65534, 0, ())
