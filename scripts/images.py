"""Build the images of the demo and the tests, each from a Dockerfile.

    scripts/images [busybox|lab|lab-green|hub|hub-hardened|hub-swarm|haproxy|all] ...

=============================  ==================================================================
``dockernamed-test/busybox``   2 MB: a static busybox whose httpd answers on port 8888
``dockernamed/lab``            JupyterLab and jupyterhub-singleuser in a minimal Debian
``dockernamed/lab-green``      a layer on top of it that looks different
``dockernamed/hub``            JupyterHub, its proxy and this checkout: a Hub in a container
``dockernamed/hub-hardened``   the same with the configuration and the account of examples/hardened
``dockernamed/hub-swarm``      the same with the configuration of examples/swarm
``dockernamed-test/haproxy``   the proxy between that Hub and the Engine
=============================  ==================================================================

Without an image registry, ``DOCKERNAMED_ROOTFS`` names the tarball of a Debian, which
scripts/debian.sh has made. It becomes the images' base. pip then fetches wheels here, with the
settings of this machine, so that none of them enters an image, and no Dockerfile needs a network.
Without that tarball, the Dockerfiles pull the bases that they name, and use the network.

An image is built again only when its recipe changed: a hash of all that goes in is the image's
label ``dockernamed-recipe``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

import docker
from docker.errors import APIError, BuildError, ImageNotFound
from docker.models.images import Image

ROOT = Path(__file__).resolve().parent.parent
RECIPES = ROOT / "tests" / "images"
CACHE = Path(os.environ.get("DOCKERNAMED_CACHE") or ROOT / ".cache") / "images"
ROOTFS = os.environ.get("DOCKERNAMED_ROOTFS", "")
LABEL = "dockernamed-recipe"
DEBIAN = "dockernamed-test/debian:latest"
#: Debian's own, which is also the one in the images' base: wheels are made for one Python.
PYTHON = "/usr/bin/python3"


def say(text: str) -> None:
    """Print one line of progress, at once."""
    print(f"    {text}", flush=True)


def digest(*parts: str | bytes) -> str:
    """Hash a recipe."""
    sha = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        sha.update(b"%d:" % len(raw) + raw)
    return sha.hexdigest()[:16]


def copied(sources: Iterable[Path], top: Path, context: Path) -> list[str | bytes]:
    """Copy files and folders below ``top`` to a build's context.

    Returns:
        The name and the content of every file.
    """
    for source in sources:
        target = context / source.relative_to(top)
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
            shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copy2(source, target)
    parts: list[str | bytes] = []
    for path in sorted(context.rglob("*")):
        # Whatever the checkout's modes are: users of the images can read their files.
        path.chmod(0o755 if path.is_dir() else 0o644)
        if path.is_file():
            parts += [str(path.relative_to(context)), path.read_bytes()]
    return parts


def run(*command: str) -> str:
    """Run a command; its output is shown only if it fails."""
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:], file=sys.stderr)
        raise SystemExit(f"images: failed with {done.returncode}: {' '.join(command)}")
    return done.stdout


def wheels(name: str, requirements: Sequence[str]) -> Path:
    """Folder with wheels of ``requirements`` and of all they need, for `PYTHON`."""
    key = digest(run(PYTHON, "--version"), *requirements)
    folder = CACHE / f"wheels-{name}-{key}"
    if folder.is_dir():
        return folder
    say(f"{name}: fetching Python packages")
    for old in CACHE.glob(f"wheels-{name}-*"):
        shutil.rmtree(old)
    with tempfile.TemporaryDirectory(dir=CACHE) as work:
        run(PYTHON, "-m", "venv", f"{work}/venv")
        run(f"{work}/venv/bin/pip", "wheel", "--quiet", "--wheel-dir", f"{work}/out", *requirements)
        # Last, and in one step: a folder of this name is complete.
        Path(work, "out").rename(folder)
    return folder


class Builder:
    """Builds images on one Engine.

    Args:
        client: a client of that Engine.
        bases: what `recipes` of another one says of images that are there.
    """

    def __init__(
        self, client: docker.DockerClient, bases: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.client = client
        self.recipes = dict(bases)

    def debian(self) -> str:
        """The base of all, from `ROOTFS`; "" where there is none."""
        if ROOTFS and DEBIAN not in self.recipes:
            recipe = self.recipes[DEBIAN] = digest(Path(ROOTFS).name)
            if not self._is_there(DEBIAN, recipe):
                repository, _, tag = DEBIAN.partition(":")
                changes = [f'LABEL {LABEL}="{recipe}"']
                self.client.api.import_image_from_file(
                    ROOTFS, repository=repository, tag=tag, changes=changes
                )
                say(f"{DEBIAN}: imported")
        return DEBIAN if ROOTFS else ""

    def build(
        self,
        tag: str,
        *sources: Path,
        base: str,
        top: Path | None = None,
        requirements: Sequence[str] = (),
        pip_options: str = "",
    ) -> str:
        """Build an image unless the Engine has it, of this very recipe.

        Args:
            tag: name of the image.
            sources: files and folders for the build's context; the first has the Dockerfile.
            base: of the Dockerfile; "" for the one that it names.
            top: folder that is the context's top; the first of ``sources`` by default.
            requirements: what pip fetches for it, unless the Dockerfile's pip does that itself.
            pip_options: for the Dockerfile's pip.

        Returns:
            The tag.
        """
        if tag in self.recipes:  # as a base, and then as itself
            return tag
        top = top or sources[0]
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            context = Path(work)
            parts = copied(sources, top, context)
            parts += [self.recipes.get(base, base), pip_options, *requirements]
            recipe = self.recipes[tag] = digest(*parts)
            if self._is_there(tag, recipe):
                return tag
            if requirements:
                shutil.copytree(wheels(sources[0].name, requirements), context / "wheels")
            say(f"{tag}: building")
            arguments = {"BASE": base, "PIP_OPTIONS": pip_options}
            dockerfile = (sources[0] / "Dockerfile").relative_to(top)
            self._build(tag, recipe, context, str(dockerfile), arguments)
        return tag

    def _build(
        self, tag: str, recipe: str, context: Path, dockerfile: str, arguments: Mapping[str, str]
    ) -> None:
        build = f"{recipe}-{os.getpid()}"
        old = self._image(tag)
        try:
            self.client.images.build(
                path=str(context),
                dockerfile=dockerfile,
                tag=tag,
                labels={LABEL: recipe},
                buildargs={
                    "BUILD": build,
                    **{name: value for name, value in arguments.items() if value},
                },
                network_mode="none" if ROOTFS else None,
                rm=True,
                forcerm=True,
            )
        except BuildError as error:
            print("".join(line.get("stream", "") for line in error.build_log), file=sys.stderr)
            raise SystemExit(f"images: {tag}: {error.msg}") from error
        # What a Dockerfile made only to copy from it.
        self.client.images.prune(filters={"dangling": True, "label": f"dockernamed-build={build}"})
        if old is not None:
            # Without its tag nobody needs it; the Engine keeps it while something does.
            with suppress(APIError):
                self.client.api.remove_image(str(old.id))

    def _image(self, tag: str) -> Image | None:
        try:
            return self.client.images.get(tag)
        except ImageNotFound:
            return None

    def _is_there(self, tag: str, recipe: str) -> bool:
        image = self._image(tag)
        if image is None or image.labels.get(LABEL) != recipe:
            return False
        say(f"{tag}: up to date")
        return True


# ------------------------------------------------------------------------------- the images


def lines_of(file: Path) -> list[str]:
    """The requirements in a file."""
    return file.read_text(encoding="utf-8").split()


def busybox(builder: Builder) -> str:
    """A server for tests that need no Jupyter."""
    folder = RECIPES / "busybox"
    return builder.build("dockernamed-test/busybox:latest", folder, base=builder.debian())


def lab(builder: Builder) -> str:
    """JupyterLab. ``DOCKERNAMED_LAB_BASE`` is the image that it is built on, if one is pulled."""
    folder, base = RECIPES / "lab", builder.debian()
    return builder.build(
        "dockernamed/lab:latest",
        folder,
        base=base or os.environ.get("DOCKERNAMED_LAB_BASE", ""),
        requirements=lines_of(folder / "requirements.txt") if base else (),
        pip_options="--no-index --find-links=/tmp/wheels" if base else "",
    )


def lab_green(builder: Builder) -> str:
    """The second, visibly different image: a few files on top of the first."""
    folder = RECIPES / "lab-green"
    return builder.build("dockernamed/lab-green:latest", folder, base=lab(builder))


def hub_base(builder: Builder) -> str:
    """What the image of the Hub is built on; "" where that is pulled."""
    if not (base := builder.debian()):
        return ""
    folder = RECIPES / "hub-base"
    # What this checkout needs, to run and to be built.
    needs = [text for text in metadata.requires("dockernamed") or () if "extra ==" not in text]
    return builder.build(
        "dockernamed-test/hub-base:latest",
        folder,
        base=base,
        requirements=[*lines_of(folder / "requirements.txt"), *sorted(needs)],
    )


def hub(builder: Builder) -> str:
    """The image of examples/hub-in-container, from this checkout."""
    base = hub_base(builder)
    names = ("examples/hub-in-container", "dockernamed", "pyproject.toml", "README.md", "LICENSE")
    return builder.build(
        "dockernamed/hub:latest",
        *(ROOT / name for name in names),
        top=ROOT,
        base=base,
        pip_options="--no-index --no-build-isolation" if base else "",
    )


def hub_hardened(builder: Builder) -> str:
    """The image of examples/hardened."""
    folder = ROOT / "examples" / "hardened"
    return builder.build("dockernamed/hub-hardened:latest", folder, base=hub(builder))


def hub_swarm(builder: Builder) -> str:
    """The image of examples/swarm."""
    folder = ROOT / "examples" / "swarm"
    return builder.build("dockernamed/hub-swarm:latest", folder, base=hub(builder))


def haproxy(builder: Builder) -> str:
    """The proxy of examples/hardened."""
    folder = RECIPES / "haproxy"
    return builder.build("dockernamed-test/haproxy:latest", folder, base=builder.debian())


IMAGES: Mapping[str, Callable[[Builder], str]] = {
    "busybox": busybox,
    "lab": lab,
    "lab-green": lab_green,
    "hub": hub,
    "hub-hardened": hub_hardened,
    "hub-swarm": hub_swarm,
    "haproxy": haproxy,
}


@contextmanager
def locked() -> Iterator[None]:
    """Let one build run at a time in this cache; a second one waits and then finds the images."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(names: Sequence[str]) -> None:
    """Build the images named on the command line, or all of them."""
    wanted = list(IMAGES) if not names or "all" in names else list(names)
    unknown = [name for name in wanted if name not in IMAGES]
    if unknown:
        raise SystemExit(f"images: no image {unknown[0]!r}; there are: {', '.join(IMAGES)}")
    # One after another what is built on one another, as lab and lab-green; the rest at once, since
    # pip waits for the network, and the Engine for the disk.
    lines: dict[str, list[str]] = {}
    for name in wanted:
        lines.setdefault(name.partition("-")[0], []).append(name)
    with locked():
        first = Builder(docker.from_env(timeout=600))
        first.debian()
        with ThreadPoolExecutor() as threads:
            list(threads.map(partial(build_all, bases=first.recipes), lines.values()))


def build_all(names: Iterable[str], bases: Mapping[str, str]) -> None:
    """Build images, in this order; ``bases`` as for `Builder`."""
    builder = Builder(docker.from_env(timeout=600), bases)
    for name in names:
        IMAGES[name](builder)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
