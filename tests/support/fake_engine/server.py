"""The fake Engine as tests use it: started in a thread of its own, controlled from any other."""

from __future__ import annotations

import asyncio
import contextlib
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from aiohttp import web

from support.fake_engine.api import Pulls, make_app
from support.fake_engine.core import DELETES_FILES, Core
from support.fake_engine.faults import Fault, Gate
from support.fake_engine.filesystem import Filesystem
from support.fake_engine.listening import Listener, serve
from support.fake_engine.nodes import Node
from support.fake_engine.objects import (
    Behaviour,
    Command,
    Container,
    RemoteImage,
    full_reference,
    new_id,
)
from support.fake_engine.swarm import Swarm
from support.fake_engine.swarm_api import SwarmApi
from support.fake_engine.swarm_control import FakeSwarm

T = TypeVar("T")
#: Seconds that its thread may take for what takes no time on a machine that is idle.
PATIENCE = 60


class FakeEngine:
    """A Docker Engine on a Unix socket; use it as a context manager.

    Args:
        dialect: ``"docker20"``, ``"docker28"`` (version 1.51 of the API, ``stop`` comes before
            ``die``) or ``"podman"``.
    """

    def __init__(self, dialect: str = "docker20") -> None:
        self._dialect = dialect
        self._folder = Path(tempfile.mkdtemp(prefix="fake-engine-"))
        self.socket = self._folder / "docker.sock"
        self.gate = Gate()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="fake-engine", daemon=True)
        self._swarm: FakeSwarm | None = None
        self._further: list[web.AppRunner] = []

    def __enter__(self) -> FakeEngine:
        self._thread.start()
        assert self._ready.wait(PATIENCE)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the thread, and with it all that listens."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE)
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def url(self) -> str:
        """For DOCKER_HOST."""
        return f"unix://{self.socket}"

    # --- the Swarm -------------------------------------------------------------------------

    def init_swarm(self, nodes: int = 1, *, second: float = 0.02) -> FakeSwarm:
        """Begin a Swarm, with this Engine as a manager and so many nodes.

        Args:
            nodes: how many, with this one; all have the images that this one has by now.
            second: how long a second of the Swarm lasts here: the pauses before restarts, the time
                after which a silent node counts as down, the time that a task takes to run.
        """

        def init() -> Swarm:
            swarm = Swarm(self._core, self._pulls.config, second)
            self._swarm_api.membership = swarm, swarm.first
            return swarm

        self._swarm = FakeSwarm(self, self.call(init))
        for _ in range(nodes - 1):
            self._swarm.join()
        return self._swarm

    @property
    def swarm(self) -> FakeSwarm:
        """That which `init_swarm` began."""
        assert self._swarm is not None
        return self._swarm

    def serve(self, core: Core, swarm: Swarm, node: Node) -> str:
        """Have the API of another node's Engine; returns its URL."""

        async def begin() -> str:
            api = SwarmApi((swarm, node))
            app = make_app(core, Pulls(core), api, Gate().middleware())
            runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
            await runner.setup()
            path = self._folder / f"{node.hostname}.sock"
            await web.UnixSite(runner, str(path)).start()
            self._further.append(runner)
            return f"unix://{path}"

        return self.do(begin())

    # --- requests and faults ---------------------------------------------------------------

    @property
    def requests(self) -> list[tuple[str, str]]:
        """Method and path, without API version, of all requests so far."""
        return list(self.gate.log)

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the last request."""
        return self.gate.headers

    def count(self, method: str, path: str) -> int:
        """Requests whose whole path matches an expression."""
        return sum(m == method and re.fullmatch(path, p) is not None for m, p in self.requests)

    def fault(
        self,
        kind: str | int,
        method: str,
        path: str,
        *,
        times: int = 1,
        message: str = "something broke",
    ) -> Fault:
        """Have the next ``times`` such requests go wrong, as of `Fault`."""
        fault = Fault(kind, method, path, times, message)
        self.gate.faults.append(fault)
        return fault

    def well_again(self) -> None:
        """Forget all faults; what is stalled goes on."""
        for fault in self.gate.faults:
            fault.release()
        self.gate.faults.clear()

    def down(self) -> None:
        """Stop listening and break all connections; containers stay as they are."""
        self.do(self._listener.down())

    def hang_up(self) -> None:
        """Break all connections, as a proxy does with those that are idle, and go on listening."""
        self.call(self._listener.hang_up)

    def hang_up_on_reuse(self) -> None:
        """Break each connection that is open now when it brings another request, unread."""

        def tire() -> None:
            assert self._runner.server is not None
            self.gate.tired |= {one.transport for one in self._runner.server.connections}

        self.call(tire)

    def up(self) -> None:
        """Listen again."""
        self.do(self._listener.up())

    def replace(self, api_version: str, min_api_version: str = "1.12") -> None:
        """Be an Engine of another API version from now on."""
        self._set(api_version=api_version, min_api_version=min_api_version)

    @property
    def connections_made(self) -> int:
        """Connections that ever brought a request."""
        return self.gate.connections

    @property
    def connections(self) -> int:
        """Connections that are open."""

        def count() -> int:
            assert self._runner.server is not None
            return len(self._runner.server.connections)

        return self.call(count)

    # --- containers ------------------------------------------------------------------------

    def behave(self, behaviour: Behaviour, *, name: str = "", image: str = ".*") -> None:
        """How containers of such names and images behave when started from now on.

        The container of a task goes by the name of the service. Without a name, servers are meant,
        and not what deletes their files.
        """
        name = name or f"(?!{DELETES_FILES}).*"

        def matches(its_name: str, its_image: str) -> bool:
            return bool(re.fullmatch(name, its_name) and re.fullmatch(image, its_image))

        self.call(lambda: self._core.behaviours.append((matches, behaviour)))

    def container(self, ref: str) -> Container:
        """The container itself, to be looked at."""
        return self.call(lambda: self._core.find(ref))

    @property
    def containers(self) -> list[Container]:
        """All of them."""
        return self.call(lambda: list(self._core.containers.values()))

    @property
    def commands(self) -> list[Command]:
        """All that was run in containers, in order."""
        return self.call(lambda: list(self._core.commands.values()))

    def rename(self, ref: str, name: str) -> None:
        """Somebody gives it another name."""
        self.call(lambda: self._core.rename(self._core.find(ref), name))

    def die(self, ref: str, exit_code: int = 1, *, oom: bool = False, log: str = "") -> None:
        """Its process ends."""

        async def end() -> None:
            container = self._core.find(ref)
            container.say(log)
            self._core.end(container, exit_code, oom=oom)
            await self._core.notify()

        self.do(end())

    def restart(self, ref: str) -> None:
        """Somebody else restarts it."""
        self.do(self._core.restart(self._core.find(ref)))

    def remove(self, ref: str) -> None:
        """Somebody else removes it by force."""
        self.call(lambda: self._core.remove(self._core.find(ref), force=True))

    def populate(
        self, count: int, labels: Callable[[int], Mapping[str, str]], image: str = "lab:latest"
    ) -> list[str]:
        """Have so many more running containers, without events and without listeners.

        Args:
            count: how many.
            labels: of the n-th.
            image: of all.

        Returns:
            Their ids.
        """

        def add() -> list[str]:
            ids = []
            for number in range(count):
                container = Container(
                    id=new_id(), name=f"c-{number}-{len(self._core.names)}", image=image,
                    image_id="sha256:0", config={"Image": image}, labels=dict(labels(number)),
                    status="running",
                )  # fmt: skip
                self._core.add(container)
                ids.append(container.id)
            return ids

        return self.call(add)

    def freeze_list(self) -> None:
        """The next list tells how things are now, whenever it is asked for."""

        def freeze() -> None:
            self._core.frozen_list = [one.listed() for one in self._core.containers.values()]

        self.call(freeze)

    # --- events ----------------------------------------------------------------------------

    @property
    def streams(self) -> int:
        """Event streams that are open."""
        return self.call(lambda: len(self._core.subscribers))

    @property
    def events_unsent(self) -> int:
        """Events that wait until somebody reads what was sent before them, over all streams."""
        return self.call(lambda: sum(one.queue.qsize() for one in self._core.subscribers))

    def lose_streams(self, how: str = "end") -> None:
        """All event streams end: silently (``"end"``) or with a broken connection (``"abort"``)."""

        def lose() -> None:
            for subscriber in self._core.subscribers:
                subscriber.lose = how
                subscriber.queue.put_nowait(None)

        self.call(lose)

    def stall_streams(self) -> None:
        """The streams that are open stay so, but nothing comes any more."""

        def stall() -> None:
            for subscriber in self._core.subscribers:
                subscriber.stalled = True

        self.call(stall)

    def lose_events(self, lost: bool = True) -> None:
        """What happens from now on is told to nobody, until this is taken back."""
        self._set(events_lost=lost)

    def hold_events(self) -> None:
        """What happens from now on is told later."""
        self._set(held_events=[])

    def release_events(self) -> None:
        """Tell what was held."""

        def release() -> None:
            held, self._core.held_events = self._core.held_events or [], None
            for event in held:
                self._core.send(event)

        self.call(release)

    def emit(self, kind: str, action: str, id: str, attributes: Mapping[str, str]) -> None:
        """An event out of the blue."""
        self.call(lambda: self._core.emit(kind, action, id, attributes))

    @property
    def filesystem(self) -> Filesystem:
        """Whose directories are; to be changed before they are asked for."""
        return self._core.filesystem

    @property
    def anonymous_volumes(self) -> dict[str, list[dict[str, Any]]]:
        """Mounts of volumes without a name that are there, by the container that they came with."""
        return self._core.anonymous

    # --- images, volumes, networks ---------------------------------------------------------

    def add_image(self, reference: str, config: Mapping[str, Any] | None = None) -> str:
        """Have an image; returns its id."""
        return self.call(lambda: self._core.add_image(reference, config or {}, event="tag").id)

    def remove_shell(self) -> None:
        """No image has one from now on."""
        self.call(self._core.files.clear)

    def remove_image(self, reference: str) -> None:
        """Somebody deletes an image."""
        self.call(lambda: self._core.remove_image(reference))

    def publish(self, reference: str, remote: RemoteImage | None = None) -> None:
        """Have an image in its registry, so that it can be pulled."""
        full = full_reference(reference)
        self.call(lambda: self._core.registry.update({full: remote or RemoteImage()}))

    @property
    def pulls(self) -> list[tuple[str, dict[str, Any] | None]]:
        """Reference and credentials of all pulls so far."""
        return self.call(lambda: list(self._pulls.log))

    @property
    def pulls_cancelled(self) -> list[str]:
        """References of pulls that were given up."""
        return self.call(lambda: list(self._pulls.cancelled))

    @property
    def pulls_holding(self) -> int:
        """Pulls that wait for `let_pulls_go`."""
        return self.call(lambda: self._pulls.holding)

    def let_pulls_go(self) -> None:
        """Pulls that hold go on."""
        self.call(lambda: self._pulls.go.set())

    @property
    def volumes(self) -> dict[str, dict[str, Any]]:
        """All of them, by name."""
        return self.call(lambda: dict(self._core.volumes))

    def have_devices(self, *cdi_names: str) -> None:
        """Have devices that the Container Device Interface names."""
        found = [{"Source": "cdi", "ID": name} for name in cdi_names]
        self.call(lambda: self._core.devices.update(DiscoveredDevices=found))

    def add_network(self, name: str, labels: Mapping[str, str] | None = None) -> None:
        """Have a network."""
        self.call(lambda: self._core.add_network(name, labels))

    def remove_network(self, name: str) -> None:
        """Somebody removes a network."""
        self.call(lambda: self._core.remove_network(name))

    def connect(self, network: str, container: str) -> None:
        """Somebody connects a container to a network."""

        def connect() -> None:
            found = self._core.find(container)
            self._core.networks[network]["Containers"][found.id] = {"Name": found.name}

        self.call(connect)

    @property
    def networks(self) -> dict[str, dict[str, Any]]:
        """All of them as they are inspected, by name."""
        core = self._core
        return self.call(
            lambda: {name: core.seen_network(one) for name, one in core.networks.items()}
        )

    def give_no_more_networks(self) -> None:
        """The Engine has no addresses left for another one."""
        self.call(lambda: setattr(self._core, "max_networks", 0))

    @property
    def info(self) -> dict[str, Any]:
        """What ``GET /info`` says besides; to be changed before it is asked for."""
        return self._core.info

    # --- the thread ------------------------------------------------------------------------

    def _serve(self) -> None:
        serve(self._loop, self._begin, self._ready, self._down, self._clean_up)

    async def _begin(self) -> None:
        self._core = Core(self._dialect)
        self._pulls = Pulls(self._core)
        self._swarm_api = SwarmApi()
        app = make_app(self._core, self._pulls, self._swarm_api, self.gate.middleware())
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        self._listener = Listener(self._runner, self.socket)
        await self._listener.up()

    async def _down(self) -> None:
        await self._listener.down()

    async def _clean_up(self) -> None:
        self._core.servers.stop_all()
        for runner in (self._runner, *self._further):
            with contextlib.suppress(Exception):
                await runner.cleanup()
        await self._loop.shutdown_asyncgens()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run it in the thread."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE)

    def call(self, function: Callable[[], T]) -> T:
        """Call it in the thread."""
        future: Future[T] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return future.result(PATIENCE)

    def _set(self, **values: Any) -> None:
        def assign() -> None:
            for name, value in values.items():
                setattr(self._core, name, value)

        self.call(assign)
