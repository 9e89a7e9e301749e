"""One suite over the fake Engine and a real one: the fake says what the real one says."""

from __future__ import annotations

import asyncio
import io
import tarfile
from typing import Any

import pytest
from support.engine.watching import eventually, watching
from support.engine.worlds import IMAGE, PORT, Make, Program, World

from dockernamed.backends.watcher import State
from dockernamed.engine.client import Engine
from dockernamed.errors import BadRequest, Conflict, EngineFailed, NameTaken, NotFound


async def ended(engine: Engine, id: str) -> dict[str, Any]:
    """The state of a container that ends by itself."""

    async def wait() -> dict[str, Any]:
        while True:
            state: dict[str, Any] = (await engine.inspect_container(id))["State"]
            if not state["Running"] and state["Status"] != "created":
                return state
            await asyncio.sleep(0.02)

    return await asyncio.wait_for(wait(), 30)


async def test_version(engine: Engine) -> None:
    """The Engine says which API it speaks."""
    assert (await engine.version())["ApiVersion"].startswith("1.")


async def test_a_life(world: World, engine: Engine, make: Make) -> None:
    """Created, running, exited, gone: inspect tells each, by id and by name."""
    name = world.name()
    id = await make(name=name, labels={"a": "b"})
    info = await engine.inspect_container(name)
    assert info["Id"] == id
    assert info["Name"].lstrip("/") == name
    assert info["Config"]["Labels"]["a"] == "b"
    assert info["State"]["Running"] is False
    await engine.start_container(id)
    assert (await engine.inspect_container(id))["State"]["Running"] is True
    await engine.stop_container(id, 5)
    assert (await engine.inspect_container(id))["State"]["Running"] is False
    await engine.remove_container(id)
    with pytest.raises(NotFound) as caught:
        await engine.inspect_container(id)
    assert caught.value.status == 404
    assert id[:12] in str(caught.value)


async def test_name_taken(world: World, engine: Engine, make: Make) -> None:
    """A second container of the same name is refused as NameTaken, whatever the status."""
    name = world.name()
    await make(name=name)
    with pytest.raises(NameTaken, match=name):
        await make(name=name)


async def test_missing_image(world: World, engine: Engine) -> None:
    """Creating from an image that isn't there says so."""
    with pytest.raises(NotFound, match=r"(?i)no such image"):
        await engine.create_container(world.name(), {"Image": "dockernamed-test/none:1"})


async def test_bad_name(world: World, engine: Engine) -> None:
    """A name that Docker forbids can never work."""
    with pytest.raises((BadRequest, EngineFailed)) as caught:
        await engine.create_container(f"{world.prefix}/ä", {"Image": IMAGE})
    assert "name" in str(caught.value)


async def test_start_and_stop_are_idempotent(engine: Engine, make: Make) -> None:
    """Starting what runs and stopping what doesn't is fine."""
    id = await make()
    await engine.start_container(id)
    await engine.start_container(id)
    await engine.stop_container(id, 5)
    await engine.stop_container(id, 5)


