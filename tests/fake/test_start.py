"""What a start makes and takes back: volumes, a container, names; lost answers and late work."""

from __future__ import annotations

import asyncio
import gc
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web as http
from support.engine.watching import eventually
from support.fake_engine import Behaviour, Fault
from support.fake_engine.faults import Handler
from support.stage import (
    CREATE,
    IMAGE,
    INSPECT,
    KEY,
    LIST,
    NAMES,
    OWNER,
    REMOVE,
    SPEC,
    START,
    VOLUME,
    VOLUME_CREATE,
    VOLUME_REMOVE,
    Stage,
    cancelled,
    failing,
    give_up_soon,
    late,
    names,
    reached,
    running,
)

from dockernamed import naming
from dockernamed.backends import rollback
from dockernamed.desired.mounts import Mount
from dockernamed.desired.spec import LABEL_START
from dockernamed.errors import (
    BadRequest,
    EngineFailed,
    EngineTimeout,
    EngineUnavailable,
    ForeignObject,
    NameTaken,
    ServerDied,
)

ANOTHER = Mount("volume", "more", "/more", labels=OWNER)
TWO_VOLUMES = replace(SPEC, mounts=(*SPEC.mounts, ANOTHER))


async def test_what_a_cold_start_costs(stage: Stage) -> None:
    """One request a volume, one to create, one to start; nothing is asked that may be known."""
    done = len(stage.fake.requests)
    container_id = await stage.start(TWO_VOLUMES)
    assert stage.fake.requests[done:] == [
        VOLUME_CREATE,
        VOLUME_CREATE,
        CREATE,
        ("POST", f"/containers/{container_id}/start"),
    ]


# --- volumes -----------------------------------------------------------------------------------


async def test_a_missing_volume_is_made_with_our_labels(stage: Stage) -> None:
    """A volume says whose it is, and a bind mount makes none."""
    bind = Mount("bind", "/srv", "/srv")
    anonymous = Mount("volume", "", "/scratch")
    await stage.start(replace(SPEC, mounts=(*SPEC.mounts, bind, anonymous)))
    (volume,) = stage.fake.volumes.values()
    assert volume["Name"] == VOLUME
    assert volume["Labels"].items() >= OWNER.items()


@pytest.mark.parametrize("labels", [{}, OWNER, {naming.LABEL_HUB: KEY.hub}])
async def test_a_volume_that_was_there_is_used_and_stays(
    stage: Stage, labels: dict[str, str]
) -> None:
    """One without labels (made by hand) or of this server is mounted, and outlives a failure."""
    await stage.volume(labels=labels)
    with pytest.raises(ServerDied):
        await stage.start(until_ready=failing(ServerDied(1, False, "")))
    assert list(stage.fake.volumes) == [VOLUME]
    assert stage.fake.containers == []


async def test_another_hubs_volume_is_refused(stage: Stage) -> None:
    """It is never mounted silently: the message says whose it is, and which two lines decide."""
    await stage.volume(labels=naming.labels(replace(KEY, hub="physics")))
    with pytest.raises(ForeignObject) as refused:
        await stage.start(TWO_VOLUMES)
    assert "server 'exp-1' of user 'ann' of the Hub 'physics'" in str(refused.value)
    assert "hub_id = 'physics'" in refused.value.hint
    assert "prefix" in refused.value.hint
    assert list(stage.fake.volumes) == [VOLUME], "the other, new one is taken back"
    assert stage.fake.containers == []


