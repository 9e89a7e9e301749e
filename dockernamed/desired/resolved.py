"""One start's settings, final, and what is kept of them with the server. Pure.

`ResolvedSettings` stands between the spawner and the spec: every callable has been called, every
template expanded, the network chosen, the user's choice applied. From here on everything is
computed from values. `KeptSettings` is the part that a server needs after its start: JupyterHub
keeps it in its database, so that a change of the configuration does not reach a server that was
started before.
"""

from __future__ import annotations

import posixpath
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .. import naming
from ..errors import ConfigError
from .entrypoint import process_of, unfit_for_a_shell
from .environment import Environment
from .hardening import NOT_HARDENED, Hardening, home_for_a_while
from .isolation import OwnNetwork
from .mounts import Mount, check_targets, under
from .network import ALL_INTERFACES, Access, is_address
from .placement import ServiceSettings
from .private import Secrets, link_places
from .proof import AS_JUPYTERHUB
from .quotas import Promise, promised
from .spec import ServerSpec, host_config, targets_of
from .volumes import RequestedVolumes, VolumePlan

#: What a server can be on its backend: a container of one Engine, or a service of a Swarm.
CONTAINER, SERVICE = KINDS = ("container", "service")


@dataclass(frozen=True)
class Place:
    """Where a server runs, and how the Hub gets to it.

    Attributes:
        network: name of the network, or the API's ``bridge``, ``host``, …
        access: how the Hub gets there.
        publish_ip: address of the Engine's host to publish the port at; None: not published.
        own: the network, where the Hub makes it; None where it is there.
        networks: names of further networks.
    """

    network: str = "bridge"
    access: Access = field(default_factory=lambda: Access("published"))
    publish_ip: str | None = None
    own: OwnNetwork | None = None
    networks: tuple[str, ...] = ()

    @property
    def alt_names(self) -> list[str]:
        """Where the Hub finds the server, as alternative names of a certificate; names apart."""
        if self.access.by != "published":
            return []
        fixed = self.publish_ip is not None and self.publish_ip not in ALL_INTERFACES
        host = str(self.publish_ip) if fixed else self.access.engine_host
        return [f"{'IP' if is_address(host) else 'DNS'}:{host}"]


@dataclass(frozen=True)
class PostStart:
    """A command to run in the container of a server that has been started.

    Attributes:
        command: program and arguments.
        user: whom it runs as, in the Engine's words; "" is whom the container runs as.
        timeout: seconds that it may take.
        failure: ``"fail"``: the start fails with it; ``"warn"``: it goes on.
    """

    command: tuple[str, ...]
    user: str = ""
    timeout: float = 60.0
    failure: str = "fail"


@dataclass(frozen=True)
class KeptSettings:
    """What is kept with a server in the Hub's database, and used until it is deleted.

    Attributes:
        access: how the Hub gets to it.
        port: TCP port that it listens on in its container; one of the Engine's host if ``on_host``.
        remove: its container is removed when it stops.
        keep_failed: its container is kept when it dies at its start.
        stop_timeout: seconds between SIGTERM and SIGKILL.
        delete_volumes: its own volumes go when it is deleted for good.
        readiness: what shows that it is ready: the setting, expanded.
        on_host: it is in the network of the Engine's host, where others may have its port.
        network: name of the network that was made for it; "" where none was.
        gpus: ids of the GPUs that it had, which its kept container cannot do without.
    """

    access: Access
    port: int
    remove: bool
    keep_failed: bool
    stop_timeout: float
    delete_volumes: bool
    readiness: str = AS_JUPYTERHUB
    on_host: bool = False
    network: str = ""
    gpus: tuple[str, ...] = ()

    @property
    def keeps_container(self) -> bool:
        """A container of this server that does not run may be there on purpose."""
        return self.keep_failed or not self.remove

    def to_json(self) -> dict[str, Any]:
        """As it is kept; `from_json` reads it."""
        return {
            "access": {"by": self.access.by, "engine_host": self.access.engine_host},
            "port": self.port,
            "remove": self.remove,
            "keep_failed": self.keep_failed,
            "stop_timeout": self.stop_timeout,
            "delete_volumes": self.delete_volumes,
            "readiness": self.readiness,
            "on_host": self.on_host,
            "network": self.network,
            "gpus": list(self.gpus),
        }

    @classmethod
    def from_json(cls, kept: object) -> KeptSettings | None:
        """Read what was kept; None where nothing was, or another version kept something else."""
        try:
            values: dict[str, Any] = dict(kept)  # type: ignore[call-overload]  # checked by trying
            gpus = tuple(values.get("gpus", ()))
            return cls(**{**values, "access": Access(**values["access"]), "gpus": gpus})
        except (TypeError, ValueError, KeyError):
            return None


