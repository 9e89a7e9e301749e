"""docs/profiles.md: its examples do what it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from traitlets.config import Config

from dockernamed import DockerNamedSpawner, naming
from dockernamed.desired.environment import Environment
from dockernamed.desired.spec import ServerSpec, container_config
from dockernamed.errors import OptionsError
from dockernamed.options import profile_config
from dockernamed.options.chooser import Chooser, problems

DOC = Path(__file__).parents[2] / "docs" / "profiles.md"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def chapters() -> dict[str, str]:
    """The text of each chapter."""
    _, *found = re.split(r"^## ", DOC.read_text("utf-8"), flags=re.MULTILINE)
    return {text.partition("\n")[0]: text for text in found}


EXAMPLES = [title for title in chapters() if title[0].isdigit()]


def steps(title: str) -> tuple[str, list[tuple[dict[str, Any], dict[str, Any] | str]]]:
    """An example's config, and what is sent → the settings that it gives, or the refusal."""
    (_, config), *blocks = [match.groups() for match in BLOCK.finditer(chapters()[title])]
    found: list[tuple[dict[str, Any], dict[str, Any] | str]] = []
    for (_, sent), (kind, result) in zip(blocks[::2], blocks[1::2], strict=True):
        found.append((json.loads(sent), json.loads(result) if kind == "json" else result.strip()))
    return config, found


def spawner_of(config: str, user: str = "ann") -> Any:
    """A spawner with an example's settings, of a user without groups."""
    c = Config()
    exec(compile(config, DOC.name, "exec"), {"c": c})
    spawner = DockerNamedSpawner(config=c)
    assert problems(spawner) == []
    spawner.user = mock.Mock(groups=[])
    spawner.user.name = user
    return spawner


def test_there_are_six() -> None:
    """Worked examples, each with more than one outcome or a computed one."""
    assert len(EXAMPLES) == 6
    assert all(steps(title)[1] for title in EXAMPLES)


@pytest.mark.parametrize("title", EXAMPLES)
async def test_example(title: str) -> None:
    """What is sent gives what the page says, or is refused in those words."""
    config, outcomes = steps(title)
    for sent, expected in outcomes:
        spawner = spawner_of(config)
        if isinstance(expected, str):
            with pytest.raises(OptionsError) as caught:
                await Chooser(spawner).apply(sent)
            assert str(caught.value) == expected
        else:
            await Chooser(spawner).apply(sent)
            assert {name: getattr(spawner, name) for name in expected} == expected


async def test_who_else_may_choose() -> None:
    """What the fourth and fifth examples say of other users."""
    config, _ = steps(EXAMPLES[3])
    ada = spawner_of(config, "ada")
    await Chooser(ada).apply({"image": "torch"})
    assert ada.image == "quay.io/jupyter/pytorch-notebook"
    guest = spawner_of(steps(EXAMPLES[4])[0], "guest-1")
    await Chooser(guest).apply({})
    assert guest.mem_limit == 512 * 2**20


async def test_a_gpu_is_asked_for() -> None:
    """The sixth example's profile: the Engine is asked for GPUs, and for none without it."""
    config, _ = steps(EXAMPLES[5])
    asked = {}
    for profile in ("gpu", "cpu"):
        spawner = spawner_of(config)
        await Chooser(spawner).apply({"profile": profile})
        key = naming.Key("hub", "ann", "")
        gpus = tuple(spawner.gpu_devices[: spawner.gpus])
        spec = ServerSpec(key, (naming.object_name(key),), spawner.image, gpus=gpus)
        body = container_config(spec, Environment())
        asked[profile] = body["HostConfig"].get("DeviceRequests")
    gpu = {"Driver": "nvidia", "DeviceIDs": ["0"], "Capabilities": [["gpu"]]}
    assert asked == {"cpu": None, "gpu": [gpu]}


def test_all_keys_are_told() -> None:
    """The table of keys is the reader's."""
    rows = dict(re.findall(r"^\| (.+?) \| (.+?) \|$", chapters()["All keys"], re.MULTILINE))
    known = {
        "a profile": profile_config.PROFILE_KEYS - {"kubespawner_override"},
        "an option": profile_config.OPTION_KEYS - {"dynamic_image_building"},
        "a choice": profile_config.SELECTION_KEYS - {"kubespawner_override"},
        "`unlisted_choice`": profile_config.UNLISTED_KEYS - {"kubespawner_override"},
        "`number`": profile_config.NUMBER_KEYS - {"kubespawner_override"},
        "`allowed_images`' entries": profile_config.IMAGE_KEYS,
    }
    for title, keys in known.items():
        assert set(re.findall(r"`(\w+)`", rows[title])) == keys
