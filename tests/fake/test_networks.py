"""The networks that a Hub makes for its servers: over an Engine that fails, beside strangers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest
from jupyterhub import orm
from support.driving import env_of, message, refused
from support.engine.watching import eventually
from support.fake_engine import Behaviour, FakeEngine
from support.stage import CREATE, IMAGE, REMOVE, cancelled, give_up_soon, late
from support.stub_hub import LOG, Hub, of_server, runtime, runtime_of

from dockernamed import naming
from dockernamed.desired.isolation import OwnNetwork
from dockernamed.hub import network_check
from dockernamed.lifecycle.orphans import KnownServer, OrphanReaper

NETWORK_CREATE = ("POST", "/networks/create")
NETWORK_REMOVE = ("DELETE", "/networks/[^/]+")
NETWORK_INSPECT = ("GET", "/networks/[^/]+")
FAULTS = ["reset", "lost", 500, "garbage", "late"]
BUILT_IN = {"bridge", "host", "none"}
#: Where nobody listens.
NOBODY = ("127.0.0.1", 9)

MakeHub = Callable[..., Hub]


def own(fake: FakeEngine) -> dict[str, dict[str, Any]]:
    """The networks that are not the Engine's own: name → labels."""
    return {name: one["Labels"] for name, one in fake.networks.items() if name not in BUILT_IN}


def network_of(fake: FakeEngine, server: str = "exp-1", user: str = "ann") -> str:
    """In which network a server's container is."""
    (container,) = of_server(fake, server, user)
    return container.network


@pytest.fixture
def by_user(make_hub: MakeHub) -> Hub:
    """A Hub that gives each user a network."""
    return make_hub(network_isolation="user", network_name="")


# --- one network for the Hub -------------------------------------------------------------------


async def test_by_default_servers_are_in_one_network_without_traffic_between_them(
    make_hub: MakeHub, fake: FakeEngine
) -> None:
    """It has the Hub's label, a name of its own on the host, and stays when the servers stop."""
    hub = make_hub(network_name="")
    await hub.spawn("exp-1")
    await hub.spawn("exp-1", "bob")
    ((name, labels),) = own(fake).items()
    assert network_of(fake) == network_of(fake, user="bob") == name
    key = hub.spawner("exp-1").key
    assert labels == {naming.LABEL_HUB: key.hub, naming.LABEL_NETWORK: "hub"}
    options = fake.networks[name]["Options"]
    assert options["com.docker.network.bridge.enable_icc"] == "false"
    assert options["com.docker.network.bridge.name"] == naming.bridge_name(name)
    assert env_of(fake)["JUPYTERHUB_API_URL"].startswith("http://127.0.0.1:8081/")
    await hub.stop("exp-1")
    await hub.stop("exp-1", "bob")
    assert list(own(fake)) == [name]


