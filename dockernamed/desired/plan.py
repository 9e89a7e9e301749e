"""What to do, and why: what is wanted and what is observed in, a plan out. Pure, no calls.

An executor carries a plan out in its order and logs each step with its cause. Where a step teaches
it something that the plan could not know (whose the holder of a name is, that a kept container is
of no use), it adds that to what is observed and asks for the next plan.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from .. import naming
from ..errors import ForeignObject
from .entrypoint import SHELL
from .provenance import Provenance, ServerRef
from .spec import drift

#: Modes of Docker and Podman in which a container need not be in a network.
UNPLUGGED = ("host", "none", "slirp4netns", "pasta")
#: Networks that are always there, and whose id is another whenever the Engine starts.
BUILT_IN = ("bridge", "podman", *UNPLUGGED)


class Op(str, Enum):
    """What one step does."""

    CLAIM_VOLUME = "claim volume"
    LOOK_AT_VOLUME = "look at volume"
    LOOK_AT_LENDER = "look at the container"
    LOOK_AT_NETWORKS = "look at networks of"
    REMOVE = "remove"
    CREATE = "create"
    START = "start"
    STOP = "stop"
    REUSE = "reuse"
    LOOK_AT_NETWORK = "look at network"
    CREATE_NETWORK = "create network"
    JOIN_NETWORK = "join network"
    LEAVE_NETWORK = "leave network"
    REMOVE_NETWORK = "remove network"


#: Who has what carries a server's labels, and was not made for it.
COPY = "somebody who ran an image that has the labels of this server"
#: Steps that come before all others, and after which there is something new to plan with.
LOOKS = frozenset({Op.CLAIM_VOLUME, Op.LOOK_AT_VOLUME, Op.LOOK_AT_LENDER, Op.LOOK_AT_NETWORKS})


@dataclass(frozen=True)
class Instance:
    """One container of the very server.

    Attributes:
        id: the Engine's id.
        running: True also while paused or restarting: a process may be alive.
        spec: the hash in its label; "" where it has none.
        wanted: the backend is to have it run, also where it has ended by itself.
    """

    id: str
    running: bool
    spec: str
    wanted: bool = False


@dataclass(frozen=True)
class Holder:
    """Who was found to have a name that we wanted.

    Attributes:
        id: the container's; "" where by now nobody has the name any more.
        labels: of that container.
    """

    id: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Lender:
    """A container whose mounts another one is to have as well.

    Attributes:
        labels: of the container; none where there is no such container.
        volumes: names of the volumes that it mounts.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Connections:
    """The networks that a container is to come back to.

    Attributes:
        mode: its network mode, in the Engine's words.
        networks: those that it is connected to, by name → whether they are still there.
    """

    mode: str
    networks: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True)
class Desired:
    """What a start is to bring about.

    Attributes:
        server: whose start.
        names: names for a new container, in the order of preference.
        spec: hash of what is wanted.
        image: reference of the image, for causes.
        keep: a container may serve one start after another (``remove = False``).
        by_shell: a shell is to hand the container its environment; a kept one needs that.
        volumes: volumes to mount, which are made if they are missing → labels that they must not
            contradict where they exist.
        past_us: volumes that further keys of the request mount: not ours to make.
        lenders: ids or names of containers whose mounts are wanted (``volumes_from``).
        noun: what a container is called in messages, which may be a service.
    """

    server: ServerRef
    names: Sequence[str]
    spec: str
    image: str = ""
    keep: bool = False
    by_shell: bool = False
    volumes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    past_us: tuple[str, ...] = ()
    lenders: tuple[str, ...] = ()
    noun: str = "container"

    @property
    def own(self) -> dict[str, str]:
        """The labels that nothing may contradict of which nobody knows whose it is."""
        key = self.server.key
        return {naming.LABEL_HUB: key.hub, naming.LABEL_USER: key.user}


