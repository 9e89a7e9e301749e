"""The options that the Hub keeps for a server's next start: never those that were refused.

JupyterHub writes what was sent into its database before anybody has looked at it. So what was there
is put back at once, and what was sent is written once it is accepted. A Hub that is killed in
between has what it had before.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tornado import web

#: The statuses of a refusal that says nothing of the options: the same may be sent again later.
_LATER = frozenset({408, 423, 425, 429})


class KeptOptions:
    """The options of one server, as they were before a request and as it sent them.

    Args:
        spawner: the server's, with ``user_options`` as they are now.
    """

    def __init__(self, spawner: Any) -> None:
        self._spawner = spawner
        self._before: dict[str, Any] | None = None
        self._accepted = self._putting_back = False

    def arrived(self, before: object) -> None:
        """Other options were set, which nobody has looked at yet.

        Args:
            before: what they replace.
        """
        if self._putting_back:
            return
        self._before, self._accepted = before if isinstance(before, dict) else {}, False
        self._write(self._before)

    def accepted(self) -> None:
        """They may be kept, unless something later refuses them."""
        if self._before is not None:
            self._accepted = True
            self._write(self._spawner.user_options)

    def over(self) -> None:
        """The start is over, whatever came of it: what was not accepted by now never was."""
        if self._before is not None and not self._accepted:
            self._put_back(self._before)
        self._before = None

    @contextmanager
    def judged(self) -> Iterator[None]:
        """Forget options for which this refuses a start: a status of 400 to 499, but not 429."""
        try:
            yield
        except web.HTTPError as error:
            refused = 400 <= error.status_code < 500 and error.status_code not in _LATER
            if refused and self._before is not None:
                self._put_back(self._before)
            raise

    def _put_back(self, before: dict[str, Any]) -> None:
        self._putting_back = True
        try:
            self._spawner.user_options = before
        finally:
            self._putting_back = False
        self._before = None
        self._write(before)

    def _write(self, options: Any) -> None:
        row = self._spawner.orm_spawner
        if row.user_options != options:
            row.user_options = options
            self._spawner.user.db.commit()
