"""Tests with a real JupyterHub process and a real Docker Engine.

Environment:
    DOCKER_HOST and friends: the Engine.
    DOCKERNAMED_CHP: path of configurable-http-proxy, where it is not in PATH.
    DOCKERNAMED_TEST_IMAGE_LAB, …_LAB2: two images with JupyterLab.
    DOCKERNAMED_TEST_IMAGE_BUSYBOX: a small image with a web server on port 8888.
    DOCKERNAMED_TEST_IMAGE_HUB: the image of examples/hub-in-container.

A missing Engine or image fails the tests: a run that tested nothing must not look like a pass.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import docker
import pytest
from support.hub.dockerview import BUSYBOX, LAB, LAB2, connect
from support.hub.engineproxy import EngineProxy
from support.hub.hubproc import HUB6, Hubs

_hubs = pytest.StashKey[Hubs]()
_users = count(1)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the markers."""
    config.addinivalue_line(
        "markers", "jupyterhub6: about an API that JupyterHub 6 has and 5 has not"
    )
    config.addinivalue_line("markers", "jupyterhub5: about what JupyterHub 6 no longer allows")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that are about the other JupyterHub line; give all the same time."""
    other = "jupyterhub5" if HUB6 else "jupyterhub6"
    deselected = [item for item in items if item.get_closest_marker(other)]
    if deselected:
        config.hook.pytest_deselected(items=deselected)
        items[:] = [item for item in items if item not in deselected]
    for item in items:
        # Several processes start in each: more than unit tests need, on a busy machine.
        if item.path.parent == Path(__file__).parent and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(300))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show a failed test together with its Hubs' logs and their containers."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    hubs = item.session.stash.get(_hubs, None)
    if report.failed and hubs is not None:
        report.sections += hubs.described()


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.APIClient]:
    """A client for the Engine."""
    client = connect()
    yield client
    client.close()


@pytest.fixture(scope="session")
def hubs(
    engine: docker.APIClient,
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Hubs:
    """Makes Hubs; the busybox image, their default, is there."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    name = f"{os.environ['DOCKERNAMED_TEST_RUN']}-{worker}a"
    made = Hubs(engine, tmp_path_factory.mktemp("hubs"), name)
    made.require(BUSYBOX)
    request.session.stash[_hubs] = made
    return made


@pytest.fixture(scope="session")
def lab_images(hubs: Hubs) -> tuple[str, str]:
    """Two different images with JupyterLab."""
    hubs.require(LAB, LAB2)
    return LAB, LAB2


@pytest.fixture(scope="module")
def proxy() -> Iterator[EngineProxy]:
    """Where calls of a module's Hub to the Engine go wrong."""
    with EngineProxy.of_this_engine() as proxy:
        yield proxy


@pytest.fixture
def user() -> str:
    """The name of a user whom no other test has."""
    return f"user{next(_users)}"


@pytest.fixture(autouse=True)
def no_complaints(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test during which a Hub's event loop was blocked or an exception was lost."""
    yield
    hubs = request.session.stash.get(_hubs, None)
    for hub in hubs.alive if hubs is not None else ():
        complaints = hub.complaints()
        assert not complaints, complaints
