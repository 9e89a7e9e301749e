"""Files on their way into a container, as the archives that the Engine unpacks there."""

from __future__ import annotations

import io
import tarfile
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
