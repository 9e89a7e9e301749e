"""Settings about security in, keys of HostConfig out; and what an admin's own keys do to them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dockernamed import naming
from dockernamed.desired.environment import Environment
from dockernamed.desired.hardening import LEVELS, TMPFS, Hardening
from dockernamed.desired.mounts import Mount
from dockernamed.desired.network import Access
from dockernamed.desired.private import PRIVATE_DIR
from dockernamed.desired.resolved import KeptSettings, Place, ResolvedSettings
from dockernamed.desired.spec import (
    ServerSpec,
    container_config,
    drift,
    notes,
    spec_hash,
)
from dockernamed.desired.volumes import VolumePlan
from dockernamed.lifecycle.runtime import socket_of, sources_of

BACK = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID", "KILL"]
CORE = {"Name": "core", "Soft": 0, "Hard": 0}
LOGS = {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "3"}}
ENV = Environment(common={"A": "b"})
SPEC = ServerSpec(naming.Key("hub", "ann", ""), ("jupyter-ann",), "lab", mem_limit=1 << 30)


def host(level: str = "default", **changes: Any) -> dict[str, Any]:
    """HostConfig of a container; ``changes`` are those of the spec and of its hardening."""
    of_spec = {name: changes.pop(name) for name in list(changes) if name in SPEC_FIELDS}
    hardening = Hardening(level, log_driver="json-file", **changes)
    spec = replace(SPEC, hardening=hardening, **of_spec)
    body: dict[str, Any] = container_config(spec, ENV)["HostConfig"]
    return body


SPEC_FIELDS = ("user", "image_user", "mem_limit", "config", "host_config", "mounts")


def test_default() -> None:
    """Everything that the default level promises, for an image that starts as root."""
    found = host()
    for key in ("Init", "NetworkMode", "Binds", "Mounts", "Memory"):
        found.pop(key)
    assert found == {
        "CapDrop": ["ALL"],
        "CapAdd": BACK,
        "SecurityOpt": ["no-new-privileges"],
        "PidsLimit": 512,
        "MemorySwap": 1 << 30,
        "Ulimits": [CORE],
        "LogConfig": LOGS,
    }


def test_off_is_docker_itself() -> None:
    """No key at all is sent, and the hash is as of versions that knew no hardening."""
    spec = replace(SPEC, hardening=Hardening("off", log_driver="json-file"))
    assert container_config(spec, ENV) == container_config(SPEC, ENV)
    assert spec_hash(spec, ENV) == spec_hash(SPEC, ENV)
    keys = {"CapDrop", "CapAdd", "SecurityOpt", "PidsLimit", "MemorySwap", "Ulimits", "LogConfig"}
    assert not keys & set(container_config(spec, ENV)["HostConfig"])


@pytest.mark.parametrize(
    ("changes", "added"),
    [
        ({}, BACK),
        ({"image_user": "root"}, BACK),
        ({"image_user": "0:100"}, BACK),
        ({"image_user": "00"}, BACK),
        ({"image_user": "jovyan"}, None),
        ({"image_user": "1000"}, None),
        ({"user": "1000"}, None),
        ({"image_user": "jovyan", "user": "0"}, BACK),
        ({"image_user": "jovyan", "config": {"User": "root"}}, BACK),
        ({"user": "0", "config": {"User": "jovyan"}}, None),
        ({"host_config": {"CapDrop": ["cap_setuid"]}}, [c for c in BACK if c != "SETUID"]),
        ({"host_config": {"CapAdd": ["NET_RAW"]}}, [*BACK, "NET_RAW"]),
        ({"cap_add": ()}, None),
        ({"cap_add": ("NET_RAW",)}, ["NET_RAW"]),
        ({"cap_drop": ("NET_RAW",)}, None),
        ({"cap_drop": ("ALL", "KILL")}, BACK[:-1]),
        ({"host_config": {"Privileged": True}}, None),
        ({"level": "strict"}, None),
        ({"level": "strict", "cap_add": ("KILL",)}, ["KILL"]),
        ({"level": "off"}, None),
    ],
)
def test_capabilities(changes: dict[str, Any], added: list[str] | None) -> None:
    """Root gets back what a start script needs, nobody else gets any, and every setting counts."""
    assert host(**changes).get("CapAdd") == added


@pytest.mark.parametrize(
    ("changes", "options"),
    [
        ({}, ["no-new-privileges"]),
        ({"allow_privilege_escalation": True}, None),
        ({"host_config": {"Privileged": True}}, None),
        ({"level": "off", "allow_privilege_escalation": False}, ["no-new-privileges"]),
        ({"host_config": {"SecurityOpt": ["label=type:x"]}}, ["no-new-privileges", "label=type:x"]),
        (
            {"host_config": {"SecurityOpt": ["no-new-privileges=false"]}},
            ["no-new-privileges=false"],
        ),
    ],
)
def test_privileges(changes: dict[str, Any], options: list[str] | None) -> None:
    """No gain of rights, unless the setting or the admin's own option allows it."""
    assert host(**changes).get("SecurityOpt") == options


