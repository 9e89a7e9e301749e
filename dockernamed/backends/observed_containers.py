"""What is known of one container, read from the Engine's lists and events. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..naming import key_of
from .observed import ObservedContainer, State, make

_EXIT_STATUS = re.compile(r"Exited \((-?\d+)\)")
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
KILLS = ("9", "KILL", "SIGKILL")  # signals that ask nothing


def state_named(word: object) -> State:
    """What a word stands for that an Engine has for the state of a container."""
    return _STATES.get(str(word).lower(), State.RUNNING)


def is_dead(word: object) -> bool:
    """Whether such a word says that nothing runs, and that it perhaps cannot be removed."""
    return str(word).lower() in _DEAD


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
