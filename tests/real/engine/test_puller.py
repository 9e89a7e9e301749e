"""Images are pulled once, seen to arrive, and remembered no longer than they stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.engine.watching import eventually, heard, watching
from support.engine.worlds import connect
from support.fake_engine import FakeEngine, RemoteImage

from dockernamed.backends.watcher import Watcher
from dockernamed.engine.client import Engine
from dockernamed.errors import (
    ConfigError,
    EngineFailed,
    EngineUnavailable,
    ImageError,
    ImageMissing,
    PullFailed,
)
from dockernamed.images.pull_progress import Layers, Progress
from dockernamed.images.puller import Puller

LAB = "registry.example:5000/lab:1"
INSPECT = f"/images/{LAB}/json"


@pytest.fixture
async def engine(fake: FakeEngine) -> AsyncIterator[Engine]:
    """Our way to the fake Engine."""
    engine = connect(fake.url, timeout=30.0)
    yield engine
    await engine.close()


@pytest.fixture
async def watcher(engine: Engine) -> AsyncIterator[Watcher]:
    """Tells the puller of changed images."""
    async with watching(engine) as watcher:
        yield watcher


@pytest.fixture
def puller(engine: Engine, watcher: Watcher) -> Puller:
    """What is tested."""
    return Puller(engine, watcher)


async def ensure(puller: Puller, policy: str = "ifnotpresent", **more: Any) -> Any:
    """The image `LAB`, with ample time."""
    return await puller.ensure(more.pop("image", LAB), policy, **{"timeout": 20.0, **more})


# --- policies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "pulls"),
    [("always", 1), ("Always", 1), ("ifnotpresent", 0), ("never", 0), ("skip", 0)],
)
async def test_present(fake: FakeEngine, puller: Puller, policy: str, pulls: int) -> None:
    """An image that is there is pulled by ``always`` only; all policies tell what it is."""
    fake.publish(LAB)
    id = fake.add_image(LAB, {"User": "jovyan"})
    found = await ensure(puller, policy)
    assert len(fake.pulls) == pulls
    assert (found["Id"] == id) == (pulls == 0)


@pytest.mark.parametrize("policy", ["always", "ifnotpresent"])
async def test_absent_is_pulled(fake: FakeEngine, puller: Puller, policy: str) -> None:
    """An image that isn't there is pulled, and told of afterwards."""
    fake.publish(LAB, RemoteImage(config={"User": "jovyan"}))
    assert (await ensure(puller, policy))["Config"]["User"] == "jovyan"
    assert fake.pulls == [(LAB, None)]


async def test_absent_with_never(fake: FakeEngine, puller: Puller) -> None:
    """``never`` says which image is missing, and which setting keeps it so."""
    fake.publish(LAB)
    with pytest.raises(ImageMissing, match=r"pull_policy") as caught:
        await ensure(puller, "never")
    assert caught.value.image == LAB
    assert fake.pulls == []


async def test_absent_with_skip(fake: FakeEngine, puller: Puller) -> None:
    """``skip`` takes it as it comes: the Engine may have its own ways."""
    assert await ensure(puller, "skip") is None
    assert fake.pulls == []


async def test_nonsense(puller: Puller) -> None:
    """Neither a wrong policy nor a wrong reference reaches the Engine."""
    with pytest.raises(ConfigError):
        await ensure(puller, "sometimes")
    with pytest.raises(ImageError):
        await ensure(puller, image="UPPER case")


@pytest.mark.parametrize(
    ("image", "pulled", "inspected"),
    [
        ("lab", "lab:latest", "lab"),
        ("r:5000/a/lab", "r:5000/a/lab:latest", "r:5000/a/lab"),
        (f"lab@sha256:{'a' * 64}", f"lab@sha256:{'a' * 64}", f"lab@sha256:{'a' * 64}"),
        (f"lab:1@sha256:{'a' * 64}", f"lab@sha256:{'a' * 64}", f"lab@sha256:{'a' * 64}"),
    ],
)
async def test_references(
    fake: FakeEngine, puller: Puller, image: str, pulled: str, inspected: str
) -> None:
    """Tags, digests and registries with ports are asked for as Docker wants them."""
    fake.publish(pulled)
    assert await ensure(puller, image=image)
    assert fake.pulls == [(pulled, None)]
    assert fake.count("GET", f"/images/{inspected}/json") == 2


