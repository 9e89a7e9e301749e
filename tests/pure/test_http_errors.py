"""hub.http_errors and hub.advice: not the Engine's words, but what would have worked."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import pytest
from support.driving import Reader, message

from dockernamed import errors
from dockernamed.errors import (
    ConfigError,
    EngineFailed,
    ForeignObject,
    OptionsError,
    PullFailed,
    ServerDied,
    WrongServer,
)
from dockernamed.hub.advice import HINTS, TASK_HINTS, hint
from dockernamed.hub.http_errors import http_error
from dockernamed.options.overrides import Layer
from dockernamed.settings import DockerNamedSettings
from dockernamed.settings_swarm import DockerNamedSwarmSettings

VALUES = {
    "extra_host_config": {"port_bindings": {8888: 80}},
    "gpu_devices": ["7"],
    "network_name": "lab",
    "cpu_limit": 16,
    "extra_service_spec": {},
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
        "The setting extra_host_config: another program",
    ),
    ("Bind for 127.0.0.1:80 failed: port is already allocated", "The setting extra_host_config: "),
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
        "The setting mounts: the Engine has no such volume driver",
    ),
    (
        "error while mounting volume '/volumes/x/_data': failed to mount local volume: mount :/x:"
        "/volumes/x/_data: no such device",
        "The setting mounts: the volume's driver",
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
        "rpc error: code = Unknown desc = The swarm does not have a leader. It's possible that",
        "So many managers of the Swarm are away",
    ),
    (
        "rpc error: code = DeadlineExceeded desc = context deadline exceeded",
        "So many managers of the Swarm are away, or too slow",
    ),
    (
        "rpc error: code = Unknown desc = constraint expected one operator from ==, !=",
        "The setting extra_service_spec: its constraints are written as in placement_constraints",
    ),
    (
        "Range of CPUs is from 0.01 to 2.00, as there are only 2 CPUs available",
        "cpu_limit = 16: set at most as many",
    ),
    (
        "unknown log opt 'foo' for json-file log driver",
        "The setting log_config: the Engine's log driver does not take that",
    ),
]


@pytest.mark.parametrize(("said", "begins"), SAID)
def test_what_is_at_its_end(said: str, begins: str) -> None:
    """Who cannot read the Engine's words learns which setting it is, and what helps.

    Values of settings that may be secrets are not shown.
    """
    assert hint(said, VALUES.__getitem__).startswith(begins)


def test_every_hint_is_given() -> None:
    """No hint is hidden behind another one."""
    given = {hint(said, VALUES.__getitem__) for said, _ in SAID}
    assert all(any(words in one for one in given) for _, _, words in HINTS)


def test_other_words_stay_alone() -> None:
    """Nothing is made up where the Engine's words say what is wrong."""
    assert hint("invalid mount config: path does not exist: /data", VALUES.__getitem__) == ""


def test_refusals_have_hints() -> None:
    """The person who asked gets the hint, and not the Engine's words."""
    error = EngineFailed("create container x", "Minimum memory limit allowed is 6MB", 400)
    told = message(http_error(error, SimpleNamespace(**VALUES)))
    assert told.startswith("Docker Engine: cannot create container x (400). mem_limit = 4194304: ")
    assert "Minimum" not in told
    assert message(http_error(error)).endswith("(400); the Hub's log has the whole story")
    died = ServerDied(1, False, "No such image")
    assert message(http_error(died, SimpleNamespace(**VALUES))) == str(died)


NO_NODE = "no suitable node ({} on 3 nodes)"
#: A Swarm's words of a task, what people read of them, and how the advice begins.
SAID_BY_A_SWARM = [
    ("No such image: r/lab:1", "No such image", "image = 'lab:1': the node has no such image"),
    (NO_NODE.format("insufficient resources"), NO_NODE.format("insufficient resources"),
     "No node has as much free"),
    (NO_NODE.format("host-mode port already in use"), "no suitable node (host-mode",
     "Another service has that port"),
    (NO_NODE.format("missing plugin"), "no suitable node (missing", "No node has the driver"),
    ("assigned node no longer meets constraints", "assigned node no longer meets constraints",
     "Its node was changed meanwhile"),
    ("dockerexec: unhealthy container", "unhealthy container",
     "The health check that extra_service_spec"),
    (NO_NODE.format("unsupported platform"), "no suitable node (unsupported",
     "image = 'lab:1': no node can run it"),
    (NO_NODE.format("scheduling constraints not satisfied"), "no suitable node (scheduling",
     "No node is as placement_constraints asks for"),
    ("no suitable node (3 nodes not available for new tasks)", "no suitable node (3 nodes",
     "The nodes are down, drained or paused"),
    ('invalid mount config for type "bind": bind source path does not exist: /secret',
     "bind source path does not exist", "The setting mounts: a directory of the host"),
    ('starting container failed: runc create failed: exec: "/bin/sh": stat /bin/sh: no such file or'
     " directory: unknown", "the Hub's log has the whole story",
     "private_tokens = True: the image has no /bin/sh"),
    ('starting container failed: exec: "secret": executable file not found in $PATH: unknown',
     "executable file not found in $PATH",
     "The image 'lab:1' runs start, which cannot be run there"),
    ("starting container failed: address already in use", "address already in use",
     "The setting extra_host_config: another program uses that port"),
    ("task: secret", "the Hub's log has the whole story", ""),
]  # fmt: skip


