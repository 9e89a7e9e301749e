"""The fake Swarm's HTTP: one handler a call."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from support.fake_engine.core import ApiError
from support.fake_engine.faults import Handler
from support.fake_engine.nodes import Node
from support.fake_engine.requests import auth_of, body_of, filters_of
from support.fake_engine.swarm import OUTSIDE, Swarm
from support.fake_engine.swarm_objects import Task

#: ``Swarm`` of ``GET /info`` where there is none.
OUTSIDE_INFO = {
    "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive", "ControlAvailable": False,
    "Error": "", "RemoteManagers": None,
}  # fmt: skip


class SwarmApi:
    """The handlers of one node's Engine.

    Attributes:
        membership: the Swarm and the node, None while the Engine is in none.
    """

    def __init__(self, membership: tuple[Swarm, Node] | None = None) -> None:
        self.membership = membership

    def info(self) -> dict[str, Any]:
        """``Swarm`` of ``GET /info``."""
        if self.membership is None:
            return OUTSIDE_INFO
        swarm, node = self.membership
        return swarm.info(node)

    async def create_overlay(self, body: dict[str, Any]) -> dict[str, Any]:
        """As of ``POST /networks/create`` with the driver ``overlay``."""
        if self.membership is not None and self.membership[1].role != "manager":
            words = "Cannot create a multi-host network from a worker node."
            raise ApiError(403, f"{words} Please create the network from a manager node.")
        return (await self.ready("POST")).overlays.create(body)

    async def remove_overlay(self, name: str) -> None:
        """As of ``DELETE /networks/{name}`` of a network of the Swarm."""
        (await self.ready("DELETE")).overlays.remove(name)

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler."""
        found: list[tuple[str, str, Handler]] = [
            ("POST", "/services/create", self.create_service),
            ("POST", "/services/{id}/update", self.update_service),
            ("DELETE", "/services/{id}", self.remove_service),
            ("GET", "/{kind:service|task}s/{id}/logs", self.logs),
            ("POST", "/{kind:secret|config}s/create", self.create_stored),
            ("POST", "/{kind:secret|config}s/{id}/update", self.update_stored),
            ("DELETE", "/{kind:secret|config}s/{id}", self.remove_stored),
            ("POST", "/nodes/{id}/update", self.update_node),
            ("DELETE", "/nodes/{id}", self.remove_node),
        ]
        for kind in ("service", "task", "node", "secret", "config"):
            found.append(("GET", f"/{{kind:{kind}}}s", self.list))
            found.append(("GET", f"/{{kind:{kind}}}s/{{id}}", self.inspect))
        return found

    async def list(self, request: web.Request) -> web.StreamResponse:
        swarm = await self.ready(request.method)
        found = swarm.store.listed(request.match_info["kind"], filters_of(request))
        text = ",".join(one.text() for one in found)
        return web.Response(text=f"[{text}]", content_type="application/json")

    async def inspect(self, request: web.Request) -> web.StreamResponse:
        swarm = await self.ready(request.method)
        found = swarm.store.find(request.match_info["kind"], request.match_info["id"])
        return web.Response(text=found.text(), content_type="application/json")

    async def create_service(self, request: web.Request) -> web.StreamResponse:
        swarm = await self.ready(request.method)
        made = swarm.create_service(await body_of(request), auth_of(request))
        return web.json_response({"ID": made.id}, status=201)

    async def update_service(self, request: web.Request) -> web.StreamResponse:
        swarm = await self.ready(request.method)
        swarm.update_service(*_asked(request), await body_of(request), auth_of(request))
        return web.json_response({"Warnings": None})

    async def remove_service(self, request: web.Request) -> web.StreamResponse:
        (await self.ready(request.method)).remove_service(request.match_info["id"])
        return web.Response(status=200)

    async def create_stored(self, request: web.Request) -> web.StreamResponse:
        swarm = await self.ready(request.method)
        made = swarm.create_stored(request.match_info["kind"], await body_of(request))
        return web.json_response({"ID": made.id}, status=201)

    async def update_stored(self, request: web.Request) -> web.StreamResponse:
        swarm, kind = await self.ready(request.method), request.match_info["kind"]
        swarm.update_stored(kind, *_asked(request), await body_of(request))
        return web.Response(status=200)

    async def remove_stored(self, request: web.Request) -> web.StreamResponse:
        swarm = await self.ready(request.method)
        swarm.remove_stored(request.match_info["kind"], request.match_info["id"])
        return web.Response(status=204)

    async def update_node(self, request: web.Request) -> web.StreamResponse:
        swarm = await self.ready(request.method)
        swarm.update_node(*_asked(request), await body_of(request))
        return web.Response(status=200)

    async def remove_node(self, request: web.Request) -> web.StreamResponse:
        force = request.query.get("force", "0") in ("1", "true", "True")
        (await self.ready(request.method)).remove_node(request.match_info["id"], force=force)
        return web.Response(status=200)

    async def logs(self, request: web.Request) -> web.StreamResponse:
        """What the nodes have; where one is away the answer never ends."""
        swarm, kind = await self.ready(request.method), request.match_info["kind"]
        found = swarm.store.find(kind, request.match_info["id"])
        if not {"stdout", "stderr"} & set(request.query):
            raise ApiError(500, "Bad parameters: you must choose at least one stream")
        tasks = [found] if kind == "task" else swarm.store.tasks_of.get(found.id, {}).values()
        tail = request.query.get("tail", "all")
        response = web.StreamResponse(headers={"Content-Type": "application/vnd.docker.raw-stream"})
        await response.prepare(request)
        away = False
        for task in tasks:
            node = swarm.store.nodes.get(task.node_id)
            away = away or (node is not None and not node.connected)
            if node is not None and node.connected:
                await response.write(_log(swarm, task, None if tail == "all" else int(tail)))
        if away:
            await asyncio.Event().wait()
        return response

    async def ready(self, method: str) -> Swarm:
        """The Swarm, if the Engine can answer for it.

        Args:
            method: of the request.

        Raises:
            ApiError: it cannot.
        """
        if self.membership is None:
            raise ApiError(503, OUTSIDE)
        swarm, node = self.membership
        await swarm.ready(node, changing=method != "GET")
        return swarm


def _log(swarm: Swarm, task: Task, tail: int | None) -> bytes:
    container = swarm.tasks.agents[task.node_id].container(task)
    return b"" if container is None else container.log_bytes(tail)


def _asked(request: web.Request) -> tuple[str, str]:
    """Which one, and which version of it."""
    return request.match_info["id"], request.query.get("version", "")
