"""A server that runs, is stopped, deleted, renamed, as JupyterHub drives it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Any

import pytest
from jupyterhub import orm
from support.driving import MakeHub, Told, env_of, message
from support.engine.watching import eventually
from support.fake_engine import Behaviour, FakeEngine
from support.stage import (
    IMAGE,
    INSPECT,
    KILL,
    QUICK,
    REMOVE,
    STOP,
    VOLUME_REMOVE,
    contents,
    running,
)
from support.stub_hub import Hub, of_server, runtime, runtime_of, spawners_with
from tornado import web

from dockernamed import naming, templates
from dockernamed.desired.private import ENV_FILE

# --- while it runs -----------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 7])
async def test_death_is_told_at_once(hub: Hub, fake: FakeEngine, code: int) -> None:
    """Not at the next poll; the exit code is the container's, and the container goes."""
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    fake.die(of_server(fake, "exp-1")[0].id, code)
    assert await told.exit_code() == code
    await hub.stop("exp-1")
    assert fake.containers == []
    assert len(fake.volumes) == 1


async def test_death_for_want_of_memory(hub: Hub, fake: FakeEngine, caplog: Any) -> None:
    """137 has many causes; the log says it when it is this one."""
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    fake.die(of_server(fake, "exp-1")[0].id, 137, oom=True)
    await told.exit_code()
    assert "ann:exp-1 ended, with exit code 137 (out of memory)" in caplog.text


async def test_death_before_the_hub_listens(hub: Hub, fake: FakeEngine) -> None:
    """Its callbacks are asked once only: so long as there are none, the next poll tells."""
    spawner = await hub.spawn("exp-1")
    fake.die(of_server(fake, "exp-1")[0].id, 7)
    await asyncio.wait_for(runtime().watcher.wait_dead(spawner.object_id), 30)
    assert await spawner.poll() == 7


@pytest.mark.parametrize("how", ["died", "removed"])
async def test_death_while_the_engine_was_away(hub: Hub, fake: FakeEngine, how: str) -> None:
    """What the new list brings to light is told at once, like any death."""
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    container_id = spawner.object_id
    fake.down()
    await eventually(lambda: not runtime().watcher.connected)
    assert await spawner.poll() is None
    if how == "died":
        fake.die(container_id, 7)
    else:
        fake.remove(container_id)
    fake.up()
    assert await told.exit_code() == (7 if how == "died" else 0)


async def test_poll_without_an_engine(hub: Hub, fake: FakeEngine) -> None:
    """An Engine that does not answer says nothing about the server: it counts as running."""
    spawner = await hub.spawn("exp-1")
    fake.down()
    await eventually(lambda: not runtime().watcher.connected)
    assert await spawner.poll() is None
    fake.up()
    await asyncio.wait_for(runtime().watcher.in_sync(), 30)
    assert await spawner.poll() is None


async def test_poll_of_nothing(hub: Hub) -> None:
    """A server that was never started is not running."""
    assert await hub.spawner("exp-1").poll() == 0


async def test_poll_of_an_unknown_container(hub: Hub, fake: FakeEngine) -> None:
    """State from a backup: the container is gone, and no other of the server runs."""
    spawner = hub.spawner("exp-1")
    spawner.load_state({"object_id": "f" * 64})
    assert await spawner.poll() == 0
    fake.down()
    await eventually(lambda: not runtime().watcher.connected)
    assert await spawner.poll() is None


async def test_get_url_asks_anew(hub: Hub, fake: FakeEngine) -> None:
    """Without an answer the Hub keeps the URL that it had: its own start must not fail by that."""
    spawner = await hub.spawn("exp-1")
    url = spawner.server.url
    assert url.startswith(await spawner.get_url())
    fake.fault(500, *INSPECT)
    assert await spawner.get_url() == url
    fake.die(spawner.object_id)
    assert await spawner.get_url() == url


class Proxy:
    """Notes the routes that it is given."""

    def __init__(self) -> None:
        self.routes: list[tuple[str, str, int]] = []
        self.removed: list[tuple[str, str]] = []

    async def add_user(self, user: Any, server: str) -> None:
        """As of JupyterHub's proxies."""
        self.routes.append((user.name, server, user.spawners[server].server.port))

    async def delete_user(self, user: Any, server: str) -> None:
        """Likewise."""
        assert self.routes == []
        self.removed.append((user.name, server))


