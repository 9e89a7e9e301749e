"""How many servers, and how much memory and CPU, may be promised at once. Pure.

A server is promised its limits when its start begins, and they count until it has ended. So what
runs, what is starting and what is about to start never come to more than the settings allow.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError, LimitReached, OptionsError

#: The settings for all users, and the keys of ``group_limits`` for the members of a group.
PER_USER = ("max_servers_per_user", "max_starts_per_user")
TOTALS = ("max_total_memory", "max_total_cpu")
OF_GROUP = ("max_servers", "max_starts")
#: What `group_limits` may say of one group.
GROUP_KEYS = (*OF_GROUP, *TOTALS, *PER_USER)
_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGT]?)")
#: Where sums of fractions of CPUs are not exact.
_EXACT = 1e-6


@dataclass(frozen=True)
class Promise:
    """What a server gets when it starts, and has until it has ended.

    Attributes:
        memory: bytes; 0 where it has neither a limit nor a guarantee.
        cpu: CPUs, likewise.
        gpus: ids of the GPUs that are its own.
    """

    memory: int = 0
    cpu: float = 0.0
    gpus: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it is kept; `from_json` reads it."""
        return {"memory": self.memory, "cpu": self.cpu, "gpus": list(self.gpus)}

    @classmethod
    def from_json(cls, kept: object) -> Promise | None:
        """Read what was kept; None where nothing was, or another version kept something else."""
        try:
            values: dict[str, Any] = dict(kept)  # type: ignore[call-overload]  # checked by trying
            return cls(int(values["memory"]), float(values["cpu"]), tuple(values["gpus"]))
        except (TypeError, ValueError, KeyError):
            return None


def promised(
    host_config: Mapping[str, Any],
    *,
    mem_limit: int | None,
    mem_guarantee: int | None,
    cpu_limit: float | None,
    cpu_guarantee: float | None,
) -> Promise:
    """What a server is promised: its limit, or where it has none its guarantee.

    Args:
        host_config: keys of HostConfig that win over the settings.
        mem_limit: bytes; None: not set.
        mem_guarantee: likewise.
        cpu_limit: CPUs; None: not set.
        cpu_guarantee: likewise.
    """
    memory = host_config.get("Memory", mem_limit) or 0
    reserved = host_config.get("MemoryReservation", mem_guarantee) or 0
    cpu = cpu_limit or 0
    if "NanoCpus" in host_config:
        cpu = (host_config["NanoCpus"] or 0) / 1e9
    elif "CpuQuota" in host_config:
        cpu = max(host_config["CpuQuota"] or 0, 0) / (host_config.get("CpuPeriod") or 100_000)
    # The Engine takes -1 for no limit.
    return Promise(max(int(memory), 0) or max(int(reserved), 0), float(cpu or cpu_guarantee or 0))


@dataclass(frozen=True)
class InUse:
    """One server that counts.

    Attributes:
        user: whose.
        server: its name; "" for the default one.
        promise: what it has.
        starting: it does not run yet.
    """

    user: str
    server: str
    promise: Promise = Promise()
    starting: bool = False


@dataclass(frozen=True)
class Bound:
    """One limit that a start has to keep.

    Attributes:
        setting: as it is written, such as ``max_total_memory``.
        kind: ``servers``, ``starts``, ``memory`` or ``cpu``.
        most: how much of that.
        users: whose servers count; None: everybody's.
        whose: those users in words, such as ``of the group 'students'``.
    """

    setting: str
    kind: str
    most: float
    users: Collection[str] | None = None
    whose: str = "of all users"

    @property
    def is_size(self) -> bool:
        """It limits what servers have, rather than how many there are."""
        return self.kind in ("memory", "cpu")

    def counts(self, one: InUse) -> bool:
        """Whether a server counts here."""
        return (self.users is None or one.user in self.users) and (
            self.kind != "starts" or one.starting
        )

    def of(self, promise: Promise) -> float:
        """How much a promise takes up."""
        if self.kind == "memory":
            return promise.memory
        return promise.cpu if self.kind == "cpu" else 1


def read_group_limits(setting: Mapping[Any, Any]) -> dict[str, dict[str, float]]:
    """The setting ``group_limits`` with bytes as numbers; 0 and None are no limit.

    Raises:
        ConfigError: something in it has no meaning.
    """
    found = {}
    for group, limits in setting.items():
        where = f"group_limits[{group!r}]"
        if not isinstance(group, str) or not isinstance(limits, Mapping):
            raise ConfigError(where, limits, f"expected a dict with {', '.join(GROUP_KEYS)}")
        found[group] = {key: _amount_of(where, key, value) for key, value in limits.items()}
    return found


def _amount_of(where: str, key: object, value: object) -> float:
    where = f"{where}[{key!r}]"
    if key not in GROUP_KEYS:
        raise ConfigError(where, value, f"no such limit; there are {', '.join(GROUP_KEYS)}")
    if value is None:
        return 0
    whole, fraction = isinstance(value, int), isinstance(value, float)
    if key == "max_total_memory" and isinstance(value, str) and (size := _SIZE.fullmatch(value)):
        return float(size[1]) * _SIZES[size[2]]
    fits = whole or (fraction and key in TOTALS)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not fits or not value >= 0:
        works = {"max_total_memory": "bytes, such as '64G'", "max_total_cpu": "CPUs, such as 16.5"}
        raise ConfigError(where, value, f"expected {works.get(str(key), 'a whole number')}")
    return value


