"""A user at a browser: headless Chromium, signed in at a Hub."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from support.hub.hubproc import Hub

#: For a Hub's config. JupyterHub gives a start one second to fail before it goes on to the page
#: that waits; on a slow machine, what the form's page says of a refusal would never be seen.
PATIENT = """
import asyncio, types
from jupyterhub.handlers import pages

def wait(tasks, timeout):
    return asyncio.wait(tasks, timeout=60)

pages.asyncio = types.SimpleNamespace(**{**vars(asyncio), "wait": wait})
"""

#: Said aloud by scripts that must never run.
ALARM = "window.alarmed = true"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's, or the one that DOCKERNAMED_CHROMIUM names; none fails the test."""
    path = os.environ.get("DOCKERNAMED_CHROMIUM") or shutil.which("chromium")
    if path is None:
        pytest.fail("there is no chromium; install it, or set DOCKERNAMED_CHROMIUM", pytrace=False)
    with sync_playwright() as playwright:
        # Containers that run tests as root have no sandbox to offer.
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--no-proxy-server"]
        )
        yield browser
        browser.close()


@contextmanager
def visiting(browser: Browser, hub: Hub, user: str, *, scripts: bool = True) -> Iterator[Page]:
    """A page of a browser in which the user has signed in.

    Args:
        browser: shared by all tests.
        hub: whose pages.
        user: whom its authenticator takes without a password.
        scripts: whether pages may run any.
    """
    context = browser.new_context(
        java_script_enabled=scripts, viewport={"width": 900, "height": 900}
    )
    context.set_default_timeout(30_000)
    page = context.new_page()
    page.goto(f"{hub.url}/hub/login")
    xsrf = page.locator("input[name=_xsrf]").first.get_attribute("value")
    fields: dict[str, str | float | bool] = {"username": user, "password": "", "_xsrf": xsrf or ""}
    answer = context.request.post(f"{hub.url}/hub/login", form=fields, max_redirects=0)
    assert answer.status == 302, answer.text()
    yield page
    context.close()
