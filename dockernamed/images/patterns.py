"""Image references as regular expressions, for places where no code can run: a JSON Schema, a form.

Guarantees, held by property tests:

- `REFERENCE` matches the whole of a text exactly when `images.parse` accepts it.
- `same_image(ref)` matches exactly the references that Docker would pull the same image for.
- A text that matches `slot(before, after)` makes a reference when put between the two.

All are written in what Python and ECMAScript (JSON Schema, HTML) have in common, to be matched
against whole texts.
"""

from __future__ import annotations

import re

from ..errors import ImageError
from .reference import DEFAULT_REGISTRY, DEFAULT_TAG, MAX_REPOSITORY, ImageRef, parse

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
# What stands before the first slash is a registry only with a dot, a colon or as localhost.
_REGISTRY = (
    r"(?:(?=localhost/|[^/]*[.:])"
    rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?/)"
)
_SEGMENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_SEGMENT}(?:/{_SEGMENT})*"
_NO_REGISTRY = r"(?![^/]*[.:][^/]*/)"
_NOT_TOO_LONG = rf"(?<![\s\S]{{{MAX_REPOSITORY + 1}}})"
_NO_ID = r"(?![0-9a-f]{64}(?![\s\S]))"
_NAME = rf"{_NO_ID}(?:{_REGISTRY}|{_NO_REGISTRY}){_PATH}{_NOT_TOO_LONG}"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})"
REFERENCE = rf"{_NAME}(?::{_TAG})?(?:@{_DIGEST})?"


def same_image(ref: ImageRef) -> str:
    """A pattern for every way to write the image that ``ref`` means."""
    path, registry = ref.repository, ref.registry_key
    hosts = [registry]
    library = ""
    if registry == DEFAULT_REGISTRY:
        hosts.append(f"index.{DEFAULT_REGISTRY}")
        path = path.removeprefix("library/")
        if "/" in path:
            path = ref.repository
        else:
            library = "(?:library/)?"
    written = "|".join(_any_case(host) for host in hosts)
    prefix = f"(?:{written})/" if registry != DEFAULT_REGISTRY else f"(?:(?:{written})/)?"
    return f"{prefix}{library}{re.escape(path)}{_version(ref)}"


def _any_case(host: str) -> str:
    return "".join(
        f"[{sign}{sign.upper()}]" if sign.isalpha() else re.escape(sign) for sign in host
    )


def _version(ref: ImageRef) -> str:
    if ref.digest is not None:
        return f"(?::{_TAG})?@{re.escape(ref.digest)}"
    if ref.pull_tag == DEFAULT_TAG:
        return f"(?::{DEFAULT_TAG})?"
    return f":{re.escape(ref.pull_tag)}"


def slot(before: str, after: str) -> tuple[str, int]:
    """What may be filled in between two parts of a reference: a pattern and a length.

    A tag after ``repo:``; a path after ``registry/``, with a tag where nothing follows; a whole
    name or reference where nothing goes before; in the middle of a word, letters and digits.

    Args:
        before: the part before ``{value}``, such as ``quay.io/lab/``.
        after: the part after it, such as ``:latest``.

    Raises:
        ImageError: no text makes these two a reference.
    """
    if not before and not after:
        return REFERENCE, 1024
    sample = f"sha256:{'0' * 64}" if before.endswith("@") else "a"
    try:
        parse(f"{before}{sample}{after}")
    except ImageError as error:
        raise ImageError(f"{before}{{value}}{after}", error.message) from None
    if before.endswith("@") and not after:
        return _DIGEST, 1024
    room = MAX_REPOSITORY - len(before) - len(after)
    if before.rpartition("/")[2].count(":"):
        return r"[A-Za-z0-9_]{1,64}" if after or not before.endswith(":") else _TAG, 128
    if before.endswith("/") and not after:
        return rf"{_PATH}(?::{_TAG})?", room
    if before.endswith("/") and after.startswith((":", "@", "/")):
        return _PATH, room
    return r"[a-z0-9]+(?:-[a-z0-9]+)*", min(room, 64)
