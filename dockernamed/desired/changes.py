"""What an admin's hook changed in the request that makes a container. Pure.

The hook is called once for a start, before it is known under which name the container will be made,
and whether a kept one will do. So what it did is kept as changes, which are made to each body that
comes of it.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .. import naming
from ..errors import ConfigError
from .private import PRIVATE_DIR

HOOK = "modify_container_hook"
OURS = f"{naming.LABEL}."
#: Path in the body → what to change instead of it.
PROTECTED: tuple[tuple[tuple[str, ...], str], ...] = (
    (("Image",), "the image is there by now: set image, such as in a pre_spawn_hook"),
    (("HostConfig", "NetworkMode"), "the Hub would not find the server: set network_name"),
    (("HostConfig", "PortBindings"), "the Hub would not find the server: set port or host_ip"),
)


@dataclass(frozen=True)
class Changes:
    """What is different between two bodies of ``POST /containers/create``.

    Attributes:
        env: name of a variable → its new value; None removes it.
        entrypoint: what the container runs; None: as it was. ``cmd`` likewise.
        body: all other keys, as a JSON merge patch: dicts go into dicts, None removes.
    """

    env: Mapping[str, str | None] = field(default_factory=dict)
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    body: Mapping[str, Any] = field(default_factory=dict)


def changes_between(before: Mapping[str, Any], after: object) -> Changes:
    """What a hook made of a body.

    Args:
        before: the body that it was given.
        after: what it returned.

    Raises:
        ConfigError: that is no body; or it touches what belongs to us.
    """
    if not isinstance(after, Mapping):
        hint = "it must return the request, a dict, or None if it has changed the one it was given"
        raise ConfigError(HOOK, f"<{type(after).__name__}>", hint)
    try:
        old: dict[str, Any] = json.loads(json.dumps(before))
        new: dict[str, Any] = json.loads(json.dumps(after, allow_nan=False))
    except (TypeError, ValueError) as error:
        hint = f"what it returns is sent as JSON, which cannot have this: {error}"
        raise ConfigError(HOOK, "<dict>", hint) from None
    _check(old, new)
    patch = _patch(old, new)
    patch.pop("Env", None)
    entrypoint, cmd = (
        _words(new.get(name), name) if name in patch else None for name in ("Entrypoint", "Cmd")
    )
    body = {key: value for key, value in patch.items() if key not in ("Entrypoint", "Cmd")}
    env = _patch(_variables(old), _variables(new))
    return Changes(env, entrypoint, cmd, body)


def patched(body: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """A body with such changes, as a new dict."""
    result = dict(body)
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            inner = result.get(key)
            result[key] = patched(inner if isinstance(inner, Mapping) else {}, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _patch(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {key: None for key in before if key not in after}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            if inner := _patch(old, value):
                found[key] = inner
        elif value != old:
            found[key] = value
    return found


def _check(before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    for part in ("HostConfig", "Labels"):
        if not isinstance(after.get(part), Mapping):
            raise ConfigError(HOOK, f"<{part}>", f"{part} must stay a dict")
    for path, instead in PROTECTED:
        if _at(before, path) != _at(after, path):
            name = ".".join(path)
            raise ConfigError(HOOK, f"<{name}>", f"it may not change {name}: {instead}")
    if _private(before) not in (None, _private(after)):
        hint = f"what is mounted at {PRIVATE_DIR} brings the server its tokens"
        raise ConfigError(HOOK, "<HostConfig.Mounts>", hint)
    labels: Mapping[str, Any] = before["Labels"]
    for name in {*labels, *after["Labels"]}:
        if name.startswith(OURS) and labels.get(name) != after["Labels"].get(name):
            hint = f"labels that begin with {OURS} say whose a container is"
            raise ConfigError(HOOK, f"<Labels[{name!r}]>", hint)


def _private(body: Mapping[str, Any]) -> object:
    mounts = body["HostConfig"].get("Mounts") or ()
    own = (one for one in mounts if isinstance(one, Mapping) and one.get("Target") == PRIVATE_DIR)
    return next(own, None)


def _at(body: Mapping[str, Any], path: Iterable[str]) -> Any:
    found: Any = body
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found or None


def _words(value: object, name: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(word, str) for word in value):
        raise ConfigError(HOOK, f"<{name}>", f"{name} must be a list of words")
    return tuple(value)


def _variables(body: Mapping[str, Any]) -> dict[str, str]:
    entries = body.get("Env") or ()
    if not isinstance(entries, list) or not all(isinstance(one, str) for one in entries):
        raise ConfigError(HOOK, "<Env>", "Env must be a list of texts such as 'NAME=value'")
    return {name: value for name, _, value in (entry.partition("=") for entry in entries)}
