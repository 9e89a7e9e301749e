"""Files: what is mounted where, what stays, what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hub.dockerview import SERVER, USER
from support.hub.hubproc import Hub, Hubs

SHARED = {
    "{prefix}-home-{username}": "/home",
    "{prefix}-own-{user_server}": {"bind": "/own", "mode": "rw"},
}


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the Engine's host, which is this one."""
    directory = tmp_path_factory.mktemp("course")
    (directory / "lesson.txt").write_text("lesson one")
    return directory


@pytest.fixture(scope="module")
def hub(hubs: Hubs, course: Path) -> Iterator[Hub]:
    """A Hub with volumes by template, whose users may have other settings by their names."""
    settings = {
        "plain": {"volumes": {}, "read_only_volumes": {}, "mounts": []},
        "unknown": {"volumes": {"home-{usrname}": "/home"}},
        "reaching": {"volumes": {"home-{username.__class__}": "/home"}},
        "twice": {"volumes": {"one-{username}": "/x", "two-{username}": "/x"}},
        "relative": {"volumes": {"home-{username}": "home"}},
        "notemplate": {"server_volume": "", "volumes": {}},
        "root": {"extra_create_kwargs": {"working_dir": "/"}, "volumes": {}},
        "notebooks": {"notebook_dir": "/home/{username}/nb"},
        "kept": {
            **{"remove": False, "server_volume": "", "allowed_images": "*"},
            **{"volumes": {}, "read_only_volumes": {}, "mounts": []},
        },
    }
    config = f"""
        c.DockerNamedSpawner.volumes = {SHARED!r}
        c.DockerNamedSpawner.read_only_volumes = {{{str(course)!r}: "/course"}}
        c.DockerNamedSpawner.mounts = [
            {{"type": "tmpfs", "target": "/scratch", "tmpfs_size": 1048576}},
            {{"type": "volume", "source": "{{prefix}}-data", "target": "/data", "read_only": True}},
        ]
    """
    with hubs.running(config, by_user=settings) as hub:
        yield hub


def test_server_volume_by_default(hub: Hub, user: str) -> None:
    """A named volume of the server's own, labelled, at the image's working directory."""
    user = f"plain-{user}"
    hub.add_user(user)
    container = hub.spawn(user, "exp")
    [mount] = hub.docker.mounted(container).values()
    assert (mount["Type"], mount["Destination"], mount["RW"]) == ("volume", "/work", True)
    volume = hub.docker.client.inspect_volume(mount["Name"])
    assert (volume["Labels"][USER], volume["Labels"][SERVER]) == (user, "exp")
    hub.docker.write(container, "/work/x", "kept")
    hub.halt(user, "exp")
    hub.docker.gone(user)
    assert hub.docker.read(hub.spawn(user, "exp"), "/work/x") == "kept"


def test_each_server_has_a_volume_of_its_own(hub: Hub, user: str) -> None:
    """What one server writes is not in another one's working directory."""
    hub.add_user(user)
    hub.docker.write(hub.spawn(user, "a"), "/work/x", "a")
    assert hub.docker.run(hub.spawn(user, "b"), "ls", "/work") == ""
    assert hub.docker.run(hub.spawn(user), "ls", "/work") == ""


def test_volumes_by_template(hub: Hub, user: str, course: Path) -> None:
    """{username} is shared by a user's servers, {user_server} by none, modes are as written."""
    hub.add_user(user)
    one, two = hub.spawn(user, "a"), hub.spawn(user, "b")
    hub.docker.write(one, "/home/x", "home")
    hub.docker.write(one, "/own/x", "own")
    assert hub.docker.read(two, "/home/x") == "home"
    assert hub.docker.run(two, "ls", "/own") == ""
    mounts = hub.docker.mounted(one)
    assert mounts["/home"]["Name"] == f"{hub.prefix}-home-{user}"
    assert mounts["/own"]["Name"] == f"{hub.prefix}-own-{user}--a"
    assert (mounts["/course"]["Source"], mounts["/course"]["RW"]) == (str(course), False)
    assert hub.docker.read(one, "/course/lesson.txt") == "lesson one"
    assert (mounts["/data"]["Name"], mounts["/data"]["RW"]) == (f"{hub.prefix}-data", False)
    assert mounts["/work"]["RW"]
    [tmpfs] = [m for m in one["HostConfig"]["Mounts"] if m["Target"] == "/scratch"]
    assert (tmpfs["Type"], tmpfs["TmpfsOptions"]["SizeBytes"]) == ("tmpfs", 1048576)


