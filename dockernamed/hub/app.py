"""What is done once for a whole Hub, when it starts, rather than for one server.

JupyterHub makes a spawner only when it needs one for a user's server, and has no hook for a spawner
class at its start. So one method of JupyterHub's, which every Hub calls once it has read its
configuration, schedules this work where that names a spawner of ours.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from jupyterhub.app import JupyterHub

from ..errors import ConfigError
from ..lifecycle.orphans import OrphanReaper
from ..lifecycle.runtime import Runtime
from . import handlers, identity, internal_ssl, network_check, swarm_check
from .bodies import limit_bodies
from .config_check import check_config
from .log_filter import hide_secrets
from .log_text import write_plain_text
from .own_handlers import know_askers
from .ownership import servers_of
from .user_deletion import refuse_while_servers_run

if TYPE_CHECKING:
    from ..spawner import DockerNamedSpawner

_tasks: set[asyncio.Task[None]] = set()


def when_hub_runs(spawner_class: type[DockerNamedSpawner]) -> None:
    """Look after the Engine of each Hub that starts in this process with a spawner of ours.

    It does not matter how the Hub's configuration names the class, nor that an admin's own class is
    made from it. This has to be called before a Hub reads its configuration, and is: a JupyterHub
    loads the spawners of all entry points first.
    """
    init = JupyterHub.init_internal_ssl

    def begin(app: JupyterHub) -> None:
        # The first thing that JupyterHub does with its configuration and that servers depend on.
        if not issubclass(app.spawner_class, spawner_class):
            init(app)
            return
        for handler in handlers.default_handlers:
            if handler not in app.extra_handlers:
                app.extra_handlers.append(handler)
        with internal_ssl.hub_named(app):
            init(app)
        looking = asyncio.get_running_loop().create_task(_look_after(app, spawner_class))
        _background(looking)

    JupyterHub.init_internal_ssl = begin


async def _look_after(app: JupyterHub, ours: type[DockerNamedSpawner]) -> None:
    # This runs when the Hub's start first awaits something.
    if app.show_config or app.show_config_json:
        return
    limit_bodies()
    write_plain_text(app.log)
    settings = _checked(app, ours)
    hub_id = settings.hub_id or _hub_id(app)
    runtime = settings.runtime(hub_id)
    hub_ports = [urlsplit(url).port or 0 for url in (app.bind_url, app.hub_bind_url)]

    def tell_later(checked: bool) -> None:
        telling = network_check.tell(
            settings, runtime, app.log, [*hub_ports, app.hub_port], checked=checked
        )
        _background(asyncio.ensure_future(telling))
        if runtime.swarm:
            of_swarm = swarm_check.tell(
                settings, runtime, app.log, hub=app.hub, secure=app.internal_ssl
            )
            _background(asyncio.ensure_future(of_swarm))

    _before_start(
        app, network_check.before_start(settings, runtime, partial(_end, app), tell_later)
    )
    await asyncio.shield(app._start_future)
    refuse_while_servers_run(app.authenticator)
    _background(asyncio.ensure_future(settings.prepull_all(runtime)))
    if settings.orphans != "off" or runtime.swarm:  # files may be left to be deleted there
        reaper = _reaper(app, settings, runtime, hub_id)
        _background(asyncio.ensure_future(reaper.run()))


def _reaper(app: JupyterHub, settings: Any, runtime: Runtime, hub_id: str) -> OrphanReaper:
    """Looks for what no server stands for, as the Hub's configuration says."""
    return OrphanReaper(
        hub_id,
        runtime.watcher,
        runtime.backend,
        lambda: servers_of(app),
        keep=settings.keep_failed or not settings.remove,
        policy=settings.orphans,
        grace=settings.orphan_grace,
        stop_timeout=settings.stop_timeout,
        interval=settings.orphan_interval,
        log=settings.log,
        timings=runtime.timings,
        another_hub_at=runtime.another_hub_at,
        here=app.hub.api_url,
        networks=runtime.networks,
        hub_network=not runtime.swarm
        and settings.network_isolation in (None, "hub")
        and not settings.network_name,
    )


def _checked(app: JupyterHub, ours: type[DockerNamedSpawner]) -> Any:
    """A spawner without a user, for its settings; ends a Hub whose configuration cannot work."""
    used = app.spawner_class
    own_fields = any(
        getattr(used, name) is not getattr(ours, name)
        for name in ("template_namespace", "format_string")
    )
    findings = check_config(used, app.config, app.hub, only_our_fields=not own_fields)
    hide_secrets(app.log, findings.settings)
    if findings.fatal:
        _end(app, findings.fatal)
    for line in findings.unread:
        app.log.warning("This line of the configuration has no effect: %s", line)
    for note in findings.notes:
        app.log.warning("The way to the Engine: %s", note)
    return findings.settings


def _hub_id(app: JupyterHub) -> str:
    """The Hub's own; ends a Hub that cannot know it, and would give new homes to everybody."""
    try:
        return identity.hub_id_of(app.cookie_secret)
    except ConfigError as error:
        _end(app, [str(error)])
        raise


def _before_start(app: JupyterHub, check: Callable[[], Awaitable[None]]) -> None:
    """Have a check made before the Hub starts its proxy and listens, which it then does not leave.

    By then it has all of its handlers.

    Where traitlets shows a configuration instead of starting, it replaces this method likewise.
    """
    start = app.start

    async def checked_start() -> None:
        know_askers(app)
        await check()
        await start()

    app.start = checked_start


def _end(app: JupyterHub, lines: list[str]) -> None:
    listed = "".join(f"\n    {line}" for line in lines)
    app.log.critical("The configuration cannot work, so the Hub ends:%s", listed)
    app.exit(1)


def _background(task: asyncio.Task[None]) -> None:
    _tasks.add(task)
    task.add_done_callback(_ended)


def _ended(task: asyncio.Task[None]) -> None:
    _tasks.discard(task)
    if not task.cancelled() and isinstance(task.exception(), Exception):
        JupyterHub.instance().log.error(
            "dockernamed: looking after the Engine failed", exc_info=task.exception()
        )
