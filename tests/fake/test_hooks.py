"""Hooks and commands around a start, and every way in which they can go wrong."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.driving import MakeHub, Reader, env_of, message, refused
from support.engine.watching import eventually
from support.fake_engine import Behaviour, FakeEngine
from support.stub_hub import of_server, runtime_of
from tornado import web

SERVER = "exp-1"
HANGS = ["sh", "-c", "sleep 600"]


def commands(fake: FakeEngine) -> list[tuple[list[str], str]]:
    """Command and user of all that was run in containers."""
    return [(one.body["Cmd"], one.body["User"]) for one in fake.commands]


# --- post_start_cmd


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        (["/setup", "a b; rm -rf /"], ["/setup", "a b; rm -rf /"]),
        ("/setup 'a b' --quick", ["/setup", "a b", "--quick"]),
        (lambda spawner: ["/setup", spawner.user.name], ["/setup", "ann"]),
    ],
)
async def test_a_command(
    make_hub: MakeHub, fake: FakeEngine, setting: Any, words: list[str]
) -> None:
    """As a list, as text, by a callable: run as whom it says, and read by no shell."""
    hub = make_hub(post_start_cmd=setting, post_start_user="1000:100")
    await hub.spawn(SERVER)
    assert commands(fake) == [(words, "1000:100")]


async def test_no_command(make_hub: MakeHub, fake: FakeEngine) -> None:
    """None, or no words: nothing is run."""
    nothing: list[Any] = [[], "", lambda spawner: None]
    for setting in nothing:
        hub = make_hub(post_start_cmd=setting)
        await hub.spawn(SERVER)
        await hub.stop(SERVER)
    assert commands(fake) == []


async def test_at_each_start_of_a_kept_container(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Also when the container of an earlier start is used again."""
    hub = make_hub(post_start_cmd=["/setup"], remove=False)
    first = (await hub.spawn(SERVER)).object_id
    await hub.stop(SERVER)
    assert (await hub.spawn(SERVER)).object_id == first
    assert len(commands(fake)) == 2


