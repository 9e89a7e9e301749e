"""Attacks from inside a container, on the host and on the others; and what works all the same."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support.hub.client import server_path, server_url
from support.hub.dockerview import BUSYBOX, LAB
from support.hub.hubproc import Hub, Hubs
from support.hub.stopping import how_it_ended

#: An image that starts as root and becomes another user, as the Jupyter Docker Stacks' do.
DROPPER = (
    "USER root",
    'CMD ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "jupyterhub-singleuser"]',
)
#: The six capabilities of `desired.hardening.ROOT_CAPABILITIES`, by their numbers in Linux.
SIX = sum(1 << number for number in (0, 1, 3, 5, 6, 7))
FLOOD = "head -c 45000000 /dev/zero | tr '\\0' x | fold -w 10000 > /proc/1/fd/1"
#: As many processes as the kernel lets it have, 2,000 at most; all end with it.
FORKS = """
import os, signal
made = []
try:
    while len(made) < 2000:
        child = os.fork()
        if not child:
            signal.pause()
        made.append(child)
except BlockingIOError:
    pass
finally:
    for child in made:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
print(len(made))
"""
PROFILES: dict[str, dict[str, Any]] = {
    "plain": {"mem_limit": "64M"},
    "lab": {"image": LAB},
    "sudo": {"allow_privilege_escalation": True},
    # A busy machine is no reason to fail.
    "dropper": {"image": "{prefix}-dropper:latest", "stop_timeout": 120.0},
    "strict": {"image": LAB, "hardening": "strict", "network_name": "{prefix}-inner"},
    "kept": {"remove": False},
    "root-strict": {"hardening": "strict", "internal_network": False},
}
CONFIG = """
    c.JupyterHub.cleanup_servers = False
    c.DockerNamedSpawner.hardening = {level!r}
    c.DockerNamedSpawner.crash_log_lines = 0
    c.DockerNamedSpawner.profile_list = {profiles!r}
"""


def config(prefix: str, level: str = "default") -> str:
    """A Hub's configuration with a profile for each way to harden a server."""
    entries = []
    for slug, override in PROFILES.items():
        filled = {
            name: value.format(prefix=prefix) if isinstance(value, str) else value
            for name, value in override.items()
        }
        if filled.get("image", BUSYBOX) != BUSYBOX:
            filled["readiness"] = "jupyterhub"
        entries.append({"slug": slug, "display_name": slug, "spawner_override": filled})
    return CONFIG.format(level=level, profiles=entries)


@pytest.fixture(scope="module")
def hub(hubs: Hubs, lab_images: tuple[str, str]) -> Iterator[Hub]:
    """A Hub with these profiles; it leaves its servers alone when it stops."""
    prefix = hubs.prefix()
    with hubs.running(config(prefix), prefix=prefix, leaves=["ann", "bob"]) as hub:
        hub.docker.flavour("dropper", *DROPPER, image=LAB)
        hub.docker.network("inner", internal=True)
        hub.add_user("ann")
        yield hub


def attack(hub: Hub, container: Any, *command: str, user: str = "") -> tuple[int, str]:
    """Run a command in a container, as its own user unless told otherwise; exit code and output."""
    client = hub.docker.client
    created = client.exec_create(container["Id"], list(command), user=user)
    output = client.exec_start(created["Id"]).decode(errors="replace")
    return client.exec_inspect(created["Id"])["ExitCode"], output


def status(hub: Hub, container: Any) -> dict[str, str]:
    """What the kernel says of the rights of a container's first process."""
    text = hub.docker.read(container, "/proc/1/status")
    return dict(re.findall(r"^(\w+):\s+(\S+)", text, re.MULTILINE))


@pytest.fixture(scope="module")
def plain(hub: Hub) -> Any:
    """A server that starts as root, and stays that."""
    return hub.spawn("ann", "plain", {"profile": "plain"})


@pytest.fixture(scope="module")
def lab(hub: Hub) -> Any:
    """A server of an image that starts as a user."""
    return hub.spawn("ann", "lab", {"profile": "lab"})


