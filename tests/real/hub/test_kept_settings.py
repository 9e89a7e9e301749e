"""What was set for a server when it started holds for its whole life, whatever is edited later."""

from __future__ import annotations

from collections.abc import Iterator

import docker
import pytest
from support.hub.client import server_url
from support.hub.hubproc import Hubs

#: A web server at another port than the image's own, which ends at once when it is asked to.
ELSEWHERE = 'CMD ["sh", "-c", "exec busybox httpd -f -p 9999 -h /www"]'
BEFORE = """
c.JupyterHub.cleanup_servers = False
c.DockerNamedSpawner.orphan_grace = 0.1
c.DockerNamedSpawner.orphan_interval = 0.1
c.DockerNamedSpawner.network_name = {network!r}
c.DockerNamedSpawner.profile_list = [
    {{"display_name": "Plain", "slug": "plain"}},
    {{
        "display_name": "Port",
        "slug": "port",
        "spawner_override": {{"port": 9999, "image": {image!r}}},
    }},
    {{"display_name": "Kept", "slug": "kept", "spawner_override": {{"remove": False}}}},
    {{"display_name": "Files", "slug": "files", "spawner_override": {{"delete_volumes": False}}}},
]
"""
AFTER = """
c.JupyterHub.cleanup_servers = False
c.DockerNamedSpawner.orphan_grace = 0.1
c.DockerNamedSpawner.orphan_interval = 0.1
c.DockerNamedSpawner.network_name = {network!r}
c.DockerNamedSpawner.port = 7777
"""


@pytest.fixture(scope="module")
def network(engine: docker.APIClient, hubs: Hubs) -> Iterator[str]:
    """A network of the tests' own, in which servers are reached at their addresses."""
    name = f"{hubs.prefix()}-net"
    made = engine.create_network(name)
    yield name
    engine.remove_network(made["Id"])


def test_an_edit_of_the_config_reaches_no_running_server(
    hubs: Hubs, network: str, user: str
) -> None:
    """Servers stay where they are, containers and files that were to be kept are kept.

    Without a warning for any of them when the Hub comes up again.
    """
    prefix = hubs.prefix()
    image = f"{prefix}-elsewhere:latest"
    with hubs.running(BEFORE.format(network=network, image=image), prefix=prefix) as hub:
        hub.docker.flavour("elsewhere", ELSEWHERE)
        hub.add_user(user)
        for profile in ("plain", "port", "kept", "files"):
            hub.spawn(user, profile, {"profile": profile})
        hub.halt(user, "kept")
        hub.halt(user, "files")
        answered = hub.request("GET", server_url(user, "port")).status
        hub.stop()
        since = len(hub.log())
        hub.configure(AFTER.format(network=network))
        hub.start()
        assert hub.request("GET", server_url(user, "port")).status == answered
        assert set(hub.servers(user)) == {"plain", "port"}
        assert "invalid url" not in hub.log()[since:]

        hub.forget(user, "files")
        for server in ("plain", "port"):
            hub.halt(user, server, remove=True)
        left = [str(volume["Name"]) for volume in hub.docker.volumes()]
        assert [name.partition("--")[2].partition(".")[0] for name in sorted(left)] == [
            "files", "kept",
        ]  # fmt: skip
        # Many searches for orphans have passed by now.
        assert not hub.docker.one(user, "kept")["State"]["Running"]
        hub.forget(user, "kept")
