"""Hubs within the Swarm, as containers and as a service: each side finds the other by name."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
from support.hub.client import Client, server_path, server_url
from support.hub.dockerview import BUSYBOX, HUB_IMAGE, LAB
from support.hub.waiting import eventually
from support.swarm import Swarm
from support.swarm.view import SwarmView

#: What a kernel shows whose balancer is there; services ask for it when a Swarm is made.
IPVS = Path("/proc/net/ip_vs")
CONFIG = """
c = get_config()
c.JupyterHub.spawner_class = "dockernamed-swarm"
c.JupyterHub.allow_named_servers = True
c.JupyterHub.hub_ip = "0.0.0.0"
c.JupyterHub.db_url = "sqlite:////data/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "/data/jupyterhub_cookie_secret"
c.JupyterHub.cleanup_servers = False
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 120}}
c.JupyterHub.services = [{{"name": "harness", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{
        "name": "harness",
        "services": ["harness"],
        "scopes": ["admin:users", "admin:servers", "access:servers"],
    }}
]
c.Spawner.start_timeout = 120
c.DockerNamedSwarmSpawner.prefix = {prefix!r}
c.DockerNamedSwarmSpawner.hub_id = {prefix!r}

def isolate(spawner, auth_state):
    if spawner.user.name.startswith("apart"):
        spawner.network_isolation = "user"

c.Spawner.auth_state_hook = isolate
"""
SMALL = f"""
c.DockerNamedSwarmSpawner.image = {BUSYBOX!r}
c.DockerNamedSwarmSpawner.readiness = "http"
"""


class Inside(Client):
    """A Hub in the Swarm, on its manager's node.

    Args:
        swarm: of nodes that have the images.
        prefix: of the names of all that is made.
        directory: for its config.
        config: Python text at the config's end.
        port: of the node, for the Hub's proxy.
    """

    def __init__(
        self, swarm: Swarm, prefix: str, directory: Path, config: str, port: int = 8000
    ) -> None:
        self.swarm, self.prefix, self.port = swarm, prefix, port
        self.node, self.view = swarm.manager, SwarmView(swarm, prefix)
        url, token = f"http://{self.node.address}:{port}", secrets.token_hex(32)
        directory.mkdir()
        super().__init__(url, token, self.view, directory)
        self.name = f"{prefix}-hub"
        self._config = directory / "jupyterhub_config.py"
        self._config.write_text(CONFIG.format(token=token, prefix=prefix) + config)
        self._mounts = {
            self.node.url.removeprefix("unix://"): "/var/run/docker.sock",
            str(self._config): "/srv/jupyterhub/jupyterhub_config.py",
            f"{prefix}-data": "/data",
        }

    def run(self, network: str) -> None:
        """``docker run``, and wait until the Hub answers."""
        client = self.node.client
        host_config = client.create_host_config(
            network_mode=network,
            port_bindings={8000: self.port},
            binds=[f"{source}:{target}" for source, target in self._mounts.items()],
            dns_opt=["ndots:1"],
        )
        client.create_container(
            HUB_IMAGE, name=self.name, hostname=self.name, ports=[8000], host_config=host_config
        )
        client.start(self.name)
        eventually(self.answers, what=f"{self.name} answers", timeout=90)

    def serve(self, network: str) -> None:
        """``docker service create``, with a virtual address, and wait until the Hub answers."""
        mounts = [
            docker.types.Mount(target, source, "bind" if source.startswith("/") else "volume")
            for source, target in self._mounts.items()
        ]
        container = docker.types.ContainerSpec(HUB_IMAGE, mounts=mounts, init=True)
        self.node.client.create_service(
            docker.types.TaskTemplate(
                container,
                placement=docker.types.Placement(constraints=["node.role==manager"]),
                networks=[network],
            ),
            name=self.name,
            endpoint_spec=docker.types.EndpointSpec(
                mode="vip", ports={self.port: (8000, "tcp", "host")}
            ),
        )
        eventually(self.answers, what=f"{self.name} answers", timeout=90)

    def remove(self) -> None:
        """``docker rm -f``."""
        self.node.client.remove_container(self.name, force=True)

    def log(self) -> str:
        """All that the Hub has said, wherever it runs."""
        said = [self.node.client.logs(c["Id"]) for c in self.node.containers(self.name)]
        return b"\n".join(said).decode(errors="replace")

    def networks(self) -> set[str]:
        """Of the Hub's container."""
        seen = self.node.client.inspect_container(self.name)
        return set(seen["NetworkSettings"]["Networks"])

    def networks_of(self, user: str, server: str) -> set[str]:
        """Of a server's task: those of its service."""
        found = self.view.task(user, server)["NetworksAttachments"]
        return {one["Network"]["Spec"]["Name"] for one in found}

    def status_of(self, user: str, server: str) -> int:
        """Of a server's answer through the proxy."""
        return self.request("GET", f"{server_url(user, server)}api/status").status

    def start(self, user: str, server: str) -> Any:
        """A server's container, once the server is ready and found by name alone."""
        self.api("POST", f"/users/{user}")
        container = self.spawn(user, server)
        assert self.view.service(user, server)["Spec"]["EndpointSpec"]["Mode"] == "dnsrr"
        assert not any((container["NetworkSettings"]["Ports"] or {}).values())
        return container


@pytest.fixture(scope="module")
def inner_swarm(heartbeat: float) -> Iterator[Swarm]:
    """Two nodes, with an overlay network of the name ``lab``."""
    with Swarm(nodes=2, images=[BUSYBOX, LAB, HUB_IMAGE], heartbeat=heartbeat) as swarm:
        swarm.manager.client.create_network("lab", driver="overlay", attachable=True)
        yield swarm


@pytest.fixture
def inside(inner_swarm: Swarm, prefix: str, tmp_path: Path) -> Iterator[Any]:
    """Makes `Inside`: called with its config, and further arguments."""
    made: list[Inside] = []

    def make(config: str, port: int = 8000) -> Inside:
        name = f"{prefix}{len(made)}"
        made.append(Inside(inner_swarm, name, tmp_path / name, config, port))
        return made[-1]

    yield make
    for hub in made:
        hub.close()
        print(f"--- {hub.name}\n{hub.log()}")  # shown where the test has failed
        inner_swarm.remove_all(hub.prefix)  # the Hub's id as well, which its secrets have


def test_a_container_of_its_own(inside: Any) -> None:
    """It finds its name and network by itself, and is in users' networks as long as they are used.

    So does a new container of the same Hub. No server publishes a port.
    """
    hub = inside(SMALL)
    hub.run("lab")
    shared = hub.start("ann", "a")
    assert hub.networks_of("ann", "a") == {"lab"}
    url = hub.view.environment(shared)["JUPYTERHUB_API_URL"]
    assert url == f"http://{hub.name}:8081/hub/api"

    apart = [hub.start("apart", server) for server in ("a", "b")]
    (network,) = hub.networks_of("apart", "a")
    assert network != "lab"
    assert hub.networks_of("apart", "b") == {network}
    assert hub.networks() == {"lab", network}

    hub.remove()
    hub.run("lab")
    servers = [("ann", "a", shared), ("apart", "a", apart[0]), ("apart", "b", apart[1])]
    for user, server, container in servers:
        hub.ready(user, server)
        assert hub.view.one(user, server)["Id"] == container["Id"]
        # The image's server has no such page, but it says so by itself.
        assert hub.status_of(user, server) == 404
    assert hub.networks() == {"lab", network}

    hub.halt("apart", "a")
    hub.view.gone("apart", "a")
    assert hub.networks() == {"lab", network}
    hub.halt("apart", "b")
    eventually(hub.networks, lambda now: now == {"lab"}, what="the Hub has left the network")
    eventually(
        lambda: hub.swarm.leftovers(network), lambda left: not left, what="the network is gone"
    )
    assert hub.status_of("ann", "a") == 404


def test_a_service(inside: Any) -> None:
    """What its container cannot do is told, with the way out: join networks that are made.

    So is a virtual address that would not connect: its own, and that of a profile.
    """
    vip = {"display_name": "V", "spawner_override": {"endpoint_mode": "vip"}}
    profiles = [{"display_name": "D", "default": True}, vip]
    hub = inside(
        f"{SMALL}\nc.DockerNamedSwarmSpawner.network_isolation = 'user'\n"
        f"c.DockerNamedSwarmSpawner.profile_list = {profiles}\n"
    )
    hub.serve("lab")
    told = "the Hub's container belongs to a service, and so cannot join the networks"
    log = eventually(hub.log, lambda log: told in log, what="the Hub tells of its networks")
    assert "No server can be started: c.DockerNamedSpawner.network_isolation = " in log
    hub.api("POST", "/users/ann")
    refused = hub.api("POST", server_path("ann", "a"))
    assert refused.status == 500
    assert told in refused.message
    assert "--network-add" in refused.message
    assert hub.view.services("ann") == []
    assert hub.swarm.leftovers(f"{hub.prefix}-ann") == []

    servers = 'virtual addresses do not connect: set c.DockerNamedSpawner.endpoint_mode = "dnsrr"'
    itself = f"docker service update --endpoint-mode dnsrr {hub.name}"
    log = eventually(
        hub.log, lambda log: IPVS.exists() or itself in log, what="the Hub tells of its address"
    )
    assert (servers in log, itself in log) == (not IPVS.exists(),) * 2


def test_tls_by_name(inside: Any) -> None:
    """With certificates each side trusts the other's name alone; servers get theirs as secrets."""
    hub = inside(f"c.DockerNamedSwarmSpawner.image = {LAB!r}\nc.JupyterHub.internal_ssl = True\n")
    with hub._config.open("a") as config:
        config.write(f"c.JupyterHub.trusted_alt_names = ['DNS:{hub.name}']\n")
    hub.run("lab")
    container = hub.start("ann", "a")
    environment = hub.view.environment(container)
    assert environment["JUPYTERHUB_API_URL"] == f"https://{hub.name}:8081/hub/api"
    assert hub.status_of("ann", "a") == 200
    eventually(lambda: hub.servers("ann")["a"]["last_activity"], what="the server reaches the Hub")
    spec = hub.view.service("ann", "a")["Spec"]["TaskTemplate"]["ContainerSpec"]
    targets = [secret["File"]["Name"] for secret in spec["Secrets"]]
    assert len([one for one in targets if one.startswith("/run/dockernamed/certs/")]) == 3
    hub.halt("ann", "a", remove=True)
    hub.view.emptied("ann")
