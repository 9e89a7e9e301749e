"""The Swarm, when the Hub starts: what keeps servers from running there, and what to do about it.

Nothing of it ends the Hub: nodes come back, and managers are promoted, while it runs.
"""

from __future__ import annotations

import asyncio
import logging
import platform
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..desired.hardening import OFF
from ..desired.network import ALL_INTERFACES, is_loopback
from ..desired.service_extra import checked_extra
from ..desired.services import api_of, left_out
from ..desired.swarm_network import LABEL_SERVICE_ID, LABEL_SERVICE_NAME, is_of_service, networks_of
from ..engine.swarm import Swarm
from ..errors import ConfigError, DockerNamedError, EngineTimeout, EngineUnavailable
from ..lifecycle import swarm_settings
from ..lifecycle.runtime import Runtime
from ..lifecycle.swarm_resolver import SwarmResolver
from ..options.overrides import given_anywhere
from . import network_check, sample, swarm_body_check
from .config_types import Fault, literal

#: What the kernel's balancer shows once it is there, and where its module would come from.
IPVS = Path("/proc/net/ip_vs")
MODULES = Path("/lib/modules")
VIP = "vip"


async def tell(
    settings: Any, runtime: Runtime, log: logging.Logger, *, hub: Any, secure: bool = False
) -> None:
    """Say once what is wrong with the Swarm.

    Args:
        settings: of the Hub's configuration: a spawner without a user.
        runtime: the Engine.
        log: where.
        hub: JupyterHub's object with the addresses of the Hub.
        secure: the setting ``JupyterHub.internal_ssl``.
    """
    settings.internal_ssl = secure
    try:
        problem = of_membership(await runtime.membership())
    except (EngineUnavailable, EngineTimeout):
        problem = ""  # its watcher tells
    if problem:
        log.error("No server can be started: %s", problem)
    await runtime.watcher.in_sync()
    try:
        for line in await _faults(settings, runtime, hub):
            log.error("No server can be started: %s", line)
        await _of_api(settings, runtime, log)
        await _tell(settings, runtime, log)
    except DockerNamedError as error:
        log.warning("It is not known whether all of the Swarm works: %s", error)


async def _faults(settings: Any, runtime: Runtime, hub: Any) -> list[str]:
    """What no start could get over: the networks, and how Hub and servers find each other."""
    found = await network_check.faults_now(settings, runtime)
    if found or any("{" in name for name in (settings.network_name, *settings.networks)):
        return found
    resolver = sample.resolver_of(settings, runtime)
    assert isinstance(resolver, SwarmResolver), "resolver_class of a spawner in a Swarm is one"
    try:
        place = await resolver.place()
        await resolver.check_extra()
        told = settings.hub_connect_url or hub.connect_ip or hub.connect_url
        if not told and hub.ip in ALL_INTERFACES:
            await resolver.hub_host(place)
    except ConfigError as error:
        if error.field.startswith("JupyterHub."):
            return [str(Fault(f"c.{error.field}", literal(error.value), error.hint))]
        return [network_check.line_of(error.field, error.value, error.hint)]
    return []


async def _of_api(settings: Any, runtime: Runtime, log: logging.Logger) -> None:
    """Tell what services of this Engine's version cannot have."""
    api = api_of(await runtime.engine.api_version())
    for error in swarm_body_check.problems(settings, sample.fields_of(settings), api):
        line = network_check.line_of(error.field, error.value, error.hint)
        log.error("No server can be started: %s", line)
    for note in left_out(api) if settings.hardening != OFF else ():
        log.warning("Servers are less hardened in the Swarm: %s", note)


async def _tell(settings: Any, runtime: Runtime, log: logging.Logger) -> None:
    swarm = Swarm(runtime.engine)
    nodes = await swarm.list_nodes()
    here = await runtime.hub_container()
    for problem in of_nodes(nodes, published=here is None):
        log.warning("The Swarm: %s", problem)
    resources = _resources(settings)
    for problem in of_resources(nodes, resources):
        log.warning("The Swarm: %s", problem)
    if resources and await _has_own_networks(settings, runtime):
        log.error("The Swarm: %s", of_own_networks(resources))
    for problem in await _of_network(settings, runtime, here):
        log.error("The Swarm: %s", problem)
    for problem in await _of_balancer(settings, runtime, swarm, here):
        log.error("The Swarm: %s", problem)
    if len(nodes) > 1 and not settings.prepull:
        log.info(
            "The Swarm: each of the %s nodes pulls an image when it first runs it, within "
            "start_timeout = %s seconds; with c.DockerNamedSpawner.prepull = True they all pull "
            "when the Hub starts",
            len(nodes),
            settings.start_timeout,
        )


