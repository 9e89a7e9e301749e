"""Containers that no server of the Hub stands for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import pytest

from dockernamed.backends.base import SeenNetwork
from dockernamed.backends.observed import ObservedContainer, State
from dockernamed.errors import CallNotAllowed, EngineFailed
from dockernamed.lifecycle.orphans import KnownServer, OrphanReaper, orphaned_networks, orphans


def record(
    id: str, user: str = "ann", server: str = "", state: State = State.RUNNING
) -> ObservedContainer:
    name = f"name-{id}"
    return ObservedContainer(id, name, user, server, "spec", "image", state, made_as=name)


def ids(records: Iterable[ObservedContainer]) -> list[str]:
    return [one.id for one in records]


def test_a_container_of_nobody_is_an_orphan() -> None:
    """No such user, or no such server of a known user."""
    records = [record("a", user="zed"), record("b", server="gone"), record("c")]
    assert ids(orphans(records, [KnownServer("ann", "", active=True)], keep=False)) == ["a", "b"]


def test_a_container_of_a_stopped_server_is_an_orphan() -> None:
    """The Hub was killed between its own stop and the container's: nobody would stop it."""
    known = [KnownServer("ann", "", active=False)]
    assert ids(orphans([record("a"), record("b", state=State.EXITED)], known, keep=False)) == [
        "a",
        "b",
    ]


def test_kept_containers_of_known_servers_stay() -> None:
    """With ``remove = False`` a stopped container is there on purpose; a running one is not."""
    known = [KnownServer("ann", "", active=False)]
    found = orphans([record("a", state=State.EXITED), record("b")], known, keep=True)
    assert ids(found) == ["b"]


def test_a_running_server_of_a_renamed_user_is_no_orphan() -> None:
    """Labels say the old name; the Hub knows the container by its id."""
    known = [KnownServer("bob", "", active=True, object_id="a")]
    assert orphans([record("a", user="ann")], known, keep=False) == []


def network(id: str, user: str, server: str) -> SeenNetwork:
    labels = {"dockernamed.hub": "h", "dockernamed.user": user, "dockernamed.server": server}
    return SeenNetwork(id, f"name-{id}", labels)


def test_networks() -> None:
    """Only those of a server that the Hub has no more; not those of the whole Hub, or stopped."""
    networks = [
        network("a", "ann", ""),
        network("b", "ann", "gone"),
        network("c", "zed", ""),
        SeenNetwork("d", "shared", {"dockernamed.hub": "h"}),
        SeenNetwork("e", "bridge", {}),
    ]
    found = orphaned_networks(networks, [KnownServer("ann", "", active=False)])
    assert [one.id for one, _ in found] == ["b", "c"]


class Backend:
    """Notes what it is asked for: (container, seconds of grace), or a network."""

    def __init__(self, networks: Sequence[SeenNetwork] = ()) -> None:
        self._networks = networks
        self.removed: list[tuple[str, float] | str] = []
        self.stopped: list[tuple[str, float] | str] = []
        self.broken: set[str] = set()
        self.tidied: list[tuple[str, bool]] = []

    async def tidy(self, hub: str, *, orphans: bool) -> None:
        self.tidied.append((hub, orphans))

    async def discard(self, container_id: str, *, grace: float, keep: bool) -> None:
        if container_id in self.broken:
            raise EngineFailed(f"remove container {container_id}", "device busy", 500)
        (self.stopped if keep else self.removed).append((container_id, grace))

    async def networks(self, hub: str) -> Sequence[SeenNetwork]:
        if "networks" in self.broken:
            raise CallNotAllowed("list networks", "a proxy does not allow GET /networks", 403)
        return self._networks

    async def discard_network(self, network_id: str) -> None:
        self.removed.append(network_id)


class Watcher:
    """In sync at once, with these containers."""

    noun = "container"

    def __init__(self, records: Sequence[ObservedContainer]) -> None:
        self._records = records
        self.wanted: set[str] = set()

    def is_wanted(self, id: str) -> bool:
        return id in self.wanted

    def records(self) -> Sequence[ObservedContainer]:
        return self._records

    async def in_sync(self) -> None:
        return


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses end at once, and are noted."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) > 2:
            raise asyncio.CancelledError

    monkeypatch.setattr(asyncio, "sleep", pause)
    return pauses


