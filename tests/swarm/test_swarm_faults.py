"""What becomes of servers when nodes are lost, drained or come back, and tasks are killed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from support.hub.client import server_url
from support.hub.hubproc import Hub
from support.hub.waiting import eventually
from support.swarm import Node, Swarm
from support.swarm.faults import CONFIG, refused, spawn, told, view_of, who
from support.swarm.hubs import SwarmHubs
from support.swarm.view import SwarmView

#: A node that is lost is down after 10 to 16 seconds, as with Docker's own heartbeat.
HEARTBEAT = 5


@pytest.fixture(scope="module")
def hub(swarm_hubs: SwarmHubs) -> Iterator[Hub]:
    """A Hub with servers that stay on a node, servers that may be on any, and such that follow."""
    with swarm_hubs.running(CONFIG) as hub:
        yield hub


@pytest.fixture
def view(hub: Hub) -> SwarmView:
    """What the Hub has made."""
    return view_of(hub)


def allow(swarm: Swarm, *nodes: Node) -> None:
    """Have room for servers that may be anywhere on these nodes only."""
    for node in swarm.nodes:
        swarm.update(node, Labels={"room": "yes"} if node in nodes else {})


def direct(view: SwarmView, user: str, server: str) -> str:
    """The URL at which a server's task is on its node, past Hub and proxy."""
    task = view.task(user, server)
    port = task["Status"]["PortStatus"]["Ports"][0]["PublishedPort"]
    address = view.swarm.node_of(task).address
    return f"http://{address}:{port}{server_url(user, server)}who"


def answers(url: str) -> str:
    """What is said at a URL."""
    return requests.get(url, timeout=10).text.strip()


def test_a_lost_node(hub: Hub, view: SwarmView, swarm: Swarm, user: str) -> None:
    """Its servers are reported dead, and no others; what runs on there is never routed to.

    The Hub's machine still reaches the node, so that the old servers would answer. A server with
    files there is refused until the node is back, one without starts elsewhere, and one with
    ``on-failure`` is followed to its new node, unless only the lost one has its files. Files of a
    server that is deleted meanwhile are deleted later.
    """
    hub.add_user(user)
    n2, n3 = swarm["n2"], swarm["n3"]
    allow(swarm, n3)
    servers = {"pinned": "n3", "deleted": "n3", "roams": "roaming", "follows": "following"}
    servers["waits"] = "staying"
    spawn(hub, user, **servers, other="n2")
    eventually(
        lambda: str(view.service(user, "waits")["Spec"]["TaskTemplate"]["Placement"]),
        lambda placement: n3.id in placement,
        what="a server that follows is bound to the node of its files",
    )
    allow(swarm, n2, n3)
    for server in ("pinned", "deleted"):
        view.write(view.one(user, server), "/work/mine", server)
    names = [*servers, "other"]
    before = {server: who(hub, user, server) for server in names}
    twin = direct(view, user, "follows")
    other = view.task(user, "other")["ID"]

    n3.partition(keep=[swarm.hub_address])
    eventually(
        lambda: hub.servers(user).keys(),
        lambda running: running == {"follows", "other"},
        what="the servers of the lost node have ended",
    )
    told(hub, f"{user}:waits ended", "no suitable node")
    for server in ("pinned", "deleted", "roams", "waits"):
        told(hub, f"{user}:{server}", "the node that it ran on is down: n3")
        assert who(hub, user, server) not in before.values()
    assert view.task(user, "other")["ID"] == other
    assert who(hub, user, "other") == before["other"]
    eventually(
        lambda: who(hub, user, "follows"),
        lambda answer: answer != before["follows"],
        what="the twin is not routed to",
    )
    assert answers(twin) == before["follows"]

    for server, profile in (("pinned", "n3"), ("waits", "staying")):
        status, words = refused(hub, user, server, profile)
        assert status == 503
        assert "on the node n3, which is down: start that machine" in words
    hub.forget(user, "deleted")
    told(hub, "deleted", "on n3: its files will be deleted later: the node is down")
    allow(swarm, n2)
    spawn(hub, user, roams="roaming")
    assert view.node(user, "roams") == n2
    assert who(hub, user, "roams") not in {*before.values(), "404"}
    moved = eventually(
        lambda: who(hub, user, "follows"),
        lambda answer: len(answer) > 3,
        what="the route follows to the next task",
    )
    assert view.node(user, "follows") == n2
    assert moved == answers(direct(view, user, "follows")) != before["follows"]
    assert answers(twin) == before["follows"]

    n3.heal()
    swarm.wait_state(n3, "ready")
    eventually(
        lambda: n3.containers(view.prefix, running=True),
        lambda running: not running,
        what="nothing of the Hub's runs on the node that was lost",
    )
    assert {who(hub, user, server) for server in ("follows", "other")} == {moved, before["other"]}
    assert f"{user}:follows ended" not in hub.log()
    spawn(hub, user, pinned="n3")
    assert view.read(view.one(user, "pinned"), "/work/mine") == "pinned"
    told(hub, "deleted", "at last")
    (volume,) = [v for v in n3.volumes(view.prefix) if "--deleted" in v["Name"]]
    listed = n3.namespaces.run("ls", "-A", volume["Mountpoint"])
    assert listed == ""


def test_a_task_that_is_killed(hub: Hub, view: SwarmView, swarm: Swarm, user: str) -> None:
    """With ``on-failure`` another one takes its place: the route follows, and nothing has died."""
    hub.add_user(user)
    allow(swarm, swarm["n2"], swarm["n3"])
    spawn(hub, user, exp="following")
    container = view.one(user, "exp")
    first, task = who(hub, user, "exp"), view.task(user, "exp")["ID"]
    view.client_of(container).kill(container["Id"])
    second = eventually(
        lambda: who(hub, user, "exp"),
        lambda answer: answer != first and len(answer) > 3,
        what="the next task is routed to",
    )
    assert view.task(user, "exp")["ID"] != task
    assert second == answers(direct(view, user, "exp"))
    assert hub.servers(user)["exp"]["ready"]
    assert f"{user}:exp ended" not in hub.log()
    hub.halt(user, "exp", remove=True)
    view.emptied(user)


def test_a_drained_node(hub: Hub, view: SwarmView, swarm: Swarm, user: str) -> None:
    """Its servers end; one with files there is refused with the reason and the way out, and has
    its files when the node is active again.
    """
    hub.add_user(user)
    n3 = swarm["n3"]
    spawn(hub, user, exp="n3")
    view.write(view.one(user, "exp"), "/work/mine", "mine")
    swarm.drain(n3)
    eventually(lambda: "exp" not in hub.servers(user), what="the Hub knows")
    told(hub, f"{user}:exp", "the node that it ran on was drained: n3")
    status, words = refused(hub, user, "exp", "n3")
    assert status == 503
    assert "on the node n3, which is set to drain" in words
    assert "docker node update --availability active n3" in words
    assert view.services(user) == []
    swarm.activate(n3)
    spawn(hub, user, exp="n3")
    assert view.read(view.one(user, "exp"), "/work/mine") == "mine"
    hub.halt(user, "exp", remove=True)
    view.emptied(user)
