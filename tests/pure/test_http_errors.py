"""hub.http_errors: to the Engine's words come the setting, its value and what would have worked."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dockernamed.errors import EngineFailed, ServerDied
from dockernamed.hub.http_errors import HINTS, hint, http_error

VALUES = {
    "extra_host_config": {"port_bindings": {8888: 80}},
    "network_name": "lab",
    "mem_limit": 4194304,
    "mem_guarantee": 1024,
    "mounts": [{"target": "/data"}],
    "image": "lab:1",
}

#: As Docker 20.10 says them, and how the hint begins.
SAID = [
    ("mkdir /var/lib/docker/overlay2/5f-init: no space left on device", "The Engine's host is"),
    ("OCI runtime create failed: fork/exec: cannot allocate memory: unknown", "The Engine's host"),
    (
        "driver failed programming external connectivity on endpoint a: all ports are allocated",
        "The Engine's host has no free port",
    ),
    (
        "driver failed programming external connectivity on endpoint a: Error starting userland "
        "proxy: listen tcp4 127.0.0.1:80: bind: address already in use",
        "extra_host_config = {'port_bindings': {8888: 80}}: another program",
    ),
    ("Bind for 127.0.0.1:80 failed: port is already allocated", "extra_host_config = "),
    (
        "no available IPv4 addresses on this network's address pools: lab (5f)",
        "network_name = 'lab': all addresses",
    ),
    ("Minimum memory limit allowed is 6MB", "mem_limit = 4194304: the Engine requires more"),
    ("Minimum memory reservation allowed is 6MB", "mem_guarantee = 1024: "),
    (
        "Minimum memory limit can not be less than memory reservation limit, see usage",
        "mem_guarantee = 1024: ",
    ),
    (
        'create data: error looking up volume plugin nfs2: plugin "nfs2" not found',
        "mounts = [{'target': '/data'}]: the Engine has no such volume driver",
    ),
    (
        "error while mounting volume '/volumes/x/_data': failed to mount local volume: mount :/x:"
        "/volumes/x/_data: no such device",
        "mounts = [{'target': '/data'}]: the volume's driver",
    ),
    ("No such image: lab:1", "image = 'lab:1': it is no longer on the Engine"),
]


@pytest.mark.parametrize(("said", "begins"), SAID)
def test_what_is_at_its_end(said: str, begins: str) -> None:
    """Who reads the Engine's words also learns which setting it is, its value, and what helps."""
    assert hint(said, VALUES.__getitem__).startswith(begins)


def test_every_hint_is_given() -> None:
    """No hint is hidden behind another one."""
    given = {hint(said, VALUES.__getitem__) for said, _ in SAID}
    assert all(any(words in one for one in given) for _, _, words in HINTS)


def test_other_words_stay_alone() -> None:
    """Nothing is made up where the Engine's words say what is wrong."""
    assert hint("invalid mount config: path does not exist: /data", VALUES.__getitem__) == ""


def test_refusals_have_hints() -> None:
    """The person who asked gets the Engine's words and the hint; other errors are as they are."""
    error = EngineFailed("create container x", "Minimum memory limit allowed is 6MB", 400)
    told = http_error(error, SimpleNamespace(**VALUES)).jupyterhub_message
    assert told.startswith(f"{error}. mem_limit = 4194304: ")
    assert http_error(error).jupyterhub_message == str(error)
    died = ServerDied(1, False, "No such image")
    assert http_error(died, SimpleNamespace(**VALUES)).jupyterhub_message == str(died)
