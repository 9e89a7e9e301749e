"""What managers of the fake Swarm refuse in a specification, in the words of the real ones."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from support.fake_engine.core import ApiError
from support.fake_engine.scheduling import constraint_error
from support.fake_engine.store import Store
from support.fake_engine.swarm_objects import MODES, new_name

_NAME = re.compile(r"[a-zA-Z0-9](?:[-_]*[A-Za-z0-9]+)*")
_STORED_NAME = re.compile(r"[a-zA-Z0-9]+(?:[a-zA-Z0-9-_.]*[a-zA-Z0-9])?")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
CONDITIONS = ("", "none", "on-failure", "any")
#: Bytes that a secret or a config may not have.
TOO_LONG = {"secret": 512000, "config": 1024000}


def invalid(words: str) -> ApiError:
    """The managers' refusal."""
    return ApiError(400, f"rpc error: code = InvalidArgument desc = {words}")


def service_spec(body: Mapping[str, Any], store: Store, networks: Mapping[str, str]) -> Any:
    """A service's specification as it is kept.

    Args:
        body: as it was given.
        store: where its secrets and configs are.
        networks: name or id → id of those that a service can use.
    """
    spec: dict[str, Any] = copy.deepcopy(dict(body))
    spec["Name"], spec["Labels"] = spec.get("Name") or new_name(), spec.get("Labels") or {}
    spec["Mode"] = spec.get("Mode") or {"Replicated": {"Replicas": 1}}
    if next(iter(spec["Mode"])) not in MODES:
        spec["Mode"] = {"Replicated": {"Replicas": 1}}
    _template(spec.setdefault("TaskTemplate", {}), networks)
    _endpoint(spec.get("EndpointSpec"))
    _names(spec["Name"])
    container = spec["TaskTemplate"]["ContainerSpec"]
    if not container.get("Image"):
        raise invalid("ContainerSpec: image reference must be provided")
    words = constraint_error((spec["TaskTemplate"].get("Placement") or {}).get("Constraints") or ())
    if words:
        raise ApiError(500, f"rpc error: code = Unknown desc = {words}")
    _references(container, store)
    return spec


def _template(template: dict[str, Any], networks: Mapping[str, str]) -> None:
    """Check and complete the part of which tasks are made."""
    if not isinstance(template.get("ContainerSpec"), dict):
        raise ApiError(400, "mismatched Runtime and *Spec fields")
    template["ContainerSpec"].setdefault("Isolation", "default")
    template.setdefault("ForceUpdate", 0)
    template["Runtime"] = "container"
    policy = template.get("RestartPolicy")
    if policy is not None:
        if policy.get("Condition", "") not in CONDITIONS:
            raise ApiError(400, f'invalid RestartCondition: "{policy["Condition"]}"')
        policy.setdefault("MaxAttempts", 0)
    for network in template.get("Networks") or ():
        if network["Target"] not in networks:
            raise ApiError(500, f"network {network['Target']} not found")
        network["Target"] = networks[network["Target"]]


def _endpoint(endpoint: dict[str, Any] | None) -> None:
    if endpoint is None:
        return
    for port in endpoint.get("Ports") or ():
        port.setdefault("Protocol", "tcp")
        port.setdefault("PublishMode", "ingress")
        if port["PublishMode"] == "ingress" and endpoint.get("Mode") == "dnsrr":
            words = "port published with ingress mode can't be used with dnsrr mode"
            raise invalid(f"EndpointSpec: {words}")
    endpoint.setdefault("Mode", "vip")


def _names(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise invalid("name must be valid as a DNS name component")
    if len(name) > 63:
        raise invalid("name must be 63 characters or fewer")


def _references(container: Mapping[str, Any], store: Store) -> None:
    """Secrets and configs are there, and have places of their own."""
    for kind in ("Secret", "Config"):
        places: dict[str, str] = {}
        for one in container.get(f"{kind}s") or ():
            found, name = store.table(kind.lower()).get(one[f"{kind}ID"]), one[f"{kind}Name"]
            if found is None or found.name != name:
                raise invalid(f"{kind.lower()} not found: {name}")
            place = (one.get("File") or {}).get("Name", "")
            if place in places:
                words = f"references '{places[place]}' and '{name}' have a conflicting target"
                raise invalid(f"{kind.lower()} {words}: '{place}'")
            places[place] = name


def check_stored(kind: str, name: str, data: str) -> None:
    """Name and data of a secret or a config."""
    if not _BASE64.fullmatch(data) or len(data) % 4:
        raise ApiError(400, "illegal base64 data at input byte 0")
    if not name:
        raise invalid("name must be provided")
    if not _STORED_NAME.fullmatch(name) or len(name) > 64:
        characters = "only 64 [a-zA-Z0-9-_.] characters allowed"
        ends = "and the start and end character must be [a-zA-Z0-9]"
        raise invalid(f"invalid name, {characters}, {ends}")
    size = len(data) * 3 // 4 - data.count("=")
    if not 0 < size < TOO_LONG[kind]:
        limit = TOO_LONG[kind]
        raise invalid(f"{kind} data must be larger than 0 and less than {limit} bytes")
