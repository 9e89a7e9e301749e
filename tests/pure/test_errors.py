"""errors.py: the tree as drawn, and messages that name field, value and what would have worked."""

from __future__ import annotations

import re

import pytest

from dockernamed import errors
from dockernamed.errors import (
    ConfigError,
    DockerNamedError,
    EngineError,
    ForeignObject,
    ImageError,
    NameTaken,
    NeverRan,
    OptionsError,
    ServerDied,
    ServerSilent,
    TemplateError,
)


def drawn() -> dict[str, str]:
    """Class → parent, as drawn in the module's docstring: each level is indented by four."""
    parents: dict[str, str] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"( {4}[│ ├└─]*)([A-Z]\w+)", line)
        if found:
            depth = len(found[1]) // 4 - 1
            path[depth:] = [found[2]]
            parents[found[2]] = path[depth - 1] if depth else "Exception"
    return parents


def test_the_tree_is_as_drawn() -> None:
    """Every exception stands in the docstring's tree, under its parent, and no other does."""
    classes = {
        name: thing.__bases__[0].__name__
        for name, thing in vars(errors).items()
        if isinstance(thing, type) and issubclass(thing, Exception)
    }
    assert classes == drawn()


def test_one_root() -> None:
    """Catching DockerNamedError catches all that is raised on purpose."""
    assert all(issubclass(getattr(errors, name), DockerNamedError) for name in drawn())
    assert issubclass(NameTaken, errors.Conflict)


@pytest.mark.parametrize("kind", [ConfigError, TemplateError])
def test_config_error(kind: type[ConfigError]) -> None:
    """The admin learns the setting, its value and what to write; it is a ValueError as well."""
    error = kind("prefix", "A b", "must be plain")
    assert str(error) == "prefix = 'A b': must be plain"
    assert (error.field, error.value, error.hint) == ("prefix", "A b", "must be plain")
    assert isinstance(error, ValueError)


def test_options_error() -> None:
    """The user learns the option, the value, and the choices where they can be counted."""
    assert str(OptionsError("image", 7, "not allowed")) == "image = 7: not allowed"
    error = OptionsError("image", "x", "not allowed", (name for name in ("a", "b")))
    assert str(error) == "image = 'x': not allowed; choose from: 'a', 'b'"
    assert error.choices == ["a", "b"]
    error = OptionsError("image", "x", "not allowed", [])
    assert str(error) == "image = 'x': not allowed; there is nothing to choose from"


def test_untrusted_values_are_cut_in_messages() -> None:
    """A value of any size makes a message of bounded size, and can still be looked at whole."""
    value = "x" * 10_000
    for error in (OptionsError("image", value, "no"), ConfigError("image", value, "no")):
        assert len(str(error)) < 250
        assert error.value == value
    assert "…" in str(ImageError(value, "no"))


def test_untrusted_values_cannot_forge_lines() -> None:
    """Line ends and control characters in a value are shown as escapes, in one line."""
    assert "\n" not in str(OptionsError("image", "a\nlevel=INFO", "no"))
    assert "\n" not in str(ImageError("a\nb", "no"))


def test_engine_error() -> None:
    """What was asked, the status where there was one, and the Engine's own words."""
    error = EngineError("create container x", "no such image", 404)
    assert str(error) == "Docker Engine: cannot create container x (404): no such image"
    assert (error.action, error.message, error.status) == (
        "create container x",
        "no such image",
        404,
    )
    assert str(EngineError("ping", "refused")) == "Docker Engine: cannot ping: refused"


def test_image_error() -> None:
    """The image as it was written, and why."""
    error = ImageError("lab:9", "not found")
    assert str(error) == "image 'lab:9': not found"
    assert (error.image, error.message) == ("lab:9", "not found")


def test_foreign_object() -> None:
    """Whose the thing is, and which setting decides."""
    error = ForeignObject("volume", "v", "Hub 'b'", "set volumes")
    assert str(error) == "volume 'v' belongs to Hub 'b': set volumes"
    assert (error.kind, error.name, error.owner, error.hint) == (
        "volume",
        "v",
        "Hub 'b'",
        "set volumes",
    )


def test_server_died() -> None:
    """Exit code, lack of memory, and the last lines of output, or that there were none.

    Where nobody looked, nothing is said of them.
    """
    error = ServerDied(137, True, "Killed")
    assert (error.exit_code, error.oom, error.log) == (137, True, "Killed")
    assert str(error) == (
        "the server ended before it was ready, with exit code 137 "
        "(out of memory: it needed more than its memory limit). Its last log lines:\nKilled"
    )
    assert str(ServerDied(0, False, "")) == (
        "the server ended before it was ready, with exit code 0. Its log is empty"
    )
    assert str(ServerDied(0, False, None)).endswith("with exit code 0")
    rejected = ServerDied(None, False, None, "No such image: lab")
    assert str(rejected) == "the server ended before it was ready: No such image: lab"
    assert str(ServerSilent("http://x", 5, None)).endswith("on the right port?")
    assert str(NeverRan(5, "")).endswith("still being pulled where it is to run?")