@pytest.mark.parametrize(
    ("changes", "swap"),
    [
        ({}, 1 << 30),
        ({"mem_limit": None}, None),
        ({"mem_limit": None, "host_config": {"Memory": 5}}, 5),
        ({"host_config": {"Memory": 5}}, 5),
        ({"host_config": {"MemorySwap": -1}}, -1),
        ({"memswap_limit": 2 << 30}, 2 << 30),
        ({"level": "off"}, None),
        ({"level": "off", "memswap_limit": -1}, -1),
    ],
)
def test_swap(changes: dict[str, Any], swap: int | None) -> None:
    """A limit of memory is one of memory and swap, wherever it comes from."""
    assert host(**changes).get("MemorySwap") == swap


NOFILE = {"Name": "nofile", "Soft": 1, "Hard": 2}
BIG_CORE = {"Name": "core", "Soft": 9, "Hard": 9}


@pytest.mark.parametrize(
    ("changes", "ulimits"),
    [
        ({}, [CORE]),
        ({"limits": {"Ulimits": [NOFILE]}}, [NOFILE, CORE]),
        ({"limits": {"Ulimits": [BIG_CORE]}}, [BIG_CORE]),
        ({"host_config": {"Ulimits": [BIG_CORE]}}, [BIG_CORE]),
        ({"host_config": {"Ulimits": [NOFILE]}}, [CORE, NOFILE]),
        ({"limits": {"Ulimits": [NOFILE]}, "host_config": {"Ulimits": [NOFILE]}}, [CORE, NOFILE]),
        ({"level": "off", "limits": {"Ulimits": [NOFILE]}}, [NOFILE]),
        ({"level": "off"}, None),
    ],
)
def test_ulimits(changes: dict[str, Any], ulimits: list[Any] | None) -> None:
    """No core dumps; each limit once, the admin's first. Never one of open files of ours."""
    assert host(**changes).get("Ulimits") == ulimits


