"""What is measured, with the limits that ours must keep to."""
# ruff: noqa: RUF001  (the sign of multiplication is meant)

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from . import cpu
from .counting import requests_of
from .deaths import crashes, noticed
from .hubs import ROOT
from .many import bursts
from .one import starts, starts_by_config
from .pulls import beside_a_hanging_pull, of_one_missing_image
from .report import Figure, in_seconds, middle, seconds
from .samples import Samples, ratio, rotated, worst
from .setting import BUSYBOX, LAB, Setting

#: Simulations of each of two checkouts: one alone differs by a tenth from the next.
TURNS = 3


def ratios(samples: Samples, to: str = "bare") -> dict[str, str]:
    """The medians as multiples of one contender's, which is shown in seconds."""
    return {
        name: f"{ratio(samples, name, to):.2f}" if name != to else seconds(middle(values))
        for name, values in samples.items()
    }


async def one_busybox(setting: Setting, rounds: int) -> list[Figure]:
    """Starts and stops of a small server, one after another."""
    up, down = await starts(setting, BUSYBOX, rounds)
    factor = ratio(up, "ours", "floor")
    stop = middle(down["ours"])
    return [
        Figure(
            "one_busybox",
            "one start, busybox: POST→ready ÷ bare",
            ratios(up),
            f"≤ 1.05 × floor (is {factor:.2f})",
            factor <= 1.05,
            {"unit": "s", "samples": up},
        ),
        Figure(
            "one_stop",
            "one stop, PID 1 ignoring SIGTERM",
            in_seconds(down),
            "≤ 0.3 s",
            stop <= 0.3,
            {"unit": "s", "samples": down},
        ),
    ]


def _beside_off(name: str, what: str, samples: Samples) -> Figure:
    """How much longer starts with a setting take than those without it; at most 3 %."""
    factor = ratio(samples, "ours", "off")
    return Figure(
        name,
        what,
        {"ours": f"{factor:.2f}"},
        "≤ 1.03",
        factor <= 1.03,
        {"unit": "s", "samples": samples},
    )


async def hardening(setting: Setting, rounds: int) -> list[Figure]:
    """Starts of a small server with and without hardening."""
    off = 'c.DockerNamedSpawner.hardening = "off"\n'
    samples = await starts_by_config(setting, BUSYBOX, rounds, off)
    return [_beside_off("hardening", "one start, busybox: hardened ÷ hardening off", samples)]


async def private_tokens(setting: Setting, rounds: int) -> list[Figure]:
    """Starts of JupyterLab with tokens that the Engine does not show, and with those it shows."""
    line = "c.DockerNamedSpawner.private_tokens = {}\n"
    samples = await starts_by_config(setting, LAB, rounds, line.format(False), line.format(True))
    return [
        _beside_off(
            "private_tokens",
            "one start, JupyterLab: private tokens ÷ tokens in the environment",
            samples,
        )
    ]


async def hub_cpu(setting: Setting, rounds: int) -> list[Figure]:
    """What the Hub's own process works for a start and for a stop."""
    up, down = await cpu.of_starts(setting, rounds)
    return [
        Figure(
            f"hub_cpu_{what}",
            f"Hub CPU per {what}: time (÷ floor)",
            {
                name: f"{middle(values) * 1000:.1f} ms ({ratio(samples, name, 'floor'):.2f})"
                for name, values in samples.items()
            },
            data={"unit": "s", "samples": samples},
        )
        for what, samples in (("start", up), ("stop", down))
    ]


async def one_lab(setting: Setting, rounds: int, *, warm: bool = True) -> list[Figure]:
    """Starts of JupyterLab, one after another."""
    up, _ = await starts(setting, LAB, rounds, warm=warm)
    shown = {
        name: f"{text} (worst {worst(up, name, 'bare'):.2f})" for name, text in ratios(up).items()
    }
    factor, slowest = ratio(up, "ours", "bare"), worst(up, "ours", "bare")
    return [
        Figure(
            "one_lab",
            "one start, JupyterLab: POST→ready ÷ bare's first answer",
            shown,
            "≤ 1.05 (worst ≤ 1.2)",
            factor <= 1.05 and slowest <= 1.2,
            {"unit": "s", "samples": up},
        )
    ]


async def at_once(setting: Setting, count: int, rounds: int) -> list[Figure]:
    """Many starts, then many stops."""
    up, down = await bursts(setting, count, rounds)
    start, stop = ratio(up, "ours", "floor"), ratio(down, "ours", "floor")
    shown = in_seconds(down)
    if "dockerspawner" in shown:
        shown["dockerspawner"] += " (extrapolated)"
    return [
        Figure(
            "starts_at_once",
            f"{count} starts at once ÷ bare",
            ratios(up),
            f"≤ 1.08 × floor (is {start:.2f})",
            start <= 1.08,
            {"unit": "s", "samples": up},
        ),
        Figure(
            "stops_at_once",
            f"{count} stops at once, PID 1 ignoring SIGTERM",
            shown,
            f"≤ 1.3 × floor (is {stop:.2f})",
            stop <= 1.3,
            {"unit": "s", "samples": down, "dockerspawner_extrapolated": True},
        ),
    ]


async def hanging_pull(setting: Setting, rounds: int, hang: float) -> list[Figure]:
    """A start beside a pull that hangs."""
    usual, beside = await beside_a_hanging_pull(setting, rounds, hang)
    factor = middle(beside["ours"]) / middle(usual["ours"])
    shown = {
        name: f"{seconds(middle(beside[name]))} against {seconds(middle(usual[name]))}"
        for name in usual
    }
    return [
        Figure(
            "hanging_pull",
            f"start while another's pull hangs ({hang:.0f} s)",
            shown,
            f"≤ 1.2 × usual (is {factor:.2f})",
            factor <= 1.2,
            {"unit": "s", "samples": beside, "usual": usual},
        )
    ]


