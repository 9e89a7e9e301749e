"""What the Hub's start tells of a Swarm, each with the command or line that helps."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets.config import Config

from dockernamed import DockerNamedSwarmSpawner
from dockernamed.desired.swarm_network import LABEL_SERVICE_ID, LABEL_SERVICE_NAME
from dockernamed.engine.swarm import Swarm
from dockernamed.errors import EngineFailed, EngineUnavailable, NotFound
from dockernamed.hub import network_check, swarm_check
from dockernamed.lifecycle.runtime import Runtime

ON_THE_HUBS: dict[str, dict[str, Any]] = {
    "bridge": {"Scope": "local"},
    "lab": {"Scope": "swarm", "Attachable": True},
    "x": {"Scope": "swarm", "Attachable": True},
}
LOG = logging.getLogger("hub")
MANAGER = {
    "LocalNodeState": "active",
    "ControlAvailable": True,
    "NodeID": "n1",
    "NodeAddr": "10.0.0.1",
}
HUB = SimpleNamespace(ip="0.0.0.0", connect_ip="", connect_url="")


def node(name: str, *, manager: str = "", **changes: Any) -> dict[str, Any]:
    """A node of ``GET /nodes``.

    Args:
        name: of its host.
        manager: its reachability, if it is one.
        changes: of state, availability, addr, message and resources.
    """
    status = {"State": changes.get("state", "ready"), "Addr": changes.get("addr", "10.0.0.9")}
    if "message" in changes:
        status["Message"] = changes["message"]
    resources = {"GenericResources": changes.get("resources", [])}
    found: dict[str, Any] = {
        "ID": f"id-{name}",
        "Spec": {"Availability": changes.get("availability", "active")},
        "Status": status,
        "Description": {"Hostname": name, "Resources": resources},
    }
    return {**found, "ManagerStatus": {"Reachability": manager}} if manager else found


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was told, a line each; filled by `tell`."""
    caplog.set_level("INFO", "hub")
    return []


class Stand:
    """A manager, as the check asks it.

    Args:
        membership: what it says of itself; an error is raised.
        nodes: what there is; likewise.
        hub: the Hub's container.
        networks: name → what there is of it.
        service: of the Hub.
        local: the Hub runs on a node.
    """

    swarm, kind = True, "service"

    def __init__(
        self,
        membership: Any = MANAGER,
        nodes: Any = (),
        hub: dict[str, Any] | None = None,
        networks: dict[str, Any] | None = None,
        service: dict[str, Any] | None = None,
        local: bool = True,
    ) -> None:
        self._membership, self.nodes, self._hub = membership, nodes, hub
        self._networks: dict[str, dict[str, Any]] = ON_THE_HUBS if networks is None else networks
        self.service = service
        self.engine_is_local, self.synced = local, asyncio.Event()
        self.engine, self.watcher, self.base_url = self, self, "unix:///x"
        self.api = "1.99"
        self.waited_for = asyncio.Event()
        self.synced.set()

    async def in_sync(self) -> None:
        """Once the test wants it."""
        self.waited_for.set()
        await self.synced.wait()

    async def api_version(self) -> str:
        """In which calls are made."""
        return self.api

    async def membership(self) -> Any:
        """The node's own part."""
        if isinstance(self._membership, Exception):
            raise self._membership
        return self._membership

    async def hub_container(self) -> dict[str, Any] | None:
        """The Hub's own."""
        return self._hub if self.engine_is_local else None

    async def network(self, name: str, setting: str = "network_name") -> dict[str, Any]:
        """One of them, as `Runtime` tells it."""
        stand: Any = SimpleNamespace(
            _networks={}, engine=self, swarm=True, timings=SimpleNamespace(network_facts=0)
        )
        return await Runtime.network(stand, name, setting)

    async def inspect_network(self, name: str) -> dict[str, Any]:
        """As the Engine tells it."""
        if name not in self._networks:
            raise NotFound("inspect", "no such network", 404)
        return dict(self._networks[name])


