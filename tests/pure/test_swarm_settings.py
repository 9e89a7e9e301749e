"""The settings of servers in a Swarm: read, judged at the Hub's start, and resolved at a start."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets.config import Config

from dockernamed import DockerNamedSpawner, DockerNamedSwarmSpawner, naming
from dockernamed.desired.environment import Environment
from dockernamed.desired.isolation import OwnNetwork
from dockernamed.desired.network import Access
from dockernamed.desired.placement import ServiceSettings
from dockernamed.desired.resolved import Place, ResolvedSettings, ServerState
from dockernamed.desired.services import service_body
from dockernamed.desired.swarm_network import LABEL_SERVICE_NAME
from dockernamed.desired.unsafe import Judge
from dockernamed.desired.volumes import VolumePlan
from dockernamed.errors import ConfigError
from dockernamed.hub.config_check import Findings, check_config
from dockernamed.lifecycle import swarm_settings
from dockernamed.lifecycle.swarm_resolver import SwarmResolver
from dockernamed.options.kubernetes import KUBERNETES
from dockernamed.options.swarm import SWARM_SETTINGS
from dockernamed.settings_swarm import DockerNamedSwarmSettings

KEY = naming.Key("hub-1", "ann", "exp-1")
HUB = SimpleNamespace(ip="0.0.0.0", connect_ip="", connect_url="")
OWN = OwnNetwork.of(KEY, "user", prefix="jupyter", overlay=True)
NETWORKS: dict[str, dict[str, Any]] = {
    "lab": {"Scope": "swarm"},
    "course": {"Scope": "swarm"},
    "inner": {"Scope": "swarm", "Internal": True},
    "local": {"Scope": "local"},
    "ingress": {"Scope": "swarm", "Ingress": True},
    "host": {"Scope": "local", "Driver": "host"},
    "fe1a": {"Name": "host", "Scope": "local", "Driver": "host"},
    "b12d": {"Name": "bridge", "Scope": "local", "Driver": "bridge"},
}


class Manager:
    """What `runtime.Runtime` tells of a manager's Engine.

    Args:
        networks: that the Hub's container is in; None: the Hub runs in none.
        service: of the Hub; "" for a container of its own.
        url: of the Engine.
        address: of the node in the Swarm.
    """

    def __init__(
        self,
        networks: list[str] | None = None,
        service: str = "",
        url: str = "unix:///var/run/docker.sock",
        address: str = "10.0.0.1",
    ) -> None:
        self.engine = SimpleNamespace(base_url=url)
        self.engine_is_local = url.startswith("unix")
        self.address = address
        labels = {LABEL_SERVICE_NAME: service} if service else {}
        self._hub: dict[str, Any] | None = None if networks is None else {
            "Name": "/hub.1.x" if service else "/hub",
            "Config": {"Labels": labels},
            "NetworkSettings": {"Networks": {name: {} for name in networks}},
        }  # fmt: skip

    async def hub_container(self) -> dict[str, Any] | None:
        """The Hub's own."""
        return self._hub if self.engine_is_local else None

    async def membership(self) -> dict[str, Any]:
        """The node's own part in the Swarm."""
        return {"NodeAddr": self.address}

    async def network(self, name: str, setting: str = "network_name") -> dict[str, Any]:
        """One of `NETWORKS`."""
        if name not in NETWORKS:
            raise ConfigError(setting, name, "the Engine has no such network")
        return NETWORKS[name]

    async def log_driver(self) -> str:
        """The Engine's own."""
        return "json-file"

    async def shares_files(self) -> bool:
        """No."""
        return False

    async def engine_paths(self) -> list[str]:
        """None besides those that are known."""
        return []


def resolver(manager: Manager | None = None, /, **settings: Any) -> SwarmResolver:
    """Reads such settings."""
    namespace = naming.namespace(KEY, prefix="jupyter", image="lab")
    runtime: Any = manager or Manager()
    secure = settings.pop("internal_ssl", False)
    config = Config({"DockerNamedSpawner": settings})
    spawner = DockerNamedSwarmSpawner(config=config, internal_ssl=secure)
    return SwarmResolver(spawner, KEY, namespace, runtime)


