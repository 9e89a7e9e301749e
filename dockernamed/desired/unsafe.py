"""What gives a server the Engine's host: refused unless a setting says it in so many words. Pure.

Settings that do nothing else, such as ``network_name = "host"``, ``uid = 0`` and ``devices``, are
such words themselves. Here are those where it stands among other things, or can come out of a
template.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigError
from .hardening import capability
from .mounts import Mount

SETTING = "allow_unsafe"
#: A word of the setting → what it allows.
UNSAFE: Mapping[str, str] = {
    "privileged": "the container can do whatever root of the Engine's host can",
    "host-namespaces": "the container shares processes, memory, users or networks with the host",
    "container-namespaces": "the container shares processes, memory or networks with another one",
    "engine-socket": "whoever has the Engine's socket or files is root of the Engine's host",
    "host-devices": "the container reaches disks, memory and the kernel's settings of the host",
    "host-capabilities": "root with this capability can become root of the Engine's host",
    "unconfined": "the kernel is no longer guarded by the Engine's own profile",
    "volumes-from": "the container gets all files of another one, whoever they belong to",
}
#: Capabilities that lead out of a container.
HOST_CAPABILITIES = frozenset(
    {
        "ALL",
        "BPF",
        "DAC_READ_SEARCH",
        "MAC_ADMIN",
        "MAC_OVERRIDE",
        "PERFMON",
        "SYS_ADMIN",
        "SYS_BOOT",
        "SYS_MODULE",
        "SYS_PTRACE",
        "SYS_RAWIO",
        "SYS_TIME",
        "SYSLOG",
    }
)
#: Sockets by which an Engine, or what it builds on, is told what to do; and where its files are.
SOCKETS = (
    "/run/docker.sock",
    "/run/docker/containerd/containerd.sock",
    "/run/podman/podman.sock",
    "/run/containerd/containerd.sock",
    "/run/crio/crio.sock",
    "/run/buildkit/buildkitd.sock",
    "/var/lib/docker",
    "/var/lib/containers/storage",
    "/var/lib/containerd",
)
_USERS_SOCKETS = re.compile(r"/run/user(/[^/]+(/(docker|podman|containerd).*)?)?")
_KERNEL = ("/dev", "/proc", "/sys")
#: A root of the host as one of its processes has it, which is the host's own root again.
_ROOT_OF_PROCESS = re.compile(r"/proc/[^/]+(/task/[^/]+)?/(root|cwd)")
_MODES = ("pidmode", "ipcmode", "utsmode", "usernsmode", "cgroupnsmode", "networkmode")
#: Keys of HostConfig whose values do not matter, as long as there is one → word of `UNSAFE`.
_WHATEVER: Mapping[str, str] = {
    "privileged": "privileged",
    "devicecgrouprules": "host-devices",
    "volumesfrom": "volumes-from",
}
#: Those that say which files of the kernel the Engine hides: an empty list hides none.
_PATHS = ("maskedpaths", "readonlypaths")
_UNCONFINED = re.compile(r"(seccomp|apparmor|systempaths)[=:]unconfined|label[=:]disable", re.I)
#: The same in a service's Privileges: path → value.
_UNCONFINED_SERVICE: tuple[tuple[tuple[str, ...], str], ...] = (
    (("seccomp", "mode"), "unconfined"),
    (("apparmor", "mode"), "disabled"),
    (("selinuxcontext", "disable"), "true"),
)
#: Options of a local volume that name directories of the host, besides ``device``.
_DIRECTORIES = re.compile(r"(?:lowerdir|upperdir|workdir)=([^,]*)")


@dataclass(frozen=True)
class Judge:
    """Refuses what no word of the setting allows.

    Attributes:
        allowed: the setting: words of `UNSAFE`.
        paths: further sockets of the Engine on its host, and where its files are.
        real: follows the links of a path of that host, where they can be seen.
    """

    allowed: frozenset[str] = frozenset()
    paths: Sequence[str] = ()
    real: Callable[[str], str] = str

    def mounts(self, setting: str, mounts: Iterable[Mount]) -> None:
        """Look at mounts.

        Raises:
            ConfigError: names the setting, the source and what to write.
        """
        for mount in mounts:
            if mount.kind == "bind":
                self._path(setting, mount.source)
            else:
                self._options(setting, mount.options)

    def capabilities(self, setting: str, names: Iterable[object]) -> None:
        """Look at capabilities to add.

        Raises:
            ConfigError: likewise.
        """
        for name in names:
            if capability(name) in HOST_CAPABILITIES:
                self._refuse("host-capabilities", setting, name)

    def host_config(self, setting: str, keys: Mapping[str, Any]) -> None:
        """Look at keys of the API's HostConfig, in any case of letters: the Engine ignores it.

        Raises:
            ConfigError: likewise.
        """
        for name, value in keys.items():
            self._key(setting, str(name).lower(), value)

    def config(self, setting: str, keys: Mapping[str, Any]) -> None:
        """Look at keys of the API's create call.

        Raises:
            ConfigError: likewise.
        """
        for name, value in keys.items():
            if str(name).lower() == "hostconfig" and isinstance(value, Mapping):
                self.host_config(setting, value)

    def service(self, setting: str, spec: Mapping[str, Any]) -> None:
        """Look at keys of a Swarm's ServiceSpec, which reach the hosts of all its nodes.

        Raises:
            ConfigError: likewise.
        """
        task = _at(spec, "tasktemplate")
        container = _at(task, "containerspec")
        if str(_at(task, "runtime") or "").lower() == "plugin" or _at(task, "pluginspec"):
            self._refuse("privileged", setting, "PluginSpec")
        self.capabilities(setting, _at(container, "capabilityadd") or ())
        for mount in _at(container, "mounts") or ():
            if isinstance(mount, Mapping):
                self._api_mount(setting, mount)
        for network in (*(_at(task, "networks") or ()), *(_at(spec, "networks") or ())):
            self.network(setting, str(_at(network, "target") or ""))
        for key, value in _UNCONFINED_SERVICE:
            found = _at(container, "privileges", *key)
            if str(found or "").lower() == value:
                self._refuse("unconfined", setting, {key[0]: found})

    def network(self, setting: str, name: str) -> None:
        """Look at a network that a server is to be in.

        Raises:
            ConfigError: likewise.
        """
        self._mode(setting, "networks", name)

    def _key(self, setting: str, name: str, value: Any) -> None:
        if name in _WHATEVER and value:
            self._refuse(_WHATEVER[name], setting, {name: value})
        elif name in _PATHS and value is not None:
            self._refuse("unconfined", setting, {name: value})
        elif name in _MODES:
            self._mode(setting, name, str(value or ""))
        elif name == "capadd":
            self.capabilities(setting, value or ())
        elif name in ("binds", "mounts", "securityopt"):
            for one in value or ():
                self._one_of(setting, name, one)

    def _one_of(self, setting: str, name: str, one: Any) -> None:
        if name == "binds":
            self._path(setting, str(one).partition(":")[0])
        elif name == "mounts":
            self._api_mount(setting, one)
        elif _UNCONFINED.fullmatch(str(one).strip()):
            self._refuse("unconfined", setting, one)

    def _mode(self, setting: str, name: str, mode: str) -> None:
        kind = mode.lower().partition(":")[0]
        if kind in ("host", "ns"):
            self._refuse("host-namespaces", setting, {name: mode})
        elif kind == "container":
            self._refuse("container-namespaces", setting, {name: mode})

    def _api_mount(self, setting: str, mount: Mapping[str, Any]) -> None:
        keys = {str(name).lower(): value for name, value in mount.items()}
        if str(keys.get("type") or "").lower() == "bind":
            self._path(setting, str(keys.get("source") or ""))
        options = _at(keys, "volumeoptions", "driverconfig", "options")
        self._options(setting, options if isinstance(options, Mapping) else {})

    def _options(self, setting: str, options: Mapping[str, Any]) -> None:
        """Options of a local volume, which can be a directory of the host by another name."""
        for name, value in options.items():
            found = [str(value)] if str(name).lower() == "device" else []
            if str(name).lower() == "o":
                found = [
                    path for paths in _DIRECTORIES.findall(str(value)) for path in paths.split(":")
                ]
            for path in found:
                self._path(setting, path)

    def _path(self, setting: str, source: str) -> None:
        if not source.startswith("/"):
            return
        engines = [one for path in (*SOCKETS, *self.paths) for one in plain_paths(path)]
        for path in plain_paths(source) | plain_paths(self.real(source)):
            if path != "/" and any(_in(path, one) for one in _KERNEL):
                self._refuse("host-devices", setting, source)
            if any(_in(path, one) or _in(one, path) for one in engines):
                self._refuse("engine-socket", setting, source)
            if _USERS_SOCKETS.fullmatch(path):
                self._refuse("engine-socket", setting, source)

    def _refuse(self, word: str, setting: str, value: object) -> None:
        if word in self.allowed:
            return
        allowed = sorted({*self.allowed, word})
        text = ", ".join(f'"{one}"' for one in allowed)
        raise ConfigError(
            setting,
            value,
            f"refused, since {UNSAFE[word]}; if that is meant, say so with "
            f"c.DockerNamedSpawner.{SETTING} = [{text}]",
        )


def plain_paths(path: str) -> set[str]:
    """A path as the Engine's host may resolve it, as far as that is the same on every host.

    ``//``, ``/./`` and ``..`` are gone, ``/var/run`` is ``/run``, and the roots that processes have
    under ``/proc`` are the root. ``..`` may be gone before links are followed, or after.
    """
    return {_followed(path), _followed(posixpath.normpath(path))}


def _followed(path: str) -> str:
    here = "/"
    for part in path.split("/"):
        here = posixpath.normpath(f"{here}/{part}").replace("//", "/")
        if here == "/var/run":
            here = "/run"
        elif _ROOT_OF_PROCESS.fullmatch(here):
            here = "/"
    return here


def _in(path: str, directory: str) -> bool:
    """Whether a path is a directory or below it."""
    return f"{path}/".startswith(f"{directory.rstrip('/')}/")


def _at(keys: Mapping[str, Any], *names: str) -> Any:
    """What is at a path of keys, whatever the case of their letters."""
    found: Any = keys
    for name in names:
        folded: Iterator[Any] = (
            value
            for key, value in (found.items() if isinstance(found, Mapping) else ())
            if str(key).lower() == name
        )
        found = next(folded, None)
    return found
