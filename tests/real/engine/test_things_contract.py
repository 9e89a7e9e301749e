"""What every backend does, asked of each one over the fake Engine and over a real one."""

from __future__ import annotations

from support.engine.contract import *  # noqa: F403  (the tests)
