"""One way to order services, for the fake Swarm and for a real one."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import docker

from support.engine.worlds import PORT, Program
from support.fake_engine import Behaviour, FakeEngine
from support.hub.dockerview import BUSYBOX
from support.swarm import Swarm


class SwarmWorld(ABC):
    """A Swarm of three nodes, the first of which is the manager.

    Attributes:
        url: of the manager's Engine.
        worker_url: of another node's.
        prefix: begins the names of all objects made here; no other test has it.
        hostnames: of the nodes.
        newer: it is of Docker 25 or later, which may tell of a stop before the end that it brings.
    """

    newer: bool

    def __init__(self, url: str, worker_url: str, prefix: str, hostnames: Sequence[str]) -> None:
        self.url, self.worker_url, self.prefix = url, worker_url, prefix
        self.hostnames = tuple(hostnames)
        self._serial = 0

    def name(self) -> str:
        """A name that nothing has yet."""
        self._serial += 1
        return f"{self.prefix}x{self._serial}"

    def spec(
        self,
        program: Program | None = None,
        *,
        replicas: int = 1,
        mode: Mapping[str, Any] | None = None,
        condition: str = "none",
        container: Mapping[str, Any] | None = None,
        **template: Any,
    ) -> dict[str, Any]:
        """The specification of a service whose tasks do as the program says.

        Args:
            program: what they do; None: they answer at a port of their node.
            replicas: how many.
            mode: in the place of that.
            condition: under which they are begun again, at once.
            container: more of its ``ContainerSpec``.
            template: more of its ``TaskTemplate``.
        """
        name, program = self.name(), program or Program()
        port = {"Protocol": "tcp", "TargetPort": PORT, "PublishMode": "host"}
        return {
            "Name": name,
            "Labels": {"run": self.prefix, "service": name},
            "TaskTemplate": {
                "ContainerSpec": {
                    "Image": BUSYBOX,
                    # Busybox ignores SIGTERM.
                    "StopSignal": "SIGKILL",
                    **self.program(name, program),
                    **(container or {}),
                },
                "RestartPolicy": {"Condition": condition, "Delay": 0},
                **template,
            },
            "Mode": mode or {"Replicated": {"Replicas": replicas}},
            "EndpointSpec": {"Mode": "dnsrr", "Ports": [port] if program == Program() else []},
        }

    @abstractmethod
    def program(self, name: str, program: Program) -> dict[str, Any]:
        """The part of a ContainerSpec that makes tasks of a service of this name do this."""

    @abstractmethod
    def lose(self, hostname: str) -> None:
        """A node is cut off from all others; returns when it counts as down."""

    @abstractmethod
    def find(self, hostname: str) -> None:
        """It is back; returns when it counts as ready."""

    @abstractmethod
    def change(self, hostname: str, **spec: Any) -> None:
        """Change a node's specification: ``Labels``, ``Availability``."""

    @abstractmethod
    def kill(self, task: Mapping[str, Any]) -> None:
        """Kill the container of a task where it runs."""

    @abstractmethod
    def containers(self, hostname: str) -> list[str]:
        """The names of our containers that run on a node."""


class RealSwarm(SwarmWorld):
    """A Swarm of dockerds: programs are shell scripts in busybox."""

    def __init__(self, swarm: Swarm, prefix: str) -> None:
        names = [node.name for node in swarm.nodes]
        super().__init__(swarm.manager.url, swarm.workers[0].url, prefix, names)
        self.newer = int(swarm.manager.client.version()["Version"].split(".")[0]) >= 25
        self._swarm = swarm

    def program(self, name: str, program: Program) -> dict[str, Any]:
        """See `SwarmWorld`."""
        steps = [f"echo '{line}'" for line in program.out]
        steps += [f"echo '{line}' >&2" for line in program.err]
        ends = program.exit_code is not None
        steps.append(f"exit {program.exit_code}" if ends else f"exec httpd -f -p {PORT} -h /")
        signal = {"StopSignal": "SIGTERM"} if program.stubborn else {}
        return {"Command": ["sh", "-c", "; ".join(steps)], **signal}

    def lose(self, hostname: str) -> None:
        """See `SwarmWorld`."""
        self._swarm[hostname].partition()
        self._swarm.wait_state(self._swarm[hostname], "down")

    def find(self, hostname: str) -> None:
        """See `SwarmWorld`."""
        self._swarm[hostname].heal()
        self._swarm.wait_state(self._swarm[hostname], "ready")

    def change(self, hostname: str, **spec: Any) -> None:
        """See `SwarmWorld`."""
        self._swarm.update(self._swarm[hostname], **spec)

    def kill(self, task: Mapping[str, Any]) -> None:
        """See `SwarmWorld`."""
        id = task["Status"]["ContainerStatus"]["ContainerID"]
        self._swarm.node_of(task).client.kill(id)

    def containers(self, hostname: str) -> list[str]:
        """See `SwarmWorld`."""
        found = self._swarm[hostname].containers(self.prefix, running=True)
        return [str(one["Names"][0]).lstrip("/") for one in found]


class SimulatedSwarm(SwarmWorld):
    """The fake Swarm: programs are behaviours."""

    def __init__(self, fake: FakeEngine, prefix: str, *, newer: bool) -> None:
        self.newer = newer
        fake.add_image(BUSYBOX, {"ExposedPorts": {f"{PORT}/tcp": {}}})
        self._fake, self._swarm = fake, fake.init_swarm(3)
        names = [one["Description"]["Hostname"] for one in self._swarm.nodes]
        super().__init__(fake.url, self._swarm.url(names[1]), prefix, names)

    def program(self, name: str, program: Program) -> dict[str, Any]:
        """See `SwarmWorld`."""
        log = "".join(f"{line}\n" for line in program.out)
        log += "".join(f"!{line}\n" for line in program.err)
        behaviour = Behaviour(exit_code=program.exit_code, log=log, stubborn=program.stubborn)
        self._fake.behave(behaviour, name=name)
        return {}

    def lose(self, hostname: str) -> None:
        """See `SwarmWorld`."""
        self._swarm.lose(hostname)

    def find(self, hostname: str) -> None:
        """See `SwarmWorld`."""
        self._swarm.find(hostname)

    def change(self, hostname: str, **spec: Any) -> None:
        """See `SwarmWorld`."""
        self._swarm.change(hostname, **{key.lower(): value for key, value in spec.items()})

    def kill(self, task: Mapping[str, Any]) -> None:
        """See `SwarmWorld`."""
        node = next(one for one in self._swarm.nodes if one["ID"] == task["NodeID"])
        name = node["Description"]["Hostname"]
        url = self._fake.url if name == self.hostnames[0] else self._swarm.url(name)
        with _client(url) as client:
            client.kill(task["Status"]["ContainerStatus"]["ContainerID"])

    def containers(self, hostname: str) -> list[str]:
        """See `SwarmWorld`."""
        found = self._swarm.containers(hostname)
        return [one.name for one in found if one.running and one.name.startswith(self.prefix)]


@contextlib.contextmanager
def _client(url: str) -> Iterator[docker.APIClient]:
    with contextlib.closing(docker.APIClient(url, version="1.41")) as client:
        yield client
