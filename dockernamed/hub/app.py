"""What is done once for a whole Hub, when it starts, rather than for one server.

JupyterHub makes a spawner only when a user's server is looked at, and has no hook for a spawner
class at its start. So the package, when a Hub that reads its configuration asks it for the class,
asks for a word as soon as that Hub runs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jupyterhub import orm
from jupyterhub.app import JupyterHub

from ..errors import ConfigError
from ..lifecycle.orphans import Known, OrphanReaper
from ..options import chooser
from . import handlers

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
    except ConfigError as error:
        app.log.critical("Bad config encountered during initialization: %s", error)
        app.exit(1)
    await asyncio.shield(app._start_future)
    hub_id = settings.hub_id or ours.derived_hub_id(app.cookie_secret)
    runtime = settings.runtime(hub_id)
    if settings.prepull:
        _background(asyncio.ensure_future(settings.prepull_all(runtime)))
    if settings.orphans == "off":
        return
    keeper = OrphanReaper(
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
    )
    _background(asyncio.ensure_future(keeper.run()))


def servers_of(app: Any) -> Iterator[Known]:
    """All servers that a Hub knows, running or not: one query, no wrapper is made for it."""
    rows = app.db.query(orm.User.id, orm.User.name, orm.Spawner).join(
        orm.Spawner, orm.Spawner.user_id == orm.User.id
    )
    for user_id, user_name, found in rows:
        # dict.get: UserDict's own makes a User for each one asked for.
        user = dict.get(app.users, user_id)
        spawner = user.spawners[found.name] if user and found.name in user.spawners else None
        state = found.state or {}
        yield Known(
            user=user_name,
            server=found.name,
            active=found.server_id is not None or (spawner is not None and spawner.active),
            object_id=getattr(spawner, "object_id", "") or state.get("object_id", ""),
        )


def _background(task: asyncio.Task[None]) -> None:
    _tasks.add(task)
    task.add_done_callback(_ended)


def _ended(task: asyncio.Task[None]) -> None:
    _tasks.discard(task)
    if not task.cancelled() and isinstance(task.exception(), Exception):
        JupyterHub.instance().log.error(
            "dockernamed: looking after the Engine failed", exc_info=task.exception()
        )
