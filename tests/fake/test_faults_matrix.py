"""Every call that the Engine is asked in a server's life, every fault at it, then recovery.

Whatever breaks, and whether or not the Engine had done its work by then, afterwards:

- the Engine has at most one container of the server, none of a start that failed, and every volume
  that was there before, untouched;
- the Hub got an error in words, or none; it thinks of the server what is so; and the server can be
  started, stopped and deleted as ever.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aiohttp import web as http
from support.fake_engine import Behaviour, FakeEngine, Fault
from support.fake_engine.faults import Handler
from support.operations import OPERATIONS, SERVER, Operation, start
from support.stage import (
    EVENTS,
    QUICK,
    VOLUME_CREATE,
    Late,
    eventually,
    give_up_soon,
    late,
    reached,
    running,
)
from support.stub_hub import Hub, of_server, runtimes
from tornado import web

from dockernamed.backends.rollback import Rollback

FAULTS = ["down", "reset", "lost", 500, "garbage", "late", "hung"]


class Down(Fault):
    """The Engine goes away when it is asked, and does nothing of what it was asked for."""

    def __init__(self, fake: FakeEngine, method: str, path: str) -> None:
        super().__init__("down", method, path)
        self._fake = fake

    async def strike(self, request: http.Request, handler: Handler) -> http.StreamResponse:
        """See `Fault`."""
        self.hits += 1
        await self._fake._down()
        self.reached.set()
        return http.Response()


CASES = [
    pytest.param(operation, call, kind, id=f"{operation.name}-{call[0]} {call[1]}-{kind}")
    for operation in OPERATIONS
    for call in operation.calls
    for kind in FAULTS
]


# --- what must be so ---------------------------------------------------------------------------


def others_than(
    calls: list[tuple[str, str]], requests: list[tuple[str, str]]
) -> set[tuple[str, str]]:
    """The requests that no call of the list stands for."""
    return {
        (method, path)
        for method, path in requests
        if not any(method == one and re.fullmatch(expression, path) for one, expression in calls)
    }


def volumes(fake: FakeEngine) -> dict[str, Any]:
    """All volumes with their labels: one that was made anew has others."""
    return {name: volume["Labels"] for name, volume in fake.volumes.items()}


async def quiet(fault: Fault) -> None:
    """Wait until nothing is under way any more, here or at the Engine."""
    if isinstance(fault, Late) and fault.path != EVENTS[1]:
        await eventually(lambda: fault.done)
    for rooms in runtimes():
        await asyncio.wait_for(rooms.watcher.in_sync(), 30)
        await eventually(partial(_all_in_doubt, rooms.backend.rollback))


def _all_in_doubt(rollback: Rollback) -> bool:
    return all(made.in_doubt or made.start_in_doubt for made in rollback.starts)


def arm(kind: str | int, fake: FakeEngine, call: tuple[str, str], patch: Any) -> Fault:
    """Have a fault strike at the next such call."""
    if kind == "down":
        fault: Fault = Down(fake, *call)
        fake.gate.faults.append(fault)
    elif kind == "late":
        fault = late(fake, *call)
        give_up_soon(patch, fault)
    elif kind == "hung":
        fault = fake.fault("stall after", *call)
        give_up_soon(patch, fault)
    else:
        fault = fake.fault(kind, *call)
    return fault


async def run(operation: Operation, hub: Hub, fake: FakeEngine, fault: Fault) -> Exception | None:
    """Do it, with the Engine back in time where it went; what it raised, if anything."""
    doing = asyncio.ensure_future(operation.do(hub, fake))
    meeting = asyncio.ensure_future(reached(fault))
    await asyncio.wait({doing, meeting}, return_when=asyncio.FIRST_COMPLETED)
    if isinstance(fault, Down):
        await meeting
        fake.up()
    await asyncio.wait({doing})
    assert fault.hits == 1, "the fault did not strike"
    await meeting
    fault.release()
    return doing.exception()  # type: ignore[return-value]


@pytest.mark.parametrize(("operation", "call", "kind"), CASES)
async def test_fault(
    make_hub: Callable[..., Hub],
    fake: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    operation: Operation,
    call: tuple[str, str],
    kind: str | int,
) -> None:
    """See the module's docstring."""
    hub = make_hub(timings=replace(QUICK, stream_opens=0.05), **operation.settings)
    await operation.before(hub, fake)
    before = volumes(fake)
    older = {one.id for one in of_server(fake, SERVER)}
    others = {one.id for one in fake.containers} - older

    fault = arm(kind, fake, call, monkeypatch)
    error = await run(operation, hub, fake, fault)
    await quiet(fault)

    started = operation.do is start
    if error is not None:
        assert started, f"only a start may fail: {error!r}"
        assert isinstance(error, web.HTTPError), repr(error)
        assert getattr(error, "jupyterhub_message", "")
        await eventually(lambda: {one.id for one in of_server(fake, SERVER)} <= older)
        await eventually(lambda: not running(fake))
        # A volume that was made too late to be taken back is this server's, and its next start's.
        late_volume = kind == "late" and call is VOLUME_CREATE
        await eventually(lambda: late_volume or volumes(fake) == before)
        assert volumes(fake).items() >= before.items()
        assert await hub.spawner(SERVER).poll() is not None
    elif operation.leaves == "running":
        (container,) = of_server(fake, SERVER)
        assert container.running
        spawner = hub.spawner(SERVER)
        assert await spawner.poll() is None
        assert spawner.server.url.startswith(await spawner.get_url())
        assert volumes(fake).items() >= before.items()
    elif operation.leaves == "stopped":
        assert not running(fake)
        assert volumes(fake) == before
    else:
        assert operation.leaves == "deleted"
        assert (of_server(fake, SERVER), fake.volumes) == ([], {})
    if operation.leaves == "failed":
        assert error is not None

    # And now without a fault: a whole life more.
    fake.behave(Behaviour())
    if not hub.spawner(SERVER).active:
        await hub.spawn(SERVER)
    (container,) = of_server(fake, SERVER)
    assert container.running
    if operation.leaves != "deleted":
        assert volumes(fake).items() >= before.items()
    await hub.stop(SERVER)
    await hub.delete(SERVER)
    assert of_server(fake, SERVER) == []
    left = volumes(fake)
    assert {
        name for name, labels in left.items() if labels["dockernamed.server"] == SERVER
    } == set()
    assert {one.id for one in fake.containers} == others
    assert fake.anonymous_volumes.keys() <= others


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_the_matrix_knows_every_call(
    make_hub: Callable[..., Hub], fake: FakeEngine, operation: Operation
) -> None:
    """An operation asks the Engine for what the table lists, and for nothing else."""
    hub = make_hub(**operation.settings)
    await operation.before(hub, fake)
    done = len(fake.requests)
    try:
        await operation.do(hub, fake)
    except web.HTTPError:
        assert operation.leaves == "failed"
    asked = fake.requests[done:]
    assert others_than([*operation.calls, *operation.also], asked) == set()
