"""Any lives of several servers, on an Engine and in a Hub that come and go meanwhile.

Whatever happens, in whatever order: a server has at most one running container or service, and
its volume with its files until it is deleted; and once all is well, the Hub sees what the Engine
has, and the Engine has nothing that the Hub does not know of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)
from support.stage import (
    CONFIG_CREATE,
    CONFIG_LIST,
    CONFIG_REMOVE,
    CONFIG_UPDATE,
    CREATE,
    INSPECT,
    QUICK,
    REMOVE,
    SECRET_CREATE,
    SECRET_REMOVE,
    SERVICE_CREATE,
    SERVICE_INSPECT,
    SERVICE_REMOVE,
    SERVICE_UPDATE,
    START,
    STOP,
    VOLUME_CREATE,
    VOLUME_LIST,
    VOLUME_REMOVE,
)
from support.world import NODES, Server, World

T = TypeVar("T")

#: Pairs that are one text when joined, or when case is folded.
USERS = ["a", "a-b"]
NAMES = ["", "c", "b-c", "A", "a"]
WHICH = st.integers(0, 100)
TIMINGS = replace(QUICK, news_of_end=0.1, empty_volume_at_once=0.5)


Calls = Sequence[tuple[str, str]]


class Lives(RuleBasedStateMachine):
    """What can happen to containers.

    Attributes:
        swarm: servers are services of a Swarm.
        count: how many lives are tried.
        starting: the calls of a start that are held back; likewise of a stop and of a deletion.
    """

    swarm = False
    count = 30
    starting: Calls = (VOLUME_CREATE, CREATE, START, INSPECT)
    stopping: Calls = (STOP, REMOVE)
    deleting: Calls = (REMOVE, VOLUME_LIST, VOLUME_REMOVE)

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Let it all go on until some work is done."""
        return self.loop.run_until_complete(work)

    def idle(self, *, active: bool) -> list[Server]:
        """Servers that run, or do not, and that nobody is busy with."""

        async def look() -> list[Server]:
            return self.world.idle(active=active)

        return self.run(look())

    def one(self, which: int, *, active: bool) -> list[Server]:
        """One of them, if there is any."""
        found = self.idle(active=active)
        return found and [found[which % len(found)]]

    @initialize(remove=st.booleans())
    def begin(self, remove: bool) -> None:
        async def make() -> World:
            world = World(remove=remove, timings=TIMINGS, swarm=self.swarm)
            await world.hub_starts()
            return world

        self.world = self.run(make())
        for user, name in [("a", "b-c"), ("a-b", "c"), ("a", "A")]:
            self.new(user, name)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.run(self.world.close())
        self.run(self.loop.shutdown_asyncgens())
        self.loop.close()

    # --- users -----------------------------------------------------------------------------

    @rule(user=st.sampled_from(USERS), name=st.sampled_from(NAMES))
    def new(self, user: str, name: str) -> None:
        if self.world.find(user, name) is None:
            server = Server(user, name)
            self.world.servers.append(server)
            self.run(self.world.do(server, self.world.start(server), always=True))

    @rule(which=WHICH)
    def start_or_stop(self, which: int) -> None:
        running, stopped = self.idle(active=True), self.idle(active=False)
        for server in [*running, *stopped][which % max(1, len(running + stopped)) :][:1]:
            if server in running:
                self.run(self.world.do(server, self.world.stop(server)))
            else:
                self.run(self.world.do(server, self.world.start(server), always=True))

    @rule(which=WHICH)
    def delete(self, which: int) -> None:
        for server in self.one(which, active=False):
            if server.name:
                self.run(self.world.do(server, self.world.delete(server)))

    @rule(which=WHICH, name=st.sampled_from(NAMES))
    def rename(self, which: int, name: str) -> None:
        for server in self.one(which, active=False):
            if self.world.up and name and self.world.find(server.user, name) is None:
                self.run(self.world.do(server, self.world.rename(server, name)))

    # --- the same, while the Engine holds a call back --------------------------------------

    @rule(which=WHICH, call=WHICH, kill=st.booleans())
    def start_slowly(self, which: int, call: int, kill: bool) -> None:
        held = self.starting[call % len(self.starting)]
        for server in self.one(which, active=False):
            self.run(self.world.do_slowly(server, self.world.start(server), held, kill=kill))

    @rule(which=WHICH, call=WHICH, kill=st.booleans())
    def stop_slowly(self, which: int, call: int, kill: bool) -> None:
        held = self.stopping[call % len(self.stopping)]
        for server in self.one(which, active=True):
            self.run(self.world.do_slowly(server, self.world.stop(server), held, kill=kill))

    @rule(which=WHICH, call=WHICH, kill=st.booleans())
    def delete_slowly(self, which: int, call: int, kill: bool) -> None:
        held = self.deleting[call % len(self.deleting)]
        for server in self.one(which, active=False):
            if server.name:
                self.run(self.world.do_slowly(server, self.world.delete(server), held, kill=kill))

    @rule()
    def release(self) -> None:
        self.run(self.world.release())

    # --- what else happens -----------------------------------------------------------------

    @rule(which=WHICH, how=st.sampled_from(["die", "remove"]))
    def end(self, which: int, how: str) -> None:
        for server in self.one(which, active=True):
            self.run(self.world.end(server, getattr(self.world.estate, how)))

    @rule()
    def down_or_up(self) -> None:
        """The Engine cannot be reached any more, or can be again."""
        if not self.world.up:
            self.run(self.world.come_up())
        elif not self.world.held:
            self.run(self.world.go_down())

    @rule(how=st.sampled_from(["end", "abort"]))
    def deaf_or_resync(self, how: str) -> None:
        """Events are lost, unnoticed; or the stream ends, which is noticed."""
        if not self.world.deaf:
            self.world.lose_events()
        elif self.world.up:
            self.run(self.world.resync(how))

    @rule(how=st.sampled_from(["end", "abort"]))
    def cut(self, how: str) -> None:
        if self.world.up:
            self.run(self.world.resync(how))

    @rule()
    def restart_hub(self) -> None:
        if not self.world.pending:
            self.run(self.world.restart_hub())

    @rule()
    def kill_hub(self) -> None:
        self.run(self.world.kill_hub())

    # --- what must be so -------------------------------------------------------------------

    @invariant()
    def nothing_is_lost(self) -> None:
        self.world.check()

    @invariant()
    def all_is_well(self) -> None:
        if self.world.calm:
            self.run(self.world.check_calm())


