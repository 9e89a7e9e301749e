"""Files that all nodes of a Swarm share, by a volume of Docker's own driver with options."""

from __future__ import annotations

from pathlib import Path

from support.swarm import Swarm
from support.swarm.hubs import hub_outside


def test_files_follow_their_server(swarm: Swarm, prefix: str, tmp_path: Path) -> None:
    """What a server has written is there when it starts on another node, since its own is away.

    The volume is one of the driver ``local`` with options, as for NFS. What it is mounted from is a
    folder of this machine, which all of these nodes have: the kernel here has no NFS to mount.
    """
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o777)
    shared.chmod(0o777)
    driver = {"name": "local", "options": {"type": "none", "o": "bind", "device": str(shared)}}
    mount = {"type": "volume", "source": "{prefix}-{username}", "target": "/work/shared"}
    config = f"""
        c.DockerNamedSpawner.server_volume = ""
        c.DockerNamedSpawner.mounts = [{ {**mount, "driver_config": driver} }]
    """
    with hub_outside(swarm, tmp_path, prefix.strip("-"), config) as hub:
        hub.add_user("ann")
        hub.spawn("ann")
        first, docker, container = hub.place("ann")
        docker.run(container, "sh", "-c", "echo of the first node > /work/shared/file")
        hub.halt("ann")
        swarm.drain(first)
        hub.spawn("ann")
        second, docker, container = hub.place("ann")
        assert second != first
        assert docker.run(container, "cat", "/work/shared/file") == "of the first node\n"
        hub.halt("ann")
        assert (shared / "file").read_text() == "of the first node\n"
