"""How to reach an Engine: what admins write in docker-py's terms, turned into what HTTP needs.

docker-py decides what these terms mean, because admins know them from there: which environment
variables count, how an address is written, what a `docker.tls.TLSConfig` says, and where the
passwords of registries are. Everything here except `Connection` reads files and so must be called
in a thread.
"""

from __future__ import annotations

import difflib
import os
import re
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import docker.auth
import docker.constants
import docker.credentials
import docker.errors
import docker.tls
import docker.utils
import docker.utils.config

from ..errors import ConfigError
from .trust import SETTING, Said, Way, check_authority, check_files, lax_key, without_password

DEFAULT_URL = "unix:///var/run/docker.sock"

#: Arguments of `docker.APIClient` that are honoured, and for the others why they are refused.
_HONOURED = ("base_url", "credstore_env", "timeout", "tls", "user_agent", "version")
_POOLS = "max_parallel_calls decides how many connections are kept; leave this out"
_REFUSED = {
    "max_pool_size": _POOLS,
    "num_pools": _POOLS,
    "use_ssh_client": "ssh:// uses the library asyncssh, not the ssh command; leave this out",
}
_ERRORS = (docker.errors.DockerException, TypeError, ValueError, OSError)  # ssl.SSLError is one


@dataclass(frozen=True)
class Connection:
    """How to reach an Engine; hashable, so that all spawners of a Hub can share one `Engine`.

    Attributes:
        base_url: such as ``unix:///var/run/docker.sock`` or ``tcp://host:2376``; None follows
            DOCKER_HOST, DOCKER_TLS_VERIFY and DOCKER_CERT_PATH.
        timeout: seconds within which a short call must be answered.
        options: arguments of `docker.APIClient`, which win over the above.
        tls: arguments of `docker.tls.TLSConfig`.
        allow_insecure: use the way even if others could read along, or be taken for the Engine.
    """

    base_url: str | None = None
    timeout: float = 60.0
    options: tuple[tuple[str, object], ...] = ()
    tls: tuple[tuple[str, object], ...] = ()
    allow_insecure: bool = False

    def __hash__(self) -> int:
        # Values may be unhashable, such as a list of certificate files.
        names = (name for name, _ in (*self.options, *self.tls))
        return hash((self.base_url, self.timeout, *names))

    @property
    def url(self) -> str:
        """Where the Engine is, ``unix://…`` or ``tcp://…``, as configured or by DOCKER_HOST."""
        configured = dict(self.options).get("base_url") or self.base_url
        return str(configured or os.environ.get("DOCKER_HOST") or DEFAULT_URL)

    @property
    def address(self) -> Said:
        """Where it is said where the Engine is."""
        if not self.is_configured and os.environ.get("DOCKER_HOST"):
            return Said("DOCKER_HOST", self.url)
        return Said("client_kwargs", {"base_url": self.url})

    @property
    def is_configured(self) -> bool:
        """The address does not come from the environment, nor is it Docker's default."""
        return bool(dict(self.options).get("base_url") or self.base_url)

    @property
    def deadline(self) -> float:
        """Seconds within which a short call must be answered, wherever they were set.

        Raises:
            ConfigError: they are no number.
        """
        seconds: Any = dict(self.options).get("timeout", self.timeout)
        try:
            return float(seconds)
        except (TypeError, ValueError):
            raise _refused(self, "timeout is a number of seconds") from None


@dataclass(frozen=True)
class Route:
    """What HTTP needs to get to an Engine.

    Attributes:
        base: begins the URL of each request, ``http://…``, without a slash at its end.
        socket: path of a Unix socket to connect to; "" where there is none.
        ssh: ``ssh://user@host:port``, to connect through; "" elsewhere.
        tls: how to check the Engine's certificate and show our own; True for the system's way.
        proxy: URL of a proxy on the way, or None.
        headers: sent with each request.
        version: of the API, such as ``"1.41"``; None where the Engine is asked.
        notes: sentences on what is allowed and yet not good, for the log of a Hub that starts.
    """

    base: str
    socket: str = ""
    ssh: str = ""
    tls: ssl.SSLContext | bool = True
    proxy: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None
    notes: tuple[str, ...] = ()