# --- by default --------------------------------------------------------------------------------


def test_root_has_six_capabilities(hub: Hub, plain: Any) -> None:
    """Neither NET_RAW nor MKNOD nor SYS_CHROOT nor any other; and seccomp is the Engine's own."""
    found = status(hub, plain)
    assert int(found["CapBnd"], 16) == int(found["CapEff"], 16) == SIX
    assert found["NoNewPrivs"] == "1"
    assert found["Seccomp"] == "2"


def test_a_user_has_no_capability(hub: Hub, lab: Any) -> None:
    """Nor could a program that the user starts ever get one."""
    found = status(hub, lab)
    assert [int(found[name], 16) for name in ("CapBnd", "CapEff", "CapPrm", "CapInh")] == [0] * 4
    assert found["NoNewPrivs"] == "1"


def test_no_packets_in_the_name_of_others(hub: Hub, plain: Any, lab: Any) -> None:
    """ARP spoofing and sniffing need raw sockets, which neither root nor a user gets."""
    code, said = attack(hub, plain, "arping", "-c1", "-I", "eth0", "172.17.0.1")
    assert code != 0
    assert "not permitted" in said
    for kind in ("AF_PACKET, s.SOCK_RAW, 3", "AF_INET, s.SOCK_RAW, 1"):
        code, said = attack(hub, lab, "python3", "-c", f"import socket as s; s.socket(s.{kind})")
        assert code != 0
        assert "PermissionError" in said


def test_no_devices_are_made(hub: Hub, plain: Any) -> None:
    """Mknod of the host's disk is refused, and so are mounts and chroot."""
    for command in (
        ("mknod", "/tmp/disk", "b", "8", "0"),
        ("mount", "-t", "tmpfs", "tmpfs", "/work"),
        ("chroot", "/", "true"),
    ):
        code, said = attack(hub, plain, *command)
        assert code != 0, command
        assert re.search("not permitted|denied", said), said


def test_setuid_gains_nothing(hub: Hub, lab: Any) -> None:
    """A program of root's with the setuid bit runs as who starts it; one setting lets it."""
    prepare = ("sh", "-c", "cp /bin/cat /tmp/cat && chmod 4755 /tmp/cat")
    assert attack(hub, lab, *prepare, user="0") == (0, "")
    code, said = attack(hub, lab, "/tmp/cat", "/etc/shadow")
    assert (code, "denied" in said) == (1, True)
    # With the setting the same kind of program does become root, in the container.
    allowed = hub.spawn("ann", "sudo", {"profile": "sudo"})
    assert status(hub, allowed)["NoNewPrivs"] == "0"


def test_a_fork_bomb_ends(hub: Hub, lab: Any) -> None:
    """The kernel refuses the 513th process or thread, and the server still answers."""
    code, made = attack(hub, lab, "python3", "-c", FORKS)
    assert (code, 400 < int(made) < 512) == (0, True)
    assert hub.request("GET", f"{server_url('ann', 'lab')}api", token=hub.token).status == 200


def test_no_core_dumps_and_no_swap(hub: Hub, plain: Any) -> None:
    """A crash writes no file with the server's memory; a limit of memory is one of swap, too."""
    assert attack(hub, plain, "sh", "-c", "ulimit -c; ulimit -H -c") == (0, "0\n0\n")
    limits = plain["HostConfig"]
    assert limits["Memory"] == limits["MemorySwap"] == 64 << 20
    code, nofile = attack(hub, plain, "sh", "-c", "ulimit -n")
    assert (code, "nofile" in str(limits["Ulimits"])) == (0, False)
    assert int(nofile) >= 1024


def test_a_flood_of_output_is_bounded(hub: Hub, plain: Any) -> None:
    """45 MB of output leave at most three files of 10 MB."""
    assert attack(hub, plain, "sh", "-c", FLOOD) == (0, "")
    left = sum(map(len, hub.docker.client.logs(plain["Id"], stream=True, follow=False)))
    assert 5_000_000 < left < 32_000_000
    assert plain["HostConfig"]["LogConfig"] == {
        "Type": "json-file",
        "Config": {"max-size": "10m", "max-file": "3"},
    }


