"""What all spawners of a Hub share on one Engine."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.engine.watching import eventually
from support.fake_engine import FakeEngine
from support.stage import IMAGE, INSPECT, QUICK

from dockernamed.engine.client import Connection
from dockernamed.errors import ConfigError, EngineFailed, EngineUnavailable
from dockernamed.lifecycle import runtime as runtime_module
from dockernamed.lifecycle.credentials import credentials_for
from dockernamed.lifecycle.runtime import Runtime
from dockernamed.timings import DEFAULT

LOG = logging.getLogger("hub")


@pytest.fixture
async def runtime(fake: FakeEngine) -> AsyncIterator[Runtime]:
    """One on the fake Engine."""
    runtime = Runtime.shared(Connection(fake.url), "hub-1", LOG, timings=QUICK)
    yield runtime
    await runtime.close()


async def test_shared(runtime: Runtime, fake: FakeEngine) -> None:
    """One watcher and one connection a Hub and Engine, however many spawners ask."""
    assert Runtime.shared(Connection(fake.url), "hub-1", LOG, workers=3) is runtime
    for other in (
        Runtime.shared(Connection(fake.url), "hub-2", LOG),
        Runtime.shared(Connection(fake.url, timeout=30), "hub-1", LOG),
    ):
        assert other is not runtime
        await other.close()


async def test_closed(runtime: Runtime, fake: FakeEngine) -> None:
    """Nobody is given one that is closed."""
    await runtime.close()
    another = Runtime.shared(Connection(fake.url), "hub-1", LOG)
    assert another is not runtime
    await another.close()


async def test_it_watches_at_once(runtime: Runtime) -> None:
    """Whoever makes it need not start anything."""
    await asyncio.wait_for(runtime.watcher.in_sync(), 30)
    await runtime.close()
    assert not runtime.watcher.connected


async def test_a_hub_that_ends(runtime: Runtime, fake: FakeEngine) -> None:
    """JupyterHub cancels all tasks at its end: that closes what is open, without a word."""
    await asyncio.wait_for(runtime.watcher.in_sync(), 30)
    assert fake.connections > 0
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await eventually(lambda: fake.connections == 0)
    with pytest.raises(EngineUnavailable, match="closed"):
        await runtime.engine.version()


async def test_what_we_log_is_in_the_hubs_log(runtime: Runtime) -> None:
    """The package's own loggers hand on to JupyterHub's, with its format and its level."""
    assert logging.getLogger("dockernamed").parent is LOG
    assert logging.getLogger("dockernamed.watcher").parent is logging.getLogger("dockernamed")


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("unix:///var/run/docker.sock", True),
        ("npipe:////./pipe/docker_engine", True),
        ("tcp://10.0.0.5:2376", False),
        ("https://engine.example", False),
        ("ssh://root@engine.example", False),
    ],
)
async def test_where_the_engine_is(
    runtime: Runtime, url: str, local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a local Engine's networks are this host's."""
    monkeypatch.setattr(type(runtime.engine), "base_url", url)
    assert runtime.engine_is_local is local


# --- networks ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("known_for", "asked"), [(DEFAULT.network_facts, 1), (0.0, 3)])
async def test_a_burst_of_starts_asks_once(fake: FakeEngine, known_for: float, asked: int) -> None:
    """What is known of a network is asked again after a while, not at each start."""
    timings = replace(QUICK, network_facts=known_for)
    runtime = Runtime.shared(Connection(fake.url), "hub-1", LOG, timings=timings)
    for _ in range(3):
        assert (await runtime.network("bridge"))["Name"] == "bridge"
    assert fake.count("GET", "/networks/bridge") == asked
    await runtime.close()


async def test_no_such_network(runtime: Runtime, fake: FakeEngine) -> None:
    """The error names the setting, and the command that would make it."""
    for _ in range(2):
        with pytest.raises(ConfigError, match="docker network create lab-net") as refused:
            await runtime.network("lab-net")
        assert refused.value.field == "network_name"
    fake.add_network("lab-net")
    assert (await runtime.network("lab-net"))["Name"] == "lab-net"


# --- the Hub's own container -------------------------------------------------------------------


