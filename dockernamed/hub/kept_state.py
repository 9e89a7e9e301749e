"""What the Hub's database keeps of a server, beyond what JupyterHub reads and writes by itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..desired.resolved import ServerState

#: What servers were before → the command that removes one with what is private of it.
_REMOVAL = {"container": "container rm --force --volumes", "service": "service rm"}


def taken_up(kept: Mapping[str, Any], spawner: Any) -> ServerState:
    """What was kept of a server, for a spawner that takes it up.

    What it was as another kind of thing than the spawner's is forgotten; never its volumes.

    Args:
        kept: as the database has it.
        spawner: the server's.
    """
    state, ours = ServerState.from_json(kept), spawner.backend.kind
    if state.kind != ours and state.object_id:
        spawner.log.warning(
            "%s was started as a %s, %s, and counts as stopped, since servers are %ss now: if "
            "it still runs, remove it (docker %s)",
            *(spawner._log_name, state.kind, state.object_name, ours, _REMOVAL[state.kind]),
        )
    return state.as_kind(ours)


def note(spawner: Any, state: ServerState) -> None:
    """Have it in the database now.

    JupyterHub stores a state once the server answers. Until then the Hub may be killed, and the
    server live on.

    Args:
        spawner: the server's.
        state: what to keep of the server if this Hub ends before that.
    """
    noted, row = state.to_json(), spawner.orm_spawner
    if noted != row.state:
        row.state = {**spawner.get_state(), **noted}
        spawner.user.db.commit()
