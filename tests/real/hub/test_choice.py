"""The image chosen per server over REST: allowed, remembered, refused."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import Hub, Hubs

START = (
    """curl -X POST -H "Authorization: token $TOKEN" "$API/users/$NAME/servers/exp" -d "$BODY" """
)


CONFIG = """
c.DockerNamedSpawner.allowed_images = {{"web": {web!r}, "blue": {blue!r}}}
c.DockerNamedSpawner.image = "web"

async def images(spawner):
    vip = {{"blue": {blue!r}}} if spawner.user.name.endswith("-vip") else {{}}
    return {{"web": {web!r}, **vip}}

BY_USER["each"] = {{"allowed_images": images}}
"""


def config(prefix: str) -> str:
    """The Hub's settings."""
    return CONFIG.format(web=BUSYBOX, blue=f"{prefix}-blue:latest")


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub whose users may choose between two images by alias, but for some, by their names."""
    prefix = hubs.prefix()
    by_user: dict[str, dict[str, Any]] = {
        "none": {"allowed_images": [], "image": BUSYBOX},
        "listed": {"allowed_images": [BUSYBOX, f"{prefix}-blue:latest"]},
        "any": {"allowed_images": "*", "pull_policy": "never"},
    }
    with hubs.running(config(prefix), prefix=prefix, by_user=by_user) as hub:
        hub.docker.flavour("blue", "ENV COLOUR=blue")
        hub.docker.flavour("green", "ENV COLOUR=green")
        yield hub


def blue(hub: Hub) -> str:
    """The second image."""
    return f"{hub.prefix}-blue:latest"


def image_of(hub: Hub, user: str, server: str = "exp") -> str:
    """What the server's container was made of."""
    return str(hub.docker.one(user, server)["Config"]["Image"])


def refused(hub: Hub, user: str, body: Any) -> str:
    """Send a choice that must get 400 and leave no trace on the Engine; the message."""
    since = time.time()
    answer = hub.curl(START, NAME=user, BODY=json.dumps(body))
    assert answer.status == 400, answer
    created = hub.docker.creations(since)
    assert created == [], f"created in spite of the refusal: {created}"
    return answer.message


def test_image_by_alias(hub: Hub, user: str) -> None:
    """-d '{"image": "blue"}' gives a container of that alias's image, with its environment."""
    hub.add_user(user)
    assert hub.curl(START, NAME=user, BODY='{"image": "blue"}').status == 201
    container = hub.docker.one(user, "exp")
    assert container["Config"]["Image"] == blue(hub)
    assert hub.docker.environment(container)["COLOUR"] == "blue"
    assert hub.docker.environment(container)["JUPYTER_IMAGE"] == blue(hub)


def test_each_server_has_its_own_image(hub: Hub, user: str) -> None:
    """Two servers of one user run two images at once; the default server may choose too."""
    hub.add_user(user)
    images = {"a": "blue", "b": "web", "": "blue"}
    for server, alias in images.items():
        hub.spawn(user, server, {"image": alias})
    assert [image_of(hub, user, server) for server in images] == [blue(hub), BUSYBOX, blue(hub)]


def test_no_choice_means_the_default(hub: Hub, user: str) -> None:
    """Without a choice, with an empty body and with {} it is the setting `image`."""
    hub.add_user(user)
    hub.spawn(user, "exp")
    hub.spawn(user, "other", {})
    assert (image_of(hub, user), image_of(hub, user, "other")) == (BUSYBOX, BUSYBOX)


def test_not_allowed_image_is_refused(hub: Hub, user: str) -> None:
    """400 that names the image and lists the aliases; nothing is created."""
    hub.add_user(user)
    message = refused(hub, user, {"image": "debian:latest"})
    assert "debian:latest" in message
    assert "'web'" in message
    assert "'blue'" in message
    hub.docker.nothing_of(user)
    assert hub.servers(user) == {}


def test_unknown_key_is_refused(hub: Hub, user: str) -> None:
    """400 that names the unknown key and the known ones; options are never silently ignored."""
    hub.add_user(user)
    message = refused(hub, user, {"imgae": "blue"})
    assert "imgae" in message
    assert "'image'" in message
    assert "cpu" in refused(hub, user, {"image": "blue", "cpu": 64})
    hub.docker.nothing_of(user)


@pytest.mark.parametrize("value", [5, True, ["blue"], {"name": "blue"}, "", "x" * 5000])
def test_wrong_type_is_refused(hub: Hub, user: str, value: object) -> None:
    """Whatever is no image's alias gets 400 with the choices, and nothing is created."""
    hub.add_user(user)
    message = refused(hub, user, {"image": value})
    assert "image" in message
    assert "'blue'" in message
    assert len(message) < 2000
    hub.docker.nothing_of(user)


@pytest.mark.parametrize("body", [["blue"], "blue", 7])
def test_a_body_that_is_no_object_is_refused(hub: Hub, user: str, body: object) -> None:
    """A list, a text or a number instead of options gets 400, and nothing is created."""
    hub.add_user(user)
    assert "object" in refused(hub, user, body)
    hub.docker.nothing_of(user)


def test_the_last_good_choice_is_remembered(hub: Hub, user: str) -> None:
    """A start without a choice takes that of the last start, whatever was refused since."""
    hub.add_user(user)
    hub.spawn(user, "exp", {"image": "blue"})
    for wrong in ([], ["nope", "nope"]):
        hub.halt(user, "exp")
        for image in wrong:
            refused(hub, user, {"image": image})
        hub.spawn(user, "exp")
        assert image_of(hub, user) == blue(hub)


