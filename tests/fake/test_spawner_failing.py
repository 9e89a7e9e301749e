"""Starts that fail: what the one who asked is told, and that nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from support.driving import MakeHub, env_of, message, refused
from support.engine.watching import eventually
from support.fake_engine import Behaviour, FakeEngine
from support.stage import (
    CREATE,
    IMAGE,
    INSPECT,
    LOGS,
    QUICK,
    START,
    TOLD_SOON,
    VOLUME_CREATE,
    reached,
    running,
)
from support.stub_hub import Hub, names_of, of_server, runtime_of
from tornado import web

from dockernamed import DockerNamedSpawner

#: A start is over as soon as it waits for the first answer.
NO_TIME_LEFT = replace(QUICK, explain_failure=3600, explain_failure_share=1.0)

Strike = Callable[[DockerNamedSpawner], None]


@pytest.fixture
def strike(monkeypatch: pytest.MonkeyPatch) -> Callable[[DockerNamedSpawner], None]:
    """Does to a start() under way what JupyterHub does when its time is up."""
    begin = DockerNamedSpawner.start
    under_way: dict[DockerNamedSpawner, asyncio.Task[str]] = {}

    async def start(self: DockerNamedSpawner) -> str:
        task = under_way[self] = asyncio.ensure_future(begin(self))
        try:
            return await task
        except asyncio.CancelledError:
            raise asyncio.TimeoutError from None

    monkeypatch.setattr(DockerNamedSpawner, "start", start)

    def cancel(spawner: DockerNamedSpawner) -> None:
        under_way[spawner].cancel()

    return cancel


async def test_death_at_start(hub: Hub, fake: FakeEngine) -> None:
    """At once, with exit code and the last lines, in words for who asked; secrets kept out."""
    fake.behave(Behaviour(exit_code=3, log="hello\nno module named jupyterhub\n"))
    error = await refused(hub)
    assert "exit code 3" in message(error)
    assert "no module named jupyterhub" in message(error)
    assert (fake.containers, fake.volumes) == ([], {})


async def test_last_words_of_any_length(hub: Hub, fake: FakeEngine) -> None:
    """A line may have millions of characters: its end is quoted."""
    fake.behave(Behaviour(exit_code=3, log="x" * 100_000 + " the reason\n"))
    words = message(await refused(hub))
    assert words.endswith("xx the reason")
    assert len(words) < 5000


async def test_no_last_words(make_hub: MakeHub, fake: FakeEngine) -> None:
    """An admin who shows none does not have it said that there were none."""
    fake.behave(Behaviour(exit_code=3, log="secret\n"))
    assert message(await refused(make_hub(crash_log_lines=0))).endswith("with exit code 3")


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


async def test_keep_failed_before_its_end_is_told(make_hub: MakeHub, fake: FakeEngine) -> None:
    """It stays as well where the Engine is slow to tell, and so by its word the server runs."""
    hub = make_hub(keep_failed=True)
    fake.behave(Behaviour(exit_code=3))
    fake.hold_events()
    await refused(hub)
    assert len(of_server(fake, "exp-1")) == 1
    fake.release_events()
    assert await hub.spawner("exp-1").poll() == 0


async def test_a_server_that_never_answers(make_hub: MakeHub, fake: FakeEngine) -> None:
    """The time is up: the URL that was asked, the time it had, and its last lines."""
    fake.behave(Behaviour(serve="refuse", log="listening on the wrong port\n"))
    hub = make_hub(timings=NO_TIME_LEFT)
    error = await refused(hub)
    assert "start_timeout = 60 seconds" in message(error)
    assert "/user/ann/exp-1/api" in message(error)
    assert "listening on the wrong port" in message(error)
    assert (fake.containers, fake.volumes) == ([], {})


async def test_a_server_that_never_answers_and_an_engine_that_is_slow(
    make_hub: MakeHub, fake: FakeEngine, strike: Strike
) -> None:
    """JupyterHub cancels while the last lines are still asked for: the reason is told anyway."""
    fake.behave(Behaviour(serve="refuse"))
    hub = make_hub(timings=NO_TIME_LEFT)
    stalled = fake.fault("stall", *LOGS)
    starting = hub.spawning("exp-1")
    await reached(stalled)
    strike(hub.spawner("exp-1"))
    with pytest.raises(web.HTTPError) as caught:
        await starting
    assert "start_timeout" in message(caught.value)


async def test_an_engine_that_never_answers(make_hub: MakeHub, fake: FakeEngine) -> None:
    """The time is up while the Engine was asked to make something: that is told, in words."""
    stalled = fake.fault("stall", *CREATE)
    hub = make_hub(timings=TOLD_SOON, start_timeout=4)
    starting = hub.spawning("exp-1")
    await reached(stalled)
    # JupyterHub waits for what is left to be done after it has cancelled.
    attempt = hub.spawner("exp-1")._attempt
    assert attempt is not None
    await eventually(lambda: not attempt.under_way)
    stalled.release()
    with pytest.raises(web.HTTPError) as caught:
        await starting
    words = "Docker Engine: cannot start the server: no answer within 4 s. An Engine that takes"
    assert message(caught.value).startswith(words)
    await eventually(lambda: (fake.containers, fake.volumes) == ([], {}))


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
    """The Engine's 400 at start: the user learns what cannot run, container and volume go."""
    fake.fault(400, *START, message='exec: "nonsense": executable file not found in $PATH')
    error = await refused(hub)
    assert "which cannot be run there: set c.DockerNamedSpawner.cmd" in message(error)
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
    engine = runtime_of(spawner).engine
    for name in names_of(spawner):
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


async def test_a_server_that_does_not_reach_the_hub(
    fake: FakeEngine, make_hub: MakeHub, caplog: pytest.LogCaptureFixture
) -> None:
    """While it is waited for, its log is looked at: the user is told what the admin can do, also
    of a server that took its time to begin.
    """
    log = "Failed to connect to my Hub at http://172.17.0.1:8081/hub/api (attempt 1/5).\n"
    fake.behave(Behaviour(serve="refuse"))
    hub = make_hub(timings=replace(QUICK, explain_silence=0.05))
    starting = hub.spawning("exp-1")
    await eventually(lambda: fake.count(*LOGS))
    running(fake)[0].say(log)
    progress = [event async for event in _until(hub.spawner("exp-1"), "hub_connect_url")]
    assert "firewall" in progress[-1]["message"]
    assert "firewall" in caplog.text
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)


async def _until(spawner: Any, words: str) -> AsyncIterator[dict[str, Any]]:
    """The events of a start up to the one with these words."""
    async for event in spawner.progress():
        yield event
        if words in event["message"]:
            return
