"""What a backend is: things that can be made, started, seen and removed, each by one plain call.

The executor asks for nothing else of a backend, and undo, doubts after a lost answer, retries and
free names live there, once for every backend. So a new backend is the calls of `Things` over its
own API, with its answers as the frozen values below, and the contract suite passed.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from ..desired.accounts import Account, Directory
from ..desired.environment import Environment
from ..desired.isolation import OwnNetwork
from ..desired.network import Location
from ..desired.private import PrivateFile
from ..desired.provenance import ServerRef
from ..desired.spec import ServerSpec

__all__ = [
    "AskForHub",
    "Can",
    "Environment",
    "Executed",
    "Seen",
    "SeenNetwork",
    "SeenVolume",
    "ServerRef",
    "StartRequest",
    "Things",
    "nobody_else",
]


#: Whether a Hub that is not this one answers at the URL of an API.
AskForHub = Callable[[str], Awaitable[bool]]


async def nobody_else(api_url: str) -> bool:
    """For who cannot ask: there is no other Hub."""
    return False


class Can(str, Enum):
    """What not every backend can do."""

    #: Start a thing again that has ended, with another personal environment: `Things.renew`.
    KEEP = "keep"
    #: Put files into a thing before it starts.
    FILES = "files"
    #: Tell whom a thing runs as and whose its directories are, and give them to others.
    OWNERS = "owners"
    #: Run a command in a thing that runs: `Things.execute`.
    EXECUTE = "execute"
    #: Give a thing that was made another environment, also where its image has no shell.
    RECONFIGURE = "reconfigure"
    #: End a thing at once, rather than ask it to end first.
    KILL = "kill"
    #: Tell of a thing that it ended for want of memory.
    MEMORY = "memory"


@dataclass(frozen=True)
class StartRequest:
    """All that one start needs to know.

    Attributes:
        server: whose start.
        spec: what is wanted; with a ``process`` a container of an earlier run may do.
        env: the server's environment, tokens included.
        files: absolute path in the container → file, there before it runs.
        volume_owners: volume name → the labels that it must not contradict.
        keep_failed: leave a container in place that ends before it is ready.
        homes: absolute paths in the container where its user is expected to write; whether that
            is possible is looked at while the server starts.
    """

    server: ServerRef
    spec: ServerSpec
    env: Environment
    files: Mapping[str, PrivateFile] = field(default_factory=dict)
    volume_owners: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    keep_failed: bool = False
    homes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """One thing as the backend answered a moment ago, when it was asked.

    What is known without asking is `observed.ObservedContainer`.

    Attributes:
        id: the backend's.
        name: without a slash.
        labels: of the thing; an image's labels are among them.
        running: a process may be alive; also while it is paused or restarted.
        exit_code: of its last run; 0 where it has not ended, or a list did not tell.
        oom: that run ended because it needed more than its memory limit.
        has_run: it was started at some time, as far as a list told.
        dead: nothing runs there, but the backend may be unable to remove it.
        place: where it is reached; None where it was seen in a list.
        volumes: names of the volumes that it mounts; none where it was seen in a list.
        words: what the backend says of why it does not run; "" where it says nothing.
        pending: it is to run, but does not yet, or not again yet.
    """

    id: str
    name: str
    labels: Mapping[str, str]
    running: bool
    exit_code: int = 0
    oom: bool = False
    has_run: bool = False
    dead: bool = False
    place: Location | None = None
    volumes: tuple[str, ...] = ()
    words: str = ""
    pending: bool = False


@dataclass(frozen=True)
class Executed:
    """How a command in a thing ended: its exit code, and the end of what it wrote."""

    exit_code: int
    output: str


@dataclass(frozen=True)
class SeenVolume:
    """A volume: its name, its labels and its driver, ``local`` for the backend's own."""

    name: str
    labels: Mapping[str, str]
    driver: str = "local"


@dataclass(frozen=True)
class SeenNetwork:
    """A network.

    Attributes:
        id: the backend's.
        name: of the network.
        labels: likewise.
        gateway: address of the backend's host there, "" where it has none.
        containers: ids of those that are connected to it and run; empty where it was seen in a
            list.
    """

    id: str
    name: str
    labels: Mapping[str, str]
    gateway: str = ""
    containers: frozenset[str] = frozenset()


