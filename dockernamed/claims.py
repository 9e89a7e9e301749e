"""Which volumes the Hub's other servers remember, whatever they and their users are called now."""

from __future__ import annotations

from typing import Any

from jupyterhub import orm
from sqlalchemy import Text, literal_column

#: As text: JSON has names of volumes as they are.
_STATE = literal_column("spawners.state", Text)


class Claims:
    """``name in claims``: another server of this Hub remembers a volume as its own.

    Each costs one query, which reads nothing of servers that do not mention the name.

    Args:
        db: the Hub's database.
        row: the server that asks.
        elsewhere: ask of other users' servers alone.
    """

    def __init__(self, db: Any, row: Any, *, elsewhere: bool = False) -> None:
        self._db = db
        mine = orm.Spawner.user_id == row.user_id if elsewhere else orm.Spawner.id == row.id
        self._others = ~mine

    def __contains__(self, name: object) -> bool:
        mentions = _STATE.contains(f'"{name}"', autoescape=True)
        rows = self._db.query(orm.Spawner).filter(self._others, mentions)
        return any(name in ((row.state or {}).get("volumes") or {}).values() for row in rows)
