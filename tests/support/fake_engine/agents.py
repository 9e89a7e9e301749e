"""The nodes' side of the fake Swarm: they run the tasks that they are given, and tell of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Protocol

from support.fake_engine.core import ApiError
from support.fake_engine.nodes import Node
from support.fake_engine.objects import PID, Behaviour, Container
from support.fake_engine.swarm_objects import Status, Stored, Task, rank
from support.fake_engine.task_containers import (
    container_config,
    port_status,
    private_files,
    volumes,
)

#: Seconds between two states of a task.
STEP_S = 0.05
#: Seconds that a node waits before it stops a container, so that all others forget its address.
FORGOTTEN_S = 1.0
#: Seconds between SIGTERM and SIGKILL, where the service says nothing else.
GRACE_S = 10.0


class Managers(Protocol):
    """What an agent needs of the managers."""

    async def sleep(self, seconds: float) -> None:
        """So long, in the Swarm's time."""

    def heard(self, task: Task, status: Status) -> None:
        """A node has said how a task is."""

    def knows(self, task: Task) -> bool:
        """It is not gone."""

    def stored(self) -> Mapping[str, Stored]:
        """All secrets and configs, by id."""

    def pulled(self, task: Task) -> Mapping[str, Any] | None:
        """The config of its image, if a registry gives it for the service's credentials."""

    def network(self, id: str) -> dict[str, Any]:
        """A network of the Swarm."""

    def forget_remnants(self) -> None:
        """A container has ended, which networks that are removed may have waited for."""

    @property
    def go(self) -> asyncio.Event:
        """Set when tasks that hold may go on."""


