"""benchmarks/run: every figure of speed, in one table, as JSON and as pictures."""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from . import figures, picture, report, swarm_figures
from .bare import RefusedError
from .hubs import CONTENDERS, HubError
from .setting import Setting, run
from .swarm import SwarmSetting

S = TypeVar("S", bound=Setting)
Measure = Callable[[S], Awaitable[list[report.Figure]]]


def measures(*, quick: bool) -> Mapping[str, Measure[Setting]]:
    """Name → what measures it, in the order of the table."""

    def pick(short: int, long: int) -> int:
        return short if quick else long

    async def simulated(setting: Setting) -> list[report.Figure]:
        counts = [1000, 2000] if quick else [1000, 2500, 5000, 10_000]
        return await asyncio.to_thread(figures.many_servers, counts, setting.beside)

    async def simulated_swarm(setting: Setting) -> list[report.Figure]:
        return await asyncio.to_thread(figures.many_services, pick(1000, 2000))

    servers = pick(8, 30)
    return {
        "busybox": lambda s: figures.one_busybox(s, pick(7, 40)),
        "hardening": lambda s: figures.hardening(s, pick(15, 40)),
        "private-tokens": lambda s: figures.private_tokens(s, pick(5, 20)),
        "hub-cpu": lambda s: figures.hub_cpu(s, pick(10, 40)),
        "lab": lambda s: figures.one_lab(s, pick(1, 5), warm=not quick),
        "at-once": lambda s: figures.at_once(s, servers, pick(2, 3)),
        "hanging-pull": lambda s: figures.hanging_pull(s, pick(3, 7), pick(5, 20)),
        "requests": lambda s: figures.requests(s, servers, pick(6, 15), pick(1, 2)),
        "death": lambda s: figures.death(s, pick(2, 15)),
        "crash": lambda s: figures.crash(s, pick(1, 15)),
        "missing-image": lambda s: figures.missing_image(s, pick(5, 20)),
        "simulated": simulated,
        "swarm-simulated": simulated_swarm,
    }


def swarm_measures(*, quick: bool) -> Mapping[str, Measure[SwarmSetting]]:
    """The same for what is measured on a Swarm, after all else."""

    def pick(short: int, long: int) -> int:
        return short if quick else long

    servers = [5, 20]
    return {
        "swarm-one": lambda s: swarm_figures.one(s, pick(5, 30)),
        "swarm-at-once": lambda s: swarm_figures.at_once(s, servers[-1], pick(4, 5)),
        "swarm-requests": lambda s: swarm_figures.requests(s, servers, pick(5, 30)),
        "swarm-death": lambda s: swarm_figures.death(s, pick(3, 15)),
    }


@dataclass
class Run:
    """What was found, and what could not be measured."""

    found: list[report.Figure] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    async def take(self, chosen: Mapping[str, Measure[S]], setting: S) -> None:
        """Measure one after the other."""
        for name, figure in chosen.items():
            begin = time.monotonic()
            print(f"{name} … ", end="", file=sys.stderr, flush=True)
            try:
                self.found += await figure(setting)
            except (HubError, RefusedError, OSError, subprocess.CalledProcessError) as error:
                # The other figures are worth having all the same.
                self.failed.append(name)
                print(error, file=sys.stderr)
            print(f"{time.monotonic() - begin:.0f} s", file=sys.stderr, flush=True)


async def measure(options: argparse.Namespace) -> None:
    """Measure, print, write."""
    taken = Run()
    on_engine = chosen(measures(quick=options.quick), options.only)
    on_swarm = chosen(swarm_measures(quick=options.quick), options.only)
    contenders = [name for name in CONTENDERS if name != "dockerspawner" or not options.quick]
    async with Setting(contenders, options.beside) as setting:
        engine = await setting.engine.call("GET", "/version")
        await taken.take(on_engine, setting)
    if on_swarm:
        async with SwarmSetting(options.beside) as on_nodes:
            await taken.take(on_swarm, on_nodes)
    found, failed = taken.found, taken.failed
    print(report.table(found))
    options.output.mkdir(parents=True, exist_ok=True)
    report.write_json(options.output / "benchmarks.json", found, engine, options.beside)
    for path in picture.write(options.output, found):
        print(f"wrote {path}", file=sys.stderr)
    if failed:
        raise SystemExit(f"could not be measured: {', '.join(failed)}")


def chosen(known: Mapping[str, Measure[S]], only: Sequence[str] | None) -> dict[str, Measure[S]]:
    """Those that were named, or all."""
    return {name: figure for name, figure in known.items() if not only or name in only}


def checkout(text: str) -> Path:
    """The folder of a checkout, from the command line."""
    folder = Path(text).resolve()
    if not (folder / "dockernamed" / "__init__.py").is_file():
        raise argparse.ArgumentTypeError(f"{folder} has no dockernamed in it")
    return folder


def main() -> None:
    """The command line."""
    names = (*measures(quick=True), *swarm_measures(quick=True))
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="few rounds, fewer servers, no DockerSpawner"
    )
    parser.add_argument("--only", nargs="+", choices=names, metavar="NAME", help=", ".join(names))
    parser.add_argument(
        "--output", type=Path, default=Path("build/benchmarks"), help="folder for JSON and SVG"
    )
    parser.add_argument(
        "--beside",
        type=checkout,
        metavar="FOLDER",
        help="another checkout: measure its dockernamed as well, in the same rounds, as 'before'",
    )
    run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
