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
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import docker
import requests

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("DOCKERNAMED_CACHE") or ROOT / ".cache")

# ------------------------------------------------------------------------------- the lines


@dataclass(frozen=True)
class Line:
    """One command line to paste, and what its answer must be.

    Attributes:
        command: for a shell that has TOKEN, API and URL.
        codes: HTTP codes that are right.
        about: printed as a comment above it; "" where the line goes with the one before.
        check: given the body, whether it is right as well.
    """

    command: str
    codes: tuple[int, ...] = (200,)
    about: str = ""
    check: Callable[[str], bool] = lambda body: True


def model(test: Callable[[Any], bool]) -> Callable[[str], bool]:
    """A check of a body that is JSON."""
    return lambda body: test(json.loads(body))


def both_ready(user: Any) -> bool:
    """Whether a user has the two servers, and both are ready."""
    servers = user["servers"]
    return set(servers) == {"exp-1", "exp-2"} and all(s["ready"] for s in servers.values())


def became_ready(body: str) -> bool:
    """Whether a stream of progress came to its good end."""
    return '"ready": true' in body


AUTH = '-H "Authorization: token $TOKEN"'
SERVERS = "$API/users/ada/servers"
START, STOP = (201, 202), (202, 204)

LINES = (
    Line(f"curl -X POST {AUTH} $API/users/ada", (201, 409), "a user"),
    Line(
        f"""curl -X POST {AUTH} {SERVERS}/exp-1 -d '{{"image": "lab"}}'""",
        START,
        "two servers at once, each from its own image",
    ),
    Line(f"""curl -X POST {AUTH} {SERVERS}/exp-2 -d '{{"image": "lab-green"}}'""", START),
    Line(
        f"curl -N {AUTH} {SERVERS}/exp-1/progress",
        about="watch them become ready",
        check=became_ready,
    ),
    Line(f"curl -N {AUTH} {SERVERS}/exp-2/progress", check=became_ready),
    Line(f"curl {AUTH} $API/users/ada", about="what runs", check=model(both_ready)),
    Line(
        f"curl {AUTH} $URL/user/ada/exp-1/api/status",
        about="the same token works on a server's own REST API",
        check=model(lambda status: "started" in status),
    ),
    Line(
        f"curl -X PUT {AUTH} $URL/user/ada/exp-1/api/contents/hello.txt "
        """-d '{"type": "file", "format": "text", "content": "hello"}'""",
        (201, 200),
    ),
    Line(
        f'curl {AUTH} "$URL/user/ada/exp-2/api/contents/Welcome.ipynb?content=0"',
        check=model(lambda file: file["name"] == "Welcome.ipynb"),
    ),
    Line(
        f"""curl -X POST {AUTH} {SERVERS}/exp-3 -d '{{"image": "other"}}'""",
        (400,),
        "an image that is not allowed",
        lambda body: "lab-green" in body,
    ),
    Line(
        f"curl -X DELETE {AUTH} {SERVERS}/exp-1",
        STOP,
        "stop a server, and start it again: its files are still there",
    ),
    Line(f"curl -X POST {AUTH} {SERVERS}/exp-1", START),
    Line(f"curl -N {AUTH} {SERVERS}/exp-1/progress", check=became_ready),
    Line(
        f"curl {AUTH} $URL/user/ada/exp-1/api/contents/hello.txt",
        check=model(lambda file: file["content"] == "hello"),
    ),
    Line(
        f"""curl -X DELETE {AUTH} {SERVERS}/exp-2 -d '{{"remove": true}}'""",
        STOP,
        "remove a server for good, and then the user with all the rest",
    ),
    Line(f"curl -X DELETE {AUTH} {SERVERS}/exp-1", STOP),
    Line(f"curl -X DELETE {AUTH} $API/users/ada", (204,)),
)


# --------------------------------------------------------------------------------- the Hub


