"""What cannot work in the settings about what servers share is told when the Hub starts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from traitlets.config import Config

from dockernamed import DockerNamedSpawner
from dockernamed.hub.config_check import check_config

REACHABLE = SimpleNamespace(ip="0.0.0.0", connect_ip="", connect_url="")
ALL_GPUS = {"device_requests": [{"Count": -1, "Capabilities": [["gpu"]]}]}


def lines(**settings: Any) -> list[str]:
    """The faults in such lines for DockerNamedSpawner."""
    config = Config({"DockerNamedSpawner": settings})
    return [str(fault) for fault in check_config(DockerNamedSpawner, config, REACHABLE).faults]


@pytest.mark.parametrize(
    ("settings", "begins"),
    [
        ({"max_total_memory": "8G"}, "c.DockerNamedSpawner.mem_limit = None: with max_total_mem"),
        ({"max_total_cpu": 8.0}, "c.DockerNamedSpawner.cpu_limit = None: with max_total_cpu = 8"),
        (
            {"group_limits": {"a": {"max_total_memory": "8G"}}},
            "c.DockerNamedSpawner.mem_limit = None: with group_limits['a']['max_total_memory'] =",
        ),
        (
            {"max_total_memory": "8G", "mem_limit": "9G"},
            'c.DockerNamedSpawner.mem_limit = "9G": it is more than max_total_memory = 8G',
        ),
        (
            {"group_limits": {"a": {"max_server": 3}}},
            "c.DockerNamedSpawner.group_limits['a']['max_server'] = 3: no such limit",
        ),
        ({"gpu_devices": ["all"]}, 'c.DockerNamedSpawner.gpu_devices = "all": name each GPU'),
        ({"gpu_devices": ["0"], "gpus": 2}, "c.DockerNamedSpawner.gpus = 2: there are 1"),
        ({"gpus": -1}, "c.DockerNamedSpawner.gpus = -1"),
        ({"gpus": "1"}, 'c.DockerNamedSpawner.gpus = "1"'),
        (
            {"gpus": 1, "extra_host_config": ALL_GPUS},
            "c.DockerNamedSpawner.extra_host_config['device_requests'] = ",
        ),
        (
            {"gpu_devices": ["0"], "extra_host_config": ALL_GPUS},
            "c.DockerNamedSpawner.extra_host_config['device_requests'] = ",
        ),
        ({"allowed_registries": "quay.io"}, 'c.DockerNamedSpawner.allowed_registries = "quay.io"'),
        ({"allowed_registries": ["a/b"]}, 'c.DockerNamedSpawner.allowed_registries = "a/b"'),
        ({"max_parallel_pulls": 0}, "c.DockerNamedSpawner.max_parallel_pulls = 0"),
        ({"max_parallel_pulls_per_user": 0}, "c.DockerNamedSpawner.max_parallel_pulls_per_user"),
        ({"max_servers_per_user": -1}, "c.DockerNamedSpawner.max_servers_per_user = -1"),
    ],
)
def test_lines_that_cannot_work(settings: dict[str, Any], begins: str) -> None:
    """Each is one fault, which names the line."""
    (line,) = lines(**settings)
    assert line.startswith(begins)


@pytest.mark.parametrize(
    ("override", "settings", "says"),
    [
        ({"gpus": 3}, {"gpu_devices": ["0", "1"]}, "there are 2 in gpu_devices"),
        ({"extra_host_config": ALL_GPUS}, {"gpu_devices": ["0"]}, "gives each server GPUs"),
        ({"mem_limit": None}, {"max_total_memory": "8G", "mem_limit": "1G"}, "needs a limit"),
        ({"mem_limit": "9G"}, {"max_total_memory": "8G", "mem_limit": "1G"}, "more than max_total"),
        ({"cpu_limit": 9.0}, {"max_total_cpu": 8.0, "cpu_limit": 1.0}, "more than max_total_cpu"),
        ({"max_total_memory": "9G"}, {}, "it holds for all servers of the Hub"),
    ],
)
def test_overrides_that_cannot_work(
    override: dict[str, Any], settings: dict[str, Any], says: str
) -> None:
    """A profile's and a group's alike."""
    profiles = [{"display_name": "A", "slug": "a", "spawner_override": override}]
    groups = {"a": {"groups": ["a"], "spawner_override": override}}
    for more in ({"profile_list": profiles}, {"group_overrides": groups}):
        (line,) = lines(**settings, **more)
        assert says in line
        assert next(iter(override)) in line


def test_lines_that_work() -> None:
    """Callables are asked when a server starts."""
    assert not lines(
        max_total_memory="8G",
        mem_limit=lambda spawner: "1G",
        max_total_cpu=8.0,
        cpu_guarantee=0.5,
        gpu_devices=["0", "nvidia.com/gpu=1", "GPU-4a-b1"],
        gpus=lambda spawner: 1,
        extra_host_config={"device_requests": [{"Driver": "cdi", "DeviceIDs": ["a.com/nic=0"]}]},
        allowed_registries=["quay.io", "[::1]:5000", "localhost:5000"],
        group_limits={"a": {"max_servers": 3, "max_total_memory": "4G"}, "b": {}},
        profile_list=[{"display_name": "A", "spawner_override": {"gpus": 2, "mem_limit": "2G"}}],
    )
