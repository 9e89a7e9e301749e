"""templates.py: templates as a boundary, and what a template tells apart."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.names import fields, many, texts, words

from dockernamed import templates
from dockernamed.errors import TemplateError
from dockernamed.naming import slug
from dockernamed.templates import expand, expand_all


@pytest.mark.parametrize(("template", "expected"), [
    ("", ""),
    ("home", "home"),
    ("/data/{username}/{servername}", "/data/ann/exp"),
    ("{prefix}-{user_server}", "jupyter-ann--exp"),
    ("{{{username}}}", "{ann}"),
    ("{{username}}", "{username}"),
    ("{hub_id}:{raw_username}", "hub:ann"),
])  # fmt: skip
def test_expand(template: str, expected: str) -> None:
    """Fields by name, doubled braces for braces."""
    assert expand(template, fields("ann", "exp"), field="volumes") == expected


@pytest.mark.parametrize("template", [
    "{username.__class__}",
    "{username.__init__.__globals__[os]}",
    "{username[0]}",
    "{username!r}",
    "{username:>10}",
    "{username:{prefix}}",
    "{0}",
    "{}",
    "{ username}",
    "{user-name}",
    "{username",
    "username}",
    "{username!",
])  # fmt: skip
def test_a_template_reaches_nothing_but_the_values(template: str) -> None:
    """Attributes, indexes, conversions, specs, positions and stray braces are refused by name."""
    with pytest.raises(TemplateError) as caught:
        expand(template, fields("ann", "exp"), field="volumes")
    assert (caught.value.field, caught.value.value) == ("volumes", template)
    assert "{{ and }}" in caught.value.hint


def test_an_unknown_field_lists_the_known_ones() -> None:
    """A slip of the pen is answered with what could have been meant."""
    with pytest.raises(TemplateError) as caught:
        expand("/home/{usrname}", {"username": "ann", "prefix": "x"}, field="volumes")
    assert str(caught.value) == (
        "volumes = '/home/{usrname}': there is no field {usrname}; known are {prefix}, {username}"
    )


def test_values_are_never_expanded_again() -> None:
    """A user called ``{prefix}`` or ``{x.__class__}`` stays literal text."""
    for user in ("{prefix}", "{x.__class__}", "{{", "{0}"):
        assert expand("{raw_username}", fields(user, ""), field="volumes") == user
        assert "{" not in expand("{username}", fields(user, ""), field="volumes")


@given(texts, texts)
@many
def test_slugs_never_leave_their_path_segment(user: str, server: str) -> None:
    """No user or server name adds a separator, a dot segment or a colon to a bind."""
    bind = expand("/data/{username}/{servername}x:/home:rw", fields(user, server), field="volumes")
    assert re.fullmatch("/data/[a-z0-9-]+/[a-z0-9-]*x:/home:rw", bind)


@pytest.mark.parametrize("name", [
    "/etc", "a/b", "..", ".", "a\\b", "a:ro", "a\0", "a\nb", "a\x7f", "\x85", "\u2028", "\u2029",
    "\ud800", "-rf",
])  # fmt: skip
@pytest.mark.parametrize("who", ["username", "servername"])
@pytest.mark.parametrize("how", ["raw", "unescaped"])
def test_raw_names_that_leave_a_path_segment_are_refused(name: str, who: str, how: str) -> None:
    """The message names the field, the value, and the safe field to use instead."""
    found = fields(name, name)
    with pytest.raises(TemplateError) as caught:
        expand(f"/data/{{{how}_{who}}}", found, field="mounts")
    assert caught.value.hint.startswith(f"{{{how}_{who}}} is {name!r}")
    assert caught.value.hint.endswith(f"use {{{who}}}")
    assert expand("/data/home", found, field="mounts") == "/data/home"


@pytest.mark.parametrize("name", ["ann", "Ann", "ann@example.com", "\u597d", "a b", ".a", "a..b"])
def test_raw_names_within_a_path_segment_are_let_through(name: str) -> None:
    """Raw names work where they do no harm, as they are."""
    assert expand("/data/{raw_username}", fields(name, ""), field="mounts") == f"/data/{name}"


def test_expand_all_goes_everywhere() -> None:
    """Keys and values of dicts, lists and tuples are expanded; all else stays the same object."""
    other = object()
    template = {
        "{username}-home": {"bind": "/home/{username}", "mode": "rw"},
        "list": ["{servername}", ("{prefix}", 1, None, True, 1.5, b"{username}", other)],
        7: "{user_server}",
    }
    before = repr(template)
    assert expand_all(template, fields("ann", "exp"), field="mounts") == {
        "ann-home": {"bind": "/home/ann", "mode": "rw"},
        "list": ["exp", ("jupyter", 1, None, True, 1.5, b"{username}", other)],
        7: "ann--exp",
    }
    assert repr(template) == before


def test_expand_all_loses_no_key() -> None:
    """Two keys that become one are an error, not a volume less."""
    with pytest.raises(TemplateError, match="would be lost"):
        expand_all({"{username}": 1, "{raw_username}": 2}, fields("ann", ""), field="volumes")


def test_expand_all_checks_as_expand_does() -> None:
    """An error deep inside names the setting and the very template."""
    with pytest.raises(TemplateError) as caught:
        expand_all([{"a": ("{nope}",)}], fields("ann", ""), field="mounts")
    assert (caught.value.field, caught.value.value) == ("mounts", "{nope}")


DISTINCT = [
    "{user_server}",
    "x-{user_server}-{username}",
    "{username}--{servername}",
    "{servername}--{username}",
    "{username}-{prefix}--{servername}",
    "{username}/{servername}",
    "{username}_{servername}",
    "{username}.{prefix}.{servername}",
    "{raw_username}/{raw_servername}",
    "{raw_username}:{servername}",
]


@pytest.mark.parametrize("template", DISTINCT)
def test_distinct_templates_tell_servers_apart(template: str) -> None:
    """What passes as distinct is: over all short words and over names made of our own hashes."""
    pool = {*words("a-", 3), "A"}
    pool |= {slug(word)[-16:] for word in pool if "---" in slug(word)}
    pool |= {word.upper() for word in pool}
    names = [word for word in pool if not ("raw" in template and word.startswith("-"))]
    made = {
        expand(template, fields(user, server), field="volumes", distinct=True)
        for user in names
        for server in names
    }
    assert len(made) == len(names) ** 2


@pytest.mark.parametrize("template", [
    "{username}-{servername}",
    "{username}{servername}",
    "{servername}-x-{username}",
    "{username}---{servername}",
    "{username}-{prefix}-{servername}",
    "{safe_username}-{escaped_servername}",
    "{raw_username}--{servername}",
    "{username}_{raw_servername}",
])  # fmt: skip
def test_templates_that_can_be_read_two_ways_are_not_distinct(template: str) -> None:
    """Where ('a', 'b-c') and ('a-b', 'c') could share a volume, the admin is told what to write."""
    with pytest.raises(TemplateError, match=r"use \{user_server\}"):
        expand_all({template: "/home"}, fields("ann", "exp"), field="volumes", distinct=True)
    expand(template, fields("ann", "exp"), field="args")


@pytest.mark.parametrize("template", ["{username}", "{servername}", "{prefix}", "fixed"])
def test_sharing_on_purpose_is_distinct_enough(template: str) -> None:
    """A template that leaves user or server out shares on purpose; only accidents are refused."""
    expand(template, fields("ann", "exp"), field="volumes", distinct=True)


@pytest.mark.parametrize(("template", "parts"), [
    ("{prefix}-shared", set()),
    ("{username}", {"user"}),
    ("x-{raw_servername}", {"server"}),
    ("{escaped_username}/{safe_servername}", {"user", "server"}),
    ("{user_server}", {"user", "server"}),
    ("{{user_server}}", set()),
])  # fmt: skip
def test_what_a_template_tells_apart(template: str, parts: set[str]) -> None:
    """Whose the named thing is: everybody's, a user's, or one server's."""
    named = [name for _, name in templates.pieces(template, "volumes")]
    assert templates.identity_in(named) == parts


