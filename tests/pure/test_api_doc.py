"""docs/api.md: what it says to be public is there, and nothing public is left out."""

from __future__ import annotations

import re
from pathlib import Path

import dockernamed
from dockernamed.desired.environment import Environment
from dockernamed.desired.network import Access
from dockernamed.desired.quotas import Promise
from dockernamed.desired.resolved import SERVICE, KeptSettings, ServerState
from dockernamed.desired.spec import ServerSpec, container_labels
from dockernamed.hub.handlers import default_handlers
from dockernamed.hub.http_errors import STATUS
from dockernamed.naming import Key
from dockernamed.options.user_options import IMAGE, PROFILE

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "api.md"


def rows(chapter: str) -> list[str]:
    """The first cells of the table in a chapter, without their quotes."""
    text = (
        DOCUMENT.read_text(encoding="utf-8").partition(f"\n## {chapter}\n")[2].partition("\n## ")[0]
    )
    cells = re.findall(r"^\| (.+?) \|", text, re.MULTILINE)
    return [cell.replace("`", "") for cell in cells[1:]]


def test_python() -> None:
    """The package offers the names in the table, and no other."""
    assert rows("Python") == [
        f"dockernamed.{name}" for name in (*dockernamed.__all__, "__version__")
    ]
    assert all(hasattr(dockernamed, row.rpartition(".")[2]) for row in rows("Python"))


def test_keys_of_options() -> None:
    """The fixed keys of a user's options are in the table."""
    assert rows("Options of users")[:2] == [IMAGE, PROFILE]


def test_urls() -> None:
    """Every handler that the Hub gets from dockernamed is in the table."""
    urls = [f"GET /hub{pattern.replace('([^/]+)', '{user}')}" for pattern, _ in default_handlers]
    assert rows("URLs") == urls


def test_statuses() -> None:
    """The table has the status of every error, and no other."""
    assert rows("Statuses of errors") == sorted({str(status) for _, status, _ in STATUS})


def test_labels() -> None:
    """The table has all labels of a container, and no other."""
    spec = ServerSpec(Key("hub", "ann", "exp"), ("jupyter-ann--exp",), "lab", gpus=("0",))
    env = Environment({"JUPYTERHUB_API_URL": "http://hub:8081/hub/api"})
    labels = container_labels(spec, env, name="name", start_id="start")
    assert sorted(rows("Labels")) == sorted(labels)


def test_keys_of_the_state() -> None:
    """The table has all keys of the state that the Hub keeps of a server, and no other."""
    settings = KeptSettings(Access("port"), 8888, True, False, 10, True)
    state = ServerState(
        "id", "name", {"home": "volume"}, "lab", settings, {"start": "id"}, Promise(), SERVICE
    )
    assert rows("The state of a server") == list(state.to_json())