@pytest.mark.parametrize(
    "setting",
    [
        {"Binds": ["/srv:/srv", f"{VOLUME}:/work:ro"]},
        {"Mounts": [{"Type": "volume", "Source": VOLUME, "Target": "/work"}]},
        {"binds": [f"{VOLUME}:/work"]},
        {"mounts": [{"TYPE": "Volume", "source": VOLUME, "target": "/work"}]},
    ],
)
async def test_another_hubs_volume_mounted_past_us(stage: Stage, setting: dict[str, Any]) -> None:
    """``extra_host_config`` mounts no other Hub's either; any other it may, also one to come."""
    spec = replace(SPEC, mounts=(), host_config=setting)
    await stage.volume(labels=naming.labels(replace(KEY, hub="hub-2")))
    with pytest.raises(ForeignObject, match=r"'hub-2': .*\bhub_id = 'hub-2'"):
        await stage.start(spec)
    assert stage.fake.containers == []
    await stage.engine.remove_volume(VOLUME)
    await stage.start(spec)


async def test_another_servers_volume_is_refused(stage: Stage) -> None:
    """The hint names the template field that would have told the two apart."""
    await stage.volume(labels=naming.labels(replace(KEY, user="bob")))
    with pytest.raises(ForeignObject, match="of user 'bob'") as refused:
        await stage.start()
    assert "{user_server}" in refused.value.hint


async def test_a_plugins_volume_is_never_taken_back(stage: Stage) -> None:
    """To a plugin's driver, a name that is new on this Engine may be an old disk full of files."""
    mount = Mount("volume", "disk", "/disk", labels=OWNER, driver="cloud")
    with pytest.raises(ServerDied):
        await stage.start(
            replace(SPEC, mounts=(mount,)), until_ready=failing(ServerDied(1, False, ""))
        )
    assert list(stage.fake.volumes) == ["disk"]


async def test_a_volume_of_another_start_stays_when_this_one_fails(stage: Stage) -> None:
    """Two servers share a new volume: that of the first start that fails is the second's by now."""
    other = replace(SPEC, key=replace(KEY, server="exp-2"), names=("lab-ann--exp-2",))
    shared = {naming.LABEL_HUB: KEY.hub}
    both = [
        replace(spec, mounts=(replace(SPEC.mounts[0], labels=shared),)) for spec in (SPEC, other)
    ]
    gate = asyncio.Event()

    async def wait_and_die(container_id: str) -> str:
        await gate.wait()
        raise ServerDied(1, False, "")

    first = asyncio.ensure_future(stage.start(both[0], until_ready=wait_and_die))
    await eventually(lambda: names(stage.fake) == [NAMES[0]])
    # It claims the volume, and has no container yet that would hold it.
    stalled = stage.fake.fault("stall", *CREATE)
    second = asyncio.ensure_future(stage.start(both[1]))
    await reached(stalled)
    gate.set()
    with pytest.raises(ServerDied):
        await first
    stalled.release()
    await second
    assert stage.fake.volumes[VOLUME]["Labels"].items() >= shared.items()


async def test_a_claim_waits_for_a_removal_under_way(stage: Stage) -> None:
    """A start never takes a volume that the undoing of an earlier one is just about to remove."""
    stalled = stage.fake.fault("stall", *VOLUME_REMOVE)
    first = asyncio.ensure_future(stage.start(until_ready=failing(ServerDied(1, False, ""))))
    await reached(stalled)
    second = asyncio.ensure_future(stage.start())
    await asyncio.sleep(0)
    stalled.release()
    with pytest.raises(ServerDied):
        await first
    container = stage.fake.container(await second)
    label = stage.fake.volumes[VOLUME]["Labels"][LABEL_START]
    assert label == container.labels[LABEL_START], "a new one, with all its labels"


async def test_a_volume_in_use_stays(stage: Stage) -> None:
    """Somebody else's container has the new volume by now: the Engine's 409 is the last word."""

    async def taken(container_id: str) -> str:
        body = {"Image": IMAGE, "HostConfig": {"Binds": [f"{VOLUME}:/x"]}}
        await stage.engine.create_container("other", body)
        raise ServerDied(1, False, "")

    with pytest.raises(ServerDied):
        await stage.start(until_ready=taken)
    assert (names(stage.fake), list(stage.fake.volumes)) == (["other"], [VOLUME])


# --- names -------------------------------------------------------------------------------------


