"""A spec as Docker Engine API bodies, and its hash."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dockernamed import naming
from dockernamed.desired.environment import split
from dockernamed.desired.merging import merged
from dockernamed.desired.mounts import Mount
from dockernamed.desired.private import PRIVATE_DIR
from dockernamed.desired.spec import LABEL_START, ServerSpec, container_config, drift, spec_hash

KEY = naming.Key("hub", "ann", "exp-1")
SPEC = ServerSpec(key=KEY, names=("jupyter-ann--exp-1",), image="lab", image_id="sha256:1")
ENV = split({"JUPYTERHUB_API_TOKEN": "t0", "JPY_API_TOKEN": "t0", "A": "b"})


def test_container_config_of_a_bare_spec() -> None:
    """The least that is asked for: image, env, our labels, the port, an init process."""
    body = container_config(SPEC, ENV, start_id="s")
    assert body["Image"] == "lab"
    assert body["Env"] == ["A=b", "JUPYTERHUB_API_TOKEN=t0", "JPY_API_TOKEN=t0"]
    assert body["Labels"] == {
        **naming.labels(KEY),
        naming.LABEL_SPEC: spec_hash(SPEC, ENV),
        LABEL_START: "s",
    }
    assert body["ExposedPorts"] == {"8888/tcp": {}}
    assert "Cmd" not in body
    host = body["HostConfig"]
    assert host["Init"] is True
    assert host["NetworkMode"] == "bridge"
    assert "PortBindings" not in host


def test_limits_are_in_the_engines_units() -> None:
    """Bytes for memory, shares and a quota of the period for CPUs."""
    spec = replace(SPEC, mem_limit=2**30, mem_guarantee=2**29, cpu_limit=1.5, cpu_guarantee=0.5)
    host = container_config(spec, ENV)["HostConfig"]
    assert (host["Memory"], host["MemoryReservation"]) == (2**30, 2**29)
    assert (host["CpuPeriod"], host["CpuQuota"], host["CpuShares"]) == (100_000, 150_000, 512)


def test_the_admins_cpu_period_is_what_the_limit_is_a_share_of() -> None:
    """``extra_host_config`` may set the period; the quota follows."""
    spec = replace(SPEC, cpu_limit=0.5, host_config={"CpuPeriod": 50_000})
    assert container_config(spec, ENV)["HostConfig"]["CpuQuota"] == 25_000


def test_a_tiny_cpu_guarantee_stays_within_the_kernels_bounds() -> None:
    """The kernel takes no weight below 2."""
    host = container_config(replace(SPEC, cpu_guarantee=0.0001), ENV)["HostConfig"]
    assert host["CpuShares"] == 2


def test_publishing_leaves_the_port_to_the_engine() -> None:
    """A published port gets a free host port at the wanted address."""
    host = container_config(replace(SPEC, publish_ip="127.0.0.1", port=80), ENV)["HostConfig"]
    assert host["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}


def test_extra_settings_win_but_never_over_our_labels() -> None:
    """The admin may turn off init and add labels; who-is-this cannot be overwritten."""
    spec = replace(
        SPEC,
        config={"Labels": {"x": "y", naming.LABEL_USER: "eve"}, "User": "root", "Env": ["B=c"]},
        host_config={"Init": False, "CapDrop": ["ALL"]},
    )
    body = container_config(spec, ENV)
    assert body["Labels"]["x"] == "y"
    assert body["Labels"][naming.LABEL_USER] == "ann"
    assert body["User"] == "root"
    assert "B=c" in body["Env"]
    assert body["HostConfig"]["Init"] is False


def test_a_shell_hands_over_what_is_secret() -> None:
    """It is nowhere in the body; what is personal is, for health checks and ``docker exec``."""
    env = split({"JUPYTERHUB_API_TOKEN": "t0ken", "JUPYTERHUB_USER": "ann", "A": "b"}, {"DB": "pw"})
    body = container_config(replace(SPEC, process=("tini", "lab")), env, start_id="s")
    assert body["Env"] == ["A=b", "JUPYTERHUB_USER=ann"]
    assert body["Entrypoint"][0] == "/bin/sh"
    assert body["Cmd"] == ["tini", "lab"]
    assert "t0ken" not in str(body)
    assert "pw" not in body["Env"]


@pytest.mark.parametrize("change", [{"process": ("lab",)}, {"files": ("/etc/key",)}])
def test_a_volume_for_what_is_private(change: dict[str, Any]) -> None:
    """It has no name, so that it goes with the container, and no label of a server's files."""
    (mount,) = container_config(replace(SPEC, **change), ENV, start_id="s")["HostConfig"]["Mounts"]
    assert mount == {
        "Type": "volume",
        "Target": PRIVATE_DIR,
        "VolumeOptions": {
            "NoCopy": True,
            "Labels": {naming.LABEL_HUB: KEY.hub, LABEL_START: "s"},
        },
    }


