"""Whose is what, from the Hub's database, whatever users and servers are called by now.

Labels on the Engine say who had a thing when it was made. Users and servers can be renamed since:
the database knows which server a container or volume belongs to now.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

from jupyterhub import orm
from sqlalchemy import Text, literal_column, or_

from ..desired.resolved import ServerState
from ..lifecycle.orphans import KnownServer

#: As text: JSON has names of volumes and ids as they are.
STATE = literal_column("spawners.state", Text)


@dataclass(frozen=True)
class OfOthers:
    """What other servers of the Hub have.

    Attributes:
        containers: ids.
        volumes: names.
        volumes_of_other_users: those that servers of other users have.
    """

    containers: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()
    volumes_of_other_users: frozenset[str] = frozenset()


def of_others(db: Any, row: orm.Spawner, mentions: Collection[str]) -> OfOthers:
    """What other servers than one have, as far as it is called by one of some names.

    One query, which reads nothing of servers that mention none of them.

    Args:
        db: the Hub's database.
        row: the server that asks.
        mentions: ids and names of containers, and names of volumes; also a name's beginning.
    """
    if not mentions:
        return OfOthers()
    mentioned = or_(*(STATE.contains(f'"{one}', autoescape=True) for one in mentions))
    others = db.query(orm.Spawner).filter(orm.Spawner.id != row.id, mentioned)
    containers, volumes, elsewhere = set[str](), set[str](), set[str]()
    for other in others:
        state = ServerState.from_json(other.state or {})
        containers.update((state.object_id, *state.made.values()))
        volumes.update(state.volumes.values())
        if other.user_id != row.user_id:
            elsewhere.update(state.volumes.values())
    return OfOthers(frozenset(containers - {""}), frozenset(volumes), frozenset(elsewhere))


def ports_of_others(db: Any, row: orm.Spawner) -> set[int]:
    """TCP ports of the Engine's host that other servers than one have, running or starting."""
    others = db.query(orm.Spawner).filter(
        orm.Spawner.id != row.id, orm.Spawner.server_id.is_not(None), STATE.contains('"on_host"')
    )
    kept = [ServerState.from_json(other.state or {}).settings for other in others]
    return {settings.port for settings in kept if settings is not None and settings.on_host}


def servers_of(app: Any) -> Iterator[KnownServer]:
    """All servers that a Hub knows, running or not: one query, no wrapper is made for it."""
    rows = app.db.query(orm.User.id, orm.User.name, orm.Spawner).join(
        orm.Spawner, orm.Spawner.user_id == orm.User.id
    )
    for user_id, user_name, found in rows:
        # dict.get: UserDict's own makes a User for each one asked for.
        user = dict.get(app.users, user_id)
        spawner = user.spawners[found.name] if user and found.name in user.spawners else None
        state = ServerState.from_json(found.state or {})
        yield KnownServer(
            user=user_name,
            server=found.name,
            active=found.server_id is not None or (spawner is not None and spawner.active),
            object_id=getattr(spawner, "object_id", "") or state.object_id,
            settings=state.settings,
            made=state.made,
        )
