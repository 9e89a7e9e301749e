"""The Engine as seen from outside the Hub: what is really there, under one name prefix."""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from typing import Any

import docker
import pytest
from docker.utils import kwargs_from_env

from support.hub.waiting import eventually

LAB = os.environ.get("DOCKERNAMED_TEST_IMAGE_LAB", "dockernamed/lab:latest")
LAB2 = os.environ.get("DOCKERNAMED_TEST_IMAGE_LAB2", "dockernamed/lab-green:latest")
BUSYBOX = os.environ.get("DOCKERNAMED_TEST_IMAGE_BUSYBOX", "dockernamed-test/busybox:latest")

HUB_IMAGE = os.environ.get("DOCKERNAMED_TEST_IMAGE_HUB", "dockernamed/hub:latest")

HUB, USER, SERVER = "dockernamed.hub", "dockernamed.user", "dockernamed.server"
CONTAINER = "dockernamed.container"


def remove(call: Callable[..., Any], id: str, timeout: float = 60.0, **options: Any) -> None:
    """Remove something, as soon as the Engine has done away with what is in the way.

    Args:
        call: of the Engine's client, such as ``remove_network``.
        id: of what is to be removed, or its name; fine when it is gone.
        timeout: seconds until it is given up.
        options: of the call.

    Raises:
        AssertionError: the Engine refuses it all the time.
    """

    def refusal() -> str:
        try:
            call(id, **options)
        except docker.errors.NotFound:
            return ""
        except docker.errors.APIError as error:
            return str(error)
        return ""

    eventually(refusal, lambda words: not words, what=f"{id} is removed", timeout=timeout)


def miscounted(client: docker.APIClient, network: str) -> bool:
    """Whether an Engine takes a network for used that no container is in.

    Docker 20.10 may count an endpoint too many, for good, where a container is removed while it
    starts. It refuses to remove the network then, and counts anew only when it is restarted itself.

    Args:
        client: of the Engine.
        network: its name.
    """
    try:
        empty = not client.inspect_network(network)["Containers"]
        client.remove_network(network)
    except docker.errors.NotFound:
        return False
    except docker.errors.APIError as error:
        return empty and "has active endpoints" in str(error)
    return False


def connect() -> docker.APIClient:
    """A client for the Engine that DOCKER_HOST and friends say; no Engine fails the test."""
    client = docker.APIClient(timeout=60, **kwargs_from_env())
    try:
        client.ping()
    except Exception as error:
        client.close()
        pytest.fail(
            f"these tests need a Docker Engine, and none answers at {client.base_url} "
            f"({error}); start one, or set DOCKER_HOST",
            pytrace=False,
        )
    return client


