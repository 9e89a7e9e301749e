"""Images pulled ahead on the nodes of a Swarm, and what is left of it: nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from dockernamed import naming
from dockernamed.engine.swarm import Swarm
from dockernamed.errors import EngineError, EngineTimeout, EngineUnavailable, NotFound, PullFailed
from dockernamed.images.node_images import NodeImage, NodeImages
from dockernamed.images.prepull import prepull_on_nodes
from dockernamed.images.pull_progress import Progress
from dockernamed.timings import DEFAULT

LOG = logging.getLogger("prepull")
HUB = "hub1"
IMAGE = "quay.io/lab:1"
PINNED = f"{IMAGE}@sha256:{'0' * 64}"
AUTH = {"username": "ann", "password": "s3cret"}
FAST = replace(DEFAULT, prepull_look=0.001, new_nodes=0.001, retry_after=(0.0, 0.0))
LABELS = {naming.LABEL_PREPULL: HUB}


class Manager:
    """As much of a Swarm as a prepull asks for.

    Attributes:
        nodes: name → the state of the task that a service has there.
        services: what there is: id → its spec, and the credentials it came with.
        seen: all that there ever were.
        failing: called before each call, with its name.
        looks: how often its nodes were listed.
    """

    def __init__(self, **nodes: str) -> None:
        self.nodes = nodes
        self.services: dict[str, tuple[Mapping[str, Any], Mapping[str, str] | None]] = {}
        self.seen: list[tuple[Mapping[str, Any], Mapping[str, str] | None]] = []
        self.failing: Callable[[str], None] = lambda call: None
        self.asked, self.looks = asyncio.Event(), 0

    @property
    def names(self) -> list[str]:
        return [str(spec["Name"]) for spec, _ in self.services.values()]

    async def create_service(
        self, spec: Mapping[str, Any], *, auth: Mapping[str, str] | None = None
    ) -> str:
        self.failing("create_service")
        assert spec["Name"] not in self.names
        id = f"s{len(self.seen)}"
        self.services[id] = (spec, auth)
        self.seen.append((spec, auth))
        self.failing("created_service")
        return id

    async def remove_service(self, id: str) -> None:
        self.failing("remove_service")
        self.services.pop(id, None)

    async def list_services(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        self.failing("list_services")
        (label,) = labels
        key, _, value = label.partition("=")
        return [
            {"ID": id, "Spec": spec}
            for id, (spec, _) in self.services.items()
            if spec["Labels"].get(key) == value
        ]

    async def list_nodes(self) -> list[dict[str, Any]]:
        self.failing("list_nodes")
        self.looks += 1
        return [
            {
                "ID": f"id-{name}",
                "Spec": {"Availability": "active"},
                "Description": {"Hostname": name, "Platform": {"OS": "linux"}},
                "Status": {"State": "down" if state == "down" else "ready"},
            }
            for name, state in self.nodes.items()
        ]

    async def list_tasks(self, *, services: Sequence[str]) -> list[dict[str, Any]]:
        self.failing("list_tasks")
        self.asked.set()
        (service,) = services
        if service not in self.services:
            raise NotFound("list tasks", f"service {service} not found", 404)
        constraints = self.services[service][0]["TaskTemplate"]["Placement"]["Constraints"]
        only = [one.partition("==")[2] for one in constraints if one.startswith("node.id==")]
        return [
            {"ID": name, "NodeID": f"id-{name}", "Status": {"State": state, "Err": "No such image"}}
            for name, state in self.nodes.items()
            if f"id-{name}" in (only or [f"id-{name}"])
        ]


def images_on(manager: Manager) -> NodeImages:
    """What is tested."""
    return NodeImages(cast("Swarm", manager), HUB, LOG, prefix="jupyter", timings=FAST)


async def found(image: str = IMAGE) -> NodeImage:
    """The manager has it."""
    return NodeImage(PINNED, AUTH)


def running(work: Awaitable[Any]) -> asyncio.Task[Any]:
    """It goes on meanwhile."""
    return asyncio.ensure_future(work)


async def looked(manager: Manager) -> None:
    """Wait until its tasks have been asked for once more, and the answer was read."""
    for _ in range(2):
        manager.asked.clear()
        await asyncio.wait_for(manager.asked.wait(), 30)


async def test_every_node_gets_it(caplog: pytest.LogCaptureFixture) -> None:
    """One service with the digest and the credentials; the log says how far each node is."""
    caplog.set_level(logging.INFO)
    manager = Manager(n1="complete", n2="preparing", n3="assigned")
    work = running(images_on(manager).bring(IMAGE, found, timeout=30))
    await looked(manager)
    assert "image quay.io/lab:1: node n2 preparing, node n3 waiting … done 1 of 3" in caplog.text
    manager.nodes |= {"n2": "complete", "n3": "preparing"}
    await looked(manager)
    assert "image quay.io/lab:1: node n3 preparing … done 2 of 3" in caplog.text
    manager.nodes["n3"] = "complete"
    await asyncio.wait_for(work, 30)
    assert "done 3 of 3" in caplog.text
    ((spec, auth),) = manager.seen
    assert spec["TaskTemplate"]["ContainerSpec"]["Image"] == PINNED
    assert auth == AUTH
    assert not manager.services
    assert AUTH["password"] not in caplog.text


async def test_starts_wait_and_are_told() -> None:
    """Whoever needs it meanwhile hears at once how far it is, and goes on when it is there."""
    manager = Manager(n1="complete", n2="preparing")
    images = images_on(manager)
    work = running(images.bring(IMAGE, found, timeout=30))
    await looked(manager)
    told: list[Progress] = []
    start = running(images.arrived("quay.io/lab:1", 30, told.append))
    await looked(manager)
    assert not start.done()
    assert told == [Progress(1, 2, "node n2 preparing … done 1 of 2")]
    manager.nodes["n2"] = "complete"
    await asyncio.wait_for(asyncio.gather(work, start), 30)
    assert told[-1] == Progress(2, 2, "done 2 of 2")


async def test_starts_wait_from_the_beginning() -> None:
    """Also while the manager itself is getting it."""
    manager, there = Manager(n1="complete"), asyncio.Event()
    images = images_on(manager)

    async def find() -> NodeImage:
        await there.wait()
        return await found()

    work = running(images.bring(IMAGE, find, timeout=30))
    await asyncio.sleep(0)
    told: list[Progress] = []
    start = running(images.arrived(IMAGE, 30, told.append))
    await asyncio.sleep(0)
    assert not start.done()
    assert len(told) == 1
    there.set()
    await asyncio.wait_for(asyncio.gather(work, start), 30)


@pytest.mark.parametrize("other", ["quay.io/lab:2", "lab:1"])
async def test_starts_of_other_images_do_not_wait(other: str) -> None:
    """Nor are they told anything."""
    manager = Manager(n1="preparing")
    images = images_on(manager)
    work = running(images.bring(IMAGE, found, timeout=30))
    await looked(manager)
    told: list[Progress] = []
    await asyncio.wait_for(images.arrived(other, 30, told.append), 30)
    assert not told
    work.cancel()


async def test_a_start_does_not_wait_for_ever() -> None:
    """A node that hangs holds no start up for longer than a pull may take."""
    manager = Manager(n1="preparing")
    images = images_on(manager)
    work = running(images.bring(IMAGE, found, timeout=30))
    await looked(manager)
    await asyncio.wait_for(images.arrived(IMAGE, 0.01, lambda progress: None), 30)
    assert not work.done()
    work.cancel()


async def test_a_failing_listener_harms_nobody() -> None:
    """The prepull goes on, and the others are told."""
    manager = Manager(n1="preparing")
    images = images_on(manager)
    work = running(images.bring(IMAGE, found, timeout=30))
    await looked(manager)
    calls = 0

    def listener(progress: Progress) -> None:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise ValueError("a listener's own")

    start = running(images.arrived(IMAGE, 30, listener))
    await looked(manager)
    manager.nodes["n1"] = "complete"
    await asyncio.wait_for(asyncio.gather(work, start), 30)
    assert calls == 2


async def test_failures_of_nodes() -> None:
    """Each node that could not get it is named, with the words of its task."""
    manager = Manager(n1="complete", n2="rejected", n3="rejected")
    with pytest.raises(PullFailed, match="nodes n2 and n3: No such image") as caught:
        await asyncio.wait_for(images_on(manager).bring(IMAGE, found, timeout=30), 30)
    assert "the log of the node's Engine" in str(caught.value)
    assert not manager.services


async def test_an_image_that_no_registry_has() -> None:
    """Was it loaded on the manager, the message says what to do."""

    async def local() -> NodeImage:
        return NodeImage(IMAGE)

    manager = Manager(n1="complete", n2="rejected")
    with pytest.raises(PullFailed, match="docker load"):
        await asyncio.wait_for(images_on(manager).bring(IMAGE, local, timeout=30), 30)


async def test_nodes_that_hang() -> None:
    """They get as long as a pull may take, and the message says which they are."""
    manager = Manager(n1="complete", n2="preparing")
    with pytest.raises(PullFailed, match=r"pull_timeout = 0\.05 s: node n2 preparing"):
        await asyncio.wait_for(images_on(manager).bring(IMAGE, found, timeout=0.05), 30)
    assert not manager.services


async def test_a_node_that_goes_down_is_not_waited_for() -> None:
    """What its task says is what it said last."""
    manager = Manager(n1="complete", n2="preparing")
    work = running(images_on(manager).bring(IMAGE, found, timeout=30))
    await looked(manager)
    manager.nodes["n2"] = "down"
    await asyncio.wait_for(work, 30)


async def test_the_hub_ends() -> None:
    """What it had under way goes with it."""
    manager = Manager(n1="preparing")
    work = running(images_on(manager).bring(IMAGE, found, timeout=30))
    await looked(manager)
    assert manager.services
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert not manager.services


async def test_a_hub_that_was_killed() -> None:
    """The next one removes what was left, and nobody else's; a new try finds the name free."""
    manager = Manager(n1="complete")
    images = images_on(manager)
    name = naming.prepull_name(HUB, IMAGE, "", prefix="jupyter")
    manager.services |= {
        "old": ({"Name": name, "Labels": LABELS}, None),
        "other": ({"Name": "x", "Labels": LABELS}, None),
        "alien": ({"Name": "y", "Labels": {naming.LABEL_PREPULL: "hub2"}}, None),
        "server": ({"Name": "z", "Labels": {naming.LABEL_HUB: HUB}}, None),
    }
    await asyncio.wait_for(images.bring(IMAGE, found, timeout=30), 30)
    assert set(manager.services) == {"other", "alien", "server"}
    await images.remove_leftovers()
    assert set(manager.services) == {"alien", "server"}


