"""The setting registry_credentials for one image: a callable called, a file of the Hub read."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from ..callables import evaluated
from ..errors import ConfigError
from ..images import reference
from ..images.credentials import SETTING, for_image, from_file


async def credentials_for(image: str, setting: Any, spawner: object) -> dict[str, str] | None:
    """Credentials to pull an image with; None where the setting has none for its registry.

    Args:
        image: its reference.
        setting: a dict, a path, or a callable that gives one.
        spawner: what the callable is given.

    Raises:
        ConfigError: they have no known form, or the file cannot be read.
    """
    setting = await evaluated(setting, spawner)
    if setting and isinstance(setting, str):
        setting = from_file(await asyncio.to_thread(_text, setting))
    return for_image(setting, reference.parse(image)) if setting else None


def _text(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError as error:
        raise ConfigError(SETTING, path, f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ConfigError(SETTING, path, "it is not UTF-8") from None
