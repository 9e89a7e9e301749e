"""examples/swarm, run for real: its README's lines, pasted on a manager of three nodes."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.hub.client import Client, server_url
from support.hub.dockerview import LAB, Docker
from support.hub.visitors import Visitor
from support.hub.waiting import eventually
from support.swarm import Node, Swarm

ROOT = Path(__file__).parents[2]
README = ROOT / "examples" / "swarm" / "README.md"
HUB_IMAGE = os.environ.get("DOCKERNAMED_TEST_IMAGE_SWARM", "dockernamed/hub-swarm:latest")
#: Lines that the nodes' images and the Swarm are there without.
DONE = ("docker swarm init", "docker build ")
#: Asks an HTTP server; prints the first word of its answer, or "none".
ASK = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10) as asking:
        asking.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
        print(asking.recv(4).decode(errors="replace"))
except OSError as error:
    print("none", error)
"""
FIND_SOCKETS = "import glob; print(glob.glob('/var/run/*.sock') + glob.glob('/run/*.sock'))"


class Stack(Client):
    """The example as its README runs it.

    Args:
        swarm: of nodes that have the images.
        directory: to run ``curl`` in.
    """

    def __init__(self, swarm: Swarm, directory: Path) -> None:
        self.swarm, self.node = swarm, swarm.manager
        url = f"http://{self.node.address}:8000"
        super().__init__(url, "", Docker(self.node.client, "jupyter"), directory)
        self._env = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "DOCKER_HOST": self.node.url,
            "HUB_IMAGE": HUB_IMAGE,
            "LAB_IMAGE": LAB,
        }
        self._blocks = re.findall(r"^```sh\n(.*?)^```$", README.read_text("utf-8"), re.S | re.M)
        assert len(self._blocks) == 2

    def deploy(self) -> None:
        """The first block, and wait until the Hub answers."""
        lines = self._blocks[0].splitlines()
        assert {begun for begun in DONE for line in lines if line.startswith(begun)} == set(DONE)
        # Where everybody's Engine has its socket; this node's is elsewhere.
        socket = self.node.url.removeprefix("unix://")
        self.node.namespaces.run("ln", "-s", socket, "/run/docker.sock")
        self.paste("\n".join(line for line in lines if not line.startswith(DONE)))
        eventually(self.answers, what="the Hub in its service answers", timeout=90)

    def use(self) -> str:
        """The second block, to the URL at which this Hub is; what it prints."""
        first, rest = self._blocks[1].split("\n", 1)
        assert first == "export URL=http://127.0.0.1:8000 API=http://127.0.0.1:8000/hub/api"
        said = self.paste(f"export URL={self.url} API={self.api_url}\n{rest}\nprintenv TOKEN\n")
        self.token = said.splitlines()[-1]
        return said

    def paste(self, lines: str) -> str:
        """Run lines in a shell at the top of the checkout; what they print."""
        done = subprocess.run(
            ["bash", "-ec", lines],
            env=self._env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"{lines}\n{done.stdout}{done.stderr}"
        return done.stdout

    def service(self, user: str, server: str) -> Any:
        """``GET /services/{id}`` of a server; there must be exactly one."""
        label = [f"dockernamed.user={user}", f"dockernamed.server={server}"]
        (found,) = self.swarm.manager.client.services({"label": label})
        return found

    def place(self, service: Any) -> tuple[Node, Any]:
        """The node of a service's running task, and its container there (inspected)."""
        task = self.swarm.running(service["ID"])
        node = self.swarm.node_of(task)
        id = task["Status"]["ContainerStatus"]["ContainerID"]
        return node, node.client.inspect_container(id)


@pytest.fixture
def stack(tmp_path: Path, heartbeat: float) -> Iterator[Stack]:
    """The Hub as a service of a Swarm."""
    if os.geteuid() != 0:
        pytest.fail("only root can make a Swarm")
    with Swarm(images=[LAB, HUB_IMAGE], heartbeat=heartbeat) as swarm:
        stack = Stack(swarm, tmp_path)
        try:
            stack.deploy()
            yield stack
        finally:
            stack.close()
            # Shown where the test has failed; without an error where it has not.
            print(stack.paste("docker service logs jupyterhub_hub 2>&1 | tail -60"))


def test_the_hub_is_a_service(stack: Stack) -> None:
    """README's lines start a server on another node, which a new Hub finds again; nothing stays.

    Hub and server find each other by name; the server reaches neither the proxy's API nor an
    Engine, and nothing but the Hub's port is published.
    """
    Visitor(stack, "eve", "choose-one").close()
    said = stack.use()
    assert '"kernels"' in said
    assert "jupyter-ada--exp-1" in said
    before = stack.service("ada", "exp-1")
    node, container = stack.place(before)
    assert node is not stack.node  # where the Hub is: the others had no task yet
    view = Docker(node.client, "jupyter")
    for port, expected in ((8081, "HTTP"), (8001, "none"), (2375, "none")):
        assert view.run(container, "python3", "-c", ASK, "hub", str(port)).startswith(expected)
    assert view.run(container, "python3", "-c", FIND_SOCKETS).strip() == "[]"
    assert not any((container["NetworkSettings"]["Ports"] or {}).values())
    eventually(
        lambda: stack.servers("ada")["exp-1"]["last_activity"], what="the server reaches the Hub"
    )

    hub = stack.swarm.running("jupyterhub_hub")
    stack.paste("docker service update --detach --force jupyterhub_hub")
    eventually(
        lambda: stack.swarm.running("jupyterhub_hub"),
        lambda task: task["ID"] != hub["ID"],
        what="a new task of the Hub runs",
    )
    eventually(stack.answers, what="the new Hub answers")
    stack.ready("ada", "exp-1")
    assert stack.place(stack.service("ada", "exp-1"))[1]["Id"] == container["Id"]
    answer = eventually(
        lambda: stack.request("GET", f"{server_url('ada', 'exp-1')}api/status"),
        lambda answer: answer.status == 200,
        what="the new Hub's proxy leads to the server",
    )
    assert "kernels" in answer.json()

    stack.halt("ada", "exp-1", remove=True)
    eventually(
        lambda: stack.paste("docker config ls --quiet --filter label=dockernamed.hub"),
        lambda left: not left,
        what="the Hub has no files to delete any more",
    )
    stack.paste("docker stack rm jupyterhub; docker secret rm hub_password hub_token")
    eventually(
        lambda: stack.node.containers("jupyterhub"),
        lambda left: not left,
        what="the Hub's container is gone",
    )
    stack.paste("docker volume rm jupyterhub-data")
    (volume,) = node.volumes("jupyter")  # which no manager can remove there
    assert "dockernamed.hub" in volume["Labels"]
    assert node.namespaces.run("ls", "-A", volume["Mountpoint"]) == ""
    eventually(
        lambda: [
            thing
            for prefix in ("jupyter", "hub_", "dockernamed")
            for thing in stack.swarm.leftovers(prefix)
        ],
        lambda left: left == [f"volume {volume['Name']} ({node})"],
        what="nothing else is left",
    )
