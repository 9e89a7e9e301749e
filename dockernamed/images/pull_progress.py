"""The progress of a pull in bytes, layer by layer, from the lines that the Engine sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a pull is.

    Attributes:
        done: bytes; half of a layer's count when it is fetched, half when it is unpacked.
        total: bytes, as far as known: sizes of layers not yet begun are guessed. 0: unknown.
        message: for people, such as ``"3 of 7 layers, 12.0 MB of 80.5 MB"``.
    """

    done: int
    total: int
    message: str


@dataclass(slots=True)
class _Layer:
    size: int | None = None
    fetched: int = 0
    unpacked: int = 0
    finished: bool = False


class Layers:
    """Adds up the layers of one pull."""

    def __init__(self) -> None:
        self._layers: dict[str, _Layer] = {}
        self._last = Progress(0, 0, "")
        self._reported: tuple[int, int, int] | None = None

    def take(self, line: Mapping[str, Any]) -> Progress | None:
        """Count one line.

        Returns:
            The progress, when it is a whole percent or a layer further than what was returned
            before; else None: there are thousands of lines.
        """
        status, id = str(line.get("status") or ""), line.get("id")
        if not isinstance(id, str) or status.startswith(("Pulling from", "Digest")):
            return None
        layer = self._layers.setdefault(id, _Layer())
        _advance(layer, status, line.get("progressDetail") or {})
        return self._report()

    def finished(self) -> Progress:
        """The last word: all of it is done."""
        total = max(self._last.total, self._last.done)
        count = len(self._layers)
        return Progress(total, total, f"{count} of {count} layers, {_bytes(total)}")

    def _report(self) -> Progress | None:
        layers = self._layers.values()
        sizes = [layer.size for layer in layers if layer.size is not None]
        # A layer that has not begun is assumed to be as large as the others; otherwise the end of
        # the first layer would look like the end of all.
        unknown = sum(layer.size is None and not layer.finished for layer in layers)
        guess = sum(sizes) // len(sizes) if sizes else 0
        last, total = self._last, sum(sizes) + guess * unknown
        done = sum(layer.fetched + layer.unpacked for layer in layers) // 2
        if last.total:  # neither bytes nor share may go back when a guess turns out too low
            done = max(done, last.done, -(-last.done * total // last.total))
        total = max(total, done)
        ended = sum(layer.finished for layer in layers)
        fetched = sum(layer.fetched for layer in layers)
        message = f"{ended} of {len(layers)} layers"
        if sizes:
            message += f", {_bytes(fetched)} of {_bytes(max(total, fetched))}"
        self._last = Progress(done, total, message)
        news = (100 * done // total if total else 0, ended, len(layers))
        if news == self._reported:
            return None
        self._reported = news
        return self._last


def _advance(layer: _Layer, status: str, detail: Mapping[str, Any]) -> None:
    current, total = _count(detail.get("current")), _count(detail.get("total"))
    if status == "Downloading":
        if total:
            layer.size = max(total, layer.size or 0)
        layer.fetched = max(layer.fetched, current)
    elif status == "Extracting":
        if total:
            layer.size = max(total, layer.size or 0)
        layer.fetched = layer.size or layer.fetched
        layer.unpacked = max(layer.unpacked, current)
    elif status in ("Download complete", "Verifying Checksum"):
        layer.fetched = layer.size or layer.fetched
    elif status in ("Pull complete", "Already exists"):
        layer.finished = True
        layer.size = layer.size or layer.fetched
        layer.fetched = layer.unpacked = layer.size
    if layer.size is not None:
        layer.fetched = min(layer.fetched, layer.size)
        layer.unpacked = min(layer.unpacked, layer.size)


def _count(value: object) -> int:
    return max(0, int(value)) if isinstance(value, (int, float)) else 0


def _bytes(count: int) -> str:
    size, units = float(count), ["B", "kB", "MB", "GB", "TB"]
    while size >= 1000 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{count} B" if units[0] == "B" else f"{size:.1f} {units[0]}"
