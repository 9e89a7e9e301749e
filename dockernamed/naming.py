"""Raw identity → labels, object names and expanded templates.

A server is known by its `Key`: the Hub's id, the user's name and the server's name, all raw. The
key stands in labels on everything that we make, and is read back from there, never from a name.
Names are readable handles with these guarantees:

- `object_name` and `object_name_for_hub` give one DNS label: only ``a-z``, ``0-9`` and ``-``, no
  ``-`` at either end, at most 63 characters. So do `slug` and the field ``{user_server}``.
- With one prefix and template, two different (user, server) pairs never get one name, and two
  different texts never get one slug, whatever Unicode they are made of.
- The same input gives the same output in every version of Python (only ASCII rules are used).
- A name that can be read only one way stays as it is: *plain* names (``[a-z0-9]+(-[a-z0-9]+)*``)
  give ``jupyter-ann`` for the default server and ``jupyter-ann--exp-1`` for a named one.
- Anything that had to be changed, cut, or could be read two ways ends in ``---`` and 80 bits of
  SHA-256 over the raw values, as 16 characters of ``a-z2-7``. ``---`` never occurs in the plain
  form, so the two forms cannot meet, and text that looks like our hash gets a hash of its own.
- Text from users is data in templates: it is put in once, never expanded again, and a template can
  name fields but not reach into them. ``{username}``, ``{servername}`` and ``{user_server}`` are
  slugs; ``{raw_username}`` and ``{raw_servername}`` are refused where the text could leave a path
  segment or a ``source:target:mode`` triple.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from string import Formatter
from typing import Any, TypeVar, cast

from .errors import ConfigError, TemplateError

LABEL = "dockernamed"
LABEL_HUB = f"{LABEL}.hub"
LABEL_USER = f"{LABEL}.user"
LABEL_SERVER = f"{LABEL}.server"
LABEL_SPEC = f"{LABEL}.spec"

DEFAULT_PREFIX = "jupyter"
DEFAULT_TEMPLATE = "{prefix}-{username}--{servername}"

MAX_NAME = 63
MAX_PREFIX = 20
_HASH = 16  # base32 characters, 80 bits
_MARK = "---"
_ROOM = MAX_NAME - len(_MARK) - _HASH  # what a hash leaves for readable text
_MAX_FIXED = _ROOM - 4  # fixed text of a template; the rest is for the user's and server's name

_PLAIN = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_FIXED = re.compile(r"[a-z0-9-]*")

_USER_FIELDS = ("username", "safe_username", "escaped_username")
_SERVER_FIELDS = ("servername", "safe_servername", "escaped_servername")
_RAW_USER_FIELDS = ("raw_username", "unescaped_username")
_RAW_SERVER_FIELDS = ("raw_servername", "unescaped_servername")
_IDENTITY_FIELDS = dict.fromkeys(_USER_FIELDS + _RAW_USER_FIELDS, "user") | dict.fromkeys(
    _SERVER_FIELDS + _RAW_SERVER_FIELDS, "server"
)
_NAME_FIELDS = ("prefix", "username", "servername", "user_server")  # as told in messages

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Key:
    """Who a server is. All three raw, as JupyterHub has them, never escaped.

    Attributes:
        hub: the Hub's id, so that two Hubs on one Engine never adopt each other's containers.
        user: the user's name.
        server: the server's name, "" for the default server.
    """

    hub: str
    user: str
    server: str


def labels(key: Key) -> dict[str, str]:
    """The labels that make an object ours, and say whose it is."""
    return {LABEL_HUB: key.hub, LABEL_USER: key.user, LABEL_SERVER: key.server}


def key_of(labels: Mapping[str, str] | None) -> Key | None:
    """Whose object it is, by its labels; None when it is not ours."""
    if not labels:
        return None
    hub, user, server = (labels.get(name) for name in (LABEL_HUB, LABEL_USER, LABEL_SERVER))
    if hub is None or user is None or server is None:
        return None
    return Key(hub, user, server)


def object_name(key: Key, *, prefix: str = DEFAULT_PREFIX, template: str = DEFAULT_TEMPLATE) -> str:
    """The name of the server's container, the same whichever Hub asks.

    Args:
        key: whose container; the Hub's id plays no part.
        prefix: plain (``[a-z0-9]+(-[a-z0-9]+)*``), at most 20 characters.
        template: of ``a-z``, ``0-9``, ``-`` and the fields ``{prefix}``, ``{username}``,
            ``{servername}`` and ``{user_server}`` (``user--server``). For the default server the
            text between user and server is left out. A template that leaves names open to be read
            two ways (no ``--`` between user and server, or one of them missing) is fine: a hash
            settles it.

    Returns:
        A DNS label of at most 63 characters, different for different (user, server).

    Raises:
        ConfigError: the prefix is not plain or too long.
        TemplateError: the template has unknown or repeated fields, or other text than allowed.
    """
    shape = _shape(template, prefix)
    if _readable_one_way(shape, key):
        name = shape.render(key.user, key.server)
        if len(name) <= MAX_NAME:
            return name
    return _hashed(shape, key, _digest(key.user, key.server))


def object_name_for_hub(
    key: Key, *, prefix: str = DEFAULT_PREFIX, template: str = DEFAULT_TEMPLATE
) -> str:
    """The name to take when somebody else holds `object_name`: always hashed, and over the Hub too.

    Arguments, form and errors are those of `object_name`; no name of the one is a name of the
    other, and different keys have different names.
    """
    return _hashed(_shape(template, prefix), key, _digest(key.hub, key.user, key.server))


def slug(text: str) -> str:
    """One text as a DNS label of at most 63 characters, different for different texts.

    Returns:
        The text itself if it is plain, otherwise ``{what is readable}---{hash}``.
    """
    if len(text) <= MAX_NAME and _PLAIN.fullmatch(text):
        return text
    readable = _clean(text)[:_ROOM].rstrip("-") or "x"
    return f"{readable}{_MARK}{_digest(text)}"


def namespace(
    key: Key, *, prefix: str, image: str = "", extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The fields that templates of volumes, mounts, environment, … may name.

    Args:
        key: whose server.
        prefix: the setting of that name.
        image: the image's reference as written, for ``{imagename}``.
        extra: further fields (``base_url``, …); they win over ours.

    Returns:
        ``username``, ``servername`` ("" for the default server), ``user_server`` (both as one:
        ``user--server``, or just the user's slug for the default server), each with its aliases
        ``safe_…`` and ``escaped_…``; ``raw_username`` and ``raw_servername`` (also
        ``unescaped_…``), which `expand` checks; ``prefix``, ``hub_id``, ``imagename``; ``extra``.
    """
    fields = {
        "prefix": prefix,
        "hub_id": key.hub,
        "imagename": re.sub("[/:@]", "-", image),
        "user_server": _user_server(key),
    }
    fields |= dict.fromkeys(_USER_FIELDS, slug(key.user))
    fields |= dict.fromkeys(_SERVER_FIELDS, slug(key.server) if key.server else "")
    fields |= dict.fromkeys(_RAW_USER_FIELDS, key.user)
    fields |= dict.fromkeys(_RAW_SERVER_FIELDS, key.server)
    return fields | dict(extra or {})


