"""Hubs on this machine whose servers are services of a Swarm."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker

from support.hub.hubconfig import BASE_CONFIG
from support.hub.hubproc import Hub, Hubs
from support.swarm.swarm import Swarm
from support.swarm.view import SwarmView

#: After what all tests share.
SWARM_CONFIG = """
c.JupyterHub.spawner_class = "dockernamed.DockerNamedSwarmSpawner"
c.JupyterHub.hub_connect_ip = "HUB_ADDRESS"
# Secrets and configs are found by it.
c.DockerNamedSpawner.hub_id = {prefix!r}
"""


class SwarmHubs(Hubs):
    """See `Hubs`; what they make is seen by `SwarmView`.

    Args:
        swarm: whose manager they talk to.
        directory: where to put theirs.
        name: begins the prefixes; another one in each run and worker.
    """

    def __init__(self, swarm: Swarm, directory: Path, name: str) -> None:
        super().__init__(swarm.manager.client, directory, name)
        self.swarm = swarm

    def make(
        self,
        config: str = "",
        *,
        prefix: str | None = None,
        client: docker.APIClient | None = None,
        env: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> Hub:
        """A Hub that has not been started; `Hub`'s arguments."""
        prefix = prefix or self.prefix()
        return super().make(
            config,
            prefix=prefix,
            client=client,
            env={"DOCKER_HOST": self.swarm.manager.url, **(env or {})},
            template=BASE_CONFIG + SWARM_CONFIG.replace("HUB_ADDRESS", self.swarm.hub_address),
            view=SwarmView(self.swarm, prefix),
            **settings,
        )
