"""Where the volumes of a Swarm's services are, what that keeps them from, and how they go.

All of it over the fake Swarm of three nodes, node-1 of which is the manager that is asked.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from support.engine.watching import eventually
from support.fake_engine import Behaviour, FakeEngine, FakeSwarm
from support.stage import (
    CONFIG_REMOVE,
    HUB,
    IMAGE,
    KEY,
    QUICK,
    SERVICE_UPDATE,
    late,
    reached,
)

from dockernamed import naming
from dockernamed.backends.nodes import Nobody, Watch
from dockernamed.backends.services import Services
from dockernamed.desired.environment import Environment
from dockernamed.desired.mounts import Mount
from dockernamed.desired.placement import ServiceSettings
from dockernamed.desired.services import scaled
from dockernamed.desired.spec import LABEL_START, ServerSpec
from dockernamed.desired.volume_records import (
    LABEL_EMPTIES,
    Removal,
    VolumeRecord,
    emptying,
    record_name,
)
from dockernamed.engine.client import Connection, Engine
from dockernamed.engine.swarm import Swarm
from dockernamed.errors import Conflict, NotFound, VolumeOutOfReach

VOLUME = "files-ann"
LABELS = naming.labels(KEY)
LOG = logging.getLogger("test")


@pytest.fixture
def swarm(fake: FakeEngine) -> FakeSwarm:
    """Three nodes."""
    return fake.init_swarm(3)


@pytest.fixture
async def hub(fake: FakeEngine, swarm: FakeSwarm) -> AsyncIterator[Callable[..., Services]]:
    """Makes backends, each as of a Hub that was started just now."""
    engines, made = [], []

    def make(watch: Watch | None = None, at_once: float = 30.0) -> Services:
        engine = Engine(Connection(fake.url, timeout=30.0), timings=QUICK)
        engines.append(engine)
        timings = replace(QUICK, empty_volume_at_once=at_once)
        made.append(Services(engine, Swarm(engine), LOG, timings, watch))
        return made[-1]

    yield make
    fake.well_again()
    for services in made:
        await services.close()
    for engine in engines:
        await engine.close()


@pytest.fixture
def services(hub: Callable[..., Services]) -> Services:
    """One of them."""
    return hub()


def mount(name: str = VOLUME, **more: Any) -> Mount:
    """Of a volume that is this server's."""
    return Mount("volume", name, f"/{name}", labels=LABELS, **more)


async def made(
    services: Services, name: str, *mounts: Mount, settings: ServiceSettings | None = None
) -> str:
    """A service that does not run yet."""
    spec = ServerSpec(
        KEY, (name,), IMAGE, mounts=mounts or (mount(),), service=settings or ServiceSettings()
    )
    for one in spec.mounts:
        labels = {**one.labels, LABEL_START: name}
        await services.create_volume(one.source, one.driver, one.options, labels)
    return await services.create(name, spec, Environment(), name)


async def running(services: Services, id: str) -> None:
    """Wait until it runs."""

    async def look() -> None:
        while (await services.inspect(id)).pending:  # noqa: ASYNC110  no event tells
            await asyncio.sleep(0.005)

    await asyncio.wait_for(look(), 30)


async def started(services: Services, name: str, *mounts: Mount, **more: Any) -> str:
    """A service that runs."""
    id = await made(services, name, *mounts, **more)
    await services.start(id)
    await running(services, id)
    return id


def record(swarm: FakeSwarm, name: str = VOLUME) -> VolumeRecord | None:
    """What is known of a volume."""
    for config in swarm.configs.values():
        if config["Spec"]["Name"] == record_name(name):
            return VolumeRecord.read(config["Spec"]["Labels"])
    return None


def is_placed(swarm: FakeSwarm, name: str = VOLUME) -> bool:
    """Whether it is known where the volume is."""
    found = record(swarm, name)
    return found is not None and bool(found.node)


def hostname(swarm: FakeSwarm, id: str) -> str:
    """The name of a node."""
    return next(str(node["Description"]["Hostname"]) for node in swarm.nodes if node["ID"] == id)


def where(swarm: FakeSwarm, service: str) -> str:
    """The name of the node that a service runs on."""
    (task,) = [one for one in swarm.tasks(service) if one["Status"]["State"] == "running"]
    return hostname(swarm, task["NodeID"])


