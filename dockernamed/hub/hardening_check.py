"""What cannot work, or is refused, in the settings about security and limits, told at the start.

What callables return, and hooks set, is not known then: `lifecycle.resolver` judges it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from .. import templates
from ..desired.unsafe import SETTING, Judge
from ..desired.volumes import requested_volumes
from ..engine.sdk_kwargs import create_config, host_config
from ..errors import ConfigError, DockerNamedError
from ..lifecycle import hardened
from ..lifecycle.runtime import socket_of
from ..options.overrides import given_anywhere
from .sample import Check


def allowed_anywhere(settings: Any) -> list[str]:
    """The words of ``allow_unsafe``, those that profiles, options and groups add included.

    Which of them come together is known at a start only.
    """
    values = given_anywhere(settings, SETTING)
    lists = [value for value in values if isinstance(value, (list, tuple, set))]
    return sorted({str(word) for listed in lists for word in listed})


def _limit(name: str, settings: Any, fields: Mapping[str, str]) -> None:
    hardened.limit(name, getattr(settings, name))


def _capabilities(name: str, settings: Any, fields: Mapping[str, str]) -> None:
    names = hardened.capabilities(name, getattr(settings, name))
    if name == "cap_add":
        judge_of(settings).capabilities(name, names or ())


def _pids_limit(settings: Any, fields: Mapping[str, str]) -> None:
    hardened.pids_limit(settings.pids_limit)


def _log_config(settings: Any, fields: Mapping[str, str]) -> None:
    hardened.log_config(settings.log_config)


def _tmpfs(settings: Any, fields: Mapping[str, str]) -> None:
    hardened.tmpfs(settings.tmpfs)


def _unsafe_mounts(name: str, settings: Any, fields: Mapping[str, str]) -> None:
    try:
        requested = requested_volumes(fields, **{name: getattr(settings, name)})
    except DockerNamedError:
        return  # told by another check
    judge_of(settings).mounts(name, [one.mount for one in requested.all])


def _unsafe_arguments(name: str, settings: Any, fields: Mapping[str, str]) -> None:
    value = getattr(settings, name)
    if callable(value):
        return
    try:
        arguments = templates.expand_all(value, fields, field=name, in_passing=True)
        keys = (create_config if name == "extra_create_kwargs" else host_config)(arguments)
    except DockerNamedError:
        return  # told by another check
    judge = judge_of(settings)
    (judge.config if name == "extra_create_kwargs" else judge.host_config)(name, keys)


def judge_of(settings: Any) -> Judge:
    """Who tells what may be created, as far as that is known without asking anybody."""
    connection = getattr(settings, "connection", None)
    socket = ""
    if connection is not None:
        with suppress(DockerNamedError, ValueError):  # told by another check
            socket = socket_of(connection().url)
    return Judge(frozenset(settings.allow_unsafe), (socket,) if socket else ())


def _swap(settings: Any, fields: Mapping[str, str]) -> None:
    swap, memory = settings.memswap_limit, settings.mem_limit
    if swap is None or swap == -1 or callable(memory):
        return
    if not memory:
        hint = "it is a limit of memory and swap together: set mem_limit, too"
        raise ConfigError("memswap_limit", swap, hint)
    if swap < memory:
        hint = f"it is less than mem_limit = {memory}, which is a part of it"
        raise ConfigError("memswap_limit", swap, hint)


#: Checks that look at one setting, and at ``allow_unsafe``: they count for overrides, too.
BY_NAME: Mapping[str, Check] = {
    **{name: partial(_limit, name) for name in hardened.LIMITS},
    **{name: partial(_capabilities, name) for name in ("cap_drop", "cap_add")},
    **{name: partial(_unsafe_mounts, name) for name in ("volumes", "read_only_volumes", "mounts")},
    **{
        name: partial(_unsafe_arguments, name)
        for name in ("extra_create_kwargs", "extra_host_config")
    },
    "pids_limit": _pids_limit,
    "log_config": _log_config,
    "tmpfs": _tmpfs,
}
CHECKS: tuple[Check, ...] = (*BY_NAME.values(), _swap)
