"""What carries a server's labels, and was made by somebody else: nobody stops or removes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.hub.client import server_path
from support.hub.dockerview import BUSYBOX, CONTAINER, HUB, SERVER, USER
from support.hub.hubproc import Hub, Hubs
from support.hub.waiting import eventually

KEEP = "c.JupyterHub.cleanup_servers = False"


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub that looks for orphans all the time, and leaves its servers running when it ends."""
    config = f"""
        {KEEP}
        c.DockerNamedSpawner.orphan_grace = 0.2
        c.DockerNamedSpawner.orphan_interval = 0.2
    """
    with hubs.running(config) as hub:
        yield hub


def run(hub: Hub, image: str, name: str) -> Any:
    """``docker run`` of an image."""
    made = hub.docker.client.create_container(image, name=f"{hub.prefix}-{name}")
    hub.docker.client.start(made["Id"])
    return hub.docker.client.inspect_container(made["Id"])


def commit(hub: Hub, container: Any, name: str) -> str:
    """``docker commit``; the image."""
    hub.docker.client.commit(container["Id"], f"{hub.prefix}-{name}", "latest")
    return f"{hub.prefix}-{name}:latest"


def untouched(hub: Hub, *containers: Any) -> None:
    """Assert that containers run as they did."""
    for before in containers:
        now = hub.docker.client.inspect_container(before["Id"])
        assert now["State"]["StartedAt"] == before["State"]["StartedAt"]
        assert now["State"]["Running"]


def test_copies_live_on(hub: Hub, user: str) -> None:
    """Through the server's stop, start and deletion, orphan searches, and a Hub that was killed."""
    hub.add_user(user)
    original = hub.spawn(user, "exp")
    copied = run(hub, commit(hub, original, "commit"), "copy")
    change = f'LABEL {HUB}={original["Config"]["Labels"][HUB]} {USER}={user} {SERVER}="exp"'
    labelled = run(hub, hub.docker.flavour("labelled", change), "labelled")
    assert copied["Config"]["Labels"] == original["Config"]["Labels"]
    hub.halt(user, "exp")
    eventually(
        lambda: [c["Id"] for c in hub.docker.containers(user, "exp")],
        lambda ids: set(ids) == {copied["Id"], labelled["Id"]},
        what="the original alone is removed",
    )
    # Neither is taken for the server when the Hub comes up again, nor at its next start.
    hub.kill()
    hub.start()
    assert hub.servers(user) == {}
    assert hub.api("POST", server_path(user, "exp")).status == 201
    assert len(hub.docker.containers(user, "exp")) == 3
    hub.halt(user, "exp", remove=True)
    eventually(
        lambda: [c["Id"] for c in hub.docker.containers(user, "exp")],
        lambda ids: set(ids) == {copied["Id"], labelled["Id"]},
        what="the server's own container is removed",
    )
    assert hub.api("DELETE", f"/users/{user}").status == 204
    untouched(hub, copied, labelled)
    for one in (copied, labelled):
        hub.docker.client.remove_container(one["Id"], v=True, force=True)


def test_copies_are_no_orphans(hub: Hub, user: str) -> None:
    """An orphan that this Hub made goes; a copy of a running server stays."""
    hub.add_user(user)
    original = hub.spawn(user)
    copied = run(hub, commit(hub, original, "second"), "second-copy")
    container = f"{hub.prefix}-orphan"
    labels = {**original["Config"]["Labels"], SERVER: "gone", CONTAINER: container}
    del labels["dockernamed.start"]  # of which the Hub knows that it made another one
    image = commit(hub, original, "third")
    orphan_copy = run(hub, hub.docker.flavour("gone", f'LABEL {SERVER}="gone"', image=image), "x")
    made = hub.docker.client.create_container(BUSYBOX, name=container, labels=labels)
    eventually(
        lambda: [c["Id"] for c in hub.docker.containers(user, "gone")],
        lambda ids: made["Id"] not in ids,
        what="the orphan is removed",
    )
    untouched(hub, original, copied, orphan_copy)
    hub.halt(user)
    for one in (copied, orphan_copy):
        hub.docker.client.remove_container(one["Id"], v=True, force=True)
