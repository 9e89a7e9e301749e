"""What tests of a server's life ask of it, as JupyterHub drives it."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Callable
from contextvars import copy_context
from types import SimpleNamespace
from typing import Any

import pytest
from tornado import web

from dockernamed import DockerNamedSpawner
from dockernamed.desired.private import ENV_FILE
from dockernamed.hub.asker import answering
from support.fake_engine import FakeEngine
from support.stage import contents
from support.stub_hub import Hub, of_server

MakeHub = Callable[..., Hub]


async def refused(hub: Hub, server: str = "exp-1", options: Any = None) -> web.HTTPError:
    """What a start is refused with; nothing is left of it, neither at the Hub."""
    with pytest.raises(web.HTTPError) as caught:
        await hub.spawn(server, options=options)
    error: Any = caught.value
    assert error.jupyterhub_message
    assert not hub.spawner(server).active
    return caught.value


class Reader:
    """A request of somebody whom the Hub knows; see `dockernamed.hub.asker`.

    Args:
        name: of the user.
        scopes: what the request may do.
        token: it was made with a token, not by a browser in which the user has signed in.
    """

    def __init__(self, name: str = "", *scopes: str, token: bool = False) -> None:
        self._jupyterhub_user = SimpleNamespace(name=name, kind="user") if name else None
        self._scopes, self._token = scopes, token

    def has_scope(self, scope: str) -> bool:
        """As JupyterHub's handlers have it."""
        return scope in self._scopes

    def get_token(self) -> object:
        """Likewise."""
        return object() if self._token else None


def message(error: Any, reader: Reader | None = None, *, html: bool = False) -> str:
    """As somebody sees it, the server's owner unless another one is given."""
    reader = reader or Reader("ann", "access:servers!server={}/{}".format(*error._server))
    what = "jupyterhub_html_message" if html else "jupyterhub_message"

    def read() -> str:
        answering(reader)
        return str(getattr(error, what))

    return copy_context().run(read)


def env_of(fake: FakeEngine, server: str = "exp-1") -> dict[str, str]:
    """The environment of a server's process: its container's, and what the shell takes up."""
    (container,) = of_server(fake, server)
    handed_over = shlex.split(contents(container).get(ENV_FILE, b"").decode())
    pairs = (entry.partition("=") for entry in (*container.config["Env"], *handed_over))
    return {name: value for name, equals, value in pairs if equals}


class Told:
    """The Hub's callback for a server that ended by itself."""

    def __init__(self, spawner: DockerNamedSpawner) -> None:
        self._spawner = spawner
        self.status: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        spawner.add_poll_callback(self._call)

    async def _call(self) -> None:
        self.status.set_result(await self._spawner.poll())

    async def exit_code(self) -> int | None:
        """Wait for the call."""
        return await asyncio.wait_for(self.status, 30)
