"""The further arguments for docker-py: read, expanded, and their mounts taken out."""

from __future__ import annotations

from typing import Any

import pytest
from docker.types import Mount as DockerMount

from dockernamed import naming
from dockernamed.errors import ConfigError
from dockernamed.lifecycle.further import Further, further

FIELDS = naming.namespace(naming.Key("hub", "ann", "exp-1"), prefix="jupyter")


def read(
    at_create: dict[str, Any] | None = None, for_host: dict[str, Any] | None = None
) -> Further:
    """Both settings, for one server."""
    return further(at_create or {}, for_host or {}, FIELDS)


def test_mounts_are_taken_out_of_either_setting() -> None:
    """As templates, in the API's spelling, whether as a list, a dict or docker-py's objects."""
    found = read(
        {"host_config": {"Binds": ["a-{username}:/a"], "ShmSize": 9, "CapAdd": ["{username}"]}},
        {
            "binds": {"/srv/{username}": {"bind": "/b", "mode": "ro"}},
            "mounts": [DockerMount("/m", "m-{username}")],
            "shm_size": 7,
        },
    )
    assert found.binds == ("/srv/{username}:/b:ro", "a-{username}:/a")
    assert [mount["Source"] for mount in found.mounts] == ["m-{username}"]
    assert found.host_config == {"ShmSize": 9, "CapAdd": ["ann"]}, "as where they came together"
    assert found.config == {}


def test_any_case_of_letters() -> None:
    """The Engine reads the keys of its API in any, so the rules must not ask for one."""
    bobs = {"type": "Volume", "source": "bobs", "target": "/x", "volumeoptions": {"subpath": "a"}}
    found = read(
        {"host_config": {"binds": ["bobs:/a"], "MOUNTS": [bobs], "volumesfrom": ["tools"]}},
        {"mounts": [{**bobs, "target": "/y"}]},
    )
    assert found.binds == ("bobs:/a",)
    spelled = {"Type": "volume", "Source": "bobs", "VolumeOptions": {"Subpath": "a"}}
    assert list(found.mounts) == [{**spelled, "Target": "/y"}, {**spelled, "Target": "/x"}]
    assert found.host_config == {"VolumesFrom": ["tools"]}


def test_kinds_that_we_know_nothing_of_stay() -> None:
    """Mounts of Windows, of clusters and of images are the Engine's business."""
    image = {"Type": "image", "Source": "tools", "Target": "/{username}"}
    found = read({}, {"mounts": [image]})
    assert found.mounts == ()
    assert found.host_config == {"Mounts": [{**image, "Target": "/ann"}]}


@pytest.mark.parametrize("path", ["/etc:/x", "bob-home:/x", "relative"])
def test_anonymous_volumes_are_no_binds(path: str) -> None:
    """Podman reads ``name:/path`` there as a mount of that volume, or of a host's directory."""
    with pytest.raises(ConfigError, match="path in the container only"):
        read({"volumes": [path]})
    assert read({"volumes": ["/scratch"]}).config == {"Volumes": {"/scratch": {}}}


@pytest.mark.parametrize("wrong", [{"host_config": 7}, {"host_config": {"Binds": "a:/b"}}])
def test_what_is_no_host_config(wrong: dict[str, Any]) -> None:
    """Told with the setting."""
    with pytest.raises(ConfigError, match="extra_create_kwargs"):
        read(wrong)
