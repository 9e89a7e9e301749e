"""Hub processes to measure: one for each contender, alike but for the Spawner."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

ROOT = Path(__file__).resolve().parent.parent
USER = "bench"

CONFIG = """\
c.JupyterHub.spawner_class = {spawner_class!r}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.hub_ip = "0.0.0.0"
c.JupyterHub.hub_connect_ip = {gateway!r}
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_port = {hub_port}
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.ConfigurableHTTPProxy.command = [{proxy!r}]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.auth_token = {proxy_token!r}
# In memory: the time that a disk takes to write is nobody's merit.
c.JupyterHub.db_url = "sqlite:///:memory:"
# So long that no start is answered by 202: the answer 201 says "ready".
c.JupyterHub.tornado_settings = {{"slow_spawn_timeout": 600, "slow_stop_timeout": 600}}
c.Spawner.start_timeout = 600
c.Spawner.http_timeout = 600
c.JupyterHub.services = [{{"name": "bench", "api_token": {token!r}}}]
c.JupyterHub.load_roles = [
    {{"name": "bench", "services": ["bench"], "scopes": ["admin:users", "admin:servers", "tokens"]}}
]
c.JupyterHub.cleanup_servers = False
{further}
"""

#: Of a Hub with dockernamed. It says in its log which checkout it measures, and is sure of it.
DOCKERNAMED = """\
import dockernamed
from pathlib import Path
print("dockernamed is", dockernamed.__file__, flush=True)
if Path(dockernamed.__file__).resolve().parents[1] != Path({checkout!r}):
    raise SystemExit("this is not the dockernamed of " + {checkout!r})
