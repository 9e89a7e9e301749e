"""schema.py: the JSON Schema accepts exactly what the validator accepts."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from functools import cache
from typing import Any

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis_jsonschema import from_schema
from support.examples import examples

from dockernamed.errors import OptionsError
from dockernamed.images.allowed import AllowedImages
from dockernamed.options import profile_config, user_options
from dockernamed.options.overrides import OverridableSettings
from dockernamed.options.profiles import Requester
from dockernamed.options.schema import DIALECT, schema
from dockernamed.options.user_options import Menu

WORDS = OverridableSettings(frozenset({"image", "environment", "cpu_limit", "mem_limit"}))
CHOICES = {"display_name": "Tool", "choices": {"lab": {"description": "JupyterLab"}, "r": {}}}
NUMBERS = {
    "half": {"number": {"min": 0.5, "max": 4, "step": 0.5, "unit": "CPUs", "default": 1}},
    "tenth": {"number": {"min": 0.1, "max": 0.9, "step": 0.1}},
    "offset": {"number": {"min": 1, "max": 99, "step": 7}},
    "many": {"number": {"min": 128, "max": 65536, "step": 64}},
    "any": {"number": {"min": -1.5, "max": 2}},
}
TEXTS = {
    "text": {"unlisted_choice": {"enabled": True, "validation_regex": "[a-c]{1,3}|^x$"}},
    "free": {"choices": {"a": {}}, "unlisted_choice": {"enabled": True}},
    "image": {
        "choices": {"a": {}},
        "unlisted_choice": {
            "enabled": True,
            "validation_regex": "^(quay.io|ghcr.io)/[a-z:0-9./]*$",
            "validation_message": "an image of one of the two",
            "spawner_override": {"image": "{value}"},
        },
    },
    "tag": {
        "unlisted_choice": {"enabled": True, "spawner_override": {"image": "quay.io/lab:{value}"}},
    },
}
PROFILES = [
    {"display_name": "Plain"},
    {"display_name": "Tools", "default": True, "profile_options": {"tool": CHOICES}},
    {"display_name": "Numbers", "profile_options": NUMBERS},
    {"display_name": "Texts", "description": "to type", "profile_options": TEXTS},
    {"display_name": "Staff", "allowed_groups": ["staff"], "profile_options": {"tool": CHOICES}},
]
SETTINGS: dict[str, tuple[Any, Any, Any]] = {
    "nothing": (None, None, None),
    "aliases": (None, None, {"lab": "quay.io/lab", "r": {"image": "r", "display_name": "R"}}),
    "a list of images": (None, None, ["lab:latest", "quay.io/a/b:2", "docker.io/library/r"]),
    "any image": (None, None, "*"),
    "profiles": (PROFILES, None, None),
    "profiles and common options": (PROFILES, {"size": NUMBERS["half"], "tool": CHOICES}, None),
    "profiles and images": (PROFILES, None, ["lab"]),
    "common options": (None, NUMBERS | {"tool": CHOICES}, None),
    "an answer needed": (None, {"text": TEXTS["text"]}, None),
    "an answer needed by the default": (
        [{"display_name": "A", "profile_options": TEXTS}, {"display_name": "B"}],
        None,
        None,
    ),
    "nothing open": (PROFILES[4:], None, None),
}


@cache
def menu(name: str) -> Menu:
    """The menu of a user who is not of the staff."""
    profiles, common, images = SETTINGS[name]
    seen, labels = profile_config.images_seen(images, Requester("eve"))
    catalogue = profile_config.read(profiles, common, WORDS).seen_by(Requester("eve"))
    return Menu(AllowedImages(seen), catalogue, WORDS, labels)


@cache
def validator(name: str) -> Any:
    """Of the schema as it goes over the wire."""
    made = json.loads(json.dumps(schema(menu(name))))
    jsonschema.Draft7Validator.check_schema(made)
    return jsonschema.Draft7Validator(made)


@cache
def bodies(name: str) -> st.SearchStrategy[Any]:
    """Bodies that the schema allows."""
    made = validator(name).schema
    return st.one_of(list(map(objects, made.get("anyOf", [made]))))


def objects(made: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects of a schema; hypothesis-jsonschema makes their values only, as its own objects need
    internals that Hypothesis has changed.
    """
    values = {key: from_schema(value) for key, value in made["properties"].items()}
    needed = {key: values.pop(key) for key in made.get("required", ())}
    return st.fixed_dictionaries(needed, optional=values)


def accepted(body: Any, name: str) -> bool:
    """What the validator says."""
    try:
        user_options.parse(body, menu(name))
    except OptionsError:
        return False
    return True


OPEN = [name for name in SETTINGS if name != "nothing open"]
each_menu = pytest.mark.parametrize("name", OPEN)
few = settings(max_examples=examples(20), suppress_health_check=list(HealthCheck))


