"""Services of a Docker Swarm as things: a server is a service of one task at most.

One that is stopped is a service of no tasks. Each start has a number of its own, ``ForceUpdate`` in
the service: so each start is a new task, whatever became of the last one, and it is known which
tasks are those of this start.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from .. import naming
from ..desired.accounts import Account, Directory
from ..desired.environment import Environment
from ..desired.private import PrivateFile
from ..desired.service_extra import blamed, checked_extra
from ..desired.services import Api, api_of, scaled, service_body
from ..desired.spec import LABEL_START, ServerSpec
from ..engine.client import Engine
from ..engine.swarm import Swarm
from ..errors import BadRequest, Conflict, EngineTimeout, NotFound
from ..timeouts import retry, within
from ..timings import DEFAULT, Timings
from .base import Can, Executed, Seen, SeenNetwork, SeenVolume
from .engine_networks import EngineNetworks, pairs, seen_network
from .nodes import Nobody, Nodes, Watch, until_over
from .observed_tasks import start_of
from .service_secrets import ServiceSecrets, is_ours
from .service_status import mounts_of, replicas_of, seen
from .service_volumes import ServiceVolumes
from .task_state import TaskSeen, node_from, task_from

LOG = logging.getLogger("dockernamed.services")

#: A task's container, by the name that a Swarm gives it.
_OF_TASK = re.compile(r"\.([a-z0-9]{25})$")
#: What stands for the balancer of an overlay network among its containers.
_BALANCER = "lb-"
_NS = 1e9
#: Begins the constraint of a service that stays where its volumes are.
_ON_NODE = "node.id=="

Spec = dict[str, Any]


@dataclass(frozen=True)
class _NextStart:
    """What a service will be when it is started, of which the Swarm need not know before.

    Attributes:
        body: the ServiceSpec, but for the numbers of tasks and of starts.
        auth: as of `Swarm.update_service`.
        extra: what an admin added to it.
        secrets: names of those that it is given.
    """

    body: Spec
    auth: Mapping[str, str] | None
    extra: Mapping[str, Any]
    secrets: frozenset[str] = frozenset()


class Services(EngineNetworks):
    """See `base.Things`.

    Args:
        engine: a manager of the Swarm.
        swarm: the Swarm.
        log: where it is told what becomes of volumes on nodes that are away.
        timings: how long is waited for what.
        watch: who knows what need not be asked for then.
    """

    can = frozenset({Can.KEEP, Can.FILES, Can.RECONFIGURE})

    def __init__(
        self,
        engine: Engine,
        swarm: Swarm,
        log: logging.Logger = LOG,
        timings: Timings = DEFAULT,
        watch: Watch | None = None,
    ) -> None:
        super().__init__(engine)
        watch = self._watch = watch or Nobody()
        self._swarm, self._timings, self._nodes = swarm, timings, Nodes(swarm, watch)
        self._volumes = ServiceVolumes(engine, swarm, watch, log, timings)
        self._secrets = ServiceSecrets(swarm)
        self._next: dict[str, _NextStart] = {}  # by the ids of services that are to be started
        # By the ids of services that were stopped or are removed: how their tasks are found, and
        # how long these may take to end.
        self._leaving: dict[str, tuple[list[str], float]] = {}

    async def close(self) -> None:
        """End what nobody waits for."""
        await self._volumes.close()

    # --- services --------------------------------------------------------------------------

    async def create(self, name: str, spec: ServerSpec, env: Environment, start_id: str) -> str:
        """See `base.Things.create`."""
        body = service_body(spec, env, name=name, start_id=start_id, api=await self._api())
        with _blaming(spec.service.extra):
            id = await self._swarm.create_service(body, auth=spec.service.auth)
        self._next[id] = _NextStart(body, spec.service.auth, spec.service.extra)
        return id

    async def connect(self, id: str, networks: Sequence[str]) -> None:
        """See `base.Things.connect`: services are created in all of their networks."""

    async def has_shell(self, id: str) -> bool:
        """See `base.Things.has_shell`: no manager can look into an image."""
        return True

    async def hand_over(
        self,
        id: str,
        spec: ServerSpec,
        env: Environment,
        files: Mapping[str, PrivateFile],
        reader: Account | None,
    ) -> None:
        """See `base.Things.hand_over`: each file is a secret of the Swarm.

        The service itself is told by `start`, along with all else that changes.
        """
        if (known := self._next.get(id)) is not None:
            before = known.body
        else:
            info = await self._swarm.inspect_service(id)
            self._secrets.note(info)
            before = info["Spec"]
        labels = before.get("Labels") or {}
        made = await self._secrets.make(id, labels, spec.handed_over(env, files), reader)
        body = service_body(
            spec,
            env,
            name=before["Name"],
            start_id=labels.get(LABEL_START, ""),
            files=made,
            api=await self._api(),
        )
        names = frozenset(one.name for one in made)
        self._next[id] = _NextStart(body, spec.service.auth, spec.service.extra, names)

    async def start(self, id: str) -> None:
        """See `base.Things.start`: it returns as soon as a task is wanted."""
        known = self._next.get(id)
        spec = known.body if known else (await self._swarm.inspect_service(id))["Spec"]
        mounts, image = mounts_of(spec), str(spec["TaskTemplate"]["ContainerSpec"]["Image"])
        async with self._volumes.placed(id, mounts, image) as constraints:
            # As late as can be: the Swarm itself changes a new service.
            info = await self._swarm.inspect_service(id)
            if replicas_of(info["Spec"]) and seen(info, await self._tasks_of(id), {}).running:
                self._watch.note_start(id, start_of(info["Spec"]))
                return
            await self._start(info, constraints, known)
        pin = partial(self._pin, id) if _moves(spec) else None
        self._volumes.follow(id, mounts, pin)

    async def _start(
        self, info: Mapping[str, Any], constraints: Iterable[str], known: _NextStart | None
    ) -> None:
        """Tell the Swarm what a service is from now on, and that it has a task."""
        id = str(info["ID"])

        def started(now: Spec) -> Spec:
            spec = _renewed(known.body, now) if known else now
            wanted = scaled(_constrained(spec, constraints), 1)
            self._watch.note_start(id, start_of(wanted))  # its tasks may be there before the answer
            return wanted

        with _blaming(known.extra if known else {}):
            await self._update(info, started, auth=known.auth if known else None)
        self._leaving.pop(id, None)
        self._next.pop(id, None)
        self._secrets.given(id)
        if known is not None:
            await self._secrets.remove(id, but=known.secrets)

    async def _pin(self, id: str, node: str) -> None:
        """Have a service stay where its volumes are, when its next task follows by itself."""
        info = await self._swarm.inspect_service(id)
        await self._update(info, lambda now: _constrained(now, [f"{_ON_NODE}{node}"]))

    async def stop(self, id: str, grace: float) -> None:
        """See `base.Things.stop`: how long it is given was said when it was created."""
        await self._end(await self._swarm.inspect_service(id), grace)

    async def kill(self, id: str) -> None:
        """See `base.Things.kill`: it is asked to end first, as no manager can do more."""
        info = await self._swarm.inspect_service(id)
        if not (await self._look_at(info)).running:
            await self._scale_down(info)
            raise Conflict(f"kill service {id}", "it does not run")
        await self._end(info, 0)

    async def _end(self, info: Mapping[str, Any], grace: float) -> None:
        id = str(info["ID"])
        await self._scale_down(info)
        labels, least = _traces(info["Spec"])
        await self._until_over(f"stop service {id}", id, labels, max(grace, least))
        self._leaving[id] = labels, least

    async def _scale_down(self, info: Mapping[str, Any]) -> None:
        """Have no task of a service, and nothing of what is handed over at each start."""
        id = str(info["ID"])
        await self._volumes.settle(id, mounts_of(info["Spec"]))
        self._secrets.note(info)
        await self._update(info, lambda now: scaled(_without_secrets(now), 0))
        await self._drop(id)

    async def _drop(self, id: str) -> None:
        """Nothing that was handed over is needed any more."""
        self._next.pop(id, None)
        self._secrets.given(id)
        await self._secrets.remove(id)

    async def remove(self, id: str) -> None:
        """See `base.Things.remove`: it is asked to end first, and waited for."""
        if id not in self._leaving:
            await self._note_before_removal(id)
        await self._swarm.remove_service(id)
        await self._drop(id)
        if (leaving := self._leaving.get(id)) is not None:
            await self._until_over(f"remove service {id}", id, *leaving)
            self._leaving.pop(id, None)

    async def _note_before_removal(self, id: str) -> None:
        """Note what is known of a service that is not stopped yet, before it goes."""
        try:
            info = await self._swarm.inspect_service(id)
        except NotFound:
            return
        await self._volumes.settle(id, mounts_of(info["Spec"]))
        self._secrets.note(info)
        self._leaving[id] = _traces(info["Spec"])

    async def inspect(self, id_or_name: str) -> Seen:
        """See `base.Things.inspect`."""
        return await self._look_at(await self._swarm.inspect_service(id_or_name))

    async def list(self, labels: Mapping[str, str]) -> Sequence[Seen]:
        """See `base.Things.list`."""
        services = await self._swarm.list_services(pairs(labels))
        if not services:
            return ()
        tasks: defaultdict[str, list[TaskSeen]] = defaultdict(list)
        for one in await self._swarm.list_tasks(labels=pairs(labels), convert=task_from):
            tasks[one.service].append(one)
        nodes = {one.id: one for one in map(node_from, await self._swarm.list_nodes())}
        return [seen(service, tasks[str(service["ID"])], nodes) for service in services]

    async def logs(self, id: str, tail: int) -> str:
        """See `base.Things.logs`: of its last task that has any."""
        tasks = [one for one in await self._tasks_of(id) if one.has_container]
        last = max(tasks, key=lambda one: one.created, default=None)
        return "" if last is None else await self._swarm.task_logs(last.id, tail)

    async def execute(self, id: str, command: Sequence[str], user: str, seconds: float) -> Executed:
        """See `base.Things.execute`."""
        raise _cannot(f"run a command in service {id}")

    async def _look_at(self, info: Mapping[str, Any]) -> Seen:
        tasks, start = await self._tasks_of(str(info["ID"])), start_of(info["Spec"])
        of_start = [one for one in tasks if one.start == start]
        return seen(info, tasks, await self._nodes.of(of_start))

    async def _tasks_of(self, id: str) -> Sequence[TaskSeen]:
        return await self._swarm.list_tasks(services=[id], convert=task_from)

    async def _until_over(self, action: str, id: str, labels: Sequence[str], grace: float) -> None:
        """Wait until no task of a service runs, as far as their nodes can be asked.

        Args:
            action: for whom it takes too long.
            id: of the service, which may be gone.
            labels: that its tasks have, and few others.
            grace: how long it may take to end.
        """
        over = until_over(self._swarm, self._nodes, labels, self._timings, service=id)
        try:
            await within(grace + self._timings.task_ends, over)
        except asyncio.TimeoutError:
            raise EngineTimeout(action, "its task does not end") from None

    async def _update(
        self,
        info: Mapping[str, Any],
        change: Callable[[Spec], Spec],
        auth: Mapping[str, str] | None = None,
    ) -> None:
        """Change the specification of a service, whoever else changes it at the same time.

        Args:
            info: ``GET /services/{id}``, as it was a moment ago.
            change: makes the new specification of the present one.
            auth: as of `Swarm.update_service`.
        """

        async def update() -> None:
            nonlocal info
            spec = change(info["Spec"])
            if spec == info["Spec"]:
                return
            id, version = str(info["ID"]), int(info["Version"]["Index"])
            try:
                await self._swarm.update_service(id, version, spec, auth=auth)
            except Conflict:
                info = await self._swarm.inspect_service(id)
                raise

        await retry(update, self._timings.update_again, on=Conflict)

    async def _api(self) -> Api:
        return api_of(await self._engine.api_version())

    # --- whose directories -----------------------------------------------------------------

    async def account(self, id: str, spec: ServerSpec) -> Account | None:
        """See `base.Things.account`."""
        raise _cannot(f"look into service {id}")

    async def directory(self, id: str, path: str) -> Directory | None:
        """See `base.Things.directory`."""
        raise _cannot(f"look into service {id}")

    async def give(self, id: str, directories: Mapping[str, Directory]) -> None:
        """See `base.Things.give`."""
        raise _cannot(f"change the files of service {id}")

    # --- what they use ---------------------------------------------------------------------

    async def create_volume(
        self, name: str, driver: str | None, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> SeenVolume:
        """See `base.Things.create_volume`: only noted; the first task with it makes it."""
        return await self._volumes.create(name, driver, options, labels)

    async def inspect_volume(self, name: str) -> SeenVolume:
        """See `base.Things.inspect_volume`."""
        return await self._volumes.inspect(name)

    async def remove_volume(self, name: str) -> bool:
        """See `base.Things.remove_volume`."""
        return await self._volumes.remove(name)

    async def list_volumes(self, labels: Mapping[str, str]) -> Sequence[SeenVolume]:
        """See `base.Things.list_volumes`."""
        return await self._volumes.list(labels)

    async def inspect_network(self, name: str) -> SeenNetwork:
        """See `base.Things.inspect_network`: as far as this node has a part in it.

        Containers of tasks that are to end no longer count: they go a moment after their service.
        """
        info = await self._engine.inspect_network(name)
        containers = {
            id: _OF_TASK.search(str(one.get("Name")))
            for id, one in (info.get("Containers") or {}).items()
            if not id.startswith(_BALANCER)
        }
        wanted: set[str] = set()
        if any(containers.values()):
            own = str((await self._swarm.membership()).get("NodeID") or "")
            listed = self._swarm.list_tasks(nodes=[own], desired=["running"], convert=task_from)
            wanted = {one.id for one in await listed}
        there = [id for id, task in containers.items() if task is None or task[1] in wanted]
        # Nobody's host has an address there.
        return seen_network({**info, "Containers": dict.fromkeys(there), "IPAM": {}})

    async def members(self, network: str) -> Sequence[str]:
        """See `base.Things.members`: of a network of ours, those that have its labels."""
        found = await self._engine.inspect_network(network)
        labels = {
            name: value
            for name, value in (found.get("Labels") or {}).items()
            if name in (naming.LABEL_HUB, naming.LABEL_USER, naming.LABEL_SERVER)
        }

        def member(service: Mapping[str, Any]) -> str | None:
            targets = service["Spec"]["TaskTemplate"].get("Networks") or ()
            inside = any(one.get("Target") in (found["Id"], found["Name"]) for one in targets)
            return str(service["ID"]) if inside else None

        return await self._swarm.list_services(pairs(labels), member)

    async def is_network_gone(self, id: str) -> bool:
        """See `base.Things.is_network_gone`: what is left of one on this node is waited for.

        A node keeps its part of a network while containers of ending tasks are in it, whatever the
        Swarm has. Such a remnant is found by name and id, but no service can be in it, and as long
        as this manager has one, no other network can have the name.
        """
        try:
            return not await within(self._timings.task_ends, self._is_in_swarm(id))
        except asyncio.TimeoutError:
            words = "it is removed, but containers that do not end still have it on this node"
            raise EngineTimeout(f"look for network {id}", words) from None

    async def _is_in_swarm(self, id: str) -> bool:
        while True:
            found = [one for one in await self._swarm.list_networks(id) if one["Id"] == id]
            if not any(one.get("Peers") for one in found):
                return bool(found)
            await asyncio.sleep(self._timings.look_at_task)

    async def remove_network(self, id: str) -> None:
        """See `base.Things.remove_network`: tasks that have just ended are waited for."""

        async def remove() -> None:
            await self._engine.remove_network(id)

        await retry(remove, self._timings.network_free, on=Conflict)

    async def tidy(self, hub: str, *, orphans: bool = True) -> None:
        """See `base.Things.tidy`."""
        if orphans:
            await self._secrets.tidy(hub)
        await self._volumes.tidy(hub)
        await self._bind(hub)

    async def _bind(self, hub: str) -> None:
        """Have all services stay where their volumes are, whatever comes to change them.

        Those that the Swarm itself may start again are told so soon after their first start, if
        their Hub was not killed in between. The others are moved by people alone, as by ``docker
        service update --force``, with which some balance a Swarm.
        """

        def unbound(service: Mapping[str, Any]) -> tuple[str, Sequence[Mapping[str, Any]]] | None:
            spec = service["Spec"]
            free = replicas_of(spec) and not _is_bound(spec)
            return (str(service["ID"]), mounts_of(spec)) if free else None

        labels = pairs({naming.LABEL_HUB: hub})
        for id, mounts in await self._swarm.list_services(labels, unbound):
            await self._volumes.bind(id, mounts, partial(self._pin, id))


@contextmanager
def _blaming(extra: Mapping[str, Any]) -> Iterator[None]:
    """Name the setting where the Engine refuses a service for what an admin added to it."""
    try:
        yield
    except BadRequest as error:
        found = blamed(checked_extra(extra), error.message)
        raise found or error from error


def _constrained(spec: Spec, constraints: Iterable[str]) -> Spec:
    """A ServiceSpec with these constraints too."""
    task = spec["TaskTemplate"]
    placement = task.get("Placement") or {}
    found = placement.get("Constraints") or []
    more = [one for one in constraints if one not in found]
    if not more:
        return spec
    placement = {**placement, "Constraints": [*found, *more]}
    return {**spec, "TaskTemplate": {**task, "Placement": placement}}


def _moves(spec: Mapping[str, Any]) -> bool:
    """Whether a service may be started again, perhaps elsewhere, without anybody's asking."""
    return (spec["TaskTemplate"].get("RestartPolicy") or {}).get("Condition") != "none"


