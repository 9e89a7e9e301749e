"""What a Swarm's name, namespaces and addresses are still found in, and how it is cleared away."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from support.swarm.namespaces import processes, run

#: Folders of all Swarms.
RUN = Path("/run")
CGROUPS = Path("/sys/fs/cgroup")
#: Begins the names of all Swarms.
MARK = "dks"


def remains(name: str, addresses: str, ids: frozenset[str]) -> list[str]:
    """All that is left of a Swarm, as sentences.

    Args:
        name: of the Swarm.
        addresses: how its addresses begin.
        ids: of its namespaces.
    """
    found = [f"process {pid}: {_command(pid)}" for pid in processes(ids)]
    found += [f"link: {line}" for line in _lines("ip", "-o", "link") if name in line]
    found += [f"route: {line}" for line in _lines("ip", "route") if addresses in line]
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    found += [f"mount: {line}" for line in mounts if name in line]
    for table in ("filter", "nat", "raw", "mangle"):
        rules = _lines("iptables", "-w", "-t", table, "-S")
        found += [f"rule: {line}" for line in rules if name in line or addresses in line]
    found += [f"folder: {folder}" for folder in (RUN / name, *_cgroups(name)) if folder.exists()]
    return found


def clear_the_killed() -> None:
    """Remove the folders of Swarms whose process was killed: the kernel removed all else."""
    for folder in RUN.glob(f"{MARK}*"):
        if not Path("/sys/class/net", folder.name).exists():
            remove_folders(folder.name)


def remove_folders(name: str) -> None:
    """Remove the folders of a Swarm that has no processes any more."""
    for root in _cgroups(name):
        for folder, _, _ in os.walk(root, topdown=False):
            with suppress(OSError):
                os.rmdir(folder)
    # Another Swarm may be at it as well, where the process of this one was killed.
    shutil.rmtree(RUN / name, ignore_errors=True)


def _cgroups(name: str) -> list[Path]:
    """A Swarm's cgroups, of version 1 or 2."""
    return [*CGROUPS.glob(f"*/{name}"), *CGROUPS.glob(name)]


def _lines(*command: str) -> list[str]:
    return run(*command).splitlines()


def _command(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return "(ended)"
