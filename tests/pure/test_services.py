"""A server's container as a Swarm service: every key is translated or refused, none is lost."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import docker.types
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockernamed import naming
from dockernamed.desired.environment import Environment
from dockernamed.desired.hardening import Hardening
from dockernamed.desired.mounts import Mount
from dockernamed.desired.node_images import prepull_service
from dockernamed.desired.placement import ServiceSettings
from dockernamed.desired.private import ENV_FILE, PRIVATE_DIR
from dockernamed.desired.service_mounts import literal
from dockernamed.desired.services import (
    Api,
    ServiceFile,
    api_of,
    left_out,
    scaled,
    service_body,
)
from dockernamed.desired.spec import LABEL_START, ServerSpec, drift, spec_hash
from dockernamed.desired.volume_records import Removal, emptying
from dockernamed.errors import ConfigError

KEY = naming.Key("hub", "ann", "exp-1")
SPEC = ServerSpec(key=KEY, names=("jupyter-ann--exp-1",), image="lab@sha256:1", image_id="sha256:1")
ENV = Environment({"A": "b"}, {"JUPYTERHUB_USER": "ann"}, {"JUPYTERHUB_API_TOKEN": "t0"})
NEWEST: Api = (1, 52)


def body_of(
    spec: ServerSpec = SPEC, api: Api = (1, 41), files: Iterable[ServiceFile] = ()
) -> dict[str, Any]:
    """The service of a spec."""
    name = "jupyter-ann--exp-1"
    return service_body(spec, ENV, name=name, start_id="s", files=files, api=api)


def task_of(spec: ServerSpec = SPEC, api: Api = (1, 41)) -> dict[str, Any]:
    """Its task."""
    task: dict[str, Any] = body_of(spec, api)["TaskTemplate"]
    return task


def container_of(spec: ServerSpec = SPEC, api: Api = (1, 41)) -> dict[str, Any]:
    """Its task's container."""
    container: dict[str, Any] = task_of(spec, api)["ContainerSpec"]
    return container


def with_host(**keys: Any) -> ServerSpec:
    """A spec with further keys of HostConfig."""
    return replace(SPEC, host_config=keys)


def with_config(**keys: Any) -> ServerSpec:
    """A spec with further keys of the create body."""
    return replace(SPEC, config=keys)


def at(tree: Any, path: str) -> Any:
    """What is at a path of keys with dots between them."""
    for key in path.split("."):
        tree = tree[key]
    return tree


def test_the_least() -> None:
    """A bare spec: the image, all of the environment, and nothing that would start by itself."""
    body = body_of()
    assert body["Name"] == "jupyter-ann--exp-1"
    assert body["Mode"] == {"Replicated": {"Replicas": 0}}
    assert body["EndpointSpec"] == {"Mode": "dnsrr"}
    assert body["TaskTemplate"] == {
        "ContainerSpec": {
            "Image": "lab@sha256:1",
            "Env": ["A=b", "JUPYTERHUB_USER=ann", "JUPYTERHUB_API_TOKEN=t0"],
            "Init": True,
            "Labels": naming.labels(KEY),
            "StopGracePeriod": 10_000_000_000,
            "Healthcheck": {"Test": ["NONE"]},
        },
        "RestartPolicy": {"Condition": "none"},
    }


def test_no_image_says_that_it_is_ill() -> None:
    """A Swarm ends a task that its image's health check fails, also one that runs no server."""
    emptied = emptying(Removal("hub", "home", "n1", image="lab"), "x")
    for body in (body_of(), emptied, prepull_service("x", "hub", "lab")):
        assert body["TaskTemplate"]["ContainerSpec"]["Healthcheck"] == {"Test": ["NONE"]}


