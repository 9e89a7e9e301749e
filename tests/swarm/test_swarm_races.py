"""Several who want different things of one server at the same time: the servers are services."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hub.engineproxy import EngineProxy
from support.hub.hubproc import Hub
from support.hub.manyservers import ManyServers
from support.hub.races import *  # noqa: F403  (the tests)
from support.hub.races import running
from support.swarm.hubs import SwarmHubs
from support.swarm.manyservices import ManyServices


@pytest.fixture(scope="module")
def hub(swarm_hubs: SwarmHubs, proxy: EngineProxy) -> Iterator[Hub]:
    """See `running`."""
    with running(swarm_hubs, proxy) as hub:
        yield hub


@pytest.fixture
def servers_of() -> type[ManyServers]:
    """Servers are services."""
    return ManyServices