async def test_calls_on_nothing(engine: Engine) -> None:
    """What doesn't exist is NotFound, but for removal, which is done already."""
    missing = "f" * 64
    calls = [
        engine.start_container(missing),
        engine.stop_container(missing, 1),
        engine.kill_container(missing),
        engine.logs(missing, 5),
        engine.put_archive(missing, "/", b""),
        engine.inspect_image("dockernamed-test/none:1"),
        engine.inspect_network("dockernamed-test-none"),
        engine.inspect_volume("dockernamed-test-none"),
        engine.remove_volume("dockernamed-test-none"),
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [NotFound] * len(calls)
    await engine.remove_container(missing)


async def test_kill(engine: Engine, make: Make) -> None:
    """A kill ends it at once with 137; a second one finds nothing to kill."""
    id = await make()
    await engine.start_container(id)
    await engine.kill_container(id)
    assert (await ended(engine, id))["ExitCode"] == 137
    with pytest.raises(Conflict):
        await engine.kill_container(id)


async def test_stubborn_container_is_killed_after_its_grace(engine: Engine, make: Make) -> None:
    """A stop returns when the container has ended, by SIGKILL if need be."""
    id = await make(Program(stubborn=True), host={"Init": False})
    await engine.start_container(id)
    await engine.stop_container(id, 1)
    assert (await engine.inspect_container(id))["State"]["ExitCode"] == 137


async def test_remove_running(engine: Engine, make: Make) -> None:
    """A running container is removed only by force; removing twice is fine."""
    id = await make()
    await engine.start_container(id)
    with pytest.raises(Conflict):
        await engine.remove_container(id)
    await engine.remove_container(id, force=True)
    await engine.remove_container(id, force=True)


async def test_list_by_labels(world: World, engine: Engine, make: Make) -> None:
    """A list has what carries all the labels, in any state, and nothing else."""
    hub = f"dockernamed.hub={world.prefix}"
    both = await make(labels={"x": "1", "y": "2"})
    await make(labels={"x": "1"})
    await make(labels={"y": "2"})
    running = await make(labels={"x": "1", "y": "2"})
    await engine.start_container(running)
    found = await engine.list_containers([hub, "x=1", "y=2"])
    assert {one["Id"] for one in found} == {both, running}
    assert {one["Id"]: one["State"] for one in found}[running] == "running"
    assert {one["Id"] for one in await engine.list_containers([hub, "x", "y"])} == {both, running}
    assert await engine.list_containers([hub, "x=2"]) == []
    small = await engine.list_containers([hub, "x=1"], lambda one: one["Labels"].get("y"))
    assert sorted(small) == ["2", "2"]


async def test_logs(engine: Engine, make: Make) -> None:
    """Both outputs are read, the last lines only, and without the frames' headers."""
    id = await make(Program(out=("one", "two ä"), err=("three",), exit_code=3))
    await engine.start_container(id)
    assert (await ended(engine, id))["ExitCode"] == 3
    assert sorted((await engine.logs(id, 10)).splitlines()) == ["one", "three", "two ä"]
    assert len((await engine.logs(id, 1)).splitlines()) == 1


async def test_logs_of_a_terminal(engine: Engine, make: Make) -> None:
    """With a terminal there are no frames; the text is the same."""
    id = await make(Program(out=("hello",), exit_code=0, tty=True))
    await engine.start_container(id)
    await ended(engine, id)
    assert (await engine.logs(id, 10)).split() == ["hello"]


async def test_no_logs(engine: Engine, make: Make) -> None:
    """A container that has said nothing has an empty log."""
    id = await make(Program(exit_code=0))
    await engine.start_container(id)
    await ended(engine, id)
    assert await engine.logs(id, 10) == ""


async def test_image(engine: Engine) -> None:
    """An image tells what it was built with."""
    info = await engine.inspect_image(IMAGE)
    assert info["Id"].startswith("sha256:") or len(info["Id"]) == 64
    assert f"{PORT}/tcp" in info["Config"]["ExposedPorts"]


async def test_failing_pull(engine: Engine) -> None:
    """A pull from a registry that isn't there fails, be it before or inside the stream."""
    said: list[str] = []
    pull = engine.pull("127.0.0.1:1/none", "1", {}, lambda line: said.append(str(line)))
    said += map(str, await asyncio.gather(pull, return_exceptions=True))
    assert "127.0.0.1:1/none" in said[-1] or any("error" in line for line in said)


async def test_volumes(world: World, engine: Engine, make: Make) -> None:
    """Creating again returns the volume as it is; one in use stays until its container goes."""
    name, label = world.name(), f"dockernamed.hub={world.prefix}"
    mount = {"Type": "volume", "Source": name, "Target": "/work"}
    made = await engine.create_volume(name, labels={"dockernamed.hub": world.prefix, "a": "1"})
    try:
        assert made["Name"] == name
        assert made["Labels"]["a"] == "1"
        again = await engine.create_volume(name, labels={"a": "2"})
        assert again["Labels"] == made["Labels"]
        assert [one["Name"] for one in await engine.list_volumes([label, "a=1"])] == [name]
        assert await engine.list_volumes([label, "a=2"]) == []
        id = await make(host={"Mounts": [mount]})
        with pytest.raises(Conflict):
            await engine.remove_volume(name)
        await engine.remove_container(id, force=True)
        assert (await engine.inspect_volume(name))["Name"] == name
    finally:
        await engine.remove_volume(name)
    with pytest.raises(NotFound):
        await engine.inspect_volume(name)


async def test_network(world: World, engine: Engine) -> None:
    """The default network tells its subnet."""
    info = await engine.inspect_network("podman" if world.podman else "bridge")
    assert "/" in info["IPAM"]["Config"][0]["Subnet"]


async def test_networks(world: World, engine: Engine) -> None:
    """Found by all of their labels, and removed by their ids."""
    name, label = world.name(), f"dockernamed.hub={world.prefix}"
    labels = {"dockernamed.hub": world.prefix, "a": "1"}
    id = await asyncio.to_thread(world.make_network, name, labels)
    assert [one["Name"] for one in await engine.list_networks([label, "a=1"])] == [name]
    assert await engine.list_networks([label, "a=2"]) == []
    await engine.remove_network(id)
    assert await engine.list_networks([label]) == []
    with pytest.raises(NotFound):
        await engine.remove_network(id)


async def test_archive(world: World, engine: Engine, make: Make) -> None:
    """A file can be put in before the first start; Docker wants the directory to exist."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        entry = tarfile.TarInfo("hello")
        entry.size = 5
        tar.addfile(entry, io.BytesIO(b"there"))
    id = await make()
    assert not await engine.has_file(id, "/etc/hello")
    await engine.put_archive(id, "/etc", data.getvalue())
    assert await engine.has_file(id, "/bin/sh")
    if not world.podman:
        with pytest.raises(NotFound):
            await engine.put_archive(id, "/no/such/folder", data.getvalue())


async def test_published_port_answers(world: World, engine: Engine, make: Make) -> None:
    """A port published on any host port is told by inspect, and leads to the server."""
    port = f"{PORT}/tcp"
    binding = {"PortBindings": {port: [{"HostIp": "127.0.0.1", "HostPort": ""}]}}
    id = await make(host=binding)
    await engine.start_container(id)
    bound = (await engine.inspect_container(id))["NetworkSettings"]["Ports"][port][0]

    async def ask() -> bytes:
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", int(bound["HostPort"]))
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                line = await reader.readline()
                writer.close()
                if line:
                    return line
            except OSError:
                pass
            await asyncio.sleep(0.02)

    assert (await asyncio.wait_for(ask(), 30)).startswith(b"HTTP/1.")


async def test_own_address_answers(world: World, engine: Engine, make: Make) -> None:
    """A running container has an address of its own on its network, and one that ended has none."""
    id = await make()
    await engine.start_container(id)

    async def address() -> str:
        info = await engine.inspect_container(id)
        return str(next(iter(info["NetworkSettings"]["Networks"].values()))["IPAddress"])

    assert (await address()).count(".") == 3
    await engine.stop_container(id, 5)
    assert await address() == ""


async def test_events_of_a_life(world: World, engine: Engine, make: Make) -> None:
    """Events tell create, start, die with the exit code, and removal, with our labels."""
    seen: list[tuple[str, str | None]] = []

    def is_ours(event: dict[str, Any]) -> bool:
        attributes = event["Actor"].get("Attributes") or {}
        return bool(attributes.get("dockernamed.hub") == world.prefix)

    async def life() -> None:
        async with engine.events(is_ours) as batches:
            id = await make(Program(exit_code=4))
            await engine.start_container(id)
            await ended(engine, id)
            await engine.remove_container(id)
            async for batch in batches:
                for event in batch:
                    assert event["Actor"]["ID"] == id
                    attributes = event["Actor"]["Attributes"]
                    code = attributes.get("exitCode", attributes.get("containerExitCode"))
                    seen.append((event["Action"], code if event["Action"] == "die" else None))
                    if event["Action"] in ("destroy", "remove"):
                        return

    await asyncio.wait_for(life(), 30)
    assert [action for action, _ in seen[:-1]] == ["create", "start", "die"]
    assert seen[2] == ("die", "4")


async def test_watcher_follows_a_life(world: World, engine: Engine, make: Make) -> None:
    """The table tells user, server, state and exit code, and forgets what is removed."""
    labels = {"dockernamed.user": "ann", "dockernamed.server": "x", "dockernamed.spec": "abc"}
    name = world.name()
    async with watching(engine, world.prefix) as watcher:
        id = await make(Program(exit_code=5), labels=labels, name=name)
        await eventually(lambda: watcher.get(id) is not None)
        await engine.start_container(id)
        dead = await asyncio.wait_for(watcher.wait_dead(id), 30)
        assert dead == watcher.get(id)
        assert (dead.name, dead.user, dead.server, dead.spec) == (name, "ann", "x", "abc")
        assert (dead.state, dead.exit_code, dead.oom) == (State.EXITED, 5, False)
        assert watcher.find("ann", "x") == [dead]
    async with watching(engine, world.prefix, confirm=1) as later:
        # Docker's first list may be some milliseconds behind the event.
        assert await asyncio.wait_for(later.wait_dead(id), 30) == dead
        await engine.remove_container(id)
        await eventually(lambda: later.get(id) is None)
        assert later.find("ann", "x") == []


async def test_watcher_tells_who_moved(world: World, engine: Engine, make: Make) -> None:
    """Two lists say the same place, or another one after a restart that gave another."""
    binding = {"PortBindings": {f"{PORT}/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]}}
    id = await make(host=binding)

    async def where() -> int:
        async with watching(engine, world.prefix) as watcher:
            record = watcher.get(id)
        assert record is not None
        assert record.endpoint_fingerprint is not None
        return record.endpoint_fingerprint

    async def place() -> Any:
        info = (await engine.inspect_container(id))["NetworkSettings"]
        addresses = [network["IPAddress"] for network in info["Networks"].values()]
        return addresses, info["Ports"][f"{PORT}/tcp"][0]["HostPort"]

    await engine.start_container(id)
    before = await where(), await place()
    assert (await where(), await place()) == before
    await engine.stop_container(id, 5)
    await engine.start_container(id)
    after = await where(), await place()
    assert (after[0] != before[0]) == (after[1] != before[1])


async def test_watcher_tells_out_of_memory(world: World, engine: Engine, make: Make) -> None:
    """A container killed for its memory ends with 137, and the table says why."""
    async with watching(engine, world.prefix) as watcher:
        id = await make(Program(oom=True), host={"Init": False})
        await eventually(lambda: watcher.get(id) is not None)
        await engine.start_container(id)
        dead = await asyncio.wait_for(watcher.wait_dead(id), 60)
        assert dead.exit_code == 137
        # On a busy Engine the word of it may come after the end.
        await eventually(lambda: getattr(watcher.get(id), "oom", None) is not world.podman)


async def test_many_at_once(world: World, engine: Engine, make: Make) -> None:
    """Parallel calls on one Engine object don't get in each other's way."""
    ids = await asyncio.gather(*(make() for _ in range(8)))
    infos = await asyncio.gather(*(engine.inspect_container(id) for id in ids))
    assert [info["Id"] for info in infos] == ids
