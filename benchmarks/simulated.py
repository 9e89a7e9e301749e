"""The cost of many servers, on a simulated Engine or Swarm: polls, event-loop lag, memory.

    python -m benchmarks.simulated NUMBER [swarm]

It runs in a process of its own: `benchmarks.populated`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from dockernamed import DockerNamedSpawner
from dockernamed.engine.client import Connection
from dockernamed.hub.identity import derived_hub_id
from dockernamed.lifecycle.runtime import Runtime
from dockernamed.naming import LABEL, LABEL_HUB, LABEL_SERVER, LABEL_USER
from dockernamed.swarm_spawner import DockerNamedSwarmSpawner
from dockernamed.timings import DEFAULT

SECRET = b"cookie secret"
HUB = derived_hub_id(SECRET)
SAMPLE_S = 0.001  # between two looks at the event loop
ROUNDS = 10  # of the watcher, in which nothing happens
BATCH = 50  # polls between two turns of the event loop; JupyterHub spreads them at random


class Lag:
    """How late the event loop is, sampled while it is entered."""

    def __init__(self) -> None:
        self.samples: list[float] = []

    @contextlib.asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Sample for as long as the block lasts."""
        task = asyncio.ensure_future(self._sample())
        await asyncio.sleep(0)
        try:
            yield
        finally:
            task.cancel()

    async def _sample(self) -> None:
        while True:
            begin = time.perf_counter()
            await asyncio.sleep(SAMPLE_S)
            self.samples.append(time.perf_counter() - begin - SAMPLE_S)

    def percentile(self, share: float) -> float:
        """Such as 0.99."""
        return sorted(self.samples)[int(share * (len(self.samples) - 1))]


@contextlib.contextmanager
def _engine(count: int, kind: str) -> Iterator[tuple[Any, dict[str, Any]]]:
    labels = {LABEL: "1", LABEL_HUB: HUB, LABEL_USER: "user{n}", LABEL_SERVER: ""}
    command = [sys.executable, "-m", "benchmarks.populated", str(count), json.dumps(labels), kind]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())
        finally:
            process.stdin.close()


def _rss() -> int:
    """Bytes of memory in use, once what is free was given back."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def measure(count: int, kind: str = "engine") -> dict[str, float]:
    """Figures of so many servers.

    Args:
        count: how many.
        kind: ``engine``: containers; ``swarm``: services.

    Returns:
        ``poll_round_s`` (CPU) of `DockerNamedSpawner.poll` of all; ``watch_round_s`` (CPU), what
        the watcher does while nothing happens in as much time as lies between two requests for
        tasks that have ended; ``lag_p99_s`` and ``lag_max_s`` while the table is filled, polled,
        told of what happened (of containers events, of services the ends of some) and filled
        again; ``sync_s``; ``rss_per_server`` of the watcher, and ``monitor_per_server``, what
        watching over a running server adds, in bytes.
    """
    logging.getLogger("dockernamed").setLevel(logging.ERROR)
    spawner_class = DockerNamedSwarmSpawner if kind == "swarm" else DockerNamedSpawner
    with _engine(count, kind) as (process, told):
        lag = Lag()
        connection = Connection(options=(("base_url", told["url"]),))
        runtime = Runtime.shared(
            connection, HUB, logging.getLogger("dockernamed"), 16, backend=spawner_class.backend
        )
        await runtime.engine.version()
        found: dict[str, float] = {"servers": count}
        found |= await _watcher(runtime, count, lag)
        found["watch_round_s"] = await _watch_round()
        spawners = [
            _spawner(spawner_class, told["url"], number, id)
            for number, id in enumerate(told["ids"])
            if id not in told["ending"]
        ]
        before = _rss()
        found["poll_round_s"] = await _poll_round(spawners, lag)
        found["monitor_per_server"] = (_rss() - before) / count
        found["poll_round_s"] = min([await _poll_round(spawners, lag) for _ in range(5)])
        async with lag.watched():
            await _tell(process, "events")
            for id in told["ending"]:
                await runtime.watcher.wait_dead(id)
            disconnects = runtime.watcher.disconnects
            await _tell(process, "lose")
            while runtime.watcher.disconnects == disconnects:  # noqa: ASYNC110  (no event tells)
                await asyncio.sleep(SAMPLE_S)
            await runtime.watcher.in_sync()
        found["lag_p99_s"], found["lag_max_s"] = lag.percentile(0.99), lag.percentile(1)
        await runtime.close()
    return found


async def _watcher(runtime: Runtime, count: int, lag: Lag) -> dict[str, float]:
    before, begin = _rss(), time.perf_counter()
    async with lag.watched():
        await runtime.watcher.synced()
    took = time.perf_counter() - begin
    return {"sync_s": took, "rss_per_server": (_rss() - before) / count}


async def _watch_round() -> float:
    """CPU seconds of a round in which nothing happens, on average."""
    begin = time.process_time()
    await asyncio.sleep(ROUNDS * DEFAULT.ended_tasks)
    return (time.process_time() - begin) / ROUNDS


def _spawner(
    spawner_class: type[DockerNamedSpawner], url: str, number: int, id: str
) -> DockerNamedSpawner:
    user = SimpleNamespace(name=f"user{number}", settings={"cookie_secret": SECRET})
    spawner = spawner_class(user=user, client_kwargs={"base_url": url})
    spawner.load_state({"object_id": id, "kind": spawner_class.backend.kind})
    return spawner


async def _poll_round(spawners: list[DockerNamedSpawner], lag: Lag) -> float:
    """CPU seconds, without what JupyterHub itself needs for each."""
    gc.collect()
    took = 0.0
    async with lag.watched():
        for start in range(0, len(spawners), BATCH):
            begin = time.process_time()
            answers = [await spawner.poll() for spawner in spawners[start : start + BATCH]]
            took += time.process_time() - begin
            if answers.count(None) != len(answers):
                raise AssertionError("a running server is said to have ended")
            await asyncio.sleep(0)
    return took


async def _tell(process: Any, word: str) -> None:
    process.stdin.write(f"{word}\n")
    process.stdin.flush()
    await asyncio.to_thread(process.stdout.readline)


def main() -> None:
    """The command line."""
    print(json.dumps(asyncio.run(measure(int(sys.argv[1]), *sys.argv[2:]))))


if __name__ == "__main__":
    main()
