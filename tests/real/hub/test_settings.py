"""Settings by DockerSpawner's names, as they arrive at the Engine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from support.hub.client import server_url
from support.hub.hubproc import Hub, Hubs

GIB = 1024**3
SETTINGS: dict[str, dict[str, Any]] = {
    "limits": {
        "mem_limit": "96M",
        "mem_guarantee": "48M",
        "cpu_limit": 0.5,
        "cpu_guarantee": 0.25,
    },
    "env": {"environment": {"COLOUR": "red", "BRACES": "{username} {"}},
    "command": {
        "cmd": ["httpd", "-f", "-p", "8888"],
        "args": ["-h", "/www"],
    },
    "port": {"port": 9999, "cmd": ["httpd", "-f", "-p", "9999", "-h", "/www"]},
    "host": {
        "extra_host_config": {
            "shm_size": "32m",
            "cap_drop": ["NET_RAW"],
            "ulimits": [{"Name": "nofile", "Soft": 512, "Hard": 1024}],
            "extra_hosts": {"license.example.org": "10.1.2.3"},
        }
    },
    "create": {
        "extra_create_kwargs": {
            "user": "0:0",
            "hostname": "{username}",
            "labels": {"cost-centre": "physics"},
        }
    },
    "wronghost": {"extra_host_config": {"shm_sise": "32m"}},
    "wrongcreate": {"extra_create_kwargs": {"usr": "root"}},
    "nonet": {"network_name": "no-such-network-anywhere"},
    "notebook": {"notebook_dir": "/work/nb", "default_url": "/lab/tree/{username}.ipynb"},
    "open": {"host_ip": "0.0.0.0"},
    "never": {"image": "dockernamed-test/there-is-none:1", "pull_policy": "never"},
}


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub whose users have different settings, by their names."""
    prefix = hubs.prefix()
    network = f"{prefix}-net"
    settings = {
        **SETTINGS,
        "internal": {"network_name": network, "use_internal_ip": True},
        "default": {"network_name": network},
        "published": {"network_name": network, "use_internal_ip": False},
    }
    here = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    config = f"""
        c.DockerNamedSpawner.environment = {{"COMMON": "yes", "WHO": lambda me: me.user.name}}
        c.DockerNamedSpawner.name_template = "{{prefix}}-nb-{{user_server}}"
        c.DockerNamedSpawner.client_kwargs = {{"base_url": {here!r}}}
    """
    nowhere = {"DOCKER_HOST": "unix:///no/such.sock"}
    with hubs.running(config, prefix=prefix, by_user=settings, env=nowhere) as hub:
        hub.docker.network("net")
        yield hub


def spawned(hub: Hub, user: str, setting: str) -> Any:
    """The container of a user with a setting, and its server answers through the proxy."""
    name = f"{setting}-{user}"
    hub.add_user(name)
    container = hub.spawn(name, "exp")
    assert hub.request("GET", server_url(name, "exp")).status == 404  # busybox's own
    return container


def test_limits(hub: Hub, user: str) -> None:
    """Memory in bytes, CPUs as quota and weight; the server is told both."""
    container = spawned(hub, user, "limits")
    config = container["HostConfig"]
    assert config["Memory"] == 96 * 1024**2
    assert config["MemoryReservation"] == 48 * 1024**2
    quota = config["NanoCpus"] / 1e9 or config["CpuQuota"] / config["CpuPeriod"]
    assert quota == 0.5
    assert config["CpuShares"] == 256
    environment = hub.docker.environment(container)
    assert environment["MEM_LIMIT"] == str(96 * 1024**2)
    assert float(environment["CPU_LIMIT"]) == 0.5


def test_environment(hub: Hub, user: str) -> None:
    """Texts and callables; what the Hub needs is there besides; braces stay as they are."""
    container = spawned(hub, user, "env")
    environment = hub.docker.environment(container)
    assert environment["COLOUR"] == "red"
    assert environment["BRACES"] == "{username} {"
    assert environment["JUPYTERHUB_USER"] == f"env-{user}"
    assert environment["JUPYTERHUB_SERVICE_PREFIX"] == f"/user/env-{user}/exp/"
    assert environment["JUPYTERHUB_SERVICE_URL"].endswith(f":8888/user/env-{user}/exp/")
    assert "PATH" in environment  # the image's own, not the Hub's
    assert "DOCKERNAMED_TEST_RUN" not in environment
    common = hub.docker.environment(spawned(hub, user, "plain"))
    assert (common["COMMON"], common["WHO"]) == ("yes", f"plain-{user}")


