"""Build the images of the demo and the tests, without any image registry where that is possible.

    scripts/images [busybox|lab|lab-green|hub|all] ...

=============================  ==================================================================
``dockernamed-test/busybox``   2 MB: a static busybox whose httpd answers on port 8888
``dockernamed/lab``            JupyterLab and jupyterhub-singleuser in a minimal Debian
``dockernamed/lab-green``      a layer on top of it that looks different
``dockernamed/hub``            JupyterHub, its proxy and this checkout: a Hub in a container
=============================  ==================================================================

Root on Debian needs only the machine's own apt and pip settings: a root file system is made by
mmdebstrap, Python packages are put in from wheels, and the result is imported as an image. Its
tarball stays in the cache, so that a fresh Engine has it within seconds. Anywhere else the base
images are pulled. An image is built again only when its recipe changed: a hash of the recipe is
the image's label ``dockernamed-recipe``.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from pathlib import Path

import docker
from docker.errors import APIError, BuildError, ImageNotFound

ROOT = Path(__file__).resolve().parent.parent
CACHE = Path(os.environ.get("DOCKERNAMED_CACHE") or ROOT / ".cache")
RECIPES = ROOT / "tests" / "images"
LABEL = "dockernamed-recipe"

JUPYTERHUB = "jupyterhub==6.1.*"
LAB_WHEELS = ("jupyterlab>=4.4,<5", JUPYTERHUB)
PULLED_LAB = "quay.io/jupyter/base-notebook:latest"
PULLED_BUSYBOX = "busybox:stable-musl"

BUSYBOX_CMD = ["httpd", "-f", "-p", "8888", "-h", "/www"]


def say(text: str) -> None:
    """Print one line of progress, at once."""
    print(f"    {text}", flush=True)


def run(*command: str | Path, **env: str) -> None:
    """Run a command; its output is shown only if it fails."""
    done = subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **env},
    )
    if done.returncode:
        print("\n".join(done.stdout.splitlines()[-40:]), file=sys.stderr)
        raise SystemExit(f"images: failed with {done.returncode}: {' '.join(map(str, command))}")


def digest(*parts: str | bytes | Path) -> str:
    """Hash a recipe: texts as they are, files and folders by their content."""
    sha = hashlib.sha256()

    def add(data: str | bytes) -> None:
        raw = data.encode() if isinstance(data, str) else data
        sha.update(b"%d:" % len(raw) + raw)

    for part in parts:
        if isinstance(part, Path):
            for file in files_of(part):
                add(str(file.relative_to(ROOT)))
                add(file.read_bytes())
        else:
            add(part)
    return sha.hexdigest()[:16]


def files_of(path: Path) -> list[Path]:
    """All files at or under ``path``, sorted, without what Python and pip leave behind."""
    found = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    return [p for p in found if "__pycache__" not in p.parts and ".egg-info" not in str(p)]


@contextmanager
def locked() -> Iterator[None]:
    """Let one build run at a time in this cache; a second one waits and then finds the images."""
    (CACHE / "images").mkdir(parents=True, exist_ok=True)
    with (CACHE / "images" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder to work in: in memory where there is plenty, since dpkg writes and syncs a lot."""
    with tempfile.TemporaryDirectory(dir=CACHE / "images") as work:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        mount = ["mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", work]
        in_memory = (
            free > 8 << 30 and not subprocess.run(mount, stderr=subprocess.DEVNULL).returncode
        )
        try:
            yield Path(work)
        finally:
            if in_memory:
                run("umount", work)


def can_bootstrap() -> bool:
    """Root on Debian or the like, with mmdebstrap installed (scripts/lib.sh sees to that)."""
    if os.environ.get("DOCKERNAMED_NO_APT"):
        return False
    return os.geteuid() == 0 and all(map(shutil.which, ("mmdebstrap", "apt-get", "tar")))