@pytest.mark.parametrize(
    ("changes", "log"),
    [
        ({}, LOGS),
        ({"log_driver": "journald"}, None),
        ({"log_driver": ""}, None),
        ({"log_config": {"Type": "journald", "Config": {"tag": "x"}}},
         {"Type": "journald", "Config": {"tag": "x"}}),
        ({"log_config": {"Config": {"max-size": "1m"}}},
         {"Type": "json-file", "Config": {"max-size": "1m", "max-file": "3"}}),
        ({"log_config": {"Type": "json-file", "Config": {}}, "log_driver": "journald"}, LOGS),
        ({"host_config": {"LogConfig": {"Type": "journald", "Config": {}}}},
         {"Type": "journald", "Config": {}}),
        ({"host_config": {"LogConfig": {"Type": "json-file", "Config": {"max-file": "9"}}}},
         {"Type": "json-file", "Config": {"max-size": "10m", "max-file": "9"}}),
        ({"log_config": {"Type": "json-file", "Config": {"max-size": "1m"}},
          "host_config": {"LogConfig": {"Type": "syslog", "Config": {}}}},
         {"Type": "syslog", "Config": {}}),
        ({"level": "off"}, None),
        ({"level": "off", "log_config": {"Type": "json-file", "Config": {}}},
         {"Type": "json-file", "Config": {}}),
    ],
)  # fmt: skip
def test_logs(changes: dict[str, Any], log: dict[str, Any] | None) -> None:
    """Logs are bounded where json-file is in force; no driver gets the options of another."""
    driver = changes.pop("log_driver", "json-file")
    level = changes.pop("level", "default")
    of_spec = {name: changes.pop(name) for name in list(changes) if name in SPEC_FIELDS}
    hardening = Hardening(level, log_driver=driver, **changes)
    body = container_config(replace(SPEC, hardening=hardening, **of_spec), ENV)
    assert body["HostConfig"].get("LogConfig") == log


@pytest.mark.parametrize(
    ("changes", "pids"),
    [
        ({}, 512),
        ({"pids_limit": -1}, -1),
        ({"pids_limit": 64}, 64),
        ({"host_config": {"PidsLimit": 9}}, 9),
        ({"level": "off"}, None),
        ({"level": "off", "pids_limit": 64}, 64),
    ],
)
def test_processes(changes: dict[str, Any], pids: int | None) -> None:
    """A fork bomb ends at a limit."""
    assert host(**changes).get("PidsLimit") == pids


def resolved(level: str = "strict", **changes: Any) -> ResolvedSettings:
    """Settings of one start of a server that is kept when it ends."""
    hardening = Hardening(level, **changes)
    kept = KeptSettings(Access("ip"), 8888, False, False, 10.0, True)
    names = ("jupyter-ann",)
    return ResolvedSettings(SPEC.key, names, "lab", Place(), kept, hardening=hardening)


IMAGE = {"Config": {"WorkingDir": "/home/jovyan", "Cmd": ["lab"], "User": "jovyan"}}
HOME = Mount("volume", "", "/home/jovyan")


@pytest.mark.parametrize(
    ("mounts", "further"),
    [
        ((), (HOME,)),
        ((Mount("volume", "home", "/home/jovyan"),), ()),
        ((Mount("bind", "/srv/homes", "/home"),), ()),
        ((Mount("volume", "data", "/home/jovyan/data"),), (HOME,)),
        ((Mount("volume", "data", "/home/jovyan2"),), (HOME,)),
    ],
)
def test_strict_leaves_a_place_to_write(
    mounts: tuple[Mount, ...], further: tuple[Mount, ...]
) -> None:
    """The root is read-only; /tmp, /run and the home can be written to, each mounted once."""
    spec = resolved().spec(IMAGE, VolumePlan(mounts, {}, {}), ENV)
    assert spec.mounts == (*mounts, *further)
    body = container_config(spec, ENV)["HostConfig"]
    assert (body["ReadonlyRootfs"], body["Tmpfs"]) == (True, dict(TMPFS))
    assert "CapAdd" not in body
    # Tokens come into a volume, at a later start too.
    assert [mount.target for mount in spec.all_mounts[len(spec.mounts) :]] == [PRIVATE_DIR]


def test_tmpfs_yields_to_mounts() -> None:
    """Docker refuses two mounts at one path."""
    mounts = (Mount("volume", "scratch", "/tmp"),)
    assert list(host("strict", mounts=mounts)["Tmpfs"]) == ["/run"]
    assert list(host("strict", host_config={"Binds": ["/x:/tmp:ro"]})["Tmpfs"]) == ["/run"]
    assert host("strict", host_config={"Tmpfs": {"/tmp": "exec"}})["Tmpfs"]["/tmp"] == "exec"
    assert host("default", tmpfs={"/tmp": ""})["Tmpfs"] == {"/tmp": ""}
    assert "ReadonlyRootfs" not in host("strict", read_only=False)
    assert "Tmpfs" not in host("strict", read_only=False)


