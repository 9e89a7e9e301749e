"""What the watcher knows of one container, read from the Engine's lists and events."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from sys import intern
from typing import Any

from ..desired.provenance import Provenance
from ..desired.spec import LABEL_START
from ..naming import (
    LABEL_API_URL,
    LABEL_CONTAINER,
    LABEL_SERVER,
    LABEL_SPEC,
    LABEL_USER,
    Key,
    key_of,
)

_EXIT_STATUS = re.compile(r"Exited \((-?\d+)\)")


class State(str, Enum):
    """What a container is to us; Engines know more states."""

    CREATED = "created"
    RUNNING = "running"
    EXITED = "exited"
    GONE = "gone"  # removed: never in the table, only in what callbacks and waiters get


_STATES = {
    "created": State.CREATED,
    "configured": State.CREATED,  # Podman's, as the next and "stopped"
    "initialized": State.CREATED,
    "running": State.RUNNING,
    "restarting": State.RUNNING,
    "paused": State.RUNNING,
    "stopping": State.RUNNING,
    "exited": State.EXITED,
    "stopped": State.EXITED,
    "dead": State.EXITED,
    "removing": State.EXITED,
}
EVENT_STATES = {
    "create": State.CREATED,
    "start": State.RUNNING,
    "restart": State.RUNNING,
    "die": State.EXITED,
}
_DEAD = ("dead", "removing")  # words for what the Engine may be unable to remove
REMOVALS = ("destroy", "remove")  # Docker's and Podman's
NOWHERE = 0  # a fingerprint
KILLS = ("9", "KILL", "SIGKILL")  # signals that ask nothing


@dataclass(frozen=True, slots=True)
class ObservedContainer:
    """One container.

    Attributes:
        id: the Engine's.
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


def state_named(word: object) -> State:
    """What a word stands for that an Engine has for the state of a container."""
    return _STATES.get(str(word).lower(), State.RUNNING)


def is_dead(word: object) -> bool:
    """Whether such a word says that nothing runs, and that it perhaps cannot be removed."""
    return str(word).lower() in _DEAD


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


def from_event(id: str, attributes: Mapping[str, str]) -> ObservedContainer:
    """The record of a container first heard of by an event, whose state is taken over later."""
    name, image = attributes.get("name", ""), attributes.get("image", "")
    return make(id, name, attributes, image, State.CREATED)


def from_list(item: Mapping[str, Any]) -> ObservedContainer | None:
    """The record of an item of the Engine's list; None where it is none of ours."""
    id, labels = item.get("Id"), item.get("Labels") or {}
    if not isinstance(id, str) or key_of(labels) is None:
        return None
    state = state_named(item.get("State"))
    code = None
    if state is State.EXITED:
        found = _EXIT_STATUS.match(str(item.get("Status", "")))
        code = int(found[1]) if found else item.get("ExitCode")  # the latter is Podman's
    image = str(item.get("Image", ""))
    fingerprint = _fingerprint(item) if state is State.RUNNING else None
    return make(id, name_in(item), labels, image, state, code, fingerprint)


def name_in(item: Mapping[str, Any]) -> str:
    """The name in an item of the Engine's list, which also has those of links to it (``/a/b``)."""
    names = (str(name).lstrip("/") for name in item.get("Names") or ())
    return next((name for name in names if "/" not in name), "")


def _fingerprint(item: Mapping[str, Any]) -> int:
    keys = ("IP", "PrivatePort", "PublicPort", "Type")
    ports = {tuple(port.get(key) for key in keys) for port in item.get("Ports") or ()}
    networks = (item.get("NetworkSettings") or {}).get("Networks") or {}
    addresses = {
        (name, network.get("IPAddress"), network.get("GlobalIPv6Address"))
        for name, network in networks.items()
    }
    return hash((frozenset(ports), frozenset(addresses)))


def updated(old: ObservedContainer, listed: ObservedContainer) -> ObservedContainer:
    """What is known of a container, put right by a list.

    A list knows less than events and we do: nothing of memory, of some Engines no exit code, and
    an image by another name once its tag has moved. It may also be a moment behind.
    """
    if listed.state is State.CREATED:
        return old
    code, same = listed.exit_code, old.state is listed.state
    if same and code is None:
        code = old.exit_code
    oom = old.oom and same and code == old.exit_code
    return replace(
        old,
        name=listed.name,
        state=listed.state,
        exit_code=code,
        oom=oom,
        endpoint_fingerprint=listed.endpoint_fingerprint,
    )


def moved(before: ObservedContainer, now: ObservedContainer) -> bool:
    """Whether a list has told of another place than one before it."""
    places = before.endpoint_fingerprint, now.endpoint_fingerprint
    return None not in places and places[0] != places[1]


def state_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record that tell its state, from an inspect."""
    found = info.get("State") or {}
    state = state_named(found.get("Status"))
    ended = state is State.EXITED
    code = found.get("ExitCode") if ended else None
    return {"state": state, "exit_code": code, "oom": ended and bool(found.get("OOMKilled"))}


def asks_to_end(action: str, attributes: Mapping[str, str]) -> bool:
    """Docker tells of the signal that begins a stop, some Engines of the stop alone."""
    return action == "stop" or (action == "kill" and attributes.get("signal") not in KILLS)


def exit_code_of(attributes: Mapping[str, str]) -> int | None:
    """What a ``die`` event says."""
    code = attributes.get("exitCode", attributes.get("containerExitCode"))
    try:
        return None if code is None else int(code)
    except ValueError:
        return None


def time_of(event: Mapping[str, Any]) -> float:
    """When it was, in seconds by the Engine's clock."""
    return float(event.get("timeNano") or 0) / 1e9 or float(event.get("time") or 0)
