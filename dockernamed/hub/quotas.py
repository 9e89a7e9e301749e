"""Whether there is room for one more server: decided before anything is pulled or made.

What counts is read anew at each start, from the Hub's database and from the starts that are under
way, so nothing that has ended can go on counting. Between the look and the promise nothing else
runs, so two starts never get the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from jupyterhub import orm
from sqlalchemy import or_

from .. import naming
from ..desired.gpus import choose, own_counts
from ..desired.quotas import InUse, Promise, bounds, check, server_name
from ..desired.resolved import ResolvedSettings, ServerState
from ..errors import LimitReached
from ..lifecycle.runtime import Runtime
from .ownership import STATE


async def admit(
    spawner: Any,
    runtime: Runtime,
    settings: ResolvedSettings,
    had: Collection[str],
    starts: Callable[[], bool],
) -> ResolvedSettings:
    """Promise a server what it needs of what servers share.

    Args:
        spawner: that is about to start it.
        runtime: the Engine.
        settings: of the start.
        had: ids of the GPUs of its last start.
        starts: whether this start is still under way.

    Returns:
        The settings with the GPUs that are the server's own from now on.

    Raises:
        LimitReached: there is no room just now.
        OptionsError: there is never room for what was chosen.
        ConfigError: the settings do not tell what the server needs, or which GPUs there are.
        EngineError: the Engine could not be asked for its GPUs.
    """
    key, user = settings.key, spawner.user
    devices: Mapping[str, str] = {}
    held: Mapping[str, str] = {}
    if settings.gpu_count:
        devices = await runtime.gpus.devices(spawner.gpu_devices)
        held = await runtime.gpus.held(key)
    # From here to the promise, nothing may be awaited.
    groups = [group.name for group in user.groups]
    limits = bounds(spawner, user.name, groups, lambda group: members(user.db, group))
    in_use = servers_that_count(spawner, runtime) if limits or settings.gpu_count else []
    try:
        check(limits, in_use, user.name, settings.promise)
        if settings.gpu_count:
            settings = _with_gpus(spawner, settings, had, devices, held, in_use)
    except LimitReached as error:
        if error.log:
            spawner.log.warning("%s: %s (%s)", spawner._log_name, error, error.log)
        raise
    runtime.promises.make(key, settings.promise, starts)
    return settings


def _with_gpus(
    spawner: Any,
    settings: ResolvedSettings,
    had: Collection[str],
    devices: Mapping[str, str],
    held: Mapping[str, str],
    in_use: Collection[InUse],
) -> ResolvedSettings:
    taken = dict(held)
    for one in in_use:
        who = f"server {one.server!r} of user {one.user!r}"
        taken |= dict.fromkeys(one.promise.gpus, who)
    holders = [(one.user, one.server, one.promise.gpus) for one in in_use]
    own = own_counts(settings.key.user, holders, server_name)
    ids = choose(settings.gpu_count, devices, taken, had, own)
    if lost := [f"{one} ({taken[one]})" for one in had if one in taken]:
        spawner.log.info("%s: others have GPUs that it had: %s", spawner._log_name, "; ".join(lost))
    return settings.with_gpus({one: devices[one] for one in ids})


def servers_that_count(spawner: Any, runtime: Runtime) -> list[InUse]:
    """All servers of the Hub that run or start, but for one.

    Args:
        spawner: of that one.
        runtime: knows the starts.
    """
    row, key = spawner.orm_spawner, spawner.key
    starting = runtime.promises.of_starts()
    found = {
        one: InUse(one.user, one.server, promise, starting=True)
        for one, promise in starting.items()
        if one != key
    }
    noted = or_(STATE.contains('"promise"'), STATE.contains('"object_id"'))
    rows = (
        spawner.user.db.query(orm.User.name, orm.Spawner)
        .join(orm.User, orm.Spawner.user_id == orm.User.id)
        .filter(orm.Spawner.id != row.id, orm.Spawner.server_id.is_not(None), noted)
    )
    for user, other in rows:
        state = ServerState.from_json(other.state or {})
        if state.promise is not None or state.object_id:
            one = naming.Key(key.hub, user, other.name)
            found.setdefault(one, InUse(user, other.name, state.promise or Promise()))
    return list(found.values())


def members(db: Any, group: str) -> set[str]:
    """The names of a group's users."""
    return {name for (name,) in db.query(orm.User.name).join(orm.User.groups).filter_by(name=group)}
