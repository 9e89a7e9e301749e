"""Which GPUs the Engine has, and which of them containers have that the Hub does not know."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from .. import naming
from ..backends.observed import name_in
from ..desired.gpus import ids_in, names_to_ask_for
from ..desired.plan import describe_owner
from ..engine.client import Engine
from ..errors import BadRequest, NotFound

#: Of a container that has its GPUs, or is about to start with them.
_HOLDING = frozenset({"created", "running", "paused", "restarting"})


class Gpus:
    """The GPUs of one Engine.

    Args:
        engine: which.
        keeps: seconds for which what it told of its devices is used again.
    """

    def __init__(self, engine: Engine, keeps: float) -> None:
        self._engine, self._keeps = engine, keeps
        self._info: tuple[float, Mapping[str, Any]] | None = None

    async def devices(self, configured: Sequence[str]) -> dict[str, str]:
        """Id → name to ask the Engine for, of all GPUs that servers may have.

        Args:
            configured: the setting ``gpu_devices``; empty: all that the Engine tells of.
        """
        if self._info is None or self._info[0] <= time.monotonic():
            self._info = time.monotonic() + self._keeps, await self._ask()
        return names_to_ask_for(configured, self._info[1])

    async def _ask(self) -> Mapping[str, Any]:
        try:
            return await self._engine.info()
        except (BadRequest, NotFound):
            # As a proxy before the Engine answers that does not let it be asked: a list will do.
            return {}

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
