"""desired.changes: what a hook made of the request that makes a container."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockernamed import naming
from dockernamed.desired.changes import Changes, changes_between, patched
from dockernamed.desired.environment import Environment
from dockernamed.desired.mounts import Mount
from dockernamed.desired.spec import LABEL_START, ServerSpec, container_config, spec_hash
from dockernamed.errors import ConfigError

SPEC = ServerSpec(
    naming.Key("hub", "ann", "lab"),
    ("jupyter-ann",),
    "lab:1",
    publish_ip="127.0.0.1",
    command=("start",),
    mounts=(Mount("volume", "home", "/home", labels={naming.LABEL_HUB: "hub"}),),
    config={"Labels": {"cost": "physics"}},
)
ENV = Environment({"LANG": "C", "A": "1"}, {"JUPYTERHUB_API_TOKEN": "secret"})
BODY = container_config(SPEC, ENV)


def body() -> dict[str, Any]:
    """One that may be changed."""
    return copy.deepcopy(BODY)


def test_nothing_changed() -> None:
    """A hook that only looks changes nothing, and no container is replaced because of it."""
    assert changes_between(BODY, body()) == Changes()
    assert spec_hash(replace(SPEC, changes={}), ENV) == spec_hash(SPEC, ENV)


def test_each_part() -> None:
    """Variables, command and entrypoint are told apart from the rest, which is a patch."""
    new = body()
    new["Env"] = [one for one in new["Env"] if not one.startswith("A=")] + ["LANG=de", "NEW=x=y"]
    new["Cmd"], new["Entrypoint"] = ["other", "--it"], ["/init"]
    new["HostConfig"]["Memory"] = 5
    del new["HostConfig"]["Init"]
    new["Labels"]["team"] = "chem"
    del new["Labels"]["cost"]
    new["Hostname"] = "h"
    found = changes_between(BODY, new)
    assert found.env == {"A": None, "LANG": "de", "NEW": "x=y"}
    assert (found.cmd, found.entrypoint) == (("other", "--it"), ("/init",))
    assert found.body == {
        "HostConfig": {"Memory": 5, "Init": None},
        "Labels": {"team": "chem", "cost": None},
        "Hostname": "h",
    }


NAMES = st.text(max_size=5)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | NAMES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
)


@given(JSON)
def test_whatever_it_adds(value: Any) -> None:
    """Made to the body that it was made of, the changes give what the hook returned."""
    new = {**body(), "Further": value}
    found = patched(BODY, changes_between(BODY, new).body)
    without = {key: one for key, one in new.items() if one is not None}
    assert _plain(found) == _plain(without)


def _plain(value: Any) -> Any:
    """Without the keys of no value, which mean to the Engine that they are not there."""
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items() if one is not None}
    return value


def change(path: str, value: Any) -> dict[str, Any]:
    """A body with something else at a path."""
    new = body()
    *parents, last = path.split("/")
    where = new
    for name in parents:
        where = where[name]
    where[last] = value
    return new


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ("text", "return the request"),
        ([], "return the request"),
        (change("X", {1, 2}), "sent as JSON"),
        (change("X", float("nan")), "sent as JSON"),
        (change("Image", "other:1"), "set image"),
        (change("HostConfig/NetworkMode", "host"), "set network_name"),
        (change("HostConfig/PortBindings", {}), "set port or host_ip"),
        (change("HostConfig", None), "must stay a dict"),
        (change("Labels", []), "must stay a dict"),
        (change(f"Labels/{naming.LABEL_USER}", "bob"), "say whose"),
        (change("Labels", {}), "say whose"),
        (change("Labels/dockernamed.new", "x"), "say whose"),
        (change("Cmd", "text"), "list of words"),
        (change("Entrypoint", [1]), "list of words"),
        (change("Env", {"A": "1"}), "list of texts"),
        (change("Env", [1]), "list of texts"),
    ],
)
def test_what_it_cannot_do(returned: Any, words: str) -> None:
    """The message names the hook and what to do instead, and never a value of the request."""
    with pytest.raises(ConfigError) as caught:
        changes_between(BODY, returned)
    assert caught.value.field == "modify_container_hook"
    assert words in caught.value.hint
    assert "secret" not in str(caught.value)


def test_made_to_the_body() -> None:
    """At last, over all settings; ours stays ours, and the start's label is on our volumes."""
    new = body()
    new["HostConfig"]["Mounts"] = [*new["HostConfig"]["Mounts"], {"Type": "volume", "Source": "x"}]
    new["HostConfig"]["Binds"] = ["other:/o"]
    spec = replace(SPEC, changes=changes_between(BODY, new).body)
    made = container_config(spec, ENV, name="n", start_id="s1")
    assert made["Labels"][LABEL_START] == "s1"
    assert made["HostConfig"]["Binds"] == ["other:/o"]


def test_they_count() -> None:
    """A kept container that was made with other changes is replaced."""
    other = replace(SPEC, changes={"HostConfig": {"Memory": 5}})
    assert spec_hash(other, ENV) != spec_hash(SPEC, ENV)
    assert spec_hash(replace(SPEC, changes={"Hostname": "h"}), ENV) != spec_hash(SPEC, ENV)
    assert spec_hash(other, replace(ENV, personal={})) == spec_hash(other, ENV)
