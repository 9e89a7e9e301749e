"""The desired container of one server, as a value and as bodies for the Docker Engine API.

A :class:`ServerSpec` says everything that does not change from one start to the next. What does
change, the environment, is handed over beside it in parts, so that a backend may deliver what is
personal and what is secret in another way than at create. :func:`spec_hash` is equal for two starts
exactly when a container made for one of them can serve the other.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from .. import naming
from . import hardening
from .accounts import is_root
from .changes import patched
from .entrypoint import shell_line, variables
from .environment import Environment
from .gpus import device_requests, gpu_id
from .hardening import NOT_HARDENED, Hardening
from .merging import merged
from .mounts import Mount, api_spelled, spelled
from .placement import ServiceSettings
from .private import ENV_FILE, PRIVATE_DIR, PrivateFile

#: Docker's own default; ``cpu_limit`` is a share of it.
CPU_PERIOD_US = 100_000
#: CPU shares of a container that asked for nothing: one CPU guaranteed is this weight.
CPU_SHARES_PER_CPU = 1024
#: Label with a random value for each start: it proves that an object was made by this start.
LABEL_START = "dockernamed.start"
_LIMITS = ("Memory", "MemoryReservation", "CpuShares", "CpuPeriod", "CpuQuota")
_MOUNTING = ("Binds", "Mounts", "VolumesFrom")
_FURTHER_LIMITS = ("ShmSize", "Devices", "StorageOpt")
_HARDENING = (
    *("CapDrop", "CapAdd", "SecurityOpt", "PidsLimit", "MemorySwap", "Ulimits", "LogConfig"),
    *("ReadonlyRootfs", "Tmpfs"),
)


@dataclass(frozen=True)
class ServerSpec:
    """Desired state of one server's container.

    Attributes:
        key: whose server it is.
        names: names to try in this order; the second one if the first belongs to somebody else.
        image: the reference to create from; ``image_id`` is what it referred to at that moment.
        command: overrides the image's CMD; None keeps it.
        process: the whole command line, ENTRYPOINT and CMD, of a container that a shell hands its
            personal and secret environment, see `entrypoint`; empty: all of it is in the
            container's configuration.
        keep: a later start may use the container again, which needs a ``process``.
        files: absolute paths of the files that it is given before it runs.
        port: the TCP port the server listens on in the container.
        publish_ip: address of the Engine's host to publish the port at; None: not published.
        network: name of the network, or the API's ``bridge``, ``host``, …
        networks: names of further networks that it is connected to.
        hosts: name → IP address that its processes are told besides the network's own.
        mem_limit: bytes; ``mem_guarantee`` likewise; None: no limit.
        cpu_limit: CPUs, may be a fraction; ``cpu_guarantee`` likewise; None: no limit.
        user: whom it runs as, ``uid`` or ``uid:gid``, instead of the image's USER, which is
            ``image_user``; "" keeps that.
        groups: further groups of its processes.
        gpus: the GPUs that are its own, by the names that the Engine is asked for.
        config: further keys of the create body, already in the Engine API's spelling.
        host_config: further keys of HostConfig, likewise; both win over what is computed here.
        hardening: what it may do to the others and to the host.
        changes: of the whole body, as a patch (`changes.patched`), made at last.
        service: where it runs, for a backend that is a cluster.
    """

    key: naming.Key
    names: tuple[str, ...]
    image: str
    image_id: str = ""
    command: tuple[str, ...] | None = None
    process: tuple[str, ...] = ()
    keep: bool = False
    files: tuple[str, ...] = ()
    port: int = 8888
    publish_ip: str | None = None
    network: str = "bridge"
    networks: tuple[str, ...] = ()
    hosts: Mapping[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    mem_limit: int | None = None
    mem_guarantee: int | None = None
    cpu_limit: float | None = None
    cpu_guarantee: float | None = None
    user: str = ""
    image_user: str = ""
    groups: tuple[int, ...] = ()
    gpus: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    host_config: Mapping[str, Any] = field(default_factory=dict)
    hardening: Hardening = NOT_HARDENED
    changes: Mapping[str, Any] = field(default_factory=dict)
    service: ServiceSettings = field(default_factory=ServiceSettings)

    @property
    def runs_as(self) -> str:
        """The user of its processes, in the Engine's words; "" is root."""
        own = self.config.get("User") or self.user or self.image_user
        return str(self.changes.get("User", own) or self.image_user)

    @property
    def is_private(self) -> bool:
        """It has a volume for what the Engine does not show."""
        return bool(self.process or self.files)

    @property
    def all_mounts(self) -> tuple[Mount, ...]:
        """Its mounts, and the volume for what is private."""
        if not self.is_private:
            return self.mounts
        labels = {naming.LABEL_HUB: self.key.hub}
        private = Mount("volume", "", PRIVATE_DIR, frozenset({"nocopy"}), labels)
        return (*self.mounts, private)

    def handed_over(
        self, env: Environment, files: Mapping[str, PrivateFile]
    ) -> dict[str, PrivateFile]:
        """All files that it is given at a start: path → file.

        Args:
            env: the environment of that start, which is in a file where a shell hands it over.
            files: the others.
        """
        if not self.process:
            return dict(files)
        fixed = {str(entry).partition("=")[0] for entry in self.config.get("Env") or ()}
        return {**files, ENV_FILE: PrivateFile(variables(env.delivered, fixed))}


