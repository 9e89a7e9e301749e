"""Every setting that only servers in a Swarm have, declared and documented. No behaviour.

The others, of `dockernamed.settings`, hold for them as well.
"""

from __future__ import annotations

from jupyterhub.traitlets import Callable
from traitlets import CaselessStrEnum, Dict, Integer, List, Unicode, Union
from traitlets.config import Configurable

from .desired.placement import ENDPOINT_MODES, RESTART_POLICIES


class DockerNamedSwarmSettings(Configurable):
    """The settings of `dockernamed.DockerNamedSwarmSpawner` alone, as traits."""

    # --- where services run ----------------------------------------------------------------

    placement_constraints = Union(
        [Callable(), List(Unicode())],
        default_value=[],
        help="""What the node of a server must be: a list of constraints as
        `docker service create --constraint` has them, all of which must hold; or a callable that
        takes the spawner and returns one (it may be async). They speak of `node.id`,
        `node.hostname`, `node.ip`, `node.role`, `node.platform.os`, `node.platform.arch`,
        `node.labels.NAME` (`docker node update --label-add`) and `engine.labels.NAME`.
        Example: `["node.role==worker", "node.labels.disk!=slow"]`.""",
    ).tag(config=True)

    placement_preferences = Union(
        [Callable(), List(Unicode())],
        default_value=[],
        help="""Labels of nodes over whose values servers are spread evenly, the most important one
        first: a list, or a callable that takes the spawner and returns one (it may be async). Each
        server is a service of its own, so this counts where a node could also take another.
        Example: `["node.labels.rack"]`.""",
    ).tag(config=True)

    generic_resources = Union(
        [Callable(), Dict(key_trait=Unicode(), value_trait=Integer())],
        help="""How many of the resources that nodes offer are reserved for a server, such as GPUs:
        name → number, where the name is that of `node-generic-resources` in the nodes'
        `daemon.json`; or a callable that takes the spawner and returns such a dict (it may be
        async). A server waits until a node has so many left. Example: `{"NVIDIA-GPU": 1}`.""",
    ).tag(config=True)

    restart_policy = CaselessStrEnum(
        RESTART_POLICIES,
        default_value="none",
        help="""What becomes of a server that crashed, or whose node was lost. `"none"`: it has
        ended, and its user starts it again. `"on-failure"`: the Swarm starts it anew, perhaps on
        another node, and the Hub follows it there; what it had in memory is lost either way. It
        has ended all the same if no node takes it, or if it is started anew three times within five
        minutes and fails again.
        Example: `"on-failure"`.""",
    ).tag(config=True)

    endpoint_mode = CaselessStrEnum(
        ENDPOINT_MODES,
        default_value="dnsrr",
        help="""What the name of a server resolves to in its network: `"dnsrr"`, the address of its
        container; or `"vip"`, one address that stays, behind which the kernel's IPVS must be there
        on each node. Example: `"vip"`.""",
    ).tag(config=True)

    extra_service_spec = Union(
        [Callable(), Dict()],
        help="""Further keys of the service in the spelling of the Docker Engine API
        (`POST /services/create`); they override what is computed, and lists are joined. What
        `allow_unsafe` names is refused unless it is allowed there. A callable takes the spawner (it
        may be async). Template fields as in `volumes`. It cannot change the name, the mode, the
        image, or labels that begin with `dockernamed.`. Example:
        `{"TaskTemplate": {"ContainerSpec": {"StopSignal": "SIGINT"}}}`.""",
    ).tag(config=True)
