"""Which network a server gets, and the plans that make and remove it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockernamed import naming
from dockernamed.desired.isolation import (
    NetworkFacts,
    OwnNetwork,
    check_further,
    check_internal,
    isolation,
    plan_network,
    plan_unused,
)
from dockernamed.errors import ConfigError, ForeignObject

KEY = naming.Key("hub-1", "ann", "exp-1")
OWN = OwnNetwork.of(KEY, "user", prefix="jupyter")
FIRST, SECOND = OWN.names
OURS = NetworkFacts(OWN.labels, ("c1",))
STRANGE = NetworkFacts({"a": "b"})
TEXT = st.text(max_size=80)


@pytest.mark.parametrize(
    ("setting", "name", "where", "scope"),
    [
        (None, "", {}, "hub"),
        (None, "", {"beside": True}, "none"),
        (None, "", {"podman": True}, "none"),
        (None, "lab", {}, "none"),
        ("none", "lab", {"beside": True}, "none"),
        ("user", "", {"beside": True}, "user"),
        ("server", "", {"podman": True}, "server"),
        ("hub", "", {}, "hub"),
        (None, "", {"swarm": True}, "user"),
        (None, "", {"swarm": True, "beside": True}, "none"),
        (None, "lab", {"swarm": True}, "none"),
        ("server", "", {"swarm": True, "beside": True}, "server"),
    ],
)
def test_whose_servers_share_a_network(
    setting: str | None, name: str, where: dict[str, bool], scope: str
) -> None:
    """A Hub on the host keeps all servers apart, unless the admin has said otherwise; in a Swarm,
    where that cannot be, those of different users.
    """
    assert isolation(setting, name, **{"beside": False, **where}) == scope


@pytest.mark.parametrize(
    ("setting", "name", "where", "said"),
    [
        ("user", "lab", {}, 'network_name = ""'),
        ("hub", "", {"beside": True}, 'network_isolation = "user"'),
        ("hub", "", {"podman": True}, 'Podman does.* network_isolation = "user"'),
        ("hub", "", {"swarm": True}, 'a Swarm does.* network_isolation = "user"'),
    ],
)
def test_what_cannot_work(setting: str, name: str, where: dict[str, bool], said: str) -> None:
    """The message has a line that does."""
    with pytest.raises(ConfigError, match=said):
        isolation(setting, name, **{"beside": False, **where})


def test_networks_without_a_way_out() -> None:
    """No ports are published from them."""
    check_internal(True, None)
    check_internal(False, False)
    with pytest.raises(ConfigError, match="use_internal_ip"):
        check_internal(True, False)


@pytest.mark.parametrize("name", ["", "host", "none", "container:x"])
def test_further_networks_that_are_none(name: str) -> None:
    """No container can be connected to them, nor to any beside them."""
    check_further("bridge", ["db"])
    with pytest.raises(ConfigError):
        check_further("bridge", ["db", name])
    if name:
        check_further(name, [])
        with pytest.raises(ConfigError):
            check_further(name, ["db"])


# --- labels and names --------------------------------------------------------------------------


@pytest.mark.parametrize("scope", ["hub", "user", "server"])
@pytest.mark.parametrize("internal", [True, False])
@pytest.mark.parametrize("overlay", [True, False])
def test_labels_are_read_back(scope: str, internal: bool, overlay: bool) -> None:
    """They say whose network it is, and nothing else does."""
    own = OwnNetwork.of(KEY, scope, prefix="jupyter", internal=internal, overlay=overlay)
    assert OwnNetwork.read(own.labels) == own
    assert own.body(own.names[0])["Internal"] is internal
    assert OwnNetwork.read({**own.labels, naming.LABEL_NETWORK: "lab"}) is None
    assert OwnNetwork.read(naming.labels(KEY)) is None


@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=2, max_size=2, unique=True), st.booleans())
def test_names_are_never_shared(servers: list[tuple[str, str, str]], internal: bool) -> None:
    """Different Hubs, users, servers and kinds have different names and interfaces, of short and
    plain text.
    """
    wanted = {
        OwnNetwork.of(naming.Key(*one), scope, prefix="jupyter", internal=internal, overlay=overlay)
        for one in servers
        for scope in ("hub", "user", "server")
        for overlay in (True, False)
    }
    names = [name for one in wanted for name in one.names]
    assert len({*names}) == len(names)
    bridges = {naming.bridge_name(name) for name in names}
    assert len(bridges) == len(names)
    for name in names:
        assert len(name) <= 63
        assert (name.isascii(), name.lower()) == (True, name)
    assert all(len(bridge) == 15 and bridge.startswith("dn-") for bridge in bridges)


def test_a_network_of_a_swarm() -> None:
    """It is on all nodes, the Hub's container can join it, and it is never taken for a bridge."""
    own = OwnNetwork.of(KEY, "user", prefix="jupyter", overlay=True)
    body = own.body(own.names[0])
    assert (body["Driver"], body["Attachable"], body["Labels"]) == ("overlay", True, own.labels)
    assert "Options" not in body
    assert OwnNetwork.read(OWN.labels) != own


