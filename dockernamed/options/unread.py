"""Lines of a Hub's configuration that nobody reads, and what to write in their place.

Such as ``c.DockerSpawner.remove = True``, left over from before, or a misspelt setting: traitlets
passes over a section that belongs to no class of the Hub.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .dockerspawner import DOCKER, SWARM, SYSTEM_USER
from .kubernetes import KUBERNETES, instead_of
from .swarm import LINE, ONLY_IN_SWARM, SWARM_SETTINGS, SWARM_SPAWNER

OURS = "DockerNamedSpawner"
_NOBODY = "nobody reads this section"
_NO_SETTING = f"{OURS} has no such setting"
#: Sections that other classes read too: what is called nearly like them is no slip of ours.
_COMMON = frozenset({"Configurable", "LoggingConfigurable", "Spawner"})


def _of_kubernetes(instead: str) -> str:
    nothing = "nothing takes its place: it means something for Kubernetes only"
    return f"use {instead}" if instead else nothing


_KUBE = {name: _of_kubernetes(instead) for name, instead in KUBERNETES.items()}

#: Those of SwarmSpawner where servers are containers of one Engine.
_SWARM = {name: f"set {LINE}, and {instead}" for name, instead in SWARM.items()}
_KUBE_IN_SWARM = {name: _of_kubernetes(instead) for name, instead in instead_of(True).items()}

#: Spawners that people come from → what to do instead of those of their settings that we lack.
SPAWNERS: Mapping[str, Mapping[str, str]] = {
    "DockerSpawner": DOCKER,
    "SystemUserSpawner": {**DOCKER, **SYSTEM_USER},
    "SwarmSpawner": {**DOCKER, **_SWARM},
    "KubeSpawner": _KUBE,
}
#: The same for a Hub whose servers are in a Swarm.
IN_SWARM: Mapping[str, Mapping[str, str]] = {
    **SPAWNERS,
    "SwarmSpawner": {**DOCKER, **SWARM},
    "KubeSpawner": _KUBE_IN_SWARM,
}


def unread_lines(
    sections: Mapping[str, Iterable[str]], read: Sequence[str], settings: Iterable[str]
) -> Iterator[str]:
    """Every line that nobody reads, as a sentence that begins with it.

    Args:
        sections: section → names that are set in it: ``c.SECTION.NAME``.
        read: the sections that the Hub's spawner reads.
        settings: the settings that it has.
    """
    known = sorted(settings)
    spawners = IN_SWARM if SWARM_SPAWNER in read else SPAWNERS
    for section, names in sections.items():
        if section in read:
            for name in names:
                if name not in known:
                    yield f"c.{section}.{name}: {_unknown(name, _anywhere(spawners), known)}"
        elif section in spawners:
            for name in names:
                yield f"c.{section}.{name}: {_elsewhere(name, spawners[section], known)}"
        elif section == SWARM_SPAWNER:
            for name in names:
                yield f"c.{section}.{name}: {_NOBODY}; set {LINE}, or leave it out"
        elif near := _near(section, set(read) - _COMMON, 0.85):
            for name in names:
                yield f"c.{section}.{name}: {_NOBODY}; did you mean c.{near}.{name}?"


def _anywhere(spawners: Mapping[str, Mapping[str, str]]) -> Mapping[str, str]:
    """The answers for all spawners' settings, for lines that were moved as they are."""
    others = {
        **spawners["KubeSpawner"],
        **spawners["SwarmSpawner"],
        **spawners["SystemUserSpawner"],
    }
    return {**others, **dict.fromkeys(SWARM_SETTINGS, ONLY_IN_SWARM)}


def _elsewhere(name: str, table: Mapping[str, str], known: Sequence[str]) -> str:
    if name in table:
        return f"{_NOBODY}; {table[name]}"
    near = name if name in known else _near(name, known)
    return _NOBODY + (f"; write c.{OURS}.{near}" if near else "; leave it out")


def _unknown(name: str, table: Mapping[str, str], known: Sequence[str]) -> str:
    if name in table:
        return f"{_NO_SETTING}; {table[name]}"
    near = _near(name, known)
    return _NO_SETTING + (f"; did you mean {near}?" if near else "; leave it out")


def _near(name: str, known: Iterable[str], cutoff: float = 0.75) -> str | None:
    """The known name that is most like this one, whatever its case, if one is."""
    by_lower = {one.lower(): one for one in sorted(known)}
    found = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None
