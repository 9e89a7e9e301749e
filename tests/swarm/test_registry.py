"""Images of a private registry on the nodes of a real Swarm, which know no credentials of it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import replace

import docker
import pytest
from support.engine.registries import Registry, registry
from support.engine.worlds import connect
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import Hub
from support.hub.waiting import eventually
from support.swarm import Node, Swarm
from support.swarm.hubs import SwarmHubs
from support.swarm.view import SwarmView

from dockernamed.desired.node_images import prepull_service
from dockernamed.engine import swarm as calls
from dockernamed.engine.client import Engine
from dockernamed.errors import PullFailed
from dockernamed.images import reference
from dockernamed.images.node_images import NodeImage, NodeImages
from dockernamed.images.puller import Puller
from dockernamed.timings import DEFAULT

MB = 1_000_000
LOG = logging.getLogger("dockernamed.prepull")


@pytest.fixture
def store(swarm: Swarm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants a password, on this machine, where all nodes reach it."""
    folder = tmp_path_factory.mktemp("registry") / "files"
    with registry(folder, private=True, host=swarm.hub_address) as store:
        yield store


@pytest.fixture
async def engine(swarm: Swarm) -> AsyncIterator[Engine]:
    """The manager's."""
    engine = connect(swarm.manager.url)
    yield engine
    await engine.close()


@pytest.fixture
def images(engine: Engine, prefix: str) -> NodeImages:
    """What is tested."""
    timings = replace(DEFAULT, prepull_look=0.05, new_nodes=0.1)
    return NodeImages(calls.Swarm(engine), prefix, LOG, prefix=prefix.strip("-"), timings=timings)


def has(node: Node, image: str) -> bool:
    """Whether the Engine of a node has an image."""
    with suppress(docker.errors.ImageNotFound):
        return bool(node.client.inspect_image(image))
    return False


async def pulled(engine: Engine, store: Registry, image: str) -> str:
    """Pull an image on the manager; its reference with its digest."""
    puller = Puller(engine)
    found = await puller.ensure(image, "always", timeout=60, credentials=store.credentials)
    assert found is not None
    return reference.pinned(image, found["RepoDigests"])


async def test_prepull(
    swarm: Swarm,
    prefix: str,
    store: Registry,
    engine: Engine,
    images: NodeImages,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Every node gets the image that the manager has, be its tag moved meanwhile, by credentials
    that go along; of a node that gets none the words are told. Nothing is left of it.

    The image has nothing that could run.
    """
    caplog.set_level(logging.INFO, LOG.name)
    push, client = store.push, swarm.manager.client
    digest = await asyncio.to_thread(push, client, f"{prefix}lab", "v1", 2 * MB)
    name = f"{store.address}/{prefix}lab"
    pinned = await pulled(engine, store, f"{name}:v1")
    assert pinned == f"{name}:v1@{digest}"
    await asyncio.to_thread(push, client, f"{prefix}lab", "v2", MB)
    await asyncio.to_thread(store.retag, f"{prefix}lab", "v2", "v1")

    async def without() -> NodeImage:
        return NodeImage(pinned)

    async def found() -> NodeImage:
        return NodeImage(pinned, store.credentials)

    with pytest.raises(PullFailed, match=r"nodes n2 and n3: No such image: \S+@sha256:"):
        await images.bring(f"{name}:v1", without, timeout=60)
    assert not any(has(node, f"{name}@{digest}") for node in swarm.workers)
    await images.bring(f"{name}:v1", found, timeout=60)
    assert all(has(node, f"{name}@{digest}") for node in swarm.nodes)
    assert "done 3 of 3" in caplog.text
    assert store.password not in caplog.text
    assert not await calls.Swarm(engine).list_services([])


async def test_a_node_that_comes_back(
    swarm: Swarm, prefix: str, store: Registry, engine: Engine, images: NodeImages
) -> None:
    """It was drained while the others got the image, and gets it then, alone."""
    client = swarm.manager.client
    digest = await asyncio.to_thread(store.push, client, f"{prefix}lab", "v1", MB)
    name = f"{store.address}/{prefix}lab"
    pinned = await pulled(engine, store, f"{name}:v1")

    async def found() -> NodeImage:
        return NodeImage(pinned, store.credentials)

    late = swarm["n3"]
    swarm.drain(late)
    await images.bring(f"{name}:v1", found, timeout=60)
    assert has(swarm["n2"], f"{name}@{digest}")
    assert not has(late, f"{name}@{digest}")
    swarm.activate(late)
    ((image, node),) = await asyncio.wait_for(images.lacking([f"{name}:v1"]), 60)
    assert node == late.id
    await images.bring(image, found, timeout=60, node=node)
    assert has(late, f"{name}@{digest}")


def test_a_hub_with_a_registry(
    swarm: Swarm, swarm_hubs: SwarmHubs, store: Registry, user: str
) -> None:
    """A Hub brings its image to every node when it starts; what a killed one has left of that goes.

    Its servers run what the tag meant then, and what it means later once it is pulled again.
    """
    client, prefix = swarm.manager.client, swarm_hubs.prefix()
    name = f"{prefix}-lab"
    image = f"{store.address}/{name}:v1"
    digest = store.publish(client, BUSYBOX, name, "v1")
    config = f"""
        c.DockerNamedSpawner.image = {image!r}
        c.DockerNamedSpawner.prepull = True
        c.DockerNamedSpawner.pull_policy = "always"
        c.DockerNamedSpawner.registry_credentials = {{{store.address!r}: {store.credentials}}}
    """
    left = prepull_service(f"{prefix}-left", prefix, BUSYBOX)
    client.create_service(
        left["TaskTemplate"], name=left["Name"], labels=left["Labels"], mode="global"
    )
    with swarm_hubs.running(config, prefix=prefix) as hub:
        eventually(
            hub.log, lambda log: f"image {image}: done 3 of 3" in log, what="all nodes have it"
        )
        eventually(client.services, lambda left: not left, what="nothing is left of that")
        assert all(has(node, f"{store.address}/{name}@{digest}") for node in swarm.nodes)
        hub.add_user(user)
        hub.spawn(user)
        assert image_of(hub, user) == f"{image}@{digest}"
        hub.halt(user)
        moved = store.publish(client, BUSYBOX, name, "v1", "ENV MOVED=1")
        hub.spawn(user)
        assert image_of(hub, user) == f"{image}@{moved}"
        hub.halt(user)
        assert store.password not in hub.log()


def image_of(hub: Hub, user: str) -> str:
    """What the service of a server names."""
    assert isinstance(hub.docker, SwarmView)
    return str(hub.docker.service(user)["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"])
