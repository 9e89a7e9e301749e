"""Homes that can be written: whose new volumes are, and directories of the host."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hub.client import server_url
from support.hub.hubproc import Hub, Hubs

PAGE = Path(__file__).parents[3] / "docs" / "host-homes.md"
UID, GID, GROUP = 20001, 30001, 30002


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the host has its users' homes; the Engine's host is this one."""
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(scope="module")
def hub(hubs: Hubs, homes: Path) -> Iterator[Hub]:
    """A Hub whose image runs as somebody who is not root; "set" users have their own."""
    config = f"""
        def uid(spawner):
            return {UID}

        async def gid(spawner):
            return {GID}

        def set_user(spawner):
            if spawner.user.name.startswith("set"):
                spawner.uid, spawner.gid = uid, gid
                spawner.supplemental_gids = [{GROUP}]

        c.DockerNamedSpawner.pre_spawn_hook = set_user
        c.DockerNamedSpawner.allowed_images = "*"
        c.DockerNamedSpawner.notebook_dir = "/home/{{username}}"
    """
    host = {f"{homes}/{{raw_username}}": "/home/{username}"}
    with hubs.running(config, by_user={"host": {"volumes": host}}) as hub:
        yield hub


@pytest.fixture(scope="module")
def image(hub: Hub) -> str:
    """An image with a user of its own, and no directory for anybody."""
    return hub.docker.flavour("user", "USER 1000:100")


def spawn(hub: Hub, name: str, image: str) -> Any:
    """Start a user's server; its container."""
    if hub.api("GET", f"/users/{name}").status == 404:
        hub.add_user(name)
    return hub.spawn(name, "exp", {"image": image})


def owner(hub: Hub, container: Any, path: str) -> str:
    """uid, gid and permissions of a path in a container."""
    return hub.docker.run(container, "stat", "-c", "%u %g %a", path).strip()


def test_a_directory_that_the_image_lacks(hub: Hub, image: str, user: str) -> None:
    """The server's user can save there; at the next start file and owner are as they were."""
    first = spawn(hub, user, image)
    home = f"/home/{user}"
    assert owner(hub, first, home) == "1000 100 755"
    hub.docker.run(first, "sh", "-c", f"echo saved > {home}/x; chmod 700 {home}")
    hub.halt(user, "exp")
    again = spawn(hub, user, image)
    assert again["Id"] != first["Id"]
    assert hub.docker.read(again, f"{home}/x") == "saved\n"
    assert owner(hub, again, home) == "1000 100 700"
    assert f"{user}/exp: The directory" not in hub.log()


def test_numbers_by_callables(hub: Hub, image: str) -> None:
    """The server runs as them, with further groups, and its new volume is theirs."""
    container = spawn(hub, "set-ann", image)
    ids = hub.docker.run(container, "sh", "-c", "id -u; id -g; id -G").splitlines()
    assert ids[:2] == [str(UID), str(GID)]
    assert str(GROUP) in ids[2].split()
    hub.docker.run(container, "touch", "/home/set-ann/x")
    assert owner(hub, container, "/home/set-ann/x").split()[:2] == [str(UID), str(GID)]


def test_a_home_that_cannot_be_written(hub: Hub, image: str, homes: Path) -> None:
    """It is told while the server starts, with whose it is, and not once that is set right."""
    home = homes / "host-ann"
    home.mkdir(mode=0o755)
    os.chown(home, 501, 20)
    spawn(hub, "host-ann", image)
    told = "The directory /home/host-ann is not writable for uid 1000: it belongs to uid 501"
    assert hub.log().count(f"host-ann/exp: {told}") == 1
    hub.halt("host-ann", "exp")
    os.chown(home, 1000, 100)
    container = spawn(hub, "host-ann", image)
    assert hub.log().count(told) == 1
    hub.docker.run(container, "touch", "/home/host-ann/x")
    assert (home / "x").stat().st_uid == 1000


def recipe() -> str:
    """The first block of the page about homes of the host."""
    found = re.search(r"## Homes of the host.*?```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    return found[1]


def test_the_recipe_for_users_of_the_host(hubs: Hubs, tmp_path: Path, user: str) -> None:
    """As the page has it, but for where homes are, and that the accounts are made up."""
    home = tmp_path / user
    home.mkdir(mode=0o700)
    os.chown(home, UID, GID)
    accounts = f"""
class pwd:
    def getpwnam(name):
        return type("Account", (), {{"pw_uid": {UID}, "pw_gid": {GID}}})
"""
    config = recipe().replace("import pwd\n", accounts).replace('{"/home/', f'{{"{tmp_path}/')
    with hubs.running(config) as hub:
        hub.add_user(user)
        container = hub.spawn(user, "exp")
        assert hub.docker.run(container, "id", "-u").strip() == str(UID)
        hub.docker.run(container, "sh", "-c", "echo mine > $HOME/x")
        written = home / "x"
        assert (written.read_text(), written.stat().st_uid) == ("mine\n", UID)
        assert hub.docker.volumes() == []
        assert "not writable" not in hub.log()


def test_a_notebook_is_saved(hubs: Hubs, lab_images: tuple[str, str], user: str) -> None:
    """JupyterLab's own user saves a file in a `notebook_dir` that its image lacks, and finds it."""
    config = 'c.DockerNamedSpawner.notebook_dir = "/data/{username}"'
    body = {"type": "file", "format": "text", "content": "kept"}
    with hubs.running(config, image=lab_images[0]) as hub:
        token = hub.add_user(user)
        file = f"{server_url(user, 'exp')}api/contents/x.txt"
        hub.spawn(user, "exp", token=token)
        assert hub.request("PUT", file, body, token=token).status == 201
        hub.halt(user, "exp")
        hub.spawn(user, "exp", token=token)
        assert hub.request("GET", file, token=token).json()["content"] == "kept"