@pytest.mark.parametrize("error", [
    EngineTimeout("create service", "no answer"), EngineUnavailable("create service", "gone")
])  # fmt: skip
async def test_a_lost_answer_to_the_create_call(error: EngineError) -> None:
    """The service that was made all the same does not stay."""
    manager = Manager(n1="complete")

    def failing(call: str) -> None:
        if call == "created_service":
            raise error

    manager.failing = failing
    with pytest.raises(type(error)):
        await asyncio.wait_for(images_on(manager).bring(IMAGE, found, timeout=30), 30)
    assert len(manager.seen) == 1
    assert not manager.services


async def test_a_manager_that_is_away_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """The removal is tried again, and what is left is told."""
    manager = Manager(n1="complete")
    away = 3

    def failing(call: str) -> None:
        nonlocal away
        if call == "remove_service" and away:
            away -= 1
            raise EngineUnavailable("remove service", "gone")

    manager.failing = failing
    images = images_on(manager)
    await asyncio.wait_for(images.bring(IMAGE, found, timeout=30), 30)
    assert "could not be removed" in caplog.text
    assert manager.services
    await images.remove_leftovers()
    assert not manager.services


async def test_a_service_that_somebody_removes() -> None:
    """It is an error that may pass, as others of the Engine."""
    manager = Manager(n1="preparing")
    work = running(images_on(manager).bring(IMAGE, found, timeout=30))
    await looked(manager)
    manager.services.clear()
    with pytest.raises(NotFound):
        await asyncio.wait_for(work, 30)