def test_command_and_arguments(hub: Hub, user: str) -> None:
    """`cmd` replaces the image's own and `args` follow it; without both the image's own runs."""
    assert spawned(hub, user, "command")["Config"]["Cmd"] == [
        *("httpd", "-f", "-p", "8888"),
        *("-h", "/www"),
    ]
    assert spawned(hub, user, "plain")["Config"]["Cmd"] == [
        *("httpd", "-f", "-p", "8888"),
        *("-h", "/www"),
    ]


def test_port(hub: Hub, user: str) -> None:
    """The server's own port inside the container, published on loopback by default."""
    container = spawned(hub, user, "port")
    bindings = container["NetworkSettings"]["Ports"]["9999/tcp"]
    assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]
    assert ":9999/" in hub.docker.environment(container)["JUPYTERHUB_SERVICE_URL"]


def test_host_ip(hub: Hub, user: str) -> None:
    """`host_ip` is where ports are published."""
    container = spawned(hub, user, "open")
    assert "0.0.0.0" in [b["HostIp"] for b in container["NetworkSettings"]["Ports"]["8888/tcp"]]


def test_extra_host_config(hub: Hub, user: str) -> None:
    """docker-py's names for HostConfig, over what is computed, which stays where not named."""
    config = spawned(hub, user, "host")["HostConfig"]
    assert config["ShmSize"] == 32 * 1024**2
    assert config["CapDrop"] == ["ALL", "NET_RAW"]  # joined with what is dropped by default
    assert config["Ulimits"] == [
        {"Name": "core", "Soft": 0, "Hard": 0},
        {"Name": "nofile", "Soft": 512, "Hard": 1024},
    ]
    assert config["ExtraHosts"] == ["license.example.org:10.1.2.3"]
    assert config["Init"] is True


def test_extra_create_kwargs(hub: Hub, user: str) -> None:
    """docker-py's names for create_container, with templates; our own labels stay."""
    container = spawned(hub, user, "create")["Config"]
    assert container["User"] == "0:0"
    assert container["Hostname"] == f"create-{user}"
    assert container["Labels"]["cost-centre"] == "physics"
    assert container["Labels"]["dockernamed.user"] == f"create-{user}"


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("wronghost", ["extra_host_config", "shm_sise"]),
        ("wrongcreate", ["extra_create_kwargs", "usr"]),
        ("nonet", ["no-such-network-anywhere"]),
        ("never", ["dockernamed-test/there-is-none:1"]),
    ],
)
def test_settings_that_cannot_work(hub: Hub, user: str, setting: str, said: list[str]) -> None:
    """The answer names the setting or the object, and the log what is wrong; nothing is left.

    What may be a secret, as all of extra_host_config, is not in the answer.
    """
    name = f"{setting}-{user}"
    hub.add_user(name)
    answer = hub.api("POST", f"/users/{name}/servers/exp")
    assert answer.status >= 400
    assert said[0] in answer.message
    lines = [line for line in hub.log().splitlines() if f" {name}:exp: " in line]
    for words in said:
        assert words in "".join(lines) or words in answer.message
    hub.docker.nothing_of(name)


@pytest.mark.parametrize(
    ("setting", "published"), [("internal", False), ("default", False), ("published", True)]
)
def test_user_defined_network(hub: Hub, user: str, setting: str, published: bool) -> None:
    """On a user-defined network servers are reached by their address there, unless told not to."""
    container = spawned(hub, user, setting)
    assert list(container["NetworkSettings"]["Networks"]) == [f"{hub.prefix}-net"]
    bindings = container["NetworkSettings"]["Ports"].get("8888/tcp")
    assert bool(bindings) is published


def test_notebook_dir_and_default_url(hub: Hub, user: str) -> None:
    """Both reach the server by its environment, templates expanded."""
    container = spawned(hub, user, "notebook")
    environment = hub.docker.environment(container)
    assert environment["JUPYTERHUB_ROOT_DIR"] == "/work/nb"
    assert environment["JUPYTERHUB_DEFAULT_URL"] == f"/lab/tree/notebook-{user}.ipynb"


def test_name_template(hub: Hub, user: str) -> None:
    """Containers are named by the template."""
    assert spawned(hub, user, "plain")["Name"] == f"/{hub.prefix}-nb-plain-{user}--exp"


def test_which_engine(hub: Hub, user: str) -> None:
    """`client_kwargs` wins over DOCKER_HOST, which leads nowhere here; see test_config_check.py
    for where it counts.
    """
    spawned(hub, user, "plain")
