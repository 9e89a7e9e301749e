"""What the managers of the fake Swarm keep: its objects, by all that they are asked for by."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from support.fake_engine.core import ApiError, Core, has_labels
from support.fake_engine.nodes import Node
from support.fake_engine.swarm_objects import (
    MODES,
    Config,
    Object,
    Secret,
    Service,
    Task,
    rank,
)

O = TypeVar("O", bound=Object)  # noqa: E741

#: What lists can be filtered by.
FILTERS: Mapping[str, frozenset[str]] = {
    "service": frozenset({"name", "id", "label", "mode", "runtime"}),
    "task": frozenset(
        {"name", "id", "label", "service", "node", "desired-state", "up-to-date", "runtime"}
    ),
    "node": frozenset({"name", "id", "label", "node.label", "role", "membership"}),
    "secret": frozenset({"name", "names", "id", "label"}),
    "config": frozenset({"name", "names", "id", "label"}),
}


class Store:
    """Tables of all objects.

    Args:
        core: the Engine that tells events.
    """

    def __init__(self, core: Core) -> None:
        self._core = core
        self._index = 10
        self.services: dict[str, Service] = {}
        self.tasks: dict[str, Task] = {}
        self.nodes: dict[str, Node] = {}
        self.secrets: dict[str, Secret] = {}
        self.configs: dict[str, Config] = {}
        self.tasks_of: defaultdict[str, dict[str, Task]] = defaultdict(dict)
        self.desired: defaultdict[str, dict[str, Task]] = defaultdict(dict)
        self._names: dict[tuple[str, str], str] = {}

    def table(self, kind: str) -> dict[str, Any]:
        """All objects of a kind, by id."""
        found: dict[str, Any] = getattr(self, f"{kind}s")
        return found

    # --- changes ---------------------------------------------------------------------------

    def changed(self, one: Object) -> None:
        """It has another version from now on."""
        self._index += 1
        one.touch(self._index)

    def add(self, one: Object) -> None:
        """Keep it; of all but tasks an event tells."""
        self.have(one)
        if not isinstance(one, Task):
            self.tell(one, "create")

    def have(self, one: Object) -> None:
        """The same without an event."""
        self.changed(one)
        self.table(one.kind)[one.id] = one
        if isinstance(one, Task):
            one.tells_volumes = self._core.tells_volumes
            self.tasks_of[one.service.id][one.id] = one
            self.desired[one.desired][one.id] = one
        else:
            self._names[one.kind, one.name.lower()] = one.id

    def drop(self, one: Object) -> None:
        """Keep it no longer."""
        self.table(one.kind).pop(one.id, None)
        if isinstance(one, Task):
            tasks = self.tasks_of[one.service.id]
            tasks.pop(one.id, None)
            if not tasks:
                del self.tasks_of[one.service.id]
            self.desired[one.desired].pop(one.id, None)
        else:
            self._names.pop((one.kind, one.name.lower()), None)
            self.tell(one, "remove")

    def want(self, task: Task, desired: str) -> bool:
        """Want a task to be something further on; False when it is that already, or beyond."""
        if rank(desired) <= rank(task.desired):
            return False
        self.desired[task.desired].pop(task.id, None)
        task.desired = desired
        self.desired[desired][task.id] = task
        self.changed(task)
        return True

    def tell(self, one: Object, action: str, **more: str) -> None:
        """An event of it."""
        self._core.emit(one.kind, action, one.id, {"name": one.name, **more}, scope="swarm")

    # --- looking for them ------------------------------------------------------------------

    def find(self, kind: str, ref: str) -> Any:
        """By id, name or the beginning of an id."""
        table = self.table(kind)
        id = ref if ref in table else self._names.get((kind, ref.lower()))
        if id is None:
            id = next((id for id in table if id.startswith(ref)), None)
        if id is None:
            raise ApiError(404, f"{kind} {ref} not found")
        return table[id]

    def by_name(self, kind: str, name: str) -> Any:
        """The object that has a name, in whatever case; None where there is none."""
        id = self._names.get((kind, name.lower()))
        return None if id is None else self.table(kind)[id]

    def checked(self, kind: str, ref: str, version: str) -> Any:
        """One that is to be changed, as it was read."""
        one = self.find(kind, ref)
        if not version.isdigit():
            raise ApiError(400, f"invalid {kind} version '{version}'")
        if int(version) != one.index:
            raise ApiError(500, "rpc error: code = Unknown desc = update out of sequence")
        return one

    def listed(self, kind: str, filters: Mapping[str, list[str]]) -> list[Any]:
        """Those that fit the filters."""
        for name in filters:
            if name not in FILTERS[kind]:
                raise ApiError(400, f"Invalid filter '{name}'")
        if kind == "task":
            return [one for one in self._tasks(filters) if _fits(one, filters)]
        found = [one for one in self.table(kind).values() if _fits(one, filters)]
        modes = filters.get("mode")
        return [one for one in found if not modes or MODES[one.mode] in modes]

    def _tasks(self, filters: Mapping[str, list[str]]) -> Iterable[Task]:
        """Those of the services, nodes and desired states; looks at few where few are meant."""
        for state in filters.get("desired-state", ()):
            try:
                rank(state.lower())
            except KeyError:
                raise ApiError(500, f"Invalid desired-state filter: '{state}'") from None
        states = {state.lower() for state in filters.get("desired-state", ())}
        nodes = {self.find("node", ref).id for ref in filters.get("node", ())}
        services = [self.find("service", ref).id for ref in filters.get("service", ())]
        found: Iterable[Task] = self.tasks.values()
        if services:
            found = [one for id in services for one in self.tasks_of.get(id, {}).values()]
        elif states:
            found = [one for state in states for one in self.desired[state].values()]
        return (
            one
            for one in found
            if (not states or one.desired in states) and (not nodes or one.node_id in nodes)
        )


def _fits(one: Object, filters: Mapping[str, list[str]]) -> bool:
    """By name and id, of which the beginning is enough, and by labels."""
    names, ids, exact = filters.get("name"), filters.get("id"), filters.get("names")
    if names and not any(one.name.startswith(name) for name in names):
        return False
    if ids and not any(one.id.startswith(id) for id in ids):
        return False
    if exact and one.name not in exact:
        return False
    return has_labels(one.labels, filters.get("label", ()), podman=False)
