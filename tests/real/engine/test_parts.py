"""Lanes, feeds and the reading of answers, each by itself."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engine.watching import eventually

from dockernamed.backends.observed import ObservedContainer, State, from_list, state_of, updated
from dockernamed.engine import lanes
from dockernamed.engine.client import create_config, host_config
from dockernamed.engine.lanes import Feed, Lane
from dockernamed.engine.wire import Call, demultiplex, parse_items
from dockernamed.errors import ConfigError, EngineFailed

CALL = Call("test", "GET", "/")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


# --- reading -----------------------------------------------------------------------------------


@given(st.lists(JSON, max_size=5), st.sampled_from([None, 0, 2]), st.booleans())
def test_items_of_an_array(items: list[Any], indent: int | None, ascii_only: bool) -> None:
    """Reading an array item by item gives what reading it at once gives."""
    body = json.dumps(items, indent=indent, ensure_ascii=ascii_only).encode()
    assert list(parse_items(CALL, body + b"\n")) == items


@pytest.mark.parametrize("body", [b"null", b"", b" []\n"])
def test_empty_arrays(body: bytes) -> None:
    """Go's nil, and nothing at all, are empty arrays."""
    assert list(parse_items(CALL, body)) == []


@pytest.mark.parametrize(
    "body", [b"[", b"[1,", b"[1", b"{}", b"[1]]", b"[1] x", b'"x"', b"[tru]", b"\xff", b"[}"]
)
def test_no_arrays(body: bytes) -> None:
    """Anything else is the Engine's failure, never an IndexError or an endless loop."""
    with pytest.raises(EngineFailed):
        list(parse_items(CALL, body))


@given(st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=40)), max_size=8))
def test_frames(frames: list[tuple[int, bytes]]) -> None:
    """Frames of a log without a terminal become their payloads in order."""
    body = b"".join(
        bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text for stream, text in frames
    )
    assert demultiplex(body) == b"".join(text for _, text in frames).decode(errors="replace")


@given(st.text(min_size=1).filter(lambda text: text[0] > "\x02"))
def test_no_frames(text: str) -> None:
    """What is not made of frames is text as it is."""
    assert demultiplex(text.encode(errors="replace")) == text.encode(errors="replace").decode()


def test_broken_frame() -> None:
    """What only begins like a frame is text too."""
    assert demultiplex(b"\x01\0\0\0\0\0\0\x09abc") == "\x01\0\0\0\0\0\0\x09abc"


@given(st.binary(max_size=60))
def test_any_log(body: bytes) -> None:
    """No log raises, whatever a container writes."""
    assert isinstance(demultiplex(body), str)


# --- records -----------------------------------------------------------------------------------


def listed(**changes: Any) -> ObservedContainer:
    """A record as read from a list."""
    labels = {"dockernamed.hub": "hub-1", "dockernamed.user": "ann", "dockernamed.server": ""}
    item = {"Id": "a" * 64, "Names": ["/n"], "State": "running", "Labels": labels, **changes}
    record = from_list(item)
    assert record is not None
    return record


@pytest.mark.parametrize(
    ("state", "status", "more", "expected"),
    [
        ("created", "Created", {}, (State.CREATED, None)),
        ("running", "Up 2 hours (unhealthy)", {}, (State.RUNNING, None)),
        ("paused", "Up 2 hours (Paused)", {}, (State.RUNNING, None)),
        ("restarting", "Restarting (1) 2 seconds ago", {}, (State.RUNNING, None)),
        ("exited", "Exited (137) About a minute ago", {}, (State.EXITED, 137)),
        ("exited", "", {"ExitCode": 3}, (State.EXITED, 3)),
        ("exited", "", {}, (State.EXITED, None)),
        ("dead", "Dead", {}, (State.EXITED, None)),
        ("removing", "Removal In Progress", {}, (State.EXITED, None)),
        ("Configured", "", {}, (State.CREATED, None)),
        ("something new", "", {}, (State.RUNNING, None)),
    ],
)
def test_states_in_lists(
    state: str, status: str, more: dict[str, Any], expected: tuple[State, int | None]
) -> None:
    """Each state of Docker and Podman is one of ours; an unknown one is not taken for an end."""
    record = listed(State=state, Status=status, **more)
    assert (record.state, record.exit_code) == expected