def make(
    records: Sequence[ObservedContainer],
    policy: str = "remove",
    grace: float = 0.0,
    known: Callable[[], Iterable[KnownServer]] = tuple,
    networks: Sequence[SeenNetwork] = (),
    keep: bool = False,
) -> tuple[OrphanReaper, Backend]:
    """A reaper, and what it has things removed by."""
    watcher: Any = Watcher(records)
    backend: Any = Backend(networks)
    reaper = OrphanReaper(
        "h",
        watcher,
        backend,
        known,
        keep=keep,
        policy=policy,
        grace=grace,
        stop_timeout=7.0,
        interval=300.0,
        log=logging.getLogger("reaper"),
    )
    return reaper, backend


@pytest.mark.parametrize("policy", ["remove", "report", "off"])
async def test_what_was_left_of_us(policy: str, caplog: pytest.LogCaptureFixture) -> None:
    """With each round, what is still to be done is done; orphans are the admin's choice."""
    reaper, backend = make([record("a")], policy)
    await reaper.round()
    assert backend.tidied == [("h", policy == "remove")]
    assert bool(backend.removed) is (policy == "remove")
    assert ("name-a" in caplog.text) is (policy != "off")


async def test_an_orphan_is_removed_after_its_grace_period() -> None:
    """Not at first sight: a start may be under way that is not in the Hub's database yet."""
    reaper, backend = make([record("a")], grace=3600.0)
    assert await reaper.round() is True
    assert backend.removed == []
    networks = [network("n", "zed", "")]
    reaper, backend = make([record("a")], grace=0.0, networks=networks)
    assert await reaper.round() is False
    assert backend.removed == [("a", 7.0), "n"]


def test_what_is_kept_and_has_ended_by_itself() -> None:
    """It is there on purpose, unless the backend is still to have it run."""
    ended, known = [record("a", state=State.EXITED)], [KnownServer("ann", "", active=False)]
    assert orphans(ended, known, keep=True) == []
    assert orphans(ended, known, keep=True, wanted={"a"}.__contains__) == ended


async def test_containers_that_are_kept_are_only_stopped() -> None:
    """With ``remove = False`` what is in a container belongs to its server, unless that is gone."""
    records = [record("a"), record("b", server="gone")]
    reaper, backend = make(records, known=lambda: [KnownServer("ann", "", active=False)], keep=True)
    assert await reaper.round() is False
    assert (backend.stopped, backend.removed) == ([("a", 7.0)], [("b", 7.0)])


async def test_one_that_cannot_be_removed(caplog: pytest.LogCaptureFixture) -> None:
    """It is told once, and looked at again soon; the others go."""
    reaper, backend = make([record("a"), record("b")])
    backend.broken = {"a"}
    assert await reaper.round() is True
    assert backend.removed == [("b", 7.0)]
    assert "device busy" in caplog.text
    caplog.clear()
    await reaper.round()
    assert "name-a" not in caplog.text
    backend.broken = set()
    await reaper.round()
    assert ("a", 7.0) in backend.removed


async def test_networks_that_cannot_be_listed(caplog: pytest.LogCaptureFixture) -> None:
    """Containers are removed all the same; that networks stay is told once."""
    reaper, backend = make([record("a")], networks=[network("n", "zed", "")])
    backend.broken = {"networks"}
    assert await reaper.round() is False
    await reaper.round()
    assert backend.removed == [("a", 7.0)] * 2
    assert caplog.text.count("a proxy does not allow GET /networks") == 1


@pytest.mark.parametrize("noun", ["container", "service"])
async def test_report_only_tells(
    noun: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``orphans = "report"`` touches nothing, and calls things what they are on their backend."""
    monkeypatch.setattr(Watcher, "noun", noun)
    reaper, backend = make([record("a")], policy="report", networks=[network("n", "zed", "")])
    await reaper.round()
    assert backend.removed == []
    assert f"Orphan: {noun} name-a" in caplog.text
    assert "network name-n" in caplog.text


async def test_rounds_go_on_after_a_failure(
    clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    """An Engine that fails once does not end the housekeeping."""
    answers = iter([EngineFailed("list", "broken", 500), None, None])

    def ask() -> list[KnownServer]:
        error = next(answers)
        if error is not None:
            raise error
        return []

    reaper, _ = make([], grace=7.0, known=ask)
    with pytest.raises(asyncio.CancelledError):
        await reaper.run()
    assert clock == [7.0, 300.0, 300.0]
    assert "broken" in caplog.text
