"""Image references, which of them a user may choose, and when to pull.

Guarantees:

- `parse` accepts what Docker accepts as a reference and nothing else; ``str(parse(text)) == text``.
- Two references have the same `ImageRef.canonical` exactly when Docker would pull the same thing
  for both: ``lab``, ``lab:latest`` and ``docker.io/library/lab`` are one.
- `AllowedImages.resolve` returns a reference that the admin wrote (or, with ``"*"``, one that is
  well formed) or raises `OptionsError`, whatever type of thing was sent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

from ..errors import ConfigError, ImageError, OptionsError

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
MAX_REPOSITORY = 255  # registry included, as Docker counts
_MAX_TEXT = 600  # with the longest tag and digest

_HOST = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[a-fA-F0-9:]+\])(?::[0-9]{1,5})?"
)
_PATH = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HEX = re.compile("[0-9a-f]+")
_HEX_LENGTH = {"sha256": 64, "sha384": 96, "sha512": 128}


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A reference as it was written; what was left out is None here and filled in by properties.

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
        """The registry whose credentials are needed, ``docker.io`` when none was written."""
        registry = (self.registry or DEFAULT_REGISTRY).lower()
        return DEFAULT_REGISTRY if registry == "index.docker.io" else registry

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
        """As written, fit for the name of an object: ``/``, ``:`` and ``@`` become ``-``."""
        return re.sub("[/:@]", "-", str(self))


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
        if not _HOST.fullmatch(first):
            raise _wrong(text, f"{first!r} is not a registry (host or host:port)")
        registry, rest = first, path
    path, colon, tag = rest.partition(":")
    if colon and not _TAG.fullmatch(tag):
        hint = "a tag has 1 to 128 of A-Z a-z 0-9 _ . - and begins with none of . -"
        raise _wrong(text, f"{hint}, unlike {tag!r}")
    _check_path(text, path)
    ref = ImageRef(registry, path, tag if colon else None, digest if at else None)
    if len(ref.name) > MAX_REPOSITORY:
        raise _wrong(text, f"longer than {MAX_REPOSITORY} characters")
    return ref


def _check_path(text: str, path: str) -> None:
    if not path:
        raise _wrong(text, "the repository is missing")
    if path != path.lower():
        raise _wrong(text, f"the repository must be lower case, such as {path.lower()!r}")
    for segment in path.split("/"):
        if not _PATH.fullmatch(segment):
            hint = "must be of a-z and 0-9, with . _ __ or - between them"
            raise _wrong(text, f"{segment!r} in the repository {hint}")
    if re.fullmatch("[0-9a-f]{64}", text):
        raise _wrong(text, "it is the id of an image; give the image a tag, and use that")


def _check_digest(text: str, digest: str) -> None:
    algorithm, _, value = digest.partition(":")
    if len(value) != _HEX_LENGTH.get(algorithm) or not _HEX.fullmatch(value):
        hint = "a digest is sha256: and 64 of 0-9 a-f (sha384: 96, sha512: 128)"
        raise _wrong(text, f"{hint}, unlike {digest!r}")


def _wrong(text: str, why: str) -> ImageError:
    return ImageError(text, f"not an image reference: {why}")


class AllowedImages:
    """The setting ``allowed_images``, once any callable has been called.

    Args:
        setting: a list of references; or a dict of choice → reference; or ``"*"`` for any image;
            or None or empty: nobody chooses.

    Attributes:
        images: choice → reference, in the admin's order; empty for ``"*"``.
        wildcard: any well-formed reference is accepted.
        aliased: choices are names of their own, not references.

    Raises:
        ConfigError: another type, or something in it that is not a reference.
    """

    def __init__(self, setting: object) -> None:
        self.wildcard = setting == "*"
        self.images: Mapping[str, str] = MappingProxyType(
            {} if self.wildcard else _read_setting(setting)
        )
        self.aliased = isinstance(setting, Mapping)

    @property
    def choices(self) -> tuple[str, ...]:
        """What a user may send, in the admin's order; empty for ``"*"``, where all is open."""
        return tuple(self.images)

    def resolve(self, choice: object) -> str:
        """The reference that an untrusted choice stands for.

        In a list, another way to write the same image (``lab`` for ``lab:latest``) is accepted and
        gives what the list says.

        Raises:
            OptionsError: of the wrong type, not a reference, or not among the choices.
        """
        counted = None if self.wildcard else self.choices
        if not self.wildcard and not self.images:
            raise OptionsError("image", choice, "images cannot be chosen on this Hub", counted)
        if not isinstance(choice, str) or not choice:
            raise OptionsError("image", choice, "expected a non-empty string", counted)
        if self.wildcard:
            try:
                return str(parse(choice))
            except ImageError as error:
                raise OptionsError("image", choice, error.message) from None
        if choice in self.images:
            return self.images[choice]
        same = None if self.aliased else self._same_image(choice)
        if same is None:
            raise OptionsError("image", choice, "not an image that you may choose", counted)
        return same

    def _same_image(self, choice: str) -> str | None:
        try:
            wanted = parse(choice).canonical
        except ImageError:
            return None
        listed = (image for image in self.images.values() if parse(image).canonical == wanted)
        return next(listed, None)


def _read_setting(setting: Any) -> dict[str, str]:
    if not setting and (setting is None or isinstance(setting, (str, list, tuple, Mapping))):
        return {}
    if isinstance(setting, Mapping):
        images = dict(setting)
    elif isinstance(setting, (list, tuple)):
        if not all(isinstance(image, str) for image in setting):
            raise ConfigError("allowed_images", setting, "a list must hold strings only")
        images = {image: image for image in setting}
    else:
        hint = "expected a list of images, a dict of choice → image, or '*' for any image"
        raise ConfigError("allowed_images", setting, hint)
    for choice, image in images.items():
        if not isinstance(choice, str) or not choice or not isinstance(image, str):
            hint = "a dict must map non-empty strings to images"
            raise ConfigError("allowed_images", {choice: image}, hint)
        if image == "*":
            raise ConfigError("allowed_images", setting, "'*' for any image must stand alone")
        try:
            parse(image)
        except ImageError as error:
            raise ConfigError("allowed_images", image, error.message) from None
    return images


class PullPolicy(str, Enum):
    """When to ask the registry: each time, when the image is absent, never, or don't even look."""

    ALWAYS = "always"
    IFNOTPRESENT = "ifnotpresent"
    NEVER = "never"
    SKIP = "skip"

    def __str__(self) -> str:
        return self.value

    @classmethod
    def parse(cls, text: str) -> PullPolicy:
        """Read the setting ``pull_policy``, upper or lower case (``IfNotPresent``).

        Raises:
            ConfigError: no such policy.
        """
        try:
            return cls(text.lower())
        except ValueError:
            hint = f"expected one of {', '.join(repr(one.value) for one in cls)}"
            raise ConfigError("pull_policy", text, hint) from None
