"""Networks of a whole Swarm: which will do for servers, and how the Hub gets to them there. Pure.

A Hub in a container that is in a server's network reaches the server by the name of its service.
Any other reaches it at a port of the node that it runs on, which is published in host mode.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from .isolation import OwnNetwork
from .network import Access

#: Labels of a container that belongs to a service of a Swarm: the name of that, and its id.
LABEL_SERVICE_NAME = "com.docker.swarm.service.name"
LABEL_SERVICE_ID = "com.docker.swarm.service.id"


def networks_of(container: Mapping[str, Any] | None) -> list[str]:
    """The names of the networks that a container is in, in alphabetical order.

    Args:
        container: ``GET /containers/{id}/json``, or None.
    """
    return sorted(((container or {}).get("NetworkSettings") or {}).get("Networks") or {})


def name_in_swarm(container: Mapping[str, Any]) -> str:
    """The name that a container is found by in the networks of a Swarm.

    Args:
        container: ``GET /containers/{id}/json``.

    Returns:
        Of one that belongs to a service, which is replaced when it ends, the service's name.
    """
    labels = (container.get("Config") or {}).get("Labels") or {}
    return str(labels.get(LABEL_SERVICE_NAME) or container["Name"]).lstrip("/")


def is_of_service(container: Mapping[str, Any]) -> bool:
    """Whether a container belongs to a service: then it can join no further networks.

    Args:
        container: ``GET /containers/{id}/json``.
    """
    return LABEL_SERVICE_NAME in ((container.get("Config") or {}).get("Labels") or {})


def check_overlay(setting: str, name: str, info: Mapping[str, Any]) -> None:
    """Refuse a network that servers of a Swarm cannot be in.

    Args:
        setting: that names it.
        name: of the network.
        info: ``GET /networks/{name}``.

    Raises:
        ConfigError: it is one Engine's, or that of the Swarm's own balancer.
    """
    if info.get("Ingress"):
        hint = "that is the network of published ports alone; make another: docker network create "
        raise ConfigError(setting, name, f"{hint}--driver overlay --attachable lab")
    if info.get("Scope") != "swarm":
        hint = "this network is one Engine's, and servers may run on any node; make one of the "
        hint += f"Swarm: docker network rm {name}; docker network create --driver overlay "
        raise ConfigError(setting, name, f"{hint}--attachable {name}")


def certified_in_swarm(beside: bool, network: str, own: OwnNetwork | None) -> Access:
    """How the Hub gets to servers whose certificates it checks: by name, or not at all.

    Args:
        beside: the Hub's container is in the network.
        network: its name.
        own: the network, if the Hub makes it.

    Raises:
        ConfigError: certificates would be made out to nodes, which are chosen later.
    """
    if beside:
        return Access("name")
    inside = f"a container on an overlay network (docker network connect {network} <the Hub's "
    inside += "container>)"
    if own is not None:
        inside = "a container of its own on an overlay network (a service's container cannot join "
        inside += 'the networks that are made for servers, and needs network_isolation = "none")'
    hint = (
        "a server's certificate is made before it is known on which node it will run, so the Hub "
        f"must reach servers by their names: run the Hub in {inside}, or set "
        "c.JupyterHub.internal_ssl = False"
    )
    raise ConfigError("JupyterHub.internal_ssl", True, hint)


def no_way(network: str, own: OwnNetwork | None) -> ConfigError:
    """The error for a network that leads nowhere, where the Hub is outside of it.

    Args:
        network: its name.
        own: the network, if the Hub makes it.
    """
    hint = (
        "an overlay network without a way out publishes no ports, and servers there do not reach a "
        "Hub that is outside of it: run the Hub in a container that is in it, or "
    )
    if own is not None:
        hint += "set c.DockerNamedSpawner.internal_network = False"
        return ConfigError("internal_network", True, hint)
    return ConfigError("network_name", network, f"{hint}make the network without --internal")