async def resolved(manager: Manager | None = None, /, **settings: Any) -> ResolvedSettings:
    """What such settings come to."""
    asked = resolver(manager, **settings)
    return await asked.resolve(await asked.place(), ())


def check(spawner: type = DockerNamedSwarmSpawner, /, **sections: Any) -> Findings:
    """What the Hub's start finds in such sections."""
    return check_config(spawner, Config(sections), HUB)


def lines(**settings: Any) -> list[str]:
    """The faults in such lines."""
    return [str(fault) for fault in check(DockerNamedSpawner=settings).faults]


# --- the settings that only Swarm has ----------------------------------------------------------


def test_the_settings_are_these() -> None:
    """The names that others are told of are those that there are, and all are documented."""
    assert DockerNamedSwarmSettings.class_own_traits(config=True).keys() == SWARM_SETTINGS
    for trait in DockerNamedSwarmSettings.class_own_traits(config=True).values():
        assert "Example: `" in " ".join(trait.help.split())


def test_both_sections_are_read() -> None:
    """Who changes one line keeps all others; the section of the class itself wins."""
    findings = check(
        DockerNamedSpawner={"image": "a/b", "endpoint_mode": "vip", "restart_policy": "on-failure"},
        DockerNamedSwarmSpawner={"endpoint_mode": "dnsrr", "imagee": "x"},
    )
    assert (findings.faults, findings.settings.image) == ([], "a/b")
    assert findings.settings.endpoint_mode == "dnsrr"
    assert findings.settings.restart_policy == "on-failure"
    (line,) = findings.unread
    assert line.startswith("c.DockerNamedSwarmSpawner.imagee")
    assert "did you mean image?" in line


async def test_what_a_service_gets() -> None:
    """All of it, callables called with the spawner, templates expanded, as values."""

    async def later(spawner: Any) -> list[str]:
        return [f"node.labels.for == {spawner.restart_policy}"]

    found = await resolved(
        placement_constraints=later,
        placement_preferences=["spread=node.labels.rack", "engine.labels.zone"],
        generic_resources=lambda spawner: {"NVIDIA-GPU": 2, "FPGA": 0},
        restart_policy="On-Failure",
        endpoint_mode="vip",
        stop_timeout=3.0,
        extra_service_spec={"Labels": {"who": "{username} {{.Node.ID}}"}},
    )
    assert found.service == ServiceSettings(
        ("node.labels.for==on-failure",),
        ("node.labels.rack", "engine.labels.zone"),
        {"NVIDIA-GPU": 2},
        "on-failure",
        "vip",
        3.0,
        extra={"Labels": {"who": "ann {{.Node.ID}}"}},
    )
    spec = found.spec({}, VolumePlan((), {}, {}), Environment())
    assert spec.service is found.service


WRONG: list[tuple[str, Any, str]] = [
    ("placement_constraints", ["node.role=worker"], "write ATTRIBUTE==VALUE"),
    ("placement_constraints", ["node.rolle==worker"], "did you mean 'node.role'?"),
    ("placement_constraints", ["node.role==wrker"], '"manager" or "worker"'),
    ("placement_constraints", ["node.labels.==x"], ": a constraint speaks of node.id"),
    ("placement_constraints", ["disk==ssd"], "node.labels.NAME"),
    ("placement_constraints", ["node.labels.disk==a;b"], "Swarm takes only ASCII letters"),
    ("placement_preferences", ["rack"], "a label"),
    ("placement_preferences", ["node.hostname"], "a label"),
    ("generic_resources", {"NVIDIA-GPU": -1}, "whole number"),
    ("generic_resources", {"NVIDIA-GPU": True}, "whole number"),
    ("generic_resources", {"a=b": 1}, "whole number"),
    ("generic_resources", {"GPU": 2**63}, "whole number"),
    ("extra_service_spec", {"TaskTemplate": {"Networks": ["lab"]}}, '{"Target": "lab"}'),
    ("extra_service_spec", {"TaskTemplate": {"Networks": [{"Target": 5}]}}, '{"Target": "lab"}'),
    ("extra_service_spec", {"TaskTemplat": {}}, "did you mean 'TaskTemplate'?"),
    ("extra_service_spec", {"TaskTemplate": {"Placment": {}}}, "did you mean 'Placement'?"),
    ("extra_service_spec", {"TaskTemplate": []}, "use a dict"),
    ("extra_service_spec", {"TaskTemplate": None}, "it may not change that"),
    ("extra_service_spec", {"name": "x"}, "set name_template"),
    ("extra_service_spec", {"Mode": {"Global": {}}}, "a server is one task"),
    ("extra_service_spec", {"TaskTemplate": {"ContainerSpec": {"Image": "x"}}}, "set image"),
    ("extra_service_spec", {"Labels": {"dockernamed.user": "x"}}, "say whose a service is"),
]


