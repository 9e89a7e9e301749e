"""A real JupyterLab behind the Hub: the notebook server's own REST API, kernels, files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.hub.client import server_url
from support.hub.dockerview import LAB, LAB2
from support.hub.hubproc import Hub, Hubs
from support.hub.kernels import run_code
from support.hub.waiting import eventually

USER, SERVER = "ann", "exp"


@pytest.fixture(scope="module")
def hub(hubs: Hubs, lab_images: tuple[str, str]) -> Iterator[Hub]:
    """A Hub with two images with JupyterLab; it leaves its servers alone when it stops."""
    lab, green = lab_images
    config = f"""
        c.DockerNamedSpawner.allowed_images = {{"lab": {lab!r}, "green": {green!r}}}
        c.JupyterHub.cleanup_servers = False
        c.DockerNamedSpawner.readiness = "jupyterhub"
    """
    with hubs.running(config, image="lab", leaves=[USER]) as hub:
        yield hub


@pytest.fixture(scope="module")
def token(hub: Hub) -> str:
    """The user's token."""
    return hub.add_user(USER)


@pytest.fixture
def lab(hub: Hub, token: str) -> str:
    """The path of a running server with JupyterLab."""
    if SERVER not in hub.servers(USER):
        hub.spawn(USER, SERVER, token=token)
    return server_url(USER, SERVER)


def test_the_same_token_opens_the_notebook_server(hub: Hub, lab: str, token: str) -> None:
    """The token that started the server works on its own REST API, through the proxy, by curl."""
    line = 'curl -H "Authorization: token $TOKEN" "$URL$LAB/api/status"'
    answer = hub.curl(line, token=token, LAB=lab.rstrip("/"))
    assert answer.status == 200
    assert answer.json()["kernels"] == 0
    assert hub.request("GET", f"{lab}lab", token=token).status == 200


def test_write_a_file_and_run_a_kernel(hub: Hub, lab: str, token: str) -> None:
    """PUT api/contents/x.txt makes a file; a kernel started over REST computes 1+1 and sees it.

    It can be started again, and there are terminals: a hardened container lacks nothing for them.
    """
    line = (
        'curl -X PUT -H "Authorization: token $TOKEN" "$URL$LAB/api/contents/x.txt"'
        """ -d '{"type": "file", "format": "text", "content": "hello"}'"""
    )
    assert hub.curl(line, token=token, LAB=lab.rstrip("/")).status == 201
    made = hub.request("POST", f"{lab}api/kernels", {"name": "python3"}, token=token)
    assert made.status == 201, made
    kernel = made.json()["id"]
    assert run_code(hub, lab, kernel, token, "1+1") == "2"
    assert run_code(hub, lab, kernel, token, "open('x.txt').read()") == "'hello'"
    again = hub.request("POST", f"{lab}api/kernels/{kernel}/restart", {}, token=token)
    assert again.status == 200, again
    assert run_code(hub, lab, kernel, token, "1+2") == "3"
    terminal = hub.request("POST", f"{lab}api/terminals", {}, token=token)
    assert terminal.status == 200, terminal
    assert hub.request("DELETE", f"{lab}api/kernels/{kernel}", token=token).status == 204


def test_another_users_token_is_refused(hub: Hub, lab: str) -> None:
    """403 for another user's token and for a wrong one."""
    stranger = hub.add_user("bob")
    assert hub.request("GET", f"{lab}api/status", token=stranger).status == 403
    assert hub.request("GET", f"{lab}api/status", token="wrong").status == 403
    line = 'curl -H "Authorization: token $TOKEN" "$URL$LAB/api/contents"'
    assert hub.curl(line, token=stranger, LAB=lab.rstrip("/")).status == 403


def test_a_token_with_access_servers_gets_in(hub: Hub, lab: str, token: str) -> None:
    """`access:servers` is enough, limited to this server too; other scopes are not."""
    for scope in (f"access:servers!user={USER}", f"access:servers!server={USER}/{SERVER}"):
        scoped = hub.token_for(USER, scopes=[scope])
        assert hub.request("GET", f"{lab}api/status", token=scoped).status == 200, scope
    other = hub.token_for(USER, scopes=[f"access:servers!server={USER}/other"])
    assert hub.request("GET", f"{lab}api/status", token=other).status == 403
    reader = hub.token_for(USER, scopes=["read:servers!user"])
    assert hub.request("GET", f"{lab}api/status", token=reader).status == 403
    assert hub.request("GET", f"{lab}api/status").status == 200  # a service that has the scope


def test_the_server_knows_its_image(hub: Hub, lab: str) -> None:
    """The container has JUPYTER_IMAGE and JUPYTER_IMAGE_SPEC, and reports its activity."""
    del lab
    environment = hub.docker.environment(hub.docker.one(USER, SERVER))
    assert environment["JUPYTER_IMAGE"] == LAB
    assert environment["JUPYTER_IMAGE_SPEC"] == LAB
    assert environment["JUPYTERHUB_SERVER_NAME"] == SERVER
    eventually(
        lambda: hub.servers(USER)[SERVER]["last_activity"], what="the server reports activity"
    )


def test_files_survive(hub: Hub, lab: str, token: str) -> None:
    """A file is there after a stop and a start in another image, and after a Hub restart."""
    path = f"{lab}api/contents/keep.txt"
    body = {"type": "file", "format": "text", "content": "keep me"}
    assert hub.request("PUT", path, body, token=token).status == 201
    first = hub.docker.one(USER, SERVER)["Id"]
    hub.halt(USER, SERVER)
    hub.docker.gone(USER, SERVER)
    container = hub.spawn(USER, SERVER, {"image": "green"}, token=token)
    assert container["Id"] != first
    assert container["Config"]["Image"] == LAB2
    assert hub.request("GET", path, token=token).json()["content"] == "keep me"
    hub.restart()
    hub.ready(USER, SERVER)
    assert hub.docker.one(USER, SERVER)["Id"] == container["Id"]
    answer = eventually(
        lambda: hub.request("GET", path, token=token),
        lambda answer: answer.status == 200,
        what="the server is reached after the Hub's restart",
    )
    assert answer.json()["content"] == "keep me"
    hub.halt(USER, SERVER)
