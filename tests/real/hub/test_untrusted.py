"""What users type, send and are called: refused or kept as it is, on a real Hub and Engine.

Attacks on other users' files, by every setting that mounts something, are here too.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import requests
from support.examples import EXPLORE
from support.hostile import FORGED, TEXTS, bodies
from support.hub.client import server_path
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import HUB6, Hub, Hubs

#: Of each kind of body, there are a few in each run; all ten thousand when somebody searches.
COUNT = 10_000 if EXPLORE else 120
SENDERS = 8
GOOD = {"image": "web", "team--unlisted-choice": "chess"}

CONFIG = """
c.DockerNamedSpawner.hub_id = {hub_id!r}
c.DockerNamedSpawner.allowed_images = {{"web": {web!r}}}
c.DockerNamedSpawner.common_options = {{
    "cpu": {{"number": {{"min": 1, "max": 4, "step": 1}}}},
    "team": {{
        "choices": {{"none": {{}}}},
        "unlisted_choice": {{
            "enabled": True,
            "validation_regex": "[a-z]+(?:[.][a-z0-9-]+)?",
            "spawner_override": {{
                "volumes": {{"{{prefix}}-{{value}}": "/team"}},
                "environment": {{"TEAM": "{{value}}"}},
            }},
        }},
    }},
    "note": {{
        "choices": {{"none": {{}}}},
        "unlisted_choice": {{
            "enabled": True,
            "spawner_override": {{
                "environment": {{"NOTE": "{{value}}", "BRACES": "{{{{{{value}}}}}}"}},
                "notebook_dir": "/work/{{value}}",
                "extra_create_kwargs": {{"labels": {{"note": "{{value}}"}}}},
            }},
        }},
    }},
}}
"""


@pytest.fixture(scope="module")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the Engine's host, which is this one."""
    return tmp_path_factory.mktemp("homes")


@pytest.fixture(scope="module")
def hub(hubs: Hubs, homes: Path) -> Iterator[Hub]:
    """A Hub with texts to type; by their names, some users have settings that reach for files."""
    prefix = hubs.prefix()
    loot, theirs = f"{prefix}-victim.{prefix}", f"{prefix}-victim"
    volume = {"Type": "volume", "Source": loot, "Target": "/loot"}
    by_user: dict[str, dict[str, Any]] = {
        "volumes": {"volumes": {loot: "/loot"}},
        "readonly": {"read_only_volumes": {loot: "/loot"}},
        "mounts": {"mounts": [{"source": loot, "target": "/loot"}]},
        "binds": {"extra_host_config": {"binds": {loot: {"bind": "/loot", "mode": "ro"}}}},
        "objects": {"extra_host_config": {"mounts": [volume]}},
        "create": {"extra_create_kwargs": {"host_config": {"Binds": [f"{loot}:/loot"]}}},
        "lent": {
            "extra_host_config": {"volumes_from": [theirs]},
            "allow_unsafe": ["volumes-from"],
        },
        "kept": {"remove": False, "extra_host_config": {"binds": [f"{loot}:/loot"]}},
        "homes": {"extra_host_config": {"binds": [f"{homes}/{{user_server}}:/home"]}},
        "a": {"extra_host_config": {"binds": [f"{homes}/{{username}}-{{servername}}:/home"]}},
    }
    config = CONFIG.format(web=BUSYBOX, hub_id=prefix)
    with hubs.running(config, prefix=prefix, by_user=by_user) as hub:
        yield hub


# --- other users' files ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def secret(hub: Hub) -> str:
    """What stands in a running server's own volume."""
    hub.add_user("victim")
    hub.docker.write(hub.spawn("victim"), "/work/secret", "exam questions")
    return "exam questions"


THIEVES = ["volumes", "readonly", "mounts", "binds", "objects", "create", "lent", "kept"]


@pytest.mark.parametrize("thief", THIEVES)
def test_another_users_volume_is_never_mounted(hub: Hub, secret: str, thief: str) -> None:
    """409 that names no user, and no container."""
    hub.add_user(thief)
    answer = hub.api("POST", server_path(thief))
    assert answer.status == 409, answer
    assert secret not in answer.text
    hub.docker.nothing_of(thief)


def test_a_typed_name_leads_to_nobody_elses_volume(hub: Hub, user: str, secret: str) -> None:
    """One that the pattern lets through is looked at by its labels; others are made."""
    hub.add_user(user)
    sent = {"team--unlisted-choice": f"victim.{hub.prefix}"}
    answer = hub.api("POST", server_path(user, "exp"), sent)
    assert answer.status == 409, answer
    assert options_of(hub, user, "exp") == {}
    hub.docker.nothing_of(user)
    container = hub.spawn(user, "exp", {"team--unlisted-choice": "chess"})
    assert hub.docker.mounted(container)["/team"]["Name"] == f"{hub.prefix}-chess"


def test_binds_of_two_servers_are_two_directories(hub: Hub, homes: Path) -> None:
    """The user ``homes`` with a server ``b`` has not the files of the user ``homes-b``."""
    hub.add_user("homes")
    hub.add_user("homes-b")
    hub.docker.write(hub.spawn("homes-b"), "/home/x", "mine")
    assert hub.docker.run(hub.spawn("homes", "b"), "ls", "/home") == ""
    assert sorted(path.name for path in homes.iterdir()) == ["homes--b", "homes-b"]
    hub.add_user("a")
    answer = hub.api("POST", server_path("a", "b"))
    assert answer.status == 500, "the admin's mistake, in a hook that no check can see"
    hub.docker.nothing_of("a")


