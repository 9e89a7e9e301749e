"""One server after another: POST to ready, and stop, of all contenders in turn."""

from __future__ import annotations

from .hubs import USER, Hub
from .samples import Samples, rotated
from .setting import LAB, Setting

#: Rounds in which DockerSpawner's stops, of ten seconds each, are waited for, the first included.
PATIENCE = 2


async def starts(
    setting: Setting, image: str, rounds: int, *, warm: bool = True
) -> tuple[Samples, Samples]:
    """Seconds of starts and of stops by contender; ``bare`` is the Engine without a Hub.

    In each round each contender starts and stops one server.

    Args:
        setting: where.
        image: of the servers.
        rounds: how many.
        warm: begin with a round that fills caches and doesn't count.
    """
    up: Samples = {}
    down: Samples = {}
    async with setting.hubs(image) as hubs:
        contenders: list[Hub | None] = [None, *hubs]
        for number, order in enumerate(rotated(contenders, rounds + warm)):
            for hub in order:
                await setting.quiet()
                server = f"one{number}"
                stopped: float | None
                if hub is None:
                    started, stopped = await _bare(setting, image, hubs[-1], server)
                else:
                    started = await hub.spawn(server)
                    stopped = await _stop(setting, hub, server, number)
                if number >= warm:
                    name = hub.contender if hub else "bare"
                    up.setdefault(name, []).append(started)
                    if stopped is not None:
                        down.setdefault(name, []).append(stopped)
    return up, down


async def starts_by_config(
    setting: Setting, image: str, rounds: int, off: str, on: str = ""
) -> Samples:
    """Seconds of starts of ours under two configurations in turn: ``ours`` and ``off``.

    Args:
        setting: where.
        image: of the servers.
        rounds: how many, beside one that fills caches.
        off: Python text for the config file of the one.
        on: of the other.
    """
    found: Samples = {}
    async with (
        setting.hubs(image, ("ours",), further=on) as first,
        setting.hubs(image, ("ours",), further=off) as second,
    ):
        hubs = {"ours": first[0], "off": second[0]}
        for number, order in enumerate(rotated(list(hubs), rounds + 1)):
            for name in order:
                server = f"{name}{number}"
                started = await hubs[name].spawn(server)
                await hubs[name].halt(server)
                if number:
                    found.setdefault(name, []).append(started)
    return found


async def _stop(setting: Setting, hub: Hub, server: str, number: int) -> float | None:
    if hub.contender == "dockerspawner" and number >= PATIENCE:
        await setting.engine.remove(hub.container(server))
        await hub.halt(server)
        return None
    return await hub.halt(server)


async def _bare(setting: Setting, image: str, hub: Hub, server: str) -> tuple[float, float]:
    env = await hub.singleuser_env(server) if image == LAB else {}
    container, started = await setting.bare_start(image, env, f"/user/{USER}/{server}/api")
    return started, await setting.bare_stop(container)
