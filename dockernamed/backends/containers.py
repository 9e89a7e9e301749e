"""The backend of one machine: each server is a plain container of one Docker Engine."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ..desired.accounts import Account, Directory, account_of, needs_group, needs_passwd
from ..desired.entrypoint import SHELL
from ..desired.environment import Environment
from ..desired.network import Location
from ..desired.private import PRIVATE_DIR, PrivateFile, link_places, stored_at
from ..desired.spec import ServerSpec, container_config, host_config
from ..engine.archive import File, Folder, Link, pack, pack_directories, text_of
from ..engine.client import Engine
from ..errors import NotFound
from .base import Can, Executed, Seen, SeenVolume
from .engine_networks import EngineNetworks, pairs, seen_volume
from .observed import State
from .observed_containers import is_dead, name_in, state_named

#: Removals under way at once. The Engine does most of each one after the other, and those before
#: version 23 may deadlock for good when many are removed while networks are listed.
MAX_REMOVALS = 8


class Containers(EngineNetworks):
    """See `base.Things`.

    Args:
        engine: whose containers.
    """

    can = frozenset(Can) - {Can.RECONFIGURE}

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._removals = asyncio.Semaphore(MAX_REMOVALS)

    # --- containers ------------------------------------------------------------------------

    async def create(self, name: str, spec: ServerSpec, env: Environment, start_id: str) -> str:
        """See `base.Things.create`."""
        body = container_config(spec, env, name=name, start_id=start_id)
        return await self._engine.create_container(name, body)

    async def connect(self, id: str, networks: Sequence[str]) -> None:
        """See `base.Things.connect`: engines before 25 create in one network only."""
        for network in networks:
            await self._engine.connect_network(network, id)

    async def has_shell(self, id: str) -> bool:
        """See `base.Things.has_shell`."""
        return await self._engine.has_file(id, SHELL)

    async def hand_over(
        self,
        id: str,
        spec: ServerSpec,
        env: Environment,
        files: Mapping[str, PrivateFile],
        reader: Account | None,
    ) -> None:
        """See `base.Things.hand_over`: into the private volume, and links elsewhere lead there."""
        files = spec.handed_over(env, files)
        if not files:
            return
        await self._engine.put_archive(id, PRIVATE_DIR, pack(_private(files, reader), PRIVATE_DIR))
        for base, paths in link_places(files, host_config(spec)).items():
            entries = await self._missing_folders(id, paths, reader or Account(0, 0))
            entries.update({path: Link(stored_at(path)) for path in paths})
            await self._engine.put_archive(id, base, pack(entries, base))

    async def _missing_folders(
        self, id: str, paths: Iterable[str], owner: Account
    ) -> dict[str, File | Folder | Link]:
        """The directories around some paths that are missing, outer ones first.

        They are the user's: the Engine would make them root's.
        """
        missing: set[str] = set()
        for path in paths:
            folder = posixpath.dirname(path)
            while folder not in missing and not await self._engine.has_file(id, folder):
                missing.add(folder)
                folder = posixpath.dirname(folder)
        return {folder: Folder(0o755, owner.uid, owner.gid) for folder in sorted(missing)}

    async def start(self, id: str) -> None:
        """See `base.Things.start`."""
        await self._engine.start_container(id)

    async def stop(self, id: str, grace: float) -> None:
        """See `base.Things.stop`."""
        await self._engine.stop_container(id, grace)

    async def kill(self, id: str) -> None:
        """See `base.Things.kill`."""
        await self._engine.kill_container(id)

    async def remove(self, id: str) -> None:
        """See `base.Things.remove`."""
        async with self._removals:
            await self._engine.remove_container(id, force=True, volumes=True)

    async def inspect(self, id_or_name: str) -> Seen:
        """See `base.Things.inspect`."""
        return seen_from(await self._engine.inspect_container(id_or_name))

    async def list(self, labels: Mapping[str, str]) -> Sequence[Seen]:
        """See `base.Things.list`."""
        return await self._engine.list_containers(pairs(labels), _seen_in_list)

    async def logs(self, id: str, tail: int) -> str:
        """See `base.Things.logs`."""
        return await self._engine.logs(id, tail)

    async def execute(self, id: str, command: Sequence[str], user: str, seconds: float) -> Executed:
        """See `base.Things.execute`."""
        return Executed(*await self._engine.execute(id, command, user, seconds))

    # --- whose directories -----------------------------------------------------------------

    async def account(self, id: str, spec: ServerSpec) -> Account | None:
        """See `base.Things.account`: read from the files where Docker looks names up."""
        user = spec.runs_as
        passwd = await self._text(id, "/etc/passwd") if needs_passwd(user) else ""
        group = await self._text(id, "/etc/group") if needs_group(user) else ""
        return account_of(user, spec.groups, passwd=passwd, group=group)

    async def _text(self, id: str, path: str) -> str:
        try:
            return text_of(await self._engine.get_archive(id, path))
        except NotFound:
            return ""

    async def directory(self, id: str, path: str) -> Directory | None:
        """See `base.Things.directory`: the first entry of an archive that is read no further."""
        entry = await self._engine.first_of_archive(id, path)
        return Directory(entry.uid, entry.gid, entry.mode & 0o7777) if entry.isdir() else None

    async def give(self, id: str, directories: Mapping[str, Directory]) -> None:
        """See `base.Things.give`."""
        owners = {path: (one.uid, one.gid, one.mode) for path, one in directories.items()}
        await self._engine.put_archive(id, "/", pack_directories(owners))

    # --- volumes and networks --------------------------------------------------------------

    async def create_volume(
        self, name: str, driver: str | None, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> SeenVolume:
        """See `base.Things.create_volume`."""
        return seen_volume(
            await self._engine.create_volume(name, driver=driver, options=options, labels=labels)
        )

    async def inspect_volume(self, name: str) -> SeenVolume:
        """See `base.Things.inspect_volume`."""
        return seen_volume(await self._engine.inspect_volume(name))

    async def remove_volume(self, name: str) -> bool:
        """See `base.Things.remove_volume`."""
        await self._engine.remove_volume(name)
        return True

    async def list_volumes(self, labels: Mapping[str, str]) -> Sequence[SeenVolume]:
        """See `base.Things.list_volumes`."""
        return [seen_volume(one) for one in await self._engine.list_volumes(pairs(labels))]

    async def members(self, network: str) -> Sequence[str]:
        """See `base.Things.members`."""
        return await self._engine.containers_of_network(network)

    async def tidy(self, hub: str, *, orphans: bool = True) -> None:
        """See `base.Things.tidy`: nothing is ever left."""


def _private(
    files: Mapping[str, PrivateFile], reader: Account | None
) -> dict[str, File | Folder | Link]:
    """Entries of the archive for the private volume."""
    entries: dict[str, File | Folder | Link] = {}
    for path, file in files.items():
        where = stored_at(path)
        inner = posixpath.dirname(where)
        around = []
        while inner != PRIVATE_DIR:
            around.append(inner)
            inner = posixpath.dirname(inner)
        entries.update({folder: Folder() for folder in reversed(around)})
        entries[where] = File(file.content, *file.readable_by(reader))
    return entries


def seen_from(info: Mapping[str, Any]) -> Seen:
    """What ``GET /containers/{id}/json`` says."""
    state = info["State"]
    return Seen(
        id=str(info["Id"]),
        name=str(info["Name"]).lstrip("/"),
        labels=(info.get("Config") or {}).get("Labels") or {},
        running=bool(state["Running"]),
        exit_code=int(state.get("ExitCode") or 0),
        oom=bool(state.get("OOMKilled")),
        # Engines say "0001-01-01T00:00:00Z" where it never was.
        has_run=not str(state.get("StartedAt") or "0001").startswith("0001"),
        dead=is_dead(state.get("Status")),
        place=_place(info),
        volumes=tuple(str(one["Name"]) for one in info.get("Mounts") or () if one.get("Name")),
    )


def _seen_in_list(item: Mapping[str, Any]) -> Seen:
    word = item.get("State")
    state = state_named(word)
    return Seen(
        id=str(item["Id"]),
        name=name_in(item),
        labels=item.get("Labels") or {},
        running=state is State.RUNNING,
        has_run=state is not State.CREATED,
        dead=is_dead(word),
    )


def _place(info: Mapping[str, Any]) -> Location:
    settings = info.get("NetworkSettings") or {}
    networks = settings.get("Networks") or {}
    mode = str((info.get("HostConfig") or {}).get("NetworkMode"))
    if mode in networks:
        # Of several networks, the first one is where the Hub is.
        networks = {mode: networks[mode], **networks}
    # The default bridge of old Engines has a field of its own; IPv4 works on every image.
    places = [*networks.values(), settings]
    found = [place.get(key) for key in ("IPAddress", "GlobalIPv6Address") for place in places]
    return Location(
        mode=mode,
        addresses=tuple(str(address) for address in found if address),
        ports=dict(_published(settings.get("Ports") or {})),
        networks={name: str(one.get("NetworkID") or "") for name, one in networks.items()},
    )


def _published(ports: Mapping[str, Any]) -> Iterator[tuple[int, tuple[str, int]]]:
    for port, bindings in ports.items():
        number, _, protocol = port.partition("/")
        if protocol == "tcp" and bindings and bindings[0].get("HostPort"):
            host = str(bindings[0].get("HostIp") or "")
            yield int(number), (host, int(bindings[0]["HostPort"]))
