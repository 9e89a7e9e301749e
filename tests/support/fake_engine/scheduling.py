"""Where a task of the fake Swarm may run, and why it may not, in the words of the real one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from support.fake_engine.nodes import MEMORY, NANO_CPUS, Node, resource
from support.fake_engine.swarm_objects import Task

_CONSTRAINT = re.compile(r"\s*([\w.-]+)\s*(==|!=)\s*(.*?)\s*")


def constraint_error(constraints: Iterable[str]) -> str:
    """What is wrong with constraints; "" when nothing is."""
    if all(_CONSTRAINT.fullmatch(one) for one in constraints):
        return ""
    return "constraint expected one operator from ==, !="


def best(task: Task, nodes: Iterable[Node]) -> tuple[Node | None, str]:
    """The node that a task is given, or None and what the scheduler says of that.

    Of those that can take it, it is the one with the fewest tasks of the service, then with the
    fewest tasks.
    """
    refused: Counter[str] = Counter()
    found: list[tuple[int, int, str, Node]] = []
    for node in nodes:
        why = refusal(task, node)
        if why:
            refused[why] += 1
        else:
            found.append((node.by_service[task.service.id], len(node.tasks), node.id, node))
    if found:
        return min(found)[-1], ""
    reasons = "; ".join(_words(why, count) for why, count in refused.most_common())
    return None, f"no suitable node ({reasons})" if reasons else "no suitable node"


def refusal(task: Task, node: Node) -> str:
    """Why a node cannot take a task, as a key of `_WORDS`; "" when it can."""
    if node.state != "ready" or node.availability != "active":
        return "away"
    if not _has_room(task, node):
        return "room"
    if not _has_plugins(task):
        return "plugin"
    if not meets_constraints(task.spec, node):
        return "constraint"
    ports = _ports(task)
    if ports and any(ports & _ports(one) for one in node.tasks.values()):
        return "port"
    return ""


def meets_constraints(template: Mapping[str, Any], node: Node) -> bool:
    """It fulfils all the constraints of a service's template."""
    constraints = (template.get("Placement") or {}).get("Constraints") or ()
    return all(_meets(one, node) for one in constraints)


def generic_given(task: Task, node: Node) -> list[dict[str, Any]]:
    """The generic resources that a task is given on a node where there is room."""
    given: list[dict[str, Any]] = []
    for kind, count in _generic(task).items():
        have = node.generic[kind]
        if isinstance(have, int):
            given += resource(kind, count)
        else:
            free = [value for value in have if value not in _names_taken(node, kind)]
            given += resource(kind, tuple(free[:count]))
    return given


#: For one node, and for several.
_WORDS: Mapping[str, tuple[str, str]] = {
    "away": ("1 node not available for new tasks", "{} nodes not available for new tasks"),
    "room": ("insufficient resources on 1 node", "insufficient resources on {} nodes"),
    "plugin": ("missing plugin on 1 node", "missing plugin on {} nodes"),
    "constraint": (
        "scheduling constraints not satisfied on 1 node",
        "scheduling constraints not satisfied on {} nodes",
    ),
    "port": (
        "host-mode port already in use on 1 node",
        "host-mode port already in use on {} nodes",
    ),
}


def _words(why: str, count: int) -> str:
    one, several = _WORDS[why]
    return one if count == 1 else several.format(count)


def _meets(constraint: str, node: Node) -> bool:
    match = _CONSTRAINT.fullmatch(constraint)
    if match is None:
        return False
    key, operator, wanted = match.groups()
    has = _attribute(key, node)
    if has is None:
        return False
    return (has.lower() == wanted.lower()) == (operator == "==")


def _attribute(key: str, node: Node) -> str | None:
    """What a node has under a constraint's key; None for a key that there is not."""
    known = {
        "node.id": node.id,
        "node.hostname": node.hostname,
        "node.ip": node.address,
        "node.role": node.role,
        "node.platform.os": "linux",
        "node.platform.arch": "x86_64",
    }
    if key in known:
        return known[key]
    for prefix, labels in (
        ("node.labels.", node.spec_labels),
        ("engine.labels.", node.engine_labels),
    ):
        if key.startswith(prefix):
            return labels.get(key.removeprefix(prefix), "")
    return None


def _has_room(task: Task, node: Node) -> bool:
    total = {"NanoCPUs": NANO_CPUS, "MemoryBytes": MEMORY}
    if any(int(task.reserved.get(kind) or 0) > total[kind] - node.used[kind] for kind in total):
        return False
    return all(count <= _free(node, kind) for kind, count in _generic(task).items())


def _free(node: Node, kind: str) -> int:
    have = node.generic.get(kind, 0)
    if not isinstance(have, int):
        return len(have) - len(_names_taken(node, kind))
    return have - sum(_generic(one).get(kind, 0) for one in node.tasks.values())


def _names_taken(node: Node, kind: str) -> set[str]:
    named = (one.get("NamedResourceSpec") for task in node.tasks.values() for one in task.generic)
    return {one["Value"] for one in named if one and one["Kind"] == kind}


def _generic(task: Task) -> dict[str, int]:
    wanted = (one["DiscreteResourceSpec"] for one in task.reserved.get("GenericResources") or ())
    return {one["Kind"]: int(one["Value"]) for one in wanted}


def _has_plugins(task: Task) -> bool:
    mounts = task.spec["ContainerSpec"].get("Mounts") or ()
    options = ((mount.get("VolumeOptions") or {}).get("DriverConfig") or {} for mount in mounts)
    return all(one.get("Name", "local") in ("", "local") for one in options)


def _ports(task: Task) -> set[tuple[str, int]]:
    """Ports that it wants of its node, and no others."""
    ports = ((one.get("Protocol", "tcp"), one.get("PublishedPort", 0)) for one in task.host_ports)
    return {port for port in ports if port[1]}
