"""A wish as Docker Engine API bodies, and its hash."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dockernamed import naming
from dockernamed.desired.environment import split
from dockernamed.desired.spec import (
    LABEL_START,
    Mount,
    ServerSpec,
    check_targets,
    container_config,
    drift,
    merged,
    mount_from,
    spec_hash,
    volume_mounts,
)
from dockernamed.errors import ConfigError

KEY = naming.Key("hub", "ann", "exp-1")
SPEC = ServerSpec(key=KEY, names=("jupyter-ann--exp-1",), image="lab", image_id="sha256:1")
ENV = split({"JUPYTERHUB_API_TOKEN": "t0", "JPY_API_TOKEN": "t0", "A": "b"})


def test_container_config_of_a_bare_spec():
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


def test_limits_are_in_the_engines_units():
    """Bytes for memory, shares and a quota of the period for CPUs."""
    spec = replace(SPEC, mem_limit=2**30, mem_guarantee=2**29, cpu_limit=1.5, cpu_guarantee=0.5)
    host = container_config(spec, ENV)["HostConfig"]
    assert (host["Memory"], host["MemoryReservation"]) == (2**30, 2**29)
    assert (host["CpuPeriod"], host["CpuQuota"], host["CpuShares"]) == (100_000, 150_000, 512)


def test_the_admins_cpu_period_is_what_the_limit_is_a_share_of():
    """``extra_host_config`` may set the period; the quota follows."""
    spec = replace(SPEC, cpu_limit=0.5, host_config={"CpuPeriod": 50_000})
    assert container_config(spec, ENV)["HostConfig"]["CpuQuota"] == 25_000


def test_a_tiny_cpu_guarantee_stays_within_the_kernels_bounds():
    """The kernel takes no weight below 2."""
    host = container_config(replace(SPEC, cpu_guarantee=0.0001), ENV)["HostConfig"]
    assert host["CpuShares"] == 2


def test_publishing_leaves_the_port_to_the_engine():
    """A published port gets a free host port at the wanted address."""
    host = container_config(replace(SPEC, publish_ip="127.0.0.1", port=80), ENV)["HostConfig"]
    assert host["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}


def test_extra_settings_win_but_never_over_our_labels():
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


def test_hash_ignores_what_is_personal_and_names():
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
def test_hash_sees_every_setting(change, part):
    """Whatever else differs makes another container, and what that is can be told."""
    assert drift(spec_hash(SPEC, ENV), spec_hash(replace(SPEC, **change), ENV)) == [part]


def test_hash_sees_the_environment():
    """A changed variable is drift, and so is a lost one."""
    made = spec_hash(SPEC, replace(ENV, common={"A": "c"}))
    for env in (ENV, replace(ENV, common={"A": "d"}), replace(ENV, common={})):
        assert drift(made, spec_hash(SPEC, env)) == ["environment"]
    assert drift(made, made) == []


def test_hash_of_another_version():
    """A label that says nothing of parts is drift in all of them."""
    assert len(drift("0123456789abcdef", spec_hash(SPEC, ENV))) == 7


def test_volumes_that_vanish_are_made_anew_with_their_labels():
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


def test_volumes_become_mounts_and_directories_bind_strings():
    """A name is a volume (labels can be given), a path is a bind string (Docker makes it)."""
    mounts = volume_mounts(
        "volumes",
        {"vol": "/a/", "/srv": {"bind": "/b", "mode": "ro,Z"}, "v2": {"bind": "/c", "mode": "ro"}},
    )
    host = container_config(replace(SPEC, mounts=tuple(mounts)), ENV)["HostConfig"]
    assert host["Binds"] == ["/srv:/b:Z,ro"]
    assert [(m["Source"], m["Target"], m.get("ReadOnly")) for m in host["Mounts"]] == [
        ("vol", "/a", None),
        ("v2", "/c", True),
    ]


def test_read_only_volumes_are_read_only_unless_their_mode_says_otherwise():
    """The setting's default mode is ``ro``."""
    mounts = volume_mounts(
        "read_only_volumes", {"a": "/a", "b": {"bind": "/b", "mode": "rw"}}, read_only=True
    )
    assert [mount.flags for mount in mounts] == [{"ro"}, frozenset()]


@pytest.mark.parametrize(
    ("volumes", "word"),
    [
        ({"v": "relative"}, "absolute path"),
        ({"v": "/a:rw"}, "absolute path"),
        ({"a/b": "/a"}, "absolute path"),
        ({"": "/a"}, "volume's name"),
        ({"a:b": "/a"}, "without"),
        ({"v": {"bind": "/a", "mode": "wr"}}, "unknown mode"),
        ({"v": {"target": "/a"}}, "bind"),
        ({"v": {"bind": "/a", "size": 1}}, "bind"),
    ],
)
def test_a_volume_that_docker_could_not_take_is_refused_by_name(volumes, word):
    """The error names the setting and what would have worked."""
    with pytest.raises(ConfigError, match=word) as caught:
        volume_mounts("volumes", volumes)
    assert caught.value.field == "volumes"


def test_mounts_take_docker_pys_arguments():
    """The long form: tmpfs sizes, drivers, bind propagation, read-only."""
    tmpfs = mount_from("mounts", {"type": "tmpfs", "target": "/t", "tmpfs_size": 5}).to_api()
    assert tmpfs["TmpfsOptions"] == {"SizeBytes": 5}
    nfs = mount_from(
        "mounts",
        {
            "source": "v",
            "target": "/v",
            "read_only": True,
            "no_copy": True,
            "driver_config": {"Name": "local", "Options": {"type": "nfs"}},
            "labels": {"a": "b"},
        },
    )
    assert (nfs.driver, nfs.options, nfs.labels) == ("local", {"type": "nfs"}, {"a": "b"})
    assert nfs.to_api()["VolumeOptions"] == {
        "NoCopy": True,
        "Labels": {"a": "b"},
        "DriverConfig": {"Name": "local", "Options": {"type": "nfs"}},
    }
    bind = mount_from(
        "mounts",
        {"type": "bind", "source": "/s", "target": "/b", "propagation": "rslave",
         "consistency": "cached"},
    )  # fmt: skip
    assert not bind.is_bind_string
    assert bind.to_api() == {
        "Type": "bind",
        "Source": "/s",
        "Target": "/b",
        "BindOptions": {"Propagation": "rslave"},
        "Consistency": "cached",
    }


@pytest.mark.parametrize(
    "mount", [{"target": "/a", "sorce": "v"}, {"type": "nfs", "target": "/a"}, {"source": "v"}]
)
def test_a_wrong_mount_is_refused(mount):
    """Unknown keys and types and a missing target are named."""
    with pytest.raises(ConfigError, match="mounts"):
        mount_from("mounts", mount)


def test_two_mounts_at_one_path_are_refused():
    """Docker would say so only at create; we name both sources."""
    with pytest.raises(ConfigError, match=r"'a' and 'b'"):
        check_targets([Mount("volume", "a", "/x"), Mount("volume", "b", "/x")])


def test_merged_joins_lists_and_merges_dicts():
    """Laying one body over another keeps what is not overridden, and changes neither."""
    base = {"a": {"b": 1, "c": [1]}, "d": 1}
    assert merged(base, {"a": {"c": [2]}, "d": None}) == {"a": {"b": 1, "c": [1, 2]}, "d": None}
    assert base == {"a": {"b": 1, "c": [1]}, "d": 1}
