"""The check of a Hub's configuration at its start: each mistake gives one line to act on."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from traitlets import Bool, Unicode
from traitlets.config import Config
from traitlets.config.loader import DeferredConfigString

from dockernamed import DockerNamedSpawner, DockerNamedSwarmSpawner
from dockernamed.hub.config_check import Findings, check_config
from dockernamed.options.dockerspawner import DOCKER, SWARM, SYSTEM_USER
from dockernamed.options.unread import unread_lines

PAGE = Path(__file__).parents[2] / "docs" / "from-dockerspawner.md"
REACHABLE = SimpleNamespace(ip="0.0.0.0", connect_ip="", connect_url="")

#: What DockerSpawner 14, its subclasses included, has of its own.
DOCKERSPAWNERS = frozenset(
    [
        "allowed_images",
        "certs_volume_name",
        "client_kwargs",
        "container_image",
        "container_ip",
        "container_name_template",
        "container_port",
        "container_prefix",
        "cpu_limit",
        "escape",
        "extra_create_kwargs",
        "extra_host_config",
        "format_volume_name",
        "host_ip",
        "hub_ip_connect",
        "image",
        "image_whitelist",
        "links",
        "mem_limit",
        "mounts",
        "move_certs_image",
        "name_template",
        "network_name",
        "post_start_cmd",
        "prefix",
        "pull_policy",
        "read_only_volumes",
        "remove",
        "remove_containers",
        "tls",
        "tls_assert_hostname",
        "tls_ca",
        "tls_cert",
        "tls_config",
        "tls_key",
        "tls_verify",
        "use_docker_client_env",
        "use_internal_hostname",
        "use_internal_ip",
        "volumes",
        "homedir_bind_propagation",
        "host_homedir_format_string",
        "image_homedir_format_string",
        "run_as_root",
        "extra_container_spec",
        "extra_endpoint_spec",
        "extra_placement_spec",
        "extra_resources_spec",
        "extra_task_spec",
        "volume_driver",
        "volume_driver_options",
    ]
)


def config_of(**settings: Any) -> Config:
    """A configuration with such lines for DockerNamedSpawner."""
    return Config({"DockerNamedSpawner": settings})


def check(config: Config, spawner_class: type = DockerNamedSpawner, **more: Any) -> Findings:
    """What the check finds, of a Hub that listens on all addresses unless told otherwise."""
    return check_config(spawner_class, config, more.pop("hub", REACHABLE), **more)


def lines(**settings: Any) -> list[str]:
    """The faults in such lines."""
    return [str(fault) for fault in check(config_of(**settings)).faults]


# --- types and values --------------------------------------------------------------------------

TYPES: list[tuple[str, Any, str, str]] = [
    ("mem_limit", "512m", '"512m": expected a number of bytes', '"512M"'),
    ("mem_limit", "2GB", '"2GB": expected a number of bytes', '"2G"'),
    ("mem_limit", "1.5 gib", '"1.5 gib": expected a number of bytes', '"1.5G"'),
    ("mem_limit", "lots", '"lots": expected a number of bytes', '"2G"'),
    ("mem_limit", ["1G"], '["1G"]: expected a number of bytes', '"2G"'),
    ("mem_guarantee", "100", '"100": expected a number of bytes', "100"),
    ("cpu_limit", "2", '"2": expected a callable or a float', "2"),
    ("cpu_guarantee", "half", '"half": expected a float', "0.5"),
    ("port", "8888", '"8888": expected an int', "8888"),
    ("port", 0, "0: should not be less than 1", "8080"),
    ("port", 70000, "70000: should not be greater than 65535", "8080"),
    ("stop_timeout", -1, "-1: should not be less than 0", "30.0"),
    ("volumes", ["aa:/b"], '["aa:/b"]: expected a dict', '{"aa": "/b"}'),
    ("volumes", "a", '"a": expected a dict', '{"home-{username}": "/home/jovyan", '
     '"/srv/data": "/data"}'),
    ("mounts", {"target": "/x"}, '{"target": "/x"}: expected a list', '[{"target": "/x"}]'),
    ("pull_policy", "if-not-present", '"if-not-present": expected any of', '"ifnotpresent"'),
    ("pull_policy", "sometimes", '"sometimes": expected any of', '"always"'),
    ("remove", "yes", '"yes": expected a boolean', "True"),
    ("networks", [1], "[1]: expected a list of strings", '["course-db"]'),
    ("allowed_images", [1], "[1]: expected a string or a list of strings or a dict or a callable",
     '{"lab": "quay.io/jupyter/base-notebook", "r": "quay.io/jupyter/r-notebook"}'),
    ("args", "--a 'b c'", '"--a \'b c\'": expected a list', '["--a", "b c"]'),
    ("notebook_dir", Path("/work"), "PosixPath('/work'): expected a string", '"/work"'),
    ("start_timeout", "60", '"60": expected an int', "60"),
    ("http_timeout", None, "None: expected an int", "30"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "told", "works"), TYPES)
def test_a_wrong_type_or_value(name: str, value: Any, told: str, works: str) -> None:
    """The line, what is wrong, and one that works: what was meant, or the documents' example."""
    (line,) = lines(**{name: value})
    assert line.startswith(f"c.DockerNamedSpawner.{name} = {told}")
    assert line.endswith(f"; for example c.DockerNamedSpawner.{name} = {works}")


