"""What is done once for a whole Hub, when it starts, rather than for one server.

JupyterHub makes a spawner only when it needs one for a user's server, and has no hook for a spawner
class at its start. So when a Hub that reads its configuration asks the package for the class, the
package schedules this work for the moment when that Hub runs.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from jupyterhub.app import JupyterHub

from ..errors import ConfigError
from ..lifecycle.orphans import OrphanReaper
from ..options import chooser
from . import handlers, identity
from .ownership import servers_of
from .user_deletion import refuse_while_servers_run

if TYPE_CHECKING:
    from ..spawner import DockerNamedSpawner

_tasks: set[asyncio.Task[None]] = set()


def when_hub_runs(spawner_class: type[DockerNamedSpawner]) -> None:
    """Look after the Engine once the Hub that is starting in this process runs.

    Does nothing outside of a starting Hub: on import in a test or a script.
    """
    if not JupyterHub.initialized() or _tasks:
        return
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return
    app = JupyterHub.instance()
    app.observe(lambda _change: _add_handlers(app, spawner_class), "spawner_class")
    _background(loop.create_task(_look_after(app, spawner_class)))


def _add_handlers(app: JupyterHub, ours: type[DockerNamedSpawner]) -> None:
    """Add our REST handlers to those that the Hub's configuration names."""
    if not issubclass(app.spawner_class, ours):
        return
    for handler in handlers.default_handlers:
        if handler not in app.extra_handlers:
            app.extra_handlers.append(handler)


async def _look_after(app: JupyterHub, ours: type[DockerNamedSpawner]) -> None:
    # This runs when the Hub's start first awaits something: by then its configuration is read.
    if not issubclass(app.spawner_class, ours):
        return
    # One without a user, for its settings.
    settings = app.spawner_class(config=app.config)
    try:
        chooser.check(settings)
        if not settings.hub_id:
            identity.check(app)
    except ConfigError as error:
        app.log.critical("Bad config encountered during initialization: %s", error)
        app.exit(1)
    await asyncio.shield(app._start_future)
    refuse_while_servers_run(app.authenticator)
    hub_id = settings.hub_id or identity.hub_id_of(app.cookie_secret)
    runtime = settings.runtime(hub_id)
    if settings.prepull:
        _background(asyncio.ensure_future(settings.prepull_all(runtime)))
    if settings.orphans == "off":
        return
    reaper = OrphanReaper(
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
    )
    _background(asyncio.ensure_future(reaper.run()))


def _background(task: asyncio.Task[None]) -> None:
    _tasks.add(task)
    task.add_done_callback(_ended)


def _ended(task: asyncio.Task[None]) -> None:
    _tasks.discard(task)
    if not task.cancelled() and isinstance(task.exception(), Exception):
        JupyterHub.instance().log.error(
            "dockernamed: looking after the Engine failed", exc_info=task.exception()
        )
