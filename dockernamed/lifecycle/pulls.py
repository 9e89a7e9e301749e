"""The images of servers: pulled for a start by its settings, or before anybody needs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..desired.resolved import ResolvedSettings
from ..errors import PullFailed
from ..images.prepull import prepull
from ..images.pull_queue import NOBODY
from ..images.puller import Progress, Pulled
from ..options import chooser
from .credentials import credentials_for
from .runtime import Runtime

#: For who named a registry: what answered there, or that nobody did, may be no business of theirs.
NO_ANSWER_TOLD = "it could not be pulled; the Hub's log says why"

#: Told how far a start is, in percent, and what it does.
Tell = Callable[[int, str], None]


class Pulls:
    """What the settings of one spawner have pulled onto one Engine.

    Args:
        spawner: whose settings; callables among them are given it.
        runtime: the Engine.
    """

    def __init__(self, spawner: Any, runtime: Runtime) -> None:
        self._spawner, self._runtime = spawner, runtime

    async def for_start(
        self, settings: ResolvedSettings, tell: Tell, *, registry_unknown: bool
    ) -> tuple[ResolvedSettings, Mapping[str, Any]]:
        """Have the image of a start where its server is going to run.

        Args:
            settings: of the start.
            tell: told how far it is.
            registry_unknown: only its user has named the image's registry, and what that answers
                is told to the Hub's log alone.

        Returns:
            The settings with what is known of the image by now, and ``GET /images/{name}/json``;
            empty where the Engine is left to find the image.

        Raises:
            ImageError: it cannot be had.
            ConfigError: ``registry_credentials`` cannot work.
            EngineError: the Engine could not be asked.
        """
        pulled = await self._for_user(settings.image, tell, registry_unknown)
        return settings, pulled.info or {}

    async def beforehand(self) -> None:
        """With ``prepull``, pull every image that can be chosen."""
        runtime = self._runtime
        pauses = runtime.timings.prepull_again
        await prepull(self._choosable(), self._pull, runtime.watcher, self._spawner.log, pauses)

    def _choosable(self) -> Sequence[str]:
        return chooser.images(self._spawner) if self._spawner.prepull else ()

    async def _for_user(self, image: str, tell: Tell, registry_unknown: bool) -> Pulled:
        spawner = self._spawner
        tell(5, f"Looking for image {image}")
        try:
            return await self._pull(image, partial(told, image, tell), spawner.user.name)
        except PullFailed as error:
            if not registry_unknown:
                raise
            spawner.log.warning("%s: %s", spawner._log_name, error)
            raise PullFailed(image, NO_ANSWER_TOLD) from None

    async def _pull(
        self,
        image: str,
        on_progress: Callable[[Progress], None] | None = None,
        user: str = NOBODY,
    ) -> Pulled:
        spawner = self._spawner
        credentials = await credentials_for(image, spawner.registry_credentials, spawner)
        info = await self._runtime.puller.ensure(
            image,
            spawner.pull_policy,
            timeout=spawner.pull_timeout,
            credentials=credentials,
            on_progress=on_progress,
            user=user,
        )
        return Pulled(info, credentials)


def told(image: str, tell: Tell, progress: Progress) -> None:
    """Tell how far the pull of an image is, as its part of a start."""
    percent = 100 * progress.done // max(progress.total, 1)
    how_far = f"{percent} %, " if progress.total else ""
    tell(5 + 45 * percent // 100, f"Pulling {image}: {how_far}{progress.message}")
