"""Where servers find the Hub, and in which network, when the admin has not said so. Pure.

A container reaches a Hub on the host at the gateway of the container's own network, and a Hub in a
container by that container's name, on any user-defined network that both are on.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError

#: Networks in which Docker's DNS does not resolve container names.
NAMELESS_NETWORKS = frozenset({"bridge", "podman", "default", "host", "none"})
_CONTAINER_ID = re.compile(r"/(?:overlay-)?containers/([0-9a-f]{64})(?:/|\b)")
_LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost", "localhost.localdomain"})


@dataclass(frozen=True)
class Access:
    """How the Hub gets to its servers.

    Attributes:
        by: ``"published"`` port, ``"ip"`` address in the network, or container ``"name"``.
        engine_host: host of the Engine, for ports published on all its addresses.
    """

    by: str
    engine_host: str = "127.0.0.1"


@dataclass(frozen=True)
class Location:
    """Where a container can be reached, whichever way is taken.

    Attributes:
        mode: its network mode, in the Engine's words: ``bridge``, ``host``, a network's name, …
        addresses: its IP addresses, the best first.
        ports: TCP ports that are published: port in the container → host IP and port there.
        networks: that it is connected to: name → id, "" where that is not told.
    """

    mode: str
    addresses: tuple[str, ...] = ()
    ports: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Endpoint:
    """A container that was running a moment ago.

    Attributes:
        id: the Engine's id.
        name: its name, without a slash.
        host: where its server is reached: IP address or container name.
        port: TCP port there.
    """

    id: str
    name: str
    host: str
    port: int


def own_container_id(mountinfo: str) -> str | None:
    """The id of the container that this process runs in.

    Docker and Podman mount ``/etc/hostname`` and ``/etc/resolv.conf`` out of a directory that is
    called by the container's id, on cgroup v1 and v2 alike.

    Args:
        mountinfo: the text of ``/proc/self/mountinfo``.

    Returns:
        64 hexadecimal digits, or None outside of a container.
    """
    for line in mountinfo.splitlines():
        fields = line.split(" ")
        # Field 3 is the root of the mount in its file system, field 4 where it is mounted: only
        # files mounted into /etc are the Engine's own, and name this container and no other.
        if len(fields) > 4 and fields[4] in ("/etc/hostname", "/etc/hosts", "/etc/resolv.conf"):
            found = _CONTAINER_ID.search(fields[3])
            if found:
                return found[1]
    return None


def is_loopback(host: str) -> bool:
    """True for an address or name that no container can reach from its own network."""
    if host.lower() in _LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def check_reachable(listens_on: str) -> None:
    """Refuse a Hub that no container can reach.

    Args:
        listens_on: ``JupyterHub.hub_ip``.

    Raises:
        ConfigError: it is a loopback address; the message has the line to set.
    """
    if is_loopback(listens_on):
        raise ConfigError(
            "JupyterHub.hub_ip",
            listens_on,
            "the Hub listens on loopback only, where no container can reach it; set "
            'c.JupyterHub.hub_ip = "0.0.0.0" in jupyterhub_config.py',
        )


def own_network(hub_container: Mapping[str, Any] | None) -> str | None:
    """The network that servers should join when ``network_name`` is not set.

    Args:
        hub_container: ``GET /containers/{id}/json`` of the Hub's own container, or None.

    Returns:
        The Hub container's first user-defined network, by name; None where it has none.
    """
    networks = ((hub_container or {}).get("NetworkSettings") or {}).get("Networks") or {}
    return min((name for name in networks if name not in NAMELESS_NETWORKS), default=None)


def hub_host(
    network: str, network_info: Mapping[str, Any], hub_container: Mapping[str, Any] | None
) -> str:
    """The host part of the URL at which a server in a network reaches the Hub.

    Args:
        network: its name.
        network_info: ``GET /networks/{name}``.
        hub_container: as for :func:`own_network`.

    Returns:
        A container name or an IP address.

    Raises:
        ConfigError: the Hub's container is not on that network, or the network has no gateway.
    """
    if network == "host":
        return "127.0.0.1"
    if hub_container is None:
        return _gateway(network, network_info)
    endpoints = (hub_container.get("NetworkSettings") or {}).get("Networks") or {}
    if network not in endpoints:
        raise ConfigError(
            "network_name",
            network,
            f"the Hub's own container is not on that network but on {sorted(endpoints)}; connect "
            "it (docker network connect), name one of these, or set "
            'c.DockerNamedSpawner.hub_connect_url = "http://<address>:8081"',
        )
    if network in NAMELESS_NETWORKS:
        return str(endpoints[network]["IPAddress"])
    return str(hub_container["Name"]).lstrip("/")


def _gateway(network: str, network_info: Mapping[str, Any]) -> str:
    configs = (network_info.get("IPAM") or {}).get("Config") or []
    # A dual-stack network lists both; IPv4 works on every image.
    for config in sorted(configs, key=lambda config: ":" in str(config.get("Subnet", ""))):
        if config.get("Gateway"):
            return str(config["Gateway"]).partition("/")[0]
        if config.get("Subnet"):
            # Engines before 17 leave the gateway out where they chose it: the first address.
            return str(next(ipaddress.ip_network(config["Subnet"], strict=False).hosts()))
    raise ConfigError(
        "network_name",
        network,
        "it has no gateway at which servers could reach the Hub; use a bridge network, or set "
        'c.DockerNamedSpawner.hub_connect_url = "http://<address>:8081"',
    )


def reached_at(place: Location, name: str, port: int, access: Access) -> tuple[str, int]:
    """Host and TCP port at which a server in a running container is reached.

    Args:
        place: of the container.
        name: of the container.
        port: of the server in its container.
        access: how the Hub gets there.

    Raises:
        ConfigError: it cannot be reached though it runs, as in the network ``none``.
    """
    if place.mode == "host":
        return access.engine_host, port
    if access.by == "name":
        return name, port
    if access.by == "ip":
        if place.addresses:
            return place.addresses[0], port
        lack = "no IP address of their own"
    else:
        # Never guess who answers where nothing is published.
        host, at_port = place.ports.get(port, ("", 0))
        if at_port:
            anywhere = host in ("", "0.0.0.0", "::")  # noqa: S104  (as the Engine reports it)
            return (access.engine_host if anywhere else host), at_port
        lack = "no published ports"
    raise ConfigError("network_name", place.mode, f"containers have {lack} there")
