"""Secrets are kept out of the Hub's log, whichever line of it would have them.

Most lines with the Engine's words are ours, but a traceback may have them too, and it is JupyterHub
that writes those.
"""

from __future__ import annotations

import logging

from ..errors import PRIVATE
from ..lifecycle.redact import masked, secrets_in, without


class SecretsFilter(logging.Filter):
    """For a handler of a log: hides secrets in each line, and in its traceback.

    Args:
        handler: whose lines.
        secrets: values to hide; those that their form shows to be secrets are hidden besides.
    """

    def __init__(self, handler: logging.Handler, secrets: frozenset[str]) -> None:
        super().__init__()
        self._handler, self._secrets = handler, secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """Change what is to be written; never drop it."""
        try:
            message = record.getMessage()
        except Exception:  # as logging itself, tell of arguments that do not fit
            return True
        found = self._without(message)
        if found != message:
            record.msg, record.args = found, ()
        if record.exc_info and not record.exc_text:
            formatter = self._handler.formatter or logging.Formatter()
            record.exc_text = self._without(formatter.formatException(record.exc_info))
        return True

    def _without(self, text: str) -> str:
        return masked(without(text, self._secrets))


def hide_secrets(log: logging.Logger, settings: object) -> None:
    """Hide secrets in all that a log's handlers write from now on.

    Args:
        log: the Hub's.
        settings: a spawner without a user, in whose settings the secrets are.
    """
    values = [getattr(settings, name, None) for name in PRIVATE]
    secrets = frozenset(secrets_in(values))
    for handler in _handlers(log):
        handler.addFilter(SecretsFilter(handler, secrets))


def _handlers(log: logging.Logger) -> list[logging.Handler]:
    found: list[logging.Handler] = []
    where: logging.Logger | None = log
    while where is not None:
        found += where.handlers
        where = where.parent if where.propagate else None
    return found
