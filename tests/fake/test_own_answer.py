"""Ready is what proves to be this server, and on the host's network each has its own port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from support.driving import MakeHub, env_of, message, refused
from support.fake_engine import Behaviour, FakeEngine
from support.ports import free_port
from support.stage import QUICK, running
from support.stub_hub import Hub, of_server, runtime

from dockernamed.lifecycle.hostports import refused_by, unused_here

#: One wrong answer is enough.
AT_ONCE = replace(QUICK, wrong_answers=0.0)


@contextmanager
def another_program(port: int) -> Iterator[None]:
    """It listens there."""
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        yield


# --- answers -----------------------------------------------------------------------------------


async def test_a_program_that_is_no_jupyterhub_server(make_hub: MakeHub, fake: FakeEngine) -> None:
    """It answers, but not as the server: refused, with its words and the settings; nothing left."""
    fake.behave(Behaviour(serve="web"))
    error = await refused(make_hub(timings=AT_ONCE, cmd=["jupyter", "lab"]))
    assert error.status_code == 500
    told = message(error)
    assert "answers, but not as a JupyterHub server: does its command start" in told
    assert "404 Not Found from FakeWeb/1: No such page" in told
    assert "image = 'lab:latest', cmd = ['jupyter', 'lab'] and port = 8888" in told
    assert 'readiness = "http"' in told
    assert (fake.containers, fake.volumes) == ([], {})


async def test_the_server_of_somebody_else(make_hub: MakeHub, fake: FakeEngine) -> None:
    """JupyterHub's header alone does not count: the path is unknown to that server."""
    fake.behave(Behaviour(serve="another"))
    told = message(await refused(make_hub(timings=AT_ONCE)))
    assert "but not by this one: does another program use that port?" in told
    assert "cmd = None (the image's own)" in told


async def test_wrong_answers_are_waited_for_so_long(make_hub: MakeHub, fake: FakeEngine) -> None:
    """A little, as a program may answer before all of it is up; less than start_timeout."""
    fake.behave(Behaviour(serve="web"))
    hub = make_hub(timings=replace(QUICK, wrong_answers=3600), start_timeout=4)
    assert "not as a JupyterHub server" in message(await refused(hub))


@pytest.mark.parametrize("readiness", ["http", "{base_url}healthz"])
async def test_what_counts_instead(make_hub: MakeHub, fake: FakeEngine, readiness: str) -> None:
    """A setting, which a profile may set too, and which is kept with the server."""
    path = readiness != "http"
    fake.behave(Behaviour(serve="ok" if path else "web"))
    profile = {"display_name": "Web", "slug": "web", "spawner_override": {"readiness": readiness}}
    hub = make_hub(timings=AT_ONCE, profile_list=[profile])
    spawner = await hub.spawn("exp-1", options={"profile": "web"})
    assert spawner._kept is not None
    assert spawner._kept.readiness == ("/user/ann/exp-1/healthz" if path else "http")


async def test_a_path_that_is_not_there(make_hub: MakeHub, fake: FakeEngine) -> None:
    """404 for it is no proof."""
    fake.behave(Behaviour(serve="web"))
    told = message(await refused(make_hub(timings=AT_ONCE, readiness="/healthz")))
    assert "readiness = '/healthz'" in told


