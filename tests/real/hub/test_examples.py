"""The configs of examples/, run for real: a Hub on the host and a Hub in a container."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import docker
import pytest
from support.hub.client import Client, server_url
from support.hub.dockerview import HUB_IMAGE, LAB, LAB2, Docker
from support.hub.hubconfig import EXAMPLE_CONFIG
from support.hub.hubproc import Hubs
from support.hub.waiting import eventually
from support.ports import free_port

#: Asks an HTTP server; prints the first words of its answer, or "none".
ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10) as asking:
        asking.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        print(asking.recv(100).decode(errors="replace"))
except OSError as error:
    print("none", error)
"""
FIND_SOCKETS = "import glob; print(glob.glob('/var/run/*.sock') + glob.glob('/run/*.sock'))"
EXAMPLES = Path(__file__).parents[3] / "examples"


def started(hub: Client, user: str, server: str, options: str = "") -> None:
    """A server is started by curl."""
    start = 'curl -X POST -H "Authorization: token $TOKEN" "$API/users/$NAME/servers/$SERVER"'
    chosen = f"{start} -d '{options}'" if options else start
    assert hub.curl(chosen, NAME=user, SERVER=server).status in (201, 202)


def works(hub: Client, user: str, server: str, image: str) -> Any:
    """A server is ready, and answers by curl with the token that started it; its container."""
    hub.ready(user, server)
    line = 'curl -H "Authorization: token $TOKEN" "$URL/user/$NAME/$SERVER/api/status"'
    status = hub.curl(line, NAME=user, SERVER=server)
    assert (status.status, "kernels" in status.text) == (200, True), status
    container = hub.docker.one(user, server)
    assert container["Config"]["Image"] == image
    return container


def test_quickstart(hubs: Hubs, lab_images: tuple[str, str], user: str) -> None:
    """examples/quickstart: two servers at once, from two images by alias."""
    lab, green = lab_images
    token = secrets.token_hex(32)
    template = EXAMPLE_CONFIG.replace("EXAMPLE", str(EXAMPLES / "quickstart"))
    config = f"""
        aliases = list(c.DockerNamedSpawner.allowed_images)
        c.DockerNamedSpawner.allowed_images = dict(zip(aliases, [{lab!r}, {green!r}]))
    """
    with hubs.running(config, template=template, env={"ADMIN_TOKEN": token}) as hub:
        hub.token = token
        line = 'curl -X POST -H "Authorization: token $TOKEN" "$API/users/$NAME"'
        assert hub.curl(line, NAME=user).status == 201
        with ThreadPoolExecutor() as pool:
            for server, choice in (("exp-1", '{"image": "lab"}'), ("exp-2", '{"image": "r"}')):
                pool.submit(started, hub, user, server, choice)
        works(hub, user, "exp-1", LAB)
        works(hub, user, "exp-2", LAB2)


class HubContainer(Client):
    """examples/hub-in-container as its README runs it: network, socket, volume, one port.

    Args:
        client: of the Engine.
        prefix: of the names of all that is made.
        directory: to run ``curl`` in.
        image: of the servers.
    """

    def __init__(self, client: docker.APIClient, prefix: str, directory: Path, image: str) -> None:
        self.port = free_port()
        url = f"http://127.0.0.1:{self.port}"
        super().__init__(url, secrets.token_hex(32), Docker(client, prefix), directory)
        self.name, self.network = f"{prefix}-hub", self.docker.network("net")
        self.image = image

    def start(self) -> None:
        """``docker run`` of the README, and wait until the Hub answers."""
        client = self.docker.client
        socket = client.base_url.removeprefix("http+docker://")
        socket = os.environ.get("DOCKER_HOST", "").removeprefix("unix://") or socket
        made = client.create_container(
            HUB_IMAGE,
            # The Hub's own containers are called by our prefix, for the tests to find them.
            ["jupyterhub", f"--DockerNamedSpawner.prefix={self.docker.prefix}"],
            name=self.name,
            ports=[8000],
            environment={
                "HUB_PASSWORD": "choose-one",
                "HUB_TOKEN": self.token,
                "LAB_IMAGE": self.image,
            },
            host_config=client.create_host_config(
                network_mode=self.network,
                port_bindings={8000: ("127.0.0.1", self.port)},
                binds=[f"{socket}:/var/run/docker.sock", f"{self.docker.prefix}-data:/data"],
            ),
        )
        client.start(made["Id"])
        eventually(self._answers, what="the Hub in its container answers", timeout=90)

    def remove(self) -> None:
        """``docker rm -f`` of the Hub."""
        self.docker.client.remove_container(self.name, force=True, v=True)

    def log(self) -> str:
        """What the Hub has said."""
        return str(self.docker.client.logs(self.name, tail=80).decode(errors="replace"))

    def _answers(self) -> bool:
        state = self.docker.client.inspect_container(self.name)["State"]
        assert state["Running"], f"the Hub ended with {state['ExitCode']}:\n{self.log()}"
        return self.answers()


@pytest.fixture
def inside(
    engine: docker.APIClient, hubs: Hubs, tmp_path: Path, lab_images: tuple[str, str]
) -> Iterator[HubContainer]:
    """A Hub in a container."""
    hubs.require(HUB_IMAGE)
    if not engine.base_url.startswith("http+docker://"):
        pytest.fail("the Hub in a container needs the Engine's socket; DOCKER_HOST is a TCP one")
    hub = HubContainer(engine, hubs.prefix(), tmp_path, lab_images[0])
    try:
        hub.start()
        yield hub
    except BaseException:
        hubs.fallen.append((hub.docker.prefix, hub.docker.state()))
        raise
    finally:
        hub.close()
        hub.docker.remove_all()


def test_hub_in_a_container(inside: HubContainer, user: str) -> None:
    """The Hub and its servers find each other by name on the user's network, and after a new Hub.

    The Hub's container has joined it; a server reaches neither its proxy's API nor its Engine.
    """
    inside.api("POST", f"/users/{user}")
    started(inside, user, "exp-1")
    container = works(inside, user, "exp-1", LAB)
    (network,) = container["NetworkSettings"]["Networks"]
    labels = inside.docker.client.inspect_network(network)["Labels"]
    assert labels["dockernamed.user"] == user
    for port, expected in ((8081, "HTTP"), (8001, "none"), (2375, "none")):
        said = inside.docker.run(container, "python3", "-c", ASK, inside.name, str(port))
        assert said.startswith(expected), (port, said)
    assert inside.docker.run(container, "python3", "-c", FIND_SOCKETS).strip() == "[]"
    assert not any(container["NetworkSettings"]["Ports"].values())
    url = inside.docker.environment(container)["JUPYTERHUB_API_URL"]
    assert url == f"http://{inside.name}:8081/hub/api"
    eventually(
        lambda: inside.servers(user)["exp-1"]["last_activity"], what="the server reaches the Hub"
    )
    # A new Hub container with the same volume finds the running server again.
    inside.remove()
    inside.start()
    inside.ready(user, "exp-1")
    assert inside.docker.one(user, "exp-1")["Id"] == container["Id"]
    answer = eventually(
        lambda: inside.request("GET", f"{server_url(user, 'exp-1')}api/status"),
        lambda answer: answer.status == 200,
        what="the new Hub's proxy leads to the server",
    )
    assert "kernels" in answer.json()
    inside.halt(user, "exp-1")
    inside.docker.gone(user, "exp-1")
    eventually(
        lambda: inside.docker.networks(),
        lambda networks: network not in networks,
        what="the user's network is removed",
    )