async def test_a_strangers_container_is_left_alone(stage: Stage) -> None:
    """Its name is taken: ours gets the one with the Hub's suffix."""
    stranger = await stage.stranger(NAMES[0])
    await stage.start()
    assert names(stage.fake) == sorted(NAMES)
    assert stage.fake.container(stranger).running


@pytest.mark.parametrize(
    ("labels", "owner"),
    [
        ({}, "somebody else (it has no labels of ours)"),
        ({naming.LABEL_HUB: "physics"}, "the Hub 'physics'"),
        (naming.labels(replace(KEY, server="exp-2")), "server 'exp-2' of user 'ann'"),
    ],
)
async def test_both_names_taken(stage: Stage, labels: dict[str, str], owner: str) -> None:
    """The refusal says whose the second name is and which setting helps; nothing is touched."""
    for name in NAMES:
        await stage.stranger(name, labels)
    with pytest.raises(ForeignObject) as refused:
        await stage.start()
    assert owner in str(refused.value)
    assert "prefix" in refused.value.hint
    assert len(running(stage.fake)) == 2
    assert stage.fake.volumes == {}


async def test_ours_but_unheard_of_is_replaced(stage: Stage) -> None:
    """A container with this server's labels that no event told of makes way for the new one."""
    stage.fake.lose_events()
    old = await stage.twin(NAMES[0])
    stage.fake.lose_events(False)
    new = await stage.start()
    assert [(one.id, one.name) for one in stage.fake.containers] == [(new, NAMES[0])]
    assert new != old


async def test_a_name_that_is_free_again(stage: Stage) -> None:
    """Its holder went away between the refusal and the look: the same name is tried once more."""
    stage.fake.fault(409, *CREATE, message=f'name "{NAMES[0]}" is already in use by x')
    await stage.start()
    assert names(stage.fake) == [NAMES[0]]


async def test_a_name_that_stays_taken_by_nobody(stage: Stage) -> None:
    """The Engine's own contradiction is raised as it is."""
    stage.fake.fault(409, *CREATE, times=2, message="name is in use")
    with pytest.raises(NameTaken):
        await stage.start()
    assert stage.fake.volumes == {}


# --- answers that are lost ---------------------------------------------------------------------


async def test_created_though_the_answer_was_lost(stage: Stage) -> None:
    """The container is found by the label of this very start, and used: never a second one."""
    stage.fake.fault("lost", *CREATE)
    container_id = await stage.start()
    assert [one.id for one in stage.fake.containers] == [container_id]
    assert [one.id for one in running(stage.fake)] == [container_id]


@pytest.mark.parametrize(
    ("kind", "error"),
    [("reset", EngineUnavailable), (500, EngineFailed), ("garbage", EngineFailed)],
)
async def test_not_created(stage: Stage, kind: str, error: type[Exception]) -> None:
    """What the Engine did not do is an error; the new volume is taken back."""
    stage.fake.fault(kind, *CREATE)
    with pytest.raises(error):
        await stage.start()
    assert (stage.fake.containers, stage.fake.volumes) == ([], {})


async def test_no_answer_and_the_name_is_a_strangers(stage: Stage) -> None:
    """A container of that name which is not of this start is never taken for ours."""
    stranger = await stage.stranger(NAMES[0])
    stage.fake.fault("reset", *CREATE)
    with pytest.raises(EngineUnavailable):
        await stage.start()
    assert [one.id for one in running(stage.fake)] == [stranger]


