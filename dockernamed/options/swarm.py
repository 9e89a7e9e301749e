"""Names of the settings for a Swarm alone, and what other spawners' settings come to there."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

#: The class that has them, which is also the section of a configuration.
SWARM_SPAWNER = "DockerNamedSwarmSpawner"
#: The line that makes servers services of a Swarm.
LINE = 'c.JupyterHub.spawner_class = "dockernamed-swarm"'
#: Settings of `dockernamed.settings_swarm`.
SWARM_SETTINGS = frozenset(
    {
        "endpoint_mode",
        "extra_service_spec",
        "generic_resources",
        "placement_constraints",
        "placement_preferences",
        "restart_policy",
    }
)
ONLY_IN_SWARM = f"only servers in a Docker Swarm have it; set {LINE}"

_CONTAINER = "use extra_service_spec = {'TaskTemplate': {'ContainerSpec': {...}}}"
_TASK = "use extra_service_spec = {'TaskTemplate': {...}}"

#: SwarmSpawner's settings → what to do instead, where servers are in a Swarm.
SWARMSPAWNER: Mapping[str, str] = MappingProxyType(
    {
        "extra_container_spec": f"{_CONTAINER}, or extra_create_kwargs",
        "extra_endpoint_spec": "use endpoint_mode, or extra_service_spec = {'EndpointSpec': {...}}",
        "extra_placement_spec": "use placement_constraints and placement_preferences",
        "extra_resources_spec": "use generic_resources, mem_limit, mem_guarantee, cpu_limit and "
        "cpu_guarantee",
        "extra_task_spec": f"{_TASK}, or restart_policy and log_config",
    }
)

_LABELS = "placement_constraints = ['node.labels.NAME==VALUE']"
_SPREAD = "placement_preferences = ['node.labels.NAME']"
_RESOURCES = "generic_resources = {'NVIDIA-GPU': N}"

#: Likewise those of KubeSpawner, as `kubernetes.KUBERNETES` has them.
KUBERNETES: Mapping[str, str] = MappingProxyType(
    {
        "extra_container_config": "extra_service_spec",
        "extra_pod_config": "extra_service_spec",
        "extra_resource_guarantees": _RESOURCES,
        "extra_resource_limits": _RESOURCES,
        "node_affinity_preferred": _SPREAD,
        "node_affinity_required": _LABELS,
        "node_selector": _LABELS,
        "pod_affinity_preferred": _LABELS,
        "pod_affinity_required": _LABELS,
        "pod_anti_affinity_preferred": _SPREAD,
        "pod_anti_affinity_required": _SPREAD,
        "tolerations": _LABELS,
    }
)
