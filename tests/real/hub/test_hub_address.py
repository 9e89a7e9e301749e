"""How servers find the Hub when the admin has set no more than `hub_ip`; how it finds them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hub.client import server_url
from support.hub.hubproc import Hub, Hubs
from support.hub.waiting import eventually


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub on all addresses, whose servers are on three different networks."""
    prefix = hubs.prefix()
    networks = {
        "netted": {"network_name": f"{prefix}-net", "use_internal_ip": True},
        "bridged": {"network_isolation": "none"},
    }
    config = "c.DockerNamedSpawner.poll_interval = 1"
    with hubs.running(config, prefix=prefix, by_user=networks) as hub:
        hub.docker.network("net")
        yield hub


@pytest.mark.parametrize("network", ["", "bridge", "net"])
def test_servers_reach_the_hub_at_their_networks_gateway(hub: Hub, user: str, network: str) -> None:
    """JUPYTERHUB_API_URL has the gateway of the server's own network, and the Hub answers there."""
    prefix = {"": "", "bridge": "bridged-", "net": "netted-"}[network]
    user = f"{prefix}{user}"
    hub.add_user(user)
    container = hub.spawn(user, "exp")
    if network == "net":
        network = f"{hub.prefix}-net"
    elif not network:  # the Hub's own, which is called by our prefix
        (network,) = {*hub.docker.networks()} - {f"{hub.prefix}-net"}
    url = hub.docker.environment(container)["JUPYTERHUB_API_URL"]
    networks = container["NetworkSettings"]["Networks"]
    assert list(networks) == [network]
    assert url == f"http://{networks[network]['Gateway']}:{hub.hub_port}/hub/api"
    assert '"version"' in hub.docker.run(container, "wget", "-q", "-O", "-", f"{url}/")


def test_a_server_that_is_plugged_in_elsewhere(hub: Hub, user: str) -> None:
    """Its network gives it another address: the next poll finds it there, and the route heals."""
    user, network = f"netted-{user}", f"{hub.prefix}-net"
    hub.add_user(user)
    container, client = hub.spawn(user, "exp"), hub.docker.client

    def address() -> str:
        found = hub.docker.one(user, "exp")["NetworkSettings"]["Networks"]
        return str(found[network]["IPAddress"])

    before = address()
    client.disconnect_container_from_network(container["Id"], network)
    hub.spawn(user, "two")  # takes the address that is free now
    client.connect_container_to_network(container["Id"], network)
    assert address() != before
    hub.halt(user, "two")
    eventually(
        hub.log,
        lambda log: f"Route added /user/{user}/exp -> http://{address()}:8888" in log,
        what="the proxy is told of the new address",  # not a request, which the old one may hold up
    )
    assert hub.request("GET", server_url(user, "exp") + "x").status == 404
    hub.halt(user, "exp")


def test_a_hub_on_loopback_ends_at_its_start(hubs: Hubs) -> None:
    """Its log says which line to set: no server could ever reach it."""
    hub = hubs.make(hub_ip=None)  # as JupyterHub has it, where nothing is set
    try:
        with pytest.raises(AssertionError, match=r"the Hub ended with 1 at its start"):
            hub.start()
        assert 'set c.JupyterHub.hub_ip = "0.0.0.0" in jupyterhub_config.py' in hub.log()
    finally:
        hub.close()


def test_a_server_that_cannot_reach_the_hub_is_refused_at_once(hubs: Hubs, user: str) -> None:
    """Where only a profile's network has servers that cannot: nothing is created or waited for."""
    config = """
        c.DockerNamedSpawner.network_name = "host"
        c.DockerNamedSpawner.profile_list = [
            {"display_name": "Host", "default": True},
            {"display_name": "Net", "spawner_override": {"network_name": "bridge"}},
        ]
    """
    with hubs.running(config, hub_ip=None) as hub:
        hub.add_user(user)
        answer = hub.curl(
            'curl -X POST -H "Authorization: token $TOKEN" "$API/users/$NAME/servers/exp" '
            """-d '{"profile": "net"}'""",
            NAME=user,
        )
        assert answer.status >= 400
        assert 'c.JupyterHub.hub_ip = "0.0.0.0"' in answer.message
        hub.docker.nothing_of(user)
        assert 'c.JupyterHub.hub_ip = "0.0.0.0"' in hub.log()
