"""The options form: a menu as the variables of a template, and the rendered template.

The template's name (``form.html``) and variables (``profile_list``, ``user_options``) are
KubeSpawner's, so that templates written for it and jupyterhub-fancy-profiles work here. All text is
escaped, so that none of it is read as HTML. Templates see no overrides except for those in `SHOWN`,
because a page must not show an environment's secrets.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import jinja2

from ..errors import ImageError
from ..images.reference import NAMED, parse
from .overrides import OVERRIDE_ALIAS, plain
from .profile_config import form_field
from .profiles import UNLISTED, Number, Option, Profile, Unlisted
from .user_options import IMAGE, PROFILE, Menu

TEMPLATE = "form.html"
TEMPLATES = Path(__file__).parent / "templates"
#: Overrides that templates may show.
SHOWN = ("image", "mem_limit", "mem_guarantee", "cpu_limit", "cpu_guarantee", "default_url")
#: Says whether the Engine has an image; None if that is not known.
Presence = Callable[[str], "bool | None"]
_READINESS = {True: "ready", False: "will be pulled first"}


class Question(NamedTuple):
    """One option as our template sees it; a tuple, since a large form has thousands.

    Attributes:
        field: name and id of the form field; that of the free text has ``--unlisted-choice`` too.
        choices: (key, text, whether it is chosen at first) of each listed choice.
        free: the free text, or None.
        text: what the free text is at first.
        number: the number's bounds, or None; ``value`` is what it is at first.
        about: description and bounds in words.
    """

    field: str
    label: str
    choices: list[tuple[str, str, bool]]
    free: Unlisted | None
    text: object
    number: Number | None
    value: str
    about: str


def render(
    menu: Menu,
    *,
    user_options: Mapping[str, object] | None = None,
    note: str = "",
    default_image: str = "",
    present: Presence = lambda image: None,
    template_paths: Sequence[str] = (),
    template: str = "",
) -> str:
    """The form's HTML; JupyterHub adds the form element around it and the button below it.

    Our template gets ``profiles``, ``common`` and ``images``, made for it; any other gets
    KubeSpawner's ``profile_list`` (the common options are among each profile's) and
    ``user_options``, and ``common_options``. All get ``note``.

    Args:
        menu: what this user may choose.
        user_options: what is chosen at first, in normal form (`options.recall`).
        note: why that is not the last choice.
        default_image: the image of users who choose none.
        present: whether an image is on the Engine; asked with references as the admin wrote them.
        template_paths: directories that are searched for templates before ours.
        template: a template's text, instead of any file.
    """
    environment = _environment(tuple(template_paths))
    page = environment.from_string(template) if template else environment.get_template(TEMPLATE)
    view = _View(menu, user_options or {}, present)
    ours = page.filename == str(TEMPLATES / TEMPLATE)
    variables = view.ours() if ours else view.kubespawner()
    return page.render(variables, images=view.images(default_image), note=note)


def images_of(menu: Menu) -> Iterator[str]:
    """All images that a form for this menu names."""
    yield from menu.images.images.values()
    options = list(menu.catalogue.common.values())
    for profile in (menu.catalogue.profiles or {}).values():
        yield from _image(profile.override)
        options += profile.options.values()
    for option in options:
        for selection in option.selections.values():
            yield from _image(selection.override)


def _first(choices: Mapping[str, str], image: str) -> str:
    """The first choice that stands for an image; "" if none does."""
    return next((choice for choice, one in choices.items() if one == image), "")


def presence(references: Iterable[str]) -> Presence:
    """A `Presence` made of the references that the Engine lists: ``lab:1``, ``lab@sha256:…``."""
    have = {_canonical(reference) for reference in references}
    return lambda image: _canonical(image) in have


def _canonical(reference: str) -> str:
    try:
        return parse(reference).canonical
    except ImageError:
        return reference


def _image(override: Mapping[str, object]) -> list[str]:
    image = override.get("image")
    return [image] if isinstance(image, str) else []


class _View:
    """A menu with its initial choices, as the variables of templates."""

    def __init__(self, menu: Menu, user_options: Mapping[str, object], present: Presence) -> None:
        self._menu, self._chosen, self._present = menu, user_options, present
        self._profiles = list((menu.catalogue.profiles or {}).values())
        default = menu.default_profile
        self._selected = user_options.get(PROFILE, default.slug if default else None)

    def ours(self) -> dict[str, Any]:
        """``profiles``: (profile, selected, image in words, questions); ``common``: questions."""
        profiles = [
            (profile, profile.slug == self._selected, self._image_words(profile), own)
            for profile in self._profiles
            for own in [self._questions(profile)]
        ]
        return {"profiles": profiles, "common": self._questions(None)}

    def _questions(self, profile: Profile | None) -> list[Question]:
        slug = profile.slug if profile else None
        chosen = self._chosen if profile is None or slug == self._selected else {}
        return [
            self._question(option, form_field(slug, option.key), chosen)
            for option in self._menu.options_of(profile).values()
            if profile is None or not option.common
        ]

    def _question(self, option: Option, field: str, chosen: Mapping[str, object]) -> Question:
        key, number, about = option.key, option.number, option.description
        if number:
            asked = chosen.get(key, number.default)
            value = plain(asked) if isinstance(asked, (int, float)) else ""
            bounds = number.range[:1].upper() + number.range[1:]
            about = f"{about} {bounds}.".lstrip()
            return Question(field, option.display_name, [], None, "", number, value, about)
        default = option.default
        first = chosen.get(key, default.key if default else None)
        choices = [
            (
                selection.key,
                self._words(selection.display_name, selection.override),
                selection.key == first,
            )
            for selection in option.selections.values()
        ]
        text = chosen.get(key + UNLISTED, "") if chosen else ""
        return Question(field, option.display_name, choices, option.unlisted, text, None, "", about)

    def _words(self, name: str, override: Mapping[str, object]) -> str:
        if "image" not in override:
            return name
        image = override["image"]
        present = self._present(image) if isinstance(image, str) else None
        return name if present is None else f"{name} ({_READINESS[present]})"

    def _image_words(self, profile: Profile) -> str:
        return "".join(self._words(image, profile.override) for image in _image(profile.override))

    def images(self, default_image: str) -> dict[str, Any] | None:
        """The plain choice of an image: ``choices``, or any that matches ``pattern``."""
        menu = self._menu
        if not menu.offers_image:
            return None
        labels, value = menu.image_labels, self._chosen.get(IMAGE, "")
        choices = dict(menu.images.images)
        # Without profiles the default and the choice of the same image are one entry.
        default = "" if self._profiles else _first(choices, default_image)
        choices.pop(default, None)
        name = labels.get(default) or default or default_image
        return {
            "pattern": NAMED if menu.images.wildcard else "",
            "value": "" if value == default else value,
            "default": self._words(name, {"image": default_image}),
            "choices": [
                (choice, self._words(labels.get(choice) or choice, {"image": image}), image)
                for choice, image in choices.items()
            ],
        }

    def kubespawner(self) -> dict[str, Any]:
        """The variables of KubeSpawner's templates, and ``common_options``."""
        default = self._menu.default_profile
        return {
            "profile_list": [
                {
                    "slug": profile.slug,
                    "display_name": profile.display_name,
                    "description": profile.description,
                    "default": profile is default,
                    "profile_options": _options_shown(profile.options),
                    **_shown(profile.override),
                    **profile.metadata,
                }
                for profile in self._profiles
            ],
            "user_options": dict(self._chosen),
            "common_options": _options_shown(self._menu.catalogue.common),
        }


