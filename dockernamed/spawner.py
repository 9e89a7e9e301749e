"""The conductor: JupyterHub's contract in, the modules around it out."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from jupyterhub import spawner as hub_spawner
from jupyterhub.spawner import Spawner
from jupyterhub.utils import make_ssl_context, url_path_join
from tornado import web
from traitlets import default, observe

from . import errors, hubaddress, naming, options
from .certs import CERTS_DIR, archive_of
from .containers import Reach, Running
from .engine import Connection
from .images import AllowedImages
from .progress import Journal
from .puller import Progress
from .ready import answers
from .redact import hidden
from .runtime import Runtime
from .storage import is_this_servers_alone
from .traits import DockerNamedSettings
from .watcher import State
from .wish import Wish

ALL_INTERFACES = frozenset({"", "0.0.0.0", "::"})
#: HTTP status of an error at start, by the first class that fits.
STATUS: tuple[tuple[type[errors.DockerNamedError], int, str], ...] = (
    (errors.OptionsError, 400, "options"),
    (errors.ConfigError, 500, "config"),
    (errors.ImageError, 500, "image"),
    (errors.ForeignObject, 409, "foreign"),
    (errors.ServerDied, 500, "died"),
    (errors.ServerSilent, 500, "timeout"),
    (errors.EngineUnavailable, 503, "engine"),
    (errors.DockerNamedError, 500, "engine"),
)


class DockerNamedSpawner(DockerNamedSettings, Spawner):  # type: ignore[misc]
    """Runs each (user, server name) in a container of its own, from an image of its own."""

    # JupyterHub has no type hints: what we assign of its attributes.
    api_token: str
    hub_connect_url: str | None
    ssl_alt_names: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.object_id = ""
        self.object_name = ""
        self._volumes: dict[str, str] = {}
        self._image_info: Mapping[str, Any] | None = None
        self._certs: Mapping[str, str] = {}
        self._starting = False
        self._kept_failed = False
        self._tried = False
        self._deadline = 0.0
        self._found_hub_url = False
        self._journal = Journal()
        self._unwatch: Callable[[], None] | None = None
        if self.user is not None:
            # JupyterHub joins user and server with "-", so ('a', 'b-c') and ('a-b', 'c') would
            # share a client. A "!" never comes out of quote().
            parts = [quote(part, safe="") for part in (self.user.name, self.name) if part]
            self.oauth_client_id = "jupyterhub-user-" + "!".join(parts)

    # --- identity --------------------------------------------------------------------------

    @property
    def key(self) -> naming.Key:
        """Who this server is."""
        hub = self.hub_id or self.derived_hub_id(self.user.settings["cookie_secret"])
        return naming.Key(hub, self.user.name, self.name)

    @staticmethod
    def derived_hub_id(cookie_secret: bytes) -> str:
        """A Hub's id from what persists with it; the secret cannot be told from it."""
        return hmac.new(cookie_secret, b"dockernamed hub id", hashlib.sha256).hexdigest()[:12]

    def _connection(self) -> Connection:
        return Connection(
            options=tuple(self.client_kwargs.items()), tls=tuple(self.tls_config.items())
        )

    def runtime(self, hub_id: str) -> Runtime:
        """The Engine as this Hub sees it, shared by all its spawners."""
        return Runtime.shared(self._connection(), hub_id, self.log, self.max_parallel_calls)

    def _runtime(self) -> Runtime:
        return self.runtime(self.key.hub)

    def _wish(self) -> Wish:
        return Wish(self, self.key, self.template_namespace(), self._runtime())

    def template_namespace(self) -> dict[str, str]:
        """Fields of templates: naming.namespace, and JupyterHub's own ``base_url``."""
        extra = {"base_url": self.server.base_url} if self.server else {}
        return naming.namespace(self.key, prefix=self.prefix, image=self.image, extra=extra)

    def format_string(self, s: str) -> str:
        """Expand a template safely; JupyterHub uses it for notebook_dir and default_url."""
        return naming.expand(s, self.template_namespace(), field="notebook_dir or default_url")

    # --- state -----------------------------------------------------------------------------

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a server that an earlier Hub process started."""
        super().load_state(state)
        self.object_id = state.get("object_id", "")
        self.object_name = state.get("object_name", "")
        self._volumes = dict(state.get("volumes", {}))

    def get_state(self) -> dict[str, Any]:
        """What the Hub keeps: the container while there is one, the volumes' names for good."""
        state: dict[str, Any] = super().get_state()
        if self.object_id:
            state |= {"object_id": self.object_id, "object_name": self.object_name}
        if self._volumes:
            state["volumes"] = dict(self._volumes)
        return state

    def clear_state(self) -> None:
        """Forget the container; never the volumes."""
        super().clear_state()
        self.object_id = self.object_name = ""
        self._stop_watching()
        self._journal.close()
        self._journal = Journal()

    # --- options ---------------------------------------------------------------------------

    @observe("user_options")
    def _remember_earlier_options(self, change: Any) -> None:
        self._options_before = change.old if isinstance(change.old, dict) else {}

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Callable[..., Awaitable[None]]:
        return type(self)._apply_choice

    async def _apply_choice(self, user_options: dict[str, Any]) -> None:
        """Check what the user asked for before anything is made; JupyterHub saved it already."""
        try:
            choice = options.parse(user_options, await self._menu())
        except errors.DockerNamedError as error:
            self.user_options = self.orm_spawner.user_options = self._options_before
            raise self._refusal(error) from error
        if choice.image is not None:
            self.image = choice.image

    async def _menu(self) -> options.Menu:
        allowed = AllowedImages(await self._wish().value_of(self.allowed_images))
        self.image = allowed.images.get(self.image, self.image)
        return options.Menu(images=allowed)

    # --- before the start's clock runs -----------------------------------------------------

    async def run_pre_spawn_hook(self) -> None:
        """The admin's hook, then everything that may take its time: the pull."""
        self._tried = True
        result = super().run_pre_spawn_hook()
        if inspect.isawaitable(result):
            await result
        try:
            await self._prepare()
        except errors.DockerNamedError as error:
            raise self._refusal(error) from error

    async def _prepare(self) -> None:
        runtime = self._runtime()
        await self._find_hub(runtime, await self._wish().network())
        self._journal.tell(5, f"Looking for image {self.image}")
        self._image_info = await self._pull(runtime, self.image, self._pulling)

    async def _pull(
        self, runtime: Runtime, image: str, on_progress: Callable[[Progress], None] | None = None
    ) -> Mapping[str, Any] | None:
        credentials = await runtime.credentials_for(image, self.registry_credentials, self)
        return await runtime.puller.ensure(
            image,
            self.pull_policy,
            timeout=self.pull_timeout,
            credentials=credentials,
            on_progress=on_progress,
        )

    def _pulling(self, progress: Progress) -> None:
        percent = 5 + 45 * progress.done // max(progress.total, 1)
        self._journal.tell(int(percent), f"Pulling {self.image}: {progress.message}")

    async def prepull_all(self, runtime: Runtime) -> None:
        """Pull every image that can be chosen; what fails is logged, and pulled when needed."""
        allowed = AllowedImages(self.allowed_images if not callable(self.allowed_images) else None)
        wanted = {allowed.images.get(self.image, self.image), *allowed.images.values()}
        results = await asyncio.gather(
            *(self._pull(runtime, image) for image in sorted(wanted)), return_exceptions=True
        )
        for error in results:
            if isinstance(error, BaseException):
                self.log.warning("Prepull: %s", error)

    async def _find_hub(self, runtime: Runtime, network: str) -> None:
        """Set hub_connect_url where the admin left it to us."""
        hub = self.hub
        if (self.hub_connect_url and not self._found_hub_url) or hub.connect_ip or hub.connect_url:
            return
        if network != "host":
            hubaddress.check_reachable(hub.ip)
        if hub.ip not in ALL_INTERFACES or not runtime.engine_is_local:
            return
        info = await runtime.network(network)
        host = hubaddress.hub_host(network, info, await runtime.hub_container())
        self.hub_connect_url = f"{hub.proto}://{host}:{hub.connect_port or hub.port}"
        self._found_hub_url = True

    # --- start -----------------------------------------------------------------------------

    async def start(self) -> str:
        """Start the server; return its URL once it answers.

        Raises:
            web.HTTPError: with a message for the person who asked.
        """
        self._starting, self._kept_failed = True, False
        self._deadline = asyncio.get_running_loop().time() + self.start_timeout
        try:
            return await self._start()
        except errors.DockerNamedError as error:
            raise self._refusal(error) from error
        finally:
            self._starting = False

    async def _start(self) -> str:
        runtime = self._runtime()
        wish, image = self._wish(), self._image_info or {}
        for limit in ("mem_limit", "cpu_limit"):
            setattr(self, limit, await wish.value_of(getattr(self, limit)))
        storage = await wish.storage(image, self._volumes, self._volumes_of_others())
        spec = await wish.spec(image, storage, self.get_args())
        for note in storage.notes:
            self.log.info("%s: %s", self._log_name, note)
        self._journal.tell(55, "Creating the container")
        container_id = await runtime.backend.start(
            spec,
            self._env(),
            keep=not self.remove,
            volume_owners=storage.owners,
            before_start=self._upload_certs if self._certs else None,
        )
        self._journal.tell(70, "Waiting for the server to answer")
        try:
            running = await self._first_answer(runtime, container_id, await wish.reach())
        except BaseException as error:
            self._kept_failed = self.keep_failed and isinstance(error, errors.ServerDied)
            if not self._kept_failed:
                await runtime.backend.discard(container_id)
            raise
        self.object_id, self.object_name = running.id, running.name
        self._volumes.update(storage.remembered)
        # A container that was used again has its first start's token: the Hub takes it up.
        self.api_token = running.env.get("JUPYTERHUB_API_TOKEN", self.api_token)
        self._watch(runtime)
        self._journal.tell(90, "The server answers")
        return self._url(running)

    async def _first_answer(self, runtime: Runtime, container_id: str, reach: Reach) -> Running:
        """Race the first answer against the container's death."""
        try:
            running = await runtime.backend.address(container_id, self.port, reach)
        except errors.ServerDied:
            raise await self._post_mortem(runtime, container_id) from None
        url = url_path_join(self._url(running), self.server.base_url, "api")
        ready = asyncio.ensure_future(answers(url, self._ssl_context()))
        dead = asyncio.ensure_future(runtime.watcher.wait_dead(container_id))
        try:
            await asyncio.wait(
                {ready, dead}, timeout=self._time_left(), return_when=asyncio.FIRST_COMPLETED
            )
            if ready.done():
                ready.result()
                return running
            death = await self._post_mortem(runtime, container_id)
            raise death if dead.done() else errors.ServerSilent(url, self.start_timeout, death.log)
        finally:
            ready.cancel()
            dead.cancel()

    def _time_left(self) -> float:
        """Seconds until we give up: a little before the Hub does, which could give no reason."""
        margin: float = min(1.0, self.start_timeout / 10)
        return max(0.0, self._deadline - margin - asyncio.get_running_loop().time())

    async def _post_mortem(self, runtime: Runtime, container_id: str) -> errors.ServerDied:
        death = await runtime.backend.post_mortem(container_id, self.crash_log_lines)
        return errors.ServerDied(death.exit_code, death.oom, hidden(death.log, self._env()))

    def _ssl_context(self) -> Any:
        if not self.internal_ssl:
            return None
        settings = self.user.settings
        return make_ssl_context(
            settings.get("internal_ssl_key"),
            settings.get("internal_ssl_cert"),
            cafile=settings.get("internal_ssl_ca"),
        )

    def _url(self, running: Running) -> str:
        host = f"[{running.host}]" if ":" in running.host else running.host
        return f"{'https' if self.internal_ssl else 'http'}://{host}:{running.port}"

    # --- the environment -------------------------------------------------------------------

    def get_env(self) -> dict[str, str]:
        """JupyterHub's environment, and which image this is, under the names that others use."""
        env: dict[str, str] = super().get_env()
        env.setdefault("JUPYTER_IMAGE_SPEC", self.image)
        env.setdefault("JUPYTER_IMAGE", self.image)
        return env

    def _volumes_of_others(self) -> set[str]:
        """What this user's other servers remember as theirs, under whatever name they have now."""
        return {
            name
            for other in self.user.orm_spawners.values()
            if other.name != self.name
            for name in ((other.state or {}).get("volumes") or {}).values()
        }

    def _env(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.get_env().items() if value is not None}

    # --- while it runs ---------------------------------------------------------------------

    async def poll(self) -> int | None:
        """None while starting or running, or while the Engine cannot tell; else the exit code."""
        if self._starting:
            return None
        runtime = self._runtime()
        if self._tried and not self.object_id and not runtime.watcher.connected:
            # A start of ours that failed without the Engine: what it may have left is taken back
            # when the Engine returns.
            return 0
        # At the Hub's start this waits for the Engine rather than call every server dead.
        await runtime.watcher.synced()
        record = runtime.watcher.get(self.object_id) if self.object_id else None
        if record is None:
            if self.object_id and not runtime.watcher.connected:
                return None
            found = await runtime.backend.running_id(self.user.name, self.name)
            if found is None:
                return 0
            # A Hub that was killed in the middle of a start left no state, but labels.
            self.object_id = found
        elif record.state is not State.RUNNING:
            return record.exit_code or 0
        self._watch(runtime)
        return None

    def _watch(self, runtime: Runtime) -> None:
        self._stop_watching()
        self._unwatch = runtime.watcher.on_death(self.object_id, self._on_death)

    def _stop_watching(self) -> None:
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None

    def _on_death(self, record: Any) -> None:
        """Tell the Hub at once, if it listens yet: poll_and_notify asks its callbacks only once."""
        self.log.warning("%s ended with exit code %s", self._log_name, record.exit_code)
        if self._callbacks:
            task = asyncio.ensure_future(self.poll_and_notify())
            task.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def get_url(self) -> str:
        """Where the server is now: published ports change when the Engine restarts."""
        runtime = self._runtime()
        reach = await self._wish().reach()
        return self._url(await runtime.backend.address(self.object_id, self.port, reach))

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the start does, for the spawn page and the REST event stream."""
        async for event in self._journal.listen():
            yield event

    # --- the end ---------------------------------------------------------------------------

    async def stop(self, now: bool = False) -> None:
        """Stop the server, kill it when ``now``; remove its container unless it is kept."""
        self._stop_watching()
        grace = 0.0 if now else self.stop_timeout
        await self._runtime().backend.stop(
            self.user.name, self.name, grace=grace, keep=not self.remove
        )

    async def run_post_stop_hook(self) -> None:
        """The admin's hook; then remove the container of a server that ended by itself."""
        result = super().run_post_stop_hook()
        if inspect.isawaitable(result):
            await result
        if not self._kept_failed and self._runtime().watcher.connected:
            await self.stop()

    async def delete_forever(self) -> None:
        """Remove the container, and the volumes that are this server's alone."""
        runtime = self._runtime()
        await runtime.backend.delete(self.user.name, self.name)
        if not self.delete_volumes:
            return
        goes = partial(
            is_this_servers_alone,
            key=self.key,
            remembered=set(self._volumes.values()),
            taken=self._volumes_of_others(),
        )
        await runtime.backend.delete_volumes(self.key.hub, goes)

    async def rename(self, old_name: str, new_name: str) -> None:
        """Let go of a kept container: its labels cannot follow. The volumes are remembered."""
        self.log.info("%s is renamed from %r to %r", self._log_name, old_name, new_name)
        await self._runtime().backend.delete(self.user.name, old_name)

    # --- certificates ----------------------------------------------------------------------

    async def create_certs(self) -> Any:
        """JupyterHub's, made out to the container's name too."""
        if not callable(self.ssl_alt_names):
            names = [f"DNS:{name}" for name in self._wish().names()]
            self.ssl_alt_names = [*self.ssl_alt_names, *names]
        return await super().create_certs()

    async def move_certs(self, paths: Mapping[str, str]) -> dict[str, str]:
        """Note the files for the upload into the container, and say where they will be there."""
        self._certs = dict(paths)
        return {name: f"{CERTS_DIR}/{name}" for name in paths}

    async def _upload_certs(self, container_id: str) -> None:
        data = await asyncio.to_thread(archive_of, self._certs)
        await self._runtime().engine.put_archive(container_id, "/", data)

    # --- errors ----------------------------------------------------------------------------

    def _refusal(self, error: errors.DockerNamedError) -> web.HTTPError:
        """The error as JupyterHub shows it to the one who asked, in pages and over REST."""
        status, reason = next(
            (status, reason) for kind, status, reason in STATUS if isinstance(error, kind)
        )
        message = str(error)
        made_for_it = getattr(hub_spawner, "SpawnException", None)
        refusal: Any = (
            made_for_it(message, reason=reason, status_code=status)
            if made_for_it
            else web.HTTPError(status, message)
        )
        refusal.jupyterhub_message = message
        return refusal  # type: ignore[no-any-return]
