"""What servers that are starting were promised, as long as the Hub's database does not have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..desired.quotas import Promise
from ..naming import Key


class Promises:
    """One for each Hub on an Engine. Nothing is taken back: a start that is over counts no more."""

    def __init__(self) -> None:
        self._starting: dict[Key, tuple[Promise, Callable[[], bool]]] = {}

    def make(self, server: Key, promise: Promise, starts: Callable[[], bool]) -> None:
        """Promise something to a server.

        Args:
            server: which; what it was promised at an earlier start counts no more.
            promise: what.
            starts: whether this start is still under way.
        """
        self._starting[server] = promise, starts

    def of_starts(self) -> Mapping[Key, Promise]:
        """What was promised to starts that are under way."""
        self._starting = {key: one for key, one in self._starting.items() if one[1]()}
        return {key: promise for key, (promise, _) in self._starting.items()}
