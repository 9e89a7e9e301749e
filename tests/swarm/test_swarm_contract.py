"""One suite over the fake Swarm and a real one: the fake says what the real one says."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from functools import partial
from typing import Any

import aiohttp
import pytest
from support.engine.worlds import PORT, Program, connect
from support.fake_engine import FakeEngine
from support.fake_engine.swarm_objects import STATES
from support.hub.dockerview import BUSYBOX
from support.swarm.worlds import RealSwarm, SimulatedSwarm, SwarmWorld

from dockernamed.engine.client import Engine
from dockernamed.engine.swarm import Swarm
from dockernamed.errors import (
    BadRequest,
    Conflict,
    EngineFailed,
    NameTaken,
    NotAManager,
    NotFound,
)

#: Makes a service that is removed after the test; its id.
Make = Callable[..., Awaitable[str]]
Task = Mapping[str, Any]
#: A node that is lost is down after 10 to 16 seconds, as with Docker's own heartbeat.
HEARTBEAT = 5
#: Where what a Swarm says depends on its age.
OF_ANY_AGE = pytest.mark.parametrize("world", ["fake", "newer fake", "real"], indirect=True)


@pytest.fixture(params=["fake", "real"])
def world(request: pytest.FixtureRequest) -> Iterator[SwarmWorld]:
    """Each kind of Swarm in turn."""
    if request.param == "real":
        swarm, prefix = request.getfixturevalue("swarm"), request.getfixturevalue("prefix")
        yield RealSwarm(swarm, prefix)
        swarm.restore()
        swarm.remove_all(prefix)
        return
    newer = request.param == "newer fake"
    with FakeEngine("docker28" if newer else "docker20") as fake:
        yield SimulatedSwarm(fake, f"fake-{secrets.token_hex(3)}", newer=newer)


@pytest.fixture
async def engine(world: SwarmWorld) -> AsyncIterator[Engine]:
    """Our way to the manager's Engine."""
    engine = connect(world.url)
    yield engine
    await engine.close()


@pytest.fixture
async def worker(world: SwarmWorld) -> AsyncIterator[Engine]:
    """Our way to a worker's Engine."""
    engine = connect(world.worker_url)
    yield engine
    await engine.close()


@pytest.fixture
def swarm_client(engine: Engine) -> Swarm:
    """Our way to the Swarm."""
    return Swarm(engine)


@pytest.fixture
async def make(world: SwarmWorld, swarm_client: Swarm) -> AsyncIterator[Make]:
    """Makes services; takes what `SwarmWorld.spec` takes."""
    made: list[str] = []

    async def create(program: Program | None = None, **more: Any) -> str:
        made.append(await swarm_client.create_service(world.spec(program, **more)))
        return made[-1]

    yield create
    for id in made:
        await swarm_client.remove_service(id)


async def seen(
    look: Callable[[], Awaitable[Any]], until: Callable[[Any], object] = bool, what: str = ""
) -> Any:
    """Look until what is seen is what was waited for, and return it."""
    deadline = asyncio.get_running_loop().time() + 60
    while True:
        found = await look()
        if until(found):
            return found
        assert asyncio.get_running_loop().time() < deadline, f"{what}: last seen {found}"
        await asyncio.sleep(0.01)


async def tasks_of(swarm: Swarm, service: str) -> list[Task]:
    """The tasks of a service that is there, the newest first."""
    found = await swarm.list_tasks(services=[service])
    return sorted(found, key=lambda task: str(task["CreatedAt"]), reverse=True)


async def newest(swarm: Swarm, service: str, *states: str, desired: str = "") -> Task:
    """Wait until the newest task of a service is in one of these states, and return it."""

    def fits(tasks: list[Task]) -> bool:
        return bool(
            tasks
            and tasks[0]["Status"]["State"] in states
            and desired in ("", tasks[0]["DesiredState"])
        )

    found = await seen(lambda: tasks_of(swarm, service), fits, f"{states} of {service}")
    task: Task = found[0]
    return task


async def change(
    swarm: Swarm, service: str, alter: Callable[[dict[str, Any]], object]
) -> dict[str, Any]:
    """Change a service's specification, again if the Swarm has done so meanwhile."""
    while True:
        info = await swarm.inspect_service(service)
        alter(info["Spec"])
        with contextlib.suppress(Conflict):
            await swarm.update_service(info["ID"], info["Version"]["Index"], info["Spec"])
            return info


