"""A second Hub with a copy of the config and an empty database, and a Hub that was moved."""

from __future__ import annotations

from typing import Any

import pytest
from support.hub.client import server_path
from support.hub.dockerview import BUSYBOX, CONTAINER, HUB, SERVER, USER
from support.hub.hubproc import Hub, Hubs
from support.hub.waiting import eventually


def orphan_is_removed(hub: Hub, user: str, hub_id: str) -> None:
    """A round of the housekeeping: a leftover that no other Hub answers for goes."""
    name = f"{hub.prefix}-leftover"
    labels = {HUB: hub_id, USER: user, SERVER: "gone", CONTAINER: name}
    hub.docker.client.create_container(BUSYBOX, name=name, labels=labels)
    hub.docker.gone(user, "gone")


def same_process(hub: Hub, before: Any) -> bool:
    """Whether a container runs as it did."""
    now = hub.docker.client.inspect_container(before["Id"])
    return bool(now["State"]["Running"] and now["State"]["Pid"] == before["State"]["Pid"])


def test_a_second_live_hub_with_the_same_id(hubs: Hubs, user: str) -> None:
    """It takes nothing from the first one, and says so once; what a dead one left, it removes."""
    prefix = hubs.prefix()
    same = f"""
        c.JupyterHub.cleanup_servers = False
        c.DockerNamedSpawner.hub_id = "{prefix}"
        c.DockerNamedSpawner.orphan_grace = 0.1
        c.DockerNamedSpawner.orphan_interval = 0.1
    """
    blind = 'c.DockerNamedSpawner.orphans = "off"'
    with hubs.running(f"{same}\n        {blind}", prefix=prefix) as one:
        one.add_user(user)
        before = one.spawn(user, "exp")
        with hubs.running(same, prefix=prefix, leaves=[user]) as two:
            for _ in range(2):
                orphan_is_removed(two, "nobody", prefix)
                assert same_process(one, before)
            told = [line for line in two.log().splitlines() if "another Hub" in line]
            assert len(told) == 1, told
            assert f":{one.hub_port}/hub/api" in told[0]
            assert f":{two.hub_port}/hub/api" in told[0]
            assert f"c.DockerNamedSpawner.hub_id = '{prefix}-2'" in told[0]
            # A start of the same server is refused, and nothing that follows from it does harm.
            two.add_user(user)
            refused = two.api("POST", server_path(user, "exp"))
            assert refused.status == 409, refused
            # Where the other one is, and whose container it is, is its admin's to know.
            assert f"c.DockerNamedSpawner.hub_id = '{prefix}-2'" in refused.message
            assert f":{one.hub_port}/hub/api" not in refused.message
            assert f":{one.hub_port}/hub/api" in two.log().rpartition("dockernamed.errors")[2]
            two.api("DELETE", server_path(user, "exp"), {"remove": True})
            assert two.api("DELETE", f"/users/{user}").status == 204
            assert same_process(one, before)
            assert one.servers(user)["exp"]["ready"]
            # The first one is gone for good: what it left is an orphan like any other.
            one.kill()
            two.docker.gone(user, "exp")


def test_a_hub_that_was_moved(hubs: Hubs, user: str) -> None:
    """A new secret alone changes nothing; without the id's file too, the first start says so."""
    with hubs.running() as hub:
        hub.add_user(user)
        container = hub.spawn(user)
        hub.docker.write(container, "/work/x", "mine")
        hub_id = container["Config"]["Labels"][HUB]
        hub.halt(user)
        hub.stop()
        assert (hub.directory / "dockernamed_hub_id").read_text() == f"{hub_id}\n"
        for name in ("jupyterhub_cookie_secret", "jupyterhub.sqlite"):
            (hub.directory / name).unlink()
        hub.start()
        hub.add_user(user)
        assert hub.docker.read(hub.spawn(user), "/work/x") == "mine"
        hub.halt(user)
        hub.stop()
        for name in ("jupyterhub_cookie_secret", "jupyterhub.sqlite", "dockernamed_hub_id"):
            (hub.directory / name).unlink()
        hub.configure('c.DockerNamedSpawner.volumes_of_another_hub = "refuse"')
        hub.start()
        hub.add_user(user)
        refused = hub.api("POST", server_path(user))
        assert refused.status == 409, refused
        assert f"c.DockerNamedSpawner.hub_id = '{hub_id}'" in refused.message
        # The line that it names gives the files back.
        hub.stop()
        hub.configure(f"c.DockerNamedSpawner.hub_id = '{hub_id}'")
        hub.start()
        assert hub.docker.read(hub.spawn(user), "/work/x") == "mine"
        hub.halt(user)


def test_a_file_with_no_id(hubs: Hubs) -> None:
    """A Hub that cannot know who it is does not start, and names the file."""
    hub = hubs.make()
    (hub.directory / "dockernamed_hub_id").write_text("two words\n")
    with pytest.raises(AssertionError, match="the Hub ended with 1"):
        hub.start()
    assert "dockernamed_hub_id" in hub.log()
    assert "Traceback" not in hub.log()
    hub.close()


def test_a_user_whose_servers_run(hubs: Hubs, user: str) -> None:
    """DELETE of the user is 409, names them, and removes nothing; then 204, and all is gone."""
    with hubs.running() as hub:
        hub.add_user(user)
        for server in ("", "exp"):
            hub.spawn(user, server)
        hub.halt(user)
        volumes = [one["Name"] for one in hub.docker.volumes()]
        refused = hub.api("DELETE", f"/users/{user}")
        assert refused.status == 409, refused
        assert "'exp'" in refused.message
        assert [one["Name"] for one in hub.docker.volumes()] == volumes
        assert len(volumes) == 2
        assert hub.servers(user)["exp"]["ready"]
        hub.halt(user, "exp")
        assert hub.api("DELETE", f"/users/{user}").status == 204
        eventually(
            lambda: [one["Name"] for one in hub.docker.volumes()],
            lambda left: left == [],
            what="the user's volumes are removed",
        )
