"""The rooms: who may import whom, read from the sources, so that no door opens unseen."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

MAX_LINES = 500

# The pure rooms: data in, data out, so that they are tested without an Engine or a Hub.
OPTIONS = {"options", "overrides", "profiles", "profileconfig", "schema", "imagepatterns"}
PURE: dict[str, set[str]] = {
    "errors": set(),
    "naming": {"errors"},
    "images": {"errors"},
    "imagepatterns": {"errors", "images"},
    "hubaddress": {"errors"},
    "options": {"errors", "images", *OPTIONS},
    "overrides": {"errors"},
    "profiles": {"errors", "images", *OPTIONS},
    "profileconfig": {"errors", "images", *OPTIONS},
    "schema": {"errors", "images", *OPTIONS},
    "handover": set(),
    "spec": {"errors", "naming", "images", "handover"},
    "credentials": {"errors", "images"},
    "redact": set(),
    "storage": {"errors", "naming", "spec"},
    "plan": {"errors", "naming", "spec"},
    "records": {"errors", "naming"},
    "hints": {"errors"},
}
# The rooms that act. The Engine's own wing (lanes, wire, calls) is entered through engine only,
# but for the watcher, which reads the Feed of events that the Engine gives it.
ACTING: dict[str, set[str]] = {
    "waiting": set(),
    "lanes": {"waiting"},
    "wire": {"errors"},
    "calls": {"errors", "lanes", "wire", "waiting"},
    "engine": {"errors", "lanes", "wire", "calls"},
    "watcher": {"errors", "naming", "records", "engine", "lanes", "waiting"},
    "layers": {"errors"},
    "puller": {"errors", "images", "engine", "layers"},
    "prepull": {"errors", "watcher"},
    "leftovers": {*PURE, "engine", "waiting", "watcher"},
    "launch": {*PURE, "engine", "watcher", "leftovers", "packing"},
    "containers": {*PURE, "engine", "watcher", "waiting", "launch", "leftovers"},
    "runtime": {*PURE, "engine", "watcher", "puller", "containers"},
    "keeper": {"errors", "naming", "records", "containers", "watcher"},
    "form": {"errors", "images", *OPTIONS},
    "choosing": {"errors", "images", "form", "waiting", *OPTIONS},
    "refusals": {"errors", "hints"},
    "packing": set(),
    "vigil": {"errors", "records", "waiting", "watcher"},
    "progress": {"plan"},
    "ready": {"errors", "waiting"},
    "traits": {"errors", "images", "options"},
    "debut": {*PURE, "ready", "containers", "runtime", "redact", "watcher"},
    "claims": set(),
    "wish": {*PURE, "engine", "containers", "runtime", "traits"},
}
ALL = {*PURE, *ACTING} - {"lanes", "wire", "calls"}
ROOMS: dict[str, set[str]] = (
    PURE
    | ACTING
    | {
        "handlers": ALL,
        "cli": ALL,
        "hub.app": ALL | {"spawner", "handlers"},
        "spawner": ALL | {"handlers"},
        "__init__": {"spawner", "hub.app"},
    }
)

# What a pure room may take from elsewhere: nothing here reads a file, a clock or a socket.
PURE_LIBRARY = {
    "__future__", "base64", "collections", "copy", "dataclasses", "decimal", "difflib", "enum",
    "fractions", "functools", "hashlib", "html", "ipaddress", "itertools", "json", "math",
    "operator", "posixpath", "re", "shlex", "slugify", "string", "sys", "types", "typing",
    "unicodedata", "urllib.parse", "binascii",
}  # fmt: skip
IMPURE_BUILTINS = {"open", "print", "input", "eval", "exec", "__import__", "breakpoint"}

# Who else may import these.
ONLY = {
    "docker": {"engine"},
    "jupyterhub": {"spawner", "traits", "handlers", "hub.app", "refusals", "claims"},
    "requests": {"engine", "wire"},
    "urllib3": {"engine", "wire"},
}

TAGS = (
    "a|b|br|body|button|code|details|div|em|fieldset|form|h[1-6]|head|hr|html|i|iframe|img|input|"
    "label|legend|li|link|meta|ol|option|p|pre|script|section|select|small|span|strong|style|"
    "summary|svg|table|tbody|td|template|textarea|th|thead|tr|ul"
)
HTML = re.compile(rf"<(?:!doctype|!--|/?(?:{TAGS})(?=[\s/>]|$))", re.IGNORECASE)


def package() -> Path:
    """Where the package's sources are, found without importing it."""
    spec = importlib.util.find_spec("dockernamed")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return Path(spec.submodule_search_locations[0])


