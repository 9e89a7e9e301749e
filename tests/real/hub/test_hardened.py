"""examples/hardened, run for real: a Hub without the Engine's socket, behind a proxy."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import pytest
from support.hub.client import Client, server_url
from support.hub.compose import Compose
from support.hub.dockerview import BUSYBOX, Docker
from support.hub.hubproc import Hubs
from support.hub.waiting import eventually
from support.ports import free_port

EXAMPLE = Path(__file__).parents[3] / "examples" / "hardened"
HUB_IMAGE = os.environ.get("DOCKERNAMED_TEST_IMAGE_HARDENED", "dockernamed/hub-hardened:latest")
PROXY_IMAGE = os.environ.get("DOCKERNAMED_TEST_IMAGE_HAPROXY", "dockernamed-test/haproxy:latest")
ACCOUNT = 10001  # of the Hub, as its Dockerfile has it

#: Asks the Engine from inside the Hub's container, raw: no library puts a path right.
ASK = r"""
import json, socket, sys
found = []
for method, path in json.loads(sys.argv[1]):
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(30)
        link.connect("/run/engine/docker.sock")
        request = f"{method} {path} HTTP/1.1\r\nHost: engine\r\nContent-Length: 0\r\n"
        link.sendall(f"{request}Connection: close\r\n\r\n".encode())
        found.append(int(link.makefile("rb").readline().split()[1]))
print(json.dumps(found))
"""


class Hardened(Client):
    """The example as its README runs it.

    Args:
        client: of the Engine.
        prefix: of the names of all that is made.
        directory: to run ``curl`` in.
    """

    def __init__(self, client: docker.APIClient, prefix: str, directory: Path) -> None:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        super().__init__(url, secrets.token_hex(32), Docker(client, prefix), directory)
        self._port = port
        variables = {"HUB_PASSWORD": "choose-one", "HUB_TOKEN": self.token, "LAB_IMAGE": BUSYBOX}
        socket = os.environ.get("DOCKER_HOST", "").removeprefix("unix://")
        socket = socket or "/var/run/docker.sock"
        self.docker.network("jupyterhub")
        self.compose = Compose(client, EXAMPLE / "compose.yaml", prefix, variables, socket)

    def start(self) -> None:
        """``docker compose up``, and wait until the Hub answers."""
        self.compose.start("engine", image=PROXY_IMAGE, ports={})
        settings = {
            # The Hub's own containers are called by our prefix, for the tests to find them.
            "DockerNamedSpawner.prefix": self.docker.prefix,
            # The small image is no Jupyter server.
            "DockerNamedSpawner.readiness": "http",
            # A busy machine is no reason to fail.
            "Spawner.start_timeout": "120",
        }
        command = ["jupyterhub", "-f", "/srv/jupyterhub/jupyterhub_config.py"]
        command += [f"--{name}={value}" for name, value in settings.items()]
        self.compose.start("hub", image=HUB_IMAGE, ports={8000: self._port}, command=command)
        eventually(self._answers, what="the Hub in its container answers", timeout=90)

    def asked(self, *calls: tuple[str, str]) -> list[int]:
        """The statuses that the Hub's container gets for calls of its own making."""
        client, name = self.docker.client, self.compose.name("hub")
        made = client.exec_create(name, ["python3", "-c", ASK, json.dumps(calls)])
        said = client.exec_start(made["Id"]).decode()
        found: list[int] = json.loads(said.strip().splitlines()[-1])
        return found

    def ready(self, user: str, server: str = "", timeout: float = 120.0) -> None:
        """See `Client.ready`; a failure shows what both containers have said."""
        try:
            super().ready(user, server, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log('hub')}\n{self.log('engine')}") from None

    def log(self, service: str) -> str:
        """What a container of the example has said."""
        name = self.compose.name(service)
        return str(self.docker.client.logs(name, tail=200).decode(errors="replace"))

    def _answers(self) -> bool:
        for service in ("engine", "hub"):
            state = self.docker.client.inspect_container(self.compose.name(service))["State"]
            assert state["Running"], f"{service} ended: {self.log(service)}"
        return self.answers()


@pytest.fixture(scope="module")
def hardened(
    engine: docker.APIClient,
    hubs: Hubs,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Hardened]:
    """The example, running."""
    hubs.require(HUB_IMAGE, PROXY_IMAGE)
    hub = Hardened(engine, hubs.prefix(), tmp_path_factory.mktemp("hardened"))
    try:
        hub.start()
        yield hub
    except BaseException:
        hubs.fallen.append((hub.docker.prefix, hub.docker.state()))
        raise
    finally:
        hub.close()
        hub.docker.remove_all()


