"""From a container's start to its server's first answer, or to the reason why there is none."""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit

from ..backends.observed import NOWHERE, ObservedContainer, moved
from ..desired.network import Endpoint
from ..desired.proof import Answer, Proof
from ..desired.resolved import ResolvedSettings
from ..errors import (
    DockerNamedError,
    EngineTimeout,
    NeverRan,
    NotFound,
    NotRunningYet,
    ServerDied,
    ServerFailed,
    ServerSilent,
    WrongServer,
    shown,
)
from ..timeouts import retry, within
from ..timings import DEFAULT, Timings
from .redact import hidden, plain_text, printable, secrets_in
from .runtime import Runtime

LOG = logging.getLogger("dockernamed.readiness")

#: Characters at most of a failed server's last lines: they may be of any length.
MAX_QUOTED = 4000
#: A step's share of the time waited so far: what waiting in steps can add to a start at most.
SHARE = 0.02
#: Of an answer: lines of its head, bytes of its body, characters of that to quote.
MAX_HEADERS = 200
MAX_BODY = 4000
MAX_WORDS = 200


class ReadinessProbe:
    """One start, from the moment its clock runs.

    Args:
        runtime: the Engine.
        seconds: how long the whole start may take; JupyterHub cancels it then.
        log_lines: how many of a failed server's last lines to quote.
        ssl_context: for a server that speaks https.

    Attributes:
        env: the server's environment; its secrets are kept out of what is quoted.
        secrets: further words that are kept out of it.
        too_late: set once the time was up: why.
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
        self.secrets: Sequence[str] = ()
        self._deadline = asyncio.get_running_loop().time() + seconds
        self.too_late: ServerFailed | None = None

    async def until_it_runs(self, container_id: str, tell: Callable[[str], None]) -> None:
        """Wait until a server runs that was asked to: of a container that is so at once.

        Args:
            container_id: which.
            tell: told each time when what keeps it from running is another thing than before.

        Raises:
            ServerDied: it ended, also where it never ran and never will; or it failed, even if it
                is to be taken up again: a start is no time to wait for what may help against that.
            NeverRan: the time is up.
        """
        words = ""

        def is_news(now: ObservedContainer) -> bool:
            return _is_there(now) or _has_failed(now) or now.words not in ("", words)

        while True:
            record = self._runtime.watcher.get(container_id)
            if record is None or _has_failed(record):
                raise await self.post_mortem(container_id, record)
            if _is_there(record):
                return
            if is_news(record):
                words = record.words
                LOG.info("%s cannot run yet: %s", record.name, self._hidden(words))
                tell(f"The server cannot run yet: {shown(self._hidden(words))}")
            news = self._runtime.watcher.until(container_id, is_news)
            try:
                await within(self.time_left(), news)
            except asyncio.TimeoutError:
                self.too_late = NeverRan(self._seconds, self._hidden(words))
                raise self.too_late from None

    async def first_answer(
        self, settings: ResolvedSettings, proof: Proof, container_id: str
    ) -> Endpoint:
        """Race the server's proof that it is ready against its container's death and the clock.

        Args:
            settings: of this start.
            proof: which answer it must give.
            container_id: which container.

        Raises:
            ServerDied: it ended.
            WrongServer: others answer, or it answers as some other server.
            ServerSilent: the time is up.
        """
        while (found := await self._answered(settings, proof, container_id)) is None:
            # It has lost its node meanwhile, and is taken up again on another one.
            await self.until_it_runs(container_id, LOG.info)
        return found

    async def _answered(
        self, settings: ResolvedSettings, proof: Proof, container_id: str
    ) -> Endpoint | None:
        """One try of `first_answer`, while the server stays where it is; None: it does not."""
        kept, watcher = settings.kept, self._runtime.watcher
        before = watcher.get(container_id)

        async def look() -> Endpoint:
            return await self._runtime.backend.endpoint(container_id, kept.port, kept.access)

        try:
            running = await retry(look, self._until_too_late(), on=NotRunningYet)
        except (ServerDied, NotFound):
            end = watcher.get(container_id)
            end = end if end is not None and end.ended else None
            raise await self.post_mortem(container_id, end) from None
        url = url_of(running, secure=self._ssl is not None) + proof.path
        timings = self._runtime.timings
        patience = min(timings.wrong_answers, self.time_left() / 2)
        asked = asyncio.ensure_future(wrong_answer(url, proof, self._ssl, timings, patience))
        dead = asyncio.ensure_future(watcher.wait_dead(container_id))
        elsewhere = asyncio.ensure_future(
            watcher.until(container_id, lambda now: before is not None and _has_left(before, now))
        )
        racing = {asked, dead, elsewhere}
        try:
            await asyncio.wait(
                racing, timeout=self.time_left(), return_when=asyncio.FIRST_COMPLETED
            )
            if asked.done():
                self._require(asked.result(), url, proof, settings)
                return running
            if elsewhere.done() and not dead.done():
                return None
            if not dead.done():
                self.too_late = ServerSilent(url, self._seconds, None)
            death = await self.post_mortem(container_id, dead.result() if dead.done() else None)
        finally:
            for one in racing:
                one.cancel()
        if self.too_late is None:
            raise death
        self.too_late = ServerSilent(url, self._seconds, death.log)
        raise self.too_late

    def _until_too_late(self) -> Iterator[float]:
        """Pauses between two looks, as long as there is time for a further one."""
        pause = self._runtime.timings.look_at_task
        while self.time_left() > pause:
            yield pause

    def _require(
        self, wrong: Answer | None, url: str, proof: Proof, settings: ResolvedSettings
    ) -> None:
        if wrong is not None:
            raise WrongServer(
                url,
                self._hidden(str(wrong)),
                proof.doubt(wrong),
                image=settings.image,
                cmd=settings.cmd,
                port=settings.kept.port,
            )

    @property
    def all_secrets(self) -> set[str]:
        """What no message may have."""
        return {*self.secrets, *secrets_in(self.env)}

    def _hidden(self, text: str) -> str:
        return hidden(printable(text), self.env, secrets=self.secrets)

    def time_left(self) -> float:
        """Seconds until the start has to be over, but for what it takes to tell why it failed."""
        timings = self._runtime.timings
        margin = min(timings.explain_failure, self._seconds * timings.explain_failure_share)
        return max(0.0, self._deadline - margin - asyncio.get_running_loop().time())

    def why_cancelled(self) -> DockerNamedError | None:
        """Why a start was cancelled if that was for its time, which JupyterHub looks at as well."""
        if self.too_late is not None or self.time_left() > 0:
            return self.too_late
        return EngineTimeout("start the server", f"no answer within {self._seconds:g} s")

    async def post_mortem(
        self, container_id: str, end: ObservedContainer | None = None
    ) -> ServerDied:
        """What to say about a container that ended; ``end`` is what was heard of that."""
        death = await self._runtime.backend.post_mortem(container_id, self._log_lines, end)
        words = self._hidden(death.words)
        return ServerDied(death.exit_code, death.oom, self._safe(death.log), words)

    def quotable(self, output: str) -> str | None:
        """The last lines of what a command wrote; None where nothing is to be quoted."""
        lines = output.strip().splitlines()[-self._log_lines :] if self._log_lines else None
        return self._safe(None if lines is None else "\n".join(lines))

    def safe(self, output: str) -> str:
        """What a server or a command wrote, without secrets and what moves a cursor."""
        return self._hidden(output)

    def _safe(self, log: str | None) -> str | None:
        if log is not None:
            log = self._hidden(log)
            log = log if len(log) <= MAX_QUOTED else f"…{log[-MAX_QUOTED:]}"
        return log


def _has_failed(record: ObservedContainer) -> bool:
    return record.ended or record.restarts > 0


def _is_there(record: ObservedContainer) -> bool:
    return record.running and record.endpoint_fingerprint != NOWHERE


def _has_left(before: ObservedContainer, now: ObservedContainer) -> bool:
    return now.restarts > before.restarts or moved(before, now)


def url_of(running: Endpoint, *, secure: bool) -> str:
    """Where a server is, without a path."""
    host = f"[{running.host}]" if ":" in running.host else running.host
    return f"{'https' if secure else 'http'}://{host}:{running.port}"


async def wrong_answer(
    url: str,
    proof: Proof,
    ssl_context: ssl.SSLContext | None = None,
    timings: Timings = DEFAULT,
    patience: float = math.inf,
) -> Answer | None:
    """Ask until the proof comes, or nothing but wrong answers for some time.

    Without an answer, or with a status from 500 on, it waits without end: the caller races it
    against the container's death and its own deadline.

    Args:
        url: absolute http or https URL.
        proof: what is waited for.
        ssl_context: for https.
        timings: how often it is asked, and how long one answer may take.
        patience: seconds of wrong answers after which the last of them is returned.

    Returns:
        None once the proof has come, or else the wrong answer.
    """
    clock = asyncio.get_running_loop().time
    began, wrong_since = clock(), math.inf
    while True:
        try:
            answer = await within(timings.probe_answer, _ask(url, proof, ssl_context, timings))
        except (OSError, ValueError, asyncio.TimeoutError):
            # Refused; or Docker's port proxy accepted before the server listens, and hung up.
            answer = Answer(599)
        if proof.given_by(answer):
            return None
        wrong_since = math.inf if answer.status >= 500 else min(wrong_since, clock())
        if clock() - wrong_since >= patience:
            return answer
        waited = clock() - began
        await asyncio.sleep(min(max(timings.first_probe, SHARE * waited), timings.longest_probe))


async def _ask(
    url: str, proof: Proof, ssl_context: ssl.SSLContext | None, timings: Timings
) -> Answer:
    """One request, and the head of its answer; the first words too if it is not the proof.

    That is all we want, most tries end before it, and any of them may be cancelled at any moment,
    which HTTP clients report as errors of their own.
    """
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=ssl_context)
    try:
        target = f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"
        request = f"GET {target} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        writer.write(f"{request}Connection: close\r\nAccept: */*\r\n\r\n".encode())
        version, status, *reason = (await reader.readline()).split(maxsplit=2)
        if not version.startswith(b"HTTP/"):
            raise ValueError("not HTTP")
        said = b"".join(reason).decode("latin-1").strip()
        answer = Answer(int(status), said, await _headers(reader))
        if answer.status >= 500 or proof.given_by(answer):
            return answer
        return replace(answer, words=await _first_words(reader, timings.first_words))
    except OSError:
        # The streams keep it as well, and asyncio would report that nobody saw it there.
        with suppress(OSError):
            await writer.wait_closed()
        raise
    finally:
        writer.close()


async def _headers(reader: asyncio.StreamReader) -> dict[str, str]:
    headers = {}
    for _ in range(MAX_HEADERS):
        line = (await reader.readline()).strip()
        if not line:
            break
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    return headers


async def _first_words(reader: asyncio.StreamReader, patience: float) -> str:
    """What a person would read of the body's beginning; "" if nothing comes at once."""
    try:
        body = await within(patience, reader.read(MAX_BODY))
    except asyncio.TimeoutError:
        return ""
    words = plain_text(body.decode("utf-8", "replace"))
    return words if len(words) <= MAX_WORDS else f"{words[:MAX_WORDS]}…"
