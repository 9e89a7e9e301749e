"""The value of a setting that may be a callable. Pure but for what the admin's callable does."""

from __future__ import annotations

import inspect
from typing import Any


async def evaluated(setting: Any, spawner: object) -> Any:
    """A setting's value: a callable is called with the spawner, an awaitable is awaited.

    Args:
        setting: what the admin wrote, or what such a callable returned.
        spawner: what callables among the settings are given.
    """
    value = setting(spawner) if callable(setting) else setting
    return await value if inspect.isawaitable(value) else value