@pytest.mark.parametrize(
    ("level", "setting", "wanted"),
    [
        ("default", None, False), ("strict", None, True), ("off", None, False),
        ("strict", False, False), ("default", True, True),
    ],
)  # fmt: skip
def test_ways_out(level: str, setting: bool | None, wanted: bool) -> None:
    """Strict wants a network without a way out, unless its setting says otherwise."""
    assert Hardening(level, internal_network=setting).wants_internal_network is wanted


def test_a_container_of_before_is_replaced_with_a_cause() -> None:
    """A kept container that was not hardened is told apart by that alone, in either direction."""
    before = spec_hash(SPEC, ENV)
    for level in ("default", "strict"):
        now = spec_hash(replace(SPEC, hardening=Hardening(level)), ENV)
        assert drift(before, now) == ["hardening"]
        assert drift(now, before) == ["hardening"]
    assert LEVELS == ("default", "strict", "off")


def test_a_changed_limit_is_drift() -> None:
    """A kept container with another size of /dev/shm is of no use."""
    with_shm = replace(SPEC, hardening=Hardening(limits={"ShmSize": 1}))
    assert drift(spec_hash(SPEC, ENV), spec_hash(with_shm, ENV)) == ["limits"]


@pytest.mark.parametrize(
    ("level", "changes", "env", "image", "said"),
    [
        ("default", {}, {"GRANT_SUDO": "yes"}, {}, ["allow_privilege_escalation = True"]),
        ("default", {}, {"GRANT_SUDO": "1"}, {}, ["allow_privilege_escalation = True"]),
        ("default", {}, {}, {"Env": ["GRANT_SUDO=yes"]}, ["allow_privilege_escalation = True"]),
        ("default", {}, {"GRANT_SUDO": "no"}, {"Env": ["GRANT_SUDO=yes"]}, []),
        ("default", {"allow_privilege_escalation": True}, {"GRANT_SUDO": "yes"}, {}, []),
        ("off", {}, {"GRANT_SUDO": "yes"}, {}, []),
        ("strict", {}, {}, {}, ["DockerNamedSpawner.uid"]),
        ("default", {}, {}, {}, []),
    ],
)
def test_notes(
    level: str, changes: dict[str, Any], env: dict[str, str], image: dict[str, Any], said: list[str]
) -> None:
    """What a server asks for and does not get is told, with the line that gives it."""
    spec = replace(SPEC, hardening=Hardening(level, **changes))
    found = notes(spec, env, {"Config": image})
    assert len(found) == len(said)
    assert all(words in note for words, note in zip(said, found, strict=True))


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("unix:///run/docker.sock", "/run/docker.sock"),
        ("unix://run/docker.sock", "/run/docker.sock"),
        ("http+unix:///x/y.sock", "/x/y.sock"),
        ("tcp://10.0.0.5:2376", ""),
        ("ssh://host", ""),
    ],
)
def test_the_path_of_the_engines_socket(url: str, path: str) -> None:
    """As the Engine's address has it."""
    assert socket_of(url) == path


def test_the_socket_of_a_hub_in_a_container() -> None:
    """Its path on the host is another than in the Hub's container."""
    mounts = [
        {"Source": "/srv/engine/docker.sock", "Destination": "/var/run/docker.sock"},
        {"Source": "/srv/data", "Destination": "/data"},
        {"Source": "/srv/run", "Destination": "/var/run/"},
        {"Source": "/srv/other", "Destination": "/var/run/docker.sock.d"},
        {"Type": "tmpfs", "Source": "", "Destination": "/var"},
    ]
    found = list(sources_of("/var/run/docker.sock", mounts))
    assert found == ["/srv/engine/docker.sock", "/srv/run/docker.sock"]
