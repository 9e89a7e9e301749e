"""A server that nobody has, to see at the Hub's start what its settings come to for any."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .. import naming
from ..lifecycle.resolver import SettingsResolver
from ..lifecycle.runtime import Runtime

#: Looks at a spawner's settings, with the fields of templates; raises ConfigError.
Check = Callable[[Any, Mapping[str, str]], object]

KEY = naming.Key("hub", "ann", "exp-1")
BASE_URL = "/user/ann/exp-1/"


def fields_of(settings: Any) -> dict[str, str]:
    """The fields of its templates.

    Args:
        settings: of the Hub's configuration: a spawner without a user.
    """
    extra = {"base_url": BASE_URL}
    return naming.namespace(KEY, prefix=settings.prefix, image=settings.image, extra=extra)


def resolver_of(settings: Any, runtime: Runtime) -> SettingsResolver:
    """What reads the settings for its start.

    Args:
        settings: as for `fields_of`.
        runtime: the Engine.
    """
    resolver: SettingsResolver = settings.resolver_class(
        settings, KEY, fields_of(settings), runtime
    )
    return resolver
