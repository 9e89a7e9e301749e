"""Raw identity → labels, object names and the fields of templates.

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
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from urllib.parse import quote

from . import templates
from .errors import ConfigError, OptionsError, TemplateError

LABEL = "dockernamed"
LABEL_HUB = f"{LABEL}.hub"
LABEL_USER = f"{LABEL}.user"
LABEL_SERVER = f"{LABEL}.server"
LABEL_SPEC = f"{LABEL}.spec"
#: The name that a container was created with, which an image or a copy has no use for.
LABEL_CONTAINER = f"{LABEL}.container"
#: Where a container finds the Hub that made it.
LABEL_API_URL = f"{LABEL}.api_url"
#: Whose servers a network was made for: ``hub``, ``user`` or ``server``.
LABEL_NETWORK = f"{LABEL}.network"
#: Which GPUs a container was given, so that other Hubs on its Engine find it; `desired.gpus`.
LABEL_GPUS = f"{LABEL}.gpus"
#: Which Hub's service of a Swarm only brings an image to nodes; `desired.node_images`.
LABEL_PREPULL = f"{LABEL}.prepull"

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

_NAME_FIELDS = ("prefix", "username", "servername", "user_server")  # as told in messages


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

    @property
    def shown(self) -> str:
        """User and server as they can stand in a line of a log."""
        return f"{shown(self.user)}/{shown(self.server)}"


def shown(text: str, *, keep: str = "") -> str:
    """A text from a user as it can stand in a line of a log: what cannot be seen as its code.

    Line breaks of any kind, control characters, marks that turn text around, and halves of
    characters are written as in a string of Python.

    Args:
        text: the text.
        keep: characters that stay as they are.
    """
    if text.isprintable():
        return text
    return "".join(
        sign if sign.isprintable() or sign in keep else ascii(sign)[1:-1] for sign in text
    )


def breaks_lines(text: str) -> bool:
    """Whether a text has a line break, another control character or half a character."""
    return any(unicodedata.category(sign) in ("Cc", "Cs", "Zl", "Zp") for sign in text)


def check_names(key: Key) -> None:
    """Refuse names that would be lines of their own in the logs of whoever writes them there.

    Raises:
        OptionsError: a name has a line break, another control character or half a character.
    """
    for kind, name in (("user", key.user), ("server", key.server)):
        if breaks_lines(name):
            hint = "a name with line breaks or control characters cannot have a server here"
            raise OptionsError(f"name of the {kind}", name, hint)


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


def oauth_client_id(user: str, server: str) -> str:
    """The OAuth client of one server and no other.

    JupyterHub joins user and server with ``-``, so that ('a', 'b-c') and ('a-b', 'c') would share
    one.
    """
    # A "!" never comes out of quote().
    return "jupyterhub-user-" + "!".join(quote(part, safe="") for part in (user, server) if part)


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


def is_name_of(key: Key, name: str) -> bool:
    """Whether the default template gives a server's container this name, with any prefix."""
    prefixes = (name[: dash.start()] for dash in re.finditer("-", name))
    return any(
        name == object_name(key, prefix=prefix)
        for prefix in prefixes
        if _PLAIN.fullmatch(prefix) and len(prefix) <= MAX_PREFIX
    )


def network_names(
    hub: str, user: str | None = None, server: str | None = None, *, prefix: str, kind: str = ""
) -> tuple[str, str]:
    """The names of a network that is made for servers, in the order in which they are tried.

    Args:
        hub: the Hub's id, which always plays a part: no two Hubs share a network.
        user: raw name of the user whose servers are in it; None: all servers of the Hub.
        server: likewise the one server; None: all of the user.
        prefix: the setting of that name.
        kind: tells networks of the same servers apart.

    Returns:
        Two DNS labels of at most 63 characters, never the same for different arguments: the second
        is for when somebody else has the first. They always end in a hash, so neither is the name
        of a container.
    """
    whose = [one for one in (hub, user, server) if one is not None]
    shape, key = _shape(DEFAULT_TEMPLATE, prefix), Key(hub, user or "hub", server or "")
    first, second = (
        _hashed(shape, key, _digest("network", kind, try_, *whose)) for try_ in ("1", "2")
    )
    return first, second


def prepull_name(hub: str, image: str, node: str, *, prefix: str) -> str:
    """The name of the service that brings an image to the nodes of a Swarm.

    Args:
        hub: the Hub's id.
        image: in full.
        node: the id of the only node; "" for all of them.
        prefix: the setting of that name.

    Returns:
        A DNS label of at most 63 characters, never the same for different arguments, and never the
        name of a server's service.
    """
    shape, key = _shape(DEFAULT_TEMPLATE, prefix), Key(hub, "prepull", "")
    return _hashed(shape, key, _digest("prepull", hub, image, node))


def bridge_name(network: str) -> str:
    """The name of a network's interface on the Engine's host: ``dn-`` and 60 bits of SHA-256.

    At most 15 characters, as Linux has it, and of one beginning, so that one line of a firewall
    speaks of them all (``-i dn-+``).

    Args:
        network: its name.
    """
    return f"dn-{_digest('bridge', network)[:12]}"


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
        ``unescaped_…``), which `templates.expand` checks; ``prefix``, ``hub_id``, ``imagename``;
        ``extra``.
    """
    fields = {
        "prefix": prefix,
        "hub_id": key.hub,
        "imagename": re.sub("[/:@]", "-", image),
        "user_server": _user_server(key),
    }
    fields |= dict.fromkeys(templates.USER_FIELDS, slug(key.user))
    fields |= dict.fromkeys(templates.SERVER_FIELDS, slug(key.server) if key.server else "")
    fields |= dict.fromkeys(templates.RAW_USER_FIELDS, key.user)
    fields |= dict.fromkeys(templates.RAW_SERVER_FIELDS, key.server)
    return fields | dict(extra or {})


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
    for literal, name in templates.pieces(template, "name_template"):
        texts[-1] += literal
        if name == "prefix":
            texts[-1] += prefix
        elif name == "user_server":
            fields += ["user", "server"]
            texts += ["--", ""]
        elif name in templates.USER_FIELDS or name in templates.SERVER_FIELDS:
            fields.append("user" if name in templates.USER_FIELDS else "server")
            texts.append("")
        elif name is not None:
            hint = templates.unknown_field(name, _NAME_FIELDS)
            raise TemplateError("name_template", template, hint)
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
