"""Ways to an Engine that are refused: what is not encrypted, or not checked, on whatever path."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets.config import Config

from dockernamed import DockerNamedSpawner
from dockernamed.engine.connection import Connection, route_to
from dockernamed.engine.trust import is_loopback
from dockernamed.engine.unreachable import in_words
from dockernamed.errors import ConfigError
from dockernamed.hub.config_check import Findings, check_config

HUB = SimpleNamespace(ip="0.0.0.0", connect_ip="", connect_url="")
VARIABLES = ("DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH", "DOCKER_CONTEXT")
PROXIES = ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


@pytest.fixture(autouse=True)
def _nothing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the environment nor a configuration of Docker's says anything of an Engine."""
    for name in (*VARIABLES, *PROXIES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))


def findings(**settings: Any) -> Findings:
    """What the check at a Hub's start says of these settings."""
    config = Config({"DockerNamedSpawner": Config(settings)})
    return check_config(DockerNamedSpawner, config, HUB)


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost", True),
        ("LocalHost.", True),
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("", False),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.5", False),
        ("::ffff:10.0.0.5", False),
        ("169.254.169.254", False),
        ("127.0.0.1.example.com", False),
        ("localhost.example.com", False),
        ("127.1", False),
        ("host.docker.internal", False),
        ("engine", False),
    ],
)
def test_what_is_this_machine(host: str, ours: bool) -> None:
    """Only what cannot be anywhere else, whatever a name server says."""
    assert is_loopback(host) is ours


PLAIN = [
    "tcp://10.0.0.5:2375",
    "http://10.0.0.5:2375",
    "10.0.0.5:2375",
    "tcp://engine:2375",
    "tcp://[fd00::5]:2375",
    "TCP://10.0.0.5:2375",
    "tcp://localhost.example.com:2375",
]


@pytest.mark.parametrize("url", PLAIN)
def test_plain_tcp_to_another_host(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Hub does not start; the line names the setting or the variable, its value, what it
    gives away, and the lines that work. One setting allows it, and is told in the log.
    """
    (fault,) = findings(client_kwargs={"base_url": url}).fatal
    assert fault.startswith(f'c.DockerNamedSpawner.client_kwargs = {{"base_url": "{url}"}}: ')
    assert "is not encrypted" in fault
    assert "c.DockerNamedSpawner.tls_config = {" in fault
    assert fault.endswith("c.DockerNamedSpawner.allow_insecure_engine = True")
    allowed = findings(client_kwargs={"base_url": url}, allow_insecure_engine=True)
    assert allowed.fatal == []
    (note,) = allowed.notes
    assert url in note
    monkeypatch.setenv("DOCKER_HOST", url)
    (fault,) = findings().fatal
    assert fault.startswith(f'DOCKER_HOST = "{url}": ')
    assert "DOCKER_TLS_VERIFY=1" in fault
    assert findings(allow_insecure_engine=True).fatal == []


@pytest.mark.parametrize(
    "url",
    [
        "unix:///run/docker.sock",
        "tcp://127.0.0.1:2375",
        "tcp://localhost:2375",
        "http://[::1]:2375",
        "tcp://:2375",
        "ssh://root@engine.example",
        "https://engine.example:2376",
    ],
)
def test_ways_that_nobody_else_is_on(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's own addresses, SSH, and TLS that is checked need no word of allowance."""
    found = findings(client_kwargs={"base_url": url})
    assert (found.fatal, found.notes) == ([], [])
    monkeypatch.setenv("DOCKER_HOST", url)
    assert (findings().fatal, findings().notes) == ([], [])


def test_tls_that_an_address_undoes(monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS that was asked for and is not used is a mistake, even on this machine."""
    plain = {"base_url": "http://127.0.0.1:2375"}
    (fault,) = findings(client_kwargs=plain, tls_config={"verify": True}).fatal
    assert "what tls_config says of TLS is not used" in fault
    (fault,) = findings(client_kwargs={**plain, "tls": True}).fatal
    assert "what client_kwargs says of TLS is not used" in fault
    undone = {"base_url": "tcp://127.0.0.1:2375", "tls": False}
    (fault,) = findings(client_kwargs=undone, tls_config={"verify": True}).fatal
    assert "what tls_config says of TLS is not used" in fault
    both = {"base_url": "tcp://127.0.0.1:2375", "tls": True}
    (fault,) = findings(client_kwargs=both, tls_config={"verify": True}).fatal
    assert "its tls would be used, and tls_config not" in fault
    # Empty counts as unset for docker, too: what is left is a plain way.
    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.5:2376")
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "")
    (fault,) = findings().fatal
    assert "is not encrypted" in fault


def test_a_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain address leads off this machine where a proxy is set; its password is not told."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:2375")
    monkeypatch.setenv("http_proxy", "http://ann:s3cret@proxy.example:3128")
    (fault,) = findings().fatal
    assert fault.startswith('http_proxy = "proxy.example": ')
    assert "set no_proxy=127.0.0.1" in fault
    assert "s3cret" not in fault
    assert findings(allow_insecure_engine=True).fatal == []
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert findings().fatal == []


@pytest.mark.parametrize("url", ["ssh://ann:s3cret@engine.example", "tcp://ann:s3cret@10.0.0.5:1"])
def test_a_password_in_the_address(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, since addresses stand in logs and messages, and not told."""
    (fault,) = findings(client_kwargs={"base_url": url}).fatal
    assert "ann:[hidden]@" in fault
    assert "s3cret" not in fault
    monkeypatch.setenv("DOCKER_HOST", url)
    with pytest.raises(ConfigError) as caught:
        route_to(Connection())
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in in_words(caught.value, url)


def test_a_context_of_docker_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Contexts are the docker command's: which Engine is used instead is said, once."""
    (tmp_path / "config.json").write_text('{"currentContext": "far"}')
    (note,) = findings().notes
    assert "The Docker context 'far' is not used here" in note
    monkeypatch.setenv("DOCKER_CONTEXT", "near")
    (note,) = findings().notes
    assert "'near'" in note
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert findings().notes == []
    monkeypatch.setenv("DOCKER_CONTEXT", "near")
    monkeypatch.setenv("DOCKER_HOST", "unix:///run/docker.sock")
    assert findings().notes == []


def test_no_choice_allows_it() -> None:
    """It holds for the Hub: no profile can set it."""
    override = {"display_name": "A", "spawner_override": {"allow_insecure_engine": True}}
    (fault,) = findings(profile_list=[override]).fatal
    assert "it holds for all servers" in fault


def test_refused_before_anything_is_read_of_the_engine() -> None:
    """The way itself is refused, wherever it comes from, so that no call can be made on it."""
    with pytest.raises(ConfigError, match="is not encrypted"):
        route_to(Connection("tcp://10.0.0.5:2375"))
    assert route_to(Connection("tcp://10.0.0.5:2375", allow_insecure=True)).notes
