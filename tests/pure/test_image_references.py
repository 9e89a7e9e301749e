"""images.reference: what is a reference, and which of them are one image."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.examples import examples

from dockernamed.errors import ImageError
from dockernamed.images.reference import ImageRef, parse, pinned

SHA = "sha256:" + "0123456789abcdef" * 4
OTHER = "sha256:" + "fedcba9876543210" * 4

# written, name to pull, tag to pull, registry of the credentials, canonical
REFERENCES = [
    ("lab", "lab", "latest", "docker.io", "docker.io/library/lab:latest"),
    ("lab:3.12", "lab", "3.12", "docker.io", "docker.io/library/lab:3.12"),
    ("jupyter/lab", "jupyter/lab", "latest", "docker.io", "docker.io/jupyter/lab:latest"),
    ("a/b/c:X_1.-", "a/b/c", "X_1.-", "docker.io", "docker.io/a/b/c:X_1.-"),
    ("docker.io/lab", "docker.io/lab", "latest", "docker.io", "docker.io/library/lab:latest"),
    ("Docker.IO/a/b", "Docker.IO/a/b", "latest", "docker.io", "docker.io/a/b:latest"),
    ("index.docker.io/a", "index.docker.io/a", "latest", "docker.io", "docker.io/library/a:latest"),
    ("quay.io/j/lab:1", "quay.io/j/lab", "1", "quay.io", "quay.io/j/lab:1"),
    ("quay.io/lab", "quay.io/lab", "latest", "quay.io", "quay.io/lab:latest"),
    ("localhost/lab", "localhost/lab", "latest", "localhost", "localhost/lab:latest"),
    ("localhost:5000/a/b:t", "localhost:5000/a/b", "t", "localhost:5000", "localhost:5000/a/b:t"),
    ("localhost:5000", "localhost", "5000", "docker.io", "docker.io/library/localhost:5000"),
    ("Reg:5000/a", "Reg:5000/a", "latest", "reg:5000", "reg:5000/a:latest"),
    ("10.0.0.1:5000/a", "10.0.0.1:5000/a", "latest", "10.0.0.1:5000", "10.0.0.1:5000/a:latest"),
    ("[::1]:5000/a:t", "[::1]:5000/a", "t", "[::1]:5000", "[::1]:5000/a:t"),
    ("a.b-c--d/e", "a.b-c--d/e", "latest", "a.b-c--d", "a.b-c--d/e:latest"),
    (
        "x/a.b_c__d-e--f",
        "x/a.b_c__d-e--f",
        "latest",
        "docker.io",
        "docker.io/x/a.b_c__d-e--f:latest",
    ),
    (f"lab@{SHA}", "lab", SHA, "docker.io", f"docker.io/library/lab@{SHA}"),
    (f"r:1/lab:3@{SHA}", "r:1/lab", SHA, "r:1", f"r:1/lab@{SHA}"),
]

WRONG = [
    ("", "repository is missing"),
    (":latest", "repository is missing"),
    (f"@{SHA}", "repository is missing"),
    ("quay.io/", "repository is missing"),
    ("Lab", "must be lower case, such as 'lab'"),
    ("Foo/bar", "must be lower case, such as 'foo/bar'"),
    ("quay.io/Foo/bar", "must be lower case"),
    ("a//b", "''"),
    ("/a", "''"),
    ("a/", "''"),
    ("a b", "'a b'"),
    (" a", "' a'"),
    ("a\n", r"'a\n'"),
    ("a\0b", r"'a\x00b'"),
    ("caf\xe9", "'caf\xe9'"),
    ("-a", "'-a'"),
    ("a-", "'a-'"),
    ("a..b", "'a..b'"),
    ("a___b", "'a___b'"),
    ("../../etc", "'..' is not a registry"),
    ("x/../../etc", "'..'"),
    ("http://quay.io/a", "'http:' is not a registry"),
    ("a:b/c", "'a:b' is not a registry"),
    ("a.b_c/d", "'a.b_c' is not a registry"),
    ("-a.b/c", "'-a.b' is not a registry"),
    ("a:", "a tag has"),
    ("a:-x", "a tag has"),
    ("a:b:c", "a tag has"),
    ("a:\u0661", "a tag has"),
    ("a:x\n", "a tag has"),
    ("a:" + "x" * 129, "a tag has"),
    ("a@", "a digest is"),
    ("a@sha256:12", "a digest is"),
    (f"a@{SHA.upper()}", "a digest is"),
    (f"a@{SHA[:-1]}F", "a digest is"),
    (f"a@{SHA}0", "a digest is"),
    ("a@md5:" + "0" * 32, "a digest is"),
    (f"a@{SHA}@{SHA}", "a digest is"),
    ("0" * 64, "the id of an image"),
    ("a/" * 127 + "ab", "longer than 255"),
    ("a" * 601, "longer than 600"),
]

plain = st.from_regex(r"[a-z0-9]+([._]|__|-{1,3})?[a-z0-9]+", fullmatch=True)
hosts = st.sampled_from(["localhost", "localhost:5000", "quay.io", "R.example:1", "[::1]"])
references = st.builds(
    ImageRef,
    registry=st.none() | hosts,
    repository=st.lists(plain, min_size=1, max_size=3)
    .map("/".join)
    .filter(lambda path: "/" not in path or "." not in path.split("/")[0])
    .filter(lambda path: not path.startswith("localhost/") and len(path) < 200 and len(path) != 64),
    tag=st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", fullmatch=True),
    digest=st.none() | st.just(SHA),
)
many = settings(max_examples=examples(100))


@pytest.mark.parametrize(("text", "name", "tag", "registry", "canonical"), REFERENCES)
def test_references(text: str, name: str, tag: str, registry: str, canonical: str) -> None:
    """What a pull is asked for, whose credentials it needs, and what it is in full."""
    ref = parse(text)
    assert str(ref) == text
    assert (ref.name, ref.pull_tag, ref.registry_key) == (name, tag, registry)
    assert ref.canonical == canonical


@pytest.mark.parametrize(("text", "why"), WRONG)
def test_what_is_no_reference(text: str, why: str) -> None:
    """The message names the whole text and the part that is wrong."""
    with pytest.raises(ImageError) as caught:
        parse(text)
    assert caught.value.image == text
    assert caught.value.message.startswith("not an image reference: ")
    assert why in caught.value.message


def test_implicit_parts_are_marked() -> None:
    """What was not written is None, so that a message shows what was written."""
    assert parse("lab") == ImageRef(None, "lab", None, None)
    assert parse(f"q.io:1/a/b:t@{SHA}") == ImageRef("q.io:1", "a/b", "t", SHA)


@pytest.mark.parametrize(("one", "other", "same"), [
    ("lab", "lab:latest", True),
    ("lab", "docker.io/library/lab", True),
    ("index.docker.io/library/lab:latest", "library/lab", True),
    ("a/b", "docker.io/a/b:latest", True),
    ("QUAY.io/a", "quay.io/a", True),
    (f"lab:1@{SHA}", f"lab:2@{SHA}", True),
    ("lab", "lab:Latest", False),
    ("lab", "a/lab", False),
    ("quay.io/lab", "quay.io/library/lab", False),
    ("localhost/lab", "localhost:5000/lab", False),
    ("lab", f"lab@{SHA}", False),
])  # fmt: skip
def test_canonical_tells_whether_two_are_one(one: str, other: str, same: bool) -> None:
    """Two ways to write one image have one canonical form; two images never do."""
    assert (parse(one).canonical == parse(other).canonical) is same


@pytest.mark.parametrize(("image", "known", "with_digest"), [
    ("lab", ["lab@" + SHA], "lab:latest@" + SHA),
    ("lab:1", ["lab@" + SHA], "lab:1@" + SHA),
    ("docker.io/library/lab:1", ["lab@" + SHA], "docker.io/library/lab:1@" + SHA),
    ("lab:1", ["docker.io/library/lab@" + SHA], "lab:1@" + SHA),
    ("q.io:5/a/lab:1", ["lab@" + OTHER, "q.io:5/a/lab@" + SHA], "q.io:5/a/lab:1@" + SHA),
    ("Q.io/a", ["q.io/a@" + SHA], "Q.io/a:latest@" + SHA),
    ("lab:1", [f"lab@{OTHER}", f"lab@{SHA}"], f"lab:1@{min(SHA, OTHER)}"),
    ("lab@" + SHA, ["lab@" + OTHER], "lab@" + SHA),
    ("lab:1@" + SHA, [], "lab:1@" + SHA),
    ("lab:1", [], "lab:1"),
    ("lab:1", ["q.io/lab@" + SHA, "a/lab@" + SHA], "lab:1"),
    ("lab", ["<none>@<none>", "lab:latest", ""], "lab"),
])  # fmt: skip
def test_a_digest_pins_a_tag(image: str, known: list[str], with_digest: str) -> None:
    """The digest is that of the same repository, however it is written, and never another's."""
    assert pinned(image, known) == with_digest
    assert pinned(image, reversed(known)) == with_digest


