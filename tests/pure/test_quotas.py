"""The limits of what is in use at once: which hold for whom, and what a refusal tells whom."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockernamed.desired.quotas import (
    Bound,
    InUse,
    Promise,
    bounds,
    check,
    promised,
    read_group_limits,
    shown,
)
from dockernamed.errors import ConfigError, LimitReached, OptionsError

G = 2**30
NOT_SET = {"mem_limit": None, "mem_guarantee": None, "cpu_limit": None, "cpu_guarantee": None}


def settings(**values: Any) -> SimpleNamespace:
    """Settings without any limit, but for some."""
    none: dict[str, Any] = {
        "max_servers_per_user": 0,
        "max_starts_per_user": 0,
        "max_total_memory": None,
        "max_total_cpu": None,
        "group_limits": {},
    }
    return SimpleNamespace(**{**none, **values})


def limits_of(groups: tuple[str, ...] = (), **values: Any) -> dict[str, float]:
    """Setting → most, of what counts for ann, who is in some groups."""
    found = bounds(settings(**values), "ann", groups, lambda group: {"ann", "bob"})
    return {bound.setting: bound.most for bound in found}


def refusal(bound: Bound, in_use: list[InUse], wanted: Promise = Promise(G, 1.0)) -> str:  # noqa: B008
    """What ann is told whose start is beyond a limit."""
    with pytest.raises(LimitReached) as caught:
        check([bound], in_use, "ann", wanted)
    return str(caught.value)


# --- which limits --------------------------------------------------------------------------------


def test_without_settings_there_are_no_limits() -> None:
    """Groups without limits have none either, and nobody's members are looked for."""

    def nobody(group: str) -> set[str]:
        raise AssertionError(group)

    assert bounds(settings(group_limits={"a": {}}), "ann", ["a", "b"], nobody) == []


def test_a_group_says_what_each_of_its_users_may() -> None:
    """It does so instead of the setting for all, also where it says more, or no limit at all."""
    of = {"few": {"max_servers_per_user": 1}, "more": {"max_servers_per_user": 9}}
    of["any"] = {"max_servers_per_user": 0}
    for groups, expected in (
        ((), {"max_servers_per_user": 5}),
        (("few",), {"group_limits['few']['max_servers_per_user']": 1}),
        (("few", "more"), {"group_limits['more']['max_servers_per_user']": 9}),
        (("few", "any"), {}),
        (("others",), {"max_servers_per_user": 5}),
    ):
        assert limits_of(groups, max_servers_per_user=5, group_limits=of) == expected


def test_totals_of_all_groups_hold() -> None:
    """And that of everybody as well."""
    of = {"a": {"max_total_memory": "4G", "max_servers": 3}, "b": {"max_total_cpu": 2.5}}
    assert limits_of(("b", "a"), max_total_memory=9 * G, group_limits=of) == {
        "max_total_memory": 9 * G,
        "group_limits['a']['max_servers']": 3,
        "group_limits['a']['max_total_memory']": 4 * G,
        "group_limits['b']['max_total_cpu']": 2.5,
    }


@pytest.mark.parametrize(
    ("setting", "where"),
    [
        ({"a": 3}, "group_limits['a'] = 3"),
        ({1: {}}, "group_limits[1] = {}"),
        ({"a": {"max_server": 3}}, "group_limits['a']['max_server'] = 3: no such limit"),
        ({"a": {"max_servers": -1}}, "group_limits['a']['max_servers'] = -1"),
        ({"a": {"max_servers": 1.5}}, "group_limits['a']['max_servers'] = 1.5"),
        ({"a": {"max_servers": True}}, "group_limits['a']['max_servers'] = True"),
        ({"a": {"max_total_memory": "4X"}}, "group_limits['a']['max_total_memory'] = '4X'"),
        ({"a": {"max_total_cpu": "4"}}, "group_limits['a']['max_total_cpu'] = '4'"),
        ({"a": {"max_total_cpu": float("nan")}}, "group_limits['a']['max_total_cpu'] = nan"),
    ],
)
def test_group_limits_that_mean_nothing(setting: dict[Any, Any], where: str) -> None:
    """Each is told with its place."""
    with pytest.raises(ConfigError) as caught:
        read_group_limits(setting)
    assert where in str(caught.value)


