"""Overrides of settings by a choice: checked when the Hub starts, merged when a choice is made.

The rules of merging are KubeSpawner's and JupyterHub's (`Spawner.group_overrides`): a dict is
merged into the dict that is there, at every depth; None removes a key; anything else replaces.
Unlike there, nothing is changed in place, so that no override can leak into the configuration.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ..errors import ConfigError, DockerNamedError, OptionsError, shows
from ..templates import doubled, shielded
from .kubernetes import KUBERNETES, instead_of
from .swarm import ONLY_IN_SWARM, SWARM_SETTINGS

OVERRIDE = "spawner_override"
OVERRIDE_ALIAS = "kubespawner_override"

#: Settings that cannot differ between the servers of one Hub.
HUB_WIDE = frozenset(
    {
        "allow_insecure_engine",
        "allowed_registries",
        "client_kwargs",
        "gpu_devices",
        "group_limits",
        "hub_id",
        "max_parallel_calls",
        "max_parallel_pulls",
        "max_parallel_pulls_per_user",
        "max_servers_per_user",
        "max_starts_per_user",
        "max_total_cpu",
        "max_total_memory",
        "orphan_grace",
        "orphan_interval",
        "orphans",
        "prepull",
        "strict_config",
        "tls_config",
    }
)
#: Settings that are read before a user chooses.
EARLY = frozenset(
    {
        "additional_profile_form_template_paths",
        "allowed_images",
        "apply_user_options",
        "auth_state_hook",
        "common_options",
        "group_overrides",
        "options_form",
        "options_from_form",
        "profile_form_template",
        "profile_list",
    }
)

#: What no choice can override.
FIXED = HUB_WIDE | EARLY

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{value\}")
_TEMPLATE_PLACEHOLDER = re.compile(r"\{value\}")
# What str.format would read as more than plain text of the value, such as {value!r} or {value.x}.
_ODD_PLACEHOLDER = re.compile(r"(?<!\{)\{value[!:.\[][^}]*\}")


@dataclass(frozen=True)
class OverridableSettings:
    """The settings that an override may name, as data.

    Attributes:
        settings: their names.
        templates: those whose text is expanded as a template afterwards (``{username}``), where a
            user's own text must not be read as one.
        in_passing: those of `templates.expand_in_passing`, likewise.
        check: called with a name and a value known when the Hub starts; raises when it cannot be.
    """

    settings: frozenset[str]
    templates: frozenset[str] = frozenset()
    in_passing: frozenset[str] = frozenset()
    check: Callable[[str, object], object] | None = None

    def require(self, name: object, value: object, where: str) -> str:
        """The name, if it is a setting that a choice can override.

        Raises:
            ConfigError: it is not; the hint names what to use instead, if there is something.
        """
        if not isinstance(name, str):
            raise ConfigError(where, {name: value}, "the keys of an override are names of settings")
        if name in HUB_WIDE:
            hint = of_the_hub(name)
        elif name in EARLY:
            hint = "it is decided before anybody chooses, so a choice cannot override it"
        elif name in self.settings:
            return name
        elif name in SWARM_SETTINGS:
            hint = ONLY_IN_SWARM
        elif name in KUBERNETES:
            instead = instead_of(self.settings >= SWARM_SETTINGS)[name]
            hint = "it means something for Kubernetes only, not for Docker; "
            hint += f"use {instead}" if instead else "leave it out"
        else:
            near = difflib.get_close_matches(name, self.settings, n=1)
            hint = "no such setting; "
            hint += f"did you mean {near[0]!r}? " if near else ""
            hint += f"an override may have {', '.join(sorted(self.settings - FIXED))}"
        raise ConfigError(f"{where}[{name!r}]", value, hint)


@dataclass(frozen=True)
class Layer:
    """Settings that one part of a choice overrides.

    Attributes:
        source: the part in words, such as ``profile 'gpu'``.
        settings: setting → value, or a callable that takes the spawner and returns the value.
        field: the key in ``user_options`` whose own text or number went into the settings; "" when
            all is the admin's.
        asked: that text or number.
    """

    source: str
    settings: Mapping[str, object] = field(default_factory=dict)
    field: str = ""
    asked: object = None

    @property
    def chosen(self) -> str:
        """The part in words, with what the user wrote; equal for equal choices alone."""
        return f"{self.source}: {self.asked}" if self.field else self.source

    def refused(self, name: str, value: object, why: str) -> DockerNamedError:
        """The error for a setting that does not take its value: the user's or the admin's."""
        if self.field:
            # Why may quote the whole of an admin's value, into which the user's text went.
            reason = f": {why}" if shows(name, value) else ""
            return OptionsError(
                self.field, self.asked, f"the setting {name} does not take it{reason}"
            )
        return ConfigError(f"{name} (by {self.source})", value, why)


def read(
    entry: Mapping[str, object], where: str, overridable: OverridableSettings
) -> dict[str, object]:
    """The override in a profile, choice or the like, under either of its two names.

    Raises:
        ConfigError: both names, no dict, or something in it that no choice can override.
    """
    if OVERRIDE in entry and OVERRIDE_ALIAS in entry:
        hint = f"{OVERRIDE} and {OVERRIDE_ALIAS} are two names for the same thing: give one"
        raise ConfigError(where, sorted(entry), hint)
    key = OVERRIDE if OVERRIDE in entry else OVERRIDE_ALIAS
    override = entry.get(key, {})
    where = f"{where}[{key!r}]"
    if not isinstance(override, Mapping):
        raise ConfigError(where, override, "expected a dict of setting → value")
    return {overridable.require(name, value, where): value for name, value in override.items()}


def problems_of_groups(
    group_overrides: object, overridable: OverridableSettings
) -> list[ConfigError]:
    """What cannot work in JupyterHub's ``group_overrides``, as far as known when the Hub starts.

    Unlike a choice, a group may decide on what can be chosen.
    """
    found = []
    entries = group_overrides if isinstance(group_overrides, Mapping) else {}
    for key, entry in entries.items():
        where = f"group_overrides[{key!r}]"
        entry = entry if isinstance(entry, Mapping) else {}
        override, groups = entry.get(OVERRIDE), entry.get("groups")
        if not isinstance(override, Mapping) or not isinstance(groups, (list, tuple, set)):
            hint = "expected a dict with 'groups', a list, and 'spawner_override', a dict"
            found.append(ConfigError(where, entry, hint))
            continue
        for name, value in override.items():
            place = f"{where}[{OVERRIDE!r}]"
            try:
                if name not in EARLY:
                    overridable.require(name, value, place)
                check_values({name: value}, place, overridable)
            except ConfigError as error:
                found.append(error)
    return found


def of_the_hub(name: str) -> str:
    """Why a setting cannot be one server's, and where it belongs."""
    return (
        "it holds for all servers of the Hub, so that one server cannot have another; set "
        f"c.DockerNamedSpawner.{name}"
    )


