"""The planner: what is wanted and what is observed in, a plan out, each step with its cause."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockernamed import naming
from dockernamed.desired.plan import (
    COPY,
    LOOKS,
    Connections,
    Desired,
    Holder,
    Instance,
    Lender,
    Observed,
    Op,
    Plan,
    Step,
    describe_owner,
    plan_delete,
    plan_start,
    plan_stop,
)
from dockernamed.desired.provenance import ServerRef
from dockernamed.errors import ForeignObject

KEY = naming.Key("hub-1", "ann", "exp-1")
OURS = naming.labels(KEY)
OTHER = naming.labels(replace(KEY, user="bob"))
FIRST, SECOND = "lab-ann--exp-1", "lab-ann--exp-1--hub-1"
DESIRED = Desired(ServerRef(KEY), (FIRST, SECOND), spec="wanted", image="lab")
KEEPING = replace(DESIRED, keep=True, by_shell=True)
FINE = Connections("lab-net", {"lab-net": True})

instances = st.lists(
    st.builds(
        Instance,
        id=st.uuids().map(str),
        running=st.booleans(),
        spec=st.sampled_from(["wanted", "other", ""]),
        wanted=st.booleans(),
    ),
    max_size=4,
    unique_by=lambda one: one.id,
)


def text(desired: Desired = DESIRED, **observed: Any) -> str:
    """The plan of a start, as text."""
    return str(plan_start(desired, Observed(**observed)))


def plan(*lines: str) -> str:
    """A plan's text."""
    return "\n".join(lines)


def ops(steps: Iterable[Step]) -> list[Op]:
    """What the steps do."""
    return [step.op for step in steps]


# --- containers --------------------------------------------------------------------------------


def test_nothing_there_is_created_and_started() -> None:
    """A first start creates one container and starts it."""
    assert text() == plan(f"create {FIRST}: none exists", "start: requested")


def test_a_kept_container_of_the_same_spec_is_used_again() -> None:
    """With ``remove = False`` a stopped container that still matches is started, not replaced."""
    kept = [Instance("a", False, "wanted")]
    reuse = ("reuse a: kept from the last run and still as wanted", "start: requested")
    look = "look at networks of a: they may be gone since it ran"
    assert text(KEEPING, instances=kept) == plan(look, *reuse)
    assert text(KEEPING, instances=kept, connections={"a": FINE}) == plan(*reuse)


def test_a_kept_container_of_another_spec_is_replaced() -> None:
    """Another image or setting never resumes the old container; the cause says what changed."""
    desired = replace(KEEPING, spec="image:2,limits:1,mounts:2")
    made = Instance("a", False, "image:1,limits:1,mounts:1")
    assert text(desired, instances=[made]) == plan(
        "remove a: not as wanted any more: image, mounts",
        f"create {FIRST}: replaced",
        "start: requested",
    )


def test_a_running_leftover_is_never_reused() -> None:
    """A container that runs without the Hub knowing has a token that nobody can vouch for."""
    assert text(KEEPING, instances=[Instance("a", True, "wanted")]) == plan(
        "remove a: left running by a start that the Hub does not know of",
        f"create {FIRST}: replaced",
        "start: requested",
    )


def test_of_two_kept_containers_one_goes() -> None:
    """A server has one container, however that came about."""
    two = [Instance("a", False, "wanted"), Instance("b", False, "wanted")]
    assert text(KEEPING, instances=two, connections={"a": FINE}) == plan(
        "remove b: a second one of the same server",
        "reuse a: kept from the last run and still as wanted",
        "start: requested",
    )


def test_a_leftover_where_none_is_kept() -> None:
    """Without ``remove = False`` no container serves twice."""
    assert text(instances=[Instance("a", False, "wanted")]).startswith("remove a: left over from")


@pytest.mark.parametrize(
    ("connections", "cause"),
    [
        (Connections("lab-net", {"lab-net": False}), "its network lab-net was removed since"),
        (Connections("lab-net"), "it was disconnected from its network"),
        (Connections("bridge"), "it was disconnected from its network"),
        (Connections("none"), ""),
        (Connections("host"), ""),
        (Connections("container:abc"), ""),
        (Connections("bridge", {"bridge": True, "lab-net": True}), ""),
    ],
)
def test_a_kept_container_that_is_cut_off(connections: Connections, cause: str) -> None:
    """No start of it could ever be reached again: it is replaced, and the log warns."""
    kept = [Instance("a", False, "wanted")]
    found = plan_start(KEEPING, Observed(kept, connections={"a": connections}))
    if cause:
        assert str(found) == plan(
            f"remove a: {cause}", f"create {FIRST}: replaced", "start: requested"
        )
        assert found.steps[0].notable
    else:
        assert ops(found) == [Op.REUSE, Op.START]


