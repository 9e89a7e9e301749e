"""The documents: what they say is so. Tables are read from the code, links lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from urllib.parse import unquote

import grimp
import pytest
from jupyterhub.app import JupyterHub
from jupyterhub.auth import Authenticator
from jupyterhub.scopes import scope_definitions
from traitlets.config import Config, Configurable

from dockernamed import (
    DockerNamedSpawner,
    DockerNamedSwarmSpawner,
    __version__,
    errors,
    naming,
    templates,
)
from dockernamed.desired import network
from dockernamed.desired.proof import Answer, Proof
from dockernamed.hub import swarm_check
from dockernamed.hub.advice import TASK_HINTS
from dockernamed.hub.config_check import check_config
from dockernamed.hub.http_errors import STATUS
from dockernamed.images.allowed import AllowedImages
from dockernamed.options.chooser import TEMPLATED, TEMPLATED_IN_PASSING
from dockernamed.settings import DockerNamedSettings
from dockernamed.settings_swarm import DockerNamedSwarmSettings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
README = ROOT / "README.md"
REST = DOCS / "rest.md"
SETTINGS_PAGE = DOCS / "settings.md"
DESIGN = DOCS / "design.md"
TROUBLESHOOTING = DOCS / "troubleshooting.md"
FROM_DOCKERSPAWNER = DOCS / "from-dockerspawner.md"
CONFIGURING = (
    README,
    REST,
    TROUBLESHOOTING,
    FROM_DOCKERSPAWNER,
    DOCS / "deployment.md",
    DOCS / "host-homes.md",
    DOCS / "swarm.md",
)
FOLDERS = ("docs", "examples", "benchmarks", "tests", "scripts", "dockernamed", ".ci", ".github")
DOCUMENTS = sorted(
    [*ROOT.glob("*.md"), *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.md"))]
)
SETTINGS = sorted(DockerNamedSettings.class_own_traits(config=True))
SWARM_SETTINGS = sorted(DockerNamedSwarmSettings.class_own_traits(config=True))
#: By the names of ``JupyterHub.spawner_class``.
SPAWNERS: Mapping[str, type[DockerNamedSpawner]] = {
    "dockernamed": DockerNamedSpawner,
    "dockernamed-swarm": DockerNamedSwarmSpawner,
}
CONFIGURED: Mapping[str, type[Configurable]] = {
    "JupyterHub": JupyterHub,
    "Authenticator": Authenticator,
    **{kind.__name__: kind for kind in SPAWNERS.values()},
}

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
each_setting = pytest.mark.parametrize("name", [*SETTINGS, *SWARM_SETTINGS])


def class_of(name: str) -> Any:
    """The class that declares a setting."""
    return DockerNamedSwarmSettings if name in SWARM_SETTINGS else DockerNamedSettings


def load(path: Path, name: str) -> ModuleType:
    """A script as a module."""
    spec = importlib.util.spec_from_loader(name, SourceFileLoader(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """scripts/settings-table."""
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    yield load(ROOT / "scripts" / "settings-table", "settings_table")
    sys.dont_write_bytecode = before


@cache
def text_of(document: Path) -> str:
    """All of a document."""
    return document.read_text(encoding="utf-8")


def blocks(document: Path, language: str) -> list[str]:
    """The code blocks of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text_of(document), re.DOTALL | re.MULTILINE)


