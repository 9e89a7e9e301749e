"""One server's life as JupyterHub drives it: from the request to start it to its deletion."""

from __future__ import annotations

import asyncio
import io
import logging
import ssl
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from certipy import Certipy
from fake_engine import Behaviour, FakeEngine, RemoteImage
from jupyterhub import orm
from stage import (
    CREATE,
    IMAGE,
    INSPECT,
    KILL,
    LOGS,
    REMOVE,
    START,
    STOP,
    VOLUME_CREATE,
    VOLUME_REMOVE,
    eventually,
    late,
    reached,
    running,
)
from stub_hub import Hub, of_server, runtime
from tornado import web
from traitlets.config import Config

from dockernamed import DockerNamedSpawner, debut, handover, naming, refusals
from dockernamed import spawner as spawner_module
from dockernamed.debut import Debut
from dockernamed.runtime import Runtime

MakeHub = Callable[..., Hub]
Strike = Callable[[DockerNamedSpawner], None]


async def refused(hub: Hub, server: str = "exp-1", options: Any = None) -> web.HTTPError:
    """What a start is refused with; nothing is left of it, neither at the Hub."""
    with pytest.raises(web.HTTPError) as caught:
        await hub.spawn(server, options=options)
    error: Any = caught.value
    assert error.jupyterhub_message
    assert not hub.spawner(server).active
    return caught.value


def message(error: Any) -> str:
    """As users see it."""
    return str(error.jupyterhub_message)


def env_of(fake: FakeEngine, server: str = "exp-1") -> dict[str, str]:
    """The environment of a server's container."""
    (container,) = of_server(fake, server)
    pairs = (entry.partition("=") for entry in container.config["Env"])
    return {name: value for name, _, value in pairs}


# --- identity ----------------------------------------------------------------------------------


async def test_oauth_clients_are_never_shared(hub: Hub) -> None:
    """JupyterHub's own id is one for ('a', 'b-c') and ('a-b', 'c'): the second spawn would die."""
    pairs = [("a", "b-c"), ("a-b", "c"), ("a", ""), ("a-b-c", ""), ("a!b", "c"), ("a", "b!c"),
             ("a%21b", "c")]  # fmt: skip
    ids = {hub.spawner(server, user).oauth_client_id for user, server in pairs}
    assert len(ids) == len(pairs)
    assert all(id.startswith("jupyterhub-user-") for id in ids)


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
    assert len(runtime().watcher) == 2


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
    text = "\n".join(event["message"] for event in events)
    for word in ("Looking for image remote:1", "Pulling remote:1", "Creating the container"):
        assert word in text


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
    await spawner._find_hub(runtime(), "lab-net")
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
    await spawner._find_hub(spawner._runtime(), "host")
    assert spawner.hub_connect_url is None
    hub.info.ip = "0.0.0.0"
    await spawner._find_hub(spawner._runtime(), "host")
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
    await spawner._find_hub(spawner._runtime(), "bridge")
    assert spawner.hub_connect_url is None


# --- images ------------------------------------------------------------------------------------


async def test_an_image_that_is_missing(make_hub: MakeHub) -> None:
    """By policy or because nobody has it: which image, and why, and nothing is made."""
    error = await refused(make_hub(image="nobody/has-it", pull_policy="never"))
    assert "pull_policy = 'never'" in message(error)
    error = await refused(make_hub(image="nobody/has-it"))
    assert "pull access denied" in message(error)


async def test_an_image_that_goes_between_look_and_create(hub: Hub, fake: FakeEngine) -> None:
    """The Engine's own words, and the new volume is taken back."""
    fake.fault(404, *CREATE, message=f"No such image: {IMAGE}")
    error = await refused(hub)
    assert f"No such image: {IMAGE}" in message(error)
    assert fake.volumes == {}


async def test_skip_does_not_pull(make_hub: MakeHub, fake: FakeEngine) -> None:
    """pull_policy = "skip" and an unknown image: the Engine may know how to get it."""
    fake.publish("remote:1")
    error = await refused(make_hub(image="remote:1", pull_policy="skip"))
    assert "No such image" in message(error)
    assert fake.pulls == []


