"""One machine of a Swarm: a dockerd in namespaces of its own."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import docker

from support.hub.waiting import eventually
from support.swarm.namespaces import Namespaces, child_of

#: Linux's name for the link to the others.
LINK = "eth0"
#: What dockerd writes goes to a file system in memory that ends with the namespaces: what it
#: expects in /run and /etc, and its data. The folder for its socket is the same inside and outside.
#: Nobody answers there for names of hosts: a task whose image has no registry here would otherwise
#: wait for some until a pull fails that cannot succeed.
MOUNTS = """
exec 4<{folder}
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p {folder} /run/etc /run/etc.work /run/data
mount --no-canonicalize --bind /proc/self/fd/4 {folder}
exec 4<&-
mount -t overlay -o lowerdir=/etc,upperdir=/run/etc,workdir=/run/etc.work overlay /etc
rm -f /etc/docker/key.json
rm -f /etc/resolv.conf
printf 'nameserver 127.0.0.1\n' >/etc/resolv.conf
mkdir -p /etc/docker
# Newer Engines keep images elsewhere by default.
echo '{{"features": {{"containerd-snapshotter": false}}}}' >/run/daemon.json
"""
#: Before those: what /run is about to hide.
RECORDS = """
exec 5<{records}
"""
#: After those: records of images, and the layers that they refer to, which nobody is to change.
IMAGES = """
cp -a /proc/self/fd/5/. /run/data
exec 5<&-
mount --bind {layers} {layers}
mount -o remount,bind,ro {layers}
"""


class Node:
    """A dockerd with its own processes, network, host name, settings and data.

    Args:
        name: its host name.
        folder: an existing folder below /run for its socket and its log; the path must be short.
        cgroup: the parent of its containers' cgroups.
        images: what its data begins with, and the layers that this refers to: see
            `support.swarm.images.records`.
        options: further ones for dockerd.

    Attributes:
        url: for DOCKER_HOST.
        address: in the Swarm's subnet.
        id: the Swarm's id for it.
        labels: of its dockerd, as in the placement constraint ``engine.labels.NAME==VALUE``.
        is_manager: whether it is one of the Swarm's managers.
        client: of its Engine.
        namespaces: where it runs.
    """

    def __init__(
        self,
        name: str,
        folder: Path,
        cgroup: str,
        *,
        images: tuple[Path, Path] | None = None,
        options: Sequence[str] = (),
    ) -> None:
        self.name, self._folder, self.log_file = name, folder, folder / "dockerd.log"
        self._options = [
            *("--data-root", "/run/data", "--exec-root", "/run/docker"),
            *("--pidfile", "/run/docker.pid", "--config-file", "/run/daemon.json"),
            *("--host", f"unix://{folder}/docker.sock", "--shutdown-timeout", "5"),
            *("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", cgroup),
            *("--storage-driver", "overlay2"),
            *options,
        ]
        self.url = f"unix://{folder}/docker.sock"
        self.address = self.id = ""
        self.labels: dict[str, str] = {}
        self.is_manager = False
        self.client: docker.APIClient
        self._process: subprocess.Popen[bytes] | None = None
        self._rules: list[tuple[str, ...]] = []
        setup = MOUNTS.format(folder=shlex.quote(str(folder)))
        if images is not None:
            records, layers = (shlex.quote(str(path)) for path in images)
            setup = RECORDS.format(records=records) + setup + IMAGES.format(layers=layers)
        self.namespaces = Namespaces(name, setup)

    def __repr__(self) -> str:
        return self.name

    # --- its dockerd

    @property
    def runs(self) -> bool:
        """Whether there is a dockerd."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start dockerd, also after its end; return when it answers."""
        self.start_soon()
        self.started()

    def start_soon(self) -> None:
        """Begin to start dockerd."""
        # A pid in there may be another program's by now.
        self.namespaces.run("rm", "-f", "/run/docker.pid", "/run/docker/containerd/containerd.pid")
        env = {"PATH": os.environ["PATH"], "HOME": "/root"}
        with self.log_file.open("ab") as log:
            self._process = self.namespaces.start("dockerd", *self._options, env=env, output=log)

    def started(self) -> None:
        """Return when dockerd answers.

        Raises:
            AssertionError: it ended, or does not answer; the message has the end of its log.
        """
        eventually(self._answers, what=f"dockerd on {self.name} answers")
        if not hasattr(self, "client"):
            self.client = docker.APIClient(self.url, timeout=60)

    def stop(self) -> None:
        """Stop dockerd as a service manager does: its containers are stopped."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill dockerd (and containerd, by that): its containers run on until the next start."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(child_of(self._process), number)
        self._process.wait(60)
        eventually(
            lambda: [pid for pid in self.namespaces.processes() if _name(pid) == "containerd"],
            lambda running: not running,
            what=f"the containerd of {self.name} is gone",
        )

    def log(self, lines: int = 40) -> str:
        """The end of dockerd's log, without what this kernel does not have."""
        text = self.log_file.read_text(errors="replace") if self.log_file.exists() else ""
        kept = [line for line in text.splitlines() if "the kernel parameter" not in line]
        return "\n".join(kept[-lines:])

    # --- its network

    @property
    def cut_off(self) -> bool:
        """Whether there is a partition."""
        return bool(self._rules)

    def partition(
        self, *, incoming: bool = True, outgoing: bool = True, keep: Sequence[str] = ()
    ) -> None:
        """Lose packets to and from all others; its socket on this machine goes on to work.

        Args:
            incoming: lose what comes in. Alone, the node is heard and hears nothing.
            outgoing: lose what goes out.
            keep: addresses to and from which nothing is lost, such as `Swarm.hub_address`.
        """
        self.heal()
        ways = []
        if incoming:
            ways.append(("raw", "PREROUTING", "-i", "-s"))
        if outgoing:
            ways.append(("mangle", "POSTROUTING", "-o", "-d"))
        for table, chain, link, address in ways:
            match = (table, chain, link, LINK)
            # Each is put in front of the others.
            self._rule((*match, "-j", "DROP"))
            for kept in keep:
                self._rule((*match, address, kept, "-j", "ACCEPT"))

    def heal(self) -> None:
        """Lose nothing any more."""
        while self._rules:
            table, *rule = self._rules[-1]
            self.namespaces.run("iptables", "-w", "-t", table, "-D", *rule)
            self._rules.pop()

    def _rule(self, words: tuple[str, ...]) -> None:
        table, chain, *rest = words
        self.namespaces.run("iptables", "-w", "-t", table, "-I", chain, *rest)
        self._rules.append(words)

    # --- what is on it

    def containers(self, prefix: str = "", *, running: bool = False) -> list[Any]:
        """``GET /containers/json`` of its own Engine, of names that begin so.

        Args:
            prefix: of their names; a service's are SERVICE.SLOT.TASK.
            running: only those that run.
        """
        listed = self.client.containers(all=not running)
        return [c for c in listed if any(n.lstrip("/").startswith(prefix) for n in c["Names"])]

    def volumes(self, prefix: str = "") -> list[Any]:
        """``GET /volumes`` of its own Engine, of names that begin so."""
        listed = self.client.volumes()["Volumes"] or []
        return [volume for volume in listed if volume["Name"].startswith(prefix)]

    def load(self, client: docker.APIClient, image: str) -> None:
        """Have an image of another Engine, in memory.

        Args:
            client: of the other Engine.
            image: its reference.
        """
        self.client.load_image(client.get_image(image))

    def end(self) -> None:
        """Take all of it down."""
        with suppress(AttributeError):
            self.client.close()
        self.namespaces.end()
        if self._process is not None:
            self._process.wait(60)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"dockerd on {self.name} ended:\n{self.log()}"
        # Not by the SDK, which forgets its socket when it cannot connect.
        with suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(self.url.removeprefix("unix://"))
            sock.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
            return b" 200 " in sock.recv(64)
        return False


def _name(pid: int) -> str:
    """Of a process's program; empty if it has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""