@dataclass(frozen=True)
class ServerState:
    """What the Hub's database keeps of a server.

    Attributes:
        object_id: the Engine's id of its container; "" while there is none.
        object_name: the container's name.
        volumes: where → name of each volume whose name tells servers or users apart, for good.
        image: reference of the last start.
        settings: those of the last start, for good; None where it never started.
        promise: what it has of what servers share, from its start to its end.
        kind: what it was started as, and its id is of: one of `KINDS`.
        made: value of the label `LABEL_START` → id of the container that the last start made, for
            good: what has this label and another id is a copy. Earlier ones too, while there is
            such a copy.
    """

    object_id: str = ""
    object_name: str = ""
    volumes: Mapping[str, str] = field(default_factory=dict)
    image: str = ""
    settings: KeptSettings | None = None
    made: Mapping[str, str] = field(default_factory=dict)
    promise: Promise | None = None
    kind: str = CONTAINER

    def without_container(self) -> ServerState:
        """What is kept once the container is gone: volumes and settings."""
        return replace(self, object_id="", object_name="", promise=None)

    def as_kind(self, kind: str) -> ServerState:
        """What a spawner of this kind takes of it: of another kind, nothing but the volumes."""
        if kind == self.kind:
            return self
        return replace(self.without_container(), settings=None, made={}, kind=kind)

    def to_json(self) -> dict[str, Any]:
        """As it is kept, without what is empty."""
        kept = {
            "object_id": self.object_id,
            "object_name": self.object_name,
            "volumes": dict(self.volumes),
            "image": self.image,
            "settings": self.settings and self.settings.to_json(),
            "made": dict(self.made),
            "promise": self.promise and self.promise.to_json(),
            "kind": "" if self.kind == CONTAINER else self.kind,
        }
        return {name: value for name, value in kept.items() if value}

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> ServerState:
        """Read what was kept, by this version or an earlier one."""
        return cls(
            kept.get("object_id", ""),
            kept.get("object_name", ""),
            dict(kept.get("volumes", {})),
            kept.get("image", ""),
            KeptSettings.from_json(kept.get("settings")),
            dict(kept.get("made", {})),
            Promise.from_json(kept.get("promise")),
            kept.get("kind", CONTAINER),
        )


