"""A Docker Swarm in memory, of which a fake Engine is a manager: what the API's calls do."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from support.fake_engine.agents import Agent
from support.fake_engine.core import ApiError, Core
from support.fake_engine.nodes import Node
from support.fake_engine.orchestrating import Orchestrator
from support.fake_engine.overlays import Overlays
from support.fake_engine.service_specs import check_stored, invalid, service_spec
from support.fake_engine.store import Store
from support.fake_engine.swarm_objects import (
    Config,
    Secret,
    Service,
    Status,
    Stored,
    Task,
    swarm_id,
)

Auth = Mapping[str, Any]
#: Seconds that a leader without enough followers waits for them, and that nodes may be silent.
QUORUM_S, HEARTBEAT_S = 20.0, 11.0
NO_MANAGER = "This node is not a swarm manager."
WORKER = (
    f"{NO_MANAGER} Worker nodes can't be used to view or modify cluster state. Please run this "
    "command on a manager node or promote the current node to a manager."
)
OUTSIDE = (
    f'{NO_MANAGER} Use "docker swarm init" or "docker swarm join" to connect this node to swarm '
    "and try again."
)
LEADERLESS = (
    "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that too few "
    "managers are online. Make sure more than half of the managers are online."
)
DEADLINE = "rpc error: code = DeadlineExceeded desc = context deadline exceeded"


class Swarm:
    """Nodes, services, tasks, secrets and configs; everything runs in the server's event loop.

    Args:
        core: of the Engine that is a manager.
        may_pull: the config of an image that a registry gives for such credentials.
        second: how long a second of the Swarm lasts here.

    Attributes:
        store: all objects.
        first: the node of the Engine.
        leader: ``there``; ``alone``: it has too few followers, and has not noticed; ``gone``.
        go: set when tasks that a test holds may go on.
        auths: service name and credentials of all calls that brought some.
    """

    def __init__(
        self,
        core: Core,
        may_pull: Callable[[str, Auth | None], Mapping[str, Any] | None],
        second: float,
    ) -> None:
        self.core, self._may_pull, self.second = core, may_pull, second
        self.id = swarm_id()
        self.store = Store(core)
        self.overlays = Overlays(core, self.store)
        self.tasks = Orchestrator(self.store, second, self.overlays.attach)
        self.leader = "there"
        self.go = asyncio.Event()
        self._lost: set[str] = set()
        self.auths: list[tuple[str, Auth]] = []
        self.first = self.join(Node(hostname="node-1", core=core, role="manager"))

    def join(self, node: Node) -> Node:
        """Have another node."""
        node.address = self.core.servers.node_address()
        node.core.published_at = node.address
        self.tasks.agents[node.id] = Agent(self, node)
        self.store.add(node)
        self.tasks.node_changed(node)
        return node

    async def ready(self, node: Node, *, changing: bool) -> None:
        """Check that a node's Engine can answer for the Swarm.

        Args:
            node: which.
            changing: it is to change something.

        Raises:
            ApiError: it is no manager, or has no leader.
        """
        if node.role != "manager":
            raise ApiError(503, WORKER)
        if self.leader == "alone" and changing:
            await self.sleep(QUORUM_S)
            if self.leader == "alone":
                raise ApiError(500, DEADLINE)
        if self.leader == "gone":
            raise ApiError(500, LEADERLESS)

    def info(self, node: Node) -> dict[str, Any]:
        """``Swarm`` of ``GET /info`` of a node."""
        nodes = self.store.nodes.values()
        managers = [one for one in nodes if one.role == "manager"]
        shown = {
            "NodeID": node.id,
            "NodeAddr": node.address,
            "LocalNodeState": "active",
            "ControlAvailable": node.role == "manager",
            "Error": "",
            "RemoteManagers": [
                {"NodeID": one.id, "Addr": f"{one.address}:2377"} for one in managers
            ],
        }
        if shown["ControlAvailable"] and self.leader == "gone":
            shown["Error"] = LEADERLESS
        elif shown["ControlAvailable"]:
            shown |= {"Nodes": len(nodes), "Managers": len(managers), "Cluster": {"ID": self.id}}
        return shown

    # --- services --------------------------------------------------------------------------

    def create_service(self, body: Mapping[str, Any], auth: Auth | None) -> Service:
        """As of ``POST /services/create``."""
        spec = service_spec(body, self.store, self.overlays.usable())
        name = spec["Name"]
        if self.store.by_name("service", name) is not None:
            words = f"name conflicts with an existing object: service {name} already exists"
            raise ApiError(409, f"rpc error: code = AlreadyExists desc = {words}")
        service = Service(spec=spec)
        self._authorize(service, auth)
        self.store.add(service)
        self._allocate(service)
        self.tasks.service_changed(service)
        return service

    def update_service(
        self, ref: str, version: str, body: Mapping[str, Any], auth: Auth | None
    ) -> None:
        """As of ``POST /services/{id}/update``."""
        service: Service = self.store.find("service", ref)
        if not version.isdigit():
            why = f'strconv.ParseUint: parsing "{version}": invalid syntax'
            raise ApiError(400, f"invalid service version '{version}': {why}")
        spec = service_spec(body, self.store, self.overlays.usable())
        self.store.checked("service", service.id, version)
        unimplemented = "rpc error: code = Unimplemented desc ="
        if spec["Name"] != service.name:
            raise ApiError(501, f"{unimplemented} renaming services is not supported")
        if next(iter(spec["Mode"])) != service.mode:
            raise ApiError(501, f"{unimplemented} service mode change is not allowed")
        before, service.previous = service.wanted, service.spec
        service.generation += spec["TaskTemplate"] != service.template
        service.spec = spec
        self._authorize(service, auth)
        self.store.changed(service)
        more = {"replicas.new": str(service.wanted), "replicas.old": str(before)}
        self.store.tell(service, "update", **(more if service.wanted != before else {}))
        if (spec.get("EndpointSpec") or {}) != (service.previous.get("EndpointSpec") or {}):
            self._allocate(service)
        self.tasks.service_changed(service)

    def remove_service(self, ref: str) -> None:
        """As of ``DELETE /services/{id}``."""
        service: Service = self.store.find("service", ref)
        service.removed = True
        self.store.drop(service)
        self.tasks.service_removed(service)

    def _authorize(self, service: Service, auth: Auth | None) -> None:
        if auth:
            service.auth = auth
            self.auths.append((service.name, auth))

    def _allocate(self, service: Service) -> None:
        """Give it ports and addresses, which is another version of it."""
        endpoint = self.overlays.endpoint(service)
        if endpoint == service.endpoint:
            return

        def allocate() -> None:
            if not service.removed:
                service.endpoint = endpoint
                self.store.changed(service)
                self.store.tell(service, "update")

        asyncio.get_running_loop().call_soon(allocate)

    # --- secrets and configs ---------------------------------------------------------------

    def create_stored(self, kind: str, body: Mapping[str, Any]) -> Stored:
        """As of ``POST /secrets/create`` and ``POST /configs/create``."""
        name, data = str(body.get("Name") or ""), str(body.get("Data") or "")
        check_stored(kind, name, data)
        if self.store.by_name(kind, name) is not None:
            words = f"{kind} {name} already exists"
            raise ApiError(409, f"rpc error: code = AlreadyExists desc = {words}")
        make = Secret if kind == "secret" else Config
        made = make(spec_name=name, spec_labels=dict(body.get("Labels") or {}), data=data)
        self.store.add(made)
        return made

    def update_stored(self, kind: str, ref: str, version: str, body: Mapping[str, Any]) -> None:
        """As of ``POST /secrets/{id}/update`` and ``POST /configs/{id}/update``."""
        one: Stored = self.store.find(kind, ref)
        if not version.isdigit():
            raise ApiError(400, f"invalid {kind} version")
        self.store.checked(kind, one.id, version)
        if body.get("Name") != one.name or (body.get("Data") or one.data) != one.data:
            raise invalid("only updates to Labels are allowed")
        one.spec_labels = dict(body.get("Labels") or {})
        self.store.changed(one)
        self.store.tell(one, "update")

    def remove_stored(self, kind: str, ref: str) -> None:
        """As of ``DELETE /secrets/{id}`` and ``DELETE /configs/{id}``."""
        one: Stored = self.store.find(kind, ref)
        users = [
            service.name
            for service in self.store.services.values()
            if one.id in _references(service, kind)
        ]
        if users:
            services = "service" if len(users) == 1 else "services"
            names = ", ".join(users)
            words = f"{kind} '{one.name}' is in use by the following {services}: {names}"
            raise invalid(words)
        self.store.drop(one)

    # --- nodes -----------------------------------------------------------------------------

    def update_node(self, ref: str, version: str, spec: Mapping[str, Any]) -> None:
        """As of ``POST /nodes/{id}/update``."""
        availability, role = spec.get("Availability") or "active", spec.get("Role") or "worker"
        if availability not in ("active", "pause", "drain"):
            raise ApiError(400, f'invalid Availability: "{availability}"')
        node: Node = self.store.checked("node", ref, version)
        before = node.availability
        node.availability, node.role = availability, role
        node.spec_labels = dict(spec.get("Labels") or {})
        more = {"availability.new": availability, "availability.old": before}
        self._node_changed(node, **(more if availability != before else {}))

    def remove_node(self, ref: str, *, force: bool) -> None:
        """As of ``DELETE /nodes/{id}``."""
        node: Node = self.store.find("node", ref)
        if node.state == "ready" and not force:
            words = f"node {node.id} is not down and can't be removed"
            raise ApiError(400, f"rpc error: code = FailedPrecondition desc = {words}")
        del self.tasks.agents[node.id]
        self.store.drop(node)
        status = Status(state="orphaned", message="Task belonged to a node that has been deleted")
        for task in list(node.tasks.values()):
            self.tasks.heard(task, status)

    def lead(self, leader: str) -> None:
        """Have a leader or none; while there is none nobody hears of tasks.

        Args:
            leader: as of the attribute.
        """
        self.leader = leader
        for node in self.store.nodes.values():
            if leader != "there":
                node.connected = False
            elif node.id not in self._lost:
                self.find(node)

    async def lose(self, node: Node) -> None:
        """The managers and a node hear no more of each other; after a time it counts as down."""
        node.connected = False
        self._lost.add(node.id)
        await self.sleep(HEARTBEAT_S)
        if node.id in self._lost:
            node.state, node.message = "down", "heartbeat failure"
            self._node_changed(node, **{"state.new": "down", "state.old": "ready"})

    def find(self, node: Node) -> None:
        """They hear of each other again."""
        self._lost.discard(node.id)
        if self.leader != "there":
            return
        was, node.connected = node.state, True
        agent = self.tasks.agents[node.id]
        agent.reconnect()
        if was == "down":
            node.state, node.message = "ready", ""
            self._node_changed(node, **{"state.new": "ready", "state.old": "down"})
        for task in list(node.tasks.values()):
            agent.tell(task)

    def _node_changed(self, node: Node, **more: str) -> None:
        self.store.changed(node)
        self.store.tell(node, "update", **more)
        self.tasks.node_changed(node)

    # --- what the nodes need: see `agents.Managers` ----------------------------------------

    async def sleep(self, seconds: float) -> None:
        """So long, in the Swarm's time."""
        await asyncio.sleep(seconds * self.second)

    def heard(self, task: Task, status: Status) -> None:
        """A node has said how a task is."""
        self.tasks.heard(task, status)

    def knows(self, task: Task) -> bool:
        """It is not gone."""
        return task.id in self.store.tasks

    def stored(self) -> Mapping[str, Stored]:
        """All secrets and configs, by id."""
        return {**self.store.secrets, **self.store.configs}

    def pulled(self, task: Task) -> Mapping[str, Any] | None:
        """The config of its image, if a registry gives it for the service's credentials."""
        return self._may_pull(task.image, task.service.auth)

    def network(self, id: str) -> dict[str, Any]:
        """A network of the Swarm."""
        return self.overlays.network(id)

    def forget_remnants(self) -> None:
        """A container has ended, which networks that are removed may have waited for."""
        self.overlays.forget_remnants()


def _references(service: Service, kind: str) -> Iterable[str]:
    """The ids of the secrets or configs that a service uses."""
    key = kind.capitalize()
    return {one[f"{key}ID"] for one in service.template["ContainerSpec"].get(f"{key}s") or ()}