async def requests(setting: Setting, count: int, interval: float, intervals: int) -> list[Figure]:
    """What the Engine is asked for."""
    per_start, per_poll = await requests_of(setting, count, interval, intervals)
    return [
        Figure(
            "requests_per_poll",
            f"Engine requests per poll interval, {count} servers",
            {name: f"{value:.1f}" for name, value in per_poll.items()},
            "≤ 1, however many servers",
            per_poll["ours"] <= 1,
            {"unit": "requests", "values": per_poll},
        ),
        Figure(
            "requests_per_start",
            "Engine requests per start",
            {name: f"{value:.1f}" for name, value in per_start.items()},
            "≤ 4",
            per_start["ours"] <= 4,
            {"unit": "requests", "values": per_start},
        ),
    ]


async def death(setting: Setting, rounds: int) -> list[Figure]:
    """A server that ends by itself."""
    found = await noticed(setting, rounds)
    took = middle(found["ours"])
    return [
        Figure(
            "death",
            "a death noticed by the Hub",
            in_seconds(found),
            "≤ 0.5 s",
            took <= 0.5,
            {"unit": "s", "samples": found},
        )
    ]


async def crash(setting: Setting, rounds: int) -> list[Figure]:
    """A server that ends before it was ready."""
    found, told = await crashes(setting, rounds)
    took = middle(found["ours"])
    shown = {
        name: f"{text}, {'with' if told[name] else 'no'} reason"
        for name, text in in_seconds(found).items()
    }
    return [
        Figure(
            "crash",
            "crash at start known to the caller, after the exit",
            shown,
            "≤ 0.3 s, with the reason",
            took <= 0.3 and told["ours"],
            {"unit": "s", "samples": found, "reason_told": told},
        )
    ]


async def missing_image(setting: Setting, count: int) -> list[Figure]:
    """Many starts of an image that has to be pulled."""
    pulls, took = await of_one_missing_image(setting, count)
    return [
        Figure(
            "missing_image",
            f"{count} starts of one missing image",
            {
                name: f"{number} pull{'s' * (number != 1)}, {seconds(took[name][0])}"
                for name, number in pulls.items()
            },
            "1 pull",
            pulls["ours"] == 1,
            {"unit": "pulls", "values": pulls, "seconds": took},
        )
    ]


def many_servers(counts: list[int], beside: Path | None = None) -> list[Figure]:
    """Growth with the number of servers, on a simulated Engine.

    Another checkout is measured by its own `benchmarks.simulated`, which knows its modules. With
    the largest number only, in turn with this one.
    """
    found = [_simulated(count) for count in counts[:-1]]
    number = counts[-1]
    runs: dict[str, list[dict[str, float]]] = {}
    for order in rotated(["ours", "before"] if beside else ["ours"], TURNS if beside else 1):
        for name in order:
            checkout = beside if name == "before" and beside else ROOT
            runs.setdefault(name, []).append(_simulated(number, checkout))

    def of_each(key: str) -> dict[str, float]:
        return {name: middle([run[key] for run in of_one]) for name, of_one in runs.items()}

    found.append(runs["ours"][0])
    polls, lags, memories = map(of_each, ("poll_round_s", "lag_p99_s", "rss_per_server"))
    limit = 0.05 * number / 10_000
    return [
        Figure(
            "simulated_poll",
            f"{number:,} servers, simulated: one poll round (CPU)",
            {name: seconds(value) for name, value in polls.items()},
            f"≤ {seconds(limit)}",
            polls["ours"] <= limit,
            {"unit": "s", "values": polls, "growth": found},
        ),
        Figure(
            "simulated_lag",
            f"{number:,} servers, simulated: event-loop lag p99",
            {name: f"{value * 1000:.1f} ms" for name, value in lags.items()},
            "≤ 20 ms",
            lags["ours"] <= 0.02,
            {"unit": "s", "values": lags},
        ),
        Figure(
            "simulated_memory",
            f"{number:,} servers, simulated: memory per server in the watcher",
            {name: f"{value / 1024:.1f} KiB" for name, value in memories.items()},
            "≤ 4 KiB",
            memories["ours"] <= 4096,
            {"unit": "bytes", "values": memories},
        ),
    ]


def many_services(count: int) -> list[Figure]:
    """The same of services, on a simulated Swarm."""
    found = _simulated(count, kind="swarm")
    whole = found["watch_round_s"] + found["poll_round_s"]
    lag = found["lag_p99_s"]
    return [
        Figure(
            "swarm_simulated_round",
            f"{count:,} services, simulated: one round of watcher and polls (CPU)",
            {"ours": seconds(whole)},
            "≤ 50 ms",
            whole <= 0.05,
            {"unit": "s", "values": {"ours": whole}, "found": found},
        ),
        Figure(
            "swarm_simulated_lag",
            f"{count:,} services, simulated: event-loop lag p99",
            {"ours": f"{lag * 1000:.1f} ms"},
            "≤ 20 ms",
            lag <= 0.02,
            {"unit": "s", "values": {"ours": lag}},
        ),
    ]


def _simulated(count: int, checkout: Path = ROOT, kind: str = "") -> dict[str, float]:
    """In a process of its own, whose memory nobody else has used."""
    command = [sys.executable, "-m", "benchmarks.simulated", str(count), *filter(None, [kind])]
    env = {**os.environ, "PYTHONPATH": f"{checkout}{os.pathsep}{checkout / 'tests'}"}
    pipe = subprocess.PIPE
    done = subprocess.run(command, stdout=pipe, text=True, check=True, env=env, cwd=checkout)
    found: dict[str, float] = json.loads(done.stdout)
    return found
