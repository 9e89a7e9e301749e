"""Choices that were saved, or named volumes, when the admin or the user chooses otherwise later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from support.hub.browsing import PATIENT
from support.hub.client import server_path
from support.hub.hubproc import Hub, Hubs
from support.hub.visitors import Visitor

CONFIG = (
    PATIENT
    + """
def from_form(form):
    return {"partition": form["partition"][0], "hours": int(form["hours"][0])}

def hook(spawner):
    spawner.environment["PARTITION"] = str(spawner.user_options.get("partition"))

BY_USER["form"] = {
    "options_form": '<input name="partition"><input name="hours">',
    "options_from_form": from_form,
    "pre_spawn_hook": hook,
}
"""
)


def offering(prefix: str, *names: str) -> dict[str, Any]:
    """Settings with such profiles, each with a volume of its own."""
    return {
        "profile_list": [
            {
                "display_name": name,
                "slug": name,
                "spawner_override": {"volumes": {f"{prefix}-{name}-{{username}}": "/data"}},
            }
            for name in names
        ]
    }


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub whose users have profiles, or a form of the admin's own, by their names."""
    prefix = hubs.prefix()
    two = offering(prefix, "a", "b")
    by_user = {"switching": two, "saved": two, "offered": two}
    with hubs.running(CONFIG, prefix=prefix, by_user=by_user) as hub:
        yield hub


def data(hub: Hub, user: str) -> str:
    """The volume at /data in the user's server."""
    return str(hub.docker.mounted(hub.docker.one(user, "exp"))["/data"]["Name"])


def test_another_choice_has_another_volume(hub: Hub, user: str) -> None:
    """Whoever switches between two profiles works on the files of the one that runs."""
    user = f"switching-{user}"
    hub.add_user(user)
    for profile in ("a", "b", "a"):
        hub.spawn(user, "exp", {"profile": profile})
        assert data(hub, user) == f"{hub.prefix}-{profile}-{user}"
        hub.halt(user, "exp")


def test_saved_options_lock_nobody_out(hub: Hub, user: str) -> None:
    """Where there is a choice, the refusal names the body that means the defaults; else they stand.

    What was sent, and not saved, is refused all the same. The form begins with the defaults.
    """
    saved, offered = f"saved-{user}", f"offered-{user}"
    for name in (saved, offered):
        hub.add_user(name)
        hub.spawn(name, "exp", {"profile": "b"})
        hub.halt(name, "exp")
    later = {"saved": offering(hub.prefix, "a", "c"), "offered": {}}
    hub.configure(f"{CONFIG}BY_USER.update({later!r})")
    hub.restart()

    start = server_path(saved, "exp")
    refused = hub.api("POST", start)
    assert (refused.status, "send {} for the defaults" in refused.message) == (400, True)
    assert "'a', 'c'" in refused.message
    with closing(Visitor(hub, saved)) as visitor:
        form = visitor.get(f"/hub/spawn/{saved}/exp").text
    assert "begins with the defaults: profile = " in form
    assert hub.api("POST", start, {}).status == 201
    assert data(hub, saved) == f"{hub.prefix}-a-{saved}"

    start = server_path(offered, "exp")
    assert hub.api("POST", start, {"profile": "b"}).status == 400
    assert hub.api("POST", start).status == 201
    assert "no longer offered" in hub.log()


def test_an_admins_own_form(hub: Hub, user: str) -> None:
    """options_form and options_from_form alone, read in a hook, as JupyterHub's docs have them."""
    user = f"form-{user}"
    hub.add_user(user)
    options = {"partition": "long", "hours": 3}
    assert hub.api("POST", server_path(user, "exp"), options).status == 201
    environment = hub.docker.environment(hub.docker.one(user, "exp"))
    assert environment["PARTITION"] == "long"
