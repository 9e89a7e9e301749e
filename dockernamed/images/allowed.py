"""Which images a user may choose, and when they are pulled: the settings, read.

`AllowedImages.resolve` returns a reference that the admin wrote (or, with ``"*"``, one that is
well formed and no id of an image) or raises `OptionsError`, whatever type of thing was sent.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from enum import Enum
from types import MappingProxyType
from typing import Any

from ..errors import ConfigError, ImageError, OptionsError
from .reference import may_be_id, parse


class AllowedImages:
    """The setting ``allowed_images``, after any callable was called.

    Args:
        setting: a list of references; or a dict of choice → reference; or ``"*"`` for any image;
            or None or empty: nobody may choose.

    Attributes:
        images: choice → reference, in the admin's order; empty for ``"*"``.
        wildcard: any well-formed reference is accepted that cannot be the id of an image.
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
        """What a user may send, in the admin's order; empty for ``"*"``, which allows all."""
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
            return _named(choice)
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


def _named(choice: str) -> str:
    """Any reference that cannot be the id of an image, which may be of somebody else."""
    try:
        image = str(parse(choice))
    except ImageError as error:
        raise OptionsError("image", choice, error.message) from None
    if may_be_id(choice):
        hint = "it could be the id of an image: name repository and tag, such as 'lab:latest'"
        raise OptionsError("image", choice, hint)
    return image


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


def not_an_image(name: str, aliases: Sequence[str]) -> str:
    """Why a setting cannot name this image, or ""; its own aliases are not asked about.

    Args:
        name: no alias.
        aliases: the choices of ``allowed_images`` that have names of their own.
    """
    try:
        parse(name)
    except ImageError as error:
        return error.message
    near = difflib.get_close_matches(name, aliases, n=1, cutoff=0.66)
    if near and not any(sign in name for sign in "/:@"):
        return (
            f"it is no alias of allowed_images; did you mean {near[0]!r}? The image of that name "
            f"would be {name + ':latest'!r}"
        )
    return ""


class PullPolicy(str, Enum):
    """When to pull: always, if the image is missing, or never (``skip`` does not even look)."""

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
