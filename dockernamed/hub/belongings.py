"""Which containers and volumes are one server's, whatever it and others were called before.

Labels on the Engine say who had a thing when it was made. What the Hub keeps, of this server and of
all others, decides before them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..backends.observed import ObservedContainer
from ..backends.table import Table
from ..desired.provenance import ServerRef
from ..desired.resolved import ResolvedSettings, ServerState
from ..desired.volumes import VolumePlan, is_of_server, plan_volumes
from .ownership import OfOthers, of_others


class Belongings:
    """What one server has, of what there is.

    Args:
        spawner: the server's.
        table: what there is.
        state: what the Hub keeps of the server.
    """

    def __init__(self, spawner: Any, table: Table, state: ServerState) -> None:
        self._spawner, self._table, self._state = spawner, table, state

    @property
    def server(self) -> ServerRef:
        """Whose containers are the server's own."""
        others = self._of_others().containers
        return ServerRef(self._spawner.key, self._state.object_id, others, self._state.made)

    def made(self, id: str) -> Mapping[str, str]:
        """`ServerState.made` for a container that is its own, and for earlier ones with copies."""
        before = self._state.made
        copied = {one.start for one in self._found() if before.get(one.start, one.id) != one.id}
        earlier = {start: made for start, made in before.items() if start in copied}
        record = self._table.get(id)
        return {**earlier, record.start: id} if record is not None and record.start else earlier

    def volumes(
        self, settings: ResolvedSettings, image: Mapping[str, Any]
    ) -> tuple[VolumePlan, OfOthers]:
        """Its mounts, and what other servers have of what it might take for its own.

        Args:
            settings: of a start.
            image: ``GET /images/{name}/json``.
        """
        names = [one.mount.source for one in settings.volumes.all if one.is_named_volume]
        others = self._of_others(*settings.names, *names)
        plan = plan_volumes(
            settings.volumes,
            settings.key,
            home=settings.home(image),
            remembered=self._state.volumes,
            taken=others.volumes,
            elsewhere=others.volumes_of_other_users,
        )
        return plan, others

    def volumes_to_delete(self, volumes: Mapping[str, Mapping[str, str]]) -> list[str]:
        """Those volumes that go with the server, since nobody else has them.

        Args:
            volumes: name → labels.
        """
        own, key = set(self._state.volumes.values()), self._spawner.key
        mine = [name for name, labels in volumes.items() if is_of_server(name, labels, key, own)]
        taken = self._of_others(*mine).volumes
        return [name for name in mine if name not in taken]

    def _found(self) -> list[ObservedContainer]:
        return self._table.find(self._spawner.user.name, self._spawner.name)

    def _of_others(self, *mentions: str) -> OfOthers:
        """What other servers of the Hub have of some names, and of this server's containers."""
        ids = [record.id for record in self._found()]
        return of_others(self._spawner.user.db, self._spawner.orm_spawner, [*mentions, *ids])
