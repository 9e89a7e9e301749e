"""Links that start servers: what whoever wrote the link typed is confirmed on a page first.

JupyterHub starts a server at once when ``/hub/spawn/USER/SERVER`` is opened with options in the
query. So any page, and any mail, can start a server of whoever follows a link in it, who may see
nothing of it. That does no harm while the administrators have listed all that can be chosen. A text
that can be typed, such as any image, is another matter: its code would run beside the user's files.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jinja2
from jupyterhub.utils import url_path_join
from tornado import web

from .http_errors import as_http_error

#: Field of the confirming form. Its page is of the Hub, which takes no form of other sites.
CONFIRMED = "dockernamed_confirmed"
#: What JupyterHub itself takes of a query.
NOT_OPTIONS = frozenset({"next", "display_name", "_xsrf"})
# Read here, since nothing may read a file while the event loop waits.
_LOADER = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
_PAGE = jinja2.Environment(loader=_LOADER, autoescape=True).get_template("confirm.html")


class LinkStart:
    """JupyterHub's handler of ``/hub/spawn``, with a page between such a link and its start."""

    request: Any
    settings: Any
    hub: Any

    async def _wrap_spawn_single_user(self, *args: Any, **kwargs: Any) -> Any:
        """Start the server as JupyterHub does, unless it has to be confirmed."""
        parent: Any = super()
        start = parent._wrap_spawn_single_user
        given = inspect.signature(start).bind(*args, **kwargs).arguments  # differ by version
        options, by_link = given.get("options"), self.request.method == "GET"
        if not by_link or options is None or self._from_this_hub():
            return await start(*args, **kwargs)
        if await _typed(given["spawner"], options):
            return self._ask(given["user"], given["server_name"])
        return await start(*args, **kwargs)

    @web.authenticated
    def post(self, *args: Any, **kwargs: Any) -> Any:
        """The form of options; or the confirmation of a link, whose options are in the query.

        JupyterHub has checked by now that the form is of a page that it made for this user.
        """
        parent: Any = super()
        if CONFIRMED in self.request.body_arguments:
            return parent.get(*args, **kwargs)
        return parent.post(*args, **kwargs)

    def _from_this_hub(self) -> bool:
        """Whether a page of this Hub led here, by what the browser says, which no page can forge.

        Where the browser says nothing, or the address was typed or came from another program, a
        link is as likely as anything else. After a login the browser says that the login page led
        here, which only passes on a link from anywhere.
        """
        headers = self.request.headers
        site = headers.get("Sec-Fetch-Site", "same-origin")
        if site == "same-site":
            # With a domain for each user, their servers are sites beside this one.
            return not self.settings.get("subdomain_host")
        referer = urlsplit(headers.get("Referer", ""))
        login = urlsplit(self.settings["login_url"]).path
        logins = (login, url_path_join(self.hub.base_url, "login"))
        return (
            site == "same-origin"
            and referer.netloc == self.request.host
            and not referer.path.startswith(logins)
        )

    def _ask(self, user: Any, server_name: str) -> None:
        handler: Any = self
        options = [
            (name, ", ".join(value.decode("utf-8", "replace") for value in values))
            for name, values in self.request.query_arguments.items()
            if name not in NOT_OPTIONS
        ]
        page = _PAGE.render(
            user_name=user.name,
            server_name=server_name,
            options=options,
            url=self.request.uri,
            xsrf=handler.xsrf_token.decode("ascii"),
            confirmed=CONFIRMED,
            base_url=self.hub.base_url,
        )
        handler.finish(page)


async def _typed(spawner: Any, options: Any) -> bool:
    """Whether something in a link was typed, and not chosen from what an admin listed."""
    typed = getattr(spawner, "typed_options", None)
    return typed is not None and bool(await as_http_error(typed(options), spawner))
