"""What becomes of a server's task: starts that come to nothing, lost nodes, tasks that follow."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.driving import MakeHub, Told, message, refused
from support.engine.watching import eventually
from support.fake_engine import Behaviour, FakeEngine
from support.fake_engine.swarm_control import FakeSwarm
from support.fake_engine.swarm_objects import Status, Task
from support.operations import keep_house
from support.stage import QUICK, TOLD_SOON, reached
from support.stub_hub import Hub, runtimes
from tornado import web

from dockernamed import DockerNamedSpawner
from dockernamed.lifecycle.orphans import KnownServer, OrphanReaper

NO_NODE = "no suitable node (scheduling constraints not satisfied on 3 nodes)"
FAST = ["node.labels.disk==fast"]


class Proxy:
    """Where the Hub's proxy leads, and what it was told."""

    def __init__(self) -> None:
        self.route: tuple[str, int] | None = None
        self.told: list[tuple[str, int] | None] = []

    async def add_user(self, user: Any, server: str) -> None:
        at = user.spawners[server].server
        self._lead((at.ip, at.port))

    async def delete_user(self, user: Any, server: str) -> None:
        self._lead(None)

    def _lead(self, to: tuple[str, int] | None) -> None:
        self.route = to
        self.told.append(to)


@pytest.fixture
def swarm(fake: FakeEngine) -> FakeSwarm:
    """A Swarm of three nodes."""
    return fake.init_swarm(3)


@pytest.fixture
def make(make_hub: MakeHub, swarm: FakeSwarm) -> Callable[..., Hub]:
    """Makes Hubs whose servers are in the Swarm."""

    def made(**settings: Any) -> Hub:
        return make_hub(swarm=True, **settings)

    return made


def at(spawner: DockerNamedSpawner) -> tuple[str, int]:
    """Where the Hub finds a server."""
    return spawner.server.ip, spawner.server.port


def place(swarm: FakeSwarm, task: Any) -> tuple[str, int]:
    """Where a task is."""
    (node,) = [one for one in swarm.nodes if one["ID"] == task["NodeID"]]
    return node["Status"]["Addr"], task["Status"]["PortStatus"]["Ports"][0]["PublishedPort"]


# --- starts that come to nothing ------------------------------------------------------------------


@pytest.mark.parametrize("restart", ["none", "on-failure"])
@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        (
            Behaviour(reject="No such image: lab:latest"),
            "ended before it was ready: No such image. image = 'lab:latest': the node has no such",
        ),
        (
            Behaviour(
                fail='starting container failed: exec: "/bin/sh": stat /bin/sh: no such file'
            ),
            "private_tokens = True: the image has no /bin/sh",
        ),
        (Behaviour(exit_code=5, log="oh no"), "with exit code 5. Its last log lines:\noh no"),
    ],
)
async def test_a_task_that_fails(
    make: Callable[..., Hub],
    fake: FakeEngine,
    swarm: FakeSwarm,
    behaviour: Behaviour,
    told: str,
    restart: str,
) -> None:
    """The start ends with the task's own words, also where the Swarm would try on for ever."""
    fake.behave(behaviour)
    error = await asyncio.wait_for(refused(make(restart_policy=restart)), 30)
    assert told in message(error)
    assert swarm.services == {}
    await eventually(lambda: not swarm.secrets)


async def test_nowhere_to_run(make: Callable[..., Hub], swarm: FakeSwarm) -> None:
    """At the end of start_timeout the error says why, and what would help; nothing is left."""
    hub = make(placement_constraints=FAST, start_timeout=4)
    error = await refused(hub)
    assert message(error).startswith(
        f"the server was not running within start_timeout = 4 seconds: {NO_NODE}. No node is as "
        "placement_constraints asks for"
    )
    assert swarm.services == {}


async def test_waiting_for_a_node(make: Callable[..., Hub], swarm: FakeSwarm) -> None:
    """The scheduler's words are told at once, and once; the start goes on when there is a node."""
    hub = make(placement_constraints=FAST)
    starting = hub.spawning("exp-1")
    words = f"The server cannot run yet: {NO_NODE}"
    await eventually(swarm.tasks)
    progress = hub.spawner("exp-1").progress()

    async def heard(what: str) -> list[str]:
        before = []
        async for event in progress:
            before.append(event["message"])
            if event["message"] == what:
                break
        return before

    await asyncio.wait_for(heard(words), 30)
    swarm.change("node-2", labels={"disk": "fast"})
    await asyncio.wait_for(starting, 30)
    assert words not in await asyncio.wait_for(heard("The server is ready"), 30)


