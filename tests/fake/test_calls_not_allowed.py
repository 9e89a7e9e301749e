"""A proxy that does not let a call through: what needs it names it, and all else goes on."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from support.driving import MakeHub, message, refused
from support.fake_engine import Behaviour, FakeEngine
from support.stage import IMAGE
from support.stub_hub import Hub

from dockernamed.engine.calls import CALLS, ApiCall
from dockernamed.errors import DockerNamedError

#: Those that one life of a server, from its first start until it is deleted, is made of.
USUAL = (
    ("GET", "/version"),
    ("GET", "/events"),
    ("GET", "/containers/json"),
    ("GET", "/containers/{id}/json"),
    ("POST", "/containers/create"),
    ("HEAD", "/containers/{id}/archive"),
    ("PUT", "/containers/{id}/archive"),
    ("POST", "/containers/{id}/start"),
    ("POST", "/containers/{id}/stop"),
    ("DELETE", "/containers/{id}"),
    ("GET", "/networks/{id}"),
    ("GET", "/images/{image}/json"),
    ("POST", "/volumes/create"),
)
NEEDED = [call for call in CALLS if (call.method, call.path) in USUAL]
LESS = [call for call in CALLS if call.lost]
NETWORK = next(call for call in CALLS if call.path == "/networks/create")
OWN_NETWORK: dict[str, Any] = {"network_isolation": "user", "network_name": ""}


def named(call: ApiCall) -> str:
    """A test's name."""
    return f"{call.method} {call.path}"


async def life(hub: Hub) -> None:
    """A server is started twice, stopped, and deleted."""
    for _ in range(2):
        await hub.spawn("exp-1")
        assert await hub.spawner("exp-1").poll() is None
        await hub.stop("exp-1")
    await hub.delete("exp-1")


def test_no_call_is_left_out() -> None:
    """All of the usual ones are listed."""
    assert len(NEEDED) == len(USUAL)


@pytest.mark.parametrize("call", NEEDED, ids=named)
async def test_what_is_needed(hub: Hub, fake: FakeEngine, call: ApiCall) -> None:
    """The message says which call is not allowed, what it is for, and where all are listed; it
    comes at once, since no waiting helps.
    """
    fault = fake.fault("forbidden", call.method, call.pattern, times=10**6)
    if call.path in ("/events", "/containers/json"):
        hub.spawner("exp-1").runtime(hub.spawner("exp-1").key.hub)
        await asyncio.to_thread(fault.reached.wait, 30)
    with pytest.raises(Exception, match=re.escape(named(call))) as caught:
        await asyncio.wait_for(life(hub), 30)
    error: Any = caught.value
    said = str(error) if isinstance(error, DockerNamedError) else message(error)
    assert f"does not allow {named(call)}, which is needed to {call.purpose}" in said
    assert "docs/engine-calls.md" in said
    assert "administrative rules" not in said


@pytest.mark.parametrize("call", LESS, ids=named)
async def test_what_is_only_lost(hub: Hub, fake: FakeEngine, call: ApiCall) -> None:
    """A server starts, stops and is deleted without it."""
    fake.fault("forbidden", call.method, call.pattern, times=10**6)
    await asyncio.wait_for(life(hub), 30)
    assert fake.containers == []


@pytest.mark.parametrize("call", [call for call in LESS if call != NETWORK], ids=named)
async def test_what_is_only_lost_with_a_network_of_the_users(
    make_hub: MakeHub, fake: FakeEngine, call: ApiCall
) -> None:
    """Likewise where a network is made for the server's user, and goes with the server."""
    hub = make_hub(**OWN_NETWORK)
    fake.fault("forbidden", call.method, call.pattern, times=10**6)
    await asyncio.wait_for(life(hub), 30)
    assert fake.containers == []


async def test_no_network_of_the_users(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Where it cannot be made, the start is refused; the message names the call."""
    fake.fault("forbidden", NETWORK.method, NETWORK.pattern, times=10**6)
    said = message(await refused(make_hub(**OWN_NETWORK)))
    assert f"does not allow {named(NETWORK)}, which is needed to {NETWORK.purpose}" in said
    assert fake.containers == []


async def test_the_form_without_the_list_of_images(make_hub: MakeHub, fake: FakeEngine) -> None:
    """It offers all of them, and does not say which are there."""
    fake.fault("forbidden", "GET", "/images/json", times=10**6)
    spawner = make_hub(allowed_images={"lab": IMAGE, "other": "r/other"}).spawner("exp-1")
    form = str(await spawner.get_options_form())
    assert "other" in form


async def test_the_end_of_a_server_without_its_log(hub: Hub, fake: FakeEngine) -> None:
    """Its exit code is told all the same."""
    fake.fault("forbidden", "GET", "/containers/.+/logs", times=10**6)
    fake.behave(Behaviour(exit_code=3))
    assert "exit code 3" in message(await refused(hub))
