"""The harness itself: what it promises to notice, it notices."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from support.hub.client import session
from support.hub.hubproc import Hub, Hubs
from support.hub.waiting import eventually


def test_a_blocked_event_loop_is_noticed(hubs: Hubs, user: str) -> None:
    """A call below dockernamed that blocks the Hub's event loop is reported, with its place."""
    config = """
        import time

        def blocking_hook(spawner):
            time.sleep(0.001)

        c.Spawner.pre_spawn_hook = blocking_hook
    """
    with hubs.running(config) as hub:
        hub.add_user(user)
        answer = hub.api("POST", f"/users/{user}/server")
        assert answer.status == 500  # the call itself fails as well
        said = hub.complaints()
        assert "Blocking call to time.sleep" in said
        assert "blocking_hook" in said
        assert hub.complaints() == ""


def test_a_container_that_outlives_its_hub_is_noticed(hubs: Hubs, user: str) -> None:
    """A Hub that is stopped and leaves a container behind fails the test that has it."""
    made: list[Hub] = []

    def leave_one_behind() -> None:
        with hubs.running("c.JupyterHub.cleanup_servers = False") as hub:
            hub.add_user(user)
            hub.spawn(user)
            made.append(hub)

    with pytest.raises(AssertionError, match="outlived their Hub"):
        leave_one_behind()
    (hub,) = made
    assert hub.docker.containers() == []
    ((prefix, told),) = hubs.fallen
    assert prefix == hub.prefix
    assert f"{hub.prefix}-{user}" in told
    assert "JupyterHub is now running" in told
    hubs.fallen.clear()


def test_a_hub_that_cannot_start_shows_its_log(hubs: Hubs) -> None:
    """A broken config fails the test at once, with the Hub's own words."""
    with (
        pytest.raises(AssertionError, match="this config is broken"),
        hubs.running('raise RuntimeError("this config is broken")'),
    ):
        pytest.fail("it runs")
    hubs.fallen.clear()


def test_a_connection_serves_one_request() -> None:
    """A client is answered though whoever it asks closes each connection at its second request,
    as the Hub's proxy does with one that was idle for a while.
    """

    class OneAnswer(BaseHTTPRequestHandler):
        """Keeps a connection open unless asked to close it, and does not answer there again."""

        protocol_version = "HTTP/1.1"
        asked = False

        def do_GET(self) -> None:
            if not self.asked:
                self.send_response(204)
                if self.close_connection:
                    self.send_header("Connection", "close")
                self.end_headers()
            self.close_connection, self.asked = self.close_connection or self.asked, True

        def log_message(self, *args: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), OneAnswer) as server, session() as asking:
        thread = Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}/"
        try:
            answers = [asking.get(url, timeout=30).status_code for _ in range(3)]
        finally:
            server.shutdown()
            thread.join()
    assert answers == [204] * 3


def test_eventually_says_what_it_saw_last() -> None:
    """Waiting in vain ends with what was waited for and what was seen."""
    with pytest.raises(AssertionError, match=r"the moon: not within 0\.1 s; last seen: 'a cloud'"):
        eventually(lambda: "a cloud", lambda seen: seen == "moon", what="the moon", timeout=0.1)
