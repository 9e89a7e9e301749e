"""Several who want different things of one server at the same time: the servers are containers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hub.engineproxy import EngineProxy
from support.hub.hubproc import Hub, Hubs
from support.hub.manyservers import HUB_ID, ManyServers
from support.hub.races import *  # noqa: F403  (the tests)
from support.hub.races import running


@pytest.fixture(scope="module")
def hub(hubs: Hubs, proxy: EngineProxy) -> Iterator[Hub]:
    """See `running`."""
    with running(hubs, proxy, f"c.DockerNamedSpawner.hub_id = {HUB_ID!r}") as hub:
        yield hub


@pytest.fixture
def servers_of() -> type[ManyServers]:
    """Servers are containers."""
    return ManyServers
