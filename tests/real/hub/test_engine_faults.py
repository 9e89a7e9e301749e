"""Faults between a real Hub and a real Engine: nothing is lost, and nothing is left.

Each kind of fault strikes all the Engine's calls of start, stop and delete at once, one server for
each call; two kinds that must come to the same take turns. Faults on their own, and all of them,
are the other suites', over the fake Engine.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle
from typing import Any

import pytest
from support.hub.client import Answer, server_path
from support.hub.engineproxy import EngineFault, EngineProxy
from support.hub.hubproc import Hub, Hubs
from support.hub.manyservers import HUB_ID, STARTS, ManyServers
from support.hub.waiting import eventually

#: Server → the call at which its start, stop or deletion goes wrong: {0} is its container's name.
STOPS = {"stop": ("POST", "/containers/{0}/stop"), "remove": ("DELETE", "/containers/{0}")}
DELETIONS = {"files": ("DELETE", "/volumes/{0}." + HUB_ID), "list": ("GET", "/volumes")}
CALLS = STARTS | STOPS | DELETIONS
#: Likewise, where the container was kept from an earlier run.
KEPT_STARTS = {
    "token": ("PUT", "/containers/{0}/archive"),
    "start": STARTS["start"],
    "inspect": STARTS["inspect"],
}


@pytest.fixture(scope="module")
def the_hub(hubs: Hubs, proxy: EngineProxy) -> Iterator[Hub]:
    """A Hub that reaches its Engine through the proxy."""
    config = f"""
        c.DockerNamedSpawner.hub_id = {HUB_ID!r}
        c.DockerNamedSpawner.stop_timeout = 1
        # As long as a stalled call keeps a test waiting; no other call takes nearly so long.
        c.DockerNamedSpawner.client_kwargs = {{"timeout": 4}}
    """
    kept = {"kept": {"remove": False}}
    with hubs.running(config, env={"DOCKER_HOST": proxy.url}, by_user=kept) as hub:
        yield hub


@pytest.fixture
def hub(the_hub: Hub, proxy: EngineProxy, user: str) -> Iterator[Hub]:
    """The Hub with its user, and an Engine that is well again afterwards."""
    the_hub.add_user(user)
    yield the_hub
    proxy.well_again()


@pytest.mark.parametrize(
    ("kinds", "survived"),
    [
        (["reset"], {"volume", "inspect"}),
        (["lost"], {*STARTS}),
        (["stall after", "cut"], {*STARTS}),
        (["stall"], set()),
        ([500, "garbage"], set()),
    ],
    ids=lambda value: "+".join(map(str, value)) if isinstance(value, list) else "",
)
def test_one_fault_at_each_call(
    hub: Hub, proxy: EngineProxy, user: str, kinds: list[str | int], survived: set[str]
) -> None:
    """A start survives or says why not, and then works; stops and deletions survive everything.

    Afterwards a server has one container or none, as the Hub says; its files are as they were.
    """
    many = ManyServers(hub, user)
    for server in STARTS:
        many.make_files(server)
    many.each([*STOPS, *DELETIONS], hub.spawn)
    files = many.files()
    faults: dict[str, EngineFault] = {}
    answers: dict[str, Future[Answer]] = {}
    with ThreadPoolExecutor(len(CALLS)) as pool:
        for (server, (method, path)), kind in zip(CALLS.items(), cycle(kinds), strict=False):
            if server == "list":
                faults["files"].wait()  # it lists volumes too, and must be past that
            faults[server] = proxy.fault(kind, method, path.format(many.container(server)))
            answers[server] = pool.submit(hub.api, *request_of(user, server))
        for fault in faults.values():
            fault.wait()
        if "stall after" in kinds:
            proxy.well_again()
        started = {server: answers[server].result() for server in STARTS}
        proxy.well_again()
        ended = {server: answers[server].result() for server in [*STOPS, *DELETIONS]}
    refused = STARTS.keys() - survived
    assert {server for server, answer in started.items() if answer.status == 201} == survived
    for server in refused:
        assert started[server].status in (500, 503), started[server]
        assert "Docker Engine: cannot" in started[server].message
    assert {answer.status for answer in ended.values()} <= {202, 204}, ended
    assert many.agreed() == sorted(survived)
    eventually(
        many.files,
        lambda found: found == {server: files[server] for server in [*STARTS, *STOPS]},
        what="the files of deleted servers are gone, and those of no others",
    )
    many.each(refused, hub.spawn)
    assert many.agreed() == sorted(STARTS)
    many.remove()


def test_the_engine_is_gone_in_the_middle(hub: Hub, proxy: EngineProxy, user: str) -> None:
    """Starts say so, and leave nothing; stops wait until it is back. Files stay."""
    many = ManyServers(hub, user)
    for server in STARTS:
        many.make_files(server)
    many.each(STOPS, hub.spawn)
    files = many.files()
    gone = proxy.fault("down", "POST", f"/containers/create/{many.container('create')}")
    with ThreadPoolExecutor(len(CALLS)) as pool:
        stopping = [pool.submit(hub.api, *request_of(user, server)) for server in STOPS]
        starting = [pool.submit(hub.api, *request_of(user, server)) for server in STARTS]
        gone.wait()
        statuses = [answer.result().status for answer in starting]
        assert set(statuses) <= {201, 503}
        assert 503 in statuses
        proxy.well_again()
        assert {answer.result().status for answer in stopping} <= {202, 204}
    running = many.agreed()
    assert len(running) == statuses.count(201)
    assert many.files() == files
    many.each(STARTS.keys() - {*running}, hub.spawn)
    assert many.agreed() == sorted(STARTS)
    many.remove()


def test_kept_containers_when_the_engine_takes_too_long(
    hub: Hub, proxy: EngineProxy, user: str
) -> None:
    """A container of an earlier run that is started late, after its start has failed, is stopped.

    It is still there then, and used again by the next start.
    """
    user = f"kept-{user}"
    hub.add_user(user)
    many = ManyServers(hub, user)
    many.each(KEPT_STARTS, hub.spawn)
    many.each(KEPT_STARTS, hub.halt)
    before = {server: hub.docker.one(user, server)["Id"] for server in KEPT_STARTS}
    files = many.files()
    for server, (method, path) in KEPT_STARTS.items():
        proxy.fault("stall", method, path.format(many.container(server)))

    def refused(user: str, server: str) -> None:
        answer = hub.api(*request_of(user, server))
        assert (answer.status, "no answer within" in answer.message) == (500, True)

    many.each(KEPT_STARTS, refused)
    proxy.well_again()
    eventually(lambda: not proxy.busy, what="the Engine has done what it was asked for")
    eventually(lambda: not hub.docker.running(user), what="what was started is stopped")
    assert hub.servers(user) == {}
    many.each(KEPT_STARTS, hub.spawn)
    assert {server: hub.docker.one(user, server)["Id"] for server in before} == before
    assert many.agreed() == sorted(before)
    assert many.files() == files
    many.remove()


def request_of(user: str, server: str) -> tuple[Any, ...]:
    """What is asked of the Hub, so that it asks the Engine for the server's call."""
    if server in STARTS | KEPT_STARTS:
        return "POST", server_path(user, server)
    return "DELETE", server_path(user, server), {"remove": True} if server in DELETIONS else None
