"""Networks of the fake Swarm: which there are, and what services and tasks get on them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from support.fake_engine.core import ApiError, Core
from support.fake_engine.objects import Container, iso
from support.fake_engine.store import Store
from support.fake_engine.swarm_objects import Service, Task, swarm_id

#: The first of the ports that the Swarm gives to services that do not say which.
FIRST_INGRESS = 30000


class Overlays:
    """Networks of scope ``swarm``, which stand among the manager's own.

    Args:
        core: of the manager.
        store: where services are.
    """

    def __init__(self, core: Core, store: Store) -> None:
        self._core, self._store = core, store
        self._subnets = itertools.count()
        self._ports = itertools.count(FIRST_INGRESS)
        self.create({"Name": "ingress"}, ingress=True)
        core.add_network("docker_gwbridge")

    def create(self, body: Mapping[str, Any], *, ingress: bool = False) -> dict[str, Any]:
        """As of ``POST /networks/create`` with the driver ``overlay``."""
        name, number = str(body["Name"]), next(self._subnets)
        made = self._core.add_network(
            name, body.get("Labels"), internal=body.get("Internal"), options=body.get("Options")
        )
        ipam = {"Subnet": f"10.{number // 256}.{number % 256}.0/24"}
        made |= {
            "Id": swarm_id(), "Driver": "overlay", "Scope": "swarm", "Ingress": ingress,
            "Attachable": bool(body.get("Attachable")), "Created": iso(1.0),
            "IPAM": {"Driver": "default", "Config": [ipam]},
        }  # fmt: skip
        if not ingress:
            for action in ("create", "update"):
                self._core.emit("network", action, made["Id"], {"name": name}, scope="swarm")
        return made

    def remove(self, name: str) -> None:
        """As of ``DELETE /networks/{name}``; tasks that only have not ended yet keep nothing."""
        network = self._core.find_network(name)
        if "Peers" in network:
            raise ApiError(404, f"network {network['Id']} not found")
        users = [f"service {one.id}" for one in self._store.services.values() if _on(one, network)]
        # Other containers than tasks' are connected by what the managers call a task.
        connected = (self._core.containers.get(id) for id in network["Containers"])
        users += [f"task {one.id[:25]}" for one in connected if one is not None and one.running]
        if users:
            words = f"network {network['Id']} is in use by {users[0]}"
            raise ApiError(400, f"rpc error: code = FailedPrecondition desc = {words}")
        network["Peers"] = [{"Name": "node-1", "IP": self._core.published_at}]
        self.forget_remnants()
        self._core.emit("network", "remove", network["Id"], {"name": network["Name"]}, "swarm")

    def forget_remnants(self) -> None:
        """Forget the manager's parts of networks that are removed, if no container has them.

        They are those that have ``Peers``.
        """
        for network in [one for one in self._core.networks.values() if "Peers" in one]:
            if not self._core.seen_network(network)["Containers"]:
                del self._core.networks[network["Name"]]

    def usable(self) -> Mapping[str, str]:
        """Name or id → id of all networks that a service can name."""
        networks = [one for one in self._core.networks.values() if "Peers" not in one]
        return {one[key]: one["Id"] for one in networks for key in ("Name", "Id")}

    def network(self, id: str) -> dict[str, Any]:
        """By id."""
        return self._core.find_network(id)

    def attach(self, task: Task) -> list[dict[str, Any]]:
        """``NetworksAttachments`` of a task, with addresses at which fake containers answer."""
        return [
            {
                "Network": _shown(self.network(one["Target"])),
                "Addresses": [f"{self._core.servers.container_address()}/24"],
            }
            for one in task.spec.get("Networks") or ()
        ]

    def endpoint(self, service: Service) -> dict[str, Any]:
        """What the Swarm adds to ``Endpoint`` of a service."""
        spec = service.spec.get("EndpointSpec") or {}
        found: dict[str, Any] = {}
        ports = [dict(port) for port in spec.get("Ports") or ()]
        ingress = [port for port in ports if port["PublishMode"] == "ingress"]
        for port in ingress:
            port.setdefault("PublishedPort", next(self._ports))
        if ports:
            found["Ports"] = ports
        networks = [one["Target"] for one in service.template.get("Networks") or ()]
        if ingress:
            networks.insert(0, self._core.find_network("ingress")["Id"])
        if networks and spec.get("Mode", "vip") == "vip":
            address = f"{self._core.servers.container_address()}/24"
            found["VirtualIPs"] = [{"NetworkID": id, "Addr": address} for id in networks]
        return found


def check_attachable(network: Mapping[str, Any], container: Container) -> None:
    """Raise `ApiError` if a container cannot be connected to a network of the Swarm."""
    name = network["Name"]
    if "Peers" in network:
        raise ApiError(404, f"network {network['Id']} not found")
    if not network["Attachable"]:
        words = f"code = PermissionDenied desc = network {name} not manually attachable"
        raise ApiError(500, f"Could not attach to network {name}: rpc error: {words}")
    if container.id in network["Containers"]:
        raise ApiError(409, f"{container.name} is already attached to network {name}")


def _on(service: Service, network: Mapping[str, Any]) -> bool:
    """Whether a service's tasks are on a network."""
    return network["Id"] in [one["Target"] for one in service.template.get("Networks") or ()]


def _shown(network: Mapping[str, Any]) -> dict[str, Any]:
    """A network as tasks show it."""
    return {
        "ID": network["Id"],
        "Version": {"Index": 10},
        "Spec": {
            "Name": network["Name"],
            "Labels": network["Labels"],
            "DriverConfiguration": {"Name": network["Driver"]},
            "Attachable": network.get("Attachable", False),
            "Scope": network["Scope"],
        },
    }
