"""profiles.py and profile_config.py: reading the settings, and who sees what of them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockernamed.errors import ConfigError
from dockernamed.options import profile_config
from dockernamed.options.overrides import OverridableSettings
from dockernamed.options.profiles import (
    Audience,
    Catalogue,
    Number,
    Option,
    Requester,
    exact,
    simple,
)

WORDS = OverridableSettings(
    frozenset({"image", "environment", "mem_limit", "cpu_limit", "pull_policy"})
)
ANN, BEN, EVE = (
    Requester("ann"),
    Requester("ben", frozenset({"staff"})),
    Requester("eve", frozenset({"other"})),
)
X = {"choices": {"x": {"display_name": "X"}}}


def read(profile_list: Any, common: Any = None) -> Catalogue:
    """All of the settings, nothing put off."""
    catalogue = profile_config.read(profile_list, common, WORDS)
    profile_config.check(catalogue)
    return catalogue


def option(**entry: Any) -> Option:
    """One common option, read."""
    return read(None, {"o": entry}).common["o"]


def profile(**entry: Any) -> list[dict[str, Any]]:
    """A list of one profile."""
    return [{"display_name": "A", **entry}]


@pytest.mark.parametrize("nothing", [None, [], {}, ()])
def test_no_profiles(nothing: Any) -> None:
    """Empty in any way means that there is no profile list."""
    assert read(nothing).profiles is None


def test_a_dict_is_sorted_by_its_keys() -> None:
    """As KubeSpawner does; the keys themselves are not the slugs."""
    catalogue = read({"2-b": {"display_name": "Bee"}, "1-a": {"display_name": "Ay"}})
    assert list(catalogue.profiles or ()) == ["ay", "bee"]


def test_common_options_stand_first_and_give_way() -> None:
    """They come before a profile's own; its own of the same name replaces the common one."""
    common = {"cpu": X, "mem": X}
    own = {"tool": X, "mem": {"display_name": "Mine", **X}}
    catalogue = read([*profile(profile_options=own), {"display_name": "B"}], common)
    options = (catalogue.profiles or {})["a"].options
    assert [(one.key, one.common) for one in options.values()] == [
        ("cpu", True),
        ("tool", False),
        ("mem", False),
    ]
    assert options["mem"].display_name == "Mine"
    assert list((catalogue.profiles or {})["b"].options) == ["cpu", "mem"]
    assert list(catalogue.common) == ["cpu", "mem"]


