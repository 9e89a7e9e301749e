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
from support.swarm import Node, Swarm

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
