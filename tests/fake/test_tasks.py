"""The table of a Hub's services over a fake Swarm: what is told when, and by how many requests."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from support.engine.watching import IMAGE, LABELS, eventually
from support.fake_engine import Behaviour, FakeEngine
from support.service_table import Hub, starting, watching

from dockernamed.backends.observed import NOWHERE, ObservedContainer, State
from dockernamed.backends.tasks import AT_ONCE, MAX_NEW


@pytest.fixture
def swarm(fake: FakeEngine) -> FakeEngine:
    """A fake Engine that manages a Swarm of three nodes."""
    fake.add_image(IMAGE)
    fake.init_swarm(3)
    return fake


@pytest.fixture
async def hub(swarm: FakeEngine) -> AsyncIterator[Hub]:
    """One that watches."""
    async with watching(swarm) as hub:
        yield hub


# --- the table ------------------------------------------------------------------------------------


async def test_what_is_there_at_first(swarm: FakeEngine) -> None:
    """The first list has all services of this Hub in any state, and no other's."""
    async with watching(swarm) as before:
        running, ended = await before.run("s1"), await before.run("s2")
        swarm.swarm.end("s2", 7)
        await before.dead(ended)
        stopped, made = await before.run("s3"), await before.create("s4")
        await before.scale(stopped, 0)
        await before.dead(stopped)
        pending = await before.start("s5", constraints=["node.labels.disk==ssd"])
        await before.create("s6", 1, labels={"dockernamed.hub": "another"})
        await before.create("s7", 1, labels={"dockernamed.user": ""})
    async with watching(swarm) as hub:
        found = {
            one.id: (one.state, one.exit_code) for one in hub.table.records() if one.user == "ann"
        }
    assert found == {
        running: (State.RUNNING, None),
        ended: (State.EXITED, 7),
        stopped: (State.EXITED, None),
        made: (State.CREATED, None),
        pending: (State.CREATED, None),
    }


async def test_a_record(hub: Hub) -> None:
    """It says what service it is, whose, and of which start, however it was first heard of."""
    labels = {**LABELS, "dockernamed.spec": "hash", "dockernamed.start": "id-of-start"}
    id = await hub.run(labels=labels)
    noted = hub.now(id)
    assert (noted.name, noted.user, noted.server) == ("s1", "ann", "x")
    assert (noted.spec, noted.start, noted.image) == ("hash", "id-of-start", IMAGE)
    async with watching(hub.fake) as other:
        listed = other.now(id)
    assert replace(noted, endpoint_fingerprint=None) == replace(listed, endpoint_fingerprint=None)
    assert noted.endpoint_fingerprint == listed.endpoint_fingerprint
    assert hub.table.find("ann", "x") == [noted]


async def test_what_happens_while_the_first_list_is_read(hub: Hub) -> None:
    """A service that is stopped after it was listed, and of which no task is left, has ended."""
    id = await hub.start(constraints=["node.labels.disk==ssd"])
    fault = hub.fake.fault("stall after", "GET", "/services", times=1)
    async with starting(hub.fake) as other:
        assert await asyncio.to_thread(fault.reached.wait, 30)
        await hub.scale(id, 0)
        await eventually(lambda: id in other.table._told)
        fault.release()
        await asyncio.wait_for(other.table.in_sync(), 30)
        assert (await other.dead(id)).state is State.EXITED


async def test_started_and_stopped_while_the_first_list_is_read(swarm: FakeEngine) -> None:
    """Tasks were listed before it had one: it has not ended while that one is being stopped."""
    swarm.behave(Behaviour(stubborn=True))
    async with watching(swarm) as before:
        id = await before.create()
    fault = swarm.fault("stall after", "GET", "/tasks", times=1)
    async with starting(swarm) as hub:
        assert await asyncio.to_thread(fault.reached.wait, 30)
        await hub.scale(id, 1, start=True)
        await eventually(lambda: swarm.swarm.states == ["running"])
        await hub.scale(id, 0)
        await eventually(lambda: hub.table._told.get(id) == "0")
        fault.release()
        await asyncio.wait_for(hub.table.in_sync(), 30)
        await hub.table.look_at(id)
        stopping = hub.now(id), swarm.swarm.states
        assert (await hub.dead(id)).state is State.EXITED
    assert stopping[1] == ["running"], "it was stopped before it was looked at"
    assert not stopping[0].ended


