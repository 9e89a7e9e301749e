"""Which registries users may name, where they can write the reference of an image. Pure.

The Engine connects to the registry that an image names, from its own network: who may name any can
have it look for services there.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from ..errors import ConfigError, ImageError, OptionsError
from .reference import DEFAULT_REGISTRY, parse, registry_key_of

ANY = "*"
_HOST = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::\d{1,5})?")


def read(setting: object) -> frozenset[str] | None:
    """The setting ``allowed_registries``: hosts, ``{"*"}`` for any, or None where it is not set.

    Raises:
        ConfigError: it has another form.
    """
    if setting is None:
        return None
    if setting == ANY:
        return frozenset({ANY})
    hint = "expected a list of hosts, such as 'registry.example:5000', or '*' for any"
    if isinstance(setting, str) or not isinstance(setting, (list, tuple)):
        raise ConfigError("allowed_registries", setting, hint)
    for host in setting:
        if not isinstance(host, str) or not _HOST.fullmatch(host):
            raise ConfigError("allowed_registries", host, hint)
    return frozenset(map(registry_key_of, setting))


def registries_in(*settings: Any) -> frozenset[str]:
    """Docker Hub, and the registries of all images in some settings.

    Args:
        settings: a reference, lists and dicts of them, or profiles and options, of which what
            stands under the key ``image`` counts. ``{value}`` may stand in a reference.
    """
    named = (registry for one in settings for text in _images(one) for registry in _registry(text))
    return frozenset({DEFAULT_REGISTRY, *named})


def check_allowed(
    field: str, asked: object, image: str, allowed: frozenset[str] | None, known: Collection[str]
) -> bool:
    """Refuse an image of a registry that its user may not name.

    Args:
        field: the option that names it, and ``asked`` what was sent there.
        asked: likewise.
        image: the reference that came of it.
        allowed: as from `read`.
        known: the registries that the configuration names.

    Returns:
        Whether the configuration names the registry.

    Raises:
        OptionsError: the registry may not be named, or the image is no reference.
    """
    try:
        registry = parse(image).registry_key
    except ImageError as error:
        raise OptionsError(field, asked, error.message) from None
    listed = known if allowed is None else allowed
    if registry not in listed and ANY not in listed:
        hint = f"images of the registry {registry!r} may not be chosen here; the registry may be"
        raise OptionsError(field, asked, f"{hint} {', '.join(sorted(listed)) or 'none'}")
    return registry in known or (allowed is not None and registry in allowed)


def _images(value: Any) -> Iterator[str]:
    """References: a text, those in a list, and in dicts what is the value of an alias."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _images(one) if isinstance(one, str) else _under_image(one)
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _images(one) if isinstance(one, str) else _under_image(one)


def _under_image(value: Any) -> Iterator[str]:
    """References under the key ``image``, at any depth."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            if key == "image" and isinstance(one, str):
                yield one
            yield from _under_image(one)
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _under_image(one)


def _registry(image: str) -> Iterator[str]:
    """The registry of a reference that may have fields in it; none if a field can be one."""
    host, slash, _ = image.partition("/")
    if slash and "{" not in host and ("." in host or ":" in host or host == "localhost"):
        yield registry_key_of(host)
