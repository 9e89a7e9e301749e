"""The calls of the Engine's API that are made, for who allows them one by one. Pure.

A proxy in front of the Engine's socket can let these calls through and no others. The list in
docs/engine-calls.md and the rules in examples/hardened are made of this table, and the tests
compare it with the calls that they see: none is missing, and none is there that is never made.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

#: What stands for a part of a path: as a proxy's rule sees it, quoted.
_PARTS = {
    "{id}": "[a-zA-Z0-9][a-zA-Z0-9_.-]*",
    "{name}": "[a-zA-Z0-9][a-zA-Z0-9_.-]*",
    "{image}": "[a-zA-Z0-9]([a-zA-Z0-9_./:-]|%40)*",
}
#: The beginning of most paths.
VERSION = "(/v[0-9]+[.][0-9]+)?"


@dataclass(frozen=True)
class ApiCall:
    """One call of the API.

    Attributes:
        method: of HTTP.
        path: without API version; ``{id}``, ``{name}`` and ``{image}`` stand for what is named.
        purpose: what it is made for.
        lost: what no longer works where it is not allowed, while servers start and stop all the
            same; "" where they do not.
        on_demand: it is made for what few Hubs have, and gives away much: the example's proxy does
            not allow it until its rule is taken out of its comment.
    """

    method: str
    path: str
    purpose: str
    lost: str = ""
    on_demand: bool = False

    @cached_property
    def pattern(self) -> str:
        """A regular expression for the whole path, quoted and with an API version or without."""
        parts = re.split(r"(\{\w+\})", self.path)
        return f"^{VERSION}{''.join(_PARTS.get(part, part) for part in parts)}$"


#: Feature → the calls that it needs.
FEATURES: dict[str, tuple[ApiCall, ...]] = {
    "Watching": (
        ApiCall("GET", "/version", "agree on the version of the API"),
        ApiCall(
            "GET",
            "/info",
            "learn its log driver, firewall and GPUs, and where its files are",
            "logs are not bounded unless `log_config` is set, GPUs only those of `gpu_devices`, "
            "and it is not noticed if the Engine cannot keep servers apart",
        ),
        ApiCall("GET", "/events", "learn at once when a container ends"),
        ApiCall("GET", "/containers/json", "find the Hub's containers"),
        ApiCall("GET", "/containers/{id}/json", "look at one, and at the Hub's own"),
    ),
    "Starting and stopping": (
        ApiCall("POST", "/containers/create", "create a server's container"),
        ApiCall("HEAD", "/containers/{id}/archive", "see whether its image has a shell"),
        ApiCall("PUT", "/containers/{id}/archive", "put its tokens, secrets and files into it"),
        ApiCall("POST", "/containers/{id}/start", "start it"),
        ApiCall("POST", "/containers/{id}/stop", "stop it"),
        ApiCall("POST", "/containers/{id}/kill", "end one that does not stop"),
        ApiCall("DELETE", "/containers/{id}", "remove it"),
        ApiCall(
            "GET",
            "/containers/{id}/logs",
            "show the last lines of one that died",
            "nobody sees why a server died",
        ),
        ApiCall("GET", "/networks/{id}", "look at the network of the servers"),
    ),
    "Images": (
        ApiCall("GET", "/images/{image}/json", "see whether an image is there, and its settings"),
        ApiCall(
            "POST", "/images/create", "pull an image", "images that are not there are an error"
        ),
        ApiCall(
            "GET",
            "/images/json",
            "tell in the form which images are there",
            "the form does not tell",
        ),
    ),
    "Volumes": (
        ApiCall("POST", "/volumes/create", "create a server's volume"),
        ApiCall("GET", "/volumes/{name}", "see whose a volume is"),
        ApiCall(
            "DELETE", "/volumes/{name}", "delete it with its server", "volumes are never deleted"
        ),
        ApiCall(
            "GET",
            "/volumes",
            "find volumes of an earlier Hub, and those to delete",
            "volumes are never deleted, and those of an earlier Hub not noticed",
        ),
        ApiCall(
            "GET",
            "/containers/{id}/archive",
            "find out to whom a new volume and private files must belong",
        ),
    ),
    "Networks (`network_isolation`, `networks`)": (
        ApiCall(
            "POST",
            "/networks/create",
            "make a network that keeps servers apart",
            'servers do not start, unless `network_isolation` is `"none"` or `network_name` is set',
        ),
        ApiCall(
            "POST",
            "/networks/{id}/connect",
            "connect the Hub's own container, or servers to further networks",
            "a Hub in a container cannot set `network_isolation`, and `networks` must be empty",
        ),
        ApiCall(
            "POST",
            "/networks/{id}/disconnect",
            "disconnect the Hub's own container from a network that is removed",
            "networks of users and servers stay",
        ),
    ),
    "Commands in servers (`post_start_cmd`)": (
        ApiCall(
            "POST",
            "/containers/{id}/exec",
            "prepare the command of post_start_cmd",
            "`post_start_cmd` does not work",
            on_demand=True,
        ),
        ApiCall(
            "POST",
            "/exec/{id}/start",
            "run it",
            "`post_start_cmd` does not work",
            on_demand=True,
        ),
        ApiCall(
            "GET",
            "/exec/{id}/json",
            "learn how it ended",
            "`post_start_cmd` does not work",
            on_demand=True,
        ),
    ),
    "Orphans": (
        ApiCall(
            "GET",
            "/networks",
            "find networks of servers that no longer exist",
            "such networks stay, and no start on a Swarm waits until one is gone that is removed",
        ),
        ApiCall(
            "DELETE",
            "/networks/{id}",
            "remove networks of servers that no longer exist",
            "such networks stay",
        ),
    ),
    "Docker Swarm (`dockernamed-swarm`)": (
        ApiCall("POST", "/services/create", "create a server's service", on_demand=True),
        ApiCall("GET", "/services/{id}", "look at one", on_demand=True),
        ApiCall(
            "POST",
            "/services/{id}/update",
            "start and stop one, and give it what is new at a start",
            on_demand=True,
        ),
        ApiCall("DELETE", "/services/{id}", "remove it", on_demand=True),
        ApiCall("GET", "/services", "find the Hub's services", on_demand=True),
        ApiCall("GET", "/tasks", "see what became of them", on_demand=True),
        ApiCall(
            "GET",
            "/nodes",
            "learn where a server is reached, and which nodes there are",
            on_demand=True,
        ),
        ApiCall("GET", "/nodes/{id}", "look at one", on_demand=True),
        ApiCall(
            "POST", "/secrets/create", "hand a server its tokens, secrets and files", on_demand=True
        ),
        ApiCall("GET", "/secrets", "find those of servers that no longer exist", on_demand=True),
        ApiCall("DELETE", "/secrets/{id}", "remove them with the server", on_demand=True),
        ApiCall("POST", "/configs/create", "remember on which node a volume is", on_demand=True),
        ApiCall("GET", "/configs/{id}", "read it", on_demand=True),
        ApiCall("GET", "/configs", "find the volumes of a server", on_demand=True),
        ApiCall("POST", "/configs/{id}/update", "change it", on_demand=True),
        ApiCall("DELETE", "/configs/{id}", "forget it when the volume is deleted", on_demand=True),
        ApiCall(
            "GET",
            "/tasks/{id}/logs",
            "show the last lines of one that died",
            "nobody sees why a server died",
            on_demand=True,
        ),
    ),
}
CALLS: tuple[ApiCall, ...] = tuple(call for calls in FEATURES.values() for call in calls)


def known(method: str, path: str) -> ApiCall | None:
    """The call that a request is, or None if it is none of them.

    Args:
        method: of the request.
        path: of the request, quoted, with or without API version.
    """
    return next(
        (call for call in CALLS if call.method == method and re.fullmatch(call.pattern, path)), None
    )
