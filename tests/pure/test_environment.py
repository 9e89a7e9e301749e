"""A server's environment in two parts: common to its starts, and personal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dockernamed.desired.environment import PERSONAL, Environment, split

NAMES = st.one_of(st.sampled_from(sorted(PERSONAL)), st.text(min_size=1))


@given(env=st.dictionaries(NAMES, st.text()))
def test_nothing_is_lost_and_nothing_is_in_both(env: dict[str, str]) -> None:
    """Each variable goes into one part, and both together are what was given."""
    parts = split(env)
    assert parts.all == env
    assert not parts.common.keys() & parts.personal.keys()
    assert parts.personal.keys() == env.keys() & PERSONAL


def test_what_is_personal() -> None:
    """Who the server is and what lets it act for its user; not how the Hub is reached."""
    env = {
        "JUPYTERHUB_API_TOKEN": "t",
        "JUPYTERHUB_USER": "ann",
        "JUPYTERHUB_SERVICE_PREFIX": "/user/ann/",
        "JUPYTERHUB_API_URL": "http://hub/hub/api",
        "JUPYTERHUB_SSL_KEYFILE": "/etc/key",
        "LANG": "C",
    }
    assert split(env) == Environment(
        common={
            "JUPYTERHUB_API_URL": "http://hub/hub/api",
            "JUPYTERHUB_SSL_KEYFILE": "/etc/key",
            "LANG": "C",
        },
        personal={
            "JUPYTERHUB_API_TOKEN": "t",
            "JUPYTERHUB_USER": "ann",
            "JUPYTERHUB_SERVICE_PREFIX": "/user/ann/",
        },
    )
