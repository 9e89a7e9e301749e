"""Profiles over REST: chosen, bounded, refused, remembered, told as a JSON Schema."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import jsonschema
import jupyterhub
import pytest
from support.hub.browsing import PATIENT
from support.hub.client import server_path
from support.hub.hubproc import Hub, Hubs
from support.hub.visitors import Visitor

CONFIG = """
c.DockerNamedSpawner.profile_list = [
    {{
        "display_name": "Small",
        "default": True,
        "spawner_override": {{
            "mem_limit": "64M",
            "environment": {{"SIZE": "small", "NOT_FOR_SMALL": None, "WHO": "profile"}},
        }},
        "profile_options": {{
            "colour": {{
                "display_name": "Colour",
                "choices": {{
                    "plain": {{"display_name": "Plain"}},
                    "blue": {{"display_name": "Blue", "spawner_override": {{"image": {blue!r}}}}},
                }},
                "unlisted_choice": {{
                    "enabled": True,
                    "validation_regex": "[a-z0-9-]+",
                    "spawner_override": {{"image": "{prefix}-{{value}}:latest"}},
                }},
            }},
        }},
    }},
    {{
        "display_name": "Big",
        "allowed_groups": ["staff"],
        "spawner_override": {{"mem_limit": lambda spawner: "128M"}},
    }},
]
c.DockerNamedSpawner.common_options = {{
    "cpu": {{
        "display_name": "CPUs",
        "number": {{
            "min": 0.25, "max": 1, "step": 0.25, "default": 0.5,
            "spawner_override": {{
                "cpu_limit": "{{value}}", "environment": {{"CPUS": "{{value}}"}}
            }},
        }},
    }},
}}
c.DockerNamedSpawner.environment = {{"NOT_FOR_SMALL": "1", "WHO": "setting"}}
c.DockerNamedSpawner.group_overrides = {{
    "1": {{
        "groups": ["staff"],
        "spawner_override": {{"environment": {{"WHO": "group", "STAFF": "1"}}}},
    }},
}}
"""


#: Users with a form and hooks of the admin's own.
CUSTOM = """
def options_form(spawner):
    return f"<input name='note' value='for {spawner.user.name}'>"

def options_from_form(form_data):
    return {"note": form_data["note"][0]}

def apply_user_options(spawner, user_options):
    if "note" in user_options:
        spawner.environment["NOTE"] = user_options["note"]

async def pre_spawn_hook(spawner):
    spawner.environment["HOOK"] = spawner.environment.get("NOTE", "none") + "!"

BY_USER["custom"] = {
    "profile_list": [],
    "common_options": {},
    "options_form": options_form,
    "options_from_form": options_from_form,
    "apply_user_options": apply_user_options,
    "pre_spawn_hook": pre_spawn_hook,
}
"""


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub with two profiles, one of them for the staff, and a number of CPUs for both."""
    prefix = hubs.prefix()
    config = PATIENT + CONFIG.format(prefix=prefix, blue=f"{prefix}-blue:latest") + CUSTOM
    with hubs.running(config, prefix=prefix) as hub:
        hub.docker.flavour("blue", "ENV COLOUR=blue")
        assert hub.api("POST", "/groups/staff").status == 201
        yield hub


def staff(hub: Hub, user: str) -> str:
    """Make a user of the staff; a token of theirs."""
    token = hub.add_user(user)
    assert hub.api("POST", "/groups/staff/users", {"users": [user]}).status == 200
    return token


def refused(hub: Hub, user: str, body: Any) -> str:
    """Send a choice that must get 400 and leave no trace on the Engine; the message."""
    since = time.time()
    answer = hub.api("POST", server_path(user, "exp"), body)
    assert answer.status == 400, answer
    assert hub.docker.creations(since) == []
    return answer.message


Visit: TypeAlias = Callable[[Hub, str], Visitor]