async def test_credentials(fake: FakeEngine, puller: Puller) -> None:
    """Credentials reach the registry, and are in no error and no log."""
    fake.publish(LAB, RemoteImage(auth=("ann", "s3cret")))
    with pytest.raises(PullFailed, match="no basic auth credentials") as caught:
        await ensure(puller, credentials={"username": "ann", "password": "wr0ng"})
    assert "wr0ng" not in repr(caught.value)
    with pytest.raises(PullFailed):
        await ensure(puller, credentials={})
    assert await ensure(puller, credentials={"username": "ann", "password": "s3cret"})
    assert [auth and auth["password"] for _, auth in fake.pulls] == ["wr0ng", None, "s3cret"]


# --- one pull for all --------------------------------------------------------------------------


async def test_twenty_ask_for_one(fake: FakeEngine, puller: Puller) -> None:
    """However many ask for the same image, in whatever words, it is pulled once."""
    fake.publish("lab:latest", RemoteImage(hold=3))
    names = ["lab", "lab:latest"]
    early: list[Progress] = []
    starts = [
        asyncio.ensure_future(ensure(puller, image=names[n % 2], on_progress=early.append))
        for n in range(20)
    ]
    await eventually(lambda: early and early[-1].message.startswith("0 of 2 layers"))
    late: list[Progress] = []
    starts.append(
        asyncio.ensure_future(ensure(puller, "always", image=names[0], on_progress=late.append))
    )
    await eventually(lambda: late)
    assert late[0].message.startswith("0 of 2 layers"), "who comes late is told at once"
    fake.let_pulls_go()
    found = await asyncio.gather(*starts)
    assert len({one["Id"] for one in found}) == 1
    assert len(fake.pulls) == 1


async def test_other_credentials_are_another_pull(fake: FakeEngine, puller: Puller) -> None:
    """Nobody gets in with another's credentials by joining in."""
    fake.publish(LAB, RemoteImage(auth=("ann", "s3cret"), hold=0))
    mine = {"username": "ann", "password": "s3cret"}
    first = asyncio.ensure_future(ensure(puller, credentials=mine))
    await eventually(lambda: fake.pulls_holding == 1)
    with pytest.raises(PullFailed):
        await ensure(puller, credentials={"username": "bob", "password": "x"})
    fake.let_pulls_go()
    assert await first


async def test_goes_on_while_one_waits(fake: FakeEngine, puller: Puller) -> None:
    """One who gives up takes nothing from another who waits for the same pull."""
    fake.publish(LAB, RemoteImage(hold=3))
    one, two = (asyncio.ensure_future(ensure(puller)) for _ in range(2))
    await eventually(lambda: fake.pulls_holding == 1)
    one.cancel()
    await asyncio.wait({one})
    fake.let_pulls_go()
    assert await two
    assert (len(fake.pulls), fake.pulls_cancelled) == (1, [])


async def test_given_up_when_nobody_waits(fake: FakeEngine, puller: Puller) -> None:
    """A pull ends with the last who waited for it; who comes then begins anew."""
    fake.publish(LAB, RemoteImage(hold=3))
    starts = [asyncio.ensure_future(ensure(puller)) for _ in range(2)]
    await eventually(lambda: fake.pulls_holding == 1)
    for start in starts:
        start.cancel()
    await asyncio.wait(starts)
    await eventually(lambda: fake.pulls_cancelled == [LAB])
    again = asyncio.ensure_future(ensure(puller))
    await eventually(lambda: fake.pulls_holding == 1)
    fake.let_pulls_go()
    assert await again
    assert len(fake.pulls) == 2


async def test_failure_is_everybodys(fake: FakeEngine, puller: Puller) -> None:
    """All who wait get the registry's words, and the next one tries again."""
    fake.publish(LAB, RemoteImage(error="toomanyrequests: slow down", hold=3))
    starts = [asyncio.ensure_future(ensure(puller)) for _ in range(3)]
    await eventually(lambda: fake.pulls_holding == 1)
    fake.let_pulls_go()
    ends = await asyncio.gather(*starts, return_exceptions=True)
    assert {str(end) for end in ends} == {f"image '{LAB}': toomanyrequests: slow down"}
    assert {type(end) for end in ends} == {PullFailed}
    fake.publish(LAB)
    assert await ensure(puller)


# --- failures ----------------------------------------------------------------------------------


async def test_unknown_image(puller: Puller) -> None:
    """A registry that doesn't know it is quoted."""
    with pytest.raises(PullFailed, match="repository does not exist"):
        await ensure(puller)


async def test_timeout(fake: FakeEngine, puller: Puller) -> None:
    """A pull that takes too long says how far it came and which setting decides."""
    fake.publish(LAB, RemoteImage(layers=(3_000_000, 5_000_000), hold=4))
    told: list[Progress] = []
    patient = asyncio.ensure_future(ensure(puller, on_progress=told.append))
    await eventually(lambda: told and "1.0 MB" in told[-1].message)
    with pytest.raises(PullFailed, match=r"pull_timeout = 0\.05 s \(0 of 2 layers, 1\.0 MB of 6"):
        await ensure(puller, timeout=0.05)
    assert fake.pulls_cancelled == [], "somebody else has more time"
    fake.let_pulls_go()
    assert await patient


