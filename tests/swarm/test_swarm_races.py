"""Several who want different things of one server at the same time: the servers are services."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hub.engineproxy import EngineProxy
from support.hub.hubproc import Hub
from support.hub.races import *  # noqa: F403  (the tests)
from support.hub.races import never_blocked
from support.swarm.hubs import SwarmHubs
from support.swarm.manyservices import ManyServices


@pytest.fixture(scope="module")
def hub(swarm_hubs: SwarmHubs, proxy: EngineProxy) -> Iterator[Hub]:
    """A Hub that answers before a start or a stop is done."""
    config = """
        c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0, "slow_stop_timeout": 0}
        c.DockerNamedSpawner.orphan_grace = 0.5
        c.DockerNamedSpawner.orphan_interval = 0.5
    """
    with swarm_hubs.running(config, env={"DOCKER_HOST": proxy.url}) as hub:
        yield hub
        hub.stop()
        never_blocked(hub)


@pytest.fixture(autouse=True)
def _no_complaints(hub: Hub) -> Iterator[None]:
    """Lost exceptions may come to light in any later test."""
    yield
    never_blocked(hub)


@pytest.fixture
def many(hub: Hub, proxy: EngineProxy, user: str) -> Iterator[ManyServices]:
    """A user's servers, of whom nothing is left afterwards."""
    hub.add_user(user)
    many = ManyServices(hub, user)
    yield many
    proxy.well_again()
    many.remove()