c.DockerNamedSpawner.image = {image!r}
c.DockerNamedSpawner.prefix = {prefix!r}
c.DockerNamedSpawner.allowed_images = "*"
# As the others do; and the small image is no Jupyter server.
c.DockerNamedSpawner.readiness = "http"
# In the container's environment, where the others have them; measured by itself.
c.DockerNamedSpawner.private_tokens = False
# In the Engine's default network, as the others are: in any other one a start takes longer.
c.DockerNamedSpawner.network_isolation = "none"
"""

#: The contender that `Setting.beside` adds: dockernamed as it is in another checkout.
BEFORE = "before"

#: Contender → its class, and what makes all of them publish the port of the same image alike.
CONTENDERS: Mapping[str, tuple[str, str]] = {
    "ours": ("dockernamed", DOCKERNAMED),
    BEFORE: ("dockernamed", DOCKERNAMED),
    "dockerspawner": (
        "docker",
        "c.DockerSpawner.image = {image!r}\nc.DockerSpawner.prefix = {prefix!r}\n"
        'c.DockerSpawner.allowed_images = "*"\nc.DockerSpawner.remove = True\n'
        'c.DockerSpawner.network_name = "bridge"\n'
        'c.DockerSpawner.name_template = "{{prefix}}-{{username}}--{{servername}}"\n',
    ),
    "floor": (
        "benchmarks.floor.FloorSpawner",
        "c.FloorSpawner.image = {image!r}\nc.FloorSpawner.prefix = {prefix!r}\n",
    ),
}


class HubError(Exception):
    """The Hub did not do as asked."""


class Hub:
    """One JupyterHub with its proxy.

    Args:
        contender: key of `CONTENDERS`.
        directory: an empty one, for its config, database and log.
        prefix: of its containers' names.
        image: of its servers.
        gateway: address of this host in the containers' network.
        checkout: the folder whose modules the Hub imports.
        further: more Python text for the config file.
        docker_host: Engine, if another one than ``DOCKER_HOST``.
        spawner_class: if another one than the contender's.
    """

    def __init__(
        self,
        contender: str,
        directory: Path,
        prefix: str,
        image: str,
        gateway: str,
        *,
        checkout: Path = ROOT,
        further: str = "",
        docker_host: str | None = None,
        spawner_class: str = "",
    ) -> None:
        self.contender, self.directory, self.image = contender, directory, image
        self.prefix = f"{prefix}-{contender}"
        self.token = secrets.token_hex(32)
        self.port, self.hub_port = _free_port(), _free_port()
        self.hub_url = f"http://{gateway}:{self.hub_port}/hub/api"
        self._checkout, self._docker_host = checkout, docker_host
        self._process: subprocess.Popen[bytes] | None = None
        self._session: aiohttp.ClientSession | None = None
        usual, own = CONTENDERS[contender]
        directory.mkdir(parents=True)
        text = CONFIG.format(
            spawner_class=spawner_class or usual,
            gateway=gateway,
            port=self.port,
            hub_port=self.hub_port,
            proxy=shutil.which("configurable-http-proxy") or "configurable-http-proxy",
            proxy_port=_free_port(),
            proxy_token=secrets.token_hex(16),
            token=self.token,
            further=own.format(image=image, prefix=self.prefix, checkout=str(checkout)) + further,
        )
        (directory / "jupyterhub_config.py").write_text(text)

    # --- the process

    async def start(self) -> None:
        """Start it, wait until it answers through the proxy, and make the user."""
        env = {**os.environ, "PYTHONPATH": str(self._checkout)}
        if self._docker_host:
            env["DOCKER_HOST"] = self._docker_host
        with (self.directory / "hub.log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220  (does not block for long)
                [sys.executable, "-m", "jupyterhub"],
                cwd=self.directory,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours to handle
            )
        self._session = aiohttp.ClientSession(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"token {self.token}"},
            # The proxy closes a connection that was idle for five seconds or a little more, maybe
            # just as a request is sent over it.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=4),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        deadline = time.monotonic() + 60
        while not await self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise HubError(f"the Hub did not start:\n{self.tail()}")
            await asyncio.sleep(0.1)
        status, text = await self.ask("POST", f"/users/{USER}")
        if status not in (201, 409):
            raise HubError(f"POST /users/{USER}: {status} {text}")

    async def stop(self) -> None:
        """Stop it; its servers stay."""
        if self._session is not None:
            await self._session.close()
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            await asyncio.to_thread(self._process.wait, 30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def container(self, server: str) -> str:
        """Name of a server's container, where it has none of ours' extras."""
        return f"{self.prefix}-{USER}--{server}"

    @property
    def pid(self) -> int:
        """Of the running Hub's process."""
        if self._process is None:
            raise HubError("the Hub does not run")
        return self._process.pid

    def log(self) -> str:
        """All it has said."""
        return (self.directory / "hub.log").read_text(errors="replace")

    def tail(self, lines: int = 40) -> str:
        """The last of it."""
        return "\n".join(self.log().splitlines()[-lines:])

    async def _answers(self) -> bool:
        # The Hub itself first: asking by the proxy fills the log while the Hub isn't there yet.
        assert self._session is not None
        try:
            for url in (f"http://127.0.0.1:{self.hub_port}/hub/api/", "/hub/api/"):
                async with self._session.get(url) as answer:
                    if answer.status != 200:
                        return False
        except (aiohttp.ClientError, OSError):
            return False
        return True

    # --- asking

    async def ask(self, method: str, path: str, body: object = None) -> tuple[int, str]:
        """A call of the REST API, through the proxy; status and text."""
        assert self._session is not None
        async with self._session.request(method, f"/hub/api{path}", json=body) as answer:
            return answer.status, await answer.text()

    async def spawn(self, server: str, image: str | None = None) -> float:
        """POST until ready; seconds.

        Args:
            server: its name.
            image: chosen for it, if not the default.

        Raises:
            HubError: it did not become ready.
        """
        body = {"image": image} if image else None
        begin = time.perf_counter()
        status, text = await self.ask("POST", f"/users/{USER}/servers/{server}", body)
        took = time.perf_counter() - begin
        if status != 201:
            raise HubError(f"{self.contender}: start of {server}: {status} {text}\n{self.tail()}")
        return took

    async def halt(self, server: str) -> float:
        """DELETE until stopped; seconds.

        Raises:
            HubError: it did not stop.
        """
        begin = time.perf_counter()
        status, text = await self.ask("DELETE", f"/users/{USER}/servers/{server}")
        took = time.perf_counter() - begin
        if status != 204:
            raise HubError(f"{self.contender}: stop of {server}: {status} {text}\n{self.tail()}")
        return took

    async def user_token(self) -> str:
        """A token of the user, as servers need one to ask the Hub.

        Raises:
            HubError: refused.
        """
        status, text = await self.ask("POST", f"/users/{USER}/tokens", {})
        if status != 201:
            raise HubError(f"POST tokens: {status} {text}")
        return str(json.loads(text)["token"])

    async def servers(self) -> dict[str, Any]:
        """Server name → its model, of those that run."""
        status, text = await self.ask("GET", f"/users/{USER}")
        if status != 200:
            raise HubError(f"GET user: {status} {text}")
        found: dict[str, Any] = json.loads(text)["servers"]
        return found

    async def singleuser_env(self, server: str) -> dict[str, str]:
        """What jupyterhub-singleuser needs to run without a Spawner, beside this Hub."""
        prefix = f"/user/{USER}/{server}/"
        token = await self.user_token()
        return {
            "JUPYTERHUB_API_TOKEN": token,
            "JPY_API_TOKEN": token,
            "JUPYTERHUB_CLIENT_ID": f"jupyterhub-user-{USER}-{server}",
            "JUPYTERHUB_HOST": "",
            "JUPYTERHUB_OAUTH_CALLBACK_URL": f"{prefix}oauth_callback",
            "JUPYTERHUB_OAUTH_SCOPES": json.dumps([f"access:servers!server={USER}/{server}"]),
            "JUPYTERHUB_USER": USER,
            "JUPYTERHUB_SERVER_NAME": server,
            "JUPYTERHUB_API_URL": self.hub_url,
            "JUPYTERHUB_BASE_URL": "/",
            "JUPYTERHUB_SERVICE_PREFIX": prefix,
            "JUPYTERHUB_SERVICE_URL": f"http://0.0.0.0:8888{prefix}",
        }


def _free_port() -> int:
    # Below the range that the kernel and Docker draw from by themselves.
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("0.0.0.0", port))
            return port
