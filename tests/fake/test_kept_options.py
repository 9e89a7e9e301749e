"""The Hub keeps no options that were refused, by whatever, whenever; and those that were not."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.driving import MakeHub, refused
from support.engine.watching import eventually
from support.fake_engine import FakeEngine
from support.stage import CREATE, IMAGE
from support.stub_hub import Hub
from tornado import web

CHOICE = {"lab": IMAGE, "r": "r:latest"}
GOOD, BAD = {"image": "r"}, {"image": "evil"}


def kept(hub: Hub, server: str = "exp-1") -> Any:
    """What the database has."""
    hub.db.expire_all()
    return hub.user().orm_spawners[server].user_options or {}


def refusing(status: int) -> Any:
    """A hook that refuses servers whose options say so."""

    def hook(spawner: Any, *_: Any) -> None:
        if spawner.user_options.get("image") == "lab":
            raise web.HTTPError(status, "no")

    return hook


@pytest.fixture
def known(fake: FakeEngine) -> FakeEngine:
    """An Engine with both images."""
    fake.add_image("r:latest", {"WorkingDir": "/work"})
    return fake


async def test_of_a_new_server(make_hub: MakeHub, known: FakeEngine) -> None:
    """Nothing is kept of it, neither at once nor after the Hub's restart."""
    hub = make_hub(allowed_images=CHOICE)
    await refused(hub, options=BAD)
    assert kept(hub) == {}
    await hub.restart()
    assert (kept(hub), hub.spawner("exp-1").user_options) == ({}, {})
    await refused(hub, options=BAD)
    await hub.kill()
    assert kept(hub) == {}
    await hub.spawn("exp-1")


@pytest.mark.parametrize("where", ["auth_state_hook", "pre_spawn_hook", "apply_user_options"])
@pytest.mark.parametrize("status", [400, 403, 409])
async def test_refused_by_a_hook(
    make_hub: MakeHub, known: FakeEngine, where: str, status: int
) -> None:
    """Before the options are looked at, or after, or in place of that."""
    hub = make_hub(**{"allowed_images": CHOICE, where: refusing(status)})
    await hub.spawn("exp-1", options=GOOD)
    await hub.stop("exp-1")
    await refused_by_hook(hub, {"image": "lab"})
    assert kept(hub) == GOOD
    await hub.restart()
    assert hub.spawner("exp-1").user_options == GOOD


async def refused_by_hook(hub: Hub, options: Any) -> None:
    """A start that a hook refuses."""
    with pytest.raises(web.HTTPError):
        await hub.spawn("exp-1", options=options)
    assert not hub.spawner("exp-1").active


async def test_refused_for_now(make_hub: MakeHub, known: FakeEngine) -> None:
    """Too many servers, or an Engine that is away, say nothing of the options: they are kept."""
    hub = make_hub(allowed_images=CHOICE, pre_spawn_hook=refusing(429))
    await refused_by_hook(hub, {"image": "lab"})
    assert kept(hub) == {"image": "lab"}
    hub = make_hub(allowed_images=CHOICE)
    known.fault(500, *CREATE)
    await refused(hub, options=GOOD)
    assert kept(hub) == GOOD


async def test_a_hub_that_is_killed_before_it_has_looked(
    make_hub: MakeHub, known: FakeEngine
) -> None:
    """JupyterHub writes them down first; what is there after the kill is what was there before."""
    asked, never = asyncio.Event(), asyncio.Event()

    async def slow(spawner: Any) -> dict[str, str]:
        if spawner.user_options == BAD:
            asked.set()
            await never.wait()
        return CHOICE

    hub = make_hub(allowed_images=slow)
    await hub.spawn("exp-1", options=GOOD)
    await hub.stop("exp-1")
    start = hub.spawning("exp-1", options=BAD)
    await asyncio.wait_for(asked.wait(), 30)
    await hub.kill()
    assert kept(hub) == GOOD
    await eventually(lambda: start.done())


async def test_what_was_accepted_outlives_a_kill(make_hub: MakeHub, known: FakeEngine) -> None:
    """From the moment on when it is accepted."""
    hub = make_hub(allowed_images=CHOICE)
    await hub.spawn("exp-1", options=GOOD)
    await hub.kill()
    assert kept(hub) == GOOD


@pytest.mark.parametrize(
    "override",
    [
        {"network_name": "no-such-{value}"},
        {"notebook_dir": "{value}", "volumes": {"data": "{value}"}},
        {"name_template": "{value}_"},
    ],
)
async def test_a_setting_that_does_not_take_a_typed_text(
    make_hub: MakeHub, known: FakeEngine, override: dict[str, str]
) -> None:
    """400 for whoever typed it, not the admin's 500; and it is not kept."""
    free = {"enabled": True, "validation_regex": "[a-z]+", "spawner_override": override}
    hub = make_hub(common_options={"x": {"unlisted_choice": free, "choices": {"none": {}}}})
    error = await refused(hub, options={"x--unlisted-choice": "abc"})
    assert error.status_code == 400
    assert kept(hub) == {}
