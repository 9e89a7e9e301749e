"""jupyterhub-idle-culler beside dockernamed, set up as docs/deployment.md says."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path

from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import Hub, Hubs
from support.hub.stopping import SLOW
from support.hub.waiting import eventually

DEPLOYMENT = Path(__file__).parents[3] / "docs" / "deployment.md"


def culling(*options: str) -> str:
    """The page's lines, with times that a test can wait for, and further options."""
    text = DEPLOYMENT.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    [lines] = [block for block in blocks if "idle_culler" in block]
    arguments = ("--timeout=1", "--cull-every=1", *options)
    quick = lines.replace('"--timeout=3600"', ", ".join(map(repr, arguments)))
    assert quick != lines
    return str(quick)


@contextmanager
def culled(hubs: Hubs, *options: str) -> Iterator[Hub]:
    """A Hub with a culler."""
    prefix = hubs.prefix()
    config = (
        'c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 0}\n'
        f'c.DockerNamedSpawner.allowed_images = ["{prefix}-slow:latest", {BUSYBOX!r}]\n'
    )
    with hubs.running(config + culling(*options), prefix=prefix) as hub:
        hub.docker.flavour("slow", SLOW)
        yield hub


def busy(hub: Hub, user: str) -> None:
    """A server that is used all the time: before it is ready, and for half an hour to come."""
    path = f"/users/{user}/servers/busy"
    assert hub.api("POST", path, {"image": f"{hub.prefix}-slow:latest"}).status == 202
    [container] = eventually(
        lambda: hub.docker.containers(user, "busy"),
        lambda found: len(found) == 1 and found[0]["State"]["Running"],
        what="the container runs",
    )
    used = {"last_activity": (datetime.now(timezone.utc) + timedelta(minutes=30)).isoformat()}
    assert hub.api("POST", f"/users/{user}/activity", {"servers": {"busy": used}}).status == 200
    hub.docker.run(container, "touch", "/work/go")
    hub.ready(user, "busy")


def idle(hub: Hub, user: str) -> None:
    """A server that runs and is not used, until it is stopped by somebody."""
    since = time.time()
    assert hub.api("POST", f"/users/{user}/servers/idle").status in (201, 202)
    eventually(
        lambda: hub.servers(user), lambda found: sorted(found) == ["busy"], what="it is stopped"
    )
    hub.docker.gone(user, "idle")
    ended = [event for event in hub.docker.events(since) if event["Action"] == "die"]
    assert [event["Actor"]["Attributes"]["exitCode"] for event in ended] == ["143"]


def volumes(hub: Hub, user: str) -> list[str]:
    """The servers of a user that have files."""
    found = [volume["Labels"] for volume in hub.docker.volumes()]
    return sorted(one["dockernamed.server"] for one in found if one["dockernamed.user"] == user)


def test_an_idle_server_is_stopped(hubs: Hubs, user: str) -> None:
    """One that nobody uses is stopped and keeps its files; one that is used runs on."""
    with culled(hubs) as hub:
        hub.add_user(user)
        busy(hub, user)
        idle(hub, user)
        assert sorted(hub.servers(user, stopped=True).keys() - {""}) == ["busy", "idle"]
        assert hub.docker.running(user) == ["busy"]
        assert volumes(hub, user) == ["busy", "idle"]


def test_an_idle_server_is_deleted(hubs: Hubs, user: str) -> None:
    """With the culler's option to remove named servers, nothing of it is left, files included."""
    with culled(hubs, "--remove-named-servers=true") as hub:
        hub.add_user(user)
        busy(hub, user)
        idle(hub, user)
        eventually(
            lambda: hub.servers(user, stopped=True).keys() - {""},
            lambda found: found == {"busy"},
            what="the server is forgotten",
        )
        assert hub.docker.running(user) == ["busy"]
        assert volumes(hub, user) == ["busy"]
