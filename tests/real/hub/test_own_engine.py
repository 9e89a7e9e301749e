"""What only an Engine of one's own can show: it restarts, and its disk is full."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import docker
import pytest
from support.hub.client import server_path, server_url
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import Hub, Hubs
from support.hub.ownengine import OwnEngine, own_engine
from support.hub.waiting import eventually


@pytest.fixture(scope="module")
def own(engine: docker.APIClient) -> Iterator[OwnEngine]:
    """The Engine, which has the busybox image."""
    with own_engine() as own:
        own.load(engine, BUSYBOX)
        yield own


@pytest.fixture(scope="module")
def hub(own: OwnEngine, hubs: Hubs) -> Iterator[Hub]:
    """A Hub whose servers run there."""
    with hubs.running(client=own.client, env={"DOCKER_HOST": own.url}) as hub:
        yield hub


def page(hub: Hub, user: str, server: str = "exp") -> int:
    """The status of the server's own page, through the proxy; busybox's own is 404."""
    return hub.request("GET", server_url(user, server) + "x").status


def answers(hub: Hub, user: str) -> None:
    """Wait until the server's page is reached again: without a Hub restart, nor a request to it."""
    eventually(lambda: page(hub, user), lambda status: status == 404, what="the page is there")


def stopped(hub: Hub, user: str) -> None:
    """Wait until the Hub calls the server stopped."""
    eventually(
        lambda: hub.servers(user), lambda servers: "exp" not in servers, what="it is stopped"
    )


def port_of(container: Any) -> str:
    """The host port that the server is published at."""
    return str(container["NetworkSettings"]["Ports"]["8888/tcp"][0]["HostPort"])


def reasons(hub: Hub, user: str) -> list[str]:
    """What the Hub's log says about the end of a user's server."""
    lines = hub.log().splitlines()
    return [line for line in lines if f"{user}:exp" in line and "exit code" in line]


def test_docker_restart(hub: Hub, user: str) -> None:
    """After ``docker restart`` the same server is reached at its new port; nothing was stopped."""
    hub.add_user(user)
    before = hub.spawn(user, "exp")
    started = hub.servers(user)["exp"]["started"]
    hub.docker.client.restart(before["Id"], timeout=5)
    after = eventually(
        lambda: hub.docker.one(user, "exp"),
        lambda found: found["State"]["Running"] and port_of(found) != port_of(before),
        what="the container runs at another port",
    )
    assert after["Id"] == before["Id"]
    answers(hub, user)
    model = hub.servers(user)["exp"]
    assert (model["ready"], model["started"]) == (True, started)
    assert reasons(hub, user) == []
    hub.halt(user, "exp")


def test_docker_stop(hub: Hub, user: str) -> None:
    """After ``docker stop`` the server is stopped, and the log does not blame the Engine."""
    hub.add_user(user)
    hub.docker.client.stop(hub.spawn(user, "exp")["Id"], timeout=5)
    stopped(hub, user)
    assert "was stopped from outside" in reasons(hub, user)[0]


def test_an_engine_with_live_restore(own: OwnEngine, hub: Hub, user: str) -> None:
    """While the Engine is away and after it, servers count as running; their pages answer again."""
    own.live_restore(True)
    hub.add_user(user)
    before = hub.spawn(user, "exp")
    own.stop()
    assert hub.servers(user)["exp"]["ready"]
    own.start_again()
    answers(hub, user)
    after = hub.docker.one(user, "exp")
    assert after["State"]["StartedAt"] == before["State"]["StartedAt"]
    assert hub.servers(user)["exp"]["ready"]
    assert reasons(hub, user) == []
    hub.halt(user, "exp")
    own.live_restore(False)


@pytest.mark.parametrize(
    ("kill", "said"),
    [(False, "was stopped with the Engine"), (True, "ended while the Engine was out of sight")],
)
def test_an_engine_without_live_restore(
    own: OwnEngine, hub: Hub, user: str, kill: bool, said: str
) -> None:
    """Its end stops the servers, and the Hub says so, and why; they can be started again."""
    hub.add_user(user)
    container = hub.spawn(user, "exp")
    hub.docker.write(container, "/work/x.txt", "kept")
    own.stop(kill=kill)
    own.start_again()
    stopped(hub, user)
    assert any(said in line for line in reasons(hub, user)), reasons(hub, user)
    again = hub.spawn(user, "exp")
    assert hub.docker.read(again, "/work/x.txt") == "kept"
    assert page(hub, user) == 404
    hub.halt(user, "exp")


def test_an_engine_that_takes_long_to_end(own: OwnEngine, hub: Hub, user: str) -> None:
    """Another container keeps it from ending: what it stopped meanwhile, it stopped with itself."""
    hub.add_user(user)
    hub.spawn(user, "exp")
    ignores = ["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]
    client = hub.docker.client
    other = client.create_container(BUSYBOX, ignores, stop_timeout=2)["Id"]
    try:
        client.start(other)
        own.stop()
        own.start_again()
        stopped(hub, user)
        assert "was stopped with the Engine" in reasons(hub, user)[0]
    finally:
        client.remove_container(other, force=True)


def test_a_server_that_comes_back_with_the_engine(own: OwnEngine, hub: Hub, user: str) -> None:
    """With a restart policy the Engine brings it up again, at another port: the route heals."""
    hub.add_user(user)
    hub.spawn(user, "first")  # takes the port that exp will have afterwards
    before = hub.spawn(user, "exp")
    hub.halt(user, "first")
    policy = {"Name": "always"}
    hub.docker.client.update_container(before["Id"], restart_policy=policy)
    own.stop()
    own.start_again()
    answers(hub, user)
    assert hub.servers(user)["exp"]["ready"]
    after = hub.docker.one(user, "exp")
    assert after["Id"] == before["Id"]
    assert port_of(after) != port_of(before)
    assert reasons(hub, user) == []
    hub.halt(user, "exp")


def test_no_space_left(own: OwnEngine, hub: Hub, user: str) -> None:
    """The start says that the Engine's disk is full, and leaves nothing; with room it works."""
    hub.add_user(user)
    own.fill()
    try:
        answer = hub.api("POST", server_path(user, "exp"))
    finally:
        own.room()
    assert answer.status == 500
    assert "no space left on device" in answer.message
    assert "free some space" in answer.message
    hub.docker.nothing_of(user)
    hub.spawn(user, "exp")
    hub.halt(user, "exp")