@pytest.mark.parametrize("with_proxy", [True, False])
async def test_docker_restart(hub: Hub, fake: FakeEngine, with_proxy: bool) -> None:
    """The published port is a new one: Hub and proxy are led there, and the server lives on."""
    proxy = Proxy()
    hub.extra["proxy"] = proxy if with_proxy else None
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    old = spawner.server.port
    await asyncio.to_thread(fake.restart, spawner.object_id)
    await eventually(lambda: spawner.server.port != old)
    assert await spawner.get_url() == spawner.server.url
    await eventually(lambda: not with_proxy or proxy.routes)
    assert proxy.routes == ([("ann", "exp-1", spawner.server.port)] if with_proxy else [])
    assert proxy.removed == ([("ann", "exp-1")] if with_proxy else [])
    assert await spawner.poll() is None
    assert not told.status.done()


async def test_restarted_as_something_else(
    make_hub: MakeHub, fake: FakeEngine, caplog: Any
) -> None:
    """Nothing is led to a restarted container until it answers as this server does.

    Where it was before, somebody else may be by now: the proxy leads there no more.
    """
    hub = make_hub(timings=replace(QUICK, wrong_answers=0.0))
    hub.extra["proxy"] = proxy = Proxy()
    spawner = await hub.spawn("exp-1")
    fake.behave(Behaviour(serve="web"))
    await asyncio.to_thread(fake.restart, spawner.object_id)
    await eventually(lambda: "answers, but not as a JupyterHub server" in caplog.text)
    assert (proxy.removed, proxy.routes) == ([("ann", "exp-1")], [])
    assert await spawner.poll() is None
    fake.behave(Behaviour())
    await asyncio.to_thread(fake.restart, spawner.object_id)
    await eventually(lambda: proxy.routes)
    assert proxy.routes == [("ann", "exp-1", spawner.server.port)]


def being_proven() -> bool:
    """Whether a server that moved is asked for its proof just now."""
    return any("_lead_proxy" in repr(task.get_coro()) for task in asyncio.all_tasks())


async def test_ends_while_it_must_prove_itself(hub: Hub, fake: FakeEngine) -> None:
    """Nothing is led to a server that ended before its proof came."""
    hub.extra["proxy"] = proxy = Proxy()
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    fake.behave(Behaviour(serve="refuse"))
    await asyncio.to_thread(fake.restart, spawner.object_id)
    await eventually(lambda: proxy.removed)
    assert being_proven()
    fake.die(spawner.object_id)
    await told.exit_code()
    await hub.stop("exp-1")
    await eventually(lambda: not being_proven())
    assert proxy.routes == []


async def test_a_proxy_that_fails(hub: Hub, fake: FakeEngine, caplog: Any) -> None:
    """The log says so, the server runs on, and its end is still told."""
    hub.extra["proxy"] = object()
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    await asyncio.to_thread(fake.restart, spawner.object_id)
    await eventually(lambda: "Could not lead the proxy to ann:exp-1" in caplog.text)
    fake.die(spawner.object_id, 3)
    assert await told.exit_code() == 3


async def restart_unseen(fake: FakeEngine, port: int) -> None:
    """Have the Engine go away, and come back with the only container at another port."""
    (container,) = running(fake)
    fake.down()
    await eventually(lambda: not runtime().watcher.connected)
    container.ports = {"8888/tcp": port}
    fake.up()
    await asyncio.wait_for(runtime().watcher.in_sync(), 30)


async def test_restart_unseen(hub: Hub, fake: FakeEngine) -> None:
    """The Engine was away and the container has another port since: the next poll finds out."""
    spawner = await hub.spawn("exp-1")
    await restart_unseen(fake, port=7)
    assert await spawner.poll() is None
    assert spawner.server.port == 7


async def lost_more_often_than(disconnects: int) -> None:
    """Wait until the stream is lost once more."""
    await eventually(lambda: runtime().watcher.disconnects > disconnects)