async def tell(
    stand: Stand,
    told: list[str],
    caplog: Any,
    monkeypatch: Any,
    ipvs: bool = False,
    secure: bool = False,
    **settings: Any,
) -> None:
    """Have the check tell what it finds."""

    async def list_nodes(swarm: Swarm) -> Any:
        if isinstance(stand.nodes, Exception):
            raise stand.nodes
        return list(stand.nodes)

    async def inspect_service(swarm: Swarm, id: str) -> Any:
        return {"Spec": stand.service}

    monkeypatch.setattr(Swarm, "__init__", lambda swarm, engine: None)
    monkeypatch.setattr(Swarm, "list_nodes", list_nodes)
    monkeypatch.setattr(Swarm, "inspect_service", inspect_service)
    monkeypatch.setattr(swarm_check, "has_ipvs", lambda: ipvs)
    settings = {"hub_connect_url": "http://10.0.0.1:8081", **settings}
    spawner = DockerNamedSwarmSpawner(config=Config(DockerNamedSpawner=settings))
    runtime: Any = stand
    await swarm_check.tell(spawner, runtime, LOG, hub=HUB, secure=secure)
    told += [record.getMessage() for record in caplog.records if record.name == "hub"]


# --- the Engine's own part ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("membership", "says"),
    [
        ({}, "docker swarm init --advertise-addr"),
        ({"LocalNodeState": "inactive"}, "docker swarm init --advertise-addr"),
        ({"LocalNodeState": "error", "Error": "no certificate"}, "'error' (no certificate)"),
        ({"LocalNodeState": "locked"}, "docker swarm unlock"),
        (
            {
                "LocalNodeState": "active",
                "NodeID": "n9",
                "RemoteManagers": [{"Addr": "10.0.0.1:2377"}],
            },
            "on a manager (10.0.0.1:2377) run docker node promote n9, or set "
            'c.DockerNamedSpawner.client_kwargs = {"base_url"',
        ),
        ({"LocalNodeState": "active", "NodeID": "n9"}, "none is known here"),
    ],
)
def test_an_engine_that_runs_no_services(membership: dict[str, Any], says: str) -> None:
    """What is wrong, and the command for it."""
    assert says in swarm_check.of_membership(membership)


def test_a_manager() -> None:
    """Nothing is wrong."""
    assert swarm_check.of_membership(MANAGER) == ""


