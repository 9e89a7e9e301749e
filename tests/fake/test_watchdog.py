"""The watchdog of a run: an Engine that hangs ends it, and no other does."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.hub.waiting import eventually
from support.watchdog import EXIT_CODE, RUN, hangs, kill_processes_of

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"
CONFTEST = """
import os
from support.watchdog import RUN, EngineWatchdog

def pytest_configure(config):
    if not hasattr(config, "workerinput"):
        os.environ[RUN] = {run!r}
        watchdog = EngineWatchdog({url!r}, patience=0.5, every=0.1, grace={grace})
        config.pluginmanager.register(watchdog)
"""
#: A test that waits for the Engine, as does a program that it has started.
WAITING = """
import pathlib, subprocess, threading, time

def test_waiting():
    subprocess.Popen(["sleep", "600"])
    {wait}
"""


@contextmanager
def listening(folder: Path, answer: bytes | None) -> Iterator[str]:
    """The URL of an Engine that gives one answer to everything; None: it takes requests only.

    A file ``asked`` is in the folder once it was asked three times.
    """
    path = folder / "engine.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        taken = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                taken.append(connection)
                if len(taken) == 3:
                    (folder / "asked").touch()
                if answer is not None:
                    connection.recv(1000)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in taken:
                connection.close()


def run_of_pytest(
    folder: Path, url: str, run: str, wait: str, *options: str, grace: float = 30
) -> subprocess.CompletedProcess[str]:
    """A run of one test, watched."""
    (folder / "conftest.py").write_text(CONFTEST.format(run=run, url=url, grace=grace))
    (folder / "test_it.py").write_text(WAITING.format(wait=wait))
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def processes_of(run: str) -> list[str]:
    """The pids of processes with the run's name in their environment, zombies not counted."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"{RUN}={run}".encode() in (folder / "environ").read_bytes():
                found.append(folder.name)
        except OSError:
            continue
    return found


@pytest.fixture
def run() -> str:
    """A name of a run that no other test has."""
    return f"watched-{secrets.token_hex(4)}"


def test_an_engine_that_answers(tmp_path: Path) -> None:
    """An Engine that answers does not hang."""
    with listening(tmp_path, ANSWER) as url:
        assert not hangs(url, 60)


def test_an_engine_that_does_not_answer(tmp_path: Path) -> None:
    """An Engine that takes a request and leaves it unanswered hangs."""
    with listening(tmp_path, None) as url:
        assert hangs(url, 0.2)


@pytest.mark.parametrize("url", ["unix:///no/such.sock", "tcp://127.0.0.1:1", "ssh://far.away"])
def test_an_engine_that_is_not_there(url: str) -> None:
    """An Engine that cannot be asked does not hang: the tests tell better what is wrong."""
    assert not hangs(url, 60)


@pytest.mark.parametrize("options", [(), ("-n", "1")], ids=["one process", "a worker"])
def test_a_run_ends_when_the_engine_hangs(
    tmp_path: Path, run: str, options: tuple[str, ...]
) -> None:
    """The run ends with a status of its own, says once why, and leaves no process behind."""
    with listening(tmp_path, None) as url:
        done = run_of_pytest(tmp_path, url, run, "threading.Event().wait(600)", *options)
    assert done.returncode == EXIT_CODE, done.stdout + done.stderr
    assert f"the Engine at {url} hangs" in done.stdout
    eventually(lambda: processes_of(run), lambda found: not found, what="all of the run has ended")


def test_a_run_that_cannot_end(tmp_path: Path, run: str) -> None:
    """A run whose test goes on waiting, whatever it is told, ends after the time of grace."""
    stubborn = """
    while True:
        try:
            threading.Event().wait(600)
        except BaseException:
            pass
"""
    with listening(tmp_path, None) as url:
        done = run_of_pytest(tmp_path, url, run, stubborn, grace=0.5)
    assert done.returncode == EXIT_CODE, done.stdout + done.stderr
    eventually(lambda: processes_of(run), lambda found: not found, what="all of the run has ended")


def test_a_run_goes_on_when_the_engine_answers(tmp_path: Path, run: str) -> None:
    """A run whose Engine answers ends as its tests do."""
    asked = """
    while not pathlib.Path("asked").exists():
        time.sleep(0.01)
"""
    with listening(tmp_path, ANSWER) as url:
        done = run_of_pytest(tmp_path, url, run, asked)
    kill_processes_of(run)
    assert done.returncode == 0, done.stdout + done.stderr
