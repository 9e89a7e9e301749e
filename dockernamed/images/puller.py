"""Finds images on the Engine and pulls them, once however many servers need the same image.

Guarantees:

- One pull per image and credentials at a time. Later requests join it and get its progress at
  once; it is cancelled only when nobody waits for it any more.
- Whose pull is next is fair: see `pull_queue`.
- Progress never decreases: neither the bytes nor the share of the whole.
- What the Engine reported about an image is remembered until any image changes there, and only
  while the watcher receives such changes.
- Credentials are not logged and are in no message.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..engine.client import Engine
from ..errors import (
    EngineError,
    EngineTimeout,
    EngineUnavailable,
    ImageMissing,
    NotFound,
    PullFailed,
)
from . import reference
from .allowed import PullPolicy
from .pull_progress import Layers, Progress
from .pull_queue import NOBODY, PULL_LIMITS, PullLimits, PullQueue, Ticket
from .reference import ImageRef

__all__ = ["Progress", "Pulled", "Puller"]

LOG = logging.getLogger("dockernamed.puller")

_BEGINNING = Progress(0, 0, "waiting for the registry")
_IN_QUEUE = Progress(0, 0, "waiting for other pulls to end")
MAX_KNOWN = 500  # images whose details are remembered


@dataclass(frozen=True)
class Pulled:
    """An image after `Puller.ensure`.

    Attributes:
        info: what that returned.
        credentials: what it was called with.
    """

    info: Mapping[str, Any] | None
    credentials: Mapping[str, str] | None = field(default=None, repr=False)


class ImageNews(Protocol):
    """Reports changes of images on the Engine; implemented by the watcher."""

    @property
    def connected(self) -> bool:
        """Whether every change will be reported."""

    def on_image_event(
        self, callback: Callable[[Mapping[str, Any] | None], None]
    ) -> Callable[[], None]:
        """Call ``callback`` with each change, and with None if some were missed."""


OnProgress = Callable[[Progress], None]
Key = tuple[str, frozenset[tuple[str, str]] | None]


@dataclass(eq=False)
class _Pull:
    """A pull in progress, and the requests that wait for it."""

    task: asyncio.Task[None]
    ticket: Ticket
    progress: Progress
    listeners: list[OnProgress]
    waiters: int = 0


class Puller:
    """All pulls of one Hub on one Engine; lives in one event loop.

    Args:
        engine: which pulls.
        news: tells when images change there; without it nothing is remembered.
        limits: how many pulls may be under way.
    """

    def __init__(
        self, engine: Engine, news: ImageNews | None = None, limits: PullLimits = PULL_LIMITS
    ) -> None:
        self._engine, self._news = engine, news
        self._queue = PullQueue(limits)
        self._pulls: dict[Key, _Pull] = {}
        self._looks: dict[str, asyncio.Task[dict[str, Any] | None]] = {}
        self._known: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._changes = 0  # counted, so that an answer that a change overtook is not remembered
        if news is not None:
            news.on_image_event(self._on_image_event)

    async def ensure(
        self,
        image: str,
        policy: str,
        *,
        timeout: float,
        credentials: Mapping[str, str] | None = None,
        on_progress: OnProgress | None = None,
        user: str = NOBODY,
    ) -> dict[str, Any] | None:
        """Make sure that an image is on the Engine, as far as the policy allows.

        Args:
            image: reference, such as ``registry:5000/lab:1.2`` or ``lab@sha256:…``.
            policy: ``always``, ``ifnotpresent``, ``never`` or ``skip``.
            timeout: seconds that the pull may take, from now on for this caller.
            credentials: for the registry, as for `Engine.pull`.
            on_progress: called in the event loop, at once when the pull is under way already.
            user: who waits for it; `NOBODY` for what is pulled ahead of need.

        Returns:
            What the Engine tells of the image (shared: don't change it); None only with ``skip``,
            when it isn't there.

        Raises:
            ImageMissing: it is not there, and the policy is ``never``.
            PullFailed: in the registry's words, or because of the timeout.
            ImageError: not a reference.
            EngineError: the Engine could not be asked.
        """
        ref, wanted = reference.parse(image), PullPolicy.parse(policy)
        found = None if wanted is PullPolicy.ALWAYS else await self._look(ref)
        if found is not None or wanted is PullPolicy.SKIP:
            return found
        if wanted is PullPolicy.NEVER:
            raise ImageMissing(
                image,
                "it is not on the Engine, and with pull_policy = 'never' it must not be pulled",
            )
        await self._join(ref, timeout, credentials, on_progress, user)
        found = await self._look(ref)
        if found is None:
            raise PullFailed(image, "the pull ended without an error, but the image is not there")
        return found

    # --- looking ---------------------------------------------------------------------------

    async def _look(self, ref: ImageRef) -> dict[str, Any] | None:
        key = ref.canonical
        if self._remembers and key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        look = self._looks.get(key)
        if look is None:
            look = self._looks[key] = asyncio.ensure_future(self._inspect(ref))
            look.add_done_callback(_see_error)
            look.add_done_callback(lambda task: self._forget_look(key, task))
        return await asyncio.shield(look)

    async def _inspect(self, ref: ImageRef) -> dict[str, Any] | None:
        changes = self._changes
        try:
            info = await self._engine.inspect_image(_inspect_name(ref))
        except NotFound:
            return None
        if self._remembers and changes == self._changes:
            self._known[ref.canonical] = info
            while len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return info

    @property
    def _remembers(self) -> bool:
        return self._news is not None and self._news.connected

    def _forget_look(self, key: str, look: asyncio.Task[dict[str, Any] | None]) -> None:
        if self._looks.get(key) is look:
            del self._looks[key]

    def _on_image_event(self, event: Mapping[str, Any] | None) -> None:
        # Whichever image it was: the event names it by its id or by one of several names.
        self._changes += 1
        self._known.clear()
        self._looks.clear()

    # --- pulling ---------------------------------------------------------------------------

    async def _join(
        self,
        ref: ImageRef,
        timeout: float,
        credentials: Mapping[str, str] | None,
        on_progress: OnProgress | None,
        user: str,
    ) -> None:
        secret = None if credentials is None else frozenset(credentials.items())
        key = (ref.canonical, secret)
        pull = self._pulls.get(key)
        if pull is None:
            ticket = Ticket()
            task = asyncio.ensure_future(self._pull(key, ref, credentials, ticket))
            task.add_done_callback(_see_error)
            pull = self._pulls[key] = _Pull(task, ticket, _BEGINNING, [])
        pull.waiters += 1
        self._queue.join(pull.ticket, user)
        if pull.progress is _BEGINNING and self._queue.waits(pull.ticket):
            pull.progress = _IN_QUEUE
        if on_progress is not None:
            pull.listeners.append(on_progress)
            _tell(on_progress, pull.progress)
        try:
            await asyncio.wait({pull.task}, timeout=timeout)
            if not pull.task.done():
                raise PullFailed(
                    str(ref),
                    f"not complete within pull_timeout = {timeout:g} s ({pull.progress.message})",
                )
            pull.task.result()
        finally:
            pull.waiters -= 1
            self._queue.leave(pull.ticket, user)
            if on_progress is not None:
                pull.listeners.remove(on_progress)
            if not pull.waiters and not pull.task.done():
                self._pulls.pop(key, None)  # who comes from now on needs a pull of their own
                pull.task.cancel()

    async def _pull(
        self, key: Key, ref: ImageRef, credentials: Mapping[str, str] | None, ticket: Ticket
    ) -> None:
        layers = Layers()

        def on_line(line: dict[str, Any]) -> None:
            error = line.get("error") or (line.get("errorDetail") or {}).get("message")
            if error:
                raise PullFailed(str(ref), str(error))
            progress = layers.take(line)
            if progress is not None:
                tell(progress)

        def tell(progress: Progress) -> None:
            pull = self._pulls.get(key)
            if pull is None or pull.task is not asyncio.current_task():
                return
            if pull.progress != progress:
                pull.progress = progress
                for listener in list(pull.listeners):
                    _tell(listener, progress)

        try:
            async with self._queue.slot(ticket):
                tell(_BEGINNING)
                await self._engine.pull(ref.name, ref.pull_tag, credentials, on_line)
            tell(layers.finished())
        except (EngineUnavailable, EngineTimeout):
            raise
        except EngineError as error:
            raise PullFailed(str(ref), error.message) from error
        finally:
            # Its event may be late: what was known of the image before is not asked again.
            self._on_image_event(None)
            pull = self._pulls.get(key)
            if pull is not None and pull.task is asyncio.current_task():
                del self._pulls[key]


def _inspect_name(ref: ImageRef) -> str:
    """Without the tag if there is a digest: not all Engines accept both."""
    return str(ref) if ref.digest is None else f"{ref.name}@{ref.digest}"


def _see_error(task: asyncio.Task[Any]) -> None:
    """Asyncio would report an error that nobody sees, as when all who waited were cancelled."""
    if not task.cancelled():
        task.exception()


def _tell(listener: OnProgress, progress: Progress) -> None:
    try:
        listener(progress)
    except Exception:
        LOG.exception("A listener to a pull's progress failed")
