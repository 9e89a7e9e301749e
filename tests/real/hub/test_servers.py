"""Starting and stopping default and named servers, by the lines of JupyterHub's guide."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.hub.client import server_url
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import Hub, Hubs
from support.hub.waiting import eventually

START = 'curl -X POST -H "Authorization: token $TOKEN" "$API/users/$NAME/$SERVER"'
STOP = 'curl -X DELETE -H "Authorization: token $TOKEN" "$API/users/$NAME/$SERVER"'


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub with an image that works, and one that ends at once."""
    prefix = hubs.prefix()
    config = f"""
        c.DockerNamedSpawner.allowed_images = {{
            "web": {BUSYBOX!r}, "crash": "{prefix}-crash:latest", "bad": "{prefix}-bad:latest"
        }}
        c.DockerNamedSpawner.image = "web"
    """
    with hubs.running(config, prefix=prefix) as hub:
        hub.docker.flavour("crash", 'CMD ["sh", "-c", "echo these are my last words; exit 3"]')
        hub.docker.flavour("bad", 'CMD ["/no/such/program"]')
        yield hub


def test_default_server_by_curl(hub: Hub, user: str) -> None:
    """POST /users/U/server starts U's container (201); DELETE removes it (204), not its volume."""
    hub.add_user(user)
    answer = hub.curl(START, NAME=user, SERVER="server")
    assert (answer.status, answer.text) == (201, "")
    container = hub.docker.one(user)
    assert container["Name"] == f"/{hub.prefix}-{user}"
    labels = container["Config"]["Labels"]
    assert (labels["dockernamed.user"], labels["dockernamed.server"]) == (user, "")
    assert labels["dockernamed.hub"]
    assert hub.servers(user)[""]["ready"]
    assert hub.curl(STOP, NAME=user, SERVER="server").status == 204
    hub.docker.gone(user)
    assert hub.servers(user) == {}
    [volume] = [v for v in hub.docker.volumes() if v["Labels"]["dockernamed.user"] == user]
    assert volume["Labels"]["dockernamed.server"] == ""


def test_named_servers_run_side_by_side(hub: Hub, user: str) -> None:
    """POST …/servers/A and …/servers/B, by the user's own token: two containers at once."""
    token = hub.add_user(user)
    for server in ("exp-a", "exp-b"):
        assert hub.curl(START, token=token, NAME=user, SERVER=f"servers/{server}").status == 201
    assert [c["Name"] for c in hub.docker.containers(user)] == [
        f"/{hub.prefix}-{user}--exp-a",
        f"/{hub.prefix}-{user}--exp-b",
    ]
    models = hub.servers(user)
    assert {name: model["ready"] for name, model in models.items()} == {
        "exp-a": True,
        "exp-b": True,
    }
    for server in ("exp-a", "exp-b"):  # the proxy's route leads to the server's own web server
        there = hub.request("GET", server_url(user, server), token=token)
        assert there.status == 404, there
        assert "JupyterHub" not in there.text
    hub.docker.write(hub.docker.one(user, "exp-a"), "/work/only-a", "a")
    assert "only-a" not in hub.docker.run(hub.docker.one(user, "exp-b"), "ls", "/work")
    assert hub.curl(STOP, token=token, NAME=user, SERVER="servers/exp-a").status == 204
    hub.docker.gone(user, "exp-a")
    assert hub.docker.one(user, "exp-b")["State"]["Running"]


def test_remove_forgets_the_server_and_its_files(hub: Hub, user: str) -> None:
    """DELETE with {"remove": true} ends a named server for good: no model, no volume."""
    hub.add_user(user)
    hub.spawn(user, "keep")
    container = hub.spawn(user, "drop")
    assert "/work" in hub.docker.mounted(container)
    line = f"""{STOP} -d '{{"remove": true}}'"""
    assert hub.curl(line, NAME=user, SERVER="servers/drop").status in (202, 204)
    eventually(
        lambda: hub.servers(user, stopped=True),
        lambda servers: sorted(servers) in (["", "keep"], ["keep"]),
        what="the server is forgotten",
    )
    left = eventually(
        lambda: [v for v in hub.docker.volumes() if v["Labels"]["dockernamed.user"] == user],
        lambda volumes: len(volumes) == 1,
        what="the server's volume is removed",
    )
    assert left[0]["Labels"]["dockernamed.server"] == "keep"
    hub.docker.gone(user, "drop")
    hub.halt(user, "keep")
    hub.forget(user, "keep")
    hub.docker.nothing_of(user)


def test_status_codes(hub: Hub, user: str) -> None:
    """400 for a second start and for removing the default server; 404 for what isn't there."""
    hub.add_user(user)
    hub.spawn(user)
    again = hub.curl(START, NAME=user, SERVER="server")
    assert (again.status, "already running" in again.message) == (400, True)
    remove = hub.api("DELETE", f"/users/{user}/server", {"remove": True})
    assert remove.status == 400
    assert hub.docker.one(user)["State"]["Running"]
    assert hub.curl(STOP, NAME=user, SERVER="servers/nothing").status == 404
    assert hub.curl(START, NAME=f"no-{user}", SERVER="server").status == 404
    assert hub.curl(START, NAME=f"no-{user}", SERVER="servers/a").status == 404


