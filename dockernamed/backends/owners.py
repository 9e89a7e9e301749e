"""Directories that a server's user can write in: given at a start, or told that it is not so.

A new volume at a path that the image lacks is root's, and so is every directory that Docker makes
for a mount. What is learned of an image, its shell included, is kept, so that most starts need no
request for it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TypeVar

from ..desired.accounts import Account, Directory, is_root, not_writable, numbered
from ..desired.mounts import Mount
from ..desired.spec import ServerSpec
from ..errors import EngineError, EngineTimeout, EngineUnavailable, NotFound
from .base import Can, Things

K = TypeVar("K")
V = TypeVar("V")

#: What a new volume is where the image has nothing at its path.
NEW = Directory(0, 0, 0o755)
#: Entries of what is learned of images, before all of it is learned anew.
MAX_LEARNED = 1000


class Owners:
    """One per executor, for all its starts.

    Args:
        things: the backend; where it cannot tell whose directories are, nothing is done.
        log: where it is told what could not be done.
    """

    def __init__(self, things: Things, log: logging.Logger) -> None:
        self._things, self._log = things, log
        self._accounts: dict[tuple[str, str, tuple[int, ...]], Account] = {}
        self._fresh: dict[tuple[str, str, bool], Directory] = {}
        self._shells: dict[str, bool] = {}

    def matter(self, spec: ServerSpec) -> bool:
        """Whether a thing could be kept from writing by the owner of a directory: root is not."""
        return Can.OWNERS in self._things.can and not is_root(spec.runs_as)

    def may_have_shell(self, spec: ServerSpec) -> bool:
        """False where an image is known to have no shell."""
        return self._shells.get(spec.image_id, True)

    async def has_shell(self, id: str, spec: ServerSpec) -> bool:
        """Whether a thing that has never run has a shell.

        Raises:
            EngineError: the Engine could not be asked.
        """
        found = self._shells.get(spec.image_id)
        if found is None:
            found = await self._things.has_shell(id)
            if spec.image_id:
                _learn(self._shells, spec.image_id, found)
        return found

    async def give(self, id: str, spec: ServerSpec, volumes: Iterable[Mount]) -> frozenset[str]:
        """Have new volumes belong to a thing's user, as far as that one could not write there.

        Args:
            id: of the thing, which does not run.
            spec: what it was made from.
            volumes: the mounts of volumes that are as new as it is.

        Returns:
            The paths of those where its user can write for sure.

        Raises:
            EngineUnavailable, EngineTimeout: it is not known what was done.
        """
        mounts = [mount for mount in volumes if _ours_to_give(mount)]
        if not mounts or not self.matter(spec):
            return frozenset()
        try:
            account = await self._account(id, spec, unused=True)
            if account is None:
                return frozenset()
            looked = {mount.target: await self._new(id, spec, mount) for mount in mounts}
            found = {path: one for path, one in looked.items() if one is not None}
            await self._give(id, account, found)
        except (EngineUnavailable, EngineTimeout):
            raise
        except EngineError as error:
            self._log.warning("New volumes cannot be given to %s: %s", spec.runs_as, error)
            return frozenset()
        return frozenset(found)

    async def _give(self, id: str, account: Account, found: Mapping[str, Directory]) -> None:
        to_give = {
            path: directory.given_to(account)
            for path, directory in found.items()
            if not directory.writable_by(account)
        }
        if to_give:
            await self._things.give(id, to_give)

    async def look(self, id: str, spec: ServerSpec, paths: Iterable[str]) -> list[str]:
        """A sentence for each directory where a thing's user is known not to be able to write.

        Args:
            id: of the thing.
            spec: what it was made from.
            paths: absolute, in it.
        """
        notes: list[str] = []
        for path in paths:
            try:
                account = await self._account(id, spec, unused=False)
                directory = await self._things.directory(id, path)
            except EngineError as error:
                self._log.debug("Whether %s can write in %s: %s", spec.runs_as, path, error)
                continue
            if account and directory and not directory.writable_by(account):
                notes.append(not_writable(path, directory, account))
        return notes

    async def reader(self, id: str, spec: ServerSpec, *, unused: bool) -> Account | None:
        """Whom a thing runs as, for files that only that one is to read; None: nobody can tell.

        Args:
            id: of the thing, which does not run.
            spec: what it was made from.
            unused: it has never run.

        Raises:
            EngineError: the Engine could not be asked.
        """
        if (account := numbered(spec.runs_as)) is not None:
            return account
        if Can.OWNERS not in self._things.can:
            return None
        return await self._account(id, spec, unused=unused)

    async def _account(self, id: str, spec: ServerSpec, *, unused: bool) -> Account | None:
        """Learned only of what has never run: its user may have written the files that tell."""
        key = (spec.image_id, spec.runs_as, spec.groups)
        account = self._accounts.get(key) or await self._things.account(id, spec)
        if unused and spec.image_id and account is not None:
            _learn(self._accounts, key, account)
        return account

    async def _new(self, id: str, spec: ServerSpec, mount: Mount) -> Directory | None:
        """What a new volume is like: as the image's own directory there, or as Docker makes it.

        None where the image leads elsewhere from there, by a link.
        """
        key = (spec.image_id, mount.target, "nocopy" in mount.flags)
        if found := self._fresh.get(key):
            return found
        try:
            found = await self._things.directory(id, mount.target)
        except NotFound:
            return NEW
        if spec.image_id and found is not None:
            _learn(self._fresh, key, found)
        return found


def _ours_to_give(mount: Mount) -> bool:
    # A new volume with a driver's options may be a share that has been there for long.
    local = mount.driver in (None, "local") and not mount.options
    return mount.kind == "volume" and local and "ro" not in mount.flags


def _learn(learned: dict[K, V], key: K, value: V) -> None:
    if len(learned) >= MAX_LEARNED:
        learned.clear()
    learned[key] = value