@each_menu
@few
@given(data=st.data())
def test_what_the_schema_allows_is_accepted(name: str, data: st.DataObject) -> None:
    """Bodies generated from the schema alone, by a library that knows nothing of us."""
    user_options.parse(data.draw(bodies(name)), menu(name))


WORDS_SENT = [
    *("", "lab", "r", "lab:latest", "docker.io/lab", "quay.io/a/b:2", "library/r", "LAB", "R"),
    *("plain", "tools", "numbers", "texts", "staff", "a", "b", "x", "x\n", "abc", "abca", "\n"),
    *("quay.io/x", "quay.io/x\n", "quay.io/X", "quay.io/x:1/2", "2024-1", "-1", "a\tb", "é" * 1024),
]
KEYS = [
    *("profile", "image", "tool", "text--unlisted-choice", "free", "free--unlisted-choice"),
    *("image--unlisted-choice", "tag", "tag--unlisted-choice", "size", "extra", *NUMBERS),
]
leaves = st.one_of(
    st.sampled_from(WORDS_SENT),
    st.sampled_from([None, True, False, [], {}, 0, 1, 1.0, 0.3, 0.30000000000000004, 129, 192]),
    st.integers(-2, 140),
    st.floats(-2, 5),
    st.decimals(0, 5, places=1).map(float),
    st.text(max_size=4),
)


@st.composite
def mutated(draw: st.DrawFn, name: str) -> Any:
    """An allowed body, with something changed, added or left out; or something else altogether."""
    body = copy.deepcopy(draw(bodies(name)))
    if not isinstance(body, dict):
        return draw(leaves)
    for _ in range(draw(st.integers(1, 3))):
        kind = draw(st.sampled_from(["add", "change", "drop", "replace"]))
        key = draw(st.sampled_from([*body, *KEYS] if kind == "add" else [*body] or KEYS))
        if kind == "drop":
            body.pop(key, None)
        elif kind == "replace":
            return draw(leaves.filter(lambda leaf: leaf is not None))
        else:
            body[key] = draw(leaves)
    return body


@pytest.mark.parametrize("name", SETTINGS)
@few
@given(data=st.data())
def test_mutated_bodies_are_judged_alike(name: str, data: st.DataObject) -> None:
    """What the schema forbids is refused, what it allows accepted, and nothing else happens."""
    body = data.draw(mutated(name) if name in OPEN else leaves.map(lambda leaf: {"profile": leaf}))
    assert accepted(body, name) == validator(name).is_valid(body), body


@pytest.mark.parametrize("name", SETTINGS)
@given(body=st.dictionaries(st.sampled_from(KEYS), leaves, max_size=3))
@settings(max_examples=examples(40))
def test_any_body_is_judged_alike(name: str, body: Any) -> None:
    """Bodies of our keys with all kinds of values."""
    assert accepted(body, name) == validator(name).is_valid(body), body


@pytest.mark.parametrize("value", [0.1 * 3, 0.3, 0.7, 0.1 + 0.7, 0.9, 0.9000000000000001])
def test_tenths(value: float) -> None:
    """Steps of 0.1 as they are written, in both."""
    body = {"profile": "numbers", "tenth": value}
    expected = f"{value}" in {"0.3", "0.7", "0.9"}
    assert accepted(body, "profiles") == expected
    assert validator("profiles").is_valid(body) == expected


def test_what_a_reader_finds() -> None:
    """Titles, descriptions, defaults: enough to make a form of it."""
    made = schema(menu("profiles and common options"), "ann's")
    assert (made["$schema"], made["title"]) == (DIALECT, "ann's")
    plain, tools, numbers, texts = made["anyOf"]
    assert plain["required"] == ["profile"]
    assert "required" not in tools
    assert tools["properties"]["profile"] == {"const": "tools", "default": "tools"}
    assert tools["properties"]["tool"] == {
        "title": "Tool",
        "type": "string",
        "default": "lab",
        "oneOf": [
            {"const": "lab", "title": "lab", "description": "JupyterLab"},
            {"const": "r", "title": "r"},
        ],
    }
    assert numbers["properties"]["half"]["description"] == "CPUs"
    assert numbers["properties"]["half"]["default"] == 1
    assert numbers["properties"]["many"]["multipleOf"] == 64
    assert texts["required"] == ["profile", "text--unlisted-choice", "tag--unlisted-choice"]
    free = texts["properties"]["image--unlisted-choice"]
    assert free["description"] == "an image of one of the two"
    assert "staff" not in json.dumps(made)


def test_images_by_their_names() -> None:
    """Aliases with the names that pages show."""
    image = schema(menu("aliases"))["properties"]["image"]
    assert image["oneOf"] == [{"const": "lab"}, {"const": "r", "title": "R"}]


def test_in_a_script() -> None:
    """It can be made without JupyterHub, Docker or an Engine."""
    code = (
        "import sys; from dockernamed.options import schema, user_options; "
        "schema.schema(user_options.Menu()); "
        "sys.exit('jupyterhub' in sys.modules or 'docker' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