async def test_a_service_of_which_only_an_event_tells(hub: Hub) -> None:
    """As after a lost answer: it is looked at, and its record told, unless it is a stranger's."""
    told: list[ObservedContainer] = []
    hub.table.on_new(told.append)
    strange = await hub.create("s2", labels={"dockernamed.hub": "another"})
    plain = await hub.managers.create_service(
        {"Name": "s3", "TaskTemplate": {"ContainerSpec": {"Image": IMAGE}}}
    )
    id = await hub.create("s1", 1)
    await hub.running(id)
    assert [one.id for one in told] == [id]
    assert hub.table.get(strange) is None
    assert hub.table.get(plain) is None
    assert not hub.table._new


async def test_a_service_that_is_started_before_it_is_known(swarm: FakeEngine) -> None:
    """It is met all the same, and not only when all services are listed again."""
    async with watching(swarm, ended_tasks=0.2) as hub:
        id = await hub.create()
        await eventually(lambda: id in hub.table._new)
        await hub.begin(id)
        await hub.running(id)


async def test_removed_before_it_is_looked_at(hub: Hub) -> None:
    """What we remove ourselves is not met afterwards."""
    for number in range(5):
        id = await hub.create(f"s{number}")
        hub.table.note_removed(id)
        await hub.managers.remove_service(id)
    await hub.rounds()
    assert hub.table.records() == []
    assert not hub.table._rows


# --- ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 3, 137])
async def test_an_end_by_itself(hub: Hub, code: int) -> None:
    """Its exit code is told, and that nobody asked for it."""
    id = await hub.run()
    hub.fake.swarm.end("s1", code)
    record = await hub.dead(id)
    assert (record.state, record.exit_code, record.words) == (State.EXITED, code, "")
    assert (record.stop_requested, record.oom, record.endpoint_fingerprint) == (False, False, None)
    assert await hub.dead(id) == hub.now(id) == record


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        (Behaviour(reject="No such image: lab"), None, "No such image: lab"),
        (Behaviour(fail='exec: "x": not found'), None, 'exec: "x": not found'),
        (Behaviour(exit_code=5), 5, ""),
    ],
)
async def test_a_start_that_comes_to_nothing(
    hub: Hub, behaviour: Behaviour, code: int | None, words: str
) -> None:
    """Rejected by its node, not startable, or over at once: ended, in the words of the node."""
    hub.fake.behave(behaviour)
    record = await hub.dead(await hub.start())
    assert record.state is State.EXITED
    assert words in record.words
    assert record.exit_code == code or code is None


async def test_no_suitable_node(hub: Hub) -> None:
    """The scheduler's words are told at once, and are gone once there is a node."""
    id = await hub.start(constraints=["node.labels.disk==ssd"])
    until = hub.table.until(id, lambda now: "no suitable node" in now.words)
    await asyncio.wait_for(until, 30)
    assert hub.now(id).state is State.CREATED
    await hub.rounds()
    hub.fake.swarm.change("node-2", labels={"disk": "ssd"})
    await hub.running(id)
    assert hub.now(id).words == ""


async def test_a_stop_from_outside(hub: Hub) -> None:
    """Scaled to 0 by somebody: it has been asked to end, it ends, and may rise again."""
    hub.fake.behave(Behaviour(stubborn=True))
    id = await hub.run()
    await hub.scale(id, 0)
    until = hub.table.until(id, lambda now: now.stop_requested)
    await asyncio.wait_for(until, 30)
    record = await hub.dead(id)
    assert (record.state, record.stop_requested, record.stopped) == (State.EXITED, True, True)
    await hub.scale(id, 1, RUN="2")
    await hub.running(id)
    assert (hub.now(id).stop_requested, hub.now(id).exit_code) == (False, None)


async def test_a_removal_from_outside(hub: Hub) -> None:
    """It is gone at once, by the event, and nothing of it is remembered but its id."""
    id = await hub.run()
    told = asyncio.ensure_future(hub.dead(id))
    await asyncio.sleep(0)
    hub.fake.swarm.remove("s1")
    assert (await told).state is State.GONE
    assert (hub.table.get(id), hub.table._rows, hub.table._changing) == (None, {}, set())
    hub.table.note_created(id, "s1", LABELS, IMAGE)  # the answer to the create call comes late
    assert hub.table.get(id) is None


