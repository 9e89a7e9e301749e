"""A server in a Swarm as JupyterHub drives it: the same spawner, with services for containers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
from support.driving import MakeHub, Told, message, refused
from support.engine.watching import eventually
from support.fake_engine import Behaviour, FakeEngine
from support.fake_engine.swarm_control import FakeSwarm
from support.stage import QUICK
from support.stub_hub import Hub, of_server, runtime_of, runtimes
from tornado import web

from dockernamed import naming
from dockernamed.desired.isolation import OwnNetwork
from dockernamed.engine.swarm import Swarm
from dockernamed.lifecycle.runtime import Runtime

#: Settings of servers on the manager's node that may take hours to end.
SLOW = {"placement_constraints": ["node.hostname==node-1"], "stop_timeout": 10_000}


@pytest.fixture
def swarm(fake: FakeEngine) -> FakeSwarm:
    """A Swarm of two nodes, the second of which has a fast disk."""
    swarm = fake.init_swarm()
    swarm.join(labels={"disk": "fast"})
    return swarm


@pytest.fixture
def make(make_hub: MakeHub, swarm: FakeSwarm) -> Callable[..., Hub]:
    """Makes Hubs whose servers are in the Swarm."""

    def made(**settings: Any) -> Hub:
        return make_hub(swarm=True, **settings)

    return made


def service_of(swarm: FakeSwarm, server: str = "exp-1", user: str = "ann") -> dict[str, Any]:
    """The one service of a server."""
    (found,) = [
        one
        for one in swarm.services.values()
        if one["Spec"]["Labels"].get(naming.LABEL_USER) == user
        and one["Spec"]["Labels"].get(naming.LABEL_SERVER) == server
    ]
    return found


def own_networks(fake: FakeEngine) -> list[str]:
    """The names of the networks that Hubs made."""
    return [name for name, one in fake.networks.items() if OwnNetwork.read(one["Labels"] or {})]


# --- a life ------------------------------------------------------------------------------------


async def test_a_servers_life(make: Callable[..., Hub], swarm: FakeSwarm, fake: FakeEngine) -> None:
    """A service of its own in a network of its user, found at its node; nothing is left of it."""
    hub = make()
    spawner = await hub.spawn("exp-1")
    service = service_of(swarm)
    ((network),) = own_networks(fake)
    assert fake.networks[network]["Driver"] == "overlay"
    (task,) = swarm.tasks(service["ID"])
    (port, *_) = task["Status"]["PortStatus"]["Ports"]
    (node,) = [one for one in swarm.nodes if one["ID"] == task["NodeID"]]
    at = f"{node['Status']['Addr']}:{port['PublishedPort']}"
    assert spawner.server.url == f"http://{at}/user/ann/exp-1/"
    kept = hub.user().orm_spawners["exp-1"].state
    assert (kept["object_id"], kept["kind"]) == (service["ID"], "service")
    assert (kept["image"], kept["settings"]["network"]) == ("lab:latest", network)
    assert await spawner.poll() is None
    await hub.stop("exp-1")
    assert (swarm.services, own_networks(fake)) == ({}, [])
    assert await spawner.poll() == 0


async def test_a_server_that_ends(make: Callable[..., Hub], swarm: FakeSwarm) -> None:
    """The Hub is told at once, with the exit code, and a start brings another one."""
    hub = make()
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    swarm.end(service_of(swarm)["ID"], 3)
    assert await told.exit_code() == 3
    await hub.stop("exp-1")
    await hub.spawn("exp-1")
    assert service_of(swarm)


async def test_a_restart_of_the_hub(make: Callable[..., Hub], swarm: FakeSwarm) -> None:
    """Running servers are found again, by what the Hub kept and by labels."""
    hub = make()
    first = await hub.spawn("exp-1")
    url, id = first.server.url, service_of(swarm)["ID"]
    await hub.restart()
    spawner = hub.spawner("exp-1")
    assert await spawner.poll() is None
    assert (spawner.object_id, await spawner.get_url()) == (id, url)
    spawner.orm_spawner.state = {}
    await hub.restart()
    assert await hub.spawner("exp-1").poll() is None


async def test_a_kept_server(make: Callable[..., Hub], swarm: FakeSwarm) -> None:
    """It stays as a service of no tasks, and the next start is one more task of it."""
    hub = make(remove=False)
    await hub.spawn("exp-1")
    id = service_of(swarm)["ID"]
    await hub.stop("exp-1")
    assert service_of(swarm)["Spec"]["Mode"] == {"Replicated": {"Replicas": 0}}
    await hub.spawn("exp-1")
    assert service_of(swarm)["ID"] == id


@pytest.fixture
def ending(fake: FakeEngine, swarm: FakeSwarm) -> Callable[[Hub], Awaitable[str]]:
    """Has a server on the manager's node that does not end, in a network that is removed.

    The name of that network, which is still found there.
    """

    async def begin(hub: Hub) -> str:
        fake.behave(Behaviour(stubborn=True))
        engine = runtime_of(await hub.spawn("exp-1")).engine
        (network,) = own_networks(fake)
        await Swarm(engine).remove_service(service_of(swarm)["ID"])
        await engine.remove_network(network)
        assert own_networks(fake) == [network]
        return network

    return begin


async def test_a_network_of_which_a_part_is_left(
    make: Callable[..., Hub],
    swarm: FakeSwarm,
    fake: FakeEngine,
    ending: Callable[[Hub], Awaitable[str]],
) -> None:
    """A start waits for the end of the last server in it, and makes another one of the name."""
    hub = make(**SLOW)
    name = await ending(hub)
    before, looked = fake.networks[name]["Id"], fake.requests.count(("GET", "/networks"))
    start = hub.spawning("exp-2")
    await eventually(lambda: fake.requests.count(("GET", "/networks")) > looked + 2)
    (container,) = of_server(fake, "exp-1")
    fake.die(container.name)
    await start
    (target,) = service_of(swarm, "exp-2")["Spec"]["TaskTemplate"]["Networks"]
    assert target["Target"] == fake.networks[name]["Id"] != before


async def test_a_network_of_which_a_part_stays(
    make: Callable[..., Hub],
    swarm: FakeSwarm,
    ending: Callable[[Hub], Awaitable[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A start fails, the log says what is in the way, and nothing is left."""
    hub = make(timings=replace(QUICK, task_ends=0.3), **SLOW)
    name = await ending(hub)
    await refused(hub, "exp-2")
    assert f"network {name} not found" in caplog.text
    assert "containers that do not end still have it on this node" in caplog.text
    assert swarm.services == {}