@pytest.mark.parametrize("entry", ["hub:s3cret", {"user": "s3cret"}, {}, 5])
def test_credentials_of_another_form(entry: Any) -> None:
    """They are told when the Hub starts, by the registry, and without a word of what is secret."""
    fits = {"username": "hub", "password": "s3cret"}
    (line,) = lines(registry_credentials={"a.example": fits, "b.example": entry})
    assert line.startswith("c.DockerNamedSpawner.registry_credentials['b.example'] = <")
    assert "s3cret" not in line
    assert '{"username": "hub", "password": "secret"}' in line
    assert lines(registry_credentials={"a.example": fits, "b.example": None}) == []


@pytest.mark.parametrize(("name", "value", "told", "works"), TYPES)
def test_the_example_works(name: str, value: Any, told: str, works: str) -> None:
    """What is told to work does."""
    config = Config()
    (line,) = lines(**{name: value})
    exec(line.partition("; for example ")[2], {"c": config})
    assert check(config).faults == []


def test_the_section_that_counts_is_told() -> None:
    """Lines of JupyterHub's section and of a subclass's count; the line that wins is named."""

    class Ours(DockerNamedSpawner):
        colour = Unicode("red").tag(config=True)

    config = Config(
        {
            "Spawner": {"start_timeout": "60"},
            "DockerNamedSpawner": {"port": "1", "colour": "blue"},
            "Ours": {"port": "2", "colour": 3},
        }
    )
    findings = check(config, Ours)
    told = [str(fault).partition(";")[0] for fault in findings.faults]
    assert told == [
        'c.Spawner.start_timeout = "60": expected an int',
        'c.Ours.port = "2": expected an int',
        "c.Ours.colour = 3: expected a string",
    ]
    assert findings.unread == []


@pytest.mark.parametrize("name", ["environment", "registry_credentials"])
def test_values_that_may_be_secret_are_not_shown(name: str) -> None:
    """Neither as they are, nor in what was perhaps meant."""
    (line,) = lines(**{name: ("PASSWORD:sesame",)})
    assert line.startswith(f"c.DockerNamedSpawner.{name} = <tuple>: expected a dict")
    assert "sesame" not in line


def test_values_that_are_made_later() -> None:
    """What a line appends to a default, or the command line gives, is read as it will be."""
    config = Config()
    config.DockerNamedSpawner.args.append("--debug")
    config.DockerNamedSpawner.port = DeferredConfigString("8080")
    config.DockerNamedSpawner.environment.update({"A": "1"})
    findings = check(config)
    assert findings.faults == []
    assert (findings.settings.args, findings.settings.port) == (["--debug"], 8080)
    config.DockerNamedSpawner.port = DeferredConfigString("eight")
    (fault,) = check(config).faults
    assert str(fault).startswith('c.DockerNamedSpawner.port = "eight": expected an int')


