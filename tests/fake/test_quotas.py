"""Limits of what users have at once: kept whatever happens, and free again whatever failed."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from jupyterhub import orm
from support.driving import MakeHub, message, refused
from support.engine.watching import eventually
from support.fake_engine import Behaviour, FakeEngine, RemoteImage
from support.stage import CREATE, IMAGE, START, TOLD_SOON, late, reached
from support.stub_hub import Hub, of_server
from tornado import web

from dockernamed.desired.resolved import ServerState
from dockernamed.spawner import DockerNamedSpawner


def add_to_group(hub: Hub, group: str, *users: str) -> None:
    """Have users in a group."""
    row = orm.Group.find(hub.db, group) or orm.Group(name=group)
    hub.db.add(row)
    row.users += [hub.user(user).orm_user for user in users]
    hub.db.commit()


async def too_many(hub: Hub, server: str, user: str = "ann", options: Any = None) -> str:
    """What a start is refused with for want of room; nothing was made for it."""
    made = len(hub.user(user).db.query(orm.Server).all())
    with pytest.raises(web.HTTPError) as caught:
        await hub.spawn(server, user, options)
    error: Any = caught.value
    assert error.status_code == 429
    assert 1 <= int(error.headers["Retry-After"]) <= 60
    assert f"try again in {error.headers['Retry-After']} seconds" in message(error)
    assert not hub.spawner(server, user).active
    assert len(hub.user(user).db.query(orm.Server).all()) == made
    return message(error)


async def at_once(hub: Hub, servers: int, *users: str) -> list[int]:
    """The statuses of many starts at once; 200 for those that run."""
    tasks = [hub.spawning(f"s{number}", user) for user in users for number in range(servers)]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    return sorted(one.status_code if isinstance(one, web.HTTPError) else 200 for one in done)


# --- keeping them --------------------------------------------------------------------------------


async def test_servers_per_user(make_hub: MakeHub, fake: FakeEngine) -> None:
    """The one that is too many is refused before anything is pulled; after a stop it starts."""
    fake.publish("remote:1", RemoteImage(config={"WorkingDir": "/work"}))
    hub = make_hub(max_servers_per_user=2, allowed_images=[IMAGE, "remote:1"])
    await hub.spawn("a")
    await hub.spawn("")
    told = await too_many(hub, "b", options={"image": "remote:1"})
    assert "max_servers_per_user = 2: 2 servers of user 'ann' run or start" in told
    assert "(the default server, 'a')" in told
    assert fake.pulls == []
    assert of_server(fake, "b") == []
    await hub.spawn("b", "bob")
    await hub.stop("a")
    await hub.spawn("b", options={"image": "remote:1"})


async def test_many_at_once_never_exceed_a_limit(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Of five starts in one moment, as many go through as there is room for."""
    hub = make_hub(max_servers_per_user=2, max_total_memory="3G", mem_limit="1G")
    assert await at_once(hub, 5, "ann", "bob") == [200] * 3 + [429] * 7
    assert len(fake.containers) == 3


async def test_starts_per_user(make_hub: MakeHub, fake: FakeEngine) -> None:
    """One that has come to its end makes room, though its server runs."""
    hub = make_hub(max_starts_per_user=1)
    held = late(fake, *START)
    first = hub.spawning("a")
    await reached(held)
    assert "1 servers of user 'ann' are starting ('a')" in await too_many(hub, "b")
    await hub.spawn("b", "bob")
    held.release()
    await first
    await hub.spawn("b")


async def test_totals_count_what_each_server_was_given(make_hub: MakeHub, fake: FakeEngine) -> None:
    """By setting, by profile, by typed number, by hook, or past the settings."""
    number: dict[str, Any] = {"min": 1, "max": 9, "step": 1, "default": 1}
    number["spawner_override"] = {"mem_limit": "{value}G"}

    def hook(spawner: Any) -> None:
        if spawner.name == "hook":
            spawner.mem_limit = "3G"
        if spawner.name == "past":
            spawner.extra_host_config = {"mem_limit": "6g"}

    hub = make_hub(
        mem_limit="1G",
        max_total_memory="8G",
        pre_spawn_hook=hook,
        profile_list=[
            {"slug": "small", "display_name": "Small"},
            {"slug": "big", "display_name": "Big", "spawner_override": {"mem_limit": "2G"}},
            {"slug": "any", "display_name": "Any",
             "profile_options": {"mem": {"display_name": "Mem", "number": number}}},
        ],
    )  # fmt: skip
    for server, options, asked in (
        ("small", {}, "1G"),
        ("big", {"profile": "big"}, "2G"),
        ("typed", {"profile": "any", "mem": 4}, "4G"),
        ("hook", {}, "3G"),
        ("past", {}, "6G"),
    ):
        await hub.spawn("a", "bob", {"profile": "any", "mem": 8})
        told = await too_many(hub, server, options=options)
        assert (
            f"promised 8G (of user 'ann': none; of others: 8G), and this server needs {asked}"
            in told
        )
        await hub.stop("a", "bob")
        await hub.spawn(server, options=options)
        await hub.stop(server)
    assert (await refused(hub, options={"profile": "any", "mem": 9})).status_code == 400


