"""What is measured on a Swarm, with the limits that ours must keep to."""

from __future__ import annotations

from dockernamed.timings import DEFAULT

from .figures import ratios
from .many import bursts
from .one import starts
from .report import Figure, in_seconds, middle
from .samples import ratio
from .setting import BUSYBOX
from .swarm import SwarmSetting, noticed, requests_of


async def one(setting: SwarmSetting, rounds: int) -> list[Figure]:
    """Starts of a small server, one after another."""
    up, _ = await starts(setting, BUSYBOX, rounds)
    factor = ratio(up, "ours", "bare")
    return [
        Figure(
            "swarm_one",
            "Swarm, one start, busybox: POST→ready ÷ bare",
            ratios(up),
            "≤ 1.15",
            factor <= 1.15,
            {"unit": "s", "samples": up},
        )
    ]


async def at_once(setting: SwarmSetting, count: int, rounds: int) -> list[Figure]:
    """Many starts."""
    up, _ = await bursts(setting, count, rounds)
    factor = ratio(up, "ours", "bare")
    return [
        Figure(
            "swarm_starts_at_once",
            f"Swarm, {count} starts at once ÷ bare",
            ratios(up),
            "≤ 1.2",
            factor <= 1.2,
            {"unit": "s", "samples": up},
        )
    ]


async def requests(setting: SwarmSetting, counts: list[int], seconds: float) -> list[Figure]:
    """What the manager is asked for while servers run."""
    per_second = await requests_of(setting, counts, seconds)
    most = max(per_second) * DEFAULT.ended_tasks
    return [
        Figure(
            "swarm_requests",
            f"Swarm, manager requests per poll interval, {' and '.join(map(str, counts))} servers",
            {"ours": " and ".join(f"{one * DEFAULT.ended_tasks:.1f}" for one in per_second)},
            "≤ 2, however many servers",
            most <= 2,
            {
                "unit": "requests",
                "values": {"ours": most},
                "per_second": dict(zip(map(str, counts), per_second, strict=True)),
            },
        )
    ]


async def death(setting: SwarmSetting, rounds: int) -> list[Figure]:
    """A server that ends by itself."""
    told, after = await noticed(setting, rounds)
    took = middle(after["ours"])
    return [
        Figure(
            "swarm_death",
            "Swarm, a death noticed: by the API after the end, by the Hub after the API",
            in_seconds(told | after),
            "≤ 1 s",
            took <= 1,
            {"unit": "s", "samples": told | after},
        )
    ]
