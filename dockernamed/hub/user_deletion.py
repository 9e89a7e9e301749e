"""Deleting a user: all of it, or nothing.

JupyterHub stops the user's default server only, deletes the files of one server after the other,
and fails at the first one that still runs.
"""

from __future__ import annotations

from typing import Any

from tornado import web


def refuse_while_servers_run(authenticator: Any) -> None:
    """Have JupyterHub answer 409 instead, before anything of the user is deleted.

    Args:
        authenticator: the Hub's, which it asks before it deletes servers.
    """
    delete_user = authenticator.delete_user

    def delete_if_nothing_runs(user: Any) -> Any:
        running = [spawner.name for spawner in user.all_spawners() if spawner.active]
        if running:
            names = ", ".join(map(repr, running))
            message = f"{user.name} has running servers, stop them first: {names}"
            raise web.HTTPError(409, message)
        return delete_user(user)

    authenticator.delete_user = delete_if_nothing_runs
