"""form.py and its templates: what a user sees, and that all text stays text."""

from __future__ import annotations

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockernamed.images.allowed import AllowedImages
from dockernamed.options import form, profile_config, user_options
from dockernamed.options.overrides import OverridableSettings
from dockernamed.options.profiles import Requester
from dockernamed.options.user_options import Menu

WORDS = OverridableSettings(frozenset({"image", "environment", "mem_limit", "cpu_limit"}))
VOID = {"input", "br", "meta", "link"}
BASE = {"spawner_override": {"image": "quay.io/lab/base:1"}}
OTHER = {
    "enabled": True,
    "display_name": "Another image",
    "validation_regex": "^quay.io/.+",
    "validation_message": "an image of quay.io",
    "spawner_override": {"image": "{value}"},
}
PROFILES = [
    {"display_name": "Small", "description": "for a start", "profile_options": {}, **BASE},
    {
        "display_name": "Big",
        "profile_options": {
            "image": {
                "display_name": "Image",
                "description": "What runs",
                "choices": {
                    "base": {"display_name": "Base", **BASE},
                    "gpu": {
                        "display_name": "GPU",
                        "default": True,
                        "spawner_override": {"image": "quay.io/lab/gpu"},
                    },
                },
                "unlisted_choice": OTHER,
            },
            "tag": {"display_name": "Tag", "unlisted_choice": {"enabled": True}},
        },
    },
]
COMMON = {
    "cpu": {
        "display_name": "CPUs",
        "number": {"min": 0.5, "max": 4, "step": 0.5, "unit": "cores", "default": 1},
    },
    "any": {"display_name": "Any", "number": {"min": 0, "max": 1}},
}


def menu(profiles: Any = PROFILES, common: Any = COMMON, images: Any = None) -> Menu:
    """The menu of somebody without groups."""
    seen, labels = profile_config.images_seen(images, Requester("ann"))
    catalogue = profile_config.read(profiles, common, WORDS).seen_by(Requester("ann"))
    return Menu(AllowedImages(seen), catalogue, WORDS, labels)


class Page(HTMLParser):
    """What a browser finds in a page: fields, choices, labels, and whether all is well formed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, list[dict[str, Any]]] = {}
        self.chosen: dict[str, str | None] = {}
        self.words: dict[str, list[str]] = {}
        self.labelled: set[str] = set()
        self.unlabelled: set[str] = set()
        self.tags: Counter[str] = Counter()
        self.attributes: set[tuple[str, str]] = set()
        self.text = ""
        self._open: list[str] = []
        self._list = ""
        self._for: set[str] = set()
        self._ids: set[str] = set()
        self.feed(page)
        self.close()
        assert not self._open
        assert self._for <= self._ids

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a field or a choice, and whether a label stands around it or points at it."""
        found: dict[str, Any] = dict(attrs)
        self.tags[tag] += 1
        self.attributes |= {(tag, name) for name in found}
        if tag not in VOID:
            self._open.append(tag)
        if "id" in found:
            assert found["id"] not in self._ids, "an id given twice"
            self._ids.add(found["id"])
        self._for |= {found[name] for name in ("for", "aria-describedby") if name in found}
        if tag in ("input", "select"):
            name = found["name"]
            self.fields.setdefault(name, []).append(found)
            inside = "label" in self._open
            (self.labelled if inside or found.get("id") in self._for else self.unlabelled).add(
                found.get("id", name)
            )
            self._list = name
            if "checked" in found or (tag == "input" and found.get("type") != "radio"):
                self.chosen[name] = found.get("value")
        if tag == "option":
            self.words.setdefault(self._list, []).append("")
            first = self._list not in self.chosen
            if first or "selected" in found:
                assert first or "selected" not in self.fields[self._list][-1]
                self.chosen[self._list] = found["value"]

    def handle_endtag(self, tag: str) -> None:
        """All tags are closed in order."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Text, of a choice or of the page."""
        if self._open and self._open[-1] == "option":
            self.words[self._list][-1] += data
        elif not self._open or self._open[-1] not in ("script", "style"):
            self.text += data

    @property
    def sent(self) -> dict[str, list[str]]:
        """What a browser without scripts would send."""
        return {name: [value or ""] for name, value in self.chosen.items()}