async def test_it_is_told_before_the_engine_is_in_sync(
    told: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which it never is as long as it manages nothing; once it does, the rest is told."""
    stand = Stand({"LocalNodeState": "inactive"}, [node("a", state="down")])
    stand.synced.clear()
    telling = asyncio.ensure_future(tell(stand, told, caplog, monkeypatch))
    await asyncio.wait_for(stand.waited_for.wait(), 30)
    assert caplog.records[0].levelname == "ERROR"
    assert (
        caplog.records[0].getMessage().startswith("No server can be started: the Engine is in no")
    )
    stand.synced.set()
    await telling
    assert "node a is down" in told[1]


@pytest.mark.parametrize("where", ["membership", "nodes"])
async def test_a_manager_that_is_away(
    where: str,
    told: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ends nothing: of the Engine its watcher tells, of a Swarm without a leader we do."""
    lost = EngineUnavailable("ping", "refused")
    failed = EngineFailed("list", "The swarm does not have a leader", 500)
    stand = Stand(lost) if where == "membership" else Stand(nodes=failed)
    await tell(stand, told, caplog, monkeypatch)
    assert [line for line in told if "leader" in line] == told
    assert len(told) == (where == "nodes")


# --- nodes -------------------------------------------------------------------------------------

GPU = [{"NamedResourceSpec": {"Kind": "NVIDIA-GPU", "Value": "GPU-1"}}]
SSD = [{"DiscreteResourceSpec": {"Kind": "SSD", "Value": 3}}]


@pytest.mark.parametrize(
    ("nodes", "says"),
    [
        ([node("a"), node("b", state="down", message="no heartbeat")], ["node b is down (no hea"]),
        ([node("a"), node("b", availability="drain")], ["--availability active b"]),
        ([node("a", availability="pause")], ["'pause'", "no node takes servers"]),
        ([node("a", addr="0.0.0.0")], ["--advertise-addr <its address>"]),
        ([node("a", addr="127.0.0.1")], ["node a has the address '127.0.0.1'"]),
        ([node("a", manager="reachable"), node("b", manager="reachable")], ["node demote b"]),
        ([node("a", manager="unreachable")], ["manager a is unreachable"]),
        ([node("a", manager="reachable"), node("b")], []),
        ([node(name, manager="reachable") for name in "abc"], []),
        ([], []),
    ],
)
def test_what_is_wrong_with_nodes(nodes: list[dict[str, Any]], says: list[str]) -> None:
    """One sentence each, with the command."""
    found = list(swarm_check.of_nodes(nodes, published=True))
    assert len(found) == len(says)
    for line, part in zip(found, says, strict=True):
        assert part in line


def test_addresses_do_not_matter_inside() -> None:
    """A Hub in the servers' network needs no addresses of nodes."""
    assert list(swarm_check.of_nodes([node("a", addr="0.0.0.0")], published=False)) == []


def test_resources_that_no_node_offers() -> None:
    """Told by name, with what there is."""
    nodes = [node("a", resources=GPU), node("b", resources=SSD)]
    assert list(swarm_check.of_resources(nodes, ["SSD", "NVIDIA-GPU"])) == []
    (line,) = swarm_check.of_resources(nodes, ["gpu", "SSD"])
    assert "'gpu'" in line
    assert "the nodes offer NVIDIA-GPU, SSD" in line
    assert '"node-generic-resources": ["gpu=..."]' in line


async def test_resources_of_profiles_are_looked_for(
    told: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of options and groups, too; what callables say is known at a start only."""
    gpu = {"display_name": "A", "spawner_override": {"generic_resources": {"gpu-a": 1}}}
    choice = {"spawner_override": {"generic_resources": {"gpu-b": 1}}}
    group = {"groups": ["g"], "spawner_override": {"generic_resources": {"gpu-c": 1}}}
    await tell(
        Stand(nodes=[node("a", resources=GPU)]),
        told,
        caplog,
        monkeypatch,
        network_name="lab",
        generic_resources=lambda spawner: {"x": 1},
        profile_list=[{**gpu, "profile_options": {"g": {"choices": {"b": choice}}}}],
        group_overrides={"g": group},
    )
    assert [line.split("'")[1] for line in told] == ["gpu-a", "gpu-b", "gpu-c"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, True),
        ({"network_isolation": "server"}, True),
        ({"network_name": "lab"}, False),
        ({"generic_resources": {}}, False),
    ],
)
async def test_resources_in_networks_of_their_own(
    settings: dict[str, Any],
    said: bool,
    told: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Servers with generic resources would not live where networks come and go."""
    given = {"generic_resources": {"NVIDIA-GPU": 1}, **settings}
    stand = Stand(nodes=[node("a", resources=GPU)])
    await tell(stand, told, caplog, monkeypatch, **given)
    assert any("NVIDIA-GPU" in line and "network_name" in line for line in told) is said


async def test_what_users_type_is_not_looked_for(
    told: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name of a resource that a user will type says nothing as yet."""
    typed = {"enabled": True, "spawner_override": {"generic_resources": {"{value}": 1}}}
    option = {"display_name": "Kind", "unlisted_choice": typed}
    profile = {"display_name": "A", "profile_options": {"kind": option}}
    stand = Stand(nodes=[node("a", resources=GPU)])
    await tell(stand, told, caplog, monkeypatch, profile_list=[profile])
    assert told == []


async def test_images_are_pulled_by_each_node(
    told: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is told where there are several, unless they do it when the Hub starts."""
    nodes = [node("a"), node("b")]
    await tell(Stand(nodes=nodes), told, caplog, monkeypatch)
    (line,) = told
    assert "each of the 2 nodes pulls" in line
    assert "c.DockerNamedSpawner.prepull = True" in line
    caplog.clear()
    told.clear()
    await tell(Stand(nodes=nodes), told, caplog, monkeypatch, prepull=True)
    await tell(Stand(nodes=nodes[:1]), told, caplog, monkeypatch)
    assert told == []


# --- networks ----------------------------------------------------------------------------------


def hub_container(*networks: str, service: str = "") -> dict[str, Any]:
    """The Hub's own container."""
    labels = {LABEL_SERVICE_NAME: service, LABEL_SERVICE_ID: "s1"} if service else {}
    return {
        "Name": "/hub",
        "Config": {"Labels": labels},
        "NetworkSettings": {"Networks": {name: {} for name in networks}},
    }


@pytest.mark.parametrize(
    ("hub", "attachable", "is_told"),
    [
        (hub_container("bridge"), False, True),
        (hub_container("bridge"), True, False),
        (hub_container("lab"), False, False),
        (hub_container("x", service="hub"), False, False),
        (None, False, False),
    ],
)
async def test_a_network_that_the_hub_cannot_join(
    hub: dict[str, Any] | None,
    attachable: bool,
    is_told: bool,
    told: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only a container of its own needs that it is attachable."""
    lab = {"Scope": "swarm", "Attachable": attachable}
    stand = Stand(hub=hub, networks={**ON_THE_HUBS, "lab": lab})
    await tell(stand, told, caplog, monkeypatch, ipvs=True, network_name="lab")
    assert bool(told) is is_told
    assert all("docker network create --driver overlay --attachable lab" in line for line in told)


@pytest.mark.parametrize(
    ("networks", "says"),
    [
        ({}, "docker network create --driver overlay --attachable lab"),
        ({"lab": {"Scope": "local"}}, "docker network rm lab; docker network create --driver over"),
        ({"lab": {"Scope": "swarm", "Ingress": True}}, "published ports alone"),
    ],
)
async def test_a_network_that_will_not_do(
    networks: dict[str, Any],
    says: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It never ends the Hub, since it may be made later; and is told with the command."""
    stand: Any = Stand(networks=networks)
    for setting, value in (("network_name", "lab"), ("networks", ["lab"])):
        settings = DockerNamedSwarmSpawner(config=Config(DockerNamedSpawner={setting: value}))
        assert await network_check.faults(settings, stand) == []
        found = await network_check.faults_now(settings, stand)
        assert any(setting in line and says in line for line in found)


@pytest.mark.parametrize(
    ("stand", "settings", "says"),
    [
        (
            {"membership": {**MANAGER, "NodeAddr": "127.0.0.1"}},
            {},
            'c.DockerNamedSpawner.hub_connect_url = "127.0.0.1": other nodes cannot reach this',
        ),
        (
            {"local": False},
            {},
            "c.DockerNamedSpawner.hub_connect_url = None: the Hub runs on anoth",
        ),
        ({}, {"secure": True}, "c.JupyterHub.internal_ssl = True: a server's certificate"),
        ({}, {"hardening": "strict"}, "c.DockerNamedSpawner.internal_network = True: an overlay"),
        (
            {"hub": ("lab", "hub")},
            {"network_isolation": "user"},
            'c.DockerNamedSpawner.network_isolation = "user": the Hub\'s container belongs to a',
        ),
        (
            {"hub": ("x", "")},
            {"network_name": "lab"},
            'c.DockerNamedSpawner.network_name = "lab": the Hub\'s own container is not on that',
        ),
        (
            {"networks": {**ON_THE_HUBS, "far": {"Scope": "local"}}},
            {"extra_service_spec": {"TaskTemplate": {"Networks": [{"Target": "far"}]}}},
            'c.DockerNamedSpawner.extra_service_spec = "far": this network is one Engine\'s',
        ),
        ({"local": False}, {"hub_connect_url": "http://10.0.0.1:8081"}, ""),
        ({"hub": ("lab", "hub")}, {}, ""),
    ],
)
async def test_ways_that_lead_nowhere(
    stand: dict[str, Any],
    settings: dict[str, Any],
    says: str,
    told: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What no start could get over is told before anybody starts a server, and ends no Hub."""
    settings = {"hub_connect_url": "", **settings}
    if "hub" in stand:
        name, service = stand["hub"]
        stand = {"hub": hub_container(name, service=service)}
    await tell(Stand(**stand), told, caplog, monkeypatch, ipvs=True, **settings)
    assert len(told) == bool(says)
    assert all(line.startswith(f"No server can be started: {says}") for line in told)


# --- what services of a version cannot have ----------------------------------------------------


async def test_an_engine_that_is_too_old(
    told: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings that it cannot fulfil are told, and what of hardening it leaves out."""
    stand = Stand()
    stand.api = "1.41"
    wrong: dict[str, Any] = {
        "memswap_limit": "2G",
        "mem_limit": "1G",
        "extra_host_config": {"oom_score_adj": 5},
    }
    await tell(stand, told, caplog, monkeypatch, **wrong)
    settings = [line.split(" = ")[0].split(": c.DockerNamedSpawner.")[-1] for line in told[:2]]
    assert settings == ["extra_host_config['oom_score_adj']", "memswap_limit"]
    assert [line.startswith("Servers are less hardened") for line in told] == [False] * 2 + [
        True
    ] * 2
    assert "no-new-privileges" in told[2]


@pytest.mark.parametrize("changes", [{"api": "1.99"}, {"hardening": "off"}])
async def test_nothing_to_tell_of_a_version(
    changes: dict[str, Any],
    told: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A newer one can have all of it, and who wants no hardening misses none."""
    stand = Stand()
    stand.api = changes.pop("api", "1.41")
    await tell(stand, told, caplog, monkeypatch, **changes)
    assert told == []


# --- IPVS --------------------------------------------------------------------------------------


@pytest.mark.parametrize("ipvs", [True, False])
@pytest.mark.parametrize("by_profile", [True, False])
@pytest.mark.parametrize(
    "vip", [{"endpoint_mode": "Vip"}, {"extra_service_spec": {"endpointspec": {"mode": "vip"}}}]
)
async def test_virtual_addresses_without_ipvs(
    ipvs: bool,
    by_profile: bool,
    vip: dict[str, Any],
    told: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They do not connect, which nothing else would say."""
    settings: dict[str, Any] = vip
    if by_profile:
        settings = {"profile_list": [{"display_name": "A", "spawner_override": vip}]}
    await tell(Stand(), told, caplog, monkeypatch, ipvs=ipvs, **settings)
    assert len(told) == (not ipvs)
    assert all('endpoint_mode = "dnsrr"' in line and "ip_vs" in line for line in told)
    told.clear()
    caplog.clear()
    await tell(Stand(local=False), told, caplog, monkeypatch, ipvs=False, **settings)
    assert told == []


@pytest.mark.parametrize(
    ("spec", "is_told"),
    [
        ({}, True),
        ({"EndpointSpec": {"Mode": "vip"}}, True),
        ({"EndpointSpec": {"Mode": "dnsrr"}}, False),
    ],
)
async def test_the_hubs_own_virtual_address(
    spec: dict[str, Any],
    is_told: bool,
    told: list[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Servers would not reach the Hub: a service has one unless something else is said."""
    stand = Stand(hub=hub_container("lab", service="stack_hub"), service=spec)
    await tell(stand, told, caplog, monkeypatch)
    assert bool(told) is is_told
    assert all("docker service update --endpoint-mode dnsrr stack_hub" in line for line in told)


def test_how_ipvs_is_seen(tmp_path: Path) -> None:
    """By the kernel's table, or by a module that can be loaded, as Docker does."""
    table, modules = tmp_path / "ip_vs", tmp_path / "modules"
    assert swarm_check.has_ipvs(table, modules, "6.1") is False
    (modules / "6.1").mkdir(parents=True)
    (modules / "6.1" / "modules.dep").write_text("kernel/net/netfilter/ipvs_not/x.ko:\n")
    assert swarm_check.has_ipvs(table, modules, "6.1") is False
    (modules / "6.1" / "modules.dep").write_text("kernel/net/netfilter/ipvs/ip_vs.ko.xz: x\n")
    assert swarm_check.has_ipvs(table, modules, "6.1") is True
    assert swarm_check.has_ipvs(table, modules, "6.2") is False
    table.write_text("")
    assert swarm_check.has_ipvs(table, modules, "6.2") is True
