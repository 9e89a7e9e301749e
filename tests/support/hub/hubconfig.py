"""The part of a Hub's config file that all tests share."""

BASE_CONFIG = """\
import sys
sys.path.insert(0, {support!r})
import loopguard
loopguard.install({blocking!r})
import apicalls
apicalls.install()

c.JupyterHub.spawner_class = "dockernamed"
c.JupyterHub.allow_named_servers = True
{hub_ip}
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {{"admin"}}
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.auth_token = {proxy_token!r}
c.ConfigurableHTTPProxy.pid_file = {proxy_pid_file!r}
# Long enough for every start of a test: POST answers 201 when the server is ready.
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 120}}
c.JupyterHub.services = [{{"name": "harness", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{
        "name": "harness",
        "services": ["harness"],
        "scopes": ["admin:users", "admin:groups", "admin:servers", "access:servers", "tokens"],
    }}
]
# The Hub hands no config to its services' processes. One that misses its SIGINT is ended soon.
from jupyterhub.spawner import LocalProcessSpawner
LocalProcessSpawner.interrupt_timeout.default_value = 3
# A busy machine is no reason to fail.
c.Spawner.start_timeout = 120
c.Spawner.http_timeout = 60
c.DockerNamedSpawner.prefix = {prefix!r}
c.DockerNamedSpawner.image = {image!r}
# The small image of most tests is no Jupyter server.
c.DockerNamedSpawner.readiness = "http"

BY_USER = {by_user!r}

def settings_of_this_user(spawner, auth_state):
    for name, value in BY_USER.get(spawner.user.name.partition("-")[0], {{}}).items():
        setattr(spawner, name, value)

c.Spawner.auth_state_hook = settings_of_this_user
"""

#: The same around a config of examples/: all of it counts but ports, images and the prefix.
EXAMPLE_CONFIG = """\
import sys
sys.path.insert(0, {support!r})
import loopguard
loopguard.install({blocking!r})
import apicalls
apicalls.install()

load_subconfig("jupyterhub_config.py", path="EXAMPLE")

c.JupyterHub.port = {port}
c.JupyterHub.hub_port = {hub_port}
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.auth_token = {proxy_token!r}
c.ConfigurableHTTPProxy.pid_file = {proxy_pid_file!r}
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 120}}
c.DockerNamedSpawner.prefix = {prefix!r}
"""