@pytest.mark.parametrize("never", [False, True])
@pytest.mark.parametrize(("said", "shown", "advice"), SAID_BY_A_SWARM)
def test_what_a_swarm_says(said: str, shown: str, advice: str, never: bool) -> None:
    """A task's own words are told as far as they quote nothing, with what helps against them."""
    settings = SimpleNamespace(**VALUES, private_tokens=True)
    error = errors.NeverRan(5, said) if never else ServerDied(None, False, None, said)
    told = message(http_error(error, settings, ["start"]))
    begins = (
        "the server was not running within start_timeout = 5 seconds: "
        if never
        else ("the server ended before it was ready: ")
    )
    assert told.startswith(f"{begins}{shown}")
    assert "secret" not in told
    assert told.partition(". ")[2].startswith(advice)
    assert said in str(error)


def test_every_hint_about_tasks_is_given() -> None:
    """No hint is hidden behind another one."""
    given = {hint(said, VALUES.get, TASK_HINTS) for said, _, _ in SAID_BY_A_SWARM}
    assert all(any(words in one for one in given) for _, _, words in TASK_HINTS)


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
    assert re.search(r"[.?] Its (last log lines:\n|log is empty$)", said)
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
    page = message(found, html=True)
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
    told = message(found)
    assert said in told
    assert words in told.partition(said)[2]


def test_another_word_of_a_registry_gets_no_advice() -> None:
    """What says enough by itself is left alone."""
    found = http_error(PullFailed("lab:1", "manifest for lab:1 not found"), SimpleNamespace())
    assert message(found).endswith("not found")


# --- who may read what ----------------------------------------------------------------------------

ANN = SimpleNamespace(user=SimpleNamespace(name="ann"), name="lab", image="lab:1")
ACCESS = "access:servers!server=ann/lab"
SAID_BY_A_SERVER = [
    ServerDied(3, False, "the exam's answers"),
    errors.ServerSilent("http://x", 60, "the exam's answers"),
    WrongServer(
        "http://x", "200 OK: the exam's answers", "answers, but", image="i", cmd=(), port=1
    ),
]


