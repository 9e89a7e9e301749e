"""The planner: pure decisions, each with its cause."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dockernamed.desired.plan import Observed, Op, plan_delete, plan_start, plan_stop

containers = st.lists(
    st.builds(
        Observed,
        id=st.uuids().map(str),
        running=st.booleans(),
        spec=st.sampled_from(["wanted", "other", ""]),
    ),
    max_size=4,
    unique_by=lambda container: container.id,
)


def ops(steps):
    return [step.op for step in steps]


def test_nothing_there_is_created_and_started():
    """A first start creates one container and starts it."""
    assert ops(plan_start("wanted", [], keep=False)) == [Op.CREATE, Op.START]


def test_a_kept_container_of_the_same_spec_is_used_again():
    """With ``remove = False`` a stopped container that still matches is started, not replaced."""
    steps = plan_start("wanted", [Observed("a", False, "wanted")], keep=True)
    assert [(step.op, step.target) for step in steps] == [(Op.REUSE, "a"), (Op.START, "")]


def test_a_kept_container_of_another_spec_is_replaced():
    """Another image or setting never resumes the old container; the cause says what changed."""
    made = Observed("a", False, "image:1,limits:1,mounts:1")
    steps = plan_start("image:2,limits:1,mounts:2", [made], keep=True)
    assert ops(steps) == [Op.REMOVE, Op.CREATE, Op.START]
    assert steps[0].cause == "not as wanted any more: image, mounts"


def test_a_running_leftover_is_never_reused():
    """A container that runs without the Hub knowing has a token that nobody can vouch for."""
    steps = plan_start("wanted", [Observed("a", True, "wanted")], keep=True)
    assert ops(steps) == [Op.REMOVE, Op.CREATE, Op.START]
    assert "does not know" in steps[0].cause


@given(observed=containers, keep=st.booleans())
def test_after_a_start_one_container_is_left(observed, keep):
    """Whatever was there, what is neither removed nor reused does not exist: one is left."""
    steps = plan_start("wanted", observed, keep=keep)
    removed = {step.target for step in steps if step.op is Op.REMOVE}
    reused = [step.target for step in steps if step.op is Op.REUSE]
    created = [step for step in steps if step.op is Op.CREATE]
    assert len(reused) + len(created) == 1
    assert {container.id for container in observed} - removed == set(reused)
    assert steps[-1].op is Op.START
    assert all(step.cause for step in steps)


@given(observed=containers, keep=st.booleans())
def test_stop_stops_what_runs_and_removes_unless_kept(observed, keep):
    """Each running container is stopped first; nothing is left unless containers are kept."""
    steps = plan_stop(observed, keep=keep)
    assert [s.target for s in steps if s.op is Op.STOP] == [c.id for c in observed if c.running]
    removed = [s.target for s in steps if s.op is Op.REMOVE]
    assert removed == [c.id for c in observed if not keep]


@given(observed=containers)
def test_delete_removes_everything(observed):
    """A deleted server leaves no container, in whatever state."""
    steps = plan_delete(observed)
    assert [step.target for step in steps] == [container.id for container in observed]
    assert set(ops(steps)) <= {Op.REMOVE}
