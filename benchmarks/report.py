"""Figures as one table, as JSON, and as pictures."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .samples import Samples

COLUMNS = ("bare", "floor", "dockerspawner", "before", "ours")
TITLES = {
    "bare": "bare Engine",
    "floor": "floor",
    "dockerspawner": "DockerSpawner",
    "before": "before",
    "ours": "ours",
}


@dataclass
class Figure:
    """One row of the table.

    Attributes:
        key: for machines.
        title: for people.
        shown: contender → what the table says.
        target: what ours must be, in words; empty: none.
        met: whether it is; None without a target.
        data: what it was made of, for the JSON file.
    """

    key: str
    title: str
    shown: Mapping[str, str]
    target: str = ""
    met: bool | None = None
    data: Mapping[str, Any] = field(default_factory=dict)

    def values(self) -> dict[str, float]:
        """Contender → what was measured, in the order of the columns; of samples the median."""
        found = self.data.get("values") or self.data.get("samples") or {}
        return {
            name: middle(found[name]) if isinstance(found[name], list) else found[name]
            for name in COLUMNS
            if name in found
        }


def seconds(value: float) -> str:
    """For people."""
    if value < 0.1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def in_seconds(samples: Samples) -> dict[str, str]:
    """The medians."""
    return {name: seconds(middle(values)) for name, values in samples.items()}


def middle(values: Sequence[float]) -> float:
    """The median."""
    ordered = sorted(values)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


def table(figures: Sequence[Figure]) -> str:
    """All figures, in Markdown, with columns that line up in a terminal too.

    Columns of contenders that were not measured are left out.
    """
    columns = [name for name in COLUMNS if any(name in figure.shown for figure in figures)]
    beside = "before" in columns
    heads = ["ours ÷ before"] * beside
    rows = [["figure", *(TITLES[name] for name in columns), *heads, "ours must be", ""]]
    for figure in figures:
        verdict = {True: "met", False: "MISSED", None: ""}[figure.met]
        shown = [figure.shown.get(name, "") for name in columns]
        rows.append([figure.title, *shown, *[_change(figure)] * beside, figure.target, verdict])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rows.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in rows
    )


def _change(figure: Figure) -> str:
    """Ours as a multiple of ``before``; empty where there is nothing to divide by."""
    values = figure.values()
    if "ours" in values and values.get("before"):
        return f"{values['ours'] / values['before']:.2f}"
    return ""


def versions(engine: Mapping[str, Any]) -> dict[str, str]:
    """Of all that takes part.

    Args:
        engine: ``GET /version``.
    """
    packages = ("jupyterhub", "dockerspawner", "dockernamed", "docker")
    found = {name: version(name) for name in packages}
    return found | {"python": platform.python_version(), "engine": str(engine["Version"])}


def write_json(
    path: Path, figures: Sequence[Figure], engine: Mapping[str, Any], beside: Path | None = None
) -> None:
    """Everything that was measured, with which versions, and beside which checkout."""
    body = {
        "versions": versions(engine) | ({"before": str(beside)} if beside else {}),
        "figures": [
            {
                "key": figure.key,
                "title": figure.title,
                "shown": figure.shown,
                "target": figure.target,
                "met": figure.met,
                **figure.data,
            }
            for figure in figures
        ],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n")
