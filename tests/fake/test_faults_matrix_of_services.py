"""What a Swarm's manager is asked in a server's life, faults and ends of the Hub at it, recovery.

As `test_faults_matrix`, which has the kinds of faults that are the transport's alone. Whatever
breaks, and whether or not the manager had done its work by then, afterwards:

- there is at most one service of the server, none of a start that failed, no secret that no service
  has, and no network without a server;
- the Hub got an error in words, or none; it thinks of the server what is so; and the server can be
  started, stopped and deleted as ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import pytest
from support.fake_engine import Behaviour, FakeEngine, Fault
from support.fake_engine.swarm_control import FakeSwarm
from support.operations import (
    SERVER,
    Step,
    come_up,
    delete,
    dies,
    nothing,
    ran,
    runs,
    start,
    stop,
    stop_now,
)
from support.stage import QUICK, Late, eventually, give_up_soon, reached
from support.stub_hub import Hub, runtimes
from tornado import web

from dockernamed.backends.rollback import Rollback
from dockernamed.lifecycle.orphans import KnownServer, OrphanReaper

LOG = logging.getLogger("test")

FAULTS = ["lost", 500, "late"]
ONE = "/[^/]+"


@dataclass(frozen=True)
class Call:
    """A call to the manager.

    Attributes:
        method: of HTTP.
        path: expression that the path matches.
        after: how many such calls come before.
    """

    method: str
    path: str
    after: int = 0

    def __str__(self) -> str:
        return f"{self.method} {self.path.replace(ONE, '/*')}{' again' * self.after}"


class AfterSome(Fault):
    """Strikes when such a call has come some times."""

    skip = 0

    def matches(self, method: str, path: str) -> bool:
        """See `Fault`."""
        if not super().matches(method, path):
            return False
        self.skip -= 1
        return self.skip < 0


class Once(AfterSome):
    """Says once of a call that it is the one; its hits are nobody else's."""

    def matches(self, method: str, path: str) -> bool:
        """See `Fault`."""
        meant = super().matches(method, path)
        self.hits += meant
        return meant


class LateAfterSome(AfterSome, Late):
    """The same, for a call that is done late."""


NODES, NODE = Call("GET", "/nodes"), Call("GET", f"/nodes{ONE}")
SERVICES, TASKS = Call("GET", "/services"), Call("GET", "/tasks")
CREATE, SERVICE = Call("POST", "/services/create"), Call("GET", f"/services{ONE}")
UPDATE = Call("POST", f"/services{ONE}/update")
REMOVE = Call("DELETE", f"/services{ONE}")
SECRET, SECRETS = Call("POST", "/secrets/create"), Call("GET", "/secrets")
REMOVE_SECRET = Call("DELETE", f"/secrets{ONE}")
CONFIG, CONFIGS = Call("POST", "/configs/create"), Call("GET", "/configs")
LOOK_AT_CONFIG, REMOVE_CONFIG = Call("GET", f"/configs{ONE}"), Call("DELETE", f"/configs{ONE}")
NOTE = Call("POST", f"/configs{ONE}/update")
NETWORK, LOOK_AT_NETWORK = Call("POST", "/networks/create"), Call("GET", f"/networks{ONE}")
REMOVE_NETWORK = Call("DELETE", f"/networks{ONE}")
LOGS = Call("GET", f"/tasks{ONE}/logs")


@dataclass(frozen=True)
class Operation:
    """One thing that is done to a server; as `support.operations.Operation`."""

    name: str
    before: Step
    do: Step
    calls: Sequence[Call]
    leaves: str
    settings: dict[str, Any] = field(default_factory=dict)


