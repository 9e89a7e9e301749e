"""A Hub whose servers are services on three nodes: started, reached, limited, and refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from docker.constants import DEFAULT_DOCKER_API_VERSION
from support.hub.client import Answer, server_path, server_url
from support.hub.dockerview import HUB, SERVER, USER
from support.hub.hubproc import Hub
from support.hub.waiting import eventually
from support.swarm import Swarm
from support.swarm.hubs import SwarmHubs
from support.swarm.view import SwarmView

SECRET = "c0rrect 'horse'\n$HOME \\ \u2028 ä"
KEY = "b4ttery-staple"
#: Says who it is at a page of its own.
HELLO = (
    "mkdir -p /www/user/$JUPYTERHUB_USER/$JUPYTERHUB_SERVER_NAME;"
    ' echo "$JUPYTERHUB_USER/$JUPYTERHUB_SERVER_NAME"'
    " > /www/user/$JUPYTERHUB_USER/$JUPYTERHUB_SERVER_NAME/hello;"
    " exec httpd -f -p 8888 -h /www"
)
#: The environment of the process of the image's command, which is no child of the shell's.
ENVIRONMENT = "for p in /proc/[0-9]*; do grep -q httpd $p/comm && cat $p/environ && break; done"
MEGA = 2**20
PROFILES: dict[str, dict[str, Any]] = {
    "plain": {},
    **{
        f"on-{name}": {"placement_constraints": [f"engine.labels.node=={name}"]}
        for name in ("n1", "n2", "n3")
    },
    "limited": {
        "placement_constraints": ["node.labels.disk==ssd"],
        "mem_limit": "64M",
        "mem_guarantee": "32M",
        "cpu_limit": 0.5,
        "cpu_guarantee": 0.1,
        "pids_limit": 100,
        "cmd": ["httpd", "-f", "-p", "8888", "-h", "/www"],
        "environment": {"COLOUR": "blue"},
        "volumes": {"data-{username}": "/data", "common": {"bind": "/common", "mode": "ro"}},
        "extra_host_config": {"read_only": True, "tmpfs": {"/scratch": "size=1m"}},
    },
    "secret": {
        "secret_environment": {"DB": SECRET},
        "secret_files": {"/etc/key": {"content": KEY, "mode": 0o440}},
    },
    "nowhere": {"placement_constraints": ["node.labels.disk==tape"], "start_timeout": 4},
    "too-big": {"mem_guarantee": "900G", "start_timeout": 4},
    "lacking": {
        "image": "{prefix}-lacking:latest",
        "placement_constraints": ["engine.labels.node==n3"],
    },
    "crash": {"cmd": ["sh", "-c", "echo out of cheese; exit 3"]},
    "no-such": {"cmd": ["/no/such/program"], "environment": {}},
}


@pytest.fixture(scope="module")
def hub(_one_manager: Swarm, swarm_hubs: SwarmHubs) -> Iterator[Hub]:
    """A Hub with a profile for each kind of server."""
    swarm = _one_manager
    swarm.update(swarm["n2"], Labels={"disk": "ssd"})
    prefix = swarm_hubs.prefix()
    profiles = json.loads(json.dumps(PROFILES).replace("{prefix}", prefix))
    config = f"""
        c.DockerNamedSpawner.profile_list = [
            {{"slug": slug, "display_name": slug, "spawner_override": override}}
            for slug, override in {profiles!r}.items()
        ]
        c.DockerNamedSpawner.cmd = ["sh", "-c", {HELLO!r}]
    """
    with swarm_hubs.running(config, prefix=prefix) as hub:
        hub.docker.flavour("lacking", "ENV LACKING=1")
        yield hub


@pytest.fixture
def view(hub: Hub) -> SwarmView:
    """What the Hub has made."""
    assert isinstance(hub.docker, SwarmView)
    return hub.docker


def spawned(hub: Hub, *servers: tuple[str, str, str]) -> list[Any]:
    """Start servers at once, each (user, server, profile); their containers."""
    for user in {user for user, _, _ in servers}:
        hub.add_user(user)

    def spawn(user: str, server: str, profile: str) -> Any:
        return hub.spawn(user, server, {"profile": profile})

    with ThreadPoolExecutor(len(servers)) as pool:
        return list(pool.map(spawn, *zip(*servers, strict=True)))


def refused(hub: Hub, user: str, profile: str) -> Answer:
    """Ask for a server that cannot start."""
    if hub.api("GET", f"/users/{user}").status == 404:
        hub.add_user(user)
    return hub.api("POST", server_path(user, profile), {"profile": profile})


def test_servers_of_several_users(hub: Hub, view: SwarmView, user: str) -> None:
    """Each is a service of one task, is called and labelled as a container is, runs where its
    profile says, and is reached by its own URL alone.
    """
    other = f"{user}.Ä"
    servers = [(user, "", "on-n1"), (user, "exp-1", "on-n2"), (other, "exp-1", "on-n3")]
    containers = spawned(hub, *servers)
    for (who, server, profile), container in zip(servers, containers, strict=True):
        service = view.service(who, server)
        labels = service["Spec"]["Labels"]
        assert (labels[HUB], labels[USER], labels[SERVER]) == (hub.prefix, who, server)
        assert service["Spec"]["Mode"] == {"Replicated": {"Replicas": 1}}
        inside = container["Config"]["Labels"]
        assert inside["com.docker.swarm.service.id"] == service["ID"]
        ours = {key for key in inside if key.startswith("dockernamed.")}
        assert ours == {HUB, USER, SERVER}
        assert (inside[HUB], inside[USER], inside[SERVER]) == (hub.prefix, who, server)
        assert view.node_with(container).name == profile.removeprefix("on-")
        hello = hub.request("GET", f"{server_url(who, server)}hello")
        assert hello.text == f"{who}/{server}\n"
    names = [view.service(who, server)["Spec"]["Name"] for who, server, _ in servers]
    assert names[:2] == [f"{hub.prefix}-{user}", f"{hub.prefix}-{user}--exp-1"]
    assert len(set(names)) == 3


def test_limits_and_hardening(hub: Hub, view: SwarmView, user: str) -> None:
    """A profile's settings and the default hardening are those of the container on its node."""
    (container,) = spawned(hub, (user, "exp", "limited"))
    assert view.node_with(container).name == "n2"
    host, environment = container["HostConfig"], view.environment(container)
    assert host["CapDrop"] == ["ALL"]
    assert "NET_RAW" not in host["CapAdd"]
    assert host["ReadonlyRootfs"]
    assert host["Memory"] == 64 * MEGA
    assert (host["NanoCpus"], host["PidsLimit"]) == (500_000_000, 100)
    assert host["Init"]
    assert not host["Privileged"]
    assert {"Name": "core", "Hard": 0, "Soft": 0} in host["Ulimits"]
    # As the Hub's client and the Engine know it, the newest version of the API is the smaller one.
    known = (DEFAULT_DOCKER_API_VERSION, view.swarm.manager.client.version()["ApiVersion"])
    newest = min(tuple(map(int, version.split("."))) for version in known)
    options = [one.partition("=")[0] for one in host["SecurityOpt"] or ()]
    assert ("no-new-privileges" in options) is (newest >= (1, 44))
    resources = view.service(user, "exp")["Spec"]["TaskTemplate"]["Resources"]
    assert resources["Reservations"] == {"MemoryBytes": 32 * MEGA, "NanoCPUs": 100_000_000}
    assert environment["COLOUR"] == "blue"
    assert environment["JUPYTERHUB_SERVICE_PREFIX"] == server_url(user, "exp")
    mounted = view.mounted(container)
    assert {path: (one["Type"], one["RW"]) for path, one in mounted.items()} == {
        "/work": ("volume", True),
        "/data": ("volume", True),
        "/common": ("volume", False),
        "/scratch": ("tmpfs", True),
    }
    assert view.run(container, "sh", "-c", "touch /x 2>&1; true").endswith(
        "Read-only file system\n"
    )


