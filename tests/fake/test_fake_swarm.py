"""The fake Swarm does what tests order, beyond what the contract suite asks of real ones too.

What is said here was seen of Docker 20.10 by hand.
"""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from support.engine.worlds import connect
from support.fake_engine import Behaviour, FakeEngine, FakeSwarm, RemoteImage
from support.fake_engine.listening import end_tasks
from support.stage import IMAGE, contents, reached

from dockernamed.engine.swarm import Swarm
from dockernamed.errors import EngineFailed, EngineTimeout, EngineUnavailable, NotAManager

PORT = {"TargetPort": 8888, "PublishMode": "host"}


@pytest.fixture
def nodes(fake: FakeEngine) -> FakeSwarm:
    """A Swarm of three nodes."""
    return fake.init_swarm(3)


@pytest.fixture
async def swarm(fake: FakeEngine, nodes: FakeSwarm) -> AsyncIterator[Swarm]:
    """Our way to it."""
    engine = connect(fake.url, timeout=30.0, version="1.41")
    yield Swarm(engine)
    fake.well_again()
    await engine.close()


def spec(name: str = "web", node: str = "", **template: Any) -> dict[str, Any]:
    """A service of one task, which may be bound to a node."""
    container = {"Image": IMAGE, **template.pop("container", {})}
    where = {"Constraints": [f"node.hostname=={node}"] if node else []}
    template = {"Placement": where, "RestartPolicy": {"Condition": "none"}, **template}
    return {
        "Name": name,
        "Labels": {"hub": "h1"},
        "TaskTemplate": {"ContainerSpec": container, **template},
        "EndpointSpec": {"Mode": "dnsrr", "Ports": [PORT]},
    }


async def state(nodes: FakeSwarm, service: str, *states: str) -> dict[str, Any]:
    """Wait until the newest task of a service is in one of these states, and return it."""

    async def look() -> dict[str, Any]:
        while True:
            tasks = nodes.tasks(service)
            if tasks and tasks[-1]["Status"]["State"] in states:
                return tasks[-1]
            await asyncio.sleep(0.002)

    return await asyncio.wait_for(look(), 30)


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Wait until something is true."""

    async def wait() -> None:
        while not await condition():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.002)

    await asyncio.wait_for(wait(), 30)


async def test_answers_only_at_its_own_node(nodes: FakeSwarm, swarm: Swarm) -> None:
    """A task answers at the address of its node, and nobody at another node's."""
    await swarm.create_service(spec(node="node-2"))
    task = await state(nodes, "web", "running")
    port = task["Status"]["PortStatus"]["Ports"][0]["PublishedPort"]

    def ask(name: str) -> int:
        url = f"http://{nodes.node(name).address}:{port}/"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return int(answer.status)

    assert await asyncio.to_thread(ask, "node-2") == 200
    with pytest.raises(OSError, match="refused"):
        await asyncio.to_thread(ask, "node-1")


async def test_generic_resources(fake: FakeEngine, nodes: FakeSwarm, swarm: Swarm) -> None:
    """Tasks are given named and counted ones, until there are no more."""
    nodes.change("node-3", generic={"GPU": ["uuid-1", "uuid-2"], "SSD": 3})
    wanted = [
        {"DiscreteResourceSpec": {"Kind": "GPU", "Value": 1}},
        {"DiscreteResourceSpec": {"Kind": "SSD", "Value": 1}},
    ]
    resources = {"Reservations": {"GenericResources": wanted}}
    given = []
    for name in ("a", "b"):
        await swarm.create_service(spec(name, Resources=resources))
        task = await state(nodes, name, "running")
        gpu, ssd = task["GenericResources"]
        given.append(gpu["NamedResourceSpec"]["Value"])
        assert ssd == {"DiscreteResourceSpec": {"Kind": "SSD", "Value": 1}}
    assert sorted(given) == ["uuid-1", "uuid-2"]
    await swarm.create_service(spec("c", Resources=resources))
    await until(lambda: _words(nodes, "c"))
    assert await _words(nodes, "c") == "no suitable node (insufficient resources on 3 nodes)"
    await swarm.remove_service("a")
    await state(nodes, "c", "running")