# --- what a server counts with -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host_config", "given", "expected"),
    [
        ({}, {}, Promise()),
        ({}, {"mem_limit": G, "mem_guarantee": 5}, Promise(G)),
        ({}, {"mem_guarantee": 5, "cpu_guarantee": 0.5}, Promise(5, 0.5)),
        ({"Memory": 7}, {"mem_limit": G}, Promise(7)),
        ({"Memory": 0}, {"mem_limit": G}, Promise(0)),
        ({"Memory": -1}, {"mem_limit": G, "mem_guarantee": 5}, Promise(5)),
        ({"MemoryReservation": 9}, {}, Promise(9)),
        ({"NanoCpus": 1_500_000_000}, {"cpu_limit": 4.0}, Promise(0, 1.5)),
        ({"CpuQuota": 50_000}, {"cpu_limit": 4.0}, Promise(0, 0.5)),
        ({"CpuQuota": 50_000, "CpuPeriod": 25_000}, {}, Promise(0, 2.0)),
        ({"CpuQuota": -1}, {"cpu_limit": 4.0}, Promise(0, 0.0)),
    ],
)
def test_what_is_promised(
    host_config: dict[str, Any], given: dict[str, Any], expected: Promise
) -> None:
    """The limit that the Engine is given, whichever setting it comes from; else the guarantee."""
    assert promised(host_config, **{**NOT_SET, **given}) == expected


def test_kept_promises_are_read_again() -> None:
    """What another version kept, or nobody, is none."""
    promise = Promise(G, 0.5, ("0", "1"))
    assert Promise.from_json(promise.to_json()) == promise
    wrong: list[Any] = [None, {}, {"memory": 1}, [], "x", {"memory": "x", "cpu": 1, "gpus": []}]
    for other in wrong:
        assert Promise.from_json(other) is None


# --- refusals ------------------------------------------------------------------------------------