async def scale(swarm: Swarm, service: str, replicas: int, *, force: bool = False) -> None:
    """Give a service so many replicas, and with ``force`` another template as well."""

    def alter(spec: dict[str, Any]) -> None:
        spec["Mode"] = {"Replicated": {"Replicas": replicas}}
        spec["TaskTemplate"]["ForceUpdate"] += force

    await change(swarm, service, alter)


async def no_tasks(swarm: Swarm, service: str) -> None:
    """Wait until the Swarm has forgotten all tasks of a service that is there."""
    await seen(lambda: tasks_of(swarm, service), lambda tasks: not tasks, "no tasks")


async def waiting(swarm: Swarm, service: str) -> Task:
    """Wait until the newest task of a service has something to say, and return it."""

    def speaks(tasks: list[Task]) -> bool:
        return bool(tasks and words(tasks[0]))

    found = await seen(lambda: tasks_of(swarm, service), speaks, f"words of {service}")
    task: Task = found[0]
    return task


def words(task: Task) -> str:
    """Why a task is as it is."""
    return str(task["Status"].get("Err", ""))


async def test_a_life(world: SwarmWorld, swarm_client: Swarm, make: Make) -> None:
    """No replica, one that runs, none, gone: the lists tell each."""
    id = await make(replicas=0)
    info = await swarm_client.inspect_service(id)
    name = info["Spec"]["Name"]
    assert (await swarm_client.inspect_service(name))["ID"] == id
    assert await tasks_of(swarm_client, name) == []
    await scale(swarm_client, id, 1)
    states = []

    async def look() -> Any:
        (task,) = await tasks_of(swarm_client, id) or [{"Status": {"State": "new"}}]
        states.append(task["Status"]["State"])
        return task

    task = await seen(look, lambda task: task["Status"]["State"] == "running", "running")
    assert [STATES.index(state) for state in states] == sorted(map(STATES.index, states))
    labels = [f"service={name}", f"run={world.prefix}"]
    assert [one["ID"] for one in await swarm_client.list_services(labels)] == [id]
    assert [one["ID"] for one in await swarm_client.list_tasks(labels=labels)] == [task["ID"]]
    assert await swarm_client.list_tasks(labels=["service=another"]) == []
    nodes = [task["NodeID"]]
    assert len(await swarm_client.list_tasks(services=[id], desired=["running"], nodes=nodes)) == 1
    assert await swarm_client.list_tasks(services=[id], desired=["shutdown"]) == []
    await scale(swarm_client, id, 0)
    await no_tasks(swarm_client, id)
    await swarm_client.remove_service(id)
    await swarm_client.remove_service(id)
    for call in (
        swarm_client.inspect_service(id),
        swarm_client.list_tasks(services=[id]),
    ):
        with pytest.raises(NotFound, match=f"service {id} not found"):
            await call


@OF_ANY_AGE
async def test_shapes(world: SwarmWorld, swarm_client: Swarm, make: Make) -> None:
    """Services, tasks and nodes have the same parts everywhere."""
    id = await make(container={"Labels": {"a": "b"}})
    task = await newest(swarm_client, id, "running")
    assert set(task) == {
        *("ID", "Version", "CreatedAt", "UpdatedAt", "Labels", "Spec", "ServiceID", "Slot"),
        *("NodeID", "Status", "DesiredState"),
        *(("Volumes",) if world.newer else ()),
    }
    assert (task["ServiceID"], task["Slot"], task["DesiredState"]) == (id, 1, "running")
    status = task["Status"]
    assert set(status) == {"Timestamp", "State", "Message", "ContainerStatus", "PortStatus"}
    assert status["Message"] == "started"
    assert set(status["ContainerStatus"]) == {"ContainerID", "PID", "ExitCode"}
    port = status["PortStatus"]["Ports"][0]
    assert set(port) == {"Protocol", "TargetPort", "PublishedPort", "PublishMode"}
    assert set(task["Spec"]) == {"ContainerSpec", "RestartPolicy", "ForceUpdate"}
    service = await swarm_client.inspect_service(id)
    parts = {"ID", "Version", "CreatedAt", "UpdatedAt", "Spec", "Endpoint"}
    assert set(service) == parts
    assert set(service["Spec"]["TaskTemplate"]) == {*task["Spec"], "Runtime"}
    assert service["Endpoint"]["Ports"][0]["TargetPort"] == PORT
    nodes = await swarm_client.list_nodes()
    assert [one["Description"]["Hostname"] for one in nodes if "ManagerStatus" in one] == [
        world.hostnames[0]
    ]
    node = await swarm_client.inspect_node(task["NodeID"])
    assert {"ID", "Version", "Spec", "Description", "Status"} <= set(node)
    assert set(node["Spec"]) == {"Labels", "Role", "Availability"}
    assert set(node["Status"]) == {"State", "Addr"}
    membership = await swarm_client.membership()
    assert membership["LocalNodeState"] == "active"
    assert membership["ControlAvailable"] is True
    assert membership["NodeAddr"] in [one["Status"]["Addr"] for one in nodes]


