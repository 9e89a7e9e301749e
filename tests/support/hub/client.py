"""What a client can ask of a JupyterHub, wherever it runs: its REST API, its servers."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests

from support.hub.dockerview import Docker
from support.hub.waiting import eventually


@dataclass(frozen=True)
class Answer:
    """What came back over HTTP, whoever asked."""

    status: int
    text: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def json(self) -> Any:
        """The body."""
        return json.loads(self.text)

    @property
    def message(self) -> str:
        """The words of a JSON error of JupyterHub."""
        answer = self.json()
        assert answer["status"] == self.status
        return str(answer["message"])


def session() -> requests.Session:
    """One that asks a Hub on this machine, each time over a connection of its own.

    The Hub's proxy closes a connection that nothing came over for some six seconds, and a request
    that is sent over it in that moment is never answered.
    """
    made = requests.Session()
    made.trust_env = False
    made.headers["Connection"] = "close"
    return made


class Client:
    """Asks a Hub by ``requests`` and by ``curl``.

    Args:
        url: where browsers find the Hub, without a slash at its end.
        token: one that may do everything.
        docker: what the Hub's servers are on the Engine.
        directory: to run ``curl`` in.
    """

    def __init__(self, url: str, token: str, docker: Docker, directory: Path) -> None:
        self.url, self.token, self.docker, self.directory = url, token, docker, directory
        self.api_url = f"{url}/hub/api"
        self._session = session()
        (directory / ".curlrc").write_text(
            'silent\nshow-error\nnoproxy = "*"\nmax-time = 150\nwrite-out = "\\n%{http_code}"\n'
        )

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def answers(self, url: str | None = None) -> bool:
        """Whether the Hub's API is there, at its own URL or another one of the same Hub."""
        with suppress(requests.RequestException):
            return self._session.get(f"{url or self.url}/hub/api/", timeout=5).status_code == 200
        return False

    # --- asking

    def api(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask the Hub's REST API by ``requests``.

        Args:
            method: GET, POST, ….
            path: below ``/hub/api``.
            body: sent as JSON; None sends none.
            token: the harness's own, which may do everything, unless given.
            params: of the query.
            headers: further ones.
        """
        return self.request(
            method, f"/hub/api{path}", body, token=token, params=params, headers=headers
        )

    def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str | None = None,
        params: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Ask anything behind the proxy by ``requests``; arguments as for `api`."""
        response = self._session.request(
            method,
            self.url + path,
            json=body,
            params=params,
            headers={"Authorization": f"token {token or self.token}", **(headers or {})},
            timeout=150,
            allow_redirects=False,
        )
        return Answer(response.status_code, response.text, response.headers)

    def curl(self, line: str, *, token: str | None = None, **variables: str) -> Answer:
        """Run a command line as people paste it, in a shell.

        ``$TOKEN``, ``$API`` (``http://127.0.0.1:8000/hub/api``) and ``$URL`` are set, and what is
        given besides.
        """
        env = {
            "PATH": os.environ["PATH"],
            "CURL_HOME": str(self.directory),
            "TOKEN": token or self.token,
            "API": self.api_url,
            "URL": self.url,
            **variables,
        }
        done = subprocess.run(
            ["sh", "-c", line],
            env=env,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, f"{line}\nended with {done.returncode}: {done.stderr}"
        text, _, status = done.stdout.rpartition("\n")
        return Answer(int(status), text)

    # --- users and servers

    def add_user(self, name: str) -> str:
        """Create a user; a token of theirs."""
        made = self.api("POST", f"/users/{quote(name, safe='')}")
        assert made.status == 201, made
        return self.token_for(name)

    def token_for(self, name: str, **body: Any) -> str:
        """A new token of a user, made through the API."""
        made = self.api("POST", f"/users/{quote(name, safe='')}/tokens", body)
        assert made.status == 201, made
        return str(made.json()["token"])

    def spawn(
        self, user: str, server: str = "", options: Any = None, *, token: str | None = None
    ) -> Any:
        """Start a server, wait until it is ready, and return its container (inspected)."""
        answer = self.api("POST", server_path(user, server), options, token=token)
        assert answer.status in (201, 202), answer
        self.ready(user, server)
        return self.docker.one(user, server)

    def ready(self, user: str, server: str = "", timeout: float = 120.0) -> None:
        """Wait until the Hub calls a server ready."""
        eventually(
            lambda: self.servers(user).get(server, {}),
            lambda model: model.get("ready"),
            what=f"server {user}/{server} is ready",
            timeout=timeout,
        )

    def halt(self, user: str, server: str = "", *, remove: bool = False) -> None:
        """Stop a server and wait until the Hub says so; ``remove`` forgets it as well.

        The Hub answers before it has removed a server's volumes; afterwards it forgets the server.
        """
        body = {"remove": True} if remove else None
        answer = self.api("DELETE", server_path(user, server), body)
        assert answer.status in (202, 204), answer
        eventually(
            lambda: self.servers(user, stopped=remove),
            lambda servers: server not in servers,
            what=f"server {user}/{server} is {'forgotten' if remove else 'stopped'}",
        )

    def forget(self, user: str, server: str) -> None:
        """Remove a named server that is stopped, and wait until the Hub has forgotten it."""
        answer = self.api("DELETE", server_path(user, server), {"remove": True})
        assert answer.status in (202, 204), answer
        eventually(
            lambda: self.servers(user, stopped=True),
            lambda servers: server not in servers,
            what=f"server {user}/{server} is forgotten",
        )

    def servers(self, user: str, *, stopped: bool = False) -> dict[str, Any]:
        """Server name → its model, of those that run or are about to; or of all."""
        params = {"include_stopped_servers": "1"} if stopped else None
        answer = self.api("GET", f"/users/{quote(user, safe='')}", params=params)
        assert answer.status == 200, answer
        servers: dict[str, Any] = answer.json()["servers"]
        return servers


def server_path(user: str, server: str = "") -> str:
    """The API's path of a server, below ``/hub/api``."""
    base = f"/users/{quote(user, safe='')}"
    return f"{base}/servers/{quote(server, safe='')}" if server else f"{base}/server"


def server_url(user: str, server: str = "") -> str:
    """The path of a server itself, with a ``/`` at its end."""
    base = f"/user/{quote(user, safe='')}/"
    return f"{base}{quote(server, safe='')}/" if server else base
