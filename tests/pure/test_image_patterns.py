"""images.reference: the grammar of image references as regular expressions."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from dockernamed.errors import ImageError
from dockernamed.images.reference import NAMED, REFERENCE, may_be_id, parse, same_image, slot

SHA = "sha256:" + "a" * 64
PIECES = [
    *("lab", "Lab", "a.b", "a_b", "a__b", "a___b", "localhost", "docker.io", "index.docker.io"),
    *("INDEX.docker.IO", "library", "/", "/", "/", ":", ":", "@", "5000", "123456", "latest"),
    *("v1.2", "-", "_", ".", SHA, "sha256:" + "A" * 64, "sha512:" + "0" * 128, "md5:" + "b" * 32),
    *("[::1]", "é", " ", "\n", "a" * 64, "x" * 250, "0" * 64),
]
texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=9).map("".join)
NAMES = [
    *("lab", "lab:latest", "lab:1", "docker.io/lab", "Docker.IO/library/lab", "a/b", "a.b:latest"),
    *("index.docker.io/lab:latest", "library/lab", "library/a/b", "quay.io/a/b", "docker.io/a/b"),
    *("QUAY.io/a/b:latest", "quay.io/a/b:2", f"lab@{SHA}", f"lab:5@{SHA}", f"library/lab:9@{SHA}"),
    *("quay.io/library/lab", "localhost/lab", "localhost:5000/lab", "LOCALHOST:5000/lab"),
    "library/library/lab",
]


def is_reference(text: str) -> bool:
    """What `parse` says."""
    try:
        parse(text)
    except ImageError:
        return False
    return True


@given(texts)
def test_the_pattern_is_the_parser(text: str) -> None:
    """Texts made of the pieces of references, put together in any order."""
    assert bool(re.fullmatch(REFERENCE, text)) == is_reference(text)


@settings(max_examples=examples(20))
@given(st.from_regex(REFERENCE, fullmatch=True))
def test_what_the_pattern_makes_is_a_reference(text: str) -> None:
    """Nothing that it matches is beyond the parser."""
    assert is_reference(text)


@pytest.mark.parametrize("length", [254, 255, 256, 257])
@pytest.mark.parametrize("form", ["{}", "{}:tag", "{}@" + SHA, "quay.io:443/{}", "{}/end"])
def test_length_of_the_name(length: int, form: str) -> None:
    """255 characters, registry included, tag and digest not."""
    text = form.format("a" * (length - len(form.split("@")[0].replace(":tag", "")) + 2))
    assert bool(re.fullmatch(REFERENCE, text)) == is_reference(text)


@given(st.sampled_from(NAMES), st.sampled_from(NAMES))
def test_ways_to_write_one_image(first: str, second: str) -> None:
    """The pattern of one matches another exactly when Docker would pull the same for both."""
    same = parse(first).canonical == parse(second).canonical
    assert bool(re.fullmatch(same_image(parse(first)), second)) == same


SLOTS = [
    ("quay.io/lab/", ""),
    ("quay.io/lab/", ":1"),
    ("quay.io/", "/lab"),
    ("quay.io/lab:", ""),
    ("quay.io/lab:v", ""),
    ("lab:v", "-x"),
    ("lab-", "-x:1"),
    ("lab", ""),
    ("", ":latest"),
    ("", "/lab"),
    ("lab@", ""),
    ("lab:", f"@{SHA}"),
]


@pytest.mark.parametrize(("before", "after"), SLOTS)
@settings(max_examples=examples(10))
@given(data=st.data())
def test_what_fits_a_slot_makes_a_reference(before: str, after: str, data: st.DataObject) -> None:
    """Whatever matches, up to the length, is a reference with the rest around it."""
    pattern, length = slot(before, after)
    fits = st.from_regex(pattern, fullmatch=True).filter(lambda text: len(text) <= length)
    text = data.draw(fits)
    assert is_reference(before + text + after)
    assert not may_be_id(before + text + after)
    assert parse(before + text + after).registry == ("quay.io" if "quay.io" in before else None)


@pytest.mark.parametrize(
    ("before", "after", "fine"),
    [
        ("quay.io/lab:", "", "2024-01-01"),
        ("quay.io/lab/", "", "scipy-notebook:2024"),
        ("quay.io/lab/", "", "deep/scipy"),
        ("quay.io/lab/", ":1", "deep/scipy"),
        ("lab@", "", SHA),
        ("lab-", ":1", "gpu"),
    ],
)
def test_slots_take_what_one_expects(before: str, after: str, fine: str) -> None:
    """A tag after a colon, a path after a slash, a word in a word."""
    pattern, length = slot(before, after)
    assert re.fullmatch(pattern, fine)
    assert len(fine) <= length


@pytest.mark.parametrize(
    ("before", "after", "word"),
    [
        ("", "/lab", "localhost"),
        ("", "/lab:1", "localhost"),
        ("local", "/lab", "host"),
        ("", "host/lab", "local"),
        ("", "", "a6aa129f350c"),
        ("", "", "sha256:a6aa"),
        ("a6aa", "", "129f350c"),
        ("", "350c", "a6aa129f"),
    ],
)
def test_no_word_makes_a_registry_or_an_id(before: str, after: str, word: str) -> None:
    """Neither ``localhost`` nor digits of an id, whatever part of them stands around the slot."""
    pattern, _ = slot(before, after)
    assert not re.fullmatch(pattern, word)
    assert re.fullmatch(pattern, word + "z") or not (before + after)


@given(st.from_regex("(?:sha256:)?[0-9a-f]{1,64}", fullmatch=True))
def test_what_could_be_an_id(text: str) -> None:
    """An Engine takes any first digits of an id for its image, with or without the algorithm."""
    assert may_be_id(text)
    assert not re.fullmatch(NAMED, text)
    assert re.fullmatch(NAMED, f"{text.removeprefix('sha256:')[:63]}:latest")


@given(texts)
def test_named_is_every_other_reference(text: str) -> None:
    """The pattern for users leaves out the ids, and nothing else."""
    assert bool(re.fullmatch(NAMED, text)) == (is_reference(text) and not may_be_id(text))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        *(("Lab/", ""), ("{username}/", ""), ("a b:", "")),
        *(("", ".example/lab"), ("registry.", "/lab"), ("qu", ".io/lab"), ("", ":5000/lab")),
        *(("sha256:", ""), ("sha256:a6aa", "")),
    ],
)
def test_no_slot_where_no_reference_comes_of_it(before: str, after: str) -> None:
    """What is around it must be right by itself, and neither a registry's name nor an id."""
    with pytest.raises(ImageError):
        slot(before, after)
