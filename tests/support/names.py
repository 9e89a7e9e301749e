"""Names that users and servers may have, made up for the tests of naming.py."""

from __future__ import annotations

import itertools
import re
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from dockernamed import naming
from dockernamed.naming import Key, object_name
from support.examples import examples

LABEL = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")

# Arbitrary Unicode (lone surrogates too), and texts close to each other and to our own forms.
texts = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=80),
    st.text("aB-", max_size=5),
    st.text("a-", min_size=40, max_size=70),
    st.from_regex(r"(a|b-)---[a-z2-7]{16}", fullmatch=True),
    st.text("ab", max_size=3).map(lambda text: object_name(Key("", text, "A"))),
)
pairs = st.tuples(texts, texts)
many = settings(max_examples=examples(60))
few = settings(max_examples=examples(20))  # where repeated for each template


def key(user: str, server: str, hub: str = "hub") -> Key:
    """The key of a server, of one Hub unless told."""
    return Key(hub, user, server)


def words(alphabet: str, length: int) -> list[str]:
    """Every word over the alphabet, up to that length, the empty one too."""
    sizes = range(length + 1)
    return ["".join(w) for n in sizes for w in itertools.product(alphabet, repeat=n)]


def fields(user: str, server: str, **more: Any) -> dict[str, str]:
    """The namespace of a server."""
    return naming.namespace(key(user, server), prefix="jupyter", **more)
