"""A fake Engine and a Hub over it that live and die as a test says, seen from both sides.

It does what JupyterHub's handlers and its start do around the spawners, and checks what must be so
whatever has happened before.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from tornado import web

from dockernamed import DockerNamedSpawner, naming
from dockernamed.hub.identity import derived_hub_id
from dockernamed.hub.ownership import servers_of
from dockernamed.lifecycle.orphans import OrphanReaper
from dockernamed.lifecycle.runtime import Runtime
from dockernamed.timings import Timings
from support.engine.watching import eventually
from support.estate import Thing, estate_of
from support.fake_engine import FakeEngine
from support.stage import IMAGE, Late, late, reached
from support.stub_hub import LOG, SECRET, Hub, close_runtimes, end_tasks

HUB_ID = derived_hub_id(SECRET)
#: How many a Swarm has.
NODES = 3
Work = Coroutine[Any, Any, None]


@dataclass(eq=False)
class Server:
    """What a user knows of one server.

    Attributes:
        user: whose.
        name: its name now.
        volume: name of the volume that has its files, "" as long as it never ran.
        labels: of that volume: one that was made anew has others.
    """

    user: str
    name: str
    volume: str = ""
    labels: dict[str, str] = field(default_factory=dict)

    @property
    def key(self) -> naming.Key:
        """Who it is now."""
        return naming.Key(HUB_ID, self.user, self.name)


class World:
    """An Engine, a Hub, and servers. What has to wait goes on while other things happen.

    Args:
        remove: as the setting.
        timings: of the Hub.
        swarm: servers are services of a Swarm that the Engine manages.

    Attributes:
        estate: what there is of servers.
        up: the Engine can be reached.
        deaf: its events are lost, and nobody can tell.
        lost: the node that the Swarm has lost, or "".
        held: calls that the Engine does nothing about until `release`.
        pending: what is under way, and for whom.
    """

    def __init__(self, *, remove: bool, timings: Timings, swarm: bool = False) -> None:
        self.remove = remove
        self.fake = FakeEngine()
        self.fake.__enter__()
        self.fake.add_image(IMAGE, {"WorkingDir": "/work"})
        if swarm:
            self.fake.init_swarm(NODES)
        self.estate = estate_of(self.fake, swarm=swarm)
        self.hub = Hub(self.fake.url, timings, swarm=swarm, remove=remove)
        self.servers: list[Server] = []
        self.up, self.deaf, self.lost = True, False, ""
        self.held: list[Late] = []
        self.pending: dict[asyncio.Task[None], Server] = {}

    async def close(self) -> None:
        """End everything."""
        self.fake.well_again()
        await close_runtimes()
        await end_tasks()
        self.hub.close()
        self.fake.close()

    # --- looking ---------------------------------------------------------------------------

    @property
    def calm(self) -> bool:
        """Nothing stands in the way of anything, or is under way."""
        return self.well and not self.pending

    @property
    def well(self) -> bool:
        """Nothing stands in the way of anything."""
        return self.up and not (self.deaf or self.held or self.lost)

    @property
    def rooms(self) -> Runtime:
        """The Hub's view of the Engine; made when the Hub starts."""
        spawner: DockerNamedSpawner = self.hub.spawner_class(config=self.hub.settings["config"])
        return spawner.runtime(HUB_ID)

    def spawner(self, server: Server) -> DockerNamedSpawner:
        """Of a server."""
        return self.hub.spawner(server.name, server.user)

    def idle(self, *, active: bool) -> list[Server]:
        """Servers that run, or do not, and that nobody is busy with."""
        free = [one for one in self.servers if one not in self.pending.values()]
        return [one for one in free if bool(self.spawner(one).active) is active]

    def find(self, user: str, name: str) -> Server | None:
        """The server of this name, or None."""
        found = (one for one in self.servers if (one.user, one.name) == (user, name))
        return next(found, None)

    def things(self, server: Server) -> list[Thing]:
        """The containers or services of a server, by their labels."""
        return [one for one in self.estate.things() if naming.key_of(one.labels) == server.key]

    def running(self, server: Server) -> list[Thing]:
        """Those that run."""
        return [one for one in self.things(server) if one.processes]

    # --- what users do ---------------------------------------------------------------------

    async def start(self, server: Server) -> None:
        """Start a server; only an Engine in trouble is a reason to fail."""
        well = self.well
        with contextlib.nullcontext() if well else contextlib.suppress(web.HTTPError):
            await self.hub.spawn(server.name, server.user)
            self._runs(server)

    async def stop(self, server: Server) -> None:
        """Stop a server."""
        await self.hub.stop(server.name, server.user)

    async def delete(self, server: Server) -> None:
        """Delete a server for good, and its files."""
        well = self.well
        volume, server.volume, server.labels = server.volume, "", {}
        await self.hub.delete(server.name, server.user)
        self.servers.remove(server)
        if well:
            others = {one.volume for one in self.servers}
            volumes = self.estate.volumes()
            owned = {name for name in volumes if naming.key_of(volumes[name]) == server.key}
            assert self.things(server) == []
            assert volume not in volumes
            assert owned <= others

    async def rename(self, server: Server, name: str) -> None:
        """Give a server another name."""
        await self.hub.rename(server.name, name, server.user)
        server.name = name

    async def do(self, server: Server, work: Work, *, always: bool = False) -> None:
        """Do something: to its end if it can come to one now, or ``always`` can."""
        task = asyncio.ensure_future(work)
        self.pending[task] = server
        if self.up or always:
            await self._over(task)

    async def do_slowly(
        self, server: Server, work: Work, call: tuple[str, str], *, kill: bool
    ) -> None:
        """Do something, and have the Engine hold back a call on the way, if it comes to that.

        Args:
            server: which.
            work: what is done.
            call: what is held back.
            kill: the Hub meanwhile.
        """
        if not self.up:
            await self.do(server, work)
            return
        fault = late(self.fake, *call)
        task = asyncio.ensure_future(work)
        self.pending[task] = server
        meeting = asyncio.ensure_future(reached(fault))
        await asyncio.wait({task, meeting}, return_when=asyncio.FIRST_COMPLETED)
        if fault.hits:
            self.held.append(fault)
        else:
            self.fake.gate.faults.remove(fault)
            fault.reached.set()
            await self._over(task)
        await meeting
        if kill and self.held:
            await self.kill_hub()

    async def release(self) -> None:
        """The Engine does what it held back."""
        for fault in self.held:
            fault.release()
        await eventually(lambda: all(one.done for one in self.held))
        await eventually(lambda: not self._changing())
        self.held.clear()
        if self.up:
            await self._finish()

    async def _finish(self) -> None:
        for task in list(self.pending):
            await self._over(task)

    async def _over(self, task: asyncio.Task[None]) -> None:
        await asyncio.wait_for(asyncio.shield(task), 60)
        del self.pending[task]

    # --- what happens ----------------------------------------------------------------------

    async def end(self, server: Server, how: Callable[[Thing], None]) -> None:
        """A server's container or service ends; the Hub notices, unless it cannot."""
        for thing in self.running(server):
            how(thing)
        if self.up and not self.deaf:
            await eventually(lambda: not self.spawner(server).active)

    async def go_down(self) -> None:
        """The Engine cannot be reached any more."""
        self.fake.down()
        self.up = False
        await eventually(lambda: not self.rooms.watcher.connected)

    async def come_up(self) -> None:
        """It can be reached again."""
        self.fake.up()
        self.up = True
        await asyncio.wait_for(self.rooms.watcher.in_sync(), 30)
        await self._noticed()
        await self._finish()

    def lose_events(self) -> None:
        """What happens from now on is told to nobody."""
        self.fake.lose_events()
        self.deaf = True

    async def resync(self, how: str) -> None:
        """The event stream ends and is taken up again; then the Hub sees what there is."""
        self.fake.lose_events(False)
        watcher, disconnects = self.rooms.watcher, self.rooms.watcher.disconnects
        self.fake.lose_streams(how)
        await eventually(lambda: watcher.disconnects > disconnects and watcher.connected)
        self.deaf = False
        # One list has been read, and no further one will be. What it has told of deaths, the Hub
        # may be about to clear away, which the Engine knows a moment before the Hub.
        await eventually(lambda: not self._unseen())
        await self._noticed()

    async def lose_node(self, name: str) -> None:
        """A node of the Swarm is lost: the Hub notices, and what runs there runs on meanwhile."""
        await asyncio.to_thread(self.fake.swarm.lose, name)
        self.lost = name

    async def find_node(self) -> None:
        """It is back."""
        self.fake.swarm.find(self.lost)
        self.lost = ""
        await eventually(lambda: not self._changing())

    async def restart_hub(self) -> None:
        """Stop the Hub, which lets servers run, and start it."""
        await self.hub.restart()
        await self.hub_starts()

    async def kill_hub(self) -> None:
        """Kill -9 of the Hub, in the middle of whatever it does; then start it."""
        self.pending.clear()
        await self.hub.kill()
        await self.hub_starts()

    async def hub_starts(self) -> None:
        """It looks for the servers that it knew when it ended."""
        watcher = self.rooms.watcher
        if self.up:
            await asyncio.wait_for(watcher.in_sync(), 30)
        for server in self.servers:
            await self.do(server, self._check(server))

    async def _check(self, server: Server) -> None:
        """As JupyterHub does at its start."""
        spawner = self.spawner(server)
        if spawner.server is None:
            return
        spawner._check_pending = True
        status = await spawner.poll()
        if status is None:
            await spawner.get_url()
            spawner._check_pending = False
            self._runs(server)
        else:
            await self.hub.stop(server.name, server.user)

    def _runs(self, server: Server) -> None:
        """As the Hub does once a server runs; from now on its volume has its files."""
        spawner = self.spawner(server)

        async def stopped() -> None:
            await self.hub.stop(server.name, server.user)

        spawner.add_poll_callback(stopped)
        spawner.start_polling()
        for thing in self.running(server):
            (name,) = thing.volumes
            if not server.volume:
                assert name not in {one.volume for one in self.servers}
                server.volume, server.labels = name, self.estate.volumes()[name]
            assert server.volume == name, f"{server} is without its files"

    # --- what must be so -------------------------------------------------------------------

    def check(self) -> None:
        """What must be so at any moment."""
        volumes = self.estate.volumes()
        for server in self.servers:
            assert sum(one.processes for one in self.running(server)) <= 1
            if server.volume:
                assert server.volume in volumes, f"the files of {server} are lost"
                assert volumes[server.volume] == server.labels

    async def check_calm(self) -> None:
        """What must be so when all is well and nothing is under way."""
        await eventually(lambda: not self._unseen())
        await self._noticed()
        keeper = OrphanReaper(
            HUB_ID, self.rooms.watcher, self.rooms.backend, self._known, keep=not self.remove,
            policy="remove", grace=0, stop_timeout=1, interval=0, log=LOG,
            networks=self.rooms.networks, hub_network=False,
        )  # fmt: skip
        await keeper.round()
        await eventually(lambda: not self._unseen())
        await self._noticed()
        left = {one.id for one in self.estate.things()}
        for server in self.servers:
            spawner = self.spawner(server)
            active = bool(spawner.active)
            assert (await spawner.poll() is None) is active
            assert [one.id for one in self.running(server)] == [spawner.object_id] * active
            mine = {one.id for one in self.things(server)}
            assert len(mine) <= 1
            if active or not self.remove:
                left -= mine
        assert not left, "orphans"

        await self._tidy(keeper)

    async def _tidy(self, keeper: OrphanReaper) -> None:
        deadline = asyncio.get_running_loop().time() + 60
        while left := self.estate.leftovers():
            assert asyncio.get_running_loop().time() < deadline, f"left behind: {left}"
            # What took too long since the last round was put off until the next one, which finds
            # networks whose last orphan has gone as well.
            if any(one.startswith(("promise ", "network ")) for one in left):
                await keeper.round()
            await asyncio.sleep(0.005)

    async def _noticed(self) -> None:
        """The Hub has done about deaths what it does."""

        def still() -> bool:
            return not self._changing() and not any(map(self._dead, self.servers))

        await eventually(still)

    def _changing(self) -> set[str]:
        """What will soon be another; what runs on a node that is lost does not change."""
        return set() if self.lost else self.estate.changing()

    def _dead(self, server: Server) -> bool:
        free = server not in self.pending.values()
        return free and bool(self.spawner(server).active) and not self.running(server)

    def _known(self) -> Any:
        users = {user.id: user for user in self.hub.users.values()}
        return servers_of(SimpleNamespace(db=self.hub.db, users=users))

    def _unseen(self) -> set[tuple[str, str]]:
        """Containers or services and their states that the Hub does not see as they are.

        What it starts itself just now counts as new for it, also where it was kept.
        """
        busy = {one.key for one in self.pending.values()}
        seen = {(one.id, self.estate.state(one)) for one in self.rooms.watcher.records()}
        things = self.estate.things()
        there = {(one.id, one.state) for one in things}
        owners = {one.id: naming.key_of(one.labels) for one in things}
        return {(id, state) for id, state in seen ^ there if owners.get(id) not in busy}
