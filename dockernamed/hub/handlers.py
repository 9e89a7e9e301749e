"""What the Hub's own pages and REST API get from us.

- ``GET {hub}/api/dockernamed/options/{user}``: what a user may send, as a JSON Schema. A Hub whose
  spawner is ours has it by itself.
- ``GET {hub}/api/dockernamed/hub``: which Hub this is, for another one that has the same id.
- The home page with the image of each server, where the config asks for it::

    from dockernamed.handlers import template_paths
    c.JupyterHub.template_paths = template_paths
"""

from __future__ import annotations

import json
from typing import Any

from jupyterhub.apihandlers.base import APIHandler
from jupyterhub.scopes import needs_scope, scope_definitions
from tornado import web

from ..errors import ConfigError
from ..options.form import TEMPLATES
from .http_errors import http_error
from .other_hubs import INSTANCE, PATH

#: Whoever may start a user's servers may see what to start them with: users for themselves.
START = "start:servers" if "start:servers" in scope_definitions else "servers"


class OptionsHandler(APIHandler):  # type: ignore[misc]  # JupyterHub has no types
    """The JSON Schema of one user's ``user_options``."""

    @needs_scope(START, "admin:users")  # type: ignore[untyped-decorator]
    async def get(self, user_name: str) -> None:
        """Answer with the schema: for the user's default server, where profiles differ by it.

        Raises:
            web.HTTPError: 403 or 404 without the scope; 404: no such user, or a Hub of another
                spawner; 500: the admin's settings cannot work.
        """
        user = self.find_user(user_name)
        chooser: Any = getattr(user.spawner, "chooser", None) if user else None
        if chooser is None:
            raise web.HTTPError(404)
        try:
            schema = await chooser.schema()
        except ConfigError as error:
            raise http_error(error, user.spawner) from error
        self.set_header("Content-Type", "application/schema+json")
        self.finish(json.dumps(schema))


class HubHandler(APIHandler):  # type: ignore[misc]
    """Which Hub this is: a random word that each process has of its own."""

    def get(self) -> None:
        """Answer, whoever asks."""
        self.finish(json.dumps({"instance": INSTANCE}))


#: For ``JupyterHub.extra_handlers``.
default_handlers = [
    (r"/api/dockernamed/options/([^/]+)", OptionsHandler),
    (rf"/api{PATH}", HubHandler),
]
#: For ``JupyterHub.template_paths``.
template_paths = [str(TEMPLATES)]
