"""docs/security.md: every promise names a test that exists, and every section makes promises."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "security.md"
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
ROW = re.compile(r"^\|(?P<promise>[^|]+)\|(?P<tests>.+)\|$")


def rows() -> Iterator[tuple[str, str]]:
    """Promise and tests of each row of the tables that begin with these words."""
    promises = False
    for line in PAGE.read_text().splitlines():
        row = ROW.match(line)
        if row is None:
            promises = False
        elif row["promise"].strip() == "promise":
            promises = True
        elif promises and row["promise"].strip("- "):
            yield row["promise"].strip(), row["tests"]


@cache
def functions_of(path: str) -> frozenset[str]:
    """The names of all functions of a file of tests."""
    tree = ast.parse((ROOT / path).read_text())
    defined = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, defined))


@pytest.mark.parametrize(("promise", "tests"), list(rows()))
def test_a_promise_names_tests_that_exist(promise: str, tests: str) -> None:
    """Each row of the page's tables names at least one test, and no test that is not there."""
    named = TEST.findall(tests)
    assert named, f"no test in this form: `tests/….py::test_…`: {tests}"
    assert [name for path, name in named if name not in functions_of(path)] == []
