"""A Hub was moved, and its id is new: homes under the old id are not lost without a word."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support.driving import MakeHub, message, refused
from support.fake_engine import FakeEngine
from support.stage import VOLUME_LIST
from support.stub_hub import Hub, of_server

from dockernamed import DockerNamedSpawner

SERVER = "exp-1"


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The lines of the log that say so."""
    lines = (one.getMessage() for one in caplog.records if one.levelno == logging.WARNING)
    return [line for line in lines if "another hub id" in line]


async def messages(spawner: DockerNamedSpawner) -> list[str]:
    """All that the progress of a start has said, once that is over."""
    return [str(event["message"]) async for event in spawner.progress()]


async def moved(hub: Hub, **settings: str) -> None:
    """One server ran under another id; then all that the Hub knew of it is lost."""
    await hub.restart(hub_id="old-one")
    await hub.spawn(SERVER)
    await hub.stop(SERVER)
    spawner = hub.spawner(SERVER)
    spawner.orm_spawner.state = {}
    hub.db.commit()
    await hub.restart(hub_id="new-one", **settings)


async def test_warn(hub: Hub, fake: FakeEngine, caplog: pytest.LogCaptureFixture) -> None:
    """The first start says so in log and progress, with the line that takes them up; once."""
    await moved(hub)
    spawner = await hub.spawn(SERVER)
    [line] = told(caplog)
    assert "c.DockerNamedSpawner.hub_id = 'old-one'" in line
    listening = asyncio.ensure_future(messages(spawner))
    await asyncio.sleep(0)
    await hub.stop(SERVER)
    assert any("hub_id = 'old-one'" in one for one in await asyncio.wait_for(listening, 30))
    asked = fake.count(*VOLUME_LIST)
    await hub.spawn(SERVER)
    assert len(told(caplog)) == 1
    assert fake.count(*VOLUME_LIST) == asked, "a later start asks nothing"


async def test_refuse(hub: Hub, fake: FakeEngine) -> None:
    """No server starts, and the line that the refusal names gives the files back."""
    await moved(hub, volumes_of_another_hub="refuse")
    before = dict(fake.volumes)
    text = message(await refused(hub, SERVER))
    assert "c.DockerNamedSpawner.hub_id = 'old-one'" in text
    assert 'volumes_of_another_hub = "warn"' in text
    assert (of_server(fake, SERVER), dict(fake.volumes)) == ([], before)
    await hub.restart(hub_id="old-one")
    await hub.spawn(SERVER)
    assert dict(fake.volumes) == before


async def test_others_have_nothing_to_fear(
    hub: Hub, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Other servers of the user, and other users, are no reason; one list does for many starts."""
    await moved(hub, volumes_of_another_hub="refuse")
    asked = fake.count(*VOLUME_LIST)
    await hub.spawn("exp-2")
    await hub.spawn("exp-3")
    await hub.spawn(SERVER, "bob")
    assert told(caplog) == []
    assert fake.count(*VOLUME_LIST) == asked + 1


async def test_a_users_volume(make_hub: MakeHub, fake: FakeEngine) -> None:
    """The volume of all of a user's servers counts for each of them; one of everybody does not."""
    hub = make_hub(
        server_volume="",
        volumes={"home-{username}.{hub_id}": "/home", "all.{hub_id}": "/all"},
    )
    await moved(hub, volumes_of_another_hub="refuse")
    assert "hub_id = 'old-one'" in message(await refused(hub, "exp-2"))
    await hub.spawn("exp-2", "bob")


async def test_an_engine_that_fails(hub: Hub, fake: FakeEngine) -> None:
    """Without an answer a start goes on, unless it would have to be refused."""
    await moved(hub)
    fake.fault(500, *VOLUME_LIST, times=10)
    await hub.spawn(SERVER)
    fake.well_again()
    await hub.restart(volumes_of_another_hub="refuse")
    fake.fault(500, *VOLUME_LIST, times=10)
    await refused(hub, "exp-2")
    fake.well_again()
    await hub.spawn("exp-2")
