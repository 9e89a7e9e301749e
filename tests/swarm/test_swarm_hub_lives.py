"""Servers that are kept, deleted, and outlive their Hub, as services on three nodes."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from support.hub.client import server_url
from support.hub.dockerview import BUSYBOX, USER
from support.hub.hubproc import Hub
from support.hub.waiting import eventually
from support.swarm import Swarm
from support.swarm.hubs import SwarmHubs
from support.swarm.view import SwarmView

NODES = ("n1", "n2", "n3")
PROFILES: dict[str, dict[str, Any]] = {
    name: {"placement_constraints": [f"engine.labels.node=={name}"]} for name in NODES
}
TOKEN = ". /run/dockernamed/environment; echo $JUPYTERHUB_API_TOKEN"


@pytest.fixture(scope="module")
def hub(swarm_hubs: SwarmHubs) -> Iterator[Hub]:
    """A Hub that leaves its servers alone when it stops; some users' servers are kept."""
    config = f"""
        c.JupyterHub.cleanup_servers = False
        c.DockerNamedSpawner.profile_list = [
            {{"slug": slug, "display_name": slug, "spawner_override": override}}
            for slug, override in {PROFILES!r}.items()
        ]
    """
    by_user = {"kept": {"remove": False}}
    with swarm_hubs.running(config, by_user=by_user) as hub:
        yield hub
        users = [one["name"] for one in hub.api("GET", "/users").json()]
        servers = [(user, server) for user in users for server in hub.servers(user)]
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda server: hub.halt(*server), servers))


def view_of(hub: Hub) -> SwarmView:
    """What a Hub has made."""
    assert isinstance(hub.docker, SwarmView)
    return hub.docker


@pytest.fixture
def view(hub: Hub) -> SwarmView:
    """What the Hub has made."""
    return view_of(hub)


def test_a_server_that_is_kept(hub: Hub, view: SwarmView, user: str) -> None:
    """Stopped, it is a service of no tasks without secrets; started, the same one on its node,
    with its files and another token. Deleted, nothing of it is left.
    """
    user = f"kept-{user}"
    hub.add_user(user)
    container = hub.spawn(user, "exp", {"profile": "n2"})
    first = view.service(user, "exp")
    token = view.run(container, "sh", "-c", TOKEN).strip()
    assert hub.api("GET", "/user", token=token).status == 200
    view.write(container, "/work/x", "mine")
    hub.halt(user, "exp")
    stopped = view.service(user, "exp")
    assert stopped["ID"] == first["ID"]
    assert stopped["Spec"]["Mode"] == {"Replicated": {"Replicas": 0}}
    assert "Secrets" not in stopped["Spec"]["TaskTemplate"]["ContainerSpec"]
    assert view.swarm.manager.client.secrets({"label": f"{USER}={user}"}) == []
    assert hub.api("GET", "/user", token=token).status == 403
    again = hub.spawn(user, "exp", {"profile": "n2"})
    assert view.service(user, "exp")["ID"] == first["ID"]
    assert view.node_with(again).name == "n2"
    assert view.read(again, "/work/x") == "mine"
    new = view.run(again, "sh", "-c", TOKEN).strip()
    assert new != token
    assert hub.api("GET", "/user", token=new).json()["name"] == user
    assert reached(hub, user, "exp")
    hub.halt(user, "exp", remove=True)
    view.emptied(user)


def test_deleted_with_their_files(hub: Hub, view: SwarmView, user: str) -> None:
    """DELETE with remove: no service, secret, config, network or file is left on any node."""
    hub.add_user(user)
    with ThreadPoolExecutor() as pool:
        containers = list(pool.map(lambda node: hub.spawn(user, node, {"profile": node}), NODES))
    for container in containers:
        view.run(container, "sh", "-c", "mkdir /work/.a; echo x > /work/.a/b; echo y > /work/c")
    assert [view.node_with(container).name for container in containers] == list(NODES)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: hub.halt(user, node, remove=True), NODES))
    view.emptied(user)
    on_manager = view.swarm.manager.volumes(view.prefix)
    assert [one for one in on_manager if (one["Labels"] or {}).get(USER) == user] == []
    assert [one for one in view.networks() if f"-{user}-" in one] == []


def test_a_hub_that_restarts(hub: Hub, view: SwarmView, user: str) -> None:
    """Running servers are found again, as they were, and routed."""
    hub.add_user(user)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda node: hub.spawn(user, node, {"profile": node}), NODES))
    before = {view.service(user, node)["ID"]: view.task(user, node)["ID"] for node in NODES}
    hub.restart()
    for node in NODES:
        hub.ready(user, node)
        assert before[view.service(user, node)["ID"]] == view.task(user, node)["ID"]
        eventually(partial(reached, hub, user, node), what="it is reached")


def reached(hub: Hub, user: str, server: str) -> bool:
    """Whether the server itself answers."""
    return hub.request("GET", server_url(user, server)).status == 404  # busybox's own


def test_two_hubs_and_strangers(
    hub: Hub, view: SwarmView, swarm_hubs: SwarmHubs, user: str
) -> None:
    """A second Hub with the same users and names of services, and a stranger's service with such
    a name: each Hub starts and stops its own, and leaves the others alone.
    """
    name = f"{hub.prefix}-{user}--exp"
    body = {
        "Name": name,
        "TaskTemplate": {
            "ContainerSpec": {
                "Image": BUSYBOX,
                "Command": ["sleep", "600"],
                "StopSignal": "SIGKILL",
            }
        },
        "EndpointSpec": {"Mode": "dnsrr"},
    }
    stranger = create(view.swarm, body)
    before = view.swarm.running(stranger)["ID"]
    config = 'c.DockerNamedSpawner.hub_id = "another"'
    with swarm_hubs.running(config, prefix=hub.prefix) as other:
        other.docker.hub, view.hub = "another", hub.prefix
        for one in (hub, other):
            one.add_user(user)
        with ThreadPoolExecutor() as pool:
            mine, theirs = pool.map(lambda one: one.spawn(user, "exp"), (hub, other))
        names = {one["Config"]["Labels"]["com.docker.swarm.service.name"] for one in (mine, theirs)}
        assert len(names | {name}) == 3
        task = view.task(user, "exp")["ID"]
        other.halt(user, "exp", remove=True)
        view_of(other).emptied(user)
        assert view.task(user, "exp")["ID"] == task
        assert reached(hub, user, "exp")
        hub.halt(user, "exp", remove=True)
        view.emptied(user)
        assert view.swarm.running(stranger)["ID"] == before
        view.swarm.manager.client.remove_service(stranger)


def create(swarm: Swarm, body: dict[str, Any]) -> str:
    """A service as somebody else makes one; its id."""
    client = swarm.manager.client
    answer = client._post_json(client._url("/services/create"), data=body)
    return str(client._result(answer, True)["ID"])