def test_labels_say_whose_it_is() -> None:
    """The service has all labels of a container; its tasks say whose they are, and no more."""
    body = body_of(with_config(Labels={"team": "physics"}))
    assert body["Labels"] == {
        **naming.labels(KEY),
        "team": "physics",
        naming.LABEL_CONTAINER: "jupyter-ann--exp-1",
        naming.LABEL_SPEC: spec_hash(with_config(Labels={"team": "physics"}), ENV),
        LABEL_START: "s",
    }
    shown = body["TaskTemplate"]["ContainerSpec"]["Labels"]
    assert shown == {**naming.labels(KEY), "team": "physics"}


def test_secrets_are_handed_over_as_files() -> None:
    """With a shell, nothing secret is in the service: it comes as Swarm secrets."""
    spec = replace(SPEC, process=("start-notebook.sh", "--x"))
    files = (ServiceFile("id1", "n1", ENV_FILE), ServiceFile("id2", "n2", "/a/b", 0o440, 1000, 100))
    body = body_of(spec, files=files)
    container = body["TaskTemplate"]["ContainerSpec"]
    assert "t0" not in json.dumps(body)
    assert container["Args"] == ["start-notebook.sh", "--x"]
    assert container["Command"][:2] == ["/bin/sh", "-c"]
    assert not any(mount["Target"] == PRIVATE_DIR for mount in container.get("Mounts", ()))
    assert container["Secrets"] == [
        {
            "SecretID": "id1",
            "SecretName": "n1",
            "File": {"Name": ENV_FILE, "UID": "0", "GID": "0", "Mode": 0o400},
        },
        {
            "SecretID": "id2",
            "SecretName": "n2",
            "File": {"Name": "/a/b", "UID": "1000", "GID": "100", "Mode": 0o440},
        },
    ]


IN_CONFIG: list[tuple[str, Any, str, Any]] = [
    ("Cmd", ["a", "b"], "ContainerSpec.Args", ["a", "b"]),
    ("Entrypoint", "a", "ContainerSpec.Command", ["a"]),
    ("Entrypoint", ["a", "b"], "ContainerSpec.Command", ["a", "b"]),
    ("Healthcheck", {"Test": ["NONE"]}, "ContainerSpec.Healthcheck", {"Test": ["NONE"]}),
    ("Hostname", "h", "ContainerSpec.Hostname", "h"),
    ("Hostname", "{{.Node.ID}}", "ContainerSpec.Hostname", '{{"{{"}}.Node.ID}}'),
    ("OpenStdin", True, "ContainerSpec.OpenStdin", True),
    ("StopSignal", "SIGINT", "ContainerSpec.StopSignal", "SIGINT"),
    ("StopTimeout", 3, "ContainerSpec.StopGracePeriod", 3_000_000_000),
    ("Tty", True, "ContainerSpec.TTY", True),
    ("User", "1000:100", "ContainerSpec.User", "1000:100"),
    ("WorkingDir", "/work", "ContainerSpec.Dir", "/work"),
    ("Volumes", {"/x": {}}, "ContainerSpec.Mounts", [{"Type": "volume", "Target": "/x"}]),
    ("workingdir", "/work", "ContainerSpec.Dir", "/work"),
    (
        "platform",
        "linux/arm64/v8",
        "Placement.Platforms",
        [{"OS": "linux", "Architecture": "arm64"}],
    ),
]


@pytest.mark.parametrize(("key", "value", "path", "expected"), IN_CONFIG)
def test_keys_of_the_body(key: str, value: Any, path: str, expected: Any) -> None:
    """Each key of the create body has its place."""
    assert at(task_of(with_config(**{key: value})), path) == expected


def tmpfs(target: str, **options: Any) -> dict[str, Any]:
    """A mount."""
    return {"Type": "tmpfs", "Target": target, "TmpfsOptions": options}


