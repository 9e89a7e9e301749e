"""Settings in, the wanted container out; a stand-in for the Engine says where things are."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from dockernamed import naming
from dockernamed.desired.network import Access
from dockernamed.desired.volumes import Storage
from dockernamed.errors import ConfigError, TemplateError
from dockernamed.lifecycle.resolver import SettingsResolver
from dockernamed.settings import DockerNamedSettings

KEY = naming.Key("hub-1", "ann", "exp-1")
IMAGE = {"Id": "sha256:1", "Config": {"WorkingDir": "/work", "Cmd": ["start.sh", "--quiet"]}}
NOTHING = Storage((), {}, {})


class Place:
    """Where the Engine and the Hub are, as `runtime.Runtime` tells it."""

    def __init__(self, url: str = "unix:///var/run/docker.sock", *networks: str) -> None:
        self.engine = SimpleNamespace(base_url=url)
        self.engine_is_local = url.startswith("unix")
        self._networks = networks

    async def hub_container(self) -> dict[str, Any] | None:
        """The Hub's own container, on these networks; none: the Hub is on the host."""
        if not self._networks:
            return None
        return {"NetworkSettings": {"Networks": {name: {} for name in self._networks}}}


ON_THE_HOST = Place()
IN_A_CONTAINER = Place("unix:///var/run/docker.sock", "bridge", "hubnet")
ON_DEFAULT_BRIDGE = Place("unix:///var/run/docker.sock", "bridge")
REMOTE = Place("tcp://engine.example:2376", "hubnet")


def wish(place: Place = ON_THE_HOST, **settings: Any) -> SettingsResolver:
    """What such settings ask for."""
    namespace = naming.namespace(KEY, prefix=settings.get("prefix", "jupyter"), image="lab")
    runtime: Any = place
    return SettingsResolver(DockerNamedSettings(**settings), KEY, namespace, runtime)


# --- values and templates ----------------------------------------------------------------------


async def test_a_setting_may_be_a_callable() -> None:
    """It gets the spawner, and may be async; anything else is its own value."""
    asked = wish(prefix="lab")

    async def later(spawner: Any) -> str:
        return f"{spawner.prefix}!"

    assert await asked.value_of(later) == "lab!"
    assert await asked.value_of(lambda spawner: spawner.prefix) == "lab"
    assert await asked.value_of("plain") == "plain"


def test_an_unknown_field_names_its_setting() -> None:
    """A mistake in a template is found at the start, and says where it stands."""
    with pytest.raises(TemplateError, match="cmd"):
        wish().expand("{user_nmae}", "cmd")


# --- the network, and how to get there ---------------------------------------------------------


@pytest.mark.parametrize(
    ("place", "settings", "network"),
    [
        (ON_THE_HOST, {}, "bridge"),
        (IN_A_CONTAINER, {}, "hubnet"),
        (ON_DEFAULT_BRIDGE, {}, "bridge"),
        (REMOTE, {}, "bridge"),
        (ON_THE_HOST, {"network_name": "net-{username}"}, "net-ann"),
        (IN_A_CONTAINER, {"network_name": "other"}, "other"),
    ],
)
async def test_which_network(place: Place, settings: dict[str, Any], network: str) -> None:
    """The admin's; else the Hub container's own; a remote Engine's networks are not the Hub's."""
    assert await wish(place, **settings).network() == network


@pytest.mark.parametrize(
    ("place", "settings", "reach"),
    [
        (ON_THE_HOST, {}, Access("published")),
        (ON_THE_HOST, {"network_name": "net"}, Access("ip")),
        (ON_THE_HOST, {"network_name": "net", "use_internal_ip": False}, Access("published")),
        (ON_THE_HOST, {"use_internal_ip": True}, Access("ip")),
        (ON_THE_HOST, {"use_internal_hostname": True}, Access("name")),
        (IN_A_CONTAINER, {}, Access("ip")),
        (ON_DEFAULT_BRIDGE, {}, Access("ip")),
        (IN_A_CONTAINER, {"use_internal_ip": False}, Access("published")),
        (REMOTE, {}, Access("published", "engine.example")),
        (Place("http://"), {}, Access("published", "127.0.0.1")),
    ],
)
async def test_how_the_hub_gets_there(
    place: Place, settings: dict[str, Any], reach: Access
) -> None:
    """By address from a container or into a user-defined network, else by a published port."""
    assert await wish(place, **settings).reach() == reach


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
    spec = await wish(place, **settings).spec(IMAGE, NOTHING, [], {})
    assert spec.publish_ip == at