def test_an_image_that_drops_root(hub: Hub) -> None:
    """It starts as root, becomes a user without any capability, and ends when it is asked to."""
    container = hub.spawn("ann", "dropper", {"profile": "dropper"})
    child = "cut -d ' ' -f 1 /proc/1/task/1/children"
    code, said = attack(hub, container, "sh", "-c", f"cat /proc/$({child})/status")
    assert code == 0, said
    found = dict(re.findall(r"^(\w+):\s+(\S+)", said, re.MULTILINE))
    assert (found["Uid"], int(found["CapEff"], 16)) == ("1000", 0)
    since = time.time()
    hub.halt("ann", "dropper")
    # 137 is the end of what did not listen until its time was over.
    assert how_it_ended(hub, container["Id"], since)["exitCode"] != "137"


# --- strict ------------------------------------------------------------------------------------


def test_strict(hub: Hub) -> None:
    """Nothing but home, /tmp and /run can be written to, and there is no way out; a lab works."""
    container = hub.spawn("ann", "strict", {"profile": "strict"})
    found = status(hub, container)
    assert (int(found["CapBnd"], 16), found["NoNewPrivs"]) == (0, "1")
    for path in ("/x", "/usr/x", "/etc/x", "/var/x"):
        code, said = attack(hub, container, "touch", path, user="0")
        assert (code, "Read-only" in said) == (1, True), said
    for path in ("/tmp/x", "/home/jovyan/x"):
        assert attack(hub, container, "touch", path) == (0, "")
    out = "import socket; socket.create_connection(('198.51.100.1', 80), 2)"
    code, said = attack(hub, container, "python3", "-c", out)
    assert code != 0, said
    url = server_url("ann", "strict")
    body = {"type": "file", "format": "text", "content": "hello"}
    for method, path, sent in (
        ("PUT", "api/contents/x.txt", body),
        ("POST", "api/kernels", {"name": "python3"}),
        ("POST", "api/terminals", {}),
    ):
        answer = hub.request(method, f"{url}{path}", sent, token=hub.token)
        assert answer.status in (200, 201), (path, answer)


def test_strict_as_root(hub: Hub) -> None:
    """Root without capabilities is told about; a start in a network with a way out is refused."""
    container = hub.spawn("ann", "rs", {"profile": "root-strict"})
    assert int(status(hub, container)["CapEff"], 16) == 0
    assert "has none of root's capabilities" in hub.log()


# --- over time ---------------------------------------------------------------------------------


def test_a_hub_that_hardens_from_now_on(hubs: Hubs) -> None:
    """A server that runs stays as it is; a kept container of before is replaced, files are kept."""
    prefix = hubs.prefix()
    with hubs.running(config(prefix, "off"), prefix=prefix, leaves=["bob"]) as hub:
        hub.add_user("bob")
        before = {name: hub.spawn("bob", name, {"profile": "kept"}) for name in ("stays", "stops")}
        assert before["stops"]["HostConfig"]["CapDrop"] is None
        hub.docker.write(before["stops"], "/work/x", "kept")
        hub.halt("bob", "stops")
        hub.configure(config(prefix))
        hub.restart()
        hub.ready("bob", "stays")
        assert hub.docker.one("bob", "stays")["Id"] == before["stays"]["Id"]
        now = hub.spawn("bob", "stops", {"profile": "kept"})
        assert now["Id"] != before["stops"]["Id"]
        assert now["HostConfig"]["CapDrop"] == ["ALL"]
        assert hub.docker.read(now, "/work/x") == "kept"
        assert "not as wanted any more: hardening" in hub.log()
        hub.halt("bob", "stops")
        assert hub.spawn("bob", "stops", {"profile": "kept"})["Id"] == now["Id"]
        for name in before:
            assert hub.api("DELETE", server_path("bob", name), {"remove": True}).status < 300
