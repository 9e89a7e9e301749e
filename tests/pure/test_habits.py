"""What the project promises about versions is the same wherever it is written down."""

from __future__ import annotations

import re
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    """The project's table in pyproject.toml."""
    table = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert isinstance(table, dict)
    return table


@pytest.fixture(scope="module")
def lower_bounds() -> ModuleType:
    """scripts/lower_bounds.py."""
    loader = SourceFileLoader("lower_bounds", str(ROOT / "scripts" / "lower_bounds.py"))
    spec = spec_from_loader(loader.name, loader)
    assert spec is not None
    module = module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_lower_bounds_become_versions(lower_bounds: ModuleType) -> None:
    """A requirement's lower bound becomes the only version, whatever else it says."""
    requirements = ["docker>=7.1", "a-b.c >= 1.2.3", "jinja2>=3,<4", "coverage[toml]>=7.10"]
    expected = ["docker==7.1", "a-b.c==1.2.3", "jinja2==3", "coverage==7.10"]
    assert lower_bounds.lower_bounds(requirements) == expected


@pytest.mark.parametrize("requirement", ["docker", "docker<8", "docker==7.1"])
def test_a_requirement_needs_a_lower_bound(lower_bounds: ModuleType, requirement: str) -> None:
    """A requirement without a lower bound is an error: the oldest versions would not be tested."""
    with pytest.raises(ValueError, match="has no lower bound"):
        lower_bounds.lower_bounds([requirement])


def test_every_dependency_has_a_lower_bound(
    lower_bounds: ModuleType, project: dict[str, Any]
) -> None:
    """The environment of the oldest versions has one of each dependency."""
    assert len(lower_bounds.lower_bounds(project["dependencies"])) == len(project["dependencies"])


def test_supported_pythons(project: dict[str, Any]) -> None:
    """The classifiers, the lower bound and the workflow name the same versions of Python."""
    classified = re.findall(r":: (3\.\d+)\b", "\n".join(project["classifiers"]))
    (workflow,) = WORKFLOWS
    matrix = re.findall(r"python: \[(.*)\]", workflow.read_text(encoding="utf-8"))
    assert [re.findall(r'"([\d.]+)"', row) for row in matrix] == [classified]
    assert project["requires-python"] == f">={classified[0]}"
    script = (ROOT / "scripts" / "test").read_text(encoding="utf-8")
    assert f"OLDEST_PYTHON={classified[0]}\n" in script


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned(workflow: Path) -> None:
    """A workflow uses actions of one commit each: a tag can be moved to another one."""
    used = re.findall(r"uses: (.*)", workflow.read_text(encoding="utf-8"))
    assert used
    for action in used:
        assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)