async def test_a_node_that_is_lost_while_a_server_starts(
    make: Callable[..., Hub], fake: FakeEngine, swarm: FakeSwarm
) -> None:
    """With on-failure the start goes on, on another node, and is told where that is."""
    swarm.change("node-1", availability="drain")
    swarm.change("node-3", availability="drain")
    fake.behave(Behaviour(serve="silent"))
    hub = make(restart_policy="on-failure", server_volume="")
    starting = hub.spawning("exp-1")
    await eventually(lambda: swarm.states == ["running"])
    fake.behave(Behaviour())
    swarm.change("node-3", availability="active")
    await asyncio.to_thread(swarm.lose, "node-2")
    await asyncio.wait_for(starting, 30)
    assert at(hub.spawner("exp-1")) == place(swarm, swarm.tasks()[-1])
    swarm.find("node-2")


@pytest.mark.parametrize(
    ("kind", "call"),
    [("lost", "/secrets/create"), (500, "/secrets/create"), (500, "/services/[^/]+/update")],
)
async def test_a_kept_service_that_cannot_be_started(
    make: Callable[..., Hub], fake: FakeEngine, swarm: FakeSwarm, kind: str | int, call: str
) -> None:
    """What was made for that start is gone; the service stays, and the next start brings it up."""
    hub = make(remove=False, secret_files={"/one": "1", "/two": "2"})
    await hub.spawn("exp-1")
    (id,) = swarm.services
    await hub.stop("exp-1")
    fault = fake.fault(kind, "POST", call)
    await refused(hub)
    assert fault.hits == 1
    (runtime,) = runtimes()
    await runtime.backend.tidy(hub.spawner("exp-1").key.hub)
    assert swarm.secrets == {}
    await hub.spawn("exp-1")
    assert (list(swarm.services), len(swarm.secrets)) == ([id], 3)


async def put_away(swarm: FakeSwarm) -> None:
    """Wait until the only service is to have no task, and nothing is left that was handed over."""
    (service,) = swarm.services.values()
    await eventually(
        lambda: (
            swarm.services[service["Spec"]["Name"]]["Spec"]["Mode"]["Replicated"]["Replicas"] == 0
        )
    )
    await eventually(lambda: swarm.secrets == {})


@pytest.mark.parametrize("restarted", [False, True], ids=["Hub runs", "Hub is away"])
async def test_a_kept_service_that_ends_by_itself(
    make: Callable[..., Hub], swarm: FakeSwarm, restarted: bool
) -> None:
    """It is as one that was stopped: the Swarm is not to run it, and has none of its secrets."""
    hub = make(remove=False, secret_files={"/one": "1"})
    await hub.spawn("exp-1")
    (name,) = swarm.services
    swarm.end(name)
    await eventually(lambda: not runtimes()[0].watcher.records()[0].running)
    if restarted:
        await hub.restart()
    assert await hub.spawner("exp-1").poll() == 1
    await hub.stop("exp-1")
    await put_away(swarm)
    await hub.spawn("exp-1")
    assert list(swarm.services) == [name]


async def test_a_kept_service_that_ends_while_it_starts(
    make: Callable[..., Hub], fake: FakeEngine, swarm: FakeSwarm
) -> None:
    """Likewise: its start has failed, and is taken back."""
    hub = make(remove=False, secret_files={"/one": "1"})
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    fake.behave(Behaviour(exit_code=3))
    await refused(hub)
    await put_away(swarm)


async def test_a_kept_service_that_ends_while_its_hub_is_killed(
    make: Callable[..., Hub], fake: FakeEngine, swarm: FakeSwarm
) -> None:
    """Likewise, though no Hub knows that it ever ran: who keeps house finds it."""
    hub = make(remove=False, secret_files={"/one": "1"})
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    (service,) = swarm.services.values()
    runtime = runtimes()[0]
    managers: Any = runtime.parts.things
    await managers.start(service["ID"])
    await eventually(lambda: [one.running for one in runtime.watcher.records()] == [True])
    swarm.end(service["ID"])
    await eventually(lambda: [one.running for one in runtime.watcher.records()] == [False])
    await keep_house(hub, fake)
    await put_away(swarm)