async def test_a_burst_of_starts_asks_once(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Two starts at once make one network; later ones do not even look at it."""
    hub = make_hub(network_name="")
    await asyncio.gather(hub.spawn("a"), hub.spawn("b"), hub.spawn("c", "bob"))
    assert len(own(fake)) == 1
    asked = len(fake.requests)
    await hub.spawn("d")
    assert not [path for _, path in fake.requests[asked:] if path.startswith("/networks")]


async def test_a_network_that_was_pruned_is_made_anew(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Also within the seconds for which the Hub does not look at it: no start fails."""
    hub = make_hub(network_name="")
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    (name,) = own(fake)
    fake.remove_network(name)
    await hub.spawn("exp-1")
    assert network_of(fake) == name


# --- one for each user, or server --------------------------------------------------------------


async def test_a_users_network_comes_and_goes_with_its_servers(
    by_user: Hub, fake: FakeEngine
) -> None:
    """Two starts at once make one; it goes with the last server; another user has another one."""
    await asyncio.gather(by_user.spawn("a"), by_user.spawn("b"), by_user.spawn("a", "bob"))
    mine, theirs = network_of(fake, "a"), network_of(fake, "a", "bob")
    assert network_of(fake, "b") == mine != theirs
    assert own(fake)[mine][naming.LABEL_USER] == "ann"
    options = fake.networks[mine]["Options"]
    assert options.get("com.docker.network.bridge.enable_icc") != "false"
    await by_user.stop("a")
    assert {*own(fake)} == {mine, theirs}
    await by_user.stop("b")
    assert {*own(fake)} == {theirs}
    await by_user.stop("a", "bob")
    assert own(fake) == {}


async def test_each_server_can_have_its_own(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Names that look alike, empty ones and odd ones never share a network."""
    hub = make_hub(network_isolation="server", network_name="")
    servers = [("a", "b-c"), ("a-b", "c"), ("a", ""), ("A", ""), ("ä{x}<b>", "a" * 255)]
    for user, server in servers:
        await hub.spawn(server, user)
    names = {network_of(fake, server, user) for user, server in servers}
    assert names == {*own(fake)}
    assert len(names) == len(servers)
    bridges = {
        one["Options"].get("com.docker.network.bridge.name") for one in fake.networks.values()
    }
    assert len(bridges - {None}) == len(servers)
    for user, server in servers:
        await hub.stop(server, user)
    assert own(fake) == {}


@pytest.mark.parametrize("way", ["profile", "hook", "group"])
async def test_it_can_differ_between_servers(make_hub: MakeHub, fake: FakeEngine, way: str) -> None:
    """A profile, a hook or a group can give a user a network of their own."""
    settings: dict[str, Any] = {"network_name": ""}
    override = {"network_isolation": "user"}
    if way == "profile":
        profile = {"display_name": "Own", "default": True, "spawner_override": override}
        settings["profile_list"] = [profile]
    elif way == "hook":
        settings["pre_spawn_hook"] = lambda spawner: setattr(spawner, *next(iter(override.items())))
    else:
        settings["group_overrides"] = {"g": {"groups": ["own"], "spawner_override": override}}
    hub = make_hub(**settings)
    if way == "group":
        group = orm.Group(name="own")
        hub.db.add(group)
        group.users.append(hub.user("ann").orm_user)
        hub.db.commit()
    await hub.spawn("exp-1")
    assert own(fake)[network_of(fake)][naming.LABEL_NETWORK] == "user"
    await hub.stop("exp-1")
    assert own(fake) == {}


async def test_a_kept_container_keeps_its_network(make_hub: MakeHub, fake: FakeEngine) -> None:
    """It is used again in the network that it has; the network goes when the server is deleted."""
    hub = make_hub(network_isolation="user", network_name="", remove=False)
    await hub.spawn("exp-1")
    (before,) = of_server(fake, "exp-1")
    (name,) = own(fake)
    await hub.stop("exp-1")
    assert [*own(fake)] == [name]
    await hub.restart()
    await hub.spawn("exp-1")
    (after,) = of_server(fake, "exp-1")
    assert (after.id, [*own(fake)]) == (before.id, [name])
    await hub.stop("exp-1")
    await hub.delete("exp-1")
    assert own(fake) == {}


async def test_a_hub_that_starts_anew_removes_what_it_made(by_user: Hub, fake: FakeEngine) -> None:
    """The name of the network is kept with the server, whatever the settings say by now."""
    await by_user.spawn("exp-1")
    await by_user.restart(network_isolation="none")
    await by_user.stop("exp-1")
    assert own(fake) == {}


async def test_a_server_of_an_earlier_version_is_not_touched(
    make_hub: MakeHub, fake: FakeEngine
) -> None:
    """It runs on in ``bridge`` where the Hub finds it, and is in a network of ours from the next
    start on.
    """
    hub = make_hub(network_isolation="none", network_name="", remove=False)
    spawner = await hub.spawn("exp-1")
    url = await spawner.get_url()
    await hub.restart(network_isolation=None)
    spawner = hub.spawner("exp-1")
    assert await spawner.poll() is None
    assert (await spawner.get_url(), network_of(fake)) == (url, "bridge")
    await hub.stop("exp-1")
    await hub.spawn("exp-1")
    assert own(fake)[network_of(fake)][naming.LABEL_NETWORK] == "hub"


# --- others' networks --------------------------------------------------------------------------


async def test_somebody_elses_network_is_left_alone(by_user: Hub, fake: FakeEngine) -> None:
    """One that has our name is not used and not removed; if both names are taken, whose they are
    is said.
    """
    first, second = OwnNetwork.of(by_user.spawner("exp-1").key, "user", prefix="jupyter").names
    fake.add_network(first, {naming.LABEL_HUB: "another"})
    await by_user.spawn("exp-1")
    assert network_of(fake) == second
    await by_user.stop("exp-1")
    assert [*own(fake)] == [first]
    fake.add_network(second)
    error = await refused(by_user)
    assert error.status_code == 409
    assert f"network '{second}' belongs to somebody else" in message(error)
    assert {*own(fake)} == {first, second}


async def test_a_network_with_another_container_stays(by_user: Hub, fake: FakeEngine) -> None:
    """What somebody else connected keeps it, and the stop is done all the same."""
    await by_user.spawn("exp-1")
    engine, name = runtime().engine, network_of(fake)
    stranger = await engine.create_container("stranger", {"Image": IMAGE})
    await engine.start_container(stranger)
    fake.connect(name, stranger)
    await by_user.stop("exp-1")
    assert [*own(fake)] == [name]


# --- the Hub in a container --------------------------------------------------------------------


@pytest.fixture
async def beside(
    by_user: Hub, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> tuple[Hub, str]:
    """A Hub in a container on the network ``lab``, and that container's id."""
    fake.add_network("lab")
    engine = runtime_of(by_user.spawner("exp-1")).engine
    body = {"Image": IMAGE, "HostConfig": {"NetworkMode": "lab"}}
    id = await engine.create_container("the-hub", body)
    await engine.start_container(id)

    async def of_hub(_: Any) -> dict[str, Any]:
        return await runtime().engine.inspect_container(id)

    monkeypatch.setattr("dockernamed.lifecycle.runtime.Runtime._find_hub_container", of_hub)
    monkeypatch.setattr("dockernamed.lifecycle.runtime.Runtime.engine_is_local", True)
    return by_user, id


async def test_the_hubs_container_joins_and_leaves(
    beside: tuple[Hub, str], fake: FakeEngine
) -> None:
    """Servers reach it by its name, and it keeps no network that has no server."""
    hub, id = beside
    await hub.spawn("exp-1")
    name = network_of(fake)
    assert id in fake.networks[name]["Containers"]
    assert env_of(fake)["JUPYTERHUB_API_URL"].startswith("http://the-hub:8081/")
    await hub.stop("exp-1")
    assert [*own(fake)] == ["lab"]


async def test_a_network_that_goes_before_the_hubs_container_joins(
    beside: tuple[Hub, str], fake: FakeEngine
) -> None:
    """It is made anew, and the Hub's container joins that one."""
    hub, id = beside
    fault = fake.fault("stall", "POST", "/networks/[^/]+/connect", times=1)
    start = hub.spawning("exp-1")
    assert await asyncio.to_thread(fault.reached.wait, 30)
    (_, name) = own(fake)
    fake.remove_network(name)
    fault.release()
    await start
    assert network_of(fake) == name
    assert id in fake.networks[name]["Containers"]


async def test_another_container_of_the_hub_joins_at_its_start(
    beside: tuple[Hub, str], fake: FakeEngine
) -> None:
    """As after ``docker compose up`` has replaced it: the servers that run are reached again."""
    hub, id = beside
    await hub.spawn("exp-1")
    name = network_of(fake)
    await runtime().engine.disconnect_network(name, id)
    await hub.restart()
    spawner = hub.spawner("exp-1")
    spawner._check_pending = True
    assert await spawner.poll() is None
    spawner._check_pending = False
    assert id in fake.networks[name]["Containers"]
    await hub.stop("exp-1")
    assert [*own(fake)] == ["lab"]


@pytest.mark.parametrize("setting", [None, "hub"])
async def test_a_network_without_traffic_would_cut_the_hubs_container_off(
    beside: tuple[Hub, str], fake: FakeEngine, setting: str | None
) -> None:
    """So it is not the default there, and refused where it is asked for."""
    hub, _ = beside
    await hub.restart(network_isolation=setting)
    if setting is None:
        await hub.spawn("exp-1")
        assert network_of(fake) == "lab"
    else:
        assert 'network_isolation = "user"' in message(await refused(hub))
    assert [*own(fake)] == ["lab"]


# --- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize("call", [NETWORK_CREATE, NETWORK_INSPECT], ids=["create", "inspect"])
@pytest.mark.parametrize("kind", FAULTS)
async def test_a_fault_at_the_start(
    by_user: Hub,
    fake: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    call: tuple[str, str],
    kind: str | int,
) -> None:
    """Whether or not the Engine did it: the server runs in one network, or nothing is left; and
    the next life is like any other.
    """
    if kind == "late":
        fault: Any = late(fake, *call)
        give_up_soon(monkeypatch, fault)
    else:
        fault = fake.fault(kind, *call)
    started = asyncio.ensure_future(by_user.spawn("exp-1"))
    await asyncio.wait({started})
    fault.release()
    failed = started.exception() is not None
    if failed:
        assert of_server(fake, "exp-1") == []
    else:
        assert [*own(fake)] == [network_of(fake)]
        await by_user.stop("exp-1")
    if kind == "late":
        await eventually(lambda: fault.done)
    else:
        await eventually(lambda: own(fake) == {})
    await by_user.spawn("exp-1")
    assert [*own(fake)] == [network_of(fake)]
    await by_user.stop("exp-1")
    assert own(fake) == {}


@pytest.mark.parametrize("call", [NETWORK_CREATE, CREATE], ids=["network", "container"])
async def test_a_cancelled_start(by_user: Hub, fake: FakeEngine, call: tuple[str, str]) -> None:
    """Whatever it waited for: in the end there is neither a container nor a network."""
    fault = fake.fault("stall after", *call)
    await cancelled(by_user.spawn("exp-1"), fault)
    await eventually(lambda: (of_server(fake, "exp-1"), own(fake)) == ([], {}))


async def test_a_failed_start(by_user: Hub, fake: FakeEngine) -> None:
    """Its network goes with its container; that of another server of the user stays."""
    await by_user.spawn("good")
    (name,) = own(fake)
    fake.behave(Behaviour(exit_code=3))
    await refused(by_user)
    assert [*own(fake)] == [name]
    await by_user.stop("good")
    await refused(by_user)
    await eventually(lambda: own(fake) == {})


async def test_no_addresses_left(by_user: Hub, fake: FakeEngine) -> None:
    """The message has the line for daemon.json, and the setting that needs one network alone."""
    fake.give_no_more_networks()
    said = message(await refused(by_user))
    assert '"default-address-pools": [{"base": "10.200.0.0/16", "size": 26}]' in said
    assert 'network_isolation = "hub"' in said


async def test_a_start_while_the_last_server_stops(by_user: Hub, fake: FakeEngine) -> None:
    """Whichever comes first: the one that starts has a network, and runs."""
    await by_user.spawn("a")
    fault = late(fake, *REMOVE)
    stopping = asyncio.ensure_future(by_user.stop("a"))
    assert await asyncio.to_thread(fault.reached.wait, 30)
    starting = asyncio.ensure_future(by_user.spawn("b"))
    fault.release()
    await asyncio.gather(stopping, starting)
    assert [*own(fake)] == [network_of(fake, "b")]
    await by_user.stop("b")
    held = late(fake, *NETWORK_REMOVE)
    await by_user.spawn("a")
    stopping = asyncio.ensure_future(by_user.stop("a"))
    assert await asyncio.to_thread(held.reached.wait, 30)
    starting = asyncio.ensure_future(by_user.spawn("b"))
    await asyncio.sleep(0)
    held.release()
    await asyncio.gather(stopping, starting)
    assert [*own(fake)] == [network_of(fake, "b")]
    await by_user.stop("b")
    assert own(fake) == {}


@pytest.mark.parametrize("kind", ["reset", "lost", 500])
async def test_a_removal_that_fails(by_user: Hub, fake: FakeEngine, kind: str | int) -> None:
    """It is tried again, and the stop succeeds."""
    await by_user.spawn("exp-1")
    fake.fault(kind, *NETWORK_REMOVE)
    await by_user.stop("exp-1")
    assert own(fake) == {}


# --- what a killed Hub leaves ------------------------------------------------------------------


def reaper(hub: Hub, known: list[KnownServer], *, hub_network: bool = True) -> OrphanReaper:
    """Looks for orphans at once."""
    spawner = hub.spawner("exp-1")
    found = runtime_of(spawner)
    return OrphanReaper(
        spawner.key.hub, found.watcher, found.backend, lambda: known, keep=False, policy="remove",
        grace=0, stop_timeout=1, interval=0, log=LOG, networks=found.networks,
        hub_network=hub_network,
    )  # fmt: skip


async def test_networks_that_a_killed_hub_left_are_orphans(by_user: Hub, fake: FakeEngine) -> None:
    """They go once nobody has them, as does the Hub's own where servers are elsewhere; what a
    container has, a server needs, or another Hub made, stays.
    """
    await by_user.spawn("exp-1")
    key = by_user.spawner("exp-1").key
    kept = network_of(fake)
    for user in ("zed", "ann2"):
        left = OwnNetwork.of(naming.Key(key.hub, user, ""), "user", prefix="jupyter")
        fake.add_network(f"left-{user}", left.labels)
    whole = OwnNetwork.of(key, "hub", prefix="jupyter")
    fake.add_network("of-hub", whole.labels)
    theirs = OwnNetwork.of(naming.Key("another", "zed", ""), "user", prefix="jupyter")
    fake.add_network("theirs", theirs.labels)
    engine = runtime().engine
    stranger = await engine.create_container("stranger", {"Image": IMAGE})
    fake.connect("left-ann2", stranger)
    known = [KnownServer("ann", "exp-1", active=True)]
    await asyncio.wait_for(runtime().watcher.in_sync(), 30)
    await reaper(by_user, known).round()
    assert {*own(fake)} == {kept, "left-ann2", "of-hub", "theirs"}
    await reaper(by_user, known, hub_network=False).round()
    assert {*own(fake)} == {kept, "left-ann2", "theirs"}
    await by_user.stop("exp-1")


async def test_a_hub_that_is_killed_in_the_middle_of_a_start(
    by_user: Hub, fake: FakeEngine
) -> None:
    """The next start of that user takes the network that was left."""
    fault = late(fake, *CREATE)
    by_user.spawning("exp-1")
    assert await asyncio.to_thread(fault.reached.wait, 30)
    (name,) = own(fake)
    await by_user.kill()
    fault.release()
    await eventually(lambda: fault.done)
    await by_user.spawn("exp-1")
    assert ([*own(fake)], network_of(fake)) == ([name], name)
    await by_user.stop("exp-1")
    assert own(fake) == {}


# --- further networks --------------------------------------------------------------------------


async def test_further_networks(make_hub: MakeHub, fake: FakeEngine) -> None:
    """A server is in each of them, by their expanded names, and reached in its first one."""
    for name in ("db", "team-ann"):
        fake.add_network(name)
    hub = make_hub(network_name="", networks=["db", "team-{username}", "db"])
    await hub.spawn("exp-1")
    (container,) = of_server(fake, "exp-1")
    for name in ("db", "team-ann", container.network):
        assert container.id in fake.networks[name]["Containers"]
    await hub.stop("exp-1")


async def test_a_further_network_that_is_missing(make_hub: MakeHub, fake: FakeEngine) -> None:
    """The start is refused by its name, and nothing is left."""
    hub = make_hub(network_name="", networks=["team-{username}"])
    assert "team-ann" in message(await refused(hub))
    await eventually(lambda: of_server(fake, "exp-1") == [])


async def test_further_networks_after_a_lost_answer(make_hub: MakeHub, fake: FakeEngine) -> None:
    """A container whose create had no answer is connected like any other."""
    fake.add_network("db")
    hub = make_hub(networks=["db"])
    fake.fault("lost", *CREATE)
    await hub.spawn("exp-1")
    (container,) = of_server(fake, "exp-1")
    assert container.id in fake.networks["db"]["Containers"]


async def test_a_kept_container_is_replaced_when_its_networks_change(
    make_hub: MakeHub, fake: FakeEngine
) -> None:
    """Otherwise it would stay in a network that it is not to be in any more."""
    fake.add_network("db")
    hub = make_hub(networks=["db"], remove=False)
    await hub.spawn("exp-1")
    (before,) = of_server(fake, "exp-1")
    await hub.stop("exp-1")
    await hub.restart(networks=[])
    await hub.spawn("exp-1")
    (after,) = of_server(fake, "exp-1")
    assert after.id != before.id
    assert after.id not in fake.networks["db"]["Containers"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"network_isolation": "user", "network_name": "bridge"}, "network_isolation"),
        ({"internal_network": True, "network_name": "bridge"}, "internal_network"),
        ({"networks": ["host"]}, "networks"),
        ({"networks": ["db"], "network_name": "host"}, "networks"),
        ({"internal_network": True, "use_internal_ip": False, "network_name": ""}, "use_internal"),
    ],
)
async def test_settings_that_contradict_each_other(
    make_hub: MakeHub, fake: FakeEngine, settings: dict[str, Any], said: str
) -> None:
    """A hook can bring them together too: the start is refused, by the setting's name."""
    hub = make_hub(**settings)
    error = await refused(hub)
    assert said in message(error)
    assert own(fake) == {}