@pytest.mark.parametrize(("setting", "value", "told"), WRONG)
async def test_what_cannot_work_is_told_twice(setting: str, value: Any, told: str) -> None:
    """At the Hub's start, by setting and by profile; and where a callable has it, at a start."""
    (line,) = lines(**{setting: value})
    assert line.startswith(f"c.DockerNamedSpawner.{setting}")
    assert told in line
    override = {"spawner_override": {setting: value}}
    (line,) = lines(profile_list=[{"display_name": "A", **override}])
    assert line.startswith(f"c.DockerNamedSpawner.profile_list[0]['{setting}']")
    assert told in line
    with pytest.raises(ConfigError) as caught:
        await resolved(**{setting: lambda spawner: value})
    assert caught.value.field.startswith(setting)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("placement_constraints", "node.role==worker"),
        ("placement_preferences", {"node.labels.rack": 1}),
        ("generic_resources", ["NVIDIA-GPU"]),
        ("extra_service_spec", "x"),
    ],
)
async def test_what_callables_return_has_to_be_of_the_type(setting: str, value: Any) -> None:
    """As what is written in the configuration; None is nothing."""
    with pytest.raises(ConfigError, match=setting):
        await resolved(**{setting: lambda spawner: value})
    assert (await resolved(**{setting: lambda spawner: None})).service == ServiceSettings()
    (line,) = lines(**{setting: value})
    assert f"{setting} = " in line


UNSAFE: list[tuple[dict[str, Any], str]] = [
    ({"Mounts": [{"Type": "bind", "Source": "/var/run/docker.sock", "Target": "/s"}]}, "engine-so"),
    ({"Mounts": [{"Type": "bind", "Source": "/dev", "Target": "/d"}]}, "host-devices"),
    ({"CapabilityAdd": ["CAP_SYS_ADMIN"]}, "host-capabilities"),
    ({"Privileges": {"Seccomp": {"Mode": "unconfined"}}}, "unconfined"),
    ({"Privileges": {"AppArmor": {"Mode": "disabled"}}}, "unconfined"),
    ({"Privileges": {"SELinuxContext": {"Disable": True}}}, "unconfined"),
]


@pytest.mark.parametrize(("container", "word"), UNSAFE)
async def test_what_gives_away_a_node_is_refused(container: dict[str, Any], word: str) -> None:
    """As for a container: unless allow_unsafe says it, whoever says it and whenever."""
    value = {"TaskTemplate": {"ContainerSpec": container}}
    (line,) = lines(extra_service_spec=value)
    assert f'allow_unsafe = ["{word}' in line
    with pytest.raises(ConfigError, match=word):
        await resolved(extra_service_spec=lambda spawner: value)
    allowed = ["engine-socket", "host-devices", "host-capabilities", "unconfined"]
    assert lines(extra_service_spec=value, allow_unsafe=allowed) == []
    await resolved(extra_service_spec=value, allow_unsafe=allowed)


@pytest.mark.parametrize("place", ["Networks", "TaskTemplate"])
def test_the_hosts_network_by_hand_is_refused(place: str) -> None:
    """At either of the two places that the API has for it."""
    networks = [{"Target": "lab"}, {"Target": "host"}]
    value = {place: networks if place == "Networks" else {"Networks": networks}}
    with pytest.raises(ConfigError, match="host-namespaces"):
        Judge().service("extra_service_spec", value)
    Judge(frozenset({"host-namespaces"})).service("extra_service_spec", value)