async def test_a_readiness_that_cannot_be(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Refused with the forms that it has, before anything is made."""
    assert "readiness = 'yes'" in message(await refused(make_hub(readiness="yes")))
    assert fake.containers == []


# --- the host's network ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [
        {"network_name": "host"},
        {
            "extra_host_config": {"network_mode": "host"},
            "allow_unsafe": ["host-namespaces"],
        },
    ],
)
async def test_ports_of_the_host(
    make_hub: MakeHub, fake: FakeEngine, settings: dict[str, object]
) -> None:
    """Servers that start at once get different ports, and are told theirs; the Hub finds them."""
    hub = make_hub(port=free_port(), **settings)
    names = ["exp-1", "exp-2", "exp-3"]
    spawners = await asyncio.gather(*(hub.spawn(name) for name in names))
    urls = [spawner.server.url for spawner in spawners]
    assert len(set(urls)) == 3
    for name, url in zip(names, urls, strict=True):
        at = url.removeprefix("http://127.0.0.1:")
        assert env_of(fake, name)["JUPYTERHUB_SERVICE_URL"] == f"http://0.0.0.0:{at}"
    await hub.restart(port=1)
    for name, url in zip(names, urls, strict=True):
        spawner = hub.spawner(name)
        assert (await spawner.poll(), await spawner.get_url()) == (None, url)


async def test_a_port_that_another_program_has(make_hub: MakeHub, fake: FakeEngine) -> None:
    """It is left to that program; a setting of the admin is a first choice only."""
    port = free_port()
    hub = make_hub(network_name="host", port=port)
    with another_program(port):
        spawner = await hub.spawn("exp-1")
    assert spawner.server.port > port
    second = await hub.spawn("exp-2")
    assert second.server.port == port
    assert len(running(fake)) == 2


async def test_the_same_port_at_the_next_start(make_hub: MakeHub, fake: FakeEngine) -> None:
    """A kept container is used again, since the server's port is as it was."""
    hub = make_hub(network_name="host", port=free_port(), remove=False)
    await hub.spawn("exp-1")
    spawner = await hub.spawn("exp-2")
    before, id = spawner.server.port, spawner.object_id
    for name in ("exp-1", "exp-2"):
        await hub.stop(name)
    spawner = await hub.spawn("exp-2")
    assert (spawner.server.port, spawner.object_id) == (before, id)
    assert len(fake.containers) == 2


async def test_another_port_after_a_start_that_failed(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Whoever may be at a port that the Hub cannot look at: the next start is elsewhere."""
    port = free_port()
    hub = make_hub(network_name="host", port=port)
    fake.behave(Behaviour(exit_code=1, log="address already in use\n"))
    await refused(hub)
    fake.behave(Behaviour())
    assert (await hub.spawn("exp-1")).server.port != port


async def test_a_start_that_could_not_be_prepared(make_hub: MakeHub) -> None:
    """Its port is not lost: the next start has it."""
    port = free_port()
    hub = make_hub(network_name="host", port=port, pull_policy="never", image="none:1")
    await refused(hub)
    await hub.restart(image="lab:latest")
    assert (await hub.spawn("exp-1")).server.port == port


@pytest.mark.parametrize("serve", ["web", "ok", "refuse"])
async def test_others_have_the_port_when_the_hub_starts(
    make_hub: MakeHub, fake: FakeEngine, serve: str
) -> None:
    """A server whose port of the host somebody else answers at is not called running."""
    hub = make_hub(
        # Where nobody answers, all of it passes.
        timings=replace(QUICK, wrong_answers=0.1, probe_answer=0.5 if serve == "refuse" else 30.0),
        network_name="host",
        port=free_port(),
    )
    await hub.spawn("exp-1")
    await hub.restart()
    fake.behave(Behaviour(serve=serve))
    (container,) = of_server(fake, "exp-1")
    await asyncio.to_thread(fake.restart, container.id)
    spawner = hub.spawner("exp-1")
    spawner._check_pending = True
    assert await spawner.poll() == (1 if serve == "web" else None)
    spawner._check_pending = False
    assert await spawner.poll() is None


async def test_others_and_an_engine_that_cannot_say(make_hub: MakeHub, fake: FakeEngine) -> None:
    """An Engine that fails is no reason to call a server displaced."""
    hub = make_hub(network_name="host", port=free_port())
    spawner = await hub.spawn("exp-1")
    fake.fault(500, "GET", "/containers/[^/]+/json")
    spawner._check_pending = True
    assert await spawner.poll() is None
    spawner._check_pending = False


async def test_a_remote_engine(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another host's ports it is seen whether somebody accepts connections."""
    await hub.spawn("exp-1")
    found = runtime()
    monkeypatch.setattr(type(found), "engine_is_local", False)
    monkeypatch.setattr(type(found.engine), "base_url", "tcp://127.0.0.1:2376")
    port = free_port()
    assert await found._port_is_free(port)
    with another_program(port):
        assert not await found._port_is_free(port)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
async def test_ports_of_this_host(host: str) -> None:
    """One at which somebody listens is seen, on loopback or everywhere."""
    with socket.socket() as other:
        other.bind((host, 0))
        other.listen()
        port = other.getsockname()[1]
        assert not await unused_here(port)
        assert not await refused_by("127.0.0.1", port, 5.0)
    assert await unused_here(port)
    assert await refused_by("127.0.0.1", port, 5.0)
