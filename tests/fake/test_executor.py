"""The backend over containers: which one is whose, how it ends, what goes with it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from support.engine.watching import eventually
from support.fake_engine import Behaviour, FakeEngine
from support.stage import (
    ARCHIVE,
    CREATE,
    HUB,
    INSPECT,
    KEY,
    KILL,
    LOGS,
    OWNER,
    QUICK,
    REMOVE,
    SERVER,
    SPEC,
    START,
    STOP,
    TOLD_SOON,
    VOLUME,
    VOLUME_CREATE,
    VOLUME_LIST,
    VOLUME_REMOVE,
    Stage,
    contents,
    failing,
    late,
    names,
    reached,
    ready,
    running,
)

from dockernamed import naming
from dockernamed.backends import observed
from dockernamed.backends.base import Can
from dockernamed.backends.containers import Containers
from dockernamed.backends.watcher import State, Watcher
from dockernamed.desired.network import Access
from dockernamed.engine.client import Engine
from dockernamed.errors import (
    BadRequest,
    ConfigError,
    EngineError,
    EngineFailed,
    EngineUnavailable,
    NotFound,
    ServerDied,
)


class Lacking(Containers):
    """Containers of a backend that cannot do something."""

    def __init__(self, engine: Engine, what: Can) -> None:
        super().__init__(engine)
        self.can = frozenset(Can) - {what}


# --- which is whose ----------------------------------------------------------------------------


async def test_one_container_a_server(stage: Stage) -> None:
    """Whatever earlier runs have left, running or not, a start ends with exactly one."""
    await stage.twin("left-running")
    labels = {**OWNER, naming.LABEL_CONTAINER: "left"}
    left = await stage.engine.create_container("left", {"Image": SPEC.image, "Labels": labels})
    await stage.twin("other", replace(KEY, server="exp-2"))
    await eventually(lambda: len(stage.watcher.records()) == 3)
    new = await stage.start()
    assert names(stage.fake) == sorted(["other", SPEC.names[0]])
    assert await stage.backend.running_id(SERVER) == new != left


async def test_a_running_one_is_found_by_labels(stage: Stage) -> None:
    """As after a Hub that was killed: no id is known, but the labels are."""
    assert await stage.backend.running_id(SERVER) is None
    container_id = await stage.twin("one")
    await eventually(lambda: [one.state for one in stage.watcher.records()] == [State.RUNNING])
    assert await stage.backend.running_id(SERVER) == container_id
    stage.fake.die(container_id)
    await asyncio.wait_for(stage.watcher.wait_dead(container_id), 30)
    assert await stage.backend.running_id(SERVER) is None


async def test_an_engine_that_was_never_seen(stage: Stage) -> None:
    """It is waited for, but not without end: nobody's request should hang for ever."""
    stage.watcher = Watcher(stage.engine, HUB)
    unwatched = stage.executor(replace(QUICK, engine_first_seen=0.01))
    with pytest.raises(EngineUnavailable, match=r"0\.01 seconds"):
        await unwatched.running_id(SERVER)


@pytest.mark.parametrize("keep", [False, True])
async def test_files(stage: Stage, keep: bool) -> None:
    """Certificates come into the container before it runs, also into one that was kept."""
    for round in range(2):
        done = len(stage.fake.requests)
        container_id = await stage.start(keep=keep, files={"/etc/one": b"%d" % round})
        assert contents(stage.fake.container(container_id))["/etc/one"] == b"%d" % round
        calls = [f"{method} {path}" for method, path in stage.fake.requests[done:]]
        put, start = f"PUT /containers/{container_id}/archive", f"/containers/{container_id}/start"
        assert calls.index(put) < calls.index(f"POST {start}")
        await stage.stop(keep=keep)


async def test_no_files(stage: Stage) -> None:
    """Where nothing is to be put into a container, nothing is."""
    assert stage.fake.container(await stage.start()).archives is None


@pytest.mark.parametrize("kind", [400, 500, "reset"])
async def test_files_that_cannot_be_put(stage: Stage, kind: str | int) -> None:
    """Nothing is left of a start whose container could not be made ready to run."""
    stage.fake.fault(kind, *ARCHIVE, times=10)
    with pytest.raises(EngineError, match="copy into container"):
        await stage.start(files={"/etc/one": b"1"})
    assert (stage.fake.containers, stage.fake.volumes) == ([], {})
    assert stage.backend.rollback.starts == []


async def test_files_though_the_answer_to_create_was_lost(stage: Stage) -> None:
    """The container is found by the label of this very start, and has its files all the same."""
    stage.fake.fault("lost", *CREATE)
    container = stage.fake.container(await stage.start(files={"/etc/one": b"1"}))
    assert contents(container)["/etc/one"] == b"1"
    assert container.running