async def test_a_removal_that_nothing_tells(hub: Hub) -> None:
    """Who is asked for one that is gone says so, and the others are looked at all the same."""
    gone = await hub.start("s1", constraints=["node.labels.disk==ssd"])
    other = await hub.start("s2", constraints=["node.labels.disk==ssd"])
    await asyncio.wait_for(hub.table.until(other, lambda now: now.words != ""), 30)
    hub.fake.lose_events()
    hub.fake.swarm.remove("s1")
    assert (await hub.dead(gone)).state is State.GONE
    hub.fake.lose_events(False)
    assert hub.table.connected
    assert not hub.now(other).ended


async def test_a_new_run_of_a_kept_service(hub: Hub) -> None:
    """How it ended before no longer counts, neither while it is started nor in what is heard."""
    id = await hub.run()
    hub.fake.swarm.end("s1", 3)
    assert (await hub.dead(id)).exit_code == 3
    await hub.scale(id, 0)
    hub.fake.behave(Behaviour(hold="preparing"))
    await hub.begin(id, run=2)
    assert hub.now(id).state is State.CREATED
    await hub.rounds(4)
    assert hub.now(id).state is State.CREATED
    hub.fake.swarm.let_go()
    await hub.running(id)
    hub.fake.swarm.end("s1", 4)
    assert (await hub.dead(id)).exit_code == 4


async def test_a_new_run_after_one_that_was_never_seen(swarm: FakeEngine) -> None:
    """A task that was made and ended while nobody looked is no end of this run: not while the
    number of its start is not known, and not until the Swarm has made its task.
    """
    async with watching(swarm, ended_tasks=600) as hub:
        id = await hub.run()
        swarm.lose_events(True)
        await hub.scale(id, 1, start=True)
        await eventually(lambda: swarm.swarm.states == ["shutdown", "running"])
        swarm.swarm.end("s1", 3)
        await eventually(lambda: swarm.swarm.states == ["shutdown", "failed"])
        hub.table.note_starting(id)
        await hub.table.look_at(id)
        assert hub.now(id).state is State.CREATED
        hub.table.note_start(id, 3)
        await hub.table.look_at(id)
        assert hub.now(id).state is State.CREATED
        await hub.scale(id, 1, start=True)
        hub.table.note_started(id)
        await hub.running(id)


async def test_a_start_of_one_that_runs(hub: Hub) -> None:
    """As after a start whose answer was lost: the task that runs is that start's."""
    id = await hub.run()
    hub.table.note_starting(id)
    hub.table.note_start(id, 1)
    hub.table.note_started(id)
    await hub.running(id)


async def test_a_start_that_failed(swarm: FakeEngine) -> None:
    """Then somebody else has it run, as the start that the Swarm knows: it is found."""
    async with watching(swarm, resync=0.05) as hub:
        id = await hub.run()
        await hub.scale(id, 0)
        await hub.dead(id)
        hub.table.note_starting(id)
        hub.table.note_start(id, 2)
        hub.table.note_started(id)
        await hub.scale(id, 1)
        await hub.running(id)


async def test_a_start_that_is_taken_back(hub: Hub) -> None:
    """Stopped before it ever ran: who waits for its end is told."""
    id = await hub.start(constraints=["node.labels.disk==ssd"])
    await hub.rounds()
    await hub.scale(id, 0)
    assert (await hub.dead(id)).state is State.EXITED


async def test_a_stop_that_is_told_before_its_task_is_to_end(hub: Hub) -> None:
    """Managers say first that a service is to have no task, and then decide which one goes."""
    id = await hub.run()
    hub.fake.emit("service", "update", id, {"replicas.new": "0", "replicas.old": "1"})
    await hub.rounds(4)
    assert hub.now(id).running
    hub.fake.lose_events()
    await hub.scale(id, 0)
    assert (await hub.dead(id)).state is State.EXITED


@pytest.mark.parametrize("crashed", [False, True])
async def test_a_start_that_is_told_before_its_task_is_made(hub: Hub, crashed: bool) -> None:
    """Somebody else has a service run again, and the Swarm makes its task a moment later; one that
    has ended may still be there.
    """
    id = await hub.run()
    if crashed:
        hub.fake.swarm.end("s1", 3)
    else:
        await hub.scale(id, 0)
    await hub.dead(id)
    hub.fake.emit("service", "update", id, {"replicas.new": "1", "replicas.old": "0"})
    await hub.rounds(4)
    assert hub.now(id).ended
    hub.fake.lose_events()
    await hub.scale(id, 1, start=True)
    await hub.running(id)


