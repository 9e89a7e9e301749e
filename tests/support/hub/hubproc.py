"""A real JupyterHub: its process and its proxy, started, stopped and killed by tests."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import jupyterhub
import pytest
import requests

from support.hub.client import Client
from support.hub.dockerview import BUSYBOX, Docker
from support.hub.hubconfig import BASE_CONFIG
from support.hub.waiting import eventually
from support.ports import free_port

HUB6 = int(jupyterhub.__version__.split(".")[0]) >= 6

#: Goes before all else that the Hub imports from: what it starts faster without.
SLIM = Path(__file__).parents[1] / "slim"
#: What the log of a healthy Hub never has, whatever a test does to it.
COMPLAINTS = re.compile(
    r"exception was never retrieved|was never awaited|Task was destroyed but it is pending"
)


class Hub(Client):
    """One JupyterHub in a directory of its own, with its proxy.

    Args:
        directory: for its config, database, cookie secret and log.
        client: of the Engine, to look at what the Hub does there.
        prefix: of all names that its servers get.
        config: Python text, run at the end of the config file.
        image: the default image.
        hub_ip: address to listen on; None leaves JupyterHub's default.
        env: further environment variables of the Hub process.
        by_user: first part of a user's name, before a ``-`` → settings of that user's spawners,
            over those of the config: many settings are so tested with one Hub.
        template: of the part of the config file before ``config``; see hubconfig.py.
        internal_ssl: its own port answers nobody but its proxy and its servers.
        view: of what the Hub makes, where that is on more than one Engine.
    """

    def __init__(
        self,
        directory: Path,
        client: docker.APIClient,
        prefix: str,
        config: str = "",
        *,
        image: str = BUSYBOX,
        hub_ip: str | None = "0.0.0.0",
        env: Mapping[str, str] | None = None,
        by_user: Mapping[str, Mapping[str, Any]] | None = None,
        template: str = BASE_CONFIG,
        internal_ssl: bool = False,
        view: Docker | None = None,
    ) -> None:
        self.port, self.hub_port = free_port(), free_port()
        super().__init__(
            f"http://127.0.0.1:{self.port}",
            secrets.token_hex(32),
            view or Docker(client, prefix),
            directory,
        )
        self.prefix = prefix
        self.log_file = directory / "hub.log"
        self.blocking_file = directory / "blocking.txt"
        self.proxy_pid_file = directory / "proxy.pid"
        self._env, self._internal_ssl = dict(env or {}), internal_ssl
        self._heard = 0  # characters of the log that `complaints` has seen
        self._process: subprocess.Popen[bytes] | None = None
        self._base = template.format(
            support=str(Path(__file__).parents[1]),
            blocking=str(self.blocking_file),
            hub_ip="" if hub_ip is None else f"c.JupyterHub.hub_ip = {hub_ip!r}",
            port=self.port,
            hub_port=self.hub_port,
            proxy=proxy_command(),
            proxy_port=free_port(),
            proxy_token=secrets.token_hex(16),
            proxy_pid_file=str(self.proxy_pid_file),
            token=self.token,
            prefix=prefix,
            image=image,
            by_user=dict(by_user or {}),
        )
        self.configure(config)

    # --- the process

    def configure(self, config: str) -> None:
        """Replace the test's part of the config file; it counts from the next start on."""
        text = self._base + textwrap.dedent(config)
        (self.directory / "jupyterhub_config.py").write_text(text, encoding="utf-8")

    @property
    def pid(self) -> int:
        """Of the Hub's process."""
        assert self._process is not None
        return self._process.pid

    def start(self, timeout: float = 120.0) -> None:
        """Start the Hub and wait until its API answers through the proxy."""
        assert self._process is None, "the Hub runs already"
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub"],
                cwd=self.directory,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        eventually(self._answers, what="the Hub's API answers", timeout=timeout)

    def stop(self, timeout: float = 60.0) -> None:
        """Stop the Hub as a service manager does; it then does what its config says."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"the Hub did not stop within {timeout} s of SIGTERM") from None
        finally:
            self._process = None

    def kill(self) -> None:
        """``kill -9``: the Hub can't tidy up. Its proxy runs on, as in real life."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def restart(self) -> None:
        """Stop and start."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End every process that is left, tidy or not."""
        if self._process is not None:
            self.kill()
        self._end_proxy()
        super().close()

    def environment(self) -> dict[str, str]:
        """The environment of the Hub's process."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTERHUB_", "PYTEST_"))}
        path = os.pathsep.join(filter(None, (str(SLIM), env.get("PYTHONPATH"))))
        return {**env, "PYTHONPATH": path, **self._env}

    def log(self) -> str:
        """All that the Hub and its proxy have said."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def tail(self, lines: int = 80) -> str:
        """The last lines of the log."""
        return "\n".join(self.log().splitlines()[-lines:])

    def complaints(self) -> str:
        """What shows that the Hub is not well: blocked event loop, lost exceptions.

        Each is told once.
        """
        log = self.log()
        found = [line for line in log[self._heard :].splitlines() if COMPLAINTS.search(line)]
        self._heard = len(log)
        if self.blocking_file.exists():
            found.append(f"the event loop was blocked:\n{self.blocking_file.read_text()}")
            self.blocking_file.unlink()
        return "\n".join(found)

    def _answers(self) -> bool:
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            self._process = None
            raise AssertionError(f"the Hub ended with {code} at its start:\n{self.tail()}")
        # The Hub itself first: asking by the proxy fills the log while the Hub is not there yet.
        itself = self._internal_ssl or self.answers(f"http://127.0.0.1:{self.hub_port}")
        return itself and self.answers()

    def _end_proxy(self) -> None:
        """End the proxy that a killed Hub left; by its pid, if that is still a proxy's."""
        if not self.proxy_pid_file.exists():
            return
        pid = int(self.proxy_pid_file.read_text())
        for sent in (signal.SIGTERM, signal.SIGKILL):
            if not self._is_our_proxy(pid):
                return
            with suppress(ProcessLookupError):
                os.kill(pid, sent)
            with suppress(AssertionError):
                eventually(lambda: not self._is_our_proxy(pid), what="the proxy ends")
                return

    def _is_our_proxy(self, pid: int) -> bool:
        with suppress(OSError):
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes()
            return str(self.port).encode() in arguments
        return False

    def command(self, *arguments: str) -> str:
        """Run ``jupyterhub ARGUMENTS`` beside the Hub; what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "jupyterhub", *arguments],
            env=self.environment(),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, f"jupyterhub {arguments}: {done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def describe(self) -> str:
        """What a person wants to see when a test of this Hub has failed."""
        try:
            state = self.docker.state()
        except requests.RequestException as error:
            state = f"(it does not answer: {error})"
        return f"{self.tail()}\n\n--- on the Engine ---\n{state}"


def proxy_command() -> str:
    """Where configurable-http-proxy is.

    Raises:
        AssertionError: it is nowhere.
    """
    found = os.environ.get("DOCKERNAMED_CHP") or shutil.which("configurable-http-proxy")
    assert found, (
        "configurable-http-proxy is neither in PATH nor named by DOCKERNAMED_CHP; "
        "`npm install configurable-http-proxy` makes it"
    )
    return found


class Hubs:
    """Makes Hubs, each with a prefix and a directory of its own, and knows those that run.

    Args:
        client: of the Engine.
        directory: where to put theirs.
        name: begins the prefixes; another one in each run and worker, at most 14 characters.
    """

    def __init__(self, client: docker.APIClient, directory: Path, name: str) -> None:
        self.client, self.directory, self.name = client, directory, name
        self.alive: list[Hub] = []
        #: (prefix, description) of Hubs that a failing test took down with itself.
        self.fallen: list[tuple[str, str]] = []
        self._made = 0

    def described(self) -> list[tuple[str, str]]:
        """(title, description) of all Hubs that a test had; of those that are gone, once."""
        described = [*self.fallen, *((hub.prefix, hub.describe()) for hub in self.alive)]
        self.fallen.clear()
        return [(f"Hub {prefix}", text) for prefix, text in described]

    def require(self, *images: str) -> None:
        """Fail a test whose images are not there."""
        for image in images:
            try:
                self.client.inspect_image(image)
            except docker.errors.ImageNotFound:
                pytest.fail(
                    f"the Engine has no image {image}; scripts/images builds the tests' images",
                    pytrace=False,
                )

    def make(
        self,
        config: str = "",
        *,
        prefix: str | None = None,
        client: docker.APIClient | None = None,
        **settings: Any,
    ) -> Hub:
        """A Hub that has not been started; `Hub`'s arguments."""
        self._made += 1
        directory = self.directory / f"hub{self._made}"
        directory.mkdir()
        prefix = prefix or self.prefix()
        return Hub(directory, client or self.client, prefix, config, **settings)

    def prefix(self) -> str:
        """A prefix that nobody else uses."""
        self._made += 1
        return f"{self.name}{self._made}"

    @contextmanager
    def running(
        self, config: str = "", *, leaves: Sequence[str] = (), **settings: Any
    ) -> Iterator[Hub]:
        """A running Hub, for a while; then all of it is taken down and tidied up.

        A Hub that is stopped stops its servers (``cleanup_servers``): a container that is there
        even so is an orphan, and an error.

        Args:
            config: Python text for its config.
            leaves: users whose containers may be left, since the test has it so.
            settings: further arguments of `Hub`.
        """
        hub = self.make(config, **settings)
        self.alive.append(hub)
        try:
            hub.start()
            yield hub
            hub.stop()
            left = hub.docker.left(leaves)
            assert left == [], f"containers outlived their Hub: {left}\n{hub.tail()}"
            complaints = hub.complaints()
            assert not complaints, complaints
        except BaseException:
            self.fallen.append((hub.prefix, hub.describe()))
            raise
        finally:
            self.alive.remove(hub)
            hub.close()
            hub.docker.remove_all()