def _is_bound(spec: Mapping[str, Any]) -> bool:
    found = (spec["TaskTemplate"].get("Placement") or {}).get("Constraints") or ()
    return any(one.startswith(_ON_NODE) for one in found)


def _renewed(body: Spec, now: Spec) -> Spec:
    """A ServiceSpec of the same number of starts as a service has by now."""
    return {**body, "TaskTemplate": {**body["TaskTemplate"], "ForceUpdate": start_of(now)}}


def _without_secrets(spec: Spec) -> Spec:
    """A ServiceSpec without what was handed over for a start."""
    task = spec["TaskTemplate"]
    container = {**task["ContainerSpec"]}
    left = [one for one in container.pop("Secrets", None) or () if not is_ours(one)]
    if left:
        container["Secrets"] = left
    return {**spec, "TaskTemplate": {**task, "ContainerSpec": container}}


def _traces(spec: Mapping[str, Any]) -> tuple[list[str], float]:
    """How tasks of a service are found once it is gone, and how long they may take to end."""
    labels = {
        label: value
        for label, value in (spec.get("Labels") or {}).items()
        if label in (naming.LABEL_HUB, LABEL_START)
    }
    container = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    return pairs(labels), float(container.get("StopGracePeriod") or 0) / _NS


def _cannot(action: str) -> BadRequest:
    return BadRequest(action, "a Swarm's managers have no such call")
