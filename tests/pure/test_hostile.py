"""Ten thousand bodies and any name: refused or harmless, whatever is in them."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.hostile import TEXTS, bodies

from dockernamed import naming
from dockernamed.errors import OptionsError, TemplateError
from dockernamed.hub.bodies import MAX_DEPTH, is_deeper
from dockernamed.hub.log_text import PlainText, write_plain_text
from dockernamed.images.allowed import AllowedImages
from dockernamed.options import profile_config
from dockernamed.options.overrides import OverridableSettings
from dockernamed.options.user_options import Menu, from_form, parse
from dockernamed.templates import expand

SETTINGS = OverridableSettings(frozenset({"volumes", "environment"}), frozenset({"volumes"}))
TEAM = {
    "enabled": True,
    "validation_regex": "[a-z]+",
    "spawner_override": {"volumes": {"team-{value}": "/team"}},
}
OPTIONS = {
    "cpu": {"number": {"min": 1, "max": 4, "step": 1}},
    "team": {"choices": {"none": {}}, "unlisted_choice": TEAM},
}
MENU = Menu(AllowedImages({"web": "web:1"}), profile_config.read([], OPTIONS, SETTINGS), SETTINGS)
GOOD = {"image": "web", "team--unlisted-choice": "chess"}
hostile = st.one_of(st.sampled_from(TEXTS), st.text(max_size=40))


def test_ten_thousand_bodies() -> None:
    """Each is no JSON, no object, too deep, or refused with a message of one printable line."""
    refused = 0
    for body in bodies(10_000, GOOD, ["cpu"]):
        try:
            sent: Any = json.loads(body.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            continue
        if not isinstance(sent, dict) or is_deeper(sent, MAX_DEPTH):
            continue
        with pytest.raises(OptionsError) as caught:
            parse(sent.get("user_options", sent), MENU)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 2000
        refused += 1
    assert refused > 7000


@given(st.dictionaries(hostile, st.lists(hostile, max_size=3), max_size=5))
def test_fields_of_a_form(fields: dict[str, list[str]]) -> None:
    """Whatever a form or a link sends is options, which are accepted or refused."""
    options = from_form(fields, MENU)
    try:
        choice = parse(options, MENU)
    except OptionsError:
        return
    assert set(choice.options) <= {"image", "cpu", "team", "team--unlisted-choice"}


@given(hostile)
def test_what_is_shown_is_one_line(text: str) -> None:
    """Nothing in a log line is invisible, and what was visible stays."""
    shown = naming.shown(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    assert text != shown or text.isprintable()


@given(hostile, hostile)
def test_records_of_the_hubs_log(text: str, name: str) -> None:
    """Formatted or not: only line breaks stay, which the log's formatter indents."""
    for record in (
        logging.makeLogRecord({"msg": "%s has %r", "args": (name, text)}),
        logging.makeLogRecord({"msg": f"{name} has {text}", "args": None}),
    ):
        assert PlainText().filter(record)
        assert record.getMessage().replace("\n", "").replace("\t", "").isprintable()


def test_a_record_that_is_wrong_is_left_alone() -> None:
    """Its handler tells."""
    record = logging.makeLogRecord({"msg": "%s %s", "args": ("a\x1b",)})
    assert PlainText().filter(record)
    assert record.args == ("a\x1b",)


def test_one_filter_is_enough() -> None:
    """A Hub's log is looked after once for each of its handlers."""
    log = logging.Logger("hub")
    log.addHandler(logging.NullHandler())
    write_plain_text(log)
    write_plain_text(log)
    assert len(log.handlers[0].filters) == 1


@given(st.integers(0, 120))
def test_how_deep_a_body_is(levels: int) -> None:
    """Lists and objects count; texts and numbers do not."""
    body: Any = 1
    for level in range(levels):
        body = [body, 2] if level % 2 else {"a": body, "b": "x"}
    assert is_deeper(body, MAX_DEPTH) == (levels > MAX_DEPTH)


@given(hostile, hostile)
def test_names_never_leave_their_place(user: str, server: str) -> None:
    """A path, a bind and a volume's name have the parts that the admin wrote, whoever asks."""
    fields = naming.namespace(naming.Key("hub", user, server), prefix="jupyter")
    for template in ("/srv/{username}/x{servername}", "/srv/{user_server}", "/h/{raw_username}/x"):
        try:
            path = expand(template, fields, field="volumes", distinct=True)
        except TemplateError:
            continue
        assert path.count("/") == template.count("/")
        assert not {".", ".."} & set(path.split("/"))
        assert ":" not in path
        assert len(path.splitlines()) == 1


@pytest.mark.parametrize("name", ["a\nb", "a\x00", "a\u2028", "\x85", "\ud800", "a\r"])
def test_names_that_have_no_server(name: str) -> None:
    """As a user or a server: whoever logs the name would log a line of its choice."""
    for key in (naming.Key("hub", name, ""), naming.Key("hub", "ann", name)):
        with pytest.raises(OptionsError, match="line breaks or control characters"):
            naming.check_names(key)


@pytest.mark.parametrize("name", ["<b>{x}</b>%s", "名前", "a\u202eb", "👩\u200d👧", "x" * 255])
def test_names_that_have_one(name: str) -> None:
    """Odd is not wrong."""
    naming.check_names(naming.Key("hub", name, name))
