"""A Hub whose configuration cannot work ends at its start; its log tells what has no effect."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from support.hub.hubproc import Hub, Hubs

WRONG = """
    c.DockerNamedSpawner.mem_limit = "512m"
    c.DockerNamedSpawner.cpu_limit = "2"
    c.DockerNamedSpawner.port = "8888"
    c.DockerNamedSpawner.volumes = ["work:/home/jovyan"]
    c.DockerNamedSpawner.pull_policy = "sometimes"
    c.DockerNamedSpawner.server_volume = "{user}"
    c.DockerNamedSpawner.profile_list = [{"display_name": "A", "spawner_override": {"hub_id": 1}}]
    c.Spawner.start_timeout = "60"
    c.DockerSpawner.remove = True
"""
WORKS = (
    'c.DockerNamedSpawner.mem_limit = "512M"',
    "c.DockerNamedSpawner.cpu_limit = 2",
    "c.DockerNamedSpawner.port = 8888",
    'c.DockerNamedSpawner.volumes = {"work": "/home/jovyan"}',
    'c.DockerNamedSpawner.pull_policy = "always"',
    "c.Spawner.start_timeout = 60",
)
UNREAD = """
    c.DockerSpawner.remove = True
    c.KubeSpawner.image_pull_policy = "Always"
    c.DockerNamedSpawner.imagee = "lab"
"""
TOLD = (
    "c.DockerSpawner.remove: nobody reads this section; write c.DockerNamedSpawner.remove",
    "c.KubeSpawner.image_pull_policy: nobody reads this section; use pull_policy",
    "c.DockerNamedSpawner.imagee: DockerNamedSpawner has no such setting; did you mean image?",
)


@contextmanager
def ended(hubs: Hubs, config: str, env: Mapping[str, str] | None = None) -> Iterator[Hub]:
    """A Hub that has ended by itself, in good order, before it listened."""
    hub = hubs.make(config, env=env)
    try:
        with pytest.raises(AssertionError, match=r"the Hub ended with 1 at its start"):
            hub.start()
        log = hub.log()
        assert "Traceback" not in log
        assert not re.search("Task was destroyed|Unclosed|never retrieved", log)
        assert "Hub API listening" not in log
        assert not hub.proxy_pid_file.exists()
        yield hub
    finally:
        hub.close()


def test_all_that_cannot_work_is_told_in_one_go(hubs: Hubs) -> None:
    """Each line of the config with what is wrong, and one that works, without any traceback."""
    with ended(hubs, WRONG) as hub:
        (said,) = re.findall(
            r"The configuration cannot work, so the Hub ends:((?:\n .*)+)", hub.log()
        )
        told = [line.strip() for line in said.splitlines() if line.strip()]
        assert len(told) == 8
        for line in told:
            assert re.match(r"c\.\w+\.\w+\S* = .+: .+", line), line
        for example in WORKS:
            assert any(line.endswith(f"; for example {example}") for line in told), example
        assert "there is no field {user}" in said
        assert "profile_list[0]['spawner_override']['hub_id']" in said


def test_what_nobody_reads_is_told(hubs: Hubs) -> None:
    """Once each, and the Hub goes on; with `strict_config` it ends."""
    with hubs.running(UNREAD) as hub:
        for line in TOLD:
            assert hub.log().count(line) == 1
    with ended(hubs, UNREAD + "    c.DockerNamedSpawner.strict_config = True") as hub:
        for line in TOLD:
            assert hub.log().count(line) == 1


def test_a_network_that_does_not_exist(hubs: Hubs) -> None:
    """The Engine is asked before the Hub listens; the line says how to make it."""
    with ended(hubs, 'c.DockerNamedSpawner.network_name = "no-such-network"') as hub:
        line = (
            'c.DockerNamedSpawner.network_name = "no-such-network": the Engine has no such network'
        )
        assert line in hub.log()
        assert "docker network create no-such-network" in hub.log()


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("unix:///no/such.sock", "unix:///no/such.sock: .*No such file.* no Engine runs there"),
        ("tcp://127.0.0.1:9", "tcp://127.0.0.1:9: .*refused.* no Engine runs there"),
        ("carrier-pigeon://x", "no way to the Engine at .carrier-pigeon://x.: .* set DOCKER_HOST"),
    ],
)
def test_an_engine_that_is_away(hubs: Hubs, user: str, address: str, told: str) -> None:
    """One line says where it should be and what is wrong; the Hub runs and waits.

    Who starts a server is told that the Engine is away, and not where it should be: the address may
    have a password, and is the admin's.
    """
    config = 'c.DockerNamedSpawner.network_name = "lab"'
    with hubs.running(config, env={"DOCKER_HOST": address}) as hub:
        lines = [line for line in hub.log().splitlines() if "Engine" in line]
        assert len(lines) == 1, lines
        assert re.search(f"The Docker Engine cannot be reached, will try again: {told}", lines[0])
        assert "Traceback" not in hub.log()
        hub.add_user(user)
        answer = hub.api("POST", f"/users/{user}/server")
        assert answer.status >= 400
        assert "Docker Engine: cannot" in answer.message or "client_kwargs" in answer.message
        assert address not in answer.message


@pytest.mark.parametrize(
    ("config", "variable", "told"),
    [
        ("", "tcp://192.0.2.1:2375", 'DOCKER_HOST = "tcp://192.0.2.1:2375": .* not encrypted'),
        (
            'c.DockerNamedSpawner.tls_config = {"ca_cert": "ca.pem"}',
            "tcp://127.0.0.1:9",
            r"c\.DockerNamedSpawner\.tls_config = .* the CA is not used",
        ),
    ],
)
def test_a_way_to_the_engine_that_others_are_on(
    hubs: Hubs, config: str, variable: str, told: str
) -> None:
    """The Hub ends before it asks the Engine anything; the line says what allows it."""
    config = f'open("ca.pem", "w").close()\n{config}'
    with ended(hubs, config, env={"DOCKER_HOST": variable}) as hub:
        assert re.search(f"{told}.*c.DockerNamedSpawner.allow_insecure_engine = True", hub.log())
        assert "cannot be reached" not in hub.log()


HOOKS = """
def auth_state_hook(spawner, auth_state):
    if spawner.user.name.startswith("auth"):
        spawner.client_kwargs["base_url"] = "unix:///no/such.sock"