async def test_answers_at_its_node(swarm_client: Swarm, make: Make) -> None:
    """Each of two tasks answers at the address of its node and at its own port."""
    ids = [await make() for _ in range(2)]
    places = set()
    for id in ids:
        task = await newest(swarm_client, id, "running")
        node = await swarm_client.inspect_node(task["NodeID"])
        port = task["Status"]["PortStatus"]["Ports"][0]["PublishedPort"]
        places.add(f"http://{node['Status']['Addr']}:{port}/")
    assert len(places) == 2
    async with aiohttp.ClientSession() as session:
        for place in places:

            async def ask(place: str = place) -> int:
                try:
                    async with session.get(place) as answer:
                        return answer.status
                except aiohttp.ClientError:
                    return 0

            assert await seen(ask) in (200, 404)


async def test_names(world: SwarmWorld, swarm_client: Swarm, make: Make) -> None:
    """A name is taken in whatever case, and must be short and one of DNS."""
    await make(replicas=0)
    spec = world.spec(replicas=0)
    await swarm_client.create_service(spec)
    for name in (spec["Name"], spec["Name"].upper()):
        with pytest.raises(NameTaken, match=f"service {name} already exists"):
            await swarm_client.create_service({**spec, "Name": name})
    await swarm_client.remove_service(spec["Name"])
    long = world.prefix + "x" * 64
    refused = {"a.b": "DNS name", "ä": "DNS name", "a-": "DNS name", long: "63 characters"}
    for name, why in refused.items():
        with pytest.raises(BadRequest, match=why):
            await swarm_client.create_service({**spec, "Name": name})


async def test_versions(swarm_client: Swarm, make: Make) -> None:
    """Who changes a service names the version that it read, and only the first one may."""
    id = await make(replicas=0)
    await asyncio.sleep(0.1)  # the Swarm gives it another version, for its ports
    info = await swarm_client.inspect_service(id)
    version, spec = info["Version"]["Index"], info["Spec"]
    await swarm_client.update_service(id, version, {**spec, "Labels": {"a": "b"}})
    with pytest.raises(Conflict, match="update out of sequence"):
        await swarm_client.update_service(id, version, spec)
    changed = await swarm_client.inspect_service(id)
    assert changed["Version"]["Index"] > version
    assert (changed["Spec"]["Labels"], changed["PreviousSpec"]) == ({"a": "b"}, spec)
    with pytest.raises(NotFound, match="service none not found"):
        await swarm_client.update_service("none", 5, spec)


async def test_missing_image(swarm_client: Swarm, make: Make) -> None:
    """The node rejects the task, in its own words; it is given up."""
    id = await make(container={"Image": "dockernamed-test/none:1"})
    task = await newest(swarm_client, id, "rejected", desired="shutdown")
    assert words(task) == "No such image: dockernamed-test/none:1"
    assert task["Status"]["Message"] == "preparing"
    assert task["Status"]["ContainerStatus"] == {"ContainerID": "", "PID": 0, "ExitCode": 0}
    ended = await swarm_client.list_tasks(services=[id], desired=["shutdown"])
    assert [one["ID"] for one in ended] == [task["ID"]]


