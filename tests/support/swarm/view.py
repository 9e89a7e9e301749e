"""A Swarm as seen from outside the Hub: what its managers and the nodes' own Engines have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import docker

from support.hub.dockerview import HUB, SERVER, USER, Docker
from support.hub.waiting import eventually
from support.swarm.node import Node
from support.swarm.swarm import Swarm


class SwarmView(Docker):
    """The services whose names begin with a prefix, and their containers on all nodes.

    The containers are those of each node's own Engine: also one that no manager wants any more.

    Args:
        swarm: it.
        prefix: as in ``c.DockerNamedSpawner.prefix``, and of ``hub_id``.
    """

    def __init__(self, swarm: Swarm, prefix: str) -> None:
        super().__init__(swarm.manager.client, prefix)
        self.swarm = swarm
        self._at: dict[str, Node] = {}

    # --- looking

    def services(self, user: str | None = None, server: str | None = None) -> list[Any]:
        """``GET /services`` of ours, oldest first."""
        wanted = {HUB: self.hub, USER: user, SERVER: server}
        found = []
        for service in self.swarm.manager.client.services():
            labels = service["Spec"]["Labels"]
            if self._ours(service["Spec"]["Name"]) and all(
                labels.get(label) == value for label, value in wanted.items() if value is not None
            ):
                found.append(service)
        return sorted(found, key=lambda service: service["CreatedAt"])

    def service(self, user: str, server: str = "") -> Any:
        """``GET /services/{id}`` of a server's service; there must be exactly one."""
        found = self.services(user, server)
        assert len(found) == 1, f"{user}/{server}: expected one service, there are {found}"
        return found[0]

    def task(self, user: str, server: str = "") -> Any:
        """``GET /tasks/{id}`` of the task of a server that runs and is wanted; waits for it."""
        return self.swarm.running(self.service(user, server)["ID"])

    def node(self, user: str, server: str = "") -> Node:
        """The node that a server runs on, as the managers say."""
        return self.swarm.node_of(self.task(user, server))

    def containers(self, user: str | None = None, server: str | None = None) -> list[Any]:
        """See `Docker.containers`; of all nodes that have a dockerd."""
        found = super().containers(user, server)
        nodes = {node.id: node for node in self.swarm.nodes}
        for container in found:
            node = container["Config"]["Labels"]["com.docker.swarm.node.id"]
            self._at[container["Id"]] = nodes[node]
        return found

    def one(self, user: str, server: str = "") -> Any:
        """``GET /containers/{id}/json`` of a server's only container that runs.

        Earlier ones may be there, ended: a Swarm keeps some of them.
        """
        found = [c for c in self.containers(user, server) if c["State"]["Running"]]
        where = [f"{c['Name']} on {self.node_with(c)}" for c in found]
        assert len(found) == 1, f"{user}/{server}: expected one container, there are {where}"
        return found[0]

    def node_with(self, container: Any) -> Node:
        """The node whose Engine has a container of `containers`."""
        return self._at[container["Id"]]

    def volumes(self) -> list[Any]:
        """See `Docker.volumes`; of all nodes that have a dockerd, one after the other."""
        return [v for node in self.swarm.nodes if node.runs for v in node.volumes(self.prefix)]

    def left(self, but: Sequence[str] = ()) -> list[str]:
        """See `Docker.left`; services count, at no replicas as well."""
        services = [s["Spec"] for s in self.services() if s["Spec"]["Labels"].get(USER) not in but]
        return [f"service {spec['Name']} {spec['Mode']}" for spec in services]

    def _things_of(self, user: str) -> list[str]:
        # Services, secrets and configs as well.
        client = self.swarm.manager.client
        left = super()._things_of(user)
        for listed in (client.services, client.secrets, client.configs):
            left += [str(thing["Spec"]["Name"]) for thing in listed({"label": f"{USER}={user}"})]
        return left

    def emptied(self, user: str) -> None:
        """Wait until nothing of a user is left but volumes without files, on any node."""
        eventually(lambda: self._left_of(user), lambda left: not left, what=f"{user} has nothing")

    def _left_of(self, user: str) -> list[str]:
        labels = {USER: user, **({HUB: self.hub} if self.hub else {})}
        pairs, client = [f"{label}={value}" for label, value in labels.items()], self.client
        left = [
            str(thing["Spec"]["Name"])
            for listed in (client.services, client.secrets, client.configs)
            for thing in listed({"label": pairs})
        ]
        left += [str(container["Name"]) for container in self.containers(user)]
        for node in self.swarm.nodes:
            for volume in node.volumes(self.prefix):
                if labels.items() <= (volume["Labels"] or {}).items():
                    # It may have been removed since it was listed, also at this very moment.
                    look = 'ls -A "$1" || test ! -e "$1"'
                    files = node.namespaces.run("sh", "-c", look, "sh", volume["Mountpoint"])
                    left += [f"{volume['Name']}: {file}" for file in files.split()]
        return left

    def gone(self, user: str, server: str = "", timeout: float = 60.0) -> None:
        """Wait until a server has neither a service nor a container."""
        eventually(
            lambda: [s["Spec"]["Name"] for s in self.services(user, server)],
            lambda names: not names,
            what=f"the service of {user}/{server} is removed",
            timeout=timeout,
        )
        super().gone(user, server, timeout)

    # --- doing

    def remove_all(self) -> None:
        """Remove all that is ours, on all nodes, whichever Hub's."""
        self.swarm.remove_all(self.prefix)

    def client_of(self, container: Any) -> docker.APIClient:
        """See `Docker.client_of`."""
        return self.node_with(container).client

    def _clients(self) -> Sequence[docker.APIClient]:
        return [node.client for node in self.swarm.nodes if node.runs]
