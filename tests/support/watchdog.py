"""Notice an Engine that hangs, and end the run: it would wait for that Engine for minutes a test.

dockerd 20.10 can deadlock for good, when containers end while its networks are listed. It then
takes requests and answers none of them. The process of pytest that leads the run asks the Engine
for its networks from time to time. When an answer stays away, it says so, kills all processes of
the run, and exits with `EXIT_CODE`. scripts/test renews an Engine of its own then.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from contextlib import suppress
from pathlib import Path
from types import FrameType
from urllib.parse import urlsplit

import pytest

#: Of pytest, when the Engine hangs; no status of pytest's own.
EXIT_CODE = 75
#: Names the run in the environment of all its processes.
RUN = "DOCKERNAMED_TEST_RUN"


def hangs(url: str, patience: float) -> bool:
    """Whether an Engine takes a request for its networks and does not answer.

    An Engine that is not there does not hang. One that is reached by TLS or ssh is not asked.

    Args:
        url: ``unix:///path`` or ``tcp://host:port``, as in ``DOCKER_HOST``.
        patience: seconds to wait for the first byte of the answer.
    """
    place = urlsplit(url)
    if place.scheme not in ("unix", "tcp") or os.environ.get("DOCKER_TLS_VERIFY"):
        return False
    family = socket.AF_UNIX if place.scheme == "unix" else socket.AF_INET
    with socket.socket(family) as sock:
        sock.settimeout(patience)
        try:
            sock.connect(place.path if place.scheme == "unix" else (place.hostname, place.port))
            sock.sendall(b"GET /networks HTTP/1.1\r\nHost: engine\r\nConnection: close\r\n\r\n")
            sock.recv(1)
        except TimeoutError:
            return True
        except OSError:
            return False
    return False


def kill_processes_of(run: str) -> None:
    """Kill all but this process that were started with the run's name in their environment.

    These are pytest's workers, and the Hubs and proxies of the tests.
    """
    mark = f"{RUN}={run}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            ours = mark in (folder / "environ").read_bytes().split(b"\0")
            if ours and int(folder.name) != os.getpid():
                os.kill(int(folder.name), signal.SIGKILL)


class EngineWatchdog:
    """A plugin of pytest, for the process that leads the run.

    Args:
        url: of the Engine, as in ``DOCKER_HOST``.
        patience: seconds without an answer that make it an Engine that hangs.
        every: seconds between two questions.
        grace: seconds for pytest to come to its end, before its process is ended.
    """

    def __init__(
        self, url: str, *, patience: float = 30, every: float = 10, grace: float = 30
    ) -> None:
        self.url, self.patience, self.every, self.grace = url, patience, every, grace
        self._finished = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="engine watchdog", daemon=True)

    def pytest_sessionstart(self) -> None:
        """Begin to watch."""
        signal.signal(signal.SIGUSR1, self._exit)
        self._thread.start()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Watch no more; leave no process waiting for an Engine that hangs."""
        self._finished.set()
        if session.exitstatus == EXIT_CODE:
            kill_processes_of(os.environ[RUN])

    def _watch(self) -> None:
        while not self._finished.wait(self.every):
            if hangs(self.url, self.patience):
                main = threading.main_thread().ident
                assert main is not None
                # A signal, since the main thread may wait in a call to the Engine itself.
                signal.pthread_kill(main, signal.SIGUSR1)
                if not self._finished.wait(self.grace):
                    kill_processes_of(os.environ[RUN])
                    os._exit(EXIT_CODE)
                return

    def _exit(self, number: int, frame: FrameType | None) -> None:
        pytest.exit(
            f"the Engine at {self.url} hangs: it has not answered GET /networks for "
            f"{self.patience:g} s",
            returncode=EXIT_CODE,
        )
