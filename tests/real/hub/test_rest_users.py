"""Users, groups and services over the REST API, as JupyterHub's guide has it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.hub.hubproc import Hub, Hubs
from support.hub.waiting import eventually
from support.ports import free_port

SERVICE = Path(__file__).parents[2] / "support" / "hub" / "starter_service.py"


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub with a service that starts servers for those who ask it."""
    command = [
        sys.executable,
        str(Path(__file__).parents[2] / "support" / "hub" / "starter_service.py"),
    ]
    config = f"""
        c.JupyterHub.services.append(
            {{
                "name": "starter",
                "url": "http://127.0.0.1:{free_port()}",
                "command": {command!r},
            }}
        )
        c.JupyterHub.load_roles += [
            {{
                "name": "starter",
                "services": ["starter"],
                "scopes": ["servers", "read:users:name"],
            }},
            {{"name": "user", "scopes": ["self", "access:services!service=starter"]}},
        ]
    """
    with hubs.running(config) as hub:
        yield hub


def test_list_add_and_remove_users_by_curl(hub: Hub, user: str) -> None:
    """POST adds a user (201, then 409), GET lists them, DELETE removes (204, then 404)."""
    add = 'curl -X POST -H "Authorization: token $TOKEN" "$API/users/$NAME"'
    assert hub.curl(add, NAME=user).status == 201
    assert hub.curl(add, NAME=user).status == 409
    listed = hub.curl('curl -H "Authorization: token $TOKEN" "$API/users"')
    assert listed.status == 200
    assert user in [model["name"] for model in listed.json()]
    remove = 'curl -X DELETE -H "Authorization: token $TOKEN" "$API/users/$NAME"'
    assert hub.curl(remove, NAME=user).status == 204
    assert hub.curl(remove, NAME=user).status == 404
    assert hub.api("GET", f"/users/{user}").status == 404


def test_add_several_users_by_requests(hub: Hub, user: str) -> None:
    """POST /users with a list adds all of them at once."""
    names = [f"{user}-{n}" for n in range(3)]
    made = hub.api("POST", "/users", {"usernames": names, "admin": False})
    assert made.status == 201
    assert [model["name"] for model in made.json()] == names


def test_pagination(hub: Hub, user: str) -> None:
    """`limit` and `offset` page through the users; the newer media type says what comes next."""
    names = [f"{user}-{letter}" for letter in "abcde"]
    assert hub.api("POST", "/users", {"usernames": names}).status == 201
    everybody = [model["name"] for model in hub.api("GET", "/users").json()]
    paged: list[str] = []
    for offset in range(0, len(everybody), 2):
        page = hub.api("GET", "/users", params={"offset": offset, "limit": 2}).json()
        assert len(page) <= 2
        paged += [model["name"] for model in page]
    assert paged == everybody
    line = (
        'curl -H "Authorization: token $TOKEN" "$API/users?limit=2"'
        ' -H "Accept: application/jupyterhub-pagination+json"'
    )
    answer = hub.curl(line).json()
    assert len(answer["items"]) == 2
    assert answer["_pagination"]["total"] == len(everybody)
    assert answer["_pagination"]["next"]["offset"] == 2


def test_groups(hub: Hub, user: str) -> None:
    """The guide's `POST /groups/NAME/users` puts users into a group, DELETE takes them out."""
    names = [f"{user}-1", f"{user}-2"]
    assert hub.api("POST", "/users", {"usernames": names}).status == 201
    group = f"formgrade-{user}"
    assert hub.api("POST", f"/groups/{group}").status == 201
    answer = hub.api("POST", f"/groups/{group}/users", {"name": "mygroup", "users": names})
    assert (answer.status, sorted(answer.json()["users"])) == (200, names)
    line = (
        'curl -X DELETE -H "Authorization: token $TOKEN" "$API/groups/$GROUP/users"'
        """ -d "{\\"users\\": [\\"$NAME\\"]}" """
    )
    assert hub.curl(line, GROUP=group, NAME=names[0]).json()["users"] == names[1:]
    assert hub.api("GET", f"/users/{names[1]}").json()["groups"] == [group]
    assert hub.api("DELETE", f"/groups/{group}").status == 204


def test_a_service_starts_its_callers_server(hub: Hub, user: str) -> None:
    """A Hub-authenticated service knows its caller by token and starts that user's server."""
    token = hub.add_user(user)
    line = 'curl -X POST -H "Authorization: token $TOKEN" "$URL/services/starter/start/lab" -d ""'
    answer = eventually(
        lambda: hub.curl(line, token=token),
        lambda answer: answer.status != 503,  # the service itself is still starting
        what="the service listens",
    )
    assert (answer.status, answer.json()) == (201, {"started": f"{user}/lab"})
    assert hub.docker.one(user, "lab")["State"]["Running"]
    assert hub.curl(line, token="wrong").status == 403


def test_removing_a_user_removes_what_they_had(hub: Hub, user: str) -> None:
    """DELETE /users/U ends U's servers; neither containers nor server volumes stay behind."""
    hub.add_user(user)
    for server in ("", "lab"):
        hub.spawn(user, server)
    hub.halt(user, "lab")
    assert len(hub.docker.volumes()) >= 2
    assert hub.api("DELETE", f"/users/{user}").status == 204
    hub.docker.gone(user)
    hub.docker.nothing_of(user)
