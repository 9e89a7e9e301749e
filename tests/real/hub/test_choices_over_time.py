"""Choices that were saved, or named volumes, when the admin or the user chooses otherwise later."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hub.client import server_path
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import Hub, Hubs

PROFILES = """
c.DockerNamedSpawner.profile_list = [
    {{
        "display_name": name,
        "slug": name,
        "spawner_override": {{"volumes": {{"{prefix}-" + name + "-{{username}}": "/data"}}}},
    }}
    for name in {names!r}
]
"""
OWN_FORM = """
def from_form(form):
    return {"partition": form["partition"][0], "hours": int(form["hours"][0])}

def hook(spawner):
    spawner.environment["PARTITION"] = str(spawner.user_options.get("partition"))

c.Spawner.options_form = '<input name="partition"><input name="hours">'
c.Spawner.options_from_form = from_form
c.Spawner.pre_spawn_hook = hook
"""


@pytest.fixture
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub that each test sets up as it needs it."""
    with hubs.running(f"c.DockerNamedSpawner.image = {BUSYBOX!r}") as hub:
        yield hub


def offer(hub: Hub, *names: str) -> None:
    """Restart the Hub with such profiles, each with a volume of its own; without any, none."""
    hub.stop()
    hub.configure(PROFILES.format(prefix=hub.prefix, names=names) if names else "")
    hub.start()


def data(hub: Hub, user: str) -> str:
    """The volume at /data in the user's server."""
    mounts = hub.docker.one(user, "exp")["Mounts"]
    return next(str(mount["Name"]) for mount in mounts if mount["Destination"] == "/data")


def test_another_choice_has_another_volume(hub: Hub, user: str) -> None:
    """Whoever switches between two profiles works on the files of the one that runs."""
    offer(hub, "a", "b")
    hub.add_user(user)
    for profile in ("a", "b", "a"):
        hub.spawn(user, "exp", {"profile": profile})
        assert data(hub, user) == f"{hub.prefix}-{profile}-{user}"
        hub.halt(user, "exp")


def test_saved_options_lock_nobody_out(hub: Hub, user: str) -> None:
    """Where there is a choice, the refusal names the body that means the defaults; else they stand.

    What was sent, and not saved, is refused all the same.
    """
    offer(hub, "a", "b")
    hub.add_user(user)
    hub.spawn(user, "exp", {"profile": "b"})
    hub.halt(user, "exp")

    offer(hub, "a", "c")
    start = server_path(user, "exp")
    refused = hub.api("POST", start)
    assert (refused.status, "send {} for the defaults" in refused.message) == (400, True)
    assert "'a', 'c'" in refused.message
    assert hub.api("POST", start, {}).status == 201
    assert data(hub, user) == f"{hub.prefix}-a-{user}"
    hub.halt(user, "exp")

    hub.spawn(user, "exp", {"profile": "c"})
    hub.halt(user, "exp")
    offer(hub)
    assert hub.api("POST", start, {"profile": "c"}).status == 400
    assert hub.api("POST", start).status == 201
    assert "no longer offered" in hub.log()


def test_an_admins_own_form(hub: Hub, user: str) -> None:
    """options_form and options_from_form alone, read in a hook, as JupyterHub's docs have them."""
    hub.stop()
    hub.configure(OWN_FORM)
    hub.start()
    hub.add_user(user)
    options = {"partition": "long", "hours": 3}
    assert hub.api("POST", server_path(user, "exp"), options).status == 201
    environment = hub.docker.environment(hub.docker.one(user, "exp"))
    assert environment["PARTITION"] == "long"
