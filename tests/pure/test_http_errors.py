"""hub.http_errors: to the Engine's words come the setting, its value and what would have worked."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dockernamed.errors import EngineFailed, PullFailed, ServerDied
from dockernamed.hub.http_errors import HINTS, hint, http_error

VALUES = {
    "extra_host_config": {"port_bindings": {8888: 80}},
    "gpu_devices": ["7"],
    "network_name": "lab",
    "mem_limit": 4194304,
    "mem_guarantee": 1024,
    "mounts": [{"target": "/data"}],
    "image": "lab:1",
    "cmd": ["labb"],
    "network_isolation": "user",
    "storage_opt": {"size": "1G"},
    "devices": ["/dev/nosuch"],
    "memswap_limit": 1024,
    "ulimits": [{"name": "nofile", "soft": 99999999}],
    "log_config": {"config": {"foo": "1"}},
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
    (
        "could not find an available, non-overlapping IPv4 address pool among the defaults to "
        "assign to the network",
        "network_isolation = 'user': the Engine has no range of addresses left",
    ),
    (
        "all predefined address pools have been fully subnetted",
        "network_isolation = 'user': the Engine has no range of addresses left",
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
    ("no answer within 60 s", "An Engine that takes requests and answers nothing"),
    ("no whole answer within 60 s", "An Engine that takes requests and answers nothing"),
    ("No such image: lab:1", "image = 'lab:1': it is no longer on the Engine"),
    (
        'could not select device driver "" with capabilities: [[gpu]]',
        "The Engine's host has no support for the devices that gpus or device_requests",
    ),
    (
        "nvidia-container-cli: device error: 7: unknown device: unknown",
        "gpu_devices = ['7']: the Engine's host has no such GPU",
    ),
    (
        "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=0",
        "The Engine's host has no support for the devices that gpus or device_requests",
    ),
    (
        'OCI runtime create failed: exec: "labb": executable file not found in $PATH: unknown',
        "cmd = ['labb']: the image has no such command",
    ),
    (
        "--storage-opt is supported only for overlay over xfs with 'pquota' mount option",
        "storage_opt = {'size': '1G'}: the Engine's storage driver cannot",
    ),
    (
        'error gathering device information while adding custom device "/dev/nosuch": no such file '
        "or directory",
        "devices = ['/dev/nosuch']: the Engine's host has no such device",
    ),
    (
        "Minimum memoryswap limit should be larger than memory limit, see usage",
        "memswap_limit = 1024: it is a limit of memory and swap together",
    ),
    (
        "runc create failed: error setting rlimits for ready process: error setting rlimit type 7: "
        "operation not permitted: unknown",
        "ulimits = [{'name': 'nofile', 'soft': 99999999}]: the Engine does not let",
    ),
    (
        "unknown log opt 'foo' for json-file log driver",
        "log_config = {'config': {'foo': '1'}}: the Engine's log driver does not take that",
    ),
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


def message(error: Any) -> str:
    """What the person who asked reads."""
    return str(error.jupyterhub_message)


def test_refusals_have_hints() -> None:
    """The person who asked gets the Engine's words and the hint; other errors are as they are."""
    error = EngineFailed("create container x", "Minimum memory limit allowed is 6MB", 400)
    told = message(http_error(error, SimpleNamespace(**VALUES)))
    assert told.startswith(f"{error}. mem_limit = 4194304: ")
    assert message(http_error(error)) == str(error)
    died = ServerDied(1, False, "No such image")
    assert message(http_error(died, SimpleNamespace(**VALUES))) == str(died)


@pytest.mark.parametrize(
    ("code", "log", "words"),
    [
        (0, "", ("'lab:1'", "bash -l", "c.DockerNamedSpawner.cmd")),
        (127, "sh: labb: not found", ("'lab:1'", "bash -l", "c.DockerNamedSpawner.cmd")),
        (126, "", ("'lab:1'", "cannot be run", "c.DockerNamedSpawner.cmd")),
        (1, "Cannot connect to host 172.17.0.1:8081 ssl:default", ("firewall", "hub_connect_url")),
        (1, "Failed to connect to my Hub at http://h:8081/hub/api", ("firewall", "hub_ip")),
    ],
)
def test_what_an_end_means(code: int, log: str, words: tuple[str, ...]) -> None:
    """Where the exit code or the log tells, the answer names the setting that would help."""
    settings = SimpleNamespace(image="lab:1", hub_connect_url="http://h:8081")
    found = http_error(ServerDied(code, False, log), settings, ["bash", "-l"])
    said = message(found)
    assert all(word in said for word in words), said
    assert said.endswith(log or "Its log is empty")


def test_another_end_gets_no_advice() -> None:
    """What the exit code does not tell is not guessed."""
    found = http_error(ServerDied(3, False, "oh no"), SimpleNamespace(image="lab:1"), ["x"])
    assert message(found) == (
        "the server ended before it was ready, with exit code 3. Its last log lines:\noh no"
    )


def test_a_log_on_a_page() -> None:
    """As a server wrote it, line for line, and never as HTML."""
    found = http_error(ServerDied(3, False, "a\n  <b>b</b>"), None)
    page = str(getattr(found, "jupyterhub_html_message", ""))
    assert "a\n  &lt;b&gt;b&lt;/b&gt;</pre>" in page


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("Head https://r.example/v2/lab/manifests/1: unauthorized: authentication required",
         "registry_credentials"),
        ("pull access denied for lab, repository does not exist or may require 'docker login'",
         "registry_credentials"),
        ("Get https://r.example/v2/: dial tcp: lookup r.example: no such host", "did not answer"),
        ("Get https://r.example/v2/: net/http: request canceled while waiting for connection "
         "(Client.Timeout exceeded while awaiting headers)", "did not answer"),
        ("not complete within pull_timeout = 5 s (waiting for the registry)", "did not answer"),
    ],
)  # fmt: skip
def test_what_a_registry_says(said: str, words: str) -> None:
    """No credentials, or a registry that does not answer: the message says what to look at."""
    found = http_error(PullFailed("r.example/lab:1", said), SimpleNamespace())
    message = str(getattr(found, "jupyterhub_message", ""))
    assert said in message
    assert words in message.partition(said)[2]


def test_another_word_of_a_registry_gets_no_advice() -> None:
    """What says enough by itself is left alone."""
    found = http_error(PullFailed("lab:1", "manifest for lab:1 not found"), SimpleNamespace())
    assert str(getattr(found, "jupyterhub_message", "")).endswith("not found")