def test_a_kept_container_that_is_of_no_use() -> None:
    """One that took no new environment is replaced, for the reason that the Engine gave."""
    kept = [Instance("a", False, "wanted")]
    assert text(KEEPING, instances=kept, useless={"a": "it cannot take a new token: no"}) == plan(
        "remove a: it cannot take a new token: no",
        f"create {FIRST}: replaced",
        "start: requested",
    )


def test_an_image_without_a_shell() -> None:
    """What was made to be kept cannot be: it makes way for one that is for this start only."""
    cause = "for one start only: lab has no /bin/sh"
    made = [Instance("a", False, "wanted")]
    assert text(KEEPING, instances=made, useless={"a": cause}, shell=False) == plan(
        f"remove a: {cause}",
        f"create {FIRST} for one start: {cause}",
        "start: requested",
    )


# --- volumes -----------------------------------------------------------------------------------


def test_volumes_come_first() -> None:
    """Each is claimed, or looked at where ``extra_host_config`` mounts it, before all else."""
    desired = replace(DESIRED, volumes={"files": OURS}, past_us=("data", "files"))
    assert text(desired) == plan(
        "claim volume files: it may be missing, or somebody else's",
        "look at volume data: it may be somebody else's",
        f"create {FIRST}: none exists",
        "start: requested",
    )
    known = {"files": OURS, "data": {}}
    assert text(desired, volumes=known) == plan(f"create {FIRST}: none exists", "start: requested")


def test_a_container_that_lends_its_mounts() -> None:
    """It is looked at, and then its volumes are; nobody else's is let in."""
    desired = replace(DESIRED, lenders=("tools",))
    create = (f"create {FIRST}: none exists", "start: requested")
    assert text(desired) == plan("look at the container tools: it may be somebody else's", *create)
    lent = {"tools": Lender({}, ("data",))}
    assert text(desired, lenders=lent) == plan(
        "look at volume data: it may be somebody else's", *create
    )
    assert text(desired, lenders=lent, volumes={"data": {}}) == plan(*create)
    assert text(desired, lenders={"tools": Lender()}) == plan(*create)
    for known in (
        {"lenders": lent, "volumes": {"data": OTHER}},
        {"lenders": {"tools": Lender(OTHER)}},
    ):
        with pytest.raises(ForeignObject):
            text(desired, **known)


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        (OTHER, "{user_server}"),
        (naming.labels(replace(KEY, hub="physics")), "hub_id = 'physics'"),
    ],
)
def test_a_strangers_volume(labels: dict[str, str], hint: str) -> None:
    """It is refused, with whose it is and what would tell the two apart."""
    with pytest.raises(ForeignObject, match="files") as refused:
        text(replace(DESIRED, volumes={"files": OURS}), volumes={"files": labels})
    assert describe_owner(labels) in str(refused.value)
    assert hint in refused.value.hint


@pytest.mark.parametrize("labels", [{}, OURS, {naming.LABEL_HUB: KEY.hub}])
def test_a_volume_that_may_be_used(labels: dict[str, str]) -> None:
    """One without labels was made by hand; ours is ours."""
    text(replace(DESIRED, volumes={"files": OURS}), volumes={"files": labels})


# --- names -------------------------------------------------------------------------------------


def test_a_strangers_name() -> None:
    """It is left alone: the second name is taken, and the cause says whose the first is."""
    assert text(holders={FIRST: Holder("x", OTHER)}) == plan(
        f"create {SECOND}: the container name {FIRST} is in use by server 'exp-1' of user 'bob' "
        "of the Hub 'hub-1'",
        "start: requested",
    )


def test_our_own_name() -> None:
    """A container of this server that no event told of makes way."""
    holders = {FIRST: Holder("x", {**OURS, naming.LABEL_CONTAINER: FIRST})}
    assert text(holders=holders) == plan(
        "remove x: ours, and unknown until now", f"create {FIRST}: replaced", "start: requested"
    )
    assert plan_start(DESIRED, Observed(holders=holders)).steps[0].notable
    gone = {FIRST: Holder()}
    assert text(holders=gone, replaced=True) == plan(
        f"create {FIRST}: replaced", "start: requested"
    )


