"""The demo's Hub: started, shown with lines to paste, and taken down again.

scripts/demo has made all ready: an Engine at DOCKER_HOST, the images, and the proxy in PATH.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import docker

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("DOCKERNAMED_CACHE") or ROOT / ".cache")
LABEL = "dockernamed.hub"


class Stopped(Exception):
    """The person at the terminal, or the system, wants an end."""


# ------------------------------------------------------------------------------- the lines


@dataclass(frozen=True)
class Line:
    """One command line to paste, and what its answer must be.

    Attributes:
        command: for a shell that has TOKEN, API and URL.
        codes: HTTP codes that are right.
        check: given the body, whether it is right as well.
        about: printed as a comment above it; "" where the line goes with the one before.
    """

    command: str
    codes: tuple[int, ...]
    about: str = ""
    check: Callable[[str], bool] = field(default=lambda body: True)


AUTH = '-H "Authorization: token $TOKEN"'


def model(test: Callable[[Any], bool]) -> Callable[[str], bool]:
    """A check of a body that is JSON."""
    return lambda body: test(json.loads(body))


def _both_ready(user: Any) -> bool:
    servers = user["servers"]
    return set(servers) == {"exp-1", "exp-2"} and all(s["ready"] for s in servers.values())


LINES = (
    Line(f"curl -X POST {AUTH} $API/users/ada", (201, 409), "a user"),
    Line(
        f"""curl -X POST {AUTH} $API/users/ada/servers/exp-1 -d '{{"image": "lab"}}'""",
        (201, 202),
        "two servers at once, each from its own image",
    ),
    Line(
        f"""curl -X POST {AUTH} $API/users/ada/servers/exp-2 -d '{{"image": "lab-green"}}'""",
        (201, 202),
    ),
    Line(
        f"curl -N {AUTH} $API/users/ada/servers/exp-1/progress",
        (200,),
        "watch them become ready",
        lambda body: '"ready": true' in body,
    ),
    Line(
        f"curl -N {AUTH} $API/users/ada/servers/exp-2/progress",
        (200,),
        check=lambda body: '"ready": true' in body,
    ),
    Line(f"curl {AUTH} $API/users/ada", (200,), "what runs", model(_both_ready)),
    Line(
        f"curl {AUTH} $URL/user/ada/exp-1/api/status",
        (200,),
        "the same token works on a server's own REST API",
        model(lambda status: "started" in status),
    ),
    Line(
        f"curl -X PUT {AUTH} $URL/user/ada/exp-1/api/contents/hello.txt "
        """-d '{"type": "file", "format": "text", "content": "hello"}'""",
        (201, 200),
    ),
    Line(
        f'curl {AUTH} "$URL/user/ada/exp-2/api/contents/Welcome.ipynb?content=0"',
        (200,),
        check=model(lambda file: file["name"] == "Welcome.ipynb"),
    ),
    Line(
        f"""curl -X POST {AUTH} $API/users/ada/servers/exp-3 -d '{{"image": "other"}}'""",
        (400,),
        "an image that is not allowed",
        lambda body: "lab-green" in body,
    ),
    Line(
        f"curl -X DELETE {AUTH} $API/users/ada/servers/exp-1",
        (202, 204),
        "stop a server, and start it again: its files are still there",
    ),
    Line(f"curl -X POST {AUTH} $API/users/ada/servers/exp-1", (201, 202)),
    Line(
        f"curl -N {AUTH} $API/users/ada/servers/exp-1/progress",
        (200,),
        check=lambda body: '"ready": true' in body,
    ),
    Line(
        f"curl {AUTH} $URL/user/ada/exp-1/api/contents/hello.txt",
        (200,),
        check=model(lambda file: file["content"] == "hello"),
    ),
    Line(
        f"""curl -X DELETE {AUTH} $API/users/ada/servers/exp-2 -d '{{"remove": true}}'""",
        (202, 204),
        "remove a server for good, and then the user with all the rest",
    ),
    Line(f"curl -X DELETE {AUTH} $API/users/ada/servers/exp-1", (202, 204)),
    Line(f"curl -X DELETE {AUTH} $API/users/ada", (204,)),
)


# --------------------------------------------------------------------------------- the Hub


class Demo:
    """One Hub with its state in a folder.

    Args:
        folder: its working directory: database, cookie secret, log.
        name: the Hub's id, which begins the names of all its containers and volumes.
        port: where the proxy listens; the Hub itself takes the one 81 above, and the proxy's own
            API the one above it.
    """

    def __init__(self, folder: Path, name: str, port: int) -> None:
        self.folder, self.name, self.port = folder, name, port
        self.url = f"http://127.0.0.1:{port}"
        self.api = f"{self.url}/hub/api"
        self.token = self._token()
        self.log = folder / "hub.log"
        self._hub: subprocess.Popen[bytes] | None = None
        # Without the machine's proxy settings: all of this is about 127.0.0.1.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def _token(self) -> str:
        """The same token at each run, so that lines once pasted go on working."""
        file = self.folder / "token"
        if not file.exists():
            file.touch(mode=0o600)
            file.write_text(secrets.token_hex(32))
        return file.read_text()

    def require_ports(self) -> None:
        """End with a clear message where a port is taken."""
        for port, address in (
            (self.port, "127.0.0.1"),
            (self.port + 1, "127.0.0.1"),
            (self.port + 81, "0.0.0.0"),
        ):
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    sock.bind((address, port))
                except OSError as error:
                    raise SystemExit(
                        f"demo: port {port} is taken ({error.strerror}). The demo needs "
                        f"{self.port}, {self.port + 1} and {self.port + 81}; choose others with "
                        "scripts/demo --port 9000"
                    ) from error

    def start(self) -> None:
        """Start the Hub and wait until its API answers through the proxy."""
        self.require_ports()
        require_own_name()
        environment = {
            **os.environ,
            "ADMIN_TOKEN": self.token,
            "DEMO_ID": self.name,
            "DEMO_PORT": str(self.port),
        }
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C reaches this program, which stops it in good order.
            self._hub = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", str(ROOT / "scripts/demo_config.py")],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 90
        while not self._answers():
            if self._hub.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"demo: the Hub did not start:\n{self.tail()}")
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with self._opener.open(f"{self.api}/", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def settle(self) -> None:
        """Wait until no server of the demo's user is on its way; a 202 says that one is."""
        request = urllib.request.Request(
            f"{self.api}/users/ada", headers={"Authorization": f"token {self.token}"}
        )
        deadline = time.monotonic() + 60
        pending = True
        while pending and time.monotonic() < deadline:
            time.sleep(0.1)
            with self._opener.open(request, timeout=10) as answer:
                pending = any(s["pending"] for s in json.load(answer)["servers"].values())

    def tail(self, lines: int = 40) -> str:
        """The end of the Hub's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait(self) -> None:
        """Wait for the end of the Hub, which is an error."""
        assert self._hub is not None
        code = self._hub.wait()
        raise SystemExit(f"demo: the Hub ended with {code}:\n{self.tail()}")

    def stop(self) -> None:
        """Stop the Hub, which stops its servers and its proxy; then make sure of all three."""
        if self._hub is None:
            return
        if self._hub.poll() is None:
            self._hub.terminate()
        try:
            self._hub.wait(60)
        except subprocess.TimeoutExpired:
            print(f"demo: the Hub did not stop within 60 s:\n{self.tail()}", file=sys.stderr)
        # Whatever else is in its session, such as the proxy of a Hub that crashed.
        for sent in (signal.SIGTERM, signal.SIGKILL):
            for _ in range(50):
                left = self.processes()
                if not left:
                    return
                for pid in left:
                    _send(pid, sent)
                time.sleep(0.1)

    def processes(self) -> list[int]:
        """The processes of the Hub's session that still run."""
        assert self._hub is not None
        listing = subprocess.run(
            ["ps", "-A", "-o", "pid=,sess=,stat="], capture_output=True, text=True, check=True
        ).stdout
        rows = [line.split() for line in listing.splitlines()]
        session = str(self._hub.pid)
        return [int(row[0]) for row in rows if row[1] == session and row[2][0] != "Z"]

    # --- the Engine

    def leftovers(self) -> list[tuple[str, Any]]:
        """Containers, volumes and networks of this Hub that are still there."""
        client = docker.from_env()
        mine = {"label": f"{LABEL}={self.name}"}
        found: list[tuple[str, Any]] = [
            (f"container {c.name}", c) for c in client.containers.list(all=True, filters=dict(mine))
        ]
        found += [(f"volume {v.name}", v) for v in client.volumes.list(filters=mine)]
        found += [(f"network {n.name}", n) for n in client.networks.list(filters=dict(mine))]
        return found

    def remove_leftovers(self) -> list[str]:
        """Remove them all, and tell what there was."""
        names = []
        for name, thing in self.leftovers():
            names.append(name)
            thing.remove(**({"force": True} if name.startswith(("container", "volume")) else {}))
        return names