async def test_a_start_that_is_cancelled_between_two_calls(
    make: Callable[..., Hub], fake: FakeEngine, swarm: FakeSwarm
) -> None:
    """What a kept service was given before it was told to start goes, and it is stopped again."""
    hub = make(remove=False)
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    held = fake.fault("stall", "GET", "/configs/[^/]+")
    starting = hub.spawning("exp-1")
    await reached(held)
    assert len(swarm.secrets) == 1
    starting.cancel()
    held.release()
    await asyncio.wait({starting})
    await eventually(lambda: not runtimes()[0].backend.rollback.starts)
    assert swarm.secrets == {}


@pytest.mark.parametrize(
    ("call", "behaviour", "seconds", "told"),
    [
        (("DELETE", "/services/[^/]+"), Behaviour(exit_code=5), 60, "with exit code 5"),
        (("POST", "/configs/create"), Behaviour(), 3, "no answer within 3 s"),
    ],
)
async def test_managers_that_do_not_answer(
    make: Callable[..., Hub],
    fake: FakeEngine,
    swarm: FakeSwarm,
    call: tuple[str, str],
    behaviour: Behaviour,
    seconds: int,
    told: str,
) -> None:
    """Why a start failed is told at once, though nothing of it can be taken back yet; all of that
    is gone once they answer, and the next start waits for it.
    """
    hub = make(timings=TOLD_SOON, start_timeout=seconds, client_kwargs={"timeout": 600})
    fake.behave(behaviour)
    held = fake.fault("stall", *call)
    error = await asyncio.wait_for(refused(hub), 30)
    assert held.hits == 1
    assert told in message(error)
    fake.behave(Behaviour())
    starting = hub.spawning("exp-1")
    held.release()
    await asyncio.wait_for(starting, 30)
    ids = [one["ID"] for one in swarm.services.values()]
    assert ids == [hub.spawner("exp-1").object_id]
    await eventually(lambda: not runtimes()[0].backend.rollback.starts)
    assert len(swarm.secrets) == 1


@pytest.mark.parametrize("setting", ["network_name", "volumes_of_another_hub"])
async def test_managers_that_do_not_answer_before_the_start(
    make: Callable[..., Hub], fake: FakeEngine, setting: str
) -> None:
    """What is asked before the start's clock runs takes no longer than the start may."""
    fake.add_network("shared")
    values = {"network_name": "shared", "volumes_of_another_hub": "refuse"}
    hub = make(start_timeout=3, client_kwargs={"timeout": 600}, **{setting: values[setting]})
    call = "/networks/shared" if setting == "network_name" else "/configs"
    held = fake.fault("stall", "GET", call)
    error = await asyncio.wait_for(refused(hub), 30)
    assert (held.hits, "no answer within 3 s" in message(error)) == (1, True), message(error)
    held.release()


# --- while it runs --------------------------------------------------------------------------------


