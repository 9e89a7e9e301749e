"""The options form and the home page as people use them: in a browser, with keyboard and mouse."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from support.hub.browsing import ALARM, PATIENT, chromium, visiting
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import HUB6, Hub, Hubs

Visit: TypeAlias = Callable[..., Page]
HOSTILE = [
    f"<script>{ALARM}</script>",
    f"</script><img src=x onerror='{ALARM}'>",
    f'" autofocus onfocus="{ALARM}" x="',
    f"' onmouseover='{ALARM}",
    f"{{{{ 7 * 7 }}}}<svg onload='{ALARM}'>",
]


def profiles(prefix: str) -> list[dict[str, Any]]:
    """What most of the tests choose from."""
    image = {"spawner_override": {"image": f"{prefix}-blue:latest"}}
    missing = {"spawner_override": {"image": f"{prefix}-missing:latest"}}
    return [
        {
            "display_name": "Small",
            "description": "For trying things out.",
            "default": True,
            "spawner_override": {"mem_limit": "64M", "image": BUSYBOX},
        },
        {
            "display_name": "Large",
            "description": "For whole data sets. Please stop it when you are done.",
            "spawner_override": {"mem_limit": "128M"},
            "profile_options": {
                "image": {
                    "display_name": "Image",
                    "choices": {
                        "plain": {"display_name": "Plain"},
                        "blue": {"display_name": "Blue", **image},
                        "missing": {"display_name": "Missing", **missing},
                    },
                    "unlisted_choice": {
                        "enabled": True,
                        "display_name": "Name of an image",
                        "validation_regex": f"{prefix}-[a-z]+:latest",
                        "validation_message": f"one of ours, {prefix}-…:latest",
                        "spawner_override": {"image": "{value}"},
                    },
                },
            },
        },
    ]


COMMON = {
    "cpu": {
        "display_name": "CPUs",
        "description": "Shared with all your servers.",
        "number": {
            "min": 0.25,
            "max": 1,
            "step": 0.25,
            "default": 0.5,
            "unit": "cores",
            "spawner_override": {"cpu_limit": "{value}"},
        },
    },
}


def hostile() -> list[dict[str, Any]]:
    """Profiles whose every text tries to be more than text."""
    return [
        {
            "display_name": text,
            "slug": f"{index}{text}",
            "description": text,
            "profile_options": {
                text: {
                    "display_name": text,
                    "description": text,
                    "choices": {text: {"display_name": text}},
                    "unlisted_choice": {
                        "enabled": True,
                        "display_name": text,
                        "display_name_in_choices": text,
                        "validation_message": text,
                        "validation_regex": "(?!x).*",
                    },
                },
            },
        }
        for index, text in enumerate(HOSTILE)
    ]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens pages of signed-in users."""
    with ExitStack() as pages:
        yield lambda *args, **kwargs: pages.enter_context(visiting(browser, *args, **kwargs))


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub where most users have the profiles above, and some others."""
    prefix = hubs.prefix()
    config = f"""
        from dockernamed import template_paths
        c.JupyterHub.template_paths = template_paths
        c.DockerNamedSpawner.profile_list = {profiles(prefix)!r}
        c.DockerNamedSpawner.common_options = {COMMON!r}

        import jupyterhub_fancy_profiles
        jupyterhub_fancy_profiles.setup_ui(c)
        BY_USER["fancy"] = {{
            "additional_profile_form_template_paths": jupyterhub_fancy_profiles.TEMPLATE_PATHS,
            "common_options": {{}},
        }}
    """
    by_user = {
        "hostile": {"profile_list": hostile()},
        "images": {
            "profile_list": [],
            "common_options": {},
            "allowed_images": {"web": BUSYBOX, "blue": f"{prefix}-blue:latest"},
        },
    }
    config = PATIENT + textwrap.dedent(config)
    with hubs.running(config, prefix=prefix, by_user=by_user) as hub:
        hub.docker.flavour("blue", "ENV COLOUR=blue")
        yield hub


def form_of(page: Page, hub: Hub, user: str, server: str = "exp") -> Page:
    """Go to a server's options."""
    page.goto(f"{hub.url}/hub/spawn/{user}/{server}")
    expect(page.get_by_role("heading", name="Server Options")).to_be_visible()
    return page


def image_list(page: Page) -> Locator:
    """The list of images, by the name that a screen reader tells."""
    return page.get_by_role("combobox", name="Image", exact=True)