async def test_a_start_of_which_its_maker_is_not_told(hub: Hub) -> None:
    """One that ran, though the call that began it failed, has ended as soon as it is stopped."""
    id = await hub.create()
    hub.table.note_created(id, "s1", LABELS, IMAGE)
    hub.table.note_starting(id)
    hub.table.note_start(id, 1)
    await hub.scale(id, 1, start=True)
    await hub.running(id)
    await hub.scale(id, 0)
    assert (await hub.dead(id)).state is State.EXITED


# --- another task, another node -------------------------------------------------------------------


async def test_a_restart_elsewhere_is_no_end(hub: Hub) -> None:
    """With on-failure it is nowhere until the next task runs, and then where that is."""
    id = await hub.run(restart="on-failure")
    first = hub.now(id).endpoint_fingerprint
    places: list[int | None] = []
    deaths: list[ObservedContainer] = []
    hub.table.on_death(id, deaths.append)
    stop = hub.table.on_move(id, lambda record: places.append(record.endpoint_fingerprint))
    hub.fake.behave(Behaviour(hold="preparing"))
    hub.fake.swarm.end("s1", 1)
    await eventually(lambda: places == [NOWHERE])
    hub.fake.swarm.let_go()
    await eventually(lambda: len(places) > 1)
    assert places[1] not in (None, NOWHERE, first)
    assert deaths == []
    stop()
    # An end that is no failure has no successor.
    hub.fake.swarm.end("s1", 0)
    assert (await hub.dead(id)).exit_code == 0
    assert len(places) == 2
    assert not hub.table._moves


async def test_a_lost_node(hub: Hub) -> None:
    """Its servers end, or move with on-failure; when it is back, nothing comes to life again."""
    ends = await hub.run("s1", constraints=["node.hostname==node-2"])
    moves = await hub.run("s2", restart="on-failure", constraints=["node.hostname!=node-1"])
    stays = await hub.run("s3", constraints=["node.hostname==node-1"])
    home = hub.fake.swarm.tasks("s2")[-1]["NodeID"]
    name = next(one for one in ("node-2", "node-3") if hub.fake.swarm.node(one).id == home)
    places: list[int | None] = []
    hub.table.on_move(moves, lambda record: places.append(record.endpoint_fingerprint))
    for node in {"node-2", name}:
        await asyncio.to_thread(hub.fake.swarm.lose, node)
    record = await hub.dead(ends)
    assert (record.state, record.exit_code) == (State.EXITED, None)
    assert record.words.startswith("the node that it ran on is down: node-2")
    assert not record.stop_requested
    for node in {"node-2", name}:
        hub.fake.swarm.find(node)
    await eventually(lambda: len(places) > 1 and places[-1] != NOWHERE)
    assert places[0] == NOWHERE
    await hub.rounds(4)
    assert hub.now(ends) == record
    assert hub.now(moves).running
    assert hub.now(stays).running


async def test_a_drained_node(hub: Hub) -> None:
    """Its servers were asked to end, and it is said by what."""
    id = await hub.run(constraints=["node.hostname==node-2"])
    hub.fake.swarm.change("node-2", availability="drain")
    record = await hub.dead(id)
    assert (record.stop_requested, record.stopped) == (True, True)
    assert record.words == "the node that it ran on was drained: node-2"


@pytest.mark.parametrize("how", ["lost", "drained"])
async def test_no_node_for_the_next_task(swarm: FakeEngine, how: str) -> None:
    """It would wait without end for its node, as with files there: it has ended soon."""
    async with watching(swarm, no_node=0.1) as hub:
        waits = await hub.start("s2", constraints=["node.labels.disk==ssd"])
        here = ["node.hostname==node-2"]
        id = await hub.run("s1", restart="on-failure", constraints=here)
        places: list[int | None] = []
        hub.table.on_move(id, lambda record: places.append(record.endpoint_fingerprint))
        if how == "lost":
            await asyncio.to_thread(swarm.swarm.lose, "node-2")
        else:
            swarm.swarm.change("node-2", availability="drain")
        record = await hub.dead(id)
        assert places == [NOWHERE]
        assert (record.state, record.exit_code) == (State.EXITED, None)
        why = "down: node-2" if how == "lost" else "drained: node-2"
        assert re.search(
            rf"the node that it ran on (is|was) {why}.*; no suitable node", record.words
        )
        # Nobody asks for it in every round; who asks is told the same; and it runs anew as others.
        assert id not in hub.table._changing
        await hub.table.look_at(id)
        assert hub.now(id) == record
        assert hub.now(waits).state is State.CREATED
        await hub.scale(id, 0)
        if how == "lost":
            swarm.swarm.find("node-2")
        else:
            swarm.swarm.change("node-2", availability="active")
        await hub.begin(id, run=2)
        await hub.running(id)
        assert hub.now(id).words == ""


