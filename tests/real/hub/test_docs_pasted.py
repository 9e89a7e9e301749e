"""The documents as a reader uses them: their blocks, pasted in the order in which they stand.

Configuration goes to the end of the reader's jupyterhub_config.py, commands go into one bash for
the whole page, which keeps its variables, functions and background jobs. Each command must succeed
and each request must be answered with 2xx. What is put in for what a test cannot use is said in
`Reader.put_in`, and what is not run, with the reason, in `NOT_PASTED` and `NOT_RUN`. Any other
block is run, a new one too.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

import pytest
from support.hub.dockerview import BUSYBOX, LAB, LAB2
from support.hub.hubconfig import EXAMPLE_CONFIG
from support.hub.hubproc import HUB6, Hub, Hubs
from support.hub.waiting import eventually

ROOT = Path(__file__).parents[3]
QUICKSTART = ROOT / "examples" / "quickstart" / "jupyterhub_config.py"
README, REST = "README.md", "docs/rest.md"
OF_ADMINS = ("docs/deployment.md", "docs/profiles.md", "docs/troubleshooting.md")

#: Documents with blocks of which none is pasted here, and why.
NOT_PASTED = {
    "CONTRIBUTING.md": "for developers: it calls the tests",
    "RELEASE.md": "makes a release",
    "docs/benchmarks.md": "for developers: it calls the benchmarks",
    "docs/design.md": "has pictures only",
    "docs/engine-calls.md": "needs another proxy; test_trust.py has the setting",
    "docs/from-dockerspawner.md": "needs what DockerSpawner has left; test_docs.py loads it",
    "docs/host-homes.md": "needs accounts, and an NFS server; test_homes.py runs what it can",
    "docs/security.md": "lines for the host's firewall: test_networks.py runs them for one network",
    "docs/swarm.md": "needs several machines; tests/swarm has what it says",
    "examples/hardened/README.md": "test_hardened.py does the same under names of its own",
    "examples/hub-in-container/README.md": "test_examples.py does the same under names of its own",
    "examples/swarm/README.md": "test_swarm_example.py pastes it, on a Swarm",
    "examples/zero-to-jupyterhub/README.md": "needs Kubernetes; test_zero_to_jupyterhub.py",
}

#: (Document, first line of a block) → why it is not run.
NOT_RUN = {
    (
        README,
        "./scripts/demo",
    ): "one is the demo, which runs these tests' images; the other the tests",
    (README, "pip install ."): "it has been done where tests run, and downloads",
    (REST, "# a user"): "the demo's own lines: scripts/demo --check runs them",
    ("docs/deployment.md", '{"default-address-pools"'): "for the Engine's own configuration",
    ("docs/troubleshooting.md", "DockerNamedError"): "a picture",
    ("docs/troubleshooting.md", "The configuration cannot"): "a message",
    ("docs/troubleshooting.md", "The Docker Engine cannot"): "a message",
    ("docs/troubleshooting.md", "sudo kill -9"): "ends the Engine of everybody",
}

#: (Document, beginning of a block) → what it prints according to the page, in this order.
PRINTS = {
    (README, "# create a user"): ('"name": "ada"', '"exp-1"', '"exp-2"', '"kernels"'),
    (REST, "jupyterhub >"): ('["service","script"]',),
    (REST, "hub -X POST $API/users/ann |"): ("ann\n",),
    (REST, "hub -X POST $API/groups/course-1"): ('["ann","ben"]\n', '["ann"]\n', '["ann"]}\n'),
    # A listener that was late would get the last event only.
    (REST, "hub -X POST $API/users/ann/servers/exp-3 -d '{\"image"): ('"progress": 0,', ": true"),
    (REST, "import json\nimport os\nimport time"): (
        "0 Server requested\n",
        "100 Server ready at /user/ann/exp-4/\n",
    ),
    (REST, "hub -N $API/users/ann/servers/exp-1"): ("hello\n", "python3\n"),
    (REST, "import json\nimport os\nimport uuid"): ("2\nok\n",),
    ("docs/deployment.md", "docker ps"): ("-ann\n", "home-ann\n"),
    ("docs/profiles.md", "curl"): ('"properties"', '"image"'),
    ("docs/troubleshooting.md", "timeout 30 docker ps"): ("bridge", "\n0\n"),
}

_BLOCK = re.compile(
    r"^(?P<only6><!-- not on JupyterHub 5 -->\n)?(?P<indent> *)```(?P<language>\w*)\n(?P<code>.*?)"
    r"^(?P=indent)```$"
    r"|^## (?P<heading>[^\n]*)$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A fenced block of a document.

    Attributes:
        document: its path in the checkout.
        language: what stands after the fence.
        code: its lines.
        heading: of the section that it is in.
    """

    document: str
    language: str
    code: str
    heading: str

    @property
    def is_config(self) -> bool:
        """Whether it belongs into jupyterhub_config.py."""
        return self.language == "python" and bool(re.search(r"^c\.", self.code, re.MULTILINE))

    @property
    def is_worked_example(self) -> bool:
        """One of the examples of profiles.md, each a config of its own, which have their test."""
        return self.document == "docs/profiles.md" and self.heading[0].isdigit()

    def begins(self, start: tuple[str, str]) -> bool:
        """Whether a key of the tables above is about this block."""
        return self.document == start[0] and self.code.startswith(start[1])


