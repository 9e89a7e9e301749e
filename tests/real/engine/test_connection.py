"""Settings in docker-py's terms: those that work lead to the Engine, all others say why not."""

from __future__ import annotations

import asyncio
import base64
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiodocker.ssh
import docker.tls
import pytest
from certipy import Certipy
from cryptography.hazmat.primitives import serialization
from support.engine.asking import soon
from support.engine.watching import IMAGE
from support.fake_engine import FakeEngine, RemoteImage

from dockernamed.engine.client import Connection, Engine
from dockernamed.engine.connection import route_to
from dockernamed.errors import ConfigError, EngineUnavailable


async def asked(connection: Connection) -> dict[str, Any]:
    """What the Engine there says of itself."""
    engine = Engine(connection)
    try:
        found: dict[str, Any] = await soon(engine.version())
        return found
    finally:
        await engine.close()


@asynccontextmanager
async def relayed(fake: FakeEngine, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A port of 127.0.0.1 that leads to the fake Engine; yields its number."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(str(fake.socket))
        await asyncio.gather(copy(reader, back), copy(there, writer), return_exceptions=True)

    server = await asyncio.start_server(relay, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


# --- where it is -------------------------------------------------------------------------------


async def test_docker_host(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address the environment says where the Engine is, as for ``docker``."""
    monkeypatch.setenv("DOCKER_HOST", fake.url)
    assert Engine(Connection()).base_url == fake.url
    assert await asked(Connection())


def test_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any word of it the Engine is where Docker puts it."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    assert Engine(Connection()).base_url == "unix:///var/run/docker.sock"


async def test_address_among_the_options(fake: FakeEngine) -> None:
    """``base_url`` and ``timeout`` may also stand in ``client_kwargs``."""
    connection = Connection(options=(("base_url", fake.url), ("timeout", 7)))
    engine = Engine(connection)
    assert (engine.base_url, engine.timeout) == (fake.url, 7)
    assert await asked(connection)


async def test_tcp(fake: FakeEngine) -> None:
    """An Engine at a TCP port is spoken to as one at a socket."""
    async with relayed(fake) as port:
        assert await asked(Connection(f"tcp://127.0.0.1:{port}"))


async def test_tcp_without_engine() -> None:
    """Nobody at a TCP address is unavailable like nobody at a socket."""
    with pytest.raises(EngineUnavailable, match="refused"):
        await asked(Connection("tcp://127.0.0.1:1"))


async def test_proxies(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the environment is on the way to a TCP address, never to a socket."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert await asked(Connection(fake.url))
    async with relayed(fake) as port:
        with pytest.raises(EngineUnavailable, match=r"proxy.*refused"):
            await asked(Connection(f"tcp://127.0.0.1:{port}"))
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert await asked(Connection(f"tcp://127.0.0.1:{port}"))


async def test_nobody_takes_the_connection() -> None:
    """A connection has its own, shorter deadline: then surely nothing was done."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            engine = Engine(Connection(f"tcp://127.0.0.1:{port}", timeout=1.0))
            with pytest.raises(EngineUnavailable, match=r"no connection within 0\.5 s"):
                await soon(engine.create_container("c1", {"Image": IMAGE}))
            await engine.close()


async def test_ssh_needs_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address by ssh says what is to be installed where that is missing."""
    monkeypatch.setattr(aiodocker.ssh, "asyncssh", None)
    with pytest.raises(ConfigError, match="asyncssh"):
        await asked(Connection("ssh://root@engine.example"))


# --- what works and what cannot ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("connection", "field", "hint"),
    [
        (Connection("carrier-pigeon://x"), "client_kwargs", "carrier-pigeon"),
        (Connection("npipe:////./pipe/docker_engine"), "client_kwargs", "unix://"),
        (Connection("tcp://x"), "client_kwargs", "port"),
        (Connection("unix:///x", options=(("colour", "blue"),)), "client_kwargs", "colour"),
        (Connection("unix:///x", options=(("time_out", 3),)), "client_kwargs", "timeout"),
        (Connection("unix:///x", options=(("num_pools", 9),)), "client_kwargs", "num_pools"),
        (Connection("unix:///x", options=(("max_pool_size", 9),)), "client_kwargs", "max_pool"),
        (Connection("ssh://x", options=(("use_ssh_client", True),)), "client_kwargs", "use_ssh"),
        (Connection("unix:///x", options=(("version", 1.41),)), "client_kwargs", "version"),
        (Connection("tcp://x:1", options=(("tls", {"verify": True}),)), "client_kwargs", "tls"),
        (Connection("tcp://x:1", tls=(("ca_cert", "/no/such/file"),)), "tls_config", "/no/such"),
        (Connection("tcp://x:1", tls=(("colour", "blue"),)), "tls_config", "colour"),
        (Connection("tcp://x:1", tls=(("client_cert", "one"),)), "tls_config", "client_cert"),
    ],
)
async def test_settings_that_cannot_work(connection: Connection, field: str, hint: str) -> None:
    """A setting that can never work is a ConfigError that names it, not an absent Engine."""
    with pytest.raises(ConfigError, match=hint) as caught:
        await asked(connection)
    assert caught.value.field == field


def test_a_deadline_is_a_number() -> None:
    """Any other timeout is refused before anything is asked."""
    with pytest.raises(ConfigError, match="timeout"):
        Engine(Connection(options=(("timeout", "soon"),)))


async def test_tls_without_an_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who wants TLS must say with whom."""
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    with pytest.raises(ConfigError, match="base_url"):
        await asked(Connection(options=(("tls", True),)))


async def test_headers(fake: FakeEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The Engine is sent the headers of config.json, and who we are."""
    (tmp_path / "config.json").write_text(json.dumps({"HttpHeaders": {"X-Meta": "yes"}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    await asked(Connection(fake.url, options=(("user_agent", "hub of ours"),)))
    assert fake.headers["X-Meta"] == "yes"
    assert fake.headers["User-Agent"] == "hub of ours"


def test_connections_compare_by_value() -> None:
    """Equal settings are one connection, also with values that can't be hashed."""
    one, two = (Connection(options=(("x", ["a"]),)) for _ in range(2))
    assert one == two
    assert len({one, two}) == 1


# --- TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as of DOCKER_CERT_PATH, and the server's own files in it."""
    folder = tmp_path_factory.mktemp("certs")
    store = Certipy(store_dir=str(folder / "store"))
    store.create_ca("authority")
    names = {"cert": ("client", ["DNS:client"]), "server-cert": ("server", ["IP:127.0.0.1"])}
    for name, (who, alternatives) in names.items():
        files = store.create_signed_pair(who, "authority", alt_names=alternatives)["files"]
        (folder / f"{name}.pem").write_text(Path(files["cert"]).read_text())
        (folder / f"{name.replace('cert', 'key')}.pem").write_text(Path(files["key"]).read_text())
    authority = store.store.get_record("authority")["files"]["cert"]
    (folder / "ca.pem").write_text(Path(authority).read_text())
    return folder


@pytest.fixture
async def address(fake: FakeEngine, certs: Path) -> AsyncIterator[str]:
    """The fake Engine behind TLS, which wants to see a certificate."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certs / "ca.pem")
    context.load_cert_chain(certs / "server-cert.pem", certs / "server-key.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    async with relayed(fake, context) as port:
        yield f"tcp://127.0.0.1:{port}"


async def test_tls(address: str, certs: Path) -> None:
    """With the right files both sides know each other."""
    pair = (str(certs / "cert.pem"), str(certs / "key.pem"))
    tls = {"client_cert": pair, "ca_cert": str(certs / "ca.pem"), "verify": True}
    assert await asked(Connection(address, tls=tuple(tls.items())))
    config = docker.tls.TLSConfig(**tls)
    assert await asked(Connection(address, options=(("tls", config),)))
    unverified = (("client_cert", pair),)
    assert await asked(Connection(address, tls=unverified, allow_insecure=True))


async def test_tls_by_the_environment(
    address: str, certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same as for ``docker``, with DOCKER_TLS_VERIFY and DOCKER_CERT_PATH."""
    monkeypatch.setenv("DOCKER_HOST", address)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certs))
    assert await asked(Connection())


async def test_tls_with_a_stranger(address: str, certs: Path) -> None:
    """An Engine whose certificate is nobody's that we trust gets no request."""
    pair = (str(certs / "cert.pem"), str(certs / "key.pem"))
    tls = {"client_cert": pair, "verify": True}
    with pytest.raises(EngineUnavailable, match=r"(?i)certificate"):
        await asked(Connection(address, tls=tuple(tls.items())))


async def test_tls_without_a_certificate(address: str, certs: Path) -> None:
    """Nor does it answer when we show none."""
    tls = {"ca_cert": str(certs / "ca.pem"), "verify": True}
    with pytest.raises(EngineUnavailable):
        await asked(Connection(address, tls=tuple(tls.items())))


@pytest.fixture
async def stranger(certs: Path, tmp_path: Path) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Another Engine, with a certificate of another CA, which would take ours: its address, and
    what was sent to it by those who had shown a certificate of theirs.
    """
    store = Certipy(store_dir=str(tmp_path))
    store.create_ca("somebody")
    files = store.create_signed_pair("server", "somebody", alt_names=["IP:127.0.0.1"])["files"]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certs / "ca.pem")
    context.load_cert_chain(files["cert"], files["key"])
    context.verify_mode = ssl.CERT_REQUIRED
    heard: list[bytes] = []

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(65536))
        assert writer.get_extra_info("peercert")
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}", heard


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({}, ConfigError, r"not checked.*'verify': True.*allow_insecure_engine = True"),
        ({"ca_cert": "ca.pem"}, ConfigError, r"so the CA is not used.*'verify': True"),
        ({"ca_cert": "ca.pem", "verify": False}, ConfigError, r"so the CA is not used"),
        ({"ca_cert": "ca.pem", "verify": ""}, ConfigError, r"so the CA is not used"),
        ({"ca_cert": "ca.pem", "assert_hostname": False}, ConfigError, "assert_hostname"),
        ({"ca_cert": "ca.pem", "verify": "cert.pem"}, ConfigError, "name two CAs"),
        ({"ca_cert": "ca.pem", "verify": True}, EngineUnavailable, r"(?i)certificate"),
        ({"verify": "ca.pem"}, EngineUnavailable, r"(?i)certificate"),
        ({"verify": True}, EngineUnavailable, r"(?i)certificate"),
    ],
)
async def test_a_stranger_hears_nothing(
    stranger: tuple[str, list[bytes]],
    certs: Path,
    given: dict[str, object],
    error: type[Exception],
    told: str,
) -> None:
    """Who answers with a certificate of another CA gets neither a request nor our certificate,
    whichever part of `tls_config` is missing or contradicts another.
    """
    url, heard = stranger
    tls: dict[str, object] = {"client_cert": (str(certs / "cert.pem"), str(certs / "key.pem"))}
    for name, value in given.items():
        tls[name] = str(certs / value) if str(value).endswith(".pem") else value  # type: ignore[operator]
    with pytest.raises(error, match=told):
        await asked(Connection(url, tls=tuple(tls.items())))
    assert heard == []


async def test_a_stranger_who_is_allowed(stranger: tuple[str, list[bytes]], certs: Path) -> None:
    """One line says in so many words that anybody is taken for the Engine."""
    url, heard = stranger
    tls = (("client_cert", (str(certs / "cert.pem"), str(certs / "key.pem"))),)
    with pytest.raises(EngineUnavailable):
        await asked(Connection(url, tls=tls, allow_insecure=True))
    assert any(data.startswith(b"GET /version") for data in heard)


async def test_a_stranger_whom_the_environment_trusts(
    stranger: tuple[str, list[bytes]], certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DOCKER_CERT_PATH without DOCKER_TLS_VERIFY would check nothing: refused, by its name."""
    url, heard = stranger
    monkeypatch.setenv("DOCKER_HOST", url)
    monkeypatch.setenv("DOCKER_CERT_PATH", str(certs))
    for verify in (None, ""):
        if verify is None:
            monkeypatch.delenv("DOCKER_TLS_VERIFY", raising=False)
        else:
            monkeypatch.setenv("DOCKER_TLS_VERIFY", verify)
        with pytest.raises(ConfigError, match=r"not checked.*set DOCKER_TLS_VERIFY=1") as caught:
            await asked(Connection())
        assert caught.value.field == "DOCKER_CERT_PATH"
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    with pytest.raises(EngineUnavailable, match=r"(?i)certificate"):
        await asked(Connection())
    assert heard == []


@pytest.mark.parametrize("missing", ["ca.pem", "cert.pem", "key.pem"])
def test_a_folder_of_certificates_that_is_half_filled(
    address: str, certs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    """The message names the variable and the file that is not there."""
    for file in certs.glob("*.pem"):
        if file.name != missing:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    monkeypatch.setenv("DOCKER_HOST", address)
    monkeypatch.setenv("DOCKER_TLS_VERIFY", "1")
    monkeypatch.setenv("DOCKER_CERT_PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=rf"{missing}: No such file") as caught:
        route_to(Connection())
    assert caught.value.field == "DOCKER_CERT_PATH"


async def test_a_key_with_a_password(address: str, certs: Path, tmp_path: Path) -> None:
    """Nobody is asked for it at the Hub's terminal: the message says what is wrong."""
    plain = serialization.load_pem_private_key((certs / "key.pem").read_bytes(), None)
    locked = tmp_path / "key.pem"
    locked.write_bytes(
        plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    tls = {"client_cert": (str(certs / "cert.pem"), str(locked)), "verify": True}
    with pytest.raises(ConfigError, match="the key is encrypted"):
        await asked(Connection(address, tls=tuple(tls.items())))


def test_a_key_that_others_can_read(address: str, certs: Path) -> None:
    """It is told, with the line that mends it; a key of its owner alone is not."""
    key = certs / "key.pem"
    tls = (("client_cert", (str(certs / "cert.pem"), str(key))), ("verify", True))
    mode = key.stat().st_mode
    try:
        for number, told in ((0o640, 1), (0o604, 1), (0o600, 0), (0o400, 0)):
            key.chmod(number)
            notes = route_to(Connection(address, tls=tls)).notes
            assert len([note for note in notes if f"chmod 600 {key}" in note]) == told
    finally:
        key.chmod(mode)


# --- registries --------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of config.json, and of programs."""
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    return tmp_path


async def pull(fake: FakeEngine, **options: object) -> None:
    """Pull an image whose registry knows ann."""
    fake.publish("r.example/lab:1", RemoteImage(auth=("ann", "s3cret")))
    engine = Engine(Connection(fake.url, options=tuple(options.items())))
    try:
        await soon(engine.pull("r.example/lab", "1", None, lambda line: None))
    finally:
        await engine.close()


async def test_passwords_of_config_json(fake: FakeEngine, config: Path) -> None:
    """A pull without credentials of its own takes those that ``docker login`` has left."""
    auth = base64.b64encode(b"ann:s3cret").decode()
    (config / "config.json").write_text(json.dumps({"auths": {"r.example": {"auth": auth}}}))
    await pull(fake)


async def test_a_credential_helper(fake: FakeEngine, config: Path) -> None:
    """A helper is asked, in its environment, and without the event loop being blocked."""
    helpers = {"credHelpers": {"r.example": "ours"}}
    (config / "config.json").write_text(json.dumps(helpers))
    helper = config / "docker-credential-ours"
    helper.write_text('#!/bin/sh\necho \'{"Username": "ann", "Secret": "\'$OURS\'"}\'\n')
    helper.chmod(0o755)
    await pull(fake, credstore_env={"OURS": "s3cret"})


async def test_a_credential_helper_that_is_missing(fake: FakeEngine, config: Path) -> None:
    """It is no reason to ask the registry anonymously, and the message names it."""
    helpers = {"credHelpers": {"r.example": "none"}}
    (config / "config.json").write_text(json.dumps(helpers))
    missing = "docker-credential-none"
    with pytest.warns(UserWarning, match=missing), pytest.raises(ConfigError, match=missing):
        await pull(fake)
    assert fake.pulls == []
