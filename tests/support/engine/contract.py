"""What every backend does, asked of each one over fake Engines and over real ones.

A new backend is right when it passes this suite and the fault matrix; the executor asks for
nothing else. The tests are collected where the fixtures are that they need: ``world``, ``engine``,
``things``, ``make_thing`` and ``overlay`` (whether the backend's networks are a Swarm's).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest

from dockernamed import naming
from dockernamed.backends.base import Can, Seen, Things
from dockernamed.desired.accounts import Account, Directory
from dockernamed.desired.environment import Environment, split
from dockernamed.desired.hardening import LEVELS, Hardening
from dockernamed.desired.mounts import Mount
from dockernamed.desired.network import Access, reached_at
from dockernamed.desired.private import FILES_DIR
from dockernamed.desired.spec import LABEL_START
from dockernamed.engine.archive import File, pack
from dockernamed.engine.client import Engine
from dockernamed.errors import Conflict, EngineError, EngineTimeout, NameTaken, NotFound
from support.engine.things import START_ID, MakeNetwork, MakeThing, hand_over, network_of, spec_of
from support.engine.worlds import PORT, Make, Program, World


async def until(things: Things, id: str, condition: Callable[[Seen], bool]) -> Seen:
    """How it is seen once a condition is true."""

    async def look() -> Seen:
        while not condition(seen := await things.inspect(id)):  # noqa: ASYNC110  no event tells
            await asyncio.sleep(0.02)
        return seen

    return await asyncio.wait_for(look(), 30)


async def ended(things: Things, id: str) -> Seen:
    """How it is seen once it has run and does so no more."""
    return await until(things, id, lambda seen: seen.has_run and not seen.running)


# --- things ------------------------------------------------------------------------------------


async def test_a_life(world: World, things: Things, make_thing: MakeThing) -> None:
    """Created, running, ended, gone: each is seen, by id and by name, with whose it is."""
    name = world.name()
    id = await make_thing(name=name)
    made = await things.inspect(name)
    assert (made.id, made.name) == (id, name)
    assert naming.key_of(made.labels) == naming.Key(world.prefix, "ann", "x")
    assert made.labels[LABEL_START] == START_ID
    assert naming.LABEL_SPEC in made.labels
    assert (made.running, made.has_run, made.dead) == (False, False, False)
    await things.start(id)
    await things.start(id)
    seen = await things.inspect(id)
    assert (seen.running, seen.has_run, seen.dead) == (True, True, False)
    await things.stop(id, 5)
    await things.stop(id, 5)
    seen = await things.inspect(id)
    assert (seen.running, seen.has_run) == (False, True)
    await things.remove(id)
    with pytest.raises(NotFound):
        await things.inspect(id)
    await things.remove(id)


async def test_a_name_is_taken_once(world: World, things: Things, make_thing: MakeThing) -> None:
    """A second thing of the same name is refused, in a way that can be told from all else."""
    name = world.name()
    await make_thing(name=name)
    with pytest.raises(NameTaken, match=name):
        await make_thing(name=name)


async def test_an_end_by_itself(things: Things, make_thing: MakeThing) -> None:
    """The exit code and the last lines are told."""
    id = await make_thing(Program(out=("one", "two", "three"), exit_code=7))
    await things.start(id)
    assert (await ended(things, id)).exit_code == 7
    assert (await things.logs(id, 2)).splitlines() == ["two", "three"]


async def test_an_end_for_want_of_memory(
    world: World, things: Things, make_thing: MakeThing
) -> None:
    """It is told apart from other ends with 137."""
    needs(things, Can.MEMORY)
    no_init = {"Init": False}
    id = await make_thing(Program(oom=True), mem_limit=16 << 20, host_config=no_init)
    await things.start(id)
    seen = await until(things, id, lambda seen: seen.oom or world.podman)
    assert world.podman or (await ended(things, id)).exit_code == 137
    assert seen.oom is not world.podman


async def test_a_run_that_is_over(things: Things, make_thing: MakeThing) -> None:
    """It may be stopped, also twice, as if it ran still; and it runs again."""
    id = await make_thing(Program(exit_code=7))
    await things.start(id)
    await ended(things, id)
    for _ in range(2):
        await things.stop(id, 5)
        assert not (await things.inspect(id)).running
    if Can.KEEP in things.can:
        await things.start(id)
        await ended(things, id)


async def test_kill(things: Things, make_thing: MakeThing) -> None:
    """It ends, at once where that can be; what does not run is a conflict."""
    id = await make_thing()
    with pytest.raises(Conflict):
        await things.kill(id)
    await things.start(id)
    await things.kill(id)
    end = await ended(things, id)
    assert end.exit_code == 137 or Can.KILL not in things.can
    with pytest.raises(Conflict):
        await things.kill(id)


async def test_a_running_thing_is_removed(things: Things, make_thing: MakeThing) -> None:
    """Whether it runs or not."""
    id = await make_thing()
    await things.start(id)
    await things.remove(id)
    with pytest.raises(NotFound):
        await things.inspect(id)


async def test_many_are_removed_at_once(things: Things, make_thing: MakeThing) -> None:
    """However many are asked for, all of them go."""
    ids = await asyncio.gather(*(make_thing() for _ in range(12)))
    await asyncio.gather(*(things.remove(id) for id in ids))
    found = await asyncio.gather(*(things.inspect(id) for id in ids), return_exceptions=True)
    assert [type(one) for one in found] == [NotFound] * 12


async def test_list(world: World, things: Things, make_thing: MakeThing) -> None:
    """What has all of the labels, in any state; nothing of another start."""
    one, two = await make_thing(start_id="s1"), await make_thing(start_id="s1")
    await make_thing(start_id="s2")
    await things.start(two)
    labels = {naming.LABEL_HUB: world.prefix, LABEL_START: "s1"}
    found = {seen.id: seen for seen in await things.list(labels)}
    assert {id: (seen.running, seen.has_run) for id, seen in found.items()} == {
        one: (False, False),
        two: (True, True),
    }
    assert found[one].labels.items() >= labels.items()
    assert found[one].name == (await things.inspect(one)).name
    assert list(await things.list({**labels, LABEL_START: "s3"})) == []


async def test_what_is_not_there(things: Things) -> None:
    """Each call says so, but for a removal, which is done already."""
    missing = "f" * 64
    calls = [
        things.start(missing),
        things.stop(missing, 1),
        things.kill(missing),
        things.inspect(missing),
        things.logs(missing, 5),
        things.inspect_volume("dockernamed-test-none"),
        things.remove_volume("dockernamed-test-none"),
        things.remove_network("dockernamed-test-none"),
    ]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(result) for result in results] == [NotFound] * len(calls)
    assert not await things.has_network("dockernamed-test-none")
    await things.remove(missing)


# --- where it is reached -----------------------------------------------------------------------


async def test_place(
    world: World, things: Things, make_thing: MakeThing, make_network: MakeNetwork
) -> None:
    """While it runs it has an address and, if wanted, a published port; ended it has neither."""
    network = await make_network()
    id = await make_thing(publish_ip="0.0.0.0", network=network)
    await things.start(id)
    place = (await until(things, id, lambda seen: not seen.pending)).place
    assert place is not None
    host, port = reached_at(place, "x", PORT, Access("published"))
    assert (host.count("."), port != PORT) == (3, True)
    assert reached_at(place, "x", PORT, Access("ip"))[0].count(".") == 3
    assert (list(place.networks), place.mode) == ([network], network)
    await things.stop(id, 5)
    place = (await things.inspect(id)).place
    assert place is not None
    assert (place.addresses, dict(place.ports)) == ((), {})


# --- the environment, and files ----------------------------------------------------------------


@pytest.fixture
def real_programs(world: World) -> None:
    """Programs of the fake Engine read nothing."""
    if not world.runs_programs:
        pytest.skip("needs programs that run")


only_real = pytest.mark.usefixtures("real_programs")


def needs(things: Things, *abilities: Can) -> None:
    """Skip a test of a backend that lacks one of these."""
    if missing := [one.value for one in abilities if one not in things.can]:
        pytest.skip(f"this backend lacks: {', '.join(missing)}")


async def said(things: Things, id: str) -> list[str]:
    """The lines that it writes when it is started; a log may have those of earlier starts too."""
    before = (await things.logs(id, 100)).splitlines()
    await things.start(id)
    await ended(things, id)
    lines = (await things.logs(id, 100)).splitlines()
    return lines[len(before) :] if lines[: len(before)] == before else lines


@only_real
async def test_a_kept_thing_has_each_starts_environment(
    world: World, things: Things, make_thing: MakeThing
) -> None:
    """All that is personal is this start's, and what is gone from it is unset; files likewise."""
    needs(things, Can.KEEP)
    show = "cat /etc/one; echo $LANG ${JUPYTERHUB_USER-unset} ${JUPYTERHUB_ADMIN_ACCESS-unset}"
    process = ("sh", "-c", show)
    first = split({"LANG": "C", "JUPYTERHUB_USER": "ann", "JUPYTERHUB_ADMIN_ACCESS": "1"})
    second = split({"LANG": "C", "JUPYTERHUB_USER": "it's $me"})
    id = await make_thing(env=first, files={"/etc/one": b"a\n"}, process=process)
    assert await things.has_shell(id)
    assert await said(things, id) == ["a", "C ann 1"]
    spec = spec_of(world, Program(), "x", process=process, files=("/etc/one",))
    await hand_over(things, id, spec, second, {"/etc/one": b"b\n"})
    assert await said(things, id) == ["b", "C it's $me unset"]


