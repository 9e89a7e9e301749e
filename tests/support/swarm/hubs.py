"""Hubs outside of a Swarm, on this machine, whose servers are services there."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.hub.client import server_path
from support.hub.dockerview import Docker
from support.hub.hubproc import Hub
from support.swarm.swarm import Swarm

CONFIG = """\
c.JupyterHub.spawner_class = "dockernamed.DockerNamedSwarmSpawner"
# Where all nodes reach this machine.
c.DockerNamedSpawner.hub_connect_url = "http://{address}:{port}"
"""


class SwarmHub(Hub):
    """A Hub that asks a manager of a Swarm.

    Args:
        swarm: which.
        directory: as for `Hub`.
        prefix: of all names that its servers get.
        config: Python text, run at the end of the config file.
        settings: further arguments of `Hub`.
    """

    def __init__(
        self, swarm: Swarm, directory: Path, prefix: str, config: str = "", **settings: Any
    ) -> None:
        self.swarm = swarm
        env = {"DOCKER_HOST": swarm.manager.url, **settings.pop("env", {})}
        super().__init__(directory, swarm.manager.client, prefix, config, env=env, **settings)

    def configure(self, config: str) -> None:
        """See `Hub.configure`."""
        head = CONFIG.format(address=self.swarm.hub_address, port=self.hub_port)
        super().configure(head + textwrap.dedent(config))

    def spawn(
        self, user: str, server: str = "", options: Any = None, *, token: str | None = None
    ) -> Any:
        """Start a server, wait until it is ready, and return its service (inspected)."""
        answer = self.api("POST", server_path(user, server), options, token=token)
        assert answer.status in (201, 202), answer
        self.ready(user, server)
        return self.service(user, server)

    def service(self, user: str, server: str = "") -> Any:
        """``GET /services/{id}`` of a server; there must be exactly one."""
        label = [f"dockernamed.user={user}", f"dockernamed.server={server}"]
        found = self.swarm.manager.client.services({"label": label})
        ours = [one for one in found if one["Spec"]["Name"].startswith(self.prefix)]
        assert len(ours) == 1, f"{len(ours)} services of {user}/{server}"
        return ours[0]

    def place(self, user: str, server: str = "") -> tuple[Any, Docker, Any]:
        """The node of a server, the Engine there, and the server's container (inspected)."""
        task = self.swarm.running(self.service(user, server)["ID"])
        node = self.swarm.node_of(task)
        container = node.client.inspect_container(task["Status"]["ContainerStatus"]["ContainerID"])
        return node, Docker(node.client, self.prefix), container


@contextmanager
def hub_outside(
    swarm: Swarm, directory: Path, prefix: str, config: str = "", **settings: Any
) -> Iterator[SwarmHub]:
    """A running one; all that it has made is gone after that."""
    hub = SwarmHub(swarm, directory, prefix, config, **settings)
    try:
        hub.start()
        yield hub
        hub.stop()
        complaints = hub.complaints()
        assert not complaints, complaints
    except BaseException:
        print(hub.tail())
        raise
    finally:
        hub.close()
        swarm.restore()
        swarm.remove_all(prefix)
