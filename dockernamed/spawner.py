"""The conductor: JupyterHub's contract in, the modules around it out."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, urlsplit

import traitlets
from jupyterhub.spawner import Spawner
from jupyterhub.utils import make_ssl_context, url_path_join
from tornado import web
from traitlets import default, observe

from . import errors, naming, templates
from .backends.executor import PATIENCE_S
from .backends.watcher import ObservedContainer
from .desired.network import Endpoint, check_reachable, hub_host
from .desired.volumes import is_this_servers_alone
from .engine.archive import CERTS_DIR, certificates
from .engine.client import Connection
from .hub.http_errors import as_http_error, http_error
from .hub.ownership import Ownership
from .images.prepull import prepull
from .images.puller import Progress
from .lifecycle.monitor import ServerMonitor
from .lifecycle.progress import Journal
from .lifecycle.readiness import ReadinessProbe, url_of
from .lifecycle.resolver import SettingsResolver
from .lifecycle.runtime import Runtime
from .options import chooser
from .options.chooser import Chooser
from .settings import DockerNamedSettings

ALL_INTERFACES = frozenset({"", "0.0.0.0", "::"})


class DockerNamedSpawner(DockerNamedSettings, Spawner):  # type: ignore[misc]
    """Runs each (user, server name) in a container of its own, from an image of its own."""

    # A Dict in JupyterHub, whose version 5 then answers 500 to a body that is no object: any
    # value comes as far as our own judge, who answers 400.
    user_options = traitlets.Any({})

    # JupyterHub has no type hints: what we assign of its attributes.
    hub_connect_url: str | None
    ssl_alt_names: Any

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.object_id = ""
        self.object_name = ""
        self._volumes: dict[str, str] = {}
        self._last_image = ""
        self._options_before: dict[str, Any] | None = None
        self._image_info: Mapping[str, Any] | None = None
        self._certs = b""
        self._starting = False
        self._kept_failed = False
        self._tried = False
        self._found_hub_url = False
        self._journal = Journal()
        self._own_runtime: Runtime | None = None
        self._vigil: ServerMonitor | None = None
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
        if self._own_runtime is None:  # asked for at every poll of every server
            self._own_runtime = self.runtime(self.key.hub)
        return self._own_runtime

    def _wish(self) -> SettingsResolver:
        return SettingsResolver(self, self.key, self.template_namespace(), self._runtime())

    def template_namespace(self) -> dict[str, str]:
        """Fields of templates: naming.namespace, and JupyterHub's own ``base_url``."""
        extra = {"base_url": self.server.base_url} if self.server else {}
        return naming.namespace(self.key, prefix=self.prefix, image=self.image, extra=extra)

    def format_string(self, s: str) -> str:
        """Expand a template safely; JupyterHub uses it for notebook_dir and default_url."""
        return templates.expand(s, self.template_namespace(), field="notebook_dir or default_url")

    # --- state -----------------------------------------------------------------------------

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a server that an earlier Hub process started."""
        super().load_state(state)
        self.object_id = state.get("object_id", "")
        self.object_name = state.get("object_name", "")
        self._volumes = dict(state.get("volumes", {}))
        self._last_image = state.get("image", "")

    def get_state(self) -> dict[str, Any]:
        """What the Hub keeps: the container while there is one, the volumes' names for good."""
        state: dict[str, Any] = super().get_state()
        if self.object_id:
            state |= {"object_id": self.object_id, "object_name": self.object_name}
        if self._volumes:
            state["volumes"] = dict(self._volumes)
        if self._last_image:
            state["image"] = self._last_image
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

    @property
    def chooser(self) -> Chooser:
        """What may be chosen for this server."""
        return Chooser(self, self._runtime().engine.list_images)

    @default("options_form")
    def _default_options_form(self) -> Callable[..., Awaitable[str]]:
        return type(self)._form

    async def _form(self) -> str:
        return await as_http_error(self.chooser.form())

    @default("options_from_form")
    def _default_options_from_form(self) -> Callable[..., Awaitable[dict[str, object]]]:
        return self._from_form

    async def _from_form(self, form_data: Mapping[str, object]) -> dict[str, object]:
        return await as_http_error(self.chooser.from_form(form_data))

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Callable[..., Awaitable[None]]:
        return type(self)._apply_choice

    async def _apply_choice(self, user_options: dict[str, Any]) -> None:
        """Check what the user asked for before anything is made; JupyterHub saved it already."""
        try:
            choice = await as_http_error(self.chooser.apply(user_options))
        except web.HTTPError:
            if self._options_before is not None:
                self.user_options = self.orm_spawner.user_options = self._options_before
            raise
        finally:
            self._options_before = None
        self.log.info("%s: %s", self._log_name, choice.label or "default options")

    # --- before the start's clock runs -----------------------------------------------------

    async def run_pre_spawn_hook(self) -> None:
        """The admin's hook, then everything that may take its time: the pull."""
        self._tried = True
        result = super().run_pre_spawn_hook()
        if inspect.isawaitable(result):
            await result
        await as_http_error(self._prepare())

    async def _prepare(self) -> None:
        runtime, wish = self._runtime(), self._wish()
        for limit in ("mem_limit", "cpu_limit"):
            setattr(self, limit, await wish.value_of(getattr(self, limit)))
        await self._find_hub(runtime, await wish.network())
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
        percent = 100 * progress.done // max(progress.total, 1)
        how_far = f"{percent} %, " if progress.total else ""
        self._journal.tell(
            5 + 45 * percent // 100, f"Pulling {self.image}: {how_far}{progress.message}"
        )

    async def prepull_all(self, runtime: Runtime) -> None:
        """Pull every image that can be chosen."""
        pull = partial(self._pull, runtime)
        await prepull(chooser.images(self), pull, runtime.watcher, self.log)

    async def _find_hub(self, runtime: Runtime, network: str) -> None:
        """Set hub_connect_url where the admin left it to us."""
        hub = self.hub
        if (self.hub_connect_url and not self._found_hub_url) or hub.connect_ip or hub.connect_url:
            return
        if network != "host":
            check_reachable(hub.ip)
        if hub.ip not in ALL_INTERFACES or not runtime.engine_is_local:
            return
        info = await runtime.network(network)
        host = hub_host(network, info, await runtime.hub_container())
        self.hub_connect_url = f"{hub.proto}://{host}:{hub.connect_port or hub.port}"
        self._found_hub_url = True

    # --- start -----------------------------------------------------------------------------

    async def start(self) -> str:
        """Start the server; return its URL once it answers.

        Raises:
            web.HTTPError: with a message for the person who asked.
        """
        self._starting, self._kept_failed = True, False
        debut = ReadinessProbe(
            self._runtime(),
            seconds=self.start_timeout,
            log_lines=self.crash_log_lines,
            ssl_context=self._ssl_context(),
        )
        try:
            return await self._start(debut)
        except errors.DockerNamedError as error:
            raise http_error(error, self) from error
        except asyncio.CancelledError:
            if debut.too_late is None:
                raise
            raise http_error(debut.too_late) from None
        finally:
            self._starting = False

    async def _start(self, debut: ReadinessProbe) -> str:
        env = debut.env = self._env()
        runtime = self._runtime()
        wish, image = self._wish(), self._image_info or {}
        claims, elsewhere = self._claims(), self._claims(elsewhere=True)
        storage = await wish.storage(image, self._volumes, claims, elsewhere)
        spec = await wish.spec(image, storage, self.get_args(), env)
        for note in storage.notes:
            self.log.info("%s: %s", self._log_name, note)
        self._note_volumes(storage.remembered)
        access, path = await wish.reach(), url_path_join(self.server.base_url, "api")

        async def until_ready(container_id: str) -> Endpoint:
            self._journal.tell(75, "Waiting for the server to answer")
            return await debut.first_answer(self.port, access, path, container_id)

        try:
            running = await runtime.backend.start(
                spec,
                env,
                volume_owners=storage.owners,
                until_ready=until_ready,
                before_start=self._upload_certs if self._certs else None,
                on_step=self._journal.step,
                keep_failed=self.keep_failed,
                others=claims,
            )
        except errors.ServerDied:
            self._kept_failed = self.keep_failed
            raise
        self.object_id, self.object_name = running.id, running.name
        self._last_image = self.image
        self._volumes.update(storage.remembered)
        self._watch(runtime)
        self._journal.tell(90, "The server is ready")
        return url_of(running, secure=self.internal_ssl)

    def _note_volumes(self, remembered: Mapping[str, str]) -> None:
        """Have new volumes in the Hub's database before they exist; a failed start forgets them.

        JupyterHub stores our state once the server answers. Until then the Hub may be killed, and
        the server live on.
        """
        volumes = {**self._volumes, **remembered}
        if volumes != self._volumes:
            self.orm_spawner.state = {**self.get_state(), "volumes": volumes}
            self.user.db.commit()

    def _ssl_context(self) -> Any:
        if not self.internal_ssl:
            return None
        settings = self.user.settings
        return make_ssl_context(
            settings.get("internal_ssl_key"),
            settings.get("internal_ssl_cert"),
            cafile=settings.get("internal_ssl_ca"),
        )

    # --- the environment -------------------------------------------------------------------

    def get_env(self) -> dict[str, str]:
        """JupyterHub's environment, and which image this is, under the names that others use."""
        env: dict[str, str] = super().get_env()
        env.setdefault("JUPYTER_IMAGE_SPEC", self.image)
        env.setdefault("JUPYTER_IMAGE", self.image)
        return env

    def _claims(self, *, elsewhere: bool = False) -> Ownership:
        """What other servers of the Hub, or of other users alone, have."""
        return Ownership(self.user.db, self.orm_spawner, elsewhere=elsewhere)

    def _env(self) -> dict[str, str]:
        return {name: str(value) for name, value in self.get_env().items() if value is not None}

    # --- while it runs ---------------------------------------------------------------------

    async def poll(self) -> int | None:
        """None while starting or running, or while the Engine cannot tell; else the exit code."""
        if self._starting:
            return None
        runtime = self._runtime()
        if self._nothing_made():
            return 0
        # At the Hub's start this waits for the Engine rather than call every server dead.
        await runtime.watcher.synced()
        record = runtime.watcher.get(self.object_id) if self.object_id else None
        if record is None:
            if self.object_id and not runtime.watcher.connected:
                return None
            found = await runtime.backend.running_id(self.user.name, self.name, self._claims())
            if found is None:
                return 0
            # A Hub that was killed in the middle of a start left no state, but labels.
            self.object_id = found
        elif not record.running:
            if self._vigil is None and record.ended:
                self._log_end(record, "ended while the Hub was down (was the Engine restarted?)")
            if self._vigil is not None and self._vigil.restarting:
                return None
            return record.exit_code or 0
        if self._watch(runtime).outdated():
            await self._moved()
        return None

    def _nothing_made(self) -> bool:
        """A start of ours came to nothing without an Engine to ask.

        What it may have left all the same is taken back when the Engine is there again.
        """
        return self._tried and not self.object_id and not self._runtime().watcher.connected

    def _watch(self, runtime: Runtime) -> ServerMonitor:
        if self._vigil is None or self._vigil.id != self.object_id:
            self._stop_watching()
            self._vigil = ServerMonitor(runtime.watcher, self.object_id, self._ended, self._moved)
        return self._vigil

    def _stop_watching(self) -> None:
        if self._vigil is not None:
            self._vigil.end()
            self._vigil = None

    async def _ended(self, record: ObservedContainer, how: str) -> None:
        """Tell the Hub at once, if it listens yet: poll_and_notify asks its callbacks only once."""
        self._log_end(record, how)
        if self._callbacks:
            await self.poll_and_notify()

    def _log_end(self, record: ObservedContainer, how: str) -> None:
        why = " (out of memory)" if record.oom else ""
        self.log.warning("%s %s, with exit code %s%s", self._log_name, how, record.exit_code, why)

    async def _moved(self) -> None:
        """Lead the Hub and its proxy to where the server is now."""
        try:
            url = urlsplit(await self._url_now())
        except errors.DockerNamedError as error:
            self.log.warning("Could not find out where %s is now: %s", self._log_name, error)
            return
        server = self.server
        if server is None or (server.ip, server.port) == (url.hostname, url.port):
            return
        self.log.warning("%s is at %s now, not at %s", self._log_name, url.netloc, server.host)
        server.ip, server.port = url.hostname, url.port
        self.user.db.commit()
        proxy = self.user.settings.get("proxy")
        if proxy is not None and not self.pending:
            await proxy.add_user(self.user, self.name)

    async def get_url(self) -> str:
        """Where the server is now: published ports change when the Engine restarts."""
        try:
            return await self._url_now()
        except errors.DockerNamedError as error:
            # JupyterHub asks at its start, which must not fail because one server has just ended.
            self.log.warning("%s: keeping the URL as it was: %s", self._log_name, error)
            return str(self.server.url)

    async def _url_now(self) -> str:
        access = await self._wish().reach()
        running = await self._runtime().backend.address(self.object_id, self.port, access)
        return url_of(running, secure=self.internal_ssl)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the start does, for the spawn page and the REST event stream."""
        async for event in self._journal.listen():
            yield event

    # --- the end ---------------------------------------------------------------------------

    async def stop(self, now: bool = False) -> None:
        """Stop the server, kill it when ``now``; remove its container unless it is kept."""
        self._stop_watching()
        if self._nothing_made():
            return
        grace = 0.0 if now else self.stop_timeout
        await self._runtime().backend.stop(
            self.user.name,
            self.name,
            grace=grace,
            keep=not self.remove,
            own=self.object_id,
            others=self._claims(),
        )

    async def run_post_stop_hook(self) -> None:
        """The admin's hook; then remove the container of a server that ended by itself."""
        result = super().run_post_stop_hook()
        if inspect.isawaitable(result):
            await result
        if not self._kept_failed and self._runtime().watcher.connected:
            await self.stop()

    async def delete_forever(self) -> None:
        """Remove the container, and the volumes that are this server's alone.

        The Hub forgets the server whatever we raise, so an Engine that is away is waited for.
        """
        runtime = self._runtime()
        await runtime.backend.delete(self.user.name, self.name, others=self._claims())
        if not self.delete_volumes:
            return
        goes = partial(
            is_this_servers_alone,
            key=self.key,
            remembered=set(self._volumes.values()),
            taken=self._claims(),
        )
        await runtime.backend.delete_volumes(self.key.hub, goes)

    async def rename(self, old_name: str, new_name: str) -> None:
        """Let go of a kept container: its labels cannot follow. The volumes are remembered."""
        self.log.info("%s is renamed from %r to %r", self._log_name, old_name, new_name)
        backend, others = self._runtime().backend, self._claims()
        await as_http_error(backend.delete(self.user.name, old_name, PATIENCE_S, others))

    # --- certificates ----------------------------------------------------------------------

    async def create_certs(self) -> Any:
        """JupyterHub's, made out to the container's name too."""
        if not callable(self.ssl_alt_names):
            names = [f"DNS:{name}" for name in self._wish().names()]
            self.ssl_alt_names = [*self.ssl_alt_names, *names]
        return await super().create_certs()

    async def move_certs(self, paths: Mapping[str, str]) -> dict[str, str]:
        """Read the files, and say where they will be in the container.

        At once: those of another server of this user will be written over them.
        """
        self._certs = certificates(paths)
        return {name: f"{CERTS_DIR}/{name}" for name in paths}

    async def _upload_certs(self, container_id: str) -> None:
        await self._runtime().engine.put_archive(container_id, "/", self._certs)
