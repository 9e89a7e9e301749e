"""The calls of a Swarm's managers, over real ones; and a translated service as its node runs it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from support import loopguard
from support.engine.worlds import connect
from support.hub.dockerview import BUSYBOX
from support.swarm import Node, Swarm

from dockernamed import naming
from dockernamed.desired.environment import Environment
from dockernamed.desired.hardening import Hardening
from dockernamed.desired.mounts import Mount
from dockernamed.desired.network import Access, Location, reached_at
from dockernamed.desired.placement import ServiceSettings
from dockernamed.desired.private import ENV_FILE
from dockernamed.desired.services import ServiceFile, scaled, service_body
from dockernamed.desired.spec import ServerSpec
from dockernamed.engine import swarm as calls
from dockernamed.errors import (
    BadRequest,
    Conflict,
    NameTaken,
    NotAManager,
    NotFound,
)
from dockernamed.timeouts import within

T = TypeVar("T")

LABEL = "test.of"


@pytest.fixture(autouse=True)
def _loop_never_blocked() -> Any:
    """Fail a test in which dockernamed blocks the event loop."""
    with loopguard.never_blocked():
        yield


@asynccontextmanager
async def calling(node: Node) -> AsyncIterator[calls.Swarm]:
    """Calls to a node."""
    engine = connect(node.url)
    try:
        yield calls.Swarm(engine)
    finally:
        await engine.close()


@pytest.fixture
async def called(swarm: Swarm, prefix: str) -> AsyncIterator[calls.Swarm]:
    """Calls to the manager; all that a test made is gone afterwards."""
    async with calling(swarm.manager) as manager:
        yield manager
    await asyncio.to_thread(swarm.remove_all, prefix)


def service(name: str, **container: Any) -> dict[str, Any]:
    """A service that does not run yet."""
    spec = {"Image": BUSYBOX, "StopGracePeriod": 0, **container}
    return {
        "Name": name,
        "Labels": {LABEL: name},
        "TaskTemplate": {"ContainerSpec": spec, "RestartPolicy": {"Condition": "none"}},
        "Mode": {"Replicated": {"Replicas": 0}},
    }


async def becomes(look: Callable[[], Awaitable[T]], good: Callable[[T], object]) -> T:
    """Look until what is seen is as wanted, and return it."""
    seen: list[T] = []

    async def wait() -> None:
        while True:
            seen.append(await look())
            if good(seen[-1]):
                return
            await asyncio.sleep(0.1)

    try:
        await within(30, wait())
    except asyncio.TimeoutError:
        raise AssertionError(f"seen last: {seen[-1:]}") from None
    return seen[-1]


async def run(called: calls.Swarm, id: str) -> dict[str, Any]:
    """Start a service, and wait until it runs."""
    for _ in range(5):  # its version changes by itself just after it was made
        seen = await called.inspect_service(id)
        try:
            await called.update_service(id, seen["Version"]["Index"], scaled(seen["Spec"], 1))
        except Conflict:
            continue
        break

    async def look() -> list[dict[str, Any]]:
        return await called.list_tasks(services=[id])

    def runs(tasks: list[dict[str, Any]]) -> bool:
        return [one["Status"]["State"] for one in tasks] == ["running"]

    return (await becomes(look, runs))[0]


async def test_the_life_of_a_service(swarm: Swarm, called: calls.Swarm, prefix: str) -> None:
    """Made, found, started, read and removed; each refusal is the error that says what to do."""
    name = f"{prefix}a"
    spec = service(name, Command=["sh", "-c", "echo out; echo err >&2; exec sleep 1000"])
    async with called.events(lambda event: name in str(event)) as batches:
        id = await called.create_service(spec)
        first = (await anext(batches))[0]
    assert (first["Type"], first["Action"], first["Actor"]["ID"]) == ("service", "create", id)
    with pytest.raises(NameTaken):
        await called.create_service(spec)
    with pytest.raises(Conflict):
        await called.update_service(id, 1, spec)
    with pytest.raises(BadRequest):
        await called.create_service(service(f"{prefix}no.name"))
    lost = service(f"{prefix}b")
    lost["TaskTemplate"]["Networks"] = [{"Target": f"{prefix}gone"}]
    with pytest.raises(NotFound):
        await called.create_service(lost)

    assert (await called.inspect_service(name))["ID"] == id
    assert await called.list_services([f"{LABEL}={name}"], lambda one: one["ID"]) == [id]
    assert await called.list_services([f"{LABEL}=other"]) == []
    assert await called.list_tasks(labels=[f"{LABEL}={name}"]) == []

    task = await run(called, id)
    for wanted in ({"nodes": [task["NodeID"]]}, {"desired": ["running"]}, {}):
        listed = await called.list_tasks(services=[id], **wanted, convert=lambda one: one["ID"])
        assert listed == [task["ID"]]
    assert await called.list_tasks(services=[id], desired=["shutdown"]) == []
    both = await becomes(
        lambda: called.task_logs(task["ID"], 10), lambda text: len(text.split()) == 2
    )
    assert sorted(both.split()) == ["err", "out"]
    assert len((await called.task_logs(task["ID"], 1)).splitlines()) == 1

    await called.remove_service(id)
    await called.remove_service(id)
    for gone in (
        called.inspect_service(id),
        called.list_tasks(services=[id]),
        called.task_logs("gone", 5),
        called.list_tasks(nodes=["gone"]),
    ):
        with pytest.raises(NotFound):
            await gone


async def test_secrets_and_configs(called: calls.Swarm, prefix: str) -> None:
    """Any bytes; a name is taken once; what a service uses stays; of two changes one is refused."""
    name, labels = f"{prefix}s", [f"{LABEL}={prefix}"]
    secret = await called.create_secret(name, b"\xfb\xff\0", {LABEL: prefix})
    config = await called.create_config(name, b"\xfb\xff\0", {LABEL: prefix})
    with pytest.raises(NameTaken):
        await called.create_secret(name, b"x", {})
    with pytest.raises(NameTaken):
        await called.create_config(name, b"x", {})
    with pytest.raises(BadRequest):
        await called.create_secret(f"{prefix}empty", b"", {})
    assert [one["ID"] for one in await called.list_secrets(labels)] == [secret]
    assert [one["ID"] for one in await called.list_configs(labels)] == [config]
    seen = await called.inspect_config(name)
    assert (seen["ID"], seen["Spec"]["Data"]) == (config, "+/8A")

    version = seen["Version"]["Index"]
    await called.update_config(config, version, {**seen["Spec"], "Labels": {LABEL: "other"}})
    with pytest.raises(Conflict):
        await called.update_config(config, version, seen["Spec"])
    assert await called.list_configs(labels) == []

    file = {"Name": "/x", "UID": "0", "GID": "0", "Mode": 256}
    user = service(f"{prefix}user")
    user["TaskTemplate"]["ContainerSpec"] |= {
        "Secrets": [{"SecretID": secret, "SecretName": name, "File": file}],
        "Configs": [{"ConfigID": config, "ConfigName": name, "File": {**file, "Name": "/y"}}],
    }
    id = await called.create_service(user)
    for used in (called.remove_secret(secret), called.remove_config(config)):
        with pytest.raises(Conflict, match="in use by"):
            await used
    await called.remove_service(id)
    for _ in range(2):
        await called.remove_secret(secret)
        await called.remove_config(config)
    with pytest.raises(NotFound):
        await called.inspect_config(config)


async def test_nodes_and_who_manages_them(swarm: Swarm, called: calls.Swarm) -> None:
    """All nodes with their addresses; a node that is no manager says so, and what to do."""
    listed = {one["ID"]: one["Status"]["Addr"] for one in await called.list_nodes()}
    assert listed == {node.id: node.address for node in swarm.nodes}
    node = await called.inspect_node(swarm["n2"].id)
    assert node["Description"]["Hostname"] == "n2"
    with pytest.raises(NotFound):
        await called.inspect_node("gone")
    membership = await called.membership()
    assert membership["ControlAvailable"]
    assert membership["NodeID"] == swarm.manager.id
    async with calling(swarm["n2"]) as worker:
        assert not (await worker.membership())["ControlAvailable"]
        with pytest.raises(NotAManager, match="DOCKER_HOST"):
            await worker.list_services([])


async def test_a_server_as_its_node_runs_it(swarm: Swarm, called: calls.Swarm, prefix: str) -> None:
    """Strictly hardened, with its tokens as a file, and nothing in its names is a template."""
    secret = await called.create_secret(f"{prefix}env", b"export TOKEN='t0 {{x}}'\n", {})
    spec = ServerSpec(
        key=naming.Key("hub", "{{.Node.ID}}", "s"),
        names=(f"{prefix}server",),
        image=BUSYBOX,
        process=("sh", "-c", "id; env; cat /proc/mounts; ulimit -c; exec httpd -f -p 8888"),
        publish_ip="0.0.0.0",
        mounts=(
            Mount("volume", f"{prefix}home", "/home", labels={"l": "{{.Node.ID}}"}),
            Mount("volume", "", "/anonymous"),
        ),
        mem_limit=64 << 20,
        mem_guarantee=8 << 20,
        cpu_limit=0.5,
        cpu_guarantee=0.01,
        user="1000:100",
        groups=(200,),
        hosts={"hub.internal": "10.1.2.3"},
        host_config={"ShmSize": 32 << 20, "DnsSearch": ["example.org"]},
        hardening=Hardening("strict", log_driver="json-file"),
        service=ServiceSettings(constraints=("node.hostname==n2",), stop_grace=0),
    )
    file = ServiceFile(secret, f"{prefix}env", ENV_FILE, 0o400, 1000, 100)
    env = Environment({"A": "{{.Node.ID}}"}, {"JUPYTERHUB_USER": "{{.Node.ID}}"})
    name = f"{prefix}server"
    id = await called.create_service(
        service_body(spec, env, name=name, start_id="start", files=[file])
    )
    task = await run(called, id)
    port = task["Status"]["PortStatus"]["Ports"][0]
    ports = {port["TargetPort"]: ("", port["PublishedPort"])}
    place = Location("bridge", ports=ports, host=swarm["n2"].address)
    where = reached_at(place, name, 8888, Access("published"))
    _, writer = await asyncio.open_connection(*where)
    writer.close()
    await writer.wait_closed()
    lines = (await called.task_logs(task["ID"], 200)).splitlines()
    assert lines[0].startswith("uid=1000 gid=100")
    assert {"A={{.Node.ID}}", "JUPYTERHUB_USER={{.Node.ID}}", "TOKEN=t0 {{x}}", "0"} <= set(lines)
    mounted = {words[1]: words for line in lines if len(words := line.split(" ")) == 6}
    assert "ro" in mounted["/"][3].split(",")
    assert "size=32768k" in mounted["/dev/shm"][3]
    assert {"/home", "/anonymous", "/run", "/tmp", ENV_FILE} <= set(mounted)
    await asyncio.to_thread(_look_at_the_container, swarm["n2"], name, prefix)


def _look_at_the_container(node: Node, name: str, prefix: str) -> None:
    (listed,) = node.containers(name)
    info = node.client.inspect_container(listed["Id"])
    host = info["HostConfig"]
    assert host["CapDrop"] == ["ALL"]
    assert (host["Memory"], host["NanoCpus"], host["PidsLimit"]) == (64 << 20, 500_000_000, 512)
    assert host["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
    assert host["ExtraHosts"] == ["hub.internal:10.1.2.3"]
    assert host["GroupAdd"] == ["200"]
    assert info["Config"]["Labels"][naming.LABEL_USER] == "{{.Node.ID}}"
    (home,) = node.volumes(prefix)
    assert home["Labels"] == {"l": "{{.Node.ID}}", "dockernamed.start": "start"}


async def test_what_an_admin_adds(called: calls.Swarm, prefix: str) -> None:
    """``extra_service_spec`` reaches the Engine, with templates that its nodes expand."""
    extra = {
        "tasktemplate": {
            "ContainerSpec": {"Env": ["NODE={{.Node.Hostname}}"]},
            "RestartPolicy": {"MaxAttempts": 1},
        }
    }
    spec = ServerSpec(
        key=naming.Key("hub", "ann", "s"),
        names=(f"{prefix}extra",),
        image=BUSYBOX,
        command=("sh", "-c", "echo $NODE; exec sleep 1000"),
        service=ServiceSettings(constraints=("node.hostname==n3",), extra=extra, stop_grace=0),
    )
    settings = replace(spec.service, endpoint_mode="vip")
    body = service_body(
        replace(spec, service=settings), Environment(), name=f"{prefix}extra", start_id="s"
    )
    id = await called.create_service(body)
    task = await run(called, id)
    policy = (await called.inspect_service(id))["Spec"]["TaskTemplate"]["RestartPolicy"]
    assert (policy["Condition"], policy["MaxAttempts"]) == ("none", 1)
    await becomes(lambda: called.task_logs(task["ID"], 1), lambda text: text.strip() == "n3")
