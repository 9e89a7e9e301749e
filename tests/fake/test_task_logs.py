"""The log of a task, which its manager may wait for without end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from support.engine.worlds import connect

from dockernamed.engine import swarm as calls
from dockernamed.errors import EngineFailed, EngineTimeout


def frame(stream: int, text: str) -> bytes:
    """A part of a log."""
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text.encode()


class Manager:
    """Answers with what is in ``body`` at once, and ends the answer only if ``whole``."""

    def __init__(self) -> None:
        self.body, self.whole = b"", False
        self._over = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        assert request.query["tail"] == "5"
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(self.body)
        if not self.whole:
            await self._over.wait()
        return response

    def end(self) -> None:
        """Let all answers end."""
        self._over.set()


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[tuple[Manager, calls.Swarm]]:
    """A manager, and our calls to it, which wait for a moment only."""
    manager, app = Manager(), web.Application()
    app.router.add_get("/v1.41/tasks/{id}/logs", manager.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.UnixSite(runner, str(tmp_path / "docker.sock")).start()
    engine = connect(f"unix://{tmp_path / 'docker.sock'}", timeout=2.0, version="1.41")
    yield manager, calls.Swarm(engine)
    manager.end()
    await engine.close()
    await runner.cleanup()


async def test_what_came_in_time(manager: tuple[Manager, calls.Swarm]) -> None:
    """Of a log that does not end, what has come is told: it may be all that there is."""
    answering, swarm = manager
    answering.body = frame(1, "one\n") + frame(2, "two\n") + frame(1, "three")[:-2]
    assert await swarm.task_logs("t", 5) == "one\ntwo\n"


async def test_nothing_came_in_time(manager: tuple[Manager, calls.Swarm]) -> None:
    """A node that does not answer is an error in words, after a bounded time."""
    _, swarm = manager
    with pytest.raises(EngineTimeout, match="the node where it is may be down"):
        await swarm.task_logs("t", 5)


async def test_what_the_manager_says(manager: tuple[Manager, calls.Swarm]) -> None:
    """Why there is no log is an error; next to a part of the log it is left out."""
    answering, swarm = manager
    answering.whole = True
    answering.body = frame(3, "Error grabbing logs: node x is not available\n")
    with pytest.raises(EngineFailed, match="node x is not available"):
        await swarm.task_logs("t", 5)
    answering.body += frame(1, "one\n")
    assert await swarm.task_logs("t", 5) == "one\n"
    answering.body = b""
    assert await swarm.task_logs("t", 5) == ""