def test_many_starts_at_once(hub: Hub, user: str) -> None:
    """Six servers of one user, asked for at the same time, are six containers."""
    hub.add_user(user)
    names = [f"s{n}" for n in range(6)]
    with ThreadPoolExecutor(len(names)) as pool:
        answers = list(
            pool.map(lambda name: hub.curl(START, NAME=user, SERVER=f"servers/{name}"), names)
        )
    assert [answer.status for answer in answers] == [201] * len(names)
    running = [c for c in hub.docker.containers(user) if c["State"]["Running"]]
    assert sorted(c["Config"]["Labels"]["dockernamed.server"] for c in running) == names
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: hub.halt(user, name), names))
    assert hub.docker.containers(user) == []


def test_a_server_that_dies_at_its_start_says_why(hub: Hub, user: str) -> None:
    """The answer to POST has the exit code and the last words; the container is gone."""
    hub.add_user(user)
    answer = hub.api("POST", f"/users/{user}/servers/exp", {"image": "crash"})
    assert answer.status >= 400
    assert "exit code 3" in answer.message
    assert "these are my last words" in answer.message
    hub.docker.gone(user)
    assert "exp" not in hub.servers(user)
    assert hub.api("POST", f"/users/{user}/servers/exp", {"image": "web"}).status == 201


def test_an_image_whose_program_is_missing_says_so(hub: Hub, user: str) -> None:
    """The Engine's own words about a bad command come back; the container is gone."""
    hub.add_user(user)
    answer = hub.api("POST", f"/users/{user}/server", {"image": "bad"})
    assert answer.status >= 400
    assert "/no/such/program" in answer.message
    hub.docker.gone(user)


def test_death_of_a_server_is_noticed_at_once(hub: Hub, user: str) -> None:
    """A container that is killed behind the Hub's back is no longer a running server."""
    hub.add_user(user)
    container = hub.spawn(user, "exp")
    hub.docker.client.kill(container["Id"])
    # Far sooner than the Hub's own poll, which comes every 30 s.
    eventually(
        lambda: hub.servers(user),
        lambda servers: "exp" not in servers,
        what="the Hub knows that the server has died",
        timeout=20,
    )
    hub.docker.gone(user)
    assert hub.spawn(user, "exp")["Id"] != container["Id"]


@pytest.mark.jupyterhub6
def test_put_and_get_one_server(hub: Hub, user: str) -> None:
    """PUT makes a server without starting it, with its options; GET shows it; POST starts it."""
    hub.add_user(user)
    path = f"/users/{user}/servers/exp"
    assert hub.api("GET", path).status == 404
    body = {"display_name": "My experiment", "user_options": {"image": "web"}}
    assert hub.api("PUT", path, body).status == 201
    model = hub.api("GET", path).json()
    assert (model["display_name"], model["ready"]) == ("My experiment", False)
    hub.docker.nothing_of(user)
    assert hub.api("PUT", path, body).status == 409
    assert hub.api("POST", path).status == 201
    assert hub.docker.one(user, "exp")["Config"]["Image"] == BUSYBOX
    assert hub.api("GET", path).json()["ready"]
    assert hub.api("GET", path).json()["display_name"] == "My experiment"


@pytest.mark.jupyterhub6
def test_rename_takes_the_files_along(hub: Hub, user: str) -> None:
    """PATCH with a new name: its files are there under the new name, and not under the old one."""
    hub.add_user(user)
    container = hub.spawn(user, "before")
    hub.docker.write(container, "/work/x.txt", "kept")
    running = hub.api("PATCH", f"/users/{user}/servers/before", {"name": "after"})
    assert running.status == 400
    hub.halt(user, "before")
    renamed = hub.api("PATCH", f"/users/{user}/servers/before", {"name": "after"})
    assert (renamed.status, renamed.json()["name"]) == (200, "after")
    assert hub.api("GET", f"/users/{user}/servers/before").status == 404
    after = hub.spawn(user, "after")
    assert hub.docker.read(after, "/work/x.txt") == "kept"
    before = hub.spawn(user, "before")
    assert hub.docker.run(before, "ls", "/work") == ""


@pytest.mark.jupyterhub6
def test_patch_options_and_display_name(hub: Hub, user: str) -> None:
    """PATCH sets the options of the next start and the display name, of a stopped server."""
    hub.add_user(user)
    path = f"/users/{user}/servers/exp"
    hub.spawn(user, "exp", {"image": "web"})
    hub.halt(user, "exp")
    answer = hub.api("PATCH", path, {"user_options": {"image": "crash"}, "display_name": "Boom"})
    assert (answer.status, answer.json()["display_name"]) == (200, "Boom")
    failed = hub.api("POST", path)
    assert (failed.status >= 400, "last words" in failed.message) == (True, True)
    unknown = hub.api("PATCH", path, {"user_options": {"image": "nope"}})
    refused = hub.api("POST", path)
    assert unknown.status == 400 or refused.status == 400
    hub.docker.gone(user)