def test_odd_items() -> None:
    """What a list's item may lack is empty; without an id, or whose it is, it is none."""
    assert listed(Names=None).name == ""
    labels = {"dockernamed.user": "ann", "dockernamed.server": ""}
    assert from_list({"Names": ["/n"], "Labels": labels}) is None
    assert from_list({"Id": "a" * 64, "Labels": None}) is None


def test_list_knows_less() -> None:
    """A list takes neither exit code nor reason from what is known to have ended so."""
    known = replace(listed(State="exited"), exit_code=137, oom=True, image="lab:1")
    silent = listed(State="exited", Status="", Image="sha256:0")
    assert updated(known, silent) == known
    assert updated(known, listed(State="exited", Status="Exited (137) now")) == known
    other = updated(known, listed(State="exited", Status="Exited (0) now"))
    assert (other.exit_code, other.oom) == (0, False), "it ran again meanwhile"
    running = listed()
    assert updated(running, listed(State="created")) == running, "the list is behind"
    assert updated(running, listed(Names=["/renamed"])).name == "renamed"


def test_state_from_inspect() -> None:
    """An inspect tells the whole state."""
    ended = {"State": {"Status": "exited", "ExitCode": 137, "OOMKilled": True}}
    assert state_of(ended) == {"state": State.EXITED, "exit_code": 137, "oom": True}
    runs = {"State": {"Status": "running", "ExitCode": 0, "OOMKilled": True}}
    assert state_of(runs) == {"state": State.RUNNING, "exit_code": None, "oom": False}


# --- lanes -------------------------------------------------------------------------------------


