"""benchmarks/soak: a Hub's process after thousands of starts and stops.

On a simulated Engine, beside the floor's Hub: what JupyterHub itself gathers shows in both. Then,
fewer, on the real Engine. It fails when ours does not stay flat.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from . import report
from .hubs import Hub
from .populated import IMAGE
from .process import COUNTS, Holding, growth, holding, slope
from .setting import BUSYBOX, Setting, run

#: Servers that are started and stopped at the same time.
PARALLEL = 4
#: Share of the cycles that fill caches and pools first, and are not judged.
WARM_UP = 0.25
SAMPLES = 24
FEWEST = 20
#: KiB that each cycle may add to ours beyond what it adds to the floor. Python takes memory from
#: the system in pieces of 256 KiB or more, so that few cycles can be judged by their counts only.
RSS_PER_CYCLE = 1.0
JUDGED_CYCLES = 1000
#: By how many the counts may differ: a connection may be kept open for a while, or just closing.
TOLERANCE = 2


async def soaked(hubs: Sequence[Hub], cycles: int) -> dict[str, list[Holding]]:
    """Contender → what its Hub held, now and then, while it started and stopped servers."""
    found: dict[str, list[Holding]] = {hub.contender: [] for hub in hubs}

    async def cycle(hub: Hub, server: str, times: int) -> None:
        for _ in range(times):
            await hub.spawn(server)
            await hub.halt(server)

    async def soak(hub: Hub) -> None:
        times = max(1, cycles // (SAMPLES * PARALLEL))
        done = 0
        while done < cycles:
            servers = (f"soak{number}" for number in range(PARALLEL))
            await asyncio.gather(*(cycle(hub, server, times) for server in servers))
            done += times * PARALLEL
            found[hub.contender].append(holding(hub.pid, done))

    await asyncio.gather(*(soak(hub) for hub in hubs))
    return found


@contextlib.asynccontextmanager
async def simulated_engine() -> AsyncIterator[str]:
    """URL of one, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.populated", "0", "{}"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:  # noqa: ASYNC220  (at once)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            line = await asyncio.to_thread(process.stdout.readline)
            yield str(json.loads(line)["url"])
        finally:
            process.stdin.close()


def verdicts(found: Mapping[str, Sequence[Holding]]) -> list[str]:
    """What of ours did not stay flat, in words."""
    judged = {name: warm(holdings) for name, holdings in found.items()}
    bad = [
        f"{what}: {growth(judged['ours'], what):+g}"
        for what in COUNTS
        if growth(judged["ours"], what) > TOLERANCE
    ]
    floor = max(0.0, slope(judged["floor"])) if "floor" in judged else 0.0
    excess = slope(judged["ours"]) - floor
    if judged["ours"][-1].cycles >= JUDGED_CYCLES and excess > RSS_PER_CYCLE:
        bad.append(f"memory: {excess:.2f} KiB more per cycle than the floor")
    return bad


def warm(holdings: Sequence[Holding]) -> Sequence[Holding]:
    """Those after the warm-up."""
    return [one for one in holdings if one.cycles > WARM_UP * holdings[-1].cycles]


def table(engines: Mapping[str, Mapping[str, Sequence[Holding]]]) -> str:
    """In Markdown: after the warm-up, at the end, and what came with each cycle."""
    heads = ("Engine", "Hub of", "cycles", "memory, MiB", "KiB per cycle", *COUNTS)
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    for engine, found in engines.items():
        for contender, holdings in found.items():
            judged = warm(holdings)
            first, last = judged[0], judged[-1]
            cells = [
                *(engine, contender, f"{first.cycles:,} → {last.cycles:,}"),
                f"{first.rss / 1024:.1f} → {last.rss / 1024:.1f}",
                f"{slope(judged):.2f}",
                *(f"{getattr(first, what)} → {getattr(last, what)}" for what in COUNTS),
            ]
            lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


async def measure(options: argparse.Namespace) -> None:
    """Soak, print, write, judge."""
    engines: dict[str, dict[str, list[Holding]]] = {}
    begin = time.monotonic()
    async with Setting(("floor", "ours")) as setting:
        versions = report.versions(await setting.engine.call("GET", "/version"))
        async with simulated_engine() as url:
            hosts = {"floor": url, "ours": url}
            async with setting.hubs(IMAGE, docker_host=hosts) as hubs:
                engines["simulated"] = await soaked(hubs, options.cycles)
        async with setting.hubs(BUSYBOX, ("ours",)) as hubs:
            engines["real"] = await soaked(hubs, options.real_cycles)
    print(table(engines))
    print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr)
    samples = {
        engine: {name: [asdict(one) for one in holdings] for name, holdings in found.items()}
        for engine, found in engines.items()
    }
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "soak.json").write_text(
        json.dumps({"versions": versions, "samples": samples}, indent=1) + "\n"
    )
    grew = [f"{engine}: {bad}" for engine, found in engines.items() for bad in verdicts(found)]
    if grew:
        raise SystemExit("not flat: " + "; ".join(grew))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/soak", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the cycles")
    parser.add_argument("--cycles", type=int, default=2000, help="on the simulated Engine")
    parser.add_argument("--real-cycles", type=int, default=200, help="on the real one")
    parser.add_argument(
        "--output", type=Path, default=Path("build/benchmarks"), help="folder for the JSON file"
    )
    options = parser.parse_args()
    if options.quick:
        options.cycles, options.real_cycles = options.cycles // 10, options.real_cycles // 10
    if min(options.cycles, options.real_cycles) < FEWEST:
        parser.error(f"at least {FEWEST} cycles are needed to see a trend")
    run(measure(options))


if __name__ == "__main__":
    main()