async def test_leftovers_are_removed_first() -> None:
    """Also by a Hub that pulls nothing ahead any more."""
    manager = Manager(n1="complete")
    manager.services["old"] = ({"Name": "x", "Labels": LABELS}, None)
    await asyncio.wait_for(prepulled(manager, images_on(manager)), 30)
    assert not manager.services
    assert not manager.seen


class Table:
    """Says that the manager is there, as the table of servers does."""

    async def in_sync(self) -> None:
        """At once."""


def prepulled(manager: Manager, images: NodeImages, *names: str) -> asyncio.Task[None]:
    """A prepull as of a Hub."""
    return running(
        prepull_on_nodes(names, found, images, cast("Any", Table()), LOG, 30, (0.0, 0.0))
    )


async def until(condition: Callable[[], bool]) -> None:
    """Poll with a deadline."""

    async def look() -> None:
        while not condition():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.001)

    await asyncio.wait_for(look(), 30)


async def test_failing_nodes_are_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """The registry may be there a while later; one that is never is given up."""
    manager = Manager(n1="complete", n2="rejected")
    work = prepulled(manager, images_on(manager), IMAGE)
    await until(lambda: "given up" in caplog.text)
    work.cancel()
    assert len(manager.seen) == 3
    assert caplog.text.count("node n2: No such image") == 3
    assert caplog.text.count("will try again") == 2


