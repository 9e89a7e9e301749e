"""The settings of servers in a Swarm, read as values; what cannot work there is told.

That is what only Swarm has, and those of the other settings for which its API has no key.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

from ..desired.network import ALL_INTERFACES
from ..desired.service_extra import SETTING, checked_extra
from ..errors import ConfigError

CONSTRAINTS, PREFERENCES = "placement_constraints", "placement_preferences"
RESOURCES, EXTRA = "generic_resources", SETTING

_ONE_ENGINE = 'or run servers on one Engine, with c.JupyterHub.spawner_class = "dockernamed"'
_GPUS = (
    "each node gives out its own GPUs: list them in its daemon.json as node-generic-resources, and "
    'set c.DockerNamedSpawner.generic_resources = {"NVIDIA-GPU": 1} instead'
)
#: Settings that a Swarm cannot fulfil → why, and what to do instead.
REFUSED: Mapping[str, str] = {
    "devices": "services of a Swarm get no devices: offer them as generic resources of the nodes, "
    f"with c.DockerNamedSpawner.generic_resources, {_ONE_ENGINE}",
    "gpu_devices": _GPUS,
    "gpus": _GPUS,
    "host_ip": "a Swarm publishes ports at all addresses of a node: leave it out, and have a "
    "firewall keep others from the nodes' ports; or run the Hub in a container on an overlay "
    "network, where no port is published",
    "post_start_cmd": "a Swarm's managers run no commands in containers of other nodes: have the "
    'image do it, such as with c.DockerNamedSpawner.cmd = ["sh", "-c", "/opt/setup; exec '
    f'start-singleuser.sh"], {_ONE_ENGINE}',
    "storage_opt": "services of a Swarm have no options of the storage driver: leave it out, and "
    "limit what volumes can hold by their driver",
}
_OVERLAY = (
    "that is no network of the whole Swarm: name an overlay network (docker network create "
    '--driver overlay --attachable NAME), or set "", with which each user gets a network'
)
_BY_NAME = (
    "the address of a server is known only once it runs, and may change: leave it out; a Hub in a "
    "container on the same overlay network reaches servers by their names"
)
#: Likewise the settings of which some values only cannot be fulfilled, as documents show them.
REFUSED_VALUES: Mapping[str, str] = {
    '`network_isolation = "hub"`': "a Swarm does not keep the containers of one network apart: set "
    'network_isolation = "user" or "server"',
    '`network_name = "host"`, `"bridge"`, ...': _OVERLAY,
    "`use_internal_ip = True`": _BY_NAME,
}
#: Networks of one Engine, which no service of a Swarm is to be in.
_LOCAL = frozenset({"host", "bridge", "none", "default", "podman", "ingress", "docker_gwbridge"})

#: What is asked for is what a Swarm does anyhow.
_EVERYWHERE = tuple(("host_ip", address) for address in ALL_INTERFACES)
#: What a constraint may speak of; the last ones with a label's name behind them.
_ATTRIBUTES = (
    *("node.id", "node.hostname", "node.ip", "node.role"),
    *("node.platform.os", "node.platform.arch", "node.labels.", "engine.labels."),
)
_CONSTRAINT = re.compile(r"\s*([A-Za-z_][\w.-]+)\s*(==|!=)\s*([\w:\-\s.*()?+\[\]\\^$|/]+)", re.A)
_EXAMPLES = '"node.role==worker" or "node.labels.disk!=slow"'
_ROLES = ("manager", "worker")


def refuse(setting: str, value: object) -> None:
    """Refuse a setting that a Swarm cannot fulfil, if it is set.

    Args:
        setting: its name.
        value: of the setting.

    Raises:
        ConfigError: the message says what to do instead.
    """
    if setting in REFUSED and value and (setting, value) not in _EVERYWHERE:
        raise ConfigError(setting, value, REFUSED[setting])
    if setting == "use_internal_ip" and value:
        raise ConfigError(setting, value, _BY_NAME)
    if setting == "network_name" and (str(value) in _LOCAL or ":" in str(value)):
        raise ConfigError(setting, value, _OVERLAY)


def constraints(value: object) -> tuple[str, ...]:
    """The setting ``placement_constraints``, evaluated, in the Engine's words.

    Raises:
        ConfigError: something in it is none, or speaks of what nodes have not.
    """
    return tuple(_constraint(one) for one in _texts(CONSTRAINTS, value, _EXAMPLES))


def _constraint(text: str) -> str:
    found = _CONSTRAINT.fullmatch(text)
    if found is None:
        hint = (
            f"write ATTRIBUTE==VALUE, or !=, such as {_EXAMPLES}; Swarm takes only ASCII letters, "
        )
        hint += "digits, spaces and :-_.*()?+[]\\^$|/ in the value"
        raise ConfigError(CONSTRAINTS, text, hint)
    attribute, sign, wanted = found[1], found[2], found[3].strip()
    folded = attribute.lower()
    labelled = any(folded.startswith(one) and folded != one for one in _ATTRIBUTES[-2:])
    if not labelled and folded not in _ATTRIBUTES[:-2]:
        known = ", ".join(f"{one}NAME" if one.endswith(".") else one for one in _ATTRIBUTES)
        near = [one for one in difflib.get_close_matches(folded, _ATTRIBUTES, n=1) if one != folded]
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ConfigError(CONSTRAINTS, text, f"{meant}a constraint speaks of {known}")
    if folded == "node.role" and wanted.lower() not in _ROLES:
        raise ConfigError(CONSTRAINTS, text, 'a node\'s role is "manager" or "worker"')
    return f"{attribute}{sign}{wanted}"


def preferences(value: object) -> tuple[str, ...]:
    """The setting ``placement_preferences``, evaluated: labels of nodes, the first one first.

    ``spread=node.labels.rack``, as Docker's command line has it, is taken likewise.

    Raises:
        ConfigError: something in it is no label of nodes.
    """
    example = '"node.labels.rack"'
    found = []
    for text in _texts(PREFERENCES, value, example):
        label = text.strip().removeprefix("spread=")
        if not re.fullmatch(r"(?i:node|engine)\.(?i:labels)\.[\w.-]+", label, re.A):
            hint = f"servers are spread over the values of a label, such as {example}"
            raise ConfigError(PREFERENCES, text, hint)
        found.append(label)
    return tuple(found)


def generic_resources(value: object) -> dict[str, int]:
    """The setting ``generic_resources``, evaluated; what is 0 is left out.

    Raises:
        ConfigError: it is no dict of names and whole numbers.
    """
    hint = 'use a dict of name → whole number, such as {"NVIDIA-GPU": 1}'
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigError(RESOURCES, value, hint)
    for name, count in value.items():
        whole = isinstance(count, int) and not isinstance(count, bool) and 0 <= count < 2**63
        if not isinstance(name, str) or not re.fullmatch(r"[^\s=,]+", name) or not whole:
            raise ConfigError(RESOURCES, {name: count}, hint)
    return {name: count for name, count in value.items() if count}


def service_spec(value: object) -> dict[str, Any]:
    """The setting ``extra_service_spec``, evaluated, with its keys as the API spells them.

    Raises:
        ConfigError: see `checked_extra`.
    """
    return {} if value is None else checked_extra(value)


def _texts(setting: str, value: object, example: str) -> list[str]:
    """A list of texts.

    Raises:
        ConfigError: it is none.
    """
    if value is None:
        return []
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise ConfigError(setting, value, f"use a list of texts, such as {example}")
    return list(value)
