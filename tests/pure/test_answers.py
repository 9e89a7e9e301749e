"""What is read from the body of an Engine's answer, whatever it holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockernamed.engine.call import Call, demultiplex, demultiplex_service, parse_items
from dockernamed.errors import EngineFailed

CALL = Call("test", "GET", "/")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


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


def frame(stream: int, text: bytes) -> bytes:
    """A part of a log without a terminal."""
    return bytes([stream, 0, 0, 0]) + len(text).to_bytes(4, "big") + text


@pytest.mark.parametrize(
    ("body", "text", "missing"),
    [
        (b"", "", ""),
        (frame(1, b"a\n") + frame(2, b"b\n"), "a\nb\n", ""),
        (
            frame(1, b"a\n") + frame(3, b"node x is not available\n"),
            "a\n",
            "node x is not available",
        ),
        (frame(1, b"a\n") + frame(1, b"broken off")[:-3], "a\n", ""),
        (frame(1, b"a\n")[:5], "", ""),
        (b"of a terminal\n", "of a terminal\n", ""),
    ],
)
def test_log_of_a_service(body: bytes, text: str, missing: str) -> None:
    """What came is read up to the last whole part, apart from what the manager itself says."""
    assert demultiplex_service(body) == (text, missing)


@given(st.binary(max_size=60))
def test_any_log_of_a_service(body: bytes) -> None:
    """No log raises, whatever a container writes."""
    text, missing = demultiplex_service(body)
    assert isinstance(text + missing, str)