IN_HOST: list[tuple[str, Any, str, Any]] = [
    ("CapAdd", ["CHOWN"], "ContainerSpec.CapabilityAdd", ["CHOWN"]),
    ("CapDrop", ["ALL"], "ContainerSpec.CapabilityDrop", ["ALL"]),
    ("Dns", ["1.1.1.1"], "ContainerSpec.DNSConfig.Nameservers", ["1.1.1.1"]),
    ("DnsOptions", ["ndots:1"], "ContainerSpec.DNSConfig.Options", ["ndots:1"]),
    ("DnsSearch", ["x.org"], "ContainerSpec.DNSConfig.Search", ["x.org"]),
    ("ExtraHosts", ["hub:10.1.2.3"], "ContainerSpec.Hosts", ["10.1.2.3 hub"]),
    ("ExtraHosts", ["hub:fd00::1"], "ContainerSpec.Hosts", ["fd00::1 hub"]),
    ("GroupAdd", [100, "users"], "ContainerSpec.Groups", ["100", "users"]),
    ("Init", False, "ContainerSpec.Init", False),
    ("LogConfig", {"Type": "local", "Config": {"a": 1}}, "LogDriver.Options", {"a": "1"}),
    ("LogConfig", {"Type": "local", "Config": {}}, "LogDriver", {"Name": "local"}),
    ("Memory", 2**30, "Resources.Limits.MemoryBytes", 2**30),
    ("MemoryReservation", 2**29, "Resources.Reservations.MemoryBytes", 2**29),
    ("NanoCpus", 10**9, "Resources.Limits.NanoCPUs", 10**9),
    ("CpuQuota", 50_000, "Resources.Limits.NanoCPUs", 500_000_000),
    ("PidsLimit", 512, "Resources.Limits.Pids", 512),
    ("ReadonlyRootfs", True, "ContainerSpec.ReadOnly", True),
    ("Sysctls", {"net.x": "1"}, "ContainerSpec.Sysctls", {"net.x": "1"}),
    ("NetworkMode", "course", "Networks", [{"Target": "course"}]),
    ("NetworkMode", "host", "Networks", [{"Target": "host"}]),
    ("ShmSize", 2**20, "ContainerSpec.Mounts", [tmpfs("/dev/shm", SizeBytes=2**20)]),
    (
        "Tmpfs",
        {"/tmp": "size=1g,mode=1777,noexec"},
        "ContainerSpec.Mounts",
        [tmpfs("/tmp", SizeBytes=2**30, Mode=0o1777)],
    ),
    (
        "Tmpfs",
        {"/tmp": ""},
        "ContainerSpec.Mounts",
        [{"Type": "tmpfs", "Target": "/tmp"}],
    ),
    (
        "Tmpfs",
        {"/t": "ro,size=64k"},
        "ContainerSpec.Mounts",
        [{**tmpfs("/t", SizeBytes=2**16), "ReadOnly": True}],
    ),
    (
        "Ulimits",
        [{"Name": "core", "Soft": 0, "Hard": 0}],
        "ContainerSpec.Ulimits",
        [{"Name": "core", "Soft": 0, "Hard": 0}],
    ),
    (
        "Binds",
        ["/srv:/x:ro,rslave"],
        "ContainerSpec.Mounts",
        [
            {
                "Type": "bind",
                "Source": "/srv",
                "Target": "/x",
                "ReadOnly": True,
                "BindOptions": {"Propagation": "rslave"},
            }
        ],
    ),
    (
        "Binds",
        ["vol:/x:nocopy", "/y"],
        "ContainerSpec.Mounts",
        [
            {
                "Type": "volume",
                "Source": "vol",
                "Target": "/x",
                "VolumeOptions": {"NoCopy": True},
            },
            {"Type": "volume", "Target": "/y"},
        ],
    ),
    (
        "Mounts",
        [{"type": "bind", "source": "/srv", "target": "/x", "bindoptions": {"nonrecursive": True}}],
        "ContainerSpec.Mounts",
        [
            {
                "Type": "bind",
                "Source": "/srv",
                "Target": "/x",
                "BindOptions": {"NonRecursive": True},
            }
        ],
    ),
    (
        "SecurityOpt",
        ["label=type:a_t", "label:level:s0"],
        "ContainerSpec.Privileges.SELinuxContext",
        {"Type": "a_t", "Level": "s0"},
    ),
    (
        "PortBindings",
        {"53/udp": [{"HostIp": "0.0.0.0", "HostPort": "5300"}]},
        "EndpointSpec.Ports",
        [{"Protocol": "udp", "TargetPort": 53, "PublishedPort": 5300, "PublishMode": "host"}],
    ),
]


