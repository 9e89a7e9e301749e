"""What outlives a Hub process; certificates; errors in both lines of JupyterHub."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from certipy import Certipy
from jupyterhub import orm, version_info
from support.driving import MakeHub, Told, env_of, message, refused
from support.engine.watching import eventually
from support.fake_engine import Behaviour, FakeEngine
from support.stage import (
    CREATE,
    INSPECT,
    REMOVE,
    START,
    STOP,
    VOLUME_CREATE,
    contents,
    late,
    reached,
    running,
)
from support.stub_hub import Hub, of_server
from tornado import web

from dockernamed.desired.network import HUB_NAME
from dockernamed.desired.private import ENV_FILE
from dockernamed.engine.archive import CERTS_DIR
from dockernamed.lifecycle import readiness

# --- the Hub restarts --------------------------------------------------------------------------


async def test_hub_restart(hub: Hub, fake: FakeEngine) -> None:
    """A running server is found again by its id, watched, and stopped as ever."""
    await hub.spawn("exp-1")
    await hub.restart()
    spawner = hub.spawner("exp-1")
    assert await spawner.poll() is None
    assert spawner.server.url.startswith(await spawner.get_url())
    told = Told(spawner)
    fake.die(spawner.object_id, 9)
    assert await told.exit_code() == 9


async def test_an_end_while_the_hub_was_down(hub: Hub, fake: FakeEngine, caplog: Any) -> None:
    """The next Hub calls the server stopped, and its log says how it ended."""
    await hub.spawn("exp-1")
    await hub.restart()
    fake.die(of_server(fake, "exp-1")[0].id, 143)
    assert await hub.spawner("exp-1").poll() == 143
    assert "ann:exp-1 ended while the Hub was down" in caplog.text
    assert "with exit code 143" in caplog.text


async def test_hub_restart_without_an_engine(hub: Hub, fake: FakeEngine) -> None:
    """The Hub waits for the Engine, and calls no server dead because it cannot be asked."""
    await hub.spawn("exp-1")
    await hub.restart()
    fake.down()
    polling = asyncio.ensure_future(hub.spawner("exp-1").poll())
    await eventually(lambda: not polling.done())
    fake.up()
    assert await asyncio.wait_for(polling, 30) is None


async def killed(hub: Hub) -> None:
    """Kill -9 of the Hub, in the middle of whatever it does: nothing is undone."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    # Its hands are tied first; then it may end as it likes.
    await hub.restart()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    hub.db.rollback()
    await hub.restart()


@pytest.mark.parametrize("call", [VOLUME_CREATE, CREATE, START, INSPECT], ids=lambda call: call[1])
async def test_hub_killed_in_a_start(hub: Hub, fake: FakeEngine, call: tuple[str, str]) -> None:
    """Afterwards the server runs and is known, or is gone and can be started: one, not two."""
    stalled = late(fake, *call)
    hub.spawning("exp-1")
    await reached(stalled)
    await killed(hub)
    stalled.release()
    await eventually(lambda: fake.count(*call) and stalled.done)
    found = [one.id for one in running(fake)]
    spawner = hub.spawner("exp-1")
    assert (await spawner.poll() is None) is bool(found)
    if found:
        assert [spawner.object_id] == found, "found by its labels alone"
        await hub.stop("exp-1")
        assert fake.containers == []
    await hub.spawn("exp-1")
    assert len(running(fake)) == len(fake.containers) == 1
    assert len(fake.volumes) == 1


async def test_files_of_a_first_start_that_the_hub_did_not_survive(
    hub: Hub, fake: FakeEngine
) -> None:
    """The server ran on, was found again and used: its files stay its own, whatever its name."""
    stalled = late(fake, *INSPECT)
    hub.spawning("exp-1")
    await reached(stalled)
    await hub.kill()
    stalled.release()
    assert await hub.spawner("exp-1").poll() is None
    await hub.stop("exp-1")
    await hub.rename("exp-1", "exp-2")
    await hub.spawn("exp-2")
    (container,) = of_server(fake, "exp-2")
    assert container.volumes() == set(fake.volumes)


async def test_files_of_a_first_start_that_failed(hub: Hub, fake: FakeEngine) -> None:
    """There are none, and the Hub remembers none; only how the server was set up."""
    fake.behave(Behaviour(exit_code=3))
    await refused(hub)
    assert (fake.volumes, set(hub.spawner("exp-1").orm_spawner.state)) == ({}, {"settings"})


