"""The list of the Engine's calls: what it takes for one of them, and how the tests hold it true."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from support import apicalls

from dockernamed.engine.call import Call, refusal
from dockernamed.engine.calls import CALLS, known
from dockernamed.errors import (
    BadRequest,
    CallNotAllowed,
    Conflict,
    EngineFailed,
    NameTaken,
    NotAManager,
    NotFound,
)

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
        ("POST", "/v1.41/services/0a1b/update", "/services/{id}/update"),
        ("GET", "/tasks/0a1b/logs", "/tasks/{id}/logs"),
        ("POST", "/swarm/leave", None),
        ("GET", "/secrets/0a1b", None),
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


@pytest.mark.parametrize(
    ("method", "path", "status", "message", "kind"),
    [
        (
            "POST",
            "/services/create",
            409,
            "rpc error: code = AlreadyExists desc = name conflicts with an existing object",
            NameTaken,
        ),
        ("POST", "/secrets/create", 409, "desc = secret s already exists", NameTaken),
        ("POST", "/configs/create", 409, "desc = config s already exists", NameTaken),
        ("POST", "/services/create", 500, "network nonet not found", NotFound),
        ("POST", "/services/x/update", 500, "network nonet not found", NotFound),
        ("POST", "/services/x/update", 500, "desc = update out of sequence", Conflict),
        ("POST", "/configs/x/update", 500, "desc = update out of sequence", Conflict),
        (
            "DELETE",
            "/secrets/s",
            400,
            "desc = secret 's' is in use by the following service: b",
            Conflict,
        ),
        ("POST", "/services/create", 400, "desc = secret not found: nope", BadRequest),
        ("GET", "/services", 500, "desc = The swarm does not have a leader.", EngineFailed),
        ("GET", "/services", 503, "Swarm is encrypted and needs to be unlocked", EngineFailed),
        (
            "GET",
            "/services",
            503,
            "This node is not a swarm manager. Manager is being prepared or has trouble connecting",
            EngineFailed,
        ),
        (
            "GET",
            "/services",
            503,
            'This node is not a swarm manager. Use "docker swarm init" or "docker swarm join".',
            NotAManager,
        ),
        (
            "GET",
            "/services",
            503,
            "This node is not a swarm manager. Worker nodes can't be used to view or modify it.",
            NotAManager,
        ),
    ],
)
def test_what_a_manager_refuses(
    method: str, path: str, status: int, message: str, kind: type[Exception]
) -> None:
    """A Swarm's answers become the errors that tell what can be done, whatever their status."""
    body = f'{{"message": {json.dumps(message)}}}'.encode()
    error = refusal(Call("do it", method, path), status, body)
    assert type(error) is kind
    assert message.rstrip(".") in error.message


def test_who_is_no_manager_learns_what_to_do() -> None:
    """The admin reads which setting to change, and whoever may start servers what is wrong."""
    body = b'{"message": "This node is not a swarm manager. Worker nodes are none."}'
    error = refusal(Call("list nodes", "GET", "/nodes"), 503, body)
    assert "DOCKER_HOST" in str(error)
    assert "docker swarm init" in str(error)
    assert error.public == "Docker Engine: cannot list nodes (503): it is not a manager of a Swarm"


def test_differences_are_told() -> None:
    """In both directions."""
    listed = ["GET /version", "GET /events"]
    made = {"GET /version", "POST /swarm/init"}
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
