"""The setting ``extra_service_spec``: what an admin adds to a server's Swarm service. Pure.

Dicts go into dicts and lists are joined, so that nothing is lost that a server needs; None removes
a key. What makes a service ours, and what the Hub finds its server by, stays as it is.
"""

from __future__ import annotations

import copy
import difflib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from .changes import OURS

SETTING = "extra_service_spec"

_TASK = "TaskTemplate"
_CONTAINER = "ContainerSpec"
#: Keys of a service's body, and of its TaskTemplate.
_KEYS = (
    *("Name", "Labels", _TASK, "Mode", "UpdateConfig", "RollbackConfig", "Networks"),
    "EndpointSpec",
)
_TASK_KEYS = (
    *(_CONTAINER, "Resources", "RestartPolicy", "Placement", "Networks", "LogDriver"),
    *("ForceUpdate", "Runtime", "PluginSpec", "NetworkAttachmentSpec"),
)
#: The names that the API has in a ServiceSpec: it reads any case of letters, and so would take the
#: last one of two that are spelled differently.
_NAMES = (
    *_KEYS,
    *_TASK_KEYS,
    *("Image", "Command", "Args", "Hostname", "Env", "Dir", "User", "Groups", "Privileges"),
    *("StopSignal", "TTY", "OpenStdin", "ReadOnly", "Mounts", "StopGracePeriod", "Healthcheck"),
    *("Hosts", "DNSConfig", "Secrets", "Configs", "Isolation", "Init", "Sysctls"),
    *("CapabilityAdd", "CapabilityDrop", "Ulimits", "OomScoreAdj", "CredentialSpec"),
    *("SELinuxContext", "Seccomp", "AppArmor", "NoNewPrivileges", "Disable", "Profile"),
    *("Type", "Source", "Target", "BindOptions", "VolumeOptions", "TmpfsOptions", "Propagation"),
    *("NonRecursive", "NoCopy", "Subpath", "DriverConfig", "SizeBytes", "Options", "DriverOpts"),
    *("Limits", "Reservations", "NanoCPUs", "MemoryBytes", "Pids", "GenericResources"),
    *("SwapBytes", "MemorySwappiness", "NamedResourceSpec", "DiscreteResourceSpec"),
    *("Kind", "Value", "Condition", "Delay", "MaxAttempts", "Window", "Constraints"),
    *("Preferences", "Spread", "SpreadDescriptor", "MaxReplicas", "Platforms", "Architecture"),
    *("OS", "Replicated", "Replicas", "Global", "ReplicatedJob", "GlobalJob", "Ports"),
    *("Protocol", "TargetPort", "PublishedPort", "PublishMode", "Aliases", "Parallelism"),
    *("FailureAction", "Monitor", "MaxFailureRatio", "Order", "Nameservers", "Search"),
    *("SecretID", "SecretName", "ConfigID", "ConfigName", "File", "UID", "GID"),
    *("Test", "Interval", "Timeout", "Retries", "StartPeriod", "StartInterval"),
    *("Soft", "Hard", "Role", "Level", "Config", "Registry"),
)
_SPELLED = {name.lower(): name for name in _NAMES}
#: Whose keys are the admin's own words.
_FREE = frozenset({"Labels", "Options", "Sysctls", "DriverOpts"})
#: Lists that mean nothing in part: the command of a health check.
_WHOLE = frozenset({"Test"})
#: What the Engine says of a value of another type than its API has.
_WRONG_TYPE = re.compile(
    r"cannot unmarshal (?P<given>\w+).* into Go struct field \w+\.(?P<path>[\w.]+) of type "
    r"(?P<wanted>\S+)"
)
_KEEP = "it may not change that:"
_FIND = "the Hub would not find the server: set"
#: Path → what to do instead of changing it; lists and labels may be added to.
_OURS: Mapping[tuple[str, ...], str] = {
    ("Name",): f"{_FIND} name_template",
    ("Mode",): "a server is one task, which the Hub starts and stops",
    ("Labels",): f"labels that begin with {OURS} say whose a service is",
    (_TASK, "Networks"): f"{_FIND} network_name or networks",
    (_TASK, "ForceUpdate"): "the Hub counts its starts there",
    (_TASK, "Placement", "Constraints"): "set placement_constraints",
    (_TASK, _CONTAINER, "Image"): "the image is known by now: set image",
    (_TASK, _CONTAINER, "Env"): "set environment",
    (_TASK, _CONTAINER, "Labels"): f"labels that begin with {OURS} say whose a container is",
    (_TASK, _CONTAINER, "Mounts"): "set volumes or mounts",
    (_TASK, _CONTAINER, "Secrets"): "they bring the server its tokens",
    ("EndpointSpec", "Ports"): f"{_FIND} port",
}
#: Of these, the lists that can be added to.
_LISTS = frozenset({"Constraints", "Env", "Mounts", "Networks", "Ports", "Secrets"})
#: Path → why it is refused whatever it says.
_NEVER: Mapping[tuple[str, ...], str] = {
    ("Networks",): "it belongs into TaskTemplate; or set networks",
    (_TASK, "PluginSpec"): "it makes a plugin of the Engine, and no server",
    (_TASK, "NetworkAttachmentSpec"): "it makes no server",
    (_TASK, "Runtime"): "servers are containers",
    (_TASK, _CONTAINER, "Command"): "set cmd, or 'entrypoint' in extra_create_kwargs",
    (_TASK, _CONTAINER, "Args"): "set cmd",
}


