"""Secrets that a server has, looked for from outside: in all that the Engine and the Hub show."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hub.client import server_path
from support.hub.hubproc import Hub, Hubs
from support.hub.waiting import eventually

from dockernamed.desired.private import ENV_FILE, PRIVATE_DIR

PASSWORD = "c0rrect 'horse'\n$HOME \\ \u2028 ä"
KEY = "b4ttery-staple"
HELD = (PASSWORD.splitlines()[0], KEY)
CONFIG = """
c.JupyterHub.cleanup_servers = False

async def variables(spawner):
    return {{"DB": {password!r}, "OF_USER": "s3cret-of-" + spawner.user.name}}

c.DockerNamedSpawner.secret_environment = variables
c.DockerNamedSpawner.secret_files = {{
    "/etc/dockernamed-test/key": {{"content": lambda spawner: {key!r}, "mode": 0o440}},
}}
c.DockerNamedSpawner.profile_list = [
    {{"slug": slug, "display_name": slug, "spawner_override": override}}
    for slug, override in {profiles!r}.items()
]
"""
#: The environment of the process of the image's command, which is no child of the shell's.
FIND = "for p in /proc/[0-9]*; do grep -q httpd $p/comm && cat $p/environ && break; done"


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub whose servers have secrets, with a profile for each kind of container."""
    prefix = hubs.prefix()
    profiles = {
        "root": {},
        "user": {"uid": 1234, "gid": 77},
        "strict": {
            "uid": 1234,
            "remove": False,
            "extra_host_config": {"read_only": True, "cap_drop": ["ALL"], "tmpfs": {"/run": ""}},
            "secret_files": {
                "/etc/dockernamed-test/key": None,
                "/run/dockernamed/files/key": KEY,
            },
        },
        "kept": {"remove": False},
        "crash": {"cmd": ["sh", "-c", "env; cat /etc/dockernamed-test/key; exit 3"]},
    }
    config = CONFIG.format(password=PASSWORD, key=KEY, profiles=profiles)
    with hubs.running(config, prefix=prefix) as hub:
        yield hub


def environment(hub: Hub, container: Any) -> dict[str, str]:
    """What the server's own process has; asked by root, whom capabilities may be missing.

    A container that somebody has just restarted has that process a moment later.
    """
    user = container["Config"].get("User") or "root"

    def look() -> dict[str, str]:
        created = hub.docker.client.exec_create(container["Id"], ["sh", "-c", FIND], user=user)
        found = hub.docker.client.exec_start(created["Id"]).decode()
        return dict(entry.split("=", 1) for entry in found.split("\0") if "=" in entry)

    return eventually(look, what="the environment of the server's process")


def outside(hub: Hub, user: str, container: Any) -> Iterator[tuple[str, bytes]]:
    """All that can be seen without going into the container: where, and what stands there."""
    client, id = hub.docker.client, container["Id"]
    yield "inspect", json.dumps(client.inspect_container(id)).encode()
    yield "list", json.dumps(client.containers(all=True), default=str).encode()
    yield "volumes", json.dumps(client.volumes()).encode()
    yield "log", client.logs(id)
    yield "diff", json.dumps(client.diff(id) or []).encode()
    yield "export", b"".join(client.export(id))
    image = client.commit(id)
    try:
        yield "commit", b"".join(client.get_image(image["Id"]))
    finally:
        client.remove_image(image["Id"])
    yield (
        "REST",
        json.dumps(hub.api("GET", f"/users/{user}?include_stopped_servers").json()).encode(),
    )
    yield "database", b"".join(path.read_bytes() for path in Path(hub.directory).glob("*.sqlite*"))
    yield "Hub's log", hub.log_file.read_bytes()


def private_volumes(hub: Hub, container: Any) -> list[Any]:
    """Volumes of the Hub that belong to no server: those with what is private."""
    label = f"dockernamed.hub={container['Config']['Labels']['dockernamed.hub']}"
    found = hub.docker.client.volumes(filters={"label": label})["Volumes"] or []
    return [one for one in found if "dockernamed.server" not in one["Labels"]]


@pytest.mark.parametrize("profile", ["root", "user", "strict", "kept"])
def test_nobody_sees_them(hub: Hub, user: str, profile: str) -> None:
    """The server has its tokens and secrets, and nothing outside of its container shows them.

    So also after its container was restarted by others, and in its next run.
    """
    hub.add_user(user)
    container = hub.spawn(user, "exp", {"profile": profile})
    assert len(private_volumes(hub, container)) == 1
    for _ in range(2):
        inside = environment(hub, container)
        assert inside["DB"] == PASSWORD
        assert inside["OF_USER"] == f"s3cret-of-{user}"
        token = inside["JUPYTERHUB_API_TOKEN"]
        assert hub.api("GET", "/user", token=token).json()["name"] == user
        key = "/run/dockernamed/files/key" if profile == "strict" else "/etc/dockernamed-test/key"
        assert hub.docker.read(container, key) == KEY
        words = [word.encode() for word in (*HELD, inside["OF_USER"], token)]
        for where, text in outside(hub, user, container):
            assert len(text) > 0 or where in ("log", "diff")
            assert [word for word in words if word in text] == [], where
        owner = "1234" if profile in ("user", "strict") else "0"
        assert hub.docker.run(container, "stat", "-c", "%u %a", ENV_FILE).split() == [owner, "400"]
        hub.docker.client.restart(container["Id"], timeout=0)
        hub.ready(user, "exp")
        assert environment(hub, container) == inside
        hub.halt(user, "exp")
        container = hub.spawn(user, "exp", {"profile": profile})
    hub.halt(user, "exp", remove=True)
    assert private_volumes(hub, container) == []


def test_another_user_of_the_container(hub: Hub, user: str) -> None:
    """A process that runs as somebody else in the container cannot read them either."""
    hub.add_user(user)
    container = hub.spawn(user, "exp", {"profile": "user"})
    client = hub.docker.client
    for path in (ENV_FILE, "/etc/dockernamed-test/key"):
        created = client.exec_create(container["Id"], ["cat", path], user="4321:4321")
        assert b"ermission denied" in client.exec_start(created["Id"])
    created = client.exec_create(container["Id"], ["touch", f"{PRIVATE_DIR}/x"], user="1234:77")
    assert b"ermission denied" in client.exec_start(created["Id"])
    hub.halt(user, "exp")


def test_a_crash_shows_none(hub: Hub, user: str) -> None:
    """The last lines of a server that prints all it has come without its secrets."""
    hub.add_user(user)
    answer = hub.api("POST", server_path(user, "exp"), {"profile": "crash"})
    assert answer.status == 500
    assert "exit code 3" in answer.message
    assert "[hidden]" in answer.message
    assert [word for word in (*HELD, f"s3cret-of-{user}") if word in answer.message] == []
    assert [word for word in (*HELD, f"s3cret-of-{user}") if word in hub.log_file.read_text()] == []
