"""Brings images to the nodes of a Swarm, each by a service that ends as soon as they have it.

Guarantees:

- Nothing is left of it: the service is removed however it ended, and what a Hub that was killed
  has left is removed when the next one starts.
- It is told how far an image is, and who comes later is told at once.
- Failures are told for each node, in the words of its task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from .. import naming
from ..backends.rollback import TRANSIENT
from ..desired.node_images import Spread, fit_nodes, prepull_service, spread
from ..engine.swarm import Swarm
from ..errors import EngineError, PullFailed
from ..timeouts import retry, within
from ..timings import DEFAULT, Timings
from . import reference
from .pull_progress import Progress

#: Called with the nodes that have it, of how many, and what people are told.
OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class NodeImage:
    """An image as nodes are to get it.

    Attributes:
        reference: with its digest, where it has one.
        auth: credentials of its registry, as of `Engine.pull`; None: none are passed on.
    """

    reference: str
    auth: Mapping[str, str] | None = field(default=None, repr=False)


@dataclass(eq=False)
class _Delivery:
    """An image on its way, and who is told of it."""

    progress: Progress
    listeners: list[OnProgress]
    over: asyncio.Event


class NodeImages:
    """What brings images to all nodes of a Swarm, for one Hub; lives in one event loop.

    Args:
        swarm: whose nodes.
        hub: the Hub's id.
        log: where progress is told.
        prefix: begins the names of services.
        timings: how often tasks and nodes are looked at.
    """

    def __init__(
        self,
        swarm: Swarm,
        hub: str,
        log: logging.Logger,
        *,
        prefix: str,
        timings: Timings = DEFAULT,
    ) -> None:
        self._swarm, self._hub, self._log = swarm, hub, log
        self._prefix, self._timings = prefix, timings
        self._deliveries: dict[str, list[_Delivery]] = {}
        self._served: dict[str, set[str]] = {}
        self._fit: set[str] = set()

    # --- for starts ------------------------------------------------------------------------

    async def arrived(self, image: str, timeout: float, on_progress: OnProgress) -> None:
        """Wait while an image is on its way to the nodes, whether it arrives or not.

        Args:
            image: its reference.
            timeout: seconds after which it is not waited for any more.
            on_progress: told how far it is, at once and then when that changes.
        """
        for delivery in list(self._deliveries.get(_key(image), ())):
            delivery.listeners.append(on_progress)
            on_progress(delivery.progress)
            try:
                with suppress(asyncio.TimeoutError):
                    await within(timeout, delivery.over.wait())
            finally:
                delivery.listeners.remove(on_progress)

    # --- for the Hub -----------------------------------------------------------------------

    async def bring(
        self,
        image: str,
        find: Callable[[], Awaitable[NodeImage]],
        *,
        timeout: float,
        node: str = "",
    ) -> None:
        """Have an image on all nodes that run, or on one.

        Args:
            image: its reference, as servers name it.
            find: gets it onto the manager, and tells as what nodes are to get it.
            timeout: seconds that the nodes may take.
            node: the id of the only node; "" for all.

        Raises:
            PullFailed: not all of them have it, in the words of their tasks.
            EngineError: the Swarm could not be asked.
            Exception: what ``find`` raises.
        """
        delivery = _Delivery(Progress(0, 0, "waiting for the manager"), [], asyncio.Event())
        key = _key(image)
        self._deliveries.setdefault(key, []).append(delivery)
        try:
            await self._deliver(image, await find(), delivery, timeout, node)
        finally:
            delivery.over.set()
            self._deliveries[key].remove(delivery)
            if not self._deliveries[key]:
                del self._deliveries[key]

    async def lacking(self, images: Sequence[str]) -> list[tuple[str, str]]:
        """The next nodes that came, or came back, and lack images: pairs of image and node id.

        Waits as long as there is none.

        Args:
            images: references that `bring` has been called with.
        """
        while True:
            await asyncio.sleep(self._timings.new_nodes)
            try:
                fit = set(await self._nodes())
            except EngineError as error:
                self._log.debug("Prepull: cannot look for new nodes: %s", error)
                continue
            new, self._fit = fit - self._fit, fit
            pairs = [
                (image, node)
                for image in images
                for node in sorted(new - self._served.get(_key(image), set()))
            ]
            if pairs:
                return pairs

    async def remove_leftovers(self) -> None:
        """Remove the services of an earlier run of this Hub, which was killed. Never raises."""
        await self._remove_all(lambda name: True, "of an earlier run")

    # --- how -------------------------------------------------------------------------------

    async def _deliver(
        self, image: str, wanted: NodeImage, delivery: _Delivery, timeout: float, node: str
    ) -> None:
        name = naming.prepull_name(self._hub, _key(image), node, prefix=self._prefix)
        await self._remove(name)  # as a Hub that was killed has left it
        spec = prepull_service(name, self._hub, wanted.reference, node=node)
        last = Spread()

        def tell(found: Spread) -> None:
            nonlocal last
            if found != last:
                last = found
                self._tell(image, found, delivery)

        try:
            id = await self._swarm.create_service(spec, auth=wanted.auth)
            await within(timeout, self._until_over(id, _key(image), node, tell))
        except asyncio.TimeoutError:
            words = f"not on all nodes within pull_timeout = {timeout:g} s: {last}"
            raise PullFailed(image, words) from None
        finally:
            await self._remove(name)
        if last.failed:
            raise PullFailed(image, f"{last.failures}{_hint(wanted)}")

    async def _until_over(
        self, id: str, key: str, node: str, tell: Callable[[Spread], None]
    ) -> None:
        while True:
            nodes = await self._nodes()
            if node:
                nodes = {id: name for id, name in nodes.items() if id == node}
            self._fit |= set(nodes)
            tasks = await self._swarm.list_tasks(services=[id])
            found = spread(tasks, nodes)
            self._served.setdefault(key, set()).update(
                id for id, name in nodes.items() if name in found.there
            )
            tell(found)
            if found.over:
                return
            await asyncio.sleep(self._timings.prepull_look)

    def _tell(self, image: str, found: Spread, delivery: _Delivery) -> None:
        self._log.info("Prepull: image %s: %s", image, found)
        delivery.progress = Progress(len(found.there), found.total, str(found))
        for listener in list(delivery.listeners):
            try:
                listener(delivery.progress)
            except Exception:
                self._log.exception("A listener to a prepull's progress failed")

    async def _nodes(self) -> dict[str, str]:
        return fit_nodes(await self._swarm.list_nodes())

    async def _ours(self) -> list[tuple[str, str]]:
        """The id and the name of each of our services."""
        label = f"{naming.LABEL_PREPULL}={self._hub}"
        return [
            (str(one["ID"]), str(one["Spec"]["Name"]))
            for one in await self._swarm.list_services([label])
        ]

    async def _remove(self, name: str) -> None:
        await self._remove_all(lambda its_name: its_name == name, "of an image")

    async def _remove_all(self, which: Callable[[str], bool], whose: str) -> None:
        """Remove those of our services whose names are meant; what cannot be removed is told."""

        async def remove() -> None:
            for id, name in await self._ours():
                if which(name):
                    self._log.debug("Prepull: removing the service %s %s", name, whose)
                    await self._swarm.remove_service(id)

        try:
            await retry(remove, self._timings.retry_after, on=TRANSIENT)
        except EngineError as error:
            self._log.warning("Prepull: a service %s could not be removed: %s", whose, error)


def _key(image: str) -> str:
    return reference.parse(image).canonical


def _hint(wanted: NodeImage) -> str:
    """What to do about it, beyond the words of tasks, which never say why a pull failed."""
    if "@" in wanted.reference:
        return "; the log of the node's Engine says why it could not be pulled there"
    return (
        "; no registry is known to have this image: push it to one that all nodes reach, "
        "or load it on each node (docker load)"
    )
