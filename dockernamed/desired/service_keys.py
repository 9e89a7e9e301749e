"""What becomes of each key of a container's body in a Swarm service: one table. Pure.

A key is translated, or it is refused with what to use instead; none is lost in silence. What is
empty or as it is without it says nothing.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from .changes import HOOK
from .hardening import NO_NEW_PRIVILEGES
from .mounts import spelled
from .network import ALL_INTERFACES
from .service_mounts import Api, literal, service_mounts, version
from .spec import CPU_SHARES_PER_CPU, ServerSpec

NS = 1_000_000_000
#: The least that a Swarm can be told of: bytes, and billionths of a CPU.
LEAST_MEMORY = 4 << 20
LEAST_CPU = NS // 1000
#: What the API of Docker 20.10 has, the oldest that is supported.
OLDEST: Api = (1, 41)
#: Since which version of the API services have these.
PRIVILEGES: Api = (1, 44)
OOM_SCORE: Api = (1, 46)
SWAP: Api = (1, 52)
#: An Engine only shows what an image's own health check says. A Swarm ends a server that fails it,
#: such as while a computation leaves it no time, or where only the Hub's certificate is taken.
NO_HEALTH_CHECK: Mapping[str, Any] = {"Test": ["NONE"]}

_CONTAINER = ("TaskTemplate", "ContainerSpec")
_LIMITS = ("TaskTemplate", "Resources", "Limits")
_RESERVED = ("TaskTemplate", "Resources", "Reservations")


@dataclass(frozen=True)
class Key:
    """Where a key's value goes as it is, or by a function.

    Attributes:
        path: of keys in the ServiceSpec.
        convert: makes its value there.
        since: version of the API that services have it in.
    """

    path: tuple[str, ...]
    convert: Callable[[Any], Any] = lambda value: value
    since: Api = OLDEST


def _words(value: Any) -> list[str]:
    """The API takes one word for a list of one."""
    return [value] if isinstance(value, str) else list(value)


def _seconds(value: Any) -> int:
    return round(float(value) * NS)


def _environment(entries: Any) -> list[str]:
    return [literal(str(entry)) for entry in entries]


def _hosts(entries: Any) -> list[str]:
    """``name:address`` as in a file of hosts, which has the address first."""
    found = (str(entry).partition(":") for entry in entries)
    return [f"{address} {name}" for name, _, address in found]


def _platforms(text: Any) -> list[dict[str, str]]:
    system, _, processor = str(text).partition("/")
    return [{"OS": system, "Architecture": processor.partition("/")[0]}]


def _driver(value: Any) -> dict[str, Any]:
    options = {str(name): str(text) for name, text in (value.get("Config") or {}).items()}
    return {"Name": value.get("Type") or "", **({"Options": options} if options else {})}


#: Key of the body → its place.
CONFIG: Mapping[str, Key] = {
    "Cmd": Key((*_CONTAINER, "Args"), _words),
    "Entrypoint": Key((*_CONTAINER, "Command"), _words),
    "Env": Key((*_CONTAINER, "Env"), _environment),
    "Healthcheck": Key((*_CONTAINER, "Healthcheck")),
    "Hostname": Key((*_CONTAINER, "Hostname"), literal),
    "Image": Key((*_CONTAINER, "Image")),
    "OpenStdin": Key((*_CONTAINER, "OpenStdin")),
    "StopSignal": Key((*_CONTAINER, "StopSignal"), str),
    "StopTimeout": Key((*_CONTAINER, "StopGracePeriod"), _seconds),
    "Tty": Key((*_CONTAINER, "TTY")),
    "User": Key((*_CONTAINER, "User")),
    "WorkingDir": Key((*_CONTAINER, "Dir")),
    "platform": Key(("TaskTemplate", "Placement", "Platforms"), _platforms),
}
#: Key of its HostConfig → its place.
HOST: Mapping[str, Key] = {
    "CapAdd": Key((*_CONTAINER, "CapabilityAdd"), list),
    "CapDrop": Key((*_CONTAINER, "CapabilityDrop"), list),
    "Dns": Key((*_CONTAINER, "DNSConfig", "Nameservers"), list),
    "DnsOptions": Key((*_CONTAINER, "DNSConfig", "Options"), list),
    "DnsSearch": Key((*_CONTAINER, "DNSConfig", "Search"), list),
    "ExtraHosts": Key((*_CONTAINER, "Hosts"), _hosts),
    "GroupAdd": Key((*_CONTAINER, "Groups"), lambda groups: [str(group) for group in groups]),
    "Init": Key((*_CONTAINER, "Init")),
    "LogConfig": Key(("TaskTemplate", "LogDriver"), _driver),
    "Memory": Key((*_LIMITS, "MemoryBytes")),
    "MemoryReservation": Key((*_RESERVED, "MemoryBytes")),
    "MemorySwappiness": Key(("TaskTemplate", "Resources", "MemorySwappiness"), since=SWAP),
    "NanoCpus": Key((*_LIMITS, "NanoCPUs")),
    "OomScoreAdj": Key((*_CONTAINER, "OomScoreAdj"), since=OOM_SCORE),
    "PidsLimit": Key((*_LIMITS, "Pids")),
    "ReadonlyRootfs": Key((*_CONTAINER, "ReadOnly")),
    "Sysctls": Key((*_CONTAINER, "Sysctls"), dict),
    "Ulimits": Key((*_CONTAINER, "Ulimits"), list),
}
#: Keys that others below take up together, or that a service has by itself.
_TOGETHER_IN_CONFIG = frozenset({"ExposedPorts", "HostConfig", "Labels", "Volumes"})
_TOGETHER_IN_HOST = frozenset(
    {
        *("Binds", "CpuPeriod", "CpuQuota", "CpuShares", "MemorySwap", "Mounts", "NetworkMode"),
        *("PortBindings", "SecurityOpt", "ShmSize", "Tmpfs"),
    }
)
_RESERVE = (
    "a service cannot ask for devices of its node; have the nodes tell of them "
    '("node-generic-resources" in daemon.json) and set generic_resources = {"NVIDIA-GPU": 1}'
)
_ON_NODES = "services leave that to their node: set it in the daemon.json of the nodes, "
#: Key → what to do instead, where there is more to say than that services have no such thing.
_INSTEAD: Mapping[str, str] = {
    "AutoRemove": "a Swarm removes the containers of services by itself: leave it out",
    "CgroupParent": f'{_ON_NODES}as "cgroup-parent"',
    "CgroupnsMode": f'{_ON_NODES}as "default-cgroupns-mode"',
    "DeviceCgroupRules": _RESERVE,
    "DeviceRequests": _RESERVE,
    "Devices": _RESERVE,
    "Domainname": "services have none: write it into hostname",
    "Links": "services find each other by name: set networks",
    "NetworkingConfig": "set network_name and networks; aliases go into extra_service_spec, as "
    '{"TaskTemplate": {"Networks": [{"Target": "name", "Aliases": ["alias"]}]}}',
    "Privileged": "no service is privileged: give it the rights it needs with cap_add",
    "PublishAllPorts": "name them in extra_service_spec, as {'EndpointSpec': {'Ports': [...]}}",
    "RestartPolicy": 'set restart_policy = "on-failure"',
    "Runtime": f'{_ON_NODES}as "default-runtime"',
    "StorageOpt": f'{_ON_NODES}as "storage-opts"',
    "UsernsMode": f'{_ON_NODES}as "userns-remap"',
    "VolumeDriver": "name the driver with each volume, in mounts",
    "VolumesFrom": "mount the same volumes, in volumes or mounts",
}
#: Values that say what is so without them, besides those that are empty.
_AS_WITHOUT: Mapping[str, tuple[Any, ...]] = {
    "CgroupnsMode": ("private",),
    "ConsoleSize": ([0, 0],),
    "IpcMode": ("private", "shareable"),
    "Isolation": ("default",),
    "PidsLimit": (-1, 0),
    "RestartPolicy": ({"Name": "no"}, {"Name": ""}, {"Name": "no", "MaximumRetryCount": 0}),
    "Runtime": ("runc",),
}
#: Keys whose empty values mean something.
_EVEN_EMPTY = frozenset({"Init", "MemorySwappiness"})
#: What our own settings make of the body → which one.
_SETTINGS: Mapping[str, str] = {
    "Binds": "volumes",
    "CpuShares": "cpu_guarantee",
    "DeviceRequests": "gpus",
    "Devices": "devices",
    "Memory": "mem_limit",
    "MemoryReservation": "mem_guarantee",
    "MemorySwap": "memswap_limit",
    "Mounts": "mounts",
    "NetworkMode": "network_name",
    "PortBindings": "host_ip",
    "SecurityOpt": "allow_privilege_escalation",
    "StorageOpt": "storage_opt",
    "Tmpfs": "tmpfs",
}
_MODES = re.compile(r"container:|ns:|none$|private$|slirp4netns|pasta")


@dataclass(frozen=True)
class Translation:
    """A container's body on its way to a service's, for one version of the API.

    Attributes:
        spec: that the body was made from.
        config: the body; ``host`` is its HostConfig. Both with the API's own spelling.
        api: the version.
    """

    spec: ServerSpec
    config: Mapping[str, Any]
    host: Mapping[str, Any]
    api: Api

    @classmethod
    def of(cls, spec: ServerSpec, body: Mapping[str, Any], api: Api) -> Translation:
        """A body of ``POST /containers/create``, whose keys may be in any case of letters."""
        known = (*CONFIG, *_TOGETHER_IN_CONFIG, "Domainname", "NetworkingConfig")
        config = spelled(body, known)
        host = spelled(config.get("HostConfig") or {}, (*HOST, *_TOGETHER_IN_HOST, *_INSTEAD))
        return cls(spec, config, host, api)

    def service(self) -> dict[str, Any]:
        """The parts of a ServiceSpec that the body says.

        Raises:
            ConfigError: no service can have that.
        """
        found: dict[str, Any] = {}
        self._plain(found, self.config, CONFIG, _TOGETHER_IN_CONFIG)
        self._plain(found, self.host, HOST, _TOGETHER_IN_HOST)
        self._cpus(found)
        self._least(found)
        self._swap(found)
        self._privileges(found)
        self._networks(found)
        self._ports(found)
        if mounts := service_mounts(self.config, self.host, self.api, self.refused):
            put(found, (*_CONTAINER, "Mounts"), mounts)
        return found

    def _plain(
        self,
        found: dict[str, Any],
        keys: Mapping[str, Any],
        table: Mapping[str, Key],
        together: frozenset[str],
    ) -> None:
        for name, value in keys.items():
            if name in together or _says_nothing(name, value):
                continue
            key = table.get(name)
            if key is None:
                raise self.refused(name, value, _INSTEAD.get(name, "services have no such thing"))
            if self.api < key.since:
                raise self.refused(name, value, self._too_old(key.since))
            put(found, key.path, key.convert(value))

    def _cpus(self, found: dict[str, Any]) -> None:
        quota, period = self.host.get("CpuQuota") or 0, self.host.get("CpuPeriod") or 100_000
        if quota > 0:
            put(found, (*_LIMITS, "NanoCPUs"), round(quota * NS / period))
        shares, guarantee = self.host.get("CpuShares"), self.spec.cpu_guarantee
        if not shares:
            return
        if guarantee is None or shares != max(2, round(guarantee * CPU_SHARES_PER_CPU)):
            raise self.refused("CpuShares", shares, "a Swarm reserves CPUs: set cpu_guarantee")
        put(found, (*_RESERVED, "NanoCPUs"), round(guarantee * NS))

    def _least(self, found: Mapping[str, Any]) -> None:
        """Refuse less than what a Swarm can reserve, or limit servers to."""
        for key in ("Memory", "MemoryReservation"):
            value = self.host.get(key)
            if value and isinstance(value, int) and value < LEAST_MEMORY:
                hint = "a Swarm takes 4 MiB at least; set that, or None for none"
                raise self.refused(key, value, hint)
        reserved = ((found.get("TaskTemplate") or {}).get("Resources") or {}).get("Reservations")
        if ((reserved or {}).get("NanoCPUs") or LEAST_CPU) < LEAST_CPU:
            hint = "a Swarm reserves 0.001 CPUs at least; set that, or None for none"
            raise self.refused("CpuShares", self.spec.cpu_guarantee, hint)

    def _swap(self, found: dict[str, Any]) -> None:
        swap, memory = self.host.get("MemorySwap") or 0, self.host.get("Memory") or 0
        if not swap:
            return
        if self.api >= SWAP:
            put(found, ("TaskTemplate", "Resources", "SwapBytes"), max(-1, swap - memory))
        elif not self._by_default("MemorySwap", self.spec.hardening.memswap_limit):
            raise self.refused("MemorySwap", swap, self._too_old(SWAP))

    def _privileges(self, found: dict[str, Any]) -> None:
        for option in self.host.get("SecurityOpt") or ():
            name, _, value = re.sub("[:=]", "=", str(option), count=1).partition("=")
            if name == "label":
                key, part = _selinux(value)
                put(found, (*_CONTAINER, "Privileges", "SELinuxContext", key), part)
                continue
            parts = _privilege(name, value)
            if parts is None:
                raise self.refused("SecurityOpt", option, "services have no such thing")
            by_default = name == NO_NEW_PRIVILEGES and self._by_default(
                "SecurityOpt", self.spec.hardening.allow_privilege_escalation
            )
            if self.api >= PRIVILEGES:
                for key, part in parts.items():
                    put(found, (*_CONTAINER, "Privileges", key), part)
            elif parts and not by_default:
                hint = f'{self._too_old(PRIVILEGES)}, or set "{name}" in the nodes\' daemon.json'
                raise self.refused("SecurityOpt", option, hint)

    def _networks(self, found: dict[str, Any]) -> None:
        mode = str(self.host.get("NetworkMode") or "")
        if _MODES.match(mode):
            hint = "servers on a Swarm need an overlay network, or none of their own: unset it"
            raise self.refused("NetworkMode", mode, hint)
        first = () if mode in ("", "bridge", "default") else (mode,)
        targets = dict.fromkeys((*first, *self.spec.networks))
        if targets:
            put(found, ("TaskTemplate", "Networks"), [{"Target": name} for name in targets])

    def _ports(self, found: dict[str, Any]) -> None:
        ports = [
            self._port(port, binding)
            for port, bindings in (self.host.get("PortBindings") or {}).items()
            for binding in bindings or ()
        ]
        if ports:
            put(found, ("EndpointSpec", "Ports"), ports)

    def _port(self, port: str, binding: Mapping[str, Any]) -> dict[str, Any]:
        address, number = str(binding.get("HostIp") or ""), str(binding.get("HostPort") or "")
        if address not in ALL_INTERFACES:
            hint = 'a Swarm publishes ports at all addresses of a node: set host_ip = "0.0.0.0"'
            raise self.refused("PortBindings", address, hint)
        target, _, protocol = str(port).partition("/")
        found = {"Protocol": protocol or "tcp", "TargetPort": int(target), "PublishMode": "host"}
        return {**found, "PublishedPort": int(number)} if number not in ("", "0") else found

    def _by_default(self, key: str, own: object) -> bool:
        """What the hook or the admin's further keys do not say, nor the setting for it."""
        return own is None and self.setting(key) == _SETTINGS[key]

    def setting(self, key: str) -> str:
        """The setting that a key of the body is from."""
        further = spelled(self.spec.config.get("HostConfig") or {}, (*HOST, *_INSTEAD))
        if key in self.spec.changes or key in (self.spec.changes.get("HostConfig") or {}):
            return HOOK
        if key in self.spec.host_config:
            return f"extra_host_config[{_snake(key)!r}]"
        if key in further:
            return f"extra_create_kwargs['host_config'][{key!r}]"
        return _SETTINGS.get(key) or f"extra_create_kwargs[{_snake(key)!r}]"

    def refused(self, key: str, value: object, hint: str) -> ConfigError:
        """The error for a key's value that services cannot have."""
        return ConfigError(self.setting(key), value, f"servers are Swarm services here: {hint}")

    def _too_old(self, since: Api) -> str:
        have = version(self.api)
        return f"that needs version {version(since)} of the API, and this is {have}: update Docker"