@pytest.mark.parametrize("error", SAID_BY_A_SERVER, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(
    ("reader", "reads"),
    [
        (Reader("ann"), True),
        (Reader("ann", token=True), False),
        (Reader("ann", ACCESS, token=True), True),
        (Reader("tea"), False),
        (Reader("tea", "servers!server=ann/lab", "access:servers!server=ann/"), False),
        (Reader("tea", ACCESS), True),
        (Reader(), False),
    ],
    ids=["owner", "token", "token to access", "other", "may start", "may access", "nobody"],
)
def test_who_reads_what_a_server_said(error: Any, reader: Reader, reads: bool) -> None:
    """The owner, and who may access the server; others are told what happened, and who may read.

    The one error is shown in many requests: each reader is judged when they read.
    """
    found = http_error(error, ANN)
    for told in (message(found, reader), message(found, reader, html=True)):
        assert ("the exam" in told or "the exam&#39;s" in told) is reads
        assert ("is shown to ann" in told) is not reads
    if isinstance(error, ServerDied):
        assert "exit code 3" in message(found, reader)


def test_outside_of_any_request() -> None:
    """Whoever reads the message where no request is answered gets what everybody may read."""
    assert "exam" not in str(getattr(http_error(SAID_BY_A_SERVER[0], ANN), "jupyterhub_message"))  # noqa: B009


def test_a_service_of_the_owners_name() -> None:
    """Services are not users: one that is called as the owner is somebody else."""
    service = Reader("ann")
    assert service._jupyterhub_user is not None
    service._jupyterhub_user.kind = "service"
    assert "exam" not in message(http_error(SAID_BY_A_SERVER[0], ANN), service)


HUNTER = "hunter2-of-the-nfs"
SECRET_SETTINGS = {
    "mounts": [{"driver_config": {"options": {"o": f"username=a,password={HUNTER}"}}}],
    "volumes": {f"//ann:{HUNTER}@nas/x": "/x"},
    "extra_create_kwargs": {"environment": [f"DATABASE_URL=postgres://u:{HUNTER}@db/x"]},
    "extra_host_config": {"log_config": {"splunk-token": HUNTER}},
    "client_kwargs": {"base_url": f"tcp://u:{HUNTER}@engine"},
    "tls_config": {"client_key": HUNTER},
    "environment": {"MYSQL_PWD": HUNTER, "AWS_ID": HUNTER, "SSH_KEY": HUNTER},
    "args": [f"--token={HUNTER}"],
    "server_volume": HUNTER,
    "profile_list": [{"spawner_override": {"mounts": [HUNTER]}}],
}


@pytest.mark.parametrize("setting", sorted(errors.PRIVATE))
def test_values_of_private_settings(setting: str) -> None:
    """Neither the value nor what is said of it reaches a user; the setting's name does."""
    value = SECRET_SETTINGS.get(setting, HUNTER)
    for field in (setting, f"{setting} (by profile 'x')", f"{setting}[0]['a']"):
        found = message(http_error(ConfigError(field, value, f"it has {value}"), ANN))
        assert HUNTER not in found
        assert setting in found
        assert "the Hub's log" in found


def test_private_settings_exist() -> None:
    """A setting that was renamed does not lose its protection unnoticed."""
    there = {*DockerNamedSettings.class_traits(), *DockerNamedSwarmSettings.class_traits()}
    of_jupyterhub = {"group_overrides"}
    named = {name for name in errors.SHOWN | errors.PRIVATE if "." not in name}
    assert named - there - of_jupyterhub == set()


@pytest.mark.parametrize(
    "error",
    [
        EngineFailed(
            "start container x",
            "error while mounting volume '/v': failed to mount local volume: mount //nas:/v, data: "
            f"addr=1.2.3.4,username=a,password={HUNTER}: permission denied",
        ),
        EngineFailed("create container x", f"invalid environment: DATABASE_URL=x://u:{HUNTER}@h"),
        EngineFailed("create container x", f"bind source path does not exist: /srv/{HUNTER}"),
        EngineFailed("create container x", f"invalid JSON: {{'password': '{HUNTER}'}}"),
        EngineFailed(f"create volume {HUNTER}", "no"),
        ForeignObject("volume", HUNTER, "server 'x' of user 'bob'", "use {user_server}"),
        PullFailed("r/lab:1", f"GET https://u:{HUNTER}@r/v2: 500"),
    ],
)
def test_the_engines_words(error: Any, caplog: pytest.LogCaptureFixture) -> None:
    """No user reads them where they may quote; the log has them, without the passwords."""
    settings = SimpleNamespace(**VALUES, user=SimpleNamespace(name="ann"), name="lab")
    found = message(http_error(error, settings))
    assert HUNTER not in found
    assert "bob" not in found
    assert f"password={HUNTER}" not in caplog.text
    assert f"u:{HUNTER}" not in caplog.text


def test_secrets_by_their_value(caplog: pytest.LogCaptureFixture) -> None:
    """What the settings and the environment show to be a secret is hidden wherever it stands."""
    error = EngineFailed("create container x", f"what is {HUNTER}? and tok-tok-tok?")
    settings = SimpleNamespace(**SECRET_SETTINGS, **ANN.__dict__)
    http_error(error, settings, secrets=["tok-tok-tok"])
    assert "what is [hidden]? and [hidden]?" in caplog.text


def test_options_of_a_user() -> None:
    """What a user typed may be shown to them, and not the admin's value into which it went."""
    layer = Layer("option 'x'", {}, "x-unlisted-choice", "typed")
    refused: Any = layer.refused("mounts", [HUNTER], f"a value of [{HUNTER!r}, 'typed']")
    assert isinstance(refused, OptionsError)
    told = message(http_error(refused, ANN))
    assert "typed" in told
    assert "mounts" in told
    assert HUNTER not in told
