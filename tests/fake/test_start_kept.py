"""Containers that are kept: used again with a new token, and stopped when their start fails."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

import pytest
from support.engine.watching import eventually
from support.stage import (
    ARCHIVE,
    KILL,
    QUICK,
    SPEC,
    START,
    VOLUME,
    VOLUME_CREATE,
    Stage,
    cancelled,
    contents,
    failing,
    give_up_soon,
    late,
    reached,
    running,
)

from dockernamed.desired.environment import split
from dockernamed.desired.private import ENV_FILE
from dockernamed.errors import EngineFailed, EngineTimeout, EngineUnavailable, NotFound, ServerDied


async def kept(stage: Stage) -> str:
    """A container that a first run of the server has left."""
    container_id = await stage.start(keep=True)
    await stage.stop(keep=True)
    assert not stage.fake.container(container_id).running
    return container_id


async def test_a_kept_container_is_started_again(stage: Stage) -> None:
    """``remove = False`` and the same wish: the same container, its files and all."""
    old = await kept(stage)
    assert await stage.start(keep=True) == old
    assert [one.id for one in running(stage.fake)] == [old]


async def test_what_the_start_of_a_kept_container_costs(stage: Stage) -> None:
    """A look whether it is still connected, and a file; a network of ours is looked for."""
    stage.fake.add_network("lab-net")
    spec = replace(SPEC, network="lab-net")
    one = await stage.start(spec, keep=True)
    await stage.stop(keep=True)
    done = len(stage.fake.requests)
    assert await stage.start(spec, keep=True) == one
    asked = stage.fake.requests[done:]
    assert sorted(asked[:3]) == [
        ("GET", f"/containers/{one}/json"),
        ("GET", "/networks/lab-net"),
        VOLUME_CREATE,
    ]
    assert asked[3:] == [
        ("PUT", f"/containers/{one}/archive"),
        ("POST", f"/containers/{one}/start"),
    ]


async def test_a_kept_container_has_this_starts_environment(stage: Stage) -> None:
    """All that is personal is handed over, what is gone is unset, and neither is drift."""
    first = split({"JUPYTERHUB_USER": "ann", "JUPYTERHUB_ADMIN_ACCESS": "1", "LANG": "C"})
    old = await stage.start(keep=True, env=first)
    await stage.stop(keep=True)
    second = split({"JUPYTERHUB_USER": "eve", "LANG": "C"})
    assert await stage.start(keep=True, env=second) == old
    found = contents(stage.fake.container(old))
    variables = found[ENV_FILE].decode().splitlines()
    assert "export JUPYTERHUB_USER=eve" in variables
    assert "unset JUPYTERHUB_ADMIN_ACCESS" in variables


async def test_a_kept_container_has_this_starts_files(stage: Stage) -> None:
    """New content is put into it; one with other files than are wanted is replaced."""
    old = await stage.start(keep=True, files={"/etc/one": b"1"})
    await stage.stop(keep=True)
    assert await stage.start(keep=True, files={"/etc/one": b"2"}) == old
    assert contents(stage.fake.container(old))["/etc/one"] == b"2"
    await stage.stop(keep=True)
    assert await stage.start(keep=True, files={"/etc/two": b"2"}) != old


async def test_what_the_admin_fixed_stays(stage: Stage) -> None:
    """A variable of ``extra_create_kwargs`` wins over ours at the first start, and later too."""
    spec = replace(SPEC, config={"Env": ["JUPYTERHUB_PUBLIC_URL=https://x", "A=b"]})
    for _ in range(2):
        container = stage.fake.container(await stage.start(spec, keep=True))
        await stage.stop(keep=True)
    assert b"PUBLIC_URL" not in contents(container)[ENV_FILE]


async def test_an_image_without_a_shell(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Its container runs as any other, for one start: nothing can hand it the next token."""
    stage.fake.remove_shell()
    caplog.set_level(logging.INFO)
    old = await kept(stage)
    assert "Entrypoint" not in stage.fake.container(old).config
    assert "has no /bin/sh" in caplog.text
    new = await stage.start(keep=True)
    assert [one.id for one in stage.fake.containers] == [new] != [old]