# --- the container -----------------------------------------------------------------------------


async def test_spec() -> None:
    """Each setting arrives in its place, templates expanded, callables called."""
    spec = await wish(
        image="lab",
        port=8080,
        mem_limit="1K",
        mem_guarantee=1,
        cpu_limit=1.5,
        cpu_guarantee=0.5,
        extra_create_kwargs={"hostname": "{username}", "user": "root"},
        extra_host_config=lambda spawner: {"shm_size": 64, "group_add": ["{servername}"]},
    ).spec(IMAGE, NOTHING, [], {})
    assert (spec.key, spec.image, spec.image_id, spec.port) == (KEY, "lab", "sha256:1", 8080)
    assert (spec.mem_limit, spec.mem_guarantee) == (1024, 1)
    assert (spec.cpu_limit, spec.cpu_guarantee) == (1.5, 0.5)
    assert spec.config == {"Hostname": "ann", "User": "root"}
    assert spec.host_config == {"ShmSize": 64, "GroupAdd": ["exp-1"]}
    assert spec.command is None


async def test_an_unknown_argument_is_refused() -> None:
    """A spelling mistake in the extra settings is an error that names it."""
    with pytest.raises(ConfigError, match="extra_host_config"):
        await wish(extra_host_config={"shm_sise": 1}).spec(IMAGE, NOTHING, [], {})


async def test_a_template_in_the_extra_settings() -> None:
    """An unknown field there names the setting that it stands in."""
    with pytest.raises(TemplateError, match="extra_create_kwargs"):
        await wish(extra_create_kwargs={"hostname": "{nobody}"}).spec(IMAGE, NOTHING, [], {})


@pytest.mark.parametrize(
    ("cmd", "args", "image", "command"),
    [
        (None, [], IMAGE, None),
        (None, ["--x={username}"], IMAGE, ("start.sh", "--quiet", "--x=ann")),
        (["run", "{servername}"], [], IMAGE, ("run", "exp-1")),
        (["run"], ["--x"], IMAGE, ("run", "--x")),
        (None, ["--x"], {}, ("--x",)),
        (None, ["--x"], {"Config": {"Cmd": None}}, ("--x",)),
    ],
)
async def test_command(
    cmd: Any, args: list[str], image: dict[str, Any], command: tuple[str, ...] | None
) -> None:
    """The image's own unless ``cmd`` is set; arguments come after whichever it is."""
    assert (await wish(cmd=cmd).spec(image, NOTHING, args, {})).command == command


def test_names() -> None:
    """The second one differs by the Hub, for when somebody else has the first."""
    first, second = wish(prefix="lab").names()
    assert first == "lab-ann--exp-1"
    assert first != second
    assert wish(name_template="nb-{user_server}").names()[0].startswith("nb-")


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
        ({"server_volume": ""}, IMAGE, None),
    ],
)
async def test_where_the_servers_volume_goes(
    settings: dict[str, Any], image: dict[str, Any], at: str | None
) -> None:
    """Where a user's files are: the working directory, or notebook_dir when that is elsewhere."""
    storage = await wish(**settings).storage(image, {}, ())
    assert [mount.target for mount in storage.mounts] == ([] if at is None else [at])


async def test_all_kinds_of_mounts() -> None:
    """``volumes``, ``read_only_volumes`` and ``mounts`` come together, remembered names kept."""
    asked = wish(
        volumes={"home-{username}": "/home"},
        read_only_volumes={"/srv/data": "/data"},
        mounts=[{"type": "tmpfs", "target": "/scratch"}],
    )
    storage = await asked.storage(IMAGE, {"/home": "home-old"}, ())
    assert [(mount.kind, mount.source, mount.target) for mount in storage.mounts[1:]] == [
        ("volume", "home-old", "/home"),
        ("bind", "/srv/data", "/data"),
        ("tmpfs", "", "/scratch"),
    ]
    assert (await asked.spec(IMAGE, storage, [], {})).mounts == storage.mounts