@pytest.mark.parametrize(("key", "value", "path", "expected"), IN_HOST)
def test_keys_of_the_host_config(key: str, value: Any, path: str, expected: Any) -> None:
    """Each key of HostConfig has its place."""
    body = body_of(with_host(**{key: value}))
    assert at(body if path.startswith("Endpoint") else body["TaskTemplate"], path) == expected


NEW: list[tuple[Api, str, Any, str, Any]] = [
    ((1, 44), "SecurityOpt", ["no-new-privileges"], "NoNewPrivileges", True),
    ((1, 44), "SecurityOpt", ["seccomp=unconfined"], "Seccomp", {"Mode": "unconfined"}),
    ((1, 44), "SecurityOpt", ["seccomp={}"], "Seccomp", {"Mode": "custom", "Profile": "e30="}),
    ((1, 44), "SecurityOpt", ["apparmor:unconfined"], "AppArmor", {"Mode": "disabled"}),
]


@pytest.mark.parametrize(("since", "key", "value", "name", "expected"), NEW)
def test_privileges_of_newer_versions(
    since: Api, key: str, value: Any, name: str, expected: Any
) -> None:
    """What a newer API has is used there, and refused before: nobody is hardened less unawares."""
    spec = with_host(**{key: value})
    assert container_of(spec, since)["Privileges"] == {name: expected}
    with pytest.raises(ConfigError, match=r"version 1\.44 of the API, and this is 1\.43") as raised:
        container_of(spec, (1, 43))
    assert raised.value.field == "extra_host_config['security_opt']"


def test_what_only_the_newest_have() -> None:
    """Swap, swappiness and the score for out-of-memory come with their versions."""
    memory, swap = 2**28, 50
    spec = with_host(Memory=memory, MemorySwap=memory + swap, MemorySwappiness=0, OomScoreAdj=5)
    assert task_of(spec, NEWEST)["Resources"]["SwapBytes"] == swap
    assert task_of(spec, NEWEST)["Resources"]["MemorySwappiness"] == 0
    assert container_of(with_host(OomScoreAdj=5), (1, 46))["OomScoreAdj"] == 5
    for keys in ({"OomScoreAdj": 5}, {"MemorySwap": 150}, {"MemorySwappiness": 0}):
        with pytest.raises(ConfigError, match="update Docker"):
            body_of(with_host(**keys))
    assert task_of(with_host(MemorySwap=-1), NEWEST)["Resources"]["SwapBytes"] == -1
    exec_ = with_host(Tmpfs={"/t": "exec"})
    assert container_of(exec_, (1, 46))["Mounts"] == [tmpfs("/t", Options=[["exec"]])]