def given_anywhere(settings: Any, name: str) -> list[Any]:
    """The values of a setting: its own, and those that profiles, options and groups give it.

    Callables are left out: what they return is known at a start only.
    """
    places = (settings.profile_list, settings.common_options, settings.group_overrides)
    found = [getattr(settings, name), *(one for place in places for one in _given(place, name))]
    return [one for one in found if not callable(one)]


def _given(value: object, name: str) -> Iterator[Any]:
    """The values of a setting in all overrides, at any depth."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            if key in (OVERRIDE, OVERRIDE_ALIAS) and isinstance(part, Mapping):
                yield from (part[one] for one in part if one == name)
            else:
                yield from _given(part, name)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _given(part, name)


def hub_wide(settings: object) -> dict[str, object]:
    """The settings that cannot differ between servers, as they are; see `restore`."""
    return {name: copied(getattr(settings, name)) for name in sorted(HUB_WIDE)}


def restore(settings: object, before: Mapping[str, object], who: str) -> ConfigError | None:
    """Put back what `hub_wide` returned, and say what had been changed.

    Args:
        settings: what somebody may have changed.
        before: from before that.
        who: that somebody, such as ``pre_spawn_hook``.
    """
    error = None
    for name, value in before.items():
        changed = getattr(settings, name)
        if changed != value:
            setattr(settings, name, value)
            error = ConfigError(f"{name} (by {who})", changed, of_the_hub(name))
    return error


def check_values(
    override: Mapping[str, object], where: str, overridable: OverridableSettings
) -> None:
    """Validate the values that are already known with the settings themselves.

    Raises:
        ConfigError: one does not.
    """
    if overridable.check is None:
        return
    for name, value in override.items():
        if callable(value):
            continue
        try:
            overridable.check(name, value)
        except Exception as error:  # whatever a validator of the admin's own class may raise
            hint = error.hint if isinstance(error, ConfigError) else str(error)
            raise ConfigError(f"{where}[{name!r}]", value, hint) from error


def check_placeholders(override: Mapping[str, object], where: str) -> None:
    """Refuse what looks like a format of ``{value}``: only the plain field is replaced.

    Raises:
        ConfigError: there is such a thing.
    """
    for text in texts(override):
        odd = _ODD_PLACEHOLDER.search(text)
        if odd:
            hint = f"{odd[0]} cannot be filled in; write {{value}}, for the whole of it"
            raise ConfigError(where, text, hint)


def texts(value: object) -> list[str]:
    """All strings in a value, keys of dicts included."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, Mapping):
        return [text for pair in value.items() for part in pair for text in texts(part)]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [text for part in value for text in texts(part)]
    return []


