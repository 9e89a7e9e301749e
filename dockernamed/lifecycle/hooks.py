"""The admin's hooks of one start: before its container is made, and after it was started."""

from __future__ import annotations

import asyncio
import copy
import inspect
import logging
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from ..backends.base import Executed
from ..desired.changes import HOOK, Changes, changes_between
from ..desired.environment import Environment, split
from ..desired.resolved import PostStart, ResolvedSettings
from ..desired.spec import ServerSpec, container_config
from ..desired.unsafe import Judge
from ..errors import IN_THE_LOG, CommandFailed, EngineError, EngineTimeout, EngineUnavailable
from ..timeouts import ended
from .readiness import ReadinessProbe
from .redact import masked
from .runtime import Runtime

#: The type of the setting `modify_container_hook`.
Hook = Callable[[Any, dict[str, Any]], Any]


async def modified(
    hook: Hook | None,
    spawner: object,
    settings: ResolvedSettings,
    env: Environment,
    made: Callable[[ResolvedSettings, Environment], ServerSpec],
    judge: Callable[[], Awaitable[Judge]],
) -> tuple[ServerSpec, Environment]:
    """The server's container, and its environment, as the admin's hook has them.

    Args:
        hook: the setting ``modify_container_hook``.
        spawner: what it is given first.
        settings: of the start.
        env: its whole environment.
        made: the container of such settings and environment.
        judge: gives the judge of what is safe to create.

    Raises:
        ConfigError: what it returned cannot be used, or gives away the Engine's host.
        Exception: whatever it raised.
    """
    if hook is None:
        return made(settings, env), env
    request = _request(made(settings, env), env)
    found = await _result(hook(spawner, given := copy.deepcopy(request)))
    changes = changes_between(request, given if found is None else found)
    await _refuse_unsafe(await judge(), changes)
    settings, env = _changed(settings, env, changes)
    return replace(made(settings, env), changes=changes.body), env


def _request(spec: ServerSpec, env: Environment) -> dict[str, Any]:
    """What the hook gets: how a shell hands over the secrets, and what they are, is no part."""
    shown = replace(env, secret={})
    body = container_config(spec, shown)
    plain = container_config(replace(spec, process=()), shown)
    words = {name: plain[name] for name in ("Entrypoint", "Cmd") if name in plain}
    return {key: body[key] for key in body if key not in ("Entrypoint", "Cmd")} | words


async def _refuse_unsafe(judge: Judge, changes: Changes) -> None:
    def look() -> None:
        judge.host_config(HOOK, changes.body.get("HostConfig") or {})
        judge.config(HOOK, {key: one for key, one in changes.body.items() if key != "HostConfig"})

    # In a thread: to follow links is to read a file system, perhaps a remote one.
    await asyncio.to_thread(look)


def _changed(
    settings: ResolvedSettings, env: Environment, changes: Changes
) -> tuple[ResolvedSettings, Environment]:
    """Settings and environment with those changes that have a place there."""
    config = dict(settings.config)
    if changes.env and config.get("Env"):
        config["Env"] = [
            entry for entry in config["Env"] if entry.partition("=")[0] not in changes.env
        ]
    if changes.entrypoint is not None:
        config["Entrypoint"] = list(changes.entrypoint)
    if changes.cmd is not None:
        config.pop("Cmd", None)
        settings = replace(settings, cmd=changes.cmd or None, args=())
    new = {**env.common, **env.personal, **changes.env}
    shown = {name: value for name, value in new.items() if value is not None}
    return replace(settings, config=config), split(shown, env.secret)


async def _result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


class AfterStart:
    """What is done in a container, and told of it, once its process runs.

    Args:
        runtime: the Engine.
        probe: of the same start; says how much time is left.
        log: the Hub's.
        who: the server, for the log.
        note: tells the user.
    """

    def __init__(
        self,
        runtime: Runtime,
        probe: ReadinessProbe,
        log: logging.Logger,
        who: str,
        note: Callable[[str], None],
    ) -> None:
        self._runtime, self._probe = runtime, probe
        self._log, self._who, self._note = log, who, note

    async def command(self, container_id: str, post_start: PostStart | None) -> None:
        """Run the setting ``post_start_cmd`` to its end.

        Raises:
            CommandFailed: it failed, and a start is to fail then.
            ServerDied: the container ended meanwhile.
            EngineError: the Engine could not be asked.
        """
        if post_start is None:
            return
        line = masked(self._probe.safe(shlex.join(post_start.command)))
        self._log.info("%s: running post_start_cmd: %s", self._who, line)
        self._note("Running the command of post_start_cmd")
        seconds = min(post_start.timeout, self._probe.time_left())
        running = asyncio.ensure_future(
            self._runtime.backend.execute(
                container_id, post_start.command, post_start.user, seconds
            )
        )
        dead = asyncio.ensure_future(self._runtime.watcher.wait_dead(container_id))
        try:
            await asyncio.wait({running, dead}, return_when=asyncio.FIRST_COMPLETED)
            if dead.done():
                raise await self._probe.post_mortem(container_id, dead.result())
            await self._judge(container_id, post_start, running, seconds)
        finally:
            await ended(running)
            await ended(dead)

    async def _judge(
        self, id: str, post_start: PostStart, running: asyncio.Future[Executed], seconds: float
    ) -> None:
        log: str | None = None
        try:
            done = running.result()
        except EngineTimeout:
            what = f"did not end within {seconds:g} seconds (post_start_timeout)"
        except EngineUnavailable:
            raise
        except EngineError as error:
            await self._require_running(id)
            self._log.error("%s: post_start_cmd: %s", self._who, error)
            what = f"could not be run; {IN_THE_LOG}"
        else:
            log = self._probe.quotable(done.output)
            for text in self._probe.safe(done.output).splitlines():
                self._log.info("%s: post_start_cmd: %s", self._who, text)
            if not done.exit_code:
                return
            # A container that ends takes all of its commands with it, with any exit code.
            await self._require_running(id)
            what = f"ended with exit code {done.exit_code}"
        if post_start.failure == "fail":
            raise CommandFailed(f"the command of post_start_cmd {what}", log)
        self._log.warning("%s: post_start_cmd %s; starting anyway", self._who, what)
        self._note(f"The command of post_start_cmd {what}; the server starts without it")

    async def _require_running(self, id: str) -> None:
        if not await self._runtime.backend.is_running(id):
            raise await self._probe.post_mortem(id)

    async def hook(self, container_id: str, hook: Hook | None, spawner: object) -> None:
        """Call the setting ``post_start_hook`` with what the Engine says of the container.

        Raises:
            EngineError: the Engine could not be asked.
            Exception: whatever it raised.
        """
        if hook is None:
            return
        container = await self._runtime.parts.details(container_id)
        await _result(hook(spawner, container))
