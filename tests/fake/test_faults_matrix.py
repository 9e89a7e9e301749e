"""Every call that the Engine is asked in a server's life, every fault at it, then recovery.

Whatever breaks, and whether or not the Engine had done its work by then, afterwards:

- the Engine has at most one container or service of the server, none of a start that failed, no
  secret or network that nothing uses, and every volume that was there before, untouched;
- the Hub got an error in words, or none; it thinks of the server what is so; and the server can be
  started, stopped and deleted as ever.

With ``DOCKERNAMED_ALL_FAULTS=1`` each kind of fault strikes at each call.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from aiohttp import web as http
from support.engine.watching import eventually
from support.estate import Estate, estate_of
from support.fake_engine import Behaviour, FakeEngine, Fault
from support.fake_engine.faults import Handler
from support.operations import (
    OPERATIONS,
    SERVER,
    SERVICE_OPERATIONS,
    Operation,
    keep_house,
    nothing,
    start,
)
from support.stage import (
    CONFIG_CREATE,
    EVENTS,
    QUICK,
    VOLUME_CREATE,
    Late,
    give_up_soon,
    reached,
)
from support.stub_hub import Hub, runtime, runtimes
from tornado import web

from dockernamed.backends.rollback import Rollback
from dockernamed.errors import EngineError

FAULTS = ("down", "reset", "lost", 500, "garbage", "late", "hung")
#: At containers the Hub is killed in `test_lives`.
ALL = (*FAULTS, "killed")
#: Over services a life takes three times as many requests, so that not all is done at each call:
#: the executor, which has to come to terms with it, is that of containers.
AT_READING, AT_WRITING = ("hung", 500, "down", "reset"), ("killed", "lost", "late")
#: What is removed along with something else is left if only that is gone.
AT_REMOVING = ("killed", "lost", 500, "late")


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


def cases() -> list[Any]:
    """Operation, call, how many such calls come before, and kind of fault."""
    return [
        pytest.param(
            operation, call, operation.calls[:number].count(call), kind,
            id=f"{operation.name}-{number}: {call[0]} {call[1]}-{kind}",
        )
        for operation in (*OPERATIONS, *SERVICE_OPERATIONS)
        for number, call in enumerate(operation.calls)
        for kind in faults(operation, call, number)
    ]  # fmt: skip


def faults(operation: Operation, call: tuple[str, str], number: int) -> Sequence[str | int]:
    """The kinds of faults at a call, the number-th of an operation."""
    if "DOCKERNAMED_ALL_FAULTS" in os.environ:
        return ALL
    if not operation.swarm:
        return FAULTS
    if call[0] == "GET":
        return AT_READING[number % len(AT_READING) :][:1]
    if call[0] == "DELETE":
        return AT_REMOVING[number % len(AT_REMOVING) :][:1]
    if operation.before is nothing:
        return AT_WRITING
    return AT_WRITING[number % len(AT_WRITING) :][:1]


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


async def quiet(fault: Fault) -> None:
    """Wait until nothing is under way any more, here or at the Engine."""
    if isinstance(fault, Late) and fault.path != EVENTS[1]:
        await eventually(lambda: fault.done)
    for rooms in runtimes():
        await asyncio.wait_for(rooms.watcher.in_sync(), 30)
        await eventually(partial(_all_in_doubt, rooms.backend.rollback))


def _all_in_doubt(rollback: Rollback) -> bool:
    return all(made.in_doubt or made.start_in_doubt for made in rollback.starts)


def arm(
    kind: str | int, fake: FakeEngine, call: tuple[str, str], passing: int, patch: Any
) -> Fault:
    """Have a fault strike at such a call, after as many as are passed by."""
    if kind == "down":
        fault: Fault = Down(fake, *call)
    elif kind in ("late", "killed"):
        fault = Late("stall", *call)
    else:
        fault = Fault("stall after" if kind == "hung" else kind, *call)
    fault.passing = passing
    if kind in ("late", "hung"):
        give_up_soon(patch, fault)
    fake.gate.faults.append(fault)
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
    await meeting  # it may strike a call that nobody waits for
    assert fault.hits == 1
    fault.release()
    return doing.exception()  # type: ignore[return-value]


@pytest.mark.parametrize(("operation", "call", "passing", "kind"), cases())
async def test_fault(
    make_hub: Callable[..., Hub],
    fake: FakeEngine,
    monkeypatch: pytest.MonkeyPatch,
    operation: Operation,
    call: tuple[str, str],
    passing: int,
    kind: str | int,
) -> None:
    """See the module's docstring."""
    hub, estate = hub_for(operation, make_hub, fake)
    await operation.before(hub, fake)
    before = estate.volumes()
    older = {one.id for one in estate.of_server(SERVER)}
    others = {one.id for one in estate.things()} - older

    fault = arm(kind, fake, call, passing, monkeypatch)
    if kind == "killed":
        await run_and_kill(operation, hub, fake, fault)
        await all_is_well(hub, fake, estate)
    else:
        error = await run(operation, hub, fake, fault)
        await quiet(fault)
        if operation.do is keep_house:
            assert error is None or isinstance(error, EngineError), repr(error)
            await keep_house(hub, fake)  # what is left is for the next round
            error = None
        if error is not None:
            assert operation.do is start, f"only a start may fail: {error!r}"
            assert isinstance(error, web.HTTPError), repr(error)
            assert getattr(error, "jupyterhub_message", "")
            await eventually(lambda: {one.id for one in estate.of_server(SERVER)} <= older)
            await eventually(lambda: not estate.running())
            # A volume that was made too late to be taken back is this server's, and its next
            # start's.
            late_volume = kind == "late" and call in (VOLUME_CREATE, CONFIG_CREATE)
            await eventually(lambda: late_volume or estate.volumes() == before)
            await eventually(lambda: not _is_seen_running(SERVER))
            assert await hub.spawner(SERVER).poll() is not None
        else:
            assert operation.leaves != "failed"
            await is_as_it_should_be(operation, hub, estate, before)
        assert estate.volumes().items() >= before.items() or operation.leaves == "deleted"
        if kind == "late":
            # No start can take back what is made when it is long over.
            await keep_house(hub, fake)
        await eventually(lambda: not estate.leftovers())
    await live_on(hub, fake, estate, {} if operation.leaves == "deleted" else before)
    assert {one.id for one in estate.things()} == others