@pytest.mark.parametrize("kind", [400, 409])
async def test_a_kept_container_that_takes_no_token_is_replaced(
    stage: Stage, kind: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The cause is logged; the volume stays."""
    await kept(stage)
    (volume,) = stage.fake.volumes.values()
    stage.fake.fault(kind, *ARCHIVE)
    new = await stage.start(keep=True)
    assert [one.id for one in stage.fake.containers] == [new]
    assert list(stage.fake.volumes.values()) == [volume]
    assert "cannot take a new token" in caplog.text


@pytest.mark.parametrize("how", ["disconnected", "removed", "fine"])
async def test_a_kept_container_without_its_network(
    stage: Stage, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No start of it could ever succeed again: it is replaced, and the log says why."""
    stage.fake.add_network("lab-net")
    spec = replace(SPEC, network="lab-net")
    old = await stage.start(spec, keep=True)
    await stage.stop(keep=True)
    if how == "disconnected":
        stage.fake.container(old).unplugged = True
    elif how == "removed":
        await stage.engine.remove_network("lab-net")
        with pytest.raises(NotFound):
            await stage.start(spec, keep=True)
        stage.fake.add_network("lab-net")
    new = await stage.start(spec, keep=True)
    assert (new == old) is (how == "fine")
    assert (how in caplog.text) is (how != "fine")
    assert [one.id for one in stage.fake.containers] == [new]


async def test_a_kept_container_that_nobody_can_be_asked_about(stage: Stage) -> None:
    """The Engine fails, which says nothing about the container: that stays, and the start fails."""
    old = await kept(stage)
    stage.fake.fault(500, *ARCHIVE)
    with pytest.raises(EngineFailed):
        await stage.start(keep=True)
    assert [(one.id, one.running) for one in stage.fake.containers] == [(old, False)]
    assert await stage.start(keep=True) == old


@pytest.mark.parametrize("kind", ["stall", "stall after"])
async def test_a_kept_container_survives_a_cancelled_start(stage: Stage, kind: str) -> None:
    """It was there before, so it is stopped again and not removed, nor is its volume."""
    old = await kept(stage)
    stalled = stage.fake.fault(kind, *START)
    await cancelled(stage.start(keep=True), stalled)
    await eventually(
        lambda: [(one.id, one.running) for one in stage.fake.containers] == [(old, False)]
    )
    assert list(stage.fake.volumes) == [VOLUME]


@pytest.mark.parametrize("gone", [False, True])
async def test_a_kept_container_that_ended_by_itself(stage: Stage, gone: bool) -> None:
    """There is nothing to stop any more: that is no error."""
    old = await kept(stage)

    async def end(container_id: str) -> str:
        if gone:
            stage.fake.remove(container_id)
        else:
            stage.fake.die(container_id, 5)
        raise ServerDied(5, False, "")

    with pytest.raises(ServerDied):
        await stage.start(keep=True, until_ready=end)
    assert stage.fake.count(*KILL) == 1
    assert [one.id for one in stage.fake.containers] == ([] if gone else [old])


async def test_a_kept_container_whose_start_was_lost(stage: Stage) -> None:
    """It has run before, which proves nothing: not running now is not started."""
    await kept(stage)
    stage.fake.fault("reset", *START)
    with pytest.raises(EngineUnavailable):
        await stage.start(keep=True)
    assert len(stage.fake.containers) == 1


async def test_a_later_start_answers_for_a_kept_container(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The belated stop of an earlier start must not hit the server that runs by now."""
    old = await kept(stage)
    stage.fake.fault(500, *KILL)
    with pytest.raises(ServerDied):
        await stage.start(keep=True, until_ready=failing(ServerDied(1, False, "")))
    stage.fake.die(old)
    await stage.watcher.wait_dead(old)
    assert await stage.start(keep=True) == old
    await eventually(lambda: not stage.backend.rollback.starts)
    assert stage.fake.container(old).running


async def test_a_later_start_waits_for_a_belated_stop(stage: Stage) -> None:
    """A stop of an earlier start that the Engine has not carried out yet would hit the new one."""
    old = await kept(stage)
    stage.fake.fault(500, *KILL)
    belated = stage.fake.fault("stall", *KILL)
    with pytest.raises(ServerDied):
        await stage.start(keep=True, until_ready=failing(ServerDied(1, False, "")))
    await reached(belated)
    stage.fake.die(old)
    await stage.watcher.wait_dead(old)
    starting = asyncio.ensure_future(stage.start(keep=True))
    await eventually(lambda: old in [one.reused for one in stage.backend.rollback.starts])
    for _ in range(20):  # it could be started in this time
        await stage.engine.inspect_container(old)
    belated.release()
    assert await starting == old
    await eventually(lambda: not stage.backend.rollback.starts)
    assert stage.fake.container(old).running


@pytest.mark.parametrize("kind", ["late", "refused"])
async def test_a_kept_container_that_starts_after_its_deadline(
    stage: Stage, kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its start has failed, so nobody stands for it when it runs at last: it is stopped."""
    old = await kept(stage)
    stalled = late(stage.fake, *START)
    give_up_soon(monkeypatch, stalled)
    with pytest.raises(EngineTimeout):
        await stage.start(keep=True)
    assert [one.id for one in stage.fake.containers] == [old]
    refusal = stage.fake.fault(400, *KILL, times=int(kind == "refused"))
    stalled.release()
    await eventually(lambda: not stage.backend.rollback.starts)
    assert refusal.hits == (kind == "refused")
    assert bool(running(stage.fake)) is (kind == "refused")
    assert ("failed start is left" in caplog.text) is (kind == "refused")
    assert [one.id for one in stage.fake.containers] == [old]


async def test_a_kept_container_that_never_starts(stage: Stage) -> None:
    """A start that was lost is not waited for without end."""
    stage.backend = stage.executor(replace(QUICK, late_start=0.01))
    await kept(stage)
    stage.fake.fault("reset", *START)
    with pytest.raises(EngineUnavailable):
        await stage.start(keep=True)
    await eventually(lambda: not stage.backend.rollback.starts)


async def test_a_kept_container_that_a_later_start_runs(stage: Stage) -> None:
    """That is no late work of the start before, and is left running."""
    old = await kept(stage)
    stage.fake.fault("reset", *START)
    with pytest.raises(EngineUnavailable):
        await stage.start(keep=True)
    assert await stage.start(keep=True) == old
    await eventually(lambda: not stage.backend.rollback.starts)
    assert [one.id for one in running(stage.fake)] == [old]
