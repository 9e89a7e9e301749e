"""Settings that hold for a whole Hub, kept as they are while an admin's hook changes a server's."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import traitlets

from ..options.overrides import hub_wide, restore
from .config_types import refused
from .http_errors import http_error


@contextmanager
def kept_by(hook: str, spawner: Any) -> Iterator[None]:
    """Refuse a hook that changes what cannot differ between the servers of one Hub.

    A setting that does not take what a hook gives it is named, with the value.

    Args:
        hook: its name, for messages.
        spawner: whose settings it may change.

    Raises:
        web.HTTPError: it did, or such a setting did not.
    """
    before = hub_wide(spawner)
    try:
        yield
    except traitlets.TraitError as wrong:
        found = refused(wrong, spawner, hook)
        raise http_error(found, spawner) if found else wrong from wrong
    finally:
        error = restore(spawner, before, hook)
    if error is not None:
        raise http_error(error, spawner)
