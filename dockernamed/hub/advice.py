"""What would help against an error: told from the Engine's words, exit codes and servers' logs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable
from functools import partial

from .. import errors
from ..desired.entrypoint import SHELL

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


def advice_on(error: errors.DockerNamedError, settings: object, command: tuple[str, ...]) -> str:
    """What would help, as far as the error and the settings tell; "" if nothing does.

    Args:
        error: what went wrong.
        settings: those of the server that was to be started; None: nobody knows them.
        command: what its container runs; empty: nobody knows.
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
        settings: of the server.
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
