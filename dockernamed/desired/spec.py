"""What one server's container should be, as a value, and that value as Docker Engine API bodies.

A :class:`ServerSpec` says everything that does not change from one start to the next. The
environment is handed over beside it, so that a backend may deliver its personal part in another
way than at create. :func:`spec_hash` is equal for two starts exactly when a container
made for one of them can serve the other.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .. import naming
from ..errors import ConfigError
from .entrypoint import shell_line
from .environment import Environment

#: Docker's own default; ``cpu_limit`` is a share of it.
CPU_PERIOD_US = 100_000
#: CPU shares of a container that asked for nothing: one CPU guaranteed is this weight.
CPU_SHARES_PER_CPU = 1024
#: Label with a random value made at each create: proof that an object came from this very call.
LABEL_START = "dockernamed.start"
_LIMITS = ("Memory", "MemoryReservation", "CpuShares", "CpuPeriod", "CpuQuota")

_MODES = {"ro", "rw", "z", "Z", "nocopy", "cached", "delegated", "consistent"}
_PROPAGATIONS = {"private", "rprivate", "shared", "rshared", "slave", "rslave"}


@dataclass(frozen=True)
class Mount:
    """One mount of a container.

    Attributes:
        kind: ``"volume"``, ``"bind"`` or ``"tmpfs"``, the Docker API's words.
        source: volume name or absolute path on the Engine's host; ``""`` for tmpfs.
        target: absolute path in the container.
        flags: of a bind such as ``ro``, ``Z`` or ``rslave``; of a volume ``ro`` or ``nocopy``.
        labels: for a volume that does not exist yet.
        driver: volume driver, or None for the Engine's default.
        options: the driver's options.
        extra: further keys of the API's Mount object, as they are (``TmpfsOptions``, …).
    """

    kind: str
    source: str
    target: str
    flags: frozenset[str] = frozenset()
    labels: Mapping[str, str] = field(default_factory=dict)
    driver: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_bind_string(self) -> bool:
        """True where the API's ``Binds`` form is needed.

        Docker creates a missing host directory for a bind string, as users of ``-v`` expect, but
        refuses it for a Mount object; SELinux flags exist as strings only.
        """
        return (self.kind == "bind" and not self.extra) or bool(self.flags & {"z", "Z"})

    def to_bind(self) -> str:
        """``source:target:flags``, for HostConfig.Binds."""
        flags = ",".join(sorted(self.flags))
        return f"{self.source}:{self.target}" + (f":{flags}" if flags else "")

    def to_api(self) -> dict[str, Any]:
        """The Mount object of HostConfig.Mounts."""
        body: dict[str, Any] = {"Type": self.kind, "Target": self.target}
        if self.source:
            body["Source"] = self.source
        if "ro" in self.flags:
            body["ReadOnly"] = True
        if self.kind == "volume":
            # For a volume that vanishes before the container is created: the Engine makes it anew.
            options: dict[str, Any] = {"NoCopy": "nocopy" in self.flags}
            if self.labels:
                options["Labels"] = dict(self.labels)
            if self.driver or self.options:
                driver = {"Name": self.driver} if self.driver else {}
                options["DriverConfig"] = {**driver, "Options": dict(self.options)}
            body["VolumeOptions"] = options
        propagation = self.flags & _PROPAGATIONS
        if propagation:
            body["BindOptions"] = {"Propagation": min(propagation)}
        return merged(body, self.extra)


@dataclass(frozen=True)
class ServerSpec:
    """Desired state of one server's container.

    Attributes:
        key: whose server it is.
        names: names to try in order; the second is for when the first is somebody else's.
        image: the reference to create from; ``image_id`` is what it meant at that moment.
        command: overrides the image's CMD; None keeps it.
        process: the whole command line, ENTRYPOINT and CMD, of a container that a later start
            may use again with an environment of its own, see `entrypoint`; empty: it is for one
            start.
        port: the TCP port the server listens on in the container.
        publish_ip: address of the Engine's host to publish the port at; None: not published.
        network: name of the network, or the API's ``bridge``, ``host``, …
        mem_limit: bytes; ``mem_guarantee`` likewise; None: no limit.
        cpu_limit: CPUs, may be a fraction; ``cpu_guarantee`` likewise; None: no limit.
        config: further keys of the create body, already in the Engine API's spelling.
        host_config: further keys of HostConfig, likewise; both win over what is computed here.
    """

    key: naming.Key
    names: tuple[str, ...]
    image: str
    image_id: str = ""
    command: tuple[str, ...] | None = None
    process: tuple[str, ...] = ()
    port: int = 8888
    publish_ip: str | None = None
    network: str = "bridge"
    mounts: tuple[Mount, ...] = ()
    mem_limit: int | None = None
    mem_guarantee: int | None = None
    cpu_limit: float | None = None
    cpu_guarantee: float | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    host_config: Mapping[str, Any] = field(default_factory=dict)


def container_config(spec: ServerSpec, env: Environment, *, start_id: str = "") -> dict[str, Any]:
    """The body of ``POST /containers/create`` for a spec.

    Args:
        spec: what is wanted.
        env: the environment, all of which is in the body.
        start_id: random text of this very start, kept in a label; "" leaves the label out.

    Returns:
        A new dict in the Engine API's spelling.
    """
    port = f"{spec.port}/tcp"
    label = {LABEL_START: start_id} if start_id else {}
    mounts = tuple(
        replace(mount, labels={**mount.labels, **label}) if mount.kind == "volume" else mount
        for mount in spec.mounts
    )
    body: dict[str, Any] = {
        "Image": spec.image,
        "Env": [f"{name}={value}" for name, value in env.all.items()],
        "Labels": {**naming.labels(spec.key), naming.LABEL_SPEC: spec_hash(spec, env)},
        "ExposedPorts": {port: {}},
        "HostConfig": _host_config(replace(spec, mounts=mounts), port),
    }
    if spec.command is not None:
        body["Cmd"] = list(spec.command)
    body["Labels"] |= label
    extra = dict(spec.config)
    if spec.process:
        body["Entrypoint"], body["Cmd"] = shell_line(spec.process), []
        extra = {name: value for name, value in extra.items() if name not in ("Entrypoint", "Cmd")}
    # Labels are who-is-this: an admin may add some but never change ours.
    body["Labels"] = {**dict(extra.pop("Labels", None) or {}), **body["Labels"]}
    body["Env"] += extra.pop("Env", None) or []
    return merged(body, extra)


def spec_hash(spec: ServerSpec, env: Environment) -> str:
    """Short digests of everything that decides whether a container can be used again.

    The personal environment and the container's name are left out, the image's id stands in for its
    reference: a moved tag is drift, a renamed container is not.

    Returns:
        ``part:digest`` for each part that `drift` may name, joined by commas; ten hexadecimal
        digits each.
    """
    host = _host_config(spec, f"{spec.port}/tcp")
    parts = {
        "image": spec.image_id or spec.image,
        "command": [spec.command, spec.process, spec.port],
        "environment": dict(env.common),
        "mounts": [host.pop(key, None) for key in ("Binds", "Mounts")],
        "network": [host.pop(key, None) for key in ("NetworkMode", "PortBindings")],
        "limits": [host.pop(key, None) for key in _LIMITS],
        "other settings": [host, dict(spec.config)],
    }
    return ",".join(f"{part}:{_digest(value)}" for part, value in parts.items())


def drift(made: str, wanted: str) -> list[str]:
    """What is different between two values of `spec_hash`, such as ``["image", "limits"]``."""
    before = set(made.split(","))
    return [part.partition(":")[0] for part in wanted.split(",") if part not in before]


def _digest(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]


def _host_config(spec: ServerSpec, port: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        # Without an init a PID 1 that has no handler for SIGTERM never hears it (10 s a stop).
        "Init": True,
        "NetworkMode": spec.network,
        "Binds": [mount.to_bind() for mount in spec.mounts if mount.is_bind_string],
        "Mounts": [mount.to_api() for mount in spec.mounts if not mount.is_bind_string],
    }
    if spec.publish_ip is not None:
        body["PortBindings"] = {port: [{"HostIp": spec.publish_ip, "HostPort": ""}]}
    if spec.mem_limit is not None:
        body["Memory"] = spec.mem_limit
    if spec.mem_guarantee is not None:
        body["MemoryReservation"] = spec.mem_guarantee
    if spec.cpu_guarantee is not None:
        body["CpuShares"] = max(2, round(spec.cpu_guarantee * CPU_SHARES_PER_CPU))
    if spec.cpu_limit is not None:
        period = int(spec.host_config.get("CpuPeriod") or CPU_PERIOD_US)
        body["CpuPeriod"], body["CpuQuota"] = period, round(spec.cpu_limit * period)
    return merged(body, spec.host_config)


def volumes_of(host_config: Mapping[str, Any]) -> set[str]:
    """The names of the volumes that keys of HostConfig mount, in either of the API's two forms."""
    binds = [str(bind).partition(":")[0] for bind in host_config.get("Binds") or ()]
    mounts = [
        str(mount.get("Source") or "")
        for mount in host_config.get("Mounts") or ()
        if mount.get("Type") == "volume"
    ]
    return {name for name in (*binds, *mounts) if name and not name.startswith(("/", "~"))}