async def test_ports_that_are_told_late(
    make: Callable[..., Hub], swarm: FakeSwarm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A manager may tell of a running task before it tells of its ports: a start waits for them."""
    looks: list[Task] = []

    def text(task: Task) -> str:
        looks.append(task)
        shown = task.inspect()
        if len(looks) < 8:
            shown["Status"] = {**shown["Status"], "PortStatus": {}}
        return json.dumps(shown)

    monkeypatch.setattr(Task, "text", text)
    spawner = await make().spawn("exp-1")
    assert at(spawner) == place(swarm, swarm.tasks()[-1])


async def test_ports_that_are_never_told(
    make: Callable[..., Hub],
    swarm: FakeSwarm,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Such a start ends with its time, and the log says what was missing."""
    known = Status.inspect
    monkeypatch.setattr(Status, "inspect", lambda status: {**known(status), "PortStatus": {}})
    error = await asyncio.wait_for(refused(make(start_timeout=4)), 30)
    assert "cannot look where service" in message(error)
    assert "its published ports are not known yet" in caplog.text
    await eventually(lambda: swarm.services == {})


async def test_a_lost_node(
    make: Callable[..., Hub], swarm: FakeSwarm, caplog: pytest.LogCaptureFixture
) -> None:
    """The Hub is told at once, its log says which node it was, and the next start is elsewhere."""
    swarm.change("node-1", availability="drain")
    swarm.change("node-3", availability="drain")
    hub = make(server_volume="")
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    swarm.change("node-3", availability="active")
    await asyncio.to_thread(swarm.lose, "node-2")
    assert await told.exit_code() == 0
    assert "ann:exp-1 ended, with exit code None (the node that it ran on is down: node-2" in (
        caplog.text
    )
    await hub.stop("exp-1")
    spawner = await hub.spawn("exp-1")
    assert at(spawner) == place(swarm, swarm.tasks()[-1])
    swarm.find("node-2")
    assert await spawner.poll() is None


async def test_the_route_follows_the_task(
    make: Callable[..., Hub], swarm: FakeSwarm, caplog: pytest.LogCaptureFixture
) -> None:
    """Never to a twin on a lost node, nor to nothing: it is gone until the next task answers."""
    swarm.change("node-1", availability="drain")
    swarm.change("node-3", availability="drain")
    proxy = Proxy()
    hub = make(restart_policy="on-failure", server_volume="")
    hub.extra["proxy"] = proxy
    spawner = await hub.spawn("exp-1")
    twin = at(spawner)
    ended: list[bool] = []

    async def end() -> None:
        ended.append(True)

    spawner.add_poll_callback(end)
    await asyncio.to_thread(swarm.lose, "node-2")
    await eventually(lambda: None in proxy.told)
    assert await spawner.poll() is None
    swarm.change("node-3", availability="active")
    await eventually(lambda: proxy.route)
    assert proxy.route == at(spawner) == place(swarm, swarm.tasks()[-1]) != twin
    swarm.find("node-2")
    await eventually(lambda: not any(one.status == "running" for one in swarm.containers("node-2")))
    assert await spawner.poll() is None
    assert twin not in proxy.told
    assert ended == []
    # A crash is followed as well, at the place where it is taken up again.
    swarm.end(swarm.tasks()[-1]["ServiceID"], 1)
    before = len(proxy.told)
    await eventually(lambda: len(proxy.told) > before and proxy.route)
    assert proxy.route == at(spawner) == place(swarm, swarm.tasks()[-1])


@pytest.mark.parametrize("restarted", [False, True], ids=["Hub runs", "Hub is away"])
@pytest.mark.parametrize("remove", [True, False], ids=["removed", "kept"])
async def test_files_on_a_lost_node(
    make: Callable[..., Hub],
    swarm: FakeSwarm,
    caplog: pytest.LogCaptureFixture,
    remove: bool,
    restarted: bool,
) -> None:
    """With on-failure the server has ended too, as no other node has its files: the Hub is told
    why, and its user the way out. When the node is back, nothing runs that nobody asked for.
    """
    hub = make(
        restart_policy="on-failure",
        remove=remove,
        timings=replace(QUICK, no_node=0.2),
        placement_constraints=["node.role==worker"],  # the manager is asked all the time
    )
    spawner = await hub.spawn("exp-1")
    (service,) = swarm.services.values()
    await eventually(lambda: "node.id==" in str(swarm.services))
    (task,) = swarm.tasks()
    (node,) = [one["Description"]["Hostname"] for one in swarm.nodes if one["ID"] == task["NodeID"]]
    if restarted:
        await asyncio.to_thread(swarm.lose, node)
        await hub.restart()
        spawner = hub.spawner("exp-1")
        await spawner.poll()
        await eventually(lambda: not runtimes()[0].watcher.records()[0].running)
        assert await spawner.poll() == 0
    else:
        told = Told(spawner)
        await asyncio.to_thread(swarm.lose, node)
        assert await told.exit_code() == 0
    (line,) = [one for one in caplog.messages if one.startswith("ann:exp-1 ended")]
    assert f"(the node that it ran on is down: {node}" in line
    assert "; no suitable node (" in line
    await hub.stop("exp-1")
    await eventually(
        lambda: {one["DesiredState"] for one in swarm.tasks()} <= {"shutdown", "remove"}
    )
    assert f"on the node {node}, which is down: start that machine" in message(await refused(hub))
    swarm.find(node)
    await eventually(lambda: not any(one.status == "running" for one in swarm.containers(node)))
    await hub.spawn("exp-1")
    assert place(swarm, swarm.tasks()[-1]) == at(hub.spawner("exp-1"))
    assert swarm.tasks()[-1]["NodeID"] == task["NodeID"]
    assert (service["ID"] in {one["ID"] for one in swarm.services.values()}) is not remove


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        (Behaviour(exit_code=3), 3, "ended, with exit code 3"),
        (Behaviour(reject="No such image: lab:latest"), 0, "No such image: lab:latest"),
    ],
    ids=["crashes", "rejected"],
)
async def test_a_server_that_always_fails(
    make: Callable[..., Hub],
    fake: FakeEngine,
    swarm: FakeSwarm,
    caplog: pytest.LogCaptureFixture,
    behaviour: Behaviour,
    code: int,
    words: str,
) -> None:
    """With on-failure it is tried three times more, and not for ever: then it has ended."""
    hub = make(restart_policy="on-failure", server_volume="")
    told = Told(await hub.spawn("exp-1"))
    (service,) = swarm.services
    fake.behave(behaviour)
    swarm.end(service, 1)
    assert await told.exit_code() == code
    assert len(swarm.tasks(service)) == 1 + 3
    assert words in caplog.text
    fake.behave(Behaviour())
    await hub.stop("exp-1")
    assert await hub.spawn("exp-1")


