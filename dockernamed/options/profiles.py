"""Profiles and their options as values, and which of them one user may choose.

`profile_config.read` makes a `Catalogue` of the settings ``profile_list`` and ``common_options``;
`Catalogue.seen_by` keeps what one user may choose. Defaults are KubeSpawner's: the first profile
or choice marked ``default``, else the first there is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import TypeAlias

from .overrides import plain
from .places import PART, PART_IN_WORDS

UNLISTED = "--unlisted-choice"
#: What a form's list sends for "Other…": KubeSpawner's own form, and jupyterhub-fancy-profiles.
UNLISTED_MARKS = frozenset({"unlisted-choice", "unlisted_choice"})
MAX_TEXT = 1024  # characters of a choice that a user types
MAX_STEPS = 1000  # of a number that is not a whole one, so that all its values can be listed

Override: TypeAlias = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Requester:
    """Whose menu it is.

    Attributes:
        name: the user's name.
        groups: names of the groups that the user is in.
    """

    name: str
    groups: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Audience:
    """``allowed_users`` and ``allowed_groups``: either is enough; without both, everybody may."""

    users: frozenset[str] | None = None
    groups: frozenset[str] | None = None

    @property
    def limited(self) -> bool:
        """Not everybody is allowed."""
        return self.users is not None or self.groups is not None

    def permits(self, requester: Requester) -> bool:
        """Whether this user may choose it."""
        if not self.limited:
            return True
        return requester.name in (self.users or ()) or bool(
            requester.groups & (self.groups or frozenset())
        )


EVERYBODY = Audience()


@dataclass(frozen=True, slots=True)
class Selection:
    """One of an option's listed choices."""

    key: str
    display_name: str
    override: Override = field(default_factory=dict)
    default: bool = False
    description: str = ""
    audience: Audience = EVERYBODY
    metadata: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unlisted:
    """An option's free text.

    Attributes:
        pattern: ``validation_regex`` as the admin wrote it, or "".
        message: ``validation_message``, or "".
        rules: what the whole text must match, each of them; the implied ones included.
        max_length: characters.
    """

    display_name: str
    display_name_in_choices: str
    override: Override
    rules: tuple[re.Pattern[str], ...] = ()
    max_length: int = MAX_TEXT
    pattern: str = ""
    message: str = ""
    description: str = ""
    audience: Audience = EVERYBODY

    def problem(self, value: object) -> str:
        """What is wrong with a text, or ""."""
        if not isinstance(value, str) or not value:
            return "expected a non-empty string"
        if len(value) > self.max_length:
            return f"expected at most {self.max_length} characters, not {len(value)}"
        if not value.isprintable() and any(0xD800 <= ord(sign) <= 0xDFFF for sign in value):
            return "expected text: half of a character is no character"
        for rule in self.rules:
            if not rule.fullmatch(value):
                words = f"the whole value must match {rule.pattern}"
                return self.message or (PART_IN_WORDS if rule is PART else words)
        return ""