def expand(
    template: str, namespace: Mapping[str, str], *, field: str, distinct: bool = False
) -> str:
    """Put values in for ``{field}``; ``{{`` and ``}}`` stand for braces. One pass only.

    Args:
        template: text with fields by name. Attributes, indexes, conversions, format specs and
            positions are refused, so a template reaches nothing but the values themselves.
        namespace: field → value, see `namespace`.
        field: the setting's name, for messages.
        distinct: the result must tell servers apart (volume names, paths on the host): refuse a
            user's and a server's field side by side where two pairs could give one text, such as
            ``{username}-{servername}`` for ('a', 'b-c') and ('a-b', 'c').

    Raises:
        TemplateError: a malformed template, an unknown field, or a raw name that could leave its
            path segment.
    """
    pieces = _pieces(template, field)
    if distinct:
        _require_distinct(pieces, template, field)
    out = []
    for literal, name in pieces:
        out.append(literal)
        if name is None:
            continue
        if name not in namespace:
            raise TemplateError(field, template, _unknown(name, namespace))
        value = namespace[name]
        if name in _RAW_USER_FIELDS or name in _RAW_SERVER_FIELDS:
            _require_segment(name, value, template, field)
        out.append(value)
    return "".join(out)


def expand_all(obj: _T, namespace: Mapping[str, str], *, field: str, distinct: bool = False) -> _T:
    """`expand` every string in dicts (keys and values), lists and tuples, however deep.

    Returns:
        A new object of the same form; values of other types are the same objects as before.

    Raises:
        TemplateError: as `expand`, and when two keys of one dict become the same.
    """
    return cast("_T", _expand_any(obj, namespace, field, distinct))