async def test_a_node_that_is_found_in_time(swarm: FakeEngine) -> None:
    """Who waited for a node has all of that time again when it waits the next time."""
    async with watching(swarm, no_node=600) as hub:
        id = await hub.run(restart="on-failure", constraints=["node.hostname==node-2"])
        await asyncio.to_thread(swarm.swarm.lose, "node-2")
        await eventually(lambda: hub.table._rows[id].unplaced)
        swarm.swarm.find("node-2")
        await eventually(lambda: hub.now(id).endpoint_fingerprint not in (None, NOWHERE))
        assert hub.table._rows[id].unplaced is None
        assert hub.now(id).running


# --- managers that cannot tell --------------------------------------------------------------------


async def ends_out_of_sight(hub: Hub, back: Any) -> None:
    """Nothing is called ended before the table is back; then what ended meanwhile is told."""
    deaths: list[ObservedContainer] = []
    ids = [one.id for one in hub.table.records()]
    for id in ids:
        hub.table.on_death(id, deaths.append)
    await eventually(lambda: not hub.table.connected)
    hub.fake.swarm.end("s1", 9)
    assert deaths == []
    assert all(one.running for one in hub.table.records())
    back()
    await asyncio.wait_for(hub.table.in_sync(), 30)
    await eventually(lambda: deaths)
    assert [(one.name, one.exit_code) for one in deaths] == [("s1", 9)]


async def test_no_leader(swarm: FakeEngine) -> None:
    """A manager that waits for a leader is not waited for; nor believed."""
    async with watching(swarm, tasks_told=0.2) as hub:
        await hub.run("s1")
        await hub.run("s2")
        swarm.swarm.lose_leader()
        await ends_out_of_sight(hub, swarm.swarm.elect_leader)


@pytest.mark.parametrize("kind", [500, "reset", "stall", "garbage", 503])
async def test_requests_that_fail(swarm: FakeEngine, kind: int | str) -> None:
    """Whatever goes wrong with them, it says nothing of tasks."""
    async with watching(swarm, tasks_told=0.2) as hub:
        await hub.run("s1")
        await hub.run("s2")
        swarm.fault(kind, "GET", "/tasks", times=10_000)
        await ends_out_of_sight(hub, swarm.well_again)


async def test_a_lost_stream(hub: Hub) -> None:
    """Requests alone would not tell of services that come and go: all is begun anew."""
    await hub.run("s1")
    before = hub.table.disconnects
    hub.fake.lose_streams("reset")
    await eventually(lambda: hub.table.disconnects > before and hub.table.connected)
    hub.fake.down()
    await eventually(lambda: not hub.table.connected)
    hub.fake.up()
    await asyncio.wait_for(hub.table.in_sync(), 30)
    assert [one.running for one in hub.table.records()] == [True]


