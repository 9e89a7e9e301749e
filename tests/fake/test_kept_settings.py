"""The settings that a server was started with, kept with it until it is deleted."""

from __future__ import annotations

from typing import Any

from support.driving import MakeHub
from support.fake_engine import FakeEngine
from support.stage import KILL, STOP
from support.stub_hub import Hub

from dockernamed import naming


async def test_settings_changed_while_a_server_runs(make_hub: MakeHub, fake: FakeEngine) -> None:
    """An edit of the config, and a Hub restart, reach servers that are started afterwards only."""
    hub = make_hub(port=9999, stop_timeout=0.0, delete_volumes=False)
    before = (await hub.spawn("exp-1")).server.url
    await hub.restart(port=8888, stop_timeout=30.0, delete_volumes=True)
    spawner = hub.spawner("exp-1")
    assert await spawner.poll() is None
    assert await spawner.get_url() == before
    await hub.stop("exp-1")
    assert (fake.count(*KILL), fake.count(*STOP)) == (1, 0)
    await hub.delete("exp-1")
    assert len(fake.volumes) == 1


async def test_settings_of_a_server_that_was_stopped_first(
    make_hub: MakeHub, fake: FakeEngine
) -> None:
    """What a hook set for one server counts until that is deleted, also once it has stopped."""

    def keep(spawner: Any) -> None:
        spawner.delete_volumes = spawner.name != "exp-1"

    hub = make_hub(pre_spawn_hook=keep)
    for server in ("exp-1", "exp-2"):
        await hub.spawn(server)
        await hub.stop(server)
    await hub.restart()
    for server in ("exp-1", "exp-2"):
        await hub.delete(server)
    (volume,) = fake.volumes.values()
    assert volume["Labels"][naming.LABEL_SERVER] == "exp-1"


async def test_a_state_of_an_earlier_version(hub: Hub) -> None:
    """A server that runs, and of which no settings were kept, is found by today's settings."""
    before = (await hub.spawn("exp-1")).server.url
    row = hub.spawner("exp-1").orm_spawner
    row.state = {name: value for name, value in row.state.items() if name != "settings"}
    hub.db.commit()
    await hub.restart()
    spawner = hub.spawner("exp-1")
    assert (await spawner.poll(), await spawner.get_url()) == (None, before)
