"""New volumes belong to the server's user; homes where that one cannot write are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.engine.watching import eventually
from support.fake_engine import FakeEngine
from support.stage import (
    ARCHIVE,
    IMAGE,
    KEY,
    MOUNT,
    QUICK,
    SPEC,
    VOLUME,
    Stage,
    names,
    running,
)
from support.stub_hub import Hub

from dockernamed.desired.mounts import Mount
from dockernamed.desired.spec import ServerSpec
from dockernamed.errors import EngineTimeout

LOOK = ("GET", "/containers/[^/]+/archive")
HOME = replace(MOUNT, target="/home/ann")
MINE: ServerSpec = replace(SPEC, image_id="sha256:1", image_user="jovyan", mounts=(HOME,))
JOVYAN = "root:x:0:0::/root:/bin/sh\njovyan:x:1000:100::/home/jovyan:/bin/sh\n"

MakeHub = Callable[..., Hub]


@pytest.fixture(autouse=True)
def _has_jovyan(fake: FakeEngine) -> None:
    fake.filesystem.texts["/etc/passwd"] = JOVYAN


def asked(fake: FakeEngine) -> tuple[int, int]:
    """How often something was looked at in a container, and how often put there."""
    return fake.count(*LOOK), fake.count(*ARCHIVE)


async def test_a_new_volume_where_the_image_has_nothing(stage: Stage) -> None:
    """It belongs to the image's user, whose name is looked up in the image."""
    await stage.start(MINE)
    assert stage.fake.filesystem.volumes == {VOLUME: (1000, 100, 0o755)}


async def test_a_new_volume_of_an_image_directory(stage: Stage) -> None:
    """What the image gave its user stays as it is, permissions too; what it did not is given."""
    stage.fake.filesystem.image |= {"/home/ann": (1000, 5, 0o2770), "/data": (0, 7, 0o2755)}
    data = Mount("volume", "data", "/data")
    await stage.start(replace(MINE, mounts=(HOME, data)))
    assert stage.fake.filesystem.volumes == {
        VOLUME: (1000, 5, 0o2770),
        "data": (1000, 100, 0o2755),
    }


async def test_the_settings_user(stage: Stage) -> None:
    """A new volume belongs to whom the server runs as, if that is not the image's user either."""
    stage.fake.filesystem.image |= {"/home/ann": (1000, 100, 0o755)}
    await stage.start(replace(MINE, user="20001:30001"))
    assert stage.fake.filesystem.volumes == {VOLUME: (20001, 30001, 0o755)}
    assert asked(stage.fake) == (1, 1)  # who that is stands in the settings


async def test_a_volume_that_was_there_is_nobody_elses(stage: Stage) -> None:
    """Its owner stays, and nothing is asked for it: what is there may be anybody's."""
    await stage.volume(labels=HOME.labels)
    await stage.start(MINE)
    assert stage.fake.filesystem.volumes == {VOLUME: (0, 0, 0o755)}
    assert asked(stage.fake) == (0, 0)


async def test_a_second_start_asks_for_nothing(stage: Stage) -> None:
    """Starts of an existing volume make the requests that they made before."""
    await stage.start(MINE)
    await stage.stop()
    before = asked(stage.fake)
    await stage.start(MINE)
    assert asked(stage.fake) == before == (2, 1)


async def test_what_is_known_of_an_image_is_not_asked_again(stage: Stage) -> None:
    """A second server of the same image needs one request for its new volume, or none."""
    stage.fake.filesystem.image |= {"/srv": (1000, 100, 0o755)}
    srv = Mount("volume", "srv", "/srv")
    await stage.start(replace(MINE, mounts=(HOME, srv)))
    before = asked(stage.fake)
    assert before == (3, 1)
    key = replace(KEY, server="two")
    two = replace(MINE, key=key, names=("two",))
    await stage.start(replace(two, mounts=(replace(HOME, source="home-2"),)), volume_owners={})
    assert asked(stage.fake) == (3, 2)
    three = replace(two, key=replace(KEY, server="three"), names=("three",))
    await stage.start(replace(three, mounts=(replace(srv, source="srv-2"),)), volume_owners={})
    assert asked(stage.fake) == (3, 2)
    found = stage.fake.filesystem.volumes
    assert found["home-2"] == found["srv-2"] == (1000, 100, 0o755)


@pytest.mark.parametrize(
    "mount",
    [
        replace(HOME, flags=frozenset({"ro"})),
        replace(HOME, driver="nfs"),
        replace(HOME, options={"type": "nfs", "device": ":/home/ann"}),
        Mount("bind", "/home/ann", "/home/ann"),
    ],
)
async def test_what_is_not_ours_to_give(stage: Stage, mount: Mount) -> None:
    """A share of a driver, or a host's directory, may have been there long before us."""
    await stage.start(replace(MINE, mounts=(mount,)))
    assert asked(stage.fake) == (0, 0)


@pytest.mark.parametrize("user", ["", "root", "0:100"])
async def test_a_server_that_runs_as_root(stage: Stage, user: str) -> None:
    """It can write anywhere: nothing is asked, however new its volume is."""
    await stage.start(replace(MINE, image_user=user), homes=("/home/ann",))
    assert asked(stage.fake) == (0, 0)


async def test_a_user_whom_nobody_knows(stage: Stage) -> None:
    """The Engine says so better than we could: nothing is given to anybody."""
    await stage.start(replace(MINE, user="nobody"))
    assert asked(stage.fake) == (1, 0)


