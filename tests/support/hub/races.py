"""Several who want different things of one server at the same time, whatever servers are.

Tests and fixtures that more than one suite collects. Each has fixtures of its own besides: `hub`,
as of `running`, `proxy`, through which it asks its Engine, and `servers_of`, the kind of `many`.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from support.hub.client import Answer, server_path
from support.hub.dockerview import SERVER, USER
from support.hub.engineproxy import EngineProxy
from support.hub.hubproc import Hub, Hubs
from support.hub.manyservers import ManyServers
from support.hub.waiting import eventually

__all__ = [
    "many",
    "no_complaints",
    "test_a_hundred_at_once",
    "test_delete_while_pending",
    "test_two_who_stop",
]

OPERATIONS = {
    "start": ("POST", None),
    "stop": ("DELETE", None),
    "delete": ("DELETE", {"remove": True}),
}


CONFIG = """
    c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0, "slow_stop_timeout": 0}
    c.DockerNamedSpawner.orphan_grace = 0.5
    c.DockerNamedSpawner.orphan_interval = 0.5
"""


@contextmanager
def running(hubs: Hubs, proxy: EngineProxy, config: str = "") -> Iterator[Hub]:
    """A Hub that answers before a start or a stop is done, for a while."""
    with hubs.running(f"{CONFIG}    {config}", env={"DOCKER_HOST": proxy.url}) as hub:
        yield hub
        hub.stop()
        never_blocked(hub)


@pytest.fixture(autouse=True)
def no_complaints(hub: Hub) -> Iterator[None]:
    """Lost exceptions may come to light in any later test."""
    yield
    never_blocked(hub)


@pytest.fixture
def many(
    hub: Hub, proxy: EngineProxy, user: str, servers_of: type[ManyServers]
) -> Iterator[ManyServers]:
    """A user's servers, of whom nothing is left afterwards."""
    hub.add_user(user)
    many = servers_of(hub, user)
    yield many
    proxy.well_again()
    many.remove()


def never_blocked(hub: Hub) -> None:
    """The Hub's event loop was not; exceptions that were lost are JupyterHub's, see `not_ours`."""
    assert "blocked" not in hub.complaints()


def never_two(hub: Hub, since: float) -> None:
    """No container was started while another of the same server ran, as the Engine tells it."""
    running = set()
    for event in hub.docker.events(since):
        labels = event["Actor"]["Attributes"]
        server = (labels.get(USER), labels.get(SERVER))
        if event["Action"] == "start":
            assert server not in running, server
            running.add(server)
        elif event["Action"] == "die":
            running.remove(server)


def not_ours(log: str) -> None:
    """What went wrong in the Hub went wrong in JupyterHub itself.

    Where two requests interrupt one start, JupyterHub lets both wait for a second; the second one
    then finds the server stopping, forgotten or started again, and has no answer but 500. Who
    asked for that start gets the same.
    """
    for trace in re.findall(r"Traceback \(most.*?\n(?: .*\n)+", log):
        taken_away = "'NoneType' object has no attribute 'base_url'" in trace  # Spawner.server
        # An answer in words: a stop has ended or removed the container of a start that goes on.
        told = "raise http_error(" in trace
        assert taken_away or told or "dockernamed" not in trace, trace


@pytest.mark.parametrize("what", ["start stop", "start start stop delete"])
def test_a_hundred_at_once(hub: Hub, many: ManyServers, what: str) -> None:
    """A hundred requests about one server, ten at a time: Hub and Engine agree in the end.

    Never do two of its containers run; its files stay unless it is deleted; it can be started.
    """
    since, log = time.time(), len(hub.log())
    many.make_files("exp")
    files = many.files()

    def ask(operation: str) -> Answer:
        method, body = OPERATIONS[operation]
        return hub.api(method, server_path(many.user, "exp"), body)

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(ask, random.Random(1).choices(what.split(), k=100)))
    assert {answer.status for answer in answers} <= {201, 202, 204, 400, 404, 500}
    for answer in answers:
        if answer.status == 400:
            assert re.search("pending (stop|check)|already running", answer.message)
    many.agreed()
    never_two(hub, since)
    not_ours(hub.log()[log:])
    if "delete" in what:
        # JupyterHub deletes after it has answered: a start in between would be deleted with it.
        eventually(lambda: ask("delete").status, lambda status: status == 404, what="it is deleted")
        assert many.agreed() == []
    else:
        assert many.files() == files
    many.each({"exp"} - {*hub.servers(many.user)}, hub.spawn)
    assert many.agreed() == ["exp"]


def test_two_who_stop(hub: Hub, proxy: EngineProxy, many: ManyServers) -> None:
    """A culler and a user stop a server at once: both are told so, and it is stopped once."""
    hub.spawn(many.user, "exp")
    method, path = many.stop[0], many.stop[1].format(many.container("exp"))
    stop = proxy.fault("stall", method, path)
    answers = [hub.api("DELETE", server_path(many.user, "exp"))]
    stop.wait()
    answers.append(hub.api("DELETE", server_path(many.user, "exp")))
    answers.append(hub.api("DELETE", server_path(many.user, "exp"), {"remove": True}))
    assert [answer.status for answer in answers] == [202] * 3
    proxy.well_again()
    assert many.agreed() == []
    assert proxy.count(method, path) == 1
    eventually(lambda: not many.files(), what="it is deleted")


def test_delete_while_pending(hub: Hub, proxy: EngineProxy, many: ManyServers) -> None:
    """A start is given up in the middle of a call that hangs: the Hub does not wait for that.

    What the call does in the end is taken back, and then a new start works. Files stay.
    """
    for server, (method, path) in many.starts.items():
        many.make_files(server)
        fault = proxy.fault("stall", method, path.format(many.container(server), server))
        assert hub.api("POST", server_path(many.user, server)).status == 202
        fault.wait()
    files = many.files()
    many.each(many.starts, interrupted, hub)
    # Some are stopped by now, and listed no more.
    assert {one["pending"] for one in hub.servers(many.user).values()} <= {"stop"}
    proxy.well_again()
    assert many.agreed() == []
    assert many.files() == files
    many.each(many.starts, hub.spawn)
    assert many.agreed() == sorted(many.starts)


def interrupted(user: str, server: str, hub: Hub) -> None:
    """Give up the start of a server."""
    answer = hub.api("DELETE", server_path(user, server))
    assert answer.status in (202, 204), answer
