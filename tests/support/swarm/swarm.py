"""A Swarm of several nodes in one subnet, which this machine has a link into."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import docker
from docker.utils import kwargs_from_env

from support.hub.dockerview import BUSYBOX, HUB, remove
from support.hub.waiting import eventually
from support.swarm.images import records
from support.swarm.namespaces import Namespaces, run
from support.swarm.node import LINK, Node
from support.swarm.remains import MARK, RUN, clear_the_killed, remains, remove_folders

#: Nanoseconds in a second.
NANO = 1_000_000_000
#: What `_state` says of a worker and of a manager that are well.
READY = {"ready active", "ready active reachable"}
#: The Swarms that there are.
alive: list[Swarm] = []
#: (name, description) of Swarms that an error has ended, such as a failing test's.
fallen: list[tuple[str, str]] = []


class Swarm:
    """Nodes n1, n2 and so on, the first of which are managers; a context manager.

    The Hub's own machine, outside, has the address `hub_address` and reaches the nodes'; nodes
    reach nothing else. Several Swarms at once know nothing of one another.

    Args:
        nodes: how many.
        managers: how many of them, from n1 on: 1 or 3.
        images: that each node has from its start, of the Engine that DOCKER_HOST says.
        heartbeat: seconds between a node's signs of life; a lost one is down after three. 5 in
            Docker.
        labels: of each node's dockerd, by the node's name. Each has also ``node=NAME``.
        options: further ones of each node's dockerd, by the node's name.

    Attributes:
        name: unique on this machine; this machine's link into the subnet is called so as well.
        hub_address: this machine's.
        subnet: such as ``198.18.7.0/24``. Registries at its addresses need no TLS.
        nodes: all of them.
        ids: of namespaces of the Swarm; see `Namespaces.ids`.
    """

    def __init__(
        self,
        nodes: int = 3,
        managers: int = 1,
        *,
        images: Sequence[str] = (BUSYBOX,),
        heartbeat: float = 5,
        labels: Mapping[str, Mapping[str, str]] | None = None,
        options: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._count, self._managers, self._images = nodes, managers, tuple(images)
        self._heartbeat, self._labels, self._options = heartbeat, labels or {}, options or {}
        self.name = self.hub_address = self.subnet = ""
        self.nodes: list[Node] = []
        self.ids: frozenset[str] = frozenset()
        self._stack = ExitStack()
        self._switch: Namespaces | None = None

    def __enter__(self) -> Swarm:
        alive.append(self)
        try:
            self.start()
        except BaseException:
            self._fall()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self._fall()
        else:
            alive.remove(self)
            self.end()

    def _fall(self) -> None:
        """End by an error, and keep for people how it was then."""
        try:
            fallen.append((self.name, self.describe()))
        finally:
            alive.remove(self)
            self.end()

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)

    # --- its life

    def start(self) -> None:
        """Make the nodes, and the Swarm of them; return when all are ready."""
        assert os.geteuid() == 0, "only root can make a Swarm"
        clear_the_killed()
        self._switch = Namespaces("switch", "ip link add switch type bridge\nip link set switch up")
        self.ids |= self._switch.ids
        self._plug_in(self._switch)
        client = docker.APIClient(timeout=60, **kwargs_from_env())
        self._stack.callback(client.close)
        folder = self._folder("images")
        layers = records(client, self._images, folder) if self._images else None
        images = None if layers is None else (folder, layers)
        for number in range(1, self._count + 1):
            self._add(self._switch, f"n{number}", f"{self._addresses}{number}", images)
        for node in self.nodes:
            node.start_soon()
        for node in self.nodes:
            node.started()
        if images is None:
            self._each(partial(_load, client=client, images=self._images))
        self._form()

    def end(self) -> None:
        """Take all of it down, and look for what is left.

        Raises:
            AssertionError: something is left; the message has all of it.
        """
        try:
            self._stack.close()
            if self.name:
                # As long as the link is there, the name is nobody else's.
                eventually(
                    self._clear,
                    lambda left: not left,
                    what=f"nothing is left of the Swarm {self.name}",
                    timeout=60,
                )
        finally:
            if self.name:
                run("ip", "link", "delete", self.name)
            if self._switch is not None:
                self._switch.end()

    def _clear(self) -> list[str]:
        remove_folders(self.name)
        ids = [node.namespaces.ids for node in self.nodes]
        left = remains(self.name, self._addresses, frozenset().union(*ids))
        return [one for one in left if not one.startswith(("link:", "route:"))]

    def _plug_in(self, switch: Namespaces) -> None:
        """Take a subnet that no other Swarm has, which the link's name says."""
        # The range for measurements between networks (RFC 2544), which nobody else uses.
        subnets = [(second, third) for second in (18, 19) for third in range(256)]
        for second, third in random.sample(subnets, len(subnets)):
            name = f"{MARK}{second}-{third:03}"
            peer = ["peer", "name", "machine", "netns", str(switch.pid)]
            with suppress(AssertionError):
                run("ip", "link", "add", name, "type", "veth", *peer)
                break
        else:
            raise AssertionError("this machine makes no veth link, or has 512 Swarms already")
        self.name, self._addresses = name, f"198.{second}.{third}."
        self.hub_address, self.subnet = f"{self._addresses}254", f"{self._addresses}0/24"
        run("ip", "address", "add", f"{self.hub_address}/24", "dev", name)
        run("ip", "link", "set", name, "up")
        switch.run("ip", "link", "set", "machine", "master", "switch", "up")

    def _each(self, act: Callable[[Node], None]) -> None:
        """Do something on all nodes at once."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(act, self.nodes))

    def _add(
        self, switch: Namespaces, name: str, address: str, images: tuple[Path, Path] | None
    ) -> None:
        labels = {"node": name, **self._labels.get(name, {})}
        options = [f"--label={key}={value}" for key, value in labels.items()]
        options += ["--insecure-registry", self.subnet, *self._options.get(name, ())]
        node = Node(
            name, self._folder(name), f"/{self.name}/{name}", images=images, options=options
        )
        self.nodes.append(node)
        self._stack.callback(node.end)
        self.ids |= node.namespaces.ids
        node.address, node.labels = address, labels
        peer = ["peer", "name", LINK, "netns", str(node.namespaces.pid)]
        # By a process in there only as far as the network goes, for the other pid to be known.
        enter = ["nsenter", f"--net=/proc/{switch.pid}/ns/net"]
        run(*enter, "ip", "link", "add", name, "type", "veth", *peer)
        switch.run("ip", "link", "set", name, "master", "switch", "up")
        node.namespaces.run("ip", "address", "add", f"{address}/24", "dev", LINK)
        node.namespaces.run("ip", "link", "set", LINK, "up")

    def _folder(self, name: str) -> Path:
        folder = RUN / self.name / name
        folder.mkdir(parents=True, mode=0o700)
        return folder

    def _form(self) -> None:
        """Make one Swarm of all the Engines."""
        first, *others = self.nodes
        client = first.client
        first.client.init_swarm(
            advertise_addr=first.address,
            swarm_spec=client.create_swarm_spec(
                dispatcher_heartbeat_period=int(self._heartbeat * NANO)
            ),
        )
        tokens = client.inspect_swarm()["JoinTokens"]
        # Managers one after the other: each changes who agrees on the next one.
        first.is_manager = True
        for node in others[: self._managers - 1]:
            self._join(node, tokens["Manager"])
            node.is_manager = True
        with ThreadPoolExecutor() as pool:
            workers = others[self._managers - 1 :]
            list(pool.map(lambda node: self._join(node, tokens["Worker"]), workers))
        for node in self.nodes:
            node.id = node.client.info()["Swarm"]["NodeID"]
        self.ready()

    def _join(self, node: Node, token: str) -> None:
        remote = [f"{self.nodes[0].address}:2377"]
        node.client.join_swarm(remote, token, advertise_addr=node.address)

    # --- its nodes

    @property
    def managers(self) -> list[Node]:
        """The nodes that are managers and run, whether or not they have a leader."""
        return [node for node in self.nodes if node.runs and node.is_manager]

    @property
    def manager(self) -> Node:
        """A manager, not one that is cut off where there are others."""
        return min(self.managers, key=lambda node: node.cut_off)

    @property
    def workers(self) -> list[Node]:
        """The nodes that run and are no managers."""
        return [node for node in self.nodes if node.runs and not node.is_manager]

    def inspect(self, node: Node) -> Any:
        """``GET /nodes/{id}`` of a manager."""
        return self.manager.client.inspect_node(node.id)

    def update(self, node: Node, **changes: Any) -> None:
        """Change a node's specification, such as ``Labels={"disk": "ssd"}``.

        Args:
            node: of this Swarm.
            changes: parts of NodeSpec in the API's spelling.
        """

        def update() -> bool:
            seen = self.inspect(node)
            spec = {**seen["Spec"], **changes}
            try:
                return bool(
                    self.manager.client.update_node(node.id, seen["Version"]["Index"], spec)
                )
            except docker.errors.APIError as error:
                if "out of sequence" in str(error):  # the managers themselves changed it
                    return False
                raise

        eventually(update, what=f"{node} is updated")

    def drain(self, node: Node) -> None:
        """Have no tasks on a node."""
        self.update(node, Availability="drain")

    def activate(self, node: Node) -> None:
        """Have tasks on a node, after `drain`."""
        self.update(node, Availability="active")

    def promote(self, node: Node) -> None:
        """Make a manager of a node; return when it takes requests."""
        self.update(node, Role="manager")
        self._in_control(node, True)

    def demote(self, node: Node) -> None:
        """Make a worker of a manager; return when it takes no requests any more."""
        self.update(node, Role="worker")
        self._in_control(node, False)

    def _in_control(self, node: Node, wanted: bool) -> None:
        eventually(
            lambda: node.client.info()["Swarm"]["ControlAvailable"],
            lambda control: control is wanted,
            what=f"{node} is {'a manager' if wanted else 'a worker'}",
        )
        node.is_manager = wanted

    # --- waiting

    def has_leader(self, node: Node, timeout: float = 90) -> None:
        """Wait until a manager can have something changed, as after a loss of the quorum.

        One that led before goes on answering what only reads, though it may be voted out.
        """
        eventually(
            lambda: _asked(node, _change_nothing),
            what=f"{node} has a leader",
            timeout=timeout,
        )

    def has_no_leader(self, node: Node, timeout: float = 90) -> None:
        """Wait until a manager's requests are not fulfilled."""
        eventually(
            lambda: _asked(node, lambda client: client.nodes()),
            lambda nodes: nodes is None,
            what=f"{node} has no leader",
            timeout=timeout,
        )

    def wait_state(self, node: Node, state: str, timeout: float = 60) -> None:
        """Wait until the managers call a node ``ready`` or ``down``."""
        manager = self.manager
        eventually(
            lambda: _asked(manager, lambda client: client.inspect_node(node.id)["Status"]["State"]),
            lambda seen: seen == state,
            what=f"{node} is {state}",
            timeout=timeout,
        )

    def ready(self, timeout: float = 60) -> None:
        """Wait until all nodes are ready and active, and all managers agree."""
        manager = self.manager
        for node in self.managers:
            self.has_leader(node)
        eventually(
            lambda: _asked(manager, lambda client: [_state(node) for node in client.nodes()]),
            lambda states: len(states or ()) == len(self.nodes) and set(states) <= READY,
            what="all nodes are ready",
            timeout=timeout,
        )

    def restore(self, timeout: float = 120) -> None:
        """Undo all that was done to nodes: partitions, killed dockerds, drained ones."""
        for node in self.nodes:
            node.heal()
            if not node.runs:
                node.start_soon()
        for node in self.nodes:
            node.started()
        self.has_leader(self.manager)
        for node in self.nodes:
            if self.inspect(node)["Spec"]["Availability"] != "active":
                self.activate(node)
        self.ready(timeout)

    # --- what is on it

    def tasks(self, service: str, **filters: Any) -> list[Any]:
        """``GET /tasks`` of a service by its name or id, newest first."""
        found = self.manager.client.tasks({"service": service, **filters})
        return sorted(found, key=lambda task: task["CreatedAt"], reverse=True)

    def running(self, service: str, timeout: float = 60) -> Any:
        """Wait until a service has a task that runs and is wanted; the task."""

        def found() -> list[Any]:
            wanted = self.tasks(service, **{"desired-state": "running"})
            return [task for task in wanted if task["Status"]["State"] == "running"]

        return eventually(found, what=f"{service} runs", timeout=timeout)[0]

    def node_of(self, task: Any) -> Node:
        """The node that a task was given."""
        return next(node for node in self.nodes if node.id == task["NodeID"])

    def leftovers(self, prefix: str) -> list[str]:
        """``KIND NAME`` of all that begins so; containers, volumes and networks: of each node.

        Args:
            prefix: of the names, or the value of the label dockernamed.hub, then without a final
                ``-``.
        """
        client = self.manager.client
        kinds = {"service": client.services, "secret": client.secrets, "config": client.configs}
        found = [f"{kind} {_name(o)}" for kind in kinds for o in _ours(kinds[kind](), prefix)]
        found += [f"network {n['Name']}" for n in _ours(client.networks(), prefix)]
        for node in self.nodes:
            if not node.runs:
                continue
            names = [f"container {c['Names'][0][1:]}" for c in _ours(node.containers(), prefix)]
            names += [f"volume {v['Name']}" for v in _ours(node.volumes(), prefix)]
            local = [n for n in node.client.networks() if n["Scope"] == "local"]
            names += [f"network {n['Name']}" for n in _ours(local, prefix)]
            found += [f"{name} ({node})" for name in names]
        return sorted(set(found))

    def remove_all(self, prefix: str) -> None:
        """Remove all that begins so, as `leftovers` has it, and wait until it is gone."""
        client = self.manager.client
        for service in _ours(client.services(), prefix):
            remove(client.remove_service, service["ID"])
        for secret in _ours(client.secrets(), prefix):
            remove(client.remove_secret, secret["ID"])
        for config in _ours(client.configs(), prefix):
            remove(client.remove_config, config["ID"])
        for node in self.nodes:
            if node.runs:
                self._remove_on(node, prefix)
        eventually(
            lambda: self._networks_gone(prefix) or self.leftovers(prefix),
            lambda left: not left,
            what=f"nothing of {prefix} is left",
        )

    def _remove_on(self, node: Node, prefix: str) -> None:
        for container in _ours(node.containers(), prefix):
            with suppress(docker.errors.APIError):  # it is going away by itself
                node.client.remove_container(container["Id"], v=True, force=True)
        eventually(
            lambda: _ours(node.containers(), prefix),
            lambda left: not left,
            what=f"{node} has no container of {prefix}",
        )
        for volume in _ours(node.volumes(), prefix):
            remove(node.client.remove_volume, volume["Name"], force=True)

    def _networks_gone(self, prefix: str) -> list[str]:
        """Remove networks; those that are in use by what is going away stay for the next time."""
        left = []
        for node in (self.manager, *self.workers):
            for network in _ours(node.client.networks(), prefix):
                with suppress(docker.errors.APIError):
                    node.client.remove_network(network["Id"])
                left.append(f"network {network['Name']}")
        return left

    # --- for people

    def describe(self) -> str:
        """Nodes, services, tasks with their errors, and the ends of the logs."""
        lines = [f"{self.name}: subnet {self.subnet}, this machine is {self.hub_address}"]
        for node in self.nodes:
            marks = " cut off" * node.cut_off + " without dockerd" * (not node.runs)
            state = _asked(node, lambda client: client.info()["Swarm"]) or {}
            lines.append(
                f"{node} {node.id} {node.address} {node.url}{marks}: "
                f"{state.get('LocalNodeState')}, manager: {state.get('ControlAvailable')}, "
                f"error: {state.get('Error')!r}"
            )
        for node in self.nodes:
            seen = _asked(node, _table) if node.runs else None
            if seen:
                lines += [f"as {node} sees it:", *seen]
                break
        for node in self.nodes:
            lines += [f"--- the end of dockerd's log on {node}", node.log(15)]
        return "\n".join(lines)