async def leave(services: Services, swarm: FakeSwarm) -> None:
    """Have the volume be on a node that is not in the Swarm any more."""
    (config,) = swarm.configs.values()
    found = record(swarm)
    assert found is not None
    spec = {**config["Spec"], "Labels": replace(found, node="x" * 25).all_labels}
    await services._swarm.update_config(config["ID"], config["Version"]["Index"], spec)


async def at_node_2(services: Services, swarm: FakeSwarm) -> str:
    """A service that ran on node-2 first, with its volume."""
    settings = ServiceSettings(constraints=("node.hostname==node-2",))
    id = await started(services, "first", settings=settings)
    await eventually(lambda: is_placed(swarm))
    return id


# --- where they are ----------------------------------------------------------------------------


async def test_a_volume_stays_on_its_first_node(services: Services, swarm: FakeSwarm) -> None:
    """Whoever has it later runs there, and so does its own service when it is started again."""
    id = await at_node_2(services, swarm)
    found = record(swarm)
    assert found is not None
    assert (found.hostname, found.image) == ("node-2", IMAGE)
    second = await started(services, "second")
    assert where(swarm, "second") == "node-2"
    for one in (id, second):
        await services.stop(one, 1)
        await services.start(one)
        await running(services, one)
    assert (where(swarm, "first"), where(swarm, "second")) == ("node-2", "node-2")


async def test_of_two_first_starts_the_second_waits(services: Services, swarm: FakeSwarm) -> None:
    """Services that have a new volume in common run on one node, however many begin at once."""
    ids = [await made(services, f"s{number}") for number in range(4)]
    await asyncio.gather(*map(services.start, ids))
    for id in ids:
        await running(services, id)
    assert len({where(swarm, f"s{number}") for number in range(4)}) == 1


async def test_a_new_volume_that_several_hubs_want_at_once(
    hub: Callable[[], Services], swarm: FakeSwarm
) -> None:
    """One of them makes it; all are told whose it is, and so mount none that is not theirs."""
    labels = [{**LABELS, LABEL_START: f"s{number}"} for number in range(3)]
    told = await asyncio.gather(*(hub().create_volume(VOLUME, None, {}, one) for one in labels))
    found = record(swarm)
    assert found is not None
    assert [one.labels for one in told] == [found.labels] * 3
    assert len(swarm.configs) == 1


async def test_a_first_start_that_fails_keeps_nobody_waiting(
    fake: FakeEngine, services: Services, swarm: FakeSwarm
) -> None:
    """Where its node never made the volume, the next one begins anew."""
    fake.behave(Behaviour(reject="No such image: x"), name="bad")
    await services.start(await made(services, "bad"))
    await started(services, "good")
    await eventually(lambda: is_placed(swarm))
    found = record(swarm)
    assert found is not None
    assert found.hostname == where(swarm, "good")


@pytest.mark.parametrize("end", ["stop", "kill", "remove"])
async def test_a_hub_that_was_killed_before_it_noted_the_node(
    hub: Callable[..., Services], swarm: FakeSwarm, end: str
) -> None:
    """The tasks tell it to the next Hub, before that takes them away."""
    killed, next_one = hub(), hub()
    settings = ServiceSettings(constraints=("node.hostname==node-3",))
    id = await made(killed, "first", settings=settings)
    await killed.start(id)
    await killed.close()
    await running(next_one, id)
    assert not is_placed(swarm)
    if end == "stop":
        await next_one.stop(id, 1)
    else:
        await getattr(next_one, end)(id)
    found = record(swarm)
    assert found is not None
    assert found.hostname == "node-3"


async def test_the_next_start_after_such_a_hub(
    hub: Callable[..., Services], swarm: FakeSwarm
) -> None:
    """Another server with the volume learns it from the first one's tasks."""
    killed, next_one = hub(), hub()
    settings = ServiceSettings(constraints=("node.hostname==node-3",))
    id = await made(killed, "first", settings=settings)
    await killed.start(id)
    await killed.close()
    await running(next_one, id)
    await started(next_one, "second")
    assert where(swarm, "second") == "node-3"


async def test_a_hub_that_was_killed_before_the_first_start(
    hub: Callable[..., Services], swarm: FakeSwarm
) -> None:
    """A service that was to be the first one and is gone, or was never started, holds up nobody."""
    killed, next_one = hub(), hub()
    await made(killed, "first")
    await started(next_one, "second")
    await eventually(lambda: is_placed(swarm))