async def test_a_command_that_fails(
    make_hub: MakeHub, fake: FakeEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """The start fails with it; its output is the owner's to read, and the log's."""
    caplog.set_level("INFO")
    hub = make_hub(post_start_cmd=["sh", "-c", "echo the-answers; exit 3"])
    error = await refused(hub)
    assert error.status_code == 500
    assert "post_start_cmd ended with exit code 3. Its last lines:\nthe-answers" in message(error)
    others = message(error, Reader("tea"))
    assert "exit code 3" in others
    assert "the-answers" not in others
    assert "post_start_cmd: the-answers" in caplog.text
    assert (fake.containers, fake.volumes) == ([], {})


async def test_a_command_that_cannot_be_run(make_hub: MakeHub, fake: FakeEngine) -> None:
    """The Engine's words are in the log alone; nothing is left."""
    error = await refused(make_hub(post_start_cmd=["/no-such-program"]))
    assert "post_start_cmd could not be run" in message(error)
    assert "OCI" not in message(error)
    assert (fake.containers, fake.volumes) == ([], {})


async def test_a_command_that_does_not_end(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Its time is up: the start fails, and the container goes, which ends it."""
    error = await refused(make_hub(post_start_cmd=HANGS, post_start_timeout=0.2))
    assert "did not end within 0.2 seconds (post_start_timeout)" in message(error)
    assert (fake.containers, fake.volumes) == ([], {})


@pytest.mark.parametrize("cmd", [HANGS, ["sh", "-c", "exit 3"], ["/no-such-program"]])
async def test_a_warning_will_do(
    make_hub: MakeHub, fake: FakeEngine, caplog: pytest.LogCaptureFixture, cmd: list[str]
) -> None:
    """With post_start_failure = "warn" the server starts; log and progress say what happened."""
    hub = make_hub(post_start_cmd=cmd, post_start_timeout=0.5, post_start_failure="warn")
    spawner = await hub.spawn(SERVER)
    assert spawner.ready or spawner.object_id
    assert "starting anyway" in caplog.text
    spawner._progress.close()
    told = [event["message"] async for event in spawner.progress()]
    assert any("the server starts without it" in one for one in told)


@pytest.mark.parametrize("failure", ["fail", "warn"])
async def test_a_container_that_dies_meanwhile(
    make_hub: MakeHub, fake: FakeEngine, failure: str
) -> None:
    """That is what is told: its exit code and its last words, not how the command ended."""
    hub = make_hub(post_start_cmd=HANGS, post_start_failure=failure)
    fake.behave(Behaviour(serve="silent"))
    starting = hub.spawning(SERVER)
    await eventually(lambda: commands(fake))
    fake.die(of_server(fake, SERVER)[0].id, 5, log="oh no\n")
    with pytest.raises(web.HTTPError) as caught:
        await starting
    assert "exit code 5" in message(caught.value)
    assert "oh no" in message(caught.value)
    assert (fake.containers, fake.volumes) == ([], {})


async def test_an_engine_that_goes_meanwhile(make_hub: MakeHub, fake: FakeEngine) -> None:
    """The start fails with 503; once the Engine is back nothing is left, and it can be repeated."""
    hub = make_hub(post_start_cmd=HANGS)
    starting = hub.spawning(SERVER)
    await eventually(lambda: commands(fake))
    fake.down()
    with pytest.raises(web.HTTPError) as caught:
        await starting
    assert caught.value.status_code == 503
    fake.up()
    hub.config = {"post_start_cmd": []}
    await hub.restart()
    await hub.spawn(SERVER)
    await eventually(lambda: len(of_server(fake, SERVER)) == 1)


async def test_cancelled_meanwhile(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Whoever cancels the start does not wait for the command; nothing is left."""
    hub = make_hub(post_start_cmd=HANGS)
    starting = hub.spawning(SERVER)
    await eventually(lambda: commands(fake))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await eventually(lambda: (fake.containers, fake.volumes) == ([], {}))


async def test_a_command_within_a_profile(make_hub: MakeHub, fake: FakeEngine) -> None:
    """What a user typed is one word of it, whatever they typed."""
    free = {
        "enabled": True,
        "display_name": "Branch",
        "spawner_override": {"post_start_cmd": ["/checkout", "{value}"]},
    }
    option = {"display_name": "Branch", "unlisted_choice": free}
    hub = make_hub(common_options={"branch": option})
    await hub.spawn(SERVER, options={"branch--unlisted-choice": "x'; rm -rf / #"})
    assert commands(fake) == [(["/checkout", "x'; rm -rf / #"], "")]


# --- modify_container_hook


async def test_the_request_as_it_is_sent(make_hub: MakeHub, fake: FakeEngine) -> None:
    """A hook sees the whole of it, and what it makes of it is made: in place, anew, or later."""

    def in_place(spawner: Any, request: dict[str, Any]) -> None:
        request["Env"].append(f"WHO={spawner.user.name}")
        request["HostConfig"]["OomScoreAdj"] = 500
        request["Cmd"] = ["other"]

    def anew(spawner: Any, request: dict[str, Any]) -> dict[str, Any]:
        copy = {**request, "HostConfig": {**request["HostConfig"], "OomScoreAdj": 500}}
        return {**copy, "Env": [*request["Env"], "WHO=ann"], "Cmd": ["other"]}

    async def later(spawner: Any, request: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(0)
        return anew(spawner, request)

    for hook in (in_place, anew, later):
        hub = make_hub(modify_container_hook=hook, args=["--x"], environment={"A": "1"})
        await hub.spawn(SERVER)
        (made,) = of_server(fake, SERVER)
        assert made.config["HostConfig"]["OomScoreAdj"] == 500
        assert made.config["Cmd"] == ["other"]
        env = env_of(fake)
        assert (env["WHO"], env["A"], bool(env["JUPYTERHUB_API_TOKEN"])) == ("ann", "1", True)
        await hub.stop(SERVER)


async def test_a_kept_container_and_what_a_hook_does(make_hub: MakeHub, fake: FakeEngine) -> None:
    """It is used again while the hook does the same, also with new tokens; else it is replaced."""
    score = [500]

    def hook(spawner: Any, request: dict[str, Any]) -> None:
        request["HostConfig"]["OomScoreAdj"] = score[0]
        request["Env"].append("WHO=me")

    hub = make_hub(modify_container_hook=hook, remove=False)
    ids = []
    for each in (500, 500, 501, 501):
        score[0] = each
        ids.append((await hub.spawn(SERVER)).object_id)
        await hub.stop(SERVER)
    assert ids[0] == ids[1] != ids[2] == ids[3]


async def test_a_hook_that_may_not(make_hub: MakeHub, fake: FakeEngine) -> None:
    """A start is refused whose hook takes our labels away; the message names the hook."""

    def hook(spawner: Any, request: dict[str, Any]) -> None:
        request["Labels"].clear()

    error = await refused(make_hub(modify_container_hook=hook))
    assert "modify_container_hook: labels that begin with dockernamed." in message(error)
    assert (fake.containers, fake.volumes) == ([], {})


async def test_a_volume_of_somebody_else_by_a_hook(make_hub: MakeHub, fake: FakeEngine) -> None:
    """What a hook mounts is looked at like all else: another Hub's volume is not mounted."""

    def hook(spawner: Any, request: dict[str, Any]) -> None:
        request["HostConfig"]["Binds"].append("theirs:/theirs")

    hub = make_hub(modify_container_hook=hook)
    engine = runtime_of(hub.spawner(SERVER)).engine
    await engine.create_volume("theirs", labels={"dockernamed.hub": "another"})
    error = await refused(hub)
    assert error.status_code == 409
    assert fake.containers == []


@pytest.mark.parametrize("which", ["modify_container_hook", "post_start_hook"])
async def test_a_hook_that_raises(make_hub: MakeHub, fake: FakeEngine, which: str) -> None:
    """Nothing is left of the start; an HTTPError of the admin's own reaches the user."""

    def hook(spawner: Any, thing: dict[str, Any]) -> None:
        raise web.HTTPError(403, "not on Sundays")

    def broken(spawner: Any, thing: dict[str, Any]) -> None:
        raise KeyError("x")

    with pytest.raises(web.HTTPError, match="not on Sundays"):
        await make_hub(**{which: hook}).spawn(SERVER)
    with pytest.raises(KeyError):
        await make_hub(**{which: broken}).spawn(SERVER)
    await eventually(lambda: (fake.containers, fake.volumes) == ([], {}))


# --- post_start_hook


async def test_a_hook_after_the_start(make_hub: MakeHub, fake: FakeEngine) -> None:
    """Called once, with the container as the Engine has it, running, after the command."""
    seen: list[Any] = []

    async def hook(spawner: Any, container: dict[str, Any]) -> None:
        seen.append((spawner.name, container["State"]["Running"], len(fake.commands)))

    hub = make_hub(post_start_hook=hook, post_start_cmd=["/setup"])
    await hub.spawn(SERVER)
    assert seen == [(SERVER, True, 1)]


async def test_hooks_by_a_profile(make_hub: MakeHub, fake: FakeEngine) -> None:
    """In an override a callable gives the value, so a hook is given by a callable."""
    called: list[str] = []

    def hook(spawner: Any, thing: dict[str, Any]) -> None:
        called.append(spawner.name)

    override = {name: lambda _: hook for name in ("modify_container_hook", "post_start_hook")}
    profile = {"slug": "p", "display_name": "P", "spawner_override": override}
    hub = make_hub(profile_list=[profile])
    await hub.spawn(SERVER)
    assert called == [SERVER, SERVER]
