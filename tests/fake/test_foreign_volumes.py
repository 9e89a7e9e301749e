"""A volume of another user is never mounted, whichever setting names it and whoever set that."""

from __future__ import annotations

from typing import Any

import pytest
from support.driving import MakeHub, refused
from support.fake_engine import FakeEngine
from support.stage import CREATE, IMAGE, VOLUME_CREATE, Stage
from support.stub_hub import Hub, of_server

from dockernamed.naming import LABEL_HUB, LABEL_USER

HUB = {"hub_id": "hub-1", "server_volume": "", "allow_unsafe": ["volumes-from"]}
BOBS = "bobs"
#: Each setting that can name a volume, and each form that it has.
WAYS: dict[str, dict[str, Any]] = {
    "server_volume": {"server_volume": BOBS},
    "volumes": {"volumes": {BOBS: "/x"}},
    "volumes, read-only": {"volumes": {BOBS: {"bind": "/x", "mode": "ro"}}},
    "read_only_volumes": {"read_only_volumes": {BOBS: "/x"}},
    "mounts": {"mounts": [{"source": BOBS, "target": "/x"}]},
    "binds": {"extra_host_config": {"binds": [f"{BOBS}:/x:ro"]}},
    "binds, a dict": {"extra_host_config": {"binds": {BOBS: {"bind": "/x", "mode": "rw"}}}},
    "mounts of the host's": {
        "extra_host_config": {"mounts": [{"Type": "volume", "Source": BOBS, "Target": "/x"}]}
    },
    "a part of it": {
        "extra_host_config": {
            "mounts": [
                {
                    **{"Type": "volume", "Source": BOBS, "Target": "/x"},
                    "VolumeOptions": {"Subpath": "notes"},
                }
            ]
        }
    },
    "the create call": {"extra_create_kwargs": {"host_config": {"Binds": [f"{BOBS}:/x"]}}},
    "a container that has it": {"extra_host_config": {"volumes_from": ["lender:ro"]}},
    "a callable": {"extra_host_config": lambda spawner: {"binds": [f"{BOBS}:/x"]}},
}
LABELS = [
    {LABEL_HUB: "hub-1", LABEL_USER: "bob"},
    {LABEL_HUB: "hub-2", LABEL_USER: "ann"},
    {LABEL_USER: "bob"},
]


async def lender(stage: Stage) -> None:
    """A container of nobody's that has the volume."""
    body = {"Image": IMAGE, "HostConfig": {"Binds": [f"{BOBS}:/x"]}}
    await stage.engine.create_container("lender", body)


async def is_refused(hub: Hub, fake: FakeEngine) -> None:
    """409 without a word of whose it is, and nothing was made."""
    done, before = len(fake.requests), set(fake.volumes)
    error: Any = await refused(hub)
    assert error.status_code == 409
    assert CREATE not in fake.requests[done:]
    assert set(fake.volumes) == before
    assert not of_server(fake, "exp-1")


@pytest.mark.parametrize("way", WAYS)
async def test_by_a_setting(make_hub: MakeHub, stage: Stage, fake: FakeEngine, way: str) -> None:
    """Whether its labels name another user, another Hub, or nothing but a user."""
    await stage.volume(BOBS)
    await lender(stage)
    hub = make_hub(**{**HUB, **WAYS[way]})
    for labels in LABELS:
        fake.volumes[BOBS]["Labels"] = labels
        await is_refused(hub, fake)


@pytest.mark.parametrize("way", WAYS)
async def test_a_volume_of_nobodys_is_mounted(
    make_hub: MakeHub, stage: Stage, fake: FakeEngine, way: str
) -> None:
    """One that was made by hand, or is for all servers of the Hub, is what the admin asks for."""
    hub = make_hub(**{**HUB, **WAYS[way]})
    for labels in ({}, {LABEL_HUB: "hub-1"}):
        await stage.volume(BOBS, labels)
        await lender(stage)
        await hub.spawn("exp-1")
        (container,) = of_server(fake, "exp-1")
        lent = container.host_config.get("VolumesFrom")
        assert lent == ["lender:ro"] or container.volumes() == {BOBS}
        await hub.stop("exp-1")
        fake.remove("lender")
        await stage.engine.remove_volume(BOBS)