def in_container(container_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process look as if it ran in a container."""
    where = tmp_path / "mountinfo"
    root = f"/var/lib/docker/containers/{container_id}/hostname"
    where.write_text(f"1 2 0:1 {root} /etc/hostname rw - ext4 /dev/sda rw\n")
    monkeypatch.setattr(runtime_module, "MOUNTINFO", where)


async def test_hub_on_the_host(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a host without a container nor one without /proc has one."""
    (tmp_path / "mountinfo").write_text("1 2 0:1 / / rw - ext4 /dev/sda rw\n")
    monkeypatch.setattr(runtime_module, "MOUNTINFO", tmp_path / "mountinfo")
    assert await runtime.hub_container() is None


async def test_hub_without_proc(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is no such file, the Hub is in no container."""
    monkeypatch.setattr(runtime_module, "MOUNTINFO", tmp_path / "nowhere")
    assert await runtime.hub_container() is None


async def test_hub_in_a_container(
    runtime: Runtime, fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked up once; a failed look is not remembered."""
    container_id = await runtime.engine.create_container("hub", {"Image": IMAGE})
    in_container(container_id, tmp_path, monkeypatch)
    fake.fault(500, *INSPECT)
    with pytest.raises(EngineFailed):
        await runtime.hub_container()
    for _ in range(3):
        found = await runtime.hub_container()
        assert found is not None
        assert found["Id"] == container_id
    assert fake.count("GET", f"/containers/{container_id}/json") == 2


async def test_hub_in_another_engines_container(
    runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container that the servers' Engine does not know has nothing to do with them."""
    in_container("f" * 64, tmp_path, monkeypatch)
    assert await runtime.hub_container() is None


async def test_one_of_many_who_ask_is_cancelled(
    runtime: Runtime, fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others get their answer all the same."""
    container_id = await runtime.engine.create_container("hub", {"Image": IMAGE})
    in_container(container_id, tmp_path, monkeypatch)
    stalled = fake.fault("stall", *INSPECT)
    first, second = (asyncio.ensure_future(runtime.hub_container()) for _ in range(2))
    assert await asyncio.to_thread(stalled.reached.wait, 30)
    first.cancel()
    stalled.release()
    found = await second
    assert found is not None
    assert found["Id"] == container_id


# --- credentials -------------------------------------------------------------------------------

LOGIN = {"username": "hub", "password": "secret"}
PRIVATE = "registry.example:5000/lab:1"


async def later(spawner: object) -> dict[str, Any]:
    """A callable setting that is async."""
    return {"registry.example:5000": LOGIN}


@pytest.mark.parametrize(
    "setting", [{"registry.example:5000": LOGIN}, lambda spawner: {"registry.example:5000": LOGIN},
                later],
)  # fmt: skip
async def test_credentials(setting: Any) -> None:
    """A dict, or a callable that gives one and may be async; each registry gets its own."""
    assert await credentials_for(PRIVATE, setting, None) == LOGIN
    assert await credentials_for("quay.io/lab", setting, None) is None


@pytest.mark.parametrize("setting", [{}, "", lambda spawner: None])
async def test_no_credentials(setting: Any) -> None:
    """None at all: the Docker client's own configuration is looked into."""
    assert await credentials_for(PRIVATE, setting, None) is None


async def test_credentials_from_a_file(tmp_path: Path) -> None:
    """Read at each pull, so that it may be renewed while the Hub runs."""
    file = tmp_path / "credentials.json"
    for password in ("old", "new"):
        file.write_text(json.dumps({"registry.example:5000": {**LOGIN, "password": password}}))
        found = await credentials_for(PRIVATE, str(file), None)
        assert found is not None
        assert found["password"] == password


async def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """The error names the setting and the path."""
    with pytest.raises(ConfigError, match=r"registry_credentials.*nowhere.*No such file"):
        await credentials_for(PRIVATE, str(tmp_path / "nowhere"), None)
    (tmp_path / "latin").write_bytes(b'{"ann": "\xff"}')
    with pytest.raises(ConfigError, match=r"registry_credentials.*latin.*UTF-8"):
        await credentials_for(PRIVATE, str(tmp_path / "latin"), None)
