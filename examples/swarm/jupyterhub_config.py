"""JupyterHub as a service of a Docker Swarm, which starts its servers as further services.

The Hub and all servers are in one overlay network, in which they reach each other by name on every
node.
"""

import os
from pathlib import Path

c = get_config()  # noqa: F821


def secret(name: str) -> str:
    """What `docker secret create` was given."""
    return Path("/run/secrets", name).read_text(encoding="utf-8").strip()


c.JupyterHub.spawner_class = "dockernamed-swarm"
c.JupyterHub.allow_named_servers = True
c.JupyterHub.hub_ip = "0.0.0.0"
# Two names of stack.yaml: the network, and the Hub's service in it.
c.DockerNamedSwarmSpawner.network_name = "jupyterhub"
c.DockerNamedSwarmSpawner.hub_connect_url = "http://hub:8081"
c.DockerNamedSwarmSpawner.image = os.environ["LAB_IMAGE"]

# What one server may use at most of its node, and what is set aside for it there: a node that has
# not so much left gets no further server.
c.DockerNamedSwarmSpawner.mem_limit = "2G"
c.DockerNamedSwarmSpawner.mem_guarantee = "512M"
c.DockerNamedSwarmSpawner.cpu_limit = 2
c.DockerNamedSwarmSpawner.cpu_guarantee = 0.1

# The volume at /data keeps what must outlive the Hub's container.
c.JupyterHub.db_url = "sqlite:////data/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "/data/jupyterhub_cookie_secret"
# The servers of a Hub that is updated or restarted run on.
c.JupyterHub.cleanup_servers = False

# For a first try only: any name can log in with this password. Then choose a real authenticator.
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = secret("hub_password")
c.Authenticator.allow_all = True

# A token for the REST API.
c.JupyterHub.services = [{"name": "admin-script", "api_token": secret("hub_token")}]
c.JupyterHub.load_roles = [
    {
        "name": "admin-script",
        "services": ["admin-script"],
        "scopes": ["admin:users", "admin:servers", "access:servers"],
    }
]