@dataclass(frozen=True)
class ResolvedSettings:
    """One start's settings, final.

    Attributes:
        key: whose server.
        names: of the container, in the order in which they are tried.
        image: reference of the image to run.
        place: where it runs.
        cmd: instead of the image's CMD; None keeps that.
        args: after the command.
        notebook_dir: absolute path in the container, or "".
        volumes: the mounts that are asked for, names and paths expanded.
        mem_limit: bytes; ``mem_guarantee`` likewise; None: no limit.
        cpu_limit: CPUs, may be a fraction; ``cpu_guarantee`` likewise; None: no limit.
        uid: whom the server runs as; ``gid`` likewise; None: whom the image says.
        groups: further groups of the server's processes.
        gpu_count: how many GPUs it gets; ``gpus`` are their names, as the Engine is asked for them,
            once they are chosen.
        config: further keys of the create call, in the Engine API's spelling.
        host_config: further keys of its HostConfig, likewise.
        hardening: what it may do to the others and to the host.
        kept: what stays with the server.
        post_start: what to run in it once it was started.
        secrets: what is delivered so that the Engine does not show it.
        private_tokens: the server's tokens are delivered likewise, if the image can take them so.
        service: where it runs, for a backend that is a cluster.
    """

    key: naming.Key
    names: tuple[str, ...]
    image: str
    place: Place
    kept: KeptSettings
    cmd: tuple[str, ...] | None = None
    args: tuple[str, ...] = ()
    notebook_dir: str = ""
    volumes: RequestedVolumes = field(default_factory=RequestedVolumes)
    mem_limit: int | None = None
    mem_guarantee: int | None = None
    cpu_limit: float | None = None
    cpu_guarantee: float | None = None
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] = ()
    gpu_count: int = 0
    gpus: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    host_config: Mapping[str, Any] = field(default_factory=dict)
    secrets: Secrets = field(default_factory=Secrets, repr=False)
    private_tokens: bool = True
    hardening: Hardening = NOT_HARDENED
    post_start: PostStart | None = None
    service: ServiceSettings = field(default_factory=ServiceSettings)

    @property
    def on_host(self) -> bool:
        """It runs in the network of the Engine's host, whichever setting says so."""
        return str(self.host_config.get("NetworkMode") or self.place.network) == "host"

    def at_host_port(self, port: int) -> ResolvedSettings:
        """These settings with a TCP port of the Engine's host."""
        return replace(self, kept=replace(self.kept, port=port, on_host=True))

    def in_network(self, name: str) -> ResolvedSettings:
        """These settings in a network that was made for the server."""
        return replace(
            self,
            place=replace(self.place, network=name),
            kept=replace(self.kept, network=name),
        )

    def with_gpus(self, devices: Mapping[str, str]) -> ResolvedSettings:
        """These settings with GPUs of the server's own: id → name to ask the Engine for."""
        kept = replace(self.kept, gpus=tuple(devices))
        return replace(self, kept=kept, gpus=tuple(devices.values()))

    @property
    def promise(self) -> Promise:
        """What it takes of what servers share."""
        found = promised(
            self.host_config,
            mem_limit=self.mem_limit,
            mem_guarantee=self.mem_guarantee,
            cpu_limit=self.cpu_limit,
            cpu_guarantee=self.cpu_guarantee,
        )
        return replace(found, gpus=self.kept.gpus)

    def home(self, image: Mapping[str, Any]) -> str:
        """Where a user's files are: notebook_dir, unless the working directory holds it.

        Args:
            image: ``GET /images/{name}/json``, or empty where it is not known.

        Returns:
            A path in the container, or "".
        """
        own = (image.get("Config") or {}).get("WorkingDir")
        work = str(self.config.get("WorkingDir") or own or "")
        inside = work not in ("", "/") and f"{self.notebook_dir}/".startswith(
            f"{work.rstrip('/')}/"
        )
        return work if inside or not self.notebook_dir.startswith("/") else self.notebook_dir

    def homes(
        self, image: Mapping[str, Any], mounts: Sequence[Mount], known: Container[str]
    ) -> tuple[str, ...]:
        """Where users keep files in a directory that may be anybody's.

        That is any directory of the host, and a volume that this server has not had before.

        Args:
            image: as for `home`.
            mounts: of the server.
            known: names of the volumes that the server has had.
        """
        written = [path for path in (self.home(image), self.notebook_dir) if path]
        paths = {path: under(mounts, path) for path in map(posixpath.normpath, written)}
        return tuple(
            path
            for path, mount in paths.items()
            if mount is not None and mount.kind != "tmpfs" and mount.source not in known
        )

    def spec(
        self,
        image: Mapping[str, Any],
        volumes: VolumePlan,
        env: Environment,
        files: Iterable[str] = (),
    ) -> ServerSpec:
        """The server's container.

        Args:
            image: as for `home`.
            volumes: its mounts.
            env: its whole environment.
            files: absolute paths of the files that it is given.

        Raises:
            ConfigError: secrets cannot be delivered, or two things have one path.
        """
        spec = ServerSpec(
            key=self.key,
            names=self.names,
            image=self.service.image or self.image,
            image_id=image.get("Id", ""),
            command=self._command(image),
            process=self._process(image, env),
            keep=not self.kept.remove,
            files=tuple(sorted(files)),
            port=self.kept.port,
            publish_ip=self.place.publish_ip,
            network=self.place.network,
            networks=self.place.networks,
            mounts=(*volumes.mounts, *self._home_for_a_while(image, volumes.mounts)),
            mem_limit=self.mem_limit,
            mem_guarantee=self.mem_guarantee,
            cpu_limit=self.cpu_limit,
            cpu_guarantee=self.cpu_guarantee,
            user=self._user(image),
            image_user=_user_of(image),
            groups=self.groups,
            gpus=self.gpus,
            config=self.config,
            host_config=self.host_config,
            hardening=self.hardening,
            service=self.service,
        )
        check_targets(spec.all_mounts)
        link_places(spec.files, host_config(spec))
        return spec

    def _home_for_a_while(
        self, image: Mapping[str, Any], mounts: Sequence[Mount]
    ) -> tuple[Mount, ...]:
        taken = {*(mount.target for mount in mounts), *targets_of(self.host_config)}
        return home_for_a_while(self.hardening, posixpath.normpath(self.home(image) or "/"), taken)

    def _user(self, image: Mapping[str, Any]) -> str:
        """Whom the container runs as; "" keeps the image's own user."""
        if self.uid is None and self.gid is None:
            return ""
        user = _user_of(image).partition(":")[0] or "0" if self.uid is None else str(self.uid)
        return user if self.gid is None else f"{user}:{self.gid}"

    def _command(self, image: Mapping[str, Any]) -> tuple[str, ...] | None:
        """CMD of the container; None keeps the image's own."""
        if self.cmd:
            return (*self.cmd, *self.args)
        own: Sequence[str] = (image.get("Config") or {}).get("Cmd") or ()
        return (*own, *self.args) if self.args else None

    def _process(self, image: Mapping[str, Any], env: Environment) -> tuple[str, ...]:
        """The whole command line of a container that a shell hands its environment; else empty."""
        if self.kept.remove and not self.private_tokens and not env.private_only:
            return ()
        own = image.get("Config") or {}
        names = [*env.all, *(entry.partition("=")[0] for entry in own.get("Env") or ())]
        unfit = unfit_for_a_shell(names)
        # Of an image that nobody has looked at, the ENTRYPOINT is not known.
        line = () if unfit or not image else self.command_line(image)
        if env.private_only and not line:
            why = "its command is not known (pull_policy = 'skip', or the image names none)"
            if unfit:
                why = f"no shell passes on the variable {unfit[0]!r} of its environment"
            hint = f"{why}, and a shell has to hand them over; use secret_files"
            raise ConfigError("secret_environment", env.private_only, hint)
        return line

    def command_line(self, image: Mapping[str, Any]) -> tuple[str, ...]:
        """What the container runs, ENTRYPOINT and CMD in one; ``image`` is as for `home`."""
        return process_of(self.config, image.get("Config") or {}, self._command(image))


def _user_of(image: Mapping[str, Any]) -> str:
    return str((image.get("Config") or {}).get("User") or "")