def checked_extra(value: object) -> dict[str, Any]:
    """The setting, with its keys as the API spells them.

    Args:
        value: of the setting.

    Raises:
        ConfigError: it is no part of a ServiceSpec, has keys that none has, or touches what belongs
            to us.
    """
    if not isinstance(value, Mapping):
        raise ConfigError(SETTING, value, 'use a dict such as {"UpdateConfig": {"Delay": 0}}')
    try:
        plain = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        hint = f"it is sent as JSON, which cannot have this: {error}"
        raise ConfigError(SETTING, "<dict>", hint) from None
    found: dict[str, Any] = _spelled(plain)
    _require_known(found, _KEYS)
    _require_known(found.get(_TASK), _TASK_KEYS)
    for path, why in _NEVER.items():
        if _at(found, path) is not None:
            raise ConfigError(_field(path), _at(found, path), why)
    for path, why in _OURS.items():
        _check_alone(found, path, why)
    _check_networks(_at(found, (_TASK, "Networks")))
    return found


def with_extra(service: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """A service with the setting laid over it, as a new dict.

    Args:
        service: its ServiceSpec.
        extra: as from `checked_extra`.

    Raises:
        ConfigError: something is gone that belongs to us.
    """
    result = _laid_over(service, extra)
    for path, why in _OURS.items():
        if not _is_kept(path, _at(service, path), _at(result, path)):
            raise ConfigError(_field(path), _at(extra, path), f"{_KEEP} {why}")
    return result


def blamed(extra: Mapping[str, Any], words: str) -> ConfigError | None:
    """The error of the setting, where the Engine does not take a service because of it.

    Args:
        extra: as from `checked_extra`.
        words: the Engine's, of a service that it refuses.

    Returns:
        None: the Engine minds something else.
    """
    typed = _WRONG_TYPE.search(words)
    if typed is None:
        return ConfigError(SETTING, extra, f"the Engine refuses it: {words}") if extra else None
    path = tuple(typed["path"].split("."))
    while path and _at(extra, path) is None:
        path = path[:-1]  # what is in a list has no path
    value = _at(extra, path)
    if isinstance(value, Mapping) and not _FREE.intersection(path):
        return None
    hint = f"the Engine takes no {typed['given']} there, but what its API calls {typed['wanted']}"
    return ConfigError(_field(path), value, hint)


def networks_in(extra: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The networks that the setting has servers be in: setting → name or id.

    Args:
        extra: as from `checked_extra`.
    """
    networks = _at(extra, (_TASK, "Networks")) or ()
    return [(SETTING, str(one["Target"])) for one in networks]


def _check_networks(networks: Any) -> None:
    path = (_TASK, "Networks")
    for one in networks or ():
        target = one.get("Target") if isinstance(one, Mapping) else None
        if not isinstance(target, str) or not target:
            hint = 'name each network as in {"Target": "lab"}'
            raise ConfigError(_field(path), one, hint)


def _require_known(value: Any, keys: Sequence[str]) -> None:
    for name in value if isinstance(value, Mapping) else ():
        if name not in keys:
            near = difflib.get_close_matches(name, keys, n=1, cutoff=0.5)
            meant = f"did you mean {near[0]!r}? " if near else ""
            hint = f"{meant}the Engine API has {', '.join(keys)} there"
            raise ConfigError(SETTING, {name: value[name]}, hint)


def _check_alone(extra: Mapping[str, Any], path: tuple[str, ...], why: str) -> None:
    """Refuse what would replace the thing at a path, or something that it is in."""
    tree: Any = extra
    for depth, key in enumerate(path, 1):
        if key not in tree:
            return
        tree, is_dict = tree[key], depth < len(path) or key == "Labels"
        if isinstance(tree, Mapping if is_dict else list):
            continue
        added = tree is not None and (is_dict or key in _LISTS)
        kind = "dict" if is_dict else "list"
        hint = f"use a {kind}, which adds to what a server has" if added else f"{_KEEP} {why}"
        raise ConfigError(_field(path[:depth]), tree, hint)
    for name in tree if isinstance(tree, Mapping) else ():
        if name.startswith(OURS):
            raise ConfigError(f"{_field(path)}[{name!r}]", tree[name], why)


def _laid_over(base: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)  # what is inside is never changed, only replaced
    for key, value in extra.items():
        old = result.get(key)
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = _laid_over(old if isinstance(old, Mapping) else {}, value)
        elif isinstance(value, list) and isinstance(old, list) and key not in _WHOLE:
            result[key] = [*old, *copy.deepcopy(value)]
        else:
            result[key] = copy.deepcopy(value)
    return result


def _is_kept(path: tuple[str, ...], before: Any, after: Any) -> bool:
    if before is None:
        return True
    if path[-1] == "Labels":
        own = {name: label for name, label in before.items() if name.startswith(OURS)}
        return isinstance(after, Mapping) and own.items() <= after.items()
    if isinstance(before, list):
        return isinstance(after, list) and after[: len(before)] == before
    return bool(before == after)


def _spelled(value: Any) -> Any:
    if isinstance(value, list):
        return [_spelled(one) for one in value]
    if not isinstance(value, dict):
        return value
    named = {_SPELLED.get(key.lower(), key): one for key, one in value.items()}
    return {key: one if key in _FREE else _spelled(one) for key, one in named.items()}


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def _field(path: tuple[str, ...]) -> str:
    return SETTING + "".join(f"[{key!r}]" for key in path)
