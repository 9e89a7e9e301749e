"""images.allowed: which images one may choose, and when to pull."""

from __future__ import annotations

from typing import Any

import pytest

from dockernamed.errors import ConfigError, OptionsError
from dockernamed.images.allowed import AllowedImages, PullPolicy

# --- the allow-list


def test_a_list_allows_what_it_lists() -> None:
    """The choices are the references themselves, in the admin's order."""
    allowed = AllowedImages(["lab:1", "q.io/b"])
    assert allowed.choices == ("lab:1", "q.io/b")
    assert not allowed.wildcard
    assert allowed.resolve("lab:1") == "lab:1"


@pytest.mark.parametrize("choice", ["lab:latest", "library/lab", "docker.io/library/lab:latest"])
def test_a_list_knows_other_ways_to_write_an_image(choice: str) -> None:
    """Another way to write a listed image gives what the admin wrote."""
    assert AllowedImages(("b", "lab")).resolve(choice) == "lab"


def test_a_dict_gives_images_by_alias() -> None:
    """The alias alone can be chosen; the image behind it stays the admin's business."""
    allowed = AllowedImages({"Data Science": "q.io/ds:1", "lab": "lab"})
    assert allowed.choices == ("Data Science", "lab")
    assert dict(allowed.images) == {"Data Science": "q.io/ds:1", "lab": "lab"}
    assert allowed.resolve("Data Science") == "q.io/ds:1"
    for choice in ("q.io/ds:1", "lab:latest"):
        with pytest.raises(OptionsError, match="Data Science"):
            allowed.resolve(choice)


@pytest.mark.parametrize("choice", ["lab:2", "other", "", "LAB", " lab", "lab\n", "*", "../lab"])
def test_what_is_not_listed_is_refused_with_the_choices(choice: str) -> None:
    """The message names the field, the value and what could be sent instead."""
    with pytest.raises(OptionsError) as caught:
        AllowedImages(["lab", "b:1"]).resolve(choice)
    assert (caught.value.field, caught.value.value) == ("image", choice)
    assert caught.value.choices == ["lab", "b:1"]
    assert str(caught.value).endswith("choose from: 'lab', 'b:1'")


@pytest.mark.parametrize("choice", [None, 1, True, 1.5, [], ["lab"], {}, {"lab": 1}, b"lab", ""])
@pytest.mark.parametrize("setting", [["lab"], {"lab": "lab"}, "*", None])
def test_choices_of_other_types_are_refused(setting: Any, choice: Any) -> None:
    """Untrusted JSON of any type ends in an OptionsError, never in a crash."""
    with pytest.raises(OptionsError) as caught:
        AllowedImages(setting).resolve(choice)
    assert caught.value.field == "image"


def test_a_wildcard_allows_any_reference() -> None:
    """With ``*`` any well-formed reference is accepted, as it was written."""
    allowed = AllowedImages("*")
    assert allowed.wildcard
    assert allowed.choices == ()
    assert allowed.resolve("q.io:5/a/b:t") == "q.io:5/a/b:t"


@pytest.mark.parametrize("choice", ["Lab", "a b", "lab\n", "--privileged", "/etc/passwd", "*"])
def test_a_wildcard_allows_references_only(choice: str) -> None:
    """What is no reference is refused with the reason, and no choices are made up."""
    with pytest.raises(OptionsError, match="not an image reference") as caught:
        AllowedImages("*").resolve(choice)
    assert caught.value.choices is None


@pytest.mark.parametrize("setting", [None, [], (), {}, ""])
def test_without_a_list_nobody_chooses(setting: Any) -> None:
    """No allow-list means no choice, and the message says so."""
    allowed = AllowedImages(setting)
    assert allowed.choices == ()
    assert not allowed.wildcard
    with pytest.raises(OptionsError, match="cannot be chosen") as caught:
        allowed.resolve("lab")
    assert caught.value.choices == []


@pytest.mark.parametrize(("setting", "hint"), [
    ("lab", "expected a list of images"),
    (0, "expected a list of images"),
    (False, "expected a list of images"),
    (7, "expected a list of images"),
    ({"lab"}, "expected a list of images"),
    (lambda: ["lab"], "expected a list of images"),
    (["lab", 1], "strings only"),
    ([None], "strings only"),
    (["lab", "*"], "must stand alone"),
    ({"any": "*"}, "must stand alone"),
    (["lab", "Not A Reference"], "not an image reference"),
    ({"lab": ""}, "not an image reference"),
    ({"": "lab"}, "non-empty strings"),
    ({1: "lab"}, "non-empty strings"),
    ({"lab": None}, "non-empty strings"),
    ({"lab": ["a"]}, "non-empty strings"),
])  # fmt: skip
def test_a_setting_that_cannot_work_is_refused(setting: Any, hint: str) -> None:
    """The admin learns which setting is wrong and what it takes."""
    with pytest.raises(ConfigError) as caught:
        AllowedImages(setting)
    assert caught.value.field == "allowed_images"
    assert hint in caught.value.hint


def test_the_setting_can_change_afterwards_without_effect() -> None:
    """A list that the admin's code changes later doesn't change what was checked."""
    setting = {"lab": "lab"}
    allowed = AllowedImages(setting)
    setting["evil"] = "Not A Reference"
    assert allowed.choices == ("lab",)


# --- the pull policy


@pytest.mark.parametrize(("text", "policy"), [
    ("always", PullPolicy.ALWAYS),
    ("IfNotPresent", PullPolicy.IFNOTPRESENT),
    ("NEVER", PullPolicy.NEVER),
    ("skip", PullPolicy.SKIP),
])  # fmt: skip
def test_pull_policies(text: str, policy: PullPolicy) -> None:
    """Upper and lower case are one, and a policy is a string in lower case."""
    assert PullPolicy.parse(text) is policy
    assert f"{policy}" == policy == text.lower()


@pytest.mark.parametrize("text", ["", "sometimes", "always ", "if-not-present"])
def test_another_pull_policy_is_refused(text: str) -> None:
    """The message lists the policies."""
    with pytest.raises(ConfigError, match="'always', 'ifnotpresent', 'never', 'skip'") as caught:
        PullPolicy.parse(text)
    assert (caught.value.field, caught.value.value) == ("pull_policy", text)


@pytest.mark.parametrize(
    "id", ["a6aa129f350c", "a6aa", "sha256:a6aa129f350c", f"sha256:{'0' * 64}"]
)
def test_ids_only_where_they_are_listed(id: str) -> None:
    """``"*"`` lets nobody name an image of the Engine by its id, which may be somebody else's."""
    with pytest.raises(OptionsError, match="could be the id of an image"):
        AllowedImages("*").resolve(id)
    assert AllowedImages("*").resolve("cafe:latest") == "cafe:latest"
    assert AllowedImages([id]).resolve(id) == id
    assert AllowedImages({"mine": id}).resolve("mine") == id
    with pytest.raises(OptionsError):
        AllowedImages({"mine": id}).resolve(id)