async def _words(nodes: FakeSwarm, service: str) -> str:
    tasks = nodes.tasks(service)
    return str(tasks[-1]["Status"].get("Err", "")) if tasks else ""


async def test_pulls_by_nodes(fake: FakeEngine, nodes: FakeSwarm, swarm: Swarm) -> None:
    """A node that has no image pulls it with the credentials that came with the service."""
    fake.publish("private:1", RemoteImage(auth=("ann", "secret")))
    body = spec("refused", container={"Image": "private:1"})
    await swarm.create_service(body)
    task = await state(nodes, "refused", "rejected")
    assert task["Status"]["Err"] == "No such image: private:1"
    auth = {"username": "ann", "password": "secret"}
    await swarm.create_service({**body, "Name": "given"}, auth=auth)
    task = await state(nodes, "given", "running")
    assert nodes.auths == [("given", auth)]


async def test_images_and_volumes_of_nodes(nodes: FakeSwarm, swarm: Swarm) -> None:
    """Each node has its own images and volumes."""
    nodes.remove_image(IMAGE, node="node-2")
    labels = {"Labels": {"a": "b"}}
    mount = {"Type": "volume", "Source": "files", "Target": "/work", "VolumeOptions": labels}
    container = {"Mounts": [mount]}
    for name in ("node-2", "node-3"):
        await swarm.create_service(spec(name, node=name, container=container))
    assert (await state(nodes, "node-2", "rejected"))["DesiredState"] in ("running", "shutdown")
    await state(nodes, "node-3", "running")
    assert nodes.volumes("node-3")["files"]["Labels"] == {"a": "b"}
    assert nodes.volumes("node-1") == nodes.volumes("node-2") == {}


async def test_secrets_reach_the_container(nodes: FakeSwarm, swarm: Swarm) -> None:
    """Secrets and configs are files of the task's container, at their places."""
    secret = await swarm.create_secret("s", b"\0hidden", {})
    config = await swarm.create_config("c", b"seen", {})
    file = {"UID": "0", "GID": "0", "Mode": 0o400}
    container = {
        "Secrets": [
            {"SecretID": secret, "SecretName": "s", "File": {**file, "Name": "/run/x/s"}},
        ],
        "Configs": [{"ConfigID": config, "ConfigName": "c", "File": {**file, "Name": "/etc/c"}}],
    }
    await swarm.create_service(spec(container=container))
    await state(nodes, "web", "running")
    found = contents(nodes.container("web"))
    assert found == {"/run/x/s": b"\0hidden", "/etc/c": b"seen"}


async def test_what_nodes_say(fake: FakeEngine, nodes: FakeSwarm, swarm: Swarm) -> None:
    """A task is rejected, cannot be started or is killed for its memory as a test wants it."""
    fake.behave(Behaviour(reject="invalid mount config"), name="rejected")
    fake.behave(Behaviour(fail='exec: "x": no such file'), name="failed")
    fake.behave(Behaviour(exit_code=137, oom=True), name="oom")
    for name in ("rejected", "failed", "oom"):
        await swarm.create_service(spec(name))
    assert (await state(nodes, "rejected", "rejected"))["Status"]["Err"] == "invalid mount config"
    status = (await state(nodes, "failed", "failed"))["Status"]
    assert status["Err"] == 'starting container failed: exec: "x": no such file'
    assert status["Message"] == "starting"
    status = (await state(nodes, "oom", "failed"))["Status"]
    assert status["Err"] == "task: non-zero exit (137)"
    assert nodes.container("oom").oom


