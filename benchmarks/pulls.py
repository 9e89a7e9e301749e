"""Pulls: nobody waits for another's, and nobody pulls what another one pulls already."""

from __future__ import annotations

import asyncio
import io
import os
import tarfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import docker
from aiohttp import web
from docker.utils import kwargs_from_env
from support.engine.registries import registry

from .counting import counted_hubs
from .hubs import Hub
from .samples import Samples
from .setting import BUSYBOX, Setting

CONTENDERS = ("dockerspawner", "before", "ours")
SIZE = 4_000_000  # bytes of the layer that has to be pulled


async def beside_a_hanging_pull(
    setting: Setting, rounds: int, hang: float
) -> tuple[Samples, Samples]:
    """Seconds of a start, as usual and while another server's image is being pulled.

    Args:
        setting: where.
        rounds: how many of each.
        hang: seconds that the pull hangs; who waits for it waits no longer than so.
    """
    usual: Samples = {}
    beside: Samples = {}
    async with setting.hubs(BUSYBOX, CONTENDERS) as hubs:
        for hub in hubs:
            await _timed(setting, hub, "warm")
            usual[hub.contender] = [
                await _timed(setting, hub, f"usual{number}") for number in range(rounds)
            ]
            async with _hanging_registry() as (address, asked, go):
                stuck = asyncio.ensure_future(
                    hub.ask("POST", "/users/bench/servers/stuck", {"image": f"{address}/x:1"})
                )
                await asked.wait()
                timer = asyncio.get_running_loop().call_later(hang, go.set)
                # Who is made to wait once has shown it.
                beside[hub.contender] = [
                    await _timed(setting, hub, f"beside{number}")
                    for number in range(1 if hub.contender == "dockerspawner" else rounds)
                ]
                timer.cancel()
                go.set()
                await stuck
    return usual, beside


async def _timed(setting: Setting, hub: Hub, server: str) -> float:
    took = await hub.spawn(server)
    if hub.contender == "dockerspawner":
        await setting.engine.remove(hub.container(server))
    await hub.halt(server)
    return took


@asynccontextmanager
async def _hanging_registry() -> AsyncIterator[tuple[str, asyncio.Event, asyncio.Event]]:
    """A registry that answers requests for a manifest only once it is told to go on, with 404."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        if "/manifests/" in request.path:
            asked.set()
            await go.wait()
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)
        return web.json_response({}, headers={"Docker-Distribution-Api-Version": "registry/2.0"})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"127.0.0.1:{runner.addresses[0][1]}", asked, go
    finally:
        go.set()
        await runner.cleanup()


async def of_one_missing_image(setting: Setting, count: int) -> tuple[dict[str, int], Samples]:
    """Pulls, and seconds until the last is ready, when so many servers need an image at once."""
    pulls: dict[str, int] = {}
    took: Samples = {}
    with registry(setting.folder / "registry") as store:
        image = f"{store.address}/{setting.name}:1"
        await asyncio.to_thread(_push, image)
        async with counted_hubs(setting, CONTENDERS) as counted:
            for hub, proxy in counted:
                await hub.spawn("warm")
                before = proxy.count("POST", "/images/create")
                begin = time.perf_counter()
                names = [f"pull{index}" for index in range(count)]
                await asyncio.gather(*(hub.spawn(name, image) for name in names))
                took[hub.contender] = [time.perf_counter() - begin]
                pulls[hub.contender] = proxy.count("POST", "/images/create") - before
                await setting.tidy()
    return pulls, took


def _push(image: str) -> None:
    """Have a variant of the small image in a registry, and not on the Engine."""
    client = docker.APIClient(**kwargs_from_env())
    repository, _, tag = image.rpartition(":")
    base = client.create_container(BUSYBOX)
    try:
        client.put_archive(base["Id"], "/www", _tar(os.urandom(SIZE)))
        client.commit(base["Id"], repository, tag)
        for line in client.push(repository, tag, stream=True, decode=True):
            if "error" in line:
                raise RuntimeError(line["error"])
        client.remove_image(image)
    finally:
        client.remove_container(base["Id"], force=True)
        client.close()


def _tar(data: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("data")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))
    return stream.getvalue()
