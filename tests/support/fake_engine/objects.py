"""What the fake Engine holds, and how the API shows it."""

from __future__ import annotations

import asyncio
import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

#: Of all processes.
PID = 4711
NEVER = "0001-01-01T00:00:00Z"
NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")
#: The label of a task's container that names its service.
SERVICE_NAME = "com.docker.swarm.service.name"
#: Directories that an image has.
DIRECTORIES = {"/", "/bin", "/etc", "/home", "/srv", "/tmp", "/work"}


@dataclass
class Behaviour:
    """What a container does once it is started.

    Attributes:
        serve: ``"ok"``: answers anything as a JupyterHub server; other keys of `serving.ANSWERS`;
            ``"silent"``: accepts and says nothing; ``"refuse"``: nobody listens.
        exit_code: ends at once with it, when not None.
        oom: that end is an out-of-memory kill.
        log: what it writes when it starts; lines that begin with ``!`` go to stderr.
        stubborn: ignores SIGTERM, so that a stop ends with SIGKILL.
        reject: a node does not take the task of such a service, and says this.
        fail: its container is made but cannot be started, as this says; of tasks only.
        hold: the state in which its task stays until `FakeSwarm.let_go`.
    """

    serve: str = "ok"
    exit_code: int | None = None
    oom: bool = False
    log: str = ""
    stubborn: bool = False
    reject: str = ""
    fail: str = ""
    hold: str = ""


@dataclass
class Command:
    """A command in a container, as ``docker exec`` makes one; no exit code while it runs."""

    container: Container
    body: dict[str, Any]
    exit_code: int | None = None


@dataclass
class RemoteImage:
    """What a registry has under a name.

    Attributes:
        layers: sizes in bytes.
        error: said inside the stream, after the first half of the layers.
        auth: needed ``(username, password)``.
        config: of the image.
        hold: set to the number of lines after which the pull waits for `FakeEngine.let_pulls_go`;
            0 waits before the answer begins.
    """

    layers: tuple[int, ...] = (1000, 5000)
    error: str | None = None
    auth: tuple[str, str] | None = None
    config: dict[str, Any] = field(default_factory=dict)
    hold: int | None = None

    def gives_to(self, auth: Mapping[str, Any] | None) -> bool:
        """Whether it may be had with such credentials."""
        given = (auth or {}).get("username"), (auth or {}).get("password")
        return self.auth is None or given == self.auth


@dataclass(slots=True)
class Image:
    """An image on the Engine."""

    id: str
    tags: list[str]
    config: dict[str, Any]
    digests: list[str] = field(default_factory=list)

    def copy(self) -> Image:
        """The same on another Engine."""
        return Image(self.id, list(self.tags), self.config, list(self.digests))

    def inspect(self) -> dict[str, Any]:
        """As of ``GET /images/{name}/json``."""
        return {
            "Id": self.id,
            "RepoTags": list(self.tags),
            "RepoDigests": list(self.digests),
            "Created": NEVER,
            "Config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/server"], "Labels": {}, **self.config},
            "Architecture": "amd64",
            "Os": "linux",
            "Size": 1000,
        }


