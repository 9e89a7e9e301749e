"""Whether another Hub lives that has this one's id, such as one with a copy of its config.

Each container says in a label where its Hub is. A Hub that answers there, and is not this process,
has the container: its database knows what ours does not.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import ssl
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPResponse
from tornado.simple_httpclient import HTTPTimeoutError

from ..timeouts import within
from ..timings import DEFAULT

#: Tells this process from all other Hubs: handlers.HubHandler answers with it.
INSTANCE = secrets.token_hex(8)
#: Header of all that a Hub answers.
VERSION_HEADER = "X-JupyterHub-Version"
#: Where a Hub with our spawner says which one it is, below its API.
PATH = "/dockernamed/hub"

#: URLs at which this very process has answered.
_own: set[str] = set()


async def another_hub_at(api_url: str, patience: float = DEFAULT.other_hub) -> bool:
    """Whether a Hub answers there that is not this one.

    Who takes the connection, but is too busy to answer, or refuses our certificate, counts as a
    Hub: what it has must not be touched in doubt.

    Args:
        api_url: of a Hub's REST API, as its servers are told; "" is nobody's.
        patience: seconds to wait for a connection, and then for an answer.
    """
    if not api_url or api_url in _own or not await _listens(api_url, patience):
        return False
    try:
        # JupyterHub gives this client the certificates for internal_ssl.
        answer = await AsyncHTTPClient().fetch(
            api_url.rstrip("/") + PATH,
            request_timeout=patience,
            follow_redirects=False,
            raise_error=False,
        )
    except (HTTPTimeoutError, ssl.SSLError):
        return True
    except (HTTPClientError, OSError) as error:
        return isinstance(getattr(error, "real_error", None), ssl.SSLError)
    if VERSION_HEADER not in answer.headers:
        return False
    if _instance(answer) != INSTANCE:
        return True
    _own.add(api_url)
    return False


async def _listens(url: str, patience: float) -> bool:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        _, writer = await within(patience, asyncio.open_connection(parts.hostname, port))
    except (OSError, asyncio.TimeoutError):
        return False
    writer.close()
    return True


def _instance(answer: HTTPResponse) -> object:
    try:
        return json.loads(answer.body).get("instance")
    except (ValueError, AttributeError):
        return None  # a Hub of another spawner, or of an earlier version