def _load(node: Node, client: docker.APIClient, images: Sequence[str]) -> None:
    for image in images:
        node.load(client, image)


def _name(thing: Any) -> str:
    """Of anything that an Engine lists."""
    if "Spec" in thing:
        return str(thing["Spec"]["Name"])
    return str(thing.get("Name") or thing["Names"][0].lstrip("/"))


def _ours(listed: Sequence[Any], prefix: str) -> list[Any]:
    """What begins so, of what an Engine lists."""
    hub = prefix.rstrip("-")
    found = []
    for thing in listed:
        labels = thing.get("Spec", thing).get("Labels") or {}
        if _name(thing).startswith(prefix) or labels.get(HUB) == hub:
            found.append(thing)
    return found


def _asked(node: Node, ask: Callable[[docker.APIClient], Any]) -> Any:
    """What an Engine answers, within some seconds; None if it does not, or refuses."""
    with suppress(OSError, docker.errors.DockerException):
        client = docker.APIClient(node.url, version=node.client.api_version, timeout=10)
        try:
            return ask(client)
        finally:
            client.close()
    return None


def _change_nothing(client: docker.APIClient) -> bool:
    """Have the managers agree on the Swarm's settings as they are."""
    swarm = client.inspect_swarm()
    changed: bool = client.update_swarm(swarm["Version"]["Index"], swarm["Spec"])
    return changed