async def test_a_network_that_leads_nowhere(make_hub: MakeHub, fake: FakeEngine) -> None:
    """It is another one than that with a way out; its servers are reached at their addresses."""
    hub = make_hub(network_name="", internal_network=True)
    spawner = await hub.spawn("exp-1")
    (container,) = of_server(fake, "exp-1")
    assert fake.networks[container.network]["Internal"]
    assert spawner.server.ip == container.address
    assert not container.host_config.get("PortBindings")
    await hub.stop("exp-1")
    await hub.restart(internal_network=False)
    await hub.spawn("exp-1")
    assert len(own(fake)) == 2


# --- the Hub's start ---------------------------------------------------------------------------

#: Settings; what the Engine says; whether the Hub is in a container; what is told.
SURROUNDINGS: list[tuple[dict[str, Any], dict[str, Any], bool, str]] = [
    (
        {"network_name": ""},
        {"ServerVersion": "20.10", "BridgeNfIptables": False},
        False,
        "NOT kept",
    ),
    ({"network_name": ""}, {"ServerVersion": "20.10", "BridgeNfIptables": True}, False, ""),
    ({"network_isolation": "user", "network_name": ""}, {"BridgeNfIptables": False}, False, ""),
    ({"network_name": ""}, {}, True, 'c.DockerNamedSpawner.network_isolation = "user"'),
    ({"network_name": "", "network_isolation": "none"}, {}, True, ""),
    ({"network_name": "", "network_isolation": "hub"}, {}, True, 'network_isolation = "user"'),
    ({"network_name": "lost"}, {}, False, "the Engine has no such network"),
    ({"networks": ["lost"]}, {}, False, "the Engine has no such network"),
    ({"networks": ["lost-{username}", "lab"]}, {}, False, ""),
]


