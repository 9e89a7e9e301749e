"""What cannot work in the settings about what servers share, when the Hub starts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..desired.gpus import check_alone, checked_devices
from ..desired.quotas import TOTALS, Bound, Promise, check, promised, read_group_limits
from ..engine.sdk_kwargs import host_config
from ..errors import ConfigError, OptionsError
from ..images import registries


def group_limits(settings: Any, fields: Mapping[str, str]) -> None:
    """Each is a limit that there is.

    Raises:
        ConfigError: one is not.
    """
    read_group_limits(settings.group_limits)


def allowed_registries(settings: Any, fields: Mapping[str, str]) -> None:
    """Each is a host.

    Raises:
        ConfigError: one is not.
    """
    registries.read(settings.allowed_registries)


def gpu_devices(settings: Any, fields: Mapping[str, str]) -> None:
    """Each names one GPU, and there are as many as one server gets.

    Raises:
        ConfigError: that is not so.
    """
    devices = checked_devices(settings.gpu_devices)
    count = settings.gpus
    if devices and isinstance(count, int) and count > len(devices):
        hint = f"there are {len(devices)} in gpu_devices, for all servers"
        raise ConfigError("gpus", count, hint)


def gpus_alone(settings: Any, fields: Mapping[str, str]) -> None:
    """Nobody else gives out the GPUs that the spawner gives out.

    Raises:
        ConfigError: ``extra_host_config`` does.
    """
    extra, count = settings.extra_host_config, settings.gpus
    if callable(extra) or not (settings.gpu_devices or (count and not callable(count))):
        return
    setting, value = ("gpus", count) if count else ("gpu_devices", settings.gpu_devices)
    try:
        found = host_config(extra)
    except ConfigError:
        return  # told by another check
    check_alone(found, setting, value)


def totals(settings: Any, fields: Mapping[str, str]) -> None:
    """Where there is a total, a server with the settings as they are counts, and fits.

    Raises:
        ConfigError: it has no limit, or a higher one than the total.
    """
    extra = settings.extra_host_config
    try:
        extra = {} if callable(extra) else host_config(extra)
        limits = list(_totals(settings))
    except ConfigError:
        return  # told by another check
    for setting, key, most in limits:
        names = [f"{key.split('_')[2][:3]}_{what}" for what in ("limit", "guarantee")]
        if any(callable(getattr(settings, name)) for name in names):
            continue
        bound = Bound(setting, key.split("_")[2], most)
        try:
            check([bound], [], "", _promise(settings, extra))
        except OptionsError as error:
            raise ConfigError(error.field, error.value, error.hint) from None


def _totals(settings: Any) -> Iterator[tuple[str, str, float]]:
    """Each total: how it is written, its key, and the most there may be."""
    for key in TOTALS:
        if most := getattr(settings, key):
            yield key, key, most
    for group, limits in read_group_limits(settings.group_limits).items():
        for key in TOTALS:
            if most := limits.get(key, 0):
                yield f"group_limits[{group!r}][{key!r}]", key, most


def overriding(settings: Any, name: str, value: object) -> None:
    """Check one value that a profile or a group puts in the place of a setting.

    Raises:
        ConfigError: it cannot work with the other settings.
    """
    check_of = _OF_SETTING.get(name)
    if check_of is not None:
        # As the setting will have it: bytes for "2G".
        whole = settings.traits()[name]._validate(settings, value)
        check_of(_With(settings, name, whole), {})


class _With:
    """Settings, one of which has another value."""

    def __init__(self, settings: Any, name: str, value: object) -> None:
        self._settings = settings
        setattr(self, name, value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._settings, name)


def _promise(settings: Any, extra: Mapping[str, Any]) -> Promise:
    names = ("mem_limit", "mem_guarantee", "cpu_limit", "cpu_guarantee")
    return promised(extra, **{name: _number(getattr(settings, name)) for name in names})


def _number(value: Any) -> Any:
    return None if callable(value) else value


_OF_SETTING = {
    "cpu_guarantee": totals,
    "cpu_limit": totals,
    "extra_host_config": gpus_alone,
    "gpus": gpu_devices,
    "mem_guarantee": totals,
    "mem_limit": totals,
}
#: Checks that look at several settings.
CHECKS = (group_limits, allowed_registries, gpu_devices, gpus_alone, totals)