def _is_seen_running(server: str) -> bool:
    """By the table, which events may not have told yet of what has just ended."""
    return any(one.running for one in runtime().watcher.records() if one.server == server)


def hub_for(
    operation: Operation, make_hub: Callable[..., Hub], fake: FakeEngine
) -> tuple[Hub, Estate]:
    """The Hub of an operation, and what there is of its servers."""
    if operation.swarm:
        fake.init_swarm()
    timings = replace(QUICK, stream_opens=0.05)
    hub = make_hub(timings=timings, swarm=operation.swarm, **operation.settings)
    return hub, estate_of(fake, swarm=operation.swarm)


async def is_as_it_should_be(
    operation: Operation, hub: Hub, estate: Estate, before: Mapping[str, Any]
) -> None:
    """After an operation that was successful."""
    if operation.leaves == "running":
        (thing,) = estate.of_server(SERVER)
        assert thing.processes == 1
        spawner = hub.spawner(SERVER)
        assert await spawner.poll() is None
        assert spawner.server.url.startswith(await spawner.get_url())
    elif operation.leaves == "stopped":
        assert not estate.running()
        assert estate.volumes() == before
    else:
        assert (estate.of_server(SERVER), estate.volumes()) == ([], {})


async def run_and_kill(operation: Operation, hub: Hub, fake: FakeEngine, fault: Fault) -> None:
    """Do it, kill the Hub at a call, which is done all the same; and start the Hub."""
    doing = asyncio.ensure_future(operation.do(hub, fake))
    await reached(fault)
    await hub.kill()
    await asyncio.wait({doing})
    assert isinstance(fault, Late)
    fault.release()
    await eventually(lambda: fault.done)


async def all_is_well(hub: Hub, fake: FakeEngine, estate: Estate) -> None:
    """A Hub that has just started: it knows what there is, or takes it away.

    A Swarm may still be about to do what it was asked for, and the Hub would be told later.
    """
    await eventually(lambda: not estate.changing())
    spawner = hub.spawner(SERVER)
    if spawner.server is not None and await spawner.poll() is not None:
        await hub.stop(SERVER)
    await keep_house(hub, fake)
    active = bool(hub.spawner(SERVER).active)
    running = [one.processes for one in estate.of_server(SERVER) if one.processes]
    assert running == [1] * active
    assert estate.running() == [one.name for one in estate.of_server(SERVER)] * active
    assert active or hub.spawner(SERVER).server is None
    await eventually(lambda: not estate.leftovers())


async def live_on(hub: Hub, fake: FakeEngine, estate: Estate, before: Mapping[str, Any]) -> None:
    """A whole life more, without a fault; nothing is left of the server afterwards."""
    fake.behave(Behaviour())
    if not hub.spawner(SERVER).active:
        await hub.spawn(SERVER)
    (thing,) = estate.of_server(SERVER)
    assert thing.processes == 1
    assert estate.volumes().items() >= before.items()
    await hub.stop(SERVER)
    await hub.delete(SERVER)
    assert estate.of_server(SERVER) == []
    left = estate.volumes().values()
    assert not [labels for labels in left if labels.get("dockernamed.server") == SERVER]
    assert not estate.leftovers()


@pytest.mark.parametrize(
    "operation", [*OPERATIONS, *SERVICE_OPERATIONS], ids=lambda operation: operation.name
)
async def test_the_matrix_knows_every_call(
    make_hub: Callable[..., Hub], fake: FakeEngine, operation: Operation
) -> None:
    """An operation asks the Engine for what the table lists, and for nothing else."""
    hub, _ = hub_for(operation, make_hub, fake)
    await operation.before(hub, fake)
    done = len(fake.requests)
    try:
        await operation.do(hub, fake)
    except web.HTTPError:
        assert operation.leaves == "failed"
    asked = fake.requests[done:]
    assert others_than([*operation.calls, *operation.also], asked) == set()
