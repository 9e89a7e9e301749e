"""Whose directories are, in containers, volumes and on the host, of a fake Engine."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from typing import Any

from support.fake_engine.objects import DIRECTORIES, Container

#: uid, gid and mode.
Owner = tuple[int, int, int]
ROOTS: Owner = (0, 0, 0o755)


class Filesystem:
    """Directories and a few files; what is inside of directories is nobody's business.

    Attributes:
        texts: path → text of files that all images have.
        image: path → whose it is, of directories that all images have.
        host: likewise, of directories on the Engine's host, which bind mounts lead to.
        volumes: name → whose its directory is.
    """

    def __init__(self) -> None:
        self.texts = {"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "/bin/sh": "#!"}
        self.image: dict[str, Owner] = dict.fromkeys(DIRECTORIES, ROOTS)
        self.host: dict[str, Owner] = {}
        self.volumes: dict[str, Owner] = {}

    def mount(self, container: Container) -> None:
        """Have its volumes' directories: a new volume is as the image's directory there."""
        for target, volume, copies in _volumes(container):
            owner = self.image.get(target, ROOTS) if copies else ROOTS
            self.volumes.setdefault(volume, owner)

    def read(self, container: Container, path: str) -> bytes | None:
        """The archive of what is at a path, as far as it is known here; None: nothing."""
        buffer = io.BytesIO()
        entry = tarfile.TarInfo(path.strip("/").rpartition("/")[2])
        with tarfile.open(fileobj=buffer, mode="w") as archive:
            if (text := self.texts.get(path)) is not None:
                entry.size = len(text.encode())
                archive.addfile(entry, io.BytesIO(text.encode()))
            elif (owner := self._owner(container, path)) is not None:
                entry.type = tarfile.DIRTYPE
                entry.uid, entry.gid, entry.mode = owner
                archive.addfile(entry)
            else:
                return None
        return buffer.getvalue()

    def write(self, container: Container, data: bytes) -> None:
        """Take the owners of an archive's directories."""
        volumes = {target: volume for target, volume, _ in _volumes(container)}
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            for entry in archive:
                path = f"/{entry.name}"
                if entry.isdir() and path in volumes:
                    self.volumes[volumes[path]] = (entry.uid, entry.gid, entry.mode)

    def _owner(self, container: Container, path: str) -> Owner | None:
        for target, volume, _ in _volumes(container):
            if target == path:
                return self.volumes[volume]
        for bind in container.host_config.get("Binds") or []:
            source, target = str(bind).split(":")[:2]
            if target == path:
                return self.host.get(source, ROOTS)
        return self.image.get(path)


def _volumes(container: Container) -> Iterator[tuple[str, str, bool]]:
    mounts: list[dict[str, Any]] = container.host_config.get("Mounts") or []
    for mount in mounts:
        if mount.get("Type") == "volume" and mount.get("Source"):
            copies = not (mount.get("VolumeOptions") or {}).get("NoCopy")
            yield mount["Target"], mount["Source"], copies
