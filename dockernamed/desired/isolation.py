"""The networks that are made to keep servers apart: whose, how, and when they go. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import naming
from ..errors import ConfigError, ForeignObject
from .plan import Op, Plan, Step, describe_owner

#: Values of the setting `network_isolation` with which networks are made.
SCOPES = ("hub", "user", "server")
SETTING = "network_isolation"
_ICC = "com.docker.network.bridge.enable_icc"
_BRIDGE = "com.docker.network.bridge.name"
#: Of the label that tells the networks which lead nowhere from the others, and those of all nodes
#: of a Swarm from those of one Engine.
_INTERNAL = "-internal"
_OVERLAY = "-overlay"


@dataclass(frozen=True)
class OwnNetwork:
    """One network that a Hub makes for servers: equal for all that are to share it.

    Attributes:
        hub: the Hub's id.
        scope: whose servers are in it: one of `SCOPES`.
        user: raw name; "" for all users.
        server: raw name, where it is for one server; else "".
        internal: nothing but its containers and the Engine's host can be reached from it.
        overlay: it is one of a Swarm, on all nodes; else a bridge of one Engine.
        names: to try in this order; the second one if somebody else has the first.
    """

    hub: str
    scope: str
    user: str = ""
    server: str = ""
    internal: bool = False
    overlay: bool = False
    names: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of(
        cls,
        key: naming.Key,
        scope: str,
        *,
        prefix: str,
        internal: bool = False,
        overlay: bool = False,
    ) -> OwnNetwork:
        """The network of a server.

        Args:
            key: whose server.
            scope: one of `SCOPES`.
            prefix: first part of the names.
            internal: as in the attributes.
            overlay: likewise.
        """
        user = None if scope == "hub" else key.user
        server = key.server if scope == "server" else None
        kind = f"{_OVERLAY if overlay else ''}{_INTERNAL if internal else ''}"
        names = naming.network_names(key.hub, user, server, prefix=prefix, kind=kind)
        return cls(key.hub, scope, user or "", server or "", internal, overlay, names)

    @classmethod
    def read(cls, labels: Mapping[str, str]) -> OwnNetwork | None:
        """The network that labels say it is, without names; None if a Hub did not make it."""
        scope = labels.get(naming.LABEL_NETWORK, "")
        internal = scope.endswith(_INTERNAL)
        scope = scope.removesuffix(_INTERNAL)
        overlay = scope.endswith(_OVERLAY)
        scope = scope.removesuffix(_OVERLAY)
        hub = labels.get(naming.LABEL_HUB)
        if hub is None or scope not in SCOPES:
            return None
        user, server = labels.get(naming.LABEL_USER, ""), labels.get(naming.LABEL_SERVER, "")
        return cls(hub, scope, user, server, internal, overlay)

    @property
    def labels(self) -> dict[str, str]:
        """The labels that it has on the Engine, which `read` reads."""
        kind = f"{_OVERLAY if self.overlay else ''}{_INTERNAL if self.internal else ''}"
        scope = f"{self.scope}{kind}"
        found = {naming.LABEL_HUB: self.hub, naming.LABEL_NETWORK: scope}
        if self.scope != "hub":
            found[naming.LABEL_USER] = self.user
        if self.scope == "server":
            found[naming.LABEL_SERVER] = self.server
        return found

    def body(self, name: str) -> dict[str, Any]:
        """The body of ``POST /networks/create`` but for the name, which is one of ours.

        In a network of the whole Hub containers cannot talk to each other. In the others they can:
        they are one user's, and the Hub's own container may be among them, which an overlay has to
        be made for.
        """
        if self.overlay:
            return {
                "Driver": "overlay",
                "Attachable": True,
                "Internal": self.internal,
                "Labels": self.labels,
            }
        options = {_BRIDGE: naming.bridge_name(name)}
        if self.scope == "hub":
            options[_ICC] = "false"
        return {
            "Driver": "bridge",
            "Internal": self.internal,
            "Labels": self.labels,
            "Options": options,
        }

    def serves(self, user: str, server: str) -> bool:
        """Whether it is the network of a server, as long as that has none of another scope."""
        return self.scope == "hub" or (
            user == self.user and (self.scope == "user" or server == self.server)
        )


def isolation(
    setting: str | None,
    network_name: str,
    *,
    beside: bool,
    podman: bool = False,
    swarm: bool = False,
) -> str:
    """Whose servers share a network with a server: ``hub``, ``user``, ``server`` or ``none``.

    Args:
        setting: `network_isolation`; None leaves it to us.
        network_name: the setting of that name.
        beside: the Hub runs in a container of the servers' own Engine; of a Swarm: in one that
            servers reach in a network of the whole Swarm.
        podman: the Engine is Podman, which does not keep containers of one network apart.
        swarm: the networks are those of a Swarm, which does not either.

    Raises:
        ConfigError: it contradicts the network's name, or would cut off the Hub's own container.
    """
    if setting is None:
        if network_name or beside or podman:
            return "none"
        return "user" if swarm else "hub"
    if setting == "none":
        return setting
    if network_name:
        raise ConfigError(
            SETTING,
            setting,
            f"servers are in the network network_name = {network_name!r} already; set "
            'network_name = "" beside it, or network_isolation = "none"',
        )
    if setting == "hub" and beside:
        raise ConfigError(
            SETTING,
            setting,
            "containers of such a network cannot talk to each other, and the Hub runs in a "
            'container itself; set network_isolation = "user" or "server"',
        )
    if setting == "hub" and (podman or swarm):
        raise ConfigError(
            SETTING,
            setting,
            f"{'a Swarm' if swarm else 'Podman'} does not keep the containers of one network "
            'apart; set network_isolation = "user" or "server"',
        )
    return setting


def check_internal(internal: bool, use_internal_ip: bool | None) -> None:
    """Refuse published ports in a network that is made without a way out: there are none.

    Args:
        internal: the network is to have no way out.
        use_internal_ip: the setting of that name.

    Raises:
        ConfigError: the settings contradict each other.
    """
    if internal and use_internal_ip is False:
        hint = "networks without a way out publish no ports; set it to None or True, or "
        hint += "c.DockerNamedSpawner.internal_network = False"
        raise ConfigError("use_internal_ip", use_internal_ip, hint)


def check_further(network: str, further: Sequence[str]) -> None:
    """Refuse further networks that no container can be connected to.

    Args:
        network: the server's first one: a name, ``host`` or ``none``.
        further: the setting ``networks``, expanded.

    Raises:
        ConfigError: one of them, or any of them beside the first one, cannot work.
    """
    wrong = [name for name in further if name in ("", "host", "none") or ":" in name]
    if wrong:
        hint = "name networks of the Engine, such as those that docker network create makes"
        raise ConfigError("networks", wrong[0], hint)
    if further and (network in ("host", "none") or ":" in network):
        hint = f"servers in the network {network!r} cannot be connected to further ones"
        raise ConfigError("networks", list(further), hint)


# --- plans ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NetworkFacts:
    """What a plan needs to know of a network that has a name.

    Attributes:
        labels: of the network.
        containers: ids of those that are connected to it and run.
    """

    labels: Mapping[str, str]
    containers: Collection[str] = ()


def plan_network(
    wanted: OwnNetwork, seen: Mapping[str, NetworkFacts | None], hub_container: str = ""
) -> Plan:
    """Steps to the network of a server, as far as is known by now.

    Args:
        wanted: which.
        seen: name → who was found to have it, None: nobody; names that were not looked at are
            missing.
        hub_container: id of the container that the Hub runs in, which has to be in it; "" outside.

    Returns:
        Either a look at a name; or what is missing, if anything. All steps are about the first name
        that is free or ours.

    Raises:
        ForeignObject: somebody else has all names.
    """
    owner = ""
    for name in wanted.names:
        if name not in seen:
            return Plan((Step(Op.LOOK_AT_NETWORK, name, "it may be missing, or somebody else's"),))
        found = seen[name]
        join = Step(Op.JOIN_NETWORK, name, "the Hub's container reaches the servers there")
        if found is None:
            create = Step(Op.CREATE_NETWORK, name, f"none exists for this {wanted.scope}")
            return Plan((create, join) if hub_container else (create,))
        if OwnNetwork.read(found.labels) == wanted:
            missing = hub_container and hub_container not in found.containers
            return Plan((join,) if missing else ())
        owner = describe_owner(found.labels)
    hint = "set another c.DockerNamedSpawner.prefix"
    raise ForeignObject("network", wanted.names[-1], owner, hint)


def plan_unused(
    name: str,
    network: OwnNetwork,
    seen: NetworkFacts,
    members: Collection[str],
    hub_container: str = "",
) -> Plan:
    """Steps that remove a network once it has no container any more, in whatever state; else none.

    Args:
        name: its name.
        network: which.
        seen: what is connected to it now.
        members: ids of all containers that have it, running or not.
        hub_container: as for `plan_network`; it alone is no reason to keep a network.
    """
    if {*members, *seen.containers} - {hub_container}:
        return Plan()
    remove = Step(Op.REMOVE_NETWORK, name, f"no server of this {network.scope} is in it any more")
    if hub_container and hub_container in {*members, *seen.containers}:
        leave = Step(Op.LEAVE_NETWORK, name, "only the Hub's container is left there")
        return Plan((leave, remove))
    return Plan((remove,))
