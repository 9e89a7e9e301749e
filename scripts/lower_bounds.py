"""Print the oldest versions that pyproject.toml allows, as constraints of pip.

    python3 scripts/lower_bounds.py >constraints.txt

Each `NAME>=VERSION` in the project's dependencies becomes `NAME==VERSION`, so that an environment
of the lower bounds is made of all of them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:  # any Python has to do, without anything installed
    from pip._vendor import tomli as tomllib

PYPROJECT = Path(__file__).resolve().parent.parent / "pyproject.toml"


def lower_bounds(requirements: Iterable[str]) -> list[str]:
    """The requirements, each with its lower bound as the only version.

    Raises:
        ValueError: a requirement has no lower bound.
    """
    bounds = []
    for requirement in requirements:
        found = re.fullmatch(r"([\w.-]+)(?:\[.*\])?\s*>=\s*([\w.]+)(?:\s*,.*)?", requirement)
        if found is None:
            raise ValueError(
                f"pyproject.toml: {requirement!r} has no lower bound, as in 'name>=1.2'"
            )
        bounds.append(f"{found[1]}=={found[2]}")
    return bounds


def main() -> None:
    """Print them."""
    project: dict[str, Any] = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    print("\n".join(lower_bounds(project["dependencies"])))


if __name__ == "__main__":
    main()