async def test_what_cannot_be_given(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A read-only container takes no files: its server starts, and the log says why."""
    stage.fake.fault(403, *ARCHIVE, message="container rootfs is marked read-only")
    with caplog.at_level(logging.WARNING):
        await stage.start(MINE)
    assert "New volumes cannot be given to jovyan" in caplog.text
    assert "marked read-only" in caplog.text


async def test_an_engine_that_does_not_answer(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start fails and leaves nothing: a volume that is root's for good would be worse."""

    async def late(*args: Any) -> None:
        raise EngineTimeout("copy into container", "no answer within 60 s")

    monkeypatch.setattr(stage.things, "give", late)
    with pytest.raises(EngineTimeout):
        await stage.start(MINE)
    assert (names(stage.fake), stage.fake.volumes) == ([], {})


# --- homes -------------------------------------------------------------------------------------

BIND = Mount("bind", "/srv/homes/ann", "/home/ann")


async def notes(stage: Stage, spec: ServerSpec, *homes: str) -> list[str]:
    """What the user is told during a start."""
    told: list[str] = []
    request: dict[str, Any] = {"homes": homes or ("/home/ann",)}
    await stage.start(spec, on_note=told.append, **request)
    return told


async def test_a_home_where_the_user_cannot_write(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told to the user and in the log, with whose it is; the start goes on."""
    stage.fake.filesystem.host["/srv/homes/ann"] = (501, 20, 0o755)
    with caplog.at_level(logging.WARNING):
        (told,) = await notes(stage, replace(MINE, mounts=(BIND,)))
    assert "/home/ann is not writable for uid 1000" in told
    assert "uid 501" in told
    assert f"ann/{KEY.server}: {told}" in caplog.text


@pytest.mark.parametrize("owner", [(1000, 100, 0o700), (0, 100, 0o775), (0, 0, 0o777)])
async def test_a_home_where_the_user_can_write(stage: Stage, owner: tuple[int, int, int]) -> None:
    """As its owner, in its group, or because everybody can: no word about it."""
    stage.fake.filesystem.host["/srv/homes/ann"] = owner
    assert await notes(stage, replace(MINE, mounts=(BIND,))) == []


async def test_a_new_home_is_not_looked_at_twice(stage: Stage) -> None:
    """It has just been given to its user."""
    assert await notes(stage, MINE) == []
    assert asked(stage.fake) == (2, 1)


async def test_a_home_that_cannot_be_looked_at(stage: Stage) -> None:
    """Nothing is said where nothing is known."""
    stage.fake.fault(500, *LOOK, times=2)
    assert await notes(stage, replace(MINE, mounts=(BIND,))) == []
    await stage.stop()
    assert await notes(stage, MINE, "/nowhere") == []


async def test_a_server_does_not_wait_long_for_that(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server that is ready is used, however slow the Engine is to say whose its home is."""
    looking, ended = asyncio.Event(), asyncio.Event()

    async def slow(*args: Any) -> None:
        looking.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def until_ready(container_id: str) -> str:
        await looking.wait()
        return container_id

    monkeypatch.setattr(stage.things, "directory", slow)
    stage.backend = stage.executor(replace(QUICK, look_at_homes=0.0))
    spec = replace(MINE, mounts=(BIND,))
    await stage.start(spec, until_ready=until_ready, homes=("/home/ann",))
    assert ended.is_set()
    assert len(running(stage.fake)) == 1


async def test_each_start_looks_at_the_hosts_directories(
    make_hub: MakeHub, fake: FakeEngine
) -> None:
    """Their owners may have been changed; it stands in the progress before the server is ready."""
    fake.add_image(IMAGE, {"User": "jovyan", "WorkingDir": "/home/ann"})
    hub = make_hub(volumes={"/srv/homes/{username}": "/home/{username}"})
    for owner, told in (((0, 0, 0o755), 1), ((0, 0, 0o755), 1), ((1000, 100, 0o755), 0)):
        fake.filesystem.host["/srv/homes/ann"] = owner
        messages = await progress_of(hub)
        assert len([text for text in messages if "/home/ann is not writable" in text]) == told
        assert messages[-1] == "The server is ready"


async def test_the_first_start_looks_at_a_volume(make_hub: MakeHub, fake: FakeEngine) -> None:
    """A volume that was there before this server is looked at once, its own never."""
    fake.add_image(IMAGE, {"User": "jovyan", "WorkingDir": "/work"})
    hub = make_hub(server_volume="shelf-{username}", private_tokens=False)
    first = await progress_of(hub, "one")
    assert asked(fake) == (2, 1)
    fake.filesystem.volumes["shelf-ann"] = (501, 20, 0o755)
    messages = [await progress_of(hub, "two"), await progress_of(hub, "two")]
    told = [any("/work is not writable" in text for text in texts) for texts in messages]
    assert told == [True, False]
    assert not any("not writable" in text for text in first)
    assert asked(fake) == (3, 1)


async def progress_of(hub: Hub, server: str = "exp-1") -> list[str]:
    """Start a server and stop it; what its user was told meanwhile."""
    starting = hub.spawning(server)
    spawner = hub.spawner(server)
    await eventually(lambda: spawner.api_token)  # its own journal begins with the start

    async def listen() -> list[str]:
        return [str(event["message"]) async for event in spawner.progress()]

    listening = asyncio.ensure_future(listen())
    await starting
    await hub.stop(server)
    return await asyncio.wait_for(listening, 30)
