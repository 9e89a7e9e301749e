"""Where servers find the Hub, and in which network, when the admin has not said so. Pure.

A container reaches a Hub on the host at the gateway of the container's own network, and a Hub in a
container by that container's name, on any user-defined network that both are on.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError
from .isolation import OwnNetwork

#: What stands for all addresses of a host, and not for one of them.
ALL_INTERFACES = frozenset({"", "0.0.0.0", "::"})  # noqa: S104  (to tell them from one address)
#: Networks in which Docker's DNS does not resolve container names.
NAMELESS_NETWORKS = frozenset({"bridge", "podman", "default", "host", "none"})
#: In the Hub's certificate, for servers that find it at an address which is not.
HUB_NAME = "hub.dockernamed.internal"
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
        host: address of the host that it is on, where that is not the Engine's own.
    """

    mode: str
    addresses: tuple[str, ...] = ()
    ports: Mapping[int, tuple[str, int]] = field(default_factory=dict)
    networks: Mapping[str, str] = field(default_factory=dict)
    host: str = ""


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


def is_address(host: str) -> bool:
    """True for an IP address, and False for a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


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


def certified(host: str, names: Collection[str]) -> tuple[str, dict[str, str]]:
    """The host of the Hub's URL where servers check the Hub's certificate.

    Args:
        host: IP address or name at which they find it.
        names: that its certificate is made out to.

    Returns:
        The host to put into the URL; and name → address that the containers must be told.

    Raises:
        ConfigError: it is made out to no fitting name; the message has the lines to set.
    """
    if host in names:
        return host, {}
    kind = "IP" if is_address(host) else "DNS"
    if kind == "IP" and HUB_NAME in names:
        return HUB_NAME, {HUB_NAME: host}
    raise ConfigError(
        "JupyterHub.trusted_alt_names",
        sorted(names),
        f"servers reach the Hub at {host}, for which its certificate is not made out; set "
        f'c.JupyterHub.trusted_alt_names = ["{kind}:{host}"], and for one start, while no server '
        "runs, c.JupyterHub.recreate_internal_certs = True",
    )


def check_certified(
    network: str, own: OwnNetwork | None, beside: bool, use_internal_ip: bool | None
) -> str:
    """How the Hub gets to servers whose certificates it checks: ``published`` or by ``name``.

    Their addresses are known only once they run, when their certificates are made long since.

    Args:
        network: its name.
        own: the network, if the Hub makes it.
        beside: the Hub runs in a container of the same Engine.
        use_internal_ip: the setting of that name.

    Raises:
        ConfigError: there is no such way.
    """
    if beside and use_internal_ip is not False:
        if own is not None or network not in NAMELESS_NETWORKS:
            return "name"
        hint = f"the network {network!r} has no names, and certificates are made out to names; "
        hint += 'set c.DockerNamedSpawner.network_isolation = "user"'
    elif own is not None and own.internal:
        hint = "networks without a way out publish no ports, and a Hub on the host finds servers "
        hint += "by no names; set c.DockerNamedSpawner.internal_network = False"
    elif use_internal_ip:
        hint = "certificates cannot be made out to addresses that containers get later; set "
        hint += "c.DockerNamedSpawner.use_internal_ip = None"
    else:
        return "published"
    raise ConfigError("JupyterHub.internal_ssl", True, hint)


def hub_host_beside(network: str, gateway: str, hub_container: Mapping[str, Any] | None) -> str:
    """What `hub_host` returns of a network that we made, where the Hub's container is as well.

    Args:
        network: its name.
        gateway: address of the Engine's host there, "" where it has none.
        hub_container: as for :func:`own_network`.

    Raises:
        ConfigError: the network has no gateway.
    """
    if hub_container is not None:
        return str(hub_container["Name"]).lstrip("/")
    if not gateway:
        raise _no_gateway(network)
    return gateway


def _gateway(network: str, network_info: Mapping[str, Any]) -> str:
    gateway = gateway_of(network_info)
    if not gateway:
        raise _no_gateway(network)
    return gateway


def gateway_of(network_info: Mapping[str, Any]) -> str:
    """The address of the Engine's host in a network; "" where it has none.

    Args:
        network_info: ``GET /networks/{name}``.
    """
    configs = (network_info.get("IPAM") or {}).get("Config") or []
    # A dual-stack network lists both; IPv4 works on every image.
    for config in sorted(configs, key=lambda config: ":" in str(config.get("Subnet", ""))):
        if config.get("Gateway"):
            return str(config["Gateway"]).partition("/")[0]
        if config.get("Subnet"):
            # Engines before 17 leave the gateway out where they chose it: the first address.
            return str(next(ipaddress.ip_network(config["Subnet"], strict=False).hosts()))
    return ""


def _no_gateway(network: str) -> ConfigError:
    return ConfigError(
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
    at_host = place.host or access.engine_host
    if place.mode == "host":
        return at_host, port
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
            anywhere = host in ALL_INTERFACES
            return (at_host if anywhere else host), at_port
        lack = "no published ports"
    raise ConfigError("network_name", place.mode, f"containers have {lack} there")
