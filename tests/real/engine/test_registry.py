"""Pulls by a real Engine from real registries."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import docker
import pytest
from docker.utils import kwargs_from_env
from support.engine.registries import HangingRegistry, Registry, registry
from support.engine.watching import eventually, watching
from support.engine.worlds import IMAGE, RealWorld, connect

from dockernamed.engine.client import Engine
from dockernamed.errors import ImageMissing, PullFailed
from dockernamed.images.puller import Progress, Puller

MB = 1_000_000


@pytest.fixture(scope="module")
def client(real_world: RealWorld) -> Iterator[docker.APIClient]:
    """The SDK, to push with."""
    client = docker.APIClient(timeout=60, **kwargs_from_env())
    yield client
    client.close()


@pytest.fixture(scope="module", params=["open", "private"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Registry]:
    """A registry that anybody may use, and one with passwords."""
    folder = tmp_path_factory.mktemp("registry") / "files"
    with registry(folder, private=request.param == "private") as server:
        yield server


@pytest.fixture
def name(server: Registry, real_world: RealWorld, client: docker.APIClient) -> Iterator[str]:
    """A repository that no image is of yet; its images are removed after the test."""
    name = f"{real_world.prefix}/{secrets.token_hex(4)}"
    yield name
    for image in client.images(f"{server.address}/{name}"):
        client.remove_image(image["Id"], force=True)


@pytest.fixture
async def puller(real_world: RealWorld) -> AsyncIterator[Puller]:
    """What is tested."""
    engine = connect(real_world.url)
    async with watching(engine, real_world.prefix) as watcher:
        yield Puller(engine, watcher)
    await engine.close()


async def test_pull(server: Registry, name: str, client: docker.APIClient, puller: Puller) -> None:
    """An image comes by tag, its bytes told as they come, and once for all who ask."""
    digest = await asyncio.to_thread(server.push, client, name, "v1", 6 * MB)
    image = f"{server.address}/{name}:v1"
    with pytest.raises(ImageMissing):
        await puller.ensure(image, "never", timeout=60)
    told: list[Progress] = []
    found = await asyncio.gather(
        *(
            puller.ensure(
                image, "ifnotpresent", timeout=60, credentials=server.credentials,
                on_progress=told.append,
            )
            for _ in range(5)
        )
    )  # fmt: skip
    assert len({one and one["Id"] for one in found}) == 1
    assert found[0] is not None
    assert found[0]["RepoDigests"] == [f"{server.address}/{name}@{digest}"]
    assert told[-1].done == told[-1].total >= 6 * MB
    assert told[-1].message == "1 of 1 layers, 6.0 MB"


@pytest.mark.parametrize("form", ["{name}@{digest}", "{name}:v1@{digest}"])
async def test_pull_by_digest(
    server: Registry, name: str, client: docker.APIClient, puller: Puller, form: str
) -> None:
    """The digest decides, with and without a tag; afterwards the image is found by it."""
    digest = await asyncio.to_thread(server.push, client, name, "v1", 1000)
    await asyncio.to_thread(server.push, client, name, "v1", 2000)  # the tag moves on
    image = form.format(name=f"{server.address}/{name}", digest=digest)
    for _ in range(2):
        found = await puller.ensure(
            image, "ifnotpresent", timeout=60, credentials=server.credentials
        )
        assert found is not None
        assert found["RepoDigests"] == [f"{server.address}/{name}@{digest}"]


async def test_moved_tag(
    server: Registry, name: str, client: docker.APIClient, puller: Puller
) -> None:
    """``ifnotpresent`` keeps what is there, ``always`` fetches what the tag means now."""
    image, credentials = f"{server.address}/{name}:v1", server.credentials

    async def ensure(policy: str) -> str:
        found = await puller.ensure(image, policy, timeout=60, credentials=credentials)
        assert found is not None
        return str(found["RepoDigests"][0]).partition("@")[2]

    old = await asyncio.to_thread(server.push, client, name, "v1", 1000)
    assert await ensure("ifnotpresent") == old
    new = await asyncio.to_thread(server.push, client, name, "v2", 2000)
    await asyncio.to_thread(server.retag, name, "v2", "v1")
    assert await ensure("ifnotpresent") == old
    assert await ensure("always") == new
    assert await ensure("ifnotpresent") == new


async def test_missing(server: Registry, name: str, puller: Puller) -> None:
    """An image that the registry doesn't have is refused in its words."""
    image = f"{server.address}/{name}:v1"
    with pytest.raises(PullFailed, match=r"manifest|not found|unknown"):
        await puller.ensure(image, "ifnotpresent", timeout=60, credentials=server.credentials)


@pytest.mark.parametrize("server", ["private"], indirect=True)
async def test_wrong_password(
    server: Registry, name: str, client: docker.APIClient, puller: Puller
) -> None:
    """A private registry takes its own credentials and no others, nor none."""
    await asyncio.to_thread(server.push, client, name, "v1", 1000)
    image = f"{server.address}/{name}:v1"
    wrong = {"username": server.user, "password": "w" + server.password}
    for credentials in (wrong, {}, None):
        with pytest.raises(PullFailed, match=r"auth") as caught:
            await puller.ensure(image, "always", timeout=60, credentials=credentials)
        assert server.password not in str(caught.value)


async def test_hanging_registry(real_world: RealWorld, puller: Puller) -> None:
    """A pull that hangs ends by its timeout, at the Engine too, and delays nobody meanwhile."""
    hanging = HangingRegistry()
    engine: Engine = connect(real_world.url)
    image = f"{hanging.address}/lab:1"
    pull = asyncio.ensure_future(puller.ensure(image, "always", timeout=60))
    try:
        await eventually(hanging.asked.is_set)
        await asyncio.wait_for(engine.inspect_image(IMAGE), 30)
        with pytest.raises(PullFailed, match="pull_timeout"):
            await puller.ensure(image, "always", timeout=0.1)
        pull.cancel()
        await eventually(hanging.left.is_set)
    finally:
        pull.cancel()
        await engine.close()
        hanging.close()
