"""Settings in, one start's settings out; a stand-in for the Engine says where things are."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from dockernamed import naming
from dockernamed.desired.environment import Environment
from dockernamed.desired.isolation import OwnNetwork
from dockernamed.desired.mounts import Mount
from dockernamed.desired.network import Access
from dockernamed.desired.resolved import ResolvedSettings
from dockernamed.desired.spec import ServerSpec, container_config, drift, spec_hash
from dockernamed.desired.volumes import VolumePlan, plan_volumes
from dockernamed.errors import ConfigError, TemplateError
from dockernamed.lifecycle.resolver import SettingsResolver
from dockernamed.settings import DockerNamedSettings

KEY = naming.Key("hub-1", "ann", "exp-1")
IMAGE = {"Id": "sha256:1", "Config": {"WorkingDir": "/work", "Cmd": ["start.sh", "--quiet"]}}
NOTHING = VolumePlan((), {}, {})


class Place:
    """Where the Engine and the Hub are, as `runtime.Runtime` tells it."""

    def __init__(self, url: str = "unix:///var/run/docker.sock", *networks: str) -> None:
        self.engine = SimpleNamespace(base_url=url)
        self.engine_is_local = url.startswith("unix")
        self._networks = networks
        self.is_podman = False

    async def podman(self) -> bool:
        """Whether the Engine is Podman."""
        return self.is_podman

    async def hub_container(self) -> dict[str, Any] | None:
        """The Hub's own container, on these networks; none: the Hub is on the host."""
        if not self._networks or not self.engine_is_local:
            return None
        return {"NetworkSettings": {"Networks": {name: {} for name in self._networks}}}

    async def log_driver(self) -> str:
        """The Engine's own."""
        return "json-file"

    async def shares_files(self) -> bool:
        """The Hub is on the Engine's host."""
        return False

    async def engine_paths(self) -> list[str]:
        """The Engine's socket on its host, and its files."""
        return ["/srv/engine/engine.sock"]

    async def network(self, name: str) -> dict[str, Any]:
        """One is made with ``--internal``."""
        return {"Internal": name == "inner"}


ON_THE_HOST = Place()
IN_A_CONTAINER = Place("unix:///var/run/docker.sock", "bridge", "hubnet")
ON_DEFAULT_BRIDGE = Place("unix:///var/run/docker.sock", "bridge")
ON_PODMAN = Place()
ON_PODMAN.is_podman = True
OF_HUB = OwnNetwork.of(KEY, "hub", prefix="jupyter").names[0]
OF_USER = OwnNetwork.of(KEY, "user", prefix="jupyter").names[0]
REMOTE = Place("tcp://engine.example:2376", "hubnet")


def resolver(place: Place = ON_THE_HOST, **settings: Any) -> SettingsResolver:
    """Reads such settings."""
    namespace = naming.namespace(KEY, prefix=settings.get("prefix", "jupyter"), image="lab")
    runtime: Any = place
    return SettingsResolver(DockerNamedSettings(**settings), KEY, namespace, runtime)


async def resolved(
    place: Place = ON_THE_HOST, args: Sequence[str] = (), **settings: Any
) -> ResolvedSettings:
    """What such settings come to."""
    asked = resolver(place, **settings)
    return await asked.resolve(await asked.place(), args)


async def spec(details: dict[str, Any] = IMAGE, **settings: Any) -> ServerSpec:
    """The container that such settings ask for."""
    return (await resolved(**settings)).spec(details, NOTHING, Environment())


# --- callables and templates -------------------------------------------------------------------

CALLABLES = {
    "mem_limit": 1 << 30,
    "cpu_limit": 1.5,
    "uid": 1000,
    "gid": 100,
    "supplemental_gids": [2000],
    "extra_create_kwargs": {"hostname": "{username}"},
    "extra_host_config": {"shm_size": 64},
}


@pytest.mark.parametrize("is_async", [True, False])
async def test_each_callable_is_called_once(is_async: bool) -> None:
    """With the spawner, and it may be async: two calls could give two answers."""
    calls: list[str] = []

    def answering(name: str, value: Any) -> Any:
        async def later(spawner: Any) -> Any:
            calls.append(name)
            return value

        def now(spawner: Any) -> Any:
            calls.append(name)
            return value

        return later if is_async else now

    found = await resolved(**{name: answering(name, value) for name, value in CALLABLES.items()})
    assert sorted(calls) == sorted(CALLABLES)
    assert (found.mem_limit, found.cpu_limit) == (1 << 30, 1.5)
    assert (found.uid, found.gid, found.groups) == (1000, 100, (2000,))
    assert (found.config, found.host_config) == ({"Hostname": "ann"}, {"ShmSize": 64})