def _state(node: Any) -> str:
    """What the managers say of a node: ``ready active``, and of a manager also ``reachable``."""
    words = [node["Status"]["State"], node["Spec"]["Availability"]]
    return " ".join([*words, *filter(None, [node.get("ManagerStatus", {}).get("Reachability")])])


def _table(client: docker.APIClient) -> list[str]:
    names = {node["ID"]: node["Description"]["Hostname"] for node in client.nodes()}
    lines = [f"node {names[node['ID']]} {_state(node)}" for node in client.nodes()]
    services = {service["ID"]: service["Spec"] for service in client.services()}
    for spec in services.values():
        labels = {key: value for key, value in spec["Labels"].items() if "dockernamed" in key}
        lines.append(f"service {spec['Name']} {spec['Mode']} {labels}")
    for task in sorted(client.tasks(), key=lambda task: task["CreatedAt"]):
        status = task["Status"]
        service = services.get(task.get("ServiceID"), {}).get("Name", task.get("ServiceID"))
        lines.append(
            f"task {task['ID']} of {service} on {names.get(task.get('NodeID'))}: "
            f"{status['State']}, wanted {task['DesiredState']}; {status.get('Message')}; "
            f"error {status.get('Err')!r}, exit {status.get('ContainerStatus', {}).get('ExitCode')}"
        )
    return lines