async def test_cpu_and_groups(make_hub: MakeHub) -> None:
    """The members of a group share its totals; a user of another group does not."""
    limits = {"students": {"max_total_cpu": 2, "max_servers_per_user": 1}, "staff": {}}
    hub = make_hub(cpu_limit=1.0, group_limits=limits, max_servers_per_user=5)
    add_to_group(hub, "students", "ann", "bob", "eve")
    add_to_group(hub, "staff", "zoe")
    await hub.spawn("a", "ann")
    assert "group_limits['students']['max_servers_per_user'] = 1" in await too_many(hub, "b", "ann")
    await hub.spawn("a", "bob")
    told = await too_many(hub, "a", "eve")
    assert "group_limits['students']['max_total_cpu'] = 2: servers of the group 'students'" in told
    assert "2 CPUs (of user 'eve': none; of others: 2)" in told
    for server in "abc":
        await hub.spawn(server, "zoe")


async def test_a_server_without_a_limit(make_hub: MakeHub) -> None:
    """Where memory is shared out, it would count with nothing and could take all."""
    error = await refused(make_hub(max_total_memory="8G"))
    assert error.status_code == 500
    assert "mem_limit = None: with max_total_memory = 8G" in message(error)


@pytest.mark.parametrize(
    ("given", "status", "says"),
    [("1G", 201, ""), ("1.5 gib", 500, "mem_limit = '1.5 gib'"), ([], 500, "mem_limit = []")],
)
async def test_limits_of_callables(
    given: Any, status: int, says: str, make_hub: MakeHub, fake: FakeEngine
) -> None:
    """They may be written as the setting is; anything else is told to be wrong."""
    hub = make_hub(mem_limit=lambda spawner: given, max_total_memory="1G")
    if status == 201:
        await hub.spawn("a")
        (container,) = of_server(fake, "a")
        assert container.host_config["Memory"] == 2**30
        assert "1G" in await too_many(hub, "b")
    else:
        error = await refused(hub)
        assert (error.status_code, says in message(error)) == (status, True)


async def test_names_are_data(make_hub: MakeHub) -> None:
    """A server's name is told as it is, and never becomes a part of the page."""
    hub = make_hub(max_servers_per_user=1)
    await hub.spawn("{0} <b>%s")
    with pytest.raises(web.HTTPError) as caught:
        await hub.spawn("b")
    error: Any = caught.value
    assert "'{0} <b>%s'" in message(error)
    assert "<b>%s" not in error.jupyterhub_html_message


# --- over time -----------------------------------------------------------------------------------


async def test_running_servers_count_after_a_restart_of_the_hub(make_hub: MakeHub) -> None:
    """With what they were given, whatever the settings are by now."""
    hub = make_hub(mem_limit="5G", max_total_memory="8G")
    await hub.spawn("a", "bob")
    await hub.restart(mem_limit="4G")
    assert "5G" in await too_many(hub, "b")
    await hub.stop("a", "bob")
    await hub.spawn("b")


async def test_a_limit_that_is_new_counts_servers_that_run(make_hub: MakeHub) -> None:
    """Those that started while there was none."""
    hub = make_hub(mem_limit="5G")
    await hub.spawn("a", "bob")
    await hub.restart(max_total_memory="8G")
    assert "5G" in await too_many(hub, "b")


@pytest.mark.parametrize("lives", [True, False])
async def test_a_hub_that_is_killed_in_a_start(
    lives: bool, make_hub: MakeHub, fake: FakeEngine
) -> None:
    """The server counts if its container came to run, and only then."""
    hub = make_hub(mem_limit="5G", max_total_memory="8G")
    held = late(fake, *(START if lives else CREATE))
    hub.spawning("a", "bob")
    await reached(held)
    await hub.kill()
    held.release()
    await eventually(lambda: held.done)
    if not lives:
        for container in fake.containers:
            fake.remove(container.id)
    spawner = hub.spawner("a", "bob")
    await asyncio.wait_for(spawner._runtime.watcher.in_sync(), 30)
    # As JupyterHub does at its start.
    assert (await spawner.poll() is None) is lives
    if lives:
        assert "5G" in await too_many(hub, "b")
    else:
        await hub.stop("a", "bob")
        await hub.spawn("b")


