"""`JupyterHub.internal_ssl` with named servers: all works as ever, and nobody else gets a word."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from certipy import Certipy
from support.hub.client import server_url
from support.hub.dockerview import LAB
from support.hub.hubproc import Hub, Hubs
from support.hub.waiting import eventually

CERTS = "/run/dockernamed/certs"
#: Run in a server's container: what it would send to the Hub, to whoever is at an address.
TALK = """
import os, sys, urllib.request
from jupyterhub.utils import make_ssl_context
env = os.environ
context = make_ssl_context(
    env["JUPYTERHUB_SSL_KEYFILE"], env["JUPYTERHUB_SSL_CERTFILE"], env["JUPYTERHUB_SSL_CLIENT_CA"])
try:
    print("answer", urllib.request.urlopen(sys.argv[1], context=context, timeout=30).status)
except Exception as error:
    print("none", type(error).__name__, error)
"""
#: Likewise, without a certificate, over TLS or plain.
NO_CERTIFICATE = """
import ssl, sys, urllib.error, urllib.request
context = ssl._create_unverified_context()
for scheme in ("https", "http"):
    try:
        answer = urllib.request.urlopen(f"{scheme}://{sys.argv[1]}", context=context, timeout=30)
        print("answer", answer.status)
    except urllib.error.HTTPError as error:
        print("answer", error.code)
    except Exception as error:
        print("none", type(error).__name__)
"""


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub that speaks TLS with its servers; containers are kept, and servers outlive it."""
    hubs.require(LAB)
    config = """
        c.JupyterHub.internal_ssl = True
        c.ConfigurableHTTPProxy.api_url = c.ConfigurableHTTPProxy.api_url.replace("http", "https")
        c.JupyterHub.cleanup_servers = False
        c.DockerNamedSpawner.remove = False
        c.DockerNamedSpawner.readiness = "jupyterhub"
    """
    by_user: dict[str, dict[str, Any]] = {
        "own": {"network_isolation": "user"},
        "uid": {"uid": 4321, "environment": {"HOME": "/tmp"}},
    }
    # The tests' client asks http://, and the Hub's own port is no way in.
    with hubs.running(config, image=LAB, by_user=by_user, internal_ssl=True, leaves=USERS) as hub:
        yield hub


USERS: list[str] = []


@contextmanager
def impostor(directory: Path) -> Iterator[int]:
    """A TLS server on all addresses of this host, with a certificate of its own; its port."""
    certipy = Certipy(store_dir=str(directory))
    certipy.create_ca("an-other-ca")
    files = certipy.create_signed_pair("hub", "an-other-ca")["files"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["cert"], files["key"])
    with socket.create_server(("", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    taken, _ = listening.accept()
                    with taken, suppress(OSError):
                        taken.settimeout(5)
                        context.wrap_socket(taken, server_side=True).close()

        serving = threading.Thread(target=serve)
        serving.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        serving.join(10)


def status(hub: Hub, user: str, server: str) -> int:
    """Of a server's own REST API, through the proxy."""
    return hub.request("GET", f"{server_url(user, server)}api/status").status


def ends(hub: Hub, user: str, server: str) -> None:
    """It is gone, with its container."""
    hub.halt(user, server)
    hub.forget(user, server)
    hub.docker.gone(user, server)


def test_servers_work(hub: Hub, user: str, tmp_path: Path) -> None:
    """Two of one user at once, in the Hub's network and in one of their own; for another uid; after
    a restart of the Hub; and when a kept container starts again with new certificates.
    """
    own, other = f"own-{user}", f"uid-{user}"
    servers = [(own, "a"), (own, "b"), (other, "c")]
    for name in (own, other):
        USERS.append(name)
        hub.add_user(name)
    with ThreadPoolExecutor() as pool:
        a, b, _ = pool.map(lambda one: hub.spawn(*one), servers)
    assert {status(hub, *one) for one in servers} == {200}
    for one in servers:
        eventually(
            lambda one=one: hub.servers(one[0])[one[1]]["last_activity"],  # type: ignore[misc]
            what="the server reaches the Hub",
        )
    # A neighbour in its own network, and this host: neither over TLS nor plain.
    address = b["NetworkSettings"]["Networks"][b["HostConfig"]["NetworkMode"]]["IPAddress"]
    path = f"{server_url(own, 'b')}api"
    said = hub.docker.run(a, "python3", "-c", NO_CERTIFICATE, f"{address}:8888{path}")
    assert [line.split()[0] for line in said.splitlines()] == ["none", "none"], said
    said = hub.docker.run(a, "python3", "-c", TALK, f"https://{b['Name'][1:]}:8888{path}")
    assert said.startswith("none"), "a server's certificate is none of a Hub or proxy"
    port = b["NetworkSettings"]["Ports"]["8888/tcp"][0]["HostPort"]
    here = [sys.executable, "-c", NO_CERTIFICATE, f"127.0.0.1:{port}{path}"]
    said = subprocess.run(here, capture_output=True, text=True, check=True, timeout=60).stdout
    assert [line.split()[0] for line in said.splitlines()] == ["none", "none"], said
    # Who puts himself in the Hub's place has no certificate of the Hub's.
    api = hub.docker.environment(a)["JUPYTERHUB_API_URL"]
    assert hub.docker.run(a, "python3", "-c", TALK, f"{api}/").startswith("answer 200")
    with impostor(tmp_path) as at:
        gateway = a["NetworkSettings"]["Networks"][a["HostConfig"]["NetworkMode"]]["Gateway"]
        said = hub.docker.run(a, "python3", "-c", TALK, f"https://{gateway}:{at}/")
        assert "CERTIFICATE_VERIFY_FAILED" in said, said

    hub.restart()
    for one in servers:
        hub.ready(*one)
        assert status(hub, *one) == 200
    assert hub.docker.one(own, "a")["Id"] == a["Id"]

    before = hub.docker.run(a, "cat", f"{CERTS}/certfile")
    hub.halt(own, "a")
    again = hub.spawn(own, "a")
    assert again["Id"] == a["Id"]
    assert hub.docker.run(again, "cat", f"{CERTS}/certfile") != before
    assert status(hub, own, "a") == 200
    for one in servers:
        ends(hub, *one)