def container_labels(
    spec: ServerSpec, env: Environment, *, name: str = "", start_id: str = ""
) -> dict[str, str]:
    """The labels that make a container ours: whose it is, what it was made from, by which start.

    Args:
        spec: what is wanted.
        env: the environment.
        name: the container's; "" omits its label, and so does an empty ``start_id``.
        start_id: random text for this start.
    """
    more = {
        naming.LABEL_CONTAINER: name,
        naming.LABEL_API_URL: env.common.get("JUPYTERHUB_API_URL", ""),
        LABEL_START: start_id,
        naming.LABEL_GPUS: ",".join(map(gpu_id, spec.gpus)),
    }
    ours = {**naming.labels(spec.key), naming.LABEL_SPEC: spec_hash(spec, env)}
    return ours | {label: value for label, value in more.items() if value}


def container_config(
    spec: ServerSpec, env: Environment, *, name: str = "", start_id: str = ""
) -> dict[str, Any]:
    """The body of ``POST /containers/create`` for a spec.

    Args:
        spec: what is wanted.
        env: the environment, all of which is in the body unless a shell hands over what is secret.
        name: as for `container_labels`.
        start_id: likewise; volumes get it too.

    Returns:
        A new dict in the Engine API's spelling.
    """
    port = f"{spec.port}/tcp"
    label = {LABEL_START: start_id} if start_id else {}
    mounts = tuple(
        replace(mount, labels={**mount.labels, **label}) if mount.kind == "volume" else mount
        for mount in spec.all_mounts
    )
    shown = {**env.common, **env.personal} if spec.process else env.all
    body: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in shown.items()],
        "Labels": container_labels(spec, env, name=name, start_id=start_id),
        "ExposedPorts": {port: {}},
        "HostConfig": _host_config(spec, mounts),
    }
    if spec.command is not None:
        body["Cmd"] = list(spec.command)
    extra = _further(spec)
    if spec.process:
        body["Entrypoint"], body["Cmd"] = shell_line(), list(spec.process)
        extra = {name: value for name, value in extra.items() if name not in ("Entrypoint", "Cmd")}
    # Labels identify the server: an admin may add some but never change ours.
    body["Labels"] = {**dict(extra.pop("Labels", None) or {}), **body["Labels"]}
    body["Env"] += extra.pop("Env", None) or []
    return _changed(merged(body, extra), spec, label)


def spec_hash(spec: ServerSpec, env: Environment) -> str:
    """Short digests of everything that matters for using a container again.

    The personal environment and the container's name are left out, the image's id stands in for its
    reference: a moved tag is drift, a renamed container is not.

    Returns:
        ``part:digest`` for each part that `drift` may name, joined by commas; ten hexadecimal
        digits each.
    """
    changes = dict(spec.changes)
    of_host = changes.pop("HostConfig", {})
    plain = replace(spec, gpus=(), hardening=NOT_HARDENED)
    host = patched(_host_config(plain, spec.mounts), of_host)
    hardened = patched(_host_config(replace(spec, gpus=()), spec.mounts), of_host)
    # Without any hardening these parts are as in versions that knew none.
    further = {key: hardened[key] for key in _FURTHER_LIMITS if key in hardened and key not in host}
    kept = {key: hardened[key] for key in _HARDENING if hardened.get(key) != host.get(key)}
    by_shell = [PRIVATE_DIR] if spec.process else []
    parts: dict[str, object] = {
        "image": spec.image_id or spec.image,
        "command": [spec.command, spec.process, spec.port, *by_shell],
        "environment": dict(env.common),
        "mounts": [*(host.pop(key, None) for key in ("Binds", "Mounts")), *spec.files],
        "network": [
            *(host.pop(key, None) for key in ("NetworkMode", "PortBindings")),
            *spec.networks,
        ],
        "limits": [*(host.pop(key, None) for key in _LIMITS), *sorted(further.items())],
        "other settings": [host, _further(spec), *([changes] if changes else ())],
        **({"hardening": kept} if kept else {}),
    }
    if spec.gpus:
        parts["gpus"] = spec.gpus
    # Without any of these, as of a container.
    parts.update({part: value for part, value in spec.service.parts.items() if value})
    return ",".join(f"{part}:{_digest(value)}" for part, value in parts.items())


def _changed(body: dict[str, Any], spec: ServerSpec, label: Mapping[str, str]) -> dict[str, Any]:
    """A body with the changes that a spec has; volumes that are ours get the start's label."""
    if not spec.changes:
        return body
    body = patched(body, spec.changes)
    for mount in body["HostConfig"].get("Mounts") or ():
        labels = (mount.get("VolumeOptions") or {}).get("Labels") or {}
        if naming.LABEL_HUB in labels:
            labels.update(label)
    return body


