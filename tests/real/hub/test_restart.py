"""The Hub restarts, in an orderly way or not, while servers run or start.

Killed in the middle of what it asks its Engine: see test_killed.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hub.client import server_path, server_url
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import Hub, Hubs
from support.hub.stopping import SLOW
from support.hub.waiting import eventually

SERVERS = ("", "a", "b")


@pytest.fixture(scope="module")
def the_hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub that leaves its servers alone when it stops."""
    prefix = hubs.prefix()
    config = f"""
        c.JupyterHub.cleanup_servers = False
        c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
        c.DockerNamedSpawner.allowed_images = {{"web": {BUSYBOX!r}, "slow": "{prefix}-slow:latest"}}
        c.DockerNamedSpawner.image = "web"
        c.Spawner.http_timeout = 8
    """
    with hubs.running(config, prefix=prefix) as hub:
        hub.docker.flavour("slow", SLOW)
        yield hub


@pytest.fixture
def hub(the_hub: Hub, user: str) -> Iterator[Hub]:
    """The Hub with its user, of whom nothing is left afterwards."""
    the_hub.add_user(user)
    yield the_hub
    for server in the_hub.servers(user):
        the_hub.halt(user, server)
    assert the_hub.api("DELETE", f"/users/{user}").status == 204
    the_hub.docker.nothing_of(user)


def settled(hub: Hub, user: str) -> list[str]:
    """Wait until the Hub is sure about all servers; the names of those that run.

    What the Hub calls running must then be exactly what runs on the Engine, once each.
    """

    def look() -> tuple[dict[str, bool], list[str]]:
        models = hub.servers(user)
        return {name: model["ready"] for name, model in models.items()}, hub.docker.running(user)

    ready, _ = eventually(
        look,
        lambda seen: all(seen[0].values()) and seen[1] == sorted(seen[0]),
        what="the Hub's servers are the Engine's containers",
        timeout=60,
    )
    return sorted(ready)


def started_again(hub: Hub, user: str) -> None:
    """Every server can be started (or runs already), and has exactly one container."""
    for server in SERVERS:
        answer = hub.api("POST", server_path(user, server), {"image": "web"})
        assert answer.status in (201, 202, 400), answer
        if answer.status == 400:
            assert "already running" in answer.message
        hub.ready(user, server)
        assert hub.docker.one(user, server)["State"]["Running"]
    assert len(hub.docker.containers(user)) == len(SERVERS)


@pytest.mark.parametrize("how", ["restart", "kill -9"])
def test_running_servers_are_found_again(hub: Hub, user: str, how: str) -> None:
    """After a restart the same containers serve the same users; they can be stopped as usual."""
    before = {server: hub.spawn(user, server)["Id"] for server in SERVERS}
    hub.docker.write(hub.docker.one(user, "a"), "/www/hello", "hello")
    if how == "restart":
        hub.restart()
    else:
        hub.kill()
        hub.start()
    assert settled(hub, user) == list(SERVERS)
    assert {server: hub.docker.one(user, server)["Id"] for server in SERVERS} == before
    for server in SERVERS:
        assert hub.request("GET", server_url(user, server)).status == 404  # busybox's own
    again = hub.api("POST", f"/users/{user}/servers/a")
    assert (again.status, "already running" in again.message) == (400, True)
    for server in SERVERS:
        hub.halt(user, server)
    assert hub.docker.containers(user) == []


def test_servers_that_died_meanwhile(hub: Hub, user: str) -> None:
    """A server that ended or was removed while the Hub was down is stopped; the others run."""
    for server in SERVERS:
        hub.spawn(user, server)
    hub.kill()
    hub.docker.client.kill(hub.docker.one(user, "a")["Id"])
    hub.docker.client.remove_container(hub.docker.one(user, "b")["Id"], v=True, force=True)
    hub.start()
    assert settled(hub, user) == [""]
    hub.docker.gone(user, "a")
    started_again(hub, user)


def starting(hub: Hub, user: str) -> None:
    """Begin starts that hang, all at once."""
    for server in SERVERS:
        assert hub.api("POST", server_path(user, server), {"image": "slow"}).status == 202


def go(hub: Hub, user: str) -> None:
    """Let the hanging servers answer."""
    for container in hub.docker.containers(user):
        if container["State"]["Running"]:
            hub.docker.run(container, "touch", "/work/go")


def test_killed_while_servers_wait_for_their_first_answer(hub: Hub, user: str) -> None:
    """A Hub is killed while it waits; later the servers answer: none doubled, none lost."""
    starting(hub, user)
    eventually(lambda: len(hub.docker.running(user)) == len(SERVERS), what="all containers run")
    hub.kill()
    go(hub, user)
    hub.start()
    settled(hub, user)
    started_again(hub, user)
    for server in SERVERS:
        hub.halt(user, server)
    assert hub.docker.containers(user) == []


def test_killed_while_servers_never_answer(hub: Hub, user: str) -> None:
    """A Hub is killed while it waits in vain: such containers don't stay as orphans."""
    starting(hub, user)
    eventually(lambda: len(hub.docker.running(user)) == len(SERVERS), what="all containers run")
    hub.kill()
    hub.start()
    settled(hub, user)
    started_again(hub, user)
