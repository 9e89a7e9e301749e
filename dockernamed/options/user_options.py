"""Checks untrusted ``user_options`` and turns them into a frozen `Choice`.

Guarantees:

- `parse` is the only check: what comes from the form, from the query of a link and over REST is
  converted to one shape (`from_form`) and then checked by the same rules.
- `parse` raises `OptionsError` and nothing else, whatever is sent: any type, any depth, any size.
- A message lists what *this* user may send, never what others may.
- ``parse(choice.options, menu) == choice``: remembered options give the same choice again.

The shape is KubeSpawner's: ``{"profile": slug, option: choice, "option--unlisted-choice": text}``,
and in addition ``{"image": choice}`` if ``allowed_images`` is set. Without ``profile`` the
default one is meant; without an option, its default.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from ..errors import ConfigError, DockerNamedError, OptionsError
from ..images.allowed import AllowedImages
from . import overrides
from .overrides import Layer, OverridableSettings
from .profile_config import form_field
from .profiles import (
    UNLISTED,
    UNLISTED_MARKS,
    Catalogue,
    Number,
    Option,
    Profile,
    exact,
    simple,
)

IMAGE = "image"
PROFILE = "profile"
_PROFILE_FIELDS = "profile-option-"
_COMMON_FIELDS = "common-option--"
# What pages send besides choices: JupyterHub's, and the helpers of jupyterhub-fancy-profiles.
_PAGE_FIELDS = ("_xsrf", "select-profile")
_PAGE_SUFFIXES = (f"{UNLISTED}--repo", f"{UNLISTED}--ref")
_MAX_SHOWN = 200  # characters of a key in a message
_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")


@dataclass(frozen=True)
class Choice:
    """What a user chose, checked.

    Attributes:
        image: the reference from ``allowed_images`` to run; None: what the layers and the setting
            ``image`` say. It comes last, after the layers.
        layers: settings to override, in order of application: the profile's, then each option's.
        options: the ``user_options`` in their normal form: what to remember for the next start.
        profile: slug of the profile, or None when there are no profiles.
        label: the choice in words, for logs and pages; "" for the default.
        volumes: text in a setting about volumes → the part of the choice that put it there; known
            once the choice was applied.
        registry_unknown: the configuration does not name the registry of the image; likewise.
    """

    image: str | None = None
    layers: tuple[Layer, ...] = ()
    options: dict[str, object] = field(default_factory=dict)
    profile: str | None = None
    label: str = ""
    volumes: Mapping[str, str] = field(default_factory=dict)
    registry_unknown: bool = False

    def blamed(self, error: DockerNamedError) -> DockerNamedError:
        """The error as the user's own, where a setting is wrong into which the user's text went."""
        if not isinstance(error, ConfigError):
            return error
        setting = re.split(r"\W", error.field, maxsplit=1)[0]
        for layer in reversed(self.layers):
            if setting in layer.settings:
                return layer.refused(setting, error.value, error.hint) if layer.field else error
        return error


@dataclass(frozen=True)
class Menu:
    """What one user may choose, made for each request from settings that are already evaluated.

    Attributes:
        images: the images this user may name.
        catalogue: the profiles and options this user may choose (`Catalogue.seen_by`).
        overridable: what overrides may name, and which of it are templates.
        image_labels: choice → how pages call it, where that is not the choice itself.
    """

    images: AllowedImages = field(default_factory=lambda: AllowedImages(None))
    catalogue: Catalogue = field(default_factory=Catalogue)
    overridable: OverridableSettings = field(
        default_factory=lambda: OverridableSettings(frozenset())
    )
    image_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def default_profile(self) -> Profile | None:
        """The profile that applies if none is sent; None without profiles."""
        profiles = (self.catalogue.profiles or {}).values()
        first = next(iter(profiles), None)
        return next((profile for profile in profiles if profile.default), first)

    @property
    def empty(self) -> bool:
        """There is nothing to choose, so there is no form to show."""
        catalogue = self.catalogue
        return not (self.offers_image or catalogue.profiles is not None or catalogue.common)

    @property
    def offers_image(self) -> bool:
        """The key ``image`` may be sent."""
        return bool(self.images.wildcard or self.images.choices)

    def options_of(self, profile: Profile | None) -> Mapping[str, Option]:
        """The options that go with a profile, or with none."""
        return self.catalogue.common if profile is None else profile.options

    def keys_of(self, profile: Profile | None) -> list[str]:
        """The keys that may be sent together with a profile, or with none."""
        keys = [] if self.catalogue.profiles is None else [PROFILE]
        options = self.options_of(profile)
        for option in options.values():
            if option.selections or option.number:
                keys.append(option.key)
            if option.unlisted:
                keys.append(option.key + UNLISTED)
        if self.offers_image and IMAGE not in options:
            keys.append(IMAGE)
        return keys


def parse(user_options: object, menu: Menu, *, others: bool = False) -> Choice:
    """Check the options that a user sent.

    Args:
        user_options: as JupyterHub got it; None and ``{}`` mean the default.
        menu: what this user may choose.
        others: further keys are somebody else's, who judges them; else they are refused.

    Raises:
        OptionsError: an unknown key, an unknown choice, a wrong type; it lists the valid ones.
    """
    sent = _as_object(user_options)
    profile = _profile(sent, menu)
    keys = menu.keys_of(profile)
    for key, value in sent.items():
        if key not in keys and not others:
            raise OptionsError(_shown(key), value, _unknown(key, value, profile, menu), keys)
    layers: list[Layer] = []
    kept: dict[str, object] = {}
    words: list[str] = []
    if profile:
        layers.append(Layer(f"profile {profile.slug!r}", profile.override))
        if PROFILE in sent:
            kept[PROFILE] = profile.slug
            words.append(profile.display_name)
    for option in menu.options_of(profile).values():
        layer, answer = _answer(option, sent, menu.overridable)
        layers.append(layer)
        kept |= answer
        words += [f"{option.display_name}: {value}" for value in answer.values()]
    image = None
    if IMAGE in sent and IMAGE not in menu.options_of(profile):
        image = menu.images.resolve(sent[IMAGE])
        kept[IMAGE] = sent[IMAGE]
        words.append(str(sent[IMAGE]))
    return Choice(
        image=image,
        layers=tuple(layer for layer in layers if layer.settings),
        options=kept,
        profile=profile.slug if profile else None,
        label=", ".join(words),
    )


def typed(sent: object, menu: Menu, *, others: bool = False) -> list[str]:
    """The keys of options whose values were typed, and not chosen from what an admin listed.

    Args:
        sent: options that `parse` may or may not accept.
        menu: what this user may choose.
        others: as for `parse`.

    Returns:
        Free texts, any image where any may be named, and keys of an admin's own form. Nothing of
        options that `parse` refuses.
    """
    try:
        choice = parse(sent, menu, others=others)
    except OptionsError:
        return []
    keys = menu.keys_of((menu.catalogue.profiles or {}).get(choice.profile or ""))
    free = [key for key in choice.options if key.endswith(UNLISTED)]
    image = [IMAGE] if menu.images.wildcard and choice.image is not None else []
    return [*free, *image, *(key for key in _as_object(sent) if key not in keys)]


def recall(saved: object, menu: Menu) -> tuple[dict[str, object], str]:
    """Options saved at an earlier start, for the form to begin with.

    Returns:
        The options in their normal form and ""; or, when they are no longer valid, ``{}`` and why.
    """
    try:
        return parse(saved, menu).options, ""
    except OptionsError as error:
        return {}, str(error)


def _as_object(user_options: object) -> Mapping[str, object]:
    if user_options is None:
        return {}
    if not isinstance(user_options, Mapping):
        raise OptionsError("user_options", user_options, "expected an object (key → value)")
    return user_options


def _shown(key: object) -> str:
    """An untrusted key, in a form that is safe in a message and a log."""
    text = str(key)
    fine = text.isprintable() and len(text) <= _MAX_SHOWN
    return text if fine else ascii(text[:_MAX_SHOWN])


def _profile(sent: Mapping[str, object], menu: Menu) -> Profile | None:
    profiles = menu.catalogue.profiles
    if profiles is None:
        return None
    if not profiles:
        raise OptionsError(PROFILE, sent.get(PROFILE), "no profile here is open to you", ())
    if PROFILE not in sent:
        return menu.default_profile
    slug = sent[PROFILE]
    if not isinstance(slug, str):
        raise OptionsError(PROFILE, slug, "expected the name of a profile as text", profiles)
    if slug not in profiles:
        raise OptionsError(PROFILE, slug, "not a profile that you may choose", profiles)
    return profiles[slug]


def _unknown(key: object, value: object, profile: Profile | None, menu: Menu) -> str:
    """Why a key is refused, with the likeliest misunderstanding in mind."""
    if key == "user_options" and isinstance(value, Mapping):
        return (
            "this JupyterHub takes the options themselves as the body of the request: send the "
            "inner object alone"
        )
    if key == "display_name":
        return "this JupyterHub takes no display_name with the options: leave it out"
    if key == PROFILE:
        return "there are no profiles to choose from"
    if isinstance(key, str) and menu.options_of(profile).get(key):
        return f"there is no list to choose from: send {key + UNLISTED!r}"
    if profile:
        return f"not an option of the profile {profile.slug!r}"
    return "unknown option"


def _answer(
    option: Option, sent: Mapping[str, object], overridable: OverridableSettings
) -> tuple[Layer, dict[str, object]]:
    """What one option does, and what to remember of it: nothing if its default applies."""
    if option.number:
        return _number_answer(option.key, option.number, sent, overridable)
    name = f"option {option.key!r}"
    selection = option.default
    answer: dict[str, object] = {}
    if option.key in sent and option.selections:
        value = sent[option.key]
        if not isinstance(value, str) or value not in option.selections:
            raise OptionsError(option.key, value, _not_listed(option, value), option.selections)
        selection = option.selections[value]
        answer = {option.key: value}
    free = option.key + UNLISTED
    if option.unlisted and free in sent:
        text = sent[free]
        problem = option.unlisted.problem(text)
        if problem or not isinstance(text, str):
            raise OptionsError(free, text, problem)
        override = overrides.filled(option.unlisted.override, text, overridable)
        return Layer(name, override, free, text), {free: text}
    if selection is None:
        hint = f"there is no default for {option.display_name!r}: an answer is needed"
        raise OptionsError(free, None, hint)
    return Layer(f"{name} = {selection.key!r}", selection.override), answer


def _not_listed(option: Option, value: object) -> str:
    hint = "not a choice" if isinstance(value, str) else "expected the name of a choice as text"
    if option.unlisted:
        hint += f" (any other goes in {option.key + UNLISTED!r})"
    return hint


def _number_answer(
    key: str, number: Number, sent: Mapping[str, object], overridable: OverridableSettings
) -> tuple[Layer, dict[str, object]]:
    value = sent.get(key, number.default)
    problem = number.problem(value)
    if problem or not isinstance(value, (int, float)):
        raise OptionsError(key, value, problem)
    amount = simple(exact(value))
    override = overrides.filled(number.override, amount, overridable)
    return Layer(f"option {key!r}", override, key, amount), {key: amount} if key in sent else {}


def from_form(form: Mapping[str, object], menu: Menu) -> dict[str, object]:
    """Turn form fields (or the query of a link) into the ``user_options`` of a REST call.

    The fields are KubeSpawner's: ``profile``, ``profile-option-{slug}--{option}`` and the same with
    ``--unlisted-choice``; ``common-option--{option}`` for what is asked once for all profiles; and
    names as over REST. Fields of the profiles that were not chosen are left aside. Nothing is
    judged here, and nothing is left out that `parse` should see. A field left empty counts as not
    given; a free text counts unless a choice stands in the list beside it.

    Args:
        form: field → list of strings, as JupyterHub hands it over.
        menu: what this user may choose.
    """
    given = {
        name: value
        for name, values in form.items()
        for value in [_single(values)]
        if value != "" and name not in _PAGE_FIELDS and not name.endswith(_PAGE_SUFFIXES)
    }
    profiles = menu.catalogue.profiles
    slug = given.get(PROFILE)
    profile = menu.default_profile
    if profiles and slug is not None:
        profile = profiles.get(slug) if isinstance(slug, str) else None
    if profiles and profile is None:
        return {PROFILE: slug}  # nothing else can be read without it
    answers = _fields(given, profile, menu)
    for option in menu.options_of(profile).values():
        _convert(option, answers)
    return answers


def _fields(given: Mapping[str, object], profile: Profile | None, menu: Menu) -> dict[str, object]:
    """The fields by option: the chosen profile's own before those common to all."""
    mine = form_field(profile.slug, "") if profile else None
    others: list[str] = []
    if profile:
        longer = (one for one in menu.catalogue.profiles or () if one.startswith(profile.slug))
        others = [form_field(slug, "") for slug in longer if slug != profile.slug]
    options = menu.options_of(profile)
    answers: dict[str, object] = {}
    for name, value in given.items():
        if mine and name.startswith(mine) and not any(map(name.startswith, others)):
            answers[name[len(mine) :]] = value
        elif name.startswith(_COMMON_FIELDS):
            key = name[len(_COMMON_FIELDS) :]
            option = options.get(key.removesuffix(UNLISTED))
            if option is None or option.common:
                answers.setdefault(key, value)
        elif not (profile and name.startswith(_PROFILE_FIELDS)):
            answers.setdefault(name, value)
    return answers


def _convert(option: Option, answers: dict[str, object]) -> None:
    """Convert what a form can send to what REST takes, in place."""
    key, free = option.key, option.key + UNLISTED
    value, text = answers.get(key), answers.get(free)
    if option.number:
        if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
            answers[key] = simple(Fraction(value.strip()))
    elif option.unlisted:
        if isinstance(text, str):
            text = answers[free] = text.strip()
        if text and isinstance(value, str) and value in option.selections:
            del answers[free]  # a page without scripts shows, and sends, both
        elif text:
            answers.pop(key, None)
        elif isinstance(value, str) and value in UNLISTED_MARKS:
            del answers[key]
            answers[free] = ""
        else:
            answers.pop(free, None)


def _single(values: object) -> object:
    """The only value of a field; several values, or an upload, are left as they are for `parse`."""
    if isinstance(values, Iterable) and not isinstance(values, (str, bytes, Mapping)):
        listed = list(values)
        if not listed:
            return ""
        return listed[0] if len(listed) == 1 else listed
    return values