def start(page: Page, hub: Hub, user: str, server: str = "exp") -> Any:
    """Press the button; the container, once the server is ready."""
    page.get_by_role("button", name="Start").click()
    page.wait_for_url(lambda url: "/hub/spawn/" not in url)
    hub.ready(user, server)
    return hub.docker.one(user, server)


def test_profile_and_options(hub: Hub, user: str, visit: Visit) -> None:
    """Chosen for a named server, which then runs in the container that was asked for."""
    page = form_of(visit(hub, user), hub, user)
    large = image_list(page)
    expect(large).to_be_hidden()
    page.get_by_role("radio", name="Large").check()
    expect(large).to_be_visible()
    large.select_option(label="Blue (ready)")
    expect(page.get_by_label("Name of an image")).to_be_hidden()
    page.get_by_label("CPUs").fill("0.75")
    keep_picture(page)
    container = start(page, hub, user)
    assert container["Config"]["Image"] == f"{hub.prefix}-blue:latest"
    assert container["HostConfig"]["Memory"] == 128 * 2**20
    assert container["HostConfig"]["CpuQuota"] == 75_000


def home(page: Page, hub: Hub) -> None:
    """Go to the control panel, and wait for its script, without which its buttons do nothing."""
    page.goto(f"{hub.url}/hub/home", wait_until="networkidle")


def keep_picture(page: Page) -> None:
    """For the docs, where it is asked for: DOCKERNAMED_PICTURES names the directory."""
    if "DOCKERNAMED_PICTURES" in os.environ:
        path = Path(os.environ["DOCKERNAMED_PICTURES"]) / "profiles.png"
        page.screenshot(path=path, full_page=True)


def test_readiness_of_images(hub: Hub, user: str, visit: Visit) -> None:
    """Each choice of an image says whether it is there or will be pulled."""
    page = form_of(visit(hub, user), hub, user)
    page.get_by_role("radio", name="Large").check()
    words = image_list(page).locator("option").all_inner_texts()
    assert words == ["Plain", "Blue (ready)", "Missing (will be pulled first)", "Other..."]
    expect(page.get_by_text(f"{BUSYBOX} (ready)")).to_be_visible()


def test_free_text_and_the_last_choice(hub: Hub, user: str, visit: Visit) -> None:
    """Other… opens a text; each server's form begins with its own last choice."""
    page = form_of(visit(hub, user), hub, user)
    page.get_by_role("radio", name="Large").check()
    image_list(page).select_option("unlisted-choice")
    text = page.get_by_label("Name of an image")
    text.fill("something else")
    page.get_by_role("button", name="Start").click()
    assert text.evaluate("field => field.matches(':invalid')")
    text.fill(f"{hub.prefix}-blue:latest")
    assert start(page, hub, user)["Config"]["Image"] == f"{hub.prefix}-blue:latest"
    hub.halt(user, "exp")
    form_of(page, hub, user)
    expect(page.get_by_role("radio", name="Large")).to_be_checked()
    expect(image_list(page)).to_have_value("unlisted-choice")
    expect(page.get_by_label("Name of an image")).to_have_value(f"{hub.prefix}-blue:latest")
    form_of(page, hub, user, "other")
    expect(page.get_by_role("radio", name="Small")).to_be_checked()


def test_by_keyboard(hub: Hub, user: str, visit: Visit) -> None:
    """Tab and arrow keys are enough to choose and to start."""
    page = form_of(visit(hub, user), hub, user)
    page.get_by_role("radio", name="Small").focus()
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("radio", name="Large")).to_be_checked()
    page.keyboard.press("Tab")
    expect(image_list(page)).to_be_focused()
    page.keyboard.press("B")
    page.keyboard.press("Tab")
    expect(page.get_by_label("CPUs")).to_be_focused()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "/hub/spawn/" not in url)
    hub.ready(user, "exp")
    container = hub.docker.one(user, "exp")
    assert container["Config"]["Image"] == f"{hub.prefix}-blue:latest"
    assert container["HostConfig"]["CpuQuota"] == 75_000


def test_without_scripts(hub: Hub, user: str, visit: Visit) -> None:
    """All fields are there to be filled; the server sorts out which of them count."""
    page = form_of(visit(hub, user, scripts=False), hub, user)
    page.get_by_role("radio", name="Large").check()
    image_list(page).select_option("unlisted-choice")
    page.get_by_label("Name of an image").fill(f"{hub.prefix}-blue:latest")
    container = start(page, hub, user)
    assert container["Config"]["Image"] == f"{hub.prefix}-blue:latest"
    assert container["HostConfig"]["Memory"] == 128 * 2**20


