"""One server after another: POST to ready, and stop, of all contenders in turn."""

from __future__ import annotations

import time

from .hubs import USER, Hub
from .setting import BUSYBOX, LAB, Setting

#: Rounds in which DockerSpawner's stops, of ten seconds each, are waited for.
PATIENCE = 2

Samples = dict[str, list[float]]


async def starts(setting: Setting, image: str, rounds: int) -> tuple[Samples, Samples]:
    """Seconds of starts and of stops by contender; ``bare`` is the Engine without a Hub.

    In each round each contender starts and stops one server, so that noise hits all alike. The
    first round, which fills caches, doesn't count.
    """
    up: Samples = {"bare": []}
    down: Samples = {"bare": []}
    async with setting.hubs(image) as hubs:
        for number in range(rounds + 1):
            order: list[Hub | None] = [None, *hubs]
            # Nobody always comes after the same one.
            shift = number % len(order)
            for hub in order[shift:] + order[:shift]:
                server = f"{'busybox' if image == BUSYBOX else 'lab'}{number}"
                if hub is None:
                    started, stopped = await _bare(setting, image, hubs[-1], server)
                else:
                    started, stopped = await hub.spawn(server), await _stop(setting, hub, server, number)
                if number:
                    name = hub.contender if hub else "bare"
                    up.setdefault(name, []).append(started)
                    if name != "dockerspawner" or number <= PATIENCE:
                        down.setdefault(name, []).append(stopped)
    return up, down


async def _stop(setting: Setting, hub: Hub, server: str, number: int) -> float:
    if hub.contender == "dockerspawner" and number > PATIENCE:
        await setting.remove(f"{hub.prefix}-{USER}--{server}")
    return await hub.halt(server)


async def _bare(setting: Setting, image: str, hub: Hub, server: str) -> tuple[float, float]:
    env = await hub.singleuser_env(server) if image == LAB else {}
    container, started = await setting.bare_start(image, env, f"/user/{USER}/{server}/api")
    begin = time.perf_counter()
    await setting.engine.stop(container)
    return started, time.perf_counter() - begin
