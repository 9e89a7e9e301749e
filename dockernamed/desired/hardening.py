"""What a container may do to the others and to the host: settings in, keys of HostConfig out. Pure.

The settings are defaults: what the admin's further keys of HostConfig say of the same thing counts,
and lists are joined with theirs.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .mounts import Mount

OFF, DEFAULT, STRICT = "off", "default", "strict"
LEVELS = (DEFAULT, STRICT, OFF)

#: What a program that starts as root needs to give its files to a user, and to become that user.
#: Without KILL the init process cannot tell another user's process to end: each stop takes 10 s.
ROOT_CAPABILITIES = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "SETUID", "SETGID", "KILL")
#: Processes and threads of one server: ten kernels have more than 128.
PIDS_LIMIT = 512
#: The log driver that keeps everything, and what bounds it: 30 MB for a server.
JSON_FILE = "json-file"
LOG_OPTIONS: Mapping[str, str] = {"max-size": "10m", "max-file": "3"}
#: Directories of a read-only container where programs write: path → options of the mount.
TMPFS: Mapping[str, str] = {
    "/tmp": "size=1g,mode=1777",  # noqa: S108  (the container's own)
    "/run": "size=64m",
}
#: No file with a server's memory, which holds its tokens.
NO_CORE: Mapping[str, Any] = {"Name": "core", "Soft": 0, "Hard": 0}
NO_NEW_PRIVILEGES = "no-new-privileges"
#: What the start scripts of the Jupyter Docker Stacks read in GRANT_SUDO.
_GRANTED = ("1", "yes")


@dataclass(frozen=True)
class Hardening:
    """The settings about it, final. None: what ``level`` says.

    Attributes:
        level: one of `LEVELS`.
        cap_drop: capabilities to take away; ``cap_add``: to give. Both in `capability`'s form.
        allow_privilege_escalation: a program may gain rights that its parent lacks, as sudo does.
        pids_limit: processes and threads at once; -1: no limit.
        log_config: ``{"Type": driver, "Config": options}``.
        read_only: the container's root file system cannot be written to.
        tmpfs: path → options of the directories in memory.
        internal_network: only a network without a way out will do.
        memswap_limit: bytes of memory and swap together; -1: no limit.
        limits: further keys of HostConfig that are given as they are: ``ShmSize``, ``Ulimits``, …
        log_driver: the one that the Engine uses for containers that name none; "": not known.
    """

    level: str = OFF
    cap_drop: tuple[str, ...] | None = None
    cap_add: tuple[str, ...] | None = None
    allow_privilege_escalation: bool | None = None
    pids_limit: int | None = None
    log_config: Mapping[str, Any] | None = None
    read_only: bool | None = None
    tmpfs: Mapping[str, str] | None = None
    internal_network: bool | None = None
    memswap_limit: int | None = None
    limits: Mapping[str, Any] = field(default_factory=dict)
    log_driver: str = ""

    @property
    def on(self) -> bool:
        """Anything at all is to be hardened."""
        return self.level != OFF

    @property
    def is_read_only(self) -> bool:
        """The root file system is read-only, as far as these settings say."""
        return self.level == STRICT if self.read_only is None else self.read_only

    @property
    def wants_internal_network(self) -> bool:
        """Only a network without a way out will do."""
        return self.level == STRICT if self.internal_network is None else self.internal_network

    @property
    def bounds_logs(self) -> bool:
        """Which log driver is in force matters."""
        return self.on and self.log_config is None

    def host_config(
        self,
        further: Mapping[str, Any],
        *,
        root: bool,
        memory: int | None,
        taken: Container[str] = (),
    ) -> dict[str, Any]:
        """Keys of HostConfig, over which ``further`` is laid.

        Args:
            further: the admin's own.
            root: the container's first process is root's.
            memory: bytes that the server may use; None: no limit.
            taken: paths in the container at which something is mounted.
        """
        keys: dict[str, Any] = {
            **self._capabilities(further, root),
            **self._privileges(further),
            **self._read_only(taken),
            **self._limits(further, memory),
        }
        pids = PIDS_LIMIT if self.pids_limit is None and self.on else self.pids_limit
        if pids is not None:
            keys["PidsLimit"] = pids
        if log_config := self._log_config(further.get("LogConfig") or {}):
            keys["LogConfig"] = log_config
        return keys

    def _capabilities(self, further: Mapping[str, Any], root: bool) -> dict[str, list[str]]:
        dropped = self.cap_drop
        if dropped is None:
            # Whoever gets everything must not lose it by what was only meant for the others.
            dropped = ("ALL",) if self.on and not further.get("Privileged") else ()
        added = self.cap_add
        if added is None:
            back = root and self.level == DEFAULT and "ALL" in dropped
            taken = {*dropped, *map(capability, further.get("CapDrop") or ())}
            added = tuple(one for one in ROOT_CAPABILITIES if back and one not in taken)
        found = {"CapDrop": list(dropped), "CapAdd": list(added)}
        return {key: names for key, names in found.items() if names}

    def _privileges(self, further: Mapping[str, Any]) -> dict[str, Any]:
        allowed = self.allow_privilege_escalation
        if allowed is None:
            allowed = not self.on or bool(further.get("Privileged"))
        said = any(
            str(one).startswith(NO_NEW_PRIVILEGES) for one in further.get("SecurityOpt") or ()
        )
        return {} if allowed or said else {"SecurityOpt": [NO_NEW_PRIVILEGES]}

    def _read_only(self, taken: Container[str]) -> dict[str, Any]:
        default = TMPFS if self.is_read_only else {}
        tmpfs = default if self.tmpfs is None else self.tmpfs
        kept = {path: str(options) for path, options in tmpfs.items() if path not in taken}
        read_only = {"ReadonlyRootfs": True} if self.is_read_only else {}
        return {**read_only, "Tmpfs": kept} if kept else read_only

    def _limits(self, further: Mapping[str, Any], memory: int | None) -> dict[str, Any]:
        keys = dict(self.limits)
        memory = further.get("Memory") or memory
        swap = self.memswap_limit
        if swap is None and self.on and memory:
            swap = memory
        if swap is not None:
            keys["MemorySwap"] = swap
        ulimits = list(keys.pop("Ulimits", ()))
        theirs = {_name_of(one) for one in further.get("Ulimits") or ()}
        if self.on and "core" not in {_name_of(one) for one in ulimits}:
            ulimits.append(dict(NO_CORE))
        ulimits = [one for one in ulimits if _name_of(one) not in theirs]
        return {**keys, "Ulimits": ulimits} if ulimits else keys

    def _log_config(self, said: Mapping[str, Any]) -> dict[str, Any]:
        own = self.log_config or {}
        driver = said.get("Type") or own.get("Type") or self.log_driver
        # The options of one driver are no options of another.
        same = said.get("Type") in (None, "", own.get("Type"))
        options = dict(own.get("Config") or {}) if same else {}
        if self.on and driver == JSON_FILE:
            options = {**LOG_OPTIONS, **options}
        return {"Type": driver, "Config": options} if options or (own and same) else {}


#: As Docker itself has it.
NOT_HARDENED = Hardening()


def home_for_a_while(hardening: Hardening, home: str, taken: Iterable[str]) -> tuple[Mount, ...]:
    """A volume that goes with the container, where a read-only one has nowhere for a user's files.

    It is as the image's own directory there, whose owner a tmpfs would not keep.

    Args:
        hardening: of the server.
        home: where a user's files are; "" or "/": nowhere.
        taken: paths in the container at which something is mounted.
    """
    if not hardening.is_read_only or home in ("", "/"):
        return ()
    covered = any(f"{home}/".startswith(f"{path.rstrip('/')}/") for path in taken)
    return () if covered else (Mount("volume", "", home),)


def notes(
    hardening: Hardening, host_config: Mapping[str, Any], env: Mapping[str, str], *, root: bool
) -> tuple[str, ...]:
    """Sentences about what does not work in such a container, and which setting gives it back.

    Args:
        hardening: of the server.
        host_config: of its container, whole.
        env: all variables of its environment, the image's own too.
        root: the container's first process is root's.
    """
    found = []
    options = [str(one) for one in host_config.get("SecurityOpt") or ()]
    kept_down = any(re.fullmatch(f"{NO_NEW_PRIVILEGES}([:=]true)?", one) for one in options)
    if env.get("GRANT_SUDO", "").lower() in _GRANTED and kept_down:
        found.append(
            "GRANT_SUDO has no effect in this server, where no program can gain rights by sudo. "
            "Set c.DockerNamedSpawner.allow_privilege_escalation = True to let it"
        )
    if root and hardening.level == STRICT and not host_config.get("CapAdd"):
        found.append(
            "This image starts as root, who has none of root's capabilities with "
            'hardening = "strict": it cannot become another user. Set c.DockerNamedSpawner.uid, '
            "or take an image with a USER"
        )
    return tuple(found)


def capability(name: object) -> str:
    """A capability in one of the spellings that Engines take, without its ``CAP_``: ``CHOWN``."""
    return str(name).upper().removeprefix("CAP_")


def _name_of(ulimit: Mapping[str, Any]) -> str:
    return str(ulimit.get("Name") or ulimit.get("name"))