def blocks(document: str) -> list[Block]:
    """The blocks of a document that this JupyterHub is for, in their order."""
    found, heading = [], "-"
    for match in _BLOCK.finditer((ROOT / document).read_text(encoding="utf-8")):
        heading = match["heading"] or heading
        if match["heading"] is None and (HUB6 or not match["only6"]):
            found.append(Block(document, match["language"], dedent(match["code"]), heading))
    return found


def to_paste(document: str) -> list[Block]:
    """Those that are run here."""
    return [
        block
        for block in blocks(document)
        if not block.is_worked_example and not any(map(block.begins, NOT_RUN))
    ]


class Terminal:
    """A bash in a folder, with job control, as a reader has it.

    Args:
        folder: where it starts, and where it puts what is pasted and what that printed.
        work: its working directory.
        env: its environment variables.
    """

    def __init__(self, folder: Path, work: Path, env: dict[str, str]) -> None:
        self._folder, self._pasted = folder, 0
        self._done, self._failed = folder / "done", folder / "failed"
        for file in (self._done, self._failed):
            file.touch()
        self._bash = subprocess.Popen(["bash"], cwd=work, env=env, stdin=subprocess.PIPE, text=True)
        self._type("set -m -o pipefail")
        self._type(f"trap 'echo \"$?: $BASH_COMMAND\" >> {self._failed}' ERR")
        self._type("trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT")

    def paste(self, code: str, timeout: float = 150) -> str:
        """Run commands in this shell; what they printed, with the status of each request.

        Raises:
            AssertionError: a command failed, a request was redirected, or it took too long.
        """
        self._pasted += 1
        script = self._folder / f"pasted{self._pasted}.sh"
        script.write_text(code, encoding="utf-8")
        output = script.with_suffix(".txt")
        self._type(f". {script} < /dev/null > {output} 2>&1; echo {self._pasted} >> {self._done}")
        eventually(
            lambda: self._done.read_text().split()[-1:] == [str(self._pasted)],
            what=f"these commands end:\n{code}",
            timeout=timeout,
        )
        printed, failed = output.read_text(errors="replace"), self._failed.read_text()
        assert not failed, f"failed: {failed}of\n{code}\nwhich printed\n{printed}"
        assert not re.search(r"^3\d\d http", printed, re.MULTILINE), f"{code}\n{printed}"
        return printed

    def close(self) -> None:
        """Leave the shell: its jobs are ended."""
        try:
            self._bash.communicate(timeout=90)
        finally:
            self._bash.kill()

    def _type(self, line: str) -> None:
        assert self._bash.stdin is not None
        self._bash.stdin.write(f"{line}\n")
        self._bash.stdin.flush()