@pytest.mark.parametrize(("settings", "info", "inside", "told"), SURROUNDINGS)
async def test_what_the_hubs_log_says_of_its_surroundings(
    make_hub: MakeHub,
    fake: FakeEngine,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, Any],
    info: dict[str, Any],
    inside: bool,
    told: str,
) -> None:
    """Once, with the line that helps: that servers are not kept apart, and what cannot work."""
    fake.add_network("lab")
    fake.info.update(info)
    hub = make_hub(**settings)
    spawner = hub.spawner("exp-1")
    found = runtime_of(spawner)
    container = {"Id": "1" * 64, "Name": "/hub", "NetworkSettings": {"Networks": {"lab": {}}}}

    async def of_hub(_: Any) -> dict[str, Any] | None:
        return container if inside else None

    monkeypatch.setattr("dockernamed.lifecycle.runtime.Runtime._find_hub_container", of_hub)
    monkeypatch.setattr("dockernamed.lifecycle.runtime.Runtime.engine_is_local", True)
    caplog.set_level("INFO")
    await network_check.tell(
        spawner, found, LOG, [], checked=False, metadata=NOBODY, ports_here=list
    )
    said = [one.getMessage() for one in caplog.records if one.name == LOG.name]
    assert [told in one for one in said] == [True] * bool(told), said
    faults = await network_check.faults(spawner, found)
    assert faults is not None
    assert bool(faults) is ("no such network" in told or settings.get("network_isolation") == "hub")


async def test_what_containers_reach_of_the_host_is_told(
    hub: Hub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ports of the host but for the Hub's own, and the cloud's metadata where somebody answers."""
    monkeypatch.setattr("dockernamed.lifecycle.runtime.Runtime.engine_is_local", True)
    spawner = hub.spawner("exp-1")
    caplog.set_level("INFO")
    with socket.create_server(("127.0.0.1", 0)) as cloud:
        address = ("127.0.0.1", cloud.getsockname()[1])
        await network_check.tell(
            spawner, runtime_of(spawner), LOG, [8081], checked=True,
            metadata=address, ports_here=lambda: [22, 8081],
        )  # fmt: skip
    ports, metadata = (one.getMessage() for one in caplog.records if one.name == LOG.name)
    assert "TCP ports of the host: 22 (" in ports
    assert "metadata service answers at 127.0.0.1" in metadata
