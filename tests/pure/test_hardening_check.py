"""What is wrong, or refused, in settings about security and limits is told when the Hub starts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from traitlets.config import Config

from dockernamed import DockerNamedSpawner
from dockernamed.hub.config_check import check_config

REACHABLE = SimpleNamespace(ip="0.0.0.0", connect_ip="", connect_url="")


def lines(**settings: Any) -> list[str]:
    """What is told of a configuration with such lines."""
    config = Config({"DockerNamedSpawner": settings})
    return [str(fault) for fault in check_config(DockerNamedSpawner, config, REACHABLE).faults]


PRIVILEGED = {"extra_host_config": {"privileged": True}}
HOST_ROOT: dict[str, Any] = {"volumes": {"/": "/host"}}
UNSAFE: list[tuple[dict[str, Any], str]] = [
    (PRIVILEGED, "privileged"),
    ({"extra_host_config": {"pid_mode": "host"}}, "host-namespaces"),
    ({"extra_host_config": {"network_mode": "host"}}, "host-namespaces"),
    ({"extra_host_config": {"binds": ["/run/docker.sock:/run/docker.sock"]}}, "engine-socket"),
    ({"extra_host_config": {"security_opt": ["seccomp=unconfined"]}}, "unconfined"),
    ({"extra_host_config": {"cap_add": ["SYS_ADMIN"]}}, "host-capabilities"),
    ({"extra_create_kwargs": {"host_config": {"Privileged": True}}}, "privileged"),
    ({"cap_add": ["sys_admin"]}, "host-capabilities"),
    (HOST_ROOT, "engine-socket"),
    ({"volumes": {"/srv/{username}/../../run/docker.sock": "/s"}}, "engine-socket"),
    ({"read_only_volumes": {"/dev": "/d"}}, "host-devices"),
    ({"mounts": [{"type": "bind", "source": "/proc", "target": "/p"}]}, "host-devices"),
]


@pytest.mark.parametrize(("settings", "word"), UNSAFE)
def test_what_is_refused(settings: dict[str, Any], word: str) -> None:
    """As a setting, by a profile, by an option's choice and by a group, unless it is allowed."""
    (name,) = settings
    allowed = {"allow_unsafe": [word]}

    def everywhere(override: dict[str, Any]) -> list[dict[str, Any]]:
        entry = {"spawner_override": override}
        option = {"display_name": "O", "choices": {"c": {"display_name": "C", **entry}}}
        groups = {"g": {"groups": ["staff"], **entry}}
        return [
            override,
            {"profile_list": [{"display_name": "P", **entry}]},
            {"common_options": {"o": option}},
            {"group_overrides": groups},
        ]

    for config in everywhere(settings):
        (told,) = lines(**config)
        assert name in told, told
        assert f'allow_unsafe = ["{word}"]' in told, told
    for config in everywhere({**settings, **allowed}):
        assert lines(**config) == []


def test_the_socket_of_the_setting() -> None:
    """The Engine's socket is the one that the Hub uses, wherever that is."""
    engine = {"base_url": "unix:///srv/engine/docker.sock"}
    (told,) = lines(client_kwargs=engine, volumes={"/srv/engine": "/e"})
    assert "engine-socket" in told
    assert lines(volumes={"/srv/engine": "/e"}) == []


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"hardening": "sctrict"}, 'hardening = "strict"'),
        ({"allow_unsafe": ["priviliged"]}, "priviliged"),
        ({"allow_unsafe": "privileged"}, "allow_unsafe = "),
        ({"cap_drop": ["CHWON"]}, "did you mean 'CHOWN'"),
        ({"cap_add": "NET_RAW"}, 'cap_add = "NET_RAW": expected'),
        ({"pids_limit": -2}, "-1 for no limit"),
        ({"pids_limit": "many"}, "expected"),
        ({"log_config": {"driver": "json-file"}}, '"max-size": "10m"'),
        ({"log_config": {"type": 3}}, '"max-size": "10m"'),
        ({"tmpfs": {"tmp": ""}}, "absolute"),
        ({"ulimits": [{"name": "nofile", "soft": "many"}]}, "ulimits = "),
        ({"ulimits": [{"soft": 1}]}, "ulimits = "),
        ({"devices": ["fuse"]}, "absolute"),
        ({"shm_size": "1GB"}, 'shm_size = "1G"'),
        ({"memswap_limit": "1G"}, "set mem_limit"),
        ({"memswap_limit": "1G", "mem_limit": "2G"}, "less than mem_limit"),
        ({"storage_opt": ["size=1G"]}, "storage_opt = "),
    ],
)
def test_what_cannot_work(settings: dict[str, Any], told: str) -> None:
    """With the line, the value and what works."""
    (found,) = lines(**settings)
    assert told in found, found


def test_what_works() -> None:
    """Each setting with a value of its help text, also with a number that a user chooses."""
    value = {"spawner_override": {
        "pids_limit": "{value}", "shm_size": "{value}M", "storage_opt": {"size": "{value}G"},
        "ulimits": [{"name": "nofile", "soft": "{value}", "hard": "{value}"}],
        "mem_guarantee": "{value}M", "mem_limit": "{value}G", "memswap_limit": "{value}G",
    }}  # fmt: skip
    option = {"display_name": "N", "number": {"min": 1, "max": 64, "step": 1, **value}}
    settings: dict[str, Any] = {
        "hardening": "strict",
        "mem_limit": "2G",
        "memswap_limit": -1,
        "cap_drop": ["NET_RAW"],
        "cap_add": ["NET_BIND_SERVICE"],
        "allow_privilege_escalation": True,
        "pids_limit": -1,
        "log_config": {"type": "json-file", "config": {"max-size": "50m", "max-file": 2}},
        "tmpfs": {"/tmp": "size=2g,exec", "/run": ""},
        "devices": ["/dev/fuse:/dev/fuse:rwm"],
        "ulimits": [{"name": "nofile", "soft": 4096, "hard": 8192}],
        "common_options": {"n": option},
    }
    assert lines(**settings) == []
