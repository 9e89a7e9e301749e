"""What servers are: containers of one Engine, or services of a Swarm."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..backends.base import Things
from ..backends.containers import Containers
from ..backends.table import Table
from ..backends.watcher import Watcher
from ..desired.resolved import CONTAINER
from ..engine.client import Engine
from ..timings import Timings


class Parts(NamedTuple):
    """What one backend consists of, on one Engine.

    Attributes:
        things: makes, starts and removes them.
        watcher: the table of what there is.
        details: by its id, all that the Engine says of one, in its own words.
    """

    things: Things
    watcher: Table
    details: Callable[[str], Awaitable[dict[str, Any]]]


@dataclass(frozen=True)
class Backend:
    """One kind of backend.

    Attributes:
        kind: what a server is there: one of `desired.resolved.KINDS`.
        build: makes its parts for an Engine, a Hub's id, and a pace.
    """

    kind: str
    build: Callable[[Engine, str, Timings], Parts]


def _containers(engine: Engine, hub: str, timings: Timings) -> Parts:
    return Parts(Containers(engine), Watcher(engine, hub, timings), engine.inspect_container)


CONTAINERS = Backend(CONTAINER, _containers)
SERVICES = Backend("service", _containers)
