"""The fake Swarm as tests use it, from any thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from support.fake_engine.core import Core
from support.fake_engine.nodes import Node
from support.fake_engine.objects import Container, new_id
from support.fake_engine.swarm import Auth, Swarm
from support.fake_engine.swarm_objects import Service, Status, Task
from support.fake_engine.task_containers import container_config

T = TypeVar("T")


class Thread(Protocol):
    """The thread in which the fake Engine lives."""

    def call(self, function: Callable[[], T]) -> T:
        """Call it there."""

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it there."""

    def serve(self, core: Core, swarm: Swarm, node: Node) -> str:
        """Have the API of another node's Engine; returns its URL."""


class FakeSwarm:
    """A Swarm of which the fake Engine is a manager, ``node-1``; made by `FakeEngine.init_swarm`.

    Where a node is asked for, its hostname is meant: ``node-1``, ``node-2`` and so on. Where a
    service is asked for, it may be the name, the id or the beginning of the id.
    """

    def __init__(self, thread: Thread, swarm: Swarm) -> None:
        self._thread, self._swarm = thread, swarm
        self._urls: dict[str, str] = {}

    # --- nodes -----------------------------------------------------------------------------

    def join(
        self,
        *,
        role: str = "worker",
        labels: Mapping[str, str] | None = None,
        generic: Mapping[str, int | Sequence[str]] | None = None,
    ) -> str:
        """Have another node, with the images that ``node-1`` has now.

        Args:
            role: ``worker`` or ``manager``.
            labels: that constraints can name, ``node.labels.…``.
            generic: its generic resources: kind → how many, or their names.

        Returns:
            Its hostname.
        """

        def add() -> str:
            mine = self._swarm.core
            core = Core(mine.dialect, mine.servers)
            core.behaviours, core.registry = mine.behaviours, mine.registry
            core.images = {id: image.copy() for id, image in mine.images.items()}
            core.references = dict(mine.references)
            node = Node(
                hostname=f"node-{len(self._swarm.store.nodes) + 1}", core=core, role=role,
                spec_labels=dict(labels or {}),
            )  # fmt: skip
            node.generic = _generic(generic or {})
            return self._swarm.join(node).hostname

        return self._thread.call(add)

    @property
    def nodes(self) -> list[dict[str, Any]]:
        """All of them, as they are inspected."""
        return self._call(lambda: [one.inspect() for one in self._swarm.store.nodes.values()])

    def node(self, name: str) -> Node:
        """The node itself, to be looked at."""
        return self._call(lambda: self._node(name))

    def url(self, name: str) -> str:
        """For DOCKER_HOST: the Engine of a node other than the first."""
        if name not in self._urls:
            node = self.node(name)
            self._urls[name] = self._thread.serve(node.core, self._swarm, node)
        return self._urls[name]

    def change(
        self,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        availability: str | None = None,
        generic: Mapping[str, int | Sequence[str]] | None = None,
        role: str | None = None,
    ) -> None:
        """Somebody gives a node other labels, another availability or role, or it has others.

        Args:
            name: which.
            labels: all that it has from now on.
            availability: ``active``, ``pause`` or ``drain``.
            generic: as for `join`.
            role: ``worker`` or ``manager``; ``node-1`` as a worker refuses what managers do.
        """

        def change() -> None:
            node = self._node(name)
            if generic is not None:
                node.generic = _generic(generic)
            spec = node.spec
            given = {"Labels": labels, "Availability": availability, "Role": role}
            spec |= {key: value for key, value in given.items() if value is not None}
            self._swarm.update_node(node.id, str(node.index), spec)

        self._call(change)

    def lose(self, name: str) -> None:
        """The managers and a node lose each other; returns when the node counts as down."""
        self._do(self._swarm.lose(self._node(name)))

    def find(self, name: str) -> None:
        """They hear of each other again."""
        self._call(lambda: self._swarm.find(self._node(name)))

    def lose_leader(self, *, settled: bool = True) -> None:
        """Too few managers are left.

        Args:
            settled: they all know it, and refuse whatever they are asked for. Before that a leader
                tells what it has, and keeps those waiting who want to change something.
        """
        self._call(lambda: self._swarm.lead("gone" if settled else "alone"))

    def elect_leader(self) -> None:
        """There are enough of them again."""
        self._call(lambda: self._swarm.lead("there"))

    # --- services and tasks ----------------------------------------------------------------

    @property
    def services(self) -> dict[str, dict[str, Any]]:
        """All of them as they are inspected, by name."""
        store = self._swarm.store
        return self._call(lambda: {one.name: one.inspect() for one in store.services.values()})

    def tasks(self, service: str = "") -> list[dict[str, Any]]:
        """Those of a service, or all, as they are inspected; the newest last."""
        return self._call(lambda: [one.inspect() for one in self._tasks(service)])

    @property
    def states(self) -> list[str]:
        """Of all tasks, the newest last."""
        return [one["Status"]["State"] for one in self.tasks()]

    def container(self, service: str) -> Container:
        """The container of the newest of a service's tasks that has one, to be looked at."""

        def find() -> Container:
            made = [self._container(task) for task in self._tasks(service)]
            return [container for container in made if container is not None][-1]

        return self._call(find)

    def containers(self, node: str) -> list[Container]:
        """All that there are on a node."""
        return self._call(lambda: list(self._node(node).core.containers.values()))

    def end(self, service: str, exit_code: int = 1, *, oom: bool = False, log: str = "") -> None:
        """The process of a service's newest task ends."""

        async def end() -> None:
            task = self._tasks(service)[-1]
            container, core = self._container(task), self._core(task)
            assert container is not None
            container.say(log)
            core.end(container, exit_code, oom=oom)
            await core.notify()

        self._do(end())

    def remove(self, service: str) -> None:
        """Somebody else removes it."""
        self._call(lambda: self._swarm.remove_service(service))

    def let_go(self) -> None:
        """Tasks that `Behaviour.hold` keeps in a state go on."""
        self._call(self._swarm.go.set)

    def populate(
        self,
        count: int,
        labels: Callable[[int], Mapping[str, str]],
        spec: Callable[[int], Mapping[str, Any]] | None = None,
    ) -> list[str]:
        """Have so many more services with a running task, without events and without listeners.

        They take turns on the nodes.

        Args:
            count: how many.
            labels: of the n-th.
            spec: of the n-th, without name and labels; None: one of the image ``lab:latest``.

        Returns:
            Their ids.
        """

        def make(number: int) -> str:
            nodes = list(self._swarm.store.nodes.values())
            node = nodes[number % len(nodes)]
            name = f"s-{number}-{len(self._swarm.store.services)}"
            given = {"Name": name, "Labels": dict(labels(number)), **(spec or _plain)(number)}
            service = Service(spec=given)
            task = Task(
                service=service, spec=service.template, endpoint=given.get("EndpointSpec"),
                service_labels=service.labels, slot=1, node_id=node.id,
            )  # fmt: skip
            config = container_config(task)
            container = Container(
                id=new_id(), name=task.name, image=task.image, image_id="sha256:0", config=config,
                labels=config["Labels"], status="running",
            )  # fmt: skip
            shown = {"ContainerID": container.id, "PID": 1, "ExitCode": 0}
            task.status = Status("running", "started", container=shown)
            node.core.add(container)
            self._swarm.store.have(service)
            self._swarm.store.have(task)
            node.place(task)
            self._swarm.tasks.agents[node.id].adopt(task, container)
            return service.id

        return self._call(lambda: [make(number) for number in range(count)])

    @property
    def auths(self) -> list[tuple[str, Auth]]:
        """Service name and credentials of all calls that brought some."""
        return self._call(lambda: list(self._swarm.auths))

    # --- secrets and configs ---------------------------------------------------------------

    @property
    def secrets(self) -> dict[str, dict[str, Any]]:
        """All of them as they are inspected, by name."""
        store = self._swarm.store
        return self._call(lambda: {one.name: one.inspect() for one in store.secrets.values()})

    @property
    def configs(self) -> dict[str, dict[str, Any]]:
        """All of them as they are inspected, by name."""
        store = self._swarm.store
        return self._call(lambda: {one.name: one.inspect() for one in store.configs.values()})

    # --- images and volumes ----------------------------------------------------------------

    def add_image(
        self, reference: str, config: Mapping[str, Any] | None = None, *, node: str = ""
    ) -> None:
        """Have an image on a node, or on all."""

        def add() -> None:
            for core in self._cores(node):
                core.add_image(reference, config or {}, event="tag")

        self._call(add)

    def remove_image(self, reference: str, *, node: str) -> None:
        """Somebody deletes an image on a node."""
        self._call(lambda: self._node(node).core.remove_image(reference))

    def volumes(self, node: str) -> dict[str, dict[str, Any]]:
        """Those on a node, by name."""
        return self._call(lambda: dict(self._node(node).core.volumes))

    # --- in the thread ---------------------------------------------------------------------

    def _call(self, function: Callable[[], T]) -> T:
        return self._thread.call(function)

    def _do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return self._thread.do(coroutine)

    def _node(self, name: str) -> Node:
        found: Node = self._swarm.store.find("node", name)
        return found

    def _tasks(self, service: str) -> list[Task]:
        store = self._swarm.store
        if not service:
            return list(store.tasks.values())
        return list(store.tasks_of.get(store.find("service", service).id, {}).values())

    def _core(self, task: Task) -> Core:
        return self._swarm.store.nodes[task.node_id].core

    def _container(self, task: Task) -> Container | None:
        agent = self._swarm.tasks.agents.get(task.node_id)
        return None if agent is None else agent.container(task)

    def _cores(self, node: str) -> list[Core]:
        nodes = [self._node(node)] if node else self._swarm.store.nodes.values()
        return [one.core for one in nodes]


def _generic(given: Mapping[str, int | Sequence[str]]) -> Mapping[str, int | tuple[str, ...]]:
    return {kind: have if isinstance(have, int) else tuple(have) for kind, have in given.items()}


def _plain(number: int) -> Mapping[str, Any]:
    return {
        "TaskTemplate": {
            "ContainerSpec": {"Image": "lab:latest", "Isolation": "default"},
            "RestartPolicy": {"Condition": "none", "MaxAttempts": 0},
            "ForceUpdate": 0,
            "Runtime": "container",
        },
        "Mode": {"Replicated": {"Replicas": 1}},
        "EndpointSpec": {"Mode": "dnsrr"},
    }