def route_to(connection: Connection) -> Route:
    """Find out how to reach an Engine. Reads files, and so blocks; connects to nothing.

    Raises:
        ConfigError: a setting cannot work, or the way is not to be trusted; it names
            ``client_kwargs``, ``tls_config``, or a variable of the environment.
    """
    options = dict(connection.options)
    _check_known(connection, options)
    tls, said = _tls_settings(connection, options)
    try:
        address = str(docker.utils.parse_host(connection.url, tls=bool(tls)))
    except _ERRORS as error:
        raise _refused(connection, str(error)) from error
    scheme, _, rest = address.partition("://")
    common: dict[str, Any] = {
        "headers": _headers(connection, options),
        "version": _version(connection, options),
    }
    if scheme == "http+unix":
        notes = tuple(_unused_context(connection))
        return Route("http://localhost", socket="/" + rest.lstrip("/"), notes=notes, **common)
    if scheme == "ssh":
        return Route("http://localhost", ssh=address, **common)
    if scheme not in ("http", "https"):
        raise _refused(connection, "an Engine is reached by unix://, tcp:// or ssh://")
    base = address.rstrip("/")
    way = Way(connection.url, base, tls, _proxy(base), connection.address, said)
    problem = way.problem()
    if problem is not None and not connection.allow_insecure:
        raise problem
    context = True if tls is True or not tls else _tls_context(said, tls)
    notes = (*([f"As {SETTING} allows: {problem}"] if problem else ()), *lax_key(tls))
    return Route(base, tls=context, proxy=way.proxy, notes=notes, **common)


def account_credentials(connection: Connection, repository: str) -> dict[str, str]:
    """Credentials for the registry of a repository, by this account's Docker configuration.

    Blocks, perhaps for long: a credential helper is a program.

    Args:
        connection: its ``credstore_env`` is added to the environment of credential helpers.
        repository: with registry, without tag.

    Returns:
        Nothing when the configuration has no entry for the registry.

    Raises:
        ConfigError: the configuration cannot be read, or its credential helper failed.
    """
    environment = dict(connection.options).get("credstore_env")
    try:
        registry, _ = docker.auth.resolve_repository_name(repository)
        known = docker.auth.load_config(credstore_env=environment)
        found = known.resolve_authconfig(registry)
    except (*_ERRORS, docker.credentials.errors.StoreError) as error:
        hint = f"without it, config.json of the Docker client is used, which failed: {error}"
        raise ConfigError("registry_credentials", None, hint) from error
    return dict(found or {})


def encode_auth(credentials: Mapping[str, str]) -> str:
    """Credentials as the value of the header ``X-Registry-Auth``."""
    return bytes(docker.auth.encode_header(dict(credentials))).decode("ascii")


# --- each setting ------------------------------------------------------------------------------


def _check_known(connection: Connection, options: Mapping[str, object]) -> None:
    for name in options:
        if name in _HONOURED or (name == "use_ssh_client" and not options[name]):
            continue
        if name in _REFUSED:
            raise _refused(connection, f"{name}: {_REFUSED[name]}")
        close = difflib.get_close_matches(name, _HONOURED, 1)
        meant = f"did you mean {close[0]}?" if close else f"known: {', '.join(_HONOURED)}"
        raise _refused(connection, f"{name!r} is not an argument of docker.APIClient; {meant}")


def _tls_settings(connection: Connection, options: Mapping[str, object]) -> tuple[Any, Said | None]:
    """A `docker.tls.TLSConfig`, True for TLS without settings, or nothing; and who asked for it."""
    tls, said = _tls_of_environment() if not connection.base_url else (None, None)
    if connection.tls:
        tls, said = _tls_of_setting(connection)
    if "tls" in options:
        tls = options["tls"]
        if tls and said is not None and said.field == "tls_config":
            raise _refused(connection, "its tls would be used, and tls_config not; leave one out")
        said = Said("client_kwargs", dict(options)) if tls else said
    if tls and not isinstance(tls, (bool, docker.tls.TLSConfig)):
        raise _refused(connection, "tls is True or a docker.tls.TLSConfig")
    if tls and not (connection.address.by_environment or connection.is_configured):
        raise _refused(connection, "with TLS it must say where the Engine is, by its base_url")
    if said is not None and tls is not True:
        check_authority(said, tls)
    return tls, said


