"""JupyterHub in a container without the Engine's socket: a proxy lets through what it needs.

DOCKER_HOST, which compose.yaml sets, is the proxy's own socket. All else is as in
examples/hub-in-container, with limits for each server.
"""

import os

c = get_config()  # noqa: F821

c.JupyterHub.spawner_class = "dockernamed"
c.JupyterHub.allow_named_servers = True
c.JupyterHub.hub_ip = "0.0.0.0"
c.DockerNamedSpawner.image = os.environ.get("LAB_IMAGE", "quay.io/jupyter/base-notebook:latest")
c.DockerNamedSpawner.mem_limit = "2G"
c.DockerNamedSpawner.cpu_limit = 2
# The servers of each user are in a network of their own, which the Hub's container joins.
c.DockerNamedSpawner.network_isolation = "user"

# The volume at /data keeps what must outlive the Hub's container.
c.JupyterHub.db_url = "sqlite:////data/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "/data/jupyterhub_cookie_secret"
c.ConfigurableHTTPProxy.pid_file = "/data/jupyterhub-proxy.pid"
# The servers of a Hub whose container is replaced run on.
c.JupyterHub.cleanup_servers = False

# For a first try only: any name can log in with this password. Then choose a real authenticator.
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = os.environ["HUB_PASSWORD"]
c.Authenticator.allow_all = True

# A token for the REST API, if one is given: openssl rand -hex 32
if token := os.environ.get("HUB_TOKEN"):
    c.JupyterHub.services = [{"name": "admin-script", "api_token": token}]
    c.JupyterHub.load_roles = [
        {
            "name": "admin-script",
            "services": ["admin-script"],
            "scopes": ["admin:users", "admin:servers", "access:servers"],
        }
    ]
