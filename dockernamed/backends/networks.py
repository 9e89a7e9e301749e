"""The networks that a Hub makes for its servers: there before the first one, gone after the last.

Starts hold the network that they need, and none is removed that somebody holds, or that has a
container, running or not. What a Hub leaves behind that is killed in between says by its labels
whose it was: the next start of that user takes it, or the search for orphans removes it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from ..desired.isolation import NetworkFacts, OwnNetwork, plan_network, plan_unused
from ..desired.plan import Op, Step
from ..errors import BadRequest, Conflict, DockerNamedError, EngineError, EngineFailed, NotFound
from ..naming import Key
from ..timeouts import before_raising
from ..timings import DEFAULT, Timings
from .base import SeenNetwork, Things
from .rollback import TRANSIENT, Rollback

T = TypeVar("T")


class Networks:
    """Makes, joins and removes the networks of one Hub on one Engine.

    Args:
        things: the backend.
        rollback: does what has to be done whoever waits for it.
        hub_container: the id of the container that the Hub runs in; "" outside.
        undone: waits until nothing of a server's failed start is left that can be taken back now.
        log: where each step is told with its cause.
        timings: for how long a network that was seen counts as there.
    """

    def __init__(
        self,
        things: Things,
        rollback: Rollback,
        hub_container: Callable[[], Awaitable[str]],
        undone: Callable[[Key], Awaitable[None]],
        log: logging.Logger,
        timings: Timings = DEFAULT,
    ) -> None:
        self._things, self._rollback, self._log = things, rollback, log
        self._hub_container, self._undone, self._timings = hub_container, undone, timings
        self._held: Counter[OwnNetwork] = Counter()
        self._locks: WeakValueDictionary[OwnNetwork, asyncio.Lock] = WeakValueDictionary()
        self._known: dict[OwnNetwork, tuple[float, SeenNetwork]] = {}
        self._claims: set[asyncio.Task[SeenNetwork]] = set()

    async def run_in(
        self, key: Key, wanted: OwnNetwork, work: Callable[[SeenNetwork], Awaitable[T]]
    ) -> T:
        """Do something that needs a network, which is made if it is missing.

        Once that has failed or was cancelled, the network goes again if nobody else has it. If it
        fails because somebody removed the network meanwhile, it is done once more in a new one.

        Args:
            key: the server that is started.
            wanted: which network.
            work: is given it.

        Raises:
            ForeignObject: somebody else has its names.
            EngineError: it could not be made.
        """
        self._held[wanted] += 1
        try:
            answer = await self._run_in(wanted, work)
        except BaseException as error:
            self._let_go(wanted)
            undone = self._rollback.spawn(self._after_failure(key, wanted))
            if not isinstance(error, asyncio.CancelledError):  # who cancels has no time
                await before_raising(undone, self._timings.failed_start)
            raise
        self._let_go(wanted)
        return answer

    async def _run_in(self, wanted: OwnNetwork, work: Callable[[SeenNetwork], Awaitable[T]]) -> T:
        network = await self._claimed(wanted)
        try:
            return await work(network)
        except (NotFound, BadRequest, EngineFailed):
            if not await self._is_gone(network):
                raise
        self._log.warning("Network %s was removed meanwhile", network.name)
        self._known.pop(wanted, None)
        return await work(await self._claimed(wanted))

    def _let_go(self, wanted: OwnNetwork) -> None:
        self._held[wanted] -= 1
        if not self._held[wanted]:
            del self._held[wanted]

    async def join(self, name: str) -> None:
        """Have the Hub's own container in a network of ours, as after it was made anew.

        Args:
            name: of the network, as it was kept with a server; "" for none. One that is gone is
                fine.

        Raises:
            EngineError: it could not be done.
        """
        hub_container = await self._hub_container() if name else ""
        if not hub_container:
            return
        try:
            seen = await self._things.inspect_network(name)
            if OwnNetwork.read(seen.labels) and hub_container not in seen.containers:
                self._log.info("Network %s: the Hub's container joins it again", name)
                await self._things.join(name, hub_container)
        except NotFound:
            self._log.debug("Network %s is gone", name)

    async def release(self, name: str) -> None:
        """Remove a network of ours that has no container any more; never raises.

        Args:
            name: as it was kept with a server whose container is gone; "" for no network. That of
                the whole Hub stays.
        """
        if not name:
            return
        try:
            found = OwnNetwork.read((await self._things.inspect_network(name)).labels)
            if found is not None and found.scope != "hub":
                await self._remove_if_unused(found, name)
        except NotFound:
            self._log.debug("Network %s is gone already", name)
        except DockerNamedError as error:
            # It is an orphan from now on, and looked for as such.
            self._log.warning("Network %s is left for now: %s", name, error)

    async def unused(self, network: SeenNetwork) -> bool:
        """Whether nothing holds or has a network of ours.

        Raises:
            EngineError: the Engine could not be asked.
        """
        found = OwnNetwork.read(network.labels)
        if found is None or self._held[found]:
            return False
        members = {*await self._things.members(network.name), *network.containers}
        return not members - {await self._hub_container()}

    async def remove_unused(self, network: SeenNetwork) -> None:
        """Remove a network of ours, also that of the whole Hub, unless somebody has it by now.

        Raises:
            EngineError: it could not be done.
        """
        found = OwnNetwork.read(network.labels)
        if found is not None:
            await self._remove_if_unused(found, network.name)

    # --- making ----------------------------------------------------------------------------

    async def _claimed(self, wanted: OwnNetwork) -> SeenNetwork:
        """The network; a call of ours goes on when who asked is cancelled."""
        known = self._known.get(wanted)
        if known is not None and time.monotonic() < known[0]:
            return known[1]
        claim = asyncio.ensure_future(self._claim(wanted))
        self._claims.add(claim)
        claim.add_done_callback(self._claimed_for_somebody)
        return await asyncio.shield(claim)

    def _claimed_for_somebody(self, claim: asyncio.Task[SeenNetwork]) -> None:
        self._claims.discard(claim)
        if not claim.cancelled() and (error := claim.exception()) is not None:
            self._log.debug("No network: %s", error)  # whoever waits for it is told

    async def _claim(self, wanted: OwnNetwork) -> SeenNetwork:
        async with self._lock(wanted):
            hub_container = await self._hub_container()
            seen: dict[str, SeenNetwork | None] = {}
            while True:
                facts = {name: one if one is None else _facts(one) for name, one in seen.items()}
                plan = plan_network(wanted, facts, hub_container)
                if not plan.steps:
                    break
                for step in plan:
                    if not await self._make(step, wanted, seen, hub_container):
                        break
            found = next(one for one in seen.values() if one is not None and _is(one, wanted))
            # Those of users come and go; that of the Hub is looked at once in a burst of starts.
            if wanted.scope == "hub":
                self._known[wanted] = (time.monotonic() + self._timings.network_facts, found)
            return found

    async def _make(
        self,
        step: Step,
        wanted: OwnNetwork,
        seen: dict[str, SeenNetwork | None],
        hub_container: str,
    ) -> bool:
        """Do one step. False: something is known now that asks for a new plan."""
        name = step.target
        if step.op is Op.LOOK_AT_NETWORK:
            seen[name] = await self._look(name)
            return False
        self._log.info("%s", step)
        if step.op is Op.CREATE_NETWORK:
            try:
                await self._things.create_network(name, wanted)
            except TRANSIENT:
                # It may be there all the same: then it is as good as any.
                if not _is(await self._look(name), wanted):
                    raise
            except Conflict as error:
                found = await self._look(name)
                # Somebody else has what belongs to the name on the host, where not the name itself.
                seen[name] = found or SeenNetwork("", name, {})
                self._log.warning("%s", error)
                return False
        elif (found := seen[name]) is not None:
            try:
                await self._things.join(name, hub_container)
            except NotFound:
                if not await self._is_gone(found):
                    raise
                del seen[name]
                return False
        seen[name] = await self._things.inspect_network(name)
        return True

    async def _look(self, name: str) -> SeenNetwork | None:
        try:
            return await self._things.inspect_network(name)
        except NotFound:
            return None
        except Conflict:
            return SeenNetwork("", name, {})  # several have it: none of them is ours

    async def _is_gone(self, network: SeenNetwork) -> bool:
        try:
            return await self._things.is_network_gone(network.id)
        except EngineError as error:
            self._log.warning("Network %s: %s", network.name, error)
            return False

    # --- removing --------------------------------------------------------------------------

    async def _after_failure(self, key: Key, wanted: OwnNetwork) -> None:
        await self._undone(key)
        for name in wanted.names:
            await self.release(name)

    async def _remove_if_unused(self, network: OwnNetwork, name: str) -> None:
        async with self._lock(network):
            if not self._held[network]:
                patience = self._timings.stop_waits_for_engine
                await self._rollback.retry(partial(self._remove_now, network, name), patience)

    async def _remove_now(self, network: OwnNetwork, name: str) -> None:
        try:
            seen = await self._things.inspect_network(name)
            members = await self._things.members(name)
            hub_container = await self._hub_container()
            plan = plan_unused(name, network, _facts(seen), members, hub_container)
            for step in plan:
                self._log.info("%s", step)
                if step.op is Op.LEAVE_NETWORK:
                    await self._things.leave(seen.id, hub_container)
                else:
                    await self._things.remove_network(seen.id)
                    self._known.pop(network, None)
        except NotFound:
            self._log.debug("Network %s is gone already", name)
        except Conflict as error:
            self._log.info("Network %s is in use: %s", name, error)

    def _lock(self, network: OwnNetwork) -> asyncio.Lock:
        """Held while a network is made or removed; there as long as somebody uses it."""
        return self._locks.setdefault(network, asyncio.Lock())


def _facts(seen: SeenNetwork) -> NetworkFacts:
    return NetworkFacts(seen.labels, seen.containers)


def _is(seen: SeenNetwork | None, wanted: OwnNetwork) -> bool:
    return seen is not None and OwnNetwork.read(seen.labels) == wanted