class Things(Protocol):
    """A backend. Each method is one request of it, or a few that belong together.

    All raise `EngineError`: `NotFound` where there is no such thing, and `EngineUnavailable`,
    `EngineTimeout` or `EngineFailed` where it is not known whether the work was done. None of them
    tries to find that out, or takes anything back.
    """

    @property
    def can(self) -> frozenset[Can]:
        """What this backend can do, of all that a backend may lack."""

    # --- things ----------------------------------------------------------------------------

    async def create(self, name: str, spec: ServerSpec, env: Environment, start_id: str) -> str:
        """Make a thing that does not run yet, and return its id.

        Args:
            name: its name.
            spec: what is wanted; of one with a ``process`` or files all that is private is handed
                over later, by `hand_over`.
            env: its environment.
            start_id: value of the label `LABEL_START` of the thing, and of volumes that are made
                along with it.

        Raises:
            NameTaken: another thing has the name.
        """

    async def connect(self, id: str, networks: Sequence[str]) -> None:
        """Connect one that has not run yet to the further networks of its spec, by their names.

        Fine where it is connected already, and where that was done when it was created.

        Raises:
            NotFound: there is no such thing or network.
        """

    async def has_shell(self, id: str) -> bool:
        """Whether a thing has what runs a ``process``."""

    async def hand_over(
        self,
        id: str,
        spec: ServerSpec,
        env: Environment,
        files: Mapping[str, PrivateFile],
        reader: Account | None,
    ) -> None:
        """Give a thing that does not run the files and the environment of a start.

        It has them once it is started; whether it has them before is the backend's own.

        All that is personal and secret: a variable that is gone from it is gone in the thing. Who
        may look at the thing's configuration, or at what it has written, finds none of it.

        Args:
            id: which.
            spec: what it was made from; without a ``process`` it is for one start, and has its
                environment already.
            env: of the start that is to come.
            files: absolute path → file.
            reader: whom it runs as; None where that is not known.
        """

    async def start(self, id: str) -> None:
        """Start it; fine when it runs already."""

    async def stop(self, id: str, grace: float) -> None:
        """Ask it to end, end it after ``grace`` seconds, and return once it has ended.

        Fine where it does not run. Of one that has ended by itself nothing of that run is left but
        what a next one needs: its exit code, and what it wrote, may not be told any more.
        """

    async def kill(self, id: str) -> None:
        """End it at once, or as soon as the backend can.

        Raises:
            Conflict: it does not run.
        """

    async def remove(self, id: str) -> None:
        """Remove it, whether it runs or not, with its anonymous volumes; fine when it is gone."""

    async def inspect(self, id_or_name: str) -> Seen:
        """Look at one."""

    async def list(self, labels: Mapping[str, str]) -> Sequence[Seen]:
        """All that have all these labels, in any state."""

    async def logs(self, id: str, tail: int) -> str:
        """The last ``tail`` lines of its output."""

    async def execute(self, id: str, command: Sequence[str], user: str, seconds: float) -> Executed:
        """Run a command in a thing that runs, to its end.

        Args:
            id: which.
            command: program and arguments; no shell reads them.
            user: in the backend's words; "" is whom the thing runs as.
            seconds: how long it may take.

        Raises:
            EngineTimeout: it has not ended by then, and may run on in the thing.
        """

    # --- whose directories -----------------------------------------------------------------

    async def account(self, id: str, spec: ServerSpec) -> Account | None:
        """Whom it runs as; None where its files do not tell.

        Args:
            id: which, whether it runs or not.
            spec: what it was made from.
        """

    async def directory(self, id: str, path: str) -> Directory | None:
        """Whose a directory is, with what is mounted there; None where it is none.

        Args:
            id: which, whether it runs or not.
            path: absolute, in it.

        Raises:
            NotFound: there is nothing at the path.
        """

    async def give(self, id: str, directories: Mapping[str, Directory]) -> None:
        """Have directories belong to somebody; what is in them stays as it is.

        Args:
            id: which; it does not run.
            directories: absolute path in it → whose it is to be. One that is missing is made.
        """

    # --- what they use ---------------------------------------------------------------------

    async def create_volume(
        self, name: str, driver: str | None, options: Mapping[str, str], labels: Mapping[str, str]
    ) -> SeenVolume:
        """Create a volume or, where it exists, return it as it is: compare the labels."""

    async def inspect_volume(self, name: str) -> SeenVolume:
        """Look at one."""

    async def remove_volume(self, name: str) -> bool:
        """Remove a volume.

        Returns:
            False where its files go later, as the machine that has them is away: from now on there
            is no such volume, `tidy` does the rest, and the log says so.

        Raises:
            Conflict: something uses it.
        """

    async def list_volumes(self, labels: Mapping[str, str]) -> Sequence[SeenVolume]:
        """All that have all these labels."""

    async def create_network(self, name: str, network: OwnNetwork) -> str:
        """Make a network for servers, and return its id.

        Raises:
            Conflict: another network has the name, or what belongs to it on the host.
        """

    async def inspect_network(self, name: str) -> SeenNetwork:
        """Look at one, by its name or its id.

        Raises:
            Conflict: several have the name.
        """

    async def members(self, network: str) -> Sequence[str]:
        """The ids of all things that are in a network, by its name, running or not."""

    async def has_network(self, id: str) -> bool:
        """Whether there is a network of this id."""

    async def is_network_gone(self, id: str) -> bool:
        """Whether there is no network of this id, and another one can be made in its place now.

        Where that takes a moment it is waited for.
        """

    async def list_networks(self, labels: Mapping[str, str]) -> Sequence[SeenNetwork]:
        """All that have all these labels."""

    async def remove_network(self, id: str) -> None:
        """Remove a network.

        Raises:
            Conflict: something is connected to it.
        """

    async def join(self, network: str, container: str) -> None:
        """Connect a container of the Engine that is asked, such as the Hub's own, to a network.

        Fine where it is connected already.

        Args:
            network: by its name.
            container: by its id.

        Raises:
            NotFound: one of them is not there.
        """

    async def leave(self, network: str, container: str) -> None:
        """Disconnect such a container from a network, by its id; fine when it is not connected."""

    # --- keeping house -----------------------------------------------------------------------

    async def tidy(self, hub: str, *, orphans: bool = True) -> None:
        """Do for a Hub what could not be done then, and take away what lost calls have left.

        Args:
            hub: the Hub's id.
            orphans: False: only do what was asked for, and take nothing away beyond that.
        """