def by_extra(name: str) -> dict[str, Any]:
    """A network by the service's own key."""
    return {"extra_service_spec": {"TaskTemplate": {"networks": [{"target": name}]}}}


def by_mode(name: str) -> dict[str, Any]:
    """A network as docker-py's argument."""
    return {"extra_host_config": {"network_mode": name}}


def by_key(name: str) -> dict[str, Any]:
    """A network as a key of the container's body."""
    return {"extra_create_kwargs": {"host_config": {"networkmode": name}}}


@pytest.mark.parametrize("named", [by_extra, by_mode, by_key])
@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("fe1a", r'allow_unsafe = \["host-namespaces"\]'),
        ("b12d", "this network is one Engine's"),
        ("local", "this network is one Engine's"),
        ("ingress", "published ports alone"),
        ("nowhere", "no such network"),
    ],
)
async def test_networks_by_further_keys(named: Any, name: str, told: str) -> None:
    """A node's own networks, by name or id, let a server around what keeps it in: the host's only
    by allow_unsafe, and others not at all. The error is about the setting, not network_name.
    """
    given = named(name)
    with pytest.raises(ConfigError, match=told) as caught:
        await resolved(**given)
    assert caught.value.field in (*given, "extra_host_config")
    with pytest.raises(ConfigError, match=told):
        await resolved(**{key: lambda spawner: value for key, value in given.items()})  # noqa: B023
    await resolved(**named("course"))
    await resolved(**named("fe1a"), allow_unsafe=["host-namespaces"])


async def test_further_keys_and_no_way_out() -> None:
    """With internal_network a server gets no way out by them either."""
    inside = Manager(["inner"])
    with pytest.raises(ConfigError, match="a way out") as caught:
        await resolved(inside, hardening="strict", **by_extra("course"))
    assert caught.value.field == "extra_service_spec"
    await resolved(inside, hardening="strict", **by_extra("inner"))


def test_unknown_fields_of_templates() -> None:
    """They are told at the Hub's start; what Swarm itself expands is left alone."""
    assert lines(extra_service_spec={"Labels": {"a": "{{.Service.Name}} {username}"}}) == []


# --- settings that cannot work there -----------------------------------------------------------

REFUSED: dict[str, Any] = {
    "devices": ["/dev/fuse"],
    "gpu_devices": ["0"],
    "gpus": 1,
    "host_ip": "10.0.0.5",
    "post_start_cmd": ["sh", "-c", "true"],
    "storage_opt": {"size": "20G"},
    "network_name": "host",
    "use_internal_ip": True,
    "network_isolation": "hub",
}


def test_all_refused_settings_are_tested() -> None:
    """Those of the table, and those of which only some values cannot work."""
    assert {*REFUSED} - {*swarm_settings.REFUSED} == {
        "network_name",
        "use_internal_ip",
        "network_isolation",
    }


@pytest.mark.parametrize("setting", sorted(REFUSED))
async def test_a_setting_that_swarm_has_not(setting: str) -> None:
    """At the Hub's start and at a start, with name, value and what to do; not on one Engine.

    A setting that is to be left out is not shown with an example of its use.
    """
    wrong = {setting: REFUSED[setting]}
    (line,) = lines(**wrong)
    assert line.startswith(f"c.DockerNamedSpawner.{setting} = ")
    assert "leave it out" not in line or "for example" not in line
    with pytest.raises(ConfigError) as caught:
        await resolved(**wrong)
    assert (caught.value.field, bool(caught.value.hint)) == (setting, True)
    findings = check_config(DockerNamedSpawner, Config(DockerNamedSpawner=wrong), HUB)
    assert findings.faults == []


@pytest.mark.parametrize("setting", ["devices", "gpus", "storage_opt", "network_name"])
def test_a_profile_that_swarm_cannot_fulfil(setting: str) -> None:
    """It is told at the Hub's start as well."""
    override = {setting: REFUSED[setting]}
    (line,) = lines(profile_list=[{"display_name": "A", "spawner_override": override}])
    assert f"['{setting}']" in line


