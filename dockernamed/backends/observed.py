"""What is known of one thing without asking for it: a container or, in a Swarm, a service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from sys import intern

from ..desired.provenance import Provenance
from ..desired.spec import LABEL_START
from ..naming import (
    LABEL_API_URL,
    LABEL_CONTAINER,
    LABEL_SERVER,
    LABEL_SPEC,
    LABEL_USER,
    Key,
)

NOWHERE = 0  # a fingerprint


class State(str, Enum):
    """What a thing is to us; Engines know more states, and tasks of services have their own."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    GONE = "gone"  # removed: never in the table, only in what callbacks and waiters get


@dataclass(frozen=True, slots=True)
class ObservedContainer:
    """One thing, a container or a service, as lists and events have told of it by now.

    What a backend answers when it is asked for one is `base.Seen`, which says where it is as well.

    Attributes:
        id: the backend's.
        name: without a slash.
        user: raw, from its label; likewise ``server``.
        spec: hash of the spec that it was made from; "" when it has none.
        image: as it was asked for.
        state: see `State`.
        exit_code: None unless it ended, also to be taken up again; and when the Engine has not
            told.
        oom: it ended because it needed more than its memory limit.
        stop_requested: it was asked to end before it did, as by ``docker stop`` and ``docker
            restart``.
        stopped: that stop is over, as far as the Engine told: a restart starts it only then.
        endpoint_fingerprint: stands for the addresses and ports that the last list told since the
            container was started: equal numbers, equal places. `NOWHERE` while it is taken up
            again at another place; None when no list has told yet.
        network_changes: how often it was heard to be connected to a network or disconnected.
        made_as: the name that it was created with, from its label; "" when it has none.
        start: of which start it is, likewise.
        api_url: where it finds its Hub, likewise.
        words: what the backend says of why it does not run (yet); "" where it says nothing.
        restarts: how often it has failed since it was started, and was taken up again, as far as a
            list told.
    """

    id: str
    name: str
    user: str
    server: str
    spec: str
    image: str
    state: State
    exit_code: int | None = None
    oom: bool = False
    stop_requested: bool = False
    stopped: bool = False
    endpoint_fingerprint: int | None = None
    network_changes: int = 0
    made_as: str = ""
    start: str = ""
    api_url: str = ""
    words: str = ""
    restarts: int = 0

    def provenance(self, hub: str) -> Provenance:
        """Where it comes from, as one of the containers that have this Hub's label."""
        key = Key(hub, self.user, self.server)
        return Provenance(self.id, self.name, key, self.made_as, self.start)

    @property
    def running(self) -> bool:
        """It runs, may be paused or restarting."""
        return self.state is State.RUNNING

    @property
    def ended(self) -> bool:
        """It has run, and does so no more."""
        return self.state in (State.EXITED, State.GONE)


def make(
    id: str, name: str, labels: Mapping[str, str], image: str, state: State,
    exit_code: int | None = None, endpoint_fingerprint: int | None = None,
) -> ObservedContainer:  # fmt: skip
    """A record whose strings are shared, where many containers have the same."""
    name, made_as = name.lstrip("/"), labels.get(LABEL_CONTAINER, "")
    return ObservedContainer(
        id,
        name,
        intern(labels.get(LABEL_USER, "")),
        intern(labels.get(LABEL_SERVER, "")),
        intern(labels.get(LABEL_SPEC, "")),
        intern(image),
        state,
        exit_code,
        endpoint_fingerprint=endpoint_fingerprint,
        made_as=name if made_as == name else made_as,
        start=labels.get(LABEL_START, ""),
        api_url=intern(labels.get(LABEL_API_URL, "")),
    )


def unknown(id: str) -> ObservedContainer:
    """The record of a container that is gone, and of which nothing was ever known."""
    return ObservedContainer(id, "", "", "", "", "", State.GONE)


def moved(before: ObservedContainer, now: ObservedContainer) -> bool:
    """Whether a list has told of another place than one before it."""
    places = before.endpoint_fingerprint, now.endpoint_fingerprint
    return None not in places and places[0] != places[1]
