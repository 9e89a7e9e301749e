"""Why an Engine cannot be reached, and what to do about it, in the words of its Hub's log."""

from __future__ import annotations

import re

from ..errors import ConfigError, DockerNamedError, EngineError
from .trust import without_password

_START = "no Engine runs there: start it (systemctl start docker)"
_ADDRESS = 'set DOCKER_HOST or c.DockerNamedSpawner.client_kwargs = {"base_url": …} to where it is'

#: Pattern in what the system says, what it means and what to do.
_REASONS: tuple[tuple[str, str], ...] = (
    (r"No such file|FileNotFound", f"{_START}, or {_ADDRESS}"),
    (r"refused", f"{_START}, or {_ADDRESS}"),
    (
        r"Permission denied",
        "the Hub's user may not open it: add that user to the group docker (usermod -aG docker "
        "USER), and start the Hub anew",
    ),
    (r"ame or service|ame resolution|getaddrinfo|nodename|DNS", f"no such host: {_ADDRESS}"),
    (r"no connection within|timed out|[Tt]imeout|unreachable|No route", "the host does not answer: "
     f"look at its firewall, or {_ADDRESS}"),
    (r"certificate|SSL|TLS|HTTP response to HTTPS", "see the setting tls_config"),
)  # fmt: skip


def in_words(error: DockerNamedError, url: str) -> str:
    """One line: where the Engine should be, what is wrong, and what to do.

    Args:
        error: of a call that did not reach it.
        url: where it should be.
    """
    url = without_password(url)
    if isinstance(error, ConfigError):
        where = "" if url in error.hint else f"{url}: "
        return f"{where}{error.hint}; {_ADDRESS}"
    said = error.message if isinstance(error, EngineError) else str(error)
    said = said.removesuffix(f" ({url})")
    advice = next((words for pattern, words in _REASONS if re.search(pattern, said)), "")
    return f"{url}: {said}" + (f"; {advice}" if advice else "")