async def test_ends(world: SwarmWorld, swarm_client: Swarm, make: Make) -> None:
    """A task that ends well is complete; one that does not has failed, with its exit code."""
    well = await make(Program(exit_code=0))
    badly = await make(Program(exit_code=3, out=("hello",), err=("woe",)))
    killed = await make()
    task = await newest(swarm_client, well, "complete", desired="shutdown")
    assert (task["Status"]["Message"], words(task)) == ("finished", "")
    task = await newest(swarm_client, badly, "failed", desired="shutdown")
    assert (task["Status"]["Message"], words(task)) == ("started", "task: non-zero exit (3)")
    assert task["Status"]["ContainerStatus"]["ExitCode"] == 3
    assert set((await swarm_client.task_logs(task["ID"], 5)).splitlines()) == {"hello", "woe"}
    world.kill(await newest(swarm_client, killed, "running"))
    task = await newest(swarm_client, killed, "failed", desired="shutdown")
    assert words(task) == "task: non-zero exit (137)"
    assert task["Status"]["PortStatus"] == {}


async def test_no_suitable_node(world: SwarmWorld, swarm_client: Swarm, make: Make) -> None:
    """A task that no node can take is pending with the scheduler's words, until one can."""
    label = {"Constraints": [f"node.labels.{world.prefix}==yes"]}
    placed = await make(Placement=label)
    memory = await make(Resources={"Reservations": {"MemoryBytes": 1 << 50}})
    volume = {"Type": "volume", "Source": world.name(), "Target": "/v"}
    driver = {**volume, "VolumeOptions": {"DriverConfig": {"Name": "none-such"}}}
    plugin = await make(container={"Mounts": [driver]})
    expected = {
        placed: "no suitable node (scheduling constraints not satisfied on 3 nodes)",
        memory: "no suitable node (insufficient resources on 3 nodes)",
        plugin: "no suitable node (missing plugin on 3 nodes)",
    }
    for id, why in expected.items():
        task = await waiting(swarm_client, id)
        assert (words(task), task["Status"]["State"]) == (why, "pending")
        assert (task["Status"]["Message"], "NodeID" in task) == (
            "pending task scheduling",
            False,
        )
    await asyncio.to_thread(world.change, world.hostnames[2], Labels={world.prefix: "yes"})
    task = await newest(swarm_client, placed, "running")
    node = await swarm_client.inspect_node(task["NodeID"])
    assert node["Description"]["Hostname"] == world.hostnames[2]
    await asyncio.to_thread(world.change, world.hostnames[2], Labels={})
    task = await newest(swarm_client, placed, "rejected", desired="shutdown")
    assert words(task) == "assigned node no longer meets constraints"


async def test_ports_of_a_node(world: SwarmWorld, swarm_client: Swarm, make: Make) -> None:
    """Of two tasks that want the same port of the same node one waits."""
    place = {"Constraints": [f"node.hostname=={world.hostnames[1]}"]}
    specs = [world.spec(Placement=place) for _ in range(2)]
    for spec in specs:
        spec["EndpointSpec"]["Ports"][0]["PublishedPort"] = 18888
    first = await swarm_client.create_service(specs[0])
    await newest(swarm_client, first, "running")
    second = await swarm_client.create_service(specs[1])
    task = await waiting(swarm_client, second)
    assert words(task) == (
        "no suitable node (scheduling constraints not satisfied on 2 nodes; "
        "host-mode port already in use on 1 node)"
    )
    await swarm_client.remove_service(first)
    await newest(swarm_client, second, "running")
    await swarm_client.remove_service(second)


async def test_constraints(world: SwarmWorld, swarm_client: Swarm, make: Make) -> None:
    """All must be fulfilled; what is no constraint is refused, what no node has is not."""
    both = [f"node.hostname!={world.hostnames[1]}", "node.role == worker"]
    task = await newest(
        swarm_client, await make(Placement={"Constraints": both}), "running", "starting"
    )
    node = await swarm_client.inspect_node(task["NodeID"])
    assert node["Description"]["Hostname"] == world.hostnames[2]
    with pytest.raises(EngineFailed, match="expected one operator from ==, !="):
        await make(Placement={"Constraints": ["node.role=worker"]})
    unknown = await make(Placement={"Constraints": ["node.none==1"]})
    task = await waiting(swarm_client, unknown)
    assert "constraints not satisfied on 3 nodes" in words(task)