class Docker:
    """The containers, volumes and networks whose names begin with a prefix.

    Args:
        client: of the Engine; closed by who made it.
        prefix: as in ``c.DockerNamedSpawner.prefix``.

    Attributes:
        hub: when set, only the containers of the Hub with this id, by their label.
    """

    def __init__(self, client: docker.APIClient, prefix: str) -> None:
        self.client, self.prefix = client, prefix
        self.hub: str | None = None

    # --- looking

    def containers(self, user: str | None = None, server: str | None = None) -> list[Any]:
        """``GET /containers/{id}/json`` of all our containers, running or not, oldest first."""
        found = []
        for client in self._clients():
            for listed in client.containers(all=True):
                if not any(self._ours(name.lstrip("/")) for name in listed["Names"]):
                    continue
                labels = listed["Labels"]
                if self.hub is not None and labels.get(HUB) != self.hub:
                    continue
                if user is not None and labels.get(USER) != user:
                    continue
                if server is not None and labels.get(SERVER) != server:
                    continue
                with suppress(docker.errors.NotFound):  # removed since it was listed
                    found.append(client.inspect_container(listed["Id"]))
        return sorted(found, key=lambda container: container["Created"])

    def one(self, user: str, server: str = "") -> Any:
        """``GET /containers/{id}/json`` of a server's container; there must be exactly one."""
        found = self.containers(user, server)
        assert len(found) == 1, (
            f"{user}/{server}: expected one container, there are {[c['Name'] for c in found]}"
        )
        return found[0]

    def running(self, user: str) -> list[str]:
        """The servers of a user's running containers; a double shows twice."""
        found = [c for c in self.containers(user) if c["State"]["Running"]]
        return sorted(container["Config"]["Labels"][SERVER] for container in found)

    def volumes(self) -> list[Any]:
        """``GET /volumes`` of ours, by name."""
        listed = self.client.volumes()["Volumes"] or []
        return sorted((v for v in listed if self._ours(v["Name"])), key=lambda v: v["Name"])

    def networks(self) -> list[str]:
        """The names of our networks."""
        return [n["Name"] for n in self.client.networks() if self._ours(n["Name"])]

    def left(self, but: Sequence[str] = ()) -> list[str]:
        """What of a Hub's there must not be once it has stopped, in words.

        Args:
            but: users whose containers may be there.
        """
        return [
            f"{c['Name']} {c['State']['Status']}"
            for c in self.containers()
            if c["Config"]["Labels"].get(USER) not in but
        ]

    def nothing_of(self, user: str) -> None:
        """Wait until the Engine has no container and no volume with this user's label.

        Who is told of a failed start need not wait until all that it made is gone.
        """
        what = f"{user} is left with nothing"
        eventually(lambda: self._things_of(user), lambda left: not left, what=what)

    def _things_of(self, user: str) -> list[str]:
        left = [str(c["Name"]) for c in self.containers(user)]
        return left + [v["Name"] for v in self.volumes() if (v["Labels"] or {}).get(USER) == user]

    def events(self, since: float, kind: str = "container") -> list[Any]:
        """What happened to our objects of a kind, from a moment (``time.time()``) until now."""
        until: Any = f"{time.time():.6f}"  # whole seconds would make us wait for the next one
        wanted = {"since": int(since), "until": until, "filters": {"type": kind}}
        found = []
        for client in self._clients():
            with closing(client.events(**wanted, decode=True)) as stream:
                found += [event for event in stream if event["timeNano"] >= since * 1e9]
        named = [
            (event, event["Actor"]["Attributes"].get("name") or event["Actor"]["ID"])
            for event in sorted(found, key=lambda event: event["timeNano"])
        ]
        return [event for event, name in named if self._ours(name)]

    def creations(self, since: float) -> list[str]:
        """The containers and volumes of ours that were created since, even if gone again."""
        return [
            f"{kind} {event['Actor']['Attributes'].get('name') or event['Actor']['ID']}"
            for kind in ("container", "volume")
            for event in self.events(since, kind)
            if event["Action"] == "create"
        ]

    def environment(self, container: Any) -> dict[str, str]:
        """The environment that a container was created with."""
        return dict(pair.split("=", 1) for pair in container["Config"]["Env"])

    def mounted(self, container: Any) -> dict[str, Any]:
        """Path in the container → its entry of ``Mounts``; the private volume is left out."""
        found = {mount["Destination"]: mount for mount in container["Mounts"]}
        found.pop("/run/dockernamed", None)
        return found

    def gone(self, user: str, server: str = "", timeout: float = 60.0) -> None:
        """Wait until a server has no container at all."""
        eventually(
            lambda: [c["Name"] for c in self.containers(user, server)],
            lambda names: not names,
            what=f"the container of {user}/{server} is removed",
            timeout=timeout,
        )

    def state(self) -> str:
        """A table for people: our containers and the last lines that each wrote."""
        lines = []
        for container in self.containers():
            state = container["State"]
            labels = {k: v for k, v in container["Config"]["Labels"].items() if "dockernamed" in k}
            lines.append(
                f"{container['Id'][:12]} {container['Name']} image={container['Config']['Image']} "
                f"{state['Status']} exit={state['ExitCode']} {json.dumps(labels)}"
            )
            with suppress(docker.errors.APIError):
                client = self.client_of(container)
                log = client.logs(container["Id"], tail=10).decode(errors="replace")
                lines += [f"    | {line}" for line in log.splitlines()]
        lines += [f"volume {v['Name']} {json.dumps(v['Labels'])}" for v in self.volumes()]
        lines += [f"network {name}" for name in self.networks()]
        return "\n".join(lines) or "(nothing)"

    # --- doing

    def run(self, container: Any, *command: str) -> str:
        """Run a command in a running container; what it printed, both streams.

        Raises:
            AssertionError: it ended with an exit code other than 0.
        """
        client = self.client_of(container)
        created = client.exec_create(container["Id"], list(command))
        output = client.exec_start(created["Id"]).decode()
        code = client.exec_inspect(created["Id"])["ExitCode"]
        assert code == 0, f"{command} in {container['Name']} ended with {code}: {output}"
        return str(output)

    def write(self, container: Any, path: str, text: str) -> None:
        """Write a file inside a container."""
        directory, _, name = path.rpartition("/")
        data = text.encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w") as tar:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        client = self.client_of(container)
        assert client.put_archive(container["Id"], directory or "/", archive.getvalue())

    def read(self, container: Any, path: str) -> str:
        """Read a file inside a running container."""
        return self.run(container, "cat", path)

    def flavour(self, name: str, *changes: str, image: str = BUSYBOX) -> str:
        """Make an image that differs from another by Dockerfile instructions; its reference.

        Args:
            name: after our prefix.
            changes: such as ``'CMD ["sh"]'``.
            image: to start from.
        """
        reference = f"{self.prefix}-{name}:latest"
        base = self.client.create_container(image, name=f"{self.prefix}-base-{name}")
        try:
            self.client.commit(base["Id"], f"{self.prefix}-{name}", "latest", changes=changes)
        finally:
            self.client.remove_container(base["Id"], v=True, force=True)
        return reference

    def network(self, name: str, **kwargs: Any) -> str:
        """Create a bridge network; its name."""
        full = f"{self.prefix}-{name}"
        self.client.create_network(full, driver="bridge", **kwargs)
        return full

    def remove_all(self) -> None:
        """Remove our containers, volumes, networks and images, whichever Hub's."""
        self.hub = None
        for container in self.containers():
            remove(self.client.remove_container, container["Id"], v=True, force=True)
        for volume in self.volumes():
            remove(self.client.remove_volume, volume["Name"], force=True)
        for name in self.networks():
            try:
                remove(self.client.remove_network, name, timeout=20)
            except AssertionError:
                if not miscounted(self.client, name):
                    raise
        for tag in self._tags():
            self.client.remove_image(tag, force=True)

    def client_of(self, container: Any) -> docker.APIClient:
        """The client of the Engine that has a container."""
        return self.client

    def _clients(self) -> Sequence[docker.APIClient]:
        """Of the Engines that containers are on."""
        return [self.client]

    def _tags(self) -> Iterator[str]:
        for image in self.client.images():
            tags: Iterable[str] = image["RepoTags"] or ()
            yield from (tag for tag in tags if self._ours(tag))

    def _ours(self, name: str) -> bool:
        return name.startswith(self.prefix) and not name[len(self.prefix) :][:1].isalnum()
