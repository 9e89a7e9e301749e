"""The figures as SVG, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from .report import TITLES, Figure, seconds

WIDTH, PANEL_WIDTH, GAP = 900, 435, 30
HEAD, BAR, BAR_STEP = 24, 15, 21
LABEL_WIDTH, VALUE_WIDTH = 105, 75
COLOURS = {
    "bare": "#b8bec6",
    "floor": "#98a1ad",
    "dockerspawner": "#5b8def",
    "before": "#f5b98a",
    "ours": "#f08030",
}
TEXT, LINE = "#7a828e", "#9aa3af66"
STYLE = (
    f"text{{font:12px system-ui,sans-serif;fill:{TEXT}}}"
    f".title{{font-weight:600;font-size:13px}}.end{{text-anchor:end}}.middle{{text-anchor:middle}}"
)


def write(folder: Path, figures: Sequence[Figure]) -> list[Path]:
    """Write what can be drawn of the figures; the files' paths."""
    made = []
    compared = [figure for figure in figures if len(figure.values()) > 1]
    if compared:
        made.append(folder / "benchmarks.svg")
        made[-1].write_text(bars(compared))
    for figure in figures:
        if len(figure.data.get("growth", ())) > 1:
            made.append(folder / "growth.svg")
            made[-1].write_text(growth(figure.data["growth"]))
    return made


def bars(figures: Sequence[Figure]) -> str:
    """A panel of bars for each figure, two side by side; shorter is better in all of them."""
    body: list[str] = []
    top = 0
    for start in range(0, len(figures), 2):
        row = figures[start : start + 2]
        for number, figure in enumerate(row):
            body += _panel(figure, number * (PANEL_WIDTH + GAP), top)
        top += HEAD + BAR_STEP * max(len(figure.values()) for figure in row) + 16
    return _document(top, body)


def _panel(figure: Figure, left: int, top: int) -> Iterator[str]:
    values = figure.values()
    room = PANEL_WIDTH - LABEL_WIDTH - VALUE_WIDTH
    # Of times over the bare Engine the title says so, but seconds are what is drawn.
    yield _text(left, top + 14, figure.title.split(" ÷ ")[0], "title")
    for number, (name, value) in enumerate(values.items()):
        y = top + HEAD + number * BAR_STEP
        width = max(1.0, room * value / max(values.values()))
        shown = seconds(value) if figure.data["unit"] == "s" else f"{value:g}"
        yield _text(left + LABEL_WIDTH - 8, y + 12, TITLES[name], "end")
        yield (
            f'<rect x="{left + LABEL_WIDTH}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" '
            f'fill="{COLOURS[name]}"/>'
        )
        yield _text(left + LABEL_WIDTH + width + 6, y + 12, shown)


def growth(measured: Sequence[Mapping[str, float]]) -> str:
    """Three curves over the number of servers."""
    height = 190
    curves = (
        ("one poll round, ms of CPU", [1000 * one["poll_round_s"] for one in measured]),
        ("first list, s", [one["sync_s"] for one in measured]),
        ("memory, MiB", [one["servers"] * one["rss_per_server"] / 2**20 for one in measured]),
    )
    numbers = [one["servers"] for one in measured]
    body: list[str] = []
    for index, (title, values) in enumerate(curves):
        body += _curve(title, numbers, values, 45 + index * 300, 215, height - 60)
    return _document(height, body)


def _curve(
    title: str, numbers: Sequence[float], values: Sequence[float], left: int, width: int, depth: int
) -> Iterator[str]:
    top, most = 30, max(values) or 1.0
    points = [
        (left + width * number / max(numbers), top + depth * (1 - value / most))
        for number, value in zip(numbers, values, strict=True)
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield _text(left, 16, title, "title")
    yield (
        f'<path d="M{left},{top}V{top + depth}H{left + width}" fill="none" stroke="{LINE}"/>'
        f'<polyline points="{left},{top + depth} {path}" fill="none" stroke="{COLOURS["ours"]}" '
        'stroke-width="2"/>'
    )
    for (x, y), number in zip(points, numbers, strict=True):
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{COLOURS["ours"]}"/>'
        if number != min(numbers):  # the first two would overlap
            yield _text(x, top + depth + 16, f"{number:,.0f}", "middle")
    yield _text(left - 6, top + 6, f"{most:.3g}", "end")
    yield _text(left - 6, top + depth, "0", "end")


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}"{name}>{escape(text)}</text>'


def _document(height: int, body: Sequence[str]) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        f'width="{WIDTH}" height="{height}"><style>{STYLE}</style>'
    )
    return "\n".join([head, *body, "</svg>\n"])