SCALE = replace(UPDATE, after=1)
KEPT = {"remove": False}
OPERATIONS = (
    Operation("first start", nothing, start,
              (NODES, SERVICES, TASKS, NETWORK, LOOK_AT_CONFIG, CONFIG, CREATE, SERVICE, SECRET,
               UPDATE, SCALE, NOTE, replace(NOTE, after=1)), "running"),
    Operation("later start", ran, start, (LOOK_AT_NETWORK, NODE, CREATE, UPDATE, SCALE), "running"),
    Operation("start of a kept service", ran, start, (SECRET, UPDATE, SECRETS, SCALE), "running",
              KEPT),
    Operation("start that dies", dies, start,
              (LOGS, REMOVE, SECRETS, REMOVE_SECRET, REMOVE_CONFIG, REMOVE_NETWORK), "failed"),
    Operation("stop", runs, stop, (SERVICE, UPDATE, SECRETS, REMOVE_SECRET, TASKS, REMOVE,
              REMOVE_NETWORK), "stopped"),
    Operation("stop now", runs, stop_now, (UPDATE, REMOVE), "stopped"),
    Operation("stop and keep", runs, stop, (UPDATE, REMOVE_SECRET), "stopped", KEPT),
    Operation("delete", ran, delete, (REMOVE, REMOVE_NETWORK, CONFIGS, NOTE, CREATE, REMOVE_CONFIG),
              "deleted", KEPT),
    Operation("Hub start", runs, come_up, (NODES, SERVICES, TASKS), "running"),
)  # fmt: skip
CASES = [
    pytest.param(operation, call, kind, id=f"{operation.name}-{call}-{kind}")
    for operation in OPERATIONS
    for call in operation.calls
    for kind in FAULTS
]
KILLS = [
    pytest.param(operation, call, id=f"{operation.name}-{call}")
    for operation in OPERATIONS
    for call in operation.calls
    if operation.do is not come_up and call.method != "GET"
]


@pytest.fixture
def swarm(fake: FakeEngine) -> FakeSwarm:
    """A Swarm of two nodes, of which the other one runs all that runs."""
    swarm = fake.init_swarm(2)
    swarm.change("node-1", availability="drain")
    return swarm


def arm(kind: str | int, fake: FakeEngine, call: Call) -> AfterSome:
    """Have a fault strike at that call."""
    late = kind == "late"
    made = (LateAfterSome if late else AfterSome)("stall" if late else kind, call.method, call.path)
    made.skip = call.after
    fake.gate.faults.append(made)
    return made


def left(swarm: FakeSwarm, fake: FakeEngine) -> list[str]:
    """What stands for no server: secrets that no service has, networks and services too many."""
    services = swarm.services.values()
    used = {
        one["SecretID"]
        for service in services
        for one in service["Spec"]["TaskTemplate"]["ContainerSpec"].get("Secrets") or ()
    }
    found = [name for name, one in swarm.secrets.items() if one["ID"] not in used]
    networks = [name for name in fake.networks if "---" in name]
    found += networks if not services else []
    names = [name for name in swarm.services if "ann" in name]
    return found + (names if len(names) > 1 else [])


def running(swarm: FakeSwarm) -> list[str]:
    """The containers that run."""
    return [one.name for one in swarm.containers("node-2") if one.running]


async def settled(hub: Hub, swarm: FakeSwarm, fake: FakeEngine) -> None:
    """Wait until nothing is under way, and the Hub has kept house as it does now and then."""
    for rooms in runtimes():
        await asyncio.wait_for(rooms.watcher.in_sync(), 30)
        await eventually(partial(_all_in_doubt, rooms.backend.rollback))
        one = hub.spawner(SERVER)
        runs_on = bool(one.object_id) and await one.poll() is None
        known = KnownServer("ann", SERVER, runs_on, one.object_id, None, one._state.made)
        reaper = OrphanReaper(
            one.key.hub, rooms.watcher, rooms.backend, partial(list, [known]), keep=True,
            policy="remove", grace=0, stop_timeout=1, interval=0, log=LOG, timings=QUICK,
            networks=rooms.networks,
        )  # fmt: skip
        await reaper.round()
    await eventually(lambda: not left(swarm, fake))


def _all_in_doubt(rollback: Rollback) -> bool:
    return all(made.in_doubt or made.start_in_doubt for made in rollback.starts)


