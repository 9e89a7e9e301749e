"""The bare Engine API: the calls that a start and a stop cannot do without, and nothing else.

`BareEngine` without any Hub is the 1.00 of all ratios; inside a Hub, as `benchmarks.floor`, it
is the least that a Spawner can cost.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import aiohttp

PORT = 8888
STEP_S = 0.01  # between two looks for the first answer
DEFAULT_URL = "unix:///var/run/docker.sock"


class RefusedError(Exception):
    """The Engine answered with an error."""


class BareEngine:
    """The Engine API over kept HTTP connections. Make it in a running event loop.

    Args:
        url: ``unix://…`` or ``tcp://…``; DOCKER_HOST or Docker's own default when None.
    """

    def __init__(self, url: str | None = None) -> None:
        self.url = url or os.environ.get("DOCKER_HOST") or DEFAULT_URL
        where = urlsplit(self.url)
        connector: aiohttp.BaseConnector
        if where.scheme == "unix":
            self._base, connector = "http://engine", aiohttp.UnixConnector(where.path, limit=0)
        else:
            self._base, connector = f"http://{where.netloc}", aiohttp.TCPConnector(limit=0)
        forever = aiohttp.ClientTimeout(total=None)
        self._engine = aiohttp.ClientSession(connector=connector, timeout=forever)
        self._web = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=forever)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.close()
        await self._web.close()

    async def call(self, method: str, path: str, body: object = None, **params: str) -> Any:
        """One call; the JSON of its answer, or None where there is none.

        Raises:
            RefusedError: the Engine said no.
        """
        async with self._engine.request(
            method, self._base + path, json=body, params=params
        ) as answer:
            if answer.status >= 400:
                text = await answer.text()
                raise RefusedError(f"{method} {path}: {answer.status} {text.strip()}")
            # Not all Engines name the type, but what has a body is JSON.
            return await answer.json(content_type=None) if answer.status in (200, 201) else None

    async def create(self, name: str, image: str, env: Mapping[str, str]) -> str:
        """Create a container with an init and its port published on loopback; its id."""
        port = f"{PORT}/tcp"
        config = {
            "Image": image,
            "Env": [f"{key}={value}" for key, value in env.items()],
            "ExposedPorts": {port: {}},
            "HostConfig": {
                "Init": True,
                "PortBindings": {port: [{"HostIp": "127.0.0.1", "HostPort": ""}]},
            },
        }
        return str((await self.call("POST", "/containers/create", config, name=name))["Id"])

    async def start(
        self, name: str, image: str, env: Mapping[str, str], path: str = "/"
    ) -> tuple[str, int]:
        """Create, start, inspect, wait for the first answer: a container's id and host port."""
        container = await self.create(name, image, env)
        await self.call("POST", f"/containers/{container}/start")
        info = await self.call("GET", f"/containers/{container}/json")
        port = int(info["NetworkSettings"]["Ports"][f"{PORT}/tcp"][0]["HostPort"])
        await self.first_answer(f"http://127.0.0.1:{port}{path}")
        return container, port

    async def first_answer(self, url: str) -> None:
        """Return once something below 500 comes back."""
        while True:
            try:
                async with self._web.get(url, allow_redirects=False) as answer:
                    if answer.status < 500:
                        return
            except (aiohttp.ClientError, OSError):
                pass  # refused, or taken and dropped by the Engine's proxy
            await asyncio.sleep(STEP_S)

    async def stop(self, container: str, grace: int = 10) -> None:
        """Stop and remove a container."""
        await self.call("POST", f"/containers/{container}/stop", t=str(grace))
        await self.remove(container)

    async def remove(self, container: str) -> None:
        """Remove a container, whatever its state."""
        await self.call("DELETE", f"/containers/{container}", force="true", v="true")

    async def is_running(self, container: str) -> bool:
        """Ask the Engine."""
        try:
            info = await self.call("GET", f"/containers/{container}/json")
        except RefusedError:
            return False
        return bool(info["State"]["Running"])

    async def ends_since(self, since: float, prefix: str) -> list[float]:
        """When containers of such names ended, from a moment until now, as ``time.time()``."""
        filters = json.dumps({"event": ["die"], "type": ["container"]})
        params = {"since": f"{since:.6f}", "until": f"{time.time():.6f}", "filters": filters}
        async with self._engine.get(f"{self._base}/events", params=params) as answer:
            events = [json.loads(line) for line in (await answer.text()).splitlines() if line]
        return [
            event["timeNano"] / 1e9
            for event in events
            if event["Actor"]["Attributes"]["name"].startswith(prefix)
        ]
