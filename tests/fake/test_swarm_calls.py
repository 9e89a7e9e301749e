"""Which calls of a Swarm's managers are made again when the connection breaks, and which never."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from support.engine.worlds import connect
from support.fake_engine import FakeEngine

from dockernamed.engine.swarm import Swarm
from dockernamed.errors import EngineError, EngineUnavailable
from dockernamed.timings import Timings

Ask = Callable[[Swarm], Awaitable[Any]]
AUTH = {"username": "ann", "password": "x"}

REPEATED: list[tuple[str, str, Ask]] = [
    ("GET", "/services", lambda swarm: swarm.list_services(["a=b"])),
    ("GET", "/services/x", lambda swarm: swarm.inspect_service("x")),
    ("DELETE", "/services/x", lambda swarm: swarm.remove_service("x")),
    ("GET", "/tasks", lambda swarm: swarm.list_tasks(services=["x"])),
    ("GET", "/nodes", lambda swarm: swarm.list_nodes()),
    ("GET", "/nodes/x", lambda swarm: swarm.inspect_node("x")),
    ("GET", "/secrets", lambda swarm: swarm.list_secrets([])),
    ("DELETE", "/secrets/x", lambda swarm: swarm.remove_secret("x")),
    ("GET", "/configs", lambda swarm: swarm.list_configs([])),
    ("GET", "/configs/x", lambda swarm: swarm.inspect_config("x")),
    ("DELETE", "/configs/x", lambda swarm: swarm.remove_config("x")),
    ("GET", "/info", lambda swarm: swarm.membership()),
]
ONCE: list[tuple[str, str, Ask]] = [
    ("POST", "/services/create", lambda swarm: swarm.create_service({"Name": "x"})),
    ("POST", "/services/x/update", lambda swarm: swarm.update_service("x", 1, {})),
    ("POST", "/secrets/create", lambda swarm: swarm.create_secret("x", b"1", {})),
    ("POST", "/configs/create", lambda swarm: swarm.create_config("x", b"1", {})),
    ("POST", "/configs/x/update", lambda swarm: swarm.update_config("x", 1, {})),
]


@pytest.fixture
async def called() -> AsyncIterator[tuple[FakeEngine, Swarm]]:
    """An Engine, and our calls to it, which are repeated without a pause."""
    with FakeEngine() as fake:
        engine = connect(fake.url, timeout=30.0, timings=Timings(repeat_after=(0, 0)))
        await engine.version()
        yield fake, Swarm(engine)
        await engine.close()


async def outcome(ask: Awaitable[Any]) -> type[Exception] | None:
    """The kind of error that a call ends with."""
    try:
        await ask
    except EngineError as error:
        return type(error)
    return None


@pytest.mark.parametrize(("method", "path", "ask"), REPEATED, ids=lambda one: str(one)[:20])
async def test_reads_and_removals_are_repeated(
    called: tuple[FakeEngine, Swarm], method: str, path: str, ask: Ask
) -> None:
    """Making them twice does no harm."""
    fake, swarm = called
    fake.fault("reset", method, path)
    assert await outcome(ask(swarm)) is not EngineUnavailable
    assert fake.count(method, path) == 2


@pytest.mark.parametrize(("method", "path", "ask"), ONCE, ids=lambda one: str(one)[:20])
async def test_changes_are_made_once(
    called: tuple[FakeEngine, Swarm], method: str, path: str, ask: Ask
) -> None:
    """Nobody knows whether they were made: who asked looks what became of them."""
    fake, swarm = called
    fake.fault("reset", method, path)
    assert await outcome(ask(swarm)) is EngineUnavailable
    assert fake.count(method, path) == 1


@pytest.mark.parametrize(
    "ask",
    [
        lambda swarm: swarm.create_service({"Name": "x"}, auth=AUTH),
        lambda swarm: swarm.update_service("x", 1, {}, auth=AUTH),
    ],
)
async def test_credentials_are_a_header(called: tuple[FakeEngine, Swarm], ask: Ask) -> None:
    """The nodes get them along with the service; without any there is no such header."""
    fake, swarm = called
    await outcome(ask(swarm))
    assert fake.headers["X-Registry-Auth"]
    await outcome(swarm.create_service({"Name": "x"}))
    assert "X-Registry-Auth" not in fake.headers


@pytest.mark.parametrize(
    "ask", [ask for method, _, ask in (*REPEATED, *ONCE) if method != "DELETE"]
)
async def test_a_proxys_page_is_no_answer(called: tuple[FakeEngine, Swarm], ask: Ask) -> None:
    """Status 200 with something that is not the API's is an error, whatever was asked."""
    fake, swarm = called
    fake.fault("garbage", "GET", ".*")
    fake.fault("garbage", "POST", ".*")
    assert await outcome(ask(swarm)) is not None