@dataclass(slots=True)
class Container:
    """A container."""

    id: str
    name: str
    image: str
    image_id: str
    config: dict[str, Any]
    labels: dict[str, str]
    address: str = ""
    unplugged: bool = False  # by ``docker network disconnect``
    created: float = field(default_factory=time.time)
    status: str = "created"
    exit_code: int = 0
    oom: bool = False
    started_at: float = 0.0
    finished_at: float = 0.0
    ports: dict[str, int] | None = None  # container port → host port
    log: list[tuple[int, bytes]] | None = None
    archives: list[tuple[str, bytes]] | None = None
    behaviour: Behaviour | None = None
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while it is started

    @property
    def running(self) -> bool:
        """It has a process."""
        return self.status in ("running", "paused")

    @property
    def host_config(self) -> dict[str, Any]:
        """Of the create call."""
        return self.config.get("HostConfig") or {}

    @property
    def network(self) -> str:
        """Its network's name."""
        mode = self.host_config.get("NetworkMode") or "default"
        return "bridge" if mode == "default" else str(mode)

    def volumes(self) -> set[str]:
        """Names of the volumes that it has mounted."""
        mounts = self.host_config.get("Mounts") or []
        found = {m["Source"] for m in mounts if m.get("Type") == "volume" and m.get("Source")}
        binds = (bind.split(":")[0] for bind in self.host_config.get("Binds") or [])
        return found | {source for source in binds if not source.startswith("/")}

    def anonymous_volumes(self) -> list[dict[str, Any]]:
        """Mounts of volumes that have no name."""
        mounts = self.host_config.get("Mounts") or []
        return [m for m in mounts if m.get("Type") == "volume" and not m.get("Source")]

    def mounted(self) -> set[str]:
        """Where something is mounted."""
        binds = (bind.split(":")[1] for bind in self.host_config.get("Binds") or [])
        return {m["Target"] for m in self.host_config.get("Mounts") or []} | set(binds)

    def listed(self) -> dict[str, Any]:
        """As an item of ``GET /containers/json``."""
        return {
            "Id": self.id,
            "Names": [f"/{self.name}"],
            "Image": self.image,
            "ImageID": self.image_id,
            "Command": "/bin/server",
            "Created": int(self.created),
            "Ports": [
                {"IP": "127.0.0.1", "PrivatePort": int(port.split("/")[0]), "PublicPort": host,
                 "Type": "tcp"}
                for port, host in (self.ports or {}).items()
            ],
            "Labels": self.labels,
            "State": self.status,
            "Status": self._human(),
            "HostConfig": {"NetworkMode": self.host_config.get("NetworkMode") or "default"},
            "NetworkSettings": {"Networks": {self.network: {"IPAddress": self.address}}},
            "Mounts": [],
        }  # fmt: skip

    def inspect(self) -> dict[str, Any]:
        """As of ``GET /containers/{id}/json``."""
        ports = {
            port: [{"HostIp": "127.0.0.1", "HostPort": str(host)}]
            for port, host in (self.ports or {}).items()
        }
        config = {key: value for key, value in self.config.items() if key != "HostConfig"}
        config.pop("NetworkingConfig", None)
        address = self.address if self.running else ""
        network = {"IPAddress": address, "Gateway": "127.0.0.1", "NetworkID": self.network}
        return {
            "Id": self.id,
            "Created": iso(self.created),
            "Name": f"/{self.name}",
            "Image": self.image_id,
            "State": {
                "Status": self.status,
                "Running": self.running,
                "Paused": self.status == "paused",
                "Restarting": False,
                "OOMKilled": self.oom,
                "Dead": False,
                "Pid": PID if self.running else 0,
                "ExitCode": self.exit_code,
                "Error": "",
                "StartedAt": iso(self.started_at),
                "FinishedAt": iso(self.finished_at),
            },
            "Config": {"Env": [], "Tty": False, "Hostname": self.id[:12], **config,
                       "Labels": self.labels},
            "HostConfig": {"NetworkMode": "default", **self.host_config},
            "NetworkSettings": {
                "Ports": ports if self.running else {},
                "IPAddress": address if self.network == "bridge" else "",
                "Gateway": "127.0.0.1" if self.network == "bridge" else "",
                "Networks": {} if self.unplugged else {self.network: network},
            },
            "Mounts": [
                {"Type": "volume", "Name": name, "Source": f"/volumes/{name}", "RW": True}
                for name in sorted(self.volumes())
            ],
        }  # fmt: skip

    def say(self, text: str) -> None:
        """Write to the log; lines that begin with ``!`` go to stderr."""
        log = self.log = self.log or []
        for line in text.splitlines(keepends=True):
            stream, line = (2, line[1:]) if line.startswith("!") else (1, line)
            log.append((stream, line.encode()))

    def log_bytes(self, tail: int | None) -> bytes:
        """As of ``GET /containers/{id}/logs``: in frames, or raw with a terminal."""
        lines = self.log or []
        lines = lines if tail is None else lines[max(0, len(lines) - tail) :]
        if self.config.get("Tty"):
            return b"".join(line for _, line in lines)
        return b"".join(
            bytes([stream, 0, 0, 0]) + len(line).to_bytes(4, "big") + line for stream, line in lines
        )

    def _human(self) -> str:
        if self.status == "exited":
            return f"Exited ({self.exit_code}) 5 seconds ago"
        return {"created": "Created", "running": "Up 5 seconds"}.get(self.status, "")


def new_id() -> str:
    """64 hexadecimal digits."""
    return secrets.token_hex(32)


def image_id(seed: str) -> str:
    """``sha256:…``, always the same for the same seed."""
    return f"sha256:{hashlib.sha256(seed.encode()).hexdigest()}"


def full_reference(name: str) -> str:
    """With a tag."""
    if "@" in name or ":" in name.rpartition("/")[2]:
        return name
    return f"{name}:latest"


def plain_reference(name: str) -> str:
    """As images are kept: with a tag or, where there is one, with the digest alone."""
    repository, at, digest = name.partition("@")
    if not at:
        return full_reference(name)
    folder, slash, last = repository.rpartition("/")
    return f"{folder}{slash}{last.partition(':')[0]}@{digest}"


def iso(seconds: float) -> str:
    """A moment as the API writes it."""
    if not seconds:
        return NEVER
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