@given(references, references)
@many
def test_pinned_means_the_same_repository(ref: ImageRef, other: ImageRef) -> None:
    """Whatever else the Engine has, what comes out names the repository that was asked for."""
    found = parse(pinned(str(ref), [str(other)]))
    assert found.name == ref.name
    assert found == ref or found.digest == (ref.digest or other.digest)


def test_imagename_is_fit_for_object_names() -> None:
    """Separators become ``-``; the rest stays as it was written."""
    assert parse(f"q.io:5/a/b:t@{SHA}").imagename == f"q.io-5-a-b-t-{SHA.replace(':', '-')}"
    assert parse("lab").imagename == "lab"


@given(references)
@many
def test_every_reference_survives_being_written(ref: ImageRef) -> None:
    """What is put together from good parts is read back as the same parts, twice over."""
    assert parse(str(ref)) == ref
    full = parse(ref.canonical)
    assert full.canonical == ref.canonical
    assert full.pull_tag == ref.pull_tag


@given(st.text(st.characters(exclude_categories=()), max_size=20) | st.text("aA.:/@-_", max_size=9))
@many
def test_any_text_is_a_reference_or_an_image_error(text: str) -> None:
    """Nothing else happens, and what is accepted is written back as it was."""
    try:
        ref = parse(text)
    except ImageError:
        return
    assert str(ref) == text
    assert text.isascii()
    assert text.isprintable()
