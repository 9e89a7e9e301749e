"""Who a server's processes are, and whether they could write in a directory. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

ROOT = 0


@dataclass(frozen=True)
class Account:
    """Whom processes run as: numbers as in the container."""

    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Directory:
    """A directory's owner, its group, and its permissions, such as ``0o755``."""

    uid: int
    gid: int
    mode: int

    def writable_by(self, account: Account) -> bool:
        """Whether somebody could make files there; what a file system forbids beside is unknown."""
        if account.uid == ROOT:
            return True
        if account.uid == self.uid:
            needed = 0o300
        elif self.gid in {account.gid, *account.groups}:
            needed = 0o030
        else:
            needed = 0o003
        return self.mode & needed == needed

    def given_to(self, account: Account) -> Directory:
        """The same with another owner, who can write there; others can do what they could."""
        return Directory(account.uid, account.gid, self.mode | 0o700)


def is_root(user: str) -> bool:
    """Whether a user, as a container's ``User`` or an image's USER has it, is root."""
    name = user.partition(":")[0]
    return name in ("", "root") or (name.isdecimal() and int(name) == ROOT)


def account_of(
    user: str, groups: Collection[int] = (), *, passwd: str = "", group: str = ""
) -> Account | None:
    """Who a user is, as Docker reads it.

    Args:
        user: ``name``, ``uid``, ``name:group``, ``uid:gid`` and so on; "" is root.
        groups: further groups.
        passwd: text of the container's ``/etc/passwd``.
        group: text of its ``/etc/group``.

    Returns:
        None where a name is in neither file. The group of a number that is not there is root's.
    """
    name, _, of_group = (user or str(ROOT)).partition(":")
    name = name or str(ROOT)
    uid, own = name, str(ROOT)
    for entry in _entries(passwd, 4):
        if name in (entry[0], entry[2]):
            uid, own = entry[2], entry[3]
            break
    gid = of_group or own
    named = (entry[2] for entry in _entries(group, 3) if entry[0] == gid)
    gid = next(named, gid)
    if not (uid.isdecimal() and gid.isdecimal()):
        return None
    return Account(int(uid), int(gid), frozenset(groups))


def numbered(user: str) -> Account | None:
    """Who a user is that needs no file to tell; None: one has to be read."""
    name, _, group = user.partition(":")
    if is_root(user):
        return Account(ROOT, int(group) if group.isdecimal() else ROOT)
    if not name.isdecimal():
        return None
    return Account(int(name), int(group) if group.isdecimal() else ROOT)


def not_writable(path: str, directory: Directory, account: Account) -> str:
    """Say that somebody cannot write in a directory, and what helps."""
    return (
        f"The directory {path} is not writable for uid {account.uid}: it belongs to uid "
        f"{directory.uid} and gid {directory.gid}, with mode {directory.mode:04o}. Set "
        "c.DockerNamedSpawner.uid and gid to whose it is, or give it to uid "
        f"{account.uid} on the Engine's host"
    )


def needs_passwd(user: str) -> bool:
    """Whether ``/etc/passwd`` has to be read to tell who a user is."""
    uid, _, group = user.partition(":")
    return not (uid.isdecimal() and group)


def needs_group(user: str) -> bool:
    """Whether ``/etc/group`` has to be read to tell who a user is."""
    group = user.partition(":")[2]
    return bool(group) and not group.isdecimal()


def _entries(text: str, fields: int) -> Iterator[list[str]]:
    for line in text.splitlines():
        entry = line.split(":")
        if len(entry) >= fields:
            yield entry
