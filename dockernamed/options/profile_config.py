"""Reads the settings ``profile_list`` and ``common_options``, and refuses those that cannot work.

The shape is KubeSpawner 7's; what KubeSpawner finds, if at all, when a user starts a server (an
unknown key, a slug used twice, a regex that does not compile) is a `ConfigError` here, when the Hub
starts. ``allowed_users``, ``allowed_groups``, ``number`` and ``metadata`` are additions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from functools import lru_cache

from slugify import slugify

from ..errors import ConfigError, ImageError
from ..images.reference import slot
from . import overrides, places
from .overrides import OVERRIDE, OVERRIDE_ALIAS, OverridableSettings
from .profiles import (
    EVERYBODY,
    MAX_STEPS,
    MAX_TEXT,
    UNLISTED,
    UNLISTED_MARKS,
    Audience,
    Catalogue,
    LazyOptions,
    Number,
    Option,
    Profile,
    Requester,
    Selection,
    Unlisted,
    exact,
)

_ACCESS = ("allowed_users", "allowed_groups")
_OVERRIDES = (OVERRIDE, OVERRIDE_ALIAS)
# Keys of jupyterhub-fancy-profiles are handed to templates like anything under "metadata".
PROFILE_KEYS = frozenset(
    ("display_name", "description", "slug", "default", "profile_options", "metadata")
).union(_OVERRIDES, _ACCESS)
_OPTION_EXTRAS = ("metadata", "dynamic_image_building")
OPTION_KEYS = frozenset(
    ("display_name", "description", "choices", "unlisted_choice", "number")
).union(_OPTION_EXTRAS)
SELECTION_KEYS = frozenset(("display_name", "description", "default", "metadata")).union(
    _OVERRIDES, _ACCESS
)
UNLISTED_KEYS = frozenset(
    (
        "enabled",
        "display_name",
        "display_name_in_choices",
        "description_in_choices",
        "validation_regex",
        "validation_message",
    )
).union(_OVERRIDES, _ACCESS)
IMAGE_KEYS = frozenset(("image", "display_name")).union(_ACCESS)
NUMBER_KEYS = frozenset(("min", "max", "step", "unit", "default")).union(_OVERRIDES)
# What no name, path or variable has a use for: control characters.
_TEXT = re.compile(r"[^\x00-\x1f\x7f]*")


def read(
    profile_list: object, common_options: object, overridable: OverridableSettings
) -> Catalogue:
    """Make a catalogue of the two settings, any callable already called.

    The options of a profile are read when they are first looked at; `check` looks at all.

    Args:
        profile_list: a list of profiles; or a dict of them, which is sorted by its keys; or empty
            or None.
        common_options: a dict like ``profile_options``, for every profile; or empty or None.
        overridable: the settings that overrides may name.

    Raises:
        ConfigError: something in them cannot work; it says where, and what would.
    """
    common = _options(common_options or {}, "common_options", overridable, common=True)
    entries = _entries(profile_list)
    if not entries:
        return Catalogue(None, common)
    profiles: dict[str, Profile] = {}
    for where, entry in entries:
        profile = _profile(entry, where, common, overridable)
        if profile.slug in profiles:
            hint = f"the slug {profile.slug!r} stands for another profile already: give a 'slug'"
            raise ConfigError(where, profile.display_name, hint)
        profiles[profile.slug] = profile
    return Catalogue(profiles, common)


def check(catalogue: Catalogue) -> None:
    """Check everything that `read` has deferred.

    Raises:
        ConfigError: something in it cannot work; it says where, and what would.
    """
    fields: dict[str, str] = {}
    for profile in (catalogue.profiles or {}).values():
        _claim_fields(profile, fields)


def problems(
    profile_list: object, common_options: object, overridable: OverridableSettings
) -> list[ConfigError]:
    """All that cannot work in the two settings: of each profile what is found first.

    Args:
        profile_list: as for `read`.
        common_options: as for `read`.
        overridable: as for `read`.
    """
    found: list[ConfigError] = []
    common: dict[str, Option] = {}
    entries: list[tuple[str, Mapping[str, object]]] = []
    try:
        common = _options(common_options or {}, "common_options", overridable, common=True)
    except ConfigError as error:
        found.append(error)
    try:
        entries = _entries(profile_list)
    except ConfigError as error:
        found.append(error)
    for where, entry in entries:
        try:
            len(_profile(entry, where, common, overridable).options)
        except ConfigError as error:
            found.append(error)
    if not found:
        try:
            check(read(profile_list, common_options, overridable))
        except ConfigError as error:
            found.append(error)
    return found


def images_seen(allowed_images: object, requester: Requester) -> tuple[object, dict[str, str]]:
    """What one user may choose of the setting ``allowed_images``, after any callable was called.

    A dict's values may be references, or dicts with ``image``, and maybe ``display_name``,
    ``allowed_users`` and ``allowed_groups``.

    Returns:
        The setting as `AllowedImages` takes it, and choice → ``display_name``.

    Raises:
        ConfigError: an entry cannot be read.
    """
    if not isinstance(allowed_images, Mapping):
        return allowed_images, {}
    seen: dict[str, object] = {}
    labels: dict[str, str] = {}
    for choice, value in allowed_images.items():
        where = f"allowed_images[{choice!r}]"
        entry: Mapping[str, object] = value if isinstance(value, Mapping) else {"image": value}
        _known(entry, where, IMAGE_KEYS)
        if _access(entry, where).permits(requester):
            seen[choice] = entry.get("image")
            labels[choice] = _text(entry, "display_name", where)
    return seen, {choice: label for choice, label in labels.items() if label}


def image_aliases(allowed_images: object) -> dict[object, object]:
    """Choice → reference for all entries of ``allowed_images``, whoever may choose them."""
    entries = allowed_images.items() if isinstance(allowed_images, Mapping) else ()
    return {
        choice: value.get("image") if isinstance(value, Mapping) else value
        for choice, value in entries
    }


def _entries(profile_list: object) -> list[tuple[str, Mapping[str, object]]]:
    if profile_list is None:
        return []
    if isinstance(profile_list, Mapping):
        keys = _names(profile_list, "profile_list")
        found = [(f"profile_list[{key!r}]", profile_list[key]) for key in sorted(keys)]
    elif isinstance(profile_list, (list, tuple)):
        found = [(f"profile_list[{index}]", entry) for index, entry in enumerate(profile_list)]
    else:
        hint = "expected a list or a dict of profiles, or a callable that returns one"
        raise ConfigError("profile_list", profile_list, hint)
    return [(where, _dict(entry, where)) for where, entry in found]


def _profile(
    entry: Mapping[str, object],
    where: str,
    common: Mapping[str, Option],
    overridable: OverridableSettings,
) -> Profile:
    _known(entry, where, PROFILE_KEYS)
    display_name = _text(entry, "display_name", where)
    if not display_name:
        raise ConfigError(where, dict(entry), "a profile needs a 'display_name'")
    slug = _text(entry, "slug", where) if "slug" in entry else _slug(display_name)
    if not slug or not _TEXT.fullmatch(slug):
        hint = "no slug can be made of this display_name: give a 'slug' of letters and digits"
        raise ConfigError(where, slug or display_name, hint)

    def options() -> dict[str, Option]:
        listed = entry.get("profile_options") or {}
        own = _options(listed, f"{where}['profile_options']", overridable)
        return {key: option for key, option in common.items() if key not in own} | own

    override = overrides.read(entry, where, overridable)
    overrides.check_values(override, where, overridable)
    return Profile(
        slug=slug,
        display_name=display_name,
        override=override,
        options=LazyOptions(options),
        default=_flag(entry, "default", where),
        description=_text(entry, "description", where),
        audience=_access(entry, where),
        metadata=_extras(entry, where, ("metadata",)),
    )


@lru_cache(maxsize=1024)
def _slug(display_name: str) -> str:
    return slugify(display_name)


def _claim_fields(profile: Profile, fields: dict[str, str]) -> None:
    """Refuse ambiguous form fields, such as ``a--b``'s option ``c`` and ``a``'s option ``b--c``."""
    for key in profile.options:
        field = form_field(profile.slug, key)
        for name in (field, field + UNLISTED):
            if name in fields:
                hint = f"the form field {name!r} would be {fields[name]}'s too: give another 'slug'"
                raise ConfigError("profile_list", profile.slug, hint)
            fields[name] = f"profile {profile.slug!r}"


def form_field(slug: str | None, key: str) -> str:
    """The name of an option's form field; KubeSpawner's, and our own for an option of no profile.

    With `UNLISTED` after it, it is the field of the free text.
    """
    return f"common-option--{key}" if slug is None else f"profile-option-{slug}--{key}"


def _options(
    value: object, where: str, overridable: OverridableSettings, *, common: bool = False
) -> dict[str, Option]:
    entries = _dict(value, where)
    keys = _names(entries, where)
    for key in keys:
        if key == "profile" or key.endswith(UNLISTED):
            hint = f"this name is taken: 'profile' says which profile, and *{UNLISTED} a free text"
            raise ConfigError(where, key, hint)
    return {
        key: _option(key, _dict(entries[key], f"{where}[{key!r}]"), where, overridable, common)
        for key in keys
    }


def _option(
    key: str,
    entry: Mapping[str, object],
    where: str,
    overridable: OverridableSettings,
    common: bool,
) -> Option:
    where = f"{where}[{key!r}]"
    _known(entry, where, OPTION_KEYS)
    choices = _dict(entry.get("choices") or {}, f"{where}['choices']")
    unlisted = _unlisted(_dict(entry.get("unlisted_choice") or {}, where), where, overridable)
    number = None
    if "number" in entry:
        if choices or unlisted:
            raise ConfigError(where, sorted(entry), "a 'number' goes without any other choices")
        number = _number(_dict(entry["number"], where), f"{where}['number']", overridable)
    elif not choices and not unlisted:
        hint = (
            "there is nothing to choose: give 'choices', an enabled 'unlisted_choice' or 'number'"
        )
        raise ConfigError(where, dict(entry), hint)
    selections = {
        name: _selection(name, choices[name], f"{where}['choices'][{name!r}]", overridable)
        for name in _names(choices, f"{where}['choices']")
    }
    taken = UNLISTED_MARKS & selections.keys() if unlisted else None
    if taken:
        raise ConfigError(where, sorted(taken), "this name stands for the free text in forms")
    return Option(
        key=key,
        display_name=_text(entry, "display_name", where) or key,
        selections=selections,
        unlisted=unlisted,
        number=number,
        description=_text(entry, "description", where),
        common=common,
        limited=any(one.audience.limited for one in (*selections.values(), unlisted) if one),
        metadata=_extras(entry, where, _OPTION_EXTRAS),
    )


def _selection(key: str, value: object, where: str, overridable: OverridableSettings) -> Selection:
    entry = _dict(value, where)
    _known(entry, where, SELECTION_KEYS)
    override = overrides.read(entry, where, overridable)
    overrides.check_values(override, where, overridable)
    return Selection(
        key=key,
        display_name=_text(entry, "display_name", where) or key,
        override=override,
        default=_flag(entry, "default", where),
        description=_text(entry, "description", where),
        audience=_access(entry, where),
        metadata=_extras(entry, where, ("metadata",)),
    )


def _unlisted(
    entry: Mapping[str, object], where: str, overridable: OverridableSettings
) -> Unlisted | None:
    where = f"{where}['unlisted_choice']"
    _known(entry, where, UNLISTED_KEYS)
    override = overrides.read(entry, where, overridable)
    overrides.check_placeholders(override, where)
    pattern = _text(entry, "validation_regex", where)
    rules = [_TEXT]
    if pattern:
        rules.append(_regex(pattern, where))
    max_length = MAX_TEXT
    image = override.get("image")
    if isinstance(image, str) and "{value}" in image:
        rule, max_length = _image_rule(image, where)
        rules.append(rule)
    if not _flag(entry, "enabled", where):
        return None
    places.check(override, pattern, where)
    rules += places.rules(override)
    return Unlisted(
        display_name=_text(entry, "display_name", where),
        display_name_in_choices=_text(entry, "display_name_in_choices", where) or "Other...",
        override=override,
        rules=tuple(rules),
        max_length=max_length,
        pattern=pattern,
        message=_text(entry, "validation_message", where),
        description=_text(entry, "description_in_choices", where),
        audience=_access(entry, where),
    )


def _regex(pattern: str, where: str) -> re.Pattern[str]:
    if re.match(r"\(\?[a-zA-Z]+\)", pattern):
        hint = "flags must stand for a part of the pattern, as in (?i:...)"
        raise ConfigError(f"{where}['validation_regex']", pattern, hint)
    try:
        return re.compile(pattern)
    except re.error as error:
        hint = f"not a regular expression: {error}"
        raise ConfigError(f"{where}['validation_regex']", pattern, hint) from None


def _image_rule(image: str, where: str) -> tuple[re.Pattern[str], int]:
    """A text that becomes part of a reference must make a valid one, whatever the regex allows."""
    before, _, after = image.partition("{value}")
    try:
        pattern, max_length = slot(before, after)
    except ImageError as error:
        raise ConfigError(f"{where}['image']", image, error.message) from None
    return re.compile(pattern), max_length


def _number(entry: Mapping[str, object], where: str, overridable: OverridableSettings) -> Number:
    _known(entry, where, NUMBER_KEYS)
    override = overrides.read(entry, where, overridable)
    overrides.check_placeholders(override, where)
    places.check_number(override, where)
    bounds = {name: _amount(entry.get(name), f"{where}[{name!r}]") for name in ("min", "max")}
    step = _amount(entry["step"], f"{where}['step']") if entry.get("step") is not None else None
    if bounds["min"] > bounds["max"] or (step is not None and step <= 0):
        raise ConfigError(where, dict(entry), "expected min ≤ max, and a step above 0")
    default = _amount(entry.get("default", bounds["min"]), f"{where}['default']")
    number = Number(
        bounds["min"], bounds["max"], step, default, override, unit=_text(entry, "unit", where)
    )
    if number.problem(default):
        raise ConfigError(f"{where}['default']", default, number.problem(default))
    if number.steps > MAX_STEPS and not number.whole:
        hint = f"more than {MAX_STEPS} steps: use whole numbers, a larger step, or no step"
        raise ConfigError(where, dict(entry), hint)
    if number.steps > MAX_STEPS and exact(bounds["min"]) % exact(step or 1):
        raise ConfigError(where, dict(entry), "with so many steps, min must be a multiple of step")
    for edge in {number.minimum, number.maximum, default}:
        filled = overrides.filled(override, edge, overridable)
        overrides.check_values(filled, where, overridable)
    return number


def _amount(value: object, where: str) -> int | float:
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not good or not math.isfinite(value):  # type: ignore[arg-type]
        raise ConfigError(where, value, "expected a number")
    return value  # type: ignore[return-value]


def _access(entry: Mapping[str, object], where: str) -> Audience:
    if "allowed_users" not in entry and "allowed_groups" not in entry:
        return EVERYBODY
    users = _name_set(entry.get("allowed_users"), f"{where}['allowed_users']")
    return Audience(users, _name_set(entry.get("allowed_groups"), f"{where}['allowed_groups']"))


def _name_set(value: object, where: str) -> frozenset[str] | None:
    if value is None:
        return None
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise ConfigError(where, value, "expected a list of names")
    for name in value:
        if not isinstance(name, str):
            raise ConfigError(where, value, "expected a list of names")
    return frozenset(value)


def _known(entry: Mapping[str, object], where: str, keys: frozenset[str]) -> None:
    for key in entry:
        if key not in keys:
            hint = f"unknown key; it may have {', '.join(sorted(keys))}"
            raise ConfigError(f"{where}[{key!r}]", entry[key], hint)


def _dict(value: object, where: str) -> Mapping[str, object]:
    if type(value) is not dict and not isinstance(value, Mapping):
        raise ConfigError(where, value, "expected a dict")
    return value


def _names(entries: Mapping[str, object], where: str) -> list[str]:
    for key in entries:
        if not isinstance(key, str) or not key or not _TEXT.fullmatch(key):
            raise ConfigError(where, key, "the keys must be non-empty strings")
    return list(entries)


def _text(entry: Mapping[str, object], key: str, where: str) -> str:
    value = entry.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ConfigError(f"{where}[{key!r}]", value, "expected text")
    return value


def _flag(entry: Mapping[str, object], key: str, where: str) -> bool:
    value = entry.get(key, False)
    if not isinstance(value, bool):
        raise ConfigError(f"{where}[{key!r}]", value, "expected True or False")
    return value


def _extras(entry: Mapping[str, object], where: str, keys: tuple[str, ...]) -> Mapping[str, object]:
    return {key: _dict(entry[key], f"{where}[{key!r}]") for key in keys if key in entry}
