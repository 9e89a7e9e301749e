"""What gives servers the Engine's host is refused, however it is written, unless it is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from dockernamed.desired.mounts import mount_from, volume_mounts
from dockernamed.desired.unsafe import UNSAFE, Judge
from dockernamed.errors import ConfigError
from dockernamed.lifecycle.hardened import capabilities

SOCKET = "/srv/engine/engine.sock"


def judge(*allowed: str) -> Judge:
    """One that knows where the Engine's socket is."""
    return Judge(frozenset(allowed), (SOCKET,))


SOURCES = {
    "/": "engine-socket",
    "//": "engine-socket",
    "/.": "engine-socket",
    "/srv/..": "engine-socket",
    "/var/run/docker.sock": "engine-socket",
    "/run/docker.sock": "engine-socket",
    "/run": "engine-socket",
    "/run/": "engine-socket",
    "/var/run": "engine-socket",
    "/var": "engine-socket",
    "/var//run/./docker.sock": "engine-socket",
    "/var/lib/../run/docker.sock": "engine-socket",
    "/srv/../../run//docker.sock": "engine-socket",
    "/var/lib/docker/volumes/bob/_data": "engine-socket",
    "/run/containerd/containerd.sock": "engine-socket",
    "/run/podman": "engine-socket",
    "/run/user": "engine-socket",
    "/run/user/1000": "engine-socket",
    "/run/user/1000/docker.sock": "engine-socket",
    "/var/run/user/1000/podman/podman.sock": "engine-socket",
    "/proc/1/root/run/docker.sock": "engine-socket",
    "/proc/self/root": "engine-socket",
    "/proc/1/task/1/root/var/run": "engine-socket",
    SOCKET: "engine-socket",
    "/srv/engine": "engine-socket",
    "/srv": "engine-socket",
    "/dev": "host-devices",
    "/dev/sda": "host-devices",
    "/dev/../dev/mem": "host-devices",
    "/var/run/../dev/sda": "host-devices",
    "/proc": "host-devices",
    "/proc/sys/kernel": "host-devices",
    "/sys": "host-devices",
    "/sys/fs/cgroup": "host-devices",
}
FINE = (
    "/srv/homes/ann",
    "/home",
    "/data",
    "/srv/engineering",
    "/develop",
    "/run/user-data",
    "/run/docker.sock.d",
    "/var/lib/dockerfiles",
    "/processed",
    "a-volume",
    "",
)


def forms(source: str) -> list[tuple[str, Any]]:
    """Every way to write a mount of a source: what judges it, and what it is given."""
    bind = {"type": "bind", "source": source, "target": "/x"}
    volume = {
        "type": "volume", "source": "v", "target": "/x",
        "driver_config": {"Name": "local", "Options": {"o": "bind", "device": source}},
    }  # fmt: skip
    overlay = {**volume, "driver_config": {"options": {"o": f"upperdir={source},workdir=/w"}}}
    api = {"Type": "bind", "Source": source, "Target": "/x"}
    odd = {"type": "BIND", "SOURCE": source, "target": "/x"}
    by_volume = {"Type": "volume", "VolumeOptions": {
        "driverconfig": {"Options": {"Device": source, "o": "rbind"}}}}  # fmt: skip
    return [
        *(("mounts", [mount_from("mounts", one)]) for one in (bind, volume, overlay)),
        ("host_config", {"Binds": [f"{source}:/x:ro"]}),
        *(("host_config", {"Mounts": [one]}) for one in (api, odd, by_volume)),
        ("config", {"HostConfig": {"binds": [f"{source}:/x"]}}),
    ]


@pytest.mark.parametrize(("source", "word"), SOURCES.items())
def test_sources(source: str, word: str) -> None:
    """In every setting and form; the message has the setting, the value and the line."""
    given = [*forms(source), ("mounts", volume_mounts("volumes", {source: "/x"}))]
    for method, value in given:
        with pytest.raises(ConfigError) as caught:
            getattr(judge(), method)("setting", value)
        assert caught.value.field == "setting"
        assert caught.value.value == source
        assert f'allow_unsafe = ["{word}"]' in caught.value.hint
        getattr(judge(*UNSAFE), method)("setting", value)


@pytest.mark.parametrize("source", FINE)
def test_other_sources(source: str) -> None:
    """What only looks like one of them is no business of ours."""
    for method, value in forms(source):
        getattr(judge(), method)("setting", value)


def test_a_link_is_followed() -> None:
    """A user who owns a directory cannot make its path one of the Engine's socket."""
    links = Judge(real=lambda path: path.replace("/srv/homes/ann/data", "/run/docker.sock"))
    mounts = volume_mounts("volumes", {"/srv/homes/ann/data": "/data"})
    with pytest.raises(ConfigError, match="engine-socket"):
        links.mounts("volumes", mounts)