@dataclass(frozen=True, slots=True)
class Number:
    """An option's number within limits, which are themselves allowed.

    Attributes:
        step: distance between allowed values, counted from ``minimum``; None: any number between.
        unit: for people, such as ``GiB``.
    """

    minimum: int | float
    maximum: int | float
    step: int | float | None
    default: int | float
    override: Override
    unit: str = ""

    @property
    def whole(self) -> bool:
        """Only whole numbers are allowed."""
        return self.step is not None and all(
            exact(part).denominator == 1 for part in (self.minimum, self.step)
        )

    @property
    def steps(self) -> int:
        """How many values are allowed; 0 if they cannot be counted."""
        if self.step is None:
            return 0
        return (exact(self.maximum) - exact(self.minimum)) // exact(self.step) + 1

    @property
    def values(self) -> list[int | float]:
        """All allowed values, if there is a step."""
        step, low = exact(self.step or 1), exact(self.minimum)
        return [simple(low + step * count) for count in range(self.steps)]

    def problem(self, value: object) -> str:
        """What is wrong with a number, or ""."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"expected a number, {self.range}"
        # Written so that NaN fails; compared before anything is computed, as 10**400 may come.
        if not self.minimum <= value <= self.maximum:
            return f"expected {self.range}"
        if self.step is not None and (exact(value) - exact(self.minimum)) % exact(self.step):
            return f"expected {self.range}"
        return ""

    @property
    def range(self) -> str:
        """The limits in words, such as ``from 0.5 to 4 CPUs in steps of 0.5``."""
        unit = f" {self.unit}" if self.unit else ""
        step = "" if self.step is None else f" in steps of {plain(self.step)}"
        return f"from {plain(self.minimum)} to {plain(self.maximum)}{unit}{step}"


@dataclass(frozen=True, slots=True)
class Option:
    """One question a user may answer: a list of selections and maybe free text, or a number."""

    key: str
    display_name: str
    selections: Mapping[str, Selection] = field(default_factory=dict)
    unlisted: Unlisted | None = None
    number: Number | None = None
    description: str = ""
    common: bool = False
    limited: bool = False
    metadata: Mapping[str, object] = field(default_factory=dict)

    @property
    def default(self) -> Selection | None:
        """The selection that applies if nothing is sent; None for a number or if there is none."""
        for selection in self.selections.values():
            if selection.default:
                return selection
        return next(iter(self.selections.values()), None)

    @property
    def required(self) -> bool:
        """There is no default: an answer must be sent."""
        return not self.selections and self.number is None

    def seen_by(self, requester: Requester) -> Option | None:
        """What this user may answer, or None if nothing is left."""
        if not self.limited:
            return self
        selections = {
            key: selection
            for key, selection in self.selections.items()
            if selection.audience.permits(requester)
        }
        free = (
            self.unlisted if self.unlisted and self.unlisted.audience.permits(requester) else None
        )
        if not selections and free is None:
            return None
        return replace(self, selections=selections, unlisted=free)


class LazyOptions(Mapping[str, Option]):
    """Options that are created when they are first used."""

    def __init__(self, make: Callable[[], Mapping[str, Option]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Mapping[str, Option]:
        return self._make()

    def __getitem__(self, key: str) -> Option:
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


@dataclass(frozen=True, slots=True)
class Profile:
    """One entry of ``profile_list``.

    Attributes:
        slug: what ``user_options["profile"]`` says.
        options: by key, in order of application; the common ones stand first. Read when they are
            first looked at, so that one request does not pay for the profiles it leaves alone.
    """

    slug: str
    display_name: str
    override: Override = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)
    default: bool = False
    description: str = ""
    audience: Audience = EVERYBODY
    metadata: Mapping[str, object] = field(default_factory=dict)

    def seen_by(self, requester: Requester) -> Profile | None:
        """What this user may choose of it, or None."""
        if not self.audience.permits(requester):
            return None
        return Profile(  # dataclasses.replace takes longer than all the rest of a request
            self.slug,
            self.display_name,
            self.override,
            LazyOptions(lambda: options_seen(self.options, requester)),
            self.default,
            self.description,
            self.audience,
            self.metadata,
        )


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that can be chosen.

    Attributes:
        profiles: by slug; None when there is no profile list.
        common: the common options, for a Hub without profiles.
    """

    profiles: Mapping[str, Profile] | None = None
    common: Mapping[str, Option] = field(default_factory=dict)

    def seen_by(self, requester: Requester) -> Catalogue:
        """What one user may choose."""
        common = options_seen(self.common, requester)
        if self.profiles is None:
            return Catalogue(None, common)
        seen = {slug: profile.seen_by(requester) for slug, profile in self.profiles.items()}
        return Catalogue({slug: one for slug, one in seen.items() if one is not None}, common)


def options_seen(options: Mapping[str, Option], requester: Requester) -> dict[str, Option]:
    """The options that leave this user at least one answer."""
    seen = {key: option.seen_by(requester) for key, option in options.items()}
    return {key: option for key, option in seen.items() if option is not None}


def exact(number: int | float) -> Fraction:
    """The number as it is written: 0.1 is a tenth."""
    if isinstance(number, int) or number.is_integer():
        return Fraction(number)
    return Fraction(repr(number))


def simple(number: Fraction) -> int | float:
    """Back from `exact`; whole numbers become int."""
    return int(number) if number.denominator == 1 else float(number)
