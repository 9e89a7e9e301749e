"""``kill -9`` of the Hub at every call to its Engine: a server runs and is known, or can start."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass

import pytest
import requests
from support.hub.client import server_path
from support.hub.dockerview import BUSYBOX
from support.hub.engineproxy import EngineFault, EngineProxy
from support.hub.hubproc import Hub, Hubs
from support.hub.killing import DONE, LATE, MEANWHILE, Moment, started_again
from support.hub.manyservers import HUB_ID, ManyServers
from support.hub.waiting import eventually

CREATE, CONTAINER = "/containers/create/{0}", "/containers/{0}"
VOLUME = "{0}." + HUB_ID
#: Operation → the calls that it makes: {0} is the name of the server's container.
CALLS = {
    "start": {
        "image": ("GET", "/images/.*-other:latest/json"),
        "volume": ("POST", f"/volumes/create/{VOLUME}"),
        "create": ("POST", CREATE),
        "start": ("POST", f"{CONTAINER}/start"),
        "inspect": ("GET", f"{CONTAINER}/json"),
    },
    "stop": {"stop": ("POST", f"{CONTAINER}/stop"), "remove": ("DELETE", CONTAINER)},
    "delete": {"files": ("DELETE", f"/volumes/{VOLUME}"), "list": ("GET", "/volumes")},
}


@dataclass(frozen=True)
class OfOperation(Moment):
    """A moment of one operation.

    Attributes:
        operation: what the Hub was doing with a server.
    """

    operation: str

    def fault(self, proxy: EngineProxy, container: str) -> EngineFault:
        """What holds the call of a server with this container."""
        method, path = CALLS[self.operation][self.call]
        return self.hold(proxy, method, path.format(container))

    def ask(self, user: str, hub: Hub) -> None:
        """Begin it; who asks may be answered, or learn that the Hub was killed."""
        path = server_path(user, self.server)
        with suppress(requests.ConnectionError):
            if self.operation == "start":
                hub.api("POST", path, {"image": "other" if self.call == "image" else "web"})
            else:
                hub.api("DELETE", path, {"remove": True} if self.operation == "delete" else None)


MOMENTS = [
    OfOperation(call, fate, operation)
    for operation, calls in CALLS.items()
    for call, (method, _) in calls.items()
    # A call that changes nothing may as well not be made.
    for fate in ([DONE, MEANWHILE, LATE] if method != "GET" else [DONE])
]


@pytest.fixture(scope="module")
def hub(hubs: Hubs, proxy: EngineProxy) -> Iterator[Hub]:
    """A Hub that reaches its Engine through the proxy, and keeps house all the time."""
    prefix = hubs.prefix()
    config = f"""
        c.JupyterHub.cleanup_servers = False
        c.JupyterHub.init_spawners_timeout = 1
        c.DockerNamedSpawner.allowed_images = {{
            "web": {BUSYBOX!r}, "other": "{prefix}-other:latest"
        }}
        c.DockerNamedSpawner.image = "web"
        c.DockerNamedSpawner.hub_id = {HUB_ID!r}
        c.DockerNamedSpawner.orphan_grace = 0.3
        c.DockerNamedSpawner.orphan_interval = 0.3
    """
    with hubs.running(config, prefix=prefix, env={"DOCKER_HOST": proxy.url}) as hub:
        hub.docker.flavour("other", "ENV OTHER=yes")
        yield hub
        proxy.well_again()


def test_kill_9_at_every_call(hub: Hub, proxy: EngineProxy, user: str) -> None:
    """Whatever becomes of the call: no server is lost or doubled, no file lost, no orphan left."""
    hub.add_user(user)
    many = ManyServers(hub, user)
    servers = {one.server: one.operation for one in MOMENTS}
    lasting = {server for server, operation in servers.items() if operation != "delete"}
    for server in lasting:
        many.make_files(server)
    many.each({one.server for one in MOMENTS if one.operation != "start"}, hub.spawn)
    files = many.files()
    faults: dict[OfOperation, EngineFault] = {}
    with ThreadPoolExecutor(len(MOMENTS)) as pool:
        for moment in MOMENTS:
            if moment.call == "list":
                # Who deletes files has listed volumes before, and must be past that.
                for fault in faults.values():
                    fault.wait()
            faults[moment] = moment.fault(proxy, many.container(moment.server))
            pool.submit(moment.ask, user, hub)
        for fault in faults.values():
            fault.wait()
        hub.kill()
    late = [moment for moment in MOMENTS if moment.fate == LATE]
    for moment in MOMENTS:
        if moment not in late:
            faults[moment].release()
    eventually(lambda: proxy.busy == len(late), what="the Engine has done what it was asked for")
    hub.start()
    # A server that runs when its Hub comes back is found by it, and goes on running.
    assert {"start-done", "start-meanwhile", "inspect-done"} <= set(many.agreed())
    proxy.well_again()
    eventually(lambda: not proxy.busy, what="the Engine has done the rest")
    many.agreed()
    kept = {server: files[server] for server in lasting}
    assert {server: many.files()[server] for server in lasting} == kept
    many.each(servers, started_again, hub, {"image": "web"})
    assert many.agreed() == sorted(servers)
    assert {server: many.files()[server] for server in lasting} == kept
    many.remove()


def test_the_engine_is_away_when_the_hub_starts(hub: Hub, proxy: EngineProxy, user: str) -> None:
    """No server is called dead for that: all are found when it is back, and none was touched."""
    hub.add_user(user)
    many = ManyServers(hub, user)
    servers = ["a", "b", "c", "d"]
    many.each(servers, hub.spawn)
    before = {hub.docker.one(user, server)["Id"] for server in servers}
    hub.kill()
    gone = proxy.fault("down", "GET", ".*", times=1000)
    hub.start()
    gone.wait()
    proxy.well_again()
    assert many.agreed() == servers
    assert {hub.docker.one(user, server)["Id"] for server in servers} == before
    many.remove()