async def test_a_callable_that_has_nothing_to_add() -> None:
    """None is nothing: neither limits nor further arguments."""
    settings: dict[str, Any] = dict.fromkeys(CALLABLES, lambda spawner: None)
    found = await resolved(**settings)
    assert (found.mem_limit, found.cpu_limit, found.config, found.host_config) == (
        None, None, {}, {},
    )  # fmt: skip
    assert (found.uid, found.gid, found.groups) == (None, None, ())


@pytest.mark.parametrize("setting", ["uid", "gid"])
@pytest.mark.parametrize("value", ["1000", -1, True, 1.5, 2**32])
async def test_what_is_no_number_of_a_user(setting: str, value: object) -> None:
    """A callable's mistake is told with the setting and an example."""
    settings: dict[str, Any] = {setting: lambda spawner: value}
    with pytest.raises(ConfigError, match=f"{setting} = .*such as 1000"):
        await resolved(**settings)


@pytest.mark.parametrize("value", ["2000", 2000, ["2000"]])
async def test_what_is_no_list_of_groups(value: object) -> None:
    """Likewise."""
    with pytest.raises(ConfigError, match="supplemental_gids = "):
        await resolved(supplemental_gids=lambda spawner: value)


@pytest.mark.parametrize(
    ("settings", "image_user", "user"),
    [
        ({}, "jovyan", "jovyan"),
        ({"uid": 20001}, "jovyan:users", "20001"),
        ({"uid": 20001, "gid": 30001}, "jovyan", "20001:30001"),
        ({"gid": 30001}, "jovyan:users", "jovyan:30001"),
        ({"gid": 30001}, "", "0:30001"),
        ({"uid": 0}, "jovyan", "0"),
        ({"uid": 20001, "extra_create_kwargs": {"user": "root"}}, "jovyan", "root"),
    ],
)
async def test_whom_a_server_runs_as(settings: dict[str, Any], image_user: str, user: str) -> None:
    """The settings' numbers, else the image's user; an argument of the create call wins."""
    image = {"Id": "sha256:1", "Config": {"User": image_user}}
    found = await spec(image, **settings, supplemental_gids=[2000])
    body = container_config(found, Environment())
    assert found.runs_as == user
    assert body.get("User", image_user) == user
    assert body["HostConfig"]["GroupAdd"] == ["2000"]


async def test_a_container_is_made_anew_for_another_user() -> None:
    """What is set is part of what a kept container is compared by; what is not, is not."""
    image = {"Id": "sha256:1", "Config": {"User": "jovyan"}}
    made = [
        spec_hash(await spec(image, **settings), Environment())
        for settings in ({}, {"uid": 1}, {"uid": 1, "gid": 1}, {"supplemental_gids": [1]})
    ]
    assert len(set(made)) == 4
    assert drift(made[0], made[1]) == ["other settings"]


# --- homes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mounts", "homes"),
    [
        ([Mount("bind", "/srv/ann", "/home/ann")], ("/home/ann",)),
        ([Mount("bind", "/srv", "/home")], ("/home/ann",)),
        ([Mount("bind", "/srv/ann", "/home/ann", frozenset({"ro"}))], ()),
        ([Mount("bind", "/srv/ann", "/home/an")], ()),
        ([Mount("volume", "had", "/home/ann")], ()),
        ([Mount("volume", "new", "/home/ann")], ("/home/ann",)),
        ([Mount("tmpfs", "", "/home/ann")], ()),
        ([Mount("bind", "/srv", "/home"), Mount("volume", "had", "/home/ann")], ()),
        ([], ()),
    ],
)
async def test_where_it_is_looked_whether_users_can_write(
    mounts: list[Mount], homes: tuple[str, ...]
) -> None:
    """Where files are in a directory of the host, or in a volume new to this server."""
    found = await resolved(notebook_dir="/home/ann/")
    assert found.homes(IMAGE, mounts, {"had"}) == homes


@pytest.mark.parametrize("field", ["network_name", "notebook_dir", "server_volume"])
async def test_an_unknown_field_names_its_setting(field: str) -> None:
    """A mistake in a template is found at the start, and says where it stands."""
    settings: dict[str, Any] = {field: "{user_nmae}"}
    with pytest.raises(TemplateError, match=field):
        await resolved(**settings)


BRACES = (
    "{username",
    '{"a": {"b": 1}}',
    "${HOME}",
    "{{.Name}}",
    "{x}",
    "{}",
    "{0}",
    "{username!r}",
)


