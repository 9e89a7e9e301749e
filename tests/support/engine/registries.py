"""Real registries, by default on loopback, which a Docker Engine trusts without TLS."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import secrets
import socket
import subprocess
import tarfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import docker

from support.ports import free_port

CONFIG = """
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {folder}/data}}}}
http: {{addr: "{address}"}}
{auth}
"""
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
AUTH = "auth: {{htpasswd: {{realm: test, path: {folder}/users}}}}"


class Registry:
    """A registry process.

    Args:
        folder: a new one, for its files.
        private: it wants a user and a password.
        host: IPv4 address to listen at.

    Attributes:
        address: ``host:port``.
        user: and ``password``: what it wants, "" when it wants nothing.
    """

    def __init__(self, folder: Path, *, private: bool, host: str = "127.0.0.1") -> None:
        folder.mkdir()
        self.host, self.port = host, free_port()
        self.address = f"{host}:{self.port}"
        self.user, self.password = ("ann", secrets.token_hex(8)) if private else ("", "")
        auth = ""
        if private:
            auth = AUTH.format(folder=folder)
            made = subprocess.run(
                ["htpasswd", "-Bbn", self.user, self.password],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            (folder / "users").write_text(made.stdout)
        config = folder / "config.yml"
        config.write_text(CONFIG.format(folder=folder, address=self.address, auth=auth))
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(config)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self._wait()

    @property
    def credentials(self) -> dict[str, str]:
        """As for a pull; empty when none are needed."""
        return {"username": self.user, "password": self.password} if self.user else {}

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.wait(60)

    def push(self, client: docker.APIClient, name: str, tag: str, *sizes: int) -> str:
        """Have an image here, of one layer of so many random bytes, and not on the Engine.

        Returns:
            Its digest.
        """
        repository = f"{self.address}/{name}"
        client.import_image_from_data(_layer(*sizes), repository=repository, tag=tag)
        return self._push(client, repository, tag)

    def _push(self, client: docker.APIClient, repository: str, tag: str) -> str:
        """Push an image, and remove it from the Engine; its digest."""
        auth = self.credentials or None
        said = list(client.push(repository, tag=tag, stream=True, decode=True, auth_config=auth))
        client.remove_image(f"{repository}:{tag}", force=True)
        assert not [line for line in said if "error" in line], said[-1]
        return next(str(line["aux"]["Digest"]) for line in said if "aux" in line)

    def publish(
        self, client: docker.APIClient, image: str, name: str, tag: str, *changes: str
    ) -> str:
        """Have an image of an Engine here, and there under its own name only.

        Args:
            client: of the Engine.
            image: its reference there.
            name: of the repository here.
            tag: likewise.
            changes: instructions of a Dockerfile by which it differs from what is there.

        Returns:
            Its digest.
        """
        repository = f"{self.address}/{name}"
        base = client.create_container(image)
        try:
            client.commit(base["Id"], repository, tag, changes=list(changes))
        finally:
            client.remove_container(base["Id"], v=True)
        return self._push(client, repository, tag)

    def retag(self, name: str, old: str, new: str) -> None:
        """Have another tag stand for what ``old`` stands for, without the Engine's doing."""
        request = self._request(f"{name}/manifests/{old}", {"Accept": MANIFEST})
        with urllib.request.urlopen(request, timeout=60) as answer:
            manifest = answer.read()
        request = self._request(f"{name}/manifests/{new}", {"Content-Type": MANIFEST})
        request.method, request.data = "PUT", manifest
        urllib.request.urlopen(request, timeout=60).close()

    def _request(self, path: str, headers: dict[str, str]) -> urllib.request.Request:
        if self.user:
            token = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            headers = {**headers, "Authorization": f"Basic {token}"}
        return urllib.request.Request(f"http://{self.address}/v2/{path}", headers=headers)

    def _wait(self) -> None:
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection((self.host, self.port), 5).close()
            except OSError:
                assert self._process.poll() is None, "docker-registry ended"
                assert time.monotonic() < deadline, "docker-registry doesn't answer"
                time.sleep(0.02)
            else:
                return


class HangingRegistry:
    """Accepts connections and never says a word."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked = threading.Event()
        self.left = threading.Event()
        self._connections: list[tuple[socket.socket, threading.Thread]] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def close(self) -> None:
        """Stop listening, and hang up."""
        _wake(self._listener)  # until then pulls that are tried again may come
        self._accepting.join(60)
        self._listener.close()
        for connection, thread in self._connections:
            _wake(connection)
            thread.join(60)
            connection.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                thread = threading.Thread(target=self._hang, args=(connection,), daemon=True)
                self._connections.append((connection, thread))
                thread.start()

    def _hang(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while connection.recv(1000):
                self.asked.set()
        self.left.set()


def _wake(waiting: socket.socket) -> None:
    """End what a thread waits for at a socket: its closing alone would not."""
    with contextlib.suppress(OSError):
        waiting.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def registry(folder: Path, *, private: bool = False, host: str = "127.0.0.1") -> Iterator[Registry]:
    """One that ends with the block."""
    server = Registry(folder, private=private, host=host)
    try:
        yield server
    finally:
        server.close()


def _layer(*sizes: int) -> bytes:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        for number, size in enumerate(sizes):
            entry = tarfile.TarInfo(f"file-{number}")
            entry.size = size
            tar.addfile(entry, io.BytesIO(os.urandom(size)))
    return data.getvalue()
