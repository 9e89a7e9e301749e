"""Stopping: quick by default, gentle, and in the middle of a start."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import Hub, Hubs
from support.hub.stopping import SLOW, how_it_ended
from support.hub.waiting import eventually


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub that answers 202 at once, since no start is waited for."""
    prefix = hubs.prefix()
    config = f"""
        c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
        c.DockerNamedSpawner.allowed_images = {{"web": {BUSYBOX!r}, "slow": "{prefix}-slow:latest"}}
        c.DockerNamedSpawner.image = "web"
    """
    by_user = {"gentle": {"stop_timeout": 23.0}, "noinit": {"extra_host_config": {"init": False}}}
    with hubs.running(config, prefix=prefix, by_user=by_user) as hub:
        hub.docker.flavour("slow", SLOW)
        yield hub


def starting(hub: Hub, user: str, server: str = "exp") -> str:
    """Begin a start that hangs; the id of its container, which runs."""
    assert hub.api("POST", f"/users/{user}/servers/{server}", {"image": "slow"}).status == 202
    [container] = eventually(
        lambda: hub.docker.containers(user, server),
        lambda found: len(found) == 1 and found[0]["State"]["Running"],
        what="the container runs",
    )
    return str(container["Id"])


def test_a_server_that_takes_its_time(hub: Hub, user: str) -> None:
    """POST answers 202 at once and to the second asker too; the server is ready later."""
    hub.add_user(user)
    container = starting(hub, user)
    assert hub.servers(user)["exp"]["pending"] == "spawn"
    assert not hub.servers(user)["exp"]["ready"]
    assert hub.api("POST", f"/users/{user}/servers/exp", {"image": "slow"}).status == 202
    hub.docker.run({"Id": container, "Name": container}, "touch", "/work/go")
    hub.ready(user, "exp")
    assert hub.docker.one(user, "exp")["Id"] == container


def test_progress_of_a_start(hub: Hub, user: str) -> None:
    """The progress stream tells the steps in order and ends with `ready`, by curl."""
    hub.add_user(user)
    container = starting(hub, user)
    hub.docker.run({"Id": container, "Name": container}, "touch", "/work/go")
    stream = hub.curl(
        'curl -H "Authorization: token $TOKEN" "$API/users/$NAME/servers/exp/progress"', NAME=user
    )
    assert stream.status == 200
    lines = [line.removeprefix("data: ") for line in stream.text.splitlines() if "data: " in line]
    events = [json.loads(line) for line in lines]
    progress = [event["progress"] for event in events]
    assert progress == sorted(progress)
    assert (events[-1]["ready"], events[-1]["url"]) == (True, f"/user/{user}/exp/")


def test_stop_in_the_middle_of_a_start(hub: Hub, user: str) -> None:
    """DELETE while the server is starting: no container is left, and a new start works."""
    hub.add_user(user)
    starting(hub, user)
    assert hub.api("DELETE", f"/users/{user}/servers/exp").status in (202, 204)
    hub.docker.gone(user)
    eventually(lambda: hub.servers(user) == {}, what="the Hub knows it as stopped")
    hub.spawn(user, "exp", {"image": "web"})


def test_a_user_is_removed_in_the_middle_of_a_start(hub: Hub, user: str) -> None:
    """DELETE of the user while a server starts is refused, and nothing is ever orphaned."""
    hub.add_user(user)
    container = starting(hub, user)
    answer = hub.api("DELETE", f"/users/{user}")
    assert (answer.status, "'exp'" in answer.message) == (409, True), answer
    hub.docker.run({"Id": container, "Name": container}, "touch", "/work/go")
    hub.ready(user, "exp")
    hub.halt(user, "exp")
    hub.docker.gone(user)


def test_stop_needs_no_kill(hub: Hub, user: str) -> None:
    """A server without a SIGTERM handler ends by SIGTERM (143), not by SIGKILL (137): `init`."""
    hub.add_user(user)
    container = hub.spawn(user, "exp")
    assert container["HostConfig"]["Init"] is True
    since = time.time()
    hub.halt(user, "exp")
    hub.docker.gone(user)
    assert how_it_ended(hub, container["Id"], since)["exitCode"] == "143"


def test_init_can_be_switched_off(hub: Hub, user: str) -> None:
    """`extra_host_config = {"init": False}` wins over the default."""
    user = f"noinit-{user}"
    hub.add_user(user)
    container = hub.spawn(user)
    assert not container["HostConfig"]["Init"]
    hub.docker.client.kill(container["Id"])
    hub.docker.gone(user)


def test_stopping_many_at_once(hub: Hub, user: str) -> None:
    """DELETE of several servers, one after another without waiting: all are gone in the end."""
    hub.add_user(user)
    names = [f"s{n}" for n in range(5)]
    for name in names:
        assert hub.api("POST", f"/users/{user}/servers/{name}").status == 202
    for name in names:
        hub.ready(user, name)
    for name in names:
        assert hub.api("DELETE", f"/users/{user}/servers/{name}").status in (202, 204)
    eventually(lambda: hub.servers(user) == {}, what="all are stopped")
    assert hub.docker.containers(user) == []
