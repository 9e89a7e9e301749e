"""The house rules that tools do not know: imports by contract, HTML in templates, docstrings.

Who may import whom stands in pyproject.toml, as contracts of import-linter.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.api import read_configuration

ROOT = Path(__file__).parents[2]
CONFIGURATION = ROOT / "pyproject.toml"
CONTRACTS = {
    contract["id"]: contract
    for contract in read_configuration(str(CONFIGURATION))["contracts_options"]
}
PACKAGE = ROOT / "dockernamed"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))

#: For each contract an import that breaks it: the module, and the line added to it.
BREAKING = {
    "layers": ("naming", "from . import hub"),
    "docker": ("images.puller", "import docker"),
    "jupyterhub": ("lifecycle.monitor", "from jupyterhub import orm"),
    "pure": ("desired.plan", "import asyncio"),
}
IMPURE_BUILTINS = {"open", "print", "input", "eval", "exec", "__import__", "breakpoint"}

TAGS = (
    "a|b|br|body|button|code|details|div|em|fieldset|form|h[1-6]|head|hr|html|i|iframe|img|input|"
    "label|legend|li|link|meta|ol|option|p|pre|script|section|select|small|span|strong|style|"
    "summary|svg|table|tbody|td|template|textarea|th|thead|tr|ul"
)
HTML = re.compile(rf"<(?:!doctype|!--|/?(?:{TAGS})(?=[\s/>]|$))", re.IGNORECASE)

every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
every_test = pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)


def tree_of(path: Path) -> ast.Module:
    """A source, parsed."""
    return ast.parse(path.read_text("utf-8"))


def lint_imports(folder: Path) -> tuple[int, str]:
    """Exit code and output of import-linter on the package in a folder."""
    code = "from importlinter.cli import lint_imports_command as run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, "--no-cache", "--config", str(CONFIGURATION)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_imports_keep_the_contracts() -> None:
    """No module imports what the contracts in pyproject.toml keep from it."""
    status, said = lint_imports(ROOT)
    assert status == 0, said


def test_contracts_see_what_breaks_them(tmp_path: Path) -> None:
    """Each contract refuses an import that it is there to refuse, also where another is broken."""
    assert BREAKING.keys() == CONTRACTS.keys()
    shutil.copytree(PACKAGE, tmp_path / "dockernamed")
    for module, line in BREAKING.values():
        path = tmp_path.joinpath("dockernamed", *module.split(".")).with_suffix(".py")
        path.write_text(f"{path.read_text('utf-8')}\n{line}\n", "utf-8")
    status, said = lint_imports(tmp_path)
    assert status == 1
    assert f"0 kept, {len(BREAKING)} broken" in said


def pure_sources() -> list[Path]:
    """The files of the modules and packages that have to be pure."""
    places = [ROOT.joinpath(*name.split(".")) for name in CONTRACTS["pure"]["source_modules"]]
    files = [place.with_suffix(".py") for place in places if not place.is_dir()]
    return files + [path for place in places if place.is_dir() for path in place.rglob("*.py")]


@pytest.mark.parametrize("path", pure_sources(), ids=lambda path: path.stem)
def test_pure_modules_use_no_impure_builtins(path: Path) -> None:
    """Files, terminals and code from text are reached without any import, too."""
    names = {node.id for node in ast.walk(tree_of(path)) if isinstance(node, ast.Name)}
    assert not names & IMPURE_BUILTINS


@every_source
def test_html_stands_in_templates(path: Path) -> None:
    """No string in the sources holds an HTML tag: pages are made by templates, which escape."""
    texts = [
        (node.lineno, node.value)
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    assert not [(line, text) for line, text in texts if HTML.search(text)]


@pytest.mark.parametrize("text", ["<div>", '<a href="', "</p>", "x <br/> y", "<!-- x", "<INPUT "])
def test_html_is_seen(text: str) -> None:
    """Tags are found wherever a string begins or ends with them."""
    assert HTML.search(text)


@pytest.mark.parametrize("text", ["c.DockerNamedSpawner.<field>", "a < b", "x<y", "<prefix>-a"])
def test_what_is_no_html(text: str) -> None:
    """Comparisons and placeholders are no tags."""
    assert not HTML.search(text)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("__init__.py")), ids=lambda p: p.parent.name)
def test_every_package_says_what_lives_there(path: Path) -> None:
    """Each package opens with what it is for."""
    assert ast.get_docstring(tree_of(path))


@every_test
def test_every_test_file_says_what_it_is_about(path: Path) -> None:
    """Each test file opens with what it is about."""
    assert ast.get_docstring(tree_of(path))


@every_test
def test_every_test_says_what_it_guards(path: Path) -> None:
    """Each test function has a docstring."""
    silent = [
        node.name
        for node in ast.walk(tree_of(path))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert not silent