@pytest.mark.parametrize(("setting", "value"), [("gpus", 1), ("post_start_cmd", ["true"])])
async def test_callables_of_refused_settings(setting: str, value: Any) -> None:
    """They are called once, and may return what asks for nothing."""
    calls = []

    def answer(spawner: Any) -> Any:
        calls.append(spawner)
        return value

    assert lines(**{setting: answer}) == []
    with pytest.raises(ConfigError, match=setting):
        await resolved(**{setting: answer})
    assert len(calls) == 1
    await resolved(**{setting: lambda spawner: type(value)()})


async def test_all_addresses_of_a_node() -> None:
    """That is where ports are published anyhow."""
    assert lines(host_ip="0.0.0.0") == []
    assert (await resolver(host_ip="0.0.0.0").place()).publish_ip == "0.0.0.0"


@pytest.mark.parametrize("name", ["bridge", "none", "ingress", "container:x"])
async def test_networks_that_no_service_can_be_in(name: str) -> None:
    """They are told without asking anybody."""
    (line,) = lines(network_name=name)
    assert "docker network create --driver overlay --attachable" in line


BODY: list[tuple[dict[str, Any], str]] = [
    ({"extra_host_config": {"privileged": True}}, "allow_unsafe"),
    ({"extra_host_config": {"privileged": True}, "allow_unsafe": ["privileged"]}, "cap_add"),
    ({"extra_host_config": {"devices": ["/dev/fuse"]}}, "generic_resources"),
    (
        {"extra_host_config": {"restart_policy": {"Name": "always"}}},
        'restart_policy = "on-failure"',
    ),
    ({"extra_create_kwargs": {"domainname": "x"}}, "hostname"),
    ({"volumes": {"/srv/data": {"bind": "/data", "mode": "z"}}}, "SELinux labels"),
    ({"tmpfs": {"/tmp": "nr_inodes=1"}}, "a tmpfs of a service"),
]


@pytest.mark.parametrize(("wrong", "told"), BODY)
def test_what_no_service_can_have_of_a_container(wrong: dict[str, Any], told: str) -> None:
    """It is told at the Hub's start, by setting and by profile; on one Engine nothing is."""
    found = lines(**wrong)
    assert any(told in line for line in found)
    setting, value = next(iter(wrong.items()))
    assert all(line.startswith(f"c.DockerNamedSpawner.{setting}") for line in found)
    override = {"spawner_override": {setting: value}}
    rest = {name: one for name, one in wrong.items() if name != setting}
    found = lines(profile_list=[{"display_name": "A", **override}], **rest)
    assert any(told in line and "profile_list[0]" in line for line in found)
    if told != "allow_unsafe":
        config = Config(DockerNamedSpawner=wrong)
        assert check_config(DockerNamedSpawner, config, HUB).faults == []


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [
        ("mem_limit", 10, "4 MiB"),
        ("mem_guarantee", 10, "4 MiB"),
        ("cpu_guarantee", 0.0001, "0.001 CPUs"),
    ],
)
async def test_less_than_a_swarm_can_be_told_of(setting: str, value: float, told: str) -> None:
    """It is told at the Hub's start, by setting and by profile, and at a start at the latest."""
    told = f"{setting} = {value}: servers are Swarm services here: a Swarm [a-z]+ {told}"
    (line,) = lines(**{setting: value})
    assert re.search(told, line)
    override = {"display_name": "A", "spawner_override": {setting: value}}
    (line,) = lines(profile_list=[override])
    assert "profile_list[0]" in line
    found = await resolved(**{setting: value})
    spec = found.spec({}, VolumePlan((), {}, {}), Environment())
    with pytest.raises(ConfigError, match=told):
        service_body(spec, Environment(), name="n", start_id="s")


# --- where the server is, and how the Hub gets there -------------------------------------------


async def test_a_hub_outside() -> None:
    """Users are apart, each server is published by its node, which no address is chosen for."""
    place = await resolver().place()
    assert place == Place(OWN.names[0], Access("published", "127.0.0.1"), "0.0.0.0", OWN)
    assert place.own is not None
    assert place.own.overlay
    assert await resolver().hub_host(place) == "10.0.0.1"


