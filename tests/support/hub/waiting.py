"""Waiting for a state by looking at it, always with a deadline."""

from __future__ import annotations

import os
import random
import socket
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

#: More than there are processes in one run of the tests.
_WORKERS = 8
_given: set[int] = set()


def eventually(
    look: Callable[[], T],
    until: Callable[[T], object] = bool,
    *,
    what: str,
    timeout: float = 60.0,
    every: float = 0.05,
) -> T:
    """Look until what is seen is what was waited for, and return it.

    Args:
        look: returns what is seen now.
        until: says whether that is it; by default, whether it is true.
        what: what is waited for, in words, for the message.
        timeout: seconds until it is given up.
        every: seconds between two looks.

    Raises:
        AssertionError: not seen in time; the message has what was seen last.
    """
    deadline = time.monotonic() + timeout
    while True:
        seen = look()
        if until(seen):
            return seen
        assert time.monotonic() < deadline, f"{what}: not within {timeout} s; last seen: {seen!r}"
        time.sleep(every)


def free_port() -> int:
    """A TCP port of this machine that nobody listens on, and that was given to nobody before.

    Below the range that the kernel and Docker draw from by themselves, so that nobody takes it
    while a Hub is down for a moment. Processes of one run of the tests have different ones.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _WORKERS
    for _ in range(200):
        port = random.randrange(20000 + worker, 32000, _WORKERS)
        if port in _given:
            continue
        _given.add(port)
        with socket.socket() as sock:
            try:
                sock.bind(("0.0.0.0", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free TCP port between 20000 and 32000")