async def test_a_task_that_is_held(fake: FakeEngine, nodes: FakeSwarm, swarm: Swarm) -> None:
    """A task stays in a state until it is let go; one that is given up meanwhile never starts."""
    fake.behave(Behaviour(hold="preparing"))
    for name in ("a", "b"):
        await swarm.create_service(spec(name))
        await state(nodes, name, "preparing")
    await swarm.remove_service("b")
    nodes.let_go()
    await state(nodes, "a", "running")

    async def gone() -> bool:
        return len(await swarm.list_tasks(labels=["hub=h1"])) == 1

    await until(gone)
    assert [one.name.partition(".")[0] for name in ("node-1", "node-2", "node-3")
            for one in nodes.containers(name)] == ["a"]  # fmt: skip


async def test_lost_answers(fake: FakeEngine, nodes: FakeSwarm, swarm: Swarm) -> None:
    """Faults strike the calls of a Swarm as any others."""
    fake.fault("lost", "POST", "/services/create")
    with pytest.raises(EngineUnavailable):
        await swarm.create_service(spec())
    await state(nodes, "web", "running")
    fake.fault(500, "POST", "/services/[^/]+/update", message="broken")
    info = await swarm.inspect_service("web")
    with pytest.raises(EngineFailed, match="broken"):
        await swarm.update_service(info["ID"], info["Version"]["Index"], info["Spec"])
    stalled = fake.fault("stall", "DELETE", "/services/[^/]+")
    removal = asyncio.ensure_future(swarm.remove_service("web"))
    await reached(stalled)
    assert "web" in nodes.services
    stalled.release()
    await removal
    assert nodes.services == {}


async def test_no_leader(fake: FakeEngine, nodes: FakeSwarm, swarm: Swarm) -> None:
    """A leader without followers reads and does not write; then there is none, and then again."""
    await swarm.create_service(spec("web"))
    await state(nodes, "web", "running")
    nodes.lose_leader(settled=False)
    assert len(await swarm.list_services(["hub=h1"])) == 1
    with pytest.raises(EngineFailed, match="context deadline exceeded"):
        await swarm.create_service(spec("other"))
    nodes.lose_leader()
    for call in (swarm.list_services([]), swarm.list_tasks(), swarm.create_service(spec("other"))):
        with pytest.raises(EngineFailed, match="does not have a leader"):
            await call
    membership = await swarm.membership()
    assert membership["ControlAvailable"] is True
    assert "does not have a leader" in membership["Error"]
    assert "Nodes" not in membership
    nodes.end("web", 3)
    assert nodes.tasks("web")[-1]["Status"]["State"] == "running"
    nodes.elect_leader()
    await state(nodes, "web", "failed")
    assert set(nodes.services) == {"web"}


async def test_the_manager_is_demoted(nodes: FakeSwarm, swarm: Swarm) -> None:
    """An Engine that is no manager any more says so."""
    nodes.change("node-1", role="worker")
    with pytest.raises(NotAManager):
        await swarm.list_services([])


async def test_no_swarm(fake: FakeEngine) -> None:
    """An Engine that is in no Swarm says so."""
    engine = connect(fake.url, version="1.41")
    assert (await Swarm(engine).membership())["LocalNodeState"] == "inactive"
    with pytest.raises(NotAManager, match="docker swarm init"):
        await Swarm(engine).list_services([])
    await engine.close()


async def test_logs_of_a_lost_node(fake: FakeEngine, nodes: FakeSwarm, swarm: Swarm) -> None:
    """The log of a task on a node that is away never comes to its end."""
    fake.behave(Behaviour(log="hello\n"))
    await swarm.create_service(spec(node="node-2"))
    await state(nodes, "web", "running")
    task = nodes.tasks("web")[-1]["ID"]
    assert await swarm.task_logs(task, 5) == "hello\n"
    await asyncio.to_thread(nodes.lose, "node-2")
    impatient = connect(fake.url, timeout=2.0, version="1.41")
    with pytest.raises(EngineTimeout):
        await Swarm(impatient).task_logs(task, 5)
    await impatient.close()