def test_servers_of_a_hub_behind_a_proxy(hardened: Hardened, user: str) -> None:
    """Two named servers start, work, stop and are deleted with their files, and the proxy has
    denied nothing of what the Hub asked for.
    """
    hardened.api("POST", f"/users/{user}")
    paths = [f"/users/{user}/servers/{server}" for server in ("exp-1", "exp-2")]
    with ThreadPoolExecutor() as pool:
        answers = pool.map(lambda path: hardened.api("POST", path), paths)
        assert {answer.status for answer in answers} <= {201, 202}
    for server in ("exp-1", "exp-2"):
        hardened.ready(user, server)
        # Through the Hub's proxy: the small image has no such page.
        assert hardened.request("GET", f"{server_url(user, server)}x").status == 404
        mounts = hardened.docker.one(user, server)["Mounts"]
        assert {mount["Type"] for mount in mounts} == {"volume"}
        # Its files, and its tokens.
        assert len(mounts) == 2
        assert not any("engine" in mount["Name"] for mount in mounts)
    for server in ("exp-1", "exp-2"):
        hardened.halt(user, server, remove=True)
    hardened.docker.nothing_of(user)
    assert " 403 " not in hardened.log("engine")
    assert "does not allow" not in hardened.log("hub")


def test_the_hub_has_less_than_the_socket(hardened: Hardened) -> None:
    """Its container has no socket of the Engine, no capabilities, and an account of its own; the
    proxy's has no network.
    """
    inspect = hardened.docker.client.inspect_container
    hub, proxy = (inspect(hardened.compose.name(service)) for service in ("hub", "engine"))
    assert {mount["Destination"] for mount in hub["Mounts"]} == {"/data", "/run/engine"}
    for container in (hub, proxy):
        assert container["HostConfig"]["ReadonlyRootfs"]
        assert container["HostConfig"]["CapDrop"] == ["ALL"]
        assert container["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"]
    assert list(proxy["NetworkSettings"]["Networks"]) == ["none"]
    made = hardened.docker.client.exec_create(hub["Id"], ["cat", "/proc/1/status"])
    status = hardened.docker.client.exec_start(made["Id"]).decode()
    assert f"Uid:\t{ACCOUNT}\t" in status
    assert "CapEff:\t0000000000000000" in status


def test_calls_that_the_proxy_denies(hardened: Hardened) -> None:
    """Whoever takes the Hub over gets 403 for all that is no call of dockernamed, however the path
    is written; none of it reaches the Engine.
    """
    hub = hardened.compose.name("engine")
    denied = [
        ("GET", "/swarm"),
        ("GET", "/v1.41/swarm"),
        ("POST", "/swarm/init"),
        ("GET", "/secrets"),
        ("GET", "/services"),
        ("POST", "/build"),
        ("POST", "/commit?container=x"),
        ("POST", f"/containers/{hub}/exec"),
        ("POST", f"/v1.41/containers/{hub}/exec"),
        ("GET", f"/containers/{hub}/export"),
        ("GET", f"/containers/{hub}/attach/ws"),
        ("POST", f"/containers/{hub}/update"),
        ("POST", "/containers/prune"),
        ("POST", "/volumes/prune"),
        ("POST", "/images/lab/push"),
        ("POST", "/images/load"),
        ("DELETE", "/images/lab"),
        ("GET", "/images/search?term=x"),
        ("POST", "/plugins/pull?remote=x"),
        ("POST", "/auth"),
        ("POST", "/session"),
        # Other ways to write what is denied.
        ("GET", "//swarm"),
        ("GET", "/v1.41/../swarm"),
        ("GET", "/containers/../swarm"),
        ("GET", "/containers/%2e%2e/swarm"),
        ("GET", "/images/../swarm?/json"),
        ("GET", "/images/x/../../swarm/json"),
        ("POST", f"/containers/{hub}%2fexec"),
        ("POST", f"/containers/x/../{hub}/exec"),
        ("POST", f"/containers/{hub}/exec%3f/start"),
        ("GET", "/SWARM"),
        ("GET", "http://engine/swarm"),
        ("HEAD", "/containers/json"),
        ("PUT", "/containers/create"),
    ]
    assert hardened.asked(("GET", "/containers/json"), ("GET", "/v1.41/version")) == [200, 200]
    answers = zip(denied, hardened.asked(*denied), strict=True)
    assert [(call, status) for call, status in answers if status != 403] == []
    assert " 403 " in hardened.log("engine")