REFUSED: list[tuple[str, Any, str, str]] = [
    ("AutoRemove", True, "extra_host_config['auto_remove']", "by itself"),
    ("BlkioWeight", 5, "extra_host_config['blkio_weight']", "no such thing"),
    ("CgroupParent", "x", "extra_host_config['cgroup_parent']", "daemon.json"),
    ("CpusetCpus", "0", "extra_host_config['cpuset_cpus']", "no such thing"),
    ("CpuShares", 7, "extra_host_config['cpu_shares']", "cpu_guarantee"),
    ("DeviceRequests", [{"Count": 1}], "extra_host_config['device_requests']", "generic_resources"),
    ("Devices", [{"PathOnHost": "/dev/x"}], "extra_host_config['devices']", "generic_resources"),
    ("IpcMode", "host", "extra_host_config['ipc_mode']", "no such thing"),
    ("Links", ["a:b"], "extra_host_config['links']", "networks"),
    ("NetworkMode", "none", "extra_host_config['network_mode']", "overlay"),
    ("NetworkMode", "container:x", "extra_host_config['network_mode']", "overlay"),
    ("PidMode", "host", "extra_host_config['pid_mode']", "no such thing"),
    ("Privileged", True, "extra_host_config['privileged']", "cap_add"),
    ("PublishAllPorts", True, "extra_host_config['publish_all_ports']", "extra_service_spec"),
    ("RestartPolicy", {"Name": "always"}, "extra_host_config['restart_policy']", "restart_policy"),
    ("Runtime", "nvidia", "extra_host_config['runtime']", "default-runtime"),
    ("SecurityOpt", ["apparmor=mine"], "extra_host_config['security_opt']", "no such thing"),
    ("SecurityOpt", ["systempaths=unconfined"], "extra_host_config['security_opt']", "no such"),
    ("StorageOpt", {"size": "1g"}, "extra_host_config['storage_opt']", "storage-opts"),
    ("Tmpfs", {"/t": "uid=1000"}, "extra_host_config['tmpfs']", "a size in bytes"),
    ("Tmpfs", {"/t": "size=50%"}, "extra_host_config['tmpfs']", "a size in bytes"),
    ("Tmpfs", {"/t": "exec"}, "extra_host_config['tmpfs']", "1.46"),
    ("UTSMode", "host", "extra_host_config['uts_mode']", "no such thing"),
    ("UsernsMode", "host", "extra_host_config['userns_mode']", "userns-remap"),
    ("VolumeDriver", "nfs", "extra_host_config['volume_driver']", "in mounts"),
    ("VolumesFrom", ["x"], "extra_host_config['volumes_from']", "volumes or mounts"),
    ("Binds", ["/srv:/x:Z"], "extra_host_config['binds']", "chcon"),
    ("Binds", ["/srv:/x:nocopy"], "extra_host_config['binds']", "no mode 'nocopy'"),
    ("Binds", ["vol:/x:rslave"], "extra_host_config['binds']", "no mode 'rslave'"),
    ("Mounts", [{"Type": "image", "Target": "/x"}], "extra_host_config['mounts']", "tmpfs"),
    ("Mounts", [{"Type": "cluster", "Target": "/x"}], "extra_host_config['mounts']", "tmpfs"),
    (
        "Mounts",
        [{"Type": "volume", "Target": "/x", "VolumeOptions": {"Subpath": "a"}}],
        "extra_host_config['mounts']",
        "1.45",
    ),
    (
        "Mounts",
        [{"Type": "bind", "Target": "/x", "BindOptions": {"CreateMountpoint": True}}],
        "extra_host_config['mounts']",
        "on each node",
    ),
    (
        "Mounts",
        [{"Type": "bind", "Target": "/x", "BindOptions": {"ReadOnlyForceRecursive": True}}],
        "extra_host_config['mounts']",
        "no ReadOnlyForceRecursive",
    ),
    (
        "PortBindings",
        {"80/tcp": [{"HostIp": "10.1.2.3", "HostPort": ""}]},
        "extra_host_config['port_bindings']",
        "all addresses",
    ),
]


