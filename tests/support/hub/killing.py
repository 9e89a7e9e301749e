"""Hubs that are killed in the middle of a call to their Engine, once for all calls of a kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from support.hub.client import server_path
from support.hub.engineproxy import EngineFault, EngineProxy
from support.hub.hubproc import Hub

#: What comes of the call in the middle of which the Hub is killed: it has been done, and was not
#: answered; or the Engine does it while there is no Hub, or when the next Hub runs.
DONE, MEANWHILE, LATE = "done", "meanwhile", "late"


@dataclass(frozen=True)
class Moment:
    """When a Hub is killed.

    Attributes:
        call: which call to its Engine was under way, in a word.
        fate: what comes of that.
    """

    call: str
    fate: str

    @property
    def server(self) -> str:
        """The server with which it was done: another one for each moment."""
        return f"{self.call}-{self.fate}"

    def hold(self, proxy: EngineProxy, method: str, path: str) -> EngineFault:
        """What holds that call, by its method and a pattern of its path."""
        return proxy.fault("stall after" if self.fate == DONE else "stall", method, path)


def started_again(user: str, server: str, hub: Hub, options: Any = None) -> None:
    """The server can be started, or runs already."""
    answer = hub.api("POST", server_path(user, server), options)
    assert answer.status in (201, 202, 400), answer
    if answer.status == 400:
        assert "already running" in answer.message
    hub.ready(user, server)