async def stopped(hub: Hub, swarm: FakeSwarm) -> None:
    """Wait until nothing runs, and the Hub knows: what was started late is stopped again."""
    while running(swarm) or await hub.spawner(SERVER).poll() is None:  # noqa: ASYNC110
        await asyncio.sleep(0.005)


async def a_life_more(hub: Hub, swarm: FakeSwarm, fake: FakeEngine) -> None:
    """The server can be started, stopped and deleted, and leaves nothing."""
    fake.behave(Behaviour())
    if not hub.spawner(SERVER).active:
        await hub.spawn(SERVER)
    await eventually(lambda: len(running(swarm)) == 1)
    assert len(swarm.services) == 1
    await hub.stop(SERVER)
    await eventually(lambda: not running(swarm))
    await hub.delete(SERVER)
    await settled(hub, swarm, fake)
    await eventually(lambda: not swarm.services)
    assert swarm.secrets == {}
    labels = [one["Spec"]["Labels"] for one in swarm.configs.values()]
    assert [one for one in labels if one.get("dockernamed.server") == SERVER] == []


@pytest.mark.parametrize(("operation", "call", "kind"), CASES)
async def test_fault(
    make_hub: Callable[..., Hub],
    fake: FakeEngine,
    swarm: FakeSwarm,
    monkeypatch: pytest.MonkeyPatch,
    operation: Operation,
    call: Call,
    kind: str | int,
) -> None:
    """See the module's docstring."""
    hub = make_hub(swarm=True, timings=replace(QUICK, stream_opens=0.05), **operation.settings)
    await operation.before(hub, fake)
    fault = arm(kind, fake, call)
    if kind == "late":
        # Of several such calls it is not known which one the fault will meet.
        asked = Once(kind, call.method, call.path, reached=fault.reached)
        asked.skip = call.after
        give_up_soon(monkeypatch, asked if call.after else fault)
    doing = asyncio.ensure_future(operation.do(hub, fake))
    await asyncio.wait({doing})
    await reached(fault)
    fault.release()
    if isinstance(fault, Late):
        await eventually(lambda: fault.done)
    error = doing.exception()
    if error is not None:
        assert operation.do is start, f"only a start may fail: {error!r}"
        assert isinstance(error, web.HTTPError), repr(error)
        assert getattr(error, "jupyterhub_message", "")
    await settled(hub, swarm, fake)
    if error is not None:
        await asyncio.wait_for(stopped(hub, swarm), 30)
        await eventually(lambda: operation.settings or not swarm.services)
    elif operation.leaves == "running":
        assert len(running(swarm)) == len(swarm.services) == 1
        spawner = hub.spawner(SERVER)
        assert await spawner.poll() is None
        assert spawner.server.url.startswith(await spawner.get_url())
    else:
        assert operation.leaves != "failed"
        await eventually(lambda: not running(swarm))
    await a_life_more(hub, swarm, fake)


@pytest.mark.parametrize(("operation", "call"), KILLS)
async def test_kill_9(
    make_hub: Callable[..., Hub],
    fake: FakeEngine,
    swarm: FakeSwarm,
    operation: Operation,
    call: Call,
) -> None:
    """The Hub is killed in the middle of the call, which is done when the next Hub runs: a server
    that runs is found, and can be started in any case; of all else nothing is left.
    """
    hub = make_hub(swarm=True, timings=replace(QUICK, stream_opens=0.05), **operation.settings)
    await operation.before(hub, fake)
    fault = arm("late", fake, call)
    doing = asyncio.ensure_future(operation.do(hub, fake))
    await reached(fault)
    await hub.kill()
    assert doing.done()
    fault.release()
    await eventually(lambda: isinstance(fault, Late) and fault.done)
    fake.behave(Behaviour())
    spawner = hub.spawner(SERVER)
    runs_on = await spawner.poll() is None
    await eventually(lambda: bool(running(swarm)) is runs_on)
    if runs_on:
        await hub.stop(SERVER)
    await hub.spawn(SERVER)
    await settled(hub, swarm, fake)
    await a_life_more(hub, swarm, fake)
