"""What a start and a stop cost the Hub's own process, in CPU time."""

from __future__ import annotations

import asyncio
import time

from .hubs import Hub, HubError
from .process import cpu_seconds
from .samples import Samples, rotated
from .setting import BUSYBOX, Setting

#: DockerSpawner's containers get an init here: it saves ten seconds of each stop, in which its Hub
#: only waits.
WITH_INIT = 'c.DockerSpawner.extra_host_config = {"init": True}\n'
LOOK_S = 0.05  # between two looks at the CPU clock
REST_S = 0.001  # who has used less between two looks is at rest
PATIENCE_S = 10.0


async def of_starts(setting: Setting, rounds: int) -> tuple[Samples, Samples]:
    """CPU seconds of the Hubs' processes, by contender: of a start, and of a stop.

    What a Hub does once it has answered counts too: its clock is read when it is at rest. Its proxy
    is another process, and does not count. A first round fills caches and doesn't count either.
    """
    up: Samples = {}
    down: Samples = {}
    async with setting.hubs(BUSYBOX, further=WITH_INIT) as hubs:
        for number, order in enumerate(rotated(hubs, rounds + 1)):
            for hub in order:
                server = f"cpu{number}"
                begin = cpu_seconds(hub.pid)
                await hub.spawn(server)
                started = await _at_rest(hub)
                await hub.halt(server)
                stopped = await _at_rest(hub)
                if number:
                    up.setdefault(hub.contender, []).append(started - begin)
                    down.setdefault(hub.contender, []).append(stopped - started)
    return up, down


async def _at_rest(hub: Hub) -> float:
    """The CPU clock of a Hub's process, once it has nothing left to do."""
    used = cpu_seconds(hub.pid)
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        await asyncio.sleep(LOOK_S)
        before, used = used, cpu_seconds(hub.pid)
        if used - before < REST_S:
            return used
    raise HubError(f"{hub.contender}: its Hub does not come to rest:\n{hub.tail()}")
