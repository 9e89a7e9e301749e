"""The demo's Hub: examples/quickstart as it stands, with the demo's images and places."""

import os
from pathlib import Path

c = get_config()  # noqa: F821

load_subconfig(  # noqa: F821
    str(Path(__file__).parent.parent / "examples" / "quickstart" / "jupyterhub_config.py")
)

c.DockerNamedSpawner.allowed_images = {
    "lab": "dockernamed/lab:latest",
    "lab-green": "dockernamed/lab-green:latest",
}
c.DockerNamedSpawner.pull_policy = "never"  # they were built here
c.DockerNamedSpawner.prefix = os.environ["DEMO_ID"]
c.DockerNamedSpawner.hub_id = os.environ["DEMO_ID"]

port = int(os.environ["DEMO_PORT"])
c.JupyterHub.port = port
c.JupyterHub.hub_port = port + 81
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{port + 1}"

# The working directory is the demo's state: database, cookie secret and the proxy's pid.
c.JupyterHub.db_url = "sqlite:///jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "jupyterhub_cookie_secret"
c.ConfigurableHTTPProxy.pid_file = "proxy.pid"