async def test_a_server_that_died_counts_no_more(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Once the Hub has put it away."""
    hub = make_hub(max_servers_per_user=1)
    spawner = await hub.spawn("a")

    async def stopped() -> None:
        await hub.stop("a")

    spawner.add_poll_callback(stopped)
    fake.die(spawner.object_id)
    await eventually(lambda: not hub.spawner("a").active)
    await hub.spawn("b")


async def test_what_a_server_had_is_forgotten(make_hub: MakeHub) -> None:
    """When it has stopped; its next start takes nothing from others until it is let in itself."""
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def hook(spawner: Any) -> None:
        if spawner.name == "a" and begun.is_set():
            await go_on.wait()

    hub = make_hub(max_servers_per_user=1, pre_spawn_hook=hook)
    await hub.spawn("a")
    await hub.stop("a")
    row = hub.spawner("a").orm_spawner
    assert "promise" not in row.state
    begun.set()
    starting = hub.spawning("a")
    await eventually(lambda: row.server is not None)
    await hub.spawn("b")
    go_on.set()
    with pytest.raises(web.HTTPError) as caught:
        await starting
    assert caught.value.status_code == 429


async def test_servers_of_earlier_versions_count_as_servers(make_hub: MakeHub) -> None:
    """Nothing was kept of what they were given."""
    hub = make_hub(max_servers_per_user=1)
    row = (await hub.spawn("a")).orm_spawner
    await hub.restart()
    assert ServerState.from_json(row.state).promise is not None
    row.state = {key: value for key, value in row.state.items() if key != "promise"}
    hub.db.commit()
    assert "'a'" in await too_many(hub, "b")


# --- what failed ---------------------------------------------------------------------------------


async def fail_by_hook(hub: Hub, fake: FakeEngine) -> None:
    """JupyterHub makes certificates between our promise and the start."""

    async def broken() -> None:
        raise RuntimeError("no certificates")

    spawner: Any = hub.spawner("a")
    hub.extra["internal_ssl"] = True
    spawner.user.settings["internal_ssl"] = True
    spawner.create_certs = broken
    with pytest.raises(RuntimeError):
        await hub.spawn("a")
    spawner.user.settings["internal_ssl"] = False
    del hub.extra["internal_ssl"]


async def fail_by_death(hub: Hub, fake: FakeEngine) -> None:
    """Of the container, at once."""
    fake.behave(Behaviour(exit_code=3), name=".*--a")
    await refused(hub, "a")


async def fail_by_pull(hub: Hub, fake: FakeEngine) -> None:
    """Of an image that the registry does not give."""
    await refused(hub, "a", {"image": "none:1"})


async def fail_by_create(hub: Hub, fake: FakeEngine) -> None:
    """The Engine says no."""
    fake.fault(500, *CREATE)
    await refused(hub, "a")


async def fail_by_time(hub: Hub, fake: FakeEngine) -> None:
    """JupyterHub cancels a start whose time is up."""
    held = late(fake, *START)
    hub.spawner("a").start_timeout = 4
    starting = hub.spawning("a")
    await reached(held)
    await eventually(lambda: hub.spawner("a").pending != "spawn" or starting.done())
    held.release()
    with pytest.raises((web.HTTPError, TimeoutError, asyncio.TimeoutError)):
        await starting
    await eventually(lambda: of_server(fake, "a") == [])


@pytest.mark.parametrize(
    "fail", [fail_by_hook, fail_by_death, fail_by_pull, fail_by_create, fail_by_time]
)
async def test_what_failed_leaves_its_room(fail: Any, make_hub: MakeHub, fake: FakeEngine) -> None:
    """Wherever the start ended, and for every kind of limit."""
    hub = make_hub(
        max_servers_per_user=1, max_starts_per_user=1, max_total_memory="1G", mem_limit="1G",
        max_total_cpu=1.0, cpu_limit=1.0, allowed_images="*", gpus=1, gpu_devices=["0"],
        timings=TOLD_SOON,
    )  # fmt: skip
    await fail(hub, fake)
    await hub.spawn("b")
    assert [one.name for one in fake.containers] == ["jupyter-ann--b"]


async def test_a_refusal_is_not_held_against_the_next_start(make_hub: MakeHub) -> None:
    """Neither of the same server nor of another one, nor are its options lost."""
    hub = make_hub(max_servers_per_user=1, common_options={
        "n": {"display_name": "N", "number": {"min": 1, "max": 9, "default": 1, "step": 1,
              "spawner_override": {"cpu_limit": "{value}"}}},
    })  # fmt: skip
    await hub.spawn("a")
    for _ in range(3):
        await too_many(hub, "b", options={"n": 3})
    await hub.stop("a")
    assert (await hub.spawn("b")).cpu_limit == 3


# --- pulls ---------------------------------------------------------------------------------------


async def test_pulls_of_one_user_leave_room_for_others(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Sixteen that trickle keep nobody else's waiting; of that user two are under way."""
    for number in range(16):
        fake.publish(f"slow:{number}", RemoteImage(hold=1))
    fake.publish("quick:1", RemoteImage(config={"WorkingDir": "/work"}))
    hub = make_hub(allowed_images="*")
    slow = [hub.spawning(f"s{number}", options={"image": f"slow:{number}"}) for number in range(16)]
    await eventually(lambda: fake.pulls_holding == 2)
    await hub.spawn("a", "bob", {"image": "quick:1"})
    assert len(fake.pulls) == 3
    assert not any(one.done() for one in slow)
    fake.let_pulls_go()
    await asyncio.gather(*slow)
    assert len(fake.pulls) == 17


def _is_told(spawner: DockerNamedSpawner, words: str) -> bool:
    return words in str(spawner._progress._events)


async def test_an_image_that_others_wait_for_too(make_hub: MakeHub, fake: FakeEngine) -> None:
    """One pull, that goes on when the user whose it was gives up, and counts for who stays."""
    fake.publish("slow:1", RemoteImage(hold=1, config={"WorkingDir": "/work"}))
    fake.publish("slow:2", RemoteImage(hold=1, config={"WorkingDir": "/work"}))
    hub = make_hub(allowed_images="*", max_parallel_pulls_per_user=1)
    first = hub.spawning("a", options={"image": "slow:1"})
    await eventually(lambda: fake.pulls_holding == 1)
    second = hub.spawning("a", "bob", {"image": "slow:1"})
    third = hub.spawning("b", options={"image": "slow:2"})
    for spawner, told in (
        (hub.spawner("a", "bob"), "Pulling slow:1"),
        (hub.spawner("b"), "waiting for other pulls"),
    ):
        await eventually(partial(_is_told, spawner, told))
    first.cancel()
    await eventually(lambda: fake.pulls_holding == 2)
    fake.let_pulls_go()
    await asyncio.gather(second, third)
    assert sorted(reference for reference, _ in fake.pulls) == ["slow:1", "slow:2"]


# --- registries ----------------------------------------------------------------------------------


@pytest.mark.parametrize("image", ["169.254.169.254/x", "localhost:22/x", "[::1]:80/x:1"])
async def test_a_registry_that_only_the_user_knows(
    image: str, make_hub: MakeHub, fake: FakeEngine
) -> None:
    """The Engine is not even asked; typed into a profile's option it is the same."""
    typed = {"slug": "any", "display_name": "Any", "profile_options": {"image": {
        "display_name": "Image", "unlisted_choice": {
            "enabled": True, "spawner_override": {"image": "{value}"}}}}}  # fmt: skip
    for settings, options in (
        ({"allowed_images": "*"}, {"image": image}),
        ({"profile_list": [typed]}, {"image--unlisted-choice": image}),
    ):
        error = await refused(make_hub(**settings), options=options)
        assert error.status_code == 400
        assert "may not be chosen here; the registry may be docker.io" in message(error)
    assert fake.pulls == []


async def test_what_answers_there_is_told_to_the_admin_alone(
    make_hub: MakeHub, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Where any registry may be named; of one that the admin named, its own words help."""
    words = "http: server gave HTTP response: SSH-2.0-OpenSSH_9.2"
    for image in ("10.0.0.1:22/x:1", "known.example/x:1"):
        fake.publish(image, RemoteImage(error=words))
    hub = make_hub(
        allowed_images="*", allowed_registries="*",
        registry_credentials={"known.example": {"username": "a", "password": "b"}},
    )  # fmt: skip
    told = message(await refused(hub, options={"image": "10.0.0.1:22/x:1"}))
    assert told == ("image '10.0.0.1:22/x:1': it could not be pulled; the Hub's log says why")
    assert words in caplog.text
    assert words in message(await refused(hub, options={"image": "known.example/x:1"}))
