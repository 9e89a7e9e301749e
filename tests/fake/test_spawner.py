"""A server's start as JupyterHub drives it: who it is, what was chosen, what is made of that."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from support.driving import MakeHub, env_of, message, refused
from support.engine.watching import eventually
from support.fake_engine import FakeEngine, RemoteImage
from support.stage import CREATE, IMAGE, VOLUME_CREATE, reached, running
from support.stub_hub import Hub, of_server, runtime, runtime_of
from traitlets.config import Config

from dockernamed import DockerNamedSpawner, naming
from dockernamed.desired.spec import LABEL_START
from dockernamed.lifecycle.runtime import Runtime

# --- identity ----------------------------------------------------------------------------------


async def test_the_hubs_id(make_hub: MakeHub) -> None:
    """Derived from what persists with the Hub unless it is set, and no way back to the secret."""
    derived = make_hub().spawner().key.hub
    assert derived == make_hub().spawner("x", "bob").key.hub
    other = make_hub()
    other.extra["cookie_secret"] = b"another secret"
    assert other.spawner().key.hub != derived
    assert make_hub(hub_id="physics").spawner().key == naming.Key("physics", "ann", "")


def test_without_a_user() -> None:
    """A spawner that is made for its settings alone, as the package does when the Hub starts."""
    assert DockerNamedSpawner(config=Config()).image


async def test_one_runtime_for_all(hub: Hub) -> None:
    """Two servers of two users are started over one connection, and watched by one watcher."""
    await asyncio.gather(hub.spawn("a", "ann"), hub.spawn("b", "bob"))
    assert isinstance(runtime(), Runtime)
    assert len(runtime().watcher.records()) == 2


async def test_templates(make_hub: MakeHub, fake: FakeEngine) -> None:
    """notebook_dir and default_url know our fields and JupyterHub's; nothing reaches an object."""
    hub = make_hub(notebook_dir="/work/{servername}", default_url="{base_url}tree/{username}")
    await hub.spawn("exp-1")
    env = env_of(fake)
    assert env["JUPYTERHUB_ROOT_DIR"] == "/work/exp-1"
    assert env["JUPYTERHUB_DEFAULT_URL"] == "/user/ann/exp-1/tree/ann"
    await hub.restart(default_url="{username.__class__}")
    error = await refused(hub, "exp-2")
    assert "default_url" in message(error)
    assert "__class__" in message(error)
    assert of_server(fake, "exp-2") == []


async def test_namespace_without_a_server(hub: Hub) -> None:
    """Before a start there is no base_url."""
    assert "base_url" not in hub.spawner("exp-1").template_namespace()


# --- a start -----------------------------------------------------------------------------------


async def test_start(hub: Hub, fake: FakeEngine) -> None:
    """The Hub has the URL at which the server answers, and remembers what start() found."""
    spawner = await hub.spawn("exp-1")
    (container,) = of_server(fake, "exp-1")
    port = container.ports["8888/tcp"] if container.ports else 0
    assert spawner.server.url == f"http://127.0.0.1:{port}/user/ann/exp-1/"
    assert hub.user().orm_spawners["exp-1"].state == {
        "object_id": container.id,
        "object_name": container.name,
        "volumes": {"server_volume": next(iter(fake.volumes))},
        "image": "lab:latest",
        "settings": {
            "access": {"by": "published", "engine_host": "127.0.0.1"},
            "port": 8888,
            "remove": True,
            "keep_failed": False,
            "stop_timeout": 10.0,
            "delete_volumes": True,
            "readiness": "jupyterhub",
            "on_host": False,
            "network": "",
            "gpus": [],
        },
        "made": {container.labels[LABEL_START]: container.id},
        "promise": {"memory": 0, "cpu": 0.0, "gpus": []},
    }
    assert await spawner.poll() is None
    assert spawner.ready