def test_what_the_hub_refuses_is_shown(hub: Hub, user: str, visit: Visit) -> None:
    """A form that was changed on the way gets the reason, as text, and the form again."""
    page = form_of(visit(hub, user), hub, user)
    page.evaluate(f"document.querySelector('input[name=profile]').value = `{HOSTILE[1]}`")
    page.get_by_role("button", name="Start").click()
    expect(page.locator(".spawn-error-msg")).to_contain_text("not a profile that you may choose")
    expect(page.locator(".spawn-error-msg")).to_contain_text("onerror=")
    assert page.evaluate("window.alarmed") is None
    expect(page.get_by_role("radio", name="Small")).to_be_visible()


def test_all_text_stays_text(hub: Hub, user: str, visit: Visit) -> None:
    """Names, descriptions, choices and messages that try to be scripts are shown as they are."""
    user = f"hostile-{user}"
    page = form_of(visit(hub, user), hub, user)
    for text in HOSTILE:
        profile = page.locator("input[name=profile]").nth(HOSTILE.index(text))
        profile.check()
        assert page.get_by_text(text, exact=True).count() >= 2
        page.locator("select:visible").select_option("unlisted-choice")
        page.locator("input[maxlength]:visible").fill(text)
        page.mouse.move(300, 300)
    assert page.evaluate("window.alarmed") is None
    assert "49" not in page.locator("#dockernamed-form").inner_text()
    start(page, hub, user)
    form_of_again = visit(hub, user)
    form_of_again.goto(f"{hub.url}/hub/home")
    assert form_of_again.evaluate("window.alarmed") is None


def test_a_list_of_images(hub: Hub, user: str, visit: Visit) -> None:
    """Without profiles there is one list, with the default first, and each image once."""
    user = f"images-{user}"
    page = form_of(visit(hub, user), hub, user)
    words = image_list(page).locator("option").all_inner_texts()
    assert words == ["Default: web (ready)", "blue (ready)"]
    image_list(page).select_option("blue")
    assert start(page, hub, user)["Config"]["Image"] == f"{hub.prefix}-blue:latest"


def test_named_servers_on_the_home_page(hub: Hub, user: str, visit: Visit) -> None:
    """Added, started, stopped and deleted from the control panel, each with its image shown."""
    page = visit(hub, user)
    home(page, hub)
    for server, image in (("one", "Plain"), ("two", "Blue (ready)")):
        page.get_by_label("server name").fill(server)
        page.get_by_role("button", name="Add New Server").click()
        if HUB6:  # makes it, and stays; 5 goes on to its options
            page.locator(f"tr[data-server-name={server}]").get_by_text("start", exact=True).click()
        page.get_by_role("radio", name="Large").check()
        image_list(page).select_option(label=image)
        start(page, hub, user, server)
        home(page, hub)
    rows = {name: page.locator(f"tr[data-server-name={name}]") for name in ("one", "two")}
    expect(page.locator(".server-table thead th").nth(1)).to_have_text("Image")
    expect(rows["one"].locator("td").nth(1)).to_have_text(BUSYBOX)
    expect(rows["two"].locator("td").nth(1)).to_have_text(f"{hub.prefix}-blue:latest")
    rows["two"].get_by_text("stop", exact=True).click()
    expect(rows["two"].get_by_text("delete", exact=True)).to_be_visible()
    hub.docker.gone(user, "two")
    assert hub.docker.one(user, "one")["State"]["Running"]
    page.reload(wait_until="networkidle")
    expect(rows["two"].locator("td").nth(1)).to_have_text(f"{hub.prefix}-blue:latest")
    rows["two"].get_by_text("start", exact=True).click()
    expect(page.get_by_role("radio", name="Large")).to_be_checked()
    start(page, hub, user, "two")
    hub.halt(user, "two")
    home(page, hub)
    page.on("dialog", lambda dialog: dialog.accept())
    rows["two"].get_by_text("delete", exact=True).click()
    expect(rows["two"]).to_have_count(0)
    assert "two" not in hub.servers(user, stopped=True)


def test_fancy_profiles(hub: Hub, user: str, visit: Visit) -> None:
    """jupyterhub-fancy-profiles, unchanged: its page is shown, and what it sends is understood."""
    user = f"fancy-{user}"
    page = form_of(visit(hub, user), hub, user)
    page.locator("input[type=radio][value=large]:visible").check()
    image_list(page).press("ArrowDown")
    page.get_by_role("option", name="Blue").click()
    container = start(page, hub, user)
    assert container["Config"]["Image"] == f"{hub.prefix}-blue:latest"
    assert container["HostConfig"]["Memory"] == 128 * 2**20