async def test_a_lost_stream_costs_no_question(hub: Hub, fake: FakeEngine) -> None:
    """However many servers there are: the list tells where they are, once it knows them."""
    spawners = [await hub.spawn(f"exp-{number}") for number in range(3)]
    asked = []
    for _ in range(2):
        disconnects = runtime().watcher.disconnects
        fake.lose_streams()
        await lost_more_often_than(disconnects)
        await asyncio.wait_for(runtime().watcher.in_sync(), 30)
        before = fake.count(*INSPECT)
        assert [await spawner.poll() for spawner in spawners] == [None] * 3
        asked.append(fake.count(*INSPECT) - before)
    assert asked == [3, 0]


async def test_restarted_and_cannot_be_asked(hub: Hub, fake: FakeEngine, caplog: Any) -> None:
    """The Hub keeps the URL that it has, and the log says why."""
    spawner = await hub.spawn("exp-1")
    url = spawner.server.url
    await restart_unseen(fake, port=7)
    fake.fault(500, *INSPECT)
    assert await spawner.poll() is None
    assert "Could not find out where ann:exp-1 is now" in caplog.text
    assert spawner.server.url == url


async def test_moved_nowhere(hub: Hub, fake: FakeEngine) -> None:
    """A server that is just being stopped has no place to be led to."""
    spawner = await hub.spawn("exp-1")
    await restart_unseen(fake, port=7)
    server, spawner.server = spawner.server, None
    assert await spawner.poll() is None
    spawner.server = server
    assert server.port != 7


# --- the end -----------------------------------------------------------------------------------


async def test_stop(hub: Hub, fake: FakeEngine) -> None:
    """The container goes, the volume stays, and the next start finds the files again."""
    await hub.spawn("exp-1")
    (volume,) = fake.volumes
    await hub.stop("exp-1")
    assert (fake.containers, list(fake.volumes)) == ([], [volume])
    assert fake.count(*STOP) == 1
    await hub.spawn("exp-1")
    assert of_server(fake, "exp-1")[0].volumes() == {volume}
    assert list(fake.volumes) == [volume]


async def test_stop_now(hub: Hub, fake: FakeEngine) -> None:
    """No grace: a kill."""
    spawner = await hub.spawn("exp-1")
    await spawner.stop(now=True)
    assert (fake.count(*KILL), fake.count(*STOP)) == (1, 0)
    assert await spawner.poll() == 0


async def test_stop_is_no_death(hub: Hub, fake: FakeEngine) -> None:
    """The Hub's callbacks are for servers that end by themselves."""
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    await hub.stop("exp-1")
    assert fake.containers == []
    assert not told.status.done()


async def test_kept_container(make_hub: MakeHub, fake: FakeEngine) -> None:
    """With ``remove = False``: the same container again, and a new token in it.

    That of the run before was revoked when it ended, and stays so.
    """
    hub = make_hub(remove=False)
    await hub.spawn("exp-1")
    (container,) = fake.containers
    before = env_of(fake)["JUPYTERHUB_API_TOKEN"]
    await hub.stop("exp-1")
    assert not container.running
    spawner = await hub.spawn("exp-1")
    assert [one.id for one in running(fake)] == [container.id]
    text = contents(container)[ENV_FILE].decode()
    assert f"export JUPYTERHUB_API_TOKEN={spawner.api_token}\n" in text
    assert orm.APIToken.find(hub.db, spawner.api_token).user is hub.user().orm_user
    assert orm.APIToken.find(hub.db, before) is None


@pytest.mark.parametrize(
    ("settings", "image_env"),
    [
        ({"environment": {"a.b": "x"}}, []),
        ({}, ["a.b=x"]),
    ],
    ids=["variable", "variable of the image"],
)
async def test_container_that_cannot_take_a_token(
    make_hub: MakeHub, fake: FakeEngine, settings: dict[str, Any], image_env: list[str]
) -> None:
    """It runs as its image says, and the next start replaces it."""
    fake.add_image(IMAGE, {"Env": image_env})
    hub = make_hub(remove=False, **settings)
    await hub.spawn("exp-1")
    (first,) = fake.containers
    assert "Entrypoint" not in first.config
    await hub.stop("exp-1")
    await hub.spawn("exp-1")
    (second,) = fake.containers
    assert second.id != first.id