async def test_files_where_a_backend_takes_none(stage: Stage) -> None:
    """It is said before anything is made, and names the setting that asks for them."""
    stage.backend = stage.executor(QUICK, Lacking(stage.engine, Can.FILES))
    with pytest.raises(ConfigError, match="internal_ssl"):
        await stage.start(files={"/etc/one": b"1"})
    assert stage.fake.count(*VOLUME_CREATE) == 0
    await stage.start()


async def test_where_a_backend_keeps_nothing(stage: Stage) -> None:
    """Each start makes a new container, run as any other."""
    stage.backend = stage.executor(QUICK, Lacking(stage.engine, Can.KEEP))
    old = await stage.start(keep=True)
    assert "Entrypoint" not in stage.fake.container(old).config
    await stage.stop(keep=True)
    assert await stage.start(keep=True) != old
    assert len(stage.fake.containers) == 1


async def test_another_wish_replaces_a_kept_container(stage: Stage) -> None:
    """Drift: a container of another image or other settings is not used again; its volume is."""
    old = await stage.start(keep=True)
    await stage.stop(keep=True)
    new = await stage.start(replace(SPEC, mem_limit=1 << 30), keep=True)
    assert [one.id for one in stage.fake.containers] == [new] != [old]
    assert list(stage.fake.volumes) == [VOLUME]


@pytest.mark.parametrize("keep_failed", [True, False])
async def test_keep_failed(stage: Stage, keep_failed: bool) -> None:
    """A container that ended at its start stays for ``docker logs`` where that is set."""
    with pytest.raises(ServerDied):
        await stage.start(keep_failed=keep_failed, until_ready=failing(ServerDied(1, False, "")))
    assert len(stage.fake.containers) == len(stage.fake.volumes) == keep_failed
    assert stage.backend.rollback.starts == []


async def test_keep_failed_is_for_deaths_alone(stage: Stage) -> None:
    """A start that was cancelled leaves nothing all the same."""
    with pytest.raises(asyncio.CancelledError):
        await stage.start(keep_failed=True, until_ready=failing(asyncio.CancelledError()))
    await eventually(lambda: (stage.fake.containers, stage.fake.volumes) == ([], {}))


@pytest.mark.parametrize("call", [VOLUME_CREATE, CREATE, START], ids=lambda call: call[1])
async def test_a_cancelled_start_is_soon_over(stage: Stage, call: tuple[str, str]) -> None:
    """However long the Engine takes; but the next start waits until all is taken back.

    Or else the late work of the first would meet the second's, under the same names.
    """
    stage.backend = stage.executor(TOLD_SOON)
    stalled = late(stage.fake, *call)
    cancelled = asyncio.ensure_future(stage.start())
    await reached(stalled)
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(cancelled, 30)
    before = stage.fake.count(*VOLUME_CREATE)
    again = asyncio.ensure_future(stage.start())
    stopped = asyncio.ensure_future(stage.stop())
    # Time enough for the others to come as far, if they did not wait.
    another = replace(SPEC, key=replace(KEY, server="exp-2"), names=("another",), mounts=())
    await stage.start(another)
    assert not stopped.done()
    assert stage.fake.count(*VOLUME_CREATE) == before
    stopped.cancel()
    stalled.release()
    found = await asyncio.wait_for(again, 30)
    assert {one.id for one in stage.fake.containers if one.name == SPEC.names[0]} == {found}
    assert len(running(stage.fake)) == 2


# --- stopping ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("grace", "call", "code"), [(3.0, STOP, 143), (0.0, KILL, 137)])
async def test_stop(stage: Stage, grace: float, call: tuple[str, str], code: int) -> None:
    """With grace a stop, without it a kill; the container goes, the volume stays."""
    container = stage.fake.container(await stage.start())
    await stage.stop(grace=grace)
    assert stage.fake.count(*call) == 1
    assert container.exit_code == code
    assert (stage.fake.containers, list(stage.fake.volumes)) == ([], [VOLUME])


async def test_stop_what_is_not_there(stage: Stage) -> None:
    """Nothing to stop is no error, and costs no request."""
    before = len(stage.fake.requests)
    await stage.stop()
    assert len(stage.fake.requests) == before


async def test_stop_keeps(stage: Stage) -> None:
    """``remove = False``: the container is stopped, and known to be when stop() returns."""
    container_id = await stage.start(keep=True)
    stage.fake.hold_events()
    stopping = asyncio.ensure_future(stage.stop(keep=True))
    await eventually(lambda: not running(stage.fake))
    assert not stopping.done()
    stage.fake.release_events()
    await stopping
    record = stage.watcher.get(container_id)
    assert record is not None
    assert record.ended