@pytest.mark.parametrize("kind", ["secret", "config"])
async def test_secrets_and_configs(
    world: SwarmWorld, swarm_client: Swarm, make: Make, kind: str
) -> None:
    """They are found by label, have names of their own and go only when no service uses them."""
    create = getattr(swarm_client, f"create_{kind}")
    remove = getattr(swarm_client, f"remove_{kind}")
    listed = getattr(swarm_client, f"list_{kind}s")
    name = world.name()
    id = await create(name, b"\0private", {"run": world.prefix, "of": name})
    for again in (name, name.upper()):
        with pytest.raises(NameTaken, match=f"{kind} {again} already exists"):
            await create(again, b"x", {})
    (found,) = await listed([f"of={name}"])
    assert (found["ID"], found["Spec"]["Name"]) == (id, name)
    assert found["Spec"]["Labels"] == {"run": world.prefix, "of": name}
    assert ("Data" in found["Spec"]) == (kind == "config")
    assert await listed(["of=another"]) == []
    limit = {"secret": 512000, "config": 1024000}[kind]
    why = f"{kind} data must be larger than 0 and less than {limit} bytes"
    with pytest.raises(BadRequest, match=why):
        await create(world.name(), b"", {})
    with pytest.raises(BadRequest, match="invalid name"):
        await create("a b", b"x", {})
    key = kind.capitalize()
    reference = {
        f"{key}ID": id, f"{key}Name": name,
        "File": {"Name": "/run/x/file", "UID": "0", "GID": "0", "Mode": 0o400},
    }  # fmt: skip
    user = await make(replicas=0, container={f"{key}s": [reference]})
    with pytest.raises(Conflict, match="is in use by the following service"):
        await remove(id)
    with pytest.raises(BadRequest, match=f"{kind} not found: other"):
        await make(container={f"{key}s": [{**reference, f"{key}Name": "other"}]})
    await swarm_client.remove_service(user)
    await remove(id)
    await remove(id)
    assert await listed([f"of={name}"]) == []


async def test_labels_of_configs(world: SwarmWorld, swarm_client: Swarm) -> None:
    """A config's labels can be changed, by who has read them last, and nothing else."""
    name = world.name()
    id = await swarm_client.create_config(name, b"data", {"n": "1"})
    config = await swarm_client.inspect_config(name)
    version, spec = config["Version"]["Index"], config["Spec"]
    await swarm_client.update_config(id, version, {**spec, "Labels": {"n": "2"}})
    with pytest.raises(Conflict, match="update out of sequence"):
        await swarm_client.update_config(id, version, spec)
    config = await swarm_client.inspect_config(id)
    assert config["Spec"] == {**spec, "Labels": {"n": "2"}}
    with pytest.raises(BadRequest, match="only updates to Labels are allowed"):
        await swarm_client.update_config(id, config["Version"]["Index"], {**spec, "Data": "eA=="})
    await swarm_client.remove_config(id)


async def test_events(world: SwarmWorld, swarm_client: Swarm, make: Make) -> None:
    """Managers tell of services and nodes, and what became of both, and of no task."""
    told: list[tuple[str, str, dict[str, str]]] = []
    scopes = set()
    spec = world.spec()
    async with swarm_client.events() as batches:

        async def read() -> None:
            async for batch in batches:
                for event in batch:
                    scopes.add(event["scope"])
                    attributes = dict(event["Actor"]["Attributes"])
                    if attributes.pop("name", "") in (spec["Name"], world.hostnames[2]):
                        told.append((event["Type"], event["Action"], attributes))

        reading = asyncio.ensure_future(read())
        id = await swarm_client.create_service(spec)
        await newest(swarm_client, id, "running")
        await scale(swarm_client, id, 0)
        await no_tasks(swarm_client, id)
        await change(swarm_client, id, lambda spec: spec["Labels"].update(a="b"))
        await swarm_client.remove_service(id)
        await asyncio.to_thread(world.change, world.hostnames[2], Availability="drain")
        await asyncio.to_thread(world.change, world.hostnames[2], Availability="active")

        async def enough() -> bool:
            return len(told) >= 7

        await seen(enough)
        reading.cancel()
    assert scopes == {"swarm"}
    assert told == [
        ("service", "create", {}),
        ("service", "update", {}),
        ("service", "update", {"replicas.new": "0", "replicas.old": "1"}),
        ("service", "update", {}),
        ("service", "remove", {}),
        ("node", "update", {"availability.new": "drain", "availability.old": "active"}),
        ("node", "update", {"availability.new": "active", "availability.old": "drain"}),
    ]


