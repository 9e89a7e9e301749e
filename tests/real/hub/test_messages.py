"""What people are told of a start that failed, by each way there is, and what the log is told.

And what a link starts, of which whoever follows it may be told nothing.
"""

from __future__ import annotations

import html
import json
import textwrap
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from support.hub.browsing import PATIENT
from support.hub.client import server_path
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import HUB6, Hub, Hubs
from support.hub.visitors import Visitor

from dockernamed.hub.link_start import CONFIRMED

PREFIX = "opt-" if HUB6 else ""
ANSWERS = "the-answers-of-the-exam"
SECRET = "hunter2-of-the-nas"
#: user → their scopes, besides those that everybody has; and whether they may read the output.
PEOPLE = {
    "ann": ((), True),
    "tea": (("servers!user=ann", "read:servers!user=ann", "read:users:name!user=ann"), False),
    "admins": (("admin:servers", "admin:users"), False),
    "other": (("servers!user=ann", "read:servers!user=ann", "access:servers!user=bob"), False),
    "reader": (("servers!user=ann", "access:servers!user=ann"), True),
    "one": (("servers!server=ann/lab", "access:servers!server=ann/lab"), True),
    "another": (("servers!server=ann/lab", "access:servers!server=ann/exp"), False),
}
SETTINGS: dict[str, dict[str, Any]] = {
    "nfs": {
        "mounts": [
            {
                "type": "volume",
                "source": "nas-{username}",
                "target": "/data",
                "driver_config": {
                    "Name": "local",
                    "Options": {
                        "type": "nfs",
                        "o": f"addr=127.0.0.1,username=hub,password={SECRET}",
                        "device": ":/data",
                    },
                },
            }
        ]
    },
    "bind": {"mounts": [{"type": "bind", "source": f"/no/{SECRET}", "target": "/data"}]},
    "kwargs": {"extra_create_kwargs": {"environment": [f"DATABASE_URL=x://u:{SECRET}@h"], "a": 1}},
    "hosts": {"extra_host_config": {"log_config": {"type": "gelf", "config": {"tag": SECRET}}}},
    "wrong": {"extra_host_config": {"mem_swappiness": SECRET}},
    "any": {"allowed_images": "*"},
    "typed": {
        "allowed_images": [],
        "profile_list": [
            {
                "slug": "lab",
                "display_name": "Lab",
                "profile_options": {
                    "image": {
                        "display_name": "Image",
                        "choices": {
                            "web": {
                                "display_name": "Web",
                                "default": True,
                                "spawner_override": {"image": BUSYBOX},
                            }
                        },
                        "unlisted_choice": {
                            "enabled": True,
                            "display_name": "Another",
                            "spawner_override": {"image": "{value}"},
                        },
                    }
                },
            }
        ],
    },
}
SECRETS = ("nfs", "bind", "kwargs", "hosts", "wrong")
#: What a browser says of a page that leads here, and of nothing that does.
ELSEWHERE: dict[str, dict[str, str]] = {
    "cross-site": {"Sec-Fetch-Site": "cross-site", "Referer": "https://evil.example/"},
    "nothing said": {},
    "a mail": {"Sec-Fetch-Site": "none"},
    "another page": {"Referer": "https://evil.example/"},
    "after a login": {"Sec-Fetch-Site": "same-origin", "Referer": "{url}/hub/login?next=x"},
    "no referrer": {"Sec-Fetch-Site": "same-origin"},
}


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub with people of many roles, and settings with secrets that cannot work."""
    prefix = hubs.prefix()
    roles = [
        {"name": f"role-{name}", "users": [name], "scopes": list(scopes)}
        for name, (scopes, _) in PEOPLE.items()
        if scopes
    ]
    config = f"""
        c.JupyterHub.load_roles += {roles!r}
        c.DockerNamedSpawner.allowed_images = {{
            "web": {BUSYBOX!r}, "crash": "{prefix}-crash:latest", "wrong": "{prefix}-wrong:latest"
        }}
        c.DockerNamedSpawner.image = "web"
    """
    config = textwrap.dedent(config) + PATIENT
    with hubs.running(config, prefix=prefix, by_user=SETTINGS) as hub:
        hub.docker.flavour("crash", f'CMD ["sh", "-c", "echo {ANSWERS}; exit 3"]')
        for name in ("bob", *PEOPLE):
            with suppress(AssertionError):  # those of roles are there
                hub.add_user(name)
        yield hub


@pytest.fixture(scope="module")
def signed_in(hub: Hub) -> Iterator[Callable[[str], Visitor]]:
    """A user who has signed in, by their name; each once."""
    visitors: dict[str, Visitor] = {}

    def visitor(user: str) -> Visitor:
        if user not in visitors:
            visitors[user] = Visitor(hub, user)
        return visitors[user]

    yield visitor
    for one in visitors.values():
        one.close()


def crash(hub: Hub, token: str | None = None) -> str:
    """Start the server that dies; the words of the answer."""
    return hub.api("POST", "/users/ann/servers/lab", {"image": "crash"}, token=token).text


def events(hub: Hub, token: str | None, user: str = "ann", server: str = "lab") -> list[Any]:
    """The events of a server's progress."""
    text = hub.api("GET", f"{server_path(user, server)}/progress", token=token).text
    lines = [line for line in text.splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def judged(texts: dict[str, str], may_read: bool) -> None:
    """Each text has the exit code, and what the server said if, and only if, that may be read."""
    for way, text in texts.items():
        assert "exit code 3" in text, (way, text)
        assert (ANSWERS in text) is may_read, (way, text)


@pytest.mark.parametrize("who", PEOPLE)
def test_what_a_server_said(hub: Hub, signed_in: Callable[[str], Visitor], who: str) -> None:
    """By REST, stream and page, whoever started it: read by who may access the server, alone."""
    token, may_read = hub.token_for(who), PEOPLE[who][1]
    told = {"POST": crash(hub, token)}
    crash(hub)  # by somebody who may do everything; it is their exception that is shown now
    visitor = signed_in(who)
    told["page"] = html.unescape(visitor.get("/hub/spawn-pending/ann/lab").text)
    if who not in ("one", "another"):  # may not read the stream
        told["stream"] = json.dumps(events(hub, token))
    form = visitor.post("/hub/spawn/ann/lab", {"image": "crash"})
    told["form"] = html.unescape(form.text)
    judged(told, may_read)


def test_a_token_is_what_its_scopes_are(hub: Hub) -> None:
    """A token of the owner's that may start servers, and not access them, reads no output."""
    judged({"start": crash(hub, hub.token_for("ann", scopes=["servers!user=ann"]))}, False)
    scopes = ["servers!user=ann", "access:servers!server=ann/lab"]
    judged({"access": crash(hub, hub.token_for("ann", scopes=scopes))}, True)


def test_the_log_has_the_whole_story(hub: Hub) -> None:
    """What a server said before it died, whoever started it."""
    crash(hub, hub.token_for("tea"))
    assert f"    | {ANSWERS}" in hub.log()


@pytest.mark.parametrize("setting", SECRETS)
def test_values_of_settings(
    hub: Hub, user: str, setting: str, signed_in: Callable[[str], Visitor]
) -> None:
    """No way of being told shows a secret of the settings, or what the Engine says with it.

    Nor does the log, which has the rest of it.
    """
    name = f"{setting}-{user}"
    token = hub.add_user(name)
    answer = hub.api("POST", server_path(name, "lab"), {}, token=token)
    assert answer.status >= 400
    told = [answer.text, json.dumps(events(hub, token, name))]
    visitor = signed_in(name)
    told.append(visitor.get(f"/hub/spawn-pending/{name}/lab").text)
    told.append(visitor.post(f"/hub/spawn/{name}/lab", {"image": "web"}).text)
    told.append(visitor.get(f"/hub/spawn/{name}/lab", {"image": "web"}).text)
    for text in told:
        assert SECRET not in text
        assert "DATABASE_URL" not in text
    assert "the Hub's log" in answer.message or "The setting mounts" in answer.message
    log = hub.log()
    if setting == "bind":
        assert "bind source path does not exist" in log
    if setting == "nfs":
        assert "failed to mount local volume" in log
        assert "password=[hidden]" in log
    for secret in (f"password={SECRET}", f"u:{SECRET}@"):
        assert secret not in log


# --- links ------------------------------------------------------------------------------------


def nothing_started(hub: Hub, user: str) -> bool:
    """Neither the Hub nor the Engine has a server of the user."""
    return hub.servers(user) == {} and hub.docker.containers(user) == []


@pytest.mark.parametrize("site", ELSEWHERE)
def test_a_link_to_any_image(
    hub: Hub, user: str, site: str, signed_in: Callable[[str], Visitor]
) -> None:
    """Whoever follows it is asked first, on a page that says what it would start."""
    name = f"any-{user}"
    hub.add_user(name)
    headers = {key: value.format(url=hub.url) for key, value in ELSEWHERE[site].items()}
    image = BUSYBOX
    asked = signed_in(name).get(f"/hub/spawn/{name}/lab", {"image": image}, headers)
    assert asked.status_code == 200
    assert "Start this server?" in asked.text
    assert image in asked.text
    assert nothing_started(hub, name)


def test_a_link_that_is_confirmed(hub: Hub, user: str, signed_in: Callable[[str], Visitor]) -> None:
    """The button starts what the page said; another site cannot press it."""
    name = f"any-{user}"
    hub.add_user(name)
    visitor, path = signed_in(name), f"/hub/spawn/{name}/lab?{PREFIX}image={BUSYBOX}"
    assert "Start this server?" in visitor.get(path, headers={}).text
    forged = visitor.post(path, {CONFIRMED: "1"}, xsrf=False)
    assert forged.status_code == 403
    assert nothing_started(hub, name)
    assert visitor.post(path, {CONFIRMED: "1"}).status_code == 302
    hub.ready(name, "lab")
    assert hub.docker.one(name, "lab")["Config"]["Image"] == BUSYBOX
    hub.halt(name, "lab")


@pytest.mark.parametrize(
    ("kind", "options", "headers", "asks"),
    [
        ("user", {"image": "web"}, {}, False),
        ("any", {"image": BUSYBOX}, None, False),
        ("any", {"image": BUSYBOX}, {"Sec-Fetch-Site": "same-site"}, False),
        ("typed", {"image": "web"}, {}, False),
        ("typed", {"image--unlisted-choice": BUSYBOX}, {}, True),
        ("any", {"image": "no image at all"}, {}, False),
        ("any", {"colour": "red"}, {}, False),
        ("any", {"image": "<script>alert(1)</script>"}, {}, False),
    ],
)
def test_which_links_ask(
    hub: Hub,
    user: str,
    signed_in: Callable[[str], Visitor],
    kind: str,
    options: dict[str, str],
    headers: dict[str, str] | None,
    asks: bool,
) -> None:
    """What the admin listed starts at once, as does a link on a page of the Hub itself.

    What cannot be started at all is refused, without a question.
    """
    name = f"{kind}-{user}"
    hub.add_user(name)
    answer = signed_in(name).get(f"/hub/spawn/{name}/lab", options, headers)
    assert ("Start this server?" in answer.text) is asks
    if answer.status_code == 302:
        hub.ready(name, "lab")
        hub.halt(name, "lab")
    else:
        assert "<script>alert(1)" not in answer.text
        assert nothing_started(hub, name)