async def test_prepull(make_hub: MakeHub, fake: FakeEngine) -> None:
    """All images of the list are pulled, but for those that are there."""
    fake.publish("r:1")
    fake.publish("r:2")
    hub = make_hub(allowed_images={"lab": IMAGE, "r": "r:1", "s": "r:2"})
    spawner = hub.spawner()
    await spawner.prepull_all(spawner._runtime())
    assert {reference for reference, _ in fake.pulls} == {"r:1", "r:2"}


# --- starts that fail --------------------------------------------------------------------------


@pytest.fixture
def strike(monkeypatch: pytest.MonkeyPatch) -> Callable[[DockerNamedSpawner], None]:
    """Does to a start() under way what JupyterHub does when its time is up."""
    begin, under_way = DockerNamedSpawner.start, {}

    async def start(self: DockerNamedSpawner) -> str:
        task = under_way[self] = asyncio.ensure_future(begin(self))
        try:
            return await task
        except asyncio.CancelledError:
            raise asyncio.TimeoutError from None

    monkeypatch.setattr(DockerNamedSpawner, "start", start)
    return lambda spawner: under_way[spawner].cancel()


async def test_death_at_start(hub: Hub, fake: FakeEngine) -> None:
    """At once, with exit code and the last lines, in words for who asked; secrets kept out."""
    fake.behave(Behaviour(exit_code=3, log="hello\nno module named jupyterhub\n"))
    error = await refused(hub)
    assert "exit code 3" in message(error)
    assert "no module named jupyterhub" in message(error)
    assert (fake.containers, fake.volumes) == ([], {})


async def test_death_for_want_of_memory(hub: Hub, fake: FakeEngine) -> None:
    """The kernel's kill is called by its name."""
    fake.behave(Behaviour(exit_code=137, oom=True))
    assert "out of memory" in message(await refused(hub))


async def test_secrets_in_a_log(hub: Hub, fake: FakeEngine) -> None:
    """A server that prints its environment and dies does not show its token to the page."""
    fake.behave(Behaviour(serve="refuse"))
    starting = hub.spawning("exp-1")
    await eventually(lambda: running(fake))
    token = env_of(fake)["JUPYTERHUB_API_TOKEN"]
    fake.die(running(fake)[0].id, 1, log=f"JUPYTERHUB_API_TOKEN={token}\n")
    with pytest.raises(web.HTTPError) as caught:
        await starting
    assert token not in message(caught.value)
    assert "[hidden]" in message(caught.value)


async def test_death_before_the_first_answer(hub: Hub, fake: FakeEngine) -> None:
    """The container's end is heard of while the server is asked: nobody waits for a timeout."""
    fake.behave(Behaviour(serve="silent"))
    starting = hub.spawning("exp-1")
    await eventually(lambda: running(fake))
    fake.die(running(fake)[0].id, 5)
    with pytest.raises(web.HTTPError) as caught:
        await starting
    assert "exit code 5" in message(caught.value)


async def test_removed_while_it_starts(hub: Hub, fake: FakeEngine) -> None:
    """By somebody else's hand: that is what the error says."""
    stalled = fake.fault("stall", *INSPECT)
    starting = hub.spawning("exp-1")
    await reached(stalled)
    fake.remove(fake.containers[0].id)
    stalled.release()
    with pytest.raises(web.HTTPError) as caught:
        await starting
    assert "removed by somebody else" in message(caught.value)


async def test_keep_failed(make_hub: MakeHub, fake: FakeEngine) -> None:
    """The container stays for ``docker logs``, and the next start replaces it."""
    hub = make_hub(keep_failed=True)
    fake.behave(Behaviour(exit_code=3))
    await refused(hub)
    (failed,) = of_server(fake, "exp-1")
    fake.behave(Behaviour())
    await hub.spawn("exp-1")
    (container,) = of_server(fake, "exp-1")
    assert container.id != failed.id