@pytest.mark.parametrize(("key", "value", "field", "hint"), REFUSED)
def test_what_a_service_cannot_have(key: str, value: Any, field: str, hint: str) -> None:
    """It is refused by the name that the admin wrote, with what to use instead."""
    with pytest.raises(ConfigError, match=hint) as raised:
        body_of(with_host(**{key: value}))
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("key", "value", "hint"),
    [
        ("Domainname", "x.org", "hostname"),
        ("MacAddress", "02:00:00:00:00:01", "no such thing"),
        ("NetworkDisabled", True, "no such thing"),
        ("NetworkingConfig", {"EndpointsConfig": {"a": {}}}, "networks"),
        ("OnBuild", ["x"], "no such thing"),
        ("StdinOnce", True, "no such thing"),
    ],
)
def test_keys_of_the_body_that_a_service_cannot_have(key: str, value: Any, hint: str) -> None:
    """Likewise for the create call's own."""
    with pytest.raises(ConfigError, match=hint):
        body_of(with_config(**{key: value}))


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        (replace(SPEC, gpus=("0",)), "gpus"),
        (replace(SPEC, publish_ip="127.0.0.1"), "host_ip"),
        (replace(SPEC, network="none"), "network_name"),
        (replace(SPEC, mounts=(Mount("bind", "/a", "/b", frozenset({"z"})),)), "volumes"),
        (replace(SPEC, hardening=Hardening(memswap_limit=5)), "memswap_limit"),
        (
            replace(SPEC, hardening=Hardening(allow_privilege_escalation=False)),
            "allow_privilege_escalation",
        ),
        (replace(SPEC, hardening=Hardening(tmpfs={"/a": "uid=1"})), "tmpfs"),
        (replace(SPEC, hardening=Hardening(limits={"Devices": [{"a": "b"}]})), "devices"),
        (replace(SPEC, hardening=Hardening(limits={"StorageOpt": {"size": "1"}})), "storage_opt"),
        (with_config(HostConfig={"Runtime": "x"}), "extra_create_kwargs['host_config']['Runtime']"),
        (replace(SPEC, changes={"HostConfig": {"Runtime": "x"}}), "modify_container_hook"),
    ],
)
def test_the_setting_that_asked_for_it_is_named(spec: ServerSpec, field: str) -> None:
    """Whichever setting or hook put a key into the body, its name is in the message."""
    with pytest.raises(ConfigError) as raised:
        body_of(spec)
    assert raised.value.field == field


@pytest.mark.parametrize("level", ["default", "strict"])
def test_default_hardening_is_no_error(level: str) -> None:
    """What the API has no words for is left out of the default alone, and told; the rest is in."""
    spec = replace(SPEC, hardening=Hardening(level, log_driver="json-file"), mem_limit=2**30)
    task = task_of(spec)
    container = task["ContainerSpec"]
    assert container["CapabilityDrop"] == ["ALL"]
    assert task["Resources"]["Limits"] == {"MemoryBytes": 2**30, "Pids": 512}
    assert task["LogDriver"]["Options"]["max-size"] == "10m"
    assert container.get("ReadOnly", False) is (level == "strict")
    assert "Privileges" not in container
    assert len(left_out((1, 41))) == 2
    new = task_of(spec, NEWEST)
    assert new["ContainerSpec"]["Privileges"] == {"NoNewPrivileges": True}
    assert new["Resources"]["SwapBytes"] == 0
    assert left_out(NEWEST) == ()


def test_nothing_is_lost_in_silence() -> None:
    """All arguments that docker-py's users know end in a service, or in an error."""
    given: dict[str, Any] = {
        "binds": ["/a:/b"], "blkio_weight": 5, "cap_add": ["A"], "cpu_quota": 5, "devices": ["/a"],
        "dns": ["1"], "extra_hosts": {"a": "1"}, "group_add": ["1"], "init": False,
        "ipc_mode": "host", "isolation": "hyperv", "kernel_memory": 9, "links": {"a": "b"},
        "lxc_conf": {"a": "b"}, "mem_limit": 2**30, "oom_kill_disable": True, "pid_mode": "host",
        "pids_limit": 5, "privileged": True, "publish_all_ports": True, "read_only": True,
        "shm_size": 2**20, "sysctls": {"a": "1"}, "tmpfs": {"/t": ""}, "uts_mode": "host",
        "volumes_from": ["x"], "runtime": "x", "userns_mode": "host", "cgroupns": "host",
        "nano_cpus": 5, "cpuset_cpus": "0", "mem_swappiness": 5, "oom_score_adj": 5,
        "device_cgroup_rules": ["c 1:1 r"], "cpu_rt_runtime": 5, "volume_driver": "x",
    }  # fmt: skip
    known = set(inspect.signature(docker.types.HostConfig.__init__).parameters)
    bare = body_of(with_host())
    for name, value in given.items():
        assert name in known
        keys = dict(docker.types.HostConfig("1.41", **{name: value}))
        keys.pop("NetworkMode", None)
        try:
            made = body_of(with_host(**keys))
        except ConfigError:
            continue
        assert made["TaskTemplate"] != bare["TaskTemplate"], name