@only_real
@pytest.mark.parametrize("level", LEVELS)
async def test_a_thing_for_one_start_has_its_environment_and_files(
    things: Things, make_thing: MakeThing, level: str
) -> None:
    """Both are there when it runs for the first time; where its root is read-only, as private."""
    needs(things, Can.FILES)
    one, two = "/etc/one", "/new/two"
    if level == "strict":
        one, two = f"{FILES_DIR}/one", f"{FILES_DIR}/new/two"
    show = ("sh", "-c", f"cat {one} {two}; echo $LANG $JUPYTERHUB_USER")
    env = split({"LANG": "C", "JUPYTERHUB_USER": "ann"})
    files = {one: b"1\n", two: b"2\n"}
    id = await make_thing(env=env, files=files, command=show, config={}, hardening=Hardening(level))
    assert await said(things, id) == ["1", "2", "C ann"]


async def test_what_is_for_one_start_without_a_shell(
    world: World, things: Things, make_thing: MakeThing
) -> None:
    """It is given files alone, and takes them."""
    id = await make_thing(files={"/etc/one": b"0"})
    spec = spec_of(world, Program(), "x", files=("/etc/one",))
    await hand_over(things, id, spec, Environment(personal={"JUPYTERHUB_USER": "ann"}))
    await hand_over(things, id, spec, Environment(), {"/etc/one": b"1"})


