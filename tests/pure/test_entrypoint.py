"""A new personal environment for a container that is used again."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from dockernamed.desired import entrypoint
from dockernamed.desired.private import ENV_FILE

TEXTS = [
    "t0k3n",
    'it\'s $HOME `id` \\ "x"',
    "two\nlines",
    "ends with lines\n\n",
    "ä\u2028\u202e",
    "",
    bytes(range(1, 256)).decode("utf-8", "surrogateescape"),
    "x" * 100_000,
]
IMAGE = {"Entrypoint": ["tini", "--"], "Cmd": ["lab"]}


@pytest.mark.parametrize(
    ("config", "command", "process"),
    [
        ({}, None, ("tini", "--", "lab")),
        ({}, ["sh", "-c", "x"], ("tini", "--", "sh", "-c", "x")),
        ({"Entrypoint": ["start"]}, None, ("start",)),
        ({"Entrypoint": ["start"]}, ["lab", "-v"], ("start", "lab", "-v")),
        ({"Cmd": ["notebook"]}, ["lab"], ("tini", "--", "notebook")),
    ],
)
def test_process(config: dict[str, Any], command: list[str] | None, process: tuple[str]) -> None:
    """What Docker would run, by its own rules of ENTRYPOINT and CMD."""
    assert entrypoint.process_of(config, IMAGE, command) == process


def test_process_of_an_image_that_says_nothing() -> None:
    """Such an image needs a command; nothing is made up."""
    assert entrypoint.process_of({}, {"Entrypoint": None, "Cmd": None}, None) == ()


@pytest.mark.parametrize("text", TEXTS)
def test_a_real_shell_takes_the_variables_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    """Whatever is in a value; what is not personal stays as it was, and words stay words."""
    file = tmp_path / "env"
    file.write_bytes(entrypoint.variables({"JUPYTERHUB_API_TOKEN": text}))
    monkeypatch.setattr(entrypoint, "_TAKE_UP", entrypoint._TAKE_UP.replace(ENV_FILE, str(file)))
    show = 'printf "%s|%s|%s" "$JUPYTERHUB_API_TOKEN" "$OTHER" "$1"'
    line = [*entrypoint.shell_line(), "sh", "-c", show, "me", "a  b"]
    env = {"JUPYTERHUB_API_TOKEN": "old", "OTHER": "stays", "PATH": "/usr/bin:/bin"}
    assert printed(line, env) == f"{text}|stays|a  b"
    file.unlink()
    assert printed(line, env) == "old|stays|a  b"


def test_all_that_is_personal_is_this_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is gone is unset, what is new is there, and what the admin fixed stays as it is."""
    file = tmp_path / "env"
    new = {"JUPYTERHUB_USER": "ann", "JUPYTERHUB_API_TOKEN": "new"}
    file.write_bytes(entrypoint.variables(new, fixed={"JUPYTERHUB_PUBLIC_URL"}))
    monkeypatch.setattr(entrypoint, "_TAKE_UP", entrypoint._TAKE_UP.replace(ENV_FILE, str(file)))
    names = ["ADMIN_ACCESS", "API_TOKEN", "PUBLIC_URL", "USER"]
    show = "; ".join(f'echo "${{JUPYTERHUB_{name}-unset}}"' for name in names)
    before = {f"JUPYTERHUB_{name}": "old" for name in names}
    line = [*entrypoint.shell_line(), "sh", "-c", show]
    assert printed(line, {"PATH": "/usr/bin:/bin", **before}).split() == [
        "unset", "new", "old", "ann"
    ]  # fmt: skip


def printed(line: list[str], env: dict[str, str]) -> str:
    """What a command line writes."""
    return subprocess.run(
        line, env=env, stdout=subprocess.PIPE, check=True, timeout=30
    ).stdout.decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(("name", "survives"), [("A_1", True), ("a.b", False), ("1A", False)])
def test_names_that_survive_a_shell(name: str, survives: bool) -> None:
    """Some shells drop variables that they could not write."""
    assert entrypoint.unfit_for_a_shell(["PATH", name]) == ([] if survives else [name])