def test_what_says_nothing_is_no_error() -> None:
    """Keys as docker-py fills them in, or as they are by default, change nothing."""
    keys: dict[str, Any] = {
        "Privileged": False, "Devices": [], "CpuShares": 0, "PidsLimit": -1, "PidMode": "",
        "RestartPolicy": {"Name": "no"}, "IpcMode": "private", "Runtime": "runc", "Links": None,
        "NetworkMode": "bridge", "CgroupnsMode": "private", "BlkioWeight": 0, "Memory": 0,
    }  # fmt: skip
    assert task_of(with_host(**keys)) == task_of()


def test_guarantees_are_reservations() -> None:
    """What is guaranteed is what the Swarm reserves: nodes that have less are no choice."""
    spec = replace(SPEC, cpu_guarantee=0.25, cpu_limit=1.5, mem_guarantee=2**28)
    assert task_of(spec)["Resources"] == {
        "Limits": {"NanoCPUs": 1_500_000_000},
        "Reservations": {"NanoCPUs": 250_000_000, "MemoryBytes": 2**28},
    }
    assert task_of(replace(SPEC, cpu_guarantee=0.001))["Resources"]["Reservations"] == {
        "NanoCPUs": 1_000_000
    }


def test_networks() -> None:
    """The first is where the Hub is; none of them is Docker's own for one host."""
    spec = replace(SPEC, network="hub", networks=("course", "hub"))
    assert task_of(spec)["Networks"] == [{"Target": "hub"}, {"Target": "course"}]
    assert "Networks" not in task_of()


def test_the_port_is_published_at_the_node_alone() -> None:
    """At a port that the node chooses: no routing through nodes where the server is not."""
    body = body_of(replace(SPEC, publish_ip="0.0.0.0"))
    port = {"Protocol": "tcp", "TargetPort": 8888, "PublishMode": "host"}
    assert body["EndpointSpec"] == {"Mode": "dnsrr", "Ports": [port]}


def test_one_shm() -> None:
    """Who mounts something there has said how large it is."""
    spec = with_host(ShmSize=5, Tmpfs={"/dev/shm": "size=7k"})
    assert container_of(spec)["Mounts"] == [tmpfs("/dev/shm", SizeBytes=7 * 1024)]


def test_volumes_keep_their_labels_and_driver() -> None:
    """A volume that a node makes has them, and proves by a label which start made it."""
    mount = Mount(
        "volume", "home", "/home", frozenset({"ro"}), {"l": "{{x"}, "local", {"o": "addr={{"}
    )
    assert container_of(replace(SPEC, mounts=(mount,)))["Mounts"] == [
        {
            "Type": "volume",
            "Source": "home",
            "Target": "/home",
            "ReadOnly": True,
            "VolumeOptions": {
                "NoCopy": False,
                "Labels": {"l": '{{"{{"}}x', LABEL_START: "s"},
                "DriverConfig": {"Name": "local", "Options": {"o": 'addr={{"{{"}}'}},
            },
        }
    ]


def expanded(text: str) -> str:
    """What Go's templates make of a text, as far as `literal` uses them."""
    return text.replace('{{"{{"}}', "\0").replace("{{", "!").replace("\0", "{{")


