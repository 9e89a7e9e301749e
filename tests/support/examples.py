"""With how many examples a property is checked: a few in each run, many when somebody searches.

Without ``DOCKERNAMED_EXPLORE`` the same examples are made each time, so that the same code passes
or fails again: that is a check. With it Hypothesis makes up others, and far more of them.
"""

from __future__ import annotations

import os

#: Whether this run searches for examples that nobody has thought of.
EXPLORE = bool(os.environ.get("DOCKERNAMED_EXPLORE"))


def examples(number: int) -> int:
    """So many, or fifty times as many in a search."""
    return 50 * number if EXPLORE else number