# --- commands


async def test_a_command(things: Things, make_thing: MakeThing) -> None:
    """Run in a thing that runs, to its end: exit code and output, and no shell that was not named.

    What cannot be run is an error, or an exit code of its own.
    """
    needs(things, Can.EXECUTE)
    id = await make_thing()
    with pytest.raises(EngineError):
        await things.execute(id, ["true"], "", 60)
    await things.start(id)
    done = await things.execute(id, ["sh", "-c", "echo one; echo two; exit 7"], "", 60)
    assert (done.exit_code, done.output.split()) == (7, ["one", "two"])
    assert (await things.execute(id, ["true"], "0", 60)).exit_code == 0
    try:
        assert (await things.execute(id, ["/no-such-program"], "", 60)).exit_code in (126, 127)
    except EngineError as error:
        assert "no-such-program" in error.message or "executable" in error.message  # noqa: PT017
    with pytest.raises(EngineTimeout):
        await things.execute(id, ["sleep", "60"], "", 0.3)


async def test_a_thing_that_ends_ends_its_commands(things: Things, make_thing: MakeThing) -> None:
    """Whoever waits for one learns it at once, by whatever answer."""
    needs(things, Can.EXECUTE)
    id = await make_thing()
    await things.start(id)
    running = asyncio.ensure_future(things.execute(id, ["sleep", "60"], "", 50))
    await asyncio.sleep(0.2)  # so that it runs; if it does not yet, it is refused, which does too
    await things.kill(id)
    try:
        assert (await asyncio.wait_for(running, 30)).exit_code != 0
    except EngineError as error:
        assert not isinstance(error, EngineTimeout)  # noqa: PT017


