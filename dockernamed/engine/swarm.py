"""A Docker Swarm as awaitable calls: one method a call of a manager's API.

What `client` says of its calls holds for these. Reads and removals are repeated when the connection
breaks; calls that create or change something never are.

Each service, secret, config and node has a version. Who changes one names the version that was
read, so that of two who change it at once the second one is refused: `Conflict`.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar, overload

from ..errors import EngineFailed, EngineTimeout, NotFound
from ..timings import DEFAULT
from .call import demultiplex_service, parse_nothing, parse_object
from .caller import Convert, any_event, filters_of, quoted, whole
from .client import Engine
from .connection import encode_auth

__all__ = ["Swarm"]

T = TypeVar("T")

#: Seconds for a log to come from the node where it is: a manager waits for that without end.
LOGS_S = 3.0
#: Managers tell nothing of tasks. Of images each one tells of its own.
EVENT_KINDS = ("service", "node", "image")


class Swarm:
    """The Swarm that an Engine manages.

    All calls raise `EngineError`, among them `NotAManager` where the Engine manages none, and
    `EngineFailed` while the Swarm has no leader: that may take the Engine half a minute to say.

    Args:
        engine: a manager of the Swarm.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine, self._caller = engine, engine.caller

    async def membership(self) -> dict[str, Any]:
        """``Swarm`` of ``GET /info``: the Engine's own part in a Swarm, if there is one.

        Among others ``NodeID``, ``NodeAddr``, ``LocalNodeState`` (``active``, ``inactive``,
        ``pending``, ``locked``, ``error``) and ``ControlAvailable``: it is a manager.
        """
        return dict((await self._engine.info()).get("Swarm") or {})

    @asynccontextmanager
    async def events(
        self,
        keep: Callable[[dict[str, Any]], bool] = any_event,
        *,
        patience: float = DEFAULT.stream_opens,
    ) -> AsyncIterator[AsyncIterator[list[dict[str, Any]]]]:
        """Events of services, nodes and the manager's images from now on, as of `Engine.events`.

        While the Swarm has no leader nothing comes, and the stream goes on when it has one again.
        """
        async with self._caller.events({"type": EVENT_KINDS}, keep, patience) as batches:
            yield batches

    # --- services and their tasks ----------------------------------------------------------

    async def create_service(
        self, spec: Mapping[str, Any], *, auth: Mapping[str, str] | None = None
    ) -> str:
        """Create a service and return its id.

        Args:
            spec: the API's ServiceSpec.
            auth: credentials of the image's registry for the nodes, as of `Engine.pull`; None: they
                get none.

        Raises:
            NameTaken: another service has the name.
            NotFound: a network, secret or config in it is not there.
            BadRequest: no service can be like this.
            EngineTimeout, EngineUnavailable: it may have been created all the same.
        """
        action = f"create service {spec.get('Name')}"
        call = self._caller.call(
            action, "POST", "/services/create", body=spec, headers=_with_auth(auth)
        )
        return await self._caller.create(call, "ID")

    async def inspect_service(self, id: str) -> dict[str, Any]:
        """``ID``, ``Version.Index``, ``Spec`` and more of a service, by id or name."""
        return await self._caller.get(f"inspect service {id}", f"/services/{quoted(id)}")

    async def update_service(
        self,
        id: str,
        version: int,
        spec: Mapping[str, Any],
        *,
        auth: Mapping[str, str] | None = None,
    ) -> None:
        """Give a service another specification.

        Args:
            id: of the service.
            version: ``Version.Index`` of the service as it was read.
            spec: the whole ServiceSpec; what it leaves out is gone.
            auth: as for `create_service`; None: as they were.

        Raises:
            Conflict: somebody else has changed it since.
            EngineTimeout, EngineUnavailable: it may have been changed all the same.
        """
        call = self._caller.call(
            f"update service {id}",
            "POST",
            f"/services/{quoted(id)}/update",
            {"version": version},
            spec,
            headers=_with_auth(auth),
        )
        parse_object(call, await self._caller.ask(call))

    async def remove_service(self, id: str) -> None:
        """Remove it; fine when it was gone already. Its tasks end after that, and then go."""
        await self._remove(f"remove service {id}", f"/services/{quoted(id)}")

    @overload
    async def list_services(self, labels: Sequence[str]) -> list[dict[str, Any]]: ...
    @overload
    async def list_services(self, labels: Sequence[str], convert: Convert[T]) -> list[T]: ...
    async def list_services(
        self, labels: Sequence[str], convert: Convert[Any] = whole
    ) -> list[Any]:
        """Services that have all the labels.

        Args:
            labels: each ``key=value`` or just ``key``.
            convert: turns each into something smaller; None from it drops it.
        """
        return await self._list("list services", "/services", convert, label=labels)

    @overload
    async def list_tasks(
        self,
        *,
        labels: Sequence[str] = (),
        services: Sequence[str] = (),
        desired: Sequence[str] = (),
        nodes: Sequence[str] = (),
    ) -> list[dict[str, Any]]: ...
    @overload
    async def list_tasks(
        self,
        *,
        labels: Sequence[str] = (),
        services: Sequence[str] = (),
        desired: Sequence[str] = (),
        nodes: Sequence[str] = (),
        convert: Convert[T],
    ) -> list[T]: ...
    async def list_tasks(
        self,
        *,
        labels: Sequence[str] = (),
        services: Sequence[str] = (),
        desired: Sequence[str] = (),
        nodes: Sequence[str] = (),
        convert: Convert[Any] = whole,
    ) -> list[Any]:
        """Tasks that fit all arguments that are not empty.

        Args:
            labels: which their services all have, each ``key=value`` or just ``key``.
            services: one of these, by id or name.
            desired: one of these is what the Swarm wants them to be: ``running``, ``shutdown`` or
                ``accepted``.
            nodes: one of these, by id or name.
            convert: turns each into something smaller; None from it drops it.

        Raises:
            NotFound: one of the services or nodes is not there.
        """
        filters = {"label": labels, "service": services, "desired-state": desired, "node": nodes}
        return await self._list("list tasks", "/tasks", convert, **filters)

    async def task_logs(self, id: str, tail: int) -> str:
        """The last ``tail`` lines of a task's output, as far as they come from its node in time.

        Raises:
            EngineTimeout: nothing has come.
            EngineFailed: what the manager says of why there is nothing.
        """
        action = f"read the log of task {id}"
        params = {"stdout": 1, "stderr": 1, "tail": tail}
        call = self._caller.call(action, "GET", f"/tasks/{quoted(id)}/logs", params)
        call, body = replace(call, timeout=min(LOGS_S, self._caller.timeout)), bytearray()
        try:
            await self._caller.each_part(call, body.extend)
        except EngineTimeout as error:
            text, _ = demultiplex_service(bytes(body))
            if not text:
                why = f"{error.message}; the node where it is may be down"
                raise EngineTimeout(action, why) from error
            return text
        text, missing = demultiplex_service(bytes(body))
        if missing and not text:
            raise EngineFailed(action, missing)
        return text

    # --- nodes -----------------------------------------------------------------------------

    async def list_nodes(self) -> list[dict[str, Any]]:
        """All nodes of the Swarm."""
        return await self._list("list nodes", "/nodes", whole)

    async def inspect_node(self, id: str) -> dict[str, Any]:
        """All that is known of a node, by id or name."""
        return await self._caller.get(f"inspect node {id}", f"/nodes/{quoted(id)}")

    # --- networks --------------------------------------------------------------------------

    async def list_networks(self, id: str) -> list[dict[str, Any]]:
        """Networks whose ids begin like this: the Swarm's, and those of this node alone.

        Of the Swarm's the managers tell, who know of no ``Peers``. One that has these is gone from
        the Swarm, and this node has not yet removed its part of it.
        """
        return await self._list("list networks", "/networks", whole, id=[id])

    # --- secrets and configs ---------------------------------------------------------------

    async def create_secret(self, name: str, data: bytes, labels: Mapping[str, str]) -> str:
        """Create a secret and return its id.

        Args:
            name: no other secret has it; at most 64 letters, digits, ``-``, ``_`` and ``.``.
            data: from 1 to 511,999 bytes.
            labels: of the secret.

        Raises:
            NameTaken: another secret has the name.
            EngineTimeout, EngineUnavailable: it may have been created all the same.
        """
        return await self._create("secret", name, data, labels)

    async def list_secrets(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Secrets that have all the labels, as for `list_services`; without their data."""
        return await self._list("list secrets", "/secrets", whole, label=labels)

    async def remove_secret(self, id: str) -> None:
        """Remove it, by id or name; fine when it was gone already.

        Raises:
            Conflict: a service uses it.
        """
        await self._remove(f"remove secret {id}", f"/secrets/{quoted(id)}")

    async def create_config(self, name: str, data: bytes, labels: Mapping[str, str]) -> str:
        """Create a config and return its id.

        Args:
            name: no other config has it; as for `create_secret`.
            data: from 1 to 1,023,999 bytes, which whoever can ask the Swarm can read.
            labels: of the config.

        Raises:
            NameTaken: another config has the name.
            EngineTimeout, EngineUnavailable: it may have been created all the same.
        """
        return await self._create("config", name, data, labels)

    async def inspect_config(self, id: str) -> dict[str, Any]:
        """``ID``, ``Version.Index`` and ``Spec`` of a config, by id or name."""
        return await self._caller.get(f"inspect config {id}", f"/configs/{quoted(id)}")

    async def list_configs(self, labels: Sequence[str]) -> list[dict[str, Any]]:
        """Configs that have all the labels, as for `list_services`."""
        return await self._list("list configs", "/configs", whole, label=labels)

    async def update_config(self, id: str, version: int, spec: Mapping[str, Any]) -> None:
        """Give a config other labels; its name and its data stay.

        Args:
            id: of the config.
            version: ``Version.Index`` of the config as it was read.
            spec: its ``Spec`` with these labels.

        Raises:
            Conflict: somebody else has changed it since.
            EngineTimeout, EngineUnavailable: it may have been changed all the same.
        """
        path = f"/configs/{quoted(id)}/update"
        call = self._caller.call(f"update config {id}", "POST", path, {"version": version}, spec)
        parse_nothing(call, await self._caller.ask(call))

    async def remove_config(self, id: str) -> None:
        """Remove it, by id or name; fine when it was gone already.

        Raises:
            Conflict: a service uses it.
        """
        await self._remove(f"remove config {id}", f"/configs/{quoted(id)}")

    # --- how calls are made ----------------------------------------------------------------

    async def _create(self, kind: str, name: str, data: bytes, labels: Mapping[str, str]) -> str:
        body = {"Name": name, "Labels": dict(labels), "Data": base64.b64encode(data).decode()}
        call = self._caller.call(f"create {kind} {name}", "POST", f"/{kind}s/create", body=body)
        return await self._caller.create(call, "ID")

    async def _remove(self, action: str, path: str) -> None:
        call = self._caller.call(action, "DELETE", path, repeat=True)
        try:
            parse_nothing(call, await self._caller.ask(call))
        except NotFound:
            return

    async def _list(
        self, action: str, path: str, convert: Convert[T], **filters: Sequence[str]
    ) -> list[T]:
        given = {name: values for name, values in filters.items() if values}
        params = {"filters": filters_of(**given) if given else None}
        call = self._caller.call(action, "GET", path, params, repeat=True)
        return await self._caller.items(call, convert)


def _with_auth(auth: Mapping[str, str] | None) -> dict[str, str]:
    return {"X-Registry-Auth": encode_auth(auth)} if auth else {}