class Agent:
    """That of one node.

    What it knows of tasks is its own: while the managers do not hear of it, nor it of them, it
    goes on with what it was told last.
    """

    def __init__(self, managers: Managers, node: Node) -> None:
        self._managers, self.node = managers, node
        self._told: dict[str, tuple[Task, str]] = {}  # what each is to be
        self._status: dict[str, Status] = {}
        self._made: dict[str, Container] = {}
        self._task_of: dict[str, Task] = {}  # by the container's id
        self._working: set[str] = set()
        self._jobs: set[asyncio.Task[None]] = set()
        node.core.on_end = self._ended

    def tell(self, task: Task) -> None:
        """The managers tell what they want a task to be."""
        if not self.node.connected:
            return
        self._told[task.id] = task, task.desired
        self._status.setdefault(task.id, task.status)
        self._wake(task)

    def adopt(self, task: Task, container: Container) -> None:
        """A task that runs already, and nobody saw it begin."""
        self._told[task.id], self._status[task.id] = (task, task.desired), task.status
        self._made[task.id], self._task_of[container.id] = container, task

    def forget(self, task: Task) -> None:
        """The managers know a task no more: its container goes, once that is heard here."""
        if not self.node.connected:
            return
        self._told.pop(task.id, None)
        self._status.pop(task.id, None)
        container = self._made.pop(task.id, None)
        if container is not None:
            self._task_of.pop(container.id, None)
            self.node.core.remove(container, force=True)

    def reconnect(self) -> None:
        """Tell the managers what they have missed."""
        for id, (task, _) in list(self._told.items()):
            if self._managers.knows(task):
                self._managers.heard(task, self._status[id])
            else:
                self.forget(task)

    def container(self, task: Task) -> Container | None:
        """A task's container, if it has one."""
        return self._made.get(task.id)

    # --- work ------------------------------------------------------------------------------

    def _wake(self, task: Task) -> None:
        if task.id in self._working:
            return
        self._working.add(task.id)
        job = asyncio.get_running_loop().create_task(self._work(task))
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)

    async def _work(self, task: Task) -> None:
        try:
            while task.id in self._told and await self._step(task):
                pass
        finally:
            self._working.discard(task.id)

    async def _step(self, task: Task) -> bool:
        """Go one step towards what a task is to be; False when there is nothing to do."""
        status, wanted = self._status[task.id], self._told[task.id][1]
        if status.ended:
            return False
        if self._unwanted(task):
            await self._shut_down(task)
            return True
        step = self._steps.get(status.state)
        if step is None or (status.state == "ready" and wanted == "ready"):
            return False
        await self._managers.sleep(STEP_S)
        await self._hold(task)
        if not self._unwanted(task):
            await step(self, task)
        return True

    def _unwanted(self, task: Task) -> bool:
        told = self._told.get(task.id)
        return told is None or rank(told[1]) > rank("complete")

    async def _hold(self, task: Task) -> None:
        """Stay in a state, if the test wants it so."""
        if self._behaviour(task).hold == self._status[task.id].state:
            await self._managers.go.wait()

    async def _accept(self, task: Task) -> None:
        self._say(task, state="accepted", message="accepted")

    async def _begin(self, task: Task) -> None:
        self._say(task, state="preparing", message="preparing")

    async def _prepare(self, task: Task) -> None:
        try:
            container = self._make(task)
        except ApiError as error:
            nothing = {"ContainerID": "", "PID": 0, "ExitCode": 0}
            self._say(task, state="rejected", err=error.message, container=nothing)
            return
        self._made[task.id], self._task_of[container.id] = container, task
        self._say(task, state="ready", message="prepared")

    def _make(self, task: Task) -> Container:
        core, words = self.node.core, self._behaviour(task).reject
        if words:
            raise ApiError(500, words)
        if not core.has_image(task.image):
            config = self._managers.pulled(task)
            if config is not None:
                core.add_image(task.image, config, event="pull")
        for name, labels, made in volumes(task):
            core.add_volume(name, labels, **made)
        for attachment in task.attachments:
            network = self._managers.network(attachment["Network"]["ID"])
            core.networks.setdefault(network["Name"], network)
        container = core.create(task.name, container_config(task))
        for attachment in task.attachments[:1]:
            container.address = attachment["Addresses"][0].partition("/")[0]
        container.archives = private_files(task, self._managers.stored())
        return container

    async def _begin_start(self, task: Task) -> None:
        shown = _shown(self._made[task.id])
        self._say(task, state="starting", message="starting", container=shown)

    async def _start(self, task: Task) -> None:
        container, words = self._made[task.id], self._behaviour(task).fail
        try:
            await self._start_container(container, words)
        except ApiError as error:
            container.exit_code, err = 127, f"starting container failed: {error.message}"
            self._say(task, state="failed", err=err, container=_shown(container))
            return
        if container.running:
            ports = port_status(task, container.ports)
            shown = _shown(container)
            self._say(task, state="running", message="started", container=shown, ports=ports)

    async def _start_container(self, container: Container, refusal: str) -> None:
        if refusal:
            raise ApiError(500, refusal)
        await self.node.core.start(container)

    #: State → what comes next.
    _steps: ClassVar[Mapping[str, Callable[[Agent, Task], Awaitable[None]]]] = {
        "assigned": _accept,
        "accepted": _begin,
        "preparing": _prepare,
        "ready": _begin_start,
        "starting": _start,
    }

    async def _shut_down(self, task: Task) -> None:
        container = self._made.get(task.id)
        if container is not None and container.running:
            self._say(task, container={**_shown(container), "ExitCode": -1}, ports=[])
            await self._managers.sleep(FORGOTTEN_S)
            if container.behaviour is not None and container.behaviour.stubborn:
                nanoseconds = task.spec["ContainerSpec"].get("StopGracePeriod")
                await self._managers.sleep(GRACE_S if nanoseconds is None else nanoseconds / 1e9)
            self.node.core.stop(container)
            await self.node.core.notify()
        shown = container and _shown(container)
        self._say(task, state="shutdown", message="shutdown", container=shown, ports=[])

    def _ended(self, container: Container) -> None:
        """A container's process has ended, for whatever reason."""
        self._managers.forget_remnants()
        task = self._task_of.get(container.id)
        if task is None or self._unwanted(task):
            return
        end: dict[str, Any] = {"container": _shown(container), "ports": []}
        if container.exit_code == 0:
            self._say(task, state="complete", message="finished", **end)
        else:
            err = f"task: non-zero exit ({container.exit_code})"
            self._say(task, state="failed", message="started", err=err, **end)

    def _say(self, task: Task, **changed: Any) -> None:
        if task.id not in self._told:
            return
        status = replace(self._status[task.id], changed=time.time(), **changed)
        self._status[task.id] = status
        if self.node.connected:
            self._managers.heard(task, status)

    def _behaviour(self, task: Task) -> Behaviour:
        return self.node.core.behaviour(task.service.name, task.image)


def _shown(container: Container) -> dict[str, Any]:
    """As ``ContainerStatus``."""
    pid = PID if container.running else 0
    return {"ContainerID": container.id, "PID": pid, "ExitCode": container.exit_code}
