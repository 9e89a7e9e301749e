"""hub.log_filter: secrets are kept out of every line of the Hub's log."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from dockernamed.hub.log_filter import hide_secrets

SETTINGS = SimpleNamespace(
    environment={"MYSQL_PWD": "swordfish-1", "DEBUG_TOKEN": "true"},
    mounts=[{"driver_config": {"options": {"o": "username=a,password=swordfish-2"}}}],
    profile_list=[{"spawner_override": {"environment": {"SSH_KEY": "swordfish-3"}}}],
    registry_credentials="/etc/credentials.json",
)


@pytest.fixture
def logs() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A log as the Hub's, with a child as ours, and what it has written."""
    log, written = logging.getLogger("test_log_filter"), io.StringIO()
    handler = logging.StreamHandler(written)
    log.addHandler(handler)
    log.propagate = False
    hide_secrets(log, SETTINGS)
    yield log.getChild("ours"), written
    log.removeHandler(handler)


def test_lines_and_tracebacks(logs: tuple[logging.Logger, io.StringIO]) -> None:
    """Whoever writes them: known secrets and what looks like one, in texts, arguments, errors."""
    log, written = logs
    log.warning("one %s, two %s", "swordfish-1", {"password": "swordfish-4"})
    try:
        try:
            raise ValueError("mount: username=a,password=swordfish-5")  # noqa: TRY301
        except ValueError as error:
            raise KeyError("swordfish-3") from error
    except KeyError:
        log.exception("Failed with %d", 5)
    text = written.getvalue()
    assert "swordfish" not in text
    assert "Failed with 5" in text
    assert "ValueError: mount: username=a,password=[hidden]" in text
    assert "KeyError: '[hidden]'" in text


def test_other_lines(
    logs: tuple[logging.Logger, io.StringIO], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are as they were; of those that cannot be made, logging itself tells as ever."""
    log, written = logs
    log.error("read /etc/credentials.json: true, 100 %% of %s", "it")
    assert written.getvalue() == "read /etc/credentials.json: true, 100 % of it\n"
    monkeypatch.setattr(logging, "raiseExceptions", False)
    log.error("%d", "no number")
    log.error("and on")
    assert written.getvalue().endswith("and on\n")