def _options_shown(options: Mapping[str, Option]) -> dict[str, dict[str, Any]]:
    return {
        key: {
            "display_name": option.display_name,
            "description": option.description,
            "choices": {
                selection.key: {
                    "display_name": selection.display_name,
                    "description": selection.description,
                    "default": selection is option.default,
                    **_shown(selection.override),
                    **selection.metadata,
                }
                for selection in option.selections.values()
            },
            "unlisted_choice": _unlisted_shown(option.unlisted),
            **({"number": _number_shown(option.number)} if option.number else {}),
            **option.metadata,
        }
        for key, option in options.items()
    }


def _shown(override: Mapping[str, object]) -> dict[str, Any]:
    shown = {
        key: value
        for key, value in override.items()
        if key in SHOWN and isinstance(value, (str, int, float))
    }
    return {OVERRIDE_ALIAS: shown}


def _unlisted_shown(unlisted: Unlisted | None) -> dict[str, Any]:
    if unlisted is None:
        return {"enabled": False}
    return {
        "enabled": True,
        "display_name": unlisted.display_name,
        "display_name_in_choices": unlisted.display_name_in_choices,
        "description_in_choices": unlisted.description,
        "validation_regex": unlisted.pattern,
        "validation_message": unlisted.message,
    }


def _number_shown(number: Number) -> dict[str, Any]:
    return {
        "min": number.minimum,
        "max": number.maximum,
        "step": number.step,
        "unit": number.unit,
        "default": number.default,
    }


@lru_cache(maxsize=8)
def _environment(template_paths: tuple[str, ...]) -> jinja2.Environment:
    loader = jinja2.FileSystemLoader([*template_paths, TEMPLATES])
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    # `|tojson` keeps the admin's order, as KubeSpawner's templates expect.
    environment.policies["json.dumps_kwargs"] = {"sort_keys": False}
    return environment