@pytest.mark.parametrize(("service", "name"), [("", "hub"), ("stack_hub", "stack_hub")])
async def test_a_hub_in_a_container(service: str, name: str) -> None:
    """Servers join its overlay, are reached by name there, and reach it by its service's name."""
    manager = Manager(["bridge_of_compose", "ingress", "lab"], service)
    NETWORKS["bridge_of_compose"] = {"Scope": "local"}
    asked = resolver(manager)
    place = await asked.place()
    assert place == Place("lab", Access("name"), None)
    assert await asked.hub_host(place) == name


@pytest.mark.parametrize("networks", [["local"], ["lab"]])
async def test_a_hub_in_a_container_that_joins_networks(networks: list[str]) -> None:
    """In networks that are made for servers, its container will be: also one that is on none."""
    isolation = {"network_isolation": "user"} if networks == ["lab"] else {}
    asked = resolver(Manager(networks), **isolation)
    place = await asked.place()
    assert (place.own, place.access, place.publish_ip) == (OWN, Access("name"), None)
    assert await asked.hub_host(place) == "hub"


@pytest.mark.parametrize(
    ("networks", "settings"), [(["lab"], {"network_isolation": "server"}), (["ingress"], {})]
)
async def test_a_hub_that_is_a_service(networks: list[str], settings: dict[str, Any]) -> None:
    """Its container cannot join networks that are made for servers: what to do is told."""
    asked = resolver(Manager(networks, "stack_hub"), **settings)
    place = await asked.place()
    assert place.own is not None
    assert place.access.by == "published"
    with pytest.raises(ConfigError, match=r"--network-add.*hub_connect_url = ") as caught:
        await asked.hub_host(place)
    assert caught.value.field == "network_isolation"


async def test_a_network_that_the_hub_is_not_on() -> None:
    """Servers are published there; how they reach the Hub is not known, and the line is told."""
    asked = resolver(Manager(["lab"]), network_name="course")
    place = await asked.place()
    assert (place.network, place.access.by) == ("course", "published")
    with pytest.raises(ConfigError, match=r"docker network connect.*hub_connect_url"):
        await asked.hub_host(place)


@pytest.mark.parametrize(
    ("settings", "access"),
    [
        ({"use_internal_hostname": True}, "name"),
        ({"use_internal_ip": False}, "published"),
        ({}, "name"),
    ],
)
async def test_how_the_hub_gets_there_can_be_said(settings: dict[str, Any], access: str) -> None:
    """The settings of one Engine mean the same."""
    place = await resolver(Manager(["lab"]), **settings).place()
    assert place.access.by == access
    assert (place.publish_ip is None) is (access == "name")


@pytest.mark.parametrize(
    ("name", "told"),
    [("local", "docker network create --driver overlay"), ("ingress", "published ports alone")],
)
async def test_networks_of_one_engine(name: str, told: str) -> None:
    """No server can be in them, whichever setting names them."""
    if name != "ingress":
        with pytest.raises(ConfigError, match=told) as caught:
            await resolver(network_name=name).place()
        assert caught.value.field == "network_name"
    with pytest.raises(ConfigError, match=told) as caught:
        await resolver(network_name="lab", networks=["course", name]).place()
    assert (caught.value.field, caught.value.value) == ("networks", name)


@pytest.mark.parametrize("address", ["", "0.0.0.0", "127.0.0.1"])
async def test_an_address_that_no_node_reaches(address: str) -> None:
    """It is never handed to servers: the line to write is told."""
    asked = resolver(Manager(address=address))
    with pytest.raises(ConfigError, match=r"--advertise-addr.*hub_connect_url = ") as caught:
        await asked.hub_host(await asked.place())
    assert caught.value.field == "hub_connect_url"


async def test_a_manager_on_another_machine() -> None:
    """Where the Hub is, seen from there, is not known."""
    asked = resolver(Manager(url="tcp://manager.example:2376"))
    with pytest.raises(ConfigError, match=r"hub_connect_url = "):
        await asked.hub_host(await asked.place())


@pytest.mark.parametrize(
    "settings",
    [
        {"internal_network": True},
        {"hardening": "strict"},
        {"network_name": "inner", "hardening": "strict"},
        {"network_name": "inner"},
    ],
)
async def test_networks_without_a_way_out(settings: dict[str, Any]) -> None:
    """They work for a Hub that is in them, and are refused for one that is not."""
    with pytest.raises(ConfigError, match="run the Hub in a container that is in it"):
        await resolver(**settings).place()
    inside = await resolver(Manager(["inner"]), **settings).place()
    assert inside.access.by == "name"