@pytest.mark.parametrize("why", ["drain", "pause", "lost", "left"])
async def test_a_node_that_is_away(
    fake: FakeEngine, services: Services, swarm: FakeSwarm, why: str
) -> None:
    """A start is refused at once, with the node's name, the reason and the way out."""
    id = await at_node_2(services, swarm)
    await services.stop(id, 1)
    if why in ("drain", "pause"):
        swarm.change("node-2", availability=why)
        words, way_out = why, "docker node update --availability active node-2"
    else:
        swarm.lose("node-2")
        words, way_out = "is down", "start that machine"
    if why == "left":
        await leave(services, swarm)
        words, way_out = "has left the Swarm", "by hand"
    with pytest.raises(VolumeOutOfReach, match=f"node node-2, which .*{words}") as raised:
        await services.start(id)
    assert way_out in raised.value.public
    assert VOLUME not in raised.value.public
    assert f"docker config rm {record_name(VOLUME)}" in str(raised.value)
    assert not (await services.inspect(id)).running


async def test_a_volume_that_is_given_up(services: Services, swarm: FakeSwarm) -> None:
    """Once its record is removed by hand, it is as if there had been none."""
    id = await at_node_2(services, swarm)
    await services.remove(id)
    swarm.lose("node-2")
    (config,) = swarm.configs
    await services._swarm.remove_config(config)
    await started(services, "next")
    assert where(swarm, "next") != "node-2"


async def test_volumes_on_two_nodes(services: Services, swarm: FakeSwarm) -> None:
    """No server can have both: it is told which are where."""
    for name, node in (("one", "node-1"), ("two", "node-2")):
        settings = ServiceSettings(constraints=(f"node.hostname=={node}",))
        await started(services, name, mount(name), settings=settings)
        await eventually(partial(is_placed, swarm, name))
    id = await made(services, "both", mount("one"), mount("two"))
    with pytest.raises(VolumeOutOfReach, match=r"node-1.*node-2"):
        await services.start(id)


async def test_shared_volumes_bind_to_no_node(services: Services, swarm: FakeSwarm) -> None:
    """A driver that has its files on all nodes, be it by options, lets its servers go anywhere."""
    shared = mount(options={"type": "nfs", "o": "addr=10.0.0.1", "device": ":/srv"})
    id = await started(services, "first", shared)
    node = where(swarm, "first")
    await services.stop(id, 1)
    swarm.change(node, availability="pause")
    await services.start(id)
    await running(services, id)
    assert where(swarm, "first") != node
    assert not is_placed(swarm)


NFS = {"type": "nfs", "o": "addr=10.0.0.1", "device": ":/srv"}


async def test_a_volume_that_is_to_be_on_shared_storage(
    services: Services, swarm: FakeSwarm
) -> None:
    """The node that has one of its own under that name is left out: there, its files would be
    others than on all other nodes.
    """
    await services.remove(await at_node_2(services, swarm))
    for number in range(3):
        id = await started(services, f"s{number}", mount(options=NFS))
        assert where(swarm, id) != "node-2"
    assert is_placed(swarm)


async def test_a_volume_that_was_on_shared_storage(services: Services, swarm: FakeSwarm) -> None:
    """Without its options each node would make one of its own: the start is refused, with what to
    do. Where somebody made it on the nodes by hand, mounts need no options.
    """
    await started(services, "first", mount(options=NFS))
    id = await made(services, "second")
    with pytest.raises(VolumeOutOfReach, match="give the mount the driver and options") as caught:
        await services.start(id)
    assert VOLUME not in caught.value.public
    await services._engine.create_volume("by-hand", driver="local", options=NFS)
    await started(services, "third", mount("by-hand"))
    assert not is_placed(swarm, "by-hand")


async def test_a_volume_of_the_manager_from_before_there_was_a_swarm(
    fake: FakeEngine, services: Services, swarm: FakeSwarm
) -> None:
    """It is found with whose it is, and its servers run where it is."""
    await services._engine.create_volume(VOLUME, labels={**LABELS, "old": "yes"})
    assert [one.name for one in await services.list_volumes(LABELS)] == [VOLUME]
    seen = await services.create_volume(VOLUME, None, {}, LABELS)
    assert seen.labels == {**LABELS, "old": "yes"}
    for number in range(3):
        await started(services, f"s{number}")
        assert where(swarm, f"s{number}") == "node-1"


