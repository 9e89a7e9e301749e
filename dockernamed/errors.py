"""Every error that dockernamed raises, as one tree.

::

    DockerNamedError
    ├── ConfigError            the admin's settings cannot work (also a ValueError)
    │   └── TemplateError      a template names an unknown field or reaches too far
    ├── OptionsError           a user's options are not allowed → HTTP 400
    ├── LimitReached           what may be in use at once is in use → HTTP 429
    ├── EngineError            the Docker Engine refused, failed or did not answer
    │   ├── EngineUnavailable  it cannot be reached, or the connection broke: try again
    │   ├── EngineTimeout      no answer within the deadline: the work may be done even so
    │   ├── NotFound           404: no such container, image, volume or network
    │   ├── Conflict           409: the object is in another state than the call needs
    │   │   └── NameTaken      409 at create: the name belongs to another container
    │   ├── BadRequest         400 and other 4xx: the call itself can never work
    │   │   └── CallNotAllowed 403 of a proxy before the Engine: it does not let the call through
    │   ├── NotAManager        503: it manages no Swarm, so there are no services
    │   └── EngineFailed       5xx: the Engine tried and failed
    │       └── NotRunningYet  a server is to run, but does not yet, or it is not told where
    ├── ImageError             an image is not available
    │   ├── ImageMissing       not present, and the pull policy does not allow pulling it
    │   └── PullFailed         the pull failed; the message is the registry's
    ├── ForeignObject          a name that is needed belongs to somebody else
    ├── VolumeOutOfReach       files are on a node of the Swarm that runs no servers now → HTTP 503
    └── ServerFailed           the server did not come up; it has what the server wrote
        ├── CommandFailed      a command that was run in its container failed
        ├── ServerDied         the container ended before its server answered
        ├── NeverRan           no node of the Swarm ran it in time
        ├── WrongServer        something answers, but not as this server
        └── ServerSilent       the container runs, but its server did not answer in time

Messages are written for the person who can act on them. They name the field, the value and
what would have worked. ``str(error)`` is all of it, for the Hub's log; `DockerNamedError.public`
is what anybody may read who may start the server, be they no admin and not its owner.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

#: Settings whose values are no secrets, so that messages show them. No message to users shows the
#: value of any other setting, unless it is a number, a truth value or nothing at all.
SHOWN = frozenset(
    {
        *("cmd", "default_url", "host_ip", "hub_id", "image", "ip", "name_template"),
        *("network_name", "notebook_dir", "port", "prefix", "pull_policy", "readiness"),
        *("cpu_limit", "gid", "mem_guarantee", "mem_limit", "supplemental_gids", "uid"),
        *("allow_unsafe", "cap_add", "cap_drop", "devices", "hardening", "memswap_limit"),
        *("gpu_devices", "network_isolation", "shm_size", "storage_opt", "ulimits"),
        *("endpoint_mode", "generic_resources", "placement_constraints", "placement_preferences"),
        *("restart_policy", "JupyterHub.hub_ip", "JupyterHub.internal_ssl"),
    }
)
#: Settings of free text that may be secrets. Of what is wrong in them, even what we say about it
#: may quote it: users are told the name of the setting alone.
PRIVATE = frozenset(
    {
        *("args", "client_kwargs", "environment", "extra_create_kwargs", "extra_host_config"),
        "extra_service_spec",
        *("mounts", "post_start_cmd", "read_only_volumes", "registry_credentials"),
        *("secret_environment", "secret_files", "server_volume", "tls_config", "volumes"),
        *("common_options", "group_overrides", "profile_list"),
    }
)
#: What the Engine or the way to it may say that quotes nothing.
_HARMLESS = re.compile(
    r"no space left on device|disk quota exceeded|cannot allocate memory|all ports are allocated|"
    r"address already in use|No such image|no (whole )?answer within [\d.]+ s|Connection refused|"
    r"No such file or directory$|executable file not found in \$PATH|"
    r"bind source path does not exist|no suitable node( \([^()]*\))?|"
    r"assigned node no longer meets constraints|unhealthy container|"
    r"the node that it ran on (is down|was drained|has left the Swarm)|"
    r"its (container|service) was removed by somebody else|it was stopped from outside"
)
IN_THE_LOG = "the Hub's log has the whole story"


def shown(words: str) -> str:
    """What people are told of a backend's words: as much as quotes nothing that it was sent."""
    known = _HARMLESS.search(words)
    return known[0] if known else IN_THE_LOG