def test_hash_ignores_what_is_personal_and_names() -> None:
    """A new token or another name is no reason to throw a container away."""
    same = spec_hash(SPEC, split({"JUPYTERHUB_API_TOKEN": "t1", "JUPYTERHUB_USER": "u", "A": "b"}))
    assert spec_hash(replace(SPEC, names=("other",)), ENV) == same == spec_hash(SPEC, ENV)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"image_id": "sha256:2"}, "image"),
        ({"command": ("x",)}, "command"),
        ({"process": ("x",)}, "command"),
        ({"port": 80}, "command"),
        ({"files": ("/etc/key",)}, "mounts"),
        ({"network": "n"}, "network"),
        ({"publish_ip": "127.0.0.1"}, "network"),
        ({"mem_limit": 1}, "limits"),
        ({"mem_guarantee": 1}, "limits"),
        ({"cpu_limit": 1.0}, "limits"),
        ({"cpu_guarantee": 1.0}, "limits"),
        ({"mounts": (Mount("volume", "v", "/v"),)}, "mounts"),
        ({"config": {"User": "root"}}, "other settings"),
        ({"host_config": {"ShmSize": 1}}, "other settings"),
    ],
    ids=lambda value: next(iter(value)),
)
def test_hash_sees_every_setting(change: dict[str, Any], part: str) -> None:
    """Whatever else differs makes another container, and what that is can be told."""
    assert drift(spec_hash(SPEC, ENV), spec_hash(replace(SPEC, **change), ENV)) == [part]


def test_hash_sees_the_environment() -> None:
    """A changed variable is drift, and so is a lost one."""
    made = spec_hash(SPEC, replace(ENV, common={"A": "c"}))
    for env in (ENV, replace(ENV, common={"A": "d"}), replace(ENV, common={})):
        assert drift(made, spec_hash(SPEC, env)) == ["environment"]
    assert drift(made, made) == []


def test_hash_of_another_version() -> None:
    """A label that says nothing of parts is drift in all of them."""
    assert len(drift("0123456789abcdef", spec_hash(SPEC, ENV))) == 7


def test_volumes_that_vanish_are_made_anew_with_their_labels() -> None:
    """Between claim and create a volume may go: the Engine then makes it as we would have."""
    mount = Mount("volume", "v", "/v", labels={"a": "b"}, options={"type": "nfs"})
    spec = replace(SPEC, mounts=(mount, Mount("tmpfs", "", "/t")))
    volume, tmpfs = container_config(spec, ENV, start_id="s")["HostConfig"]["Mounts"]
    assert volume["VolumeOptions"] == {
        "NoCopy": False,
        "Labels": {"a": "b", LABEL_START: "s"},
        "DriverConfig": {"Options": {"type": "nfs"}},
    }
    assert "VolumeOptions" not in tmpfs
    assert "Labels" not in container_config(SPEC, ENV)["HostConfig"]
    assert (
        spec_hash(spec, ENV)
        == container_config(spec, ENV, start_id="t")["Labels"][naming.LABEL_SPEC]
    ), "what is new at each start is no drift"


def test_merged_joins_lists_and_merges_dicts() -> None:
    """Laying one body over another keeps what is not overridden, and changes neither."""
    base = {"a": {"b": 1, "c": [1]}, "d": 1}
    assert merged(base, {"a": {"c": [2]}, "d": None}) == {"a": {"b": 1, "c": [1, 2]}, "d": None}
    assert base == {"a": {"b": 1, "c": [1]}, "d": 1}