def test_names_stay_what_they_are() -> None:
    """A Hub of a later version finds the networks of this one."""
    assert OWN.names == ("jupyter-ann---h2t2fdqzqxgfsd3f", "jupyter-ann---ms2ti3c3weh33ozc")
    assert naming.bridge_name("jupyter-ann") == "dn-ftipgwrry3hj"


# --- plans -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "hub_container", "steps"),
    [
        ({}, "", f"look at network {FIRST}: it may be missing, or somebody else's"),
        ({FIRST: None}, "", f"create network {FIRST}: none exists for this user"),
        (
            {FIRST: None},
            "h",
            f"create network {FIRST}: none exists for this user\n"
            f"join network {FIRST}: the Hub's container reaches the servers there",
        ),
        ({FIRST: OURS}, "", ""),
        ({FIRST: OURS}, "c1", ""),
        (
            {FIRST: OURS},
            "h",
            f"join network {FIRST}: the Hub's container reaches the servers there",
        ),
        ({FIRST: STRANGE}, "", f"look at network {SECOND}: it may be missing, or somebody else's"),
        ({FIRST: STRANGE, SECOND: None}, "", f"create network {SECOND}: none exists for this user"),
    ],
)
def test_to_the_network(
    seen: Mapping[str, NetworkFacts | None], hub_container: str, steps: str
) -> None:
    """The first name that is free or ours, and the Hub's container in it."""
    assert str(plan_network(OWN, seen, hub_container)) == steps


def test_all_names_are_somebody_elses() -> None:
    """Also those of another Hub, and of another of our own networks: whose, is said."""
    other = NetworkFacts(OwnNetwork.of(KEY, "hub", prefix="jupyter").labels)
    with pytest.raises(ForeignObject, match="the Hub 'hub-1'"):
        plan_network(OWN, {FIRST: STRANGE, SECOND: other})


@pytest.mark.parametrize(
    ("running", "members", "hub_container", "steps"),
    [
        ((), (), "", "remove"),
        (("c1",), ("c1",), "", ""),
        ((), ("kept",), "", ""),
        (("c1",), (), "", ""),
        (("h",), ("h",), "h", "leave remove"),
        (("h",), ("h", "kept"), "h", ""),
    ],
)
def test_away_with_it(
    running: tuple[str, ...], members: tuple[str, ...], hub_container: str, steps: str
) -> None:
    """Once it has no container, running or kept; that of the Hub does not count, and leaves."""
    seen: Any = NetworkFacts(OWN.labels, running)
    plan = plan_unused(FIRST, OWN, seen, members, hub_container)
    assert " ".join(step.op.value.split()[0] for step in plan) == steps
