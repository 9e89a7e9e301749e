"""options.py: what a user may send, judged by one strict validator."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockernamed.errors import OptionsError
from dockernamed.images.allowed import AllowedImages
from dockernamed.options import profile_config, user_options
from dockernamed.options.overrides import OverridableSettings
from dockernamed.options.profiles import Requester
from dockernamed.options.user_options import Choice, Menu

WORDS = OverridableSettings(
    frozenset({"image", "environment", "mem_limit", "cpu_limit", "volumes", "default_url"}),
    templates=frozenset({"volumes"}),
)
PROFILES = [
    {
        "display_name": "Small",
        "spawner_override": {"mem_limit": "1G"},
        "profile_options": {
            "tool": {
                "display_name": "Tool",
                "choices": {
                    "lab": {"display_name": "Lab", "spawner_override": {"default_url": "/lab"}},
                    "r": {"default": True, "spawner_override": {"default_url": "/rstudio"}},
                },
            },
        },
    },
    {
        "display_name": "Big",
        "default": True,
        "spawner_override": {"mem_limit": "8G"},
        "profile_options": {
            "image": {
                "display_name": "Image",
                "choices": {"base": {"spawner_override": {"image": "quay.io/lab/base"}}},
                "unlisted_choice": {
                    "enabled": True,
                    "validation_regex": "^quay.io/.+",
                    "validation_message": "an image of quay.io",
                    "spawner_override": {"image": "{value}", "volumes": {"files": "/v/{value}"}},
                },
            },
        },
    },
    {
        "display_name": "Staff",
        "allowed_groups": ["staff"],
        "profile_options": {
            "tag": {
                "unlisted_choice": {
                    "enabled": True,
                    "validation_regex": "[0-9]{4}.*",
                    "spawner_override": {"image": "quay.io/lab/staff:{value}"},
                },
            },
        },
    },
]
COMMON = {
    "cpu": {
        "display_name": "CPUs",
        "number": {"min": 0.5, "max": 4, "step": 0.5, "spawner_override": {"cpu_limit": "{value}"}},
    },
}


def menu(
    profiles: Any = PROFILES,
    common: Any = COMMON,
    images: Any = None,
    requester: Requester | None = None,
) -> Menu:
    """A user's menu; a member of the staff's unless somebody else is asked for."""
    requester = requester or Requester("ann", frozenset({"staff"}))
    seen, labels = profile_config.images_seen(images, requester)
    catalogue = profile_config.read(profiles, common, WORDS).seen_by(requester)
    return Menu(AllowedImages(seen), catalogue, WORDS, labels)


MENU = menu()
ALIASES = {"lab": "quay.io/lab/base:1", "r": "quay.io/lab/r:2"}
PLAIN = menu(None, None, ALIASES)
BOTH = menu(PROFILES, COMMON, ALIASES)


def settings_of(choice: Choice) -> list[dict[str, object]]:
    """What the layers set, in order."""
    return [dict(layer.settings) for layer in choice.layers]


@pytest.mark.parametrize("nothing", [None, {}])
def test_nothing_asked_of_nothing(nothing: Any) -> None:
    """The default choice of a Hub with nothing to choose changes nothing."""
    assert user_options.parse(nothing, Menu()) == Choice()
    assert Menu().empty
    assert not any(one.empty for one in (PLAIN, MENU, menu(None, COMMON)))


def test_an_allowed_image() -> None:
    """The reference comes from the admin's list; what is remembered is what was asked."""
    choice = user_options.parse({"image": "lab"}, PLAIN)
    assert (choice.image, choice.options) == ("quay.io/lab/base:1", {"image": "lab"})
    assert choice.label == "lab"


def test_defaults_of_profiles_and_options() -> None:
    """The default profile, each option's default, and nothing to remember."""
    choice = user_options.parse({}, MENU)
    assert choice.profile == "big"
    assert choice.options == {}
    assert settings_of(choice) == [
        {"mem_limit": "8G"},
        {"cpu_limit": 0.5},
        {"image": "quay.io/lab/base"},
    ]


