"""Containers that somebody ran from an image that has our labels: nobody touches them."""

from __future__ import annotations

import asyncio
import logging

import pytest
from support.engine.watching import eventually
from support.fake_engine import Container, FakeEngine
from support.stage import IMAGE
from support.stub_hub import Hub, of_server, runtime

from dockernamed.hub.ownership import servers_of
from dockernamed.lifecycle.orphans import OrphanReaper

SERVER = "exp-1"


async def copy(fake: FakeEngine, original: Container, name: str = "frosty_bell") -> str:
    """``docker commit`` of a container and ``docker run`` of the result; the new one's id."""
    fake.add_image("copy:latest", {"Labels": original.labels})
    engine = runtime().engine
    container_id = await engine.create_container(name, {"Image": "copy:latest"})
    await engine.start_container(container_id)
    await eventually(lambda: runtime().watcher.get(container_id) is not None)
    return container_id


@pytest.mark.parametrize("keep", [False, True])
async def test_a_copy_outlives_its_original(hub: Hub, fake: FakeEngine, keep: bool) -> None:
    """Stop, start and deletion of the server, and a Hub that comes up again, leave it alone."""
    await hub.restart(remove=not keep)
    await hub.spawn(SERVER)
    (original,) = of_server(fake, SERVER)
    copied = await copy(fake, original)
    await hub.stop(SERVER)
    assert fake.container(copied).running
    await hub.restart()
    assert await hub.spawner(SERVER).poll() == 0, "the copy was taken for the server"
    await hub.spawn(SERVER)
    assert hub.spawner(SERVER).object_id != copied
    await hub.stop(SERVER)
    await hub.delete(SERVER)
    assert [one.id for one in fake.containers] == [copied]
    assert fake.container(copied).running


async def test_a_copy_with_the_originals_name(hub: Hub, fake: FakeEngine) -> None:
    """The original was removed by hand: the Hub remembers which container that start made."""
    await hub.spawn(SERVER)
    (original,) = of_server(fake, SERVER)
    await hub.stop(SERVER)
    copied = await copy(fake, original, original.name)
    await hub.spawn(SERVER)
    new = hub.spawner(SERVER)
    assert new.object_id != copied
    assert new.object_name != original.name
    await hub.stop(SERVER)
    await hub.delete(SERVER)
    assert [one.id for one in fake.containers] == [copied]


async def test_a_copy_is_no_orphan(hub: Hub, fake: FakeEngine) -> None:
    """What the Hub made, and does not know, is removed; what has its labels only is not."""
    await hub.spawn(SERVER)
    (original,) = of_server(fake, SERVER)
    copied = await copy(fake, original)
    app = type("App", (), {"db": hub.db, "users": {}})()
    reaper = OrphanReaper(
        hub.spawner(SERVER).key.hub,
        runtime().watcher,
        runtime().backend,
        lambda: [one for one in servers_of(app) if one.server != SERVER],
        keep=False,
        policy="remove",
        grace=0.0,
        stop_timeout=1.0,
        interval=1.0,
        log=logging.getLogger("test"),
    )
    await asyncio.wait_for(reaper.round(), 30)
    assert [one.id for one in fake.containers] == [copied]
    assert fake.container(copied).running


async def test_an_image_with_labels_as_a_servers_image(hub: Hub, fake: FakeEngine) -> None:
    """A server may run a copy of another: the labels of its own container are its own."""
    await hub.spawn(SERVER)
    (original,) = of_server(fake, SERVER)
    fake.add_image("copy:latest", {"Labels": original.labels})
    await hub.restart(image="copy:latest")
    await hub.spawn("exp-2")
    (second,) = of_server(fake, "exp-2")
    assert second.image == "copy:latest" != IMAGE
    await hub.stop("exp-2")
    assert [one.id for one in fake.containers] == [original.id]