async def test_a_server_that_is_restarted_by_itself_stays_with_its_volume(
    services: Services, swarm: FakeSwarm
) -> None:
    """Its next task is bound to the node of its first one."""
    settings = ServiceSettings(restart_policy="on-failure")
    await started(services, "first", settings=settings)
    node = where(swarm, "first")

    def is_bound() -> bool:
        (service,) = swarm.services.values()
        placement = service["Spec"]["TaskTemplate"].get("Placement") or {}
        return bool(placement.get("Constraints"))

    await eventually(is_bound)
    assert len(swarm.tasks("first")) == 1
    for number in range(2, 4):
        swarm.end("first")
        await eventually(partial(has_tasks, swarm, number))
        await eventually(lambda: swarm.tasks("first")[-1]["Status"]["State"] == "running")
        assert where(swarm, "first") == node


def bound_to(swarm: FakeSwarm) -> str:
    """The name of the node that the only service is bound to; "" for none."""
    (service,) = swarm.services.values()
    placement = service["Spec"]["TaskTemplate"].get("Placement") or {}
    found = [one.removeprefix("node.id==") for one in placement.get("Constraints") or ()]
    return hostname(swarm, found[0]) if found else ""


class OnNode3(Nobody):
    """Has been told of the node where a task runs now."""

    def __init__(self, swarm: FakeSwarm) -> None:
        self._swarm = swarm

    async def runs_on(self, id: str) -> str:
        """See `Watch.runs_on`."""
        return self._swarm.node("node-3").id


async def test_a_hub_that_was_killed_before_it_bound_such_a_server(
    fake: FakeEngine, hub: Callable[..., Services], swarm: FakeSwarm
) -> None:
    """The next one does that, to the node where its files came to be, even if it has left there."""
    killed, next_one = hub(), hub(OnNode3(swarm))
    for name in ("node-1", "node-3"):
        swarm.change(name, availability="pause")
    fake.behave(Behaviour(hold="preparing"))
    id = await made(killed, "first", settings=ServiceSettings(restart_policy="on-failure"))
    await killed.start(id)
    await killed.close()
    swarm.let_go()
    fake.behave(Behaviour())
    await running(next_one, id)
    assert bound_to(swarm) == ""
    swarm.change("node-3", availability="active")
    swarm.lose("node-2")
    await eventually(lambda: [one for one in swarm.tasks() if one["DesiredState"] == "shutdown"])
    await eventually(lambda: swarm.tasks()[-1]["Status"]["State"] == "running")
    await next_one.tidy("another hub")
    await next_one.tidy(HUB)
    await eventually(lambda: bound_to(swarm))
    await eventually(lambda: is_placed(swarm))
    found = record(swarm)
    assert found is not None
    assert (bound_to(swarm), found.hostname) == ("node-2", "node-2")


async def test_a_server_that_somebody_updates(services: Services, swarm: FakeSwarm) -> None:
    """As to balance the nodes: it stays where its files are, though it was to be there once only,
    and its task is not replaced for that.
    """
    for name in ("node-1", "node-3"):
        swarm.change(name, availability="pause")
    id = await started(services, "first")
    await services.tidy(HUB)
    assert (bound_to(swarm), len(swarm.tasks())) == ("node-2", 1)
    for name in ("node-1", "node-3"):
        swarm.change(name, availability="active")
    info = await services._swarm.inspect_service(id)
    await services._swarm.update_service(id, info["Version"]["Index"], scaled(info["Spec"], 1))
    await eventually(partial(has_tasks, swarm, 2))
    await eventually(lambda: swarm.tasks("first")[-1]["Status"]["State"] == "running")
    assert hostname(swarm, swarm.tasks("first")[-1]["NodeID"]) == "node-2"


async def test_a_server_that_could_not_be_bound(
    fake: FakeEngine, services: Services, swarm: FakeSwarm
) -> None:
    """As while no manager took the change: that is made up for later."""
    id = await made(services, "first", settings=ServiceSettings(restart_policy="on-failure"))
    fake.behave(Behaviour(hold="preparing"))
    await services.start(id)
    fault = fake.fault(500, *SERVICE_UPDATE)
    swarm.let_go()
    await running(services, id)
    await eventually(lambda: fault.hits)
    await eventually(lambda: not services._volumes._following)
    assert bound_to(swarm) == ""
    await services.tidy(HUB)
    await eventually(lambda: bound_to(swarm) == where(swarm, "first"))
    await eventually(lambda: is_placed(swarm))


def has_tasks(swarm: FakeSwarm, count: int) -> bool:
    """Whether the first service has had so many."""
    return len(swarm.tasks("first")) == count


# --- how they go -------------------------------------------------------------------------------