@pytest.mark.parametrize("kind", ["lost", "stall after"])
async def test_started_though_the_answer_was_lost(
    stage: Stage, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One look tells that it runs: the start goes on."""
    fault = stage.fake.fault(kind, *START)
    give_up_soon(monkeypatch, fault, lambda: running(stage.fake))
    container_id = await stage.start()
    assert [one.id for one in running(stage.fake)] == [container_id]


async def test_started_and_ended_though_the_answer_was_lost(stage: Stage) -> None:
    """It did run: whoever waits for it to be ready finds out why it ended."""
    stage.fake.behave(Behaviour(exit_code=3))
    stage.fake.fault("lost", *START)
    assert not stage.fake.container(await stage.start()).running


@pytest.mark.parametrize("fault", ["reset", 500, "garbage", 400, 404])
async def test_not_started(stage: Stage, fault: str | int) -> None:
    """Refused (a bad command), failed or never heard: container and new volume are taken back."""
    stage.fake.fault(fault, *START)
    with pytest.raises((EngineUnavailable, EngineFailed, BadRequest, Exception)) as failed:
        await stage.start()
    assert "start container" in str(failed.value)
    assert (stage.fake.containers, stage.fake.volumes) == ([], {})


# --- undoing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["stall", "stall after"])
@pytest.mark.parametrize("call", [VOLUME_CREATE, CREATE, START], ids=lambda call: call[1])
async def test_cancelled_while_a_call_is_in_flight(
    stage: Stage, kind: str, call: tuple[str, str]
) -> None:
    """The call's own end tells what it made: all of that is taken back then."""
    await stage.volume("older", OWNER)
    older = Mount("volume", "older", "/older", labels=OWNER)
    stalled = stage.fake.fault(kind, *call)
    await cancelled(stage.start(replace(SPEC, mounts=(*SPEC.mounts, older))), stalled)
    await eventually(lambda: (stage.fake.containers, list(stage.fake.volumes)) == ([], ["older"]))


class FailsLate(Fault):
    """A call that fails when it is released."""

    async def strike(self, request: http.Request, handler: Handler) -> http.StreamResponse:
        """See `Fault`."""
        self.hits += 1
        self._loop = asyncio.get_running_loop()
        self.reached.set()
        await self._until_released()
        return http.json_response({"message": "the Engine broke"}, status=500)


async def test_cancelled_while_a_call_is_to_fail(stage: Stage) -> None:
    """Nobody waits for the call any more: its failure is no news for the log of the Hub."""
    lost: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: lost.append(context))
    fails = FailsLate("fails late", *VOLUME_CREATE)
    stage.fake.gate.faults.append(fails)
    await cancelled(stage.start(), fails)
    await eventually(lambda: not stage.backend.rollback.starts)
    gc.collect()
    assert lost == []
    assert (stage.fake.containers, stage.fake.volumes) == ([], {})


async def test_cancelled_twice(stage: Stage) -> None:
    """Who cancels the cleaning up does not wait for it, but it goes on."""
    stalled = stage.fake.fault("stall after", *CREATE)
    task = asyncio.ensure_future(stage.start())
    await reached(stalled)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await task
    stalled.release()
    await eventually(lambda: (stage.fake.containers, stage.fake.volumes) == ([], {}))


async def test_engine_away_while_undoing(stage: Stage) -> None:
    """What cannot be removed now is removed, container and volume, once the Engine is back."""

    async def lose_engine(container_id: str) -> str:
        stage.fake.down()
        raise ServerDied(1, False, "")

    with pytest.raises(ServerDied):
        await stage.start(until_ready=lose_engine)
    stage.fake.up()
    await eventually(lambda: (stage.fake.containers, stage.fake.volumes) == ([], {}))


async def test_a_later_start_takes_over_what_was_left(stage: Stage) -> None:
    """The volume of a failed start is the next start's: the belated cleaning up leaves it alone."""

    async def lose_engine(container_id: str) -> str:
        stage.fake.down()
        raise ServerDied(1, False, "")

    with pytest.raises(ServerDied):
        await stage.start(until_ready=lose_engine)
    label = stage.fake.volumes[VOLUME]["Labels"][LABEL_START]
    # The belated removal of the old container has to wait, so that the new start is the quicker.
    stalled = stage.fake.fault("stall", *REMOVE)
    stage.fake.up()
    await reached(stalled)
    removed = stage.fake.containers[0].id
    new = await stage.start()
    stalled.release()
    await eventually(lambda: not stage.backend.rollback.starts)
    assert [one.id for one in stage.fake.containers] == [new] != [removed]
    await stage.stop()
    assert stage.fake.volumes[VOLUME]["Labels"][LABEL_START] == label


