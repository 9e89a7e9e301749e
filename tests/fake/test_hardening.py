"""A hardened start as JupyterHub drives it: what counts last, what is refused, what is told."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from support.driving import MakeHub, message, refused
from support.fake_engine import FakeEngine
from support.stub_hub import of_server

HARDENED = {"CapDrop": ["ALL"], "SecurityOpt": ["no-new-privileges"], "PidsLimit": 512}


def told(spawner: Any) -> str:
    """All that the spawn page shows of a start."""
    return str([event["message"] for event in spawner._progress._events])


def host_config(fake: FakeEngine, server: str = "exp-1") -> dict[str, Any]:
    """HostConfig of a server's container."""
    (container,) = of_server(fake, server)
    return dict(container.host_config)


async def test_default(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Without a line of configuration; the Engine is asked once for its log driver, not by each."""
    hub = make_hub()
    await asyncio.gather(*(hub.spawn(f"exp-{n}") for n in range(3)))
    for n in range(3):
        found = host_config(fake, f"exp-{n}")
        assert found.items() >= HARDENED.items()
        assert found["LogConfig"]["Config"] == {"max-size": "10m", "max-file": "3"}
        assert "nofile" not in str(found["Ulimits"])
    assert sum(path.endswith("/info") for _, path in fake.requests) == 1


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_an_engine_that_does_not_tell(
    make_hub: MakeHub, fake: FakeEngine, status: int
) -> None:
    """Such as one behind a proxy that lets no GET /info through: servers start, without bounds."""
    fake.fault(status, "GET", "/info", times=9)
    await make_hub().spawn("exp-1")
    found = host_config(fake)
    assert found.items() >= HARDENED.items()
    assert "LogConfig" not in found


PRIVILEGED = {"privileged": True}


def by_hook(spawner: Any) -> None:
    """An admin's hook that goes too far."""
    spawner.extra_host_config = PRIVILEGED


@pytest.mark.parametrize(
    "settings",
    [
        {"extra_host_config": lambda spawner: PRIVILEGED},
        {"extra_create_kwargs": lambda spawner: {"host_config": {"Privileged": True}}},
        {"pre_spawn_hook": by_hook},
        {"auth_state_hook": lambda spawner, auth_state: by_hook(spawner)},
    ],
)
async def test_what_is_known_at_the_start_only(
    make_hub: MakeHub,
    fake: FakeEngine,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, Any],
) -> None:
    """Callables and hooks are judged before anything is made, and may be allowed like the rest.

    The user is told which setting it is, and the log says how to allow it.
    """
    hub = make_hub(**settings)
    assert re.search("extra_(host_config|create_kwargs)", message(await refused(hub)))
    assert "c.DockerNamedSpawner.allow_unsafe = [" in caplog.text
    assert (of_server(fake, "exp-1"), dict(fake.volumes)) == ([], {})
    await hub.restart(allow_unsafe=["privileged"], **settings)
    await hub.spawn("exp-1")
    assert host_config(fake)["Privileged"] is True


async def test_the_socket_of_this_engine(
    make_hub: MakeHub, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """A mount of the Engine's socket is refused at the start, by a template's field as well.

    So are the Engine's files, wherever it says that it keeps them.
    """
    files = ("/srv/fake-engine/volumes/bob/_data", "/srv")
    for source in ("/{raw_username}/../run/docker.sock", "/proc/self/root/run", *files):
        hub = make_hub(volumes={source: "/s"})
        caplog.clear()
        assert "volumes" in message(await refused(hub))
        assert "engine-socket" in caplog.text


async def test_grant_sudo(make_hub: MakeHub, fake: FakeEngine) -> None:
    """The log and the progress say why it does nothing, and which line lets it work."""
    del fake
    hub = make_hub(environment={"GRANT_SUDO": "yes"})
    spawner = await hub.spawn("exp-1")
    assert "allow_privilege_escalation = True" in told(spawner)
    await hub.restart(environment={"GRANT_SUDO": "yes"}, allow_privilege_escalation=True)
    spawner = await hub.spawn("exp-2")
    assert "allow_privilege_escalation" not in told(spawner)


async def test_strict_needs_a_network_without_a_way_out(
    make_hub: MakeHub, fake: FakeEngine
) -> None:
    """The default bridge has one: the refusal has the command, and the setting that allows it."""
    error = message(await refused(make_hub(hardening="strict")))
    assert "docker network create --internal" in error
    assert "internal_network = False" in error
    assert of_server(fake, "exp-1") == []
    await make_hub(hardening="strict", internal_network=False).spawn("exp-1")
    assert host_config(fake)["ReadonlyRootfs"] is True


async def test_a_kept_container_of_before(make_hub: MakeHub, fake: FakeEngine) -> None:
    """It is replaced, with its volumes mounted again; one that runs is left alone."""
    hub = make_hub(remove=False, hardening="off")
    await hub.spawn("exp-1")
    await hub.spawn("exp-2")
    await hub.stop("exp-1")
    (kept,), (running,) = of_server(fake, "exp-1"), of_server(fake, "exp-2")
    await hub.restart(remove=False, hardening="default")
    assert await hub.spawner("exp-2").poll() is None
    assert [one.id for one in of_server(fake, "exp-2")] == [running.id]
    await hub.spawn("exp-1")
    (now,) = of_server(fake, "exp-1")
    assert now.id != kept.id
    mounted = [[m.get("Source") for m in one.host_config["Mounts"]] for one in (kept, now)]
    assert mounted[0] == mounted[1] != []
    # From now on it is as wanted again.
    await hub.stop("exp-1")
    await hub.spawn("exp-1")
    assert [one.id for one in of_server(fake, "exp-1")] == [now.id]


async def test_limits_by_a_profile_within_bounds(make_hub: MakeHub, fake: FakeEngine) -> None:
    """A number that a user may choose goes into the limits; one beyond its bounds is refused."""
    override = {
        "shm_size": "{value}M",
        "pids_limit": "{value}",
        "storage_opt": {"size": "{value}G"},
        "devices": ["/dev/fuse"],
        "mem_guarantee": "{value}M",
        "mem_limit": "{value}G",
        "memswap_limit": "{value}G",
        "ulimits": [{"name": "nofile", "soft": "{value}", "hard": "{value}"}],
    }
    number = {"min": 64, "max": 128, "step": 1, "spawner_override": override}
    hub = make_hub(common_options={"n": {"display_name": "N", "number": number}})
    assert (await refused(hub, options={"n": 129})).status_code == 400
    await hub.spawn("exp-1", options={"n": 64})
    found = host_config(fake)
    assert found["ShmSize"] == 64 << 20
    assert found["PidsLimit"] == 64
    assert found["StorageOpt"] == {"size": "64G"}
    assert found["Devices"][0]["PathOnHost"] == "/dev/fuse"
    assert found["MemoryReservation"] == 64 << 20
    assert found["Memory"] == found["MemorySwap"] == 64 << 30
    assert {"Name": "nofile", "Soft": 64, "Hard": 64} in found["Ulimits"]