def require_own_name() -> None:
    """JupyterHub's proxy looks for its Hub at the machine's name, so that must be known."""
    name = socket.gethostname()
    try:
        socket.getaddrinfo(name, None)
    except OSError as error:
        raise SystemExit(
            f"demo: this machine's name, {name}, is not known to it, so that JupyterHub's proxy "
            f"cannot find its Hub; add the line '127.0.1.1 {name}' to /etc/hosts"
        ) from error


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


# -------------------------------------------------------------------------------- the runs


def show(demo: Demo) -> None:
    """Print where the Hub is, and the lines."""
    print(f"\nJupyterHub: {demo.url}  (log in with any name, no password)")
    print(f"Its log:    {demo.log}\n")
    print("Over its REST API, line by line:\n")
    print(f"export URL={demo.url} API={demo.api}")
    print(f"export TOKEN={demo.token}")
    for line in LINES:
        if line.about:
            print(f"\n# {line.about}")
        print(line.command)
    print(flush=True)


def check(demo: Demo) -> list[str]:
    """Run the lines as they are printed.

    Returns:
        What went wrong, one text for each line that failed.
    """
    # curl is told by its own config file to add the code, so that the lines stay as they are.
    (demo.folder / ".curlrc").write_text(
        'silent\nshow-error\nnoproxy = "*"\nmax-time = 120\nwrite-out = "\\n%{http_code}"\n'
    )
    environment = {
        **os.environ,
        "CURL_HOME": str(demo.folder),
        "URL": demo.url,
        "API": demo.api,
        "TOKEN": demo.token,
    }
    wrong = []
    for line in LINES:
        begun = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", line.command],
            env=environment,
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )
        body, _, code = done.stdout.rpartition("\n")
        right = done.returncode == 0 and int(code) in line.codes and line.check(body)
        if code == "202" and "-X DELETE" in line.command:
            demo.settle()
        took = time.monotonic() - begun
        word = "ok" if right else "WRONG"
        print(f"    {word:5} {code} {took:5.1f} s  {line.command}", flush=True)
        if not right:
            wrong.append(f"{line.command}\n-> {code}, expected {line.codes}: {body} {done.stderr}")
    return wrong