async def test_a_manager_that_is_none_any_more(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    """Demoted: it knows nothing of services, which is told once, and they go on."""
    id = await hub.run()
    hub.fake.swarm.join(role="manager")
    hub.fake.swarm.change("node-1", role="worker")
    await eventually(lambda: not hub.table.connected)
    await eventually(lambda: hub.table.disconnects > 3)
    assert hub.now(id).running
    assert caplog.text.count("Lost sight of") == 1
    hub.fake.swarm.change("node-1", role="manager")
    await asyncio.wait_for(hub.table.in_sync(), 30)


async def test_what_no_event_told(swarm: FakeEngine) -> None:
    """What a silently stalled stream did not tell is found when all is begun anew."""
    async with watching(swarm, resync=0.2) as hub:
        stopped, removed = await hub.run("s1"), await hub.run("s2")
        swarm.lose_events()
        await hub.scale(stopped, 0)
        swarm.swarm.remove("s2")
        new = await hub.create("s3", 1)
        await hub.dead(stopped)
        await eventually(lambda: hub.table.get(removed) is None and hub.table.get(new))
        assert hub.table.disconnects == 0


# --- by how many requests -------------------------------------------------------------------------


def labels(number: int) -> Mapping[str, str]:
    """Of one of many servers."""
    return {**LABELS, "dockernamed.user": f"user-{number}"}


async def requests_of(hub: Hub, rounds: int) -> list[tuple[str, str]]:
    """What is asked for in so many rounds."""
    await hub.rounds(1)
    asked = len(hub.fake.requests)
    await hub.rounds(rounds)
    return hub.fake.requests[asked:]


@pytest.mark.parametrize("count", [1, 500])
async def test_one_request_for_all(swarm: FakeEngine, count: int) -> None:
    """While nothing happens a round is one request, whatever the number of services."""
    swarm.swarm.populate(count, labels)
    async with watching(swarm) as hub:
        await eventually(lambda: not hub.table._changing)
        assert set(await requests_of(hub, 5)) == {("GET", "/tasks")}
        assert sum(one.running for one in hub.table.records()) == count


async def test_one_more_for_those_that_change(swarm: FakeEngine) -> None:
    """All that start are looked at by one request, and what ended long ago by none."""
    async with watching(swarm, changing_tasks=60, ended_tasks=60) as hub:
        ended = await hub.start("s0")
        swarm.behave(Behaviour(hold="starting"))
        ids = [await hub.create(f"s{number}", 1) for number in range(1, 30)]
        for id in ids:
            hub.table.note_created(id, "s", LABELS, IMAGE)
        await eventually(lambda: swarm.swarm.states.count("starting") >= len(ids))
        asked = len(swarm.requests)
        for id in ids:
            hub.table.note_started(id)
        await eventually(lambda: len(swarm.requests) > asked)
        await eventually(lambda: all(hub.table._rows[id].stage for id in ids))
        assert swarm.requests[asked:].count(("GET", "/tasks")) == 1
        assert ended in hub.table._rows


async def test_many(swarm: FakeEngine) -> None:
    """Two thousand services: each end is told, once, also those of a whole node."""
    ids = swarm.swarm.populate(2000, labels)
    async with watching(swarm) as hub:
        deaths: list[str] = []
        for id in ids:
            hub.table.on_death(id, lambda record: deaths.append(record.id))
        name = hub.now(ids[0]).name
        swarm.swarm.end(name, 3)
        assert (await hub.dead(ids[0])).exit_code == 3
        node = swarm.swarm.node("node-3").id
        there = {one["ServiceID"] for one in swarm.swarm.tasks() if one["NodeID"] == node}
        assert len(there) > AT_ONCE
        await asyncio.to_thread(swarm.swarm.lose, "node-3")
        await eventually(lambda: len(deaths) > len(there))
        assert sorted(deaths) == sorted({*there, ids[0]})
        assert sum(one.running for one in hub.table.records()) == 2000 - len(deaths)
        assert not hub.table._changing


async def test_memory_is_bounded(hub: Hub) -> None:
    """Neither strangers' services nor what has come and gone stays in memory."""
    event = {"Type": "service", "Action": "create", "Actor": {"ID": "", "Attributes": {}}}
    for number in range(MAX_NEW + 10):
        event["Actor"] = {"ID": f"strange-{number}", "Attributes": {"name": "x"}}
        hub.table._on_event(event)
    assert len(hub.table._new) == MAX_NEW
    hub.table._new.clear()
    for number in range(20):
        await hub.managers.remove_service(await hub.run(f"s{number}"))
    await eventually(lambda: not hub.table.records())
    assert (hub.table._rows, hub.table._by_server, hub.table._waiters) == ({}, {}, {})


async def test_image_events(hub: Hub) -> None:
    """The manager's own images are told of, and that some were missed, as after a lost stream."""
    told: list[Mapping[str, Any] | None] = []
    hub.table.on_image_event(told.append)
    hub.fake.add_image("another:1")
    await eventually(lambda: told)
    assert told[0] is not None
    hub.fake.lose_streams("reset")
    await eventually(lambda: None in told)


async def test_looking_at_one(hub: Hub) -> None:
    """Who asks gets what the Swarm says now; of one that is unknown nothing is asked."""
    id = await hub.run()
    before = hub.now(id)
    await hub.table.look_at(id)
    assert hub.now(id) == before
    await hub.table.look_at("unknown")


async def test_an_answer_that_is_older_than_what_we_did(hub: Hub) -> None:
    """What was noted while a look was under way is newer than the look."""
    id = await hub.run()
    hub.fake.swarm.end("s1", 3)
    await hub.dead(id)
    await hub.scale(id, 0)
    fault = hub.fake.fault("stall after", "GET", "/tasks", times=1)
    look = asyncio.ensure_future(hub.table.look_at(id))
    await asyncio.to_thread(fault.reached.wait, 30)
    hub.table.note_starting(id)
    fault.release()
    await look
    assert hub.now(id).state is State.CREATED