def merged(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` with ``extra`` laid over it: dicts merge, lists join, anything else is replaced."""
    result = dict(base)
    for name, value in extra.items():
        old = result.get(name)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            result[name] = merged(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            result[name] = [*old, *value]
        else:
            result[name] = value
    return result


def volume_mounts(
    setting: str, volumes: Mapping[str, Any], *, read_only: bool = False
) -> list[Mount]:
    """DockerSpawner's ``volumes`` form as mounts.

    Args:
        setting: the setting's name, for errors.
        volumes: expanded; source → target, or source → ``{"bind": target, "mode": "ro,Z",
            "propagation": "rslave"}``. A source that starts with ``/`` or ``~`` is a path on the
            Engine's host, any other is a volume's name.
        read_only: make every one of them read-only unless its mode says otherwise.

    Raises:
        ConfigError: a source or target that Docker could not take, or an unknown mode.
    """
    mounts = []
    for source, value in volumes.items():
        details = value if isinstance(value, Mapping) else {"bind": value}
        unknown = set(details) - {"bind", "mode", "propagation"}
        if unknown or "bind" not in details:
            raise ConfigError(
                setting, {source: value}, 'use "target" or {"bind": "target", "mode": "rw"}'
            )
        mode = str(details.get("mode") or ("ro" if read_only else "rw"))
        flags = {flag for flag in (*mode.split(","), details.get("propagation")) if flag}
        if not flags <= _MODES | _PROPAGATIONS:
            known = ", ".join(sorted(_MODES | _PROPAGATIONS))
            raise ConfigError(setting, mode, f"unknown mode; use a list with commas of: {known}")
        mounts.append(_volume_mount(setting, source, str(details["bind"]), flags - {"rw"}))
    return mounts


def _volume_mount(setting: str, source: str, target: str, flags: set[str]) -> Mount:
    is_path = source.startswith(("/", "~"))
    if not target.startswith("/") or ":" in target:
        raise ConfigError(setting, target, 'the target must be an absolute path without ":"')
    if ":" in source or not source or (not is_path and "/" in source):
        raise ConfigError(
            setting, source, 'use a volume\'s name or an absolute path, both without ":"'
        )
    kind = "bind" if is_path else "volume"
    return Mount(kind, source, posixpath.normpath(target), frozenset(flags))


_MOUNT_KEYS = {
    "target", "source", "type", "read_only", "consistency", "propagation", "no_copy", "labels",
    "driver_config", "tmpfs_size", "tmpfs_mode",
}  # fmt: skip


def mount_from(setting: str, value: Mapping[str, Any]) -> Mount:
    """One entry of ``mounts``: the keyword arguments of docker-py's ``types.Mount``.

    Raises:
        ConfigError: an unknown key, type or target.
    """
    unknown = set(value) - _MOUNT_KEYS
    if unknown:
        raise ConfigError(
            setting, dict(value), f"unknown {sorted(unknown)}; known are {sorted(_MOUNT_KEYS)}"
        )
    kind = value.get("type", "volume")
    target = value.get("target", "")
    if kind not in ("volume", "bind", "tmpfs"):
        raise ConfigError(setting, kind, 'type must be "volume", "bind" or "tmpfs"')
    if not isinstance(target, str) or not target.startswith("/"):
        raise ConfigError(setting, target, "target must be an absolute path")
    driver = value.get("driver_config") or {}
    extra: dict[str, Any] = {}
    if value.get("consistency"):
        extra["Consistency"] = value["consistency"]
    if kind == "bind":
        # A Mount object and not a bind string, as for docker-py's Mount: no silent mkdir.
        extra["BindOptions"] = {}
    if kind == "tmpfs":
        sizes = {"SizeBytes": value.get("tmpfs_size"), "Mode": value.get("tmpfs_mode")}
        extra["TmpfsOptions"] = {name: number for name, number in sizes.items() if number}
    return Mount(
        kind=kind,
        source=value.get("source") or "",
        target=posixpath.normpath(target),
        flags=frozenset(
            flag
            for flag, wanted in (
                ("ro", value.get("read_only")),
                ("nocopy", value.get("no_copy")),
                (value.get("propagation") or "", value.get("propagation")),
            )
            if wanted
        ),
        labels=dict(value.get("labels") or {}),
        driver=driver.get("Name") or driver.get("name"),
        options=dict(driver.get("Options") or driver.get("options") or {}),
        extra=extra,
    )


def check_targets(mounts: Sequence[Mount]) -> None:
    """Refuse two mounts at one place: Docker would say so only after half the work.

    Raises:
        ConfigError: names both sources and the path.
    """
    seen: dict[str, Mount] = {}
    for mount in mounts:
        other = seen.setdefault(mount.target, mount)
        if other is not mount:
            raise ConfigError(
                "volumes",
                mount.target,
                f"both {other.source!r} and {mount.source!r} would be "
                "mounted there; give each a path of its own",
            )