def _expand_any(obj: Any, namespace: Mapping[str, str], field: str, distinct: bool) -> Any:
    if isinstance(obj, str):
        return expand(obj, namespace, field=field, distinct=distinct)
    if isinstance(obj, list):
        return [_expand_any(item, namespace, field, distinct) for item in obj]
    if isinstance(obj, tuple):
        return tuple(_expand_any(item, namespace, field, distinct) for item in obj)
    if not isinstance(obj, dict):
        return obj
    out: dict[Any, Any] = {}
    for key, value in obj.items():
        expanded = _expand_any(key, namespace, field, distinct)
        if expanded in out:
            hint = f"another key expands to {expanded!r} too, so one of the two would be lost"
            raise TemplateError(field, key, hint)
        out[expanded] = _expand_any(value, namespace, field, distinct)
    return out


# --- names


@dataclass(frozen=True, slots=True)
class _Shape:
    """A name template, prefix put in: ``before`` user ``between`` server ``after``.

    ``fields`` holds "user" and "server" in the order in which they stand, if they do.
    """

    before: str
    fields: tuple[str, ...]
    between: str
    after: str

    def render(self, user: str, server: str) -> str:
        values = {"user": user, "server": server}
        present = [values[name] for name in self.fields if values[name]]
        return self.before + self.between.join(present) + self.after

    @property
    def fixed(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


@lru_cache(maxsize=64)
def _shape(template: str, prefix: str) -> _Shape:
    """Parse and check a name template; cached, since every server of a Hub uses the same one."""
    if not _PLAIN.fullmatch(prefix) or len(prefix) > MAX_PREFIX:
        hint = (
            f"must be 1 to {MAX_PREFIX} characters of a-z and 0-9, with single '-' between them, "
            f"such as {DEFAULT_PREFIX!r}"
        )
        raise ConfigError("prefix", prefix, hint)
    texts, fields = [""], []
    for literal, name in _pieces(template, "name_template"):
        texts[-1] += literal
        if name == "prefix":
            texts[-1] += prefix
        elif name == "user_server":
            fields += ["user", "server"]
            texts += ["--", ""]
        elif name in _USER_FIELDS or name in _SERVER_FIELDS:
            fields.append("user" if name in _USER_FIELDS else "server")
            texts.append("")
        elif name is not None:
            raise TemplateError("name_template", template, _unknown(name, _NAME_FIELDS))
    if len(set(fields)) < len(fields):
        raise TemplateError(
            "name_template", template, "it has the user's name or the server's name twice"
        )
    between = texts[1] if len(fields) == 2 else ""
    shape = _Shape(texts[0], tuple(fields), between, texts[-1] if fields else "")
    _check_fixed_text(template, texts, shape)
    return shape


def _check_fixed_text(template: str, texts: list[str], shape: _Shape) -> None:
    hint = ""
    if not all(_FIXED.fullmatch(text) and _MARK not in text for text in texts):
        hint = f"besides fields only a-z, 0-9 and '-' can stand there, and not {_MARK!r}"
    elif not template or texts[0].startswith("-") or texts[-1].endswith("-"):
        hint = "must begin and end with a field, a letter or a digit"
    elif shape.fixed > _MAX_FIXED:
        hint = f"has {shape.fixed} fixed characters (prefix included), and only {_MAX_FIXED} fit"
    if hint:
        raise TemplateError("name_template", template, f"{hint}; such as {DEFAULT_TEMPLATE!r}")


def _readable_one_way(shape: _Shape, key: Key) -> bool:
    """Whether (user, server) could be read back from the plain form.

    A plain value has no ``--`` in it and no ``-`` at its ends, so the first ``--`` after the fixed
    beginning is the one that stands between user and server; without any it is the default server.
    Where only a single ``-`` stands between them, that holds among values without ``-``.
    """
    user, server = key.user, key.server
    if not _PLAIN.fullmatch(user) or (server and not _PLAIN.fullmatch(server)):
        return False
    if shape.fields == ("user",):
        return server == ""
    if len(shape.fields) < 2:
        return False
    return "--" in shape.between or ("-" in shape.between and "-" not in user + server)


def _hashed(shape: _Shape, key: Key, digest: str) -> str:
    user = _clean(key.user) if "user" in shape.fields else ""
    server = _clean(key.server) if "server" in shape.fields else ""
    user, server = _cut(user, server, _ROOM - shape.fixed)
    # Never without readable text before the mark: the bare hash would be a plain name.
    readable = shape.render(user, server).strip("-") or "x"
    return f"{readable}{_MARK}{digest}"


def _user_server(key: Key) -> str:
    """(user, server) as one slug; for the default server the user's own."""
    if not key.server:
        return slug(key.user)
    return object_name(key, template="{user_server}")


def _clean(text: str) -> str:
    # ASCII rules alone: Unicode tables differ between versions of Python, names must not.
    return re.sub(r"[^a-z0-9]+", "-", re.sub("[A-Z]", lambda m: m[0].lower(), text)).strip("-")


def _cut(first: str, second: str, room: int) -> tuple[str, str]:
    """Cut both to fit together; the longer one gives way first."""
    first = first[: max(room // 2, room - len(second))]
    second = second[: room - len(first)]
    return first.rstrip("-"), second.rstrip("-")


def _digest(*values: str) -> str:
    """80 bits of SHA-256 over the values, each told by its length so that none runs into another.

    ``surrogatepass``: lone surrogates have no UTF-8 form, and a name must not crash us.
    """
    sha = sha256()
    for value in values:
        data = value.encode("utf-8", "surrogatepass")
        sha.update(b"%d:" % len(data) + data)
    return b32encode(sha.digest()).decode()[:_HASH].lower()


# --- templates


def _pieces(template: str, field: str) -> list[tuple[str, str | None]]:
    """The template as (literal, name of the field after it or None)."""
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        hint = f"{error}; write {{{{ and }}}} for braces that are not fields"
        raise TemplateError(field, template, hint) from None
    pieces = []
    for literal, name, spec, conversion in parsed:
        if name is not None and (spec or conversion or not name.isidentifier()):
            written = name + (f"!{conversion}" if conversion else "") + (f":{spec}" if spec else "")
            hint = (
                f"{{{written}}} is not just the name of a field; only names work, such as "
                "{username}, and {{ and }} for braces"
            )
            raise TemplateError(field, template, hint)
        pieces.append((literal, name))
    return pieces


def _unknown(name: str, known: Mapping[str, str] | tuple[str, ...]) -> str:
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


def _require_distinct(pieces: list[tuple[str, str | None]], template: str, field: str) -> None:
    """Refuse user and server side by side unless what stands between can be in neither of them."""
    last, between = "", ""
    for literal, name in pieces:
        between += literal
        if name == "user_server":
            last = ""
        if name not in _IDENTITY_FIELDS:
            between += "x" if name else ""  # some text that does not separate
            continue
        pair = {_IDENTITY_FIELDS[one] for one in (last, name) if one}
        if len(pair) == 2 and not _separates(between, last, name):
            hint = (
                f"{{{last}}} and {{{name}}} so close together can give one text for two servers, "
                "as a, b-c and a-b, c would; use {user_server}"
            )
            raise TemplateError(field, template, hint)
        last, between = name, ""


def _separates(between: str, *fields: str) -> bool:
    """Whether fixed text shows where one value ends and the other begins.

    Raw values that `_require_segment` lets through have no slash and no colon in them. Slugs have
    only a-z, 0-9 and ``-``; a run of ``-`` in them is one long, or three before the hash.
    """
    if any(field in _RAW_USER_FIELDS + _RAW_SERVER_FIELDS for field in fields):
        return "/" in between or ":" in between
    return ("--" in between and _MARK not in between) or not _FIXED.fullmatch(between)


def identity_in(template: str, *, field: str) -> frozenset[str]:
    """Which parts of an identity a template tells apart: of ``"user"`` and ``"server"``.

    Raises:
        TemplateError: a malformed template.
    """
    names = {name for _, name in _pieces(template, field)}
    parts = {_IDENTITY_FIELDS[name] for name in names if name in _IDENTITY_FIELDS}
    return frozenset(parts | ({"user", "server"} if "user_server" in names else set()))
