"""How the contract suite of backends orders things."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from dockernamed import naming
from dockernamed.backends.base import Things
from dockernamed.desired.accounts import Account
from dockernamed.desired.environment import Environment
from dockernamed.desired.isolation import OwnNetwork
from dockernamed.desired.private import PrivateFile
from dockernamed.desired.spec import ServerSpec
from support.engine.worlds import IMAGE, PORT, Program, World

START_ID = "a1b2c3"
#: Makes a thing that is removed after the test.
MakeThing = Callable[..., Awaitable[str]]
#: Makes a network that is removed after the test, and returns its name.
MakeNetwork = Callable[[], Awaitable[str]]


def spec_of(world: World, program: Program, name: str, **more: Any) -> ServerSpec:
    """What is wanted of a thing of this name that does this."""
    return ServerSpec(
        naming.Key(world.prefix, "ann", "x"),
        (name,),
        IMAGE,
        port=PORT,
        **{"config": world.config(name, program), **more},
    )


async def create_thing(
    world: World,
    things: Things,
    program: Program | None = None,
    *,
    name: str = "",
    env: Environment | None = None,
    files: Mapping[str, bytes] | None = None,
    start_id: str = START_ID,
    **spec: Any,
) -> str:
    """Create one, and return its id; further arguments are fields of its spec."""
    name, env = name or world.name(), env or Environment()
    wanted = spec_of(world, program or Program(), name, files=tuple(files or ()), **spec)
    id = await things.create(name, wanted, env, start_id)
    await hand_over(things, id, wanted, env, files)
    return id


async def hand_over(
    things: Things,
    id: str,
    spec: ServerSpec,
    env: Environment,
    files: Mapping[str, bytes] | None = None,
) -> None:
    """Give one that runs as root its files and its environment."""
    given = {path: PrivateFile(content) for path, content in (files or {}).items()}
    await things.hand_over(id, spec, env, given, Account(0, 0))


def network_of(world: World, *, overlay: bool) -> OwnNetwork:
    """A network for the servers of a user."""
    key = naming.Key(world.prefix, "ann", "x")
    return OwnNetwork.of(key, "user", prefix="p", overlay=overlay)
