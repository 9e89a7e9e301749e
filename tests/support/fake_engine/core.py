"""The fake Engine's state and what changes it; everything runs in the server's event loop."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from support.fake_engine.filesystem import Filesystem
from support.fake_engine.objects import (
    NAME,
    SERVICE_NAME,
    Behaviour,
    Command,
    Container,
    Image,
    RemoteImage,
    full_reference,
    image_id,
    new_id,
    plain_reference,
)
from support.fake_engine.serving import Servers

DELETES_FILES = "dockernamed-empty-"  # begins the names of services that are made for that
BACKLOG = 256  # events that ``since`` can ask for, as Docker keeps


class ApiError(Exception):
    """An answer of another status than 2xx."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Subscriber:
    """One event stream."""

    def __init__(self, filters: Mapping[str, Any], *, podman: bool) -> None:
        self._podman = podman
        self._filters = {key: set(values) for key, values in filters.items()}
        self.queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self.lose: str | None = None
        self.stalled = False

    def offer(self, event: Mapping[str, Any]) -> None:
        """Send it, if it passes the filters."""
        attributes = event["Actor"]["Attributes"]
        labels = self._filters.get("label", set())
        action = event["Action"]
        if self._podman and action == "die":
            action = "died"  # Podman tells it as Docker does, and filters it by its own name
        wanted = (
            event["Type"] in self._filters.get("type", {event["Type"]})
            and action in self._filters.get("event", {action})
            and all(_has(attributes, label) for label in labels)
        )
        if wanted and not self.stalled:
            self.queue.put_nowait(json.dumps(event).encode() + b"\n")


