"""Which containers are a server's own: labels can be inherited, so they alone prove nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dockernamed import naming
from dockernamed.desired.provenance import Provenance, ServerRef
from dockernamed.desired.spec import LABEL_START

KEY = naming.Key("hub-1", "ann", "exp-1")
NAME = "lab-ann--exp-1"
LABELS = {**naming.labels(KEY), naming.LABEL_CONTAINER: NAME, LABEL_START: "s1"}
ORIGINAL = Provenance.read("x", NAME, LABELS)


def test_labels_say_whose_a_container_is() -> None:
    """Hub, user and server, all three."""
    server = ServerRef(KEY)
    assert server.has(ORIGINAL)
    for key in (replace(KEY, hub="h"), replace(KEY, user="u"), replace(KEY, server=""), None):
        assert not server.has(replace(ORIGINAL, key=key))


def test_ids_say_it_first() -> None:
    """A renamed user's container has the labels of whoever has that name now, or any name."""
    server = ServerRef(KEY, own_id="mine", others={"theirs"})
    mine = Provenance("mine", "renamed-by-hand", replace(KEY, user="before"), NAME)
    assert server.has(mine)
    assert not server.has(replace(ORIGINAL, id="theirs"))
    assert not ServerRef(KEY).has(Provenance("", "", None))


@pytest.mark.parametrize("name", ["frosty_bell", "my-copy", f"{NAME}-2", ""])
def test_a_copy_has_another_name(name: str) -> None:
    """``docker commit`` and ``docker run`` hand on every label, and give another name."""
    assert not ServerRef(KEY).has(Provenance.read("y", name, LABELS))


def test_an_image_with_our_labels() -> None:
    """Labels written by hand say neither name nor start, even if the container has our name."""
    labels = naming.labels(KEY)
    assert not ServerRef(KEY).has(Provenance.read("y", "jupyter-ann--exp-1", labels))


def test_a_copy_with_the_name_of_a_removed_original() -> None:
    """The Hub knows which container its last start made: the same start made no second one."""
    server = ServerRef(KEY, made={"s1": "x"})
    assert server.has(ORIGINAL)
    assert not server.has(replace(ORIGINAL, id="y"))
    assert server.has(replace(ORIGINAL, id="y", start="s2")), "a later start, of a killed Hub"


@pytest.mark.parametrize(
    ("name", "start", "expected"),
    [
        ("jupyter-ann--exp-1", "s1", True),
        ("lab-west-ann--exp-1", "s1", True),
        ("jupyter-ann--exp-1", "", False),
        ("jupyter-ann--exp-2", "s1", False),
        ("ann--exp-1", "s1", False),
        ("frosty_bell", "s1", False),
        ("", "s1", False),
    ],
)
def test_containers_of_version_0_1(name: str, start: str, expected: bool) -> None:
    """They have no label with their name: it must be one that the default template gives."""
    labels = {**naming.labels(KEY), LABEL_START: start}
    assert ServerRef(KEY).has(Provenance.read("x", name, labels)) is expected


def test_what_the_hub_knows() -> None:
    """The container in its state, and the one of its last start."""
    server = ServerRef(KEY, own_id="own", made={"s1": "kept"})
    assert [server.knows(id) for id in ("own", "kept", "other", "")] == [True, True, False, False]
    assert not ServerRef(KEY).knows("")