async def test_restart_on_failure(swarm_client: Swarm, make: Make) -> None:
    """A task that fails has another in its slot, so often as its policy says; a good end stays."""
    policy = {"Condition": "on-failure", "MaxAttempts": 2, "Delay": 1, "Window": 300 * 10**9}
    failing = await make(Program(exit_code=3), RestartPolicy=policy)
    well = await make(Program(exit_code=0), RestartPolicy=policy)

    def over(tasks: list[Task]) -> bool:
        return len(tasks) == 3 and all(
            (one["Status"]["State"], one["DesiredState"]) == ("failed", "shutdown") for one in tasks
        )

    tasks = await seen(lambda: tasks_of(swarm_client, failing), over)
    assert {one["Slot"] for one in tasks} == {1}
    await newest(swarm_client, well, "complete", desired="shutdown")
    assert len(await tasks_of(swarm_client, well)) == 1
    assert len(await tasks_of(swarm_client, failing)) == 3


async def test_a_slot_that_is_taken(swarm_client: Swarm, make: Make) -> None:
    """A task that ended and is not begun again keeps its slot, unless the template is another."""
    id = await make(Program(exit_code=3))
    await newest(swarm_client, id, "failed", desired="shutdown")
    await change(swarm_client, id, lambda spec: spec["Labels"].update(a="b"))
    await scale(swarm_client, id, 2)

    async def two() -> list[Task]:
        return [one for one in await tasks_of(swarm_client, id) if one["Slot"] == 2]

    await seen(two)
    known = {one["ID"] for one in await tasks_of(swarm_client, id)}
    assert len(known) == 2
    await scale(swarm_client, id, 2, force=True)

    async def others() -> bool:
        return not {one["ID"] for one in await tasks_of(swarm_client, id)} <= known

    await seen(others)


async def test_another_template(swarm_client: Swarm, make: Make) -> None:
    """A running task is shut down before one of the new template takes its place."""
    id = await make()
    old = await newest(swarm_client, id, "running")

    def alter(spec: dict[str, Any]) -> None:
        spec["TaskTemplate"]["ContainerSpec"]["Env"] = ["A=1"]

    await change(swarm_client, id, alter)

    async def both() -> list[Task]:
        found = {one["ID"]: one for one in await tasks_of(swarm_client, id)}
        before = found.pop(old["ID"])
        if found:
            (after,) = found.values()
            if after["Status"]["State"] == "running":
                assert before["Status"]["State"] == "shutdown"
                return [before, after]
        return []

    before, after = await seen(both)
    assert (before["DesiredState"], after["DesiredState"]) == ("shutdown", "running")
    assert after["Spec"]["ContainerSpec"]["Env"] == ["A=1"]
    service = await swarm_client.inspect_service(id)
    assert service["UpdateStatus"]["State"] in ("updating", "completed")
    await scale(swarm_client, id, 0)
    left = await seen(lambda: tasks_of(swarm_client, id), lambda tasks: len(tasks) == 1)
    assert left[0]["ID"] == old["ID"]


async def test_refused_changes(swarm_client: Swarm, make: Make) -> None:
    """A service keeps its name and its mode."""
    id = await make(replicas=0)
    for changed, why in (
        ({"Name": "another"}, "renaming services is not supported"),
        ({"Mode": {"Global": {}}}, "service mode change is not allowed"),
    ):
        with pytest.raises(EngineFailed, match=why):
            await change(swarm_client, id, partial(dict.update, **changed))


async def test_a_lost_node(world: SwarmWorld, swarm_client: Swarm, make: Make) -> None:
    """Its tasks are given up but run on; once it is back they end, and are forgotten."""
    lost = world.hostnames[2]
    place = {"Constraints": [f"node.hostname=={lost}"]}
    id, gone = await make(Placement=place), await make(Placement=place)
    moving = {"Constraints": [f"node.hostname!={world.hostnames[1]}", "node.role==worker"]}
    follower = await make(condition="on-failure", Placement=moving)
    for service in (id, gone, follower):
        await newest(swarm_client, service, "running")
    await asyncio.to_thread(world.lose, lost)
    (node,) = [
        one for one in await swarm_client.list_nodes() if one["Description"]["Hostname"] == lost
    ]
    assert node["Status"] == {
        "State": "down", "Message": "heartbeat failure", "Addr": node["Status"]["Addr"]
    }  # fmt: skip
    await newest(swarm_client, id, "running", desired="shutdown")
    found = await seen(lambda: tasks_of(swarm_client, follower), lambda tasks: len(tasks) == 2)
    assert "NodeID" not in found[0]
    await scale(swarm_client, id, 0)
    await newest(swarm_client, id, "running", desired="remove")
    await scale(swarm_client, id, 1)  # the slot is taken by the task that is lost
    await swarm_client.remove_service(gone)
    labels = [f"run={world.prefix}"]
    left = {one["ServiceID"]: one for one in await swarm_client.list_tasks(labels=labels)}
    assert (left[gone]["Status"]["State"], left[gone]["DesiredState"]) == ("running", "remove")
    assert len(await tasks_of(swarm_client, id)) == 1
    assert len(world.containers(lost)) == 3
    await asyncio.to_thread(world.find, lost)
    await no_tasks(swarm_client, id)
    await newest(swarm_client, follower, "running", desired="running")

    async def running() -> list[str]:
        return world.containers(lost)

    await seen(running, lambda names: len(names) == 1)
    await scale(swarm_client, id, 1, force=True)
    await newest(swarm_client, id, "running", desired="running")


