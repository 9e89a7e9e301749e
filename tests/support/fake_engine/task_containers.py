"""The containers that nodes of the fake Swarm make of tasks."""

from __future__ import annotations

import base64
import io
import tarfile
from collections.abc import Iterable, Mapping
from typing import Any

from support.fake_engine.swarm_objects import Stored, Task

#: Keys of a ContainerSpec → the same of a container: in its Config, in its HostConfig.
_CONFIG = {"Image": "Image", "Command": "Entrypoint", "Args": "Cmd", "Env": "Env", "User": "User"}
_CONFIG |= {"Dir": "WorkingDir", "Hostname": "Hostname", "TTY": "Tty", "StopSignal": "StopSignal"}
_HOST = {"ReadOnly": "ReadonlyRootfs", "Init": "Init", "Mounts": "Mounts", "Groups": "GroupAdd"}
_HOST |= {"CapabilityAdd": "CapAdd", "CapabilityDrop": "CapDrop", "Sysctls": "Sysctls"}
_HOST |= {"Ulimits": "Ulimits", "Hosts": "ExtraHosts"}
_LIMITS = {"MemoryBytes": "Memory", "NanoCPUs": "NanoCpus", "Pids": "PidsLimit"}


def container_config(task: Task) -> dict[str, Any]:
    """The body of the create call that a task's node makes."""
    spec = task.spec["ContainerSpec"]
    limits = (task.spec.get("Resources") or {}).get("Limits") or {}
    host = {theirs: spec[ours] for ours, theirs in _HOST.items() if spec.get(ours)}
    host |= {theirs: limits[ours] for ours, theirs in _LIMITS.items() if limits.get(ours)}
    if task.host_ports:
        host["PortBindings"] = {
            _port(port): [{"HostIp": "", "HostPort": str(port.get("PublishedPort") or "")}]
            for port in task.host_ports
        }
    if task.attachments:
        host["NetworkMode"] = task.attachments[0]["Network"]["Spec"]["Name"]
    config = {theirs: spec[ours] for ours, theirs in _CONFIG.items() if spec.get(ours)}
    exposed: dict[str, Any] = {_port(port): {} for port in (task.endpoint or {}).get("Ports") or ()}
    return {**config, "Labels": _labels(task), "ExposedPorts": exposed, "HostConfig": host}


def port_status(task: Task, ports: Mapping[str, int] | None) -> list[dict[str, Any]]:
    """``PortStatus.Ports``: twice each, as for both kinds of addresses.

    Args:
        task: whose.
        ports: the container's, as of `Container`.
    """
    found = ports or {}
    return [
        {
            "Protocol": port.get("Protocol", "tcp"),
            "TargetPort": port["TargetPort"],
            "PublishedPort": found[_port(port)],
            "PublishMode": "host",
        }
        for port in task.host_ports
        for _ in range(2)
        if _port(port) in found
    ]


def volumes(task: Task) -> Iterable[tuple[str, Mapping[str, str], dict[str, Any]]]:
    """Name, labels and driver of the volumes that a task's node makes before its container.

    They are those of which a mount says the driver.
    """
    for mount in task.spec["ContainerSpec"].get("Mounts") or ():
        if mount.get("Type") == "volume" and mount.get("Source"):
            options = mount.get("VolumeOptions") or {}
            driver = options.get("DriverConfig")
            if driver is not None:
                made = {"driver": driver.get("Name"), "options": driver.get("Options")}
                yield mount["Source"], options.get("Labels") or {}, made


def private_files(task: Task, stored: Mapping[str, Stored]) -> list[tuple[str, bytes]]:
    """A task's secrets and configs as a container's archives.

    Args:
        task: whose.
        stored: all secrets and configs, by id.
    """
    spec = task.spec["ContainerSpec"]
    buffer = io.BytesIO()
    files = 0
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for kind, folder in (("Secret", "/run/secrets/"), ("Config", "/")):
            for reference in spec.get(f"{kind}s") or ():
                file, one = reference.get("File"), stored.get(reference[f"{kind}ID"])
                if file and one:
                    name = file["Name"]
                    path = name if name.startswith("/") else folder + name
                    _add(archive, path, base64.b64decode(one.data), file)
                    files += 1
    return [("/", buffer.getvalue())] if files else []


def _add(archive: tarfile.TarFile, path: str, data: bytes, file: Mapping[str, Any]) -> None:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.size, entry.mode = len(data), int(file.get("Mode", 0o444))
    entry.uid, entry.gid = int(file.get("UID") or 0), int(file.get("GID") or 0)
    archive.addfile(entry, io.BytesIO(data))


def _labels(task: Task) -> dict[str, str]:
    return {
        **(task.spec["ContainerSpec"].get("Labels") or {}),
        "com.docker.swarm.node.id": task.node_id,
        "com.docker.swarm.service.id": task.service.id,
        "com.docker.swarm.service.name": task.service.name,
        "com.docker.swarm.task": "",
        "com.docker.swarm.task.id": task.id,
        "com.docker.swarm.task.name": task.name,
    }


def _port(port: Mapping[str, Any]) -> str:
    return f"{port['TargetPort']}/{port.get('Protocol') or 'tcp'}"
