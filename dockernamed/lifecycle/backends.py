"""The two backends, put together: containers of one Engine, and services of a Swarm."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..backends.base import Things
from ..backends.containers import Containers
from ..backends.services import Services
from ..backends.table import Table
from ..backends.tasks import TaskWatcher
from ..backends.watcher import Watcher
from ..desired.resolved import CONTAINER, SERVICE
from ..engine.client import Engine
from ..engine.swarm import Swarm
from ..timings import Timings


class Parts(NamedTuple):
    """What one backend consists of, on one Engine.

    Attributes:
        things: makes, starts and removes them.
        watcher: the table of what there is.
        details: by its id, all that the Engine says of one, in its own words.
        close: ends what the things do in the background.
    """

    things: Things
    watcher: Table
    details: Callable[[str], Awaitable[dict[str, Any]]]
    close: Callable[[], Awaitable[None]]


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
    async def close() -> None:
        """Containers do nothing by themselves."""

    watcher = Watcher(engine, hub, timings)
    return Parts(Containers(engine), watcher, engine.inspect_container, close)


def _services(engine: Engine, hub: str, timings: Timings) -> Parts:
    swarm = Swarm(engine)
    watcher = TaskWatcher(swarm, engine.base_url, hub, timings)
    services = Services(engine, swarm, timings=timings, watch=watcher)
    return Parts(services, watcher, swarm.inspect_service, services.close)


CONTAINERS = Backend(CONTAINER, _containers)
SERVICES = Backend(SERVICE, _services)