async def test_a_drained_node(world: SwarmWorld, swarm_client: Swarm, make: Make) -> None:
    """Its tasks are shut down, and it gets none; what waits says why."""
    name = world.hostnames[1]
    place = {"Constraints": [f"node.hostname=={name}"]}
    id = await make(Placement=place)
    again = await make(condition="any", Placement=place)
    for service in (id, again):
        await newest(swarm_client, service, "running")
    await asyncio.to_thread(world.change, name, Availability="drain")
    await newest(swarm_client, id, "shutdown", desired="shutdown")
    why = "1 node not available for new tasks"
    found = await seen(
        lambda: tasks_of(swarm_client, again), lambda ts: len(ts) == 2 and why in words(ts[0])
    )
    assert found[0]["Status"]["State"] == "pending"
    await asyncio.to_thread(world.change, name, Availability="active")
    await newest(swarm_client, again, "running", desired="running")
    assert len(await tasks_of(swarm_client, id)) == 1


async def test_on_all_nodes(swarm_client: Swarm, make: Make) -> None:
    """A global service has a task on each node, which is not begun again under ``none``."""
    id = await make(Program(exit_code=0), mode={"Global": {}})

    def over(tasks: list[Task]) -> bool:
        states = [(one["Status"]["State"], one["DesiredState"]) for one in tasks]
        return states == [("complete", "shutdown")] * 3

    tasks = await seen(lambda: tasks_of(swarm_client, id), over)
    assert len({one["NodeID"] for one in tasks}) == 3
    assert not any("Slot" in one for one in tasks)
    assert {one["Status"]["Message"] for one in tasks} == {"finished"}
    labels = [f"service={(await swarm_client.inspect_service(id))['Spec']['Name']}"]
    await swarm_client.remove_service(id)
    await seen(lambda: swarm_client.list_tasks(labels=labels), lambda tasks: not tasks)


async def test_overlay(world: SwarmWorld, engine: Engine, swarm_client: Swarm, make: Make) -> None:
    """Tasks have an address on each network of theirs; one that is in use cannot be removed."""
    name, alone = world.name(), world.name()
    for network in (name, alone):
        body = {"Name": network, "Driver": "overlay", "Attachable": True}
        call = engine.caller.call("create network", "POST", "/networks/create", body=body)
        await engine.caller.ask(call)
    # A moment after it was made, managers have not decided all of it.
    info = await seen(lambda: engine.inspect_network(name), lambda info: info["Driver"])
    assert (info["Scope"], info["Driver"], info["Attachable"]) == ("swarm", "overlay", True)
    id = await make(Networks=[{"Target": name}])
    spec = (await swarm_client.inspect_service(id))["Spec"]
    assert spec["TaskTemplate"]["Networks"] == [{"Target": info["Id"]}]
    task = await newest(swarm_client, id, "running")
    (attachment,) = task["NetworksAttachments"]
    assert attachment["Network"]["ID"] == info["Id"]
    assert attachment["Network"]["Spec"]["Name"] == name
    assert len(attachment["Addresses"]) == 1
    with pytest.raises(Conflict, match=f"network {info['Id']} is in use by service {id}"):
        await engine.remove_network(name)
    hub = await engine.create_container(world.name(), {"Image": BUSYBOX})
    await engine.start_container(hub)
    await engine.connect_network(alone, hub)
    with pytest.raises(Conflict, match="is in use by task"):
        await engine.remove_network(alone)
    await engine.disconnect_network(alone, hub)
    await engine.remove_network(alone)
    await engine.remove_container(hub, force=True)
    with pytest.raises(NotFound, match="network no-such not found"):
        await make(Networks=[{"Target": "no-such"}])


