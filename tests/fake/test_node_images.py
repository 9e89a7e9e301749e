"""Images on the nodes of a fake Swarm: whatever fails, they come, and nothing is left."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from support.engine.watching import eventually
from support.engine.worlds import connect
from support.fake_engine import FakeEngine, FakeSwarm, RemoteImage
from support.stage import give_up_soon

from dockernamed import naming
from dockernamed.backends.tasks import TaskWatcher
from dockernamed.engine.client import Engine
from dockernamed.engine.swarm import Swarm
from dockernamed.errors import PullFailed
from dockernamed.images import reference
from dockernamed.images.node_images import NodeImage, NodeImages
from dockernamed.images.prepull import prepull_on_nodes
from dockernamed.images.puller import Puller
from dockernamed.timings import DEFAULT

LOG = logging.getLogger("prepull")
IMAGE = "registry.example/lab:1"
AUTH = {"username": "ann", "password": "s3cret"}
FAST = replace(
    DEFAULT, prepull_look=0.005, new_nodes=0.02, retry_after=(0.01, 0.01), repeat_after=(0.01,)
)
CALLS = [
    ("POST", "/services/create"),
    ("GET", "/services"),
    ("GET", "/tasks"),
    ("GET", "/nodes"),
    ("DELETE", "/services/.*"),
]


@pytest.fixture
def swarm(fake: FakeEngine) -> FakeSwarm:
    """Three nodes, and a registry with a password."""
    fake.publish(IMAGE, RemoteImage(auth=(AUTH["username"], AUTH["password"])))
    return fake.init_swarm(3)


@pytest.fixture
async def engine(fake: FakeEngine) -> AsyncIterator[Engine]:
    """The manager's."""
    engine = connect(fake.url, timeout=30.0)
    yield engine
    await engine.close()


def images_of(engine: Engine, hub: str = "hub1") -> NodeImages:
    """What is tested."""
    return NodeImages(Swarm(engine), hub, LOG, prefix="jupyter", timings=FAST)


async def found(engine: Engine) -> NodeImage:
    """The image, which the manager has pulled."""
    info = await Puller(engine).ensure(IMAGE, "ifnotpresent", timeout=30, credentials=AUTH)
    assert info is not None
    return NodeImage(reference.pinned(IMAGE, info["RepoDigests"]), AUTH)


def has(swarm: FakeSwarm, node: str, image: NodeImage) -> bool:
    """Whether a node has it."""
    return swarm.node(node).core.has_image(image.reference)


async def test_credentials_reach_the_nodes(swarm: FakeSwarm, engine: Engine) -> None:
    """Nodes get with them what they do not get without."""
    images, wanted = images_of(engine), await found(engine)

    async def anonymous() -> NodeImage:
        return replace(wanted, auth=None)

    with pytest.raises(PullFailed, match="nodes node-2 and node-3: No such image"):
        await images.bring(IMAGE, anonymous, timeout=30)
    await images.bring(IMAGE, lambda: found(engine), timeout=30)
    assert all(has(swarm, node, wanted) for node in ("node-1", "node-2", "node-3"))
    assert not swarm.services


@pytest.mark.parametrize("kind", ["reset", "lost", "stall", 500])
@pytest.mark.parametrize(("method", "path"), CALLS)
async def test_a_call_that_fails(
    fake: FakeEngine,
    swarm: FakeSwarm,
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    kind: str | int,
    method: str,
    path: str,
) -> None:
    """All nodes have it in the end, and no service is left."""
    wanted, images = await found(engine), images_of(engine)
    watcher = TaskWatcher(Swarm(engine), fake.url, "hub1", FAST)
    watcher.start()
    await watcher.in_sync()
    fault = fake.fault(kind, method, path)
    if kind == "stall":
        give_up_soon(monkeypatch, fault)
    pauses = (0.02, 0.02, 0.02, 0.02)
    work = asyncio.ensure_future(
        prepull_on_nodes([IMAGE], lambda _: found(engine), images, watcher, LOG, 30, pauses)
    )

    def done() -> bool:
        there = all(has(swarm, node, wanted) for node in ("node-1", "node-2", "node-3"))
        return bool(fault.hits) and there and not swarm.services

    try:
        await eventually(done)
    finally:
        work.cancel()
        fault.release()
        await watcher.close()


async def test_a_lost_node(swarm: FakeSwarm, engine: Engine) -> None:
    """It is not waited for, and gets the image when it is back."""
    wanted, images = await found(engine), images_of(engine)
    swarm.lose("node-3")
    await images.bring(IMAGE, lambda: found(engine), timeout=30)
    assert has(swarm, "node-2", wanted)
    assert not has(swarm, "node-3", wanted)
    swarm.find("node-3")
    [(image, node)] = await asyncio.wait_for(images.lacking([IMAGE]), 30)
    await images.bring(image, lambda: found(engine), timeout=30, node=node)
    assert has(swarm, "node-3", wanted)


async def test_no_server_is_seen_in_it(fake: FakeEngine, swarm: FakeSwarm, engine: Engine) -> None:
    """The table of a Hub's servers does not know the service, nor does its list of them."""
    swarm.add_image(IMAGE, node="node-1")
    watcher = TaskWatcher(Swarm(engine), fake.url, "hub1", FAST)
    watcher.start()
    await watcher.in_sync()
    name = naming.prepull_name("hub1", reference.parse(IMAGE).canonical, "", prefix="jupyter")
    seen = []

    async def look() -> NodeImage:
        return NodeImage(IMAGE)

    work = asyncio.ensure_future(images_of(engine).bring(IMAGE, look, timeout=30))
    while not work.done():
        seen += list(swarm.services)
        await asyncio.sleep(0)
    with pytest.raises(PullFailed, match="docker load"):
        await work
    assert set(seen) == {name}
    assert not watcher.records()
    await watcher.close()
