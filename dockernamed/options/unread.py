"""Lines of a Hub's configuration that nobody reads, and what to write in their place.

Such as ``c.DockerSpawner.remove = True``, left over from before, or a misspelt setting: traitlets
passes over a section that belongs to no class of the Hub.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from .dockerspawner import DOCKER, SWARM, SYSTEM_USER
from .kubernetes import KUBERNETES

OURS = "DockerNamedSpawner"
_NOBODY = "nobody reads this section"
_NO_SETTING = f"{OURS} has no such setting"
#: Sections that other classes read too: what is called nearly like them is no slip of ours.
_COMMON = frozenset({"Configurable", "LoggingConfigurable", "Spawner"})


def _of_kubernetes(instead: str) -> str:
    nothing = "nothing takes its place: it means something for Kubernetes only"
    return f"use {instead}" if instead else nothing


_KUBE = {name: _of_kubernetes(instead) for name, instead in KUBERNETES.items()}

#: Spawners that people come from → what to do instead of those of their settings that we lack.
SPAWNERS: Mapping[str, Mapping[str, str]] = {
    "DockerSpawner": DOCKER,
    "SystemUserSpawner": {**DOCKER, **SYSTEM_USER},
    "SwarmSpawner": {**DOCKER, **SWARM},
    "KubeSpawner": _KUBE,
}
#: Those of all of them, for lines that were moved as they are.
_ANYWHERE = {**_KUBE, **SPAWNERS["SwarmSpawner"], **SPAWNERS["SystemUserSpawner"]}


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
    for section, names in sections.items():
        if section in read:
            for name in names:
                if name not in known:
                    yield f"c.{section}.{name}: {_unknown(name, _ANYWHERE, known)}"
        elif section in SPAWNERS:
            for name in names:
                yield f"c.{section}.{name}: {_elsewhere(name, SPAWNERS[section], known)}"
        elif near := _near(section, set(read) - _COMMON, 0.85):
            for name in names:
                yield f"c.{section}.{name}: {_NOBODY}; did you mean c.{near}.{name}?"


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
