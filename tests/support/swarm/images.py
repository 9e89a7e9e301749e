"""Images that nodes have from their start, without loading them into each.

They are loaded once, into a folder of the cache. Nodes then have copies of the Engine's records of
them, and read the layers, which are most of it, where they are.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import docker
from docker.utils import kwargs_from_env

from support.swarm.namespaces import run
from support.swarm.node import Node

ROOT = Path(__file__).resolve().parents[3]
CACHE = Path(os.environ.get("DOCKERNAMED_CACHE", ROOT / ".cache")) / "swarm"
#: Seconds.
DAY = 86_400


@contextmanager
def seed(images: Sequence[str], folder: Path) -> Iterator[Path]:
    """A folder with images of the Engine that DOCKER_HOST and friends say, for `Node`.

    Args:
        images: their references.
        folder: an empty folder for the socket of the Engine that loads them, below /run.
    """
    with ExitStack() as stack:
        client = docker.APIClient(timeout=60, **kwargs_from_env())
        stack.callback(client.close)
        ids = [f"{image} {client.inspect_image(image)['Id']}" for image in sorted(images)]
        words = "\n".join([run("dockerd", "--version"), *ids])
        place = CACHE / hashlib.sha256(words.encode()).hexdigest()[:16]
        CACHE.mkdir(parents=True, exist_ok=True)
        # Held as long as the images are in use, and alone by who makes them.
        lock = stack.enter_context(_lock(place).open("w"))
        fcntl.flock(lock, fcntl.LOCK_SH)
        while not place.exists():
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not place.exists():
                _make(place, client, images, folder)
            fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(_lock(place))
        _forget_old()
        yield place


def _make(place: Path, client: docker.APIClient, images: Sequence[str], folder: Path) -> None:
    making = place.with_suffix(".new")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir()
    node = Node("images", folder, f"/{folder.parent.name}", data=making)
    try:
        node.start()
        for image in images:
            node.load(client, image)
        node.stop()
    finally:
        node.end()
    making.rename(place)


def _forget_old() -> None:
    """Remove what nobody has used for a day: of images that have changed."""
    for lock_file in CACHE.glob("*.lock"):
        if time.time() - lock_file.stat().st_mtime < DAY:
            continue
        with lock_file.open("a") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(lock_file.with_suffix(""), ignore_errors=True)


def _lock(place: Path) -> Path:
    return place.with_suffix(".lock")
