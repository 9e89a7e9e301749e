"""A server's environment in three parts: common to its starts, personal, and secret."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dockernamed.desired.environment import PERSONAL, TOKENS, Environment, split

NAMES = st.one_of(st.sampled_from(sorted(PERSONAL | TOKENS)), st.text(min_size=1))


@given(env=st.dictionaries(NAMES, st.text()))
def test_nothing_is_lost_and_nothing_is_in_two(env: dict[str, str]) -> None:
    """Each variable goes into one part, and all together are what was given."""
    parts = split(env)
    assert parts.all == env
    assert len(parts.common) + len(parts.personal) + len(parts.secret) == len(env)
    assert parts.personal.keys() == env.keys() & PERSONAL
    assert parts.secret.keys() == env.keys() & TOKENS


@given(env=st.dictionaries(NAMES, st.text()), names=st.sets(st.text(min_size=1)))
def test_what_the_admin_calls_secret_is_nowhere_else(env: dict[str, str], names: set[str]) -> None:
    """It wins over a variable of that name, whose value is gone."""
    secret = dict.fromkeys(names - PERSONAL - TOKENS, "s3cret")
    parts = split({**env, **dict.fromkeys(names, "plain")}, secret)
    assert not secret.keys() & {**parts.common, **parts.personal}.keys()
    assert secret.items() <= parts.secret.items()
    assert parts.private_only == sorted(secret)


def test_no_secret_in_the_text_of_the_object() -> None:
    """Whatever logs or raises with it shows the names of nothing secret."""
    parts = split({"JUPYTERHUB_API_TOKEN": "t0ken", "LANG": "C"}, {"DB": "s3cret"})
    assert "t0ken" not in repr(parts)
    assert "s3cret" not in repr(parts)


def test_what_is_personal() -> None:
    """Who the server is; what lets it act for its user is secret, how it gets to the Hub not."""
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
        secret={"JUPYTERHUB_API_TOKEN": "t"},
        personal={
            "JUPYTERHUB_USER": "ann",
            "JUPYTERHUB_SERVICE_PREFIX": "/user/ann/",
        },
    )
