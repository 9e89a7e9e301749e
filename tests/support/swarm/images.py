"""Images that nodes have from their start, without loading them into each.

Where the Engine that has them keeps its files on this machine, nodes get copies of its records, and
read the files of the layers, which are most of an image, where they are.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import docker

DRIVER = "overlay2"


def records(client: docker.APIClient, images: Sequence[str], folder: Path) -> Path | None:
    """Make what a node's data begins with to have images; None where they have to be loaded.

    Args:
        client: of the Engine that has them.
        images: their references.
        folder: where to make it.

    Returns:
        The Engine's folder with the layers, which the records refer to.
    """
    info = client.info()
    engine = Path(info["DockerRootDir"])
    ids = {image: str(client.inspect_image(image)["Id"]) for image in images}
    configs = [_config(engine, id) for id in ids.values()]
    if info["Driver"] != DRIVER or not all(config.exists() for config in configs):
        return None
    for config in configs:
        _copy(config, engine, folder)
        chain = ""
        for diff in json.loads(config.read_text())["rootfs"]["diff_ids"]:
            chain = _sha256(f"{chain} {diff}") if chain else diff
            layer = engine / "image" / DRIVER / "layerdb" / "sha256" / chain.split(":")[1]
            _copy(layer, engine, folder)
            _refer(engine / DRIVER / (layer / "cache-id").read_text(), folder / DRIVER)
    _name(engine, ids, folder)
    return engine / DRIVER


def _config(engine: Path, id: str) -> Path:
    return engine / "image" / DRIVER / "imagedb" / "content" / "sha256" / id.split(":")[1]


def _copy(path: Path, engine: Path, folder: Path) -> None:
    """Copy a file or a folder of the Engine's to the same place in another one."""
    copy = folder / path.relative_to(engine)
    copy.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, copy, dirs_exist_ok=True)
    else:
        shutil.copy(path, copy)


def _refer(layer: Path, folder: Path) -> None:
    """Make a layer of another one's files. What stands beside them is its own, as marks are."""
    own = folder / layer.name
    if own.exists():  # of another image, too
        return
    (own / "work").mkdir(parents=True)
    (own / "diff").symlink_to(layer / "diff")
    for file in layer.iterdir():
        if file.is_file():
            shutil.copy(file, own)
    link = folder / "l" / (layer / "link").read_text()
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(Path("..", layer.name, "diff"))


def _name(engine: Path, ids: Mapping[str, str], folder: Path) -> None:
    """Have the images' names, as tags and as digests, and no others."""
    file = Path("image", DRIVER, "repositories.json")
    named: dict[str, Any] = json.loads((engine / file).read_text())["Repositories"]
    kept = {
        repository: {
            reference: id
            for reference, id in references.items()
            if ids.get(reference) == id or ("@" in reference and id in ids.values())
        }
        for repository, references in named.items()
    }
    kept = {repository: references for repository, references in kept.items() if references}
    (folder / file).write_text(json.dumps({"Repositories": kept}))


def _sha256(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
