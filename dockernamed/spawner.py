"""DockerNamedSpawner: what JupyterHub asks of a Spawner, done by the modules around it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any
from urllib.parse import urlsplit

import traitlets
from jupyterhub.spawner import Spawner
from traitlets import default, observe

from . import errors, naming, templates
from .backends.base import SeenNetwork, ServerRef, StartRequest
from .callables import evaluated
from .desired.environment import Environment, split
from .desired.gpus import gpu_environment
from .desired.resolved import KeptSettings, ResolvedSettings, ServerState
from .desired.spec import ServerSpec, notes
from .engine.archive import CERTS_DIR, certificates
from .engine.client import Connection
from .hub import app, hub_wide, kept_state
from .hub.belongings import Belongings
from .hub.http_errors import as_http_error, http_error
from .hub.hub_url import HubUrl
from .hub.identity import hub_id_of
from .hub.internal_ssl import made_out_to, ssl_context
from .hub.kept_options import KeptOptions
from .hub.other_hubs import another_hub_at
from .hub.ownership import ports_of_others
from .hub.quotas import admit
from .hub.sent_options import applied, ask_for_defaults
from .hub.until_ready import until_ready
from .hub.watch import Watch
from .hub.whereabouts import Whereabouts
from .images.pull_queue import PullLimits
from .lifecycle.attempt import StartAttempt
from .lifecycle.backends import CONTAINERS
from .lifecycle.hooks import modified
from .lifecycle.progress import StartProgress
from .lifecycle.pulls import Pulls
from .lifecycle.readiness import ReadinessProbe, url_of
from .lifecycle.resolver import SettingsResolver
from .lifecycle.runtime import Runtime
from .options.chooser import Chooser
from .options.user_options import Choice
from .settings import DockerNamedSettings
from .timeouts import within
from .timings import DEFAULT


class DockerNamedSpawner(DockerNamedSettings, Spawner):  # type: ignore[misc]
    """Runs each (user, server name) in a container of its own, from an image of its own."""

    # A Dict in JupyterHub, whose version 5 then answers 500 to a body that is no object: any
    # value comes as far as our own judge, who answers 400.
    user_options = traitlets.Any({})

    # JupyterHub has no type hints: what we assign of its attributes.
    hub_connect_url: str | None

    #: How long is waited for what; no setting.
    timings = DEFAULT
    #: What servers are, who reads the settings for that, and who gets the images; no settings.
    backend = CONTAINERS
    resolver_class = SettingsResolver
    pulls_class = Pulls

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._state = ServerState()
        self._attempt: StartAttempt | None = None
        self._progress = StartProgress()
        self._hub_url = HubUrl(self)
        self._choice = Choice()
        self._options = KeptOptions(self)
        self._whereabouts = Whereabouts(self, lambda: self._runtime, self._settings_now)
        self._watch = Watch(self, lambda: self._runtime, self._whereabouts)
        if self.user is not None:
            self.oauth_client_id = naming.oauth_client_id(self.user.name, self.name)

    # --- identity --------------------------------------------------------------------------

    @property
    def key(self) -> naming.Key:
        """Who this server is."""
        hub = self.hub_id or hub_id_of(self.user.settings["cookie_secret"])
        return naming.Key(hub, self.user.name, self.name)

    @property
    def _log_name(self) -> str:
        return naming.shown(super()._log_name)

    def connection(self) -> Connection:
        """Where the Engine is, as the settings have it."""
        return Connection(
            options=tuple(self.client_kwargs.items()),
            tls=tuple(self.tls_config.items()),
            allow_insecure=self.allow_insecure_engine,
        )

    def runtime(self, hub_id: str) -> Runtime:
        """The Engine as this Hub sees it, shared by all its spawners."""
        return Runtime.shared(
            self.connection(),
            hub_id,
            self.log,
            self.max_parallel_calls,
            self.timings,
            partial(another_hub_at, patience=self.timings.other_hub),
            PullLimits(self.max_parallel_pulls, self.max_parallel_pulls_per_user),
            self.backend,
        )

    @cached_property
    def _runtime(self) -> Runtime:
        """The Engine as this Hub sees it; kept, as every poll of every server asks for it."""
        return self.runtime(self.key.hub)

    @property
    def _resolver(self) -> SettingsResolver:
        return self.resolver_class(
            self, self.key, self.template_namespace(), self._runtime, self._choice.volumes
        )

    def template_namespace(self) -> dict[str, str]:
        """Fields of templates: naming.namespace, and JupyterHub's own ``base_url``."""
        extra = {"base_url": self.server.base_url} if self.server else {}
        return naming.namespace(self.key, prefix=self.prefix, image=self.image, extra=extra)

    def format_string(self, s: str) -> str:
        """Expand a template safely; JupyterHub uses it for notebook_dir and default_url."""
        return templates.expand(s, self.template_namespace(), field="notebook_dir or default_url")

    # --- state -----------------------------------------------------------------------------

    @property
    def object_id(self) -> str:
        """The Engine's id of the server's container; "" while there is none."""
        return self._state.object_id

    @property
    def object_name(self) -> str:
        """The container's name."""
        return self._state.object_name

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up a server that an earlier Hub process started."""
        super().load_state(state)
        self._state = kept_state.taken_up(state, self)

    def get_state(self) -> dict[str, Any]:
        """What the Hub keeps: the container while there is one, volumes and settings for good."""
        state: dict[str, Any] = super().get_state()
        return state | self._state.to_json()

    def clear_state(self) -> None:
        """Forget the container; never the volumes."""
        super().clear_state()
        self._state = self._state.without_container()
        self._watch.stop()
        self._progress.close()
        self._progress = StartProgress()

    @property
    def _kept(self) -> KeptSettings | None:
        """The settings that the server was last started with."""
        return self._state.settings

    @property
    def _belongings(self) -> Belongings:
        return Belongings(self, self._runtime.watcher, self._state)

    # --- options ---------------------------------------------------------------------------

    @observe("user_options")
    def _options_arrived(self, change: Any) -> None:
        if "_options" in vars(self):  # else they are what the database has
            self._options.arrived(change.old)

    @property
    def chooser(self) -> Chooser:
        """What may be chosen for this server."""
        runtime = self._runtime
        return Chooser(self, runtime.engine.list_images, runtime.timings)

    @default("options_form")
    def _default_options_form(self) -> Callable[..., Awaitable[str]]:
        return type(self)._form

    async def _form(self) -> str:
        return await as_http_error(self.chooser.form(), self)

    @default("options_from_form")
    def _default_options_from_form(self) -> Callable[..., Awaitable[dict[str, object]]]:
        return self._from_form

    async def _from_form(self, form_data: Mapping[str, object]) -> dict[str, object]:
        return await as_http_error(self.chooser.from_form(form_data), self)

    @default("apply_user_options")
    def _default_apply_user_options(self) -> Callable[..., Awaitable[None]]:
        return type(self)._apply_choice

    async def _apply_choice(self, user_options: dict[str, Any]) -> None:
        """Check what the user asked for before anything is made; JupyterHub saved it already."""
        if ask_for_defaults(self.handler):
            user_options = self.user_options = {}
        applying = applied(
            user_options, self.chooser, self.handler, self._warn, others=self._has_own_form
        )
        choice = self._choice = await as_http_error(applying, self)
        self.log.info("%s: %s", self._log_name, naming.shown(choice.label) or "default options")

    async def typed_options(self, user_options: Any) -> list[str]:
        """Those options of a link whose values were typed, and not listed by an admin."""
        return await self.chooser.typed(user_options, others=self._has_own_form)

    @property
    def _has_own_form(self) -> bool:
        """The admin's own form, or a subclass, makes user_options, whose keys only hooks know."""
        return self.options_from_form != self._from_form or (
            bool(self.options_form) and self.options_form != type(self)._form
        )

    # --- before the start's clock runs -----------------------------------------------------

    async def run_auth_state_hook(self, auth_state: Any) -> None:
        """The admin's hook."""
        with hub_wide.kept_by("auth_state_hook", self):
            await super().run_auth_state_hook(auth_state)

    async def apply_group_overrides(self) -> None:
        """The overrides of the user's groups, where they can differ between servers."""
        with hub_wide.kept_by("group_overrides", self):
            await super().apply_group_overrides()

    async def run_pre_spawn_hook(self) -> None:
        """The admin's hook, then everything that may take its time: the pull."""
        attempt = self._attempt = StartAttempt()
        self._options.accepted()
        with self._options.judged():
            with hub_wide.kept_by("pre_spawn_hook", self):
                result = super().run_pre_spawn_hook()
                if inspect.isawaitable(result):
                    await result
            await as_http_error(self._blaming(self._prepare(attempt)), self)

    async def _blaming(self, work: Awaitable[None]) -> None:
        """Do it; a setting that cannot work because of what the user typed is the user's error."""
        try:
            await work
        except errors.ConfigError as error:
            raise self._choice.blamed(error) from error

    async def _prepare(self, attempt: StartAttempt) -> None:
        naming.check_names(self.key)
        seconds = self.start_timeout
        try:
            settings = await within(seconds, self._resolved(attempt))
        except asyncio.TimeoutError:
            words = f"no answer within {seconds:g} s"  # nobody else minds the time before start()
            raise errors.EngineTimeout("prepare the start", words) from None
        # What the server is told of its limits.
        self.mem_limit, self.cpu_limit = settings.mem_limit, settings.cpu_limit
        attempt.settings, attempt.image = await self.pulls_class(self, self._runtime).for_start(
            settings, self._progress.tell, registry_unknown=self._choice.registry_unknown
        )

    async def _resolved(self, attempt: StartAttempt) -> ResolvedSettings:
        """The settings of a start, of which nothing is made yet."""
        resolver = self._resolver
        place = await resolver.place()
        await self._hub_url.find(resolver, place)
        settings = await resolver.resolve(place, self.get_args())
        had = self._kept.gpus if self._kept else ()
        settings = await admit(self, self._runtime, settings, had, partial(self._begins, attempt))
        if settings.on_host:
            settings = settings.at_host_port(await self._host_port())
        await self._look_for_earlier_volumes(settings)
        return settings

    def _begins(self, attempt: StartAttempt) -> bool:
        return self._attempt is attempt and self.pending == "spawn"

    async def _look_for_earlier_volumes(self, settings: ResolvedSettings) -> None:
        """At a first start, say that the Engine has the server's volumes under another hub id."""
        if self._state.volumes or not any(one.identity for one in settings.volumes.all):
            return
        refuse = self.volumes_of_another_hub == "refuse"
        note = await self._runtime.earlier_volumes.note(settings.key, refuse=refuse)
        if note:
            self._warn(note)

    async def _host_port(self) -> int:
        """A port of the Engine's host for this server alone."""
        kept = self._kept
        earlier = kept.port if kept is not None and kept.on_host else 0
        taken = ports_of_others(self.user.db, self.orm_spawner)
        return await self._runtime.host_ports.give(self.key, self.port, earlier, taken)

    async def prepull_all(self, runtime: Runtime) -> None:
        """With ``prepull``, pull every image that can be chosen."""
        await self.pulls_class(self, runtime).beforehand()

    # --- start -----------------------------------------------------------------------------

    async def start(self) -> str:
        """Start the server; return its URL once it answers.

        Raises:
            web.HTTPError: with a message for the person who asked.
        """
        with self._options.judged():
            url = await self._started()
        self._options.over()
        return url

    async def _started(self) -> str:
        attempt = self._attempt
        assert attempt is not None, "JupyterHub runs the pre-spawn hook before start()"
        attempt.under_way = True
        probe = ReadinessProbe(
            self._runtime,
            seconds=self.start_timeout,
            log_lines=self.crash_log_lines,
            ssl_context=ssl_context(self),
        )
        failed = True
        try:
            url = await self._start_in_network(attempt, probe)
            failed = False
        except errors.DockerNamedError as error:
            blamed = self._choice.blamed(error)
            raise http_error(blamed, self, attempt.command_line, probe.all_secrets) from error
        except asyncio.CancelledError:
            late = probe.why_cancelled()
            if late is None:
                raise
            raise http_error(late, self, attempt.command_line, probe.all_secrets) from None
        finally:
            attempt.under_way = False
            self._runtime.host_ports.take_back(self.key, failed=failed)
        return url

    async def _start_in_network(self, attempt: StartAttempt, probe: ReadinessProbe) -> str:
        """Start it in the network that is there, or that is made for it and others."""
        settings = attempt.settings
        assert settings is not None, "JupyterHub does not start what could not be prepared"
        if settings.place.own is None:
            return await self._start(attempt, settings, probe)

        async def start_there(network: SeenNetwork) -> str:
            there = attempt.settings = settings.in_network(network.name)
            await self._hub_url.find(self._resolver, there.place, network.gateway)
            return await self._start(attempt, there, probe)

        return await self._runtime.networks.run_in(settings.key, settings.place.own, start_there)

    async def _start(
        self, attempt: StartAttempt, settings: ResolvedSettings, probe: ReadinessProbe
    ) -> str:
        request, remembered = await self._request(attempt, settings, probe)
        self._state = replace(self._state, settings=settings.kept, promise=settings.promise)
        volumes = {**self._state.volumes, **remembered}
        # A failed start forgets the volumes.
        kept_state.note(self, replace(self._state, volumes=volumes))
        runtime, progress = self._runtime, self._progress
        try:
            endpoint = await runtime.backend.start(
                request,
                until_ready=partial(until_ready, self, runtime, probe, progress, settings),
                on_step=partial(progress.step, noun=runtime.kind),
                on_note=partial(progress.tell, 75),
            )
        except errors.ServerDied:
            attempt.container_kept = settings.kept.keep_failed
            raise
        self._state = ServerState(
            object_id=endpoint.id,
            object_name=endpoint.name,
            volumes=volumes,
            image=settings.image,
            settings=settings.kept,
            made=self._belongings.made(endpoint.id),
            promise=settings.promise,
            kind=self.backend.kind,
        )
        self._watch.begin()
        progress.tell(90, "The server is ready")
        return url_of(endpoint, secure=self.internal_ssl)

    async def _request(
        self, attempt: StartAttempt, settings: ResolvedSettings, probe: ReadinessProbe
    ) -> tuple[StartRequest, Mapping[str, str]]:
        """What the start asks for, as the admin's hook has it, and the volumes to remember."""
        env = split(await self._env(), settings.secrets.environment)
        probe.env, probe.secrets = env.all, settings.secrets.words
        volumes, others = self._belongings.volumes(settings, attempt.image)

        def made(settings: ResolvedSettings, env: Environment) -> ServerSpec:
            spec = settings.spec(attempt.image, volumes, env, attempt.files)
            return replace(spec, hosts=self._hub_url.hosts)

        hook, judge = self.modify_container_hook, self._resolver.judge
        spec, env = await modified(hook, self, settings, env, made, judge)
        probe.env = env.all
        for note in volumes.notes:
            self.log.info("%s: %s", self._log_name, note)
        for note in notes(spec, env.all, attempt.image):
            self._warn(note)
        request = StartRequest(
            server=ServerRef(settings.key, others=others.containers, made=self._state.made),
            spec=spec,
            env=env,
            files=attempt.files,
            volume_owners=volumes.owners,
            keep_failed=settings.kept.keep_failed,
            homes=settings.homes(attempt.image, volumes.mounts, self._state.volumes.values()),
        )
        return request, volumes.remembered

    def _warn(self, note: str) -> None:
        """Tell the user of a start, and the Hub's log, what does not keep it from going on."""
        self.log.warning("%s: %s", self._log_name, note)
        self._progress.tell(0, note)

    # --- the environment -------------------------------------------------------------------

    def get_env(self) -> dict[str, str]:
        """JupyterHub's environment, and which image this is, under the names that others use."""
        env: dict[str, str] = super().get_env()
        settings = self._attempt and self._attempt.settings
        if settings and settings.kept.on_host:
            # JupyterHub tells the server the setting.
            url = urlsplit(env["JUPYTERHUB_SERVICE_URL"])
            at = f"{url.netloc.rpartition(':')[0]}:{settings.kept.port}"
            env["JUPYTERHUB_SERVICE_URL"] = url._replace(netloc=at).geturl()
        env.setdefault("JUPYTER_IMAGE_SPEC", self.image)
        env.setdefault("JUPYTER_IMAGE", self.image)
        return env

    async def _env(self) -> dict[str, str]:
        """The environment as text; callables in it may be async, and None leaves one out."""
        env = {name: await evaluated(value, self) for name, value in self.get_env().items()}
        settings = self._attempt and self._attempt.settings
        names = settings.gpus if settings else ()
        env = gpu_environment(names, given_out=bool(self.gpu_devices)) | env
        return {name: str(value) for name, value in env.items() if value is not None}

    # --- while it runs ---------------------------------------------------------------------

    async def poll(self) -> int | None:
        """None while starting or running, or while the Engine cannot tell; else the exit code."""
        if self._attempt is not None and self._attempt.under_way:
            return None
        runtime = self._runtime
        if self._nothing_to_ask():
            return 0
        # At the Hub's start this waits for the Engine rather than call every server dead.
        await runtime.watcher.synced()
        record = runtime.watcher.get(self.object_id) if self.object_id else None
        if record is None:
            if self.object_id and not runtime.watcher.connected:
                return None
            found = await runtime.backend.running_id(self._belongings.server)
            if found is None:
                return 0
            # A Hub that was killed in the middle of a start left no id, but labels.
            self._state = replace(self._state, object_id=found, made=self._belongings.made(found))
        elif not record.running:
            return self._watch.exit_code(record)
        if self.pending == "check":
            await self._join_network()
            if await self._whereabouts.displaced(self._kept):
                return 1
        await self._watch.catch_up()
        return None

    async def _join_network(self) -> None:
        """At the Hub's start: its container may be another one, which servers cannot reach."""
        try:
            await self._runtime.networks.join(self._kept.network if self._kept else "")
        except errors.EngineError as error:
            self.log.warning("%s may be out of reach: %s", self._log_name, error)

    @property
    def _came_to_nothing(self) -> bool:
        """There is nothing of a start of ours but what is taken back without us."""
        return self._attempt is not None and not self.object_id

    def _nothing_to_ask(self) -> bool:
        """A start of ours came to nothing, and the Engine is away, or still takes it back.

        Who is to be told why it failed waits for neither. Nor is anything to be asked of a
        container that died, and is kept: its end may not be told yet.
        """
        if self._attempt is None or not self._came_to_nothing:
            return False
        runtime = self._runtime
        away = not runtime.watcher.connected
        return away or self._attempt.container_kept or runtime.backend.undoes(self.key)

    async def get_url(self) -> str:
        """Where the server is now: published ports change when the Engine restarts."""
        return await self._whereabouts.url()

    async def _settings_now(self) -> KeptSettings:
        """The kept ones; today's for a server of a version that kept none."""
        if self._kept is not None:
            return self._kept
        resolver = self._resolver
        return resolver.kept(await resolver.place())

    def report_progress(self, message: str, progress: int = 0) -> None:
        """Tell the user something while the server starts, such as from a hook.

        Args:
            message: plain text.
            progress: how far the start is, in percent; what was told before counts at least.
        """
        self._progress.tell(progress, message)

    async def progress(self) -> AsyncIterator[dict[str, Any]]:
        """What the start does, for the spawn page and the REST event stream."""
        async for event in self._progress.listen():
            yield event

    # --- the end ---------------------------------------------------------------------------

    async def stop(self, now: bool = False) -> None:
        """Stop the server, kill it when ``now``; remove its container unless it is kept."""
        self._watch.stop()
        if self._nothing_to_ask():
            return
        settings = self._kept or self
        await self._runtime.backend.stop(
            self._belongings.server,
            grace=0.0 if now else settings.stop_timeout,
            keep=not settings.remove,
        )
        if not self._came_to_nothing:  # the network of such a start goes along with it
            await self._leave_network()

    async def _leave_network(self) -> None:
        """Have the network go that was made for the server, if it was the last one there."""
        await self._runtime.networks.release(self._kept.network if self._kept else "")

    async def run_post_stop_hook(self) -> None:
        """The admin's hook; then remove the container of a server that ended by itself."""
        self._options.over()
        result = super().run_post_stop_hook()
        if inspect.isawaitable(result):
            await result
        container_kept = self._attempt is not None and self._attempt.container_kept
        if not container_kept and self._runtime.watcher.connected:
            await self.stop()

    async def delete_forever(self) -> None:
        """Remove the container, and the volumes that are this server's alone.

        The Hub forgets the server whatever we raise, so an Engine that is away is waited for.
        """
        backend = self._runtime.backend
        await backend.delete(self._belongings.server)
        await self._leave_network()
        if not (self._kept or self).delete_volumes:
            return
        await backend.delete_volumes(self.key.hub, self._belongings.volumes_to_delete)

    async def rename(self, old_name: str, new_name: str) -> None:
        """Let go of a kept container: its labels cannot follow. The volumes are remembered."""
        self.log.info("%s is renamed from %r to %r", self._log_name, old_name, new_name)
        old = replace(self._belongings.server, key=replace(self.key, server=old_name))
        backend, patience = self._runtime.backend, self._runtime.timings.engine_first_seen
        await as_http_error(backend.delete(old, patience), self)
        await self._leave_network()

    # --- certificates ----------------------------------------------------------------------

    async def create_certs(self) -> Any:
        """JupyterHub's, made out to the names of the container, and to where it is published."""
        attempt = self._attempt
        assert attempt is not None, "JupyterHub makes certificates for a start"
        names = [f"DNS:{name}" for name in self._resolver.names()]
        names += attempt.settings.place.alt_names if attempt.settings else []
        with made_out_to(names, self):
            paths = await super().create_certs()
        # At once: those of another server of this user will be written over them.
        attempt.certificates = certificates(paths)
        return paths

    async def move_certs(self, paths: Mapping[str, str]) -> dict[str, str]:
        """Say where the files will be in the container."""
        return {name: f"{CERTS_DIR}/{name}" for name in paths}


# Whichever way a Hub's configuration names the class, by an entry point or by its path.
app.when_hub_runs(DockerNamedSpawner)
