"""Who is who: odd names, look-alikes, strangers' containers, several Hubs on one Engine."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from support.hub.client import server_path, server_url
from support.hub.dockerview import BUSYBOX, HUB, SERVER
from support.hub.hubproc import HUB6, Hub, Hubs

#: Server names that JupyterHub 5 let people use, and 6 still starts.
OLD_NAMES = ["A", "a", "My Server", "x" * 200, "データ", "a.b_c~d"]


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub with nothing special."""
    with hubs.running() as hub:
        yield hub


def make_old_servers(hub: Hub, user: str, names: list[str]) -> None:
    """Have servers of these names in the Hub's database, as JupyterHub 5 put them there."""
    if not HUB6:
        return  # there they are made by their first start
    hub.stop()
    with closing(sqlite3.connect(hub.directory / "jupyterhub.sqlite")) as database:
        (user_id,) = database.execute("SELECT id FROM users WHERE name = ?", (user,)).fetchone()
        database.executemany(
            "INSERT INTO spawners (user_id, name, state, user_options) VALUES (?, ?, '{}', '{}')",
            [(user_id, name) for name in names],
        )
        database.commit()
    hub.start()


def test_names_from_before_jupyterhub_6(hub: Hub, user: str) -> None:
    """`A` and `a`, spaces, 200 characters, other scripts: each its own container and files."""
    hub.add_user(user)
    make_old_servers(hub, user, OLD_NAMES)
    with ThreadPoolExecutor(len(OLD_NAMES)) as pool:
        list(pool.map(lambda name: hub.spawn(user, name), OLD_NAMES))
    for name in OLD_NAMES:
        container = hub.docker.one(user, name)
        assert container["Config"]["Labels"][SERVER] == name
        hub.docker.write(container, "/work/name.txt", name)
    containers = hub.docker.containers(user)
    assert len({c["Name"] for c in containers}) == len(OLD_NAMES)
    assert all(len(c["Name"].lstrip("/")) <= 63 for c in containers)
    for name in OLD_NAMES:
        assert hub.docker.read(hub.docker.one(user, name), "/work/name.txt") == name
        assert hub.request("GET", server_url(user, name)).status == 404  # busybox, by the proxy
    for name in OLD_NAMES:
        hub.halt(user, name)
    assert hub.docker.containers(user) == []


@pytest.mark.parametrize("name", ["Ünï-cødé@example.org", "名前", "{username}", "%s!"])
def test_odd_user_names(hub: Hub, name: str) -> None:
    """User names of any characters that JupyterHub takes: a container and a volume of their own."""
    made = hub.api("POST", server_path(name).removesuffix("/server"))
    assert made.status == 201, made
    user = made.json()["name"]  # in lower case
    container = hub.spawn(user)
    hub.docker.write(container, "/work/x", "x")
    hub.halt(user)
    assert hub.docker.read(hub.spawn(user), "/work/x") == "x"
    hub.halt(user)
    assert hub.api("DELETE", server_path(user).removesuffix("/server")).status == 204
    hub.docker.nothing_of(user)


def test_pairs_that_join_alike_run_at_once(hub: Hub, user: str) -> None:
    """('u', 'b-c') and ('u-b', 'c') have different containers, volumes and OAuth clients."""
    pairs = [(user, "b-c"), (f"{user}-b", "c")]
    containers = []
    for name, server in pairs:
        hub.add_user(name)
        containers.append(hub.spawn(name, server))
    environments = [hub.docker.environment(container) for container in containers]
    assert environments[0]["JUPYTERHUB_CLIENT_ID"] != environments[1]["JUPYTERHUB_CLIENT_ID"]
    assert containers[0]["Name"] != containers[1]["Name"]
    volumes = [hub.docker.mounted(container)["/work"]["Name"] for container in containers]
    assert volumes[0] != volumes[1]
    hub.halt(*pairs[0])
    assert hub.docker.one(*pairs[1])["State"]["Running"]
    assert hub.servers(pairs[1][0])["c"]["ready"]


def stranger(hub: Hub, name: str) -> str:
    """Somebody else's running container; its id."""
    made = hub.docker.client.create_container(BUSYBOX, name=name, labels={"mine": "yes"})
    hub.docker.client.start(made["Id"])
    return str(made["Id"])


def test_a_strangers_container_is_left_alone(hub: Hub, user: str) -> None:
    """Our name is somebody else's: theirs runs on untouched, ours gets the Hub's suffix."""
    hub.add_user(user)
    theirs = stranger(hub, f"{hub.prefix}-{user}")
    ours = hub.spawn(user)
    assert ours["Id"] != theirs
    assert ours["Name"].startswith(f"/{hub.prefix}-{user}")
    hub.halt(user)
    hub.docker.gone(user)
    state = hub.docker.client.inspect_container(theirs)
    assert (state["State"]["Running"], state["RestartCount"]) == (True, 0)
    # The second name is taken as well: an answer that says so, and still nobody is touched.
    others = stranger(hub, ours["Name"].lstrip("/"))
    answer = hub.api("POST", f"/users/{user}/server")
    assert answer.status >= 400
    assert ours["Name"].lstrip("/") in answer.message
    assert hub.docker.containers(user) == []
    for container in (theirs, others):
        assert hub.docker.client.inspect_container(container)["State"]["Running"]
        hub.docker.client.remove_container(container, force=True, v=True)
    assert hub.spawn(user)["Name"] == f"/{hub.prefix}-{user}"


def test_two_hubs_on_one_engine(hubs: Hubs, user: str) -> None:
    """Same prefix, same users, same server names: two Hubs work side by side and never meet."""
    prefix = hubs.prefix()
    keep = "c.JupyterHub.cleanup_servers = False"
    with (
        hubs.running(keep, prefix=prefix, leaves=[user]) as one,
        hubs.running(keep, prefix=prefix, leaves=[user]) as two,
    ):
        labels = {}
        for hub, text in ((one, "one"), (two, "two")):
            hub.add_user(user)
            for server in ("", "exp"):
                answer = hub.api("POST", server_path(user, server))
                assert answer.status == 201, answer
            last = hub.docker.containers(user, "exp")[-1]
            labels[text] = last["Config"]["Labels"][HUB]
            hub.docker.hub = labels[text]
            hub.docker.write(hub.docker.one(user, "exp"), "/work/whose", text)
        assert labels["one"] != labels["two"]
        ids = {hub.docker.one(user, server)["Id"] for hub in (one, two) for server in ("", "exp")}
        assert len(ids) == 4
        for hub, text in ((one, "one"), (two, "two")):
            assert hub.docker.read(hub.docker.one(user, "exp"), "/work/whose") == text
        # One Hub restarts, stops and starts servers: nothing of the other's is touched.
        before = [container["Id"] for container in two.docker.containers()]
        one.kill()
        one.start()
        one.ready(user, "exp")
        one.halt(user, "exp")
        one.halt(user)
        assert [container["Id"] for container in two.docker.containers()] == before
        assert all(container["State"]["Running"] for container in two.docker.containers())
        assert two.servers(user)["exp"]["ready"]
        again = one.spawn(user, "exp")
        assert one.docker.read(again, "/work/whose") == "one"
        one.docker.hub = None
        assert len(one.docker.containers(user)) == 3
        for hub, server in ((one, "exp"), (two, "exp"), (two, "")):
            hub.halt(user, server)
