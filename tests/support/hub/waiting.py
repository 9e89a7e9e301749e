"""Waiting for a state by looking at it, always with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


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
