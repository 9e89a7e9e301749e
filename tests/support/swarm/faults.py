"""What tests of lost nodes, managers and Hubs do, and what they look at."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from support.hub.client import server_path, server_url
from support.hub.dockerview import SERVER, USER
from support.hub.hubproc import Hub
from support.hub.waiting import eventually
from support.swarm.view import SwarmView

#: Has a page that says which of its containers it is: each has another number.
WHO = (
    'mkdir -p "/www$JUPYTERHUB_SERVICE_PREFIX";'
    ' cat /proc/sys/kernel/random/uuid >"/www${JUPYTERHUB_SERVICE_PREFIX}who";'
    " exec httpd -f -p 8888 -h /www"
)
NODES = ("n1", "n2", "n3")
#: On any node that there is room on: see `Swarm.update`.
ROOM = {"placement_constraints": ["node.labels.room==yes"]}
#: Likewise, with no files on a node.
ROAMING = {"server_volume": "", **ROOM}
PROFILES: dict[str, dict[str, Any]] = {
    **{name: {"placement_constraints": [f"engine.labels.node=={name}"]} for name in NODES},
    "roaming": ROAMING,
    "following": {**ROAMING, "restart_policy": "on-failure"},
    "staying": {**ROOM, "restart_policy": "on-failure"},
    "hasty": {"start_timeout": 8},
}
#: Of a Hub with servers that stay on a node, servers that may be on any, and such that follow.
CONFIG = f"""
c.DockerNamedSpawner.profile_list = [
    {{"slug": slug, "display_name": slug, "spawner_override": override}}
    for slug, override in {PROFILES!r}.items()
]
c.DockerNamedSpawner.cmd = ["sh", "-c", {WHO!r}]
c.DockerNamedSpawner.orphan_grace = 0.5
c.DockerNamedSpawner.orphan_interval = 0.5
"""


def view_of(hub: Hub) -> SwarmView:
    """What a Hub has made."""
    assert isinstance(hub.docker, SwarmView)
    return hub.docker


def spawn(hub: Hub, user: str, **profiles: str) -> None:
    """Start servers of a user at once, each with its profile."""

    def start(server: str) -> None:
        answer = hub.api("POST", server_path(user, server), {"profile": profiles[server]})
        assert answer.status == 201, answer

    with ThreadPoolExecutor(len(profiles)) as pool:
        list(pool.map(start, profiles))


def refused(hub: Hub, user: str, server: str, profile: str) -> tuple[int, str]:
    """Ask for a server that cannot start; status and message."""
    answer = hub.api("POST", server_path(user, server), {"profile": profile})
    return answer.status, answer.message


def who(hub: Hub, user: str, server: str) -> str:
    """Which container answers at a server's URL; the status where none does."""
    answer = hub.request("GET", f"{server_url(user, server)}who")
    return answer.text.strip() if answer.status == 200 else str(answer.status)


def told(hub: Hub, *words: str) -> None:
    """Wait until a line of the log has all of these words."""

    def lines() -> list[str]:
        return [line for line in hub.log().splitlines() if all(word in line for word in words)]

    eventually(lines, what=f"the log has {words}")


def forgotten(view: SwarmView, hub: Hub, user: str) -> list[str]:
    """What there is of a user's servers that the Hub does not know to run, or has twice.

    Containers that a Swarm keeps of ended tasks do not count.
    """
    known = sorted(hub.servers(user))
    services = view.services(user)
    found = sorted(one["Spec"]["Labels"][SERVER] for one in services)
    left = [] if found == known else [f"services {found} for servers {known}"]
    running = [one for one in view.containers(user) if one["State"]["Running"]]
    inside = sorted(one["Config"]["Labels"][SERVER] for one in running)
    left += [] if inside == known else [f"containers {inside} for servers {known}"]
    used = {
        one["SecretID"]
        for service in services
        for one in service["Spec"]["TaskTemplate"]["ContainerSpec"].get("Secrets") or ()
    }
    secrets = view.swarm.manager.client.secrets({"label": f"{USER}={user}"})
    left += [f"secret {one['Spec']['Labels']}" for one in secrets if one["ID"] not in used]
    return left
