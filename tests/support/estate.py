"""What there is of servers on a fake Engine, whether they are containers or services of its Swarm.

What is looked at is what the Engine has, never what the Hub believes.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from dockernamed.backends.observed import ObservedContainer
from dockernamed.backends.service_secrets import LABEL_SERVICE
from dockernamed.desired.isolation import OwnNetwork
from dockernamed.desired.volume_records import LABEL_REMOVAL, VolumeRecord
from dockernamed.naming import LABEL_SERVER, LABEL_USER
from support.fake_engine import FakeEngine
from support.fake_engine.swarm_control import FakeSwarm

#: States of a task that nothing follows.
ENDED = ("complete", "shutdown", "failed", "rejected", "orphaned", "remove")
_SERVICE_NAME = "com.docker.swarm.service.name"


@dataclass(frozen=True)
class Thing:
    """A container or a service.

    Attributes:
        id: of it; likewise the name and the labels.
        processes: how many containers of it run.
        volumes: names of those that it has.
        state: as `Estate.state` has it.
    """

    id: str
    name: str
    labels: Mapping[str, str]
    processes: int
    volumes: tuple[str, ...]
    state: str


class Estate:
    """Containers, with what belongs to them.

    Args:
        fake: whose.
    """

    def __init__(self, fake: FakeEngine) -> None:
        self._fake = fake
        self._of_others: set[str] = set()  # ids of what somebody else removed

    def things(self) -> list[Thing]:
        """All of them."""
        return [
            Thing(
                one.id, one.name, one.labels, int(one.running), tuple(one.volumes()), one.status
            )
            for one in self._fake.containers
        ]  # fmt: skip

    def state(self, record: ObservedContainer) -> str:
        """What a record of the Hub's says of the state of a thing, in the words of `Thing`."""
        return record.state.value

    def die(self, thing: Thing) -> None:
        """Its process ends."""
        self._fake.die(thing.id)

    def remove(self, thing: Thing) -> None:
        """Somebody else removes it, but not the volumes without a name that go with it."""
        self._fake.remove(thing.id)
        self._of_others.add(thing.id)

    def of_server(self, server: str, user: str = "ann") -> list[Thing]:
        """Those of a server, by their labels."""
        return [
            one
            for one in self.things()
            if (one.labels.get(LABEL_USER), one.labels.get(LABEL_SERVER)) == (user, server)
        ]

    def running(self) -> list[str]:
        """The names of those that run, as often as they do."""
        return [one.name for one in self.things() for _ in range(one.processes)]

    def changing(self) -> set[str]:
        """The names of those that are becoming what the Engine was told to make of them."""
        return set()

    def volumes(self) -> dict[str, dict[str, str]]:
        """All volumes with their labels: one that was made anew has others."""
        return {name: volume["Labels"] for name, volume in self._fake.volumes.items()}

    def leftovers(self) -> set[str]:
        """What nothing there has a use for, in words."""
        owners = self._fake.anonymous_volumes.keys() - {one.id for one in self.things()}
        return {f"anonymous volumes of {owner}" for owner in owners - self._of_others}


class ServiceEstate(Estate):
    """Services, likewise; a volume is what its record in the Swarm says.

    Args:
        fake: whose Swarm.
    """

    @property
    def _swarm(self) -> FakeSwarm:
        return self._fake.swarm

    @property
    def _nodes(self) -> list[str]:
        return [one["Description"]["Hostname"] for one in self._swarm.nodes]

    def things(self) -> list[Thing]:
        """See `Estate`."""
        processes = Counter(self.running())
        return [
            Thing(
                one["ID"], name, one["Spec"].get("Labels") or {}, processes[name],
                tuple(
                    str(mount["Source"])
                    for mount in one["Spec"]["TaskTemplate"]["ContainerSpec"].get("Mounts") or ()
                    if mount["Type"] == "volume"
                ),
                _state(running=processes[name] > 0),
            )
            for name, one in self._swarm.services.items()
        ]  # fmt: skip

    def state(self, record: ObservedContainer) -> str:
        """See `Estate`: a service that does not run may never have done so, or have ended."""
        return _state(running=record.running)

    def die(self, thing: Thing) -> None:
        """See `Estate`."""
        self._swarm.end(thing.id)

    def remove(self, thing: Thing) -> None:
        """See `Estate`: its task ends in its own time."""
        self._swarm.remove(thing.id)

    def running(self) -> list[str]:
        """See `Estate`: also of services that are gone."""
        containers = [one for node in self._nodes for one in self._swarm.containers(node)]
        return [one.labels[_SERVICE_NAME] for one in containers if one.running]

    def changing(self) -> set[str]:
        """See `Estate`: a Swarm answers as soon as it knows what to do, and does it then."""
        services, running = self._swarm.services, self.running()
        tasks = defaultdict(list)
        for task in self._swarm.tasks():
            tasks[task["ServiceID"]].append(task)
        going = set(running) - services.keys()
        return going | {
            name
            for name, one in services.items()
            if _is_changing(one["Spec"], tasks[one["ID"]], runs=name in running)
        }

    def volumes(self) -> dict[str, dict[str, str]]:
        """See `Estate`."""
        records = (VolumeRecord.read(labels) for labels in self._config_labels())
        return {one.name: dict(one.labels) for one in records if one is not None}

    def leftovers(self) -> set[str]:
        """See `Estate`: secrets, networks, volumes that no record tells of, and promises."""
        things = {one.id: one for one in self.things()}
        secrets = {
            f"secret of {labels[LABEL_SERVICE]}"
            for labels in (one["Spec"]["Labels"] for one in self._swarm.secrets.values())
            if not (one := things.get(labels[LABEL_SERVICE])) or not one.processes
        }
        # On other nodes volumes are emptied, but stay.
        there = self._swarm.volumes(self._nodes[0]).keys()
        removals = {labels.get(LABEL_REMOVAL, "") for labels in self._config_labels()} - {""}
        return {
            *secrets,
            *(f"volume {name}" for name in there - self.volumes().keys()),
            *(f"promise to remove {name}" for name in removals),
            *(f"network {name}" for name in self._unused_networks()),
        }

    def _unused_networks(self) -> set[str]:
        specs = [one["Spec"]["TaskTemplate"] for one in self._swarm.services.values()]
        used = {one["Target"] for spec in specs for one in spec.get("Networks") or ()}
        return {
            name
            for name, one in self._fake.networks.items()
            if OwnNetwork.read(one["Labels"] or {}) and not {name, one["Id"]} & used
        }

    def _config_labels(self) -> list[Mapping[str, str]]:
        return [one["Spec"].get("Labels") or {} for one in self._swarm.configs.values()]


def _start(spec: Mapping[str, Any]) -> int:
    return int((spec.get("TaskTemplate") or spec).get("ForceUpdate") or 0)


def _is_changing(
    spec: Mapping[str, Any], tasks: Collection[Mapping[str, Any]], *, runs: bool
) -> bool:
    """Whether a service is not yet as its specification says."""
    on_the_way = [task for task in tasks if task["Status"]["State"] not in ENDED]
    if not spec["Mode"]["Replicated"]["Replicas"]:
        return runs or bool(on_the_way)
    started = any(_start(task["Spec"]) == _start(spec) for task in tasks)
    return not started or any(
        task["Status"]["State"] != task["DesiredState"] for task in on_the_way
    )


def _state(*, running: bool) -> str:
    return "running" if running else "exited"


def estate_of(fake: FakeEngine, *, swarm: bool = False) -> Estate:
    """What an Engine has, or the Swarm that it manages."""
    return ServiceEstate(fake) if swarm else Estate(fake)
