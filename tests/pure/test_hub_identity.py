"""The id of a Hub: derived once, and kept in a file beside the cookie secret."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jupyterhub.app import JupyterHub

from dockernamed.errors import ConfigError
from dockernamed.hub import identity

SECRET, NEW = b"a secret", b"a new secret"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    """Has a Hub run in this process, as if it had just started."""

    def start(*, secret_in_file: bool = True) -> Any:
        file = tmp_path / "jupyterhub_cookie_secret"
        if secret_in_file:
            file.write_text("73656372")
        app = SimpleNamespace(cookie_secret_file=str(file), log=logging.getLogger("hub"))
        monkeypatch.setattr(JupyterHub, "initialized", lambda: True)
        monkeypatch.setattr(JupyterHub, "instance", lambda: app)
        monkeypatch.setattr(identity, "_ids", {})
        return app

    return start


def test_it_stays_when_the_secret_changes(hub: Callable[..., Any], tmp_path: Path) -> None:
    """It was derived from the first secret, and written where nobody else can write."""
    hub()
    first = identity.hub_id_of(SECRET)
    assert first == identity.derived_hub_id(SECRET)
    file = tmp_path / identity.FILE
    assert file.read_text() == f"{first}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    hub()
    assert identity.hub_id_of(NEW) == first


def test_a_secret_in_no_file(hub: Callable[..., Any], tmp_path: Path) -> None:
    """With the secret in the config the id is derived from it, and nothing is written."""
    hub(secret_in_file=False)
    assert identity.hub_id_of(SECRET) == identity.derived_hub_id(SECRET)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / identity.FILE).write_text("physics")
    hub(secret_in_file=False)
    assert identity.hub_id_of(SECRET) == "physics"


def test_it_is_read_once(hub: Callable[..., Any], tmp_path: Path) -> None:
    """Every poll of every server asks for it."""
    hub()
    first = identity.hub_id_of(SECRET)
    (tmp_path / identity.FILE).write_text("another")
    assert identity.hub_id_of(SECRET) == first


@pytest.mark.parametrize("text", ["", "two words", "-x", "a/b", "\xff"])
def test_a_file_that_holds_no_id(hub: Callable[..., Any], tmp_path: Path, text: str) -> None:
    """A new id would mean new, empty homes for everybody: the Hub does not start."""
    hub()
    (tmp_path / identity.FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=identity.FILE) as refused:
        identity.hub_id_of(SECRET)
    assert refused.value.field == "hub_id"


def test_a_folder_that_cannot_be_written(
    hub: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The Hub runs with the derived id, and the log says that it is derived anew each time."""
    app = hub()
    app.cookie_secret_file = str(tmp_path / "jupyterhub_cookie_secret")
    (tmp_path / identity.FILE).symlink_to(tmp_path / "missing" / "file")
    assert identity.hub_id_of(SECRET) == identity.derived_hub_id(SECRET)
    assert "derived anew each time" in caplog.text