async def test_environment(hub: Hub, fake: FakeEngine) -> None:
    """JupyterHub's own, the image under the names that others use, and no None."""
    hub.config = {
        "environment": {"A": "1", "B": lambda spawner: spawner.name, "JUPYTER_IMAGE": "x"}
    }
    await hub.spawn("exp-1")
    env = env_of(fake)
    assert (env["A"], env["B"]) == ("1", "exp-1")
    assert (env["JUPYTER_IMAGE_SPEC"], env["JUPYTER_IMAGE"]) == (IMAGE, "x")
    assert env["JUPYTERHUB_CLIENT_ID"] == "jupyterhub-user-ann!exp-1"
    assert env["JUPYTERHUB_API_TOKEN"]


async def test_limits_may_be_callables(make_hub: MakeHub, fake: FakeEngine) -> None:
    """What they return is both the limit and what the server is told of it."""

    async def cpus(spawner: Any) -> float:
        return 1.5

    await make_hub(mem_limit=lambda spawner: 1 << 30, cpu_limit=cpus).spawn("exp-1")
    (container,) = of_server(fake, "exp-1")
    assert container.host_config["Memory"] == 1 << 30
    assert container.host_config["CpuQuota"] == 150_000
    assert env_of(fake)["MEM_LIMIT"] == str(1 << 30)


@pytest.mark.parametrize("is_async", [True, False])
async def test_the_admins_hooks(make_hub: MakeHub, fake: FakeEngine, is_async: bool) -> None:
    """pre_spawn_hook comes before anything is made, post_stop_hook after all has ended."""
    seen = []

    def pre(spawner: Any) -> Any:
        seen.append(("pre", len(fake.containers)))
        return asyncio.sleep(0) if is_async else None

    def post(spawner: Any) -> Any:
        seen.append(("post", len(running(fake))))
        return asyncio.sleep(0) if is_async else None

    hub = make_hub(pre_spawn_hook=pre, post_stop_hook=post)
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    assert seen == [("pre", 0), ("post", 0)]


async def test_progress(make_hub: MakeHub, fake: FakeEngine) -> None:
    """What happens is told while it happens, numbers never go down, and it ends with the start."""
    fake.publish("remote:1", RemoteImage(config={"WorkingDir": "/work"}))
    hub = make_hub(image="remote:1")
    spawner = hub.spawner("exp-1")
    starting = hub.spawning("exp-1")
    await eventually(lambda: spawner.api_token)  # its own journal begins with the start
    events = []

    async def listen() -> None:
        events.extend([event async for event in spawner.progress()])

    listening = asyncio.ensure_future(listen())
    await starting
    spawner.clear_state()
    await asyncio.wait_for(listening, 30)
    numbers = [event["progress"] for event in events]
    assert numbers == sorted(numbers)
    pulling = "Pulling remote:1: "
    messages = [event["message"] for event in events]
    pulled = [words for words in messages if words.startswith(pulling)]
    assert re.fullmatch(r"100 %, (\d+) of \1 layers, .+B", pulled[-1].removeprefix(pulling))
    assert [words for words in messages if words not in pulled] == [
        "Looking for image remote:1",
        "Creating the container",
        "Starting the container",
        "Waiting for the server to answer",
        "The server is ready",
    ]


async def test_start_is_polled_as_running(hub: Hub, fake: FakeEngine) -> None:
    """While start() is under way poll() says so, whatever the Engine has by then."""
    stalled = fake.fault("stall", *CREATE)
    starting = hub.spawning("exp-1")
    await reached(stalled)
    assert await hub.spawner("exp-1").poll() is None
    stalled.release()
    await starting


# --- options -----------------------------------------------------------------------------------

CHOICE = {"lab": IMAGE, "r": "r:latest"}


async def test_a_choice(make_hub: MakeHub, fake: FakeEngine) -> None:
    """It decides on the image, and is remembered for the next start that gives none."""
    fake.add_image("r:latest", {"WorkingDir": "/work"})
    hub = make_hub(allowed_images=CHOICE)
    for options in ({"image": "r"}, None, {}):
        await hub.spawn("exp-1", options=options)
        (container,) = of_server(fake, "exp-1")
        assert container.image == (IMAGE if options == {} else "r:latest")
        await hub.stop("exp-1")