# --- whose directories -------------------------------------------------------------------------


@pytest.fixture
async def volume(world: World, things: Things) -> AsyncIterator[str]:
    """A new volume, which is removed after everything that uses it."""
    name = world.name()
    await things.create_volume(name, None, {}, {naming.LABEL_HUB: world.prefix})
    yield name
    for one in await things.list({naming.LABEL_HUB: world.prefix}):
        await things.remove(one.id)
    await things.remove_volume(name)


async def test_whose_a_directory_is(things: Things, make_thing: MakeThing, volume: str) -> None:
    """A new volume is root's until it is given to somebody before the thing runs, for good."""
    needs(things, Can.OWNERS)
    mounts = (Mount("volume", volume, "/home/ann"),)
    id = await make_thing(mounts=mounts)
    assert await things.directory(id, "/home/ann") == Directory(0, 0, 0o755)
    big = 2**31 + 5
    await things.give(id, {"/home/ann": Directory(big, 100, 0o2750)})
    assert await things.directory(id, "/home/ann") == Directory(big, 100, 0o2750)
    await things.start(id)
    assert await things.directory(id, "/home/ann") == Directory(big, 100, 0o2750)
    await things.remove(id)
    again = await make_thing(mounts=mounts)
    assert await things.directory(again, "/home/ann") == Directory(big, 100, 0o2750)


async def test_what_is_no_directory(things: Things, make_thing: MakeThing) -> None:
    """A file is none, and what is not there is not found."""
    needs(things, Can.OWNERS)
    id = await make_thing()
    assert await things.directory(id, "/bin/sh") is None
    with pytest.raises(NotFound):
        await things.directory(id, "/nowhere/ann")


async def test_whom_a_thing_runs_as(world: World, things: Things, make_thing: MakeThing) -> None:
    """By numbers, with further groups; a name that its files do not have is nobody's."""
    needs(things, Can.OWNERS)
    id = await make_thing()
    spec = spec_of(world, Program(), "x", user="1000:100", groups=(7,))
    assert await things.account(id, spec) == Account(1000, 100, frozenset({7}))
    assert await things.account(id, replace(spec, user="nobody-of-ours")) is None


@only_real
async def test_names_are_those_of_the_things_files(
    world: World, engine: Engine, things: Things, make_thing: MakeThing
) -> None:
    """User and group are looked up where the Engine looks them up."""
    needs(things, Can.OWNERS)
    files = {
        "/etc/passwd": File(b"ann:x:1234:56::/:/bin/sh\n"),
        "/etc/group": File(b"lab:x:78:\n"),
    }
    id = await make_thing()
    await engine.put_archive(id, "/", pack(files))
    spec = spec_of(world, Program(), "x")
    assert await things.account(id, replace(spec, user="ann")) == Account(1234, 56)
    assert await things.account(id, replace(spec, user="1234")) == Account(1234, 56)
    assert await things.account(id, replace(spec, user="ann:lab")) == Account(1234, 78)


@only_real
async def test_what_is_in_a_directory_that_is_given_stays(
    things: Things, make_thing: MakeThing, volume: str
) -> None:
    """The image's own files come into a new volume, and are as the image has them."""
    needs(things, Can.OWNERS)
    show = ("sh", "-c", "ls -ln /bin/busybox; ls -ldn /bin; touch /bin/new && echo made")
    mounts = (Mount("volume", volume, "/bin"),)
    id = await make_thing(mounts=mounts, user="1000:100", command=show, config={})
    before = await things.directory(id, "/bin")
    assert before is not None
    await things.give(id, {"/bin": before.given_to(Account(1000, 100))})
    busybox, directory, made = await said(things, id)
    assert busybox.split()[2:4] == ["0", "0"]
    assert directory.split()[2:4] == ["1000", "100"]
    assert made == "made"


# --- volumes and networks ----------------------------------------------------------------------