async def test_a_create_that_is_done_after_its_deadline(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for it any more, and the start has failed: its container goes when it comes."""
    stalled = late(stage.fake, *CREATE)
    give_up_soon(monkeypatch, stalled)
    with pytest.raises(EngineTimeout):
        await stage.start()
    assert (stage.fake.containers, stage.fake.volumes) == ([], {})
    stalled.release()
    await eventually(lambda: stage.fake.count(*REMOVE) == 1)
    await eventually(lambda: stage.fake.containers == [])


async def test_a_late_container_does_not_harm_a_later_start(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While something may still come, the containers of a later start are looked at and stay."""
    stalled = stage.fake.fault("reset", *CREATE)
    with pytest.raises(EngineUnavailable):
        await stage.start()
    assert stalled.hits == 1
    lists = stage.fake.count(*LIST)
    new = await stage.start()
    await eventually(lambda: stage.fake.count(*LIST) > lists)
    (doubtful,) = stage.backend.rollback.starts
    await eventually(lambda: not doubtful.busy.locked())
    assert [one.id for one in running(stage.fake)] == [new]


async def test_doubts_are_bounded(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many creates are lost, so many starts are remembered and no more."""
    monkeypatch.setattr(rollback, "MAX_DOUBTFUL", 2)
    stage.fake.fault("reset", *CREATE, times=5)
    for _ in range(5):
        with pytest.raises(EngineUnavailable):
            await stage.start()
    assert len(stage.backend.rollback.starts) == 2


async def test_nothing_is_remembered_of_starts_that_are_over(stage: Stage) -> None:
    """Neither one that went well nor one that was taken back."""
    await stage.start()
    await stage.stop()
    with pytest.raises(ServerDied):
        await stage.start(until_ready=failing(ServerDied(1, False, "")))
    assert stage.backend.rollback.starts == []


@pytest.mark.parametrize("times", [1, 1000])
async def test_a_removal_that_is_refused(
    stage: Stage, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The start's own error is what is raised; what is left is tried again, or told in the log."""
    stage.fake.fault(500, *REMOVE, times=times, message="device busy")
    with pytest.raises(ServerDied):
        await stage.start(until_ready=failing(ServerDied(1, False, "")))
    await eventually(lambda: not stage.backend.rollback.starts)
    assert len(stage.fake.containers) == (times > 1)
    assert "left for now" in caplog.text
    assert ("failed start is left:" in caplog.text) is (times > 1)


async def test_a_removal_that_can_never_work(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Is not tried again."""
    stage.fake.fault(400, *REMOVE)
    with pytest.raises(ServerDied):
        await stage.start(until_ready=failing(ServerDied(1, False, "")))
    assert stage.fake.count(*REMOVE) == 1
    assert "failed start is left:" in caplog.text


async def test_a_dead_container_has_the_name(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Docker cannot remove it, for a mount that is still busy: the server starts beside it."""
    dead = await stage.start()
    stage.fake.die(dead)
    await stage.watcher.wait_dead(dead)
    stage.fake.container(dead).status = "dead"
    stage.fake.fault(500, "DELETE", f"/containers/{dead}", times=100, message="device is busy")
    await stage.start()
    assert names(stage.fake) == sorted(NAMES)
    assert [one.name for one in running(stage.fake)] == [NAMES[1]]
    assert "device is busy" in caplog.text
    await stage.stop()
    assert [one.id for one in stage.fake.containers] == [dead]


async def test_an_inspect_that_fails_too(stage: Stage) -> None:
    """Neither the start nor the look at it was answered: an error, and nothing is left."""
    stage.fake.fault("reset", *START)
    stage.fake.fault(500, *INSPECT)
    with pytest.raises(EngineFailed):
        await stage.start()
    assert (stage.fake.containers, stage.fake.volumes) == ([], {})