def test_all_faults_are_told_in_one_go() -> None:
    """Of every kind, also where one of them keeps another from being looked at in full."""
    wrong = {
        "port": "8888",
        "prefix": "Bad_",
        "name_template": "{user}",
        "volumes": {"{nobody}": "/data"},
        "profile_list": [{"display_name": "A", "slug": 1}, {"display_name": "B", "colour": 1}],
        "extra_host_config": {"shm_sise": "1g"},
    }
    told = [line.removeprefix("c.DockerNamedSpawner.") for line in lines(**wrong)]
    assert {line.partition("[")[0].partition(" ")[0] for line in told} == wrong.keys()
    assert len(told) == len(wrong) + 1


def test_a_good_configuration() -> None:
    """Nothing is said of what may work, and nothing is asked that only a start can tell."""

    def never(spawner: object) -> None:
        raise AssertionError

    good: dict[str, Any] = {
        "allowed_images": {"lab": "quay.io/lab", "R": {"image": "quay.io/r"}},
        "image": "lab",
        "profile_list": never,
        "common_options": never,
        "extra_create_kwargs": never,
        "extra_host_config": {"log_config": {"type": "json-file", "config": {"tag": "{{.Name}}"}}},
        "mem_limit": never,
        "volumes": {"home-{username}": "/home/jovyan", "/srv/{raw_username}": "/data"},
        "read_only_volumes": {"/srv/course": {"bind": "/course", "mode": "ro"}},
        "mounts": [{"type": "tmpfs", "target": "/scratch/{servername}"}],
        "network_name": "net-{username}",
        "default_url": "{base_url}lab",
        "client_kwargs": {"timeout": 5},
    }
    findings = check(config_of(**good))
    assert (findings.faults, findings.unread, findings.fatal) == ([], [], [])
    assert check(Config()).fatal == []


# --- what the values say -----------------------------------------------------------------------

