"""Typed values never become places of the host: by the option's pattern, and by each text."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.examples import examples

from dockernamed.errors import ConfigError, OptionsError
from dockernamed.options import chooser, profile_config, user_options
from dockernamed.options.overrides import OverridableSettings
from dockernamed.options.patterns import can_match
from dockernamed.options.places import LEAVING, PART, PLACES
from dockernamed.options.user_options import Menu
from dockernamed.settings import DockerNamedSettings
from dockernamed.settings_swarm import DockerNamedSwarmSettings

SETTINGS = OverridableSettings(
    frozenset(
        {
            *DockerNamedSettings.class_trait_names(config=True),
            *DockerNamedSwarmSettings.class_trait_names(config=True),
            "env_keep",
        }
    ),
    chooser.TEMPLATED,
    chooser.TEMPLATED_IN_PASSING,
)
#: Each way in which an override can name a place of the host.
IN_PLACES: list[dict[str, Any]] = [
    {"volumes": {"/srv/{value}": "/x"}},
    {"volumes": {"{value}": "/x"}},
    {"volumes": {"team-{value}": {"bind": "/x", "mode": "ro"}}},
    {"volumes": {"/srv/x": {"bind": "/x", "mode": "{value}"}}},
    {"read_only_volumes": {"/srv/{value}": "/x"}},
    {"server_volume": "own-{value}"},
    {"mounts": [{"type": "bind", "source": "/srv/{value}", "target": "/x"}]},
    {"mounts": [{"source": "v", "target": "/x", "driver_config": {"options": {"o": "{value}"}}}]},
    {"network_name": "net-{value}"},
    {"networks": ["course", "net-{value}"]},
    {"host_ip": "{value}"},
    {"name_template": "{username}-{value}"},
    {"registry_credentials": "/etc/{value}.json"},
    {"env_keep": ["{value}"]},
    {"devices": ["/dev/{value}"]},
    {"cap_add": ["{value}"]},
    {"log_config": {"type": "syslog", "config": {"syslog-address": "unix:///{value}"}}},
    {"storage_opt": {"{value}": "1"}},
    {"placement_constraints": ["node.labels.team=={value}"]},
    {"extra_service_spec": {"TaskTemplate": {"Networks": [{"Target": "{value}"}]}}},
    {"extra_host_config": {"binds": ["/srv/{value}:/x"]}},
    {"extra_host_config": {"binds": {"/srv/{value}": {"bind": "/x", "mode": "rw"}}}},
    {"extra_host_config": {"mounts": [{"Type": "bind", "Source": "/{value}", "Target": "/x"}]}},
    {"extra_host_config": {"devices": ["/dev/{value}"]}},
    {"extra_host_config": {"device_requests": [{"driver": "{value}", "count": 1}]}},
    {"extra_host_config": {"volumes_from": ["{value}"]}},
    {"extra_host_config": {"links": {"{value}": "db"}}},
    {"extra_host_config": {"network_mode": "container:{value}"}},
    {"extra_host_config": {"security_opt": ["apparmor={value}"]}},
    {"extra_host_config": {"volume_driver": "{value}"}},
    {"extra_host_config": {"port_bindings": {8888: "{value}"}}},
    {"extra_create_kwargs": {"volumes": ["{value}"]}},
    {"extra_create_kwargs": {"host_config": {"Binds": ["{value}:/x"]}}},
    {"extra_create_kwargs": {"networking_config": {"{value}": {}}}},
]
#: Where a text is a text: what the user does in the own container.
ELSEWHERE: list[dict[str, Any]] = [
    {"environment": {"TEAM": "{value}"}},
    {"cmd": ["start", "{value}"]},
    {"notebook_dir": "/home/{value}"},
    {"default_url": "/lab/tree/{value}"},
    {"volumes": {"/srv/course": "/home/{value}"}},
    {"mounts": [{"type": "tmpfs", "target": "/{value}"}]},
    {"extra_create_kwargs": {"hostname": "{value}"}},
    {"extra_host_config": {"shm_size": "{value}"}},
]
REFUSED = ["", ".*", "[^/]+", "[^/:]+", "[a-z.]+", r"\S+", "[a-z]+|/", r"(a|\.)\1", "(?s:.)"]
ACCEPTED = [
    "[a-z]+",
    r"\w+",
    "[^/:.]+",
    r"[a-z]+(?:\.[a-z]+)*",
    "(?i:team-[0-9]{1,3})$",
    "^[a-z-]*$",
]


def menu(override: dict[str, Any], pattern: str) -> Menu:
    """The menu of a Hub with one option, whose text goes into an override.

    Raises:
        ConfigError: as when the Hub starts.
    """
    free = {"enabled": True, "validation_regex": pattern, "spawner_override": override}
    catalogue = profile_config.read([], {"team": {"unlisted_choice": free}}, SETTINGS)
    return Menu(catalogue=catalogue, overridable=SETTINGS)


@pytest.mark.parametrize("override", IN_PLACES, ids=str)
def test_a_place_needs_a_pattern_that_leaves_no_name(override: dict[str, Any]) -> None:
    """Refused when the Hub starts unless the pattern cannot match '/', ':' or '..'."""
    for pattern in REFUSED:
        with pytest.raises(ConfigError, match=r"cannot match '/', ':' or '\.\.'") as refused:
            menu(override, pattern)
        assert refused.value.field.endswith("['unlisted_choice']['validation_regex']")
    for pattern in ACCEPTED:
        menu(override, pattern)


@pytest.mark.parametrize("override", ELSEWHERE, ids=str)
def test_elsewhere_any_text_may_stand(override: dict[str, Any]) -> None:
    """In the own container, users name what they like: no pattern is asked for."""
    menu(override, "")


def test_an_option_that_is_off_asks_for_nothing() -> None:
    """What nobody can type needs no pattern."""
    free = {"enabled": False, "spawner_override": {"volumes": {"/srv/{value}": "/x"}}}
    option = {"choices": {"a": {}}, "unlisted_choice": free}
    profile_config.read([], {"team": option}, SETTINGS)


@pytest.mark.parametrize("override", IN_PLACES, ids=str)
def test_each_text_is_looked_at_again(override: dict[str, Any]) -> None:
    """Whatever the pattern lets through: options, templates, the invisible, and dots alone."""
    asked = menu(override, "[^/:.]+|[.]|~[a-z]+")
    for text in (
        "-v",
        "~root",
        ".",
        "a,dev=x",
        "a\\b",
        "{username}",
        "a\u2028b",
        "a\u202eb",
        "a\u0085",
    ):
        with pytest.raises(OptionsError, match="team--unlisted-choice"):
            user_options.parse({"team--unlisted-choice": text}, asked)
    for text in ("physics", "Team 7", "größe", "a-b_c"):
        user_options.parse({"team--unlisted-choice": text}, asked)


@given(st.text(max_size=12))
def test_a_part_of_a_place_is_never_more(text: str) -> None:
    """Filled into a path, it is one segment; into a bind string, it adds no field."""
    if PART.fullmatch(text):
        assert f"/srv/{text}:/x".count("/") == 3
        assert f"/srv/{text}:/x".count(":") == 1
        assert text not in (".", "..")
        assert len(f"/srv/{text}:/x".splitlines()) == 1


@pytest.mark.parametrize("source", ["/srv/{username}-{value}", "/srv/{value}{user_server}"])
def test_a_text_does_not_run_into_a_name(source: str) -> None:
    """``a`` who types ``b-x`` must not get what ``a-b`` gets who types ``x``."""
    for override in (
        {"volumes": {source: "/x"}},
        {"extra_host_config": {"binds": [f"{source}:/x"]}},
    ):
        with pytest.raises(ConfigError, match="need a '/' between them"):
            menu(override, "[a-z]+")
    menu({"volumes": {"/srv/{username}/{value}": "/x"}}, "[a-z]+")
    number = {"min": 1, "max": 9, "step": 1, "spawner_override": {"volumes": {source: "/x"}}}
    with pytest.raises(ConfigError, match="need a '/' between them"):
        profile_config.read([], {"n": {"number": number}}, SETTINGS)


@pytest.mark.parametrize(
    "override",
    [
        {"prefix": "{value}"},
        {"allow_unsafe": ["{value}"]},
        {"hardening": "{value}"},
        {"network_isolation": "{value}"},
    ],
)
def test_what_nobody_types_a_part_of(override: dict[str, Any]) -> None:
    """The prefix is in the names of everybody's volumes; the others open the host."""
    with pytest.raises(ConfigError, match="no user can type a part of it"):
        menu(override, "[a-z]+")