def prose(document: Path) -> str:
    """A document without its code blocks."""
    return re.sub(r"^```.*?^```", "", text_of(document), flags=re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """What ``#…`` may lead to: GitHub's names of the headings."""
    headings = re.findall(r"^#+ (.*)", prose(document), re.MULTILINE)
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


# ------------------------------------------------------------------- what is read from the code


def generated(document: Path, name: str) -> str:
    """The part of a document between the markers of that name."""
    return text_of(document).partition(f"<!-- {name} -->")[2].partition(f"<!-- /{name} -->")[0]


@pytest.mark.parametrize("name", ["curl", "settings", "house", "calls", "rules"])
def test_pages_are_as_the_generator_makes_them(name: str, generator: ModuleType) -> None:
    """Settings, modules, calls and curl lines are today's; `scripts/settings-table --write`."""
    page, _ = generator.PAGES[name]
    assert text_of(page) == generator.put_in(text_of(page), name)


def test_generator_notices_what_is_out_of_date(generator: ModuleType) -> None:
    """A page whose table says something else is put right by the generator."""
    stale = text_of(SETTINGS_PAGE).replace("| `prefix` | str |", "| `prefix` | int |")
    assert stale != text_of(SETTINGS_PAGE)
    assert generator.put_in(stale, "settings") == text_of(SETTINGS_PAGE)


def test_generator_needs_its_markers(generator: ModuleType) -> None:
    """A page without a marker is an error that names it, not a page without a table."""
    with pytest.raises(SystemExit, match="<!-- settings -->"):
        generator.put_in(text_of(SETTINGS_PAGE).replace("<!-- settings -->", ""), "settings")


def test_generator_refuses_a_module_without_a_place(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new part of the package must be given its place in the picture."""
    monkeypatch.setattr(generator, "PARTS", ("spawner",))
    with pytest.raises(SystemExit, match="naming"):
        generator.house()


@each_setting
def test_setting_is_documented(name: str) -> None:
    """Every setting has a line in the reference, and only one, which says if it is a template."""
    rows = re.findall(rf"^\| `{name}` \|.*\|$", text_of(SETTINGS_PAGE), re.MULTILINE)
    assert len(rows) == 1
    mark = "✓" if name in TEMPLATED else "(✓)" if name in TEMPLATED_IN_PASSING else ""
    assert rows[0].split(" | ")[3].strip() == mark


def test_reference_has_no_setting_that_is_none() -> None:
    """What the reference lists can be set."""
    for part, settings in (("settings", SETTINGS), ("swarm", SWARM_SETTINGS)):
        table = generated(SETTINGS_PAGE, part)
        assert sorted(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == settings


def test_template_fields_are_documented() -> None:
    """The page of settings lists the fields that templates know, with all their aliases."""
    rows = re.findall(r"^\| `\{\w+\}` \|.*$", text_of(SETTINGS_PAGE), re.MULTILINE)
    listed = {field for row in rows for field in re.findall(r"`\{(\w+)\}`", row)}
    known = naming.namespace(naming.Key("hub", "ann", "exp"), prefix="jupyter")
    assert listed == {*known, "base_url"}


@each_setting
def test_setting_has_an_example_that_can_be_set(name: str, generator: ModuleType) -> None:
    """The help of every setting says what it does, and its example is a value that it takes."""
    declared = class_of(name)
    meaning, example = generator.help_of(declared.class_traits()[name])
    assert re.fullmatch(r"[A-Z].*[.:)]", meaning), meaning
    literal = re.match(r"`(.+?)`", example)
    assert literal, f"no example: {example!r}"
    if literal[1].startswith("lambda "):  # a hook, whose values are functions alone
        value = eval(literal[1], {})
    else:
        value = ast.literal_eval(literal[1])
    settings = declared(**{name: value})
    assert getattr(settings, name) is not None


@each_setting
def test_setting_has_a_default_that_it_takes(name: str) -> None:
    """The default of every setting is one that could be set as well."""
    declared = class_of(name)
    default = getattr(declared(), name)
    assert getattr(declared(**{name: default}), name) == default


def curl_lines(text: str) -> list[str]:
    """The lines of a text that call curl."""
    return [line for line in text.splitlines() if line.startswith("curl")]


def demo_lines() -> list[str]:
    """The lines that the demo prints, and `scripts/demo --check` runs."""
    return [line.command for line in load(ROOT / "scripts" / "demo.py", "demo_of_docs").LINES]


def test_curl_lines_are_the_demos() -> None:
    """The lines of docs/rest.md between the markers are those that the demo runs."""
    assert curl_lines(generated(REST, "curl")) == demo_lines()


def test_curl_lines_of_readme_are_run() -> None:
    """Each of README's curl lines is one of the demo's, but for the name of the second image."""
    shown = curl_lines(text_of(README))
    assert len(shown) >= 8
    assert {line.replace('"r"', '"lab-green"') for line in shown} <= set(demo_lines())


def test_curl_lines_of_readme_can_be_pasted() -> None:
    """What README's lines use is set above them, and their images are those of its config."""
    config, lines = blocks(README, "python")[0], "".join(blocks(README, "sh"))
    variables = re.findall(r"\$([A-Z_]+)", lines)
    assert {"TOKEN", "URL", "API"} <= set(variables)
    for name in variables:
        assert re.search(rf"^export\b.*\b{name}=", lines[: lines.index(f"${name}")], re.MULTILINE)
    for image in re.findall(r'{"image": ("\w+")}', lines):
        assert f"{image}: " in config


def test_readme_is_short() -> None:
    """README is for a first look; what is looked up stands in docs/."""
    assert len(text_of(README).splitlines()) <= 140


def test_example_names_are_what_naming_gives() -> None:
    """README's table has the names that servers get, of names that every JupyterHub accepts."""
    rows = re.findall(r"^\| `([\w@.]+)`, `?([\w -]+?)`? \| `(.+?)` \| `(.+?)\.\w+` \|$",
                      text_of(README), re.MULTILINE)  # fmt: skip
    assert len(rows) == 3
    assert any("---" in container for _, _, container, _ in rows)  # one that needs a hash
    for user, server, container, volume in rows:
        assert user == user.lower()  # as authenticators make it
        assert re.fullmatch(r"[a-z](-?[a-z0-9]){0,29}", server)  # JupyterHub 6's rule
        key = naming.Key("hub", user, "" if server == "default" else server)
        assert naming.object_name(key) == container
        fields = naming.namespace(key, prefix="jupyter")
        assert templates.expand("{prefix}-{user_server}", fields, field="server_volume") == volume
    assert naming.slug("Ann") in text_of(FROM_DOCKERSPAWNER)


def test_settings_of_dockerspawner_have_a_counterpart() -> None:
    """What the page on DockerSpawner calls the same is one of our settings."""
    rows = re.findall(r"^\| (`image`, .*?) \| the same;", text_of(FROM_DOCKERSPAWNER), re.MULTILINE)
    assert len(rows) == 1
    assert set(re.findall(r"`(\w+)`", rows[0])) <= set(SETTINGS)


# ---------------------------------------------------------------------------- the design page


def pictured() -> list[str]:
    """The parts of the package in the order of the design page's picture, from top to bottom."""
    return re.findall(r"^[├└]── (\w+)(?:/|\.py)", generated(DESIGN, "house"), re.MULTILINE)


def test_picture_shows_every_module() -> None:
    """The picture names every module of the package, each within its own part."""
    shown, part = set(), ""
    for top, inner in re.findall(
        r"^(?:[├└]── (\S+)|│   [├└]── (\S+))", generated(DESIGN, "house"), re.MULTILINE
    ):
        part = top or part
        shown.add(f"{part}{inner}" if inner else top.replace("/", "/__init__.py"))
    package = ROOT / "dockernamed"
    modules = {path.relative_to(package).as_posix() for path in package.rglob("*.py")}
    assert shown == modules - {"__init__.py"}


def test_imports_go_down_the_picture() -> None:
    """No module imports from a part that stands above its own in the picture."""
    order = {name: place for place, name in enumerate(pictured())}
    graph = grimp.build_graph("dockernamed", exclude_type_checking_imports=True, cache_dir=None)
    wrong = [
        f"{importer} imports {imported}"
        for importer in graph.modules - {"dockernamed"}
        for imported in graph.find_modules_directly_imported_by(importer) - {"dockernamed"}
        if order[importer.split(".")[1]] > order[imported.split(".")[1]]
    ]
    assert not wrong


def defined(path: Path) -> set[str]:
    """Functions and classes of a module, methods as ``Class.method``."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    found = [node for node in ast.parse(text_of(path)).body if isinstance(node, kinds)]
    methods = {
        f"{owner.name}.{node.name}"
        for owner in found
        for node in ast.iter_child_nodes(owner)
        if isinstance(node, kinds)
    }
    return methods | {node.name for node in found}


def test_what_is_to_be_found_is_there() -> None:
    """The design page's index names functions and classes that are in the files that it names."""
    index = text_of(DESIGN).partition("## Where is it done?")[2]
    named = re.findall(r"`(dockernamed/[\w/]+\.py)`: (`[\w.]+`(?:, `[\w.]+`)*)", index)
    assert len(named) >= 15
    for path, names in named:
        assert set(re.findall(r"`([\w.]+)`", names)) <= defined(ROOT / path), path


# ------------------------------------------------------------------------------ links and files


@each_document
def test_links_lead_somewhere(document: Path) -> None:
    """Every relative link of a document leads to a file, and its anchor to a heading."""
    links = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(document))
    links += re.findall(r"""(?:src|href)=["']([^"']+)["']""", prose(document))
    for link in links:
        if re.match(r"\w+:", link):
            continue
        path, _, anchor = unquote(link).partition("#")
        target = (document.parent / path).resolve() if path else document
        assert target.exists(), f"{document.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{document.name}: {link}"


@each_document
def test_named_files_exist(document: Path) -> None:
    """Every path into the checkout that a document names in code is there."""
    named = re.findall(r"`([^`\n]+)`", prose(document))
    named += [line for code in ("sh", "console") for line in blocks(document, code)]
    inside = "|".join(re.escape(folder) for folder in FOLDERS)
    for words in named:
        for path in re.findall(rf"(?<![\w./:-])(?:\./)?((?:{inside})/[\w./-]+)", words):
            if path.startswith("dockernamed/") and "." not in path:
                continue  # an image
            assert (ROOT / path.rstrip(".")).exists(), f"{document.name}: {path}"


# -------------------------------------------------------------------------------------- Python


@each_document
def test_python_compiles(document: Path) -> None:
    """Every block of Python in a document is Python."""
    for number, code in enumerate(blocks(document, "python")):
        compile(code, f"{document.name}, block {number}", "exec")


def configs(*documents: Path) -> list[Any]:
    """The blocks of documents that are configuration."""
    return [
        pytest.param(code, id=f"{document.stem}-{number}")
        for document in documents
        for number, code in enumerate(blocks(document, "python"))
        if re.search(r"^c\.", code, re.MULTILINE)
    ]


@pytest.mark.parametrize("code", configs(*CONFIGURING))
def test_config_loads(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A config from the documents names settings that there are, with values that they take."""
    monkeypatch.setenv("ADMIN_TOKEN", "0" * 64)
    config = Config()
    exec(code, {"c": config})
    assert config
    for section, values in config.items():
        owner = CONFIGURED[section]
        assert set(values) <= set(owner.class_trait_names(config=True)), section
    for kind in SPAWNERS.values():
        spawner = kind(config=config)
        for name, value in config.get(kind.__name__, {}).items():
            assert getattr(spawner, name) == getattr(kind(**{name: value}), name)
    hub = JupyterHub(config=config)
    if chosen := config.get("JupyterHub", {}).get("spawner_class"):
        assert hub.spawner_class is SPAWNERS[chosen]


@pytest.mark.parametrize("code", configs(DOCS / "swarm.md"))
def test_config_of_a_swarm_is_accepted(code: str) -> None:
    """The check at the Hub's start finds nothing in it, profiles and templates included."""
    config, hub = Config(), SimpleNamespace(ip="0.0.0.0", connect_ip="", connect_url="")
    exec(code, {"c": config})
    assert check_config(DockerNamedSwarmSpawner, config, hub).faults == []


def test_first_config_is_short() -> None:
    """The config of README's beginning has ten lines."""
    assert len(blocks(README, "python")[0].splitlines()) == 10


def test_scopes_are_jupyterhubs() -> None:
    """The scopes that the REST guide and the configs name are JupyterHub's."""
    table = re.findall(r"^\| `([\w:]+)` \|", text_of(REST), re.MULTILINE)
    listed = re.findall(r'"scopes": (\[[^\]]*\])', "".join(map(text_of, CONFIGURING)))
    named = {scope.split("!")[0] for one in listed for scope in ast.literal_eval(one)}
    assert {"admin:users", "admin:groups"} <= set(table)
    assert set(table) | named <= set(scope_definitions)


# ------------------------------------------------------------------------------------ messages


def raised(act: Callable[[], object]) -> str:
    """The message of the error that something raises."""
    with pytest.raises(errors.DockerNamedError) as caught:
        act()
    return str(caught.value)


def messages() -> dict[str, str]:
    """Messages as the code gives them, of which the documents tell."""
    allowed = AllowedImages({"lab": "lab", "r": "r"})
    key = naming.Key("hub", "ann", "")
    died = errors.ServerDied(1, False, "…")
    oom = errors.ServerDied(137, True, "")
    never = errors.ImageMissing(
        "lab", "it is not on the Engine, and with pull_policy = 'never' it must not be pulled"
    )
    wrong = errors.WrongServer(
        "http://127.0.0.1:33306/user/ann/api",
        "404 Not Found from TornadoServer/6.5: Jupyter Server",
        Proof("jupyterhub", "/user/ann/", "").doubt(Answer(404)),
        image="lab",
        cmd=["jupyter", "lab"],
        port=8888,
    )
    return {
        "choice": raised(lambda: allowed.resolve("nope")),
        "loopback": raised(lambda: network.check_reachable("127.0.0.1")),
        "prefix": raised(lambda: naming.object_name(key, prefix="Bad_Prefix")),
        "distinct": raised(
            lambda: templates.expand(
                "/srv/{username}-{servername}",
                naming.namespace(key, prefix="jupyter"),
                field="volumes",
                distinct=True,
            )
        ),
        "died": str(died).replace("\n", " "),
        "memory": re.findall(r"\(.*\)", str(oom))[0],
        "never": str(never),
        "wrong": str(wrong),
        "never ran": str(
            errors.NeverRan(60, "no suitable node (insufficient resources on 3 nodes)")
        ),
        "silent": str(errors.ServerSilent("http://127.0.0.1:33306/user/ann/api", 60, "…")).replace(
            "\n", " "
        ),
    }


@pytest.mark.parametrize("name", sorted(messages()))
def test_messages_are_as_told(name: str) -> None:
    """The messages in the table of troubles are those that the code gives."""
    told = " ".join(text_of(TROUBLESHOOTING).replace("\n> ", " ").split())
    assert " ".join(messages()[name].split()) in told


def swarm_faults() -> dict[str, str]:
    """Lines about a Swarm that the Hub writes into its log when it starts."""
    down = {"Description": {"Hostname": "n3"}, "Status": {"State": "down"}}
    ready = {"State": "ready", "Addr": "127.0.0.1"}
    drained = {**down, "Status": ready, "Spec": {"Availability": "drain"}}
    managers = [
        {"ID": id, "Status": ready, "Spec": {"Availability": "active"}, "ManagerStatus": {"A": 1}}
        for id in "ab"
    ]
    return {
        "no Swarm": swarm_check.of_membership({}),
        "worker": swarm_check.of_membership({"LocalNodeState": "active"}),
        "locked": swarm_check.of_membership({"LocalNodeState": "locked"}),
        "down": next(swarm_check.of_nodes([down], published=False)),
        "drained": next(swarm_check.of_nodes([drained], published=False)),
        "address": list(swarm_check.of_nodes([drained], published=True))[1],
        "two managers": list(swarm_check.of_nodes(managers, published=False))[-1],
        "resource": next(swarm_check.of_resources([], ["NVIDIA-GPU"])),
        "own networks": swarm_check.of_own_networks(["NVIDIA-GPU"]),
    }


@pytest.mark.parametrize("fault", sorted(swarm_faults()))
def test_faults_of_a_swarm_are_as_told(fault: str) -> None:
    """The table of troubles has the beginnings of the log's lines, as the code gives them."""
    line = swarm_faults()[fault]
    told = re.findall(r"^\| `(.+?)` \|", text_of(TROUBLESHOOTING), re.MULTILINE)
    assert [beginning for beginning in told if line.startswith(beginning)]


@pytest.mark.parametrize("pattern", [pattern for pattern, _, _ in TASK_HINTS])
def test_words_of_tasks_are_told(pattern: str) -> None:
    """The table of troubles has each reason that a start's message gives advice about."""
    told = re.findall(r"^\| `(.+?)` \|", text_of(TROUBLESHOOTING), re.MULTILINE)
    assert [words for words in told if re.search(pattern, words)]


@pytest.mark.parametrize("name", ["choice", "died"])
def test_messages_of_the_rest_guide_are_as_told(name: str) -> None:
    """The messages in the REST guide are those that the code gives."""
    assert messages()[name] in text_of(REST)


def test_every_error_is_told() -> None:
    """The guide to troubles has the whole tree of errors, with the status of each."""
    kinds = {
        name: kind
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.DockerNamedError)
    }
    (tree,) = re.findall(
        r"^```\n(DockerNamedError.*?)^```", text_of(TROUBLESHOOTING), re.DOTALL | re.M
    )
    assert set(re.findall(r"\b[A-Z]\w+", re.sub(r" {3,}[a-z].*", "", tree))) - {
        "Docker", "Engine",
    } >= set(kinds) - {"NameTaken"}  # fmt: skip
    for name, status in re.findall(r"(\w+) +(\d{3}) ", tree):
        expected = next(code for kind, code, _ in STATUS if issubclass(kinds[name], kind))
        assert expected == int(status), name


def test_changelog_has_this_version() -> None:
    """The version of the package has a chapter in the changelog."""
    assert f"## [{__version__}]" in text_of(ROOT / "CHANGELOG.md")