@pytest.fixture
def deletions(swarm: FakeSwarm, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """The hostname and the volume of each service that was made to delete files, in order."""
    made: list[tuple[str, str]] = []
    names = {node["ID"]: str(node["Description"]["Hostname"]) for node in swarm.nodes}
    create = Swarm.create_service

    async def noted(self: Swarm, spec: Any, **more: Any) -> str:
        if LABEL_EMPTIES in spec["Labels"]:
            template = spec["TaskTemplate"]
            (constraint,) = template["Placement"]["Constraints"]
            (mount,) = template["ContainerSpec"]["Mounts"]
            assert template["ContainerSpec"]["Image"] == IMAGE
            made.append((names[constraint.removeprefix("node.id==")], mount["Source"]))
        return await create(self, spec, **more)

    monkeypatch.setattr(Swarm, "create_service", noted)
    return made


async def test_a_volume_of_the_manager_is_removed(services: Services, swarm: FakeSwarm) -> None:
    """Itself, not only its files."""
    settings = ServiceSettings(constraints=("node.hostname==node-1",))
    id = await started(services, "first", settings=settings)
    with pytest.raises(Conflict, match="first"):
        await services.remove_volume(VOLUME)
    await services.remove(id)
    assert VOLUME in swarm.volumes("node-1")
    assert await services.remove_volume(VOLUME)
    assert (swarm.volumes("node-1"), swarm.configs) == ({}, {})
    with pytest.raises(NotFound):
        await services.remove_volume(VOLUME)


async def test_a_volume_of_another_node(
    services: Services, swarm: FakeSwarm, deletions: list[tuple[str, str]]
) -> None:
    """A task there deletes its files; of what did that nothing is left."""
    id = await at_node_2(services, swarm)
    await services.remove(id)
    assert await services.remove_volume(VOLUME)
    assert deletions == [("node-2", VOLUME)]
    assert (swarm.services, swarm.configs, swarm.secrets) == ({}, {}, {})


async def test_a_volume_that_nothing_has_used(
    services: Services, swarm: FakeSwarm, deletions: list[tuple[str, str]]
) -> None:
    """There is nothing but its record."""
    id = await made(services, "first")
    await services.remove(id)
    assert await services.remove_volume(VOLUME)
    assert (deletions, swarm.configs) == ([], {})


async def test_a_volume_on_a_node_that_is_away(
    hub: Callable[..., Services],
    swarm: FakeSwarm,
    deletions: list[tuple[str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is told, and done when the node is back, by whatever Hub there is by then; once."""
    services = hub()
    id = await at_node_2(services, swarm)
    swarm.lose("node-2")
    await services.remove(id)
    assert not await services.remove_volume(VOLUME)
    assert f"{VOLUME} on node-2: its files will be deleted later: the node is down" in caplog.text
    assert await services.list_volumes({naming.LABEL_HUB: HUB}) == []
    next_one = hub()
    await next_one.tidy(HUB)
    assert deletions == []
    swarm.find("node-2")
    await eventually(lambda: swarm.node("node-2").state == "ready")
    await next_one.tidy("another hub")
    assert deletions == []
    await next_one.tidy(HUB)
    await next_one.tidy(HUB)
    assert (deletions, swarm.configs) == ([("node-2", VOLUME)], {})


async def test_a_new_volume_of_that_name_meanwhile(
    services: Services, swarm: FakeSwarm, deletions: list[tuple[str, str]]
) -> None:
    """It is on another node: neither has it the old files, nor are its own deleted."""
    id = await at_node_2(services, swarm)
    swarm.change("node-2", availability="drain")
    await services.remove(id)
    assert not await services.remove_volume(VOLUME)
    swarm.change("node-2", availability="active")
    for name in ("node-1", "node-3"):
        swarm.change(name, availability="pause")
    again = await made(services, "again")
    await services.start(again)
    await services.tidy(HUB)
    assert deletions == [("node-2", VOLUME)]
    assert (await services.inspect(again)).pending
    swarm.change("node-3", availability="active")
    await running(services, again)
    assert where(swarm, "again") == "node-3"


async def test_a_node_that_has_left(
    services: Services, swarm: FakeSwarm, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody can delete what is there: it is told, and forgotten."""
    id = await at_node_2(services, swarm)
    await services.remove(id)
    await leave(services, swarm)
    assert await services.remove_volume(VOLUME)
    assert "has left the Swarm, and keeps the files" in caplog.text
    assert swarm.configs == {}


async def test_files_that_cannot_be_deleted(
    fake: FakeEngine,
    services: Services,
    swarm: FakeSwarm,
    deletions: list[tuple[str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As where the image has no shell: the log has the reason, and it is tried again."""
    fake.behave(Behaviour(fail="no such file: /bin/sh"), name="dockernamed-empty-.*")
    id = await at_node_2(services, swarm)
    await services.remove(id)
    assert not await services.remove_volume(VOLUME)
    assert "no such file: /bin/sh" in caplog.text
    fake.behave(Behaviour(exit_code=0), name="dockernamed-empty-.*")
    await services.tidy(HUB)
    assert (len(deletions), swarm.services, swarm.configs) == (2, {}, {})


async def test_files_that_take_long_to_delete(
    fake: FakeEngine,
    hub: Callable[..., Services],
    swarm: FakeSwarm,
    deletions: list[tuple[str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody waits for all of them: it goes on later."""
    services = hub(at_once=0.5)
    fake.behave(Behaviour(), name="dockernamed-empty-.*")
    await services.remove(await at_node_2(services, swarm))
    assert not await services.remove_volume(VOLUME)
    assert "that takes long" in caplog.text
    assert swarm.services == {}
    fake.behave(Behaviour(exit_code=0), name="dockernamed-empty-.*")
    await services.tidy(HUB)
    assert (len(deletions), swarm.services, swarm.configs) == (2, {}, {})


async def test_a_hub_that_is_killed_while_it_deletes(
    fake: FakeEngine,
    hub: Callable[..., Services],
    swarm: FakeSwarm,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next one ends that before a server has the volume again."""
    killed, next_one = hub(), hub()
    await killed.remove(await at_node_2(killed, swarm))
    fake.behave(Behaviour(), name="dockernamed-empty-.*")
    with monkeypatch.context() as patch:
        patch.setattr(Swarm, "remove_service", _never)
        removal = asyncio.ensure_future(killed.remove_volume(VOLUME))
        await eventually(lambda: swarm.services)
        removal.cancel()
        await asyncio.sleep(0)
    found = record(swarm)
    assert found is not None
    assert found.going
    await started(next_one, "again")
    assert list(swarm.services) == ["again"]
    found = record(swarm)
    assert found is not None
    assert not found.going


async def test_a_removal_that_is_done_late(
    fake: FakeEngine, hub: Callable[..., Services], swarm: FakeSwarm
) -> None:
    """It takes no record by which a server has been started since."""
    killed, next_one = hub(), hub()
    await killed.remove(await at_node_2(killed, swarm))
    fake.behave(Behaviour(exit_code=0), name="dockernamed-empty-.*")
    held = late(fake, *CONFIG_REMOVE)
    removal = asyncio.ensure_future(killed.remove_volume(VOLUME))
    await reached(held)
    removal.cancel()
    await started(next_one, "again")
    held.release()
    await eventually(lambda: held.done)
    found = record(swarm)
    assert found is not None
    assert (found.hostname, found.going) == ("node-2", False)


SHARED = {"driver": "local", "options": {"type": "nfs", "o": "addr=10.0.0.1", "device": ":/x"}}


@pytest.mark.parametrize(
    ("more", "same_hub"), [({}, False), ({}, True), (SHARED, False)], ids=["new", "same", "shared"]
)
async def test_a_late_removal_of_a_record_without_a_node(
    fake: FakeEngine,
    hub: Callable[[], Services],
    swarm: FakeSwarm,
    more: dict[str, Any],
    same_hub: bool,
) -> None:
    """Likewise of a volume that nothing had used, or that is on shared storage."""
    first = hub()
    await first.remove(await made(first, "first", mount(**more)))
    held = late(fake, *CONFIG_REMOVE)
    removal = asyncio.ensure_future(first.remove_volume(VOLUME))
    await reached(held)
    removal.cancel()
    await started(first if same_hub else hub(), "again", mount(**more))
    if not more:
        await eventually(lambda: is_placed(swarm))
    before = record(swarm)
    assert before is not None
    assert not before.going
    held.release()
    await eventually(lambda: held.done)
    assert record(swarm) == before


async def _never(*_: object) -> None:
    await asyncio.Event().wait()


async def test_what_a_killed_hub_has_left_running_is_removed(
    hub: Callable[..., Services], swarm: FakeSwarm
) -> None:
    """What deletes files, and that nobody waits for any more."""
    services = hub()
    removal = Removal(HUB, VOLUME, swarm.node("node-2").id, "node-2", IMAGE)
    await services._swarm.create_service(emptying(removal, "dockernamed-empty-x"))
    await services.tidy(HUB)
    assert swarm.services == {}
