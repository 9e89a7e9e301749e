"""What may be delivered privately: names, values, paths, and where links can be put."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from traitlets.config import Config

from dockernamed import DockerNamedSpawner
from dockernamed.desired.private import (
    FILES_DIR,
    MAX_VARIABLE,
    PRIVATE_DIR,
    PrivateFile,
    Secrets,
    checked_path,
    checked_variable,
    link_places,
    stored_at,
)
from dockernamed.errors import ConfigError
from dockernamed.hub.config_check import check_config

SECRET = "c0rrect-horse"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a.b",
        "1A",
        "A B",
        "A=B",
        "ä",
        "A\n",
        None,
        1,
        "UID",
        "PPID",
        "SHELLOPTS",
        "JUPYTERHUB_API_TOKEN",
        "JUPYTERHUB_USER",
    ],
)
def test_names_that_no_variable_can_have(name: Any) -> None:
    """A shell would drop it or stop there, or JupyterHub sets it: refused, without the value."""
    with pytest.raises(ConfigError, match="secret_environment") as caught:
        checked_variable(name, SECRET)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "value", [True, None, b"x", [SECRET], f"{SECRET}\0", "x" * MAX_VARIABLE, "\ud800"]
)
def test_values_that_no_variable_can_have(value: Any) -> None:
    """Each is refused by name, and no message shows it."""
    with pytest.raises(ConfigError, match=r"secret_environment\['A'\]") as caught:
        checked_variable("A", value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("value", ["", "two\nlines", 5, 1.5, "x" * (MAX_VARIABLE - 3), "\udcff"])
def test_values_that_a_variable_can_have(value: Any) -> None:
    """Text and numbers, to the longest that Linux takes."""
    assert checked_variable("A", value) == ("A", str(value))


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "./x",
        "/",
        "/x/",
        "/a/../b",
        "/..",
        "/a\x00b",
        None,
        PRIVATE_DIR,
        f"{PRIVATE_DIR}/environment",
        f"{PRIVATE_DIR}/certs/x",
        FILES_DIR,
        f"/{FILES_DIR}/../x",
    ],
)
def test_paths_where_no_file_can_be(path: Any) -> None:
    """Those that are relative, lead elsewhere, or are dockernamed's own."""
    with pytest.raises(ConfigError, match="secret_files"):
        checked_path(path)


@given(parts=st.lists(st.text(min_size=1), min_size=1))
def test_a_path_is_taken_as_it_is_or_refused(parts: list[str]) -> None:
    """What is taken is absolute, in its shortest form, and stored where all is private."""
    try:
        path = checked_path("/" + "/".join(parts))
    except ConfigError:
        return
    assert path.startswith("/")
    assert not path.startswith("//")
    assert not {"", ".", ".."} & set(path[1:].split("/"))
    assert stored_at(path).startswith(f"{FILES_DIR}/")


def test_no_secret_in_the_text_of_an_object() -> None:
    """Whatever logs or raises with it shows no value."""
    secrets = Secrets({"A": SECRET}, {"/a": PrivateFile(SECRET.encode())})
    assert SECRET not in repr(secrets) + repr(PrivateFile(SECRET.encode()))
    assert SECRET in secrets.words


MOUNTS = {
    "Mounts": [
        {"Type": "volume", "Target": "/home/jovyan"},
        {"Type": "tmpfs", "Target": "/home/jovyan/tmp"},
        {"Type": "volume", "Target": "/ro", "ReadOnly": True},
    ],
    "Binds": ["/srv:/data", "/srv:/data/ro:ro,Z"],
    "Tmpfs": {"/run": ""},
}


@pytest.mark.parametrize(
    ("path", "read_only", "base"),
    [
        ("/etc/x", False, "/"),
        ("/etc/x", True, None),
        ("/home/jovyan/.ssh/x", False, "/"),
        ("/home/jovyan/.ssh/x", True, "/home/jovyan"),
        ("/home/jovyan/tmp/x", False, None),
        ("/ro/x", False, None),
        ("/data/x", True, "/data"),
        ("/data/ro/x", False, None),
        ("/data", False, None),
        ("/run/x", False, None),
        ("/runs/x", False, "/"),
    ],
)
def test_where_links_are_put(path: str, read_only: bool, base: str | None) -> None:
    """In the nearest mount that takes them before the container runs; else it is refused."""
    host_config = {**MOUNTS, "ReadonlyRootfs": read_only}
    if base is not None:
        assert link_places([path], host_config) == {base: [path]}
        return
    with pytest.raises(ConfigError, match="secret_files"):
        link_places([path], host_config)


def test_no_link_for_what_is_in_its_place() -> None:
    """A path in the private volume is the file itself, whatever is mounted elsewhere."""
    assert link_places([f"{FILES_DIR}/x"], {**MOUNTS, "ReadonlyRootfs": True}) == {}


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"secret_environment": {"a.b": SECRET}}, "secret_environment['a.b']"),
        ({"secret_environment": {"A": [SECRET]}}, "secret_environment['A']"),
        ({"secret_environment": [SECRET]}, "secret_environment"),
        ({"secret_environment": {"A": Path("/no/such/file")}}, "secret_environment['A']"),
        ({"secret_files": {"x": SECRET}}, "secret_files['x']"),
        ({"secret_files": {"/x": [SECRET]}}, "secret_files['/x']"),
        ({"secret_files": {"/x": {"text": SECRET}}}, "secret_files['/x']"),
        ({"secret_files": {"/x": {"content": SECRET, "mode": "0400"}}}, "secret_files['/x']"),
        ({"secret_files": {"/x": {"content": SECRET, "mode": 0o1777}}}, "secret_files['/x']"),
        ({"secret_files": {"/x": {"content": SECRET, "uid": -1}}}, "secret_files['/x']"),
    ],
)
@pytest.mark.parametrize("by_profile", [False, True])
def test_what_is_wrong_in_the_configuration(settings: Any, field: str, by_profile: bool) -> None:
    """It is told when the Hub starts, by the setting or a profile, and never with the value."""
    if by_profile:
        profile = {"display_name": "x", "slug": "x", "spawner_override": settings}
        settings = {"profile_list": [profile]}
    findings = told(settings)
    assert len(findings) == 1
    assert SECRET not in findings[0]
    assert ("profile_list" if by_profile else field) in findings[0]
    assert field.partition("[")[0] in findings[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"secret_environment": {"A": SECRET, "B": lambda spawner: None, "C": None, "D": 5}},
        {"secret_environment": lambda spawner: {}},
        {"secret_files": {"/x": b"1", "/y": {"content": lambda spawner: b"", "mode": 0o444}}},
        {"secret_files": {f"{FILES_DIR}/x": lambda spawner: ""}},
    ],
)
def test_what_is_right_in_the_configuration(settings: Any) -> None:
    """Values, functions, what leaves an entry out."""
    assert told(settings) == []


def told(settings: Any) -> list[str]:
    """What the check of a configuration says of it."""
    config = Config()
    config.DockerNamedSpawner.update(settings)
    hub = SimpleNamespace(ip="0.0.0.0", connect_ip="", connect_url="")
    return check_config(DockerNamedSpawner, config, hub).fatal