@pytest.mark.parametrize("text", [*BRACES, "{username}"])
async def test_the_command_line_is_no_template(text: str) -> None:
    """What a program reads in braces reaches it as written, such as headers in JSON."""
    found = await resolved(cmd=["run", text], args=[text])
    assert (found.cmd, found.args) == (("run", text), (text,))


@pytest.mark.parametrize("text", BRACES)
async def test_braces_that_are_no_field(text: str) -> None:
    """In the further arguments too, beside fields that are: tags of logs, variables of shells."""
    found = await resolved(
        extra_create_kwargs={"environment": {"A": text}},
        extra_host_config={
            "log_config": {"type": "json-file", "config": {"tag": f"{text} {{username}}"}}
        },
    )
    assert found.config == {"Env": [f"A={text}"]}
    assert found.host_config["LogConfig"]["Config"] == {"tag": f"{text} ann"}


# --- the network, and how to get there ---------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "settings", "network"),
    [
        (ON_THE_HOST, {}, OF_HUB),
        (ON_THE_HOST, {"network_isolation": "none"}, "bridge"),
        (ON_PODMAN, {}, "bridge"),
        (ON_PODMAN, {"network_isolation": "user"}, OF_USER),
        (IN_A_CONTAINER, {}, "hubnet"),
        (IN_A_CONTAINER, {"network_isolation": "user"}, OF_USER),
        (ON_DEFAULT_BRIDGE, {}, "bridge"),
        (ON_DEFAULT_BRIDGE, {"network_isolation": "user"}, OF_USER),
        (REMOTE, {}, OF_HUB),
        (ON_THE_HOST, {"network_name": "net-{username}"}, "net-ann"),
        (IN_A_CONTAINER, {"network_name": "other"}, "other"),
    ],
)
async def test_which_network(place: Place, settings: dict[str, Any], network: str) -> None:
    """The admin's; else the Hub container's own, or where the Hub is elsewhere one that is made.

    A remote Engine's networks are not the Hub's. Podman does not keep containers of one apart.
    """
    assert (await resolver(place, **settings).place()).network == network


@pytest.mark.parametrize(
    ("place", "settings", "access"),
    [
        (ON_THE_HOST, {}, Access("published")),
        (ON_THE_HOST, {"network_name": "net"}, Access("ip")),
        (ON_THE_HOST, {"network_name": "net", "use_internal_ip": False}, Access("published")),
        (ON_THE_HOST, {"use_internal_ip": True}, Access("ip")),
        (ON_THE_HOST, {"use_internal_hostname": True}, Access("name")),
        (IN_A_CONTAINER, {}, Access("ip")),
        (ON_DEFAULT_BRIDGE, {}, Access("ip")),
        (IN_A_CONTAINER, {"use_internal_ip": False}, Access("published")),
        (IN_A_CONTAINER, {"network_isolation": "user"}, Access("ip")),
        (ON_THE_HOST, {"network_isolation": "user"}, Access("published")),
        (ON_THE_HOST, {"internal_network": True}, Access("ip")),
        (REMOTE, {}, Access("published", "engine.example")),
        (Place("http://"), {}, Access("published", "127.0.0.1")),
    ],
)
async def test_how_the_hub_gets_there(
    place: Place, settings: dict[str, Any], access: Access
) -> None:
    """By address from a container or into a user-defined network, else by a published port."""
    assert (await resolver(place, **settings).place()).access == access


@pytest.mark.parametrize(
    ("place", "settings", "at"),
    [
        (ON_THE_HOST, {}, "127.0.0.1"),
        (REMOTE, {}, "0.0.0.0"),
        (REMOTE, {"host_ip": "10.0.0.5"}, "10.0.0.5"),
        (ON_THE_HOST, {"network_name": "host", "use_internal_ip": False}, None),
        (IN_A_CONTAINER, {}, None),
        (ON_THE_HOST, {"use_internal_hostname": True}, None),
    ],
)
async def test_where_ports_are_published(
    place: Place, settings: dict[str, Any], at: str | None
) -> None:
    """On loopback where the Engine is here; nowhere when servers are reached without."""
    found = await resolved(place, **settings)
    assert found.spec(IMAGE, NOTHING, Environment()).publish_ip == at


# --- the container -----------------------------------------------------------------------------