SOURCES = sorted(package().rglob("*.py"))
TREES = {path.stem: ast.parse(path.read_text("utf-8")) for path in SOURCES}
every_module = pytest.mark.parametrize("module", sorted(TREES))


def imports(tree: ast.AST) -> Iterator[str]:
    """Every imported module, ours as ``.name`` and the package itself as ``.__init__``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = list(imported_from(node))
        else:
            continue
        for name in found:
            ours = re.fullmatch(r"dockernamed(?:\.(\w+))?.*", name)
            yield f".{ours[1] or '__init__'}" if ours else name


def imported_from(node: ast.ImportFrom) -> Iterator[str]:
    """What ``from … import …`` reaches: a module of ours by its name, else where it comes from."""
    source = node.module or ""
    if node.level:
        source = f"dockernamed.{source}" if source else "dockernamed"
    for alias in node.names:
        direct = source == "dockernamed" and alias.name in TREES
        yield f"{source}.{alias.name}" if direct else source


def ours(module: str) -> set[str]:
    """The rooms that a module opens a door to."""
    return {name[1:] for name in imports(TREES[module]) if name.startswith(".")}


def foreign(module: str) -> set[str]:
    """The modules that it imports from elsewhere."""
    return {name for name in imports(TREES[module]) if not name.startswith(".")}


def test_every_module_has_its_room() -> None:
    """A new module is given a place in the table above before it can be used."""
    assert not {path.name for path in SOURCES if path.stem not in ROOMS}
    assert len(SOURCES) == len(TREES), "two modules of one name"


@every_module
def test_no_door_but_those_in_the_table(module: str) -> None:
    """A module imports those of ours that the table allows it, under TYPE_CHECKING too."""
    assert ours(module) <= ROOMS[module]


@every_module
def test_libraries_stay_in_their_rooms(module: str) -> None:
    """Docker is spoken to in engine.py alone, JupyterHub in the few modules that face it."""
    roots = {name.partition(".")[0] for name in foreign(module)}
    assert not {library for library in roots & ONLY.keys() if module not in ONLY[library]}


@pytest.mark.parametrize("module", sorted(PURE.keys() & TREES.keys()))
def test_pure_rooms_stay_pure(module: str) -> None:
    """Pure modules import nothing that does I/O, knows the time or starts threads."""
    impure = {
        name
        for name in foreign(module)
        if name not in PURE_LIBRARY and name.partition(".")[0] not in PURE_LIBRARY
    }
    assert not impure
    names = {node.id for node in ast.walk(TREES[module]) if isinstance(node, ast.Name)}
    assert not names & IMPURE_BUILTINS


@every_module
def test_html_stands_in_templates(module: str) -> None:
    """No string in the sources holds an HTML tag: pages are made by templates, which escape."""
    texts = [
        (node.lineno, node.value)
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [(line, text) for line, text in texts if HTML.search(text)]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_modules_stay_readable(path: Path) -> None:
    """One responsibility fits into 500 lines; what doesn't is two."""
    assert len(path.read_text("utf-8").splitlines()) <= MAX_LINES


def test_all_ways_to_import_are_seen() -> None:
    """The reader of imports itself: relative, absolute, inside functions, by alias."""
    code = """
from . import naming, __version__
from .engine import Engine as E
from dockernamed import errors
import dockernamed.spec as s
import dockernamed
def f():
    if TYPE_CHECKING:
        import os.path, docker
        from urllib.parse import quote
"""
    assert set(imports(ast.parse(code))) == {
        ".naming", ".__init__", ".engine", ".errors", ".spec", "os.path", "docker", "urllib.parse",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["<div>", '<a href="', "</p>", "x <br/> y", "<!-- x", "<INPUT "])
def test_html_is_seen(text: str) -> None:
    """Tags are found wherever a string begins or ends with them."""
    assert HTML.search(text)


@pytest.mark.parametrize("text", ["c.DockerNamedSpawner.<field>", "a < b", "x<y", "<prefix>-a"])
def test_what_is_no_html(text: str) -> None:
    """Comparisons and placeholders are no tags."""
    assert not HTML.search(text)


TESTS = sorted(Path(__file__).parents[1].rglob("test_*.py"))


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_every_test_says_what_it_guards(path: Path) -> None:
    """Each test function has a docstring."""
    silent = [
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not silent
