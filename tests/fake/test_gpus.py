"""GPUs of one's own: given once, whatever happens, and found again whoever was restarted."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.driving import MakeHub, env_of, message, refused
from support.engine.watching import eventually
from support.fake_engine import Behaviour, FakeEngine
from support.stage import IMAGE, START, late, reached
from support.stub_hub import Hub, of_server
from tornado import web

from dockernamed.naming import LABEL_GPUS

NVIDIA = {"Driver": "nvidia", "Capabilities": [["gpu"]]}


def gpus_of(fake: FakeEngine, server: str, user: str = "ann") -> list[str]:
    """The ids in the request for a server's container."""
    (container,) = of_server(fake, server, user)
    requests = container.host_config.get("DeviceRequests", [])
    return [id for request in requests for id in request["DeviceIDs"]]


async def none_left(hub: Hub, server: str, user: str = "ann") -> str:
    """What is told a user for whom there is no GPU."""
    with pytest.raises(web.HTTPError) as caught:
        await hub.spawn(server, user)
    error: Any = caught.value
    assert (error.status_code, "Retry-After" in error.headers) == (429, True)
    return message(error)


async def test_each_server_has_its_own(
    make_hub: MakeHub, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """None left: users learn what they have themselves, the log who has the others."""
    hub = make_hub(gpus=1, gpu_devices=["0", "GPU-4a"])
    await hub.spawn("a")
    await hub.spawn("a", "bob")
    (container,) = of_server(fake, "a")
    assert container.host_config["DeviceRequests"] == [{**NVIDIA, "DeviceIDs": ["0"]}]
    assert container.labels[LABEL_GPUS] == "0"
    assert gpus_of(fake, "a", "bob") == ["GPU-4a"]
    told = await none_left(hub, "b")
    assert "all GPUs are in use (of your servers: 'a' 1)" in told
    assert "bob" not in told
    assert "GPU GPU-4a: server 'a' of user 'bob'" in caplog.text
    assert "none by your servers" in await none_left(hub, "a", "eve")
    await hub.stop("a", "bob")
    await hub.spawn("b")
    assert gpus_of(fake, "b") == ["GPU-4a"]


async def test_many_at_once(make_hub: MakeHub, fake: FakeEngine) -> None:
    """As many servers as there are GPUs, each with another one."""
    hub = make_hub(gpus=1, gpu_devices=["0", "1", "2"])
    tasks = [hub.spawning(f"s{number}") for number in range(6)]
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(getattr(one, "status_code", 200) for one in done) == [200] * 3 + [429] * 3
    given = [
        id
        for one in fake.containers
        for request in one.host_config["DeviceRequests"]
        for id in request["DeviceIDs"]
    ]
    assert sorted(given) == ["0", "1", "2"]


async def test_by_profile_and_by_number(make_hub: MakeHub, fake: FakeEngine) -> None:
    """A profile's own, a number within its bounds, and none for who chose none."""
    number = {"min": 1, "max": 2, "default": 1, "step": 1, "spawner_override": {"gpus": "{value}"}}
    hub = make_hub(
        gpu_devices=["0", "1", "2", "3"],
        profile_list=[
            {"slug": "cpu", "display_name": "CPU"},
            {"slug": "gpu", "display_name": "GPU", "spawner_override": {"gpus": 1}},
            {"slug": "more", "display_name": "More",
             "profile_options": {"n": {"display_name": "GPUs", "number": number}}},
        ],
    )  # fmt: skip
    for server, options in (
        ("cpu", {"profile": "cpu"}),
        ("gpu", {"profile": "gpu"}),
        ("more", {"profile": "more", "n": 2}),
    ):
        await hub.spawn(server, options=options)
    assert [gpus_of(fake, server) for server in ("cpu", "gpu", "more")] == [[], ["0"], ["1", "2"]]
    # What an image asks for is not given past the list.
    assert env_of(fake, "cpu")["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert "NVIDIA_VISIBLE_DEVICES" not in env_of(fake, "gpu")
    error = await refused(hub, "three", {"profile": "more", "n": 3})
    assert error.status_code == 400


async def test_names_of_the_container_device_interface(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Where the Engine has them they are asked for, and without a list they are the list."""
    fake.have_devices("nvidia.com/gpu=0", "nvidia.com/gpu=1", "nvidia.com/gpu=all")
    hub = make_hub(gpus=2)
    await hub.spawn("a")
    (container,) = of_server(fake, "a")
    names = ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]
    assert container.host_config["DeviceRequests"] == [{"Driver": "cdi", "DeviceIDs": names}]
    assert container.labels[LABEL_GPUS] == "0,1"
    assert "all GPUs are in use" in await none_left(hub, "b")


@pytest.mark.parametrize("engine", ["stays", "restarts"])
async def test_found_again_after_a_restart_of_the_hub(
    engine: str, make_hub: MakeHub, fake: FakeEngine
) -> None:
    """From the Hub's database, and from the containers, each of which would do."""
    hub = make_hub(gpus=1, gpu_devices=["0", "1"])
    await hub.spawn("a", "bob")
    if engine == "restarts":
        row = hub.spawner("a", "bob").orm_spawner
        row.state = {key: value for key, value in row.state.items() if key != "promise"}
        hub.db.commit()
    await hub.restart()
    await hub.spawn("b")
    assert gpus_of(fake, "b") == ["1"]


async def test_a_hub_that_is_killed_in_a_start(make_hub: MakeHub, fake: FakeEngine) -> None:
    """The container that it leaves has its GPU."""
    hub = make_hub(gpus=1, gpu_devices=["0"])
    held = late(fake, *START)
    hub.spawning("a", "bob")
    await reached(held)
    await hub.kill()
    held.release()
    await eventually(lambda: held.done)
    assert "none by your servers" in await none_left(hub, "b")


async def test_other_hubs_on_the_engine(
    make_hub: MakeHub, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """What their containers have is taken, by whichever name; what has stopped has nothing."""
    fake.have_devices("nvidia.com/gpu=0", "nvidia.com/gpu=1")
    other = make_hub(gpus=1, hub_id="other", prefix="other", remove=False)
    await other.spawn("a")
    hub = make_hub(gpus=1, gpu_devices=["0"])
    assert "none by your servers" in await none_left(hub, "a")
    assert "container other-ann--a of server 'a' of user 'ann' of the Hub 'other'" in caplog.text
    await other.stop("a")
    await hub.spawn("a")


async def test_a_label_alone_takes_nothing(make_hub: MakeHub, fake: FakeEngine) -> None:
    """An image can have any label: a user's own would take all GPUs from everybody."""
    fake.behave(Behaviour(), image=".*")
    hub = make_hub(
        gpu_devices=["0"],
        profile_list=[
            {"slug": "cpu", "display_name": "CPU",
             "spawner_override": {"extra_create_kwargs": {"labels": {LABEL_GPUS: "0"}}}},
            {"slug": "gpu", "display_name": "GPU", "spawner_override": {"gpus": 1}},
        ],
    )  # fmt: skip
    await hub.spawn("cpu", options={"profile": "cpu"})
    (container,) = of_server(fake, "cpu")
    assert container.labels[LABEL_GPUS] == "0"
    await hub.spawn("gpu", options={"profile": "gpu"})
    assert gpus_of(fake, "gpu") == ["0"]


async def test_kept_containers(
    make_hub: MakeHub, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """Stopped they hold nothing; what they had they get again, or make place for another one."""
    caplog.set_level("INFO")
    hub = make_hub(gpus=1, gpu_devices=["0", "1"], remove=False)
    await hub.spawn("z", "bob")
    before = (await hub.spawn("a")).object_id
    assert gpus_of(fake, "a") == ["1"]
    await hub.stop("a")
    await hub.stop("z", "bob")
    assert (await hub.spawn("a")).object_id == before
    assert gpus_of(fake, "a") == ["1"]
    await hub.stop("a")
    await hub.restart()
    await hub.spawn("x", "bob")
    await hub.spawn("y", "bob")
    await hub.stop("x", "bob")
    assert gpus_of(fake, "y", "bob") == ["1"]
    assert (await hub.spawn("a")).object_id != before
    assert gpus_of(fake, "a") == ["0"]
    assert "not as wanted any more: gpus" in caplog.text
    assert "others have GPUs that it had: 1 (server 'y' of user 'bob')" in caplog.text


async def test_an_engine_without_support(make_hub: MakeHub, fake: FakeEngine) -> None:
    """What to install is told; and the GPU is free for whoever tries it then."""
    hub = make_hub(gpus=1, gpu_devices=["0"])
    for words in (
        'could not select device driver "nvidia" with capabilities: [[gpu]]',
        "CDI device injection failed: unresolvable CDI devices nvidia.com/gpu=0",
    ):
        fake.fault(500, *START, message=words)
        assert "install NVIDIA's container toolkit" in message(await refused(hub))
    await hub.spawn("b")


@pytest.mark.parametrize("status", [403, 404])
async def test_a_proxy_that_does_not_let_the_engine_be_asked(
    status: int, make_hub: MakeHub, fake: FakeEngine
) -> None:
    """A list is enough."""
    fake.fault(status, "GET", "/info", times=99)
    await make_hub(gpus=1, gpu_devices=["0"]).spawn("a")
    assert gpus_of(fake, "a") == ["0"]


@pytest.mark.parametrize("value", [-1, 1.5, True, "1"])
async def test_a_callable_that_gives_no_number(
    value: Any, make_hub: MakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """The admin's mistake is told with what would work, and with the value in the log."""
    error = await refused(make_hub(gpus=lambda spawner: value, gpu_devices=["0"]))
    assert ": use a whole number" in message(error)
    assert f"gpus = {value!r}: use a whole number" in caplog.text


async def test_requests_by_hand(make_hub: MakeHub, caplog: pytest.LogCaptureFixture) -> None:
    """A hook that asks for all GPUs would take those that others have for themselves."""

    def hook(spawner: Any) -> None:
        spawner.extra_host_config = {"device_requests": [{"Count": -1, "Capabilities": [["gpu"]]}]}

    for settings in ({"gpus": 1}, {"gpus": 0}):
        hub = make_hub(gpu_devices=["0"], pre_spawn_hook=hook, **settings)
        caplog.clear()
        assert "extra_host_config" in message(await refused(hub))
        assert "extra_host_config['device_requests']" in caplog.text
    await make_hub(pre_spawn_hook=hook).spawn("by-hand")


async def test_nobody_knows_of_any(make_hub: MakeHub) -> None:
    """Neither the setting nor the Engine."""
    assert "gpu_devices must list them" in message(await refused(make_hub(gpus=1, image=IMAGE)))
