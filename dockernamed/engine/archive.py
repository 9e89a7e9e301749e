"""Files on their way into a container or out of it, as the archives that the Engine speaks."""

from __future__ import annotations

import io
import tarfile
import time
from collections.abc import Mapping
from pathlib import Path

#: Where certificates are in the container.
CERTS_DIR = "/etc/dockernamed-certs"


def certificates(paths: Mapping[str, str]) -> dict[str, bytes]:
    """Read a server's certificates: absolute path in the container → content.

    Args:
        paths: name in :data:`CERTS_DIR` → path of the file here.
    """
    return {f"{CERTS_DIR}/{name}": Path(path).read_bytes() for name, path in paths.items()}


def pack(files: Mapping[str, bytes]) -> bytes:
    """A tar archive for ``PUT /containers/{id}/archive?path=/``.

    Args:
        files: absolute path in the container → content. They are readable for every user of the
            container, which is the server's own: the image decides which user that is.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for path, content in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), 0o444
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
