"""Where a text that a user types would name a place of the Engine's host, and what it may be there.

Places are sources of mounts, names of volumes, devices, networks, other containers, ports and the
like. A text is let in only if it can be no more than a part of one name: `check` looks at that when
the Hub starts, by the option's regular expression, and `PART` is one more rule for each text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from ..errors import ConfigError
from ..templates import IDENTITY
from .overrides import texts
from .patterns import can_match

VALUE = "{value}"
#: What takes a text out of the name that it is a part of.
LEAVING = ("/", ":", "..")
#: What an Engine takes for a mode rather than for the name of a network; ``host`` is its own.
MODES = (
    *("bridge", "container", "default", "host", "nat", "none", "ns", "pasta", "podman", "private"),
    "slirp4netns",
)
#: Settings that name networks.
_NETWORKS = frozenset({"network_name", "networks"})
#: Settings of which no user can type a part, whatever it is.
_NEVER: Mapping[str, str] = {
    "allow_unsafe": "it says what servers may do to the host",
    "hardening": "it says what servers are kept from",
    "network_isolation": "it says who reaches whom",
    "prefix": "it is a part of all names",
}
#: What a text must match that becomes part of a place. Beyond `LEAVING`, it has nothing that means
#: something in the options of a mount or in a template, and nothing that cannot be seen.
PART = re.compile(
    r"(?![-~])(?!\.(?![\s\S]))(?![\s\S]*\.\.)"
    r"[^/\\:,={}\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+"
)
PART_IN_WORDS = (
    "expected a part of a name: no '..', none of / \\ : , = { } and no invisible characters, and "
    "neither '-' nor '~' at its beginning"
)
_FIELD = re.compile(r"\{(\w+)\}")

# --- the table ---------------------------------------------------------------------------------

#: Arguments that only count or limit, or say what is in the container; all others are places.
_HARMLESS_FOR_HOST = frozenset(
    {
        "blkio_weight", "cpu_count", "cpu_percent", "cpu_period", "cpu_quota", "cpu_rt_period",
        "cpu_rt_runtime", "cpu_shares", "cpuset_cpus", "cpuset_mems", "dns_opt", "dns_search",
        "init", "kernel_memory", "mem_limit", "mem_reservation", "mem_swappiness",
        "memswap_limit", "nano_cpus", "oom_kill_disable", "oom_score_adj", "pids_limit",
        "read_only", "shm_size", "tmpfs", "ulimits",
    }
)  # fmt: skip
_HARMLESS_AT_CREATE = frozenset(
    {
        "command", "detach", "domainname", "entrypoint", "environment", "healthcheck",
        "hostname", "labels", "open_stdin", "stdin_open", "stop_signal", "tty", "working_dir",
    }
)  # fmt: skip


def _all(value: Any) -> Iterator[str]:
    yield from texts(value)


def _sources(value: Any) -> Iterator[str]:
    """Of the form of ``volumes``: all but the path in the container."""
    for source, target in value.items() if isinstance(value, Mapping) else ():
        yield from texts(source)
        yield from _other_than({"bind"}, target)


def _mounts(value: Any) -> Iterator[str]:
    for entry in value if isinstance(value, (list, tuple)) else ():
        yield from _other_than({"target"}, entry)


def _other_than(harmless: Iterable[str], value: Any) -> Iterator[str]:
    known = frozenset(harmless)
    for name, part in value.items() if isinstance(value, Mapping) else ():
        if name not in known:
            yield from texts(name)
            yield from texts(part)


def _path(value: Any) -> Iterator[str]:
    """Text alone is a path."""
    if isinstance(value, str):
        yield value


#: Setting → the texts in its value that name places of the host.
PLACES: Mapping[str, Callable[[Any], Iterator[str]]] = {
    "allow_unsafe": _all,
    "cap_add": _all,
    "devices": _all,
    "env_keep": _all,
    "extra_create_kwargs": lambda value: _other_than(_HARMLESS_AT_CREATE, value),
    "extra_host_config": lambda value: _other_than(_HARMLESS_FOR_HOST, value),
    "extra_service_spec": _all,
    "hardening": _all,
    "host_ip": _all,
    "log_config": _all,
    "mounts": _mounts,
    "name_template": _all,
    "network_isolation": _all,
    "network_name": _all,
    "networks": _all,
    "placement_constraints": _all,
    "prefix": _all,
    "read_only_volumes": _sources,
    "registry_credentials": _path,
    "server_volume": _all,
    "storage_opt": _all,
    "volumes": _sources,
}

# --- the checks --------------------------------------------------------------------------------


def placed(override: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """(setting, text) for each text of an override in which a typed value would be in a place."""
    for name, value in override.items():
        for text in PLACES[name](value) if name in PLACES else ():
            if VALUE in text:
                yield name, text


def check(override: Mapping[str, object], pattern: str, where: str) -> None:
    """Refuse a free text that could name another place than it was meant for.

    Args:
        override: the settings that it is put into.
        pattern: the option's ``validation_regex``, which compiles; "" if it has none.
        where: the option, for the message.

    Raises:
        ConfigError: the pattern lets through one of `LEAVING`, or what is around the text makes it
            run into a user's or server's name.
    """
    for name, text in placed(override):
        _check_never(name, text, where)
        found = [part for part in LEAVING if not pattern or can_match(pattern, part)]
        if found:
            could = f"; this one can match {' and '.join(map(repr, found))}" if pattern else ""
            hint = (
                f"what is typed becomes a part of {text!r} in {name}, so a validation_regex is "
                f"needed that cannot match '/', ':' or '..'{could}; such as '[a-z0-9-]+'"
            )
            raise ConfigError(f"{where}['validation_regex']", pattern, hint)
        check_apart(text, f"{where}['spawner_override'][{name!r}]")


def rules(override: Mapping[str, object]) -> list[re.Pattern[str]]:
    """What a text must match besides the option's own pattern; nothing where it is in no place."""
    found = list(placed(override))
    modes = {
        mode[len(before) : len(mode) - len(after)]
        for name, text in found
        if name in _NETWORKS
        for before, _, after in [text.partition(VALUE)]
        for mode in MODES
        if len(mode) > len(before + after) and mode.startswith(before) and mode.endswith(after)
    }
    listed = "|".join(map(re.escape, sorted(modes)))
    no_mode = [re.compile(rf"(?!(?:{listed})(?![\s\S]))[\s\S]*")] if modes else []
    return [PART, *no_mode] if found else []


def check_number(override: Mapping[str, object], where: str) -> None:
    """Refuse a number that could run into a user's or server's name; it can leave none.

    Raises:
        ConfigError: see `check`.
    """
    for name, text in placed(override):
        _check_never(name, text, where)
        check_apart(text, f"{where}['spawner_override'][{name!r}]")


def _check_never(name: str, text: str, where: str) -> None:
    if name in _NEVER:
        hint = f"{_NEVER[name]}, so no user can type a part of it"
        raise ConfigError(f"{where}['spawner_override'][{name!r}]", text, hint)


def check_apart(text: str, where: str) -> None:
    """Refuse a path of the host in which what is typed runs into a user's or server's name.

    User ``a`` who types ``b-x`` would get the same as ``a-b`` who types ``x``.

    Raises:
        ConfigError: both are between the same two slashes.
    """
    if not text.startswith(("/", "~")):
        return  # the name of a volume, whose labels tell whose it is
    for segment in text.split("/"):
        names = [name for name in _FIELD.findall(segment) if name in IDENTITY]
        if VALUE in segment and names:
            hint = f"{VALUE} and {{{names[0]}}} need a '/' between them, to be told apart"
            raise ConfigError(where, text, hint)