VALUES: list[tuple[dict[str, Any], str]] = [
    ({"prefix": "Lab_West"}, 'prefix = "Lab_West": must be 1 to 20 characters'),
    ({"name_template": "{prefix}-{user}"}, "there is no field {user}; known are"),
    ({"name_template": "lab_{username}"}, "only a-z, 0-9 and '-'"),
    ({"server_volume": "{prefix}-{usr}"}, "there is no field {usr}; known are"),
    ({"server_volume": "my files"}, 'server_volume = "my files": a volume\'s name is'),
    ({"volumes": {"{usr}": "/data"}}, 'volumes = "{usr}": there is no field {usr}'),
    ({"volumes": {"data": "data"}}, "the target must be an absolute path"),
    ({"volumes": {"a b": "/data"}}, 'volumes = "a b": a volume\'s name is'),
    ({"volumes": {"a": {"bind": "/a", "mode": "w"}}}, "unknown mode"),
    ({"read_only_volumes": {"a/b": "/data"}}, "a volume's name or an absolute path"),
    ({"volumes": {"aa": "/x"}, "read_only_volumes": {"bb": "/x/"}}, "both 'aa' and 'bb' would"),
    ({"mounts": [{"target": "/x", "sauce": "y"}]}, "unknown ['sauce']"),
    ({"mounts": [{"target": "/{x}"}]}, "there is no field {x}"),
    ({"network_name": "net-{usr}"}, 'network_name = "net-{usr}": there is no field {usr}'),
    ({"notebook_dir": "/home/{user}"}, "notebook_dir = \"/home/{user}\": there is no field {user}"),
    ({"default_url": "/lab/{0}"}, "is not just the name of a field"),
    ({"extra_host_config": {"shm_sise": "1g"}}, "did you mean shm_size?"),
    ({"extra_create_kwargs": {"usr": "root"}}, "did you mean user"),
    ({"extra_create_kwargs": {"hostname": "{user_name}"}}, "did you mean {username}?"),
    ({"host_ip": "localhost"}, 'host_ip = "localhost": expected an IP address'),
    ({"readiness": "healthz"}, 'readiness = "healthz": expected "jupyterhub", "http", or a path'),
    ({"readiness": "{base_ur}up"}, "there is no field {base_ur}"),
    (
        {"profile_list": [{"display_name": "A", "spawner_override": {"readiness": "yes"}}]},
        "profile_list[0]['readiness'] = \"yes\": expected",
    ),
    ({"mem_limit": "1G", "mem_guarantee": "2G"}, "it is more than mem_limit"),
    ({"mem_limit": 2**70}, "the Engine knows no such number"),
    ({"cpu_limit": 0.001}, "cpu_limit = 0.001: set at least 0.01, or None for no limit"),
    ({"cpu_limit": float("nan")}, "cpu_limit = nan: the Engine knows no such number"),
    ({"cpu_guarantee": float("inf")}, "cpu_guarantee = inf: the Engine knows no such number"),
    (
        {"profile_list": [{"display_name": "A", "spawner_override": {"cpu_limit": 0.001}}]},
        "profile_list[0]['cpu_limit'] = 0.001: set at least 0.01",
    ),
    (
        {"profile_list": [{"display_name": "A", "spawner_override": {"mem_limit": "9999999999T"}}]},
        "the Engine knows no such number",
    ),
    ({"mounts": [{"target": "/x", "type": "tmpfs", "tmpfs_size": "1m"}]}, "a number of bytes"),
    ({"profile_form_template": "{% for"}, "Jinja cannot read it: line 1"),
    ({"client_kwargs": {"base_uri": "unix:///x"}}, "'base_uri'"),
    ({"client_kwargs": {"base_url": "carrier-pigeon://x"}}, "carrier-pigeon://x"),
    ({"tls_config": {"ca_cert": "/no/such/file"}}, "/no/such/file"),
    ({"image": "Lab"}, 'image = "Lab": '),
    ({"allowed_images": {"lab": "a/b"}, "image": "labb"}, "did you mean 'lab'?"),
    ({"allowed_images": ["Lab"]}, "allowed_images = \"Lab\": "),
    (
        {
            "allowed_images": {"lab": "a/b"},
            "image": "lab",
            "profile_list": [{"display_name": "A", "spawner_override": {"image": "laab"}}],
        },
        'profile_list = "laab": it is no alias of allowed_images; did you mean \'lab\'?',
    ),
    (
        {"profile_list": [{"display_name": "A", "spawner_override": {"client_kwargs": {}}}]},
        "profile_list[0]['spawner_override']['client_kwargs'] = {}: it holds for all servers",
    ),
    (
        {"profile_list": [{"display_name": "A", "spawner_override": {"volumes": {"{u}": "/a"}}}]},
        "profile_list[0]['volumes'] = {\"{u}\": \"/a\"}: there is no field {u}",
    ),
    (
        {"group_overrides": {"g": {"groups": [], "spawner_override": {"host_ip": "localhost"}}}},
        "group_overrides['g']['spawner_override']['host_ip'] = \"localhost\": expected an IP",
    ),
    (
        {"profile_list": [{"display_name": "A", "spawner_override": {"mem_limit": "512m"}}]},
        '"512m": expected a number of bytes, or text such as "512M" with K, M, G or T at its end; '
        'for example c.DockerNamedSpawner.mem_limit = "512M"',
    ),
    (
        {"group_overrides": {"g": {"groups": ["g"], "spawner_override": {"orphans": "off"}}}},
        "group_overrides['g']['spawner_override']['orphans'] = \"off\": it holds for all servers",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("settings", "told"), VALUES)
def test_a_value_that_cannot_work(settings: dict[str, Any], told: str) -> None:
    """One line, which names the setting first, what is wrong with it, and what to write."""
    (line,) = lines(**settings)
    assert line.startswith(tuple(f"c.DockerNamedSpawner.{name}" for name in settings))
    assert told in line
    assert line.count("c.DockerNamedSpawner.") >= 2


@pytest.mark.parametrize("image", ["labb:latest", "hub.example/labb", "busybox", "lab"])
def test_images_that_are_references(image: str) -> None:
    """What has a tag or a registry, or is not like any alias, may be on the Engine."""
    assert lines(allowed_images={"lab": "a/b"}, image=image) == []


def test_aliases_that_only_a_start_can_tell() -> None:
    """Whoever computes them may call them what he likes."""
    assert lines(allowed_images=lambda spawner: {"Lab": "a/b"}, image="Lab") == []


def test_template_fields_of_a_subclass() -> None:
    """A spawner with fields of its own knows them once it has a user: any field may be there."""
    config = config_of(volumes={"{project}": "/data"}, default_url="/lab/{project}")
    assert len(check(config).faults) == 2
    assert check(config, only_our_fields=False).faults == []


@pytest.mark.parametrize(
    ("hub", "settings", "refused"),
    [
        ({"ip": "127.0.0.1"}, {}, True),
        ({"ip": "localhost"}, {"network_name": "lab"}, True),
        ({"ip": "127.0.0.1"}, {"network_name": "host"}, False),
        ({"ip": "127.0.0.1", "connect_ip": "10.0.0.1"}, {}, False),
        ({"ip": "127.0.0.1", "connect_url": "http://hub:8081"}, {}, False),
        ({"ip": "127.0.0.1"}, {"hub_connect_url": "http://10.0.0.1:8081"}, False),
        ({"ip": "10.0.0.1"}, {}, False),
    ],
)
def test_a_hub_on_loopback(hub: dict[str, str], settings: dict[str, Any], refused: bool) -> None:
    """Containers in networks of their own cannot reach it, unless they are told another address."""
    address = SimpleNamespace(**{**vars(REACHABLE), **hub})
    told = [str(fault) for fault in check(config_of(**settings), hub=address).faults]
    assert bool(told) is refused
    for line in told:
        assert line.startswith(f'c.JupyterHub.hub_ip = "{hub["ip"]}": the Hub listens on loopback')
        assert line.count('c.JupyterHub.hub_ip = "0.0.0.0"') == 1


# --- lines that nobody reads -------------------------------------------------------------------


def unread(**sections: dict[str, Any]) -> list[str]:
    """What is said of such sections."""
    return check(Config(sections)).unread


@pytest.mark.parametrize(
    ("section", "name", "told"),
    [
        ("DockerSpawner", "remove", "nobody reads this section; write c.DockerNamedSpawner.remove"),
        ("DockerSpawner", "links", "nobody reads this section; use network_name, with a network"),
        ("DockerSpawner", "start_timeout", "write c.DockerNamedSpawner.start_timeout"),
        ("DockerSpawner", "imagee", "write c.DockerNamedSpawner.image"),
        ("DockerSpawner", "zzz", "nobody reads this section; leave it out"),
        ("SystemUserSpawner", "run_as_root", "leave it out, set uid and gid; or uid = 0 for root"),
        ("SystemUserSpawner", "container_image", "use image"),
        ("SwarmSpawner", "extra_task_spec", 'set c.JupyterHub.spawner_class = "dockernamed-swarm"'),
        ("SwarmSpawner", "extra_placement_spec", ", and use placement_constraints"),
        ("DockerNamedSpawner", "endpoint_mode", "only servers in a Docker Swarm have it; set"),
        (
            "DockerNamedSwarmSpawner",
            "image",
            'set c.JupyterHub.spawner_class = "dockernamed-swarm"',
        ),
        ("KubeSpawner", "profile_list", "write c.DockerNamedSpawner.profile_list"),
        ("KubeSpawner", "image_pull_policy", "use pull_policy"),
        ("KubeSpawner", "scheduler_name", "nothing takes its place: it means something for Kub"),
        ("DockerNamedSpawner", "imagee", "has no such setting; did you mean image?"),
        ("DockerNamedSpawner", "container_image", "has no such setting; use image"),
        ("DockerNamedSpawner", "node_selector", "use placement_constraints = [...], with c.Jupy"),
        ("DockerNamedSpawner", "zzz", "has no such setting; leave it out"),
        ("Spawner", "strat_timeout", "has no such setting; did you mean start_timeout?"),
        ("DockernamedSpawner", "image", "did you mean c.DockerNamedSpawner.image?"),
    ],
)
def test_a_line_that_nobody_reads(section: str, name: str, told: str) -> None:
    """It is named, with ours for it, or why there is none."""
    (line,) = unread(**{section: {name: "secret-value"}})
    assert line.startswith(f"c.{section}.{name}: ")
    assert told in line
    assert "secret-value" not in line


def test_lines_of_others() -> None:
    """Sections of other classes, and those within a section, are theirs."""
    others = {"JupyterHub": {"colour": 1}, "Authenticator": {"x": 1}, "LocalProcessSpawner": {}}
    config = Config(others)
    config.DockerNamedSpawner.Inner.colour = 1
    assert check(config).unread == []


@pytest.mark.parametrize("strict", [True, False])
def test_strict_config(strict: bool) -> None:
    """Lines that nobody reads end the Hub if the admin wants that."""
    findings = check(config_of(strict_config=strict, imagee="x"))
    assert findings.faults == []
    assert findings.fatal == (findings.unread if strict else [])
    assert len(findings.unread) == 1


def test_a_subclass_may_have_settings_of_its_own() -> None:
    """Its section, and the names that it adds, are read."""

    class Ours(DockerNamedSpawner):
        colourful = Bool(False).tag(config=True)

    config = Config({"Ours": {"colourful": True, "colorful": True}})
    assert check(config, Ours).unread == [
        "c.Ours.colorful: DockerNamedSpawner has no such setting; did you mean colourful?"
    ]


@pytest.mark.parametrize("name", sorted(DOCKERSPAWNERS))
def test_every_setting_of_dockerspawner_has_an_answer(name: str) -> None:
    """It is one of ours, or the tables say what to do instead, never both."""
    tables = {**DOCKER, **SYSTEM_USER, **SWARM}
    ours = DockerNamedSpawner.class_trait_names(config=True)
    assert (name in tables) is not (name in ours)


def test_these_are_dockerspawners_settings() -> None:
    """The list above is what the package has: no setting of it is forgotten."""
    theirs = pytest.importorskip("dockerspawner")
    kinds = (theirs.DockerSpawner, theirs.SystemUserSpawner, theirs.SwarmSpawner)
    classes = {one for kind in kinds for one in kind.__mro__ if issubclass(one, kinds[0])}
    own = {name for one in classes for name in one.class_own_traits(config=True)}
    assert own == DOCKERSPAWNERS


@pytest.mark.parametrize("name", sorted(DOCKERSPAWNERS))
def test_every_setting_of_dockerspawner_is_documented(name: str) -> None:
    """It stands in a table of the page for those who come from there."""
    lines = PAGE.read_text("utf-8").splitlines()
    assert any(f"`{name}`" in line for line in lines if line.startswith("| "))


def test_the_tables_have_no_other_names() -> None:
    """What they speak of exists there."""
    assert {*DOCKER, *SYSTEM_USER, *SWARM} <= DOCKERSPAWNERS


def test_settings_that_the_tables_name_are_ours() -> None:
    """Whoever follows them does not meet the next error."""
    ours = DockerNamedSwarmSpawner.class_trait_names(config=True)
    for text in {**DOCKER, **SYSTEM_USER, **SWARM}.values():
        if text.startswith("use "):
            name = text.removeprefix("use ").split()[0].rstrip(",")
            assert name in (*ours, "a", "'propagation'"), text
    assert list(unread_lines({}, [], [])) == []


# --- what users type ---------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["common_options", "profile_list"])
def test_a_typed_text_in_a_place_of_the_host(setting: str) -> None:
    """One line that names the option, the text around it, and a pattern that works."""
    free = {"enabled": True, "spawner_override": {"volumes": {"/srv/{value}": "/data"}}}
    options = {"team": {"choices": {"none": {}}, "unlisted_choice": free}}
    by_profile = [{"display_name": "A", "profile_options": options}]
    value = options if setting == "common_options" else by_profile
    (line,) = lines(**{setting: value})
    assert "['team']['unlisted_choice']['validation_regex']" in line
    assert "'/srv/{value}' in volumes" in line
    assert "'[a-z0-9-]+'" in line
    free["validation_regex"] = "[a-z0-9-]+"
    assert lines(**{setting: value}) == []


@pytest.mark.parametrize(
    ("setting", "value", "says"),
    [
        ("extra_host_config", {"binds": ["/srv/{username}-{servername}:/x"]}, "{user_server}"),
        ("extra_host_config", {"binds": ["a:/b:ro:x"]}, "source:target"),
        ("extra_host_config", {"binds": ["!:/b"]}, "a volume's name"),
        ("extra_create_kwargs", {"host_config": {"Binds": ["/srv/{usrname}:/x"]}}, "{username}"),
        ("extra_create_kwargs", {"volumes": ["/etc:/x"]}, "path in the container only"),
    ],
)
def test_mounts_of_further_arguments(setting: str, value: dict[str, Any], says: str) -> None:
    """The rules of ``volumes`` hold for them when the Hub starts, too."""
    (line,) = lines(**{setting: value})
    assert says in line
