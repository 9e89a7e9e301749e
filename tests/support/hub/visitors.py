"""A user who has signed in to a Hub, without a browser."""

from __future__ import annotations

from collections.abc import Mapping

import requests

from support.hub.client import Client, session
from support.hub.hubproc import HUB6


class Visitor:
    """Asks for pages as a browser does, after signing in; redirects are not followed.

    Args:
        hub: whose pages.
        user: whom its authenticator takes.
        password: for that.
    """

    def __init__(self, hub: Client, user: str, password: str = "") -> None:
        self._url, self._session = hub.url, session()
        self.get("/hub/login")
        fields = {"username": user, "password": password, "_xsrf": self._session.cookies["_xsrf"]}
        answer = self._session.post(f"{hub.url}/hub/login", fields, allow_redirects=False)
        assert answer.status_code == 302, answer.text
        # The token of forms is another one from now on, and comes with the next page.
        self.get("/hub/home")

    def get(
        self,
        path: str,
        options: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """A page, with options in its query, as this JupyterHub wants them there.

        A page of the Hub itself leads there, by what a browser says, unless other headers are
        given.
        """
        prefix = "opt-" if HUB6 else ""
        params = {f"{prefix}{name}": value for name, value in (options or {}).items()}
        if headers is None:
            headers = {"Sec-Fetch-Site": "same-origin", "Referer": f"{self._url}/hub/home"}
        return self._session.get(
            self._url + path, params=params, headers=dict(headers), allow_redirects=False
        )

    def post(self, path: str, fields: Mapping[str, str], *, xsrf: bool = True) -> requests.Response:
        """Send a form of a page of the Hub, or of another site's, which knows no ``_xsrf``."""
        if xsrf:
            fields = {"_xsrf": self._session.cookies["_xsrf"], **fields}
        return self._session.post(self._url + path, dict(fields), allow_redirects=False)

    def close(self) -> None:
        """End the session."""
        self._session.close()