# --- what only Swarm has -----------------------------------------------------------------------


async def test_placement_by_profile(make: Callable[..., Hub], swarm: FakeSwarm) -> None:
    """A choice decides on which nodes the server may run, with the admin's own settings."""
    fast = {"placement_constraints": ["node.labels.disk==fast"], "endpoint_mode": "vip"}
    hub = make(
        placement_preferences=["node.labels.rack"],
        extra_service_spec={"Labels": {"for": "{username}"}},
        profile_list=[
            {"display_name": "Any", "slug": "any"},
            {"display_name": "Fast", "slug": "fast", "spawner_override": fast},
        ],
    )
    await hub.spawn("exp-1", options={"profile": "fast"})
    spec = service_of(swarm)["Spec"]
    placement = spec["TaskTemplate"]["Placement"]
    assert "node.labels.disk==fast" in placement["Constraints"]
    assert placement["Preferences"] == [{"Spread": {"SpreadDescriptor": "node.labels.rack"}}]
    assert (spec["EndpointSpec"]["Mode"], spec["Labels"]["for"]) == ("vip", "ann")
    (task,) = swarm.tasks(service_of(swarm)["ID"])
    assert task["NodeID"] == next(
        one["ID"] for one in swarm.nodes if one["Description"]["Hostname"] == "node-2"
    )


async def test_the_hook_after_a_start(make: Callable[..., Hub], swarm: FakeSwarm) -> None:
    """It gets what the Engine says of the service."""
    seen: list[Any] = []
    await make(post_start_hook=lambda spawner, service: seen.append(service)).spawn("exp-1")
    assert seen[0]["ID"] == service_of(swarm)["ID"]


async def test_credentials_go_along(make: Callable[..., Hub], swarm: FakeSwarm) -> None:
    """Each node pulls the image itself; a callable that gives credentials is called once for it."""
    asked: list[object] = []

    def credentials(spawner: object) -> dict[str, dict[str, str]]:
        asked.append(spawner)
        return {"docker.io": {"username": "hub", "password": "sesame"}}

    await make(registry_credentials=credentials).spawn("exp-1")
    assert len(asked) == 1
    assert [auth for _, auth in swarm.auths]
    assert all(auth["password"] == "sesame" for _, auth in swarm.auths)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"post_start_cmd": lambda spawner: ["true"]}, "post_start_cmd"),
        ({"gpus": lambda spawner: 1}, "gpus"),
        ({"pre_spawn_hook": lambda spawner: setattr(spawner, "devices", ["/dev/x"])}, "devices"),
        ({"network_isolation": "none"}, "network_isolation"),
        ({"extra_host_config": lambda spawner: {"cgroup_parent": "x"}}, "extra_host_config"),
    ],
)
async def test_what_a_swarm_cannot_fulfil(
    make: Callable[..., Hub], swarm: FakeSwarm, fake: FakeEngine, settings: Any, told: str
) -> None:
    """A start says which setting that is, and leaves nothing."""
    error = await refused(make(**settings))
    assert told in message(error)
    assert swarm.services == {}
    await eventually(lambda: not own_networks(fake))


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("placement_constraints", "node.role==worker", "placement_constraints"),
        ("placement_preferences", [None], "placement_preferences"),
        ("generic_resources", {"GPU": "1"}, "generic_resources"),
        ("endpoint_mode", "anycast", "endpoint_mode (by pre_spawn_hook) = 'anycast': expected any"),
        ("restart_policy", None, "restart_policy"),
        ("mem_guarantee", "lots", "mem_guarantee (by pre_spawn_hook) = 'lots': expected a number"),
        ("cpu_limit", float("nan"), "cpu_limit = nan"),
        ("networks", [5], "networks (by pre_spawn_hook): "),
        ("networks", ["nowhere"], "networks: the Engine has no such network"),
        ("extra_service_spec", [], "the setting extra_service_spec cannot work as it is"),
        ("environment", ["SECRET=x"], "the setting environment cannot work as it is"),
    ],
)
async def test_what_a_hook_gets_wrong(
    make: Callable[..., Hub], swarm: FakeSwarm, setting: str, value: Any, told: str
) -> None:
    """The setting is named, with the value where that is no secret; no error is without words."""

    def hook(spawner: Any) -> None:
        setattr(spawner, setting, value)

    error = await refused(make(pre_spawn_hook=hook))
    assert (error.status_code, told in message(error)) == (500, True), message(error)
    assert "SECRET" not in message(error)
    assert swarm.services == {}


