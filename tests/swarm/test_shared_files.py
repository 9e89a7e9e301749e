"""Files that all nodes of a Swarm share, by a volume of Docker's own driver with options."""

from __future__ import annotations

from pathlib import Path

from support.swarm import Swarm
from support.swarm.hubs import SwarmHubs
from support.swarm.view import SwarmView


def test_files_follow_their_server(
    swarm: Swarm, swarm_hubs: SwarmHubs, user: str, tmp_path: Path
) -> None:
    """What a server has written is there when it starts on another node, since its own is away.

    The volume is one of the driver ``local`` with options, as for NFS. What it is mounted from is a
    folder of this machine, which all of these nodes have: the kernel here has no NFS to mount.
    """
    shared = tmp_path / "shared"
    shared.mkdir()
    driver = {"name": "local", "options": {"type": "none", "o": "bind", "device": str(shared)}}
    mount = {
        "type": "volume", "source": "{prefix}-{username}", "target": "/work/shared",
        "driver_config": driver,
    }  # fmt: skip
    config = f"""
        c.DockerNamedSpawner.server_volume = ""
        c.DockerNamedSpawner.mounts = [{mount}]
    """
    with swarm_hubs.running(config) as hub:
        view = hub.docker
        assert isinstance(view, SwarmView)
        hub.add_user(user)
        first = view.node_with(hub.spawn(user))
        view.run(view.one(user), "sh", "-c", "echo of the first node > /work/shared/file")
        hub.halt(user)
        swarm.drain(first)
        container = hub.spawn(user)
        assert view.node_with(container) != first
        assert view.read(container, "/work/shared/file") == "of the first node\n"
        hub.halt(user)
        swarm.activate(first)
    assert (shared / "file").read_text() == "of the first node\n"
