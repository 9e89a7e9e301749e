"""Containers that no server of the Hub stands for."""

from __future__ import annotations

import asyncio
import logging

import pytest

from dockernamed.backends.observed import ObservedContainer, State
from dockernamed.errors import EngineFailed
from dockernamed.lifecycle import orphans as keeper_module
from dockernamed.lifecycle.orphans import KnownServer, OrphanReaper, orphaned_networks, orphans


def record(id, user="ann", server="", state=State.RUNNING):
    return ObservedContainer(id, f"name-{id}", user, server, "spec", "image", state)


def ids(records):
    return [one.id for one in records]


def test_a_container_of_nobody_is_an_orphan():
    """No such user, or no such server of a known user."""
    records = [record("a", user="zed"), record("b", server="gone"), record("c")]
    assert ids(orphans(records, [KnownServer("ann", "", active=True)], keep=False)) == ["a", "b"]


def test_a_container_of_a_stopped_server_is_an_orphan():
    """The Hub was killed between its own stop and the container's: nobody would stop it."""
    known = [KnownServer("ann", "", active=False)]
    assert ids(orphans([record("a"), record("b", state=State.EXITED)], known, keep=False)) == [
        "a",
        "b",
    ]


def test_kept_containers_of_known_servers_stay():
    """With ``remove = False`` a stopped container is there on purpose; a running one is not."""
    known = [KnownServer("ann", "", active=False)]
    found = orphans([record("a", state=State.EXITED), record("b")], known, keep=True)
    assert ids(found) == ["b"]


def test_a_running_server_of_a_renamed_user_is_no_orphan():
    """Labels say the old name; the Hub knows the container by its id."""
    known = [KnownServer("bob", "", active=True, object_id="a")]
    assert orphans([record("a", user="ann")], known, keep=False) == []


def network(id, user, server):
    labels = {"dockernamed.hub": "h", "dockernamed.user": user, "dockernamed.server": server}
    return {"Id": id, "Name": f"name-{id}", "Labels": labels}


def test_networks():
    """Only those of a server that the Hub has no more; not those of the whole Hub, or stopped."""
    networks = [
        network("a", "ann", ""),
        network("b", "ann", "gone"),
        network("c", "zed", ""),
        {"Id": "d", "Name": "shared", "Labels": {"dockernamed.hub": "h"}},
        {"Id": "e", "Name": "bridge", "Labels": None},
    ]
    found = orphaned_networks(networks, [KnownServer("ann", "", active=False)])
    assert [one["Id"] for one, _ in found] == ["b", "c"]


class Backend:
    def __init__(self, networks=()):
        self._networks = networks
        self.removed, self.stopped = [], []

    async def discard(self, container_id, *, grace, keep):
        (self.stopped if keep else self.removed).append((container_id, grace))

    async def networks(self, hub):
        return self._networks

    async def discard_network(self, network_id):
        self.removed.append(network_id)


class Watcher:
    def __init__(self, records):
        self._records = records

    def records(self):
        return self._records

    async def in_sync(self):
        return


@pytest.fixture
def clock(monkeypatch):
    """Pauses end at once, and are noted."""
    pauses = []

    async def pause(seconds):
        pauses.append(seconds)
        if len(pauses) > 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(keeper_module.asyncio, "sleep", pause)
    return pauses


def make(records, policy="remove", grace=0.0, known=lambda: [], networks=(), keep=False):
    backend = Backend(networks)
    keeper = OrphanReaper(
        "h",
        Watcher(records),
        backend,
        known,
        keep=keep,
        policy=policy,
        grace=grace,
        stop_timeout=7.0,
        interval=300.0,
        log=logging.getLogger("keeper"),
    )
    return keeper, backend


async def test_an_orphan_is_removed_after_its_grace_period():
    """Not at first sight: a start may be under way that is not in the Hub's database yet."""
    keeper, backend = make([record("a")], grace=3600.0)
    assert await keeper.round() is True
    assert backend.removed == []
    networks = [network("n", "zed", "")]
    keeper, backend = make([record("a")], grace=0.0, networks=networks)
    assert await keeper.round() is False
    assert backend.removed == [("a", 7.0), "n"]


async def test_containers_that_are_kept_are_only_stopped():
    """With ``remove = False`` what is in a container belongs to its server, unless that is gone."""
    records = [record("a"), record("b", server="gone")]
    keeper, backend = make(records, known=lambda: [KnownServer("ann", "", active=False)], keep=True)
    assert await keeper.round() is False
    assert (backend.stopped, backend.removed) == ([("a", 7.0)], [("b", 7.0)])


async def test_one_that_cannot_be_removed(caplog):
    """It is told once, and looked at again soon; the others go."""
    keeper, backend = make([record("a"), record("b")])
    discard = backend.discard

    async def refuse(container_id, **how):
        if container_id == "a":
            raise EngineFailed("remove container a", "device busy", 500)
        await discard(container_id, **how)

    backend.discard = refuse
    assert await keeper.round() is True
    assert backend.removed == [("b", 7.0)]
    assert "device busy" in caplog.text
    caplog.clear()
    await keeper.round()
    assert "name-a" not in caplog.text
    backend.discard = discard
    await keeper.round()
    assert ("a", 7.0) in backend.removed


async def test_report_only_tells(caplog):
    """``orphans = "report"`` touches nothing."""
    keeper, backend = make([record("a")], policy="report", networks=[network("n", "zed", "")])
    await keeper.round()
    assert backend.removed == []
    assert "container name-a" in caplog.text
    assert "network name-n" in caplog.text


async def test_rounds_go_on_after_a_failure(clock, caplog):
    """An Engine that fails once does not end the housekeeping."""
    known = iter([EngineFailed("list", "broken", 500), [], []])

    def ask():
        answer = next(known)
        if isinstance(answer, Exception):
            raise answer
        return answer

    keeper, _ = make([], grace=7.0, known=ask)
    with pytest.raises(asyncio.CancelledError):
        await keeper.run()
    assert clock == [7.0, 300.0, 300.0]
    assert "broken" in caplog.text