async def test_certificates() -> None:
    """They are made out to names, so that a Hub outside cannot check any."""
    settings = {"internal_ssl": True}
    assert (await resolver(Manager(["lab"]), **settings).place()).access == Access("name")
    with pytest.raises(ConfigError, match=r"c\.JupyterHub\.internal_ssl = False") as caught:
        await resolver(**settings).place()
    assert caught.value.field == "JupyterHub.internal_ssl"
    with pytest.raises(ConfigError, match="docker network connect course <the Hub's container>"):
        await resolver(Manager(["lab"]), **settings, network_name="course").place()


async def test_certificates_in_networks_that_are_made() -> None:
    """A container of its own joins them; one of a service is not told to, as it cannot."""
    settings = {"internal_ssl": True, "network_isolation": "user"}
    assert (await resolver(Manager(["lab"]), **settings).place()).access == Access("name")
    with pytest.raises(ConfigError, match='needs network_isolation = "none"') as caught:
        await resolver(Manager(["lab"], "stack_hub"), **settings).place()
    assert "docker network connect" not in str(caught.value)


async def test_no_network_at_all() -> None:
    """Without isolation and without a network, servers would be on each node's own bridge."""
    with pytest.raises(ConfigError, match='network_isolation = "user"'):
        await resolver(network_isolation="none").place()


# --- what is kept ------------------------------------------------------------------------------


def test_a_server_of_the_other_backend() -> None:
    """Its volumes are remembered, and nothing of it is taken for one of ours."""
    kept = ServerState("id", "name", {"server_volume": "files"}, "lab", made={"start": "id"})
    seen = ServerState.from_json(kept.to_json())
    assert (seen.kind, seen.as_kind("container")) == ("container", kept)
    moved = seen.as_kind("service")
    assert moved.to_json() == {
        "volumes": {"server_volume": "files"},
        "image": "lab",
        "kind": "service",
    }
    assert ServerState.from_json(moved.to_json()) == moved
    assert moved.as_kind("container").to_json().keys() == {"volumes", "image"}


# --- what people bring along -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("section", "name", "told"),
    [
        ("SwarmSpawner", "extra_placement_spec", "nobody reads this section; use placement_cons"),
        ("DockerNamedSpawner", "extra_task_spec", "has no such setting; use extra_service_spec"),
        ("DockerNamedSpawner", "node_selector", "use placement_constraints = ['node.labels."),
        ("KubeSpawner", "extra_resource_limits", "use generic_resources = {'NVIDIA-GPU': N}"),
        ("DockerNamedSwarmSpawner", "placement_constraint", "did you mean placement_constraints?"),
    ],
)
def test_lines_of_others(section: str, name: str, told: str) -> None:
    """Where servers are in a Swarm, the answer is what Swarm has for it."""
    (line,) = check(**{section: {name: "x"}}).unread
    assert line.startswith(f"c.{section}.{name}: ")
    assert told in line


def test_a_profile_from_elsewhere() -> None:
    """It is told what Swarm has, and on one Engine which line brings the Swarm."""
    profile = [{"display_name": "A", "kubespawner_override": {"node_selector": {"disk": "ssd"}}}]
    (line,) = lines(profile_list=profile)
    assert "use placement_constraints = ['node.labels.NAME==VALUE']" in line
    ours = [{"display_name": "A", "spawner_override": {"endpoint_mode": "vip"}}]
    config = Config(DockerNamedSpawner={"profile_list": ours})
    (fault,) = check_config(DockerNamedSpawner, config, HUB).faults
    assert 'set c.JupyterHub.spawner_class = "dockernamed-swarm"' in str(fault)
    assert lines(profile_list=ours) == []


def test_kubespawners_settings_exist_there() -> None:
    """The table for Swarm answers for names that the other one has."""
    from dockernamed.options import swarm

    assert {*swarm.KUBERNETES} <= {*KUBERNETES}