async def test_what_is_left_of_a_network(
    world: SwarmWorld, engine: Engine, swarm_client: Swarm, make: Make
) -> None:
    """A network that is removed while a container of a task still ends, on the manager's node.

    It is found there until that has ended, but by nobody who looks for those of the Swarm.
    """
    name = world.name()
    body = {"Name": name, "Driver": "overlay", "Attachable": True, "CheckDuplicate": True}
    create = engine.caller.call("create network", "POST", "/networks/create", body=body)
    network = await engine.caller.create(create)
    own = str((await swarm_client.membership())["NodeID"])
    there = {"Networks": [{"Target": name}], "Placement": {"Constraints": [f"node.id=={own}"]}}
    hours = {"StopGracePeriod": 10_000 * 10**9}
    id = await make(Program(stubborn=True), **there, container=hours)
    task = await newest(swarm_client, id, "running")
    (seen_in_swarm,) = await swarm_client.list_networks(network)
    assert "Peers" not in seen_in_swarm
    await swarm_client.remove_service(id)
    await engine.remove_network(network)
    assert (await engine.inspect_network(name))["Id"] == network
    (left,) = await swarm_client.list_networks(network)
    assert left["Peers"]
    with pytest.raises(Conflict, match=f"network with name {name} already exists"):
        await engine.caller.create(create)
    for call in (make(**there), engine.remove_network(name), join(world, engine, network)):
        with pytest.raises(NotFound, match=r"network \S+ not found"):
            await call
    world.kill(task)
    await seen(lambda: swarm_client.list_networks(network), lambda left: not left, "it is gone")
    with pytest.raises(NotFound, match=f"network {name} not found"):
        await engine.inspect_network(name)
    await engine.caller.create(create)
    await engine.remove_network(name)


async def join(world: SwarmWorld, engine: Engine, network: str) -> None:
    """Connect a container to a network."""
    hub = await engine.create_container(world.name(), {"Image": BUSYBOX})
    try:
        await engine.start_container(hub)
        await engine.connect_network(network, hub)
    finally:
        await engine.remove_container(hub, force=True)


async def test_a_worker(world: SwarmWorld, worker: Engine) -> None:
    """A worker knows that it is one, and nothing of services."""
    swarm = Swarm(worker)
    membership = await swarm.membership()
    assert (membership["LocalNodeState"], membership["ControlAvailable"]) == ("active", False)
    with pytest.raises(NotAManager, match="not a swarm manager"):
        await swarm.list_services([])
    with pytest.raises(NotAManager):
        await swarm.create_service(world.spec())


@OF_ANY_AGE
async def test_container_events(
    world: SwarmWorld, engine: Engine, worker: Engine, swarm_client: Swarm, make: Make
) -> None:
    """Events of a task's container come from the Engine where it runs, and from no other."""
    told: list[str] = []

    def mine(event: dict[str, Any]) -> bool:
        name = event["Actor"]["Attributes"].get("com.docker.swarm.service.name", "")
        return event["Type"] == "container" and str(name).startswith(world.prefix)

    async with worker.events(mine) as here, engine.events(mine) as elsewhere:

        async def read() -> None:
            async for batch in here:
                told.extend(event["Action"] for event in batch)

        async def read_elsewhere() -> None:
            async for batch in elsewhere:
                told.extend(f"elsewhere: {event['Action']}" for event in batch)

        reading = [asyncio.ensure_future(read()), asyncio.ensure_future(read_elsewhere())]
        id = await make(Placement={"Constraints": [f"node.hostname=={world.hostnames[1]}"]})
        await newest(swarm_client, id, "running")
        await scale(swarm_client, id, 0)

        async def destroyed() -> bool:
            return "destroy" in told

        await seen(destroyed)
        for reader in reading:
            reader.cancel()
    *begins, one, another, last = [one for one in told if one != "kill"]
    assert (begins, last) == (["create", "start"], "destroy")
    ends = [one, another]
    assert (sorted(ends) if world.newer else ends) == ["die", "stop"]
