"""What tests of stops need: a server whose start lasts, and how a container ended."""

from __future__ import annotations

from .hubproc import Hub

#: Answers only once a file is there, so that a start lasts as long as a test wants.
SLOW = (
    'CMD ["sh", "-c", "while [ ! -e /work/go ]; do usleep 20000; done;'
    ' exec httpd -f -p 8888 -h /www"]'
)


def how_it_ended(hub: Hub, container: str, since: float) -> dict[str, str]:
    """The attributes of a container's `die` event."""
    for event in hub.docker.events(since):
        if event["Actor"]["ID"] == container and event["Action"] == "die":
            attributes: dict[str, str] = event["Actor"]["Attributes"]
            return attributes
    raise AssertionError(f"container {container} has not died since")
