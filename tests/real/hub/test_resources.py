"""Something that the Engine has only so much of, or no longer: told clearly, nothing half made.

A full disk is in test_own_engine.py.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeAlias

import pytest
from support.hub.client import server_path
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import Hub, Hubs
from support.ports import free_port

PORT = free_port()
# Of the block for benchmarks, which nobody has: room for the gateway and one container.
SUBNET = f"198.18.{random.randrange(256)}.{random.randrange(64) * 4}/30"

CONFIG = """
    import asyncio
    import docker
    from docker.utils import kwargs_from_env

    going = {{"{prefix}-gone:latest"}}

    def remove(image):
        client = docker.APIClient(**kwargs_from_env())
        client.remove_image(image, force=True)
        client.close()

    async def at_the_last_moment(spawner):
        # Asked when the image has been looked for, before the container is created.
        if spawner.image in going:
            going.remove(spawner.image)
            await asyncio.to_thread(remove, spawner.image)

    c.DockerNamedSpawner.environment = {{"LAST_MOMENT": at_the_last_moment}}
    c.DockerNamedSpawner.profile_list = {profiles!r}
"""


def volume(driver: str, **options: str) -> dict[str, Any]:
    """A setting that mounts a further volume of a driver."""
    config = {"Name": driver, "Options": options}
    source = "{prefix}-{user_server}-more"
    mount = {"type": "volume", "source": source, "target": "/more", "driver_config": config}
    return {"mounts": [mount]}


def profiles(prefix: str) -> list[dict[str, Any]]:
    """One for each resource, and one that needs none of them."""
    overrides: dict[str, dict[str, Any]] = {
        "fine": {},
        "port": {"extra_host_config": {"port_bindings": {8888: ("127.0.0.1", PORT)}}},
        "addresses": {"network_name": f"{prefix}-small"},
        "memory": {"mem_limit": "4M"},
        "driver": volume("no-such-driver"),
        "storage": {
            **volume("local", type="ext4", device="/dev/no-such-disk"),
            "allow_unsafe": ["host-devices"],
        },
        "size": {"storage_opt": {"size": "1G"}},
        "image": {"image": f"{prefix}-gone:latest"},
    }
    return [
        {"slug": name, "display_name": name, "spawner_override": override}
        for name, override in overrides.items()
    ]


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub with a profile for each resource."""
    prefix = hubs.prefix()
    config = CONFIG.format(prefix=prefix, profiles=profiles(prefix))
    with hubs.running(config, prefix=prefix) as hub:
        yield hub


# --- what uses a resource up, and gives it back


@contextmanager
def port_taken(hub: Hub) -> Iterator[None]:
    """A program of the Engine's host listens there."""
    with socket.create_server(("127.0.0.1", PORT)):
        yield


@contextmanager
def addresses_taken(hub: Hub) -> Iterator[None]:
    """The one address of a small network is in use."""
    client = hub.docker.client
    ipam = {"Driver": "default", "Config": [{"Subnet": SUBNET}]}
    network = hub.docker.network("small", ipam=ipam)
    host = client.create_host_config(network_mode=network)
    name = f"{hub.prefix}-neighbour"
    neighbour = client.create_container(BUSYBOX, name=name, host_config=host)
    client.start(neighbour)
    yield
    client.remove_container(neighbour, force=True)


@contextmanager
def image_going(hub: Hub) -> Iterator[None]:
    """The image is there until the last moment."""
    hub.docker.flavour("gone", "LABEL going=1")
    yield
    hub.docker.flavour("gone", "LABEL going=1")


def nothing(hub: Hub) -> AbstractContextManager[None]:
    """It is never there."""
    return nullcontext()


Use: TypeAlias = Callable[[Hub], AbstractContextManager[None]]
#: What uses it up; the choice that works then; words of the answer; words of the Engine, which may
#: quote what it was sent, and are in the Hub's log alone where they do.
CASES: dict[str, tuple[Use, str, tuple[str, ...], tuple[str, ...]]] = {
    "port": (port_taken, "port", ("already in use", "port_bindings"), (f"127.0.0.1:{PORT}",)),
    "addresses": (
        addresses_taken,
        "addresses",
        ("all addresses", "network_name = ", "-small'"),
        ("no available",),
    ),
    "memory": (nothing, "fine", ("mem_limit = 4194304",), ("6MB",)),
    "driver": (nothing, "fine", ("mounts", "docker plugin install"), ("no-such-driver",)),
    "storage": (nothing, "fine", ("mounts", "could not mount"), ("/dev/no-such-disk",)),
    "size": (nothing, "fine", ("storage_opt = {'size': '1G'}", "pquota"), ()),
    "image": (image_going, "image", ("No such image", "image = ", "-gone:latest'", "again"), ()),
}


@pytest.mark.parametrize("case", CASES)
def test_at_its_end(hub: Hub, user: str, case: str) -> None:
    """The answer says which setting it is about, and what helps; nothing is half made.

    What the Engine says of it is in the Hub's log, and in the answer where it quotes nothing.

    Then the server starts: with the resource back, or with another choice.
    """
    use_up, then, said, logged = CASES[case]
    hub.add_user(user)
    before = [volume["Name"] for volume in hub.docker.volumes()]
    with use_up(hub):
        answer = hub.api("POST", server_path(user, "exp"), {"profile": case})
        assert answer.status == 500
        missing = [words for words in said if words not in answer.message]
        assert missing == [], answer.message
        assert [words for words in logged if words not in hub.log()] == []
        assert [words for words in logged if words in answer.message] == []
        assert hub.servers(user) == {}
        hub.docker.nothing_of(user)
        assert [volume["Name"] for volume in hub.docker.volumes()] == before
    hub.spawn(user, "exp", {"profile": then})
    hub.halt(user, "exp")