async def test_lane_returns_and_raises() -> None:
    """What the call returns or raises comes out, without the loop waiting in between."""
    lane = Lane("test-lane", 2)
    assert await lane.run(lambda: 42) == 42
    with pytest.raises(ZeroDivisionError):
        await lane.run(lambda: 1 // 0)
    main = threading.get_ident()
    assert await lane.run(threading.get_ident) != main
    lane.close()


async def test_lane_grows_only_when_needed() -> None:
    """Calls one after another share a thread; at once they have one each, up to the size."""
    lane = Lane("test-lane", 4)
    assert len({await lane.run(threading.get_ident) for _ in range(20)}) == 1
    meeting = threading.Barrier(4)
    await asyncio.wait_for(
        asyncio.gather(*(lane.run(lambda: meeting.wait(10)) for _ in range(8))), 20
    )
    lane.close()


async def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Threads end when they have had nothing to do for a while, and are begun again."""
    monkeypatch.setattr(lanes, "IDLE_SECONDS", 0.01)
    lane = Lane("test-idle", 3)

    def alive() -> bool:
        return any(thread.name.startswith("test-idle") for thread in threading.enumerate())

    for _ in range(3):
        await asyncio.gather(*(lane.run(lambda: None) for _ in range(10)))
        await eventually(lambda: not alive())
    lane.close()


# --- feeds -------------------------------------------------------------------------------------


class Numbers:
    """Pushes numbers until the feed is closed."""

    def __init__(self, end: int) -> None:
        self.end, self.pushed, self.aborted = end, 0, False

    def read(self, opened: Callable[[], None], push: Callable[[list[Any]], bool]) -> None:
        """See `lanes.Source`."""
        opened()
        for number in range(self.end):
            if not push([number]):
                return
            self.pushed += 1

    def abort(self) -> None:
        """See `lanes.Source`."""
        self.aborted = True


async def test_feed_loses_nothing() -> None:
    """All items arrive, in order, and then the end."""
    async with Feed[int]("test-feed", Numbers(10_000), limit=7) as feed:
        assert [item async for batch in feed for item in batch] == list(range(10_000))


async def test_slow_reader_holds_the_thread_up() -> None:
    """Who reads slowly makes the thread wait, not the memory grow."""
    source = Numbers(10**9)
    async with Feed[int]("test-feed", source, limit=100) as feed:
        assert await feed.opened(10)
        await eventually(lambda: source.pushed == 101)
        async for batch in feed:
            assert len(batch) == 101
            break
        await eventually(lambda: source.pushed > 101)
    assert source.aborted
    await eventually(lambda: not any(t.name == "test-feed" for t in threading.enumerate()))


async def test_feed_raises_at_the_end() -> None:
    """An error in the thread is raised once what came before it has been read."""

    class Failing(Numbers):
        def read(self, opened: Callable[[], None], push: Callable[[list[Any]], bool]) -> None:
            super().read(opened, push)
            raise ZeroDivisionError

    async with Feed[int]("test-feed", Failing(3)) as feed:
        seen: list[int] = []

        async def read() -> None:
            async for batch in feed:
                seen.extend(batch)

        with pytest.raises(ZeroDivisionError):
            await read()
        assert seen == [0, 1, 2]


async def test_feed_that_never_opens() -> None:
    """An answer that isn't begun is waited for no longer than asked."""
    release = threading.Event()

    class Silent(Numbers):
        def read(self, opened: Callable[[], None], push: Callable[[list[Any]], bool]) -> None:
            release.wait(10)

        def abort(self) -> None:
            release.set()

    async with Feed[int]("test-feed", Silent(0)) as feed:
        assert await feed.opened(0.01) is False


# --- the SDK's names ---------------------------------------------------------------------------


def test_host_config() -> None:
    """Arguments of the SDK become keys of the API, and nothing is added."""
    given_ = {"mem_limit": "1g", "cap_drop": ["ALL"], "ulimits": [{"Name": "nofile", "Soft": 9}]}
    assert host_config(given_) == {
        "Memory": 2**30,
        "CapDrop": ["ALL"],
        "Ulimits": [{"Name": "nofile", "Soft": 9, "Hard": None}],
    }
    assert host_config({}) == {}
    assert host_config({"network_mode": "host"}) == {"NetworkMode": "host"}


def test_create_config() -> None:
    """The same for a container's own settings; only what was asked for is set."""
    asked = {"hostname": "h", "environment": {"A": "1"}, "tty": True, "platform": "linux/arm64"}
    assert create_config(asked) == {
        "Hostname": "h", "Env": ["A=1"], "Tty": True, "platform": "linux/arm64",
    }  # fmt: skip
    assert create_config({}) == {}


@pytest.mark.parametrize(
    ("read", "field", "wrong", "hint"),
    [
        (host_config, "extra_host_config", {"memlimit": "1g"}, "mem_limit"),
        (host_config, "extra_host_config", {"mem_limit": "much"}, "much"),
        (host_config, "extra_host_config", {"cap_add": 1, "ulimits": 3}, "ulimits"),
        (host_config, "extra_host_config", {"version": "1.2"}, "version"),
        (create_config, "extra_create_kwargs", {"host_name": "x"}, "hostname"),
        (create_config, "extra_create_kwargs", {"image": "x"}, "image"),
        (create_config, "extra_create_kwargs", {"name": "x"}, "name"),
        (create_config, "extra_create_kwargs", {"command": "sh -c 'x"}, "quotation"),
    ],
)
def test_settings_that_the_sdk_refuses(
    read: Callable[[dict[str, object]], object], field: str, wrong: dict[str, object], hint: str
) -> None:
    """An unknown name or unreadable value is a ConfigError that helps."""
    with pytest.raises(ConfigError, match=hint) as caught:
        read(wrong)
    assert caught.value.field == field
