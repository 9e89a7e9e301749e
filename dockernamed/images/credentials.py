"""Credentials of private registries, from the setting. They are never logged or stored."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any

from ..errors import ConfigError
from .reference import ImageRef

SETTING = "registry_credentials"
_KEYS = frozenset({"username", "password", "email", "serveraddress", "identitytoken",
                   "registrytoken"})  # fmt: skip
_DOCKER_HUB = frozenset({"docker.io", "index.docker.io", "https://index.docker.io/v1/"})
_FORM = '{"registry.example": {"username": …, "password": …}}'
_URL = re.compile(r"^https?://|/.*$")  # what may stand around a host in Docker's config.json


def for_image(credentials: Mapping[str, Any], image: ImageRef) -> dict[str, str] | None:
    """The credentials for the pull of an image, or None if the setting has none for it.

    Args:
        credentials: registry host (with its port) → credentials.
        image: what to pull.

    Raises:
        ConfigError: the entry has another form; the message has none of its values.
    """
    if not isinstance(credentials, Mapping):
        raise ConfigError(SETTING, f"<{type(credentials).__name__}>", f"use the form {_FORM}")
    hosts = {image.registry_key}
    if hosts & _DOCKER_HUB:
        hosts |= _DOCKER_HUB
    found = next((credentials[host] for host in sorted(hosts) if host in credentials), None)
    if found is None:
        return None
    if not _fits(found):
        raise ConfigError(SETTING, f"<of {image.registry_key}>", f"use the form {_FORM}")
    return {str(name): str(value) for name, value in found.items() if value is not None}


def check(credentials: object) -> None:
    """Look at the setting where it is a dict, before any image is pulled.

    Raises:
        ConfigError: the entry of a registry has another form; its value is secret.
    """
    for host, found in credentials.items() if isinstance(credentials, Mapping) else ():
        if found is not None and not _fits(found):
            raise ConfigError(f"{SETTING}[{host!r}]", found, f"use the form {_FORM}")


def _fits(entry: object) -> bool:
    return isinstance(entry, Mapping) and bool(entry) and set(entry) <= _KEYS


def from_file(text: str) -> dict[str, Any]:
    """Read a file of credentials: the setting's own form in JSON, or Docker's config.json.

    Raises:
        ConfigError: neither of these; the message has nothing of the file's content.
    """
    try:
        content = json.loads(text)
    except ValueError:
        raise ConfigError(SETTING, "<file>", f"it is not JSON; use the form {_FORM}") from None
    if not isinstance(content, dict):
        raise ConfigError(SETTING, "<file>", f"use the form {_FORM}")
    auths = content.get("auths")
    if auths is None:
        return content
    if not isinstance(auths, dict):
        raise ConfigError(SETTING, "<file>", "its auths are not those of Docker's config.json")
    entries = {host: _entry(host, auth) for host, auth in auths.items()}
    # As Docker reads it: a URL stands for its host, unless the host itself is there too. An empty
    # entry says that a credential helper knows more.
    hosts = {_URL.sub("", host): entry for host, entry in entries.items()}
    return {host: entry for host, entry in {**hosts, **entries}.items() if entry}


def _entry(host: str, auth: object) -> dict[str, str]:
    """One entry of config.json: user and password may be joined in base64."""
    if not isinstance(auth, Mapping):
        raise ConfigError(SETTING, f"<of {host}>", "it is no entry of Docker's config.json")
    entry = {name: value for name, value in auth.items() if name in _KEYS}
    if auth.get("auth"):
        try:
            joined = base64.b64decode(str(auth["auth"]), validate=True).decode()
        except ValueError:
            raise ConfigError(SETTING, "<file>", "an auth is not base64") from None
        entry["username"], _, entry["password"] = joined.partition(":")
    return entry
