"""From the start of a server's container to its first answer, with the admin's hooks in between."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from ..desired.network import Endpoint
from ..desired.resolved import ResolvedSettings
from ..lifecycle.hooks import AfterStart
from ..lifecycle.progress import StartProgress
from ..lifecycle.readiness import ReadinessProbe
from ..lifecycle.runtime import Runtime
from ..timeouts import ended
from .advice import hub_advice
from .whereabouts import proof_of

#: Lines of the log of a server that does not answer, in which a reason is looked for.
MAX_LOG_LINES = 50


async def until_ready(
    spawner: Any,
    runtime: Runtime,
    probe: ReadinessProbe,
    progress: StartProgress,
    settings: ResolvedSettings,
    container_id: str,
) -> Endpoint:
    """Wait for a server's first answer, and say what happens meanwhile.

    Args:
        spawner: the server's.
        runtime: the Engine.
        probe: of the start.
        progress: of the start.
        settings: of the start.
        container_id: which container.

    Raises:
        ServerFailed: it ends, or does not answer in time, or its ``post_start_cmd`` fails.
        EngineError: the Engine could not be asked.
        Exception: what ``post_start_hook`` raised.
    """
    tell = partial(progress.tell, 70)
    after = AfterStart(runtime, probe, spawner.log, spawner._log_name, tell)
    await probe.until_it_runs(container_id, tell)
    await after.command(container_id, settings.post_start)
    await after.hook(container_id, spawner.post_start_hook, spawner)
    progress.tell(75, "Waiting for the server to answer")
    silence = asyncio.ensure_future(_explain_silence(spawner, runtime, progress, container_id))
    try:
        return await probe.first_answer(settings, proof_of(spawner, settings.kept), container_id)
    finally:
        await ended(silence)


async def _explain_silence(
    spawner: Any, runtime: Runtime, progress: StartProgress, container_id: str
) -> None:
    """Say what a server logged that takes long to answer, as soon as that tells why."""
    advice = ""
    while not advice:
        await asyncio.sleep(runtime.timings.explain_silence)
        log = await runtime.backend.last_words(container_id, MAX_LOG_LINES)
        advice = hub_advice(log, spawner)
    spawner.log.warning("%s: %s", spawner._log_name, advice)
    progress.tell(76, advice)
