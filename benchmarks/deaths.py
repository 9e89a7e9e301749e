"""Servers that end by themselves: how soon the Hub knows, and what it tells."""

from __future__ import annotations

import asyncio
import time

from .hubs import USER, Hub, HubError
from .samples import Samples
from .setting import BUSYBOX, Setting

CONTENDERS = ("dockerspawner", "before", "ours")
LOOK_S = 0.02  # between two looks at the Hub's list of servers
LAST_WORDS = "No module named benchmark"
#: JupyterHub's own timeouts, and a server that says why it ends, half a second after its start.
CRASHING = f"""
c.JupyterHub.tornado_settings = {{}}
c.Spawner.start_timeout = 60
c.Spawner.http_timeout = 30
c.Spawner.cmd = ["sh", "-c", "sleep 0.5; echo {LAST_WORDS}; exit 3"]
"""


async def noticed(setting: Setting, rounds: int) -> Samples:
    """Seconds from a container's end until its server is gone from the Hub's API.

    DockerSpawner is waited for once: the next poll, of one every 30 s, is what tells it.
    """
    found: Samples = {}

    async def watch(hub: Hub, server: str) -> None:
        await hub.spawn(server)
        before = time.time()
        (container,) = await _containers(setting, hub, server)
        await setting.engine.call("POST", f"/containers/{container}/kill")
        while server in await hub.servers():  # noqa: ASYNC110  (asks over HTTP)
            await asyncio.sleep(LOOK_S)
        found.setdefault(hub.contender, []).append(time.time() - before)

    async def repeat(hub: Hub) -> None:
        for number in range(1 if hub.contender == "dockerspawner" else rounds):
            await watch(hub, f"death{number}")

    async with setting.hubs(BUSYBOX, CONTENDERS) as hubs:
        await asyncio.gather(*(repeat(hub) for hub in hubs))
    return found


async def crashes(setting: Setting, rounds: int) -> tuple[Samples, dict[str, bool]]:
    """Seconds from a crash at start to the answer, and whether that says exit code and reason.

    DockerSpawner is waited for once.
    """
    found: Samples = {}
    told: dict[str, bool] = {}
    async with setting.hubs(BUSYBOX, CONTENDERS, further=CRASHING) as hubs:
        for number in range(rounds):
            for hub in hubs:
                if hub.contender == "dockerspawner" and number:
                    continue
                server = f"crash{number}"
                begin = time.time()
                status, text = await hub.ask("POST", f"/users/{USER}/servers/{server}")
                end = time.time()
                if status < 400:
                    raise HubError(f"{hub.contender}: a server that crashed answered {status}")
                died = await setting.engine.ends_since(begin, hub.prefix)
                found.setdefault(hub.contender, []).append(end - died[0])
                told[hub.contender] = "3" in text and LAST_WORDS in text
    return found, told


async def _containers(setting: Setting, hub: Hub, server: str) -> list[str]:
    listed = await setting.engine.call("GET", "/containers/json")
    return [
        container["Id"]
        for container in listed
        if any(n.startswith(f"/{hub.prefix}") and n.endswith(server) for n in container["Names"])
    ]
