"""Waiting for a server's first answer, in steps short enough not to be felt."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

FIRST_STEP_S = 0.01
LONGEST_STEP_S = 0.1
STEP_GROWTH = 1.2
REQUEST_TIMEOUT_S = 5.0


async def answers(url: str, ssl_context: ssl.SSLContext | None = None) -> None:
    """Return as soon as something below 500 comes back from ``GET url``.

    It waits without end: the caller races it against the container's death and its own deadline.
    A closed port costs no HTTP client: most steps of a start are refused connections.

    Args:
        url: absolute http or https URL.
        ssl_context: for https.
    """
    client = AsyncHTTPClient(force_instance=True)
    try:
        step = FIRST_STEP_S
        while not await _answers_now(client, url, ssl_context):
            await asyncio.sleep(step)
            step = min(step * STEP_GROWTH, LONGEST_STEP_S)
    finally:
        client.close()


async def _answers_now(
    client: AsyncHTTPClient, url: str, ssl_context: ssl.SSLContext | None
) -> bool:
    parts = urlsplit(url)
    try:
        opening = asyncio.open_connection(parts.hostname, parts.port)
        _, writer = await asyncio.wait_for(opening, REQUEST_TIMEOUT_S)
        writer.close()
    except (OSError, asyncio.TimeoutError):
        return False
    request = HTTPRequest(
        url,
        connect_timeout=REQUEST_TIMEOUT_S,
        request_timeout=REQUEST_TIMEOUT_S,
        follow_redirects=False,
        ssl_options=ssl_context,
    )
    try:
        await client.fetch(request)
    except HTTPClientError as error:
        return error.code < 500
    except (OSError, ssl.SSLError):
        # Docker's port proxy accepts before the server listens, and then resets.
        return False
    return True
