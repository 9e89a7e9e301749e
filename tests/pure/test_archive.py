"""Files on their way into a container."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from dockernamed.desired.private import PRIVATE_DIR
from dockernamed.engine.archive import (
    CERTS_DIR,
    File,
    Folder,
    Link,
    certificates,
    first_entry,
    pack,
    pack_directories,
    text_of,
)


def test_archive(tmp_path: Path) -> None:
    """Each file under its new name in one directory, readable for whoever the server runs as."""
    for name in ("user-ann.key", "user-ann.crt"):
        (tmp_path / name).write_bytes(name.encode())
    files = certificates(
        {"keyfile": str(tmp_path / "user-ann.key"), "certfile": str(tmp_path / "user-ann.crt")}
    )
    data = pack({path: File(content) for path, content in files.items()})
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {
            f"/{entry.name}": (entry.mode, archive.extractfile(entry).read())  # type: ignore[union-attr]
            for entry in archive
        }
    assert found == {
        f"{CERTS_DIR}/keyfile": (0o444, b"user-ann.key"),
        f"{CERTS_DIR}/certfile": (0o444, b"user-ann.crt"),
    }


def test_private_files_links_and_directories() -> None:
    """Each with its owner and permissions, named from the directory that the archive is for."""
    entries: dict[str, File | Folder | Link] = {
        "/run/x/a": Folder(0o700, 5, 6),
        "/run/x/a/key": File(b"s3cret", 0o400, 5, 6),
        "/run/x/link": Link("/run/x/a/key", 5, 6),
    }
    with tarfile.open(fileobj=io.BytesIO(pack(entries, "/run/x"))) as archive:
        folder, key, link = archive
        assert archive.extractfile(key).read() == b"s3cret"  # type: ignore[union-attr]
    assert (folder.name, folder.isdir(), folder.mode) == ("a", True, 0o700)
    assert (key.name, key.isfile(), key.mode) == ("a/key", True, 0o400)
    assert (link.name, link.issym(), link.linkname) == ("link", True, "/run/x/a/key")
    assert {(one.uid, one.gid) for one in (folder, key, link)} == {(5, 6)}


def test_certificates_are_where_all_is_private() -> None:
    """The volume that goes with the container, not the layer that a commit makes an image of."""
    assert CERTS_DIR.startswith(f"{PRIVATE_DIR}/")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A server without its certificate is not started: the error names the file."""
    with pytest.raises(FileNotFoundError, match="nowhere"):
        certificates({"keyfile": str(tmp_path / "nowhere")})


def test_directories_and_their_owners() -> None:
    """Each with its owner and permissions, whatever the numbers are: LDAP's may be large."""
    big = 2**31 + 5
    data = pack_directories({"/home/ann": (1000, 100, 0o2775), "/data": (big, big, 0o755)})
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = {f"/{one.name}": (one.isdir(), one.uid, one.gid, one.mode) for one in archive}
    assert found == {
        "/home/ann": (True, 1000, 100, 0o2775),
        "/data": (True, big, big, 0o755),
    }


@pytest.mark.parametrize("uid", [1000, 2**31 + 5])
def test_the_first_entry(uid: int) -> None:
    """It is told as soon as enough of the archive is there, which for large numbers is later."""
    data = pack_directories({"/ann": (uid, 100, 0o755)})
    lengths = [n for n in range(0, len(data), 512) if first_entry(data[:n]) is not None]
    entry = first_entry(data[: lengths[0]])
    assert entry is not None
    assert (entry.name, entry.uid, entry.gid, entry.isdir()) == ("ann", uid, 100, True)
    assert (lengths[0] == 512) is (uid == 1000)


def test_the_text_of_a_file() -> None:
    """A file's own; a link, such as images without files of their own have, has none."""
    assert text_of(pack({"/etc/passwd": File(b"root:x:0:0\n")})) == "root:x:0:0\n"
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        link = tarfile.TarInfo("passwd")
        link.type, link.linkname = tarfile.SYMTYPE, "/elsewhere"
        archive.addfile(link)
    assert text_of(buffer.getvalue()) == ""
