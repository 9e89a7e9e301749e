"""All servers of one user at once: what Hub and Engine say of them, and whether they agree."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from support.hub.client import server_path
from support.hub.dockerview import HUB, SERVER, USER
from support.hub.hubproc import Hub
from support.hub.waiting import eventually

#: ``c.DockerNamedSpawner.hub_id`` of the Hubs that this is used with, one at a time: another worker
#: has another, since a Hub keeps house among all that has its id.
HUB_ID = f"faulty-{secrets.token_hex(3)}"
#: Server → the Engine's call in a first start that it is about: {0} is its container's name.
STARTS = {
    "volume": ("POST", "/volumes/create/{0}." + HUB_ID),
    "create": ("POST", "/containers/create/{0}"),
    "start": ("POST", "/containers/{0}/start"),
    "inspect": ("GET", "/containers/{0}/json"),
}
Calls = Mapping[str, tuple[str, str]]


class ManyServers:
    """The named servers of a user, who exists.

    Attributes:
        starts: see `STARTS`.
        stop: the call that stops a server.
    """

    starts: ClassVar[Calls] = STARTS
    stop = ("POST", "/containers/{0}/stop")

    def __init__(self, hub: Hub, user: str) -> None:
        self.hub, self.user = hub, user

    def container(self, server: str) -> str:
        """The name of a server's container; its volume's ends in ``.HUB_ID``."""
        return f"{self.hub.prefix}-{self.user}--{server}"

    # --- doing

    def each(self, servers: Collection[str], act: Callable[..., Any], *arguments: Any) -> None:
        """Do something with several servers at once: called with the user, the server, and more."""
        with ThreadPoolExecutor(max(1, len(servers))) as pool:
            done = [pool.submit(act, self.user, server, *arguments) for server in servers]
        for one in done:
            one.result()

    def make_files(self, server: str) -> None:
        """A volume as an earlier start would have left it, but for a mark."""
        labels = {HUB: HUB_ID, USER: self.user, SERVER: server, "mark": "as it was"}
        name = f"{self.container(server)}.{HUB_ID}"
        self.hub.docker.client.create_volume(name, labels=labels)

    def remove(self) -> None:
        """Stop and delete all of them; the Engine then has nothing of this user."""

        def named() -> set[str]:
            return self.hub.servers(self.user, stopped=True).keys() - {""}

        def delete(user: str, server: str) -> None:
            answer = self.hub.api("DELETE", server_path(user, server), {"remove": True})
            assert answer.status in (202, 204), answer

        self.each(named(), delete)
        eventually(lambda: not named(), what="all are forgotten")
        self.nothing_is_left()

    # --- looking

    def nothing_is_left(self) -> None:
        """Assert that the Engine has nothing of this user any more."""
        self.hub.docker.nothing_of(self.user)

    def files(self) -> dict[str, Any]:
        """Server → the labels of its volume, on the Engine: a volume made anew has no mark."""
        labels = [volume["Labels"] for volume in self.hub.docker.volumes()]
        return {one[SERVER]: one for one in labels if one[USER] == self.user}

    def agreed(self) -> list[str]:
        """Wait until the Hub is sure of all of them, and right; the names of those that run.

        Each of these then has one container, which runs; and there is no other container.
        """

        def look() -> tuple[dict[str, bool], list[str], list[str]]:
            ready = {name: one["ready"] for name, one in self.hub.servers(self.user).items()}
            there = self.hub.docker.containers(self.user)
            running = [one for one in there if one["State"]["Running"]]
            return ready, _servers(there), _servers(running)

        ready, _, _ = eventually(
            look,
            lambda seen: all(seen[0].values()) and sorted(seen[0]) == seen[1] == seen[2],
            what="the Hub's servers are the Engine's containers",
            every=0.2,
        )
        return sorted(ready)


def _servers(containers: Collection[Any]) -> list[str]:
    return sorted(one["Config"]["Labels"][SERVER] for one in containers)