async def test_stop_failing_does_not_lose_the_volume(hub: Hub, fake: FakeEngine) -> None:
    """The Hub forgets a server whose stop failed; its next start sets things right."""
    await hub.spawn("exp-1")
    (volume,) = fake.volumes
    refusal = fake.fault(400, *STOP, times=1000)
    with pytest.raises(Exception, match="cannot stop"):
        await hub.stop("exp-1")
    refusal.times = 0
    await hub.spawn("exp-1")
    (container,) = fake.containers
    assert container.running
    assert container.volumes() == {volume}


# --- deletion and renaming ---------------------------------------------------------------------


async def test_delete(hub: Hub, fake: FakeEngine) -> None:
    """Container and own volume go; another server's stay."""
    for server in ("exp-1", "exp-2"):
        await hub.spawn(server)
    await hub.stop("exp-1")
    await hub.delete("exp-1")
    assert [one.labels[naming.LABEL_SERVER] for one in fake.containers] == ["exp-2"]
    assert len(fake.volumes) == 1


async def test_delete_after_a_restart_without_state(make_hub: MakeHub, fake: FakeEngine) -> None:
    """What belongs to the server is known by its labels, not only from the Hub's memory."""
    hub = make_hub(remove=False, volumes={"home-{username}": "/home"})
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    hub.user().orm_spawners["exp-1"].state = {}
    hub.db.commit()
    await hub.restart()
    await hub.delete("exp-1")
    assert (fake.containers, list(fake.volumes)) == ([], ["home-ann"])


async def test_delete_keeps_what_is_not_this_servers_alone(
    make_hub: MakeHub, fake: FakeEngine
) -> None:
    """A user's volume, all users' volume, one that somebody made by hand, another Hub's."""
    hub = make_hub(
        volumes={"home-{username}": "/home", "shared": "/shared", "byhand-{user_server}": "/hand"}
    )
    spawner = hub.spawner("exp-1")
    engine = runtime_of(spawner).engine
    by_hand = templates.expand(
        "byhand-{user_server}", spawner.template_namespace(), field="volumes"
    )
    await engine.create_volume(by_hand)
    await engine.create_volume("foreign", labels=naming.labels(naming.Key("x", "ann", "exp-1")))
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    assert len(fake.volumes) == 5
    await hub.delete("exp-1")
    assert set(fake.volumes) == {"home-ann", "shared", by_hand, "foreign"}


async def test_delete_volumes_may_be_forbidden(make_hub: MakeHub, fake: FakeEngine) -> None:
    """delete_volumes = False: the container goes, the files stay."""
    hub = make_hub(delete_volumes=False, remove=False)
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    await hub.delete("exp-1")
    assert (fake.containers, len(fake.volumes)) == ([], 1)


async def test_delete_while_the_engine_stumbles(hub: Hub, fake: FakeEngine) -> None:
    """JupyterHub deletes once and never again: what may pass is tried again."""
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    fake.fault(500, *VOLUME_REMOVE, times=2)
    await hub.delete("exp-1")
    assert fake.volumes == {}


async def test_delete_before_the_engine_was_ever_there(hub: Hub, fake: FakeEngine) -> None:
    """The Hub began without its Engine: the files go when that is there, they are not forgotten."""
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    fake.down()
    hub.spawner_class = spawners_with(replace(QUICK, engine_first_seen=0.01))
    await hub.restart()
    deleting = asyncio.ensure_future(hub.delete("exp-1"))
    await asyncio.wait({deleting}, timeout=0.05)
    assert not deleting.done()
    fake.up()
    await asyncio.wait_for(deleting, 30)
    assert fake.volumes == {}


async def test_rename(make_hub: MakeHub, fake: FakeEngine) -> None:
    """The files follow the server under its new name; a new server of the old name gets others."""
    hub = make_hub(remove=False)
    await hub.spawn("exp-1")
    (volume,) = fake.volumes
    await hub.stop("exp-1")
    await hub.rename("exp-1", "keep")
    assert fake.containers == [], "its labels could not follow"
    await hub.spawn("keep")
    (container,) = of_server(fake, "keep")
    assert container.volumes() == {volume}
    assert container.name == "jupyter-ann--keep"
    await hub.spawn("exp-1")
    assert of_server(fake, "exp-1")[0].volumes().isdisjoint({volume})
    assert len(fake.volumes) == 2


