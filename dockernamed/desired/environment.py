"""A server's environment as three values: common to its starts, personal, and secret. Pure.

What is common is fixed when the container is created, and is part of the spec's hash. What is
personal says who the server is, what is secret lets it speak for that user: where the image has a
shell, both are delivered apart from the rest, at each start anew. What is secret is then never part
of the container's configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: Variables that JupyterHub makes for one user, one server or one start. The paths of certificates
#: (``JUPYTERHUB_SSL_…``) are not among them: they are the same for all servers.
PERSONAL = frozenset(
    {
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
#: Those with which a server speaks for its user.
TOKENS = frozenset({"JUPYTERHUB_API_TOKEN", "JPY_API_TOKEN"})


@dataclass(frozen=True)
class Environment:
    """Name → value, in three parts that share no name.

    Attributes:
        common: fixed at create, and part of the spec's hash.
        personal: new at every start; only names of `PERSONAL`.
        secret: new at every start: `TOKENS`, and the setting ``secret_environment``.
    """

    common: Mapping[str, str] = field(default_factory=dict)
    personal: Mapping[str, str] = field(default_factory=dict)
    secret: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def all(self) -> dict[str, str]:
        """All parts."""
        return {**self.common, **self.personal, **self.secret}

    @property
    def delivered(self) -> dict[str, str]:
        """What is new at every start."""
        return {**self.personal, **self.secret}

    @property
    def private_only(self) -> list[str]:
        """Names of what must not be in a container's configuration, whatever the image is like."""
        return sorted(self.secret.keys() - TOKENS)


def split(env: Mapping[str, str], secret: Mapping[str, str] | None = None) -> Environment:
    """Tell the parts of a whole environment apart, by the variables' names.

    Args:
        env: what JupyterHub and the setting ``environment`` say.
        secret: the setting ``secret_environment``, which wins.
    """
    secret = secret or {}
    rest = {name: value for name, value in env.items() if name not in secret}
    return Environment(
        common={name: value for name, value in rest.items() if name not in PERSONAL | TOKENS},
        personal={name: value for name, value in rest.items() if name in PERSONAL},
        secret={**{name: value for name, value in rest.items() if name in TOKENS}, **secret},
    )
