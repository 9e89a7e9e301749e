"""Hooks and commands in the container, by a real Hub on a real Engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.hub.client import server_path
from support.hub.hubproc import Hub, Hubs

SETTINGS: dict[str, dict[str, Any]] = {
    "touch": {"post_start_cmd": ["sh", "-c", "id -u > /work/who; echo done"]},
    "root": {
        "post_start_cmd": ["sh", "-c", "id -u > /tmp/who"],
        "post_start_user": "12:34",
        "remove": False,
    },
    "fails": {"post_start_cmd": ["sh", "-c", "echo what-it-said; exit 9"]},
    "never": {"post_start_cmd": ["sleep", "600"], "post_start_timeout": 1},
    "kills": {"post_start_cmd": ["sh", "-c", "kill -9 -1; kill 1; sleep 60"]},
}


@pytest.fixture(scope="module")
def hub(hubs: Hubs) -> Iterator[Hub]:
    """A Hub with hooks for everybody."""
    config = """
        def change(spawner, request):
            request["Labels"]["cost"] = spawner.user.name
            request["HostConfig"]["OomScoreAdj"] = 321
            request["Env"].append("BY_HOOK=yes")

        async def tell(spawner, container):
            spawner.log.info("Started %s at %s", container["Name"], container["State"]["Status"])

        c.DockerNamedSpawner.modify_container_hook = change
        c.DockerNamedSpawner.post_start_hook = tell
        c.DockerNamedSpawner.extra_create_kwargs = {"user": "0"}
    """
    with hubs.running(config, prefix=hubs.prefix(), by_user=SETTINGS) as hub:
        yield hub


def test_hooks_and_a_command(hub: Hub, user: str) -> None:
    """The container is as the hook has it, the command has run in it, and the log has the rest."""
    name = f"touch-{user}"
    hub.add_user(name)
    container = hub.spawn(name, "exp")
    assert container["Config"]["Labels"]["cost"] == name
    assert container["HostConfig"]["OomScoreAdj"] == 321
    assert "BY_HOOK=yes" in container["Config"]["Env"]
    assert hub.docker.run(container, "cat", "/work/who").strip() == "0"
    log = hub.log()
    assert f"Started {container['Name']} at running" in log
    assert "post_start_cmd: done" in log


def test_a_kept_container_after_a_restart_of_the_hub(hub: Hub, user: str) -> None:
    """The command runs at each start as whom it says; the same hook keeps the same container."""
    name = f"root-{user}"
    hub.add_user(name)
    first = hub.spawn(name, "exp")
    assert hub.docker.run(first, "cat", "/tmp/who").strip() == "12"
    hub.docker.run(first, "rm", "/tmp/who")
    hub.halt(name, "exp")
    hub.restart()
    again = hub.spawn(name, "exp")
    assert again["Id"] == first["Id"]
    assert hub.docker.run(again, "cat", "/tmp/who").strip() == "12"
    hub.halt(name, "exp")
    hub.forget(name, "exp")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("fails", "post_start_cmd ended with exit code 9. Its last lines:\nwhat-it-said"),
        ("never", "post_start_cmd did not end within 1 seconds"),
        ("kills", "exit code"),
    ],
)
def test_a_command_that_fails(hub: Hub, user: str, kind: str, words: str) -> None:
    """The start fails and says why; nothing of it is left, and no command that runs on."""
    name = f"{kind}-{user}"
    token = hub.add_user(name)
    answer = hub.api("POST", server_path(name, "exp"), token=token)
    assert answer.status == 500
    assert words in answer.message
    hub.docker.gone(name, "exp")
    hub.docker.nothing_of(name)