async def test_new_nodes_get_it() -> None:
    """Nodes that join, or come back, and lack it: these alone."""
    manager = Manager(n1="complete", n2="down")
    images = images_on(manager)
    work = prepulled(manager, images, IMAGE)
    await until(lambda: len(manager.seen) == 1 and not manager.services)
    manager.nodes["n3"] = "complete"
    await until(lambda: len(manager.seen) == 2 and not manager.services)
    manager.nodes["n2"] = "complete"
    await until(lambda: len(manager.seen) == 3 and not manager.services)
    asked = [spec["TaskTemplate"]["Placement"]["Constraints"][1:] for spec, _ in manager.seen]
    assert asked == [[], ["node.id==id-n3"], ["node.id==id-n2"]]
    # One that has it gets no task when it comes back.
    manager.nodes["n3"] = "down"
    looks = manager.looks
    await until(lambda: manager.looks > looks + 1)
    manager.nodes |= {"n3": "complete", "n4": "complete"}
    await until(lambda: len(manager.seen) == 4 and not manager.services)
    assert manager.seen[-1][0]["TaskTemplate"]["Placement"]["Constraints"][1:] == ["node.id==id-n4"]
    work.cancel()


async def test_a_new_node_that_cannot_get_it_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    """It is asked no more until it comes again."""
    manager = Manager(n1="complete")
    work = prepulled(manager, images_on(manager), IMAGE)
    await until(lambda: len(manager.seen) == 1 and not manager.services)
    manager.nodes["n2"] = "rejected"
    await until(lambda: "given up" in caplog.text)
    looks = manager.looks
    await until(lambda: manager.looks > looks + 5)
    assert len(manager.seen) == 1 + 3
    manager.nodes["n2"], looks = "down", manager.looks
    await until(lambda: manager.looks > looks + 1)
    manager.nodes["n2"] = "complete"
    await until(lambda: len(manager.seen) == 1 + 3 + 1 and not manager.services)
    work.cancel()


async def test_a_manager_that_is_away_while_nodes_are_looked_for() -> None:
    """It is asked again later."""
    manager = Manager(n1="complete")
    work = prepulled(manager, images_on(manager), IMAGE)
    await until(lambda: len(manager.seen) == 1 and not manager.services)
    away = 3

    def failing(call: str) -> None:
        nonlocal away
        if away:
            away -= 1
            raise EngineUnavailable(call, "gone")

    manager.failing = failing
    manager.nodes["n2"] = "complete"
    await until(lambda: len(manager.seen) == 2 and not manager.services)
    work.cancel()
