"""A Hub outside of a Swarm whose servers are its services."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hub.client import server_url
from support.hub.hubproc import Hub
from support.hub.waiting import eventually
from support.swarm.hubs import SwarmHubs
from support.swarm.view import SwarmView


@pytest.fixture(scope="module")
def hub(swarm_hubs: SwarmHubs) -> Iterator[Hub]:
    """The Hub."""
    with swarm_hubs.running() as hub:
        yield hub


def test_a_server(hub: Hub, user: str) -> None:
    """A server is a service with one container, is reached by the proxy, and leaves nothing."""
    view = hub.docker
    assert isinstance(view, SwarmView)
    hub.add_user(user)
    container = hub.spawn(user, "exp")
    assert view.running(user) == ["exp"]
    assert view.node_with(container) == view.node(user, "exp")
    eventually(
        lambda: hub.request("GET", server_url(user, "exp") + "x").status,
        lambda status: status == 404,
        what="busybox answers",
    )
    hub.halt(user, "exp", remove=True)
    view.gone(user, "exp")
    view.nothing_of(user)
