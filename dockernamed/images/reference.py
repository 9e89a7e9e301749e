"""Image references: read, written in full, and as patterns for places where no code can run.

Guarantees, held by property tests:

- `parse` accepts what Docker accepts as a reference and nothing else; ``str(parse(text)) == text``.
- Two references have the same `ImageRef.canonical` exactly when Docker would pull the same thing
  for both: ``lab``, ``lab:latest`` and ``docker.io/library/lab`` are one.
- `REFERENCE` matches the whole of a text exactly when `parse` accepts it.
- `pinned` means the image that it was given, as far as the Engine told the truth.
- `same_image(ref)` matches exactly the references that Docker would pull the same image for.
- A text that matches `slot(before, after)` makes a reference when put between the two, of the
  registry that they name, and not the id of an image.
- `NAMED` matches the references among all texts that no Engine could take for the id of an image.

The patterns are for a JSON Schema and a form's fields. They are written in what Python and
ECMAScript (JSON Schema, HTML) have in common, to be matched against whole texts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from ..errors import ImageError

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
MAX_REPOSITORY = 255  # registry included, as Docker counts
_MAX_TEXT = 600  # with the longest tag and digest

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]{{1,5}})?"
# What stands before the first slash is a registry only with a dot, a colon or as localhost.
_REGISTRY = rf"(?:(?=localhost/|[^/]*[.:]){_HOST}/)"
_NO_REGISTRY = r"(?![^/]*[.:][^/]*/)"
_SEGMENT = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_PATH = rf"{_SEGMENT}(?:/{_SEGMENT})*"
_NOT_TOO_LONG = rf"(?<![\s\S]{{{MAX_REPOSITORY + 1}}})"
_NO_ID = r"(?![0-9a-f]{64}(?![\s\S]))"
_NAME = rf"{_NO_ID}(?:{_REGISTRY}|{_NO_REGISTRY}){_PATH}{_NOT_TOO_LONG}"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})"
REFERENCE = rf"{_NAME}(?::{_TAG})?(?:@{_DIGEST})?"
# An Engine takes the first digits of an id for the image, whoever it is of.
_ID = r"(?:sha256:)?[0-9a-f]{1,64}"
_END = r"(?![\s\S])"
NAMED = rf"(?!{_ID}{_END}){REFERENCE}"


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A reference as it was written; omitted parts are None, and properties fill them in.

    Attributes:
        registry: ``host`` or ``host:port``, or None.
        repository: the path, such as ``library/busybox`` or ``lab``.
        tag: such as ``3.12``, or None.
        digest: such as ``sha256:…``, or None. It decides when there is a tag too.
    """

    registry: str | None
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        tag = "" if self.tag is None else f":{self.tag}"
        digest = "" if self.digest is None else f"@{self.digest}"
        return f"{self.name}{tag}{digest}"

    @property
    def name(self) -> str:
        """As written, without tag and digest: the ``repository`` of a pull."""
        return self.repository if self.registry is None else f"{self.registry}/{self.repository}"

    @property
    def pull_tag(self) -> str:
        """The ``tag`` of a pull: the digest, else the tag, else ``latest``."""
        return self.digest or self.tag or DEFAULT_TAG

    @property
    def registry_key(self) -> str:
        """The registry whose credentials are needed; ``docker.io`` if none was written."""
        return registry_key_of(self.registry or DEFAULT_REGISTRY)

    @property
    def canonical(self) -> str:
        """In full, such as ``docker.io/library/lab:latest``; equal for the same image."""
        path, registry = self.repository, self.registry_key
        if registry == DEFAULT_REGISTRY and "/" not in path:
            path = f"library/{path}"
        separator = ":" if self.digest is None else "@"
        return f"{registry}/{path}{separator}{self.pull_tag}"

    @property
    def imagename(self) -> str:
        """As written, but fit for an object's name: ``/``, ``:`` and ``@`` become ``-``."""
        return re.sub("[/:@]", "-", str(self))


def registry_key_of(host: str) -> str:
    """One of all names of a registry: Docker Hub has two, and upper case is the same."""
    registry = host.lower()
    return DEFAULT_REGISTRY if registry == f"index.{DEFAULT_REGISTRY}" else registry