async def test_delete_after_renames(hub: Hub, fake: FakeEngine) -> None:
    """Neither does a new server's deletion take the renamed one's files, nor do its own stay."""
    await hub.spawn("exp-1")
    (volume,) = fake.volumes
    await hub.stop("exp-1")
    await hub.rename("exp-1", "keep")
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    await hub.delete("exp-1")
    assert list(fake.volumes) == [volume]
    await hub.delete("keep")
    assert fake.volumes == {}


async def test_a_renamed_users_files(make_hub: MakeHub, fake: FakeEngine) -> None:
    """They follow the user; the next user of that name neither sees nor deletes them."""
    hub = make_hub(volumes={"home-{username}": "/home"})
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    volumes = set(fake.volumes)
    hub.user().orm_user.name = "eve"
    hub.db.commit()
    await hub.restart()
    for server in ("exp-1", "exp-2"):
        await hub.spawn(server)
        mounted = of_server(fake, server)[0].volumes()
        assert mounted.isdisjoint(volumes)
        assert "home-ann.2" in mounted
        await hub.stop(server)
        await hub.delete(server)
    assert volumes < set(fake.volumes)
    await hub.spawn("exp-1", "eve")
    assert of_server(fake, "exp-1", "eve")[0].volumes() == volumes
    await hub.stop("exp-1", "eve")
    await hub.delete("exp-1", "eve")
    assert set(fake.volumes) == {"home-ann", "home-ann.2"}


@pytest.mark.parametrize("remove", [True, False])
async def test_a_renamed_users_running_server(
    make_hub: MakeHub, fake: FakeEngine, remove: bool
) -> None:
    """Its container, which has the old name, is stopped with it, and never by who comes by that."""
    hub = make_hub(remove=remove)
    await hub.spawn("exp-1")
    (first,) = running(fake)
    hub.user().orm_user.name = "eve"
    hub.db.commit()
    await hub.restart()
    assert await hub.spawner("exp-1", "eve").poll() is None
    assert await hub.spawner("exp-1", "ann").poll() == 0
    second = (await hub.spawn("exp-1", "ann")).object_id
    assert {container.id for container in running(fake)} == {first.id, second}
    await hub.stop("exp-1", "ann")
    await hub.delete("exp-1", "ann")
    assert [container.id for container in running(fake)] == [first.id]
    await hub.stop("exp-1", "eve")
    assert running(fake) == []
    assert [container.id for container in fake.containers] == ([] if remove else [first.id])


async def test_rename_that_cannot_be(
    make_hub: MakeHub, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """The kept container cannot be removed: the rename is refused; why is in the log."""
    hub = make_hub(remove=False)
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    fake.fault(400, *REMOVE, message="it is nailed down")
    with pytest.raises(web.HTTPError) as caught:
        await hub.rename("exp-1", "keep")
    assert "cannot remove container" in message(caught.value)
    assert "nailed down" not in message(caught.value)
    assert "nailed down" in caplog.text
    assert "exp-1" in hub.user().orm_spawners


async def test_rename_without_an_engine(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Who renames is not kept waiting for an Engine that does not come back."""
    hub = make_hub(timings=replace(QUICK, engine_first_seen=0.01), remove=False)
    spawner = hub.spawner("exp-1")
    await asyncio.wait_for(spawner.runtime(spawner.key.hub).watcher.in_sync(), 30)
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    fake.down()
    with pytest.raises(web.HTTPError) as caught:
        await hub.rename("exp-1", "keep")
    assert caught.value.status_code == 503
    assert "exp-1" in hub.user().orm_spawners


async def test_changed_templates_keep_the_files(
    make_hub: MakeHub, fake: FakeEngine, caplog: Any
) -> None:
    """Another prefix would give another name: the remembered one wins, and the log says so."""
    caplog.set_level(logging.INFO, "traitlets")
    hub = make_hub()
    await hub.spawn("exp-1")
    (volume,) = fake.volumes
    await hub.stop("exp-1")
    await hub.restart(prefix="west")
    await hub.spawn("exp-1")
    (container,) = of_server(fake, "exp-1")
    assert container.volumes() == {volume}
    assert container.name.startswith("west-")
    assert f"keeping volume {volume!r}" in caplog.text
