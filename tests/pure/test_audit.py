"""scripts/audit.py: a vulnerability is a failure, and silence no good answer."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "audit.py"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    """The script."""
    spec = importlib.util.spec_from_file_location("dockernamed_audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def program(folder: Path, answer: str) -> str:
    """What takes the place of pip-audit."""
    (folder / "answer").write_text(answer)
    made = folder / "pip-audit"
    made.write_text(f'#!/bin/sh\necho "cannot reach it" >&2\ncat {folder}/answer\n')
    made.chmod(0o755)
    return str(made)


def said(*packages: dict[str, object]) -> str:
    """As pip-audit says it."""
    return json.dumps({"dependencies": packages, "fixes": []})


GOOD: dict[str, object] = {"name": "good", "version": "1", "vulns": []}
BAD: dict[str, object] = {"name": "bad", "version": "1", "vulns": [{"id": "CVE-1"}]}
UNKNOWN: dict[str, object] = {"name": "unknown", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("answer", "required", "code", "told"),
    [
        (said(GOOD, GOOD), True, 0, "2 of 2 packages audited, 0 vulnerable"),
        (said(GOOD, BAD), False, 1, "CVE-1"),
        (said(GOOD, UNKNOWN), False, 0, "nothing is known of them"),
        (said(GOOD, UNKNOWN), True, 1, "1 of 2 packages audited"),
        (said(BAD, UNKNOWN), False, 1, "nothing is known of them"),
        ("", False, 0, "cannot reach it"),
        ("", True, 1, "0 of 2 packages audited"),
    ],
)
def test_what_an_answer_means(
    audit: ModuleType,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    required: bool,
    code: int,
    told: str,
) -> None:
    """Exit code and words, where the data can be reached and where they cannot."""
    monkeypatch.setattr(audit, "needed", lambda root: {"one": "1", "two": "1"})
    monkeypatch.setenv("DOCKERNAMED_AUDIT", "required" if required else "")
    assert audit.main(program(tmp_path, answer)) == code
    assert told in capsys.readouterr().out


def test_what_is_audited(audit: ModuleType) -> None:
    """What the package needs, and what that needs; not what tests it."""
    needed = audit.needed("dockernamed")
    assert {"jupyterhub", "tornado", "docker", "requests"} <= needed.keys()
    assert not {"dockernamed", "pytest", "mypy", "ruff"} & needed.keys()
