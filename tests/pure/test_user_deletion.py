"""A user whose servers run is not deleted by halves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tornado import web

from dockernamed.hub.user_deletion import refuse_while_servers_run


def authenticator() -> tuple[Any, list[str]]:
    """One that notes whom it deletes, and its notes."""
    deleted: list[str] = []

    def delete_user(user: Any) -> str:
        deleted.append(user.name)
        return "done"

    found = SimpleNamespace(delete_user=delete_user)
    refuse_while_servers_run(found)
    return found, deleted


def user(**servers: bool) -> Any:
    """A user with servers: name → it runs."""
    spawners = [SimpleNamespace(name=name, active=active) for name, active in servers.items()]
    return SimpleNamespace(name="ann", all_spawners=lambda: spawners)


def test_refused_while_servers_run() -> None:
    """409 names them, and the admin's authenticator is not asked to delete anybody."""
    found, deleted = authenticator()
    with pytest.raises(web.HTTPError, match="'a', 'c'") as refused:
        found.delete_user(user(a=True, b=False, c=True))
    assert refused.value.status_code == 409
    assert "'b'" not in str(refused.value)
    assert deleted == []


def test_deleted_when_none_runs() -> None:
    """The authenticator does what it did before, and what it returns counts."""
    found, deleted = authenticator()
    assert found.delete_user(user(a=False)) == "done"
    assert deleted == ["ann"]
