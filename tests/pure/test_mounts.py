"""The settings' two forms of mounts, and each mount as Docker's API has it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from dockernamed import naming
from dockernamed.desired.environment import Environment
from dockernamed.desired.mounts import Mount, check_targets, mount_from, volume_mounts
from dockernamed.desired.spec import ServerSpec, container_config
from dockernamed.errors import ConfigError

SPEC = ServerSpec(key=naming.Key("hub", "ann", "exp-1"), names=("jupyter-ann--exp-1",), image="lab")


def test_volumes_become_mounts_and_directories_bind_strings() -> None:
    """A name is a volume (labels can be given), a path is a bind string (Docker makes it)."""
    mounts = volume_mounts(
        "volumes",
        {"vol": "/a/", "/srv": {"bind": "/b", "mode": "ro,Z"}, "v2": {"bind": "/c", "mode": "ro"}},
    )
    host = container_config(replace(SPEC, mounts=tuple(mounts)), Environment())["HostConfig"]
    assert host["Binds"] == ["/srv:/b:Z,ro"]
    assert [(m["Source"], m["Target"], m.get("ReadOnly")) for m in host["Mounts"]] == [
        ("vol", "/a", None),
        ("v2", "/c", True),
    ]


def test_read_only_volumes_are_read_only_unless_their_mode_says_otherwise() -> None:
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
def test_a_volume_that_docker_could_not_take_is_refused_by_name(
    volumes: Mapping[str, Any], word: str
) -> None:
    """The error names the setting and what would have worked."""
    with pytest.raises(ConfigError, match=word) as caught:
        volume_mounts("volumes", volumes)
    assert caught.value.field == "volumes"


def test_mounts_take_docker_pys_arguments() -> None:
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
def test_a_wrong_mount_is_refused(mount: Mapping[str, Any]) -> None:
    """Unknown keys and types and a missing target are named."""
    with pytest.raises(ConfigError, match="mounts"):
        mount_from("mounts", mount)


def test_two_mounts_at_one_path_are_refused() -> None:
    """Docker would say so only at create; we name both sources."""
    with pytest.raises(ConfigError, match=r"'a' and 'b'"):
        check_targets([Mount("volume", "a", "/x"), Mount("volume", "b", "/x")])
