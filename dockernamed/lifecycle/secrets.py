"""The settings about secrets: callables called, files of the Hub read, all of it checked."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..callables import evaluated
from ..desired.private import Secrets, checked_file, checked_path, checked_variable, long_form
from ..errors import ConfigError
from ..settings import DockerNamedSettings


async def secrets_of(settings: DockerNamedSettings) -> Secrets:
    """What one start of a server is given of secrets.

    Args:
        settings: the spawner; callables among its settings are given it.

    Raises:
        ConfigError: something cannot be delivered; the error holds no value.
    """
    environment, files = {}, {}
    for name, value in (await _entries("secret_environment", settings)).items():
        content = await _content(f"secret_environment[{name!r}]", value, settings)
        if isinstance(content, bytes):
            content = content.decode("utf-8", "surrogateescape").removesuffix("\n")
        if content is not None:
            name, text = checked_variable(name, content)
            environment[name] = text
    for path, value in (await _entries("secret_files", settings)).items():
        where = f"secret_files[{path!r}]"
        form = long_form(path, await evaluated(value, settings))
        content = await _content(where, form["content"], settings)
        if content is not None:
            path, file = checked_file(path, {**form, "content": content})
            files[path] = file
    _require_apart(files)
    return Secrets(environment, files)


def _require_apart(files: Mapping[str, object]) -> None:
    for path in files:
        inner = next((other for other in files if other.startswith(f"{path}/")), None)
        if inner is not None:
            hint = f"it cannot be a file and hold {inner}"
            raise ConfigError(f"secret_files[{path!r}]", "[hidden]", hint)


def problem_of(setting: str, value: object) -> None:
    """Check of one of the two settings what is known when the Hub starts.

    Raises:
        ConfigError: it could not be delivered.
    """
    if not isinstance(value, Mapping):
        return
    for name, one in value.items():
        where = f"{setting}[{name!r}]"
        if setting == "secret_files":
            checked_path(name)
            one = long_form(name, one)["content"] if not callable(one) else one
        if isinstance(one, Path):
            _read(where, one)
        elif setting == "secret_files":
            if not callable(one) and one is not None:
                checked_file(name, {"content": one})
        else:
            checked_variable(name, "" if callable(one) or one is None else one)


async def _entries(setting: str, settings: DockerNamedSettings) -> Mapping[Any, Any]:
    """The setting as a dict; a callable's None means none."""
    value = await evaluated(getattr(settings, setting), settings)
    if value is not None and not isinstance(value, Mapping):
        hint = f"expected a dict, not {type(value).__name__}"
        raise ConfigError(setting, "[hidden]", hint)
    return value or {}


async def _content(where: str, value: object, settings: DockerNamedSettings) -> Any:
    """The content itself; None leaves the entry out."""
    value = await evaluated(value, settings)
    if isinstance(value, Path):
        return await asyncio.to_thread(_read, where, value)
    return value


def _read(where: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        hint = f"the Hub cannot read this file: {error.strerror}"
        raise ConfigError(where, str(path), hint) from None
