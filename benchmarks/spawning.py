"""benchmarks/spawn: how long a start takes, of ours, of DockerSpawner and of the floor.

All against the bare Engine, in one run on one Hub configuration, in turn.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from . import figures, report
from .setting import Setting, run


async def measure(options: argparse.Namespace) -> None:
    """Measure, print, write."""
    rounds, labs = (6, 3) if options.quick else (20, 7)
    async with Setting() as setting:
        engine = await setting.engine.call("GET", "/version")
        found = await figures.one_busybox(setting, options.rounds or rounds)
        found += await figures.one_lab(setting, options.lab_rounds or labs)
    print(report.table(found))
    if options.json:
        report.write_json(options.json, found, engine)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks/spawn", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few rounds")
    parser.add_argument("--rounds", type=int, help="starts of busybox of each")
    parser.add_argument("--lab-rounds", type=int, help="starts of JupyterLab of each")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there")
    run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
