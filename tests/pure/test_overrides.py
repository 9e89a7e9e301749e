"""overrides.py: which settings a choice may override, `{value}` filled in, and merging."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyterhub.spawner import recursive_update

from dockernamed.errors import ConfigError, OptionsError
from dockernamed.options import overrides
from dockernamed.options.kubernetes import KUBERNETES
from dockernamed.options.overrides import EARLY, HUB_WIDE, Layer, OverridableSettings

WORDS = OverridableSettings(
    frozenset({"image", "environment", "mem_limit", "pull_policy", "volumes", "allowed_images"}),
    templates=frozenset({"volumes"}),
)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.text("ab{}", max_size=3))
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text("abc", max_size=2), inner, max_size=3)
    ),
    max_leaves=12,
)
dicts = st.dictionaries(st.text("abc", max_size=2), values, max_size=4)


@given(dicts, dicts)
def test_merging_is_jupyterhubs(current: dict[str, Any], new: dict[str, Any]) -> None:
    """`merged` gives what JupyterHub's recursive_update leaves, wherever that one can do it."""
    expected = copy.deepcopy(current)
    try:
        recursive_update(expected, new)
    except (AttributeError, TypeError):
        return  # a dict merged into what is no dict, which fails there
    assert overrides.merged(current, new) == expected


@given(dicts, values)
def test_merging_changes_nothing_in_place(current: dict[str, Any], new: Any) -> None:
    """Neither side is touched, and nothing mutable is shared with the result."""
    before = copy.deepcopy((current, new))
    result = overrides.merged(current, new)
    spoil(result)
    assert (current, new) == before


def spoil(value: Any) -> None:
    """Change every dict and list in a value."""
    if isinstance(value, dict):
        for inner in value.values():
            spoil(inner)
        value["spoilt"] = True
    elif isinstance(value, list):
        for inner in value:
            spoil(inner)
        value.append("spoilt")


@given(dicts, dicts)
def test_merging_twice_is_merging_once(current: dict[str, Any], new: dict[str, Any]) -> None:
    """So that group overrides may be applied by JupyterHub and by us."""
    once = overrides.merged(current, new)
    assert overrides.merged(once, new) == once


def test_a_dict_over_what_is_no_dict() -> None:
    """It replaces it, at the top as it is, further down without the keys that None removes."""
    assert overrides.merged("text", {"a": None}) == {"a": None}
    assert overrides.merged({"a": "text"}, {"a": {"b": 1, "c": None}}) == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ("{value}", "x"),
        ("a{value}b{value}", "axbx"),
        ("{{value}}", "{value}"),
        ("{{{value}}}", "{x}"),
        ("{username}", "{username}"),
        ('{"json": "{value}"}', '{"json": "x"}'),
        (["{value}", ("{value}",)], ["x", ("x",)]),
        ({"{value}": {"deep": "{value}"}}, {"x": {"deep": "x"}}),
        (7, 7),
    ],
)
def test_filling_in(part: Any, expected: Any) -> None:
    """Every `{value}` at any depth, doubled braces as in str.format, all else as it was."""
    filled = overrides.filled({"environment": part}, "x", WORDS)
    assert filled == {"environment": expected}


def test_what_a_user_typed_is_no_template() -> None:
    """In a setting that is a template, braces in the text are doubled, and the rest is kept."""
    text = "{username.__class__}"
    filled = overrides.filled({"volumes": {"{value}-{username}": "/{{x}}"}}, text, WORDS)
    assert filled == {"volumes": {"{{username.__class__}}-{username}": "/{{x}}"}}


@pytest.mark.parametrize(
    ("number", "alone", "inside"),
    [(2, 2, "2G"), (1.5, 1.5, "1.5G"), (1e-05, 1e-05, "0.00001G"), (1e22, 1e22, f"1{'0' * 22}G")],
)
def test_numbers_stay_numbers(number: float, alone: float, inside: str) -> None:
    """`{value}` alone is the number itself; inside text it is written as people write it."""
    filled = overrides.filled({"mem_limit": "{value}G", "image": "{value}"}, number, WORDS)
    assert filled == {"mem_limit": inside, "image": alone}


@pytest.mark.parametrize("odd", ["{value!r}", "{value.x}", "a{value[0]}", "{value:>3}"])
def test_formatting_of_the_value_is_refused(odd: str) -> None:
    """Only the whole value is filled in; what looks like more is an error at the Hub's start."""
    with pytest.raises(ConfigError, match="cannot be filled in"):
        overrides.check_placeholders({"environment": {"A": [odd]}}, "here")


@pytest.mark.parametrize("fine", ["{value}", "{values}", "{{value!r}", "{other!r}"])
def test_other_braces_are_not(fine: str) -> None:
    """Other fields and escaped braces are nobody's business here."""
    overrides.check_placeholders({"environment": fine}, "here")


@pytest.mark.parametrize("name", sorted(KUBERNETES))
def test_kubernetes_settings_are_refused_with_dockers(name: str) -> None:
    """Each names what to use instead, or says that there is nothing."""
    with pytest.raises(ConfigError) as caught:
        WORDS.require(name, 1, "here")
    assert "Kubernetes" in str(caught.value)
    assert (KUBERNETES[name] or "leave it out") in str(caught.value)


