"""From a container's start to its server's first answer, or to the reason why there is none."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from urllib.parse import urlsplit

from ..backends.watcher import ObservedContainer
from ..desired.network import Access, Endpoint
from ..errors import NotFound, ServerDied, ServerSilent
from ..timeouts import within
from ..timings import DEFAULT, Timings
from .redact import hidden, printable
from .runtime import Runtime

#: Characters at most of a failed server's last lines: they may be of any length.
MAX_QUOTED = 4000
#: A step's share of the time waited so far: what waiting in steps can add to a start at most.
SHARE = 0.02


class ReadinessProbe:
    """One start, from the moment its clock runs.

    Args:
        runtime: the Engine.
        seconds: how long the whole start may take; JupyterHub cancels it then.
        log_lines: how many of a failed server's last lines to quote.
        ssl_context: for a server that speaks https.

    Attributes:
        env: the server's environment; its secrets are kept out of what is quoted.
        too_late: set once the time was up: why. JupyterHub may cancel before it could be raised.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        seconds: float,
        log_lines: int,
        ssl_context: ssl.SSLContext | None,
    ) -> None:
        self._runtime, self._log_lines = runtime, log_lines
        self._ssl, self._seconds = ssl_context, seconds
        self.env: Mapping[str, str] = {}
        self._deadline = asyncio.get_running_loop().time() + seconds
        self.too_late: ServerSilent | None = None

    async def first_answer(
        self, port: int, access: Access, path: str, container_id: str
    ) -> Endpoint:
        """Race the server's first answer against its container's death and the clock.

        Args:
            port: of the server in its container.
            access: how to get there.
            path: what to ask for.
            container_id: which container.

        Raises:
            ServerDied: it ended.
            ServerSilent: the time is up.
        """
        try:
            running = await self._runtime.backend.endpoint(container_id, port, access)
        except (ServerDied, NotFound):
            raise await self._post_mortem(container_id) from None
        url = url_of(running, secure=self._ssl is not None) + path
        ready = asyncio.ensure_future(answers(url, self._ssl, self._runtime.timings))
        dead = asyncio.ensure_future(self._runtime.watcher.wait_dead(container_id))
        try:
            await asyncio.wait(
                {ready, dead}, timeout=self._time_left(), return_when=asyncio.FIRST_COMPLETED
            )
            if ready.done():
                ready.result()
                return running
            if not dead.done():
                self.too_late = ServerSilent(url, self._seconds, None)
            death = await self._post_mortem(container_id, dead.result() if dead.done() else None)
        finally:
            ready.cancel()
            dead.cancel()
        if self.too_late is None:
            raise death
        self.too_late = ServerSilent(url, self._seconds, death.log)
        raise self.too_late

    def _time_left(self) -> float:
        timings = self._runtime.timings
        margin = min(timings.explain_failure, self._seconds * timings.explain_failure_share)
        return max(0.0, self._deadline - margin - asyncio.get_running_loop().time())

    async def _post_mortem(
        self, container_id: str, end: ObservedContainer | None = None
    ) -> ServerDied:
        death = await self._runtime.backend.post_mortem(container_id, self._log_lines, end)
        log = None if death.log is None else hidden(printable(death.log), self.env)
        if log is not None and len(log) > MAX_QUOTED:
            log = f"…{log[-MAX_QUOTED:]}"
        return ServerDied(death.exit_code, death.oom, log)


def url_of(running: Endpoint, *, secure: bool) -> str:
    """Where a server is, without a path."""
    host = f"[{running.host}]" if ":" in running.host else running.host
    return f"{'https' if secure else 'http'}://{host}:{running.port}"


async def answers(
    url: str, ssl_context: ssl.SSLContext | None = None, timings: Timings = DEFAULT
) -> None:
    """Return as soon as something below 500 comes back from ``GET url``.

    It waits without end: the caller races it against the container's death and its own deadline.

    Args:
        url: absolute http or https URL.
        ssl_context: for https.
        timings: how often it is asked, and how long one answer may take.
    """
    began = asyncio.get_running_loop().time()
    while True:
        try:
            status = await within(timings.probe_answer, _status(url, ssl_context))
        except (OSError, ValueError, asyncio.TimeoutError):
            # Refused; or Docker's port proxy accepted before the server listens, and hung up.
            status = 599
        if status < 500:
            return
        waited = asyncio.get_running_loop().time() - began
        await asyncio.sleep(min(max(timings.first_probe, SHARE * waited), timings.longest_probe))


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
