"""Many servers at once: started, and stopped with a PID 1 that ignores SIGTERM."""

from __future__ import annotations

import asyncio
import time

from .hubs import Hub
from .samples import Samples, rotated
from .setting import BUSYBOX, Setting

#: So many of DockerSpawner's stops are waited for: it makes them one after another.
PATIENCE = 3


async def bursts(setting: Setting, count: int, rounds: int) -> tuple[Samples, Samples]:
    """Seconds until the last of ``count`` servers is ready, and until the last is stopped.

    DockerSpawner's stops are extrapolated from `PATIENCE` of them, in the first round only.
    """
    up: Samples = {}
    down: Samples = {}
    async with setting.hubs(BUSYBOX) as hubs:
        for each in hubs:  # what the first start of a Hub costs is not what is asked here
            await each.spawn("first")
        contenders: list[Hub | None] = [None, *hubs]
        stopped: float | None
        for number, order in enumerate(rotated(contenders, rounds)):
            names = [f"many{number}n{index}" for index in range(count)]
            for hub in order:
                await setting.quiet()
                if hub is None:
                    started, stopped = await _bare(setting, count)
                else:
                    begin = time.perf_counter()
                    await asyncio.gather(*(hub.spawn(name) for name in names))
                    started = time.perf_counter() - begin
                    stopped = await _stops(setting, hub, names, number)
                name = hub.contender if hub else "bare"
                up.setdefault(name, []).append(started)
                if stopped is not None:
                    down.setdefault(name, []).append(stopped)
    return up, down


async def _bare(setting: Setting, count: int) -> tuple[float, float]:
    begin = time.perf_counter()
    made = await asyncio.gather(*(setting.bare_start(BUSYBOX) for _ in range(count)))
    started = time.perf_counter() - begin
    begin = time.perf_counter()
    await asyncio.gather(*(setting.engine.stop(container) for container, _ in made))
    return started, time.perf_counter() - begin


async def _stops(setting: Setting, hub: Hub, names: list[str], number: int) -> float | None:
    waited_for = names
    if hub.contender == "dockerspawner":
        waited_for = [] if number else names[:PATIENCE]
    begin = time.perf_counter()
    await asyncio.gather(*(hub.halt(name) for name in waited_for))
    took = time.perf_counter() - begin
    rest = names[len(waited_for) :]
    await asyncio.gather(*(setting.engine.remove(hub.container(name)) for name in rest))
    await asyncio.gather(*(hub.halt(name) for name in rest))
    return took * len(names) / len(waited_for) if waited_for else None
