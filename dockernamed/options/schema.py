"""What one user may send, as a JSON Schema.

Made from the same `Menu` that `options.parse` judges by, and accepting exactly what it accepts: a
property test sends what the schema allows, and what it forbids, through both. The dialect is
draft-07, which most tools read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..images.reference import NAMED, parse, same_image
from .profiles import MAX_STEPS, UNLISTED, Number, Option, Profile, Unlisted
from .user_options import IMAGE, PROFILE, Menu

DIALECT = "http://json-schema.org/draft-07/schema#"
Schema = dict[str, Any]


def schema(menu: Menu, title: str = "user_options") -> Schema:
    """The JSON Schema of ``user_options`` for the user whose menu this is."""
    head: Schema = {"$schema": DIALECT, "title": title}
    profiles = menu.catalogue.profiles
    if profiles is None:
        return head | _object(menu, None)
    if not profiles:
        # Everything is refused: this is `false`, written as a schema with a title.
        return head | {"not": {}, "description": "No profile is open to this user."}
    return head | {"anyOf": [_profile(menu, profile) for profile in profiles.values()]}


def _profile(menu: Menu, profile: Profile) -> Schema:
    made = _object(menu, profile)
    if profile is not menu.default_profile:
        made["required"] = [PROFILE, *made.get("required", ())]
    return made


def _object(menu: Menu, profile: Profile | None) -> Schema:
    properties: dict[str, Schema] = {}
    required: list[str] = []
    made: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if profile:
        made |= _words(profile.display_name, profile.description)
        properties[PROFILE] = {"const": profile.slug}
        if profile is menu.default_profile:
            properties[PROFILE]["default"] = profile.slug
    options = menu.options_of(profile)
    for option in options.values():
        properties |= _option(option)
        if option.required:
            required.append(option.key + UNLISTED)
    if menu.offers_image and IMAGE not in options:
        properties[IMAGE] = _image(menu)
    if required:
        made["required"] = required
    return made


def _option(option: Option) -> dict[str, Schema]:
    words = _words(option.display_name, option.description)
    properties: dict[str, Schema] = {}
    if option.number:
        properties[option.key] = words | _number(option.number)
    elif option.default:
        selections = [
            {"const": selection.key} | _words(selection.display_name, selection.description)
            for selection in option.selections.values()
        ]
        properties[option.key] = words | {
            "type": "string",
            "oneOf": selections,
            "default": option.default.key,
        }
    if option.unlisted:
        properties[option.key + UNLISTED] = _text(option.unlisted, option.display_name)
    return properties


def _number(number: Number) -> Schema:
    made: Schema = {"type": "number", "default": number.default}
    if number.unit:
        made["description"] = number.unit
    if 0 < number.steps <= MAX_STEPS:
        # Listed, since multiples of 0.1 are beyond the arithmetic of most validators.
        return made | {"enum": number.values}
    made |= {"minimum": number.minimum, "maximum": number.maximum}
    if number.step is not None:
        made |= {"type": "integer", "multipleOf": number.step}
    return made


def _text(unlisted: Unlisted, title: str) -> Schema:
    made = _words(unlisted.display_name or title, unlisted.message)
    made |= {"type": "string", "minLength": 1, "maxLength": unlisted.max_length}
    patterns = [whole(rule.pattern) for rule in unlisted.rules]
    if len(patterns) == 1:
        return made | {"pattern": patterns[0]}
    return made | {"allOf": [{"pattern": pattern} for pattern in patterns]}


def _image(menu: Menu) -> Schema:
    made: Schema = {"title": "Image", "type": "string"}
    if menu.images.wildcard:
        return made | {"pattern": whole(NAMED)}
    listed = [
        {"const": choice} | _words(menu.image_labels.get(choice, ""), "")
        for choice in menu.images.choices
    ]
    if menu.images.aliased:
        return made | {"oneOf": listed}
    # For a list, every way to write the same image is accepted.
    same = [{"pattern": whole(same_image(parse(image)))} for image in menu.images.images.values()]
    return made | {"anyOf": listed + same}


def _words(title: str, description: str) -> Schema:
    words: Mapping[str, str] = {"title": title, "description": description}
    return {key: text for key, text in words.items() if text}


def whole(pattern: str) -> str:
    """The pattern, anchored so that it must match the whole text.

    JSON Schema searches, and Python's ``$`` lets a line break pass at the end.
    """
    return f"^(?:{pattern})(?![\\s\\S])"