async def test_engine_lost_during_a_pull(fake: FakeEngine, puller: Puller) -> None:
    """A lost Engine is not the registry's fault."""
    fake.publish(LAB, RemoteImage(hold=3))
    start = asyncio.ensure_future(ensure(puller))
    await eventually(lambda: fake.pulls_holding == 1)
    fake.down()
    with pytest.raises(EngineUnavailable):
        await start


async def test_engine_fails_to_look(fake: FakeEngine, puller: Puller) -> None:
    """That the Engine can't say if an image is there doesn't mean that it isn't."""
    fake.publish(LAB)
    fake.fault(500, "GET", INSPECT)
    with pytest.raises(EngineFailed):
        await ensure(puller)
    assert fake.pulls == []


async def test_pull_without_result(fake: FakeEngine, puller: Puller) -> None:
    """A pull that ends well, and yet brings nothing, is no success."""
    fake.publish(LAB)
    fake.fault(404, "GET", INSPECT, times=2)
    with pytest.raises(PullFailed, match="not there"):
        await ensure(puller)


async def test_failing_listener(
    fake: FakeEngine, puller: Puller, caplog: pytest.LogCaptureFixture
) -> None:
    """A listener that fails is logged, and the image comes all the same."""
    fake.publish(LAB)
    assert await ensure(puller, on_progress=lambda progress: progress.nonsense)
    assert "AttributeError" in caplog.text


# --- what is remembered ------------------------------------------------------------------------


async def test_one_look_for_many_starts(fake: FakeEngine, puller: Puller, watcher: Watcher) -> None:
    """The Engine is asked once for an image that stays, also when many ask at once."""
    fake.add_image(LAB)
    await heard(fake, watcher)
    await asyncio.gather(*(ensure(puller) for _ in range(10)))
    await ensure(puller, "never")
    await ensure(puller, "skip")
    assert fake.count("GET", INSPECT) == 1


@pytest.mark.parametrize("change", ["retag", "delete", "pull"])
async def test_forgotten_when_images_change(
    fake: FakeEngine, puller: Puller, watcher: Watcher, change: str
) -> None:
    """Once the Engine tells that an image changed, it is asked again."""
    old = fake.add_image(LAB)
    assert (await ensure(puller))["Id"] == old
    if change == "retag":
        new = fake.add_image(LAB, {"User": "other"})
        await heard(fake, watcher)
        assert (await ensure(puller))["Id"] == new
    elif change == "delete":
        fake.remove_image(LAB)
        await heard(fake, watcher)
        with pytest.raises(ImageMissing):
            await ensure(puller, "never")
    else:
        fake.hold_events()  # our own pull needs no event
        fake.publish(LAB, RemoteImage(config={"User": "other"}))
        assert (await ensure(puller, "always"))["Config"]["User"] == "other"
        assert (await ensure(puller))["Config"]["User"] == "other"


async def test_nothing_is_remembered_unwatched(
    fake: FakeEngine, engine: Engine, puller: Puller, watcher: Watcher
) -> None:
    """While changes may go unheard, the Engine is asked each time."""
    fake.add_image(LAB)
    await ensure(puller)
    await watcher.close()
    new = fake.add_image(LAB, {"User": "other"})
    assert (await ensure(puller))["Id"] == new
    alone = Puller(engine)
    for _ in range(2):
        await ensure(alone)
    assert fake.count("GET", INSPECT) == 4


async def test_lost_stream_forgets(fake: FakeEngine, puller: Puller, watcher: Watcher) -> None:
    """What changed while the stream was lost is asked again after it."""
    fake.add_image(LAB)
    await ensure(puller)
    fake.lose_events()
    new = fake.add_image(LAB, {"User": "other"})
    fake.lose_events(False)
    fake.lose_streams()
    await eventually(lambda: fake.count("GET", "/containers/json") == 2)
    await asyncio.wait_for(watcher.in_sync(), 30)
    assert (await ensure(puller))["Id"] == new


async def test_answer_overtaken_by_a_change(
    fake: FakeEngine, puller: Puller, watcher: Watcher
) -> None:
    """An answer from before a change that was heard first is not remembered."""
    fake.add_image(LAB)
    stall = fake.fault("stall after", "GET", INSPECT)
    first = asyncio.ensure_future(ensure(puller))
    await eventually(stall.reached.is_set)
    new = fake.add_image(LAB, {"User": "other"})
    await heard(fake, watcher)
    assert (await ensure(puller))["Id"] == new
    stall.release()
    await first
    assert (await ensure(puller))["Id"] == new