def parse(text: str) -> ImageRef:
    """Read ``[registry[:port]/]path[:tag][@digest]``.

    As for Docker, what stands before the first ``/`` is a registry when it has a ``.`` or ``:`` in
    it or is ``localhost``.

    Raises:
        ImageError: not a reference; the message says which part is wrong.
    """
    if len(text) > _MAX_TEXT:  # untrusted; messages below repeat parts of it
        raise _wrong(text, f"longer than {_MAX_TEXT} characters")
    rest, at, digest = text.partition("@")
    if at:
        _check_digest(text, digest)
    registry = None
    first, slash, path = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        if not re.fullmatch(_HOST, first):
            raise _wrong(text, f"{first!r} is not a registry (host or host:port)")
        registry, rest = first, path
    path, colon, tag = rest.partition(":")
    if colon and not re.fullmatch(_TAG, tag):
        hint = "a tag has 1 to 128 of A-Z a-z 0-9 _ . - and begins with none of . -"
        raise _wrong(text, f"{hint}, unlike {tag!r}")
    _check_path(text, path)
    ref = ImageRef(registry, path, tag if colon else None, digest if at else None)
    if len(ref.name) > MAX_REPOSITORY:
        raise _wrong(text, f"longer than {MAX_REPOSITORY} characters")
    return ref


def pinned(image: str, repo_digests: Iterable[str]) -> str:
    """A reference with the digest that an Engine knows for it: ``name:tag@sha256:…``.

    Whoever pulls that gets the same image, wherever the tag has moved to meanwhile.

    Args:
        image: the reference as it was written.
        repo_digests: ``RepoDigests`` of the image: for each repository that it was pulled from or
            pushed to the digest that it has there.

    Returns:
        The reference as it is where it has a digest already, or where the image has none in this
        repository, as an image has that was built or loaded. Of several digests the first one of
        their order.

    Raises:
        ImageError: not a reference.
    """
    ref = parse(image)
    if ref.digest is not None:
        return image
    for entry in sorted(repo_digests):
        try:
            known = parse(entry)
        except ImageError:  # such as <none>@<none>
            continue
        found = replace(ref, tag=ref.pull_tag, digest=known.digest)
        if known.digest is not None and found.canonical == known.canonical:
            return str(found)
    return image


def _check_path(text: str, path: str) -> None:
    if not path:
        raise _wrong(text, "the repository is missing")
    if path != path.lower():
        raise _wrong(text, f"the repository must be lower case, such as {path.lower()!r}")
    for segment in path.split("/"):
        if not re.fullmatch(_SEGMENT, segment):
            hint = "must be of a-z and 0-9, with . _ __ or - between them"
            raise _wrong(text, f"{segment!r} in the repository {hint}")
    if re.fullmatch("[0-9a-f]{64}", text):
        raise _wrong(text, "it is the id of an image; give the image a tag, and use that")


def _check_digest(text: str, digest: str) -> None:
    if not re.fullmatch(_DIGEST, digest):
        hint = "a digest is sha256: and 64 of 0-9 a-f (sha384: 96, sha512: 128)"
        raise _wrong(text, f"{hint}, unlike {digest!r}")


def may_be_id(text: str) -> bool:
    """Whether an Engine could take a reference for the id of an image, or for its first digits."""
    return re.fullmatch(_ID, text) is not None


def _wrong(text: str, why: str) -> ImageError:
    return ImageError(text, f"not an image reference: {why}")


# --- patterns


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
    reference where there is nothing around it; in the middle of a word, letters and digits. It
    never makes a registry, or an id, of what is around it.

    Args:
        before: the part before ``{value}``, such as ``quay.io/lab/``.
        after: the part after it, such as ``:latest``.

    Raises:
        ImageError: no text makes these two a reference, or it would be a part of the registry's
            name or of an id.
    """
    if not before and not after:
        return NAMED, 1024
    whole = f"{before}{{value}}{after}"
    sample = f"sha256:{'0' * 64}" if before.endswith("@") else "a"
    try:
        parse(f"{before}{sample}{after}")
    except ImageError as error:
        raise ImageError(whole, error.message) from None
    if before.startswith("sha256:"):
        raise ImageError(whole, "what is filled in would be a part of the id of an image")
    if before.endswith("@") and not after:
        return _DIGEST, 1024
    room = MAX_REPOSITORY - len(before) - len(after)
    if before.rpartition("/")[2].count(":"):
        return r"[A-Za-z0-9_]{1,64}" if after or not before.endswith(":") else _TAG, 128
    if before.endswith("/") and not after:
        return rf"{_PATH}(?::{_TAG})?", room
    if before.endswith("/") and after.startswith((":", "@", "/")):
        return _PATH, room
    return f"{_never(before, after, whole)}[a-z0-9]+(?:-[a-z0-9]+)*", min(room, 64)


def _never(before: str, after: str, whole: str) -> str:
    """A pattern that forbids the words that would make a registry or an id of their name."""
    first, slash, _ = after.partition("/")
    if "/" in before:
        return ""
    if slash:
        if re.search("[.:]", before + first):
            raise ImageError(whole, "what is filled in would be a part of the registry's name")
        local = re.fullmatch(f"{re.escape(before)}(.+){re.escape(first)}", "localhost")
        return f"(?!{local[1]}{_END})" if local else ""
    return f"(?![0-9a-f]+{_END})" if re.fullmatch("[0-9a-f]*", before + after) else ""