def debian_sources() -> tuple[str, str]:
    """The machine's Debian archives: the suite's code name and one ``deb`` line for each."""
    listing = subprocess.run(
        [
            "apt-get",
            "indextargets",
            "--format",
            "$(REPO_URI) $(CODENAME) $(COMPONENT) $(ORIGIN)",
            "Identifier: Packages",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    rows = [line.split() for line in listing.splitlines()]
    debian = [row[:3] for row in rows if len(row) == 4 and row[3] == "Debian"]
    if not debian:
        raise SystemExit("images: apt knows no Debian archive; run apt-get update and try again")
    lines = dict.fromkeys(f"deb {uri} {suite} {component}" for uri, suite, component in debian)
    return min((row[1] for row in debian), key=len), "\n".join(lines) + "\n"


class Builder:
    """Builds images on one Engine.

    Args:
        client: a client of that Engine.
    """

    def __init__(self, client: docker.DockerClient) -> None:
        self.client = client
        self._done: set[str] = set()

    def ensure(self, tag: str, recipe: str, build: Callable[[str, str], None]) -> None:
        """Call ``build(tag, recipe)`` unless the Engine has ``tag`` of this very recipe."""
        if tag in self._done:  # as a base, and then as itself
            return
        self._done.add(tag)
        try:
            old = self.client.images.get(tag)
        except ImageNotFound:
            old = None
        if old is not None and (old.labels or {}).get(LABEL) == recipe:
            say(f"{tag}: up to date")
            return
        build(tag, recipe)
        if old is not None:
            # Without its tag nobody needs it; the Engine keeps it while something does.
            with suppress(APIError):
                self.client.api.remove_image(str(old.id))
        say(f"{tag}: built")

    def import_tar(self, tag: str, tar: Path | bytes, recipe: str, changes: Sequence[str]) -> None:
        """Make an image of one layer from a tarball of a root file system."""
        repository, _, version = tag.partition(":")
        where = [*changes, f'LABEL {LABEL}="{recipe}"']
        if isinstance(tar, bytes):
            self.client.api.import_image_from_data(
                tar, repository=repository, tag=version, changes=where
            )
        else:
            self.client.api.import_image_from_file(
                str(tar), repository=repository, tag=version, changes=where
            )

    def build(
        self, tag: str, recipe: str, context: Mapping[str, bytes | Path], args: Mapping[str, str]
    ) -> None:
        """Build from a Dockerfile. No ``RUN`` of it has a network: all it needs is in the context.

        Args:
            tag: name of the image.
            recipe: hash that is written in the label.
            context: path inside the build context → content, or the file to take.
            args: build arguments.
        """
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w") as tar:
            for name, content in context.items():
                data = content.read_bytes() if isinstance(content, Path) else content
                member = tarfile.TarInfo(name)
                member.size, member.mode = len(data), 0o644
                if isinstance(content, Path):
                    member.mtime = int(content.stat().st_mtime)
                tar.addfile(member, io.BytesIO(data))
        stream.seek(0)
        try:
            self.client.images.build(
                fileobj=stream,
                custom_context=True,
                tag=tag,
                labels={LABEL: recipe},
                buildargs=dict(args),
                network_mode="none",
                rm=True,
                forcerm=True,
            )
        except BuildError as error:
            print("".join(line.get("stream", "") for line in error.build_log), file=sys.stderr)
            raise SystemExit(f"images: {tag}: {error.msg}") from error

    def pull(self, reference: str) -> None:
        """Pull an image from its registry."""
        say(f"pulling {reference}")
        try:
            self.client.images.pull(reference)
        except APIError as error:
            raise SystemExit(
                f"images: {reference} could not be pulled ({error.explanation}); root on Debian "
                "builds it without a registry"
            ) from error


# ---------------------------------------------------------------------------------- busybox


def busybox_rootfs(binary: Path) -> bytes:
    """Tarball of a root file system with one static binary and a link for each of its tools."""
    applets = subprocess.run(
        [binary, "--list"], check=True, capture_output=True, text=True
    ).stdout.split()
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:

        def add(name: str, mode: int, data: bytes = b"", kind: bytes = tarfile.REGTYPE) -> None:
            member = tarfile.TarInfo(name)
            member.mode, member.size, member.type = mode, len(data), kind
            tar.addfile(member, io.BytesIO(data))

        for folder in ("bin", "etc", "www", "work", "root", "proc", "sys", "dev"):
            add(folder, 0o755, kind=tarfile.DIRTYPE)
        add("tmp", 0o1777, kind=tarfile.DIRTYPE)
        add("bin/busybox", 0o755, binary.read_bytes())
        add("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n")
        add("etc/group", 0o644, b"root:x:0:\n")
        for applet in sorted(set(applets) - {"busybox"}):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
    return stream.getvalue()


def busybox(builder: Builder) -> None:
    """A server for tests that need no Jupyter. Its PID 1 ignores SIGTERM, as shells' do."""
    tag, binary = "dockernamed-test/busybox:latest", shutil.which("busybox")
    is_static = binary is not None and b"/ld-" not in Path(binary).read_bytes()
    changes = [
        "ENV PATH=/bin",
        "WORKDIR /work",
        "EXPOSE 8888",
        "CMD [" + ", ".join(f'"{word}"' for word in BUSYBOX_CMD) + "]",
    ]

    def build(tag: str, recipe: str) -> None:
        if binary is not None and is_static:
            builder.import_tar(tag, busybox_rootfs(Path(binary)), recipe, changes)
            return
        builder.pull(PULLED_BUSYBOX)
        lines = [f"FROM {PULLED_BUSYBOX}", "RUN mkdir -p /www /work", *changes]
        builder.build(tag, recipe, {"Dockerfile": "\n".join(lines).encode()}, {})

    builder.ensure(tag, digest("2", *changes), build)


# ------------------------------------------------------------------- root file systems


def wheels(name: str, requirements: Sequence[str]) -> Path:
    """Folder with wheels of ``requirements`` and all they need, for Debian's own Python.

    pip runs on the host, with the settings of the machine, so that none of them enters an image.
    """
    python = "/usr/bin/python3"
    version = subprocess.run([python, "--version"], check=True, capture_output=True).stdout
    key = digest(version, *requirements)
    folder = CACHE / "images" / f"wheels-{name}-{key}"
    if folder.is_dir():
        return folder
    say(f"{name}: fetching Python packages")
    for old in folder.parent.glob(f"wheels-{name}-*"):
        shutil.rmtree(old)
    with tempfile.TemporaryDirectory(dir=CACHE / "images") as work:
        run(python, "-m", "venv", f"{work}/venv")
        run(f"{work}/venv/bin/pip", "wheel", "--quiet", "--wheel-dir", f"{work}/out", *requirements)
        # Last, and in one step: a folder of this name is complete.
        Path(work, "out").rename(folder)
    return folder


def bootstrap(name: str, key: str, packages: Sequence[str], requirements: Sequence[str]) -> Path:
    """Tarball of a Debian root file system after its script in tests/images/rootfs ran.

    Args:
        name: which script.
        key: hash of the recipe; a tarball of the same key is taken from the cache.
        packages: Debian packages to install.
        requirements: Python packages, given to the script as arguments.
    """
    tar = CACHE / "images" / f"{name}-{key}.tar"
    if tar.is_file():
        return tar
    source = wheels(name, requirements)
    say(f"{name}: making a Debian root file system")
    suite, sources = debian_sources()
    for old in tar.parent.glob(f"{name}-*.tar"):
        old.unlink()
    part = tar.with_suffix(".part.tar")
    with scratch() as work:
        listing, script = work / "sources.list", work / "setup.sh"
        listing.write_text(sources)
        shutil.copy(RECIPES / "rootfs" / f"{name}.sh", script)
        words = " ".join(f"'{word}'" for word in requirements)
        run(
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            "--format=tar",
            "--include=" + ",".join(packages),
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-include=/usr/share/doc/*/copyright",
            f'--customize-hook=cp -r {source} "$1/tmp/wheels"',
            f'--customize-hook=cp {script} "$1/tmp/setup.sh"',
            f'--customize-hook=chroot "$1" sh /tmp/setup.sh {words}',
            suite,
            part,
            listing,
            TMPDIR=str(work),
        )
    part.rename(tar)
    return tar


# ------------------------------------------------------------------------------ Jupyter


def lab(builder: Builder) -> None:
    """JupyterLab, started by jupyterhub-singleuser, as user jovyan in /home/jovyan."""
    script = RECIPES / "rootfs" / "lab.sh"
    packages = ("python3-venv", "ca-certificates")
    changes = [
        "ENV PATH=/opt/jupyter/bin:/usr/local/bin:/usr/bin:/bin",
        "ENV HOME=/home/jovyan",
        "ENV LANG=C.UTF-8",
        "ENV SHELL=/bin/bash",
        "USER jovyan",
        "WORKDIR /home/jovyan",
        "EXPOSE 8888",
        'CMD ["jupyterhub-singleuser"]',
    ]
    pulled = os.environ.get("DOCKERNAMED_LAB_BASE") or PULLED_LAB

    def build(tag: str, recipe: str) -> None:
        if can_bootstrap():
            key = digest(script, *packages, *LAB_WHEELS)
            tar = bootstrap("lab", key, packages, LAB_WHEELS)
            say(f"{tag}: importing")
            builder.import_tar(tag, tar, recipe, changes)
            return
        builder.pull(pulled)
        dockerfile = f'FROM {pulled}\nCMD ["jupyterhub-singleuser"]\n'
        builder.build(tag, recipe, {"Dockerfile": dockerfile.encode()}, {})

    recipe = digest(script, *packages, *LAB_WHEELS, *changes, pulled)
    builder.ensure("dockernamed/lab:latest", recipe, build)


def lab_green(builder: Builder) -> None:
    """The second, visibly different image: a few files on top of the first."""
    lab(builder)
    base = builder.client.images.get("dockernamed/lab:latest")
    folder = RECIPES / "lab-green"

    def build(tag: str, recipe: str) -> None:
        context: dict[str, bytes | Path] = {
            str(file.relative_to(folder)): file for file in files_of(folder)
        }
        builder.build(tag, recipe, context, {"BASE": "dockernamed/lab:latest"})

    builder.ensure("dockernamed/lab-green:latest", digest(folder, str(base.id)), build)


# ---------------------------------------------------------------------------------- Hub


def hub(builder: Builder) -> None:
    """The image of examples/hub-in-container, from this checkout."""
    base = ""
    if can_bootstrap():
        base = "dockernamed-test/hub-base:latest"
        hub_base(builder, base)
    example = ROOT / "examples" / "hub-in-container"
    parts = [
        example,
        *(ROOT / "dockernamed",),
        *(ROOT / name for name in ("pyproject.toml", "README.md", "LICENSE")),
    ]
    present = [part for part in parts if part.exists()]

    def build(tag: str, recipe: str) -> None:
        context: dict[str, bytes | Path] = {
            str(file.relative_to(ROOT)): file for part in present for file in files_of(part)
        }
        context["Dockerfile"] = example / "Dockerfile"
        args = {"BASE": base, "PIP_OPTIONS": "--no-index --no-build-isolation"} if base else {}
        builder.build(tag, recipe, context, args)

    base_id = str(builder.client.images.get(base).id) if base else ""
    builder.ensure("dockernamed/hub:latest", digest(*present, base_id), build)


def hub_wheels() -> tuple[str, ...]:
    """What this checkout needs, to run and to be built, where no index can be reached."""
    needs = [text for text in metadata.requires("dockernamed") or () if "extra ==" not in text]
    return (JUPYTERHUB, "setuptools>=77", *sorted(needs))


def hub_base(builder: Builder, tag: str) -> None:
    """What jupyterhub's own image offers: Python, JupyterHub, node and the proxy."""
    script, requirements = RECIPES / "rootfs" / "hub.sh", hub_wheels()
    packages = ("python3-venv", "ca-certificates", "node-configurable-http-proxy")
    changes = [
        "ENV PATH=/opt/hub/bin:/usr/local/bin:/usr/bin:/bin",
        "ENV LANG=C.UTF-8",
        "WORKDIR /srv/jupyterhub",
        "EXPOSE 8000",
        'CMD ["jupyterhub"]',
    ]

    def build(tag: str, recipe: str) -> None:
        key = digest(script, *packages, *requirements)
        tar = bootstrap("hub", key, packages, requirements)
        say(f"{tag}: importing")
        builder.import_tar(tag, tar, recipe, changes)

    builder.ensure(tag, digest(script, *packages, *requirements, *changes), build)


RECIPE_OF: Mapping[str, Callable[[Builder], None]] = {
    "busybox": busybox,
    "lab": lab,
    "lab-green": lab_green,
    "hub": hub,
}


def main(names: Sequence[str]) -> None:
    """Build the images named on the command line, or all of them."""
    wanted = list(RECIPE_OF) if not names or "all" in names else list(names)
    unknown = [name for name in wanted if name not in RECIPE_OF]
    if unknown:
        raise SystemExit(f"images: no recipe {unknown[0]!r}; there are: {', '.join(RECIPE_OF)}")
    builder = Builder(docker.from_env(timeout=600))
    with locked():
        for name in wanted:
            RECIPE_OF[name](builder)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        raise SystemExit(130) from None