# --- fields in passing -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{username}", "ann"),
        ("a{username}b{servername}", "aannb"),
        ("{{.Name}}/{username}", "{{.Name}}/ann"),
        ("{{username}}", "{username}"),
        ("{{{username}}}", "{{username}}"),
        ("${HOME}/${username}", "${HOME}/${username}"),
        ('{"a": "{username}"}', '{"a": "ann"}'),
        ("{}{0}{a.b}{username!r}{username:>9}", "{}{0}{a.b}{username!r}{username:>9}"),
        ("{unheard_of}", "{unheard_of}"),
    ],
)
def test_fields_in_passing(template: str, text: str) -> None:
    """Only a field's name in braces is a field; all other braces stay as they are."""
    fields = {"username": "ann", "servername": ""}
    assert templates.expand_in_passing(template, fields, field="extra_host_config") == text


MIDDLES = ("{username}", "{user_name}", "{base_url}", "{end}", "x")


@given(st.text("{}$ab", max_size=20), st.sampled_from(MIDDLES))
def test_what_a_user_typed_comes_out_as_typed(text: str, middle: str) -> None:
    """Whatever braces a user types, nobody's name is put in for them."""
    typed = text[:10] + middle + text[10:]
    shielded = templates.shielded(typed)
    fields = {"username": "ann", "prefix": "jupyter"}
    assert templates.expand_in_passing(shielded, fields, field="extra_host_config") == typed
