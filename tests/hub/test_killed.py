"""``kill -9`` of the Hub at every call to its Engine: a server runs and is known, or can start."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import requests

from .client import server_path
from .dockerview import BUSYBOX
from .engineproxy import EngineProxy
from .hubproc import Hub, Hubs
from .manyservers import HUB_ID, ManyServers
from .waiting import eventually

#: The Hub is killed when a call has not been made yet, or when it was made but not answered.
BEFORE, AFTER = "stall", "stall after"
CREATE, CONTAINER = "/containers/create/{0}", "/containers/{0}"
VOLUME = "{0}." + HUB_ID
#: Server → the call in the middle of which its Hub is killed: {0} is its container's name.
STARTS = {
    "image": (BEFORE, "GET", "/images/.*-other:latest/json"),
    "volume": (BEFORE, "POST", f"/volumes/create/{VOLUME}"),
    "volume-made": (AFTER, "POST", f"/volumes/create/{VOLUME}"),
    "create": (BEFORE, "POST", CREATE),
    "created": (AFTER, "POST", CREATE),
    "start": (BEFORE, "POST", f"{CONTAINER}/start"),
    "started": (AFTER, "POST", f"{CONTAINER}/start"),
    "inspect": (BEFORE, "GET", f"{CONTAINER}/json"),
}
STOPS = {
    "stop": (BEFORE, "POST", f"{CONTAINER}/stop"),
    "stopped": (AFTER, "POST", f"{CONTAINER}/stop"),
    "remove": (BEFORE, "DELETE", CONTAINER),
    "removed": (AFTER, "DELETE", CONTAINER),
}
DELETIONS = {
    "files": (BEFORE, "DELETE", f"/volumes/{VOLUME}"),
    "files-gone": (AFTER, "DELETE", f"/volumes/{VOLUME}"),
    "list": (BEFORE, "GET", "/volumes"),
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[EngineProxy]:
    """Where calls are held."""
    with EngineProxy.of_this_engine() as proxy:
        yield proxy


@pytest.fixture(scope="module")
def hub(hubs: Hubs, proxy: EngineProxy) -> Iterator[Hub]:
    """A Hub that reaches its Engine through the proxy, and keeps house all the time."""
    prefix = hubs.prefix()
    config = f"""
        c.JupyterHub.cleanup_servers = False
        c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0, "slow_stop_timeout": 0}}
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


def ask(hub: Hub, user: str, server: str) -> None:
    """Begin what the Hub will be killed in; it may answer or not."""
    path = server_path(user, server)
    with suppress(requests.ConnectionError):
        if server in STARTS:
            hub.api("POST", path, {"image": "other" if server == "image" else "web"})
        else:
            hub.api("DELETE", path, {"remove": True} if server in DELETIONS else None)


@pytest.mark.parametrize("done", ["while the Hub is down", "after the Hub is back"])
def test_kill_9_at_every_call(hub: Hub, proxy: EngineProxy, user: str, done: str) -> None:
    """Whatever was under way is done late: no server is lost or doubled, no file, no orphan."""
    hub.add_user(user)
    many = ManyServers(hub, user)
    for server in [*STARTS, *STOPS]:
        many.make_files(server)
    many.each([*STOPS, *DELETIONS], hub.spawn)
    many.each(DELETIONS, hub.halt)
    files = many.files()
    moments = STARTS | STOPS | DELETIONS
    faults = {}
    with ThreadPoolExecutor(len(moments)) as pool:
        for server, (kind, method, path) in moments.items():
            if server == "list":
                faults["files"].wait()  # these two list volumes too, and must be past that
                faults["files-gone"].wait()
            faults[server] = proxy.fault(kind, method, path.format(many.container(server)))
            pool.submit(ask, hub, user, server)
        for fault in faults.values():
            fault.wait()
        hub.kill()

    def do_the_rest() -> None:
        proxy.well_again()
        eventually(lambda: not proxy.busy, what="the Engine has done all that it was asked for")

    if done == "while the Hub is down":
        do_the_rest()
        hub.start()
    else:
        hub.start()
        many.agreed()
        do_the_rest()
    # What runs when the Hub comes back is not to be stopped by it.
    assert {"started", "inspect"} <= set(many.agreed())
    kept = {server: files[server] for server in [*STARTS, *STOPS]}
    assert {server: many.files().get(server) for server in kept} == kept
    many.each(moments, started_again, hub)
    assert many.agreed() == sorted(moments)
    assert {server: many.files().get(server) for server in kept} == kept
    many.remove()


def started_again(user: str, server: str, hub: Hub) -> None:
    """The server can be started, or runs already."""
    answer = hub.api("POST", server_path(user, server), {"image": "web"})
    assert answer.status in (201, 202, 400), answer
    if answer.status == 400:
        assert "already running" in answer.message
    hub.ready(user, server)