async def test_cancelled_look_is_not_everybodys(fake: FakeEngine, puller: Puller) -> None:
    """One who gives up does not take the look from the others."""
    fake.add_image(LAB)
    stall = fake.fault("stall", "GET", INSPECT)
    one, two = (asyncio.ensure_future(ensure(puller)) for _ in range(2))
    await eventually(stall.reached.is_set)
    one.cancel()
    await asyncio.wait({one})
    stall.release()
    assert await two


# --- progress ----------------------------------------------------------------------------------


async def test_progress(fake: FakeEngine, puller: Puller) -> None:
    """A pull is told from its first layer to its last byte."""
    fake.publish(LAB, RemoteImage(layers=(3_000_000, 5_000_000)))
    told: list[Progress] = []
    await ensure(puller, on_progress=told.append)
    assert told[0] == Progress(0, 0, "waiting for the registry")
    assert told[-1] == Progress(8_000_000, 8_000_000, "2 of 2 layers, 8.0 MB")
    shares = [one.done / one.total for one in told if one.total]
    assert shares == sorted(shares)
    assert len(told) == len(set(told)), "nothing is told twice"


LINES = st.lists(
    st.fixed_dictionaries(
        {"id": st.sampled_from("abcd")},
        optional={
            "status": st.sampled_from(
                ["Pulling fs layer", "Waiting", "Downloading", "Download complete",
                 "Verifying Checksum", "Extracting", "Pull complete", "Already exists", "?"]
            ),
            "progressDetail": st.none() | st.fixed_dictionaries(
                {},
                optional={
                    "current": st.none() | st.integers(-1, 10**12) | st.just("x"),
                    "total": st.none() | st.integers(-1, 10**12) | st.floats(0, 1e9),
                },
            ),
        },
    ),
    max_size=40,
)  # fmt: skip


@given(LINES)
def test_progress_never_goes_back(lines: list[dict[str, Any]]) -> None:
    """Whatever the Engine sends, neither bytes nor share go back or past the end."""
    layers = Layers()
    told = [one for line in lines if (one := layers.take(line)) is not None]
    told.append(layers.finished())
    for before, after in pairwise(told):
        assert before.done <= after.done <= after.total
        assert before.done * after.total <= after.done * before.total or not before.total
    assert told[-1].done == told[-1].total


def test_unknown_sizes_are_guessed() -> None:
    """The first small layer to end doesn't look like the end of all."""
    layers = Layers()
    for id in "abcd":
        layers.take({"status": "Pulling fs layer", "progressDetail": {}, "id": id})
    detail = {"current": 10, "total": 10}
    layers.take({"status": "Downloading", "progressDetail": detail, "id": "a"})
    progress = layers.take({"status": "Pull complete", "progressDetail": {}, "id": "a"})
    assert progress == Progress(10, 40, "1 of 4 layers, 10 B of 40 B")


def test_wrong_guess() -> None:
    """A layer far smaller than guessed takes back nothing, and nothing exceeds the whole."""
    layers = Layers()
    detail = {"current": 10, "total": 10}
    layers.take({"status": "Downloading", "progressDetail": detail, "id": "a"})
    layers.take({"status": "Pull complete", "id": "a"})
    assert layers.take({"status": "Pulling fs layer", "id": "b"}) == Progress(
        20, 20, "1 of 2 layers, 10 B of 20 B"
    )
    detail = {"current": 1, "total": 1}
    layers.take({"status": "Downloading", "progressDetail": detail, "id": "b"})
    last = layers.take({"status": "Pull complete", "id": "b"})
    assert last is not None
    assert (last.done, last.total) == (20, 20)


def test_thousands_of_lines_are_told_as_percents() -> None:
    """A big layer's many lines become about a hundred."""
    layers = Layers()
    lines = [
        {"status": "Downloading", "progressDetail": {"current": n, "total": 100_000}, "id": "a"}
        for n in range(100_000)
    ]
    told = [one for line in lines if (one := layers.take(line)) is not None]
    assert 45 <= len(told) <= 60  # half of the work is the unpacking


def test_images_that_are_there_already() -> None:
    """Layers that exist count as done, and nothing is divided by nothing."""
    layers = Layers()
    told = [layers.take({"status": "Already exists", "id": id}) for id in "ab"]
    assert [one and one.message for one in told] == [
        "1 of 1 layers, 0 B of 0 B",
        "2 of 2 layers, 0 B of 0 B",
    ]
    assert layers.finished() == Progress(0, 0, "2 of 2 layers, 0 B")
