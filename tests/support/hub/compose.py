"""Services of a compose file, made without the compose command: the part that examples/ use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker
import yaml  # type: ignore[import-untyped]


class Compose:
    """The services of one compose file, under names that begin with a prefix.

    Args:
        client: of the Engine.
        file: the compose file.
        prefix: of the names of containers, volumes and networks.
        variables: name → value, for ``${NAME…}`` in the file.
        socket: where the Engine's socket is, in the place of Docker's usual path.
    """

    def __init__(
        self,
        client: docker.APIClient,
        file: Path,
        prefix: str,
        variables: Mapping[str, str],
        socket: str,
    ) -> None:
        self._client, self._folder, self._prefix = client, file.parent, prefix
        self._socket = socket

        def value(found: re.Match[str]) -> str:
            return variables.get(found[1], found[2] or "")

        text = re.sub(r"\$\{(\w+)(?::[-?]([^}]*))?\}", value, file.read_text(encoding="utf-8"))
        self._services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]

    def name(self, service: str) -> str:
        """What its container is called."""
        return f"{self._prefix}-{service}"

    def start(
        self,
        service: str,
        *,
        image: str,
        ports: Mapping[int, int],
        command: list[str] | None = None,
    ) -> None:
        """Create and start its container.

        Args:
            service: which.
            image: of the container, in the place of the file's.
            ports: container port → port of 127.0.0.1, in the place of the file's.
            command: in the place of the image's or the file's.
        """
        says = dict(self._services[service])
        network = says.pop("network_mode", None)
        for said in says.pop("networks", []):
            network = f"{self._prefix}-{said}"
        for handled in ("image", "build", "container_name", "depends_on", "restart", "ports"):
            says.pop(handled, None)
        made = self._client.create_container(
            image,
            command,
            name=self.name(service),
            entrypoint=says.pop("entrypoint", None),
            user=says.pop("user", None),
            ports=list(ports),
            environment=says.pop("environment", None),
            host_config=self._client.create_host_config(
                network_mode=network,
                port_bindings={port: ("127.0.0.1", here) for port, here in ports.items()},
                binds=[self._bind(bind) for bind in says.pop("volumes", [])],
                tmpfs=says.pop("tmpfs", None),
                **says,  # the others are called alike by both
            ),
        )
        self._client.start(made["Id"])

    def _bind(self, bind: str) -> str:
        source, _, rest = bind.partition(":")
        if source == "/var/run/docker.sock":
            return f"{self._socket}:{rest}"
        if source.startswith("."):
            return f"{self._folder / source}:{rest}"
        return f"{self._prefix}-{source}:{rest}"