# --- text that is sent -------------------------------------------------------------------------


def options_of(hub: Hub, user: str, server: str) -> Any:
    """The options that the Hub has of a server."""
    return hub.servers(user, stopped=True)[server]["user_options"]


@pytest.mark.timeout(3600 if EXPLORE else 300)
def test_bodies_are_refused(hub: Hub, user: str) -> None:
    """Only ever 4xx, nothing is made, nothing is kept; the server starts as before, also anew."""
    users = [f"{user}x{number}" for number in range(SENDERS)]
    for name in users:
        hub.add_user(name)
        hub.api("POST", server_path(name, "exp"), {**GOOD, "cpu": 9})
    numbered = list(enumerate(bodies(COUNT, GOOD, ["cpu"])))
    since, before = time.time(), len(hub.log())

    def send(sender: int) -> list[tuple[int, bytes, str]]:
        """One user's share; what was not refused."""
        url = f"http://127.0.0.1:{hub.hub_port}/hub/api{server_path(users[sender], 'exp')}"
        with requests.Session() as session:
            session.headers["Authorization"] = f"token {hub.token}"
            share = [body for number, body in numbered if number % SENDERS == sender]
            answers = [(session.post(url, data=body, timeout=150), body) for body in share]
        return [
            (answer.status_code, body[:200], answer.text[:200])
            for answer, body in answers
            if not 400 <= answer.status_code < 500
        ]

    with ThreadPoolExecutor(SENDERS) as threads:
        assert [wrong for found in threads.map(send, range(SENDERS)) for wrong in found] == []
    assert hub.docker.creations(since) == []
    assert no_forged_line(hub.log()[before:])
    assert [options_of(hub, name, "exp") for name in users] == [{}] * SENDERS
    assert not any(server["ready"] for name in users for server in hub.servers(name).values())
    hub.spawn(users[0], "exp")


def no_forged_line(log: str) -> bool:
    """No text of a user begins a line, whatever ends one, and none reaches a terminal."""
    ours = [line for line in log.split("\n") if "[ConfigProxy]" not in line]
    assert not [line for line in "\n".join(ours).splitlines() if line.startswith(FORGED[:20])]
    hidden = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
    assert not [line for line in ours if hidden.search(line)]
    return True


@pytest.mark.skipif(not HUB6, reason="JupyterHub 5 has no such request")
def test_options_that_are_stored_without_a_start(hub: Hub, user: str) -> None:
    """Of what PUT writes, what is refused at the start is forgotten."""
    hub.add_user(user)
    path = server_path(user, "exp")
    assert hub.api("PUT", path, {"user_options": {"image": "evil"}}).status == 201
    assert hub.api("POST", path).status == 400
    assert options_of(hub, user, "exp") == {}
    deep = f'{{"user_options": {{"image": {"[" * 960}{"]" * 960}}}}}'
    for method in ("PUT", "PATCH", "POST"):
        url = f"{hub.url}/hub/api{server_path(user, 'deep' if method == 'PUT' else 'exp')}"
        headers = {"Authorization": f"token {hub.token}"}
        answer = requests.request(method, url, data=deep, headers=headers, timeout=60)
        assert answer.status_code == 400, answer.text
    assert hub.api("POST", path, {"image": "x" * (1 << 20)}).status == 413
    for title in ("a\udfffb", f"x\n{FORGED}", "a\x00"):
        titled = hub.api("POST", path, {"display_name": title, "user_options": {}})
        assert titled.status == 400, titled


ODD = [text for text in TEXTS if text.isprintable() and "/" not in text and len(text) < 99]


def test_a_text_arrives_as_it_was_typed(hub: Hub, user: str) -> None:
    """In the environment, a label and a path: no format, no template, no shell reads it."""
    hub.add_user(user)
    text = "".join(ODD)
    container = hub.spawn(user, "exp", {"note--unlisted-choice": text})
    environment = hub.docker.environment(container)
    assert environment["NOTE"] == text
    assert environment["BRACES"] == f"{{{text}}}"
    assert environment["JUPYTERHUB_ROOT_DIR"] == f"/work/{text}"
    assert container["Config"]["Labels"]["note"] == text


NAMES = ["<b>{username}</b>%s", f"x\n{FORGED}", "a\u202eb\u2028c", "{servername}", "x" * 250]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_names_of_users(hub: Hub, name: str) -> None:
    """A user of that name is refused, or has a server; neither the log nor the container lies."""
    before = len(hub.log())
    added = hub.api("POST", f"/users/{quote(name, safe='')}")
    assert added.status == 201 or 400 <= added.status < 500, added
    if added.status == 201:
        answer = hub.api("POST", server_path(added.json()["name"]))
        assert answer.status == (201 if name.isprintable() else 400), answer
        if name.isprintable():
            hub.halt(added.json()["name"])
    assert no_forged_line(hub.log()[before:])


def test_nothing_refused_outlives_a_restart(hub: Hub, user: str) -> None:
    """A new server, and one that was started with others before; last, since it stops the Hub."""
    hub.add_user(user)
    hub.spawn(user, "old", {"image": "web"})
    hub.halt(user, "old")
    for server in ("old", "new"):
        answer = hub.api("POST", server_path(user, server), {"image": "evil"})
        assert answer.status == 400, answer
    hub.restart()
    assert options_of(hub, user, "old") == {"image": "web"}
    assert options_of(hub, user, "new") == {}
    hub.spawn(user, "new")