@pytest.mark.parametrize(
    ("network", "typed"),
    [("{value}", "host"), ("{value}", "none"), ("ho{value}", "st"), ("{value}t", "hos")],
)
def test_a_network_is_never_a_mode(network: str, typed: str) -> None:
    """``host`` is no network of that name but the host's own."""
    overrides: list[dict[str, Any]] = [{"network_name": network}, {"networks": [network]}]
    for override in overrides:
        asked = menu(override, "[a-z]+")
        with pytest.raises(OptionsError):
            user_options.parse({"team--unlisted-choice": typed}, asked)
        user_options.parse({"team--unlisted-choice": "physics"}, asked)


def test_the_table_names_settings() -> None:
    """A setting that was renamed would no longer be guarded."""
    assert set(PLACES) <= SETTINGS.settings


PIECES = [
    "a",
    "/",
    ":",
    r"\.",
    "[a-z]",
    "[^a]",
    "[^/:.]",
    r"\w",
    r"\W",
    r"[^\W]",
    r"[\S]",
    "[.-:]",
    ".",
]


def _grown(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.one_of(
        st.lists(inner, min_size=1, max_size=3).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: f"(?:{'|'.join(parts)})"),
        st.tuples(inner, st.sampled_from(["*", "?", "{2}", "{0,2}", "+?", "{0}"])).map(
            lambda parts: f"(?:{parts[0]}){parts[1]}"
        ),
        inner.map(lambda part: f"(?i:{part})"),
    )


@settings(max_examples=examples(50), suppress_health_check=[HealthCheck.too_slow])
@given(st.recursive(st.sampled_from(PIECES), _grown, max_leaves=6), st.data())
def test_what_cannot_match_never_does(pattern: str, data: st.DataObject) -> None:
    """Texts that a pattern matches have in them only what it is said to be able to match."""
    text = data.draw(st.from_regex(re.compile(pattern), fullmatch=True))
    for part in LEAVING:
        assert part not in text or can_match(pattern, part)


@pytest.mark.parametrize("pattern", [r"(\.)\1", r"(x)?(?(1)a|b)", r"(?P<n>a)(?P=n)"])
def test_what_is_not_understood_can_match(pattern: str) -> None:
    """References to groups and the like count as anything."""
    assert all(can_match(pattern, part) for part in LEAVING)
