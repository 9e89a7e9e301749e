"""Keeping house on an Engine: containers and networks that no server of the Hub stands for.

A Hub that was killed at the wrong moment, or restored from a backup, leaves containers of which it
knows nothing. They are ours by label, and only by label: another Hub's are never looked at.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from .. import naming
from ..backends.base import AskForHub, SeenNetwork, nobody_else
from ..backends.executor import Executor
from ..backends.networks import Networks
from ..backends.observed import ObservedContainer
from ..backends.table import Table
from ..desired.isolation import OwnNetwork
from ..desired.provenance import id_advice, other_hub
from ..desired.resolved import KeptSettings
from ..errors import CallNotAllowed, DockerNamedError
from ..timings import DEFAULT, Timings


@dataclass(frozen=True)
class KnownServer:
    """What the Hub knows of one server.

    Attributes:
        user: raw user name.
        server: raw server name.
        active: it runs, starts, stops or is being looked at, as far as the Hub knows.
        object_id: its container, "" where the Hub knows of none.
        settings: what was kept of its last start's settings; None where nothing was.
        made: value of the label `LABEL_START` → id of the container that its last start made.
    """

    user: str
    server: str
    active: bool
    object_id: str = ""
    settings: KeptSettings | None = None
    made: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Orphan:
    """Something on the Engine that nobody stands for.

    Attributes:
        id: the Engine's.
        what: kind and name, for the log.
        why: what the Hub does not have.
        remove: takes it away.
    """

    id: str
    what: str
    why: str
    remove: Callable[[], Awaitable[None]]


def orphans(
    records: Iterable[ObservedContainer],
    known: Iterable[KnownServer],
    *,
    keep: bool,
    wanted: Callable[[str], bool] = lambda _: False,
) -> list[ObservedContainer]:
    """The containers that this Hub made, and that no server stands for.

    Args:
        records: the containers that have this Hub's label.
        known: all servers of the Hub, running or not.
        keep: stopped containers of stopped servers are kept on purpose, where nothing is known of
            their own settings.
        wanted: see `Table.is_wanted`: what is kept was not stopped then, but has ended by itself.
    """
    servers = {(one.user, one.server): one for one in known}
    # A user can be renamed while the server runs: the labels then say an old name.
    claimed = {one.object_id for one in servers.values() if one.active and one.object_id}
    ours = {one.object_id for one in servers.values()} - {""}
    made = {start: id for one in servers.values() for start, id in one.made.items()}
    found = []
    for record in records:
        one = servers.get((record.user, record.server))
        if record.id in claimed or (one is not None and one.active):
            continue
        if record.id not in ours and not record.provenance("").is_original(made):
            continue
        stopped = not record.running and not wanted(record.id)
        if one is not None and stopped and keeps_container(one, keep):
            continue
        found.append(record)
    return found


def keeps_container(server: KnownServer, default: bool) -> bool:
    """Whether a stopped container of a server is there on purpose: as it was started, or as now."""
    return default if server.settings is None else server.settings.keeps_container


def orphaned_networks(
    networks: Iterable[SeenNetwork], known: Iterable[KnownServer]
) -> list[tuple[SeenNetwork, naming.Key]]:
    """The networks whose labels name a server that is not there, and that server.

    Args:
        networks: of this Hub; those that it made itself are left out, see `unneeded_networks`.
        known: all servers of the Hub, running or not.
    """
    servers = {(one.user, one.server) for one in known}
    labelled = (
        (network, naming.key_of(network.labels))
        for network in networks
        if OwnNetwork.read(network.labels) is None
    )
    return [
        (network, key)
        for network, key in labelled
        if key is not None and (key.user, key.server) not in servers
    ]


def unneeded_networks(
    networks: Iterable[SeenNetwork], known: Iterable[KnownServer], *, of_hub: bool
) -> list[tuple[SeenNetwork, str]]:
    """The networks that this Hub made, and that no running server needs; and whose each was.

    Args:
        networks: of this Hub.
        known: all servers of the Hub, running or not.
        of_hub: the network of all servers of the Hub is kept for the next one.
    """
    active = [one for one in known if one.active]
    found = []
    for network in networks:
        own = OwnNetwork.read(network.labels)
        if own is None or (own.scope == "hub" and of_hub):
            continue
        if own.scope == "hub":
            found.append((network, "servers of the Hub use other networks"))
        elif not any(own.serves(one.user, one.server) for one in active):
            whose = f"server {own.server!r} of " if own.scope == "server" else "any server of "
            found.append((network, f"the Hub does not run {whose}user {own.user!r}"))
    return found


class OrphanReaper:
    """Looks for orphans at the Hub's start and every so often; removes or reports them.

    Args:
        hub: the Hub's id.
        watcher: whose table is searched.
        backend: removes.
        known: asks the Hub for its servers; called in the event loop.
        keep: see `orphans`.
        policy: ``"remove"``, ``"report"`` or ``"off"``, as the setting `orphans`. Whatever it is,
            what servers are still owed is done: files that were to be deleted are.
        grace: seconds that something must have been an orphan before it is touched.
        stop_timeout: seconds between SIGTERM and SIGKILL.
        interval: seconds between two rounds.
        log: where to tell.
        timings: how soon what could not be dealt with is looked at again.
        another_hub_at: asked about the Hub of each orphan: one that lives keeps its containers.
        here: URL of this Hub's API, for the log.
        networks: those that the Hub makes; None: no orphan of their kind is looked for.
        hub_network: see `unneeded_networks`.
    """

    def __init__(
        self,
        hub: str,
        watcher: Table,
        backend: Executor,
        known: Callable[[], Iterable[KnownServer]],
        *,
        keep: bool,
        policy: str,
        grace: float,
        stop_timeout: float,
        interval: float,
        log: logging.Logger,
        timings: Timings = DEFAULT,
        another_hub_at: AskForHub = nobody_else,
        here: str = "",
        networks: Networks | None = None,
        hub_network: bool = True,
    ) -> None:
        self._networks, self._hub_network = networks, hub_network
        self._hub, self._watcher, self._backend, self._known = hub, watcher, backend, known
        self._keep, self._policy, self._stop_timeout = keep, policy, stop_timeout
        self._grace, self._interval, self._log = grace, interval, log
        self._again = max(grace, timings.orphans_again)
        self._since: dict[str, float] = {}
        self._another_hub_at, self._here = another_hub_at, here
        self._living: set[str] = set()  # URLs of other Hubs with our id, which were told
        self._told_networks = False  # that they cannot be listed
        self._refused: set[str] = set()  # ids of what could not be removed, which was told

    async def run(self) -> None:
        """Rounds without end; one that fails is logged."""
        while True:
            await self._watcher.in_sync()
            try:
                waiting = await self.round()
            except DockerNamedError as error:
                self._log.warning("Looking for orphans failed, will try again: %s", error)
                waiting = True
            await asyncio.sleep(self._again if waiting else self._interval)

    async def round(self) -> bool:
        """Look once. True where something was found that is left for now.

        Raises:
            EngineError: the Engine could not be asked.
        """
        now = asyncio.get_running_loop().time()
        groups = await self._find() if self._policy != "off" else ()
        since = {one.id: self._since.get(one.id, now) for group in groups for one in group}
        self._since = since
        self._refused &= since.keys()
        due = [[one for one in group if now - since[one.id] >= self._grace] for group in groups]
        waiting = sum(map(len, due)) < len(since)
        for group in due:
            done = await asyncio.gather(*map(self._deal_with, group))
            waiting = waiting or not all(done)
        if not self._living:
            await self._backend.tidy(self._hub, orphans=self._policy == "remove")
        return waiting

    async def _deal_with(self, orphan: Orphan) -> bool:
        if self._policy == "report":
            self._log.warning("Orphan: %s: %s", orphan.what, orphan.why)
            return True
        level = logging.DEBUG if orphan.id in self._refused else logging.WARNING
        self._log.log(level, "Removing orphan %s: %s", orphan.what, orphan.why)
        try:
            await orphan.remove()
        except DockerNamedError as error:
            self._log.log(level, "Could not remove orphan %s, trying on: %s", orphan.what, error)
            self._refused.add(orphan.id)
            return False
        return True

    async def _find(self) -> tuple[list[Orphan], list[Orphan]]:
        """Containers, and networks, which are free only when the containers are gone."""
        networks = await self._listed_networks()
        living = await self._living_hubs()
        # A network does not say which Hub made it.
        networks = () if living else networks
        unused = await self._unused(networks)
        # The Hub is asked last, and nothing awaited since: what it knows is not outdated.
        known = list(self._known())
        servers = {(one.user, one.server): one for one in known}
        containers = [
            self._orphan(record, servers.get((record.user, record.server)))
            for record in orphans(
                self._watcher.records(), known, keep=self._keep, wanted=self._watcher.is_wanted
            )
            if record.api_url not in living
        ]
        return containers, [
            Orphan(
                network.id,
                f"network {network.name} ({network.id[:12]})",
                f"the Hub has no server {key.server!r} of user {key.user!r}",
                partial(self._backend.discard_network, network.id),
            )
            for network, key in orphaned_networks(networks, known)
        ] + [
            Orphan(network.id, f"network {network.name} ({network.id[:12]})", why, remove)
            for network, why in unneeded_networks(networks, known, of_hub=self._hub_network)
            if (remove := unused.get(network.id)) is not None
        ]

    async def _listed_networks(self) -> Sequence[SeenNetwork]:
        """This Hub's networks; none where a proxy does not let the Hub ask, which is told once."""
        try:
            return await self._backend.networks(self._hub)
        except CallNotAllowed as error:
            if not self._told_networks:
                self._log.warning("Networks of servers that no longer exist stay: %s", error)
            self._told_networks = True
            return ()

    async def _unused(
        self, networks: Iterable[SeenNetwork]
    ) -> dict[str, Callable[[], Awaitable[None]]]:
        """The networks that no container has: id → what removes one, unless it is taken by then."""
        ours = self._networks
        if ours is None:
            return {}
        unneeded = unneeded_networks(networks, self._known(), of_hub=self._hub_network)
        return {
            network.id: partial(ours.remove_unused, network)
            for network, _ in unneeded
            if await ours.unused(network)
        }

    async def _living_hubs(self) -> set[str]:
        """URLs of the other Hubs to which orphans belong, and that answer; each is told once."""
        records = [record for record in self._watcher.records() if record.api_url]
        found = orphans(records, self._known(), keep=self._keep) if records else []
        urls = {record.api_url for record in found}
        living = {url for url in urls if await self._another_hub_at(url)}
        for url in living - self._living:
            self._log.warning(
                "There is %s, beside this one at %s: its containers are left alone; %s",
                other_hub(url),
                self._here,
                id_advice(self._hub),
            )
        self._living = living
        return living

    def _orphan(self, record: ObservedContainer, server: KnownServer | None) -> Orphan:
        """A container, and how it is taken away: as the server that made it was set up."""
        grace, keep = self._stop_timeout, False
        if server is not None:
            keep = keeps_container(server, self._keep)
            grace = server.settings.stop_timeout if server.settings else grace
        return Orphan(
            record.id,
            f"{self._watcher.noun} {record.name} ({record.id[:12]})",
            f"the Hub has no running server {record.server!r} of user {record.user!r}",
            partial(self._backend.discard, record.id, grace=grace, keep=keep),
        )
