"""Measured values by contender, and what is made of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from typing import TypeVar

Samples = dict[str, list[float]]
T = TypeVar("T")


def rotated(things: Sequence[T], rounds: int) -> Iterator[list[T]]:
    """The things once for each round, each time beginning with another one.

    So nobody always comes first, and noise hits all alike.
    """
    for number in range(rounds):
        shift = number % len(things)
        yield [*things[shift:], *things[:shift]]


def median(samples: Samples, contender: str) -> float:
    """Of one contender."""
    return statistics.median(samples[contender])


def ratio(samples: Samples, contender: str, to: str) -> float:
    """Of two medians."""
    return median(samples, contender) / median(samples, to)


def worst(samples: Samples, contender: str, to: str) -> float:
    """The slowest of one, over the median of another."""
    return max(samples[contender]) / median(samples, to)
