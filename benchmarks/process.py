"""What a process holds and uses, and whether it grows."""

from __future__ import annotations

import contextlib
import ctypes
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

COUNTS = ("threads", "sockets", "files")


@dataclass(frozen=True)
class Holding:
    """What a process held at one moment.

    Attributes:
        cycles: how many starts and stops it had made.
        rss: KiB of memory.
        threads: of its.
        sockets: its open ones, both ends of socket pairs too.
        files: its other open file descriptors.
    """

    cycles: int
    rss: int
    threads: int
    sockets: int
    files: int


def holding(pid: int, cycles: int) -> Holding:
    """Look at a process now."""
    status = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines()
    )
    targets = []
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            targets.append(os.readlink(fd))
    sockets = sum(target.startswith("socket:") for target in targets)
    return Holding(
        cycles=cycles,
        rss=int(status["VmRSS"].split()[0]),
        threads=int(status["Threads"]),
        sockets=sockets,
        files=len(targets) - sockets,
    )


def cpu_seconds(pid: int) -> float:
    """CPU time that a process has used so far: user and system, of all its threads.

    From its CPU clock, which counts nanoseconds: /proc counts ticks of 10 ms.

    Raises:
        OSError: there is no such process.
    """
    clock = ctypes.c_int()
    error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise OSError(error, os.strerror(error))
    return time.clock_gettime(clock.value)


def slope(holdings: Sequence[Holding]) -> float:
    """KiB of memory that each cycle adds, by the line of least squares through the samples."""
    line = statistics.linear_regression([h.cycles for h in holdings], [h.rss for h in holdings])
    return line.slope


def growth(holdings: Sequence[Holding], what: str) -> float:
    """By how much a count of the last third of the samples is above that of the first third.

    Medians, as one sample may meet a connection that is just being closed.
    """
    third = max(1, len(holdings) // 3)
    first, last = (
        statistics.median(getattr(one, what) for one in part)
        for part in (holdings[:third], holdings[-third:])
    )
    return float(last - first)
