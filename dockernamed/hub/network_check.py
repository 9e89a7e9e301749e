"""The networks of the servers, when the Hub starts: what cannot work, and what is left open."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from ..desired.network import NAMELESS_NETWORKS, own_network
from ..errors import ConfigError, DockerNamedError
from ..lifecycle import surroundings
from ..lifecycle.runtime import Runtime
from ..options.unread import OURS
from ..timeouts import within
from . import sample
from .config_types import Fault, literal

PAGE = "see docs/security.md"


async def faults(settings: Any, runtime: Runtime) -> list[str] | None:
    """What cannot work of the settings of networks, as lines for the log.

    Returns:
        None where the Engine did not tell in time: `tell` says it later. Nothing of a Swarm, which
        may still be set up: `swarm_check` tells.
    """
    if runtime.swarm:
        return []
    try:
        return await within(runtime.timings.network_exists, faults_now(settings, runtime))
    except (DockerNamedError, asyncio.TimeoutError):
        return None


async def faults_now(settings: Any, runtime: Runtime) -> list[str]:
    """What `faults` returns, of an Engine that is there.

    Raises:
        DockerNamedError: it could not be asked.
    """
    found = []
    resolver = sample.resolver_of(settings, runtime)
    for setting, name in _named(settings):
        try:
            info = await runtime.network(name, setting)
            resolver.check_network(setting, name, info)
        except ConfigError as error:
            if error.field != setting:
                raise  # the way to the Engine, which its watcher tells of
            found.append(line_of(setting, name, error.hint))
    try:
        await resolver.scope()
    except ConfigError as error:
        found.append(line_of(error.field, error.value, error.hint))
    return found


def line_of(setting: str, value: object, hint: str) -> str:
    """What cannot work, as a line for the log."""
    return str(Fault(f"c.{OURS}.{setting}", literal(value), hint))


def _named(settings: Any) -> Iterable[tuple[str, str]]:
    """The networks that must be there, each with the setting that names it."""
    named = [("network_name", settings.network_name)]
    named += [("networks", name) for name in settings.networks]
    for setting, name in named:
        if name and name not in NAMELESS_NETWORKS and not any(sign in name for sign in "{:"):
            yield setting, name


async def tell(
    settings: Any,
    runtime: Runtime,
    log: logging.Logger,
    hub_ports: Iterable[int],
    *,
    checked: bool,
    metadata: tuple[str, int] = surroundings.METADATA,
    ports_here: Callable[[], list[int]] = surroundings.ports_here,
) -> None:
    """Once the Engine is there, say once what keeps nobody apart, and what containers may reach.

    Args:
        settings: of the Hub's configuration.
        runtime: the Engine.
        log: where.
        hub_ports: at which the Hub and its proxy listen for all.
        checked: `faults` has told what there is to tell.
        metadata: where the cloud answers, if there is one.
        ports_here: finds the TCP ports that are open to all.
    """
    await runtime.watcher.in_sync()
    try:
        for line in () if checked else await faults_now(settings, runtime):
            log.error("No server can be started: %s", line)
        await _tell_of_isolation(settings, runtime, log)
        here = await runtime.hub_container()
    except DockerNamedError as error:
        log.warning("It is not known whether servers are kept apart: %s", error)
        return
    if runtime.engine_is_local and here is None:
        ports = sorted({*await asyncio.to_thread(ports_here)} - {*hub_ports})
        if ports:
            log.info(
                "Unless a firewall forbids it, servers can connect to these TCP ports of the host: "
                "%s (%s)",
                ", ".join(map(str, ports)),
                PAGE,
            )
    if runtime.engine_is_local and await surroundings.answers(metadata, runtime.timings.metadata):
        log.warning(
            "The cloud's metadata service answers at %s: unless a firewall forbids it, servers can "
            "ask it for this machine's credentials (%s for the line that does)",
            metadata[0],
            PAGE,
        )


async def _tell_of_isolation(settings: Any, runtime: Runtime, log: logging.Logger) -> None:
    try:
        scope = await sample.resolver_of(settings, runtime).scope()
    except ConfigError:
        return  # told already
    here = await runtime.hub_container()
    if scope == "none" and here is not None and settings.network_isolation is None:
        log.info(
            "The servers of all users share the network %s with the Hub's container, and can reach "
            'each other there: set c.DockerNamedSpawner.network_isolation = "user" to keep users '
            "apart (%s)",
            settings.network_name or own_network(here) or "bridge",
            PAGE,
        )
    if scope == "hub" and (why := await _without_firewall(runtime)):
        log.warning(
            "Servers of different users are NOT kept apart: the Engine cannot do that, since %s. "
            'Change that, or set c.DockerNamedSpawner.network_isolation = "user" (%s)',
            why,
            PAGE,
        )


async def _without_firewall(runtime: Runtime) -> str:
    words, config = list[str](), ""
    if runtime.engine.base_url.startswith("unix://"):
        words, config = await asyncio.to_thread(surroundings.dockerd_of, runtime.engine.base_url)
    return surroundings.without_firewall(await runtime.engine.info(), words, config)


def before_start(
    settings: Any,
    runtime: Runtime,
    end: Callable[[list[str]], None],
    later: Callable[[bool], None],
) -> Callable[[], Awaitable[None]]:
    """A check to be awaited before the Hub listens.

    Args:
        settings: of the Hub's configuration.
        runtime: the Engine.
        end: ends the Hub, for these reasons.
        later: called with whether all was checked; has `tell` told.
    """

    async def check() -> None:
        found = await faults(settings, runtime)
        if found:
            await runtime.close()
            end(found)
        later(found is not None)

    return check