async def test_a_death_on_a_lost_node(nodes: FakeSwarm, swarm: Swarm) -> None:
    """What happens on a lost node is known once it is back, and not before."""
    await swarm.create_service(spec(node="node-2"))
    await state(nodes, "web", "running")
    await asyncio.to_thread(nodes.lose, "node-2")
    nodes.end("web", 5)
    assert nodes.tasks("web")[-1]["Status"]["State"] == "running"
    nodes.find("node-2")
    task = await state(nodes, "web", "failed")
    assert task["DesiredState"] == "shutdown"


async def test_a_node_that_comes_back_soon(nodes: FakeSwarm, swarm: Swarm) -> None:
    """A node that is silent for less than its heartbeats allow loses nothing."""
    await swarm.create_service(spec(node="node-2"))
    await state(nodes, "web", "running")
    losing = asyncio.ensure_future(asyncio.to_thread(nodes.lose, "node-2"))

    async def cut_off() -> bool:
        return not nodes.node("node-2").connected

    await until(cut_off)
    nodes.find("node-2")
    await losing
    assert nodes.node("node-2").state == "ready"
    task = nodes.tasks("web")[-1]
    assert (task["Status"]["State"], task["DesiredState"]) == ("running", "running")


async def test_jobs_outlive_their_service(fake: FakeEngine, nodes: FakeSwarm, swarm: Swarm) -> None:
    """A global job that nodes reject is begun again without end; a job's tasks stay for ever."""
    body = spec("job", container={"Image": "none:1"})
    await swarm.create_service({**body, "Mode": {"GlobalJob": {}}, "EndpointSpec": {}})

    async def many() -> bool:
        return len(await swarm.list_tasks(services=["job"])) > 9

    await until(many)
    fake.behave(Behaviour(exit_code=0), name="once")
    once = {**spec("once"), "Mode": {"ReplicatedJob": {}}, "EndpointSpec": {}}
    await swarm.create_service(once)
    task = await state(nodes, "once", "complete")
    assert task["DesiredState"] == "complete"
    for name in ("job", "once"):
        await swarm.remove_service(name)
    assert len(await swarm.list_tasks(labels=["hub=h1"])) > 9


async def test_populated(fake: FakeEngine, nodes: FakeSwarm, swarm: Swarm) -> None:
    """Thousands of running services are there at once, and live on as others do."""
    ids = nodes.populate(2000, lambda number: {"hub": "many", "n": str(number)})
    tasks = await swarm.list_tasks(labels=["hub=many"])
    assert {one["Status"]["State"] for one in tasks} == {"running"}
    assert len({one["NodeID"] for one in tasks}) == 3
    assert len(await swarm.list_services(["hub=many"])) == 2000
    assert await swarm.list_tasks(labels=["hub=many"], desired=["shutdown"]) == []
    nodes.end(ids[5], 4)
    task = await state(nodes, ids[5], "failed")
    assert task["Status"]["Err"] == "task: non-zero exit (4)"
    await swarm.remove_service(ids[6])

    async def gone() -> bool:
        return await swarm.list_tasks(labels=["hub=many", "n=6"]) == []

    await until(gone)
    assert fake.count("GET", "/tasks") < 5000


def test_tasks_that_begin_while_a_fake_ends() -> None:
    """What was planned for later, as a Swarm does, can begin further ones: they end as well."""
    loop = asyncio.new_event_loop()

    async def live(followers: int) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            if followers:
                loop.call_soon(begin, followers - 1)

    def begin(followers: int) -> None:
        tasks.append(loop.create_task(live(followers)))

    tasks: list[asyncio.Task[None]] = []
    begin(3)
    loop.run_until_complete(asyncio.sleep(0))
    end_tasks(loop)
    loop.close()
    assert [task.done() for task in tasks] == [True] * len(tasks)
    assert len(tasks) > 1
