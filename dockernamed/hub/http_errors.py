"""Our errors as HTTP errors, as JupyterHub shows them in pages and over REST."""

from __future__ import annotations

import logging
import random
import re
import shlex
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from jupyterhub import spawner
from tornado import web

from .. import errors
from ..desired.entrypoint import SHELL
from ..lifecycle.redact import masked, secrets_in, without
from .asker import may_read_output

LOG = logging.getLogger("dockernamed.errors")
T = TypeVar("T")

# Read here, since nothing may read a file while the event loop waits.
_LOADER = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
_PAGE = jinja2.Environment(loader=_LOADER, autoescape=True).get_template("message.html")

#: HTTP status and reason of an error, by the first class that fits.
STATUS: tuple[tuple[type[errors.DockerNamedError], int, str], ...] = (
    (errors.OptionsError, 400, "options"),
    (errors.LimitReached, 429, "throttled"),
    (errors.ConfigError, 500, "config"),
    (errors.ImageError, 500, "image"),
    (errors.ForeignObject, 409, "foreign"),
    (errors.ServerDied, 500, "died"),
    (errors.CommandFailed, 500, "post start"),
    (errors.WrongServer, 500, "wrong server"),
    (errors.ServerSilent, 500, "timeout"),
    (errors.VolumeOutOfReach, 503, "engine"),
    (errors.NeverRan, 500, "timeout"),
    (errors.EngineUnavailable, 503, "engine"),
    (errors.DockerNamedError, 500, "engine"),
)

#: What the Engine says of a command that it cannot run.
_NO_PROGRAM = re.compile(r"executable file not found|exec: .*: (no such file|permission denied)")

#: Pattern in the Engine's message, the setting that it is about ("" for none), what would work.
HINTS: tuple[tuple[str, str, str], ...] = (
    (
        r"no space left on device|disk quota exceeded",
        "",
        "The Engine's host is full: free some space, for example with docker system prune",
    ),
    (
        r"cannot allocate memory",
        "",
        "The Engine's host has no memory left: stop some servers, or lower their mem_limit",
    ),
    (
        r"all ports are allocated",
        "",
        "The Engine's host has no free port left: stop some servers, or set network_name to a "
        "network of your own, from which no ports are published",
    ),
    (
        r"port is already allocated|address already in use",
        "extra_host_config",
        "another program uses that port of the Engine's host; name another port in port_bindings, "
        "or none to get a free one",
    ),
    (
        r"non-overlapping|address pools have been fully subnetted",
        "network_isolation",
        "the Engine has no range of addresses left for one more network: write "
        '"default-address-pools": [{"base": "10.200.0.0/16", "size": 26}] into '
        "/etc/docker/daemon.json and restart Docker, which gives 1,024 networks of 61 servers, or "
        'set network_isolation = "hub", which needs one network for all',
    ),
    (
        r"no available (IPv\d )?addresses",
        "network_name",
        "all addresses of that network are in use; stop some servers, or make a larger network: "
        "docker network create --subnet 10.99.0.0/16 NAME",
    ),
    (
        r"inimum memory limit allowed",
        "mem_limit",
        "the Engine requires more; set at least that minimum, or None for no limit",
    ),
    (
        r"inimum memory reservation allowed|less than memory reservation",
        "mem_guarantee",
        "set at least the Engine's minimum and at most mem_limit, or None",
    ),
    (
        r"looking up volume plugin",
        "mounts",
        "the Engine has no such volume driver; install it (docker plugin install), or leave "
        "out driver_config for local volumes",
    ),
    (
        r"while mounting volume|failed to mount local volume",
        "mounts",
        "the volume's driver could not mount it; check the options in driver_config, and that its "
        "storage exists",
    ),
    (
        r"storage[- ]opt",
        "storage_opt",
        "the Engine's storage driver cannot do that; set {} for no limit, or give the Engine a "
        "disk where it can, such as xfs mounted with pquota for overlay2",
    ),
    (
        r"device information|not a device node",
        "devices",
        "the Engine's host has no such device; name one that it has",
    ),
    (
        r"[Mm]emoryswap limit",
        "memswap_limit",
        "it is a limit of memory and swap together: set at least mem_limit, or None",
    ),
    (
        r"[Uu]limit|setting rlimit",
        "ulimits",
        "the Engine does not let a container have that; set at most what the Engine itself has",
    ),
    (
        r"log[- ]opt|logging (driver|plugin)",
        "log_config",
        "the Engine's log driver does not take that; leave log_config out for the Engine's own",
    ),
    (
        r"nvidia-container-cli: device error|unknown device",
        "gpu_devices",
        "the Engine's host has no such GPU; list those that nvidia-smi -L shows there",
    ),
    (
        r"could not select device driver|unresolvable CDI devices|CDI device injection failed",
        "",
        "The Engine's host has no support for the devices that gpus or device_requests in "
        "extra_host_config asks for; for GPUs install NVIDIA's container toolkit there, and "
        "restart the Engine",
    ),
    (
        _NO_PROGRAM.pattern,
        "cmd",
        "the image has no such command; name one that it has and that starts the server, such as "
        '["jupyterhub-singleuser"], or None for the image\'s own',
    ),
    (
        r"desc = (constraint expected|key '|value ')",
        "extra_service_spec",
        "its constraints are written as in placement_constraints, such as node.role==worker",
    ),
    (
        r"Range of CPUs is from",
        "cpu_limit",
        "set at most as many as a node has, or None for no limit",
    ),
    (
        r"no (whole )?answer within",
        "",
        "An Engine that takes requests and answers nothing may be deadlocked, as Docker before 23 "
        "can be while many containers are removed: restart it (docs/troubleshooting.md). Managers "
        "of a Swarm answer nothing for a while when they have lost most of the others",
    ),
    (
        # The last is what a leader says that does not know yet that it is alone.
        r"does not have a leader|lost leader status|DeadlineExceeded",
        "",
        "So many managers of the Swarm are away, or too slow, that the others can change nothing: "
        "servers run on, and start again once more than half of the managers answer "
        "(docs/swarm.md)",
    ),
    (
        r"No such image|image not known",
        "image",
        "it is no longer on the Engine; start again, and the image is pulled if pull_policy "
        "allows it",
    ),
)

