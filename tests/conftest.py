"""What all the suites share: the run's name, and the check that the run leaves nothing behind.

Every object that a test makes on an Engine begins with the run's name (`run_name()`), so that
several runs can share an Engine and still tell whose the leftovers are.

All calls of the Engine's API are noted, and compared with the list of them in
dockernamed/engine/calls.py when the run ends.

Environment:
    DOCKERNAMED_ENGINE_OWNED: ``1`` where nobody else uses the Engine: everything on it is
        compared before and after, whatever it is called.
    DOCKERNAMED_EXPLORE: ``1`` has Hypothesis make up other examples at each run, and many more.
"""

from __future__ import annotations

import gc
import os
import secrets
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.utils import kwargs_from_env
from hypothesis import HealthCheck, settings
from support import apicalls
from support.examples import EXPLORE, examples
from support.hub.dockerview import miscounted
from support.watchdog import EXIT_CODE, RUN, EngineWatchdog

from dockernamed.engine.calls import CALLS

# Tests that more than one suite collects.
pytest.register_assert_rewrite("support.engine.contract", "support.hub.races")

# A busy machine is no reason to fail: time is measured in benchmarks/. And the same code passes or
# fails again: who looks for new examples says so.
settings.register_profile(
    "dockernamed",
    deadline=None,
    derandomize=not EXPLORE,
    max_examples=examples(50),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("dockernamed")

#: Begun first, in this order: a worker that comes to the longest files last keeps all the others
#: waiting. It counts with pytest-xdist's ``--no-loadscope-reorder`` only.
LONGEST = (
    "test_swarm_managers.py",
    "test_docs_pasted.py",
    "test_examples.py",
    "test_lab.py",
    "test_swarm_faults.py",
    "test_restart.py",
    "test_swarm_contract.py",
    "test_identity.py",
    "test_engine_faults.py",
    "test_killed.py",
    "test_swarm_killed.py",
    "test_culler.py",
    "test_profiles_browser.py",
    "test_faults_matrix.py",
    "test_volumes.py",
    "test_profiles.py",
    "test_lives.py",
)

OWNED = "DOCKERNAMED_ENGINE_OWNED"
_before = pytest.StashKey[set[str]]()
_leaked = pytest.StashKey[list[str]]()
_calls = pytest.StashKey[list[str]]()


def run_name() -> str:
    """The run's name, which begins the names of all its objects; the same in all its workers."""
    return os.environ[RUN]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files in front."""
    order = {name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


def _is_controller(config: pytest.Config) -> bool:
    return not hasattr(config, "workerinput")


def _engine_objects() -> set[str]:
    """``kind name`` of everything on the Engine, named images included."""
    client = docker.APIClient(**kwargs_from_env())
    try:
        containers: list[dict[str, Any]] = client.containers(all=True)
        found = {f"container {c['Names'][0].lstrip('/')}" for c in containers if c["Names"]}
        found |= {f"volume {v['Name']}" for v in client.volumes()["Volumes"] or ()}
        found |= {f"network {n['Name']}" for n in client.networks()}
        for image in client.images():
            found |= {f"image {tag}" for tag in image["RepoTags"] or ()}
        return found
    finally:
        client.close()


def _engine_objects_if_any() -> set[str]:
    """Like `_engine_objects`; empty without an Engine, as the unit tests run."""
    with warnings.catch_warnings():
        # The SDK forgets its socket when it cannot connect; the collector then warns of it.
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            return _engine_objects()
        except docker.errors.DockerException:
            return set()
        finally:
            gc.collect()


def pytest_configure(config: pytest.Config) -> None:
    """Name the run before any worker starts, and look at the Engine as it was."""
    # A shell that runs this in the background has it ignore SIGINT, which all that we start would
    # inherit. JupyterHub ends its services by that signal, and waits for half a minute.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if sys.version_info < (3, 11):
        # Its asyncio leaves the transport of a TLS handshake that failed to the garbage collector.
        config.addinivalue_line(
            "filterwarnings", r"ignore:unclosed transport <asyncio\.sslproto:ResourceWarning"
        )
    if _is_controller(config):
        os.environ[RUN] = f"t{secrets.token_hex(3)}"
        os.environ[apicalls.FOLDER] = tempfile.mkdtemp(prefix="api-calls-")
        config.stash[_before] = _engine_objects_if_any() if os.environ.get(OWNED) == "1" else set()
        url = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
        config.pluginmanager.register(EngineWatchdog(url))
    apicalls.install()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when it leaves containers, volumes, networks or images behind."""
    if not _is_controller(session.config) or session.exitstatus == EXIT_CODE:
        return
    after = _engine_objects_if_any()
    leaked = {thing for thing in after if thing.split(" ", 1)[1].startswith(run_name())}
    if os.environ.get(OWNED) == "1":
        before: set[str] = session.config.stash[_before]
        leaked |= {thing for thing in after - before if not thing.startswith("image ")}
    leaked -= _miscounted(leaked)
    session.config.stash[_leaked] = sorted(leaked)
    calls = session.config.stash[_calls] = _calls_that_differ(session)
    well = session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
    if (leaked or calls) and well:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _miscounted(things: set[str]) -> set[str]:
    """Those that are networks of this run, and that only a fault of the Engine leaves there."""
    networks = {thing for thing in things if thing.startswith(f"network {run_name()}")}
    if not networks:
        return set()
    client = docker.APIClient(**kwargs_from_env())
    try:
        return {thing for thing in networks if miscounted(client, thing.split(" ", 1)[1])}
    finally:
        client.close()


def _calls_that_differ(session: pytest.Session) -> list[str]:
    """What the list of calls has too few of, or too many where all tests of the fake Engine ran."""
    folder, option = Path(os.environ[apicalls.FOLDER]), session.config.option
    made = apicalls.noted(folder)
    shutil.rmtree(folder)
    paths = {Path(one.partition("::")[0]).resolve() for one in session.config.args}
    tests = Path(__file__).parent
    everything = bool(paths & {tests, tests / "fake", tests.parent})
    chosen = option.keyword or option.markexpr or option.deselect or option.ignore
    well = session.exitstatus == pytest.ExitCode.OK
    listed = [f"{call.method} {call.path}" for call in CALLS]
    return apicalls.complaints(made, listed, all_of_them=well and everything and not chosen)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what was left behind."""
    leaked = terminalreporter.config.stash.get(_leaked, [])
    if leaked:
        terminalreporter.section("left behind on the Engine", red=True)
        for thing in leaked:
            terminalreporter.line(thing)
    calls = terminalreporter.config.stash.get(_calls, [])
    if calls:
        terminalreporter.section("calls of the Engine's API", red=True)
        for call in calls:
            terminalreporter.line(call)
