"""Ready means: this server. Other programs, the host's network, programs that are no Jupyter."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.hub.client import server_path, server_url
from support.hub.dockerview import BUSYBOX
from support.hub.hubproc import Hub, Hubs
from support.hub.waiting import eventually
from support.ports import free_port

HEALTHY = "echo ok > /www/healthz; exec httpd -f -p 8888 -h /www"


@pytest.fixture(scope="module")
def port() -> int:
    """Where the servers of the host's network begin."""
    return free_port()


@pytest.fixture(scope="module")
def hub(hubs: Hubs, lab_images: tuple[str, str], port: int) -> Iterator[Hub]:
    """A Hub that leaves its servers alone when it stops; users have settings by their names."""
    lab, _ = lab_images
    plain = ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--ServerApp.token="]
    on_host = {"network_name": "host", "port": port}
    by_user = {
        "plain": {"cmd": plain},
        "host": on_host,
        "late": {**on_host, "image": BUSYBOX, "cmd": ["sleep", "600"]},
        "web": {"image": BUSYBOX, "readiness": "http"},
        "path": {"image": BUSYBOX, "cmd": ["sh", "-c", HEALTHY]},
    }
    config = """
        c.JupyterHub.cleanup_servers = False
        c.DockerNamedSpawner.readiness = "jupyterhub"
        c.DockerNamedSpawner.profile_list = [
            {"display_name": "Lab", "slug": "lab", "default": True},
            {"display_name": "Healthy", "slug": "healthy",
             "spawner_override": {"readiness": "/healthz"}},
            {"display_name": "Ill", "slug": "ill", "spawner_override": {"readiness": "/illz"}},
        ]
    """
    leaves = ["host-ann", "host-bob"]
    with hubs.running(config, image=lab, by_user=by_user, leaves=leaves) as hub:
        yield hub


class Program(BaseHTTPRequestHandler):
    """Any program of the host: it answers 200 to everything, and notes what it was asked."""

    asked: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        """Answer."""
        self.asked.append((self.path, self.headers.get("Authorization")))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html><body><h1>Printer</h1> is ready</body></html>")

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def test_plain_jupyter_lab(hub: Hub) -> None:
    """An image that knows nothing of the Hub: the start fails, and says what to look at."""
    hub.add_user("plain")
    answer = hub.api("POST", server_path("plain"))
    assert answer.status == 500
    assert "answers, but not as a JupyterHub server" in answer.message
    assert "does its command start jupyterhub-singleuser?" in answer.message
    assert "404 Not Found from TornadoServer/" in answer.message
    assert "cmd = ['jupyter', 'lab'," in answer.message
    hub.docker.nothing_of("plain")


def test_two_users_on_the_hosts_network(hub: Hub, port: int) -> None:
    """Started at once, each has a server of its own, found again after a Hub restart."""
    names = ["host-ann", "host-bob"]
    tokens = {name: hub.add_user(name) for name in names}
    with ThreadPoolExecutor() as pool:
        containers = dict(zip(names, pool.map(hub.spawn, names), strict=True))
    ids = {name: container["Id"] for name, container in containers.items()}
    told = [hub.docker.environment(one)["JUPYTERHUB_SERVICE_URL"] for one in containers.values()]
    assert len(set(told)) == 2
    assert all(int(url.split(":")[2].partition("/")[0]) >= port for url in told)

    def reached(name: str, by: str) -> int:
        return hub.request("GET", f"{server_url(name)}api/status", token=tokens[by]).status

    for restarted in (False, True):
        if restarted:
            hub.restart()
        for name, other in (names, names[::-1]):
            hub.ready(name)
            eventually(partial(reached, name, name), (200).__eq__, what="the server is reached")
            assert reached(name, other) == 403
            assert hub.docker.one(name)["Id"] == ids[name]
            file = f"{server_url(name)}api/contents/{name}-{restarted}.txt"
            body = {"type": "file", "format": "text", "content": name}
            assert hub.request("PUT", file, body, token=tokens[name]).status == 201
            listed = hub.docker.run(
                containers[name], "ls", containers[name]["Config"]["WorkingDir"]
            )
            assert f"{name}-{restarted}.txt" in listed
    assert "invalid url" not in hub.log()
    for name in names:
        hub.halt(name)


def test_a_program_that_has_the_port(hub: Hub, port: int) -> None:
    """It is left to that program; the server gets the next one."""
    with ThreadingHTTPServer(("127.0.0.1", port), Program):
        hub.add_user("host-eve")
        told = hub.docker.environment(hub.spawn("host-eve"))["JUPYTERHUB_SERVICE_URL"]
        assert f":{port}/" not in told
    hub.halt("host-eve")


def test_a_program_that_takes_the_port(hub: Hub) -> None:
    """One that answers in the place of a starting server is never proxied, and is told of."""
    token = hub.add_user("late")
    Program.asked = []
    with ThreadPoolExecutor() as pool:
        starting = pool.submit(hub.api, "POST", server_path("late"), None, token=token)
        (container,) = eventually(lambda: hub.docker.containers("late"), what="a container")
        told = hub.docker.environment(container)["JUPYTERHUB_SERVICE_URL"]
        with ThreadingHTTPServer(
            ("127.0.0.1", int(told.split(":")[2].partition("/")[0])), Program
        ) as program:
            threading.Thread(target=program.serve_forever, daemon=True).start()
            eventually(lambda: Program.asked, what="the program is asked")
            assert not hub.servers("late").get("", {}).get("ready")
            hub.request("GET", f"{server_url('late')}secret", token=token)
            answer = starting.result(60)
            program.shutdown()
    assert answer.status == 500
    assert "200 OK from BaseHTTP/" in answer.message
    assert "Printer is ready" in answer.message
    assert set(Program.asked) == {("/user/late/api", None)}
    hub.docker.nothing_of("late")


def test_programs_that_are_no_jupyter_server(hub: Hub) -> None:
    """`readiness`: any answer, or a path that is there, also by a profile."""
    hub.add_user("web")
    hub.add_user("path")
    hub.spawn("web")
    hub.spawn("path", options={"profile": "healthy"})
    for user in ("web", "path"):
        hub.halt(user)
    answer = hub.api("POST", server_path("path"), {"profile": "ill"})
    assert answer.status == 500
    assert "readiness = '/illz'" in answer.message