#: The same for what a Swarm says of a task that does not run.
TASK_HINTS: tuple[tuple[str, str, str], ...] = (
    (
        r"No such image",
        "image",
        "the node has no such image, and could not pull it: name it with a registry that all nodes "
        "reach, and set registry_credentials where that wants some, or load it on each node",
    ),
    (
        r"insufficient resources",
        "",
        "No node has as much free as is set aside for one server: stop some servers, lower "
        "mem_guarantee, cpu_guarantee or generic_resources, or add a node",
    ),
    (
        r"host-mode port already in use",
        "",
        "Another service has that port on each node that would do: leave it to the Swarm which "
        "port is published, or add a node",
    ),
    (
        r"missing plugin",
        "",
        "No node has the driver of volumes (mounts), logs (log_config) or networks that is asked "
        "for: install it on the nodes (docker plugin install), or leave it out",
    ),
    (
        r"no longer meets constraints",
        "",
        "Its node was changed meanwhile: it lost a label or a part of its memory. With "
        "generic_resources any change counts, such as a network's first server on the node: "
        "docs/swarm.md says how to keep networks on all nodes",
    ),
    (
        r"unhealthy container",
        "",
        "The health check that extra_service_spec or extra_create_kwargs gives it has failed: "
        "leave it out, or give the server more time with Interval, Retries and StartPeriod",
    ),
    (
        r"unsupported platform",
        "image",
        "no node can run it: it is made for other processors; take one that is made for the nodes'",
    ),
    (
        r"scheduling constraints not satisfied",
        "",
        "No node is as placement_constraints asks for, or the one is away that has the server's "
        "volume: see docker node ls and docker node inspect, and label a node (docker node update "
        "--label-add) or start it again",
    ),
    (
        r"not available for new tasks",
        "",
        "The nodes are down, drained or paused: see docker node ls, and start them again, or take "
        "them into service (docker node update --availability active NODE)",
    ),
    (
        r"bind source path does not exist",
        "mounts",
        "a directory of the host must exist on each node where the server may run: make it there, "
        "or mount a volume",
    ),
    (
        rf'exec: "{SHELL}"',
        "private_tokens",
        f"the image has no {SHELL}, which hands the server its tokens; set False, and they are in "
        "the service's configuration",
    ),
)

#: The same for a registry's message.
PULL_HINTS: tuple[tuple[str, str, str], ...] = (
    (
        r"unauthorized|authentication required|no basic auth|access.*denied|denied: |\b401\b",
        "",
        "The registry wants other credentials, or has no such image: check the reference, and set "
        "c.DockerNamedSpawner.registry_credentials, or log in with docker login as the account "
        "that the Hub runs as",
    ),
    (
        r"no such host|connection refused|i/o timeout|Timeout exceeded|request canceled|"
        r"no route to host|not complete within pull_timeout",
        "",
        "The registry did not answer the Engine's host: check its name and port, and the network "
        "and proxy of that host",
    ),
)