def drift(made: str, wanted: str) -> list[str]:
    """What is different between two values of `spec_hash`, such as ``["image", "limits"]``."""
    before, now = made.split(","), wanted.split(",")
    changed = [part for part in now if part not in before]
    # What an earlier version's value has no name for is in none of the parts.
    changed += [part for part in before if part not in now and ":" in part]
    return list(dict.fromkeys(part.partition(":")[0] for part in changed))


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _further(spec: ServerSpec) -> dict[str, Any]:
    return {**({"User": spec.user} if spec.user else {}), **spec.config}


def host_config(spec: ServerSpec) -> dict[str, Any]:
    """The HostConfig of a create call, without the labels that a start gives to volumes."""
    return _host_config(spec, spec.all_mounts)


def _host_config(spec: ServerSpec, mounts: Iterable[Mount]) -> dict[str, Any]:
    mounts, port = tuple(mounts), f"{spec.port}/tcp"
    body: dict[str, Any] = {
        # Without an init process, a PID 1 without a handler ignores SIGTERM: 10 s for each stop.
        "Init": True,
        "NetworkMode": spec.network,
        "Binds": [mount.to_bind() for mount in mounts if mount.is_bind_string],
        "Mounts": [mount.to_api() for mount in mounts if not mount.is_bind_string],
    }
    if spec.hosts:
        body["ExtraHosts"] = [f"{name}:{address}" for name, address in spec.hosts.items()]
    if spec.publish_ip is not None:
        body["PortBindings"] = {port: [{"HostIp": spec.publish_ip, "HostPort": ""}]}
    if spec.mem_limit is not None:
        body["Memory"] = spec.mem_limit
    if spec.mem_guarantee is not None:
        body["MemoryReservation"] = spec.mem_guarantee
    if spec.cpu_guarantee is not None:
        body["CpuShares"] = max(2, round(spec.cpu_guarantee * CPU_SHARES_PER_CPU))
    if spec.groups:
        body["GroupAdd"] = [str(gid) for gid in spec.groups]
    if spec.gpus:
        body["DeviceRequests"] = device_requests(spec.gpus)
    if spec.cpu_limit is not None:
        period = int(spec.host_config.get("CpuPeriod") or CPU_PERIOD_US)
        body["CpuPeriod"], body["CpuQuota"] = period, round(spec.cpu_limit * period)
    further = further_host_config(spec)
    hardened = spec.hardening.host_config(
        further,
        root=is_root(spec.runs_as),
        memory=spec.mem_limit,
        taken={*(mount.target for mount in mounts), *targets_of(further)},
    )
    return merged({**body, **hardened}, spec.host_config)


def notes(spec: ServerSpec, env: Mapping[str, str], image: Mapping[str, Any]) -> tuple[str, ...]:
    """Sentences about what hardening keeps a server from, though its settings ask for it.

    Args:
        spec: what is wanted.
        env: the environment that it gets.
        image: ``GET /images/{name}/json``, or empty where it is not known.
    """
    entries = [*((image.get("Config") or {}).get("Env") or ()), *(spec.config.get("Env") or ())]
    own = dict(str(entry).partition("=")[::2] for entry in entries)
    root = is_root(spec.runs_as)
    return hardening.notes(spec.hardening, host_config(spec), {**own, **env}, root=root)


def further_host_config(spec: ServerSpec) -> dict[str, Any]:
    """All that the admin wrote of HostConfig: that of the create call's own arguments wins."""
    return merged(spec.host_config, spec.config.get("HostConfig") or {})


def targets_of(host_config: Mapping[str, Any]) -> set[str]:
    """The paths in the container at which keys of HostConfig mount something."""
    binds = [str(bind).split(":") for bind in host_config.get("Binds") or ()]
    mounts = [str(mount.get("Target") or "") for mount in host_config.get("Mounts") or ()]
    targets = [*(bind[1] for bind in binds if len(bind) > 1), *mounts]
    return {posixpath.normpath(path) for path in targets if path}


def volumes_of(host_config: Mapping[str, Any]) -> set[str]:
    """The names of the volumes that keys of HostConfig mount, in either of the API's two forms."""
    keys = spelled(host_config, _MOUNTING)
    binds = [str(bind).partition(":")[0] for bind in keys.get("Binds") or ()]
    mounts = [api_spelled(mount) for mount in keys.get("Mounts") or ()]
    sources = [str(one.get("Source") or "") for one in mounts if one["Type"] == "volume"]
    return {name for name in (*binds, *sources) if name and not name.startswith(("/", "~"))}


def lenders_of(host_config: Mapping[str, Any]) -> tuple[str, ...]:
    """The containers, by name or id, whose mounts keys of HostConfig ask for."""
    listed = spelled(host_config, _MOUNTING).get("VolumesFrom") or ()
    return tuple(str(entry).partition(":")[0] for entry in listed)