# --- the Engine's own part ---------------------------------------------------------------------


def of_membership(swarm: Mapping[str, Any]) -> str:
    """Why an Engine cannot run services, and what to do about it; "" if it can.

    Args:
        swarm: ``Swarm`` of ``GET /info``.
    """
    state = str(swarm.get("LocalNodeState") or "inactive")
    if state == "locked":
        return "the Swarm is locked on this node; unlock it: docker swarm unlock"
    if state != "active":
        why = f" ({swarm['Error']})" if swarm.get("Error") else ""
        return (
            f"the Engine is in no Swarm, its state there is {state!r}{why}; make one: docker swarm "
            "init --advertise-addr <this machine's address>; or servers run on this Engine alone "
            'with c.JupyterHub.spawner_class = "dockernamed"'
        )
    if swarm.get("ControlAvailable"):
        return ""
    managers = ", ".join(str(one.get("Addr")) for one in swarm.get("RemoteManagers") or ())
    return (
        "the Engine is a worker of its Swarm, and only managers start services; on a manager "
        f"({managers or 'none is known here'}) run docker node promote {swarm.get('NodeID')}, or "
        'set c.DockerNamedSpawner.client_kwargs = {"base_url": ...} to the Engine of a manager'
    )


# --- the nodes ---------------------------------------------------------------------------------


def of_nodes(nodes: Iterable[Mapping[str, Any]], *, published: bool) -> Iterator[str]:
    """What is wrong with the nodes of a Swarm.

    Args:
        nodes: ``GET /nodes``.
        published: the Hub reaches servers at the addresses of their nodes.
    """
    nodes = list(nodes)
    usable = 0
    for node in nodes:
        name, status = _name(node), node.get("Status") or {}
        state, availability = status.get("State"), (node.get("Spec") or {}).get("Availability")
        usable += state == "ready" and availability == "active"
        if state != "ready":
            said = f" ({status['Message']})" if status.get("Message") else ""
            yield (
                f"node {name} is {state}{said}, so that no server runs there: start Docker on it, "
                f"or if it is gone for good, docker node rm --force {name}"
            )
        elif availability != "active":
            yield (
                f"node {name} takes no servers, its availability is {availability!r}: docker node "
                f"update --availability active {name}"
            )
        address = str(status.get("Addr") or "")
        if published and (address in ALL_INTERFACES or is_loopback(address)):
            yield (
                f"node {name} has the address {address or 'none'!r} in the Swarm, at which nobody "
                "reaches its servers: have it leave and join again with --advertise-addr <its "
                "address>"
            )
    if nodes and not usable:
        yield "no node takes servers: docker node ls shows why"
    yield from _of_managers(nodes)