def bounds(
    settings: Any, user: str, groups: Iterable[str], members: Callable[[str], Collection[str]]
) -> list[Bound]:
    """The limits that a start of one user has to keep.

    What a group allows each of its members stands instead of what all users are allowed; of
    several groups, the one that allows most decides. Totals of groups add to those of all.

    Args:
        settings: has the settings of `PER_USER`, of `TOTALS`, and ``group_limits``.
        user: whose start.
        groups: the names of that user's groups.
        members: group → names of its users; asked of groups with totals alone.

    Raises:
        ConfigError: ``group_limits`` cannot be read.
    """
    limits = read_group_limits(settings.group_limits)
    own = {group: limits[group] for group in sorted(groups) if group in limits}
    found = [_of_user(settings, setting, user, own) for setting in PER_USER]
    found += [
        Bound(setting, setting.split("_")[2], getattr(settings, setting) or 0) for setting in TOTALS
    ]
    for group, totals in own.items():
        keys = [key for key in (*OF_GROUP, *TOTALS) if totals.get(key)]
        users = {*members(group), user} if keys else set()
        found += [
            Bound(
                f"group_limits[{group!r}][{key!r}]",
                key.split("_")[-1],
                totals[key],
                users,
                f"of the group {group!r}",
            )
            for key in keys
        ]
    return [bound for bound in found if bound.most]


def _of_user(
    settings: Any, setting: str, user: str, own: Mapping[str, Mapping[str, float]]
) -> Bound:
    """What one user is allowed, by the groups that say so or by the setting; 0 is no limit."""
    kind, whose = setting.split("_")[1], f"of user {user!r}"
    allowed = {group: limits[setting] for group, limits in own.items() if setting in limits}
    if not allowed:
        return Bound(setting, kind, getattr(settings, setting), {user}, whose)
    group = max(allowed, key=lambda name: allowed[name] or math.inf)
    return Bound(f"group_limits[{group!r}][{setting!r}]", kind, allowed[group], {user}, whose)


def check(bounds: Iterable[Bound], in_use: Collection[InUse], user: str, wanted: Promise) -> None:
    """Refuse what would be more than a limit.

    Args:
        bounds: the limits to keep.
        in_use: all other servers that run or start.
        user: whose server is to start.
        wanted: what that is to be promised.

    Raises:
        LimitReached: a limit has no room; what other users have is told as a sum only.
        OptionsError: it is more than a limit by itself.
        ConfigError: a total is set, and the server has neither a limit nor a guarantee.
    """
    for bound in bounds:
        if bound.is_size:
            _check_size(bound, wanted)
        counted = [one for one in in_use if bound.counts(one)]
        used = math.fsum(bound.of(one.promise) for one in counted)
        if used + bound.of(wanted) > bound.most + _EXACT:
            raise _reached(bound, counted, user, used, bound.of(wanted))


def _check_size(bound: Bound, wanted: Promise) -> None:
    setting = "mem_limit" if bound.kind == "memory" else "cpu_limit"
    asked = bound.of(wanted)
    limit = f"{bound.setting} = {shown(bound.kind, bound.most)}"
    if not asked:
        hint = f"with {limit} each server needs a limit, or a {setting[:3]}_guarantee to count with"
        raise ConfigError(setting, None, hint)
    if asked > bound.most + _EXACT:
        hint = f"it is more than {limit}, which is for all servers {bound.whose} together"
        raise OptionsError(setting, shown(bound.kind, asked), hint)


def _reached(
    bound: Bound, counted: Collection[InUse], user: str, used: float, asked: float
) -> LimitReached:
    own = sorted((one for one in counted if one.user == user), key=lambda one: one.server)
    others = used - math.fsum(bound.of(one.promise) for one in own)
    names = ", ".join(f"{server_name(one.server)}{_amount(bound, one)}" for one in own)
    if bound.users != {user}:
        names = f"of user {user!r}: {names or 'none'}; of others: {shown(bound.kind, others)}"
    total = shown(bound.kind, used)
    if bound.is_size:
        what = "" if bound.kind == "memory" else " CPUs"
        text = (
            f"servers {bound.whose} that run or start were promised {total}{what} ({names}), and "
            f"this server needs {shown(bound.kind, asked)}"
        )
    else:
        doing = "are starting" if bound.kind == "starts" else "run or start"
        text = f"{total} servers {bound.whose} {doing} ({names})"
    what_helps = "has started" if bound.kind == "starts" else "was stopped"
    hint = f"There is room again when one of them {what_helps}"
    return LimitReached(bound.setting, shown(bound.kind, bound.most), text, hint)


def _amount(bound: Bound, one: InUse) -> str:
    return f" {shown(bound.kind, bound.of(one.promise))}" if bound.is_size else ""


def server_name(name: str) -> str:
    """A server in words."""
    return repr(name) if name else "the default server"


def shown(kind: str, amount: float) -> str:
    """An amount as a setting has it: ``1.5G`` of memory, and plain numbers of anything else."""
    if kind != "memory":
        return f"{amount:g}"
    for letter, size in (("T", 2**40), ("G", 2**30), ("M", 2**20), ("K", 2**10)):
        if amount >= size:
            return f"{math.ceil(amount / size * 100) / 100:g}{letter}"
    return f"{amount:g}"
