"""Waiting for a server's first answer, in steps short enough not to be felt."""

from __future__ import annotations

import asyncio
import ssl
from urllib.parse import urlsplit

from ..timeouts import within

FIRST_STEP_S = 0.01
LONGEST_STEP_S = 0.5
#: A step's share of the time waited so far: what waiting in steps can add to a start at most.
SHARE = 0.02
REQUEST_TIMEOUT_S = 5.0


async def answers(url: str, ssl_context: ssl.SSLContext | None = None) -> None:
    """Return as soon as something below 500 comes back from ``GET url``.

    It waits without end: the caller races it against the container's death and its own deadline.

    Args:
        url: absolute http or https URL.
        ssl_context: for https.
    """
    began = asyncio.get_running_loop().time()
    while True:
        try:
            status = await within(REQUEST_TIMEOUT_S, _status(url, ssl_context))
        except (OSError, ValueError, asyncio.TimeoutError):
            # Refused; or Docker's port proxy accepted before the server listens, and hung up.
            status = 599
        if status < 500:
            return
        waited = asyncio.get_running_loop().time() - began
        await asyncio.sleep(min(max(FIRST_STEP_S, SHARE * waited), LONGEST_STEP_S))


async def _status(url: str, ssl_context: ssl.SSLContext | None) -> int:
    """The status of one request.

    The first line is all we want, most tries end before it, and any of them may be cancelled at
    any moment, which HTTP clients report as errors of their own.
    """
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=ssl_context)
    try:
        request = f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        writer.write(f"{request}Connection: close\r\nAccept: */*\r\n\r\n".encode())
        version, status, *_ = (await reader.readline()).split(maxsplit=2)
        if not version.startswith(b"HTTP/"):
            raise ValueError("not HTTP")
        return int(status)
    finally:
        writer.close()
