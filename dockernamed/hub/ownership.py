"""What the Hub's other servers have, whatever they and their users are called by now."""

from __future__ import annotations

from typing import Any

from jupyterhub import orm
from sqlalchemy import Text, literal_column

#: As text: JSON has names of volumes and ids as they are.
_STATE = literal_column("spawners.state", Text)


class Ownership:
    """``this in claims``: a volume's name or a container's id is another server's of this Hub.

    Each costs one query, which reads nothing of servers that do not mention it.

    Args:
        db: the Hub's database.
        row: the server that asks.
        elsewhere: ask of other users' servers alone.
    """

    def __init__(self, db: Any, row: Any, *, elsewhere: bool = False) -> None:
        self._db = db
        mine = orm.Spawner.user_id == row.user_id if elsewhere else orm.Spawner.id == row.id
        self._others = ~mine

    def __contains__(self, this: object) -> bool:
        mentions = _STATE.contains(f'"{this}"', autoescape=True)
        states = (row.state for row in self._db.query(orm.Spawner).filter(self._others, mentions))
        return any(
            this in (state.get("object_id"), *state.get("volumes", {}).values()) for state in states
        )