@pytest.fixture
def visit() -> Iterator[Visit]:
    """Signs users in."""
    visitors: list[Visitor] = []

    def sign_in(hub: Hub, user: str) -> Visitor:
        visitors.append(Visitor(hub, user))
        return visitors[-1]

    yield sign_in
    for visitor in visitors:
        visitor.close()


def test_defaults(hub: Hub, user: str) -> None:
    """Nothing sent: the default profile with its limits and environment, options' defaults."""
    hub.add_user(user)
    container = hub.spawn(user, "exp")
    assert container["HostConfig"]["Memory"] == 64 * 2**20
    assert container["HostConfig"]["CpuQuota"] == 50_000
    environment = hub.docker.environment(container)
    assert (environment["SIZE"], environment["WHO"]) == ("small", "profile")
    assert (environment["CPUS"], "NOT_FOR_SMALL" in environment) == ("0.5", False)
    assert environment["MEM_LIMIT"] == str(64 * 2**20)


def test_a_choice(hub: Hub, user: str) -> None:
    """Profile, a listed choice and a number: the container has that image and those limits."""
    hub.add_user(user)
    container = hub.spawn(user, "exp", {"profile": "small", "colour": "blue", "cpu": 1})
    assert hub.docker.environment(container)["COLOUR"] == "blue"
    assert container["HostConfig"]["CpuQuota"] == 100_000
    hub.halt(user, "exp")
    again = hub.spawn(user, "exp")
    assert hub.docker.environment(again)["COLOUR"] == "blue", "the choice is remembered"
    hub.halt(user, "exp")
    other = hub.spawn(user, "exp", {"cpu": 0.25})
    assert "COLOUR" not in hub.docker.environment(other)


def test_free_text(hub: Hub, user: str) -> None:
    """It is filled into the image; what makes no image of it is refused."""
    hub.add_user(user)
    container = hub.spawn(user, "exp", {"colour--unlisted-choice": "blue"})
    assert container["Config"]["Image"] == f"{hub.prefix}-blue:latest"
    hub.halt(user, "exp")
    assert "must match" in refused(hub, user, {"colour--unlisted-choice": "blue:x"})
    assert "must match" in refused(hub, user, {"colour--unlisted-choice": "-"})


def test_group_overrides_come_before_the_profile(hub: Hub, user: str) -> None:
    """JupyterHub's group_overrides change the settings, the profile changes them again."""
    staff(hub, user)
    environment = hub.docker.environment(hub.spawn(user, "small"))
    assert (environment["WHO"], environment["STAFF"]) == ("profile", "1")
    container = hub.spawn(user, "big", {"profile": "big"})
    environment = hub.docker.environment(container)
    assert (environment["WHO"], environment["NOT_FOR_SMALL"]) == ("group", "1")
    assert container["HostConfig"]["Memory"] == 128 * 2**20


REFUSED: list[tuple[Any, str]] = [
    ({"profile": "huge"}, "profile = 'huge': not a profile that you may choose"),
    ({"profile": "big"}, "choose from: 'small'"),
    ({"profile": 7}, "expected the name of a profile as text"),
    ({"colour": "red"}, "colour = 'red': not a choice"),
    ({"colour": None}, "choose from: 'plain', 'blue'"),
    ({"cpu": 0.3}, "expected from 0.25 to 1 in steps of 0.25"),
    ({"cpu": "1"}, "cpu = '1': expected a number"),
    ({"cpu": 2}, "cpu = 2: expected from 0.25 to 1"),
    ({"gpu": 1}, "choose from: 'profile', 'cpu', 'colour', 'colour--unlisted-choice'"),
]


def test_refused(hub: Hub, user: str) -> None:
    """Each with 400, before anything is made, saying what this user may send instead."""
    hub.add_user(user)
    for body, message in REFUSED:
        assert message in refused(hub, user, body)


def test_the_last_good_choice_survives_a_refusal(hub: Hub, user: str) -> None:
    """A request that was refused is not what is remembered."""
    hub.add_user(user)
    hub.spawn(user, "exp", {"colour": "blue"})
    hub.halt(user, "exp")
    refused(hub, user, {"colour": "red"})
    container = hub.spawn(user, "exp")
    assert hub.docker.environment(container)["COLOUR"] == "blue"