# The beginning of what a message calls the field: "mounts[0]", "mounts (by profile 'gpu')".
_SETTING = re.compile(r"(?:c\.)?(?:DockerNamedSpawner\.)?(JupyterHub\.\w+|\w+)")


def setting_of(field: str) -> str:
    """The setting that a `ConfigError` is about, without what stands for a part of it."""
    found = _SETTING.match(field)
    return found[1] if found else field


def shows(setting: str, value: object) -> bool:
    """Whether a message to anybody may have the value of a setting."""
    return setting in SHOWN or value is None or isinstance(value, (bool, int, float))


class DockerNamedError(Exception):
    """Root of the tree; catch it to catch everything that dockernamed raises on purpose."""

    @property
    def public(self) -> str:
        """What anybody may read: no value that may be a secret, and nobody else's words."""
        return str(self)


class ConfigError(DockerNamedError, ValueError):
    """A setting cannot work.

    Args:
        field: the setting's name, as in ``c.DockerNamedSpawner.<field>``.
        value: what it was set to.
        hint: what would have worked, as one sentence.
    """

    def __init__(self, field: str, value: object, hint: str) -> None:
        self.field, self.value, self.hint = field, value, hint
        super().__init__(f"{field} = {_short(value)}: {hint}")

    @property
    def public(self) -> str:
        """The setting and what would have worked; the value where it cannot be a secret."""
        setting = setting_of(self.field)
        if setting in PRIVATE:
            return f"the setting {setting} cannot work as it is; {IN_THE_LOG}"
        return str(self) if shows(setting, self.value) else f"{self.field}: {self.hint}"


class TemplateError(ConfigError):
    """A template such as ``"{username}"`` cannot be expanded."""


class OptionsError(DockerNamedError):
    """A user's options are not allowed; becomes HTTP 400 before anything is created.

    Args:
        field: path of the option, such as ``image`` or ``profile_options.cpu``.
        value: what was sent.
        hint: what is wrong, or what is expected there.
        choices: the values that this user may send there, if they can be listed.
    """

    def __init__(
        self, field: str, value: object, hint: str, choices: Iterable[object] | None = None
    ) -> None:
        self.field, self.value, self.hint = field, value, hint
        self.choices = None if choices is None else list(choices)
        message = f"{field} = {_short(value)}: {hint}"
        if self.choices is not None:
            listed = ", ".join(_short(choice) for choice in self.choices)
            message += f"; choose from: {listed}" if listed else "; there is nothing to choose from"
        super().__init__(message)


class LimitReached(DockerNamedError):
    """A limit leaves no room for one more server just now; becomes HTTP 429.

    Args:
        setting: the limit, such as ``max_total_memory``.
        value: of that, as text.
        in_use: what is in use, in words, with nothing in it that only other users may know.
        hint: when there is room again, as one sentence without its full stop.
        log: what only the admin is to know; "" for nothing.
    """

    def __init__(self, setting: str, value: str, in_use: str, hint: str, log: str = "") -> None:
        self.setting, self.value, self.in_use, self.hint = setting, value, in_use, hint
        self.log = log
        super().__init__(f"{setting} = {value}: {in_use}. {hint}")


class EngineError(DockerNamedError):
    """The Docker Engine refused, failed or could not be reached.

    Args:
        action: what it was asked to do, such as ``"create container jupyter-ann"``.
        message: the Engine's own words.
        status: the HTTP status, or None if there was no answer.
    """

    def __init__(self, action: str, message: str, status: int | None = None) -> None:
        self.action, self.message, self.status = action, message, status
        answer = "" if status is None else f" ({status})"
        super().__init__(f"Docker Engine: cannot {action}{answer}: {message}")

    @property
    def public(self) -> str:
        """What it was asked to do, and the status; its words may quote what it was sent."""
        action = re.sub(r"\bvolume .+", "a volume", self.action, flags=re.DOTALL)
        answer = "" if self.status is None else f" ({self.status})"
        known = _HARMLESS.search(self.message)
        return f"Docker Engine: cannot {action}{answer}{f': {known[0]}' if known else ''}"


