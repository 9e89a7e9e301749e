"""``kill -9`` of the Hub at each call of a start: nothing is doubled, and nothing is left."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import requests
from support.hub.client import server_path
from support.hub.dockerview import BUSYBOX
from support.hub.engineproxy import EngineFault, EngineProxy
from support.hub.hubproc import Hub
from support.hub.killing import DONE, LATE, Moment, started_again
from support.hub.waiting import eventually
from support.swarm import Swarm
from support.swarm.faults import forgotten, view_of
from support.swarm.hubs import SwarmHubs

from dockernamed.desired.isolation import OwnNetwork
from dockernamed.naming import Key

#: Calls of a start, but for the first one of its user: {0} is the service's name, {1} the server's.
CALLS = {
    "volume": ("POST", "/configs/create/{1}"),
    "service": ("POST", "/services/create/{0}"),
    "secret": ("POST", "/secrets/create/{1}"),
    "scale": ("POST", "/services/{0}/update/1"),
    "look": ("GET", "/services/{0}"),
}


class OfStart(Moment):
    """A moment of a server's start."""

    def fault(self, proxy: EngineProxy, service: str) -> EngineFault:
        """What holds the call of a server with this service."""
        method, path = CALLS[self.call]
        return self.hold(proxy, method, path.format(service, self.server))

    def ask(self, user: str, hub: Hub) -> None:
        """Begin a start; who asks may be answered, or learn that the Hub was killed."""
        with suppress(requests.ConnectionError):
            hub.api("POST", server_path(user, self.server))


MOMENTS = [
    OfStart(call, fate)
    for call, (method, _) in CALLS.items()
    # A call that changes nothing may as well not be made.
    for fate in ([DONE, LATE] if method != "GET" else [DONE])
]


@pytest.fixture(scope="module")
def hub(swarm_hubs: SwarmHubs, proxy: EngineProxy) -> Iterator[Hub]:
    """A Hub that reaches its manager through the proxy, and keeps house all the time."""
    config = """
        c.JupyterHub.cleanup_servers = False
        c.JupyterHub.init_spawners_timeout = 1
        c.DockerNamedSpawner.orphan_grace = 0.3
        c.DockerNamedSpawner.orphan_interval = 0.3
    """
    with swarm_hubs.running(config, env={"DOCKER_HOST": proxy.url}) as hub:
        yield hub
        proxy.well_again()


def test_kill_9_at_every_call(hub: Hub, proxy: EngineProxy, swarm: Swarm, user: str) -> None:
    """Whatever becomes of the call: a server that runs is found, and what is half made is removed,
    also when that comes to be later. Each server can start, and deleted it leaves nothing.

    What is a stranger's stays, though its names are like ours.
    """
    view = view_of(hub)
    hub.add_user(user)
    strangers = Strangers(swarm, hub, user)
    faults = {}
    with ThreadPoolExecutor(len(MOMENTS)) as pool:
        for moment in MOMENTS:
            service = f"{hub.prefix}-{user}--{moment.server}"
            faults[moment] = moment.fault(proxy, service)
            pool.submit(moment.ask, user, hub)
        for fault in faults.values():
            fault.wait()
        hub.kill()
    late = [moment for moment in MOMENTS if moment.fate == LATE]
    for moment in MOMENTS:
        if moment not in late:
            faults[moment].release()
    eventually(lambda: proxy.busy == len(late), what="the manager has done what it was asked for")
    hub.start()
    agreed(hub, user)
    # A server that runs when its Hub comes back is found by it, and goes on running.
    assert list(hub.servers(user)) == ["scale-done"]
    proxy.well_again()
    eventually(lambda: not proxy.busy, what="the manager has done the rest")
    agreed(hub, user)
    names = sorted(moment.server for moment in MOMENTS)
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: started_again(user, name, hub), names))
    agreed(hub, user)
    assert sorted(hub.servers(user)) == names
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: hub.halt(user, name, remove=True), names))
    view.emptied(user)
    strangers.are_as_they_were()


def agreed(hub: Hub, user: str) -> None:
    """Wait until each of a user's servers is one service with one container, and nothing else."""
    eventually(
        lambda: forgotten(view_of(hub), hub, user),
        lambda left: not left,
        what="the Hub's servers are what there is",
    )


class Strangers:
    """What somebody else has in the same Swarm, with names that ours have or could have."""

    def __init__(self, swarm: Swarm, hub: Hub, user: str) -> None:
        client = self._client = swarm.manager.client
        prefix = f"{hub.prefix}-{user}"
        body = {
            "Name": f"{prefix}--{MOMENTS[0].server}",
            "TaskTemplate": {"ContainerSpec": {"Image": BUSYBOX, "Command": ["sleep", "600"]}},
            "Mode": {"Replicated": {"Replicas": 0}},
            "EndpointSpec": {"Mode": "dnsrr"},
        }
        answer = client._post_json(client._url("/services/create"), data=body)
        self._service = client._result(answer, True)["ID"]
        self._secret = client.create_secret(f"dockernamed-secret-{prefix}", b"theirs")["ID"]
        self._config = client.create_config(f"dockernamed-volume-{prefix}", b"theirs")["ID"]
        network = OwnNetwork.of(Key(hub.prefix, user, ""), "user", prefix=hub.prefix, overlay=True)
        self._network = client.create_network(network.names[0], "overlay")["Id"]
        self._before = self._seen()

    def _seen(self) -> list[object]:
        client = self._client
        return [
            client.inspect_service(self._service)["Version"],
            client.inspect_secret(self._secret)["Version"],
            client.inspect_config(self._config)["Version"],
            client.inspect_network(self._network)["Created"],
        ]

    def are_as_they_were(self) -> None:
        """All is there, and unchanged; then it goes."""
        assert self._seen() == self._before
        self._client.remove_service(self._service)
        self._client.remove_secret(self._secret)
        self._client.remove_config(self._config)
        self._client.remove_network(self._network)
