"""Namespaces of Linux that hold programs together, and end all of them at once."""

from __future__ import annotations

import os
import subprocess
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

#: As in /proc/PID/ns: those that keep no mounts and links alive where somebody holds them.
KINDS = ("uts", "pid", "ipc")
#: Of `unshare` and `nsenter`, for all that there are.
OPTIONS = ("--mount", "--net", "--uts", "--pid", "--ipc")
#: The shell is the first process in there, and collects what becomes an orphan. It ends with the
#: pipe from the process that made it, so also when that is killed; the kernel kills all the others
#: then, and mounts and links go with the last of them.
HOLD = """
hostname "$0"
ip link set lo up
{setup}
echo ready
exec 3<&0
cat <&3 >/dev/null & wait $!
"""


class Namespaces:
    """A machine in all but its kernel and its files: processes, mounts, links and host name.

    Args:
        hostname: in there.
        setup: lines of shell that run in there first.

    Attributes:
        pid: of the first process in there, as seen from outside.
        ids: such as ``uts:[4026532281]``. Nobody else's namespaces have them while this object is
            there: the kernel soon gives those that are free to others.

    Raises:
        AssertionError: they cannot be made, as by anybody but root.
    """

    def __init__(self, hostname: str, setup: str = "") -> None:
        ends = ("--fork", "--kill-child")
        mounts = ("--mount-proc", "--propagation", "slave")
        shell = ("sh", "-ec", HOLD.format(setup=setup), hostname)
        self._holder = subprocess.Popen(
            ["unshare", *OPTIONS, *ends, *mounts, *shell],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            text=True,
        )
        assert self._holder.stdout is not None
        word = self._holder.stdout.readline().strip()
        if word != "ready":
            self.end()
        assert word == "ready", f"no namespaces for {hostname}: unshare or its shell failed"
        self.pid = _child(self._holder.pid)
        links = [Path(f"/proc/{self.pid}/ns/{kind}") for kind in KINDS]
        for link in links:
            weakref.finalize(self, os.close, os.open(link, os.O_RDONLY))
        self.ids = frozenset(os.readlink(link) for link in links)
        assert not self.ids & {os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS}

    def start(
        self, *command: str, env: Mapping[str, str], output: IO[bytes]
    ) -> subprocess.Popen[bytes]:
        """Start a program in there; its own pid is that of the result's only child.

        Args:
            command: with its arguments.
            env: its whole environment.
            output: where both of its streams go.
        """
        return subprocess.Popen(
            [*self._enter(), *command],
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )

    def run(self, *command: str) -> str:
        """Run a command in there; what it printed.

        Raises:
            AssertionError: it ended with another status than 0.
        """
        return run(*self._enter(), *command)

    def processes(self) -> list[int]:
        """The pids of all in there, as seen from outside."""
        return processes(self.ids)

    def end(self) -> None:
        """Kill all in there; return when they are gone."""
        assert self._holder.stdin is not None
        assert self._holder.stdout is not None
        self._holder.stdin.close()
        self._holder.wait(60)
        self._holder.stdout.close()

    def _enter(self) -> list[str]:
        return ["nsenter", "--target", str(self.pid), *OPTIONS, "--"]


def run(*command: str) -> str:
    """Run a command; what it printed.

    Raises:
        AssertionError: it ended with another status than 0; the message has what it wrote.
    """
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done.stdout


def processes(ids: frozenset[str] | Sequence[str]) -> list[int]:
    """The pids of all processes in any of these namespaces."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if any(os.readlink(folder / "ns" / kind) in ids for kind in KINDS):
                found.append(int(folder.name))
    return found


def child_of(process: subprocess.Popen[bytes]) -> int:
    """The pid of a process's only child."""
    return _child(process.pid)


def _child(pid: int) -> int:
    (child,) = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)