class EngineUnavailable(EngineError):
    """The Engine cannot be reached, or the connection broke before the whole answer came."""


class EngineTimeout(EngineError):
    """No answer within the deadline. The Engine may have done the work: look before repeating."""


class NotFound(EngineError):
    """404: the object does not exist (any more)."""


class Conflict(EngineError):
    """409: the object is in a state in which this call cannot be done."""


class NameTaken(Conflict):
    """The name given at create is in use (Docker: 409; Podman: 500 "is already in use by")."""


class BadRequest(EngineError):
    """The Engine rejects the request itself as wrong; repeating it cannot help."""


class CallNotAllowed(BadRequest):
    """Something in front of the Engine, such as a proxy, does not let the call through.

    The message is "… does not allow" the call, and what that is for.
    """

    @property
    def public(self) -> str:
        """All of it, but for what refused the call, in whose words anything may be quoted."""
        refused = "".join(self.message.rpartition("does not allow")[1:])
        return f"{super().public}: something in front of it {refused}"


class NotAManager(EngineError):
    """The Engine is no manager of a Swarm; the message says what to do about it."""

    @property
    def public(self) -> str:
        """With the reason, which quotes nothing."""
        return f"{super().public}: it is not a manager of a Swarm"


class EngineFailed(EngineError):
    """5xx: the Engine tried and failed."""


class NotRunningYet(EngineFailed):
    """A server is to run, but does not yet, or it is not told where."""


class ImageError(DockerNamedError):
    """An image is not available.

    Args:
        image: the reference as the admin or user wrote it.
        message: why; from the registry or the Engine if it gave a reason.
    """

    def __init__(self, image: str, message: str) -> None:
        self.image, self.message = image, message
        super().__init__(f"image {_short(image)}: {message}")


class ImageMissing(ImageError):
    """The image is not on the Engine, and the pull policy does not allow pulling it."""


class PullFailed(ImageError):
    """The pull was tried and failed."""


class ForeignObject(DockerNamedError):
    """A name that is needed is used by an object that is not ours.

    Args:
        kind: ``"container"``, ``"service"``, ``"volume"`` or ``"network"``.
        name: the name in question.
        owner: who owns it, in words.
        hint: which setting to change, as one sentence.
    """

    def __init__(self, kind: str, name: str, owner: str, hint: str) -> None:
        self.kind, self.name, self.owner, self.hint = kind, name, owner, hint
        super().__init__(f"{kind} {_short(name)} belongs to {owner}: {hint}")

    @property
    def public(self) -> str:
        """Without whose it is; volumes without their names, which are values of settings."""
        name = "" if self.kind == "volume" else f" {_short(self.name)}"
        return f"{self.kind}{name} belongs to somebody else ({IN_THE_LOG}): {self.hint}"


class VolumeOutOfReach(DockerNamedError):
    """A server's files are where it cannot run now; becomes HTTP 503.

    Args:
        volume: the volume's name.
        where: ``on the node n2, which is down``.
        way_out: what to do to have the server start, as one sentence without its full stop.
        config: name of the Swarm's config that says where the volume is.
    """

    def __init__(self, volume: str, where: str, way_out: str, config: str) -> None:
        self.volume, self.where, self.way_out, self.config = volume, where, way_out, config
        super().__init__(
            f"volume {_short(volume)} is {where}: {way_out}. To go on without the files there, let "
            f"the Swarm forget where it is: docker config rm {config}"
        )

    @property
    def public(self) -> str:
        """Without the volume's name, which is a setting's value, and how to lose its files."""
        return f"files of the server are {self.where}: {self.way_out}"


def followed(text: str, more: str) -> str:
    """A text with a further sentence after it, if there is one."""
    if not more:
        return text
    return f"{text}{'' if text.endswith(('?', '.')) else '.'} {more}"