def left_out(api: Api) -> tuple[str, ...]:
    """Sentences about what hardening gives to containers by default and not to services.

    Args:
        api: version of the Engine's API.
    """
    found = []
    if api < PRIVILEGES:
        found.append(
            f"services of API {version(api)} cannot keep programs from gaining rights, as sudo "
            'does: set "no-new-privileges": true in the daemon.json of all nodes'
        )
    if api < SWAP:
        found.append(
            f"services of API {version(api)} have no limit of swap: a server may use as much swap "
            "as it may use memory, on nodes that have some"
        )
    return tuple(found)


def put(tree: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Have a value at a path of keys."""
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
    tree[path[-1]] = value


def _says_nothing(name: str, value: Any) -> bool:
    if name in _EVEN_EMPTY:
        return value is None
    return value in (None, "", 0, False, [], {}) or value in _AS_WITHOUT.get(name, ())


def _privilege(name: str, value: str) -> dict[str, Any] | None:
    """Keys of Privileges that an option of SecurityOpt comes to; None: there is no such key."""
    if name == NO_NEW_PRIVILEGES:
        return {} if value == "false" else {"NoNewPrivileges": True}
    if name == "seccomp" and value in ("builtin", "default"):
        return {}
    if name == "seccomp":
        if value == "unconfined":
            return {"Seccomp": {"Mode": "unconfined"}}
        profile = base64.b64encode(value.encode()).decode()
        return {"Seccomp": {"Mode": "custom", "Profile": profile}}
    if name == "apparmor" and value in ("docker-default", "unconfined"):
        return {"AppArmor": {"Mode": "disabled"}} if value == "unconfined" else {}
    return None


def _selinux(value: str) -> tuple[str, Any]:
    if value == "disable":
        return "Disable", True
    name, _, word = value.partition(":")
    return name.capitalize(), word


def _snake(key: str) -> str:
    """A key as docker-py calls it: ``OomScoreAdj``, ``oom_score_adj``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", key).lower()