@pytest.mark.parametrize("call", [STOP, REMOVE], ids=lambda call: call[0])
async def test_hub_killed_in_a_stop(hub: Hub, fake: FakeEngine, call: tuple[str, str]) -> None:
    """The same for a stop; the volume is there whatever happens."""
    await hub.spawn("exp-1")
    stalled = late(fake, *call)
    stopping = asyncio.ensure_future(hub.stop("exp-1"))
    await reached(stalled)
    await killed(hub)
    assert stopping.done()
    stalled.release()
    await eventually(lambda: not running(fake))
    await eventually(lambda: stalled.done)
    spawner = hub.spawner("exp-1")
    assert await spawner.poll() is not None
    await hub.spawn("exp-1")
    assert len(running(fake)) == len(fake.containers) == 1
    assert len(fake.volumes) == 1


# --- internal TLS ------------------------------------------------------------------------------


async def test_certificates(
    make_hub: MakeHub, fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made out to the container's name too, and in the container before it runs.

    JupyterHub writes them to one file for all servers of a user: each server gets its own all the
    same, whoever comes in between.
    """
    certipy = Certipy(store_dir=str(tmp_path))
    bundles = certipy.trust_from_graph({"hub-ca": ["notebooks-ca"], "notebooks-ca": ["hub-ca"]})
    alt_names = [f"DNS:{HUB_NAME}"]
    files = certipy.create_signed_pair("hub", "hub-ca", alt_names=alt_names)["files"]
    asked = []

    async def proven(
        url: str, proof: object, context: ssl.SSLContext | None, *pace: object
    ) -> None:
        asked.append((url, context))

    monkeypatch.setattr(readiness, "wrong_answer", proven)
    hub = make_hub()
    hub.extra = {
        "internal_ssl": True,
        "internal_certs_location": str(tmp_path),
        "internal_trust_bundles": bundles,
        "internal_ssl_key": files["key"],
        "internal_ssl_cert": files["cert"],
        "internal_ssl_ca": bundles["hub-ca"],
    }
    found = {}
    for server in ("exp-1", "exp-2"):
        spawner = hub.spawner(server)
        spawner.orm_spawner.server = orm.Server(base_url=f"/user/ann/{server}/")
        hub.db.commit()
        await spawner.run_pre_spawn_hook()
        spawner.cert_paths = await spawner.move_certs(await spawner.create_certs())
        found[server] = spawner
    for server, spawner in found.items():
        url = await spawner.start()
        assert url.startswith("https://127.0.0.1:")
        (container,) = of_server(fake, server)
        assert container.archives is not None
        found_files = contents(container)
        names = found_files.keys() - {ENV_FILE}
        (tmp_path / "one.crt").write_bytes(found_files[f"{CERTS_DIR}/certfile"])
        env = env_of(fake, server)
        assert names == {
            env[f"JUPYTERHUB_SSL_{kind}"] for kind in ("KEYFILE", "CERTFILE", "CLIENT_CA")
        }
        decoded: Any = ssl._ssl._test_decode_cert(str(tmp_path / "one.crt"))  # type: ignore[attr-defined]
        assert ("DNS", container.name) in decoded["subjectAltName"]
    assert [url.startswith("https://") for url, _ in asked] == [True, True]
    assert all(isinstance(context, ssl.SSLContext) for _, context in asked)


@pytest.mark.skipif(version_info < (6,), reason="JupyterHub 5 takes no callable there")
async def test_the_admins_own_alt_names(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A callable ssl_alt_names decides alone."""
    spawner = hub.spawner("exp-1")
    spawner.ssl_alt_names = lambda spawner: ["DNS:mine"]
    asked: list[Any] = []

    async def create(self: Any) -> Any:
        asked.append(self.ssl_alt_names(self))
        return {}

    monkeypatch.setattr("jupyterhub.spawner.Spawner.create_certs", create)
    await spawner.run_pre_spawn_hook()
    assert await spawner.create_certs() == {}
    assert asked == [["DNS:mine"]]


# --- errors ------------------------------------------------------------------------------------


async def test_errors_of_older_hubs(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """JupyterHub 5 has no SpawnException: a plain HTTPError says the same."""
    monkeypatch.delattr("jupyterhub.spawner.SpawnException", raising=False)
    hub.info.ip = "127.0.0.1"
    error = await refused(hub)
    assert web.HTTPError in type(error).__mro__
    assert "SpawnException" not in [base.__name__ for base in type(error).__mro__]
    assert error.status_code == 500
    assert "hub_ip" in message(error)
