"""Runs inside the Hub: reports every call of dockernamed that blocks the Hub's event loop.

A blocked loop blocks all users of a Hub. The report goes to a file, since the error itself may be
caught on its way; the harness fails the test when the file is not empty.
"""

from __future__ import annotations

import traceback
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import blockbuster.blockbuster as detector


def install(report: str) -> None:
    """Watch all calls made below a frame of dockernamed in the event loop's thread.

    JupyterHub itself writes its log and its sqlite database in the event loop: these are allowed.
    """

    class Reported(detector.BlockingError):
        def __init__(self, func: str) -> None:
            super().__init__(func)
            stack = "".join(traceback.format_stack(limit=25)[:-2])
            with Path(report).open("a", encoding="utf-8") as file:
                file.write(f"{self}\n{stack}\n")

    setattr(detector, "BlockingError", Reported)  # noqa: B010  (what the detector raises)
    # By its path alone: whether the package can be imported is for the Hub to find out.
    watched = ModuleType("dockernamed")
    found = find_spec("dockernamed")
    assert found is not None
    watched.__path__ = list(found.submodule_search_locations or ())
    guard = detector.BlockBuster(watched)
    for name in [name for name in guard.functions if name.startswith("sqlite3.")]:
        del guard.functions[name]
    for function in guard.functions.values():
        function.can_block_in("logging/__init__.py", {"emit", "handle", "acquire"})
        # JupyterHub renders it in its own loop: the file is ours, the waiting is not.
        function.can_block_in("dockernamed/templates/home.html", {"root"})
        # A measured Hub is stopped for a moment whenever coverage changes hands between threads.
        function.can_block_in("coverage/collector.py", {"lock_data", "unlock_data"})
        function.can_block_in("sqlalchemy/engine/default.py", {"do_execute", "do_commit"})
        function.can_block_in("sqlalchemy/pool/base.py", {"_do_get", "connect"})
    guard.activate()