@dataclass(frozen=True)
class Observed:
    """What is known so far, at some moment of a start.

    Attributes:
        instances: every container of the server, in any state.
        volumes: labels of the volumes that were claimed or looked at; of one that does not exist
            and is not ours to make, none.
        lenders: the containers that lend their mounts, as far as they were looked at.
        holders: who had a name when it was tried.
        connections: of kept containers that were looked at, by id.
        useless: containers that cannot serve this start, by id → why.
        stuck: ids of containers that the Engine itself cannot remove.
        shell: the image has one; True until proven wrong.
        replaced: this start has removed a container.
    """

    instances: Sequence[Instance] = ()
    volumes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    lenders: Mapping[str, Lender] = field(default_factory=dict)
    holders: Mapping[str, Holder] = field(default_factory=dict)
    connections: Mapping[str, Connections] = field(default_factory=dict)
    useless: Mapping[str, str] = field(default_factory=dict)
    stuck: frozenset[str] = frozenset()
    shell: bool = True
    replaced: bool = False


@dataclass(frozen=True)
class Step:
    """One thing to do.

    Attributes:
        op: what.
        target: name of the container to create, id of any other, name of a volume; "" in a START
            for the one of the CREATE or REUSE before it.
        cause: why, for the log.
        once: of a CREATE: for one start only and without a shell, whatever was wanted.
        notable: something is not as it should be: a warning in the log.
    """

    op: Op
    target: str
    cause: str
    once: bool = False
    notable: bool = False

    def __str__(self) -> str:
        what = f"{self.op.value} {self.target}".rstrip()
        return f"{what}{' for one start' if self.once else ''}: {self.cause}"


@dataclass(frozen=True)
class Plan:
    """Steps in their order; as text, one line a step."""

    steps: tuple[Step, ...] = ()

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __str__(self) -> str:
        return "\n".join(map(str, self.steps))


# --- starting ----------------------------------------------------------------------------------


def plan_start(desired: Desired, observed: Observed) -> Plan:
    """Steps to one running container of the wanted spec, as far as is known by now.

    Returns:
        What has to be looked at first; then removals; then either REUSE or CREATE; then START. At
        most one container of this server is left, besides what the Engine cannot remove.

    Raises:
        ForeignObject: a volume, or all names, belong to somebody else.
    """
    looks = _looks(desired, observed)
    removals, kept = [], None
    for one in observed.instances:
        if one.id in observed.stuck:
            continue
        cause, notable = _why_not_reuse(one, desired, observed)
        if not cause and kept is None:
            kept = one
        else:
            cause = cause or "a second one of the same server"
            removals.append(Step(Op.REMOVE, one.id, cause, notable=notable))
    if kept is None:
        replaced = observed.replaced or bool(removals)
        last = _create(desired, observed, "replaced" if replaced else "none exists")
    else:
        if kept.id not in observed.connections:
            looks.append(Step(Op.LOOK_AT_NETWORKS, kept.id, "they may be gone since it ran"))
        last = [Step(Op.REUSE, kept.id, "kept from the last run and still as wanted")]
    return Plan((*looks, *removals, *last, Step(Op.START, "", "requested")))


def _looks(desired: Desired, observed: Observed) -> list[Step]:
    """What has to be known of all that is to be mounted; nobody else's is mounted.

    Raises:
        ForeignObject: a volume, or a container that lends its mounts, is somebody else's.
    """
    past_us = dict.fromkeys(desired.past_us, desired.own)
    for name, lender in observed.lenders.items():
        _refuse_strangers("container", name, lender.labels, desired.own)
        past_us |= dict.fromkeys(lender.volumes, desired.own)
    for wanted in (desired.volumes, past_us):
        for volume, owner in wanted.items():
            _refuse_strangers("volume", volume, observed.volumes.get(volume, {}), owner)
    unknown = [name for name in desired.lenders if name not in observed.lenders]
    return [
        *(
            Step(Op.CLAIM_VOLUME, volume, "it may be missing, or somebody else's")
            for volume in desired.volumes
            if volume not in observed.volumes
        ),
        *(
            Step(Op.LOOK_AT_VOLUME, volume, "it may be somebody else's")
            for volume in past_us
            if volume not in observed.volumes and volume not in desired.volumes
        ),
        *(Step(Op.LOOK_AT_LENDER, name, "it may be somebody else's") for name in unknown),
    ]


