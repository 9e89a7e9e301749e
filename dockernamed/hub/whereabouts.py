"""Where a running server is: asked, proven to be that server, and told to the Hub and its proxy."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

from jupyterhub.utils import url_path_join

from ..backends.observed import NOWHERE
from ..desired.proof import Proof
from ..desired.resolved import KeptSettings
from ..errors import DockerNamedError
from ..lifecycle.readiness import url_of, wrong_answer
from ..lifecycle.runtime import Runtime
from ..timeouts import within
from .internal_ssl import ssl_context


def proof_of(spawner: Any, kept: KeptSettings) -> Proof:
    """What an answer must have to be that of a spawner's server."""
    return Proof(kept.readiness, spawner.server.base_url, spawner.oauth_client_id)


class Whereabouts:
    """Where one server is, as the Hub and its proxy have it.

    Args:
        spawner: the server's.
        runtime: the Engine as the Hub sees it.
        settings: those that the server was started with.
    """

    def __init__(
        self,
        spawner: Any,
        runtime: Callable[[], Runtime],
        settings: Callable[[], Awaitable[KeptSettings]],
    ) -> None:
        self._spawner, self._runtime, self._settings = spawner, runtime, settings
        self._proving: asyncio.Task[None] | None = None
        self._nowhere = False

    async def url(self) -> str:
        """The server's URL, with its path, as it is now: published ports change with the Engine.

        As JupyterHub has it: it compares the two at its start.
        """
        spawner = self._spawner
        try:
            return str(url_path_join(await self._url_now(), spawner.server.base_url))
        except DockerNamedError as error:
            # JupyterHub asks at its start, which must not fail because one server has just ended.
            spawner.log.warning("%s: keeping the URL as it was: %s", spawner._log_name, error)
            return str(spawner.server.url)

    async def follow(self) -> None:
        """Lead the Hub and its proxy to where the server is now."""
        spawner = self._spawner
        record = self._runtime().watcher.get(spawner.object_id)
        if record is not None and record.endpoint_fingerprint == NOWHERE:
            await self._lead_nowhere()
            return
        try:
            url = urlsplit(await self._url_now())
        except DockerNamedError as error:
            spawner.log.warning("Could not find out where %s is now: %s", spawner._log_name, error)
            return
        server = spawner.server
        if server is None:
            return
        if (server.ip, server.port) == (url.hostname, url.port):
            if not self._nowhere:
                return
        else:
            text = "%s is at %s now, not at %s"
            spawner.log.warning(text, spawner._log_name, url.netloc, server.host)
            server.ip, server.port = url.hostname, url.port
            spawner.user.db.commit()
        proxy = spawner.user.settings.get("proxy")
        if proxy is not None and not spawner.pending:
            self.stop()
            self._proving = asyncio.ensure_future(self._lead_proxy(proxy, url.geturl()))

    async def _lead_nowhere(self) -> None:
        """It is taken up again elsewhere: what answers where it was is not the server."""
        spawner = self._spawner
        proxy = spawner.user.settings.get("proxy")
        self.stop()
        self._nowhere = True
        if proxy is None or spawner.pending:
            return
        spawner.log.warning("%s is taken up again, and nowhere until then", spawner._log_name)
        try:
            await proxy.delete_user(spawner.user, spawner.name)
        except Exception:  # of whatever proxy this is
            spawner.log.exception("Could not lead the proxy away from %s", spawner._log_name)

    async def displaced(self, kept: KeptSettings | None) -> bool:
        """At the Hub's start: whether others have a server's port of the Engine's host by now."""
        if kept is None or not kept.on_host:
            return False
        timings = self._runtime().timings
        patience = timings.wrong_answers
        try:
            wrong = self._wrong_answer(kept, await self._url_now(), patience)
            return await within(patience + timings.probe_answer, wrong)
        except (DockerNamedError, asyncio.TimeoutError):
            return False  # JupyterHub asks as well

    def stop(self) -> None:
        """Prove nothing any more."""
        self._nowhere = False
        if self._proving is not None:
            self._proving.cancel()
            self._proving = None

    async def _url_now(self) -> str:
        kept = await self._settings()
        backend, spawner = self._runtime().backend, self._spawner
        endpoint = await backend.endpoint(spawner.object_id, kept.port, kept.access)
        return url_of(endpoint, secure=spawner.internal_ssl)

    async def _lead_proxy(self, proxy: Any, url: str) -> None:
        """Have the proxy lead to a URL of the server once that is proven to be the server's."""
        spawner = self._spawner
        try:
            # Where it was, somebody else may be by now.
            await proxy.delete_user(spawner.user, spawner.name)
            kept = await self._settings()
            if await self._wrong_answer(kept, url, self._runtime().timings.wrong_answers):
                await self._wrong_answer(kept, url)
            if not spawner.pending:
                await proxy.add_user(spawner.user, spawner.name)
        except Exception:  # of whatever proxy this is; JupyterHub adds missing routes by itself
            spawner.log.exception("Could not lead the proxy to %s", spawner._log_name)

    async def _wrong_answer(self, kept: KeptSettings, url: str, patience: float = math.inf) -> bool:
        """Ask until the server's proof comes; True after so many seconds of wrong answers."""
        spawner, timings = self._spawner, self._runtime().timings
        proof, context = proof_of(spawner, kept), ssl_context(spawner)
        wrong = await wrong_answer(url + proof.path, proof, context, timings, patience)
        if wrong is not None:
            doubt = proof.doubt(wrong)
            spawner.log.error("%s: %s %s (%s)", spawner._log_name, url, doubt, wrong)
        return wrong is not None