def profile(override: dict[str, Any]) -> dict[str, Any]:
    """By a profile."""
    return {"profile_list": [{"display_name": "A", "spawner_override": override}]}


def group(override: dict[str, Any]) -> dict[str, Any]:
    """By the user's group; JupyterHub's own users have none here, so by its callable."""
    return {"auth_state_hook": lambda spawner, auth_state: overridden(spawner, override)}


def hook(override: dict[str, Any]) -> dict[str, Any]:
    """By the admin's hook."""
    return {"pre_spawn_hook": lambda spawner: overridden(spawner, override)}


def overridden(spawner: Any, override: dict[str, Any]) -> None:
    """Set the settings."""
    for name, value in override.items():
        setattr(spawner, name, value)


@pytest.mark.parametrize("by", [profile, group, hook])
@pytest.mark.parametrize("way", ["volumes", "binds", "the create call", "a container that has it"])
async def test_by_whoever_set_it(
    make_hub: MakeHub, stage: Stage, fake: FakeEngine, way: str, by: Any
) -> None:
    """A choice, or a hook before or after it."""
    await stage.volume(BOBS, LABELS[0])
    await lender(stage)
    await is_refused(make_hub(**{**HUB, **by(WAYS[way])}), fake)


async def test_what_the_hub_remembers_of_another_user(
    make_hub: MakeHub, stage: Stage, fake: FakeEngine
) -> None:
    """A volume made by hand has no labels; who was started with it as an own one has it."""
    typed = {
        "display_name": "Team",
        "unlisted_choice": {
            "enabled": True,
            "validation_regex": "[a-z]+",
            "spawner_override": {"volumes": {"home-{value}": "/team"}},
        },
        "choices": {"none": {}},
    }
    await stage.volume("home-bob", {})
    own = {"volumes": {"home-{username}": "/home"}}
    hub = make_hub(**HUB, **own, common_options={"team": typed})
    await hub.spawn("exp-1", "bob")
    error: Any = await refused(hub, options={"team--unlisted-choice": "bob"})
    assert error.status_code == 409
    await hub.restart()
    await refused(hub, options={"team--unlisted-choice": "bob"})
    await hub.spawn("exp-1", options={"team--unlisted-choice": "chess"})
    (container,) = of_server(fake, "exp-1")
    assert container.volumes() == {"home-ann", "home-chess"}


async def test_a_lender_that_is_another_users_server(
    make_hub: MakeHub, stage: Stage, fake: FakeEngine
) -> None:
    """Its directories have no labels: the container's own say whose they are."""
    hub = make_hub(**HUB, volumes={"/srv/{username}": "/home"})
    await hub.spawn("exp-1", "bob")
    (bobs,) = of_server(fake, "exp-1", "bob")
    await hub.restart(extra_host_config={"volumes_from": [bobs.name]})
    await is_refused(hub, fake)
    await hub.restart(extra_host_config={"volumes_from": ["no-such-container"]})
    await hub.spawn("exp-1")


async def test_a_kept_container_is_looked_at_again(
    make_hub: MakeHub, stage: Stage, fake: FakeEngine
) -> None:
    """What was nobody's at the last start may be somebody's by now."""
    await stage.volume(BOBS, {})
    hub = make_hub(**HUB, remove=False, volumes={BOBS: "/x"})
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    fake.volumes[BOBS]["Labels"] = LABELS[0]
    done = len(fake.requests)
    error: Any = await refused(hub)
    assert error.status_code == 409
    assert VOLUME_CREATE in fake.requests[done:]
    assert not of_server(fake, "exp-1")[0].running
