"""DockerSpawner's settings that dockernamed has not, and what to write in their place."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from .swarm import SWARMSPAWNER

_DRIVER = "use mounts = [{'type': 'volume', 'driver_config': {...}, ...}]"
_CERTS = "leave it out: certificates are copied into the container itself"
_ENGINE = "use client_kwargs = {'base_url': ...}, or the variable DOCKER_HOST"
_FIELDS = "use a template field such as {username} or {raw_username}, or a pre_spawn_hook"
_HOMES = "use volumes = {'/home/{raw_username}': '/home/{raw_username}'}"
_TLS = "use tls_config"

#: Settings of DockerSpawner 14, its earlier names included → what to do instead.
DOCKER: Mapping[str, str] = MappingProxyType(
    {
        "certs_volume_name": _CERTS,
        "container_image": "use image",
        "container_ip": "use host_ip",
        "container_name_template": "use name_template",
        "container_port": "use port",
        "container_prefix": "use prefix",
        "escape": _FIELDS,
        "format_volume_name": _FIELDS,
        "hub_ip_connect": "use hub_connect_url",
        "image_whitelist": "use allowed_images",
        "links": "use network_name, with a network that both containers are on",
        "move_certs_image": _CERTS,
        "remove_containers": "use remove",
        "tls": _TLS,
        "tls_assert_hostname": _TLS,
        "tls_ca": _TLS,
        "tls_cert": _TLS,
        "tls_key": _TLS,
        "tls_verify": _TLS,
        "use_docker_client_env": _ENGINE,
    }
)

#: Likewise those that SystemUserSpawner has besides.
SYSTEM_USER: Mapping[str, str] = MappingProxyType(
    {
        "homedir_bind_propagation": "use 'propagation' in volumes = {'/home/{raw_username}': "
        "{'bind': '/home/{raw_username}', 'propagation': 'rslave'}}",
        "host_homedir_format_string": _HOMES,
        "image_homedir_format_string": _HOMES,
        "run_as_root": "leave it out, set uid and gid; or uid = 0 for root",
    }
)

#: Likewise those that SwarmSpawner has besides, for servers in a Swarm.
SWARM: Mapping[str, str] = MappingProxyType(
    {**SWARMSPAWNER, "volume_driver": _DRIVER, "volume_driver_options": _DRIVER}
)