KEYS: list[tuple[dict[str, Any], str]] = [
    ({"Privileged": True}, "privileged"),
    ({"privileged": True}, "privileged"),
    ({"PidMode": "host"}, "host-namespaces"),
    ({"IpcMode": "host"}, "host-namespaces"),
    ({"UTSMode": "host"}, "host-namespaces"),
    ({"UsernsMode": "host"}, "host-namespaces"),
    ({"CgroupnsMode": "host"}, "host-namespaces"),
    ({"NetworkMode": "host"}, "host-namespaces"),
    ({"networkmode": "HOST"}, "host-namespaces"),
    ({"NetworkMode": "ns:/proc/1/ns/net"}, "host-namespaces"),
    ({"NetworkMode": "container:bobs"}, "container-namespaces"),
    ({"PidMode": "container:bobs"}, "container-namespaces"),
    ({"SecurityOpt": ["seccomp=unconfined"]}, "unconfined"),
    ({"SecurityOpt": ["seccomp:unconfined"]}, "unconfined"),
    ({"SecurityOpt": ["apparmor=unconfined"]}, "unconfined"),
    ({"SecurityOpt": ["systempaths=unconfined"]}, "unconfined"),
    ({"SecurityOpt": ["label=disable"]}, "unconfined"),
    ({"MaskedPaths": []}, "unconfined"),
    ({"readonlyPaths": []}, "unconfined"),
    ({"CapAdd": ["SYS_ADMIN"]}, "host-capabilities"),
    ({"CapAdd": ["cap_sys_admin"]}, "host-capabilities"),
    ({"CapAdd": ["CHOWN", "ALL"]}, "host-capabilities"),
    ({"CapAdd": ["sys_ptrace"]}, "host-capabilities"),
    ({"DeviceCgroupRules": ["a *:* rwm"]}, "host-devices"),
    ({"VolumesFrom": ["bobs"]}, "volumes-from"),
]


@pytest.mark.parametrize(("keys", "word"), KEYS)
def test_keys(keys: dict[str, Any], word: str) -> None:
    """Each by either setting with further keys, and allowed by its word and by no other."""
    others = [one for one in UNSAFE if one != word]
    for method, value in (("host_config", keys), ("config", {"HostConfig": keys})):
        with pytest.raises(ConfigError) as caught:
            getattr(judge(*others), method)("extra", value)
        assert f'"{word}"' in caught.value.hint
        assert UNSAFE[word] in caught.value.hint
        getattr(judge(word), method)("extra", value)


@pytest.mark.parametrize(
    "keys",
    [
        {"Privileged": False},
        {"NetworkMode": "hubnet"},
        {"IpcMode": "private"},
        {"PidMode": ""},
        {"UsernsMode": "keep-id"},
        {"SecurityOpt": ["no-new-privileges", "seccomp={}", "label=type:x"]},
        {"CapAdd": ["NET_BIND_SERVICE"]},
        {"Devices": [{"PathOnHost": "/dev/fuse"}]},
        {"DeviceRequests": [{"Count": -1}]},
        {"Mounts": [{"Type": "tmpfs", "Target": "/dev/shm"}]},
        {"VolumesFrom": []},
    ],
)
def test_harmless_keys(keys: dict[str, Any]) -> None:
    """What takes nothing away from the others is the admin's to say."""
    judge().host_config("extra_host_config", keys)


def test_names_of_capabilities() -> None:
    """Every spelling that Engines take; a name that no kernel has is told, with the nearest."""
    assert capabilities("cap_add", ["cap_chown", "NET_RAW"]) == ("CHOWN", "NET_RAW")
    with pytest.raises(ConfigError, match="did you mean 'NET_RAW'"):
        capabilities("cap_add", ["NETRAW"])


def container(**keys: Any) -> dict[str, Any]:
    """A ServiceSpec with keys of its ContainerSpec."""
    return {"TaskTemplate": {"ContainerSpec": keys}}


UNSAFE_SERVICES: list[tuple[dict[str, Any], str]] = [
    (container(CapabilityAdd=["CAP_SYS_ADMIN"]), "host-capabilities"),
    (container(capabilityadd=["all"]), "host-capabilities"),
    (container(Mounts=[{"Type": "bind", "Source": "/run/docker.sock"}]), "engine-socket"),
    (container(Mounts=[{"type": "BIND", "source": "/"}]), "engine-socket"),
    (container(Mounts=[{"Type": "bind", "Source": "/dev"}]), "host-devices"),
    (
        container(
            Mounts=[{"VolumeOptions": {"DriverConfig": {"Options": {"device": "/var/run"}}}}]
        ),
        "engine-socket",
    ),
    (container(Privileges={"Seccomp": {"Mode": "unconfined"}}), "unconfined"),
    (container(privileges={"apparmor": {"mode": "Disabled"}}), "unconfined"),
    (container(Privileges={"SELinuxContext": {"Disable": True}}), "unconfined"),
    ({"TaskTemplate": {"Networks": [{"Target": "host"}]}}, "host-namespaces"),
    ({"networks": [{"target": "HOST"}]}, "host-namespaces"),
    ({"TaskTemplate": {"Runtime": "plugin"}}, "privileged"),
    ({"tasktemplate": {"pluginspec": {"Name": "x"}}}, "privileged"),
]


@pytest.mark.parametrize(("spec", "word"), UNSAFE_SERVICES)
def test_services(spec: dict[str, Any], word: str) -> None:
    """What an admin adds to a Swarm service smuggles in nothing that is refused elsewhere."""
    with pytest.raises(ConfigError, match=f'"{word}"'):
        judge().service("extra_service_spec", spec)
    judge(word).service("extra_service_spec", spec)


def test_harmless_services() -> None:
    """All else is fine."""
    judge().service(
        "extra_service_spec",
        {
            "UpdateConfig": {"Delay": 1},
            "TaskTemplate": {
                "Networks": [{"Target": "course"}],
                "ContainerSpec": {
                    "CapabilityAdd": ["NET_BIND_SERVICE"],
                    "Mounts": [{"Type": "bind", "Source": "/srv/data", "Target": "/data"}],
                    "Privileges": {"Seccomp": {"Mode": "default"}, "NoNewPrivileges": True},
                },
            },
        },
    )
