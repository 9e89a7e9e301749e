"""What proves that a server is ready, and that it is this one and no other. Pure.

Something may answer at a server's address that is not the server: another program of the Engine's
host in its network, or a program in the container that knows nothing of the Hub.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from ..errors import ConfigError

#: Values of the setting ``readiness``; any other one is a path.
AS_JUPYTERHUB = "jupyterhub"
ANY_HTTP = "http"

#: JupyterHub's own header, in the answers of its single-user servers.
VERSION_HEADER = "x-jupyterhub-version"
_AUTHORIZE = "/api/oauth2/authorize"
#: What can stand in the first line of a request.
_PATH = re.compile(r"/[!-~]*")


@dataclass(frozen=True)
class Answer:
    """The head of an HTTP answer, and its first words.

    Attributes:
        status: HTTP status.
        reason: the words after it; may be empty.
        headers: name in lower case → value.
        words: the beginning of the body, as plain text; "" where it was not read.
    """

    status: int
    reason: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    words: str = ""

    def __str__(self) -> str:
        by = self.headers.get("server", "")
        said = f"{self.status} {self.reason}".strip() + (f" from {by}" if by else "")
        return f"{said}: {self.words}" if self.words else said


@dataclass(frozen=True)
class Proof:
    """What one server is asked for, and which answers prove that it is ready.

    Attributes:
        readiness: ``"jupyterhub"``, ``"http"``, or an absolute path on the server.
        base_url: the server's, such as ``/user/ann/lab/``.
        client_id: of the server at the Hub's OAuth provider.
    """

    readiness: str
    base_url: str
    client_id: str

    @property
    def path(self) -> str:
        """What to ask for. JupyterHub itself asks for ``{base_url}api``."""
        return self.readiness if self.readiness.startswith("/") else f"{self.base_url}api"

    def given_by(self, answer: Answer) -> bool:
        """Whether an answer to a request for `path` is the proof."""
        if self.readiness == ANY_HTTP:
            return answer.status < 500
        if self.readiness != AS_JUPYTERHUB:
            return 200 <= answer.status < 400
        client_id = _client_id(answer)
        if client_id:
            return client_id == self.client_id
        # The Hub itself, and single-user servers of others, have the header too. But the Hub
        # redirects such a request, and to the servers of others the path is unknown: 404.
        known = 200 <= answer.status < 300 or answer.status in (401, 403)
        return VERSION_HEADER in answer.headers and known

    def doubt(self, answer: Answer) -> str:
        """Why an answer is no proof, and what to look for, in words."""
        if self.readiness != AS_JUPYTERHUB:
            return f"answers, but not with the status 200 to 399 of readiness = {self.readiness!r}."
        if _client_id(answer) or VERSION_HEADER in answer.headers:
            return (
                "is answered by JupyterHub or by one of its servers, but not by this one: does "
                "another program use that port?"
            )
        return (
            "answers, but not as a JupyterHub server: does its command start jupyterhub-singleuser?"
        )


def checked_readiness(value: str) -> str:
    """The setting ``readiness`` if it has one of its forms.

    Raises:
        ConfigError: it has none.
    """
    if value in (AS_JUPYTERHUB, ANY_HTTP) or _PATH.fullmatch(value):
        return value
    hint = (
        f'expected "{AS_JUPYTERHUB}", "{ANY_HTTP}", or a path on the server that begins with "/", '
        'such as "/healthz" or "{base_url}healthz"'
    )
    raise ConfigError("readiness", value, hint)


def _client_id(answer: Answer) -> str:
    """Whom a redirect to a Hub's authorization is for; "" if it is no such redirect."""
    try:
        location = urlsplit(answer.headers.get("location", ""))
    except ValueError:
        return ""
    if not (300 <= answer.status < 400 and location.path.endswith(_AUTHORIZE)):
        return ""
    return parse_qs(location.query).get("client_id", [""])[0]
