"""The list of the Engine's calls: what it takes for one of them, and how the tests hold it true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support import apicalls

from dockernamed.engine.call import Call, refusal
from dockernamed.engine.calls import CALLS, known
from dockernamed.errors import BadRequest, CallNotAllowed, Conflict

HTML = b"<html><body><h1>403 Forbidden</h1>\nRequest forbidden by administrative rules.</html>"


@pytest.mark.parametrize(
    ("method", "path", "found"),
    [
        ("GET", "/v1.41/containers/json", "/containers/json"),
        ("GET", "/containers/json", "/containers/json"),
        ("GET", "/containers/jupyter-ann--exp-1/json", "/containers/{id}/json"),
        ("GET", "/images/quay.io/a/b:1/json", "/images/{image}/json"),
        ("GET", "/images/localhost:5000/a%40sha256:0a1b/json", "/images/{image}/json"),
        ("DELETE", "/volumes/home-ann.0a1b", "/volumes/{name}"),
        ("POST", "/containers/json", None),
        ("GET", "/containers/a/b/json", None),
        ("GET", "/containers/a%2fb/json", None),
        ("GET", "/containers/../json", None),
        ("GET", "/containers/json/", None),
        ("GET", "/v1.41/v1.41/containers/json", None),
        ("GET", "/containers/json\n", None),
        ("POST", "/containers/x/exec", "/containers/{id}/exec"),
        ("POST", "/containers/x/attach", None),
        ("DELETE", "/images/lab", None),
    ],
)
def test_what_is_a_call(method: str, path: str, found: str | None) -> None:
    """By method and whole path, with an API version or without; nothing hides in a name."""
    call = known(method, path)
    assert (call.path if call else None) == found


def test_no_call_is_listed_twice() -> None:
    """Each is there once, so that each rule of a proxy has its reason."""
    listed = [(call.method, call.path) for call in CALLS]
    assert len(listed) == len(set(listed))


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (403, HTML, CallNotAllowed),
        (403, b"", CallNotAllowed),
        (403, b"Forbidden", CallNotAllowed),
        (405, b"Method Not Allowed", CallNotAllowed),
        (403, b'{"message": "authorization denied by plugin opa: no"}', CallNotAllowed),
        (403, b'{"message": "network x has active endpoints"}', Conflict),
        (403, b'{"message": "operation not permitted"}', BadRequest),
        (400, b"", BadRequest),
    ],
)
def test_who_refuses(status: int, body: bytes, kind: type[Exception]) -> None:
    """A proxy or a plugin that allows no such call is told from the Engine, which refuses it."""
    error = refusal(Call("remove network x", "DELETE", "/networks/x"), status, body)
    assert type(error) is kind
    if kind is CallNotAllowed:
        assert "does not allow DELETE /networks/{id}, which is needed to" in error.message


def test_differences_are_told() -> None:
    """In both directions, but for what only the client's own tests do."""
    listed = ["GET /version", "GET /events"]
    made = {"GET /version", "POST /swarm/init", "POST /containers/0a1b/rename"}
    (told,) = apicalls.complaints(made, listed, all_of_them=False)
    assert told.startswith("POST /swarm/init: made, but not listed")
    missing, _ = apicalls.complaints(made, listed, all_of_them=True)
    assert missing.startswith("GET /events: listed in")


def test_calls_of_all_processes_are_read(tmp_path: Path) -> None:
    """Each process has a file of its own."""
    for number in range(2):
        apicalls.note(tmp_path / f"{number}.txt", f"GET /{number}")
        apicalls.note(tmp_path / f"{number}.txt", "GET /version")
    assert apicalls.noted(tmp_path) == {"GET /0", "GET /1", "GET /version"}


def test_the_examples_rules_name_nothing_else() -> None:
    """Whatever is allowed in examples/hardened comes from the list; what is left is denied."""
    file = Path(__file__).parents[2] / "examples" / "hardened" / "haproxy.cfg"
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    allowed = [line for line in lines if line.startswith("http-request allow")]
    rule = r"http-request allow if \{ method (\w+) \} \{ path_reg (\S+) \}"
    found = [re.fullmatch(rule, line) for line in allowed]
    assert [match.groups() for match in found if match] == [
        (call.method, call.pattern) for call in CALLS if not call.on_demand
    ]
    assert lines[lines.index(allowed[-1]) :].count("http-request deny") == 1
