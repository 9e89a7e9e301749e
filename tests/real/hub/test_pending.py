"""While a server starts: what the one who waits is told, in a browser and over REST."""

from __future__ import annotations

import io
import json
import os
import re
import tarfile
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from support.engine.registries import HangingRegistry, Registry, registry
from support.hub.browsing import chromium, visiting
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import Hub, Hubs
from support.hub.waiting import eventually

#: Waits for a file before it does anything else, so that a start lasts as long as a test wants.
WAIT = "while [ ! -e /work/go ]; do usleep 20000; done;"
SERVES = f'CMD ["sh", "-c", "{WAIT} exec httpd -f -p 8888 -h /www"]'
CRASHES = f'CMD ["sh", "-c", "{WAIT} echo \\"oh <b>no</b>\\"; exit 3"]'
MEGABYTES = 8


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry with a password."""
    with registry(tmp_path_factory.mktemp("store") / "private", private=True) as store:
        yield store


@pytest.fixture(scope="module")
def silent() -> Iterator[HangingRegistry]:
    """A registry that never says a word."""
    silent = HangingRegistry()
    yield silent
    silent.close()


@pytest.fixture(scope="module")
def hub(hubs: Hubs, store: Registry, silent: HangingRegistry) -> Iterator[Hub]:
    """A Hub that answers 202 at once, with the registry's password; its prepull hangs."""
    prefix = hubs.prefix()
    config = f"""
        c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 0}}
        c.DockerNamedSpawner.image = "{silent.address}/never:1"
        c.DockerNamedSpawner.prepull = True
        c.DockerNamedSpawner.registry_credentials = {{{store.address!r}: {store.credentials}}}
        c.DockerNamedSpawner.http_timeout = 60
    """
    image = f"{store.address}/{prefix}-lab:1"
    by_user = {"puller": {"image": image}, "crasher": {"image": f"{prefix}-crashes:latest"}}
    with hubs.running(config, prefix=prefix, by_user=by_user) as hub:
        hub.docker.flavour("crashes", CRASHES)
        publish(hub, store)
        yield hub
        hub.docker.client.remove_image(image, force=True)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with chromium() as browser:
        yield browser


def publish(hub: Hub, store: Registry) -> None:
    """Have an image in the registry that has a layer of its own, and not on the Engine."""
    docker = hub.docker.client
    repository = f"{store.address}/{hub.prefix}-lab"
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        entry = tarfile.TarInfo("ballast")
        entry.size = MEGABYTES << 20
        tar.addfile(entry, io.BytesIO(os.urandom(entry.size)))
    base = docker.create_container(BUSYBOX, name=f"{hub.prefix}-ballast")
    try:
        docker.put_archive(base["Id"], "/", data.getvalue())
        docker.commit(base["Id"], repository, "1", changes=[SERVES])
    finally:
        docker.remove_container(base["Id"], v=True, force=True)
    said = list(
        docker.push(repository, "1", stream=True, decode=True, auth_config=store.credentials)
    )
    assert not [line for line in said if "error" in line], said[-1]
    docker.remove_image(f"{repository}:1", force=True)


def go(hub: Hub, user: str) -> None:
    """Let the user's server, which starts, go on."""
    [container] = eventually(
        lambda: hub.docker.containers(user),
        lambda found: len(found) == 1 and found[0]["State"]["Running"],
        what="the container runs",
    )
    hub.docker.run(container, "touch", "/work/go")


def events_of(hub: Hub, user: str) -> list[dict[str, Any]]:
    """The whole stream of a start's events, over REST."""
    stream = hub.api("GET", f"/users/{user}/server/progress")
    lines = [line for line in stream.text.splitlines() if line.startswith("data: ")]
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def test_prepull_keeps_nobody_waiting(hub: Hub, silent: HangingRegistry) -> None:
    """The Hub is there for everybody though a registry leaves it without an answer."""
    assert silent.asked.wait(30)
    assert not silent.left.is_set()
    assert hub.api("GET", "/users").status == 200


def test_a_pull_is_shown(hub: Hub, browser: Browser, store: Registry, user: str) -> None:
    """Bytes of layers, each step until ready: on the page that waits, and to a later listener too.

    The registry's password gets the image, and into neither the log nor the database.
    """
    user = f"puller-{user}"
    hub.add_user(user)
    with visiting(browser, hub, user) as page:
        page.goto(f"{hub.url}/hub/spawn/{user}")
        page.locator("#progress-details summary").click()
        log = page.locator("#progress-log")
        expect(log).to_contain_text("Pulling")
        expect(log).to_contain_text("Waiting for the server to answer")
        bar = page.locator("#progress-bar")
        expect(bar).to_have_attribute("aria-valuenow", re.compile("^[5-9]\\d$"))
        shown = log.locator("div").all_inner_texts()
        go(hub, user)
        page.wait_for_url(f"**/user/{user}/**")
    events = events_of(hub, user)
    hub.ready(user)
    assert any(f"of {MEGABYTES}" in line for line in shown), shown
    assert events[-1]["ready"]

    secrets = [store.password, hub.docker.one(user)["Id"]]
    database = (hub.directory / "jupyterhub.sqlite").read_bytes()
    assert [secret.encode() in database for secret in secrets] == [False, True]
    assert store.password not in hub.log()


def test_every_listener_is_told_everything(hub: Hub, user: str) -> None:
    """One that comes late hears what it missed; progress never goes back."""
    user = f"puller-{user}"
    hub.add_user(user)
    assert hub.api("POST", f"/users/{user}/server").status == 202
    go(hub, user)
    first, second = events_of(hub, user), events_of(hub, user)
    progress = [event["progress"] for event in first]
    assert progress == sorted(progress)
    assert [events[-1].get("ready") for events in (first, second)] == [True, True]


def test_a_crash_is_shown(hub: Hub, browser: Browser, user: str) -> None:
    """Exit code and last words on the page that waits; what they hold stays text."""
    user = f"crasher-{user}"
    hub.add_user(user)
    with visiting(browser, hub, user) as page:
        page.goto(f"{hub.url}/hub/spawn/{user}")
        expect(page.locator("#progress-message")).to_contain_text("Waiting for the server")
        go(hub, user)
        message = page.locator("#progress-message")
        expect(message).to_contain_text("exit code 3")
        expect(message).to_contain_text("oh <b>no</b>")
        assert message.locator("b").count() == 0
    hub.docker.gone(user)