class Reader:
    """Somebody who has a folder, a terminal, and a document.

    Args:
        hub: not running; its config loads the reader's.
        folder: of the reader's jupyterhub_config.py.
        images: that are put in for Jupyter's: the first, and any other.
    """

    def __init__(self, hub: Hub, folder: Path, images: tuple[str, str]) -> None:
        self.hub, self._folder, self._images = hub, folder, images
        self._config, self._printed = folder / "jupyterhub_config.py", ""
        self._config.touch()
        (folder / "data").mkdir()
        (folder / ".curlrc").write_text(
            'silent\nshow-error\nfail\nnoproxy = "*"\nmax-time = 120\n'
            'write-out = "%{stderr}%{http_code} %{url_effective}\\n"\n'
        )
        env = {
            **hub.environment(),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "CURL_HOME": str(folder),
            "NO_PROXY": "*",
        }
        self.terminal = Terminal(folder, hub.directory, env)

    def put_in(self, text: str) -> str:
        """A text of a document with what there is in a test."""
        bridge = self.hub.docker.client.inspect_network("bridge")
        gateway = bridge["IPAM"]["Config"][0]["Gateway"]
        table = {
            # Images of the tests for those of registries.
            r"quay\.io/jupyter/base-notebook(:latest)?": self._images[0],
            r"quay\.io/jupyter/(r|scipy)-notebook(:latest)?": self._images[1],
            # Free ports.
            r"http://127\.0\.0\.1:8000": self.hub.url,
            r"http://192\.0\.2\.10:8081": f"http://{gateway}:{self.hub.hub_port}",
            # Names and paths that no other test has.
            r"\bhome-\{username\}": f"{self.hub.prefix}-home-{{username}}",
            r"/srv/data\b": str(self._folder / "data"),
            # What the tests need is installed; what is not there is an error.
            r"\bpip install (?!\.)": "python -c 'import sys, importlib.metadata as metadata; "
            "[metadata.version(name) for name in sys.argv[1:]]' ",
        }
        for pattern, instead in table.items():
            text = re.sub(pattern, instead, text)
        return text

    def configure(self, code: str) -> None:
        """Paste at the end of the config file."""
        with self._config.open("a", encoding="utf-8") as file:
            file.write(f"\n{self.put_in(code)}")

    def paste(self, block: Block) -> None:
        """Use a block, as its language says, and compare what it printed with the page."""
        code = self.put_in(block.code)
        if block.is_config:
            self.configure(block.code)
            return
        if block.language == "console":
            self._compare(block, code)
            return
        if block.language == "python":
            script = self._folder / "script.py"
            script.write_text(code, encoding="utf-8")
            code = f"python {script}\n"
        else:
            assert block.language == "sh", f"how is this used? {block}"
        self._printed = self.terminal.paste(code)
        # Streams of progress are answered with 200 even where they tell of a failure.
        streams = re.findall(r"/progress$", code, re.MULTILINE)
        assert self._printed.count('"ready": true') >= len(streams), self._printed
        place = 0
        for text in next((told for start, told in PRINTS.items() if block.begins(start)), ()):
            place = self._printed.find(text, place)
            assert place >= 0, f"not printed: {text!r} in\n{self._printed}\nby\n{code}"
            place += len(text)

    def _compare(self, block: Block, code: str) -> None:
        """A block with its output, or the output of the block before it."""
        commands = re.findall(r"^\$ (.*\n)", code, re.MULTILINE)
        if commands:
            printed = self.terminal.paste("".join(commands)).splitlines()[-1]
            shown = code.splitlines()[-1]
            assert re.sub(r"[0-9a-f]", "x", printed) == re.sub(r"[0-9a-f]", "x", shown)
            return
        message = r'"progress": (\d+),.*?"message": "(.*?)"'
        told = set(re.findall(message, self._printed))
        assert told, f"nothing printed that could be as in {block}"
        assert told <= set(re.findall(message, code))