async def test_a_refused_choice_is_not_remembered(make_hub: MakeHub, fake: FakeEngine) -> None:
    """400 with what may be chosen, before anything is made; the earlier choice still stands."""
    fake.add_image("r:latest", {"WorkingDir": "/work"})
    hub = make_hub(allowed_images=CHOICE)
    await hub.spawn("exp-1", options={"image": "r"})
    await hub.stop("exp-1")
    before = len(fake.requests)
    for options in ({"image": "evil"}, {"image": "evil"}, {"imag": "r"}, {"image": 7}):
        error = await refused(hub, options=options)
        assert error.status_code == 400
        assert hub.user().orm_spawners["exp-1"].user_options == {"image": "r"}
    assert "'lab', 'r'" in message(await refused(hub, options={"image": "evil"}))
    assert not [path for method, path in fake.requests[before:] if method != "GET"]
    await hub.spawn("exp-1")
    assert of_server(fake, "exp-1")[0].image == "r:latest"


async def test_saved_options_that_may_not_be_chosen_any_more(
    make_hub: MakeHub, fake: FakeEngine
) -> None:
    """The admin took an image off the list: the start is refused, and says what there is."""
    hub = make_hub(allowed_images=CHOICE)
    fake.add_image("r:latest")
    await hub.spawn("exp-1", options={"image": "r"})
    await hub.stop("exp-1")
    await hub.restart(allowed_images={"lab": IMAGE})
    error = await refused(hub)
    assert error.status_code == 400
    assert "'lab'" in message(error)


async def test_settings_that_cannot_work(make_hub: MakeHub) -> None:
    """An allow-list of the wrong form is the admin's error, and told as such: 500, and which."""
    hub = make_hub(allowed_images=lambda spawner: 7)
    error = await refused(hub)
    assert error.status_code == 500
    assert "allowed_images" in message(error)


