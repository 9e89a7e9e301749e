"""Templates that admins write, expanded with the names that users have, as a boundary.

- Text from users is data: it is put in once, never expanded again, and a template can name fields
  but not reach into them.
- ``{username}``, ``{servername}`` and ``{user_server}`` are slugs of `naming`;
  ``{raw_username}`` and ``{raw_servername}`` are refused where the text could leave a path segment
  or a ``source:target:mode`` triple.
- Where a result must tell servers apart, a template that could give one text for two is refused.
- Texts that programs read, with braces of their own, are expanded `in_passing`: only what is the
  name of a field in braces is a field.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from string import Formatter
from typing import Any, TypeVar, cast

from .errors import TemplateError

USER_FIELDS = ("username", "safe_username", "escaped_username")
SERVER_FIELDS = ("servername", "safe_servername", "escaped_servername")
RAW_USER_FIELDS = ("raw_username", "unescaped_username")
RAW_SERVER_FIELDS = ("raw_servername", "unescaped_servername")
_IDENTITY_FIELDS = dict.fromkeys(USER_FIELDS + RAW_USER_FIELDS, "user") | dict.fromkeys(
    SERVER_FIELDS + RAW_SERVER_FIELDS, "server"
)

# What may run into each other: with a choice of images, their names too.
_DISTINCT = {**_IDENTITY_FIELDS, "user_server": "user_server", "imagename": "image"}
#: Fields that tell users or servers apart.
IDENTITY = frozenset((*_IDENTITY_FIELDS, "user_server"))
#: All fields that `naming.namespace` and the spawner give.
FIELDS = frozenset((*_IDENTITY_FIELDS, "user_server", "prefix", "hub_id", "imagename", "base_url"))
_NAME_IN_BRACES = re.compile(r"(?<!\$)(\{?)\{([A-Za-z_][A-Za-z0-9_]*)\}(\}?)")
_SLUG_TEXT = re.compile(r"[a-z0-9-]*")  # what slugs are made of

_T = TypeVar("_T")


def expand(
    template: str, namespace: Mapping[str, str], *, field: str, distinct: bool = False
) -> str:
    """Put values in for ``{field}``; ``{{`` and ``}}`` stand for braces. One pass only.

    Args:
        template: text with fields by name. Attributes, indexes, conversions, format specs and
            positions are refused, so a template reaches nothing but the values themselves.
        namespace: field → value, see `naming.namespace`.
        field: the setting's name, for messages.
        distinct: the result must tell servers apart (volume names, paths on the host): refuse a
            user's and a server's field side by side where two pairs could give one text, such as
            ``{username}-{servername}`` for ('a', 'b-c') and ('a-b', 'c').

    Raises:
        TemplateError: a malformed template, an unknown field, or a raw name that could leave its
            path segment.
    """
    return _filled(pieces(template, field), namespace, template, field, distinct)


def _filled(
    parts: list[tuple[str, str | None]],
    namespace: Mapping[str, str],
    template: str,
    field: str,
    distinct: bool,
) -> str:
    if distinct:
        _require_distinct(parts, template, field)
    out = []
    for literal, name in parts:
        out.append(literal)
        if name is None:
            continue
        if name not in namespace:
            raise TemplateError(field, template, unknown_field(name, namespace))
        value = namespace[name]
        if name in RAW_USER_FIELDS or name in RAW_SERVER_FIELDS:
            _require_segment(name, value, template, field)
        out.append(value)
    text = "".join(out)
    written = "".join(f"{literal}{'x' if name else ''}" for literal, name in parts)
    if distinct and _dots(text) > _dots(written):
        hint = f"it comes to {text!r}, which leads to another directory"
        raise TemplateError(field, template, hint)
    return text


def _dots(path: str) -> int:
    """How many parts of a path are no names."""
    return sum(part in (".", "..") for part in path.split("/"))


def expand_in_passing(
    template: str, namespace: Mapping[str, str], *, field: str, distinct: bool = False
) -> str:
    """Put values in for ``{field}`` in a text whose other braces stay as they are.

    Such as ``{{.Name}}`` in the tag of a log, JSON, or ``${HOME}``. Only ``{{username}}``, the name
    of a field in two braces, stands for ``{username}``. See `shielded`.

    Args:
        template: the text.
        namespace: field → value, see `naming.namespace`.
        field: the setting's name, for messages.
        distinct: as for `expand`.

    Raises:
        TemplateError: what stands in braces is nearly the name of a field, a raw name could leave
            its path segment, or as for `expand`.
    """
    parts = pieces_in_passing(template, field, namespace)
    return _filled(parts, namespace, template, field, distinct)


def pieces_in_passing(
    template: str, field: str, known: Iterable[str]
) -> list[tuple[str, str | None]]:
    """The same as `pieces`, of a template that is expanded in passing.

    Args:
        template: the text.
        field: the setting's name, for messages.
        known: the names of fields.

    Raises:
        TemplateError: what stands in braces is nearly the name of a field.
    """
    found: list[tuple[str, str | None]] = []
    literal, end = "", 0
    names = frozenset(known)
    for match in _NAME_IN_BRACES.finditer(template):
        before, name, after = match.groups()
        near = _nearly(name, (*FIELDS, *names))
        literal, end = literal + template[end : match.start()], match.end()
        if before and after and near:
            literal += f"{{{name}}}"
        elif name in names:
            found.append((literal + before, name))
            literal = after
        elif before or not near:
            literal += match[0]
        else:
            hint = f"there is no field {{{name}}}; did you mean {{{near}}}?"
            raise TemplateError(field, template, hint)
    return [*found, (literal + template[end:], None)]


def shielded(text: str) -> str:
    """A text from a user, so that `expand_in_passing` gives it back as it is."""

    def shield(found: re.Match[str]) -> str:
        before, name, after = found.groups()
        if _nearly(name, FIELDS):
            return f"{before}{{{{{name}}}}}{after}"
        return found[0]

    return _NAME_IN_BRACES.sub(shield, text)


def doubled(text: str) -> str:
    """A text from a user, so that `expand` gives it back as it is."""
    return text.replace("{", "{{").replace("}", "}}")


def _nearly(name: str, fields: Iterable[str]) -> str | None:
    """The field that this is or may have been meant to be, or None."""
    return next(iter(difflib.get_close_matches(name, sorted(fields), 1, cutoff=0.8)), None)


def expand_all(
    obj: _T,
    namespace: Mapping[str, str],
    *,
    field: str,
    distinct: bool = False,
    in_passing: bool = False,
) -> _T:
    """Expand every string in dicts (keys and values), lists and tuples, however deep.

    Args:
        obj: what the strings are in.
        namespace: as for `expand`; likewise ``field`` and ``distinct``.
        field: see above.
        distinct: see above.
        in_passing: by `expand_in_passing` instead.

    Returns:
        A new object of the same form; values of other types are the same objects as before.

    Raises:
        TemplateError: as `expand`, and when two keys of one dict become the same.
    """

    def text(template: str) -> str:
        if in_passing:
            return expand_in_passing(template, namespace, field=field, distinct=distinct)
        return expand(template, namespace, field=field, distinct=distinct)

    return cast("_T", _expand_any(obj, text, field))


def _expand_any(obj: Any, text: Callable[[str], str], field: str) -> Any:
    if isinstance(obj, str):
        return text(obj)
    if isinstance(obj, list):
        return [_expand_any(item, text, field) for item in obj]
    if isinstance(obj, tuple):
        return tuple(_expand_any(item, text, field) for item in obj)
    if not isinstance(obj, dict):
        return obj
    out: dict[Any, Any] = {}
    for key, value in obj.items():
        expanded = _expand_any(key, text, field)
        if expanded in out:
            hint = f"another key expands to {expanded!r} too, so one of the two would be lost"
            raise TemplateError(field, key, hint)
        out[expanded] = _expand_any(value, text, field)
    return out


def identity_in(names: Iterable[str | None]) -> frozenset[str]:
    """Which parts of an identity some fields tell apart: of ``"user"`` and ``"server"``."""
    listed = frozenset(names)
    parts = {_IDENTITY_FIELDS[name] for name in listed if name in _IDENTITY_FIELDS}
    return frozenset(parts | ({"user", "server"} if "user_server" in listed else set()))


def pieces(template: str, field: str) -> list[tuple[str, str | None]]:
    """The template as (literal, name of the field after it or None)."""
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        hint = f"{error}; write {{{{ and }}}} for braces that are not fields"
        raise TemplateError(field, template, hint) from None
    found = []
    for literal, name, spec, conversion in parsed:
        if name is not None and (spec or conversion or not name.isidentifier()):
            written = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            hint = (
                f"{{{written}}} is not just the name of a field; only names work, such as "
                "{username}, and {{ and }} for braces"
            )
            raise TemplateError(field, template, hint)
        found.append((literal, name))
    return found


def unknown_field(name: str, known: Iterable[str]) -> str:
    """Why a field cannot stand in a template, for the message."""
    listed = ", ".join(f"{{{one}}}" for one in sorted(known))
    return f"there is no field {{{name}}}; known are {listed}"


def _require_segment(name: str, value: str, template: str, field: str) -> None:
    """Refuse raw text that is more than one segment of a path, or an option on a command line."""
    bad = (
        value in (".", "..")
        or value.startswith("-")
        or any(c in "/\\:" or unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in value)
    )
    if bad:
        safe = name.replace("unescaped_", "").replace("raw_", "")
        hint = f"{{{name}}} is {value!r} here, which is not safe in a path; use {{{safe}}}"
        raise TemplateError(field, template, hint)


def _require_distinct(parts: list[tuple[str, str | None]], template: str, field: str) -> None:
    """Refuse two names side by side unless what stands between can be in neither of them."""
    last, between = "", ""
    for literal, name in parts:
        between += literal
        if name not in _DISTINCT:
            between += "x" if name else ""  # some text that does not separate
            continue
        pair = {_DISTINCT[one] for one in (last, name) if one}
        both = "user_server" in pair and "image" not in pair  # has the other in it already
        if len(pair) == 2 and not both and not _separates(between, last, name):
            hint = (
                f"{{{last}}} and {{{name}}} so close together can give one text for two servers, "
                "as a, b-c and a-b, c would; use {user_server}"
            )
            if "image" in pair:
                hint = f"{{{last}}} and {{{name}}} need a '/' between them, to be told apart"
            raise TemplateError(field, template, hint)
        last, between = name, ""


def _separates(between: str, *fields: str) -> bool:
    """Whether fixed text shows where one value ends and the other begins.

    Raw values that `_require_segment` lets through have no slash and no colon in them. Slugs have
    only a-z, 0-9 and ``-``; a run of ``-`` in them is one long, or three before the hash.
    """
    if any(field in RAW_USER_FIELDS + RAW_SERVER_FIELDS for field in fields):
        return "/" in between or ":" in between
    if "user_server" in fields:
        return not _SLUG_TEXT.fullmatch(between)
    return ("--" in between and "---" not in between) or not _SLUG_TEXT.fullmatch(between)