#: Exit codes of a shell and of the Engine for a command that cannot be run.
_NO_COMMAND = (126, 127)
#: That of what was killed by SIGKILL.
_KILLED = 137
#: What a server writes that finds another name in the Hub's certificate.
_NO_TRUST = re.compile(r"CERTIFICATE_VERIFY_FAILED.*(mismatch|not valid for)", re.I)
#: What a server writes that does not reach the Hub.
_NO_HUB = re.compile(
    r"Cannot connect to host|Failed to connect to my Hub|Error connecting to .*/hub/api", re.I
)


class _Told:
    """What an error says, which depends on who reads it: see `asker`.

    JupyterHub reads these attributes of an error in the request in which it shows it.
    """

    _text: str
    _said: errors.ServerFailed | None
    _server: tuple[str, str]

    @property
    def jupyterhub_message(self) -> str:
        """As plain text."""
        return errors.followed(self._text, self._output)

    @property
    def jupyterhub_html_message(self) -> str:
        """As HTML: a server's log line by line."""
        log = self._said.log if self._said else None
        if log and may_read_output(*self._server):
            return _PAGE.render(text=self._text, log=log)
        return _PAGE.render(text=self.jupyterhub_message, log="")

    @property
    def _output(self) -> str:
        if self._said is None or not self._said.quoted:
            return ""
        if not self._said.output or may_read_output(*self._server):
            return self._said.quoted
        user, _ = self._server
        return f"What it said is shown to {user or 'its owner'}, and to who may access it"

    def __str__(self) -> str:
        # JupyterHub 5 puts this on the page with the form, JupyterHub 6 into its log alone.
        made_for_it = isinstance(self, getattr(spawner, "SpawnException", ()))
        return self._text if made_for_it else self.jupyterhub_message


class _ToldByTornado(_Told):
    """A `_Told` for JupyterHub 5, which takes its REST answer from what tornado would log."""

    @property
    def log_message(self) -> str:
        """A pattern for ``%`` without any fields."""
        return self.jupyterhub_message.replace("%", "%%")

    @log_message.setter
    def log_message(self, pattern: str) -> None:
        """What tornado sets is in our text already."""


@cache
def _start_failed(base: type[Exception]) -> Any:
    """The class of our errors, made of JupyterHub's."""
    told = _ToldByTornado if base is web.HTTPError else _Told
    return type("StartFailed", (told, base), {"__doc__": "A start failed; the Hub is told."})


def http_error(
    error: errors.DockerNamedError,
    settings: object = None,
    command: Iterable[str] = (),
    secrets: Iterable[str] = (),
) -> web.HTTPError:
    """The error to raise instead: what of it who may read. All of it goes into the Hub's log.

    Args:
        error: what went wrong.
        settings: those of the server that was to be started; the message gets advice then.
        command: what its container runs, as far as known.
        secrets: of its environment and files, as far as known, which no message has.
    """
    status, reason = next(
        (status, reason) for kind, status, reason in STATUS if isinstance(error, kind)
    )
    hidden = frozenset((*secrets, *_secrets(settings)))
    advice = advice_on(error, settings, tuple(command))
    text = error.public
    wait = seconds_to_wait(settings) if isinstance(error, errors.LimitReached) else 0
    if wait:
        text += f", or try again in {wait} seconds"
    if advice:
        text = errors.followed(text, advice)
    elif isinstance(error, errors.EngineError) and str(error) != text:
        text += f"; {errors.IN_THE_LOG}"
    text = masked(without(text, hidden))
    _log_whole(error, text, settings, hidden)
    made_for_it = getattr(spawner, "SpawnException", None)  # new in JupyterHub 6
    found: Any = (
        _start_failed(made_for_it)(text, reason=reason, status_code=status)
        if made_for_it
        else _start_failed(web.HTTPError)(status, text)
    )
    user, server = getattr(settings, "user", None), str(getattr(settings, "name", ""))
    found._text, found._server = text, (str(getattr(user, "name", "")), server)
    found._said = error if isinstance(error, errors.ServerFailed) else None
    if wait:
        found.headers = {"Retry-After": str(wait)}
    return found  # type: ignore[no-any-return]


def seconds_to_wait(settings: object) -> int:
    """When to try again, as JupyterHub spreads it where too many servers start at once.

    Args:
        settings: as for `http_error`; JupyterHub's ``spawn_throttle_retry_range`` counts.
    """
    hub = getattr(getattr(settings, "user", None), "settings", None) or {}
    low, high = hub.get("spawn_throttle_retry_range", (30, 60))
    return max(1, round(random.uniform(low, high)))  # noqa: S311  # no secret


def _secrets(settings: object) -> Iterator[str]:
    yield from secrets_in(getattr(settings, "api_token", ""), "token")
    for name in sorted(errors.PRIVATE):
        yield from secrets_in(getattr(settings, name, None))