def page(asked: Menu, **more: Any) -> Page:
    """The form, read."""
    return Page(form.render(asked, **more))


def test_fields_of_profiles_and_options() -> None:
    """KubeSpawner's names, the defaults chosen, and every field labelled."""
    found = page(menu())
    assert [field["value"] for field in found.fields["profile"]] == ["small", "big"]
    assert found.chosen == {
        "profile": "small",
        "profile-option-big--image": "gpu",
        "profile-option-big--image--unlisted-choice": None,
        "profile-option-big--tag--unlisted-choice": None,
        "common-option--cpu": "1",
        "common-option--any": "0",
    }
    image = "profile-option-big--image"
    assert found.words[image] == ["Base", "GPU", "Other..."]
    text = found.fields[f"{image}--unlisted-choice"][0]
    assert (text["pattern"], text["title"]) == ("^quay.io/.+", "an image of quay.io")
    assert (text["maxlength"], "required" in text) == ("1024", False)
    assert "required" in found.fields["profile-option-big--tag--unlisted-choice"][0]
    cpu = found.fields["common-option--cpu"][0]
    assert (cpu["type"], cpu["min"], cpu["max"], cpu["step"]) == ("number", "0.5", "4", "0.5")
    assert found.fields["common-option--any"][0]["step"] == "any"
    for words in ("for a start", "What runs", "CPUs (cores)", "From 0.5 to 4 cores in steps of"):
        assert words in found.text
    labels = {field["id"] for field in found.fields["profile"]}
    assert found.unlabelled == labels, "labels of radio buttons stand behind them"
    assert {"profile-item-small", "profile-item-big"} == labels


def test_the_last_choice_is_what_it_begins_with() -> None:
    """Profile, choice, free text and number; other profiles begin with their defaults."""
    sent = {"profile": "big", "image--unlisted-choice": "quay.io/x", "cpu": 2.5}
    found = page(menu(), user_options=sent)
    assert found.chosen["profile"] == "big"
    assert found.chosen["profile-option-big--image"] == "unlisted-choice"
    assert found.chosen["profile-option-big--image--unlisted-choice"] == "quay.io/x"
    assert found.chosen["common-option--cpu"] == "2.5"
    found = page(menu(), user_options={"profile": "big", "image": "base"})
    assert found.chosen["profile-option-big--image"] == "base"
    found = page(menu(), user_options={"profile": "small", "image": "base"})
    assert found.chosen["profile-option-big--image"] == "gpu"


CHOICES = [
    {},
    {"profile": "small"},
    {"profile": "big", "image": "base", "tag--unlisted-choice": "x"},
    {"profile": "big", "image--unlisted-choice": "quay.io/x", "tag--unlisted-choice": "y"},
    {"profile": "big", "tag--unlisted-choice": "y", "cpu": 3, "any": 0.25},
]


@pytest.mark.parametrize("chosen", CHOICES)
def test_there_and_back(chosen: dict[str, Any]) -> None:
    """What a browser sends of the untouched form, without scripts, is the choice it began with."""
    asked = menu()
    before = user_options.parse(chosen, asked)
    after = user_options.parse(
        user_options.from_form(page(asked, user_options=before.options).sent, asked), asked
    )
    assert (after.layers, after.profile) == (before.layers, before.profile)


def test_a_note() -> None:
    """Why it does not begin with the last choice."""
    assert "no longer available" not in page(menu()).text
    found = page(menu(), note="profile = 'old': not a profile")
    assert "begins with the defaults: profile = 'old': not a profile" in found.text