async def test_volumes(world: World, things: Things, make_thing: MakeThing) -> None:
    """Creating again returns the volume as it is; one in use stays until its container goes."""
    name, hub = world.name(), {naming.LABEL_HUB: world.prefix}
    made = await things.create_volume(name, None, {}, {**hub, "a": "1"})
    try:
        assert (made.name, made.labels, made.driver) == (name, {**hub, "a": "1"}, "local")
        assert await things.create_volume(name, None, {}, {"a": "2"}) == made
        assert await things.inspect_volume(name) == made
        assert list(await things.list_volumes({**hub, "a": "1"})) == [made]
        assert list(await things.list_volumes({**hub, "a": "2"})) == []
        id = await make_thing(mounts=(Mount("volume", name, "/work"),))
        with pytest.raises(Conflict):
            await things.remove_volume(name)
        await things.remove(id)
    finally:
        await things.remove_volume(name)
    with pytest.raises(NotFound):
        await things.inspect_volume(name)


async def test_a_network_that_is_made(
    world: World, things: Things, make_thing: MakeThing, overlay: bool
) -> None:
    """It has our labels, and what is in it, running or not; a name is there once; it is not removed
    while something runs in it.
    """
    own = network_of(world, overlay=overlay)
    name, other = world.name(), world.name()
    id = await things.create_network(name, own)
    try:
        with pytest.raises(Conflict):
            await things.create_network(name, own)
        seen = await things.inspect_network(name)
        assert (seen.id, seen.name, seen.labels) == (id, name, own.labels)
        assert bool(seen.gateway) is not overlay
        thing = await make_thing(network=name)
        assert list(await things.members(name)) == [thing]
        assert (await things.inspect_network(id)).containers == frozenset()
        await things.start(thing)
        await until(things, thing, lambda seen: not seen.pending)
        containers = (await things.inspect_network(name)).containers
        assert containers == {thing} or overlay  # those of another node are not told
        with pytest.raises(Conflict):
            await things.remove_network(id)
        await things.remove(thing)
        assert list(await things.members(name)) == []
        assert (await things.inspect_network(name)).containers == frozenset()
    finally:
        await things.remove_network(id)
    with pytest.raises(NotFound):
        await things.inspect_network(other)
    with pytest.raises(NotFound):
        await things.remove_network(id)


async def test_further_networks(
    world: World, things: Things, make_thing: MakeThing, make_network: MakeNetwork
) -> None:
    """A thing is in all of them once it was connected before it starts; twice is fine."""
    names = [await make_network(), await make_network()]
    thing = await make_thing(network=names[0], networks=(names[1],))
    for _ in range(2):
        await things.connect(thing, [names[1]])
    await things.start(thing)
    for name in names:
        assert list(await things.members(name)) == [thing]

    async def start_in_a_network_that_is_gone() -> None:
        # Some refuse it only when the thing is connected, or starts.
        gone = world.name()
        thing = await make_thing(network=names[0], networks=(gone,))
        await things.connect(thing, [gone])
        await things.start(thing)

    with pytest.raises(NotFound):
        await start_in_a_network_that_is_gone()


async def test_a_hubs_container_in_a_network(
    engine: Engine, things: Things, make: Make, make_network: MakeNetwork
) -> None:
    """A container of the Engine joins one, and leaves it; twice is fine."""
    name = await make_network()
    id = (await things.inspect_network(name)).id
    container = await make()
    await engine.start_container(container)
    for _ in range(2):
        await things.join(name, container)
    assert (await things.inspect_network(name)).containers == {container}
    with pytest.raises(Conflict):
        await things.remove_network(id)
    for _ in range(2):
        await things.leave(id, container)
    assert (await things.inspect_network(name)).containers == frozenset()
    with pytest.raises(NotFound):
        await things.join(f"{name}-no", container)


async def test_networks(world: World, things: Things) -> None:
    """Found by all of their labels, and removed by their ids."""
    name, hub = world.name(), {naming.LABEL_HUB: world.prefix}
    id = await asyncio.to_thread(world.make_network, name, {**hub, "a": "1"})
    (found,) = await things.list_networks({**hub, "a": "1"})
    assert (found.id, found.name, found.labels["a"]) == (id, name, "1")
    assert list(await things.list_networks({**hub, "a": "2"})) == []
    assert await things.has_network(id)
    assert not await things.is_network_gone(id)
    await things.remove_network(id)
    assert not await things.has_network(id)
    assert await things.is_network_gone(id)
