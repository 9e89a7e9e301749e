"""KubeSpawner's settings that mean nothing to Docker, and what to use in their place."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from . import swarm
from .swarm import LINE

_DEVICES = "gpus = N for GPUs, or devices = [...]"
_SECURITY = "cap_drop = [...], cap_add = [...], read_only, uid, gid or allow_privilege_escalation"
_PRIVILEGED = "extra_host_config = {'privileged': True} and allow_unsafe = ['privileged']"
_PLACE = f"placement_constraints = [...], with {LINE}"
_ENGINE = "c.DockerNamedSpawner.client_kwargs = {'base_url': ...}, the Engine of all servers"
_LABELS = "extra_create_kwargs = {'labels': {...}}"
_VOLUMES = "volumes = {'name-or-directory': '/path'} or mounts = [...]"
_DRIVER = "mounts = [{'type': 'volume', 'driver_config': {...}, ...}]"
_HOOKS = "pre_spawn_hook or post_stop_hook"

#: KubeSpawner's settings that Docker lacks → the setting with the nearest effect; "" for none.
KUBERNETES: Mapping[str, str] = MappingProxyType(
    {
        "after_pod_created_hook": _HOOKS,
        "automount_service_account_token": "",
        "common_labels": _LABELS,
        "component_label": _LABELS,
        "container_security_context": _SECURITY,
        "delete_grace_period": "stop_timeout",
        "delete_pvc": "",
        "delete_stopped_pods": "remove",
        "dns_name_template": "name_template",
        "enable_user_namespaces": "",
        "events_enabled": "",
        "extra_annotations": _LABELS,
        "extra_container_config": "extra_create_kwargs or extra_host_config",
        "extra_containers": "",
        "extra_labels": _LABELS,
        "extra_pod_config": "extra_create_kwargs or extra_host_config",
        "extra_resource_guarantees": _DEVICES,
        "extra_resource_limits": _DEVICES,
        "fs_gid": "supplemental_gids",
        "fs_group_id": "supplemental_gids",
        "get_pod_url": "",
        "handle_legacy_names": "",
        "hub_connect_ip": "hub_connect_url",
        "hub_connect_port": "hub_connect_url",
        "image_pull_policy": "pull_policy",
        "image_pull_secrets": "",
        "image_spec": "image",
        "init_containers": _HOOKS,
        "k8s_api_host": _ENGINE,
        "k8s_api_request_retry_timeout": "",
        "k8s_api_request_timeout": "client_kwargs = {'timeout': ...}",
        "k8s_api_ssl_ca_cert": "tls_config",
        "k8s_api_threadpool_workers": "",
        "k8s_api_verify_ssl": "tls_config",
        "lifecycle_hooks": _HOOKS,
        "modify_pod_hook": "pre_spawn_hook",
        "namespace": "prefix",
        "node_affinity_preferred": _PLACE,
        "node_affinity_required": _PLACE,
        "node_selector": _PLACE,
        "pod_affinity_preferred": _PLACE,
        "pod_affinity_required": _PLACE,
        "pod_anti_affinity_preferred": _PLACE,
        "pod_anti_affinity_required": _PLACE,
        "pod_connect_ip": "host_ip",
        "pod_name_template": "name_template",
        "pod_security_context": _SECURITY,
        "priority_class_name": "extra_host_config = {'cpu_shares': ..., 'oom_score_adj': ...}",
        "privileged": _PRIVILEGED,
        "pvc_name_template": "server_volume",
        "remember_pvc_name": "",
        "run_privileged": _PRIVILEGED,
        "scheduler_name": "",
        "secret_mount_path": "",
        "secret_name_template": "",
        "service_account": "",
        "services_enabled": "",
        "singleuser_image_spec": "image",
        "slow_spawn_message": "",
        "slow_spawn_message_frequency": "",
        "slow_spawn_message_threshold": "",
        "slug_scheme": "name_template",
        "storage_access_modes": "",
        "storage_capacity": _DRIVER,
        "storage_class": _DRIVER,
        "storage_extra_annotations": "",
        "storage_extra_labels": "",
        "storage_pvc_ensure": "server_volume",
        "storage_selector": "",
        "tolerations": _PLACE,
        "user_namespace_annotations": "",
        "user_namespace_labels": "",
        "user_namespace_template": "",
        "volume_mounts": _VOLUMES,
        "working_dir": "extra_create_kwargs = {'working_dir': '/path'}",
    }
)


def instead_of(swarm_settings: bool) -> Mapping[str, str]:
    """`KUBERNETES` for one of our spawners.

    Args:
        swarm_settings: it has those that only servers in a Swarm have.
    """
    return {**KUBERNETES, **swarm.KUBERNETES} if swarm_settings else KUBERNETES
