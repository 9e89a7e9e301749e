"""Which calls of the Engine's API dockernamed makes, in all processes of a run of the tests.

Each process adds the calls that it makes first to a file of its own, in a folder that the run's
first process makes and reads at the end.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

#: Environment variable with the folder.
FOLDER = "DOCKERNAMED_TEST_CALLS"


def install() -> None:
    """Note the calls of this process; in a Hub's, by its config file."""
    folder = os.environ.get(FOLDER)
    if not folder:
        return
    from dockernamed.engine.calls import known
    from dockernamed.engine.transport import Transport

    send, noted = Transport._send, set[str]()

    async def noting(self: Transport, call: Any, prefix: str) -> Any:
        found = known(call.method, call.path)
        line = f"{found.method} {found.path}" if found else f"{call.method} {call.path}"
        if line not in noted:
            noted.add(line)
            note(Path(folder, f"{os.getpid()}.txt"), line)
        return await send(self, call, prefix)

    setattr(Transport, "_send", noting)  # noqa: B010  (of another type, for its arguments)


def note(file: Path, line: str) -> None:
    """Add a line."""
    with file.open("a", encoding="utf-8") as opened:
        opened.write(f"{line}\n")


def noted(folder: Path) -> set[str]:
    """All calls that were made, as ``METHOD PATH``; those that are known by their patterns."""
    files = folder.glob("*.txt")
    return {line for file in files for line in file.read_text(encoding="utf-8").splitlines()}


def complaints(made: set[str], listed: Iterable[str], *, all_of_them: bool) -> list[str]:
    """Where the calls that were made and the list of them differ, as sentences.

    Args:
        made: as `noted` has them.
        listed: what dockernamed/engine/calls.py lists.
        all_of_them: the tests that ran make every call.
    """
    wanted, table = set(listed), "dockernamed/engine/calls.py"
    found = [f"{call}: made, but not listed in {table}" for call in made - wanted]
    if all_of_them:
        found += [f"{call}: listed in {table}, but never made" for call in wanted - made]
    return sorted(found)