NUMBER = {"min": 1, "max": 4, "spawner_override": {"cpu_limit": "{value}"}}
WRONG: dict[str, tuple[Any, str]] = {
    "a list of no dicts": (["a"], r"profile_list\[0\] = 'a': expected a dict"),
    "text": ("a", "expected a list or a dict of profiles"),
    "a dict with a key that is no text": ({1: {"display_name": "A"}}, "non-empty strings"),
    "no name": ([{"slug": "a"}], "needs a 'display_name'"),
    "a name that is no text": ([{"display_name": 7}], "expected text"),
    "no slug to be made of the name": ([{"display_name": "!!!"}], "give a 'slug'"),
    "an empty slug": (profile(slug=""), "give a 'slug'"),
    "a slug with a line break": (profile(slug="a\nb"), "give a 'slug'"),
    "one slug twice": (profile() + profile(), "'a' stands for another profile already"),
    "an unknown key": (profile(displayname="A"), r"\['displayname'\] = 'A': unknown key; it may"),
    "a default that is no flag": (profile(default="yes"), "expected True or False"),
    "options in a list": (profile(profile_options=["o"]), "expected a dict"),
    "an option called profile": (profile(profile_options={"profile": X}), "this name is taken"),
    "an option called like a free text": (
        profile(profile_options={"o--unlisted-choice": X}),
        "this name is taken",
    ),
    "nothing to choose": (profile(profile_options={"o": {}}), "nothing to choose"),
    "a free text that is off": (
        profile(profile_options={"o": {"unlisted_choice": {"enabled": False}}}),
        "nothing to choose",
    ),
    "an unknown key in an option": (
        profile(profile_options={"o": {**X, "choises": {}}}),
        r"\['profile_options'\]\['o'\]\['choises'\]",
    ),
    "an unknown key in a choice": (
        profile(profile_options={"o": {"choices": {"x": {"image": "lab"}}}}),
        r"\['choices'\]\['x'\]\['image'\] = 'lab': unknown key",
    ),
    "a choice named like the free text": (
        profile(
            profile_options={
                "o": {"choices": {"unlisted-choice": {}}, "unlisted_choice": {"enabled": True}}
            }
        ),
        "stands for the free text",
    ),
    "a number with choices": (
        profile(profile_options={"o": {**X, "number": NUMBER}}),
        "goes without any other",
    ),
    "metadata that is no dict": (profile(metadata="x"), "expected a dict"),
    "users as text": (profile(allowed_users="ann"), "expected a list of names"),
    "groups that are no names": (profile(allowed_groups=[1]), "expected a list of names"),
    "a setting of Kubernetes": (
        profile(kubespawner_override={"image_pull_policy": "Always"}),
        r"profile_list\[0\]\['kubespawner_override'\]\['image_pull_policy'\].*use pull_policy",
    ),
    "a setting of Kubernetes in a choice": (
        profile(
            profile_options={
                "o": {"choices": {"x": {"kubespawner_override": {"service_account": "s"}}}}
            }
        ),
        "Kubernetes only",
    ),
    "form fields that mean two things": (
        [
            {"display_name": "A", "slug": "a", "profile_options": {"b--c": X}},
            {"display_name": "B", "slug": "a--b", "profile_options": {"c": X}},
        ],
        "give another 'slug'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_work_is_refused(case: str) -> None:
    """When the Hub starts, with the place, the value and what would have worked."""
    profile_list, message = WRONG[case]
    with pytest.raises(ConfigError, match=message):
        read(profile_list)


@pytest.mark.parametrize(
    ("free", "message"),
    [
        ({"validation_regex": "["}, "not a regular expression"),
        ({"validation_regex": "(?i)abc"}, r"flags must stand for a part"),
        ({"validation_regex": 7}, "expected text"),
        ({"spawner_override": {"image": "{value!r}"}}, "cannot be filled in"),
        ({"spawner_override": {"image": "Lab:{value}"}}, "must be lower case"),
        ({"spawner_override": {"image": "{value}/{value}"}}, "not an image reference"),
        ({"max_length": 3}, "unknown key"),
        ({"enabled": "yes"}, "expected True or False"),
    ],
)
def test_free_texts_that_cannot_work(free: dict[str, Any], message: str) -> None:
    """A regex, a template of an image or a key that can never be right."""
    with pytest.raises(ConfigError, match=message):
        option(unlisted_choice={"enabled": True, **free})


@pytest.mark.parametrize(
    ("number", "message"),
    [
        ({"max": 1}, r"\['min'\] = None: expected a number"),
        ({"min": True, "max": 2}, "expected a number"),
        ({"min": 0, "max": float("inf")}, "expected a number"),
        ({"min": 0, "max": float("nan")}, "expected a number"),
        ({"min": 0, "max": 1, "step": "1"}, "expected a number"),
        ({"min": 2, "max": 1}, "min ≤ max"),
        ({"min": 0, "max": 1, "step": 0}, "step above 0"),
        ({"min": 0, "max": 4, "default": 5}, "from 0 to 4"),
        ({"min": 0, "max": 4, "step": 2, "default": 3}, "in steps of 2"),
        ({"min": 0, "max": 4, "step": 0.001}, "more than 1000 steps"),
        ({"min": 1, "max": 10**6, "step": 2}, "multiple of step"),
        ({"min": 0, "max": 4, "values": []}, "unknown key"),
    ],
)
def test_numbers_that_cannot_work(number: dict[str, Any], message: str) -> None:
    """Bounds, steps and defaults that contradict each other."""
    with pytest.raises(ConfigError, match=message):
        option(number=number)


def test_values_are_asked_of_the_settings() -> None:
    """Fixed values of profiles and choices, and the bounds of numbers, filled in."""

    def check(name: str, value: object) -> None:
        asked.append((name, value))
        if value == "bad":
            raise ValueError("bad indeed")

    asked: list[tuple[str, object]] = []
    words = OverridableSettings(WORDS.settings, check=check)
    size = {"number": {"min": 1, "max": 8, "spawner_override": {"mem_limit": "{value}G"}}}
    profile_config.read(profile(spawner_override={"image": "lab"}), {"size": size}, words)
    assert sorted(map(str, asked)) == [
        "('image', 'lab')",
        "('mem_limit', '1G')",
        "('mem_limit', '8G')",
    ]
    with pytest.raises(ConfigError, match="bad indeed"):
        profile_config.read(profile(spawner_override={"image": "bad"}), None, words)


def test_keys_of_fancy_profiles_are_taken() -> None:
    """jupyterhub-fancy-profiles puts a few keys of its own into options; they are for templates."""
    made = option(
        dynamic_image_building={"enabled": True},
        choices={"x": {"display_name": "X", "description": "text"}},
        unlisted_choice={"enabled": True, "description_in_choices": "any other"},
        metadata={"icon": "x"},
    )
    assert made.metadata == {"dynamic_image_building": {"enabled": True}, "metadata": {"icon": "x"}}
    assert made.unlisted is not None
    assert made.unlisted.description == "any other"


def test_the_rest_of_a_profile_is_read_when_needed() -> None:
    """One request does not pay for the options of profiles that it leaves alone."""
    wrong = {"display_name": "B", "profile_options": {"o": {"choices": "wrong"}}}
    profile_list = [*profile(profile_options={"o": X}), wrong]
    catalogue = profile_config.read(profile_list, None, WORDS).seen_by(ANN)
    profiles = catalogue.profiles or {}
    assert "o" in profiles["a"].options
    with pytest.raises(ConfigError):
        len(profiles["b"].options)


@pytest.mark.parametrize(
    ("audience", "allowed"),
    [
        ({}, {"ann", "ben", "eve"}),
        ({"allowed_users": None}, {"ann", "ben", "eve"}),
        ({"allowed_users": ["ann"]}, {"ann"}),
        ({"allowed_groups": ["staff"]}, {"ben"}),
        ({"allowed_users": ("ann",), "allowed_groups": {"staff"}}, {"ann", "ben"}),
        ({"allowed_users": []}, set()),
        ({"allowed_groups": []}, set()),
    ],
)
def test_who_sees_a_profile_a_choice_a_text_an_image(
    audience: dict[str, Any], allowed: set[str]
) -> None:
    """Either list is enough, without both all are allowed, and an empty list allows nobody."""
    listed = {"y": {"display_name": "Y", **audience}}
    free = {"enabled": True, **audience}
    catalogue = read(
        [{"display_name": "A", "profile_options": {"p": {"choices": listed}}, **audience}],
        {"o": {"choices": {"x": {}, **listed}, "unlisted_choice": free}, "p": {"choices": listed}},
    )
    setting = {"lab": {"image": "quay.io/lab", "display_name": "Lab", **audience}, "r": "r-image"}
    for requester in (ANN, BEN, EVE):
        seen = catalogue.seen_by(requester)
        expected = requester.name in allowed
        assert list(seen.profiles or ()) == (["a"] if expected else [])
        assert list(seen.common["o"].selections) == (["x", "y"] if expected else ["x"])
        assert (seen.common["o"].unlisted is not None) == expected
        assert ("p" in seen.common) == expected
        images, labels = profile_config.images_seen(setting, requester)
        assert images == {"r": "r-image"} | ({"lab": "quay.io/lab"} if expected else {})
        assert labels == ({"lab": "Lab"} if expected else {})
    assert Audience().limited is False
    assert profile_config.image_aliases(setting) == {"lab": "quay.io/lab", "r": "r-image"}


def test_the_default_is_the_first_that_one_sees() -> None:
    """Where the marked default is not for this user, another stands in."""
    choices = {
        "a": {},
        "b": {"default": True, "allowed_groups": ["staff"]},
        "c": {"default": True},
    }
    catalogue = read(None, {"o": {"choices": choices}})
    for requester, expected in ((BEN, "b"), (ANN, "c")):
        default = catalogue.seen_by(requester).common["o"].default
        assert default is not None
        assert default.key == expected


@pytest.mark.parametrize("setting", ["*", None, ["lab"], []])
def test_other_shapes_of_allowed_images_are_left_alone(setting: Any) -> None:
    """Only a dict can say who may choose what."""
    assert profile_config.images_seen(setting, ANN) == (setting, {})
    assert profile_config.image_aliases(setting) == {}


def test_an_unknown_key_of_an_image() -> None:
    """Refused, naming the place."""
    with pytest.raises(ConfigError, match=r"allowed_images\['lab'\]\['users'\]"):
        profile_config.images_seen({"lab": {"image": "lab", "users": ["ann"]}}, ANN)


ODD_NUMBERS: list[Any] = [
    True, None, "2", [2], float("nan"), float("inf"), 10**400, -(10**400), 1e308, {},
]  # fmt: skip
numbers = st.one_of(
    st.sampled_from(ODD_NUMBERS),
    st.integers(-2, 12),
    st.floats(-1, 11, allow_nan=False),
    st.decimals(0, 10, places=2).map(float),
)


@given(numbers)
@pytest.mark.parametrize(
    ("low", "high", "step"),
    [(0, 10, None), (0, 10, 1), (0.5, 4, 0.5), (0.1, 0.9, 0.1), (1, 9, 3), (-1, 1, 0.25)],
)
def test_numbers_within_bounds(low: float, high: float, step: float | None, value: Any) -> None:
    """A number passes when it is one of the steps from min to max, as they are written."""
    number = Number(low, high, step, low, {})
    sane = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not sane or value != value or value in (float("inf"), -float("inf")):
        expected = False
    elif step is None:
        expected = low <= value <= high
    else:
        steps = [Fraction(str(low)) + count * Fraction(str(step)) for count in range(99)]
        expected = Fraction(str(value)) in steps and value <= high
    assert (not number.problem(value)) == expected
    if step is not None:
        assert (value in number.values if sane else False) == expected


@given(st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_exact_and_back(value: float) -> None:
    """Nothing is lost; whole numbers come back as int."""
    back = simple(exact(value))
    assert back == value
    assert isinstance(back, int) == (value == int(value))


def test_bounds_in_words() -> None:
    """For messages and for the form."""
    assert Number(0.5, 4, 0.5, 1, {}, "CPUs").range == "from 0.5 to 4 CPUs in steps of 0.5"
    assert Number(1, 8, None, 1, {}).range == "from 1 to 8"
    assert Number(1, 8, None, 1, {}).steps == 0
