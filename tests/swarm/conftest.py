"""Tests with a Swarm of three nodes, each a dockerd of its own on this machine.

Environment:
    DOCKER_HOST and friends: the Engine that has the images.

Only root can make one. Who is not fails: a run that tested nothing must not look like a pass.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from support.hub.dockerview import BUSYBOX, LAB
from support.swarm import Swarm, alive, fallen

_prefixes = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give all the same time: the first may load the images, and nodes that are lost take theirs."""
    for item in items:
        if item.path.parent == Path(__file__).parent and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(300))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Show a failed test together with the Swarms that there are, or were until it failed."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        described = [*fallen, *((swarm.name, swarm.describe()) for swarm in alive)]
        report.sections += [(f"Swarm {name}", text) for name, text in described]
        fallen.clear()


@pytest.fixture(scope="module")
def _one_manager() -> Iterator[Swarm]:
    # A node that is lost is down after 4 to 6 seconds; with Docker's own 5 it takes 10 to 16.
    with Swarm(images=[BUSYBOX, LAB], heartbeat=2) as swarm:
        yield swarm


@pytest.fixture(scope="module")
def _three_managers() -> Iterator[Swarm]:
    with Swarm(managers=3, images=[BUSYBOX, LAB], heartbeat=2) as swarm:
        yield swarm


@pytest.fixture
def swarm(_one_manager: Swarm) -> Iterator[Swarm]:
    """Three nodes, of which n1 is the manager; all of them work again after each test."""
    yield _one_manager
    _one_manager.restore()


@pytest.fixture
def managers(_three_managers: Swarm) -> Iterator[Swarm]:
    """Three managers; all of them work again after each test."""
    yield _three_managers
    _three_managers.restore()


@pytest.fixture
def prefix() -> str:
    """What the names of a test's things begin with."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return f"{os.environ['DOCKERNAMED_TEST_RUN']}-s{worker}n{next(_prefixes)}-"
