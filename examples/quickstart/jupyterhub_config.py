# A JupyterHub on this machine whose servers are Docker containers, each from its own image:
#
#   pip install . && npm install -g configurable-http-proxy    # in a checkout
#   export ADMIN_TOKEN=$(openssl rand -hex 32)    # README.md goes on with this token
#   jupyterhub -f jupyterhub_config.py
import os

c = get_config()  # noqa: F821

# Each server is a container; a user may have many of them, by name.
c.JupyterHub.spawner_class = "dockernamed"
c.JupyterHub.allow_named_servers = True

# The images that users may choose, as in {"image": "lab"}, and the one for those who choose none.
c.DockerNamedSpawner.allowed_images = {
    "lab": "quay.io/jupyter/base-notebook:latest",
    "r": "quay.io/jupyter/r-notebook:latest",
}
c.DockerNamedSpawner.image = "lab"

# What one server may use at most of this machine. It cannot do much else to it: docs/security.md.
c.DockerNamedSpawner.mem_limit = "2G"
c.DockerNamedSpawner.cpu_limit = 2

# Only browsers on this machine can connect, but the containers must be able to reach the Hub.
c.JupyterHub.ip = "127.0.0.1"
c.JupyterHub.hub_ip = "0.0.0.0"

# For a first try only: any name with any password can log in. Then choose a real authenticator.
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True

# A token that may manage users and servers over the REST API, and use the servers.
c.JupyterHub.services = [{"name": "script", "api_token": os.environ["ADMIN_TOKEN"]}]
c.JupyterHub.load_roles = [
    {
        "name": "script",
        "services": ["script"],
        "scopes": ["admin:users", "admin:servers", "access:servers"],
    }
]