def test_choices_from_before_a_hub_restart(hub: Hub, user: str) -> None:
    """The last good one counts; one that the admin has since withdrawn gets 400, no other image."""
    refusing, withdrawn = f"{user}-refusing", f"withdrawn-{user}"
    for name in (user, refusing, withdrawn):
        hub.add_user(name)
        hub.spawn(name, "exp", {"image": "blue"})
        hub.halt(name, "exp")
    refused(hub, refusing, {"image": "nope"})
    images = {"web": BUSYBOX}
    hub.configure(config(hub.prefix) + f'BY_USER["withdrawn"] = {{"allowed_images": {images!r}}}')
    hub.restart()
    for name in (user, refusing):
        hub.spawn(name, "exp")
        assert image_of(hub, name) == blue(hub)
    answer = hub.api("POST", f"/users/{withdrawn}/servers/exp")
    assert (answer.status, "'web'" in answer.message) == (400, True), answer
    assert hub.docker.containers(withdrawn) == []
    hub.spawn(withdrawn, "exp", {"image": "web"})
    assert image_of(hub, withdrawn) == BUSYBOX


def test_another_choice_gives_another_container(hub: Hub, user: str) -> None:
    """The next start's choice decides the image; the files stay; the old container is gone."""
    hub.add_user(user)
    first = hub.spawn(user, "exp", {"image": "web"})
    hub.docker.write(first, "/work/x.txt", "mine")
    hub.halt(user, "exp")
    second = hub.spawn(user, "exp", {"image": "blue"})
    assert second["Id"] != first["Id"]
    assert second["Config"]["Image"] == blue(hub)
    assert hub.docker.environment(second)["COLOUR"] == "blue"
    assert hub.docker.read(second, "/work/x.txt") == "mine"
    hub.halt(user, "exp")
    third = hub.spawn(user, "exp", {"image": "web"})
    assert "COLOUR" not in hub.docker.environment(third)


@pytest.mark.jupyterhub6
def test_wrapped_options(hub: Hub, user: str) -> None:
    """JupyterHub 6's {"user_options": …, "display_name": …} chooses like the plain form."""
    hub.add_user(user)
    body = {"user_options": {"image": "blue"}, "display_name": "My experiment"}
    assert hub.curl(START, NAME=user, BODY=json.dumps(body)).status == 201
    assert image_of(hub, user) == blue(hub)
    assert hub.servers(user)["exp"]["display_name"] == "My experiment"


@pytest.mark.jupyterhub6
def test_wrapped_options_are_judged_too(hub: Hub, user: str) -> None:
    """A wrong choice in the wrapped form gets the same 400."""
    hub.add_user(user)
    assert "'blue'" in refused(hub, user, {"user_options": {"image": "no"}})
    assert "imgae" in refused(hub, user, {"user_options": {"imgae": "blue"}, "display_name": "x"})
    hub.docker.nothing_of(user)


@pytest.mark.jupyterhub5
def test_wrapped_options_need_jupyterhub_6(hub: Hub, user: str) -> None:
    """JupyterHub 5 doesn't know the wrapped form: 400 that says how to send it, not a guess."""
    hub.add_user(user)
    message = refused(hub, user, {"user_options": {"image": "blue"}})
    assert "user_options" in message
    hub.docker.nothing_of(user)


def test_a_list(hub: Hub, user: str) -> None:
    """`allowed_images` as a list of references."""
    user = f"listed-{user}"
    hub.add_user(user)
    hub.spawn(user, "exp", {"image": blue(hub)})
    assert image_of(hub, user) == blue(hub)
    hub.halt(user, "exp")
    message = refused(hub, user, {"image": f"{hub.prefix}-green:latest"})
    assert blue(hub) in message


def test_any_image(hub: Hub, user: str) -> None:
    """`allowed_images = "*"`: whatever the Engine has; what it has not is named."""
    user = f"any-{user}"
    hub.add_user(user)
    hub.spawn(user, "exp", {"image": f"{hub.prefix}-green"})
    assert hub.docker.environment(hub.docker.one(user, "exp"))["COLOUR"] == "green"
    hub.halt(user, "exp")
    missing = hub.api("POST", f"/users/{user}/servers/exp", {"image": f"{hub.prefix}-no:1"})
    assert missing.status >= 400
    assert f"{hub.prefix}-no:1" in missing.message
    assert hub.docker.containers(user) == []


def test_choices_made_by_a_callable(hub: Hub, user: str) -> None:
    """`allowed_images` as a callable gives each user their own list, also an async one."""
    user, vip = f"each-{user}", f"each-{user}-vip"
    hub.add_user(user)
    hub.add_user(vip)
    hub.spawn(vip, "exp", {"image": "blue"})
    assert image_of(hub, vip) == blue(hub)
    message = refused(hub, user, {"image": "blue"})
    assert "'web'" in message
    assert blue(hub).removesuffix(":latest") not in message
    hub.spawn(user, "exp", {"image": "web"})


def test_without_a_list_there_is_no_choice(hub: Hub, user: str) -> None:
    """Where the admin allows no images, any choice is refused and a plain start works."""
    user = f"none-{user}"
    hub.add_user(user)
    assert "image" in refused(hub, user, {"image": BUSYBOX})
    hub.docker.nothing_of(user)
    hub.spawn(user, "exp")
    assert image_of(hub, user) == BUSYBOX