def test_layers_in_order() -> None:
    """The profile's override, then the common options', then the profile's own options'."""
    choice = user_options.parse({"profile": "small", "tool": "lab", "cpu": 2}, MENU)
    assert settings_of(choice) == [{"mem_limit": "1G"}, {"cpu_limit": 2}, {"default_url": "/lab"}]
    assert [layer.source for layer in choice.layers] == [
        "profile 'small'",
        "option 'cpu'",
        "option 'tool' = 'lab'",
    ]
    assert choice.label == "Small, CPUs: 2, Tool: lab"


def test_free_text() -> None:
    """It is filled in, and braces in it stay text where the setting is a template."""
    choice = user_options.parse({"image--unlisted-choice": "quay.io/x/y:1"}, MENU)
    text = "quay.io/x/y:1"
    assert settings_of(choice)[-1] == {"image": text, "volumes": {"files": f"/v/{text}"}}
    assert choice.layers[-1].field == "image--unlisted-choice"
    assert choice.options == {"image--unlisted-choice": text}


def test_free_text_wins_over_the_list() -> None:
    """As in KubeSpawner; what lost is not remembered."""
    sent = {"image": "base", "image--unlisted-choice": "quay.io/x/y"}
    choice = user_options.parse(sent, MENU)
    assert choice.options == {"image--unlisted-choice": "quay.io/x/y"}


def test_an_answer_that_is_needed() -> None:
    """Without any listed choice there is no default: nothing starts without an answer."""
    with pytest.raises(OptionsError, match=r"tag--unlisted-choice.*there is no default"):
        user_options.parse({"profile": "staff"}, MENU)
    choice = user_options.parse({"profile": "staff", "tag--unlisted-choice": "2024-1"}, MENU)
    assert settings_of(choice)[-1] == {"image": "quay.io/lab/staff:2024-1"}


def test_numbers() -> None:
    """A whole number is remembered as one, however it was written."""
    for sent in (2, 2.0):
        choice = user_options.parse({"cpu": sent}, MENU)
        assert repr(choice.options) == "{'cpu': 2}"


def test_a_plain_image_beside_profiles() -> None:
    """It comes after the profile; where a profile has an option of that name, that is meant."""
    choice = user_options.parse({"profile": "small", "image": "r"}, BOTH)
    assert choice.image == "quay.io/lab/r:2"
    assert choice.options == {"profile": "small", "image": "r"}
    assert user_options.parse({"profile": "big", "image": "base"}, BOTH).image is None
    with pytest.raises(OptionsError, match="choose from: 'base'"):
        user_options.parse({"profile": "big", "image": "r"}, BOTH)


def test_common_options_without_profiles() -> None:
    """They stand on their own."""
    choice = user_options.parse({"cpu": 1.5}, menu(None, COMMON))
    assert (choice.profile, settings_of(choice)) == (None, [{"cpu_limit": 1.5}])


