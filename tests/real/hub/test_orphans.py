"""What carries the Hub's labels, though the Hub has no such server."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from support.hub.dockerview import BUSYBOX, CONTAINER, HUB, SERVER, USER
from support.hub.hubproc import Hub, Hubs
from support.hub.stopping import how_it_ended
from support.hub.waiting import eventually


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub that looks for orphans all the time."""
    prefix = hubs.prefix()
    config = f"""
        c.DockerNamedSpawner.hub_id = "{prefix}"
        c.DockerNamedSpawner.orphan_grace = 0.2
        c.DockerNamedSpawner.orphan_interval = 0.2
    """
    with hubs.running(config, prefix=prefix) as hub:
        yield hub


def labels(hub: str, user: str, server: str = "") -> dict[str, str]:
    """Of a server's objects."""
    return {HUB: hub, USER: user, SERVER: server}


def container(hub: Hub, name: str, labels: dict[str, str]) -> str:
    """A running container with labels, made as a Hub makes it; its id."""
    client = hub.docker.client
    labels = {**labels, CONTAINER: f"{hub.prefix}-{name}"}
    config = client.create_host_config(init=True)
    made = client.create_container(
        BUSYBOX, name=f"{hub.prefix}-{name}", labels=labels, host_config=config
    )
    client.start(made["Id"])
    return str(made["Id"])


def test_orphans_go_and_nothing_else(hub: Hub, user: str) -> None:
    """Containers are stopped gently, networks removed; servers and another Hub's things stay."""
    hub.add_user(user)
    server = hub.spawn(user, "exp")["Id"]
    other = f"{hub.prefix}-other"
    stranger = container(hub, "stranger", labels(other, "zed"))
    hub.docker.network("theirs", labels=labels(other, "zed"))
    hub.docker.network("servers", labels=labels(hub.prefix, user, "exp"))
    hub.docker.network("shared", labels={HUB: hub.prefix})
    since = time.time()
    orphan = container(hub, "orphan", labels(hub.prefix, "zed"))
    second = container(hub, "second", labels(hub.prefix, user, "gone"))
    hub.docker.network("orphaned", labels=labels(hub.prefix, "zed"))
    eventually(
        lambda: {one["Id"] for one in hub.docker.containers()} | set(hub.docker.networks()),
        lambda left: not left & {orphan, second, f"{hub.prefix}-orphaned"},
        what="the orphans are gone",
    )
    assert how_it_ended(hub, orphan, since)["exitCode"] == "143"
    left = [f"{hub.prefix}-{name}" for name in ("servers", "shared", "theirs")]
    # Besides, there is the Hub's own network, which its servers are in.
    (own,) = hub.docker.one(user, "exp")["NetworkSettings"]["Networks"]
    assert sorted(hub.docker.networks()) == sorted([own, *left])
    running = {c["Id"] for c in hub.docker.client.containers(filters={"label": HUB})}
    assert {server, stranger} <= running
    assert hub.api("GET", f"/users/{user}").json()["servers"]["exp"]["ready"]
    hub.docker.client.remove_container(stranger, v=True, force=True)
    for name in left:
        hub.docker.client.remove_network(name)