async def test_an_addition_that_the_engine_refuses(
    make: Callable[..., Hub], swarm: FakeSwarm, caplog: pytest.LogCaptureFixture
) -> None:
    """The user learns which setting it is, and the log what the Engine says; nothing stays."""
    wrong = {"TaskTemplate": {"RestartPolicy": {"Condition": "bogus"}}}
    error = await refused(make(extra_service_spec=wrong))
    assert "the setting extra_service_spec cannot work as it is" in message(error)
    assert "extra_service_spec" in caplog.text
    assert "bogus" in caplog.text
    assert swarm.services == {}


async def test_an_address_that_nodes_do_not_reach(make: Callable[..., Hub]) -> None:
    """Servers are never told one: those of the fake Swarm are this machine's own."""
    error = await refused(make(hub_connect_url=None))
    assert "hub_connect_url" in message(error)


async def test_where_servers_find_the_hub(
    make: Callable[..., Hub], swarm: FakeSwarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the address that the manager's node has in the Swarm, if the admin says nothing."""
    hub = make(hub_connect_url=None)
    membership = {**(await runtime_of(hub.spawner()).membership()), "NodeAddr": "198.51.100.7"}

    async def told(runtime: Runtime) -> Any:
        return membership

    monkeypatch.setattr(Runtime, "membership", told)
    spawner = await hub.spawn("exp-1")
    assert spawner.hub_connect_url == "http://198.51.100.7:8081"
    env = service_of(swarm)["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"]
    assert "JUPYTERHUB_API_URL=http://198.51.100.7:8081/hub/api" in env


async def test_one_who_manages_nothing(
    make: Callable[..., Hub], swarm: FakeSwarm, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker says so at once, and a start is refused."""
    hub = make(client_kwargs={"base_url": swarm.url("node-2")})
    task = hub.spawning("exp-1")
    with pytest.raises(web.HTTPError) as caught:
        await asyncio.wait_for(task, 30)
    assert "manager" in message(caught.value) + caplog.text


# --- from one backend to the other -------------------------------------------------------------


@pytest.mark.parametrize("to_swarm", [True, False])
async def test_the_one_line_to_change(
    make_hub: MakeHub,
    swarm: FakeSwarm,
    fake: FakeEngine,
    caplog: pytest.LogCaptureFixture,
    to_swarm: bool,
) -> None:
    """A server of the other kind counts as stopped, which is told; its start works, and its volume
    has the name that it had, where it was. What runs on is left alone.
    """
    hub = make_hub(swarm=not to_swarm)
    first = await hub.spawn("exp-1")
    before, name = first.get_state()["volumes"], first.object_name
    hub.in_swarm(to_swarm)
    caplog.set_level(logging.WARNING)
    await hub.restart()
    spawner = hub.spawner("exp-1")
    assert await spawner.poll() == 0
    kind = "container" if to_swarm else "service"
    assert f"was started as a {kind}, {name}" in caplog.text
    removal = "container rm --force --volumes" if to_swarm else "service rm"
    assert f"(docker {removal})" in caplog.text
    await spawner.user.stop("exp-1")
    await hub.spawn("exp-1")
    after = hub.spawner("exp-1").get_state()
    assert (after["volumes"], after.get("kind")) == (before, "service" if to_swarm else None)
    assert service_of(swarm)
    if to_swarm:  # where its files are
        placement = service_of(swarm)["Spec"]["TaskTemplate"]["Placement"]
        (here,) = [one["ID"] for one in swarm.nodes if one["Description"]["Hostname"] == "node-1"]
        assert f"node.id=={here}" in placement["Constraints"]
    assert any(one.running for one in of_server(fake, "exp-1"))


async def test_runtimes_are_told_apart(
    make_hub: MakeHub, swarm: FakeSwarm, fake: FakeEngine
) -> None:
    """One Engine as a manager, and by itself, for one and the same Hub."""
    hubs = [make_hub(swarm=value) for value in (True, False)]
    for hub in hubs:
        await hub.spawn("exp-1")
    assert sorted(one.kind for one in runtimes()) == ["container", "service"]