def test_own_servers_are_named_and_others_are_a_sum() -> None:
    """Whatever others have, nothing of it is told but how much it is together."""
    in_use = [
        InUse("ann", "exp", Promise(2 * G, 1.0)),
        InUse("ann", "", Promise(G, 1.0)),
        InUse("bob", "secret", Promise(4 * G, 1.0)),
        InUse("eve", "hidden", Promise(G // 2, 1.0)),
    ]
    told = refusal(Bound("max_total_memory", "memory", 8 * G), in_use)
    assert "max_total_memory = 8G" in told
    assert "7.5G (of user 'ann': the default server 1G, 'exp' 2G; of others: 4.5G)" in told
    assert "this server needs 1G" in told
    for word in ("bob", "eve", "secret", "hidden"):
        assert word not in told


def test_only_those_of_whom_it_is_count() -> None:
    """Servers of users outside of a group take nothing from it."""
    bound = Bound("s", "servers", 2, {"ann", "bob"}, "of the group 'g'")
    in_use = [InUse("eve", str(number)) for number in range(9)]
    check([bound], in_use, "ann", Promise())
    check([bound], [*in_use, InUse("bob", "b")], "ann", Promise())
    told = refusal(bound, [*in_use, InUse("bob", "b"), InUse("bob", "c")])
    assert "2 servers of the group 'g' run or start (of user 'ann': none; of others: 2)" in told


def test_starts_are_counted_apart() -> None:
    """Servers that run are no starts."""
    bound = Bound("max_starts_per_user", "starts", 1, {"ann"}, "of user 'ann'")
    check([bound], [InUse("ann", "a")], "ann", Promise())
    told = refusal(bound, [InUse("ann", "a"), InUse("ann", "b", starting=True)])
    assert "1 servers of user 'ann' are starting ('b')" in told


@pytest.mark.parametrize(
    ("kind", "wanted", "field"),
    [("memory", Promise(9 * G, 1.0), "mem_limit"), ("cpu", Promise(G, 9.0), "cpu_limit")],
)
def test_what_never_fits_is_no_matter_of_time(kind: str, wanted: Promise, field: str) -> None:
    """Waiting would not help, so it is a choice that is refused."""
    most = 8 * G if kind == "memory" else 8
    with pytest.raises(OptionsError) as caught:
        check([Bound("max", kind, most)], [], "ann", wanted)
    assert caught.value.field == field


def test_what_has_no_limit_does_not_start() -> None:
    """It could take all there is, and more."""
    with pytest.raises(ConfigError, match=r"mem_limit.*max_total_memory = 8G"):
        check([Bound("max_total_memory", "memory", 8 * G)], [], "ann", Promise())


def test_fractions_add_up() -> None:
    """Three times 1.1 CPUs are 3.3, whatever a float thinks."""
    in_use = [InUse("bob", str(number), Promise(0, 1.1)) for number in range(2)]
    check([Bound("max_total_cpu", "cpu", 3.3)], in_use, "ann", Promise(0, 1.1))


@pytest.mark.parametrize(
    ("bytes_", "text"), [(G, "1G"), (3 * G // 2, "1.5G"), (0, "0"), (2**20, "1M"), (5, "5")]
)
def test_amounts_are_shown_as_settings_have_them(bytes_: int, text: str) -> None:
    """With the letters for powers of 1024."""
    assert shown("memory", bytes_) == text


# --- the ledger ----------------------------------------------------------------------------------

USERS = ("ann", "bob", "eve")
GROUPS = {"a": {"ann", "bob"}, "b": {"bob", "eve"}}
servers = st.tuples(st.sampled_from(USERS), st.sampled_from("xyz"))
sizes = st.builds(Promise, st.integers(1, 6), st.integers(1, 6).map(float))
#: A start (with what it asks for), the end of a start, or a stop.
happenings = st.lists(
    st.tuples(servers, st.one_of(st.none(), st.just("up"), sizes)), min_size=1, max_size=40
)
limits = st.fixed_dictionaries(
    {},
    optional={
        "max_servers_per_user": st.integers(0, 3),
        "max_starts_per_user": st.integers(0, 2),
        "max_total_memory": st.integers(0, 20),
        "max_total_cpu": st.integers(0, 20),
        "group_limits": st.dictionaries(
            st.sampled_from(sorted(GROUPS)),
            st.dictionaries(
                st.sampled_from(["max_servers", "max_starts", "max_total_memory", "max_total_cpu"]),
                st.integers(0, 12),
            ),
        ),
    },
)


def within(in_use: list[InUse], given: dict[str, Any]) -> bool:
    """Whether what is in use keeps every limit, counted in another way."""
    most = settings(**given)

    def fits(some: list[InUse], limit: dict[str, Any]) -> bool:
        amounts = {
            "max_servers": len(some),
            "max_starts": sum(one.starting for one in some),
            "max_total_memory": sum(one.promise.memory for one in some),
            "max_total_cpu": sum(one.promise.cpu for one in some),
        }
        return all(not limit.get(key) or amounts[key] <= limit[key] for key in amounts)

    total = {"max_total_memory": most.max_total_memory, "max_total_cpu": most.max_total_cpu}
    per_user = {"max_servers": most.max_servers_per_user, "max_starts": most.max_starts_per_user}
    return (
        fits(in_use, total)
        and all(fits([one for one in in_use if one.user == user], per_user) for user in USERS)
        and all(
            fits([one for one in in_use if one.user in GROUPS[group]], limit)
            for group, limit in most.group_limits.items()
        )
    )


@given(limits, happenings)
def test_no_order_of_starts_and_stops_exceeds_a_limit(
    given_limits: dict[str, Any], happened: list[tuple[tuple[str, str], Any]]
) -> None:
    """What is refused would not have fitted, and what is let in fits; what ended is free again."""
    world: dict[tuple[str, str], InUse] = {}
    for (user, server), what in happened:
        others = [one for key, one in world.items() if key != (user, server)]
        if what is None:
            world.pop((user, server), None)
        elif what == "up":
            if (user, server) in world:
                world[user, server] = InUse(user, server, world[user, server].promise)
        else:
            groups = [group for group, users in GROUPS.items() if user in users]
            found = bounds(settings(**given_limits), user, groups, GROUPS.__getitem__)
            wanted = InUse(user, server, what, starting=True)
            try:
                check(found, others, user, what)
            except (LimitReached, OptionsError):
                assert not within([*others, wanted], given_limits)
            else:
                world[user, server] = wanted
        if (user, server) in world and world[user, server].starting:
            assert within(list(world.values()), given_limits)
