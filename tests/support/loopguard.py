"""Reports every call of dockernamed that blocks an event loop: a blocked one blocks all users.

Of a Hub's own process the reports go to a file, of the tests' process into a list, since the error
that the call raises may be caught on its way.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import blockbuster.blockbuster as detector


def install(report: str) -> None:
    """Watch this Hub for as long as it lives; the file ``report`` is there once something blocks.

    It runs in the Hub's config file.
    """

    def write(text: str) -> None:
        with Path(report).open("a", encoding="utf-8") as file:
            file.write(text)

    setattr(detector, "BlockingError", _reported(write))  # noqa: B010  (what the detector raises)
    _guard().activate()


@contextlib.contextmanager
def never_blocked() -> Iterator[None]:
    """Fail where dockernamed blocks an event loop meanwhile."""
    reports: list[str] = []
    guard, error = _guard(), detector.BlockingError
    setattr(detector, "BlockingError", _reported(reports.append))  # noqa: B010  (likewise)
    guard.activate()
    try:
        yield
    finally:
        guard.deactivate()
        setattr(detector, "BlockingError", error)  # noqa: B010
    assert not reports, "the event loop was blocked:\n" + "\n".join(reports)


def _reported(report: Callable[[str], object]) -> type[detector.BlockingError]:
    class Reported(detector.BlockingError):
        def __init__(self, func: str) -> None:
            super().__init__(func)
            stack = "".join(traceback.format_stack(limit=25)[:-2])
            report(f"{self}\n{stack}\n")

    return Reported


def _guard() -> detector.BlockBuster:
    """What watches all calls below a frame of dockernamed in an event loop's thread.

    JupyterHub itself writes its log and its sqlite database in the event loop: these are allowed.
    """
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
        function.can_block_in("dockernamed/options/templates/home.html", {"root"})
        # Before Python 3.12, Hypothesis traces each line of a test and looks up its file.
        function.can_block_in("hypothesis/internal/escalation.py", {"accept"})
        # What is measured is stopped for a moment whenever coverage changes hands between threads.
        function.can_block_in("coverage/collector.py", {"lock_data", "unlock_data"})
        function.can_block_in("sqlalchemy/engine/default.py", {"do_execute", "do_commit"})
        function.can_block_in("sqlalchemy/pool/base.py", {"_do_get", "connect"})
        # Certificates are made in the loop, and read there before the next ones are made.
        function.can_block_in("jupyterhub/spawner.py", {"create_certs"})
        function.can_block_in("dockernamed/engine/archive.py", {"certificates"})
        # The id of a Hub, once, before it serves anybody: all else needs it.
        function.can_block_in("dockernamed/hub/identity.py", {"hub_id_of"})
        # Before the Hub listens, there is nobody to wait; its own start goes on below ours.
        function.can_block_in("dockernamed/hub/config_check.py", {"_engine", "_engine_notes"})
        function.can_block_in("dockernamed/hub/app.py", {"checked_start"})
        # Its own certificates are made before that as well, with the names that we add to them.
        function.can_block_in("jupyterhub/app.py", {"init_internal_ssl"})
        # What a call is for is noted where it is made.
        function.can_block_in("support/apicalls.py", {"note"})
        # A test that acts on its Engine from a callback of ours.
        function.can_block_in("fake_engine/server.py", {"do", "call"})
    return guard