class ServerFailed(DockerNamedError):
    """A server that failed, and what it said.

    What it said may be the contents of its user's files, so it is no part of `public`: whoever may
    start a server of an image that prints files could read them.

    Attributes:
        summary: what happened, without anything that the server said.
        log: the last lines of its output; "" if there was none, None if nobody looked.
        words: what the backend says of why, which ends the summary; "" where it says nothing.
    """

    def __init__(self, summary: str, log: str | None, words: str = "") -> None:
        self.log, self.words = log, words
        self.summary = f"{summary}: {words}" if words else summary
        self._public = f"{summary}: {shown(words)}" if words else summary
        super().__init__(followed(self.summary, self.quoted))

    @property
    def public(self) -> str:
        """What happened; the backend's words only where they quote nothing that it was sent."""
        return self._public

    @property
    def output(self) -> str:
        """What the server said; "" if it said nothing."""
        return self.log or ""

    @property
    def quoted(self) -> str:
        """What the server said, after the summary or advice; "" if nobody looked."""
        if self.log is None:
            return ""
        return f"Its last log lines:\n{self.log}" if self.log else "Its log is empty"


class ServerDied(ServerFailed):
    """The container ended before its server gave a first answer.

    Args:
        exit_code: as the Engine reports it (137 = killed, 139 = segmentation fault, …); None where
            nobody knows one, as of what never ran or whose node is lost.
        oom: True when the kernel killed it for exceeding its memory limit.
        log: the last lines of its output; "" if there was none, None if nobody looked.
        words: what the backend says of its end; "" where it says nothing more.
    """

    def __init__(self, exit_code: int | None, oom: bool, log: str | None, words: str = "") -> None:
        self.exit_code, self.oom = exit_code, oom
        summary = "the server ended before it was ready"
        if exit_code is not None:
            summary += f", with exit code {exit_code}"
        if oom:
            summary += " (out of memory: it needed more than its memory limit)"
        super().__init__(summary, log, words)


class CommandFailed(ServerFailed):
    """A command failed that the admin has run in the container of each server that starts.

    Args:
        summary: what happened.
        log: the last lines of its output, which users' files may be in; as for `ServerFailed`.
    """

    @property
    def quoted(self) -> str:
        """What the command said."""
        return f"Its last lines:\n{self.log}" if self.log else ""


class WrongServer(ServerFailed):
    """Something answers at the server's address, again and again, but not as this server.

    Args:
        url: the URL that was requested.
        answer: what answered: status, program, first words.
        doubt: why it is not taken for the server, and what to look for; goes on after the URL.
        image: the server's; ``cmd`` and ``port`` likewise, as the settings have them.
    """

    def __init__(
        self,
        url: str,
        answer: str,
        doubt: str,
        *,
        image: str,
        cmd: Iterable[str] | None,
        port: int,
    ) -> None:
        self.url, self.answer = url, answer
        command = f"{list(cmd)}" if cmd else "None (the image's own)"
        super().__init__(
            f"{url} {doubt} Look at image = {_short(image)}, cmd = "
            f"{_cut(command)} and port = {port}; for a program that is no Jupyter server, set "
            'readiness = "http", or a path that it answers',
            None,
        )

    @property
    def output(self) -> str:
        """The answer."""
        return self.answer

    @property
    def quoted(self) -> str:
        """The answer: it may be a file of the user's, as any output."""
        return f"The answer is: {self.answer}"


class NeverRan(ServerFailed):
    """The server was not started anywhere within ``start_timeout``.

    Args:
        seconds: how long the whole start had.
        words: what the backend says of why; "" where it says nothing.
    """

    def __init__(self, seconds: float, words: str) -> None:
        self.seconds = seconds
        summary = f"the server was not running within start_timeout = {seconds:g} seconds"
        if not words:
            summary += "; is its image still being pulled where it is to run?"
        super().__init__(summary, None, words)


class ServerSilent(ServerFailed):
    """The container runs, but its server gave no answer within ``start_timeout``.

    Args:
        url: where it was asked.
        seconds: how long the whole start had.
        log: the last lines of its output; "" if there was none, None if nobody looked.
    """

    def __init__(self, url: str, seconds: float, log: str | None) -> None:
        self.url, self.seconds = url, seconds
        super().__init__(
            f"the server did not answer at {url} within start_timeout = {seconds:g} seconds; "
            "does its command start jupyterhub-singleuser, and listen on the right port?",
            log,
        )


def _short(value: object, limit: int = 200) -> str:
    """``repr``, cut to a limit: values come from users and may be of any size."""
    return _cut(repr(value), limit)


def _cut(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"
