"""What becomes of servers when managers of their Swarm are lost, or most of them, or the Hub's."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hub.hubproc import Hub
from support.hub.waiting import eventually
from support.swarm import Swarm
from support.swarm.faults import CONFIG, forgotten, refused, spawn, view_of, who
from support.swarm.hubs import SwarmHubs


@pytest.fixture(scope="module")
def hub(managers_hubs: SwarmHubs) -> Iterator[Hub]:
    """A Hub that talks to n1."""
    with managers_hubs.running(CONFIG) as hub:
        yield hub


def test_managers_that_are_lost(hub: Hub, managers: Swarm, user: str) -> None:
    """Of one that is lost, users notice nothing. Without a majority, servers run and count as
    running, and a start fails in words; when there is one again, nothing is left of that start,
    and nothing else has changed.
    """
    view, hub_alone = view_of(hub), [managers.hub_address]
    hub.add_user(user)
    spawn(hub, user, one="n1", three="n3")
    servers = ["one", "three"]
    before = [(who(hub, user, one), view.task(user, one)["ID"]) for one in servers]

    def answers() -> list[str]:
        return [who(hub, user, one) for one in servers]

    managers["n2"].partition(keep=hub_alone)
    spawn(hub, user, more="n3")
    hub.halt(user, "more", remove=True)
    assert answers() == [answer for answer, _ in before]

    managers["n3"].partition(keep=hub_alone)
    status, words = refused(hub, user, "more", "hasty")
    assert (status, "cannot start the server: no answer within 8 s" in words) == (500, True), words
    assert hub.servers(user).keys() >= {*servers}
    assert answers() == [answer for answer, _ in before]

    for node in managers.nodes:
        node.heal()
    managers.ready()
    eventually(lambda: forgotten(view, hub, user), lambda left: not left, what="nothing is left")
    spawn(hub, user, more="n1")
    assert [(who(hub, user, one), view.task(user, one)["ID"]) for one in servers] == before
    assert [one for one in servers if f"{user}:{one} ended" in hub.log()] == []
    assert sorted(hub.servers(user)) == ["more", *servers]


def test_the_manager_of_the_hub(hub: Hub, managers: Swarm, user: str) -> None:
    """While its dockerd is away, servers on other nodes run and count as running, and a start
    fails in words; once it is back, servers start. What ran on that machine has ended.
    """
    view = view_of(hub)
    n1 = managers["n1"]
    hub.add_user(user)
    spawn(hub, user, one="n1", two="n2")
    before, task = who(hub, user, "two"), view.task(user, "two")["ID"]
    n1.kill()
    status, words = refused(hub, user, "more", "hasty")
    assert (status, "Connection refused" in words) == (503, True), words
    assert hub.servers(user).keys() >= {"one", "two"}
    assert who(hub, user, "two") == before
    n1.start()
    managers.ready()
    eventually(lambda: "one" not in hub.servers(user), what="the Hub knows what has ended")
    spawn(hub, user, one="n1", more="n3")
    assert (who(hub, user, "two"), view.task(user, "two")["ID"]) == (before, task)
    assert f"{user}:two ended" not in hub.log()
    assert sorted(hub.servers(user)) == ["more", "one", "two"]
    eventually(lambda: forgotten(view, hub, user), lambda left: not left, what="nothing is left")