def _tls_of_setting(connection: Connection) -> tuple[Any, Said]:
    said, given = Said("tls_config", dict(connection.tls)), dict(connection.tls)
    pair = given.get("client_cert")
    check_files(
        said, [*(pair if isinstance(pair, (tuple, list)) else ()), *_given(given, "ca_cert")]
    )
    try:
        return docker.tls.TLSConfig(**given), said
    except _ERRORS as error:
        raise _unusable(said, error) from error


def _tls_of_environment() -> tuple[Any, Said | None]:
    """By DOCKER_TLS_VERIFY and DOCKER_CERT_PATH, as docker-py reads them."""
    folder, verify = os.environ.get("DOCKER_CERT_PATH"), os.environ.get("DOCKER_TLS_VERIFY")
    if not folder and not verify:
        return None, None
    said = Said("DOCKER_CERT_PATH", folder) if folder else Said("DOCKER_TLS_VERIFY", verify)
    where = folder or os.path.join(os.path.expanduser("~"), ".docker")
    check_files(said, [os.path.join(where, name) for name in ("cert.pem", "key.pem", "ca.pem")])
    try:
        return docker.utils.kwargs_from_env().get("tls"), said
    except _ERRORS as error:
        raise _unusable(said, error) from error


def _unused_context(connection: Connection) -> Iterator[str]:
    """What the command ``docker`` would follow, and docker-py does not."""
    if connection.address.by_environment or connection.is_configured:
        return
    chosen = docker.utils.config.load_general_config().get("currentContext")
    context = os.environ.get("DOCKER_CONTEXT") or chosen
    if context and context != "default":
        yield (
            f"The Docker context {context!r} is not used here, but {DEFAULT_URL}; to use another "
            "Engine, set DOCKER_HOST to its address (docker context inspect shows it)"
        )


def _given(arguments: Mapping[str, object], name: str) -> list[object]:
    return [arguments[name]] if arguments.get(name) else []


def _tls_context(said: Said | None, tls: Any) -> ssl.SSLContext:
    """What docker-py makes of a `docker.tls.TLSConfig`: without ``verify`` nothing is checked."""
    authority = tls.ca_cert if tls.verify and tls.ca_cert else tls.verify
    try:
        context = ssl.create_default_context()
        if not authority:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        elif authority is not True:
            folder = os.path.isdir(authority)
            context = ssl.create_default_context(
                cafile=None if folder else authority, capath=authority if folder else None
            )
        if tls.cert:
            certificate, key = tls.cert
            context.load_cert_chain(certificate, key, _no_password)
    except _ERRORS as error:
        raise _unusable(said or Said("tls_config", None), error) from error
    return context


def _no_password() -> str:
    """OpenSSL would ask for it at the terminal, and wait."""
    raise ValueError("the key is encrypted, and there is nobody to ask for its password")


def _headers(connection: Connection, options: Mapping[str, object]) -> dict[str, str]:
    """Headers of each request: ``HttpHeaders`` of config.json, and who we are."""
    agent = options.get("user_agent", docker.constants.DEFAULT_USER_AGENT)
    more = docker.utils.config.load_general_config().get("HttpHeaders") or {}
    return {"User-Agent": str(agent), **{str(name): str(value) for name, value in more.items()}}


def _version(connection: Connection, options: Mapping[str, object]) -> str | None:
    version = options.get("version")
    if version is None or version == "auto":
        return None
    if not isinstance(version, str) or not re.fullmatch(r"\d+\.\d+", version):
        raise _refused(connection, 'version is one of the API, such as "1.41", or "auto"')
    return version


def _proxy(base: str) -> str | None:
    """The URL of a proxy that the environment names for this way, or None."""
    scheme, host = urlsplit(base).scheme, urlsplit(base).netloc
    if urllib.request.proxy_bypass(host):
        return None
    return urllib.request.getproxies().get(scheme)


def _refused(connection: Connection, why: str) -> ConfigError:
    shown = without_password(connection.url)
    hint = f"no way to the Engine at {shown!r}: {why.replace(connection.url, shown)}"
    options = dict(connection.options)
    if "base_url" in options:
        options["base_url"] = shown
    return ConfigError("client_kwargs", options, hint)


def _unusable(said: Said, error: Exception) -> ConfigError:
    return ConfigError(said.field, said.value, f"it cannot be used: {error}")