@pytest.mark.parametrize("made_as", ["", "another"])
def test_a_copy_with_our_name(made_as: str) -> None:
    """Its labels are this server's, but they say another name or none: it is left alone."""
    holders = {FIRST: Holder("x", {**OURS, naming.LABEL_CONTAINER: made_as})}
    assert text(holders=holders) == plan(
        f"create {SECOND}: the container name {FIRST} is in use by {COPY}", "start: requested"
    )


def test_a_name_that_was_free_again() -> None:
    """The same name is tried once more."""
    assert text(holders={FIRST: Holder()}) == plan(
        f"create {FIRST}: none exists", "start: requested"
    )


def test_a_name_whose_holder_cannot_be_removed() -> None:
    """Docker calls it dead: nothing runs there, and the server starts under its second name."""
    observed = Observed(
        [Instance("x", False, "wanted")], holders={FIRST: Holder("x", OURS)}, stuck=frozenset("x")
    )
    found = plan_start(DESIRED, observed)
    assert [(step.op, step.target) for step in found] == [(Op.CREATE, SECOND), (Op.START, "")]


def test_all_names_are_strangers() -> None:
    """The refusal names the last one, whose it is, and the setting that helps."""
    holders = {FIRST: Holder("x", {}), SECOND: Holder("y", {naming.LABEL_HUB: "physics"})}
    with pytest.raises(ForeignObject, match=f"{SECOND}.*the Hub 'physics'") as refused:
        text(holders=holders)
    assert "prefix" in refused.value.hint


# --- whose -------------------------------------------------------------------------------------


def test_a_renamed_users_container_has_our_name() -> None:
    """Its labels are those of whoever has that name now; the Hub keeps its id for the other."""
    holder = Holder("theirs", {**OURS, naming.LABEL_CONTAINER: FIRST})
    desired = replace(DESIRED, server=ServerRef(KEY, own_id="mine", others={"theirs"}))
    found = text(desired, holders={FIRST: holder})
    assert f"create {SECOND}: the container name {FIRST} is in use" in found


# --- any of it ---------------------------------------------------------------------------------


@given(found=instances, keep=st.booleans())
def test_after_a_start_one_container_is_left(found: list[Instance], keep: bool) -> None:
    """Whatever was there, what is neither removed nor reused does not exist: one is left."""
    steps = [
        step
        for step in plan_start(replace(DESIRED, keep=keep), Observed(found))
        if step.op not in LOOKS
    ]
    removed = {step.target for step in steps if step.op is Op.REMOVE}
    reused = [step.target for step in steps if step.op is Op.REUSE]
    created = [step for step in steps if step.op is Op.CREATE]
    assert len(reused) + len(created) == 1
    assert {container.id for container in found} - removed == set(reused)
    assert steps[-1].op is Op.START
    assert all(step.cause for step in steps)


@given(found=instances, keep=st.booleans())
def test_stop_stops_what_runs_and_removes_unless_kept(found: list[Instance], keep: bool) -> None:
    """What runs, or is kept and to run, is stopped first; nothing is left unless it is kept."""
    steps = plan_stop(found, keep=keep)
    ending = [c.id for c in found if c.running or (keep and c.wanted)]
    assert [s.target for s in steps if s.op is Op.STOP] == ending
    removed = [s.target for s in steps if s.op is Op.REMOVE]
    assert removed == [c.id for c in found if not keep]


def test_the_text_of_a_stop() -> None:
    """One line a step."""
    found = [Instance("a", True, ""), Instance("b", False, "")]
    assert str(plan_stop(found, keep=False)) == plan(
        "stop a: requested",
        "remove a: it is not kept",
        "remove b: it is not kept",
    )
    assert str(plan_stop(found, keep=True)) == "stop a: requested"
    found = [Instance("a", True, "", wanted=True), Instance("b", False, "", wanted=True)]
    assert str(plan_stop(found, keep=True)) == plan(
        "stop a: requested", "stop b: it has ended by itself, and is to run still"
    )
    assert str(plan_stop(found[1:], keep=False)) == "remove b: it is not kept"
    assert str(Plan()) == ""


@given(found=instances)
def test_delete_removes_everything(found: list[Instance]) -> None:
    """A deleted server leaves no container, in whatever state."""
    steps = plan_delete(found)
    assert [step.target for step in steps] == [container.id for container in found]
    assert set(ops(steps)) <= {Op.REMOVE}
