"""What a regular expression can match, told from the expression alone. Pure.

The answer errs on one side only: what is not understood counts as able to match. So a pattern that
"cannot match" a text cannot, whatever a user types.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

# Python's own parser of regular expressions, under the name that it has in this version.
_parser: Any = importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")


def can_match(pattern: str, part: str) -> bool:
    """Whether a text that a pattern matches as a whole could have this part in it.

    Args:
        pattern: a regular expression that compiles.
        part: one character, or the same character twice, which is no letter, digit, ``_`` or space.
    """
    sign = part[0]
    found = _sequence(_parser.parse(pattern), sign)
    return found.twice if len(part) > 1 else found.somewhere


@dataclass(frozen=True)
class _Can:
    """What the texts that a part of a pattern matches can be.

    Attributes:
        empty: without any character.
        first: beginning with the sign that is looked for; ``last``, ending with it.
        somewhere: having it anywhere.
        twice: having it twice, side by side.
    """

    empty: bool = False
    first: bool = False
    last: bool = False
    somewhere: bool = False
    twice: bool = False

    def then(self, other: _Can) -> _Can:
        """One part after the other."""
        return _Can(
            self.empty and other.empty,
            self.first or (self.empty and other.first),
            other.last or (other.empty and self.last),
            self.somewhere or other.somewhere,
            self.twice or other.twice or (self.last and other.first),
        )

    def or_else(self, other: _Can) -> _Can:
        """One part or the other."""
        return _Can(
            self.empty or other.empty,
            self.first or other.first,
            self.last or other.last,
            self.somewhere or other.somewhere,
            self.twice or other.twice,
        )


_NOTHING = _Can(empty=True)
_ANYTHING = _Can(True, True, True, True, True)


def _sequence(items: Iterable[tuple[Any, Any]], sign: str) -> _Can:
    return reduce(_Can.then, (_item(str(name), value, sign) for name, value in items), _NOTHING)


def _item(name: str, value: Any, sign: str) -> _Can:
    reader = _READERS.get(name)
    return _ANYTHING if reader is None else reader(value, sign)


def _one(has: bool) -> _Can:
    """Exactly one character, which may be the sign."""
    return _Can(False, has, has, has)


def _set(members: Iterable[tuple[Any, Any]], sign: str) -> _Can:
    has = negated = False
    for kind, value in members:
        name = str(kind)
        if name == "NEGATE":
            negated = True
        elif name == "LITERAL":
            has = has or value == ord(sign)
        elif name == "RANGE":
            has = has or value[0] <= ord(sign) <= value[1]
        elif name == "CATEGORY":
            # The sign is no digit, no space and no part of a word, in any alphabet.
            has = has or str(value).startswith("CATEGORY_NOT_")
        else:
            return _ANYTHING
    return _one(has is not negated)


def _branch(value: Any, sign: str) -> _Can:
    return reduce(_Can.or_else, (_sequence(one, sign) for one in value[1]))


def _repeat(value: Any, sign: str) -> _Can:
    least, most, item = value
    if most == 0:
        return _NOTHING
    once = _sequence(item, sign)
    # Twice shows all that more can be.
    again = once if most == 1 else once.or_else(once.then(once))
    return again.or_else(_NOTHING) if least == 0 else again


_READERS: dict[str, Callable[[Any, str], _Can]] = {
    "LITERAL": lambda value, sign: _one(value == ord(sign)),
    "NOT_LITERAL": lambda value, sign: _one(value != ord(sign)),
    "ANY": lambda value, sign: _one(True),
    "IN": _set,
    "BRANCH": _branch,
    "MAX_REPEAT": _repeat,
    "MIN_REPEAT": _repeat,
    "POSSESSIVE_REPEAT": _repeat,
    "SUBPATTERN": lambda value, sign: _sequence(value[3], sign),
    "ATOMIC_GROUP": _sequence,
    # They take no character, and only forbid what could be without them.
    "AT": lambda value, sign: _NOTHING,
    "ASSERT": lambda value, sign: _NOTHING,
    "ASSERT_NOT": lambda value, sign: _NOTHING,
}