@given(st.text(alphabet='{}"a.', max_size=12))
def test_no_text_is_a_template(text: str) -> None:
    """Whatever users and settings write, nodes give it to the server as it is."""
    assert expanded(literal(text)) == text


def test_the_environment_is_no_template() -> None:
    """A user's name with braces stays a name."""
    body = service_body(SPEC, Environment({"A": "{{.Node.ID}}"}), name="n", start_id="s")
    assert body["TaskTemplate"]["ContainerSpec"]["Env"] == ['A={{"{{"}}.Node.ID}}']


def test_placement() -> None:
    """Where it runs, what it reserves, and what is done when it ends."""
    settings = ServiceSettings(
        constraints=("node.labels.disk==ssd",),
        preferences=("node.labels.rack", "node.labels.row"),
        generic_resources={"GPU": 1},
        restart_policy="on-failure",
        endpoint_mode="vip",
        stop_grace=2.5,
        extra={"UpdateConfig": {"Order": "start-first"}},
    )
    body = body_of(replace(SPEC, service=settings))
    task = body["TaskTemplate"]
    assert task["Placement"] == {
        "Constraints": ["node.labels.disk==ssd"],
        "Preferences": [
            {"Spread": {"SpreadDescriptor": "node.labels.rack"}},
            {"Spread": {"SpreadDescriptor": "node.labels.row"}},
        ],
    }
    assert task["Resources"]["Reservations"]["GenericResources"] == [
        {"DiscreteResourceSpec": {"Kind": "GPU", "Value": 1}}
    ]
    often = {"MaxAttempts": 3, "Window": 300_000_000_000}
    assert task["RestartPolicy"] == {"Condition": "on-failure", **often}
    assert body_of()["TaskTemplate"]["RestartPolicy"] == {"Condition": "none"}
    assert task["ContainerSpec"]["StopGracePeriod"] == 2_500_000_000
    assert body["EndpointSpec"]["Mode"] == "vip"
    assert body["UpdateConfig"] == {"Order": "start-first"}


def test_a_start_changes_the_task() -> None:
    """Or the Swarm would take an old task that lies on a lost node for the one that is wanted."""
    first = scaled(body_of(), 1)
    assert first["Mode"] == {"Replicated": {"Replicas": 1}}
    assert first["TaskTemplate"]["ForceUpdate"] == 1
    stopped = scaled(first, 0)
    assert stopped["Mode"] == {"Replicated": {"Replicas": 0}}
    assert stopped["TaskTemplate"] == first["TaskTemplate"]
    assert scaled(stopped, 1)["TaskTemplate"]["ForceUpdate"] == 2


def test_versions_compare_as_numbers() -> None:
    """1.9 is older than 1.41."""
    assert api_of("1.9") < api_of("1.41") < api_of("1.100")


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        (ServiceSettings(constraints=("a==b",)), "placement"),
        (ServiceSettings(preferences=("a",)), "placement"),
        (ServiceSettings(generic_resources={"GPU": 1}), "placement"),
        (ServiceSettings(restart_policy="on-failure"), "service"),
        (ServiceSettings(endpoint_mode="vip"), "service"),
        (ServiceSettings(stop_grace=1), "service"),
        (ServiceSettings(extra={"UpdateConfig": {}}), "service"),
    ],
)
def test_what_a_service_was_made_with_can_drift(settings: ServiceSettings, part: str) -> None:
    """A kept service is made anew when such a setting changes, and the part is named."""
    made, wanted = spec_hash(SPEC, ENV), spec_hash(replace(SPEC, service=settings), ENV)
    assert drift(made, wanted) == [part]
    assert drift(wanted, made) == [part]


def test_passwords_are_no_drift() -> None:
    """Credentials of a registry change without the server being another one, and are nowhere."""
    spec = replace(SPEC, service=ServiceSettings(auth={"password": "x"}))
    assert spec_hash(spec, ENV) == spec_hash(SPEC, ENV)
    assert "auth" not in repr(spec)
