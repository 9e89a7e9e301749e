"""A service behind the Hub, as its docs describe: it knows its callers, and starts their servers.

Run by the Hub of `test_rest_users.py`, with the environment that JupyterHub gives to services.
"""

from __future__ import annotations

import asyncio
import json
import os
from urllib.parse import urlparse

from jupyterhub.services.auth import HubAuthenticated
from tornado import httpclient, web


class Start(HubAuthenticated, web.RequestHandler):  # type: ignore[misc]
    """POST starts a server for whoever asks; the body is passed on."""

    @web.authenticated
    async def post(self, server: str) -> None:
        """Start the caller's own server, with the service's token."""
        name = self.get_current_user()["name"]
        answer = await httpclient.AsyncHTTPClient().fetch(
            f"{os.environ['JUPYTERHUB_API_URL']}/users/{name}/servers/{server}",
            method="POST",
            headers={"Authorization": f"token {os.environ['JUPYTERHUB_API_TOKEN']}"},
            body=self.request.body,
            request_timeout=100,
            raise_error=False,
        )
        self.set_status(answer.code)
        self.write(json.dumps({"started": f"{name}/{server}"}))


async def main() -> None:
    """Listen where JupyterHub says, for ever."""
    path = os.environ["JUPYTERHUB_SERVICE_PREFIX"]
    url = urlparse(os.environ["JUPYTERHUB_SERVICE_URL"])
    web.Application([(rf"{path}start/([^/]+)", Start)]).listen(url.port or 80, url.hostname)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
