"""The tokens of JupyterHub's REST guide, each made as the guide says and used to start a server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from support.hub.hubproc import Hub, Hubs


def openssl_token() -> str:
    """As the guide has it: ``openssl rand -hex 32``."""
    made = subprocess.run(
        ["openssl", "rand", "-hex", "32"], capture_output=True, text=True, check=True
    )
    return made.stdout.strip()


SERVICE_TOKEN, OLD_TOKEN = openssl_token(), openssl_token()


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub with the guide's two kinds of tokens in its config."""
    config = f"""
        c.JupyterHub.services.append({{"name": "pipeline", "api_token": {SERVICE_TOKEN!r}}})
        c.JupyterHub.load_roles.append(
            {{
                "name": "pipeline",
                "services": ["pipeline"],
                "scopes": ["admin:users", "admin:servers"],
            }}
        )
        c.JupyterHub.api_tokens = {{{OLD_TOKEN!r}: "admin"}}
    """
    with hubs.running(config) as hub:
        yield hub


def start_by_curl(hub: Hub, user: str, token: str) -> None:
    """The guide's line starts a server, and there is a container."""
    line = 'curl -X POST -H "Authorization: token $TOKEN" "$API/users/$NAME/server"'
    answer = hub.curl(line, token=token, NAME=user)
    assert (answer.status, answer.text) == (201, "")
    assert hub.docker.one(user)["State"]["Running"]


def test_service_token_made_by_openssl(hub: Hub, user: str) -> None:
    """A service's token from `openssl rand -hex 32` adds a user, lists users, starts a server."""
    line = 'curl -X POST -H "Authorization: token $TOKEN" "$API/users/$NAME"'
    assert hub.curl(line, token=SERVICE_TOKEN, NAME=user).status == 201
    listed = hub.api("GET", "/users", token=SERVICE_TOKEN)
    assert user in [model["name"] for model in listed.json()]
    start_by_curl(hub, user, SERVICE_TOKEN)


def test_older_api_tokens_setting(hub: Hub, user: str) -> None:
    """A token in `c.JupyterHub.api_tokens` is its user's: an admin's starts anyone's server."""
    hub.add_user(user)
    me = hub.curl('curl -H "Authorization: token $TOKEN" $API/user', token=OLD_TOKEN)
    assert (me.status, me.json()["name"]) == (200, "admin")
    start_by_curl(hub, user, OLD_TOKEN)


def test_token_of_the_command_line(hub: Hub, user: str) -> None:
    """`jupyterhub token USER` prints a token with which USER starts their own server."""
    hub.add_user(user)
    token = hub.command("token", user).splitlines()[-1]
    start_by_curl(hub, user, token)
    assert hub.api("GET", "/user", token=token).json()["name"] == user


def test_token_made_through_the_api(hub: Hub, user: str) -> None:
    """A token made by POST /users/U/tokens works for U, is listed, and can be revoked."""
    hub.add_user(user)
    line = (
        'curl -X POST -H "Authorization: token $TOKEN" "$API/users/$NAME/tokens"'
        """ -d '{"note": "for the guide", "expires_in": 3600}'"""
    )
    made = hub.curl(line, NAME=user)
    assert made.status == 201
    token, token_id = made.json()["token"], made.json()["id"]
    start_by_curl(hub, user, token)
    listed = hub.api("GET", f"/users/{user}/tokens").json()["api_tokens"]
    assert "for the guide" in [one["note"] for one in listed]
    assert hub.api("DELETE", f"/users/{user}/tokens/{token_id}").status == 204
    assert hub.api("GET", "/user", token=token).status == 403


def test_scoped_token_does_what_its_scopes_say(hub: Hub, user: str) -> None:
    """A token that may only read servers sees them and can't start or stop any."""
    hub.add_user(user)
    reader = hub.token_for(user, scopes=["read:servers!user", "read:users:name!user"])
    line = 'curl -X POST -H "Authorization: token $TOKEN" "$API/users/$NAME/server"'
    refused = hub.curl(line, token=reader, NAME=user)
    assert (refused.status, refused.json()["status"]) == (403, 403)
    hub.docker.nothing_of(user)
    starter = hub.token_for(user, scopes=["servers!user", "read:servers!user"])
    start_by_curl(hub, user, starter)
    seen = hub.api("GET", f"/users/{user}", token=reader).json()["servers"]
    assert seen[""]["ready"]
    assert hub.api("DELETE", f"/users/{user}/server", token=reader).status == 403
    assert hub.docker.one(user)["State"]["Running"]
    assert hub.api("DELETE", f"/users/{user}/server", token=starter).status in (202, 204)


@pytest.mark.parametrize("token", ["wrong", "0" * 64])
def test_wrong_token_is_refused(hub: Hub, user: str, token: str) -> None:
    """Any other token, or none, gets 403 as JSON, and nothing is started."""
    hub.add_user(user)
    line = 'curl -X POST -H "Authorization: token $TOKEN" "$API/users/$NAME/server"'
    refused = hub.curl(line, token=token, NAME=user)
    assert (refused.status, refused.json()["status"]) == (403, 403)
    assert hub.curl('curl -X POST "$API/users/$NAME/server"', NAME=user).status == 403
    assert hub.api("GET", "/users", token=token).status == 403
    hub.docker.nothing_of(user)


def test_one_user_cannot_start_anothers_server(hub: Hub, user: str) -> None:
    """A user's token opens nothing of another user: 404, as if there were no such user."""
    hub.add_user(user)
    stranger = hub.add_user(f"not-{user}")
    assert hub.api("POST", f"/users/{user}/server", token=stranger).status in (403, 404)
    assert hub.api("GET", f"/users/{user}", token=stranger).status in (403, 404)
    hub.docker.nothing_of(user)
