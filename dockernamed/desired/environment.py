"""A server's environment as two values: what is common to its starts, and what is personal. Pure.

What is common is fixed when the container is created, and is part of the spec's hash. What is
personal says who the server is and lets it speak for that user: where a container is kept, or made
before anybody has asked for it, it is delivered apart from the rest, at each start anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Variables that JupyterHub makes for one user, one server or one start. The paths of certificates
#: (``JUPYTERHUB_SSL_…``) are not among them: they are the same for all servers.
PERSONAL = frozenset(
    {
        "JUPYTERHUB_API_TOKEN",
        "JPY_API_TOKEN",
        "JUPYTERHUB_USER",
        "JUPYTERHUB_SERVER_NAME",
        "JUPYTERHUB_SERVICE_PREFIX",
        "JUPYTERHUB_SERVICE_URL",
        "JUPYTERHUB_CLIENT_ID",
        "JUPYTERHUB_OAUTH_CALLBACK_URL",
        "JUPYTERHUB_OAUTH_SCOPES",
        "JUPYTERHUB_OAUTH_ACCESS_SCOPES",
        "JUPYTERHUB_OAUTH_CLIENT_ALLOWED_SCOPES",
        "JUPYTERHUB_ACTIVITY_URL",
        "JUPYTERHUB_PUBLIC_URL",
        "JUPYTERHUB_ADMIN_ACCESS",
    }
)


@dataclass(frozen=True)
class Environment:
    """Name → value, in two parts that share no name.

    Attributes:
        common: fixed at create, and part of the spec's hash.
        personal: new at every start; only names of `PERSONAL`.
    """

    common: Mapping[str, str] = field(default_factory=dict)
    personal: Mapping[str, str] = field(default_factory=dict)

    @property
    def all(self) -> dict[str, str]:
        """Both parts."""
        return {**self.common, **self.personal}


def split(env: Mapping[str, str]) -> Environment:
    """Tell the two parts of a whole environment apart, by the variables' names."""
    return Environment(
        common={name: value for name, value in env.items() if name not in PERSONAL},
        personal={name: value for name, value in env.items() if name in PERSONAL},
    )