@pytest.mark.parametrize("at_start", [False, True])
async def test_a_kept_server_that_ends_by_itself(
    make: Callable[..., Hub],
    fake: FakeEngine,
    swarm: FakeSwarm,
    caplog: pytest.LogCaptureFixture,
    at_start: bool,
) -> None:
    """Its exit code is told, and then neither its task is left, of which every round of the table
    would be told, nor its token; the next start takes its service up.
    """
    hub = make(remove=False)
    spawner = await hub.spawn("exp-1")
    (id,) = swarm.services
    if at_start:
        await hub.stop("exp-1")
        fake.behave(Behaviour(exit_code=7))
        assert "with exit code 7" in message(await refused(hub))
        fake.behave(Behaviour())
        await eventually(lambda: not runtimes()[0].backend.rollback.starts)
    else:
        told = Told(spawner)
        swarm.end(id, 7)
        assert await told.exit_code() == 7
        await hub.stop("exp-1")
        assert "ann:exp-1 ended, with exit code 7" in caplog.text
    await eventually(lambda: not swarm.tasks())
    assert list(swarm.services) == [id]
    assert swarm.services[id]["Spec"]["Mode"] == {"Replicated": {"Replicas": 0}}
    assert swarm.secrets == {}
    assert await hub.spawner("exp-1").poll() in (0, 7)
    await hub.spawn("exp-1")
    assert (list(swarm.services), len(swarm.secrets)) == ([id], 1)


async def test_a_stop_from_outside_while_it_starts(
    make: Callable[..., Hub], fake: FakeEngine, swarm: FakeSwarm
) -> None:
    """That is what the error says, and nothing of its command, which did as it was told."""
    fake.behave(Behaviour(serve="silent"))
    starting = make().spawning("exp-1")
    await eventually(lambda: swarm.states == ["running"])
    (runtime,) = runtimes()
    managers: Any = runtime.parts.things
    await managers.stop(swarm.tasks()[0]["ServiceID"], 1)
    with pytest.raises(web.HTTPError) as caught:
        await asyncio.wait_for(starting, 30)
    assert "it was stopped from outside" in message(caught.value)
    assert "cmd" not in message(caught.value)


async def test_a_removal_from_outside_while_it_starts(
    make: Callable[..., Hub], fake: FakeEngine, swarm: FakeSwarm
) -> None:
    """Whoever asked for the start is told, without an exit code that nobody knows."""
    fake.behave(Behaviour(serve="silent"))
    starting = make().spawning("exp-1")
    await eventually(lambda: swarm.states == ["running"])
    swarm.remove(swarm.tasks()[0]["ServiceID"])
    with pytest.raises(web.HTTPError) as caught:
        await asyncio.wait_for(starting, 30)
    found = message(caught.value)
    assert found == "the server ended before it was ready: its service was removed by somebody else"


