"""Which GPUs the Engine has, and which of them containers have that the Hub does not know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from .. import naming
from ..backends.observed_containers import name_in
from ..desired.gpus import ids_in, names_to_ask_for
from ..desired.plan import describe_owner
from ..engine.client import Engine
from ..errors import NotFound

#: Of a container that has its GPUs, or is about to start with them.
_HOLDING = frozenset({"created", "running", "paused", "restarting"})


class Gpus:
    """The GPUs of one Engine.

    Args:
        engine: which.
        info: its ``GET /info``, or nothing where it may not be asked.
    """

    def __init__(self, engine: Engine, info: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
        self._engine, self._info = engine, info

    async def devices(self, configured: Sequence[str]) -> dict[str, str]:
        """Id → name to ask the Engine for, of all GPUs that servers may have.

        Args:
            configured: the setting ``gpu_devices``; empty: all that the Engine tells of.
        """
        return names_to_ask_for(configured, await self._info())

    async def held(self, server: naming.Key) -> dict[str, str]:
        """Id → whose container has the GPU, in words, but for containers of one server.

        Those of other Hubs on the Engine count as well. Labels only tell where to look: a label
        can come from an image, but the devices of a container cannot.
        """
        found: dict[str, str] = {}
        for item in await self._engine.list_containers([naming.LABEL_GPUS]):
            labels = item.get("Labels") or {}
            if (
                str(item.get("State", "")).lower() not in _HOLDING
                or naming.key_of(labels) == server
            ):
                continue
            try:
                info = await self._engine.inspect_container(str(item["Id"]))
            except NotFound:
                continue
            who = f"container {name_in(item)} of {describe_owner(labels)}"
            found |= dict.fromkeys(ids_in(info.get("HostConfig") or {}), who)
        return found
