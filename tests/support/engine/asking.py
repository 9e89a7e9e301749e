"""What tests of our way to the fake Engine ask of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from dockernamed.engine.client import Engine
from support.engine.watching import IMAGE

CREATE = "/containers/create"


async def create(engine: Engine, name: str = "c1") -> str:
    """A container."""
    return await engine.create_container(name, {"Image": IMAGE})


async def soon(awaitable: Awaitable[Any]) -> Any:
    """Its result, or a failed test."""
    return await asyncio.wait_for(awaitable, 30)
