"""Arguments of docker-py's functions become keys of the Engine API, or a refusal that helps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from dockernamed.engine.sdk_kwargs import create_config, host_config
from dockernamed.errors import ConfigError


def test_host_config() -> None:
    """Arguments of the SDK become keys of the API, and nothing is added."""
    given_ = {"mem_limit": "1g", "cap_drop": ["ALL"], "ulimits": [{"Name": "nofile", "Soft": 9}]}
    assert host_config(given_) == {
        "Memory": 2**30,
        "CapDrop": ["ALL"],
        "Ulimits": [{"Name": "nofile", "Soft": 9, "Hard": None}],
    }
    assert host_config({}) == {}
    assert host_config({"network_mode": "host"}) == {"NetworkMode": "host"}


def test_create_config() -> None:
    """The same for a container's own settings; only what was asked for is set."""
    asked = {"hostname": "h", "environment": {"A": "1"}, "tty": True, "platform": "linux/arm64"}
    assert create_config(asked) == {
        "Hostname": "h", "Env": ["A=1"], "Tty": True, "platform": "linux/arm64",
    }  # fmt: skip
    assert create_config({}) == {}


@pytest.mark.parametrize(
    ("read", "field", "wrong", "hint"),
    [
        (host_config, "extra_host_config", {"memlimit": "1g"}, "mem_limit"),
        (host_config, "extra_host_config", {"mem_limit": "much"}, "much"),
        (host_config, "extra_host_config", {"cap_add": 1, "ulimits": 3}, "ulimits"),
        (host_config, "extra_host_config", {"version": "1.2"}, "version"),
        (create_config, "extra_create_kwargs", {"host_name": "x"}, "hostname"),
        (create_config, "extra_create_kwargs", {"image": "x"}, "image"),
        (create_config, "extra_create_kwargs", {"name": "x"}, "name"),
        (create_config, "extra_create_kwargs", {"command": "sh -c 'x"}, "quotation"),
    ],
)
def test_settings_that_the_sdk_refuses(
    read: Callable[[dict[str, object]], object], field: str, wrong: dict[str, object], hint: str
) -> None:
    """An unknown name or unreadable value is a ConfigError that helps."""
    with pytest.raises(ConfigError, match=hint) as caught:
        read(wrong)
    assert caught.value.field == field
