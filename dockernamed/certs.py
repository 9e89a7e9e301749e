"""A server's certificates as an archive to be unpacked in its container."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

#: Where they are in the container.
CERTS_DIR = "/etc/dockernamed-certs"


def archive_of(paths: Mapping[str, str]) -> bytes:
    """Pack files for ``PUT /containers/{id}/archive?path=/``.

    Args:
        paths: name in :data:`CERTS_DIR` → path of the file here.

    Returns:
        A tar archive. The files are readable for every user of the container, which is the
        server's own: whom it runs as is the image's choice.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in paths.items():
            content = Path(path).read_bytes()
            entry = tarfile.TarInfo(f"{CERTS_DIR}/{name}".lstrip("/"))
            entry.size, entry.mode = len(content), 0o444
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