async def test_an_end_that_may_be_for_want_of_memory(
    make: Callable[..., Hub], fake: FakeEngine
) -> None:
    """A Swarm does not tell why a task was killed: what is likely is told, with the setting."""
    fake.behave(Behaviour(exit_code=137, oom=True))
    found = message(await refused(make(mem_limit="16M")))
    assert "with exit code 137" in found
    assert "mem_limit = 16777216: it was killed" in found


async def test_a_stop_from_outside(
    make: Callable[..., Hub], swarm: FakeSwarm, caplog: pytest.LogCaptureFixture
) -> None:
    """``docker service scale …=0`` is told as a stop, not as a crash."""
    hub = make()
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    (runtime,) = runtimes()
    managers: Any = runtime.parts.things
    await managers.stop(spawner.object_id, 1)
    await told.exit_code()
    assert "ann:exp-1 was stopped from outside" in caplog.text


async def test_managers_that_cannot_tell(make: Callable[..., Hub], swarm: FakeSwarm) -> None:
    """A Hub that comes up while there is no leader waits, and calls nothing dead."""
    hub = make()
    await hub.spawn("exp-1")
    await hub.restart()
    swarm.lose_leader()
    polling = asyncio.ensure_future(hub.spawner("exp-1").poll())
    await eventually(lambda: runtimes()[-1].watcher.disconnects > 1)
    assert not polling.done()
    swarm.elect_leader()
    assert await asyncio.wait_for(polling, 30) is None


@pytest.mark.parametrize("policy", ["report", "off"])
async def test_files_that_are_still_to_be_deleted(
    make: Callable[..., Hub], swarm: FakeSwarm, fake: FakeEngine, policy: str
) -> None:
    """Those of a server that was deleted while its node was away are no orphans, which an admin
    may want to keep: they go when the node is back. A secret of nobody's stays.
    """
    fake.behave(Behaviour(exit_code=0), name="dockernamed-empty-.*")
    swarm.change("node-1", availability="pause")
    hub = make()
    spawner = await hub.spawn("exp-1")
    (task,) = swarm.tasks()
    (node,) = [one["Description"]["Hostname"] for one in swarm.nodes if one["ID"] == task["NodeID"]]
    swarm.change(node, availability="drain")
    await eventually(lambda: not runtimes()[0].watcher.records()[0].running)
    await hub.stop("exp-1")
    await spawner.delete_forever()
    assert len(swarm.configs) == 1
    (runtime,) = runtimes()
    labels = {"dockernamed.hub": spawner.key.hub, "dockernamed.service": "x" * 25}
    managers: Any = runtime.parts.things
    await managers._swarm.create_secret("left", b"x", labels)
    swarm.change(node, availability="active")
    reaper = OrphanReaper(
        spawner.key.hub, runtime.watcher, runtime.backend, list, keep=False,
        policy=policy, grace=0, stop_timeout=1, interval=0, log=logging.getLogger("test"),
        timings=QUICK,
    )  # fmt: skip
    await reaper.round()
    assert (swarm.configs, len(swarm.secrets)) == ({}, 1)
    await runtime.backend.tidy(spawner.key.hub)
    assert swarm.secrets == {}


async def test_orphans(make: Callable[..., Hub], swarm: FakeSwarm) -> None:
    """A service that no server of the Hub stands for is removed, with its secrets."""
    hub = make()
    await hub.spawn("exp-1")
    await hub.spawn("exp-2")
    (runtime,) = runtimes()
    spawners = [hub.spawner("exp-1"), hub.spawner("exp-2")]
    known = [
        KnownServer("ann", one.name, one.name == "exp-1", one.object_id, None, one._state.made)
        for one in spawners
    ]
    reaper = OrphanReaper(
        spawners[0].key.hub, runtime.watcher, runtime.backend, lambda: known, keep=False,
        policy="remove", grace=0, stop_timeout=1, interval=0, log=logging.getLogger("test"),
        timings=QUICK,
    )  # fmt: skip
    await reaper.round()
    assert [one["ID"] for one in swarm.services.values()] == [spawners[0].object_id]
    await eventually(lambda: len(runtime.watcher.records()) == 1)
