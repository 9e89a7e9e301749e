"""Volumes of the same users and servers under another hub id, which a Hub that moved may have lost.

A Hub whose database and cookie secret are new has another id, and gives everybody a new, empty
volume. So a server's first start looks whether the Engine has older ones of the same names.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from .. import naming
from ..backends.base import SeenVolume
from ..desired.plan import describe_owner
from ..errors import EngineError, ForeignObject

LOG = logging.getLogger("dockernamed.volumes")
SETTING = "volumes_of_another_hub"


class EarlierVolumes:
    """One Engine's volumes as they were a moment ago; one list for many first starts.

    Args:
        list_volumes: asks the Engine for all volumes.
        max_age: seconds for which a list is used again.
    """

    def __init__(
        self, list_volumes: Callable[[], Awaitable[Sequence[SeenVolume]]], max_age: float
    ) -> None:
        self._list, self._max_age = list_volumes, max_age
        self._listed: tuple[float, asyncio.Future[Sequence[SeenVolume]]] | None = None

    async def note(self, key: naming.Key, *, refuse: bool) -> str:
        """What to say of such volumes at the first start of a server; "" if there are none.

        Args:
            key: the server.
            refuse: it is not to start beside them, nor where the Engine cannot tell.

        Raises:
            ForeignObject: there are, and such a start is to be refused.
            EngineError: the Engine could not be asked, likewise.
        """
        try:
            earlier = await self._of(key)
        except EngineError as error:
            if refuse:
                raise
            LOG.warning("Cannot look for volumes under other hub ids: %s", error)
            return ""
        if earlier is None:
            return ""
        if refuse:
            raise _refusal(earlier, key)
        return _note(earlier, key)

    async def _of(self, key: naming.Key) -> SeenVolume | None:
        """A volume of the same user and server, or of the user alone, under another hub id."""
        found = [volume for volume in await self._volumes() if _is_earlier(volume, key)]
        # The server's own first.
        found.sort(key=lambda volume: (naming.LABEL_SERVER not in volume.labels, volume.name))
        return found[0] if found else None

    async def _volumes(self) -> Sequence[SeenVolume]:
        now = asyncio.get_running_loop().time()
        if self._listed is None or self._listed[0] < now:
            asked = asyncio.ensure_future(self._list())
            asked.add_done_callback(self._forget_failed)
            self._listed = (now + self._max_age, asked)
        return await asyncio.shield(self._listed[1])

    def _forget_failed(self, asked: asyncio.Future[Sequence[SeenVolume]]) -> None:
        if asked.cancelled() or asked.exception() is not None:
            self._listed = None


def _is_earlier(volume: SeenVolume, key: naming.Key) -> bool:
    labels = volume.labels
    return (
        labels.get(naming.LABEL_HUB, key.hub) != key.hub
        and labels.get(naming.LABEL_USER) == key.user
        and labels.get(naming.LABEL_SERVER, key.server) == key.server
    )


def _note(volume: SeenVolume, key: naming.Key) -> str:
    """What to say of such a volume at a start with new ones, with the line that takes it up."""
    return (
        f"This server begins with new, empty volumes. Volume {volume.name!r} has files of the "
        f"same user under another hub id ({key.hub!r} is this Hub's); {_take_up(volume)}"
    )


def _refusal(volume: SeenVolume, key: naming.Key) -> ForeignObject:
    """Why a server does not start beside such a volume, with the lines that make it start."""
    anyway = f'c.DockerNamedSpawner.{SETTING} = "warn"'
    return ForeignObject(
        "volume",
        volume.name,
        f"{describe_owner(volume.labels)}, and this Hub's id is {key.hub!r}",
        f"{_take_up(volume)}; if not, set {anyway} to start with new, empty volumes",
    )


def _take_up(volume: SeenVolume) -> str:
    hub = volume.labels[naming.LABEL_HUB]
    return f"if that Hub is this one, set c.DockerNamedSpawner.hub_id = {hub!r}"
