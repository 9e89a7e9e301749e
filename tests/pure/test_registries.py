"""Which registries users may name: those of the configuration, Docker Hub, and what is allowed."""

from __future__ import annotations

from typing import Any

import pytest

from dockernamed.errors import ConfigError, OptionsError
from dockernamed.images.registries import check_allowed, read, registries_in

PROFILES = [
    {
        "spawner_override": {"image": "quay.io/lab:1", "environment": {"X": "no.such/thing"}},
        "profile_options": {
            "image": {
                "choices": {"a": {"spawner_override": {"image": "Registry.Example:5000/a"}}},
                "unlisted_choice": {"spawner_override": {"image": "{value}"}},
            },
            "tag": {"unlisted_choice": {"spawner_override": {"image": "ghcr.io/lab:{value}"}}},
            "host": {"unlisted_choice": {"spawner_override": {"image": "{value}.example/lab"}}},
        },
    }
]


def test_registries_of_a_configuration() -> None:
    """Of images alone, wherever they stand; a host that a user fills in is none."""
    assert registries_in("lab") == {"docker.io"}
    assert registries_in([PROFILES, {}]) == {
        "docker.io", "quay.io", "registry.example:5000", "ghcr.io",
    }  # fmt: skip
    assert registries_in({"a": "a.io/x", "b": {"image": "b.io/x"}}, ["localhost/y", "x/y"]) == {
        "docker.io", "a.io", "b.io", "localhost",
    }  # fmt: skip


@pytest.mark.parametrize(
    "image",
    [
        "169.254.169.254/latest",
        "localhost:22/x",
        "localhost/x",
        "[::1]:80/x",
        "127.0.0.1:8001/x",
        "quay.io:444/x",
        "hub:8081/x",
        "QUAY.IO.evil.example/x",
    ],
)
def test_the_engine_connects_to_no_host_that_only_a_user_knows(image: str) -> None:
    """What may be named instead is told."""
    with pytest.raises(OptionsError, match=r"the registry may be docker.io, quay.io"):
        check_allowed("image", image, image, None, {"docker.io", "quay.io"})


@pytest.mark.parametrize("image", ["x", "org/x:1", "docker.io/x", "index.docker.io/x", "Quay.io/x"])
def test_known_registries_may_be_named(image: str) -> None:
    """In any way to write them."""
    assert check_allowed("image", image, image, None, {"docker.io", "quay.io"})


def test_what_the_setting_says() -> None:
    """Its hosts alone; with "*" any, of which those that nobody wrote down are still unknown."""
    allowed = read(["Index.docker.io", "a.example:5000"])
    known = frozenset({"docker.io", "quay.io"})
    assert check_allowed("image", "", "a.example:5000/x", allowed, known)
    assert check_allowed("image", "", "x", allowed, known)
    with pytest.raises(OptionsError):
        check_allowed("image", "", "quay.io/x", allowed, known)
    assert not check_allowed("image", "", "10.0.0.1/x", read("*"), known)
    assert check_allowed("image", "", "quay.io/x", read("*"), known)


@pytest.mark.parametrize("setting", ["quay.io", ["a/b"], ["http://a"], [1], {"a": 1}, ["*"], [""]])
def test_settings_that_are_no_hosts(setting: Any) -> None:
    """Told with what would work."""
    with pytest.raises(ConfigError, match="allowed_registries"):
        read(setting)


def test_no_reference() -> None:
    """What a user typed and is none is the user's fault."""
    with pytest.raises(OptionsError):
        check_allowed("image", "A B", "A B", None, {"docker.io"})