async def test_a_server_that_never_answers(
    hub: Hub, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time is up: the URL that was asked, the time it had, and its last lines."""
    fake.behave(Behaviour(serve="refuse", log="listening on the wrong port\n"))
    monkeypatch.setattr(Debut, "_time_left", lambda debut: 0.0)
    error = await refused(hub)
    assert "start_timeout = 60 seconds" in message(error)
    assert "/user/ann/exp-1/api" in message(error)
    assert "listening on the wrong port" in message(error)
    assert (fake.containers, fake.volumes) == ([], {})


async def test_a_server_that_never_answers_and_an_engine_that_is_slow(
    hub: Hub, fake: FakeEngine, strike: Strike, monkeypatch: pytest.MonkeyPatch
) -> None:
    """JupyterHub cancels while the last lines are still asked for: the reason is told anyway."""
    fake.behave(Behaviour(serve="refuse"))
    monkeypatch.setattr(Debut, "_time_left", lambda debut: 0.0)
    stalled = fake.fault("stall", *LOGS)
    starting = hub.spawning("exp-1")
    await reached(stalled)
    strike(hub.spawner("exp-1"))
    with pytest.raises(web.HTTPError) as caught:
        await starting
    assert "start_timeout" in message(caught.value)


@pytest.mark.parametrize("kind", ["stall", "stall after"])
@pytest.mark.parametrize("call", [VOLUME_CREATE, CREATE, START, INSPECT], ids=lambda call: call[1])
@pytest.mark.parametrize("older", [False, True])
async def test_cancelled_at_every_call(
    hub: Hub, fake: FakeEngine, strike: Strike, kind: str, call: tuple[str, str], older: bool
) -> None:
    """start_timeout strikes at any await, before or after the Engine's work: nothing is left.

    A volume that the server had before is not touched.
    """
    if older:
        await hub.spawn("exp-1")
        await hub.stop("exp-1")
    volumes = set(fake.volumes)
    stalled = fake.fault(kind, *call)
    starting = hub.spawning("exp-1")
    await reached(stalled)
    strike(hub.spawner("exp-1"))
    await asyncio.sleep(0)
    stalled.release()
    with pytest.raises(asyncio.TimeoutError):
        await starting
    assert (fake.containers, set(fake.volumes)) == ([], volumes)
    await hub.spawn("exp-1")
    assert len(running(fake)) == 1


async def test_cancelled_while_nobody_answers(hub: Hub, fake: FakeEngine, strike: Strike) -> None:
    """Between two tries of the readiness probe."""
    fake.behave(Behaviour(serve="refuse"))
    starting = hub.spawning("exp-1")
    await eventually(lambda: fake.count(*INSPECT) == 1 and running(fake))
    strike(hub.spawner("exp-1"))
    with pytest.raises(asyncio.TimeoutError):
        await starting
    assert (fake.containers, fake.volumes) == ([], {})


async def test_a_command_that_cannot_run(hub: Hub, fake: FakeEngine) -> None:
    """The Engine's 400 at start: its words reach the user, container and volume go."""
    fake.fault(400, *START, message='exec: "nonsense": executable file not found in $PATH')
    error = await refused(hub)
    assert "executable file not found" in message(error)
    assert (fake.containers, fake.volumes) == ([], {})


async def test_stop_without_an_engine(hub: Hub, fake: FakeEngine) -> None:
    """A start that came to nothing because there is no Engine has nothing to stop."""
    fake.down()
    await refused(hub)
    spawner = hub.spawner("exp-1")
    assert await spawner.poll() == 0
    await spawner.stop()


async def test_no_engine(hub: Hub, fake: FakeEngine) -> None:
    """503 at once, and the Hub is not kept waiting by the cleaning up of what never was."""
    fake.down()
    error = await refused(hub)
    assert error.status_code == 503
    fake.up()
    await hub.spawn("exp-1")


async def test_a_strangers_names(hub: Hub, fake: FakeEngine) -> None:
    """409 that says whose the name is."""
    spawner = hub.spawner("exp-1")
    engine = spawner._runtime().engine
    for name in spawner._wish().names():
        await engine.create_container(name, {"Image": IMAGE})
    error = await refused(hub)
    assert error.status_code == 409
    assert "somebody else" in message(error)
    assert len(fake.containers) == 2


async def test_another_hubs_volume(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Two Hubs with one prefix and a template of their own meet: refused, with the line to set."""
    template = "files-{user_server}"
    first = make_hub(hub_id="physics", server_volume=template)
    await first.spawn("exp-1")
    error = await refused(make_hub(hub_id="maths", server_volume=template))
    assert error.status_code == 409
    assert "hub_id = 'physics'" in message(error)
    assert len(fake.containers) == len(fake.volumes) == 1


# --- while it runs -----------------------------------------------------------------------------


class Told:
    """The Hub's callback for a server that ended by itself."""

    def __init__(self, spawner: DockerNamedSpawner) -> None:
        self._spawner = spawner
        self.status: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        spawner.add_poll_callback(self._call)

    async def _call(self) -> None:
        self.status.set_result(await self._spawner.poll())

    async def exit_code(self) -> int | None:
        """Wait for the call."""
        return await asyncio.wait_for(self.status, 20)  # less than poll_interval


@pytest.mark.parametrize("code", [0, 7])
async def test_death_is_told_at_once(hub: Hub, fake: FakeEngine, code: int) -> None:
    """Not at the next poll; the exit code is the container's, and the container goes."""
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    fake.die(of_server(fake, "exp-1")[0].id, code)
    assert await told.exit_code() == code
    await hub.stop("exp-1")
    assert fake.containers == []
    assert len(fake.volumes) == 1


async def test_death_before_the_hub_listens(hub: Hub, fake: FakeEngine) -> None:
    """Its callbacks are asked once only: so long as there are none, the next poll tells."""
    spawner = await hub.spawn("exp-1")
    fake.die(of_server(fake, "exp-1")[0].id, 7)
    await asyncio.wait_for(runtime().watcher.wait_dead(spawner.object_id), 30)
    assert await spawner.poll() == 7


@pytest.mark.parametrize("how", ["died", "removed"])
async def test_death_while_the_engine_was_away(hub: Hub, fake: FakeEngine, how: str) -> None:
    """What the new list brings to light is told at once, like any death."""
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    container_id = spawner.object_id
    fake.down()
    await eventually(lambda: not runtime().watcher.connected)
    assert await spawner.poll() is None
    if how == "died":
        fake.die(container_id, 7)
    else:
        fake.remove(container_id)
    fake.up()
    assert await told.exit_code() == (7 if how == "died" else 0)


async def test_poll_without_an_engine(hub: Hub, fake: FakeEngine) -> None:
    """An Engine that does not answer says nothing about the server: it counts as running."""
    spawner = await hub.spawn("exp-1")
    fake.down()
    await eventually(lambda: not runtime().watcher.connected)
    assert await spawner.poll() is None
    fake.up()
    await asyncio.wait_for(runtime().watcher.in_sync(), 30)
    assert await spawner.poll() is None


async def test_poll_of_nothing(hub: Hub) -> None:
    """A server that was never started is not running."""
    assert await hub.spawner("exp-1").poll() == 0


async def test_poll_of_an_unknown_container(hub: Hub, fake: FakeEngine) -> None:
    """State from a backup: the container is gone, and no other of the server runs."""
    spawner = hub.spawner("exp-1")
    spawner.load_state({"object_id": "f" * 64})
    assert await spawner.poll() == 0
    fake.down()
    await eventually(lambda: not runtime().watcher.connected)
    assert await spawner.poll() is None


async def test_get_url_asks_anew(hub: Hub, fake: FakeEngine) -> None:
    """Without an answer the Hub keeps the URL that it had: its own start must not fail by that."""
    spawner = await hub.spawn("exp-1")
    url = spawner.server.url
    assert url.startswith(await spawner.get_url())
    fake.fault(500, *INSPECT)
    assert await spawner.get_url() == url
    fake.die(spawner.object_id)
    assert await spawner.get_url() == url


class Proxy:
    """Notes the routes that it is given."""

    def __init__(self) -> None:
        self.routes: list[tuple[str, str, int]] = []

    async def add_user(self, user: Any, server: str) -> None:
        """As of JupyterHub's proxies."""
        self.routes.append((user.name, server, user.spawners[server].server.port))


@pytest.mark.parametrize("with_proxy", [True, False])
async def test_docker_restart(hub: Hub, fake: FakeEngine, with_proxy: bool) -> None:
    """The published port is a new one: Hub and proxy are led there, and the server lives on."""
    proxy = Proxy()
    hub.extra["proxy"] = proxy if with_proxy else None
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    old = spawner.server.port
    engine = runtime().engine
    await engine.stop_container(spawner.object_id, 1)
    await engine.start_container(spawner.object_id)
    await eventually(lambda: spawner.server.port != old)
    assert (await spawner.get_url()).endswith(f":{spawner.server.port}")
    await eventually(lambda: not with_proxy or proxy.routes)
    assert proxy.routes == ([("ann", "exp-1", spawner.server.port)] if with_proxy else [])
    assert await spawner.poll() is None
    assert not told.status.done()


async def test_restart_unseen(hub: Hub, fake: FakeEngine) -> None:
    """The Engine was away and the container has another port since: the next poll finds out."""
    spawner = await hub.spawn("exp-1")
    (container,) = running(fake)
    fake.down()
    await eventually(lambda: not runtime().watcher.connected)
    container.ports = {"8888/tcp": 7}
    fake.up()
    await asyncio.wait_for(runtime().watcher.in_sync(), 30)
    assert await spawner.poll() is None
    assert spawner.server.port == 7


async def test_a_lost_stream_costs_no_question(hub: Hub, fake: FakeEngine) -> None:
    """However many servers there are: the list tells where they are, once it knows them."""
    spawners = [await hub.spawn(f"exp-{number}") for number in range(3)]
    asked = []
    for _ in range(2):
        losses = runtime().watcher.losses
        fake.lose_streams()
        await eventually(lambda losses=losses: runtime().watcher.losses > losses)
        await asyncio.wait_for(runtime().watcher.in_sync(), 30)
        before = fake.count(*INSPECT)
        assert [await spawner.poll() for spawner in spawners] == [None] * 3
        asked.append(fake.count(*INSPECT) - before)
    assert asked == [3, 0]


async def test_restarted_and_cannot_be_asked(hub: Hub, fake: FakeEngine, caplog: Any) -> None:
    """The Hub keeps the URL that it has, and the log says why."""
    spawner = await hub.spawn("exp-1")
    url = spawner.server.url
    fake.fault(500, *INSPECT)
    await spawner._moved()
    assert "Could not find out where ann:exp-1 is now" in caplog.text
    assert spawner.server.url == url


async def test_moved_nowhere(hub: Hub) -> None:
    """A server that is just being stopped has no place to be led to."""
    spawner = await hub.spawn("exp-1")
    server, spawner.server = spawner.server, None
    await spawner._moved()
    spawner.server = server


# --- the end -----------------------------------------------------------------------------------


async def test_stop(hub: Hub, fake: FakeEngine) -> None:
    """The container goes, the volume stays, and the next start finds the files again."""
    await hub.spawn("exp-1")
    (volume,) = fake.volumes
    await hub.stop("exp-1")
    assert (fake.containers, list(fake.volumes)) == ([], [volume])
    assert fake.count(*STOP) == 1
    await hub.spawn("exp-1")
    assert of_server(fake, "exp-1")[0].volumes() == {volume}
    assert list(fake.volumes) == [volume]


async def test_stop_now(hub: Hub, fake: FakeEngine) -> None:
    """No grace: a kill."""
    spawner = await hub.spawn("exp-1")
    await spawner.stop(now=True)
    assert (fake.count(*KILL), fake.count(*STOP)) == (1, 0)
    assert await spawner.poll() == 0


async def test_stop_is_no_death(hub: Hub, fake: FakeEngine) -> None:
    """The Hub's callbacks are for servers that end by themselves."""
    spawner = await hub.spawn("exp-1")
    told = Told(spawner)
    await hub.stop("exp-1")
    assert fake.containers == []
    assert not told.status.done()


async def test_kept_container(make_hub: MakeHub, fake: FakeEngine) -> None:
    """With ``remove = False``: the same container again, and a new token in it.

    That of the run before was revoked when it ended, and stays so.
    """
    hub = make_hub(remove=False)
    await hub.spawn("exp-1")
    (container,) = fake.containers
    before = env_of(fake)["JUPYTERHUB_API_TOKEN"]
    assert container.archives is None
    await hub.stop("exp-1")
    assert not container.running
    spawner = await hub.spawn("exp-1")
    assert [one.id for one in running(fake)] == [container.id]
    ((path, data),) = container.archives
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        (entry,) = archive
        text = archive.extractfile(entry).read().decode()  # type: ignore[union-attr]
    assert f"{path}{entry.name}" == handover.ENV_FILE
    assert f"export JUPYTERHUB_API_TOKEN={spawner.api_token}\n" in text
    assert orm.APIToken.find(hub.db, spawner.api_token).user is hub.user().orm_user
    assert orm.APIToken.find(hub.db, before) is None


@pytest.mark.parametrize(
    ("settings", "image_env"),
    [
        ({"extra_host_config": {"read_only": True}}, []),
        ({"environment": {"a.b": "x"}}, []),
        ({}, ["a.b=x"]),
    ],
    ids=["read-only", "variable", "variable of the image"],
)
async def test_container_that_cannot_take_a_token(
    make_hub: MakeHub, fake: FakeEngine, settings: dict[str, Any], image_env: list[str]
) -> None:
    """It runs as its image says, and the next start replaces it."""
    fake.add_image(IMAGE, {"Env": image_env})
    hub = make_hub(remove=False, **settings)
    await hub.spawn("exp-1")
    (first,) = fake.containers
    assert "Entrypoint" not in first.config
    await hub.stop("exp-1")
    await hub.spawn("exp-1")
    (second,) = fake.containers
    assert second.id != first.id


async def test_stop_failing_does_not_lose_the_volume(hub: Hub, fake: FakeEngine) -> None:
    """The Hub forgets a server whose stop failed; its next start sets things right."""
    await hub.spawn("exp-1")
    (volume,) = fake.volumes
    refusal = fake.fault(400, *STOP, times=1000)
    with pytest.raises(Exception, match="cannot stop"):
        await hub.stop("exp-1")
    refusal.times = 0
    await hub.spawn("exp-1")
    (container,) = fake.containers
    assert container.running
    assert container.volumes() == {volume}


# --- deletion and renaming ---------------------------------------------------------------------


async def test_delete(hub: Hub, fake: FakeEngine) -> None:
    """Container and own volume go; another server's stay."""
    for server in ("exp-1", "exp-2"):
        await hub.spawn(server)
    await hub.stop("exp-1")
    await hub.delete("exp-1")
    assert [one.labels[naming.LABEL_SERVER] for one in fake.containers] == ["exp-2"]
    assert len(fake.volumes) == 1


async def test_delete_after_a_restart_without_state(make_hub: MakeHub, fake: FakeEngine) -> None:
    """What belongs to the server is known by its labels, not only from the Hub's memory."""
    hub = make_hub(remove=False, volumes={"home-{username}": "/home"})
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    hub.user().orm_spawners["exp-1"].state = {}
    hub.db.commit()
    await hub.restart()
    await hub.delete("exp-1")
    assert (fake.containers, list(fake.volumes)) == ([], ["home-ann"])


async def test_delete_keeps_what_is_not_this_servers_alone(
    make_hub: MakeHub, fake: FakeEngine
) -> None:
    """A user's volume, all users' volume, one that somebody made by hand, another Hub's."""
    hub = make_hub(
        volumes={"home-{username}": "/home", "shared": "/shared", "byhand-{user_server}": "/hand"}
    )
    spawner = hub.spawner("exp-1")
    engine = spawner._runtime().engine
    by_hand = naming.expand("byhand-{user_server}", spawner.template_namespace(), field="volumes")
    await engine.create_volume(by_hand)
    await engine.create_volume("foreign", labels=naming.labels(naming.Key("x", "ann", "exp-1")))
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    assert len(fake.volumes) == 5
    await hub.delete("exp-1")
    assert set(fake.volumes) == {"home-ann", "shared", by_hand, "foreign"}


async def test_delete_volumes_may_be_forbidden(make_hub: MakeHub, fake: FakeEngine) -> None:
    """delete_volumes = False: the container goes, the files stay."""
    hub = make_hub(delete_volumes=False, remove=False)
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    await hub.delete("exp-1")
    assert (fake.containers, len(fake.volumes)) == ([], 1)


async def test_delete_while_the_engine_stumbles(hub: Hub, fake: FakeEngine) -> None:
    """JupyterHub deletes once and never again: what may pass is tried again."""
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    fake.fault(500, *VOLUME_REMOVE, times=2)
    await hub.delete("exp-1")
    assert fake.volumes == {}


async def test_rename(make_hub: MakeHub, fake: FakeEngine) -> None:
    """The files follow the server under its new name; a new server of the old name gets others."""
    hub = make_hub(remove=False)
    await hub.spawn("exp-1")
    (volume,) = fake.volumes
    await hub.stop("exp-1")
    await hub.rename("exp-1", "keep")
    assert fake.containers == [], "its labels could not follow"
    await hub.spawn("keep")
    (container,) = of_server(fake, "keep")
    assert container.volumes() == {volume}
    assert container.name == "jupyter-ann--keep"
    await hub.spawn("exp-1")
    assert of_server(fake, "exp-1")[0].volumes().isdisjoint({volume})
    assert len(fake.volumes) == 2


async def test_delete_after_renames(hub: Hub, fake: FakeEngine) -> None:
    """Neither does a new server's deletion take the renamed one's files, nor do its own stay."""
    await hub.spawn("exp-1")
    (volume,) = fake.volumes
    await hub.stop("exp-1")
    await hub.rename("exp-1", "keep")
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    await hub.delete("exp-1")
    assert list(fake.volumes) == [volume]
    await hub.delete("keep")
    assert fake.volumes == {}


async def test_rename_that_cannot_be(make_hub: MakeHub, fake: FakeEngine) -> None:
    """The kept container cannot be removed: the rename is refused with the Engine's reason."""
    hub = make_hub(remove=False)
    await hub.spawn("exp-1")
    await hub.stop("exp-1")
    fake.fault(400, *REMOVE, message="it is nailed down")
    with pytest.raises(web.HTTPError) as caught:
        await hub.rename("exp-1", "keep")
    assert "nailed down" in message(caught.value)
    assert "exp-1" in hub.user().orm_spawners


async def test_changed_templates_keep_the_files(
    make_hub: MakeHub, fake: FakeEngine, caplog: Any
) -> None:
    """Another prefix would give another name: the remembered one wins, and the log says so."""
    caplog.set_level(logging.INFO, "traitlets")
    hub = make_hub()
    await hub.spawn("exp-1")
    (volume,) = fake.volumes
    await hub.stop("exp-1")
    await hub.restart(prefix="west")
    await hub.spawn("exp-1")
    (container,) = of_server(fake, "exp-1")
    assert container.volumes() == {volume}
    assert container.name.startswith("west-")
    assert f"keeping volume {volume!r}" in caplog.text


# --- the Hub restarts --------------------------------------------------------------------------


async def test_hub_restart(hub: Hub, fake: FakeEngine) -> None:
    """A running server is found again by its id, watched, and stopped as ever."""
    await hub.spawn("exp-1")
    await hub.restart()
    spawner = hub.spawner("exp-1")
    assert await spawner.poll() is None
    assert spawner.server.url.startswith(await spawner.get_url())
    told = Told(spawner)
    fake.die(spawner.object_id, 9)
    assert await told.exit_code() == 9


async def test_hub_restart_without_an_engine(hub: Hub, fake: FakeEngine) -> None:
    """The Hub waits for the Engine, and calls no server dead because it cannot be asked."""
    await hub.spawn("exp-1")
    await hub.restart()
    fake.down()
    polling = asyncio.ensure_future(hub.spawner("exp-1").poll())
    await eventually(lambda: not polling.done())
    fake.up()
    assert await asyncio.wait_for(polling, 30) is None


async def killed(hub: Hub) -> None:
    """Kill -9 of the Hub, in the middle of whatever it does: nothing is undone."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    # Its hands are tied first; then it may end as it likes.
    await hub.restart()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    hub.db.rollback()
    await hub.restart()


@pytest.mark.parametrize("call", [VOLUME_CREATE, CREATE, START, INSPECT], ids=lambda call: call[1])
async def test_hub_killed_in_a_start(hub: Hub, fake: FakeEngine, call: tuple[str, str]) -> None:
    """Afterwards the server runs and is known, or is gone and can be started: one, not two."""
    stalled = late(fake, *call)
    hub.spawning("exp-1")
    await reached(stalled)
    await killed(hub)
    stalled.release()
    await eventually(lambda: fake.count(*call) and stalled._work and stalled._work.done())
    found = [one.id for one in running(fake)]
    spawner = hub.spawner("exp-1")
    assert (await spawner.poll() is None) is bool(found)
    if found:
        assert [spawner.object_id] == found, "found by its labels alone"
        await hub.stop("exp-1")
        assert fake.containers == []
    await hub.spawn("exp-1")
    assert len(running(fake)) == len(fake.containers) == 1
    assert len(fake.volumes) == 1


@pytest.mark.parametrize("call", [STOP, REMOVE], ids=lambda call: call[0])
async def test_hub_killed_in_a_stop(hub: Hub, fake: FakeEngine, call: tuple[str, str]) -> None:
    """The same for a stop; the volume is there whatever happens."""
    await hub.spawn("exp-1")
    stalled = late(fake, *call)
    stopping = asyncio.ensure_future(hub.stop("exp-1"))
    await reached(stalled)
    await killed(hub)
    assert stopping.done()
    stalled.release()
    await eventually(lambda: not running(fake))
    await eventually(lambda: stalled._work and stalled._work.done())
    spawner = hub.spawner("exp-1")
    assert await spawner.poll() is not None
    await hub.spawn("exp-1")
    assert len(running(fake)) == len(fake.containers) == 1
    assert len(fake.volumes) == 1


# --- internal TLS ------------------------------------------------------------------------------


async def test_certificates(
    make_hub: MakeHub, fake: FakeEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made out to the container's name too, and in the container before it runs.

    JupyterHub writes them to one file for all servers of a user: each server gets its own all the
    same, whoever comes in between.
    """
    certipy = Certipy(store_dir=str(tmp_path))
    bundles = certipy.trust_from_graph({"hub-ca": ["notebooks-ca"], "notebooks-ca": ["hub-ca"]})
    files = certipy.create_signed_pair("hub", "hub-ca")["files"]
    asked = []

    async def answers(url: str, context: ssl.SSLContext | None) -> None:
        asked.append((url, context))

    monkeypatch.setattr(debut, "answers", answers)
    hub = make_hub()
    hub.extra = {
        "internal_ssl": True,
        "internal_certs_location": str(tmp_path),
        "internal_trust_bundles": bundles,
        "internal_ssl_key": files["key"],
        "internal_ssl_cert": files["cert"],
        "internal_ssl_ca": bundles["hub-ca"],
    }
    found = {}
    for server in ("exp-1", "exp-2"):
        spawner = hub.spawner(server)
        spawner.orm_spawner.server = orm.Server(base_url=f"/user/ann/{server}/")
        hub.db.commit()
        spawner.cert_paths = await spawner.move_certs(await spawner.create_certs())
        found[server] = spawner
    for server, spawner in found.items():
        url = await spawner.start()
        assert url.startswith("https://127.0.0.1:")
        (container,) = of_server(fake, server)
        assert container.archives is not None
        ((path, data),) = container.archives
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            names = {f"/{entry.name}" for entry in archive}
            certificate = archive.extractfile("etc/dockernamed-certs/certfile")
            assert certificate is not None
            (tmp_path / "one.crt").write_bytes(certificate.read())
        assert path == "/"
        env = env_of(fake, server)
        assert names == {
            env[f"JUPYTERHUB_SSL_{kind}"] for kind in ("KEYFILE", "CERTFILE", "CLIENT_CA")
        }
        decoded: Any = ssl._ssl._test_decode_cert(str(tmp_path / "one.crt"))  # type: ignore[attr-defined]
        assert ("DNS", container.name) in decoded["subjectAltName"]
    assert [url.startswith("https://") for url, _ in asked] == [True, True]
    assert all(isinstance(context, ssl.SSLContext) for _, context in asked)


async def test_the_admins_own_alt_names(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A callable ssl_alt_names decides alone."""
    spawner = hub.spawner("exp-1")
    spawner.ssl_alt_names = lambda spawner: ["DNS:mine"]

    async def create(self: Any) -> Any:
        return self.ssl_alt_names(self)

    monkeypatch.setattr(spawner_module.Spawner, "create_certs", create)
    assert await spawner.create_certs() == ["DNS:mine"]


# --- errors ------------------------------------------------------------------------------------


async def test_errors_of_older_hubs(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """JupyterHub 5 has no SpawnException: a plain HTTPError says the same."""
    monkeypatch.delattr(refusals.spawner, "SpawnException", raising=False)
    hub.info.ip = "127.0.0.1"
    error = await refused(hub)
    assert type(error) is web.HTTPError
    assert error.status_code == 500
    assert "hub_ip" in message(error)
