"""What one user may take of what all share, on a real Hub: refused over REST and on pages alike."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.engine.registries import Registry, registry
from support.engine.trickling import TricklingRegistry
from support.hub.client import Answer, server_path
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import HUB6, Hub, Hubs
from support.hub.visitors import Visitor
from support.hub.waiting import eventually

CONFIG = """
c.DockerNamedSpawner.allowed_images = "*"
c.DockerNamedSpawner.allowed_registries = {registries}
c.DockerNamedSpawner.mem_limit = "64M"
c.DockerNamedSpawner.group_limits = {{
    "few": {{"max_servers_per_user": 2}},
    "small": {{"max_total_memory": "128M"}},
}}
c.DockerNamedSpawner.gpu_devices = ["0"]
c.DockerNamedSpawner.common_options = {{
    "gpu": {{
        "display_name": "GPU",
        "choices": {{
            "no": {{"display_name": "No", "default": True}},
            "yes": {{"display_name": "Yes", "spawner_override": {{"gpus": 1}}}},
        }},
    }},
}}
"""
MANY = 16


@pytest.fixture(scope="module")
def slow() -> Iterator[TricklingRegistry]:
    """A registry whose images never come to their end."""
    slow = TricklingRegistry()
    yield slow
    slow.close()


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry as it should be."""
    with registry(Path(tmp_path_factory.mktemp("quick")) / "store") as quick:
        yield quick


@pytest.fixture(scope="module")
def hub(hubs: Hubs, slow: TricklingRegistry, quick: Registry) -> Iterator[Hub]:
    """A Hub with limits, where users may name images of both registries."""
    prefix = hubs.prefix()
    image = f"{quick.address}/{prefix}:1"
    config = CONFIG.format(registries=[slow.address, quick.address, "docker.io"])
    with hubs.running(config, prefix=prefix) as hub:
        docker = hub.docker.client
        docker.tag(BUSYBOX, f"{quick.address}/{prefix}", "1")
        said = list(docker.push(f"{quick.address}/{prefix}", "1", stream=True, decode=True))
        assert not [line for line in said if "error" in line], said[-1]
        docker.remove_image(image)
        yield hub


def group(hub: Hub, name: str, *users: str) -> None:
    """Have users in a group."""
    hub.api("POST", f"/groups/{name}")
    assert hub.api("POST", f"/groups/{name}/users", {"users": list(users)}).status == 200


def too_many(answer: Answer) -> str:
    """What is said where there is no room, and when to try again."""
    assert answer.status == 429, answer
    assert 1 <= int(answer.headers["Retry-After"]) <= 60
    return answer.message


def start(hub: Hub, user: str, server: str, options: object = None) -> Answer:
    """Ask for a start; the answer comes when the server is ready, or was refused."""
    return hub.api("POST", server_path(user, server), options)


def test_servers_at_once(hub: Hub, user: str) -> None:
    """Of many starts in one moment two go through; each other one says what is in use, and when.

    Over REST and for the form alike. After a stop the same server starts.
    """
    hub.add_user(user)
    group(hub, "few", user)
    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(lambda name: start(hub, user, name), "abcde"))
    refused = [answer for answer in answers if answer.status == 429]
    assert len(refused) == 3
    for answer in refused:
        assert "group_limits['few']['max_servers_per_user'] = 2" in too_many(answer)
    assert len(hub.docker.containers(user)) == 2
    there = set(hub.servers(user))
    told = too_many(start(hub, user, "f", {"image": "nobody/has-it:1"}))
    assert all(repr(name) in told for name in there)

    visitor = Visitor(hub, user)
    page = visitor.post(f"/hub/spawn/{user}/g", {"gpu": "no"})
    visitor.close()
    # JupyterHub 5 shows the form again with any message, as a page that is fine.
    assert page.status_code == (429 if HUB6 else 200)
    assert "max_servers_per_user" in page.text
    assert len(hub.docker.containers(user)) == 2

    hub.halt(user, min(there))
    assert start(hub, user, "f", {}).status == 201
    hub.kill()
    hub.start()
    too_many(start(hub, user, "a"))
    for name in list(hub.servers(user)):
        hub.halt(user, name)
    assert start(hub, user, "a").status == 201
    hub.halt(user, "a")


def test_memory_of_a_group(hub: Hub, user: str) -> None:
    """Its members share it; of others' servers nothing but the sum is told."""
    other = f"{user}-other"
    for name in (user, other):
        hub.add_user(name)
    group(hub, "small", user, other)
    hub.spawn(other, "secret")
    hub.spawn(user, "mine")
    told = too_many(start(hub, user, "more"))
    assert f"promised 128M (of user '{user}': 'mine' 64M; of others: 64M)" in told
    assert "secret" not in told
    assert other not in told
    hub.halt(other, "secret")
    hub.spawn(user, "more")
    for name in ("mine", "more"):
        hub.halt(user, name)


def test_gpus(hub: Hub, user: str) -> None:
    """An Engine without them says so with what to install, and the GPU is not taken by that."""
    hub.add_user(user)
    for _ in range(2):
        answer = hub.api("POST", server_path(user, "exp"), {"gpu": "yes"})
        assert answer.status == 500, answer
        assert "install NVIDIA's container toolkit" in answer.message
    assert hub.docker.containers(user) == []
    container = hub.spawn(user, "exp", {"gpu": "no"})
    assert "NVIDIA_VISIBLE_DEVICES=void" in container["Config"]["Env"]
    hub.halt(user, "exp")


def test_pulls_of_one_user_keep_nobody_waiting(
    hub: Hub, slow: TricklingRegistry, quick: Registry, user: str
) -> None:
    """Sixteen that trickle: two of them are under way, and another user's pull is over soon."""
    other = f"{user}-other"
    for name in (user, other):
        hub.add_user(name)
    with ThreadPoolExecutor(MANY) as pool:
        options = [{"image": f"{slow.address}/{hub.prefix}-{number}:1"} for number in range(MANY)]
        asked = [
            pool.submit(start, hub, user, f"s{number}", one) for number, one in enumerate(options)
        ]
        eventually(
            lambda: (len(hub.servers(user)), slow.trickling),
            lambda found: found == (MANY, 2),
            what="two of sixteen pulls trickle",
        )
        image = f"{quick.address}/{hub.prefix}:1"
        hub.spawn(other, "exp", {"image": image})
        assert slow.trickling == 2
        assert not any(one.done() for one in asked)
        hub.halt(other, "exp")
        hub.docker.client.remove_image(image)
        # What waits comes to its end when the registry does.
        slow.close()
    assert {one.result().status for one in asked} == {500}


@pytest.mark.parametrize("image", ["169.254.169.254/x", "localhost:22/x"])
def test_what_is_no_registry(hub: Hub, user: str, image: str) -> None:
    """The Engine is not sent there, and one sentence says which registries there are."""
    hub.add_user(user)
    answer = hub.api("POST", server_path(user, "exp"), {"image": image})
    assert answer.status == 400, answer
    assert "may not be chosen here; the registry may be" in answer.message
    assert hub.docker.containers(user) == []