def schema_of(hub: Hub, user: str, token: str | None = None) -> Any:
    """``GET /dockernamed/options/{user}``."""
    return hub.api("GET", f"/dockernamed/options/{user}", token=token)


def test_the_schema_tells_each_user_what_they_may_send(hub: Hub, user: str) -> None:
    """With a token of their own; the staff has a profile more."""
    token = hub.add_user(user)
    schema = schema_of(hub, user, token).json()
    assert [one["properties"]["profile"]["const"] for one in schema["anyOf"]] == ["small"]
    judge = jsonschema.Draft7Validator(schema)
    for body, _ in REFUSED:
        assert not judge.is_valid(body)
    body = {"profile": "small", "colour": "blue", "cpu": 0.75}
    assert judge.is_valid(body)
    hub.spawn(user, "exp", body, token=token)
    other = f"{user}-staff"
    found = schema_of(hub, other, staff(hub, other)).json()
    assert len(found["anyOf"]) == 2


def test_who_may_read_the_schema(hub: Hub, user: str) -> None:
    """The user and who administers users; no one else, and nobody without a token."""
    token, stranger = hub.add_user(user), hub.add_user(f"{user}-stranger")
    assert schema_of(hub, user).status == 200
    assert schema_of(hub, user, token).status == 200
    assert schema_of(hub, user, stranger).status in (403, 404)
    assert schema_of(hub, user, "nonsense").status == 403
    scoped = hub.token_for(user, scopes=[f"read:users:activity!user={user}"])
    assert schema_of(hub, user, scoped).status == 403
    assert schema_of(hub, f"{user}-nobody").status == 404


def test_profiles_that_cannot_work_end_the_hub(hubs: Hubs) -> None:
    """At its start, with the place and what to write instead."""
    wrong = {"display_name": "A", "kubespawner_override": {"image_pull_policy": "Always"}}
    hub = hubs.make(f"c.DockerNamedSpawner.profile_list = [{wrong!r}]")
    try:
        with pytest.raises(AssertionError, match=r"the Hub ended with 1 at its start") as caught:
            hub.start()
        assert "use pull_policy" in str(caught.value)
    finally:
        hub.close()


def test_the_admins_own_form_and_hooks(hub: Hub, user: str, visit: Visit) -> None:
    """Custom options_form, options_from_form, apply_user_options and pre_spawn_hook still work."""
    user = f"custom-{user}"
    visitor = visit(hub, user)
    assert f"value='for {user}'" in visitor.get(f"/hub/spawn/{user}/exp").text
    started = visitor.get(f"/hub/spawn/{user}/exp", {"note": "by-link"})
    assert started.headers["Location"].startswith(f"/hub/spawn-pending/{user}/exp")
    hub.ready(user, "exp")
    environment = hub.docker.environment(hub.docker.one(user, "exp"))
    assert (environment["NOTE"], environment["HOOK"]) == ("by-link", "by-link!")


def test_a_link_starts_a_server(hub: Hub, user: str, visit: Visit) -> None:
    """``/hub/spawn/USER/SERVER?profile=…`` with form fields or REST names; what is wrong shows."""
    visitor, link = visit(hub, user), f"/hub/spawn/{user}/exp"
    wrong = visitor.get(link, {"profile": "huge"})
    # JupyterHub 5.3 shows the form again, with the message, as any other page.
    assert wrong.status_code == (400 if jupyterhub.version_info >= (5, 5) else 200)
    assert "not a profile that you may choose" in wrong.text
    started = visitor.get(link, {"profile-option-small--colour": "blue", "cpu": "0.25"})
    assert started.headers["Location"].startswith(f"/hub/spawn-pending/{user}/exp")
    hub.ready(user, "exp")
    container = hub.docker.one(user, "exp")
    assert hub.docker.environment(container)["COLOUR"] == "blue"
    assert container["HostConfig"]["CpuQuota"] == 25_000
