"""Files on their way into a container."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from dockernamed.engine.archive import CERTS_DIR, certificates, pack


def test_archive(tmp_path: Path) -> None:
    """Each file under its new name in one directory, readable for whoever the server runs as."""
    for name in ("user-ann.key", "user-ann.crt"):
        (tmp_path / name).write_bytes(name.encode())
    files = certificates(
        {"keyfile": str(tmp_path / "user-ann.key"), "certfile": str(tmp_path / "user-ann.crt")}
    )
    data = pack(files)
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {
            f"/{entry.name}": (entry.mode, archive.extractfile(entry).read())  # type: ignore[union-attr]
            for entry in archive
        }
    assert found == {
        f"{CERTS_DIR}/keyfile": (0o444, b"user-ann.key"),
        f"{CERTS_DIR}/certfile": (0o444, b"user-ann.crt"),
    }


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A server without its certificate is not started: the error names the file."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        certificates({"keyfile": str(tmp_path / "nowhere")})