def run_check(port: int) -> None:
    """Start a Hub with fresh state, run the lines, take all down, and see that nothing is left."""
    folder = Path(tempfile.mkdtemp(prefix="demo-check-", dir=CACHE))
    demo = Demo(folder, f"demo-{secrets.token_hex(4)}", port)
    wrong: list[str] = []
    try:
        demo.start()
        show(demo)
        print("Running these lines:")
        wrong = check(demo)
        demo.stop()
        wrong += [f"left behind: {name}" for name in demo.remove_leftovers()]
        wrong += [f"still running: process {pid}" for pid in demo.processes()]
        if wrong:
            print(f"\nThe Hub's log:\n{demo.tail(80)}", file=sys.stderr)
            raise SystemExit("\n".join(["demo: wrong:", *wrong]))
        print("demo: every line answered as it should, and nothing is left behind")
    finally:
        demo.stop()
        demo.remove_leftovers()
        shutil.rmtree(folder, ignore_errors=True)


def run_demo(port: int) -> None:
    """Start the Hub with the state of the last demo, and wait for Ctrl-C."""
    folder = CACHE / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise SystemExit("demo: it runs already, with the same state") from error
        demo = Demo(folder, "demo", port)
        try:
            demo.start()
            show(demo)
            print("Ctrl-C stops it, and its servers. Their files stay, in volumes.", flush=True)
            demo.wait()
        finally:
            print("\nStopping the Hub and its servers", flush=True)
            demo.stop()


def stop_on_signals() -> None:
    """Make the first SIGINT, SIGTERM or SIGHUP raise `Stopped`; later ones do nothing."""
    received: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if len(received) == 1:
            raise Stopped

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)


def main() -> None:
    """Run the demo, or its check."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="run the lines, check the answers")
    parser.add_argument("--port", type=int, default=8000, help="of the proxy (default: 8000)")
    options = parser.parse_args()
    stop_on_signals()
    try:
        (run_check if options.check else run_demo)(options.port)
    except Stopped:
        if options.check:
            raise SystemExit("demo: interrupted") from None


if __name__ == "__main__":
    main()
