"""The settings about security and limits, read from a spawner as values; what is wrong is told."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from typing import Any

from ..desired.hardening import Hardening, capability
from ..desired.resolved import ResolvedSettings
from ..desired.unsafe import Judge
from ..engine.sdk_kwargs import host_config
from ..errors import ConfigError

#: What a Linux kernel divides root's rights into.
CAPABILITIES = frozenset(
    {
        "ALL", "AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF",
        "CHECKPOINT_RESTORE", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID",
        "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE",
        "MKNOD", "NET_ADMIN", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON",
        "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT", "SYS_CHROOT",
        "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE",
        "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
    }
)  # fmt: skip
#: Settings with an amount of memory or CPUs.
AMOUNTS = ("mem_limit", "mem_guarantee", "cpu_limit", "cpu_guarantee")
#: The least part of a CPU that the Engine can limit a container to.
LEAST_CPU = 0.01
#: Beyond all that the Engine's API can say: bytes, and billionths of a CPU.
_TOO_MANY = 2**63
_NS = 1_000_000_000
#: Settings that become keys of HostConfig as they are.
LIMITS = ("shm_size", "ulimits", "devices", "storage_opt")
#: Settings of `Hardening` that need no reading.
_PLAIN = ("allow_privilege_escalation", "read_only", "internal_network")


def hardening_of(settings: Any, log_driver: str = "") -> Hardening:
    """The settings of one server.

    Args:
        settings: the spawner.
        log_driver: the Engine's own; "": not known.

    Raises:
        ConfigError: one cannot work.
    """
    limits: dict[str, Any] = {}
    for name in LIMITS:
        limits |= limit(name, getattr(settings, name))
    return Hardening(
        level=settings.hardening,
        cap_drop=capabilities("cap_drop", settings.cap_drop),
        cap_add=capabilities("cap_add", settings.cap_add),
        pids_limit=pids_limit(settings.pids_limit),
        log_config=log_config(settings.log_config),
        tmpfs=tmpfs(settings.tmpfs),
        memswap_limit=settings.memswap_limit,
        limits=limits,
        log_driver=log_driver,
        **{name: getattr(settings, name) for name in _PLAIN},
    )


def wants_internal_network(settings: Any) -> bool:
    """Whether a network that is made for servers is to have no way out.

    Args:
        settings: the spawner.
    """
    found = Hardening(level=settings.hardening, internal_network=settings.internal_network)
    return found.wants_internal_network


def refuse_unsafe(resolved: ResolvedSettings, judge: Judge) -> None:
    """Have everything judged that is to be created, callables, hooks and choices included.

    Args:
        resolved: the settings of one start.
        judge: with the setting ``allow_unsafe``.

    Raises:
        ConfigError: something is not allowed.
    """
    judge.capabilities("cap_add", resolved.hardening.cap_add or ())
    for one in resolved.volumes.all:
        judge.mounts(one.setting, [one.mount])
    judge.host_config("extra_host_config", resolved.host_config)
    judge.config("extra_create_kwargs", resolved.config)


def limit(name: str, value: Any) -> dict[str, Any]:
    """One of `LIMITS` as keys of HostConfig.

    Raises:
        ConfigError: the Docker SDK cannot read it.
    """
    if not value:
        return {}
    if name == "storage_opt":
        value = {str(option): str(text) for option, text in value.items()}
    if name == "devices" and not all(one.startswith("/") for one in value):
        raise ConfigError(name, value, "the devices of the Engine's host are absolute paths")
    return host_config({name: value}, name)


def amount(name: str, value: float | None) -> None:
    """Look at one of `AMOUNTS`.

    Raises:
        ConfigError: the Engine cannot be told of it, or would take it for no limit at all.
    """
    if value is None:
        return
    cpus = name.startswith("cpu")
    if not math.isfinite(value) or value * (_NS if cpus else 1) >= _TOO_MANY:
        raise ConfigError(name, value, "the Engine knows no such number; set None for none")
    if name == "cpu_limit" and 0 < value < LEAST_CPU:
        raise ConfigError(name, value, f"set at least {LEAST_CPU}, or None for no limit")


def capabilities(name: str, value: Iterable[object] | None) -> tuple[str, ...] | None:
    """A list of capabilities in one spelling.

    Raises:
        ConfigError: there is no such capability.
    """
    if value is None:
        return None
    found = []
    for one in value:
        word = capability(one)
        if word not in CAPABILITIES:
            near = difflib.get_close_matches(word, CAPABILITIES, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(name, one, f"there is no such capability{meant}")
        found.append(word)
    return tuple(found)


def pids_limit(value: int | None) -> int | None:
    """The number as the Engine takes it.

    Raises:
        ConfigError: it is less than -1.
    """
    if value is not None and value < -1:
        raise ConfigError("pids_limit", value, "use a positive number, or -1 for no limit")
    return -1 if value == 0 else value


def log_config(value: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The log driver and its options in the API's keys.

    Raises:
        ConfigError: other keys, or a driver's name or options of another type.
    """
    if value is None:
        return None
    known, options = set(value) <= {"type", "config"}, value.get("config") or {}
    if not known or not isinstance(value.get("type", ""), str) or not isinstance(options, Mapping):
        hint = 'use {"type": "json-file", "config": {"max-size": "10m"}} or the like'
        raise ConfigError("log_config", value, hint)
    config = {str(name): str(text) for name, text in options.items()}
    driver = {"Type": value["type"]} if value.get("type") else {}
    return {**driver, "Config": config}


def tmpfs(value: Mapping[str, Any] | None) -> dict[str, str] | None:
    """Path → options.

    Raises:
        ConfigError: a path that is not absolute.
    """
    for path in value or ():
        if not str(path).startswith("/"):
            raise ConfigError("tmpfs", path, "use absolute paths in the container")
    return None if value is None else {str(path): str(text) for path, text in value.items()}
