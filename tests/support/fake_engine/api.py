"""The fake Engine's HTTP: one handler a call."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from support.fake_engine.core import ApiError, Core, Subscriber, has_labels
from support.fake_engine.faults import Handler
from support.fake_engine.objects import DIRECTORIES, Command, RemoteImage, full_reference
from support.fake_engine.overlays import check_attachable
from support.fake_engine.requests import auth_of, body_of, filters_of
from support.fake_engine.swarm_api import SwarmApi


def make_app(core: Core, pulls: Pulls, swarm: SwarmApi, middleware: Any) -> web.Application:
    """All routes, with and without an API version before them."""
    api = _Api(core, pulls, swarm)
    app = web.Application(middlewares=[middleware, api.errors], client_max_size=2**30)
    for method, path, handler in (*api.routes(), *swarm.routes()):
        app.router.add_route(method, path, handler)
        app.router.add_route(method, r"/v{version:\d+\.\d+}" + path, handler)
    return app


class _Api:
    """The handlers."""

    def __init__(self, core: Core, pulls: Pulls, swarm: SwarmApi) -> None:
        self.core, self.pulls, self._swarm = core, pulls, swarm

    def routes(self) -> list[tuple[str, str, Handler]]:
        """Method, path and handler."""
        container = "/containers/{id}"
        return [
            ("GET", "/_ping", self.ping),
            ("GET", "/version", self.version),
            ("GET", "/info", self.info),
            ("GET", "/events", self.events),
            ("POST", "/containers/create", self.create),
            ("GET", "/containers/json", self.list),
            ("GET", container + "/json", self.inspect),
            ("POST", container + "/start", self.start),
            ("POST", container + "/stop", self.stop),
            ("POST", container + "/restart", self.restart),
            ("POST", container + "/kill", self.kill),
            ("POST", container + "/rename", self.rename),
            ("POST", container + "/wait", self.wait),
            ("GET", container + "/logs", self.logs),
            ("POST", container + "/exec", self.prepare_command),
            ("POST", "/exec/{id}/start", self.run_command),
            ("GET", "/exec/{id}/json", self.inspect_command),
            ("PUT", container + "/archive", self.put_archive),
            ("HEAD", container + "/archive", self.stat_archive),
            ("GET", container + "/archive", self.get_archive),
            ("DELETE", container, self.remove),
            ("GET", "/images/json", self.list_images),
            ("POST", "/images/create", self.pull),
            ("GET", "/images/{name:.+}/json", self.inspect_image),
            ("POST", "/images/{name:.+}/tag", self.tag_image),
            ("DELETE", "/images/{name:.+}", self.remove_image),
            ("POST", "/volumes/create", self.create_volume),
            ("GET", "/volumes", self.list_volumes),
            ("GET", "/volumes/{name}", self.inspect_volume),
            ("DELETE", "/volumes/{name}", self.remove_volume),
            ("GET", "/networks", self.list_networks),
            ("POST", "/networks/create", self.create_network),
            ("GET", "/networks/{name}", self.inspect_network),
            ("DELETE", "/networks/{name}", self.remove_network),
            ("POST", "/networks/{name}/connect", self.connect_network),
            ("POST", "/networks/{name}/disconnect", self.disconnect_network),
        ]

    @property
    def errors(self) -> Any:
        """A middleware: `ApiError` as the Engine's JSON; API versions that aren't spoken."""

        @web.middleware
        async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
            try:
                self._check_version(request.match_info.get("version"))
                return await handler(request)
            except ApiError as error:
                return web.json_response({"message": error.message}, status=error.status)
            except web.HTTPNotFound:
                return web.json_response({"message": "page not found"}, status=404)

        return answer

    def _check_version(self, version: str | None) -> None:
        asked, newest, oldest = map(
            _numbers, (version, self.core.api_version, self.core.min_api_version)
        )
        words = f"client version {version} is too"
        if asked and asked > newest:
            newest_text = self.core.api_version
            raise ApiError(400, f"{words} new. Maximum supported API version is {newest_text}")
        if asked and asked < oldest:
            oldest_text = self.core.min_api_version
            raise ApiError(400, f"{words} old. Minimum supported API version is {oldest_text}")

    # --- the Engine ------------------------------------------------------------------------

    async def ping(self, request: web.Request) -> web.StreamResponse:
        return web.Response(text="OK", headers={"API-Version": self.core.api_version})

    async def version(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(
            {
                "Version": "0.fake", "ApiVersion": self.core.api_version,
                "MinAPIVersion": self.core.min_api_version, "Os": "linux", "Arch": "amd64",
                "Components": [{"Name": "Engine", "Version": "0.fake"}],
            }
        )  # fmt: skip

    async def info(self, request: web.Request) -> web.StreamResponse:
        driver = {} if self.core.podman else {"LoggingDriver": "json-file"}
        driver["DockerRootDir"] = "/srv/fake-engine"
        count = len(self.core.containers)
        return web.json_response(
            {
                "ID": "FAKE",
                "Containers": count,
                "ServerVersion": "0.fake",
                "Swarm": self._swarm.info(),
                **driver,
                **self.core.info,
                **self.core.devices,
            }
        )

    async def events(self, request: web.Request) -> web.StreamResponse:
        subscriber = Subscriber(filters_of(request), podman=self.core.podman)
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if "since" in request.query:
            for event in self.core.backlog:
                if event["timeNano"] / 1e9 >= float(request.query["since"]):
                    subscriber.offer(event)
        self.core.subscribers.add(subscriber)
        try:
            await response.prepare(request)
            while (line := await subscriber.queue.get()) is not None:
                await response.write(line)
            if subscriber.lose == "abort" and request.transport is not None:
                request.transport.abort()
        except ConnectionError:
            pass  # the client has left
        finally:
            self.core.subscribers.discard(subscriber)
        return response

    # --- containers ------------------------------------------------------------------------

    async def create(self, request: web.Request) -> web.StreamResponse:
        config = await body_of(request)
        container = self.core.create(request.query.get("name", ""), config)
        return web.json_response({"Id": container.id, "Warnings": []}, status=201)

    async def list(self, request: web.Request) -> web.StreamResponse:
        if self.core.frozen_list is not None:
            frozen, self.core.frozen_list = self.core.frozen_list, None
            return web.json_response(frozen)
        filters, everything = filters_of(request), request.query.get("all", "0") in ("1", "true")
        labels, podman = filters.get("label", []), self.core.podman
        found = [
            container.listed()
            for container in self.core.containers.values()
            if (everything or container.running)
            and has_labels(container.labels, labels, podman=podman)
            and container.id in filters.get("id", [container.id])
            and container.name in filters.get("name", [container.name])
            and self.core.networks_of(container) & {*filters.get("network", [container.network])}
        ]
        return web.json_response(found)

    async def inspect(self, request: web.Request) -> web.StreamResponse:
        container = self._container(request)
        async with container.busy:
            return web.json_response(container.inspect())

    async def start(self, request: web.Request) -> web.StreamResponse:
        started = await self.core.start(self._container(request))
        return web.Response(status=204 if started else 304)

    async def stop(self, request: web.Request) -> web.StreamResponse:
        container = self._container(request)
        stopped = self.core.stop(container)
        await self.core.notify()
        return web.Response(status=204 if stopped else 304)

    async def restart(self, request: web.Request) -> web.StreamResponse:
        await self.core.restart(self._container(request))
        return web.Response(status=204)

    async def kill(self, request: web.Request) -> web.StreamResponse:
        self.core.kill(self._container(request))
        await self.core.notify()
        return web.Response(status=204)

    async def rename(self, request: web.Request) -> web.StreamResponse:
        self.core.rename(self._container(request), request.query["name"])
        return web.Response(status=204)

    async def wait(self, request: web.Request) -> web.StreamResponse:
        container = self._container(request)
        async with self.core.changed:
            await self.core.changed.wait_for(lambda: not container.running)
        return web.json_response({"StatusCode": container.exit_code})

    async def logs(self, request: web.Request) -> web.StreamResponse:
        tail = request.query.get("tail", "all")
        body = self._container(request).log_bytes(None if tail == "all" else int(tail))
        return web.Response(body=body, content_type="application/vnd.docker.raw-stream")

    async def prepare_command(self, request: web.Request) -> web.StreamResponse:
        container = self._container(request)
        if not container.running:
            raise ApiError(409, f"Container {container.id} is not running")
        id = f"{len(self.core.commands):064x}"
        self.core.commands[id] = Command(container, await body_of(request))
        return web.json_response({"Id": id}, status=201)

    async def run_command(self, request: web.Request) -> web.StreamResponse:
        """Knows ``echo WORD``, ``exit NUMBER`` and ``sleep``, which lasts as the container does."""
        command = self._command(request)
        container, line = command.container, " ".join(command.body["Cmd"])
        if "no-such-program" in line:
            raise ApiError(400, "OCI runtime exec failed: executable file not found in $PATH")
        response = web.StreamResponse(headers={"Content-Type": "application/vnd.docker.raw-stream"})
        await response.prepare(request)
        for word in re.findall(r"echo (\S+?);", line):
            data = f"{word}\n".encode()
            await response.write(bytes([1, 0, 0, 0]) + len(data).to_bytes(4, "big") + data)
        if "sleep" in line:
            async with self.core.changed:
                await self.core.changed.wait_for(lambda: not container.running)
        code = re.search(r"exit (\d+)", line)
        command.exit_code = 137 if not container.running else int(code[1]) if code else 0
        return response

    async def inspect_command(self, request: web.Request) -> web.StreamResponse:
        command = self._command(request)
        code = command.exit_code
        return web.json_response({"Running": code is None, "ExitCode": code})

    def _command(self, request: web.Request) -> Command:
        found = self.core.commands.get(request.match_info["id"])
        if found is None:
            raise ApiError(404, f"No such exec instance: {request.match_info['id']}")
        return found

    async def put_archive(self, request: web.Request) -> web.StreamResponse:
        container, path = self._container(request), request.query["path"]
        inside = {one.rstrip("/") for one in (*DIRECTORIES, *container.mounted())}
        if path.rstrip("/") not in inside:
            raise ApiError(404, f"Could not find the file {path} in container {container.id}")
        if container.host_config.get("ReadonlyRootfs") and path not in container.mounted():
            raise ApiError(403, "container rootfs is marked read-only")
        data = await request.read()
        container.archives = [*(container.archives or []), (path, data)]
        self.core.filesystem.write(container, data)
        return web.Response(status=200)

    async def stat_archive(self, request: web.Request) -> web.StreamResponse:
        container, path = self._container(request), request.query["path"]
        known = {*self.core.files, *self.core.filesystem.image, *container.mounted()}
        there = path in known
        return web.Response(status=200 if there else 404)

    async def get_archive(self, request: web.Request) -> web.StreamResponse:
        container, path = self._container(request), request.query["path"]
        data = self.core.filesystem.read(container, path)
        if data is None:
            raise ApiError(404, f"Could not find the file {path} in container {container.id}")
        return web.Response(body=data, content_type="application/x-tar")

    async def remove(self, request: web.Request) -> web.StreamResponse:
        force, volumes = (
            request.query.get(name, "0") in ("1", "true", "True") for name in ("force", "v")
        )
        container = self._container(request)
        self.core.remove(container, force=force)
        if volumes:
            self.core.anonymous.pop(container.id, None)
        await self.core.notify()
        return web.Response(status=204)

    def _container(self, request: web.Request) -> Any:
        return self.core.find(request.match_info["id"])

    # --- images ----------------------------------------------------------------------------

    async def list_images(self, request: web.Request) -> web.StreamResponse:
        return web.json_response([image.inspect() for image in self.core.images.values()])

    async def inspect_image(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self.core.find_image(request.match_info["name"]).inspect())

    async def tag_image(self, request: web.Request) -> web.StreamResponse:
        image = self.core.find_image(request.match_info["name"])
        reference = f"{request.query['repo']}:{request.query.get('tag') or 'latest'}"
        self.core.references[reference] = image.id
        image.tags.append(reference)
        self.core.emit("image", "tag", image.id, {"name": reference})
        return web.Response(status=201)

    async def remove_image(self, request: web.Request) -> web.StreamResponse:
        self.core.remove_image(request.match_info["name"])
        return web.json_response([{"Deleted": request.match_info["name"]}])

    async def pull(self, request: web.Request) -> web.StreamResponse:
        if "fromSrc" in request.query:  # an import
            reference = f"{request.query['repo']}:{request.query.get('tag') or 'latest'}"
            await request.read()
            self.core.add_image(reference, {}, event="import")
            return web.json_response({"status": "imported"})
        return await self.pulls.pull(request)

    # --- volumes and networks --------------------------------------------------------------

    async def create_volume(self, request: web.Request) -> web.StreamResponse:
        body = await body_of(request)
        volume = self.core.add_volume(
            body["Name"], body.get("Labels") or {},
            driver=body.get("Driver"), options=body.get("DriverOpts"),
        )  # fmt: skip
        return web.json_response(volume, status=201)

    async def list_volumes(self, request: web.Request) -> web.StreamResponse:
        labels, podman = filters_of(request).get("label", []), self.core.podman
        found = [
            volume
            for volume in self.core.volumes.values()
            if has_labels(volume["Labels"], labels, podman=podman)
        ]
        return web.json_response({"Volumes": found or None, "Warnings": None})

    async def inspect_volume(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if name not in self.core.volumes:
            raise ApiError(404, f"get {name}: no such volume")
        return web.json_response(self.core.volumes[name])

    async def remove_volume(self, request: web.Request) -> web.StreamResponse:
        self.core.remove_volume(request.match_info["name"])
        return web.Response(status=204)

    async def list_networks(self, request: web.Request) -> web.StreamResponse:
        filters, podman = filters_of(request), self.core.podman
        found = [
            network
            for network in self.core.networks.values()
            if has_labels(network["Labels"], filters.get("label", []), podman=podman)
            and any(network["Id"].startswith(id) for id in filters.get("id", [""]))
        ]
        return web.json_response(found)

    async def create_network(self, request: web.Request) -> web.StreamResponse:
        body = await body_of(request)
        if body.get("Driver") == "overlay":
            made = await self._swarm.create_overlay(body)
            return web.json_response({"Id": made["Id"], "Warning": ""}, status=201)
        network = self.core.add_network(
            body["Name"], body.get("Labels"),
            internal=body.get("Internal"), options=body.get("Options"),
        )  # fmt: skip
        return web.json_response({"Id": network["Id"]}, status=201)

    async def inspect_network(self, request: web.Request) -> web.StreamResponse:
        network = self.core.find_network(request.match_info["name"])
        return web.json_response(self.core.seen_network(network))

    async def remove_network(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        if self.core.find_network(name)["Scope"] == "swarm":
            await self._swarm.remove_overlay(name)
        else:
            self.core.remove_network(name)
        return web.Response(status=204)

    async def connect_network(self, request: web.Request) -> web.StreamResponse:
        network, body = self.core.find_network(request.match_info["name"]), await body_of(request)
        container = self.core.find(body["Container"])
        if network["Scope"] == "swarm":
            check_attachable(network, container)
        if network["Name"] in self.core.networks_of(container):
            words = f"endpoint with name {container.name} already exists in network"
            raise ApiError(403, f"{words} {network['Name']}")
        network["Containers"][container.id] = {"Name": container.name}
        return web.Response(status=200)

    async def disconnect_network(self, request: web.Request) -> web.StreamResponse:
        network, body = self.core.find_network(request.match_info["name"]), await body_of(request)
        container = self.core.find(body["Container"])
        if container.id not in network["Containers"]:
            words = f"container {container.id} is not connected to network"
            raise ApiError(500, f"{words} {network['Name']}")
        del network["Containers"][container.id]
        return web.Response(status=200)


class Pulls:
    """The registries' side of a pull."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.log: list[tuple[str, dict[str, Any] | None]] = []
        self.cancelled: list[str] = []
        self.holding = 0
        self.go = asyncio.Event()

    async def pull(self, request: web.Request) -> web.StreamResponse:
        """Send the lines of a pull."""
        repository, tag = request.query["fromImage"], request.query.get("tag", "latest")
        reference = f"{repository}@{tag}" if ":" in tag else f"{repository}:{tag}"
        auth = auth_of(request)
        self.log.append((reference, auth))
        try:
            return await self._pull(request, reference, auth)
        except (asyncio.CancelledError, ConnectionError):  # the latter: just when a line is sent
            self.cancelled.append(reference)
            raise

    async def _pull(
        self, request: web.Request, reference: str, auth: dict[str, Any] | None
    ) -> web.StreamResponse:
        remote = self.core.registry.get(full_reference(reference))
        if remote is None:
            repository = reference.split("@")[0].rpartition(":")[0]
            words = "repository does not exist or may require 'docker login'"
            raise ApiError(404, f"pull access denied for {repository}, {words}")
        if not remote.gives_to(auth):
            raise ApiError(500, f"Get {reference}: no basic auth credentials")
        if remote.hold == 0:
            await self._hold()
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        for number, line in enumerate(_lines(reference, remote), 1):
            await response.write(json.dumps(line).encode() + b"\r\n")
            if remote.hold == number:
                await self._hold()
        if remote.error is None:
            self.core.add_image(reference, remote.config, event="pull")
        return response

    def config(self, reference: str, auth: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
        """That of an image which a node pulls; None where it gets none."""
        remote = self.core.registry.get(full_reference(reference))
        if remote is None or remote.error is not None or not remote.gives_to(auth):
            return None
        return remote.config

    async def _hold(self) -> None:
        self.holding += 1
        try:
            await self.go.wait()
        finally:
            self.holding -= 1


def _lines(reference: str, remote: RemoteImage) -> list[dict[str, Any]]:
    ids = [f"{number:012x}" for number in range(1, len(remote.layers) + 1)]
    lines: list[dict[str, Any]] = [{"status": f"Pulling from {reference}", "id": "latest"}]
    lines += [{"status": "Pulling fs layer", "progressDetail": {}, "id": id} for id in ids]
    for position, (id, size) in enumerate(zip(ids, remote.layers, strict=True)):
        if remote.error is not None and position >= len(ids) // 2:
            return [*lines, {"errorDetail": {"message": remote.error}, "error": remote.error}]
        for part in (size // 3, size):
            detail = {"current": part, "total": size}
            lines.append({"status": "Downloading", "progressDetail": detail, "id": id})
        lines.append({"status": "Download complete", "progressDetail": {}, "id": id})
        detail = {"current": size, "total": size}
        lines.append({"status": "Extracting", "progressDetail": detail, "id": id})
        lines.append({"status": "Pull complete", "progressDetail": {}, "id": id})
    return [*lines, {"status": f"Status: Downloaded newer image for {reference}"}]


def _numbers(version: str | None) -> tuple[int, ...]:
    return tuple(map(int, version.split("."))) if version else ()
