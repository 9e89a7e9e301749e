"""Files on their way into a container or out of it, as the archives that the Engine speaks."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

#: Where certificates are in the container: with all that is private.
CERTS_DIR = "/run/dockernamed/certs"


@dataclass(frozen=True)
class File:
    """A file on its way: its content, its permissions, its owner's numbers."""

    content: bytes = field(repr=False)
    mode: int = 0o444
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Folder:
    """A directory on its way: its permissions, its owner's numbers."""

    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Link:
    """A symbolic link on its way: where it leads, its owner's numbers."""

    target: str
    uid: int = 0
    gid: int = 0


def certificates(paths: Mapping[str, str]) -> dict[str, bytes]:
    """Read a server's certificates: absolute path in the container → content.

    Args:
        paths: name in :data:`CERTS_DIR` → path of the file here.
    """
    return {f"{CERTS_DIR}/{name}": Path(path).read_bytes() for name, path in paths.items()}


def pack(entries: Mapping[str, File | Folder | Link], base: str = "/") -> bytes:
    """A tar archive for ``PUT /containers/{id}/archive?path=BASE``.

    Args:
        entries: absolute path in the container → what is to be there; directories before what is
            in them.
        base: directory in the container that all of them are in.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", errors="surrogateescape") as archive:
        for path, one in entries.items():
            entry = tarfile.TarInfo(path[len(base.rstrip("/")) + 1 :])
            entry.uid, entry.gid, entry.mtime = one.uid, one.gid, int(time.time())
            content = b""
            if isinstance(one, Link):
                entry.type, entry.linkname = tarfile.SYMTYPE, one.target
            elif isinstance(one, Folder):
                entry.type, entry.mode = tarfile.DIRTYPE, one.mode
            else:
                content, entry.mode = one.content, one.mode
                entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def pack_directories(directories: Mapping[str, tuple[int, int, int]]) -> bytes:
    """A tar archive for ``PUT /containers/{id}/archive?path=/`` that gives directories an owner.

    What is in them stays as it is. One that is missing is made.

    Args:
        directories: absolute path in the container → uid, gid and mode.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, (uid, gid, mode) in directories.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.type, entry.mtime = tarfile.DIRTYPE, int(time.time())
            entry.uid, entry.gid, entry.mode = uid, gid, mode
            archive.addfile(entry)
    return buffer.getvalue()


def first_entry(data: bytes) -> tarfile.TarInfo | None:
    """The first entry of an archive of which ``data`` is the beginning; None: it is too short."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
            return archive.next()
    except tarfile.ReadError:
        return None


def text_of(data: bytes) -> str:
    """The text of the file that an archive begins with; "" where it begins with something else."""
    entry = first_entry(data)
    if entry is None or not entry.isfile():
        return ""
    return data[entry.offset_data :][: entry.size].decode("utf-8", "replace")