def _log_whole(
    error: errors.DockerNamedError, told: str, settings: object, secrets: Iterable[str]
) -> None:
    """Tell the log what people are not told: the Engine's own words, values of settings."""
    whole = str(error)
    cause = error.__cause__
    if isinstance(cause, errors.DockerNamedError) and str(cause) not in whole:
        whole += f" (because: {cause})"
    quiet = isinstance(error, (errors.OptionsError, errors.LimitReached))
    if whole != told and not quiet:
        text = masked(without(whole, secrets)).replace("\n", "\n    | ")
        LOG.error("%s: %s", getattr(settings, "_log_name", "a server"), text)


def advice_on(error: errors.DockerNamedError, settings: object, command: tuple[str, ...]) -> str:
    """What would help, as far as the error and the settings tell; "" if nothing does.

    Args:
        error: what went wrong.
        settings: as for `http_error`.
        command: likewise.
    """
    if settings is None:
        return ""
    if isinstance(error, errors.EngineError):
        if command and _NO_PROGRAM.search(error.message):
            return _advice_on_end(_NO_COMMAND[-1], settings, command)
        return hint(error.message, partial(getattr, settings))
    if isinstance(error, errors.PullFailed):
        return hint(error.message, partial(getattr, settings), PULL_HINTS)
    found = ""
    if isinstance(error, errors.ServerFailed):
        found = hub_advice(error.log or "", settings)
        found = found or _advice_on_task(error.words, settings, command)
    if not found and isinstance(error, errors.ServerDied) and not (error.words or error.oom):
        found = _advice_on_end(error.exit_code, settings, command)
    return found


def _advice_on_task(words: str, settings: object, command: tuple[str, ...]) -> str:
    value_of = partial(_value, settings)
    found = hint(words, value_of, TASK_HINTS)
    if not found and command and _NO_PROGRAM.search(words):
        return _advice_on_end(_NO_COMMAND[-1], settings, command)
    return found or hint(words, value_of)


def _value(settings: object, name: str) -> object:
    return getattr(settings, name, None)


def hub_advice(log: str, settings: object) -> str:
    """What to look at when a server's log says that it does not reach the Hub; "" if it does not.

    Args:
        log: the last lines of its output.
        settings: as for `http_error`.
    """
    if _NO_TRUST.search(log):
        url = getattr(settings, "hub_connect_url", None) or "its address"
        return (
            f"The Hub at {url} has no certificate for that host: name it in "
            'c.JupyterHub.trusted_alt_names, as "DNS:name" or "IP:address", and set '
            "c.JupyterHub.recreate_internal_certs = True for one start, while no server runs"
        )
    if not _NO_HUB.search(log):
        return ""
    url = getattr(settings, "hub_connect_url", None) or "its address"
    return (
        f"The server cannot reach the Hub at {url}: let containers through the host's firewall, "
        'have the Hub listen for them (c.JupyterHub.hub_ip = "0.0.0.0"), or name the address at '
        "which they reach it in c.DockerNamedSpawner.hub_connect_url"
    )


def _advice_on_end(code: int | None, settings: object, command: tuple[str, ...]) -> str:
    image = getattr(settings, "image", "")
    runs = f" runs {shlex.join(command)}" if command else ""
    if code == 0:
        what = f"The image {image!r}{runs}, which ended by itself"
    elif code in _NO_COMMAND:
        what = f"The image {image!r}{runs}, which cannot be run there"
    elif code == _KILLED and (limit := _value(settings, "mem_limit")):
        why = "it was killed, as happens to what needs more memory than that; allow it more"
        return str(errors.ConfigError("mem_limit", limit, why))
    else:
        return ""
    return (
        f"{what}: set c.DockerNamedSpawner.cmd to a command that the image has and that starts "
        'the server, such as ["jupyterhub-singleuser"]'
    )


async def as_http_error(work: Awaitable[T], settings: object = None) -> T:
    """Do it, and raise what goes wrong as a `http_error` with the same settings."""
    try:
        return await work
    except errors.DockerNamedError as error:
        raise http_error(error, settings) from error


def hint(
    message: str,
    value_of: Callable[[str], object],
    hints: Iterable[tuple[str, str, str]] = HINTS,
) -> str:
    """What to do about the Engine's own words, which name neither a setting nor a way out.

    Args:
        message: the Engine's.
        value_of: setting → the value that it has for this server; told where that is no secret.
        hints: a table such as `HINTS`.

    Returns:
        "" if there is no advice for this message.
    """
    for pattern, setting, words in hints:
        if not re.search(pattern, message):
            continue
        if not setting:
            return words
        if errors.shows(setting, value_of(setting)):
            return str(errors.ConfigError(setting, value_of(setting), words))
        return f"The setting {setting}: {words}"
    return ""
