"""Tables of the documentation whose rows say which tests prove them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows(page: str, first: str) -> Iterator[tuple[str, str]]:
    """First and last cell of each row of the tables of a page that begin with a word.

    Args:
        page: below ``docs``.
        first: what the first cell of the table's head says.
    """
    inside = False
    for line in (ROOT / "docs" / page).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        if not cells:
            inside = False
        elif cells[0] == first:
            inside = True
        elif inside and cells[0].strip("-"):
            yield cells[0], cells[-1]


@cache
def functions_of(path: str) -> frozenset[str]:
    """The names of all functions of a file of tests."""
    tree = ast.parse((ROOT / path).read_text())
    defined = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, defined))