def test_secrets(hub: Hub, view: SwarmView, user: str) -> None:
    """Tokens, secret variables and files are inside, readable by the server alone, and nothing
    that managers or nodes show has them.
    """
    (container,) = spawned(hub, (user, "exp", "secret"))
    pairs = view.run(container, "sh", "-c", ENVIRONMENT).split("\0")
    inside = dict(pair.split("=", 1) for pair in pairs if "=" in pair)
    assert inside["DB"] == SECRET
    token = inside["JUPYTERHUB_API_TOKEN"]
    assert hub.api("GET", "/user", token=token).json()["name"] == user
    assert view.read(container, "/etc/key") == KEY
    assert view.run(container, "stat", "-c", "%u %a", "/etc/key").split() == ["0", "440"]
    client, node = view.swarm.manager.client, view.node_with(container).client
    shown = {
        "container": node.inspect_container(container["Id"]),
        "service": client.inspect_service(view.service(user, "exp")["ID"]),
        "tasks": client.tasks(),
        "secrets": client.secrets(),
        "configs": client.configs(),
        "REST": hub.api("GET", f"/users/{user}").json(),
    }
    words = [SECRET.splitlines()[0], KEY, token]
    found = {
        where: [word for word in words if word in json.dumps(all_)] for where, all_ in shown.items()
    }
    assert not any(found.values()), found
    assert [word for word in words if word in hub.log()] == []
    secrets = client.secrets({"label": f"{USER}={user}"})
    assert len(secrets) >= 2
    hub.halt(user, "exp")
    assert client.secrets({"label": f"{USER}={user}"}) == []