async def test_the_form(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Where there is something to choose there is a form, and its fields become a choice."""
    fake.add_image("r:latest", {"WorkingDir": "/work"})
    hub = make_hub(allowed_images=CHOICE)
    spawner = hub.spawner("exp-1")
    form = await spawner.get_options_form()
    assert "lab" in form
    options = await spawner.run_options_from_form({"image": ["r"]})
    assert options == {"image": "r"}
    assert not await make_hub().spawner("exp-1").get_options_form()


# --- the Hub's address -------------------------------------------------------------------------


async def hub_url(hub: Hub, fake: FakeEngine, **info: Any) -> str:
    """What a server is told, where the Hub is set up like this."""
    for name, value in info.items():
        setattr(hub.info, name, value)
    await hub.spawn("exp-1")
    return env_of(fake)["JUPYTERHUB_API_URL"]


async def test_hub_behind_the_gateway(hub: Hub, fake: FakeEngine) -> None:
    """A Hub on the host that listens everywhere is found at the network's gateway, always anew."""
    assert await hub_url(hub, fake) == "http://127.0.0.1:8081/hub/api"
    assert fake.count("GET", "/networks/bridge") == 1
    spawner = hub.spawner("exp-1")
    await hub.stop("exp-1")
    spawner.network_name = "lab-net"
    fake.add_network("lab-net")
    await spawner.run_pre_spawn_hook()
    assert fake.count("GET", "/networks/lab-net") == 1


async def test_hub_with_another_connect_port(hub: Hub, fake: FakeEngine) -> None:
    """The port to connect to may be another than the one it listens on."""
    assert await hub_url(hub, fake, connect_port=9999) == "http://127.0.0.1:9999/hub/api"


@pytest.mark.parametrize("ip", ["127.0.0.1", "localhost", "::1"])
async def test_hub_on_loopback(hub: Hub, fake: FakeEngine, ip: str) -> None:
    """No container could reach it: refused with the line to set, before anything is made."""
    hub.info.ip = ip
    error = await refused(hub)
    assert 'c.JupyterHub.hub_ip = "0.0.0.0"' in message(error)
    assert fake.count(*VOLUME_CREATE) == fake.count(*CREATE) == 0


async def test_hub_on_loopback_and_the_hosts_network(make_hub: MakeHub, fake: FakeEngine) -> None:
    """There, loopback is the Hub's own: it is reached as it is."""
    hub = make_hub(network_name="host", ip="127.0.0.1", use_internal_ip=True)
    spawner = hub.spawner("exp-1")
    hub.info.ip = "127.0.0.1"
    await spawner.run_pre_spawn_hook()
    assert spawner.hub_connect_url is None
    hub.info.ip = "0.0.0.0"
    await spawner.run_pre_spawn_hook()
    assert spawner.hub_connect_url == "http://127.0.0.1:8081"


@pytest.mark.parametrize(
    ("ip", "settings", "info"),
    [
        ("127.0.0.1", {"hub_connect_url": "http://hub.example:8081"}, {}),
        ("127.0.0.1", {}, {"connect_ip": "hub.example"}),
        ("127.0.0.1", {}, {"connect_url": "http://hub.example:8081"}),
        ("hub.example", {}, {}),
    ],
)
async def test_the_admin_has_said_where_the_hub_is(
    make_hub: MakeHub, fake: FakeEngine, ip: str, settings: dict[str, Any], info: dict[str, str]
) -> None:
    """Then nothing is looked for and nothing refused."""
    url = await hub_url(make_hub(**settings), fake, ip=ip, **info)
    assert url == "http://hub.example:8081/hub/api"
    assert fake.count("GET", "/networks/.*") == 0


async def test_no_such_network(make_hub: MakeHub) -> None:
    """The setting is named, and the command that makes the network."""
    error = await refused(make_hub(network_name="lab-net"))
    assert "docker network create lab-net" in message(error)


async def test_a_remote_engine(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its networks are another host's: no gateway there is the Hub's."""
    spawner = hub.spawner("exp-1")
    monkeypatch.setattr(Runtime, "engine_is_local", False)
    await spawner.run_pre_spawn_hook()
    assert spawner.hub_connect_url is None


# --- images ------------------------------------------------------------------------------------


async def test_an_image_that_is_missing(make_hub: MakeHub) -> None:
    """By policy or because nobody has it: which image, and why, and nothing is made."""
    error = await refused(make_hub(image="nobody/has-it", pull_policy="never"))
    assert "pull_policy = 'never'" in message(error)
    error = await refused(make_hub(image="nobody/has-it"))
    assert "pull access denied" in message(error)


async def test_an_image_that_goes_between_look_and_create(hub: Hub, fake: FakeEngine) -> None:
    """The message says so in our words, and the new volume is taken back."""
    fake.fault(404, *CREATE, message=f"No such image: {IMAGE}")
    error = await refused(hub)
    assert f"image = {IMAGE!r}: it is no longer on the Engine" in message(error)
    assert fake.volumes == {}


async def test_skip_does_not_pull(make_hub: MakeHub, fake: FakeEngine) -> None:
    """pull_policy = "skip" and an unknown image: the Engine may know how to get it."""
    fake.publish("remote:1")
    error = await refused(make_hub(image="remote:1", pull_policy="skip"))
    assert "it is no longer on the Engine" in message(error)
    assert fake.pulls == []


async def test_prepull(make_hub: MakeHub, fake: FakeEngine) -> None:
    """All images of the list are pulled, but for those that are there."""
    fake.publish("r:1")
    fake.publish("r:2")
    hub = make_hub(allowed_images={"lab": IMAGE, "r": "r:1", "s": "r:2"}, prepull=True)
    spawner = hub.spawner()
    await spawner.prepull_all(runtime_of(spawner))
    assert {reference for reference, _ in fake.pulls} == {"r:1", "r:2"}


async def test_environment_by_async_callables(hub: Hub, fake: FakeEngine) -> None:
    """They are awaited, each once, and None leaves a variable out."""
    calls: list[str] = []

    async def later(spawner: Any) -> str | None:
        calls.append(spawner.name)
        return None if len(calls) > 1 else "text"

    hub.config = {"environment": {"A": later, "B": later, "C": lambda spawner: None}}
    await hub.spawn("exp-1")
    env = env_of(fake)
    assert (env["A"], "B" in env, "C" in env, calls) == ("text", False, False, ["exp-1"] * 2)
