"""Pages of promises: each names a test that exists, and every table makes promises."""

from __future__ import annotations

import pytest
from support.promises import TEST, functions_of, rows

#: Page, and the first words of its tables.
PAGES = [("security.md", "promise"), ("swarm.md", "what fails")]
PROMISES = [
    pytest.param(promise, tests, id=f"{page}: {promise}")
    for page, first in PAGES
    for promise, tests in rows(page, first)
]


@pytest.mark.parametrize(("promise", "tests"), PROMISES)
def test_a_promise_names_tests_that_exist(promise: str, tests: str) -> None:
    """Each row of the pages' tables names at least one test, and no test that is not there."""
    named = TEST.findall(tests)
    assert named, f"no test in this form: `tests/….py::test_…`: {tests}"
    assert [name for path, name in named if name not in functions_of(path)] == []


@pytest.mark.parametrize(
    ("page", "first"), [("security.md", "promise"), ("swarm.md", "what fails")]
)
def test_there_are_promises(page: str, first: str) -> None:
    """The tables are found."""
    assert len(list(rows(page, first))) > 10