def _of_managers(nodes: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    managers = {_name(one): one["ManagerStatus"] for one in nodes if one.get("ManagerStatus")}
    for name, status in managers.items():
        if status.get("Reachability") not in ("reachable", None):
            yield (
                f"manager {name} is {status.get('Reachability')}: start Docker on it; until then "
                "the Swarm may be without a leader when another manager is lost"
            )
    if len(managers) == 2:
        yield (
            "it has two managers, and cannot start or stop anything when one of them is lost, "
            f"which is worse than one: docker node promote a third node, or docker node demote "
            f"{max(managers)}"
        )


def of_resources(nodes: Iterable[Mapping[str, Any]], wanted: Iterable[str]) -> Iterator[str]:
    """Which generic resources no node offers.

    Args:
        nodes: ``GET /nodes``.
        wanted: their names.
    """
    offered = set()
    for node in nodes:
        resources = (node.get("Description") or {}).get("Resources") or {}
        for one in resources.get("GenericResources") or ():
            offered |= {str(spec.get("Kind")) for spec in one.values()}
    for name in sorted({*wanted} - offered):
        yield (
            f"no node offers the generic resource {name!r}, for which servers would wait in vain; "
            f'the nodes offer {", ".join(sorted(offered)) or "none"}: write "node-generic-'
            f'resources": ["{name}=..."] into the /etc/docker/daemon.json of a node and restart '
            "Docker there"
        )


def of_own_networks(wanted: Iterable[str]) -> str:
    """What becomes of servers with generic resources where users or servers have networks.

    Swarm's managers look at the tasks of a node whenever it changes, as it does with its first task
    of a network and after its last one, and take what a task reserves for missing if it is there.

    Args:
        wanted: the names of the resources.
    """
    return (
        f"servers reserve {', '.join(wanted)}, and have networks of their own: a Swarm ends all "
        "servers with generic resources of a node when it gets its first server of a network or "
        "loses the last one; set c.DockerNamedSpawner.network_name to one network for all "
        "servers, and keep it on all nodes by a service (docs/swarm.md)"
    )


async def _has_own_networks(settings: Any, runtime: Runtime) -> bool:
    """Whether networks are made for users or servers."""
    with suppress(ConfigError):  # told as a fault
        return (await sample.resolver_of(settings, runtime).place()).own is not None
    return False


def _resources(settings: Any) -> list[str]:
    """The generic resources that the settings and all overrides name."""
    values = given_anywhere(settings, swarm_settings.RESOURCES)
    found = {str(name) for value in values for name in value or ()}
    # What a user types is not known yet.
    return sorted(name for name in found if "{value}" not in name)


def _name(node: Mapping[str, Any]) -> str:
    return str((node.get("Description") or {}).get("Hostname") or node.get("ID"))


# --- networks ----------------------------------------------------------------------------------


async def _of_network(settings: Any, runtime: Runtime, here: Mapping[str, Any] | None) -> list[str]:
    """Whether the Hub's container can get into the network of the servers."""
    name = settings.network_name
    if here is None or not name or "{" in name or name in networks_of(here):
        return []
    try:
        info = await runtime.network(name)
    except ConfigError:
        return []  # told by the check of networks
    if info.get("Attachable") or is_of_service(here):
        return []
    return [
        f"the network {name} is not attachable, so that the Hub's container cannot join it: docker "
        f"network rm {name}; docker network create --driver overlay --attachable {name}"
    ]


async def _of_balancer(
    settings: Any, runtime: Runtime, swarm: Swarm, here: Mapping[str, Any] | None
) -> list[str]:
    """Whether virtual addresses connect, where the Hub runs on one of the nodes."""
    if not runtime.engine_is_local or await asyncio.to_thread(has_ipvs):
        return []
    lacks = "the kernel of this node shows no IPVS (/proc/net/ip_vs is missing), without which "
    found = []
    if VIP in _endpoint_modes(settings):
        found.append(
            f"{lacks}virtual addresses do not connect: set c.DockerNamedSpawner.endpoint_mode = "
            '"dnsrr", or run modprobe ip_vs on each node'
        )
    labels = ((here or {}).get("Config") or {}).get("Labels") or {}
    if LABEL_SERVICE_ID in labels:
        spec = (await swarm.inspect_service(labels[LABEL_SERVICE_ID])).get("Spec") or {}
        if (spec.get("EndpointSpec") or {}).get("Mode", VIP) == VIP:
            found.append(
                f"{lacks}servers do not connect to the Hub at the virtual address of its service: "
                "docker service update --endpoint-mode dnsrr "
                f"{labels[LABEL_SERVICE_NAME]} (deploy: endpoint_mode: dnsrr in a stack file)"
            )
    return found


def _endpoint_modes(settings: Any) -> set[str]:
    """How the names of servers are resolved, by the settings and all overrides."""
    found = given_anywhere(settings, "endpoint_mode")
    for extra in given_anywhere(settings, swarm_settings.EXTRA):
        endpoint = checked_extra(extra or {}).get("EndpointSpec")
        found.append((endpoint or {}).get("Mode"))
    return {str(mode).lower() for mode in found}


def has_ipvs(
    table: Path = IPVS, modules: Path = MODULES, release: str = platform.release()
) -> bool:
    """Whether the kernel has IPVS, or its module can be loaded, as far as that can be seen here.

    Args:
        table: is there once it is loaded, in every container as well.
        modules: where modules are.
        release: of the kernel.
    """
    if table.exists():
        return True
    texts = []
    for name in ("modules.dep", "modules.builtin"):
        with suppress(OSError):
            texts.append((modules / release / name).read_text(errors="replace"))
    return any("/ip_vs.ko" in text for text in texts)
