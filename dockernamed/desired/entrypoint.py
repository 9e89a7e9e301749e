"""Gives a container the tokens, secrets and personal environment of its start. Pure.

The Engine fixes a container's environment when it creates the container, and shows it to everybody
who can ask. A container is therefore run by a shell, which reads a file of variables that is put in
place before each start, and then executes the command that the container was made for. The file
stays: the Engine may restart the container when there is no Hub to put it in place again.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from .environment import PERSONAL
from .private import ENV_FILE

#: The shell that an image must have for that.
SHELL = "/bin/sh"

# There is no such file in what runs an image that was made of a container by ``docker commit``.
_TAKE_UP = f'[ ! -r {ENV_FILE} ] || . {ENV_FILE}; exec "$@"'
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def process_of(
    config: Mapping[str, Any], image: Mapping[str, Any], command: Iterable[str] | None
) -> tuple[str, ...]:
    """What a container runs, by Docker's rules: ENTRYPOINT and CMD in one.

    Args:
        config: further keys of the create body, which win.
        image: the image's ``Config``.
        command: instead of the image's CMD; None keeps it.
    """
    entrypoint = config.get("Entrypoint") or image.get("Entrypoint") or ()
    # The image's CMD is meant for the image's ENTRYPOINT.
    own = () if config.get("Entrypoint") else image.get("Cmd") or ()
    words = config.get("Cmd") or (own if command is None else command)
    return (*entrypoint, *words)


def shell_line() -> list[str]:
    """The ENTRYPOINT that takes up `ENV_FILE`, if it is there, and becomes what CMD says."""
    return [SHELL, "-c", _TAKE_UP, "sh"]


def unfit_for_a_shell(names: Iterable[str]) -> list[str]:
    """Names of variables that no shell hands on: dash drops some, such as ``a.b``."""
    return sorted(name for name in names if not _NAME.fullmatch(name))


def variables(delivered: Mapping[str, str], fixed: Collection[str] = ()) -> bytes:
    """The content of `ENV_FILE`: what is new at a start, without what is gone from it.

    Args:
        delivered: name → value.
        fixed: names that the admin sets for every container: these stay as they were created.
    """
    lines = {
        **{name: f"unset {name}\n" for name in PERSONAL},
        **{name: f"export {name}={shlex.quote(value)}\n" for name, value in delivered.items()},
    }
    text = "".join(line for name, line in sorted(lines.items()) if name not in fixed)
    return text.encode("utf-8", "surrogateescape")