def filled(
    override: Mapping[str, object], value: str | int | float, overridable: OverridableSettings
) -> dict[str, object]:
    """An override with ``{value}`` filled in, in strings at any depth, keys included.

    ``{{`` and ``}}`` become single braces, and any other field stays as it is, as in KubeSpawner.
    In settings that are templates, only ``{value}`` is touched, and what a user wrote is put in so
    that it comes out of the template as it was typed.

    A string that is ``{value}`` and nothing else becomes the value itself, so a number stays one.
    """
    result = {}
    for name, part in override.items():
        if name in overridable.templates:
            result[name] = _fill(part, value, _TEMPLATE_PLACEHOLDER, doubled)
        elif name in overridable.in_passing:
            result[name] = _fill(part, value, _TEMPLATE_PLACEHOLDER, shielded)
        else:
            result[name] = _fill(part, value, _PLACEHOLDER, str)
    return result


def with_names_shielded(
    setting: str, value: object, names: Iterable[str], overridable: OverridableSettings
) -> object:
    """What a callable of the admin's returned, in which names of users are no templates.

    A callable may put the user's name itself into a path. Of a user called ``{servername}`` that
    would be read as the field.

    Args:
        setting: whose value it is.
        value: what the callable returned.
        names: those of the user and the server.
        overridable: which settings are templates.
    """
    shield = doubled if setting in overridable.templates else shielded
    if setting not in overridable.templates | overridable.in_passing:
        return value
    odd = [name for name in names if shield(name) != name]
    if not odd:
        return value
    pattern = re.compile("|".join(map(re.escape, odd)))
    return _replaced(value, lambda text: pattern.sub(lambda match: shield(match[0]), text))


def _replaced(part: object, change: Callable[[str], object]) -> object:
    if isinstance(part, str):
        return change(part)
    if isinstance(part, Mapping):
        return {_replaced(key, change): _replaced(inner, change) for key, inner in part.items()}
    if isinstance(part, (list, tuple, set)):
        return type(part)(_replaced(inner, change) for inner in part)
    return part


def _fill(
    part: object,
    value: str | int | float,
    pattern: re.Pattern[str],
    as_typed: Callable[[str], str],
) -> object:
    text = as_typed(value if isinstance(value, str) else plain(value))
    signs = {"{{": "{", "}}": "}", "{value}": text}

    def fill(part: str) -> object:
        if part == "{value}" and not isinstance(value, str):
            return value
        return pattern.sub(lambda match: signs[match[0]], part)

    return _replaced(part, fill)


def plain(number: int | float) -> str:
    """A number as people write it: ``2``, ``1.5``, ``0.00001``, never ``1e-05``."""
    if isinstance(number, int):
        return str(number)
    digits = format(Decimal(repr(number)), "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def merged(current: object, new: object) -> object:
    """A setting's next value: ``new`` merged into ``current`` if both are dicts, else ``new``.

    Neither is changed, and the result shares no list or dict with them.
    """
    if not isinstance(new, Mapping) or not isinstance(current, Mapping):
        return copied(new)
    return _updated(current, new)


def _updated(current: Mapping[object, object], new: Mapping[object, object]) -> object:
    result = {key: copied(value) for key, value in current.items()}
    for key, value in new.items():
        if isinstance(value, Mapping):
            inner = current.get(key)
            if isinstance(inner, Mapping):
                result[key] = _updated(inner, value)
            elif value or key not in current:
                result[key] = _updated({}, value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = copied(value)
    return result


def copied(value: Any) -> Any:
    """A copy of dicts, lists, tuples and sets at every depth; what is in them is shared."""
    if isinstance(value, Mapping):
        return {key: copied(inner) for key, inner in value.items()}
    if type(value) in (list, tuple, set):
        return type(value)(map(copied, value))
    return value
