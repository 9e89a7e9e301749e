"""What cannot work in the settings of servers in a Swarm, told at the Hub's start.

What callables return is not known then: `lifecycle.swarm_resolver` judges it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .. import templates
from ..desired.resolved import SERVICE
from ..lifecycle import swarm_settings
from . import swarm_body_check
from .hardening_check import judge_of
from .sample import Check


def in_swarm(settings: Any) -> bool:
    """Whether the servers of a spawner are services of a Swarm."""
    return bool(settings.backend.kind == SERVICE)


def _refused(name: str, settings: Any, fields: Mapping[str, str]) -> None:
    value = getattr(settings, name)
    if not callable(value):
        swarm_settings.refuse(name, value)


def _read(
    name: str, read: Callable[[object], object], settings: Any, fields: Mapping[str, str]
) -> None:
    value = getattr(settings, name)
    if not callable(value):
        read(value)


def _service_spec(settings: Any, fields: Mapping[str, str]) -> None:
    setting = swarm_settings.EXTRA
    value = getattr(settings, setting)
    if callable(value):
        return
    given = swarm_settings.service_spec(value)
    spec = templates.expand_all(given, fields, field=setting, in_passing=True)
    judge_of(settings).service(setting, spec)


def _body(name: str, settings: Any, fields: Mapping[str, str]) -> None:
    swarm_body_check.check(name, getattr(settings, name), fields)


#: Checks that look at one setting: they count for overrides, too.
BY_NAME: Mapping[str, Check] = {
    **{name: partial(_body, name) for name in swarm_body_check.NAMES},
    **{
        name: partial(_refused, name)
        for name in (*swarm_settings.REFUSED, "use_internal_ip", "network_name")
    },
    swarm_settings.CONSTRAINTS: partial(
        _read, swarm_settings.CONSTRAINTS, swarm_settings.constraints
    ),
    swarm_settings.PREFERENCES: partial(
        _read, swarm_settings.PREFERENCES, swarm_settings.preferences
    ),
    swarm_settings.RESOURCES: partial(
        _read, swarm_settings.RESOURCES, swarm_settings.generic_resources
    ),
    swarm_settings.EXTRA: _service_spec,
}