def test_another_users_home_is_another_volume(hub: Hub, user: str) -> None:
    """Two users never share a {username} volume, also when their names look alike."""
    names = [f"{user}.x", f"{user}-x", f"{user}_x"]
    homes = []
    for name in names:
        hub.add_user(name)
        homes.append(hub.docker.mounted(hub.spawn(name))["/home"]["Name"])
    assert len(set(homes)) == len(names)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("unknown", ["{usrname}", "{username}", "volumes"]),
        ("reaching", ["__class__", "volumes"]),
        ("twice", ["/x"]),
        ("relative", ["volumes", "home"]),
    ],
)
def test_settings_that_cannot_work(hub: Hub, user: str, settings: str, said: list[str]) -> None:
    """A template's unknown field, or a mount that can't be: an answer that names it, no trace."""
    user = f"{settings}-{user}"
    hub.add_user(user)
    answer = hub.api("POST", f"/users/{user}/servers/exp")
    assert answer.status >= 400
    assert "the setting volumes cannot work" in answer.message
    # Values of this setting may be secrets: what is wrong with it is for the admin to read.
    line = [line for line in hub.log().splitlines() if f" {user}:exp: " in line][-1]
    for words in said:
        assert words in line
    hub.docker.nothing_of(user)
    assert hub.servers(user) == {}


def test_no_server_volume(hub: Hub, user: str) -> None:
    """`server_volume = ""` and a working directory of `/` both mean that none is made."""
    for settings in ("notemplate", "root"):
        name = f"{settings}-{user}"
        hub.add_user(name)
        mounts = hub.docker.mounted(hub.spawn(name))
        assert set(mounts) == {"/course", "/scratch", "/data"}


def test_notebook_dir_gets_the_volume(hub: Hub, user: str) -> None:
    """With a `notebook_dir` outside of the working directory, that is where files are kept."""
    user = f"notebooks-{user}"
    hub.add_user(user)
    mounts = hub.docker.mounted(hub.spawn(user))
    assert mounts[f"/home/{user}/nb"]["RW"]
    assert "/work" not in mounts


def token_of(hub: Hub, container: Any) -> str:
    """What the server itself has for its token: the process of the image's command."""
    find = "for p in /proc/[0-9]*; do grep -q httpd $p/comm && cat $p/environ && break; done"
    found = hub.docker.run(container, "sh", "-c", find)
    env = dict(entry.split("=", 1) for entry in found.split("\0") if "=" in entry)
    return env["JUPYTERHUB_API_TOKEN"]


def test_kept_container(hub: Hub, user: str) -> None:
    """`remove = False`: the container is used again, with a new token, but for no other image."""
    user = f"kept-{user}"
    blue = hub.docker.flavour("blue", "ENV COLOUR=blue")
    hub.add_user(user)
    first = hub.spawn(user, "exp")
    tokens = [token_of(hub, first)]
    hub.docker.write(first, "/etc/x", "in the container itself")
    hub.halt(user, "exp")
    kept = hub.docker.one(user, "exp")
    assert (kept["Id"], kept["State"]["Status"]) == (first["Id"], "exited")
    again = hub.spawn(user, "exp")
    assert again["Id"] == first["Id"]
    assert hub.docker.read(again, "/etc/x") == "in the container itself"
    tokens.append(token_of(hub, again))
    statuses = [hub.api("GET", "/user", token=token).status for token in tokens]
    assert statuses == [403, 200]
    assert hub.api("GET", f"/users/{user}").json()["servers"]["exp"]["ready"]
    hub.halt(user, "exp")
    other = hub.spawn(user, "exp", {"image": blue})
    assert other["Id"] != first["Id"]
    assert hub.docker.environment(other)["COLOUR"] == "blue"
    hub.halt(user, "exp")
    hub.forget(user, "exp")
    hub.docker.gone(user, "exp")


def test_files_survive_a_hub_restart(hub: Hub, user: str) -> None:
    """The default: the Hub stops and removes its containers, and files are there afterwards."""
    user = f"plain-{user}"
    hub.add_user(user)
    hub.docker.write(hub.spawn(user, "exp"), "/work/x", "kept")
    hub.stop()
    assert hub.docker.containers() == []
    hub.start()
    assert hub.servers(user) == {}
    assert hub.docker.read(hub.spawn(user, "exp"), "/work/x") == "kept"
