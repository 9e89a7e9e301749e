"""JupyterHub's own User, Server and Spawner over a database in memory, without a Hub around them.

`Hub.spawn`, `Hub.stop` and `Hub.delete` call what the Hub's handlers call, so that a spawner is
driven in the order that JupyterHub drives it, cancelled and cleaned up after as it does that.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sqlite3
from collections.abc import Mapping
from typing import Any
from unittest.mock import Mock
from weakref import WeakKeyDictionary

from jupyterhub import orm, roles
from jupyterhub.objects import Hub as HubInfo
from jupyterhub.user import User
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import StaticPool
from traitlets.config import Config

from dockernamed import DockerNamedSpawner, DockerNamedSwarmSpawner, naming
from dockernamed.lifecycle.runtime import Runtime
from dockernamed.naming import LABEL_SERVER, LABEL_USER
from dockernamed.timings import Timings
from support.fake_engine import Container, FakeEngine
from support.stage import IMAGE, QUICK

SECRET = b"a cookie secret"
BRIDGE = {"network_name": "bridge"}


#: Statement → what is sent for it. Made anew for each test's database, it took an eighth of a test.
_compiled: dict[Any, Any] = {}
_runtimes: WeakKeyDictionary[asyncio.AbstractEventLoop, list[Runtime]] = WeakKeyDictionary()


class Spawner(DockerNamedSpawner):
    """Ours; its runtimes are known to `runtimes`."""

    def runtime(self, hub_id: str) -> Runtime:
        """See `DockerNamedSpawner`."""
        found = DockerNamedSpawner.runtime(self, hub_id)
        if found not in runtimes():
            _runtimes.setdefault(asyncio.get_running_loop(), []).append(found)
        return found


class SwarmSpawner(DockerNamedSwarmSpawner):
    """The same for a Swarm."""

    runtime = Spawner.runtime


def spawners_with(timings: Timings, *, swarm: bool = False) -> type[DockerNamedSpawner]:
    """Our spawner at another pace."""
    return type("Spawner", (SwarmSpawner if swarm else Spawner,), {"timings": timings})


class Hub:
    """One Hub on one Engine; may be killed and started again over the same database.

    Args:
        url: of the Engine.
        timings: of our spawners.
        swarm: servers are services of a Swarm.
        settings: of DockerNamedSpawner.
    """

    def __init__(
        self, url: str, timings: Timings = QUICK, *, swarm: bool = False, **settings: Any
    ) -> None:
        self.url, self._timings = url, timings
        self.in_swarm(swarm)
        self.config: Mapping[str, Any] = settings
        self.db = session(copy_of(new_database()))
        self.info = HubInfo(ip="0.0.0.0", port=8081, base_url="/hub/", public_host="")
        self.extra: dict[str, Any] = {}
        self.users: dict[str, User] = {}

    def in_swarm(self, swarm: bool) -> None:
        """What servers are from now on, as its configuration has it."""
        self._swarm, self.spawner_class = swarm, spawners_with(self._timings, swarm=swarm)

    @property
    def settings(self) -> dict[str, Any]:
        """What JupyterHub hands to its users."""
        client = {"base_url": self.url, **self.config.get("client_kwargs", {})}
        # A poll tells nothing in time that has to be told at once.
        quick: dict[str, Any] = {"start_timeout": 60, "http_timeout": 60, "poll_interval": 3600}
        # The nodes of the fake Swarm have addresses of this machine alone. Nobody listens there.
        where = {"hub_connect_url": "http://127.0.0.1:8081"} if self._swarm else BRIDGE
        quick |= where
        config = Config()
        config.DockerNamedSpawner.update({"image": IMAGE, **quick, **self.config})
        config.DockerNamedSpawner.client_kwargs = client
        return {
            "base_url": "/",
            "allow_named_servers": True,
            "cookie_secret": SECRET,
            "spawner_class": self.spawner_class,
            "config": config,
            "hub": self.info,
            "statsd": Mock(),  # JupyterHub 5 counts failures there
            **self.extra,
        }

    def user(self, name: str = "ann") -> User:
        """A user, added when there is none of this name."""
        if name not in self.users:
            found = orm.User.find(self.db, name)
            if found is None:
                found = orm.User(name=name)
                self.db.add(found)
                self.db.commit()
                roles.assign_default_roles(self.db, entity=found)
            self.users[name] = User(found, self.settings, self.db)
        return self.users[name]

    def spawner(self, server: str = "", user: str = "ann") -> DockerNamedSpawner:
        """The spawner of a server, made when there is none."""
        owner = self.user(user)
        if server not in owner.orm_spawners:
            row = orm.Spawner(name=server)
            self.db.add(row)
            row.user = owner.orm_user
            self.db.commit()
        found: DockerNamedSpawner = owner.spawners[server]
        return found

    def spawning(
        self, server: str = "", user: str = "ann", options: Any = None
    ) -> asyncio.Task[Any]:
        """Begin to start a server as a request does."""
        spawner = self.spawner(server, user)
        owner = self.user(user)
        if spawner._failed:
            owner.spawners.pop(server)
            spawner = owner.spawners[server]
        spawner._spawn_pending = True
        task: asyncio.Task[Any] = asyncio.ensure_future(owner.spawn(server, options=options))
        spawner._spawn_future = task

        def over(_: object) -> None:
            spawner._spawn_pending = False

        task.add_done_callback(over)
        return task

    async def spawn(
        self, server: str = "", user: str = "ann", options: Any = None
    ) -> DockerNamedSpawner:
        """Start a server, and return its spawner."""
        await self.spawning(server, user, options)
        return self.spawner(server, user)

    async def stop(self, server: str = "", user: str = "ann") -> None:
        """Stop a server."""
        await self.user(user).stop(server)

    async def delete(self, server: str, user: str = "ann") -> None:
        """Delete a server for good, as ``{"remove": true}`` does."""
        owner = self.user(user)
        await owner._delete_spawner(self.spawner(server, user))
        owner.spawners.pop(server, None)
        self.db.delete(owner.orm_spawners[server])
        self.db.commit()

    async def rename(self, old: str, new: str, user: str = "ann") -> None:
        """Rename a server."""
        owner = self.user(user)
        await self.spawner(old, user).rename(old, new)
        owner.orm_spawners[old].name = new
        self.db.commit()
        owner.spawners.pop(old)

    async def restart(self, **settings: Any) -> None:
        """Come up again with nothing but the database, perhaps with other settings."""
        await close_runtimes()
        self.db.expire_all()
        self.users.clear()
        self.config = {**self.config, **settings}

    async def kill(self) -> None:
        """Come up after a kill -9 in the middle of whatever it did: nothing more was written."""
        written, tasks = copy_of(self.db), asyncio.all_tasks()
        # Its hands are tied first; then its tasks may end as they like.
        await close_runtimes()
        await end_tasks()
        for task in tasks:
            nobody_asks(task)
        self.close()
        self.db = session(written)
        await self.restart()

    def close(self) -> None:
        """Let go of the database."""
        engine = self.db.get_bind()
        assert isinstance(engine, Engine)
        self.db.close()
        engine.dispose()


def runtimes() -> list[Runtime]:
    """Those of this event loop."""
    return _runtimes.get(asyncio.get_running_loop(), [])


def runtime_of(spawner: DockerNamedSpawner) -> Runtime:
    """The one of a spawner, made when there is none."""
    return spawner.runtime(spawner.key.hub)


def names_of(spawner: DockerNamedSpawner) -> tuple[str, str]:
    """What its container is called, and what where somebody else has that name."""
    how = {"prefix": spawner.prefix, "template": spawner.name_template}
    return naming.object_name(spawner.key, **how), naming.object_name_for_hub(spawner.key, **how)


def runtime() -> Runtime:
    """The one of this event loop."""
    (found,) = runtimes()
    return found


def all_noted() -> bool:
    """It has been noted where the files of all services came to be that were started."""
    swarms: list[Any] = [one.parts.things for one in runtimes() if one.swarm]
    return not any(one._volumes._following for one in swarms)


def session(connection: sqlite3.Connection) -> Session:
    """A session as JupyterHub has one."""
    like = _engine()
    pool = StaticPool(lambda: connection, dialect=like.dialect)  # type: ignore[arg-type]
    engine = Engine(pool, like.dialect, like.url)
    engine.update_execution_options(compiled_cache=_compiled)
    return sessionmaker(bind=engine, expire_on_commit=False)()


@functools.cache
def _engine() -> Engine:
    """One whose dialect all databases share, and with it all statements that were compiled."""
    engine = create_engine("sqlite://")
    engine.connect().close()
    return engine


def copy_of(db: Session) -> sqlite3.Connection:
    """Another database in memory, with all that one has."""
    copy = sqlite3.connect(":memory:", check_same_thread=False)
    db.connection().connection.driver_connection.backup(copy)  # type: ignore[union-attr]
    return copy


@functools.cache
def new_database() -> Session:
    """What a Hub has at its first start: no users."""
    db = session(sqlite3.connect(":memory:", check_same_thread=False))
    orm.Base.metadata.create_all(db.get_bind())
    for role in roles.get_default_roles():
        roles.create_role(db, role)
    db.add(orm.OAuthClient(identifier="jupyterhub"))
    db.commit()
    return db


async def end_tasks() -> None:
    """Cancel all other tasks, and those that they begin when they end."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.wait(others)
        for task in others:
            nobody_asks(task)


def nobody_asks(task: asyncio.Task[Any]) -> None:
    """What a task of a Hub that was killed has raised is no news.

    Else it would be told when its memory is collected, in the middle of whatever goes on by then:
    before Python 3.12, Python cannot read code meanwhile.
    """
    if task.done() and not task.cancelled():
        task.exception()


async def close_runtimes() -> None:
    """End all threads and streams; calls under way are refused from now on."""
    while found := _runtimes.pop(asyncio.get_running_loop(), []):  # others may be made meanwhile
        for one in found:
            await one.close()


def of_server(fake: FakeEngine, server: str = "", user: str = "ann") -> list[Container]:
    """The containers of a server, by their labels."""
    return [
        one
        for one in fake.containers
        if (one.labels.get(LABEL_USER), one.labels.get(LABEL_SERVER)) == (user, server)
    ]


LOG = logging.getLogger("test")
