"""An Engine that nobody else uses, so that a test may restart it or fill its disk.

It is started and taken down by scripts/engine: bridge, mounts and processes go with it, however
a test has ended. Needs root, as that does.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import docker
import pytest

from support.hub.waiting import eventually

SCRIPT = Path(__file__).resolve().parents[3] / "scripts" / "engine"
#: Bytes: room for the 2 MB image and some containers, and little enough to be filled at once.
DISK = 64 << 20


class OwnEngine:
    """A dockerd with its data on a small disk of its own.

    Args:
        cache: an empty folder; the disk is mounted there.

    Attributes:
        url: for DOCKER_HOST.
        client: of it.
    """

    def __init__(self, cache: Path) -> None:
        self._cache, self._filler = cache, cache / "filler"
        self._log = cache / "log" / "dockerd.log"
        self.url = self._script("url").strip()
        self._run = Path(self.url.removeprefix("unix://")).parent
        self._pid_files = (
            self._run / "dockerd.pid",
            self._run / "exec" / "containerd" / "containerd.pid",
        )
        self._command: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self.client: docker.APIClient

    # --- its life

    def start(self) -> None:
        """Start it for the first time."""
        # Not on the data's own folder: scripts/engine unmounts what it finds in there.
        mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(self._cache)]
        subprocess.run(mount, check=True)
        self._script("start")
        self.client = docker.APIClient(self.url, timeout=60)
        words = Path(f"/proc/{self.pid}/cmdline").read_bytes().split(b"\0")
        self._command = [word.decode() for word in words if word]
        # With pools of its own, a dockerd that starts again deletes docker0: another Engine's.
        while "--default-address-pool" in self._command:
            at = self._command.index("--default-address-pool")
            del self._command[at : at + 2]

    def end(self) -> None:
        """Take all of it down."""
        with suppress(AttributeError):
            self.client.close()
        self.room()
        self._script("stop")
        if self._process is not None:
            self._process.wait(30)
        if os.path.ismount(self._cache):
            subprocess.run(["umount", "-l", str(self._cache)], check=True)

    @property
    def pid(self) -> int:
        """Of dockerd."""
        return int(self._pid_files[0].read_text())

    def live_restore(self, wanted: bool) -> None:
        """Whether its containers outlive it, from now on."""
        (self._run / "daemon.json").write_text(json.dumps({"live-restore": wanted}))
        os.kill(self.pid, signal.SIGHUP)
        eventually(
            lambda: self.client.info()["LiveRestoreEnabled"],
            lambda enabled: enabled is wanted,
            what="the Engine has read its configuration again",
        )

    def stop(self, *, kill: bool = False) -> None:
        """Stop it as a service manager does, or kill it; return when all of it is gone."""
        pids = [int(file.read_text()) for file in self._pid_files]
        os.kill(pids[0], signal.SIGKILL if kill else signal.SIGTERM)
        if self._process is not None:
            self._process.wait(60)
        eventually(
            lambda: [pid for pid in pids if _runs(pid)],
            lambda running: not running,
            what="dockerd and its containerd are gone",
        )

    def start_again(self) -> None:
        """Start it as it was started."""
        for file in self._pid_files:  # a zombie's pid looks alive to the new ones
            file.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        eventually(self._answers, what="the Engine answers")

    # --- what is on it

    def load(self, client: docker.APIClient, image: str) -> None:
        """Have an image of another Engine."""
        self.client.load_image(b"".join(client.get_image(image)))

    def fill(self) -> None:
        """Use up all of its disk, and surely no other."""
        disk = os.statvfs(self._cache)
        assert os.path.ismount(self._cache)
        assert disk.f_blocks * disk.f_frsize == DISK, "this is not the Engine's own disk"
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, disk.f_bavail * disk.f_frsize)

    def room(self) -> None:
        """Have room on its disk again."""
        self._filler.unlink(missing_ok=True)

    # --- helpers

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()[-3000:]
        # Not by the SDK, which forgets its socket when it cannot connect.
        with suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.connect(self.url.removeprefix("unix://"))
            return bool(self.client.ping())
        return False

    def _script(self, word: str) -> str:
        env = {**os.environ, "DOCKERNAMED_CACHE": str(self._cache)}
        done = subprocess.run(
            [str(SCRIPT), word],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"scripts/engine {word}:\n{done.stdout}{done.stderr}"
        return done.stdout


def _runs(pid: int) -> bool:
    """Whether a process is there and no zombie, which may have no one to collect it."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


@contextmanager
def own_engine() -> Iterator[OwnEngine]:
    """An Engine of one's own, for a while."""
    if os.geteuid() != 0:
        pytest.fail("only root can start an Engine of its own")
    cache = Path(tempfile.mkdtemp(prefix="dkn-"))
    try:
        engine = OwnEngine(cache)
        try:
            engine.start()
            yield engine
        finally:
            engine.end()
    finally:
        shutil.rmtree(cache)