REFUSED: dict[str, tuple[Menu, Any, str]] = {
    "a list": (MENU, [], r"user_options = \[\]: expected an object"),
    "text": (MENU, "lab", "expected an object"),
    "an unknown key": (MENU, {"colour": 1}, "colour = 1: not an option of the profile 'big'; "),
    "an unknown key, which lists the known": (
        MENU,
        {"colour": 1},
        "choose from: 'profile', 'cpu', 'image', 'image--unlisted-choice'$",
    ),
    "an unknown key without profiles": (PLAIN, {"x": 1}, "x = 1: unknown option; .* 'image'$"),
    "a key that is no text": (PLAIN, {7: 1}, "7 = 1: unknown option"),
    "an unknown profile": (
        MENU,
        {"profile": "huge"},
        "profile = 'huge': not a profile that you may choose; "
        "choose from: 'small', 'big', 'staff'$",
    ),
    "a profile that is no text": (MENU, {"profile": ["big"]}, "as text; choose from: 'small'"),
    "a profile that is null": (MENU, {"profile": None}, "profile = None"),
    "an empty profile": (MENU, {"profile": ""}, "profile = ''"),
    "a profile where there are none": (PLAIN, {"profile": "big"}, "there are no profiles"),
    "an option of another profile": (
        MENU,
        {"profile": "small", "image": "base"},
        "image = 'base': not an option of the profile 'small'; choose from: 'profile', 'cpu', "
        "'tool'$",
    ),
    "an unknown choice": (
        MENU,
        {"profile": "small", "tool": "vim"},
        "tool = 'vim': not a choice; choose from: 'lab', 'r'$",
    ),
    "a choice by its display name": (MENU, {"profile": "small", "tool": "Lab"}, "not a choice"),
    "a choice that is no text": (MENU, {"profile": "small", "tool": ["lab"]}, "as text"),
    "a choice that is null": (MENU, {"profile": "small", "tool": None}, "as text"),
    "an empty choice": (MENU, {"profile": "small", "tool": ""}, "not a choice"),
    "free text as a choice": (
        MENU,
        {"image": "quay.io/x"},
        r"not a choice \(any other goes in 'image--unlisted-choice'\)",
    ),
    "an unknown choice beside free text": (
        MENU,
        {"image": "?", "image--unlisted-choice": "quay.io/x"},
        "image = '\\?': not a choice",
    ),
    "free text that the regex only begins": (
        MENU,
        {"profile": "staff", "tag--unlisted-choice": "2024 x"},
        "the whole value must match",
    ),
    "free text that the regex does not match": (
        MENU,
        {"image--unlisted-choice": "docker.io/x"},
        "an image of quay.io",
    ),
    "free text that makes no image": (
        MENU,
        {"profile": "staff", "tag--unlisted-choice": "2024 "},
        "the whole value must match",
    ),
    "free text with a control character": (
        MENU,
        {"image--unlisted-choice": "quay.io/x\n"},
        "an image of quay.io",
    ),
    "free text with half a character": (
        MENU,
        {"image--unlisted-choice": "quay.io/\ud800"},
        "half of a character",
    ),
    "free text that is too long": (
        MENU,
        {"image--unlisted-choice": "quay.io/" + "a" * 1100},
        "at most 1024 characters, not 1108",
    ),
    "free text that is empty": (MENU, {"image--unlisted-choice": ""}, "a non-empty string"),
    "free text that is no text": (MENU, {"image--unlisted-choice": 7}, "a non-empty string"),
    "a list where there is none": (
        MENU,
        {"profile": "staff", "tag": "2024"},
        "there is no list to choose from: send 'tag--unlisted-choice'",
    ),
    "free text where there is none": (
        MENU,
        {"profile": "small", "tool--unlisted-choice": "x"},
        "tool--unlisted-choice = 'x': not an option",
    ),
    "a number as text": (MENU, {"cpu": "2"}, "cpu = '2': expected a number, from 0.5 to 4"),
    "a number that is a flag": (MENU, {"cpu": True}, "expected a number"),
    "a number below": (MENU, {"cpu": 0}, "expected from 0.5 to 4 in steps of 0.5"),
    "a number above": (MENU, {"cpu": 10**400}, "expected from 0.5 to 4"),
    "a number between the steps": (MENU, {"cpu": 0.7}, "in steps of 0.5"),
    "a number that is none": (MENU, {"cpu": float("nan")}, "expected from 0.5 to 4"),
    "an image not allowed": (PLAIN, {"image": "vim"}, "choose from: 'lab', 'r'$"),
    "an image that is no text": (PLAIN, {"image": {}}, "expected a non-empty string"),
    "the body of JupyterHub 6 on 5": (
        PLAIN,
        {"user_options": {"image": "lab"}},
        "send the inner object alone",
    ),
    "a display name on 5": (PLAIN, {"display_name": "Mine"}, "leave it out"),
    "anything where no profile is open": (
        menu(PROFILES[2:], requester=Requester("eve")),
        {},
        "open to you",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    """With the field, the value, what is wrong and what this user may send instead."""
    asked, sent, message = REFUSED[case]
    with pytest.raises(OptionsError, match=message):
        user_options.parse(sent, asked)


def test_a_message_names_what_this_user_may_choose_and_no_more() -> None:
    """Profiles of others are unknown, and not listed."""
    with pytest.raises(OptionsError) as caught:
        user_options.parse({"profile": "staff"}, menu(requester=Requester("eve")))
    assert str(caught.value).count("staff") == 1
    assert caught.value.choices == ["small", "big"]


anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.sampled_from(["small", "big", "staff", "lab", "base", "quay.io/x", "unlisted-choice"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=2), st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)
KEYS = [
    *("profile", "cpu", "tool", "image", "image--unlisted-choice", "tag", "tag--unlisted-choice"),
    *("user_options", "display_name", "", "x"),
]
bodies = st.one_of(anything, st.dictionaries(st.sampled_from(KEYS), anything, max_size=4))


@given(bodies, st.sampled_from([MENU, PLAIN, BOTH, Menu()]))
def test_whatever_is_sent(body: Any, asked: Menu) -> None:
    """It is accepted or refused, never anything else; what is kept gives the same choice again."""
    try:
        choice = user_options.parse(body, asked)
    except OptionsError as error:
        assert str(error).isprintable()  # noqa: PT017 (most of them are refused)
    else:
        kept = json.loads(json.dumps(choice.options))
        assert user_options.parse(kept, asked) == choice


FORMS: dict[str, tuple[Menu, dict[str, Any], dict[str, Any]]] = {
    "nothing": (MENU, {}, {}),
    "an image": (PLAIN, {"image": ["lab"]}, {"image": "lab"}),
    "the default image": (PLAIN, {"image": [""]}, {}),
    "JupyterHub's own field": (PLAIN, {"_xsrf": ["x"]}, {}),
    "a field given twice, for the judge": (PLAIN, {"image": ["a", "b"]}, {"image": ["a", "b"]}),
    "a field without a value": (PLAIN, {"image": []}, {}),
    "a value that is in no list": (PLAIN, {"image": "lab"}, {"image": "lab"}),
    "an unknown field, for the judge": (PLAIN, {"x": ["y"]}, {"x": "y"}),
    "an upload, for the judge": (PLAIN, {"f_file": [{"body": b"x"}]}, {"f_file": {"body": b"x"}}),
    "a profile": (MENU, {"profile": ["small"]}, {"profile": "small"}),
    "its option": (
        MENU,
        {"profile": ["small"], "profile-option-small--tool": ["lab"]},
        {"profile": "small", "tool": "lab"},
    ),
    "an option of the default profile": (
        MENU,
        {"profile-option-big--image": ["base"]},
        {"image": "base"},
    ),
    "fields of the other profiles": (
        MENU,
        {"profile": ["small"], "profile-option-big--image": ["?"]},
        {"profile": "small"},
    ),
    "an option that it does not have, for the judge": (
        MENU,
        {"profile": ["small"], "profile-option-small--x": ["y"]},
        {"profile": "small", "x": "y"},
    ),
    "a profile that is not there, for the judge": (
        MENU,
        {"profile": ["?"], "x": ["y"]},
        {"profile": "?"},
    ),
    "two profiles, for the judge": (MENU, {"profile": ["a", "b"]}, {"profile": ["a", "b"]}),
    "a link's query, with names as over REST": (
        MENU,
        {"profile": ["small"], "tool": ["lab"], "cpu": ["2"]},
        {"profile": "small", "tool": "lab", "cpu": 2},
    ),
    "free text": (
        MENU,
        {
            "profile": ["big"],
            "profile-option-big--image": ["unlisted-choice"],
            "profile-option-big--image--unlisted-choice": [" quay.io/x "],
        },
        {"profile": "big", "image--unlisted-choice": "quay.io/x"},
    ),
    "free text as jupyterhub-fancy-profiles sends it": (
        MENU,
        {
            "profile": ["big"],
            "select-profile": ["big"],
            "profile-option-big--image": ["unlisted_choice"],
            "profile-option-big--image--unlisted-choice": ["quay.io/x"],
            "profile-option-big--image--unlisted-choice--repo": ["org/repo"],
            "profile-option-big--image--unlisted-choice--ref": ["HEAD"],
        },
        {"profile": "big", "image--unlisted-choice": "quay.io/x"},
    ),
    "an image that was built for it by jupyterhub-fancy-profiles": (
        MENU,
        {
            "profile": ["big"],
            "profile-option-big--image": ["--extra-selectable-item"],
            "profile-option-big--image--unlisted-choice": ["quay.io/x"],
        },
        {"profile": "big", "image--unlisted-choice": "quay.io/x"},
    ),
    "a choice from the list, with a text beside it that no script has hidden": (
        MENU,
        {
            "profile": ["big"],
            "profile-option-big--image": ["base"],
            "profile-option-big--image--unlisted-choice": ["quay.io/x"],
        },
        {"profile": "big", "image": "base"},
    ),
    "a list given twice beside a text": (
        MENU,
        {
            "profile-option-big--image": ["base", "base"],
            "profile-option-big--image--unlisted-choice": ["quay.io/x"],
        },
        {"image--unlisted-choice": "quay.io/x"},
    ),
    "other, and no text": (
        MENU,
        {"profile": ["big"], "profile-option-big--image": ["unlisted-choice"]},
        {"profile": "big", "image--unlisted-choice": ""},
    ),
    "a text of white space": (
        MENU,
        {"profile": ["big"], "profile-option-big--image--unlisted-choice": ["  "]},
        {"profile": "big"},
    ),
    "a common option": (MENU, {"common-option--cpu": ["1.5"]}, {"cpu": 1.5}),
    "a common option among the profile's": (
        MENU,
        {"profile": ["small"], "profile-option-small--cpu": ["1"], "common-option--cpu": ["2"]},
        {"profile": "small", "cpu": 1},
    ),
    "a number that is none, for the judge": (
        MENU,
        {"common-option--cpu": ["much"]},
        {"cpu": "much"},
    ),
    "a number with an exponent": (MENU, {"common-option--cpu": ["5e-1"]}, {"cpu": 0.5}),
    "a number with white space": (MENU, {"common-option--cpu": [" 2.0 "]}, {"cpu": 2}),
}


@pytest.mark.parametrize("case", FORMS)
def test_from_form(case: str) -> None:
    """Fields become what a REST call would send."""
    asked, fields, expected = FORMS[case]
    assert user_options.from_form(fields, asked) == expected


def test_an_own_option_hides_the_common_one_of_its_name() -> None:
    """The common field, which the form has once for all profiles, is not for that profile."""
    own: dict[str, Any] = {"cpu": {"choices": {"one": {}, "two": {}}}}
    profiles = [{"display_name": "A", "profile_options": own}]
    fields = {"profile": ["a"], "common-option--cpu": ["2"]}
    assert user_options.from_form(fields, menu(profiles)) == {"profile": "a"}


def test_slugs_that_begin_alike() -> None:
    """The fields of ``a--b`` are not taken for ``a``'s."""
    x: dict[str, Any] = {"choices": {"x": {}, "y": {}}}
    profiles = [
        {"display_name": "A", "slug": "a", "profile_options": {"o": x}},
        {"display_name": "B", "slug": "a--b", "profile_options": {"o": x}},
    ]
    fields = {"profile-option-a--o": ["x"], "profile-option-a--b--o": ["y"]}
    asked = menu(profiles, None)
    assert user_options.from_form({"profile": ["a"], **fields}, asked) == {"profile": "a", "o": "x"}
    assert user_options.from_form({"profile": ["a--b"], **fields}, asked) == {
        "profile": "a--b",
        "o": "y",
    }


@given(st.dictionaries(st.text(max_size=9), st.lists(st.text(max_size=4), max_size=2), max_size=4))
def test_forms_are_never_judged_before_the_judge(fields: dict[str, list[str]]) -> None:
    """Whatever a form sends, converting it raises nothing."""
    for asked in (MENU, PLAIN, BOTH, Menu()):
        assert isinstance(user_options.from_form(fields, asked), dict)


def test_recall() -> None:
    """Saved options begin the form while they are valid; after that the form says why not."""
    assert user_options.recall({"profile": "small", "tool": "lab"}, MENU) == (
        {"profile": "small", "tool": "lab"},
        "",
    )
    found, why = user_options.recall({"profile": "gone"}, MENU)
    assert found == {}
    assert "profile = 'gone': not a profile that you may choose" in why