def test_images_that_are_there_and_those_that_are_not() -> None:
    """Each choice of an image says so, under whatever name it is there; or nothing, if unknown."""
    present = form.presence(["quay.io/lab/gpu:latest", "<none>:<none>", "r"])
    found = page(menu(), present=present)
    assert found.words["profile-option-big--image"] == [
        "Base (will be pulled first)",
        "GPU (ready)",
        "Other...",
    ]
    assert "quay.io/lab/base:1 (will be pulled first)" in found.text
    asked = menu(None, None, {"r": "docker.io/library/r", "s": {"image": "s", "display_name": "S"}})
    found = page(asked, present=present, default_image="r:latest")
    assert found.words["image"] == [
        "Default: r:latest (ready)",
        "r (ready)",
        "S (will be pulled first)",
    ]
    assert page(asked, default_image="r").words["image"] == ["Default: r", "r", "S"]
    assert list(form.images_of(menu(images={"a": "b"}))) == [
        "b",
        "quay.io/lab/base:1",
        "quay.io/lab/base:1",
        "quay.io/lab/gpu",
    ]


def test_a_plain_image() -> None:
    """A list, or a text for any image; beside profiles, nothing means what the profile says."""
    found = page(menu(None, None, ["a", "b"]), user_options={"image": "b"})
    assert found.chosen == {"image": "b"}
    found = page(menu(images=["a"]))
    assert found.words["image"] == ["As the profile says", "a"]
    assert found.chosen["image"] == ""
    found = page(menu(None, None, "*"), user_options={"image": "x/y"}, default_image="z")
    field = found.fields["image"][0]
    assert (field["value"], field["placeholder"]) == ("x/y", "z")
    assert field["pattern"].startswith("(?!")
    assert page(menu(images="*")).fields["image"][0]["placeholder"] == "as the profile says"


HOSTILE = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    '" onfocus=alert(1) autofocus x="',
    "' onclick='alert(1)",
    "</select></style></textarea>-->",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "&lt;b&gt;",
]


def hostile(text: str) -> Menu:
    """A menu that says this everywhere that it says anything."""
    choices = {text: {"display_name": text, "description": text, "metadata": {"x": text}}}
    option = {
        "display_name": text,
        "description": text,
        "choices": choices,
        "unlisted_choice": {
            "enabled": True,
            "display_name": text,
            "display_name_in_choices": text,
            "description_in_choices": text,
            "validation_regex": "".join(f"[{sign}]" if sign.isalnum() else "." for sign in text),
            "validation_message": text,
        },
    }
    number = {
        "display_name": text,
        "description": text,
        "number": {"min": 0, "max": 1, "unit": text},
    }
    profile = {
        "display_name": text,
        "description": text,
        "slug": text,
        "profile_options": {text: option, "n": number},
        "spawner_override": {"image": text},
    }
    return menu([profile], {text + "2": option, "m": number}, None)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_stays_text(text: str) -> None:
    """Whoever writes the names, and whatever was saved, no tag or attribute comes of it."""
    calm = page(hostile("calm"), note="calm", user_options={"profile": "calm"})
    asked = hostile(text)
    saved = {"profile": text, f"{text}--unlisted-choice": text, f"{text}2": text}
    found = page(asked, note=text, user_options=saved, default_image=text)
    assert found.tags == calm.tags
    assert found.attributes - calm.attributes <= {("option", "selected"), ("input", "value")}
    assert text in found.text
    assert {field["value"] for field in found.fields["profile"]} == {text}


@given(
    st.text(min_size=1, max_size=30)
    .filter(str.isprintable)
    # Names that forms keep for themselves.
    .filter(lambda text: text != "profile" and "unlisted-choice" not in text)
)
def test_any_text_stays_text(text: str) -> None:
    """The same for texts that nobody thought of."""
    calm, found = page(hostile("calm")), page(hostile(text))
    assert found.tags == calm.tags
    assert found.attributes == calm.attributes


@pytest.mark.parametrize("text", HOSTILE)
def test_text_in_scripts_stays_text(text: str) -> None:
    """A template that hands the profiles to a script, as jupyterhub-fancy-profiles' does."""
    script = "<script>window.profileList = {{ profile_list|tojson }};</script>"
    made = form.render(hostile(text), template=script)
    inner = made.removeprefix("<script>window.profileList = ").removesuffix(";</script>")
    assert "<" not in inner
    assert json.loads(inner)[0]["display_name"] == text