@pytest.fixture
def reader(hubs: Hubs, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Reader]:
    """A reader whose Hub has not been started; the images are those of the parameter."""
    images: tuple[str, str] = request.param
    hubs.require(*images)
    template = EXAMPLE_CONFIG.replace("EXAMPLE", str(tmp_path))
    hub = hubs.make('c.JupyterHub.ip = "127.0.0.1"\n', template=template)
    hub.log_file = hub.directory / "jupyterhub.log"
    reader = Reader(hub, tmp_path, images)
    hubs.alive.append(hub)
    yield reader
    hubs.alive.remove(hub)
    try:
        reader.terminal.close()
    finally:
        hub.close()
        hub.docker.remove_all()


def with_files(hub: Hub) -> list[tuple[str, str]]:
    """User and server of each volume."""
    labels = [volume["Labels"] for volume in hub.docker.volumes()]
    return sorted((one["dockernamed.user"], one["dockernamed.server"]) for one in labels)


@pytest.mark.parametrize("reader", [(LAB, LAB2)], indirect=True)
def test_readme(reader: Reader) -> None:
    """README, from its ten lines of config to the last line of curl, and the Hub's end."""
    for block in to_paste(README):
        reader.paste(block)
    eventually(
        lambda: with_files(reader.hub),
        lambda found: found == [("ada", "exp-1")],
        what="the files of the stopped server stay, those of the removed one go",
    )
    reader.terminal.paste("kill %1 && while kill -0 %1; do sleep 0.1; done 2>/dev/null")
    assert reader.hub.docker.containers() == []


@pytest.mark.parametrize("reader", [(LAB, LAB2)], indirect=True)
def test_rest(reader: Reader) -> None:
    """The page on REST, with the config that it names."""
    reader.configure(QUICKSTART.read_text(encoding="utf-8"))
    for block in to_paste(REST):
        reader.paste(block)


@pytest.mark.parametrize("reader", [(BUSYBOX, BUSYBOX)], indirect=True)
def test_pages_of_admins(reader: Reader) -> None:
    """Configs and commands of the other pages, with a Hub that was set up by README's."""
    # The web server that stands for Jupyter's images here is none of theirs.
    reader.configure('c.DockerNamedSpawner.readiness = "http"\n')
    config, *terminal = to_paste(README)
    pages = [block for document in OF_ADMINS for block in to_paste(document)]
    for block in [config, *(block for block in pages if block.is_config)]:
        reader.configure(block.code)
    for block in terminal[:-1]:
        reader.paste(block)
    for path in ("ada", "ann", "ann/server"):
        reader.terminal.paste(f'curl -X POST -H "Authorization: token $TOKEN" $API/users/{path}\n')
    for block in pages:
        if not block.is_config:
            reader.paste(block)
    hub_url = reader.hub.docker.environment(reader.hub.docker.one("ann"))["JUPYTERHUB_API_URL"]
    assert hub_url.removesuffix("/hub/api") in reader.put_in("http://192.0.2.10:8081")


def test_all_documents_are_thought_of() -> None:
    """A document with blocks is pasted, or there is a reason; a reason has its blocks."""
    folders = (ROOT, ROOT / "docs", *(ROOT / "examples").iterdir())
    documents = {
        path.relative_to(ROOT).as_posix() for folder in folders for path in folder.glob("*.md")
    }
    assert {name for name in documents if blocks(name)} == {
        README, REST, *OF_ADMINS, *NOT_PASTED
    }  # fmt: skip


@pytest.mark.parametrize("start", [*NOT_RUN, *PRINTS], ids=lambda start: " ".join(start)[:40])
def test_the_tables_are_about_something(start: tuple[str, str]) -> None:
    """What is left out, and what is compared, is one block of its document."""
    assert len([block for block in blocks(start[0]) if block.begins(start)]) == 1
