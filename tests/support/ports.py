"""TCP ports of this machine that a test chooses by itself."""

from __future__ import annotations

import os
import random
import socket

#: More than there are processes in one run of the tests.
_WORKERS = 8
_given: set[int] = set()


def free_port() -> int:
    """A TCP port of this machine that nobody listens on, and that was given to nobody before.

    Below the range that the kernel and Docker draw from by themselves, so that nobody takes it
    before it is used, or while a Hub is down. Processes of one run of the tests have different
    ones.
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