class ServiceLives(Lives):
    """The same of services."""

    swarm = True
    count = 15  # each asks three times as much of the fake Engine
    starting = (CONFIG_CREATE, SERVICE_CREATE, SECRET_CREATE, SERVICE_UPDATE, SERVICE_INSPECT)
    stopping = (SERVICE_INSPECT, SERVICE_UPDATE, SECRET_REMOVE, SERVICE_REMOVE)
    deleting = (SERVICE_REMOVE, CONFIG_LIST, CONFIG_UPDATE, VOLUME_REMOVE, CONFIG_REMOVE)

    @rule(number=st.integers(2, NODES))
    def lose_or_find_node(self, number: int) -> None:
        """A node is lost, or is back; never the manager that the Hub talks to."""
        if self.world.lost:
            self.run(self.world.find_node())
        else:
            self.run(self.world.lose_node(f"node-{number}"))


# Hypothesis looks for the shortest life that fails, which takes its time.
@pytest.mark.timeout(900)
@pytest.mark.parametrize("lives", [Lives, ServiceLives], ids=["containers", "services"])
def test_any_life(lives: type[Lives]) -> None:
    """See the module's docstring."""
    run_state_machine_as_test(
        lives, settings=settings(max_examples=lives.count, stateful_step_count=40)
    )
