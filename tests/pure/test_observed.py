"""What is known of a container by the Engine's lists and inspects."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dockernamed.backends.observed import ObservedContainer, State
from dockernamed.backends.observed_containers import from_list, state_of, updated


def listed(**changes: Any) -> ObservedContainer:
    """A record as read from a list."""
    labels = {"dockernamed.hub": "hub-1", "dockernamed.user": "ann", "dockernamed.server": ""}
    item = {"Id": "a" * 64, "Names": ["/n"], "State": "running", "Labels": labels, **changes}
    record = from_list(item)
    assert record is not None
    return record


@pytest.mark.parametrize(
    ("state", "status", "more", "expected"),
    [
        ("created", "Created", {}, (State.CREATED, None)),
        ("running", "Up 2 hours (unhealthy)", {}, (State.RUNNING, None)),
        ("paused", "Up 2 hours (Paused)", {}, (State.RUNNING, None)),
        ("restarting", "Restarting (1) 2 seconds ago", {}, (State.RUNNING, None)),
        ("exited", "Exited (137) About a minute ago", {}, (State.EXITED, 137)),
        ("exited", "", {"ExitCode": 3}, (State.EXITED, 3)),
        ("exited", "", {}, (State.EXITED, None)),
        ("dead", "Dead", {}, (State.EXITED, None)),
        ("removing", "Removal In Progress", {}, (State.EXITED, None)),
        ("Configured", "", {}, (State.CREATED, None)),
        ("something new", "", {}, (State.RUNNING, None)),
    ],
)
def test_states_in_lists(
    state: str, status: str, more: dict[str, Any], expected: tuple[State, int | None]
) -> None:
    """Each state of Docker and Podman is one of ours; an unknown one is not taken for an end."""
    record = listed(State=state, Status=status, **more)
    assert (record.state, record.exit_code) == expected


def test_odd_items() -> None:
    """What a list's item may lack is empty; without an id, or whose it is, it is none."""
    assert listed(Names=None).name == ""
    labels = {"dockernamed.user": "ann", "dockernamed.server": ""}
    assert from_list({"Names": ["/n"], "Labels": labels}) is None
    assert from_list({"Id": "a" * 64, "Labels": None}) is None


def test_list_knows_less() -> None:
    """A list takes neither exit code nor reason from what is known to have ended so."""
    known = replace(listed(State="exited"), exit_code=137, oom=True, image="lab:1")
    silent = listed(State="exited", Status="", Image="sha256:0")
    assert updated(known, silent) == known
    assert updated(known, listed(State="exited", Status="Exited (137) now")) == known
    other = updated(known, listed(State="exited", Status="Exited (0) now"))
    assert (other.exit_code, other.oom) == (0, False), "it ran again meanwhile"
    running = listed()
    assert updated(running, listed(State="created")) == running, "the list is behind"
    assert updated(running, listed(Names=["/renamed"])).name == "renamed"


def test_state_from_inspect() -> None:
    """An inspect tells the whole state."""
    ended = {"State": {"Status": "exited", "ExitCode": 137, "OOMKilled": True}}
    assert state_of(ended) == {"state": State.EXITED, "exit_code": 137, "oom": True}
    runs = {"State": {"Status": "running", "ExitCode": 0, "OOMKilled": True}}
    assert state_of(runs) == {"state": State.RUNNING, "exit_code": None, "oom": False}
