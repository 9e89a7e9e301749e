"""Which containers this Hub made, of all those that carry its labels. Pure.

An image can carry labels, and ``docker commit`` of a container puts them into one, with all their
values. What a copy cannot have is the name: at create a container's name is written into a label,
and an Engine has each name once. So a container is an original exactly while its name is the one in
its label: ``docker run`` of a copy gives it another, and whoever renames an original takes it out
of our hands. The Hub also remembers which container the last start of a server made. So a copy that
was given the name of an original which is gone is told from it as well.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from .. import naming
from ..errors import ForeignObject
from .spec import LABEL_START


@dataclass(frozen=True, slots=True)
class Provenance:
    """What lists and events tell of where a container comes from.

    Attributes:
        id: the Engine's.
        name: its name now.
        key: whose it is by its labels; None where they do not say.
        made_as: the name in its label `naming.LABEL_CONTAINER`; "" where it has none.
        start: value of its label `LABEL_START`.
    """

    id: str
    name: str
    key: naming.Key | None
    made_as: str = ""
    start: str = ""

    @classmethod
    def read(cls, id: str, name: str, labels: Mapping[str, str]) -> Provenance:
        """Where a container with these labels comes from."""
        made_as, start = labels.get(naming.LABEL_CONTAINER, ""), labels.get(LABEL_START, "")
        return cls(id, name, naming.key_of(labels), made_as, start)

    def is_original(self, made: Mapping[str, str]) -> bool:
        """Whether a Hub made it, rather than somebody from an image that has a Hub's labels.

        Args:
            made: `LABEL_START` → id of containers that the Hub knows to have made.
        """
        if self.start in made:
            return made[self.start] == self.id
        if self.made_as:
            return self.made_as == self.name
        # Versions up to 0.1.0 wrote no name, but the label of the start.
        return bool(self.start and self.key and naming.is_name_of(self.key, self.name))


@dataclass(frozen=True)
class ServerRef:
    """Whose containers are meant: a server, and what is known beyond the containers' labels.

    Users and servers are renamed, labels are not: the ids that the Hub keeps decide first.

    Attributes:
        key: the server, as it is called now.
        own_id: id in the Hub's state: this server's container, whatever its labels say.
        others: ids of containers that are not its own, whatever their labels say: the Hub keeps
            them for other servers, or another Hub that lives has them.
        made: `LABEL_START` → id of the container that its last start made.
    """

    key: naming.Key
    own_id: str = ""
    others: Collection[str] = ()
    made: Mapping[str, str] = field(default_factory=dict)

    def has(self, found: Provenance) -> bool:
        """Whether a container is this server's: the one place where that is decided.

        The id that the Hub keeps is enough. Labels are believed of originals only.
        """
        if self.own_id and found.id == self.own_id:
            return True
        if found.key != self.key or found.id in self.others:
            return False
        return found.is_original(self.made)

    def knows(self, id: str) -> bool:
        """Whether the Hub's own state has the container, so that no label has to be believed."""
        return (bool(id) and id == self.own_id) or id in self.made.values()


def other_hub(api_url: str) -> str:
    """The Hub that another Hub's container says it belongs to, in words."""
    return f"another Hub that has this Hub's id and answers at {api_url}"


def of_another_hub(kind: str, name: str, api_url: str, hub: str) -> ForeignObject:
    """The refusal of a start that would take a container, or what there is, from a living Hub."""
    return ForeignObject(kind, name, other_hub(api_url), id_advice(hub))


def id_advice(hub: str) -> str:
    """What to do about two Hubs of one id."""
    return f"give one of the two an id of its own, such as c.DockerNamedSpawner.hub_id = '{hub}-2'"
