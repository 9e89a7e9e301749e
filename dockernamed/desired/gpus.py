"""GPUs: which there are, which a server gets, and the request that gives it those alone. Pure.

A GPU is known by its *id*: what NVIDIA's tools call it (``0``, ``GPU-…``, ``0:1`` for a part of
one), or for GPUs of others the whole name of the Container Device Interface (``amd.com/gpu=0``).
``0`` and ``nvidia.com/gpu=0`` are one GPU, whichever of the two somebody wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from ..errors import ConfigError, LimitReached, OptionsError

CDI = "cdi"
NVIDIA = "nvidia"
#: NVIDIA's kind of devices in the Container Device Interface.
NVIDIA_KIND = "nvidia.com/gpu"
#: What NVIDIA's container runtime gives to a container, where that is the Engine's default runtime.
VISIBLE = "NVIDIA_VISIBLE_DEVICES"
#: Value of `VISIBLE` for none, whatever the image asks for.
NONE_VISIBLE = "void"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:=/-]*")
_CDI_NAME = re.compile(r"(?P<kind>[A-Za-z0-9._-]+/[A-Za-z0-9._-]+)=(?P<device>[A-Za-z0-9_.:-]+)")
_INDEX = re.compile(r"\d+(?::\d+)?")


def gpu_id(name: str) -> str:
    """The id of a GPU that somebody named: equal for all names of one that can be told equal."""
    return name.removeprefix(f"{NVIDIA_KIND}=")


def checked_devices(names: Sequence[str]) -> tuple[str, ...]:
    """The setting ``gpu_devices``.

    Raises:
        ConfigError: something in it does not name one GPU, or one is named twice.
    """
    for name in names:
        if not _NAME.fullmatch(name) or gpu_id(name) == "all":
            hint = "name each GPU by its index or UUID, as nvidia-smi -L lists them, or CDI name"
            raise ConfigError("gpu_devices", name, hint)
    ids = [gpu_id(name) for name in names]
    for one in ids:
        if ids.count(one) > 1:
            raise ConfigError("gpu_devices", list(names), f"the GPU {one!r} is named twice")
    return tuple(names)


def listed_by(info: Mapping[str, Any]) -> list[str]:
    """The names of the GPUs that ``GET /info`` of an Engine tells of.

    That is what the Container Device Interface has there (Docker 28.2 and later), or else what
    ``node-generic-resources`` in the Engine's ``daemon.json`` names.
    """
    found = [match for name in _cdi_names(info) if (match := _CDI_NAME.fullmatch(name))]
    kinds: dict[str, list[str]] = {}
    for match in found:
        if match["kind"].endswith("/gpu") and match["device"] != "all":
            kinds.setdefault(match["kind"], []).append(match["device"])
    names = [
        f"{kind}={device}" for kind, devices in kinds.items() for device in _each_once(devices)
    ]
    if names:
        return names
    resources = [one.get("NamedResourceSpec") or {} for one in info.get("GenericResources") or ()]
    return [
        str(one["Value"])
        for one in resources
        if "gpu" in str(one.get("Kind", "")).lower() and one.get("Value")
    ]


def _cdi_names(info: Mapping[str, Any]) -> list[str]:
    devices = info.get("DiscoveredDevices") or ()
    return [str(one.get("ID", "")) for one in devices if one.get("Source") == CDI]


def _each_once(devices: Sequence[str]) -> list[str]:
    """Of several names of the same GPUs the indexes, if there are some, in their order."""
    indexes = [one for one in devices if _INDEX.fullmatch(one)]
    if not indexes:
        return list(devices)
    in_parts = {one.partition(":")[0] for one in indexes if ":" in one}
    whole = [one for one in indexes if one not in in_parts]
    return sorted(whole, key=lambda one: [int(part) for part in one.split(":")])


def names_to_ask_for(configured: Sequence[str], info: Mapping[str, Any]) -> dict[str, str]:
    """Id → name to ask the Engine for, of all GPUs that servers may have, in their order.

    Args:
        configured: the setting ``gpu_devices``; empty: what the Engine tells of.
        info: ``GET /info``; an id that the Engine has a CDI name for is asked for by that.
    """
    cdi = set(_cdi_names(info))
    names = [
        cdi_name if (cdi_name := f"{NVIDIA_KIND}={name}") in cdi else name
        for name in configured or listed_by(info)
    ]
    return {gpu_id(name): name for name in names}


def choose(
    count: int,
    devices: Mapping[str, str],
    taken: Mapping[str, str],
    earlier: Collection[str],
    own: Mapping[str, int],
) -> tuple[str, ...]:
    """The ids of GPUs that nobody else has.

    Args:
        count: how many, at least one.
        devices: as from `names_to_ask_for`.
        taken: id → who has it, in words for the log.
        earlier: ids that the server had at its last start, which are better than others.
        own: server of the same user, in words → how many it has.

    Raises:
        LimitReached: there are not so many.
        OptionsError: there never are.
        ConfigError: nobody says which GPUs there are.
    """
    if not devices:
        hint = (
            "the Engine tells of no GPUs, so c.DockerNamedSpawner.gpu_devices must list them; they "
            "need NVIDIA's container toolkit on the Engine's host"
        )
        raise ConfigError("gpus", count, hint)
    if count > len(devices):
        raise OptionsError("gpus", count, f"there are {len(devices)} GPUs for all servers")
    free = [one for one in devices if one not in taken]
    if count > len(free):
        yours = ", ".join(f"{server} {number}" for server, number in own.items())
        in_use = f"{len(free)} of {len(devices)} GPUs free" if free else "all GPUs are in use"
        text = f"{in_use} ({f'of your servers: {yours}' if yours else 'none by your servers'})"
        if free:
            text += f", and this server needs {count}"
        holders = "; ".join(f"GPU {one}: {taken[one]}" for one in devices if one in taken)
        hint = "There is one again when a server that has one has been stopped"
        raise LimitReached("gpus", str(count), text, hint, log=holders)
    free.sort(key=lambda one: one not in earlier)
    chosen = set(free[:count])
    return tuple(one for one in devices if one in chosen)


def device_requests(names: Iterable[str]) -> list[dict[str, Any]]:
    """The entries of ``HostConfig.DeviceRequests`` that give GPUs to a container.

    Args:
        names: as they are asked for.
    """
    cdi = [name for name in names if _CDI_NAME.fullmatch(name)]
    ids = [name for name in names if not _CDI_NAME.fullmatch(name)]
    found: list[dict[str, Any]] = []
    if ids:
        found.append({"Driver": NVIDIA, "DeviceIDs": ids, "Capabilities": [["gpu"]]})
    if cdi:
        found.append({"Driver": CDI, "DeviceIDs": cdi})
    return found


def ids_in(host_config: Mapping[str, Any]) -> list[str]:
    """The ids of the GPUs that a container was given, by its ``HostConfig``."""
    requests = host_config.get("DeviceRequests") or ()
    return [gpu_id(str(name)) for one in requests for name in one.get("DeviceIDs") or ()]


def check_alone(host_config: Mapping[str, Any], setting: str, value: object) -> None:
    """Refuse requests for GPUs by hand where the spawner gives them out.

    Args:
        host_config: the keys of HostConfig that the admin wrote.
        setting: what has the spawner give out GPUs, such as ``gpus``.
        value: of that setting.

    Raises:
        ConfigError: such a request could take what another server has.
    """
    for request in host_config.get("DeviceRequests") or ():
        if _asks_for_gpus(request):
            hint = (
                f"{setting} = {value!r} gives each server GPUs of its own, and this would give out "
                "the same ones again; leave it out, and set gpus"
            )
            raise ConfigError("extra_host_config['device_requests']", request, hint)


def _asks_for_gpus(request: Mapping[str, Any]) -> bool:
    if request.get("Driver") == CDI:
        ids = [str(one) for one in request.get("DeviceIDs") or ()]
        return any(one.partition("=")[0].endswith("/gpu") for one in ids)
    wanted = {word for words in request.get("Capabilities") or () for word in words}
    return request.get("Driver") == NVIDIA or "gpu" in wanted


def gpu_environment(names: Collection[str], *, given_out: bool) -> dict[str, str]:
    """Variables that keep NVIDIA's runtime from giving a container what its image asks for.

    Args:
        names: of the GPUs that the container gets.
        given_out: the spawner gives out the GPUs of this Engine.
    """
    # The Engine sets the variable itself where it asks NVIDIA's driver for ids.
    by_driver = any(not _CDI_NAME.fullmatch(name) for name in names)
    return {VISIBLE: NONE_VISIBLE} if (given_out or names) and not by_driver else {}


def own_counts(
    user: str, holders: Iterable[tuple[str, str, Sequence[str]]], named: Callable[[str], str]
) -> dict[str, int]:
    """Server in words → how many GPUs it has, of one user's servers that have some.

    Args:
        user: whose servers.
        holders: user, server and ids of each server that has GPUs.
        named: a server in words.
    """
    return {named(server): len(ids) for owner, server, ids in holders if owner == user and ids}
