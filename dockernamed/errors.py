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
    │   └── EngineFailed       5xx: the Engine tried and failed
    ├── ImageError             an image is not available
    │   ├── ImageMissing       not present, and the pull policy does not allow pulling it
    │   └── PullFailed         the pull failed; the message is the registry's
    ├── ForeignObject          a name that is needed belongs to somebody else
    └── ServerFailed           the server did not come up; it has what the server wrote
        ├── ServerDied         the container ended before its server answered
        ├── WrongServer        something answers, but not as this server
        └── ServerSilent       the container runs, but its server did not answer in time

Messages are written for the person who can act on them. They name the field, the value and
what would have worked.
"""

from __future__ import annotations

from collections.abc import Iterable


class DockerNamedError(Exception):
    """Root of the tree; catch it to catch everything that dockernamed raises on purpose."""


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
    """Something in front of the Engine, such as a proxy, does not let the call through."""


class EngineFailed(EngineError):
    """5xx: the Engine tried and failed."""


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
        kind: ``"container"``, ``"volume"`` or ``"network"``.
        name: the name in question.
        owner: who owns it, in words.
        hint: which setting to change, as one sentence.
    """

    def __init__(self, kind: str, name: str, owner: str, hint: str) -> None:
        self.kind, self.name, self.owner, self.hint = kind, name, owner, hint
        super().__init__(f"{kind} {_short(name)} belongs to {owner}: {hint}")


class ServerFailed(DockerNamedError):
    """A server that failed, and what it said.

    Attributes:
        summary: what happened, without its log.
        log: the last lines of its output; "" if there was none, None if nobody looked.
    """

    def __init__(self, summary: str, log: str | None) -> None:
        self.summary, self.log = summary, log
        super().__init__(f"{summary}{self.quoted}")

    @property
    def quoted(self) -> str:
        """The log as it follows the summary, or advice; "" if nobody looked."""
        if self.log is None:
            return ""
        end = "" if self.summary.endswith(("?", ".")) else "."
        return f"{end} Its last log lines:\n{self.log}" if self.log else f"{end} Its log is empty"


class ServerDied(ServerFailed):
    """The container ended before its server gave a first answer.

    Args:
        exit_code: as the Engine reports it (137 = killed, 139 = segmentation fault, …).
        oom: True when the kernel killed it for exceeding its memory limit.
        log: the last lines of its output; "" if there was none, None if nobody looked.
    """

    def __init__(self, exit_code: int, oom: bool, log: str | None) -> None:
        self.exit_code, self.oom = exit_code, oom
        summary = f"the server ended before it was ready, with exit code {exit_code}"
        if oom:
            summary += " (out of memory: it needed more than its memory limit)"
        super().__init__(summary, log)


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
            f"{url} {doubt} The answer is: {answer}. Look at image = {_short(image)}, cmd = "
            f"{_cut(command)} and port = {port}; for a program that is no Jupyter server, set "
            'readiness = "http", or a path that it answers',
            None,
        )


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