def test_templates_see_no_secrets() -> None:
    """Overrides stay here, but for the image and the limits; callables would not go out at all."""
    override = {
        "environment": {"PASSWORD": "secret"},
        "image": "lab",
        "mem_limit": "1G",
        "cpu_limit": lambda spawner: 1,
    }
    choices = {"x": {"spawner_override": override}}
    profiles = [
        {
            "display_name": "A",
            "spawner_override": override,
            "profile_options": {"o": {"choices": choices}},
        }
    ]
    made = form.render(menu(profiles), template="{{ profile_list|tojson }}")
    assert "secret" not in made
    found = json.loads(made)[0]
    shown = {"image": "lab", "mem_limit": "1G"}
    assert found["kubespawner_override"] == shown
    assert found["profile_options"]["o"]["choices"]["x"]["kubespawner_override"] == shown


def test_variables_of_other_templates() -> None:
    """KubeSpawner's, with the common options among each profile's; the admin's order is kept."""
    text = "{{ [profile_list, user_options, common_options, note]|tojson }}"
    profiles, chosen, common, note = json.loads(
        form.render(menu(), template=text, user_options={"profile": "big"}, note="why")
    )
    assert [profile["slug"] for profile in profiles] == ["small", "big"]
    assert [profile["default"] for profile in profiles] == [True, False]
    assert list(profiles[1]["profile_options"]) == ["cpu", "any", "image", "tag"]
    assert list(common) == ["cpu", "any"]
    assert profiles[1]["profile_options"]["image"]["unlisted_choice"] == {
        "enabled": True,
        "display_name": "Another image",
        "display_name_in_choices": "Other...",
        "description_in_choices": "",
        "validation_regex": "^quay.io/.+",
        "validation_message": "an image of quay.io",
    }
    assert common["cpu"]["number"]["max"] == 4
    assert (chosen, note) == ({"profile": "big"}, "why")


def test_a_template_of_the_admins(tmp_path: Path) -> None:
    """A ``form.html`` in a directory of theirs; it may include our style sheet."""
    (tmp_path / "form.html").write_text(
        "{% for p in profile_list %}{{ p.slug }},{% endfor %}{% include 'style.css' %}"
    )
    made = form.render(menu(), template_paths=[str(tmp_path)])
    assert made.startswith("small,big,.dn-form")


def test_fancy_profiles_renders_unchanged() -> None:
    """Its template gets what it expects of each profile, also of those with a number."""
    fancy = pytest.importorskip("jupyterhub_fancy_profiles")
    made = form.render(menu(), template_paths=fancy.TEMPLATE_PATHS)
    start = made.index("window.profileList = ") + len("window.profileList = ")
    profiles = json.loads(made[start : made.index(";\n", start)])
    for profile in profiles:
        for option in profile["profile_options"].values():
            assert {"display_name", "choices", "unlisted_choice"} <= option.keys()
            assert "enabled" in option["unlisted_choice"]


def test_units_are_written_as_the_admin_wrote_them() -> None:
    """GiB stays GiB where the bounds begin a sentence."""
    number = {"min": 1, "max": 16, "step": 1, "unit": "GiB", "spawner_override": {}}
    common = {"memory": {"display_name": "Memory", "number": number}}
    assert "From 1 to 16 GiB in steps of 1." in form.render(menu(common=common))


def test_the_default_image_and_its_alias_are_one_entry() -> None:
    """Whoever reads the list sees each image once, the default first."""
    images = {"lab": "quay.io/lab:1", "r": "quay.io/r:1"}
    made = form.render(menu(profiles=[], images=images), default_image="quay.io/lab:1")
    assert (made.count("quay.io/lab:1"), "Default: lab" in made) == (0, True)
    assert 'value="lab"' not in made
    saved = form.render(
        menu(profiles=[], images=images),
        default_image="quay.io/lab:1",
        user_options={"image": "lab"},
    )
    assert 'value="lab"' not in saved
