"""The Hub's log, in which no text of a user looks like a line, a colour or a direction of its own.

Names and options may hold any character. Line breaks in a record are indented by the log's own
formatter; what else ends a line, moves the cursor or turns text around is written as its code.
"""

from __future__ import annotations

import logging

from .. import naming


class PlainText(logging.Filter):
    """Writes out what cannot be seen, of all records that pass."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change a record that has such characters; every record passes."""
        try:
            text = record.getMessage()
        except Exception:  # whatever is wrong with it is told by the handler
            return True
        if not text.isprintable():
            record.msg, record.args = naming.shown(text, keep="\n\t"), None
        return True


def write_plain_text(log: logging.Logger) -> None:
    """Have all that a logger writes go through `PlainText`; again changes nothing."""
    for handler in log.handlers:
        if not any(isinstance(one, PlainText) for one in handler.filters):
            handler.addFilter(PlainText())