async def test_stop_keeps_without_news(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """A lost event delays a stop for a while, not for ever."""
    stage.backend = stage.executor(replace(QUICK, news_of_end=0.01))
    await stage.start(keep=True)
    stage.fake.lose_events()
    await stage.stop(keep=True)
    assert "No news of the end" in caplog.text


@pytest.mark.parametrize("grace", [0.0, 1.0])
@pytest.mark.parametrize("what", ["gone", "ended"])
async def test_stop_what_went_by_itself(stage: Stage, grace: float, what: str) -> None:
    """The Engine's 404 or 409, where the watcher does not know yet, is what was wanted."""
    container_id = await stage.start()
    stage.fake.hold_events()
    if what == "gone":
        stage.fake.remove(container_id)
    else:
        stage.fake.die(container_id)
    await stage.stop(grace=grace)
    assert stage.fake.containers == []
    assert stage.watcher.get(container_id) is None


@pytest.mark.parametrize("call", [STOP, REMOVE], ids=lambda call: call[0])
@pytest.mark.parametrize("kind", ["reset", "lost", 500, "garbage"])
async def test_stop_is_tried_again(stage: Stage, call: tuple[str, str], kind: Any) -> None:
    """The Hub forgets a server whose stop fails, so what may pass is tried again."""
    await stage.start()
    stage.fake.fault(kind, *call, times=2)
    await stage.stop()
    assert stage.fake.containers == []


async def test_engine_away_for_too_long(stage: Stage) -> None:
    """A Hub that is told to end must not wait for ever: the stop fails, and says why."""
    stage.backend = stage.executor(replace(QUICK, stop_waits_for_engine=0.01))
    await stage.start()
    stage.fake.down()
    await eventually(lambda: not stage.watcher.connected)
    with pytest.raises(EngineUnavailable):
        await stage.stop()
    stage.fake.up()


async def test_engine_away_while_stopping(stage: Stage) -> None:
    """The Engine goes away in the middle: the stop waits for it, and is done then."""
    await stage.start()
    stalled = stage.fake.fault("stall", *STOP)
    stopping = asyncio.ensure_future(stage.stop())
    await reached(stalled)
    stage.fake.down()
    await eventually(lambda: not stage.watcher.connected)
    assert not stopping.done()
    stage.fake.up()
    await asyncio.wait_for(stopping, 30)
    assert stage.fake.containers == []


async def test_stop_fails_in_the_end(stage: Stage) -> None:
    """An Engine that cannot do it says so, after some tries."""
    await stage.start()
    stage.fake.fault(500, *REMOVE, times=1000, message="device busy")
    with pytest.raises(EngineFailed, match="device busy"):
        await stage.stop()
    assert stage.fake.count(*REMOVE) == 5


async def test_stop_is_refused(stage: Stage) -> None:
    """What can never work is not tried again."""
    await stage.start()
    stage.fake.fault(400, *STOP)
    with pytest.raises(BadRequest):
        await stage.stop()
    assert stage.fake.count(*STOP) == 1


async def test_discard_goes_on_when_cancelled(stage: Stage) -> None:
    """Who waits for the removal of an orphan may be cancelled: the orphan goes all the same."""
    container_id = await stage.start()
    stalled = stage.fake.fault("stall", *REMOVE)
    task = asyncio.ensure_future(stage.backend.discard(container_id, grace=1.0))
    await reached(stalled)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stalled.release()
    await eventually(lambda: stage.fake.containers == [])


# --- deleting ----------------------------------------------------------------------------------


async def test_delete(stage: Stage) -> None:
    """Every container of the server goes, whatever its state; another server's stays."""
    await stage.start(keep=True)
    await stage.stop(keep=True)
    await stage.twin("second")
    await stage.twin("other", replace(KEY, server="exp-2"))
    await eventually(lambda: len(stage.watcher.records()) == 3)
    stage.fake.fault("reset", *REMOVE, times=4)
    await stage.backend.delete(SERVER)
    assert names(stage.fake) == ["other"]


async def test_delete_volumes(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """Those of this Hub that go: not another Hub's, not one in use; one that is gone is fine."""
    caplog.set_level(logging.DEBUG)
    await stage.start()
    await stage.volume("mine", {naming.LABEL_HUB: HUB})
    await stage.volume("stays", {naming.LABEL_HUB: HUB})
    await stage.volume("vanishes", {naming.LABEL_HUB: HUB})
    await stage.volume("another-hubs", {naming.LABEL_HUB: "physics"})
    await stage.volume("nobodys")
    stage.fake.fault("reset", *VOLUME_LIST, times=4)
    stage.fake.fault(404, VOLUME_REMOVE[0], "/volumes/vanishes", message="no such volume")
    asked: dict[str, Mapping[str, str]] = {}

    def goes(volumes: Mapping[str, Mapping[str, str]]) -> list[str]:
        asked.update(volumes)
        return [name for name in volumes if name != "stays"]

    await stage.backend.delete_volumes(HUB, goes)
    assert set(stage.fake.volumes) == {VOLUME, "stays", "vanishes", "another-hubs", "nobodys"}
    assert asked["mine"] == {naming.LABEL_HUB: HUB}
    assert set(asked) == {VOLUME, "mine", "stays", "vanishes"}
    assert f"Keeping volume {VOLUME}" in caplog.text
    assert "Volume vanishes is gone already" in caplog.text


# --- why it ended ------------------------------------------------------------------------------


async def test_post_mortem(stage: Stage) -> None:
    """Exit code, memory, and the last lines alone."""
    stage.fake.behave(Behaviour(exit_code=137, oom=True, log="one\ntwo\n!three\n"))
    container_id = await stage.start()
    death = await stage.backend.post_mortem(container_id, 2)
    assert (death.exit_code, death.oom, death.log) == (137, True, "two\nthree")
    death = await stage.backend.post_mortem(container_id, 0)
    assert (death.log, stage.fake.count(*LOGS)) == (None, 1)


async def test_post_mortem_without_a_body(stage: Stage) -> None:
    """Somebody else has removed the container: that is the reason."""
    death = await stage.backend.post_mortem("0" * 64, 2)
    assert (death.exit_code, death.oom, death.log) == (None, False, None)
    assert death.words == "its container was removed by somebody else"


@pytest.mark.parametrize("gone", [False, True])
async def test_post_mortem_of_what_came_back(stage: Stage, gone: bool) -> None:
    """A restart policy runs it again, or ``auto_remove`` took it: what was heard of it counts."""
    container_id = await stage.start()
    end = replace(observed.unknown(container_id), exit_code=11, oom=True)
    if gone:
        stage.fake.remove(container_id)
    death = await stage.backend.post_mortem(container_id, 2, end)
    assert (death.exit_code, death.oom) == (11, True)


async def test_post_mortem_without_a_log(stage: Stage) -> None:
    """Where the log driver cannot be read, the exit code is told all the same."""
    stage.fake.behave(Behaviour(exit_code=3))
    container_id = await stage.start()
    stage.fake.fault(501, *LOGS, message="configured logging driver does not support reading")
    death = await stage.backend.post_mortem(container_id, 2)
    assert death.exit_code == 3
    assert "does not support reading" in (death.log or "")


async def test_post_mortem_without_an_engine(stage: Stage) -> None:
    """Nothing can be told then: the error is the Engine's."""
    container_id = await stage.start()
    stage.fake.fault(500, *INSPECT)
    with pytest.raises(EngineFailed):
        await stage.backend.post_mortem(container_id, 2)


async def test_steps_are_logged_with_their_cause(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Whose container, which, what is done with it, and why."""
    caplog.set_level(logging.INFO)
    container_id = await stage.start()
    await stage.stop()
    short = container_id[:12]
    assert [record.message for record in caplog.records if record.name == "stage"] == [
        "ann/exp-1: create container: none exists",
        f"ann/exp-1: start container {short}: requested",
        f"ann/exp-1: stop container {short}: requested",
        f"ann/exp-1: remove container {short}: it is not kept",
    ]


async def test_thirty_at_once(stage: Stage, fake: FakeEngine) -> None:
    """Servers do not wait for one another."""
    specs = [
        replace(SPEC, key=replace(KEY, server=f"s{n}"), names=(f"lab-{n}",), mounts=())
        for n in range(30)
    ]
    stalled = fake.fault("stall", *CREATE)
    tasks = [asyncio.ensure_future(stage.start(spec, until_ready=ready)) for spec in specs]
    await reached(stalled)
    await eventually(lambda: sum(task.done() for task in tasks) == 29)
    stalled.release()
    await asyncio.gather(*tasks)
    assert len(running(fake)) == 30


async def test_an_endpoint_is_asked_for(stage: Stage) -> None:
    """One request; a container that is gone is NotFound."""
    container_id = await stage.start()
    done = len(stage.fake.requests)
    found = await stage.backend.endpoint(container_id, 8888, Access("published"))
    assert (found.id, found.name, found.host) == (container_id, SPEC.names[0], "127.0.0.1")
    assert len(stage.fake.requests) == done + 1
    with pytest.raises(NotFound):
        await stage.backend.endpoint("0" * 64, 8888, Access("published"))


async def test_no_endpoint_when_it_has_ended(stage: Stage) -> None:
    """What does not run is nowhere: the exit code is told instead."""
    stage.fake.behave(Behaviour(exit_code=137, oom=True))
    container_id = await stage.start()
    with pytest.raises(ServerDied) as died:
        await stage.backend.endpoint(container_id, 8888, Access("ip"))
    assert (died.value.exit_code, died.value.oom) == (137, True)
