"""One way to order containers, for the fake Engine and for real ones."""

from __future__ import annotations

import contextlib
import io
import tarfile
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.errors import ImageNotFound

from dockernamed import naming
from dockernamed.engine.client import Connection, Engine
from support.fake_engine import Behaviour, FakeEngine

IMAGE = "dockernamed-test/busybox:latest"
BUSYBOX = Path("/bin/busybox")
PORT = 8888
#: Creates a container that is removed after the test.
Make = Callable[..., Awaitable[str]]


@dataclass(frozen=True)
class Program:
    """What a container is to do: write, then end, or answer HTTP on `PORT`.

    Attributes:
        out: lines for stdout.
        err: lines for stderr.
        exit_code: ends with it; None serves.
        stubborn: ignores SIGTERM (and serves nothing).
        oom: takes memory until it is killed; needs a limit.
        tty: has a terminal.
    """

    out: tuple[str, ...] = ()
    err: tuple[str, ...] = ()
    exit_code: int | None = None
    stubborn: bool = False
    oom: bool = False
    tty: bool = False


class World(ABC):
    """An Engine, and how to have containers do things there.

    Attributes:
        url: of the Engine.
        prefix: begins the names of all objects made here; no other test has it.
        podman: it is Podman.
        runs_programs: its containers run what they are told to.
    """

    runs_programs = True

    def __init__(self, url: str, prefix: str) -> None:
        self.url, self.prefix = url, prefix
        self.podman = False
        self._serial = 0

    def name(self) -> str:
        """A name that nothing has yet."""
        self._serial += 1
        return f"{self.prefix}-{self._serial}"

    @abstractmethod
    def config(self, name: str, program: Program) -> dict[str, Any]:
        """The part of a create call's body that makes a container of this name do this."""

    def make_network(self, name: str, labels: Mapping[str, str]) -> str:
        """Create a network with these labels; returns its id."""
        client = docker.APIClient(self.url, version="1.41")
        with contextlib.closing(client):
            made = client.create_network(name, labels=dict(labels))
        return str(made["Id"])

    async def create(
        self,
        engine: Engine,
        program: Program | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        host: Mapping[str, Any] | None = None,
        name: str = "",
    ) -> str:
        """Create a container with our labels; returns its id."""
        name, program = name or self.name(), program or Program()
        host = {"Init": True, **({"Memory": 16 << 20} if program.oom else {}), **(host or {})}
        config = {
            "Image": IMAGE,
            "Labels": {**naming.labels(naming.Key(self.prefix, "ann", "x")), **(labels or {})},
            "Tty": program.tty,
            "HostConfig": host,
            **self.config(name, program),
        }
        return await engine.create_container(name, config)


class RealWorld(World):
    """A real Engine: programs are shell scripts in busybox."""

    def __init__(self, client: docker.APIClient, url: str, prefix: str) -> None:
        super().__init__(url, prefix)
        self._client = client
        parts = client.version().get("Components") or []
        self.podman = any("podman" in str(part.get("Name", "")).lower() for part in parts)
        try:
            client.inspect_image(IMAGE)
        except ImageNotFound:
            _import_busybox(client)

    def config(self, name: str, program: Program) -> dict[str, Any]:
        """See `World.config`."""
        steps = [f"echo '{line}'" for line in program.out]
        steps += [f"echo '{line}' >&2" for line in program.err]
        if program.stubborn:
            steps.append("trap '' TERM; while :; do sleep 1; done")
        elif program.oom:
            # Not as the main process: its end takes the memory cgroup along, and now and then the
            # kernel's word of why as well.
            steps.append("tail /dev/zero; sleep 1; exit 137")
        elif program.exit_code is not None:
            steps.append(f"exit {program.exit_code}")
        else:
            steps.append(f"exec httpd -f -p {PORT} -h /")
        return {"Cmd": ["sh", "-c", "; ".join(steps)]}

    def leftovers(self) -> list[str]:
        """What is there under our prefix."""
        containers = self._client.containers(all=True)
        found = [f"container {one['Names'][0].lstrip('/')}" for one in containers if one["Names"]]
        found += [f"volume {one['Name']}" for one in self._client.volumes()["Volumes"] or ()]
        return [thing for thing in found if thing.split(" ", 1)[1].startswith(self.prefix)]


class FakeWorld(World):
    """The fake Engine: programs are behaviours."""

    runs_programs = False

    def __init__(self, fake: FakeEngine, prefix: str) -> None:
        super().__init__(fake.url, prefix)
        self._fake = fake
        fake.add_image(IMAGE, {"ExposedPorts": {f"{PORT}/tcp": {}}})

    def config(self, name: str, program: Program) -> dict[str, Any]:
        """See `World.config`."""
        end = "\r\n" if program.tty else "\n"
        log = "".join(line + end for line in program.out)
        log += "".join(f"!{line}{end}" for line in program.err)
        code = 137 if program.oom else program.exit_code
        behaviour = Behaviour(exit_code=code, log=log, stubborn=program.stubborn, oom=program.oom)
        self._fake.behave(behaviour, name=name)
        return {}


def connect(url: str, *, timeout: float = 30.0, version: str = "", **options: Any) -> Engine:
    """An Engine for tests; an API version that is given is not asked for."""
    fixed = (("version", version),) if version else ()
    return Engine(Connection(url, timeout=timeout, options=fixed), **options)


def _import_busybox(client: docker.APIClient) -> None:
    """The image of scripts/images, in its simplest form."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for tool in ("sh", "httpd", "sleep", "tail", "cat", "echo"):
            link = tarfile.TarInfo(f"bin/{tool}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        for folder in ("work", "www", "tmp", "etc"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o777
            tar.addfile(entry)
    repository, tag = IMAGE.split(":")
    client.import_image_from_data(
        data.getvalue(),
        repository=repository,
        tag=tag,
        changes=[
            "ENV PATH=/bin",
            "WORKDIR /work",
            f"EXPOSE {PORT}",
            f'CMD ["httpd", "-f", "-p", "{PORT}", "-h", "/www"]',
        ],
    )
