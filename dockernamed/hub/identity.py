"""The id of the Hub in this process, which stands in the labels of all that it makes.

A setting comes first. Without it, the id was derived from the cookie secret once, and has stood in
a file beside that secret since: a new secret alone does not change it.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from pathlib import Path
from typing import Any

from jupyterhub.app import JupyterHub

from ..errors import ConfigError

#: Beside the file with the cookie secret.
FILE = "dockernamed_hub_id"
#: It becomes part of the names of volumes.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

#: Cookie secret → id: asked for at every poll of every server.
_ids: dict[bytes, str] = {}


def derived_hub_id(cookie_secret: bytes) -> str:
    """A Hub's id from its cookie secret, which cannot be told from it."""
    return hmac.new(cookie_secret, b"dockernamed hub id", hashlib.sha256).hexdigest()[:12]


def hub_id_of(cookie_secret: bytes) -> str:
    """The id of the Hub that runs in this process and has this cookie secret.

    Raises:
        ConfigError: the file with the id has something else in it, or cannot be read.
    """
    if cookie_secret not in _ids:
        kept = _kept(JupyterHub.instance(), cookie_secret) if JupyterHub.initialized() else ""
        _ids[cookie_secret] = kept or derived_hub_id(cookie_secret)
    return _ids[cookie_secret]


def _kept(app: Any, cookie_secret: bytes) -> str:
    """The id in the file, which is made where the secret stands in one too; else ""."""
    secret_file = _secret_file(app)
    path = secret_file.with_name(FILE)
    if found := _read(path):
        return found
    if not secret_file.exists():
        return ""  # the secret comes from the config or the environment
    derived = derived_hub_id(cookie_secret)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{derived}\n")
    except OSError as error:
        app.log.warning("The id of this Hub, %s, is derived anew each time: %s", derived, error)
    else:
        app.log.info("Wrote the id of this Hub, %s, to %s", derived, path)
    return derived


def _secret_file(app: Any) -> Path:
    return Path(app.cookie_secret_file).expanduser().absolute()


def _read(path: Path) -> str:
    """The id in the file; "" where there is none."""
    try:
        text = path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError("hub_id", "", f"{path} cannot be read: {error}") from error
    if not _ID.fullmatch(text):
        hint = f"{path} must hold the id of this Hub; write it there, or set c.DockerNamedSpawner."
        raise ConfigError("hub_id", text, f'{hint}hub_id = "…"')
    return text
