"""What a container is given that the Engine does not show: where it is, and what it may be. Pure.

All of it is in a volume without a name of its own, which goes with the container. So it is neither
in the container's configuration nor in its layer, of which ``docker commit`` makes an image.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ConfigError
from .accounts import Account
from .environment import PERSONAL, TOKENS

#: Where the volume is mounted.
PRIVATE_DIR = "/run/dockernamed"
#: The file of variables in it.
ENV_FILE = f"{PRIVATE_DIR}/environment"
#: Where the content of `secret_files` is; at any other path there is a link.
FILES_DIR = f"{PRIVATE_DIR}/files"
#: Of a secret file whose mode nobody set.
FILE_MODE = 0o400
#: Linux takes no longer variable: name, "=", value and a zero byte.
MAX_VARIABLE = 128 * 1024

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: What shells set by themselves, and refuse to have set.
_SHELLS_OWN = frozenset({"BASHOPTS", "BASH_VERSINFO", "EUID", "PPID", "SHELLOPTS", "UID"})
#: Stands for a value in messages.
_HIDDEN = "[hidden]"


@dataclass(frozen=True)
class PrivateFile:
    """A file for a container.

    Attributes:
        content: of the file.
        mode: its permissions.
        uid: whose it is; None: the user's that the container runs as; ``gid`` likewise.
    """

    content: bytes = field(repr=False)
    mode: int = FILE_MODE
    uid: int | None = None
    gid: int | None = None

    def readable_by(self, reader: Account | None) -> tuple[int, int, int]:
        """Mode, uid and gid with which whom a container runs as can read it.

        Args:
            reader: whom it runs as; None where that is not known.
        """
        owner = reader or Account(0, 0)
        uid = owner.uid if self.uid is None else self.uid
        gid = owner.gid if self.gid is None else self.gid
        # Of a user whom nobody knows it is not known either what that one could read.
        known = reader is not None or self.uid is not None
        return self.mode if known else self.mode | 0o444, uid, gid


@dataclass(frozen=True)
class Secrets:
    """What the settings ``secret_environment`` and ``secret_files`` come to for one start.

    Attributes:
        environment: name → value.
        files: absolute path in the container → file.
    """

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, PrivateFile] = field(default_factory=dict, repr=False)

    @property
    def words(self) -> list[str]:
        """All that must not be shown: values, and the lines of files."""
        texts = [file.content.decode("utf-8", "replace") for file in self.files.values()]
        whole = [*self.environment.values(), *texts]
        return [*whole, *(line.strip() for text in whole for line in text.splitlines())]


def checked_name(name: object) -> str:
    """The name of a variable that a shell can hand on.

    Raises:
        ConfigError: it is none, or JupyterHub or the shell sets that variable.
    """
    where = f"secret_environment[{name!r}]"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        hint = "a name has letters, digits and '_' only, and does not begin with a digit"
        raise ConfigError(where, _HIDDEN, hint)
    if name in PERSONAL | TOKENS:
        raise ConfigError(where, _HIDDEN, "JupyterHub sets this variable for each server")
    if name in _SHELLS_OWN:
        raise ConfigError(where, _HIDDEN, "shells set this variable themselves; use another name")
    return name


def checked_variable(name: object, value: object) -> tuple[str, str]:
    """A variable of `secret_environment`, whose value is text or a number.

    Raises:
        ConfigError: the name as for `checked_name`, or no environment can hold the value.
    """
    name, where = checked_name(name), f"secret_environment[{name!r}]"
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        hint = f"expected text, not {type(value).__name__}; secret_files can hold bytes"
        raise ConfigError(where, _HIDDEN, hint)
    text = str(value)
    if "\0" in text:
        raise ConfigError(where, _HIDDEN, "a variable cannot hold a zero byte; use secret_files")
    try:
        size = len(f"{name}={text}".encode("utf-8", "surrogateescape")) + 1
    except UnicodeEncodeError:
        raise ConfigError(where, _HIDDEN, "it is no text that UTF-8 can hold") from None
    if size > MAX_VARIABLE:
        hint = f"Linux takes at most {MAX_VARIABLE} bytes, and this is {size}; use secret_files"
        raise ConfigError(where, _HIDDEN, hint)
    return name, text


def checked_path(path: object) -> str:
    """The path of a secret file in the container, in its shortest form.

    Raises:
        ConfigError: nothing can be put there.
    """
    where = f"secret_files[{path!r}]"
    if not isinstance(path, str) or not path.startswith("/") or "\0" in path:
        raise ConfigError(where, _HIDDEN, "expected an absolute path in the container")
    if ".." in path.split("/") or path.endswith("/"):
        raise ConfigError(where, _HIDDEN, 'expected the path of a file, without ".."')
    short = "/" + posixpath.normpath(path).lstrip("/")
    if f"{short}/".startswith(f"{PRIVATE_DIR}/") and not short.startswith(f"{FILES_DIR}/"):
        hint = f"{PRIVATE_DIR} is dockernamed's own, but for what is in {FILES_DIR}"
        raise ConfigError(where, _HIDDEN, hint)
    return short


#: Keys of a secret file in its long form.
_KEYS = frozenset({"content", "gid", "mode", "uid"})


def long_form(path: object, value: object) -> Mapping[str, Any]:
    """A value of `secret_files` as a dict with its content, whatever that is, under ``content``.

    Raises:
        ConfigError: it has other keys, or modes and owners that no file has.
    """
    if not isinstance(value, Mapping):
        return {"content": value}
    where = f"secret_files[{path!r}]"
    if "content" not in value or set(value) - _KEYS:
        raise ConfigError(where, sorted(map(str, value)), f"a dict has {sorted(_KEYS)} for keys")
    mode = value.get("mode", FILE_MODE)
    if not _whole(mode) or not 0 <= mode <= 0o777:
        raise ConfigError(f"{where}['mode']", mode, "expected a number such as 0o440")
    for key in ("uid", "gid"):
        number = value.get(key)
        if number is not None and (not _whole(number) or not 0 <= number < 2**32 - 1):
            raise ConfigError(f"{where}[{key!r}]", number, "expected a number such as 1000")
    return value


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def checked_file(path: object, value: Mapping[str, Any]) -> tuple[str, PrivateFile]:
    """A file of `secret_files` in its long form, whose content is text or bytes.

    Raises:
        ConfigError: the path as for `checked_path`, or the content is something else.
    """
    content = value["content"]
    if isinstance(content, str):
        content = content.encode("utf-8", "surrogatepass")
    if not isinstance(content, bytes):
        hint = f"expected text or bytes for the content, not {type(content).__name__}"
        raise ConfigError(f"secret_files[{path!r}]", _HIDDEN, hint)
    mode = value.get("mode", FILE_MODE)
    return checked_path(path), PrivateFile(content, mode, value.get("uid"), value.get("gid"))


def stored_at(path: str) -> str:
    """Where the content of the file at a path in the container is."""
    return path if path.startswith(f"{PRIVATE_DIR}/") else f"{FILES_DIR}{path}"


def link_places(paths: Iterable[str], host_config: Mapping[str, Any]) -> dict[str, list[str]]:
    """Where links have to be put, and which: an existing directory → paths of links in it.

    Args:
        paths: of files of a container.
        host_config: the HostConfig of its create call.

    Raises:
        ConfigError: nothing can be put at a path before the container runs.
    """
    places: dict[str, list[str]] = {}
    mounts = dict(_mounts(host_config))
    for path in paths:
        if stored_at(path) == path:
            continue
        around = [target for target in mounts if path.startswith(f"{target.rstrip('/')}/")]
        nearest = max(around, key=len, default="/")
        writable = mounts.get(nearest, not host_config.get("ReadonlyRootfs"))
        if path in mounts or not writable:
            hint = "there is a mount" if path in mounts else f"nothing can be put into {nearest}"
            hint += f": it is read-only or a tmpfs. Use a path in {FILES_DIR}" * (not writable)
            raise ConfigError(f"secret_files[{path!r}]", _HIDDEN, hint)
        base = nearest if host_config.get("ReadonlyRootfs") else "/"
        places.setdefault(base, []).append(path)
    return places


def _mounts(host_config: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """Target of each mount → whether something can be put there before the container runs."""
    for mount in host_config.get("Mounts") or ():
        yield str(mount["Target"]), mount["Type"] != "tmpfs" and not mount.get("ReadOnly")
    for bind in host_config.get("Binds") or ():
        _, target, flags = f"{bind}::".split(":")[:3]
        yield target, "ro" not in flags.split(",")
    yield from dict.fromkeys(host_config.get("Tmpfs") or (), False).items()