def _why_not_reuse(one: Instance, desired: Desired, observed: Observed) -> tuple[str, bool]:
    """Why a container cannot serve this start, "" if it can; and whether that is notable."""
    if one.running:
        return "left running by a start that the Hub does not know of", False
    if one.id in observed.useless:
        return observed.useless[one.id], desired.keep
    if not desired.keep:
        return "left over from an earlier run, and not made to be used again", False
    if one.spec != desired.spec:
        return f"not as wanted any more: {', '.join(drift(one.spec, desired.spec))}", False
    connections = observed.connections.get(one.id)
    return (cut_off(connections), True) if connections else ("", False)


def cut_off(connections: Connections) -> str:
    """Why a kept container would not be reached in its networks any more; "" if it would.

    Its start would be refused, or nobody could get to its server, this time and ever after.
    """
    mode = connections.mode
    if not connections.networks and mode not in UNPLUGGED and not mode.startswith("container:"):
        return "it was disconnected from its network"
    gone = [name for name, there in connections.networks.items() if not there]
    return f"its network {gone[0]} was removed since" if gone else ""


def _create(desired: Desired, observed: Observed, cause: str) -> list[Step]:
    """Make a container under the first name that is free, or can be made free."""
    once = desired.by_shell and not observed.shell
    if once and desired.keep:
        cause = no_shell(desired.image)
    notable, owner = False, ""
    for name in desired.names:
        holder = observed.holders.get(name)
        if holder is None or not holder.id:
            return [Step(Op.CREATE, name, cause, once, notable)]
        found = Provenance.read(holder.id, name, holder.labels)
        ours = desired.server.has(found)
        if ours and holder.id not in observed.stuck:
            unknown = Step(Op.REMOVE, holder.id, "ours, and unknown until now", notable=True)
            return [unknown, Step(Op.CREATE, name, "replaced", once)]
        copied = found.key == desired.server.key and not found.is_original(desired.server.made)
        owner = COPY if copied else describe_owner(holder.labels)
        cause, notable = f"the {desired.noun} name {name} is in use by {owner}", True
    hint = "set another c.DockerNamedSpawner.prefix"
    raise ForeignObject(desired.noun, desired.names[-1], owner, hint)


def no_shell(image: str) -> str:
    """Why a container of this image is for one start, where it was to be kept."""
    return f"for one start only: {image} has no {SHELL}"


# --- ending ------------------------------------------------------------------------------------


def plan_stop(instances: Sequence[Instance], *, keep: bool) -> Plan:
    """Steps to no running container, and to none at all unless they are kept.

    What is kept is stopped also where it has ended by itself, if it is to run all the same.
    """
    steps: list[Step] = []
    for one in instances:
        if one.running:
            steps.append(Step(Op.STOP, one.id, "requested"))
        elif keep and one.wanted:
            steps.append(Step(Op.STOP, one.id, "it has ended by itself, and is to run still"))
        if not keep:
            steps.append(Step(Op.REMOVE, one.id, "it is not kept"))
    return Plan(tuple(steps))


def plan_delete(instances: Sequence[Instance]) -> Plan:
    """Steps to no container of this server, whatever state it is in."""
    return Plan(tuple(Step(Op.REMOVE, one.id, "the server is deleted") for one in instances))


# --- whose -------------------------------------------------------------------------------------


def describe_owner(labels: Mapping[str, str]) -> str:
    """Whose object this is, in words, from its labels."""
    key = naming.key_of(labels)
    if key is None:
        hub = labels.get(naming.LABEL_HUB)
        return f"the Hub {hub!r}" if hub else "somebody else (it has no labels of ours)"
    return f"server {key.server!r} of user {key.user!r} of the Hub {key.hub!r}"


def _refuse_strangers(
    kind: str, name: str, labels: Mapping[str, str], owner: Mapping[str, str]
) -> None:
    for label, value in owner.items():
        if labels.get(label, value) != value:
            hint = _hint(label, labels[label])
            raise ForeignObject(kind, name, describe_owner(labels), hint)


def _hint(label: str, value: str) -> str:
    if label == naming.LABEL_HUB:
        return (
            f"if that Hub is this one, set c.DockerNamedSpawner.hub_id = {value!r}; if not, set "
            "another c.DockerNamedSpawner.prefix"
        )
    return "use {user_server} in its name, which is never the same for two servers"
