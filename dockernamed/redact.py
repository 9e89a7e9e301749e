"""Keep secrets out of what people are shown. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|PRIVATE", re.IGNORECASE)
#: Shorter values would take ordinary words out of a log.
MIN_LENGTH = 8
HIDDEN = "[hidden]"


def hidden(text: str, env: Mapping[str, str]) -> str:
    """A text without the values of the environment's secrets.

    Args:
        text: such as a crashed server's log.
        env: name → value; a name with TOKEN, SECRET, PASSW… in it holds a secret.
    """
    values = {
        value
        for name, value in env.items()
        if _SECRET_NAME.search(name) and len(value) >= MIN_LENGTH
    }
    # Longest first: one secret may be the beginning of another.
    for value in sorted(values, key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return text
