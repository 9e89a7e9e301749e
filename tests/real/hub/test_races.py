"""Several who want different things of one server at the same time: the servers are containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hub.engineproxy import EngineProxy
from support.hub.hubproc import Hub, Hubs
from support.hub.manyservers import HUB_ID, ManyServers
from support.hub.races import *  # noqa: F403  (the tests)
from support.hub.races import never_blocked


@pytest.fixture(scope="module")
def hub(hubs: Hubs, proxy: EngineProxy) -> Iterator[Hub]:
    """A Hub that answers before a start or a stop is done."""
    config = f"""
        c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0, "slow_stop_timeout": 0}}
        c.DockerNamedSpawner.hub_id = {HUB_ID!r}
        c.DockerNamedSpawner.orphan_grace = 0.5
        c.DockerNamedSpawner.orphan_interval = 0.5
    """
    with hubs.running(config, env={"DOCKER_HOST": proxy.url}) as hub:
        yield hub
        hub.stop()
        never_blocked(hub)


@pytest.fixture(autouse=True)
def no_complaints(hub: Hub) -> Iterator[None]:
    """Lost exceptions may come to light in any later test."""
    yield
    never_blocked(hub)


@pytest.fixture
def many(hub: Hub, proxy: EngineProxy, user: str) -> Iterator[ManyServers]:
    """A user's servers, of whom nothing is left afterwards."""
    hub.add_user(user)
    many = ManyServers(hub, user)
    yield many
    proxy.well_again()
    many.remove()