def test_no_suitable_node(hub: Hub, view: SwarmView, user: str) -> None:
    """The scheduler's words are in the progress while it waits, and in the error when the start
    has taken too long; nothing is left.
    """
    words = {"nowhere": "scheduling constraints not satisfied", "too-big": "insufficient resources"}
    hub.add_user(user)
    with ThreadPoolExecutor() as pool:
        told = {profile: pool.submit(progress, hub, user, profile) for profile in words}
        answers = {profile: pool.submit(refused, hub, user, profile) for profile in words}
    for profile, expected in words.items():
        assert any(expected in one for one in told[profile].result()), told[profile].result()
        answer = answers[profile].result()
        assert answer.status == 500
        assert expected in answer.message
    view.nothing_of(user)


def progress(hub: Hub, user: str, server: str) -> list[str]:
    """What the progress of a start tells before the start has failed."""
    eventually(lambda: server in hub.servers(user), what=f"{user}/{server} starts")
    lines = hub.api("GET", f"{server_path(user, server)}/progress").text.splitlines()
    told = [json.loads(line.removeprefix("data:")) for line in lines if line.startswith("data:")]
    return [one["message"] for one in told if not one.get("failed")]


def test_an_image_that_its_node_has_not(hub: Hub, view: SwarmView, user: str) -> None:
    """The start fails at once, with the node's own words and the way out; nothing is left."""
    answer = refused(hub, user, "lacking")
    assert answer.status == 500
    assert "No such image" in answer.message
    assert f"{hub.prefix}-lacking:latest" in answer.message
    view.nothing_of(user)


def test_a_crash_at_its_start(hub: Hub, view: SwarmView, user: str) -> None:
    """The exit code and the last lines of the log are told, but no secrets; nothing is left."""
    hub.add_user(user)
    words = {"crash": ["exit code 3", "out of cheese"], "no-such": ["/no/such/program"]}
    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(lambda profile: refused(hub, user, profile), words))
    for answer, expected in zip(answers, words.values(), strict=True):
        assert answer.status == 500
        assert [word for word in expected if word not in answer.message] == []
        assert "TOKEN" not in answer.message
    view.emptied(user)


def test_a_container_that_is_killed_on_its_node(hub: Hub, view: SwarmView, user: str) -> None:
    """The Hub learns that its server has ended, and how; it can be started again."""
    (container,) = spawned(hub, (user, "exp", "on-n3"))
    view.client_of(container).kill(container["Id"])
    eventually(lambda: "exp" not in hub.servers(user), what="the Hub knows", timeout=20)
    view.gone(user, "exp")
    assert f"{user}/exp" in hub.log()
    assert "137" in hub.log()
