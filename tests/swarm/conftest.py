"""Tests with a Swarm of three nodes, each a dockerd of its own on this machine.

Environment:
    DOCKER_HOST and friends: the Engine that has the images.
    PATH: dockerd, containerd and what these run, of the nodes. So they may be of another version.

Only root can make one. Who is not fails: a run that tested nothing must not look like a pass.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from support.hub.dockerview import BUSYBOX, LAB
from support.hub.engineproxy import EngineProxy
from support.swarm import Swarm, alive, fallen
from support.swarm.hubs import SwarmHubs

#: Fixtures that make Hubs; a test has one of them at most.
HUBS = ("swarm_hubs", "managers_hubs")
_prefixes = count(1)
_users = count(1)
_hubs = pytest.StashKey[SwarmHubs]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give all the same time: lost nodes are missed late, and JupyterLab takes a while."""
    for item in items:
        if item.path.parent == Path(__file__).parent and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(300))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Show a failed test together with the Hubs and Swarms that it had."""
    outcome = yield
    report = outcome.get_result()  # type: ignore[attr-defined]
    if report.failed:
        described = [*fallen, *((swarm.name, swarm.describe()) for swarm in alive)]
        report.sections += [(f"Swarm {name}", text) for name, text in described]
        fallen.clear()
        if hubs := item.stash.get(_hubs, None):
            report.sections += hubs.described()


@pytest.fixture(scope="module")
def heartbeat(request: pytest.FixtureRequest) -> float:
    """Seconds between a node's signs of life, as `Swarm` has it.

    A machine that is busy is no reason to lose a node. Files with tests that do lose some say how
    soon that is to be known: ``HEARTBEAT``.
    """
    return float(getattr(request.module, "HEARTBEAT", 60))


@pytest.fixture(scope="module")
def _one_manager(heartbeat: float) -> Iterator[Swarm]:
    with Swarm(images=[BUSYBOX, LAB], heartbeat=heartbeat) as swarm:
        yield swarm


@pytest.fixture(scope="module")
def _three_managers(heartbeat: float) -> Iterator[Swarm]:
    with Swarm(managers=3, images=[BUSYBOX], heartbeat=heartbeat) as swarm:
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
    return f"{_name()}n{next(_prefixes)}-"


@pytest.fixture(scope="module")
def swarm_hubs(_one_manager: Swarm, tmp_path_factory: pytest.TempPathFactory) -> SwarmHubs:
    """Makes Hubs whose servers are services of the Swarm of `swarm`."""
    return _hubs_of(_one_manager, tmp_path_factory)


@pytest.fixture(scope="module")
def proxy(_one_manager: Swarm) -> Iterator[EngineProxy]:
    """Where calls of a Hub to the manager of `swarm` are held."""
    with EngineProxy(_one_manager.manager.url) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def managers_hubs(_three_managers: Swarm, tmp_path_factory: pytest.TempPathFactory) -> SwarmHubs:
    """Makes Hubs whose servers are services of the Swarm of `managers`, and that talk to n1."""
    return _hubs_of(_three_managers, tmp_path_factory)


def _hubs_of(swarm: Swarm, tmp_path_factory: pytest.TempPathFactory) -> SwarmHubs:
    name = f"{_name()}h{next(_prefixes)}x"
    return SwarmHubs(swarm, tmp_path_factory.mktemp("hubs"), name)


@pytest.fixture
def user() -> str:
    """The name of a user whom no other test has."""
    return f"user{next(_users)}"


@pytest.fixture(autouse=True)
def no_complaints(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test during which a Hub's event loop was blocked or an exception was lost."""
    (name, *_) = [one for one in request.fixturenames if one in HUBS] or [""]
    if not name:
        yield
        return
    hubs: SwarmHubs = request.getfixturevalue(name)
    request.node.stash[_hubs] = hubs
    yield
    for hub in hubs.alive:
        complaints = hub.complaints()
        assert not complaints, complaints


def _name() -> str:
    """Another one in each run and worker."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return f"{os.environ['DOCKERNAMED_TEST_RUN']}-s{worker}"