@pytest.mark.parametrize("name", sorted(EARLY))
def test_what_is_decided_before_a_choice_is_refused(name: str) -> None:
    """A choice cannot override what may be chosen."""
    with pytest.raises(ConfigError, match="before anybody chooses"):
        WORDS.require(name, 1, "here")


@pytest.mark.parametrize("name", sorted(HUB_WIDE))
def test_what_holds_for_the_whole_hub_is_refused(name: str) -> None:
    """A choice cannot override whose container it is, or on which Engine it runs."""
    with pytest.raises(
        ConfigError, match=rf"all servers of the Hub.* c\.DockerNamedSpawner\.{name}"
    ):
        WORDS.require(name, 1, "here")


def test_what_a_hook_changed_for_the_whole_hub_is_put_back() -> None:
    """Also where a dict was changed in place; what had been changed is told by name."""
    values: dict[str, Any] = dict.fromkeys(sorted(HUB_WIDE), 1)
    settings = SimpleNamespace(**{**values, "client_kwargs": {"timeout": 1}, "port": 1})
    before = overrides.hub_wide(settings)
    settings.port = 2
    assert overrides.restore(settings, before, "a hook") is None
    settings.client_kwargs["timeout"] = 2
    error = overrides.restore(settings, before, "a hook")
    assert str(error).startswith("client_kwargs (by a hook) = {'timeout': 2}: it holds for all")
    assert settings.client_kwargs == {"timeout": 1}
    assert settings.port == 2


GROUPS: list[tuple[Any, str]] = [
    ({"groups": ["a"], "spawner_override": {"hub_id": "x"}}, "all servers of the Hub"),
    ({"groups": ["a"], "spawner_override": {"colour": 1}}, "no such setting"),
    ({"groups": ["a"], "spawner_override": {"mem_limit": "much"}}, "expected bytes"),
    ({"groups": "a", "spawner_override": {}}, "expected a dict with 'groups'"),
    ({"groups": ["a"]}, "expected a dict with 'groups'"),
    ("a", "expected a dict with 'groups'"),
]


@pytest.mark.parametrize(("entry", "message"), GROUPS)
def test_overrides_of_groups_that_cannot_work(entry: Any, message: str) -> None:
    """What JupyterHub itself finds when a user of that group starts a server, if at all."""

    def check(name: str, value: object) -> None:
        if value == "much":
            raise ValueError("expected bytes")

    (problem,) = overrides.problems_of_groups({"g": entry}, replace(WORDS, check=check))
    assert message in str(problem)
    assert "group_overrides['g']" in str(problem)


def test_overrides_of_groups_that_work() -> None:
    """A group may decide on what can be chosen; callables are left to the start."""
    override = {"allowed_images": {}, "mem_limit": lambda spawner: 1}
    fine = {"g": {"groups": ["a"], "spawner_override": override}}
    assert overrides.problems_of_groups(fine, WORDS) == []
    assert overrides.problems_of_groups(lambda spawner: {}, WORDS) == []


def test_an_unknown_setting_is_refused_with_a_guess() -> None:
    """A slip of the pen is found, and the settings there are get listed."""
    with pytest.raises(
        ConfigError, match=r"did you mean 'mem_limit'.* environment, image"
    ) as caught:
        WORDS.require("memlimit", 1, "here")
    assert "allowed_images" not in str(caught.value)
    with pytest.raises(ConfigError, match=r"no such setting; an override may have"):
        WORDS.require("colour", 1, "here")
    with pytest.raises(ConfigError, match="names of settings"):
        WORDS.require(7, 1, "here")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"spawner_override": {}, "kubespawner_override": {}}, "two names"),
        ({"spawner_override": []}, "expected a dict"),
        ({"kubespawner_override": {"node_selector": {}}}, "placement_constraints"),
    ],
)
def test_overrides_that_cannot_be_read(entry: dict[str, Any], message: str) -> None:
    """Both names at once, no dict, or a key that cannot be overridden."""
    with pytest.raises(ConfigError, match=message):
        overrides.read(entry, "here", WORDS)


@pytest.mark.parametrize("name", ["spawner_override", "kubespawner_override"])
def test_both_names_are_read(name: str) -> None:
    """Ours, and KubeSpawner's as an alias."""
    assert overrides.read({name: {"image": "lab"}}, "here", WORDS) == {"image": "lab"}


def test_values_are_checked_where_they_can_be() -> None:
    """The settings' own validators are asked, but not about callables."""

    def check(name: str, value: object) -> None:
        if value == "bad":
            raise ValueError(f"{name} cannot be bad")

    words = OverridableSettings(WORDS.settings, check=check)
    overrides.check_values({"image": "good", "mem_limit": lambda spawner: "bad"}, "here", words)
    with pytest.raises(ConfigError, match="mem_limit cannot be bad"):
        overrides.check_values({"image": "good", "mem_limit": "bad"}, "here", words)


def test_who_is_to_blame() -> None:
    """A value that a setting refuses is the user's error where it is theirs, else the admin's."""
    mine = Layer("profile 'a'", {"mem_limit": "x"}).refused("mem_limit", "x", "no size")
    assert isinstance(mine, ConfigError)
    theirs = Layer("option 'mem'", {}, "mem--unlisted-choice", "x").refused("mem_limit", "x", "no")
    assert isinstance(theirs, OptionsError)
    assert (theirs.field, theirs.value) == ("mem--unlisted-choice", "x")