def pre_spawn_hook(spawner):
    if spawner.user.name.startswith("pre"):
        spawner.hub_id = "another"

c.Spawner.auth_state_hook = auth_state_hook
c.Spawner.pre_spawn_hook = pre_spawn_hook
"""


def test_hooks_cannot_change_what_holds_for_the_hub(hubs: Hubs, user: str) -> None:
    """The start is refused, by the name of the setting and the hook; others are not touched."""
    with hubs.running(HOOKS) as hub:
        for name, setting in (("auth", "client_kwargs"), ("pre", "hub_id")):
            hub.add_user(f"{name}-{user}")
            for _ in range(2):
                answer = hub.api("POST", f"/users/{name}-{user}/server")
                assert answer.status == 500
                assert setting in answer.message
                assert "no/such.sock" not in answer.message
                assert f"{setting} (by {name}_" in hub.log()
                assert f"set c.DockerNamedSpawner.{setting}" in hub.log()
            hub.docker.nothing_of(f"{name}-{user}")
        hub.add_user(user)
        hub.spawn(user)
        assert "no/such.sock" not in "".join(
            line for line in hub.log().splitlines() if "cannot be reached" in line
        )


def test_commands_beside_a_hub_are_not_disturbed(hubs: Hubs, user: str) -> None:
    """`jupyterhub token`, `--show-config`, `--generate-config` do their work, whatever is set."""
    hub = hubs.make("")
    try:
        hub.start()
        hub.add_user(user)
        hub.stop()
        hub.configure(WRONG)
        assert re.fullmatch(r"\w+", hub.command("token", user).splitlines()[-1])
        assert "512m" in hub.command("--show-config")
        assert "The configuration cannot work" not in hub.log()
        hub.command("--generate-config", "--config", "made.py")
        assert "c.JupyterHub" in (hub.directory / "made.py").read_text()
    finally:
        hub.close()


def test_importing_the_package_checks_nothing() -> None:
    """A script that uses the spawner's class is no Hub."""
    code = "from dockernamed import DockerNamedSpawner as D; D(); print(D.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("DockerNamedSpawner\n", "")