class Core:
    """Containers, images, volumes, networks, events.

    Args:
        dialect: as of `FakeEngine`.
        servers: that it shares with other Engines; None: it has its own.

    Attributes:
        tells_volumes: tasks of a Swarm have the volumes of the Swarm that they use.
        published_at: the address of published ports of a Swarm's tasks.
        on_end: called with a container whose process has ended.
    """

    def __init__(self, dialect: str, servers: Servers | None = None) -> None:
        self.dialect, self.podman = dialect, dialect == "podman"
        self.stop_before_die = dialect in ("docker28", "podman")
        self.tells_volumes = dialect == "docker28"
        versions = ("1.51", "1.24") if dialect == "docker28" else ("1.41", "1.12")
        self.api_version, self.min_api_version = versions
        self.containers: dict[str, Container] = {}
        self.commands: dict[str, Command] = {}
        self.names: dict[str, str] = {}
        self.images: dict[str, Image] = {}  # by id
        self.references: dict[str, str] = {}  # reference → id
        self.registry: dict[str, RemoteImage] = {}
        self.devices: dict[str, Any] = {}  # what ``GET /info`` tells of them
        self.volumes: dict[str, dict[str, Any]] = {}
        self.anonymous: dict[str, list[dict[str, Any]]] = {}  # mounts, by container
        self.networks: dict[str, dict[str, Any]] = {}
        self.max_networks = 1000
        self.info: dict[str, Any] = {}
        #: Each for what some function of name and image says is meant.
        self.behaviours: list[tuple[Callable[[str, str], bool], Behaviour]] = [
            # What is run to delete a volume's files does so, and ends.
            (lambda name, image: name.startswith(DELETES_FILES), Behaviour(exit_code=0))
        ]
        self.subscribers: set[Subscriber] = set()
        self.backlog: deque[dict[str, Any]] = deque(maxlen=BACKLOG)
        self.files = {"/bin/sh"}  # that all images have
        self.filesystem = Filesystem()
        self.events_lost = False
        self.frozen_list: list[dict[str, Any]] | None = None
        self.held_events: list[dict[str, Any]] | None = None
        self.servers = servers or Servers()
        self.published_at = "127.0.0.1"
        self.on_end: Callable[[Container], None] = lambda container: None
        self.changed = asyncio.Condition()
        for name in ("bridge", "host", "none"):
            self.add_network(name)

    # --- events ----------------------------------------------------------------------------

    def emit(
        self, kind: str, action: str, id: str, attributes: Mapping[str, str], scope: str = "local"
    ) -> None:
        """Tell all subscribers, unless the test has events lost or held."""
        now = time.time_ns()
        event = {
            "Type": kind, "Action": action, "Actor": {"ID": id, "Attributes": dict(attributes)},
            "scope": scope, "time": now // 10**9, "timeNano": now,
        }  # fmt: skip
        if scope == "local":
            event = {"status": action, "id": id, **event}
        if self.events_lost:
            return
        if self.held_events is not None:
            self.held_events.append(event)
            return
        self.send(event)

    def send(self, event: dict[str, Any]) -> None:
        """Send a ready event."""
        self.backlog.append(event)
        for subscriber in self.subscribers:
            subscriber.offer(event)

    def tell(self, container: Container, action: str, **more: str) -> None:
        """An event of a container: its attributes hold its labels."""
        attributes = {
            **container.labels, "image": container.image, "name": container.name, **more
        }  # fmt: skip
        self.emit("container", action, container.id, attributes)

    # --- containers ------------------------------------------------------------------------

    def find(self, ref: str) -> Container:
        """By id, name or the beginning of an id."""
        id = ref if ref in self.containers else self.names.get(ref.lstrip("/"))
        if id is None and len(ref) >= 4:
            id = next((id for id in self.containers if id.startswith(ref)), None)
        if id is None:
            raise ApiError(404, f"No such container: {ref}")
        return self.containers[id]

    def create(self, name: str, config: dict[str, Any]) -> Container:
        """As of ``POST /containers/create``."""
        if not isinstance(config.get("Image"), str) or not config["Image"]:
            raise ApiError(400, "No command specified")
        image = self.find_image(config["Image"])
        name = name or f"fake_{len(self.containers)}"
        if not NAME.fullmatch(name):
            raise ApiError(400, f"Invalid container name ({name}), only {NAME.pattern} are allowed")
        self._reserve(name)
        container = Container(
            id=new_id(), name=name, image=config["Image"], image_id=image.id, config=config,
            labels={**(image.config.get("Labels") or {}), **(config.get("Labels") or {})},
            address=self.servers.container_address(),
        )  # fmt: skip
        self.add(container)
        labels = {
            mount.get("Source"): (mount.get("VolumeOptions") or {}).get("Labels") or {}
            for mount in container.host_config.get("Mounts") or []
        }
        for volume in container.volumes():
            self.add_volume(volume, labels.get(volume, {}))
        if anonymous := container.anonymous_volumes():
            self.anonymous[container.id] = anonymous
        self.filesystem.mount(container)
        self.tell(container, "create")
        return container

    def add(self, container: Container) -> None:
        """Put it into the tables, and say nothing."""
        self.containers[container.id] = container
        self.names[container.name] = container.id

    async def start(self, container: Container) -> bool:
        """Start it; False when it runs already. Of two who ask at once one waits for the other."""
        async with container.busy:
            return await self._start(container)

    async def _start(self, container: Container) -> bool:
        if container.running:
            return False
        if container.network not in self.networks and not container.network.startswith("container"):
            raise ApiError(404, f"network {container.network} not found")
        name = container.labels.get(SERVICE_NAME, container.name)
        behaviour = self.behaviour(name, container.image)
        container.behaviour = behaviour
        exposed = [int(port.split("/")[0]) for port in self._exposed(container)]
        published = self._published(container)
        if behaviour.exit_code is None:
            try:
                host = container.network == "host"
                address = "127.0.0.1" if host else container.address
                container.ports = await self.servers.start(
                    container.id, behaviour.serve, address, exposed, {} if host else published,
                    self.published_at if SERVICE_NAME in container.labels else "127.0.0.1",
                )  # fmt: skip
            except OSError as error:
                raise ApiError(
                    500, f"driver failed programming external connectivity: {error}"
                ) from error
        container.status, container.started_at = "running", time.time()
        container.exit_code, container.oom = 0, False
        container.say(behaviour.log)
        self.tell(container, "start")
        if behaviour.exit_code is not None:
            self.end(container, behaviour.exit_code, oom=behaviour.oom)
        await self.notify()
        return True

    def end(self, container: Container, code: int, *, oom: bool = False) -> None:
        """Its process ends."""
        if not container.running:
            return
        self.servers.stop(container.id)
        container.status, container.exit_code, container.oom = "exited", code, oom
        container.finished_at, container.ports = time.time(), None
        if oom and not self.podman:
            self.tell(container, "oom")
        key = "containerExitCode" if self.podman else "exitCode"
        self.tell(container, "die", **{key: str(code)})
        self.on_end(container)
        if container.host_config.get("AutoRemove"):
            self.drop(container)
            self.anonymous.pop(container.id, None)

    def stop(self, container: Container) -> bool:
        """As of ``POST /containers/{id}/stop``; False when it didn't run."""
        if not container.running:
            return False
        stubborn = container.behaviour is not None and container.behaviour.stubborn
        if not self.podman:
            self.tell(container, "kill", signal="9" if stubborn else "15")
        if self.stop_before_die:
            self.tell(container, "stop")
        self.end(container, 137 if stubborn else 143)
        if not self.stop_before_die:
            self.tell(container, "stop")
        return True

    async def restart(self, container: Container) -> None:
        """As of ``POST /containers/{id}/restart``; nothing is answered about it meanwhile."""
        async with container.busy:
            self.stop(container)
            await self.notify()
            await self._start(container)
        self.tell(container, "restart")
        await self.notify()

    def kill(self, container: Container) -> None:
        """As of ``POST /containers/{id}/kill``."""
        if not container.running:
            where = "can only kill running containers" if self.podman else "is not running"
            raise ApiError(409, f"Cannot kill container: {container.id}: Container {where}")
        self.tell(container, "kill", signal="9")
        self.end(container, 137)

    def remove(self, container: Container, *, force: bool) -> None:
        """As of ``DELETE /containers/{id}``."""
        if container.running and not force:
            words = f"cannot remove a running container {container.id}. Stop the container before"
            raise ApiError(500 if self.podman else 409, f"You {words}: container is running")
        if container.running:
            self.kill(container)
        self.drop(container)

    def drop(self, container: Container) -> None:
        """Take it out of the tables."""
        if self.containers.pop(container.id, None) is None:
            return
        self.names.pop(container.name, None)
        self.tell(container, "remove" if self.podman else "destroy")

    def rename(self, container: Container, name: str) -> None:
        """As of ``POST /containers/{id}/rename``."""
        self._reserve(name)
        old = container.name
        del self.names[old]
        container.name, self.names[name] = name, container.id
        self.tell(container, "rename", oldName=f"/{old}")

    async def notify(self) -> None:
        """Wake ``wait`` calls."""
        async with self.changed:
            self.changed.notify_all()

    def _reserve(self, name: str) -> None:
        holder = self.names.get(name)
        if holder is None:
            return
        if self.podman:
            raise ApiError(500, f'the container name "{name}" is already in use by {holder}')
        raise ApiError(
            409,
            f'Conflict. The container name "/{name}" is already in use by container "{holder}". '
            "You have to remove (or rename) that container to be able to reuse that name.",
        )

    def behaviour(self, name: str, image: str) -> Behaviour:
        """What a container of such a name does, or the task of a service of that name."""
        found = (what for means, what in reversed(self.behaviours) if means(name, image))
        return next(found, Behaviour())

    def _exposed(self, container: Container) -> Iterable[str]:
        image = self.images.get(container.image_id)
        mine = container.config.get("ExposedPorts") or {}
        return {*mine, *((image.config.get("ExposedPorts") or {}) if image else {})}

    def _published(self, container: Container) -> dict[str, int]:
        bindings = container.host_config.get("PortBindings") or {}
        found = {port: int((to or [{}])[0].get("HostPort") or 0) for port, to in bindings.items()}
        if container.host_config.get("PublishAllPorts"):
            found = {**dict.fromkeys(self._exposed(container), 0), **found}
        return found

    # --- images ----------------------------------------------------------------------------

    def add_image(self, reference: str, config: Mapping[str, Any], *, event: str) -> Image:
        """Have an image under a reference, in the place of what had it before."""
        reference = full_reference(reference)
        id = image_id(json.dumps([reference, config], sort_keys=True))
        old = self.references.get(reference)
        if old is not None and old != id:
            self.images[old].tags.remove(reference)
        image = self.images.setdefault(id, Image(id, [], dict(config)))
        if "@" in reference:
            image.digests.append(reference)
        elif reference not in image.tags:
            image.tags.append(reference)
        self.references[reference] = id
        self.emit("image", event, reference if event == "pull" else id, {"name": reference})
        return image

    def remove_image(self, reference: str) -> None:
        """Untag and delete it."""
        image = self.find_image(reference)
        for name in [name for name, id in self.references.items() if id == image.id]:
            del self.references[name]
        del self.images[image.id]
        self.emit("image", "untag", image.id, {"name": image.id})
        self.emit("image", "delete", image.id, {"name": image.id})

    def has_image(self, name: str) -> bool:
        """It is here, by reference or id."""
        return name in self.images or plain_reference(name) in self.references

    def find_image(self, name: str) -> Image:
        """By reference or id."""
        id = name if name in self.images else self.references.get(plain_reference(name))
        if id is None:
            raise ApiError(404, f"No such image: {full_reference(name)}")
        return self.images[id]

    # --- volumes and networks --------------------------------------------------------------

    def add_volume(self, name: str, labels: Mapping[str, str], **more: Any) -> dict[str, Any]:
        """Create it or return it as it is."""
        if name not in self.volumes:
            self.volumes[name] = {
                "Name": name, "Driver": more.get("driver") or "local", "Scope": "local",
                "Labels": dict(labels) or None, "Options": more.get("options") or None,
                "Mountpoint": f"/volumes/{name}", "CreatedAt": "2024-01-01T00:00:00Z",
            }  # fmt: skip
        return self.volumes[name]

    def remove_volume(self, name: str) -> None:
        """As of ``DELETE /volumes/{name}``."""
        if name not in self.volumes:
            raise ApiError(404, f"get {name}: no such volume")
        users = [one.id for one in self.containers.values() if name in one.volumes()]
        if users:
            raise ApiError(409, f"remove {name}: volume is in use - [{', '.join(users)}]")
        del self.volumes[name]
        self.filesystem.volumes.pop(name, None)

    def add_network(
        self, name: str, labels: Mapping[str, str] | None = None, **more: Any
    ) -> dict[str, Any]:
        """Create it."""
        if name in self.networks:
            raise ApiError(409, f"network with name {name} already exists")
        if len(self.networks) >= self.max_networks:
            words = "could not find an available, non-overlapping IPv4 address pool"
            raise ApiError(500, f"{words} among the defaults to assign to the network")
        self.networks[name] = {
            "Name": name, "Id": new_id(), "Driver": "bridge", "Scope": "local",
            "Internal": bool(more.get("internal")),
            "Labels": dict(labels or {}), "Containers": {}, "Options": more.get("options") or {},
            "IPAM": {"Driver": "default", "Config": [
                {"Subnet": f"{self.servers.network}.0.0/16", "Gateway": "127.0.0.1"}
            ]},
        }  # fmt: skip
        return self.networks[name]

    def find_network(self, name: str) -> dict[str, Any]:
        """By name or id."""
        for network in self.networks.values():
            if name in (network["Name"], network["Id"]):
                return network
        raise ApiError(404, f"network {name} not found")

    def networks_of(self, container: Container) -> set[str]:
        """The names of the networks that a container has, running or not."""
        further = {name for name, one in self.networks.items() if container.id in one["Containers"]}
        return {container.network, *further}

    def seen_network(self, network: dict[str, Any]) -> dict[str, Any]:
        """As of ``GET /networks/{name}``: with what is connected and runs."""
        found = {
            one.id: {"Name": one.name}
            for one in self.containers.values()
            if one.running and network["Name"] in self.networks_of(one)
        }
        return {**network, "Containers": found}

    def remove_network(self, name: str) -> None:
        """As of ``DELETE /networks/{name}``."""
        network = self.find_network(name)
        if self.seen_network(network)["Containers"]:
            raise ApiError(
                403, f"error while removing network: network {name} has active endpoints"
            )
        del self.networks[network["Name"]]


def _has(labels: Mapping[str, Any], label: str) -> bool:
    key, equals, value = label.partition("=")
    return key in labels and (not equals or labels[key] == value)


def has_labels(labels: Mapping[str, Any] | None, wanted: Iterable[str], *, podman: bool) -> bool:
    """As the Engine filters: Docker by all of them; Podman by any, and never by a key alone."""
    wanted = list(wanted)
    if podman:
        return not wanted or any("=" in label and _has(labels or {}, label) for label in wanted)
    return all(_has(labels or {}, label) for label in wanted)