async def test_spec() -> None:
    """Each setting arrives in its place, templates expanded, callables called."""
    found = await spec(
        image="lab",
        port=8080,
        mem_limit="1K",
        mem_guarantee=1,
        cpu_limit=1.5,
        cpu_guarantee=0.5,
        extra_create_kwargs={"hostname": "{username}", "user": "root"},
        extra_host_config=lambda spawner: {"shm_size": 64, "group_add": ["{servername}"]},
    )
    assert (found.key, found.image, found.image_id, found.port) == (KEY, "lab", "sha256:1", 8080)
    assert (found.mem_limit, found.mem_guarantee) == (1024, 1)
    assert (found.cpu_limit, found.cpu_guarantee) == (1.5, 0.5)
    assert found.config == {"Hostname": "ann", "User": "root"}
    assert found.host_config == {"ShmSize": 64, "GroupAdd": ["exp-1"]}
    assert found.command is None


async def test_an_unknown_argument_is_refused() -> None:
    """A spelling mistake in the extra settings is an error that names it."""
    with pytest.raises(ConfigError, match="extra_host_config"):
        await resolved(extra_host_config={"shm_sise": 1})


async def test_a_template_in_the_extra_settings() -> None:
    """What is nearly a field there is a mistake; the message names the setting and the field."""
    with pytest.raises(TemplateError, match=r"extra_create_kwargs.*\{username\}"):
        await resolved(extra_create_kwargs={"hostname": "{user_name}"})


@pytest.mark.parametrize(
    ("cmd", "args", "image", "command"),
    [
        (None, [], IMAGE, None),
        (None, ["--x=1"], IMAGE, ("start.sh", "--quiet", "--x=1")),
        (["run", "fast"], [], IMAGE, ("run", "fast")),
        (["run"], ["--x"], IMAGE, ("run", "--x")),
        (None, ["--x"], {}, ("--x",)),
        (None, ["--x"], {"Config": {"Cmd": None}}, ("--x",)),
    ],
)
async def test_command(
    cmd: Any, args: list[str], image: dict[str, Any], command: tuple[str, ...] | None
) -> None:
    """The image's own unless ``cmd`` is set; arguments come after whichever it is."""
    assert (await spec(image, cmd=cmd, args=args)).command == command


def test_names() -> None:
    """The second one differs by the Hub, for when somebody else has the first."""
    first, second = resolver(prefix="lab").names()
    assert first == "lab-ann--exp-1"
    assert first != second
    assert resolver(name_template="nb-{user_server}").names()[0].startswith("nb-")


# --- the files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "image", "at"),
    [
        ({}, IMAGE, "/work"),
        ({}, {}, None),
        ({}, {"Config": {"WorkingDir": "/"}}, None),
        ({"notebook_dir": "/work/books"}, IMAGE, "/work"),
        ({"notebook_dir": "/work"}, IMAGE, "/work"),
        ({"notebook_dir": "/workshop"}, IMAGE, "/workshop"),
        ({"notebook_dir": "/home/{username}"}, IMAGE, "/home/ann"),
        ({"notebook_dir": "books"}, IMAGE, "/work"),
        ({"notebook_dir": "/books"}, {"Config": {"WorkingDir": "/"}}, "/books"),
        ({"extra_create_kwargs": {"working_dir": "/srv"}}, IMAGE, "/srv"),
        ({"extra_create_kwargs": {"working_dir": "/home/{username}"}}, IMAGE, "/home/ann"),
        ({"extra_create_kwargs": lambda s: {"working_dir": "/h/{username}"}}, IMAGE, "/h/ann"),
        ({"server_volume": ""}, IMAGE, None),
    ],
)
async def test_where_the_servers_volume_goes(
    settings: dict[str, Any], image: dict[str, Any], at: str | None
) -> None:
    """Where a user's files are: the working directory, or notebook_dir when that is elsewhere."""
    found = await resolved(**settings)
    plan = plan_volumes(found.volumes, KEY, home=found.home(image), remembered={})
    assert [mount.target for mount in plan.mounts] == ([] if at is None else [at])


async def test_all_kinds_of_mounts() -> None:
    """``volumes``, ``read_only_volumes`` and ``mounts`` come together, remembered names kept."""
    found = await resolved(
        volumes={"home-{username}": "/home"},
        read_only_volumes={"/srv/data": "/data"},
        mounts=[{"type": "tmpfs", "target": "/scratch"}],
    )
    plan = plan_volumes(
        found.volumes, KEY, home=found.home(IMAGE), remembered={"/home": "home-old"}
    )
    assert [(mount.kind, mount.source, mount.target) for mount in plan.mounts[1:]] == [
        ("volume", "home-old", "/home"),
        ("bind", "/srv/data", "/data"),
        ("tmpfs", "", "/scratch"),
    ]
    assert found.spec(IMAGE, plan, Environment()).mounts == plan.mounts