class Demo:
    """One Hub with its state in a folder.

    Args:
        folder: its working directory: database, cookie secret, token, log.
        name: the Hub's id, which begins the names of all its containers and volumes.
        port: where the proxy listens. Its own API takes the next port, the Hub the one 81 above.
    """

    def __init__(self, folder: Path, name: str, port: int) -> None:
        self.folder, self.name, self.port = folder, name, port
        self.url = f"http://127.0.0.1:{port}"
        self.api = f"{self.url}/hub/api"
        self.log = folder / "hub.log"
        # The same token at each run, so that lines once pasted go on working.
        token = folder / "token"
        if not token.exists():
            token.touch(mode=0o600)
            token.write_text(secrets.token_hex(32))
        self.token = token.read_text()
        self._hub: subprocess.Popen[bytes] | None = None
        self._http = requests.Session()
        self._http.trust_env = False  # all of this is about 127.0.0.1: no proxy of the machine's
        self._http.headers["Authorization"] = f"token {self.token}"
        # The proxy may close a connection that was idle just as the next request is sent over it.
        self._http.headers["Connection"] = "close"

    def taken_ports(self) -> list[int]:
        """Those of the demo's ports at which something listens."""
        taken = []
        for host, port in (("127.0.0.1", 0), ("127.0.0.1", 1), ("0.0.0.0", 81)):
            with socket.socket() as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    sock.bind((host, self.port + port))
                except OSError:
                    taken.append(self.port + port)
        return taken

    def start(self) -> None:
        """Start the Hub and wait until its API answers through the proxy."""
        if taken := self.taken_ports():
            raise SystemExit(
                f"demo: port {taken[0]} is taken. The demo needs {self.port}, {self.port + 1} and "
                f"{self.port + 81}; choose others with scripts/demo --port 9000"
            )
        require_own_name()
        settings = {"ADMIN_TOKEN": self.token, "DEMO_ID": self.name, "DEMO_PORT": str(self.port)}
        with self.log.open("wb") as log:
            # A session of its own: Ctrl-C reaches this program, which stops it in good order.
            self._hub = subprocess.Popen(
                [sys.executable, "-m", "jupyterhub", "-f", str(ROOT / "scripts/demo_config.py")],
                cwd=self.folder,
                env={**os.environ, **settings},
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
        with suppress(requests.RequestException):
            return self._http.get(f"{self.api}/", timeout=5).ok
        return False

    def settle(self) -> None:
        """Wait until no server of the demo's user is on its way; a 202 says that one is."""
        deadline = time.monotonic() + 60
        pending = True
        while pending and time.monotonic() < deadline:
            time.sleep(0.1)
            servers = self._http.get(f"{self.api}/users/ada", timeout=10).json()["servers"]
            pending = any(server["pending"] for server in servers.values())

    def tail(self, lines: int = 40) -> str:
        """The end of the Hub's log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait(self) -> None:
        """Wait for the end of the Hub, which is an error."""
        assert self._hub is not None
        raise SystemExit(f"demo: the Hub ended with {self._hub.wait()}:\n{self.tail()}")

    def stop(self) -> None:
        """Stop the Hub, which stops its servers and its proxy; then make sure of the two."""
        if self._hub is None:
            return
        self._hub.terminate()
        try:
            self._hub.wait(60)
        except subprocess.TimeoutExpired:
            print(f"demo: the Hub did not stop within 60 s:\n{self.tail()}", file=sys.stderr)
            self._hub.kill()
            self._hub.wait()
        self._hub = None
        # The file is gone where the Hub has stopped its proxy.
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self.folder / "proxy.pid").read_text()), signal.SIGKILL)

    def remove_leftovers(self) -> list[str]:
        """Remove the containers, volumes and networks of this Hub; tell which there were.

        The Hub's own network is not told: it is there as long as the Hub.
        """
        client = docker.from_env()
        mine: Any = {"label": f"dockernamed.hub={self.name}"}
        names = []
        for container in client.containers.list(all=True, filters=mine):
            names.append(f"container {container.name}")
            container.remove(v=True, force=True)
        for volume in client.volumes.list(filters=mine):
            names.append(f"volume {volume.name}")
            volume.remove(force=True)
        for network in client.networks.list(filters=mine):
            if network.attrs["Labels"].get("dockernamed.network") != "hub":
                names.append(f"network {network.name}")
            network.remove()
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
    """Run the lines as they are printed; tell what went wrong, one text for each that failed."""
    # curl is told by its own config file to add the code, so that the lines stay as they are.
    (demo.folder / ".curlrc").write_text(
        'silent\nshow-error\nnoproxy = "*"\nmax-time = 120\nwrite-out = "\\n%{http_code}"\n'
    )
    places = {"URL": demo.url, "API": demo.api, "TOKEN": demo.token, "CURL_HOME": str(demo.folder)}
    wrong = []
    for line in LINES:
        begun = time.monotonic()
        done = subprocess.run(
            ["bash", "-c", line.command],
            env={**os.environ, **places},
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
        print(
            f"    {'ok' if right else 'WRONG':5} {code} {took:5.1f} s  {line.command}", flush=True
        )
        if not right:
            wrong.append(f"{line.command}\n-> {code}, expected {line.codes}: {body} {done.stderr}")
    return wrong


def run_check(port: int) -> None:
    """Start a Hub with fresh state, run the lines, take all down, and see that nothing is left."""
    folder = Path(tempfile.mkdtemp(prefix="demo-check-", dir=CACHE))
    demo = Demo(folder, f"demo-{secrets.token_hex(4)}", port)
    try:
        demo.start()
        show(demo)
        print("Running these lines:")
        wrong = check(demo)
        demo.stop()
        wrong += [f"left behind: {name}" for name in demo.remove_leftovers()]
        wrong += [f"still listening: port {taken}" for taken in demo.taken_ports()]
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


def interrupt(number: int, frame: FrameType | None) -> None:
    """Have the first signal end the demo, and later ones do nothing."""
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)
    raise KeyboardInterrupt


def main() -> None:
    """Run the demo, or its check."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="run the lines, check the answers")
    parser.add_argument("--port", type=int, default=8000, help="of the proxy (default: 8000)")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
    try:
        (run_check if options.check else run_demo)(options.port)
    except KeyboardInterrupt:
        if options.check:
            raise SystemExit("demo: interrupted") from None


if __name__ == "__main__":
    main()
