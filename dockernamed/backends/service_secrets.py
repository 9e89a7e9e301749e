"""What is private of a start, as secrets of a Swarm: there before it, gone with the service.

Nodes keep secrets in memory, and mount each as a file. Each has labels that say which service it is
for, so that none is left behind: those of a service go when it ends, those of a service that is
gone are found.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

from .. import naming
from ..desired.accounts import Account
from ..desired.private import PrivateFile
from ..desired.services import ServiceFile
from ..desired.spec import LABEL_START
from ..engine.swarm import Swarm
from ..errors import ConfigError, Conflict

LOG = logging.getLogger("dockernamed.secrets")

#: Label with the id of the service that a secret is for.
LABEL_SERVICE = "dockernamed.service"
#: Bytes that a secret has at most.
MAX_SECRET = 511_999
_HIDDEN = "[hidden]"
_PREFIX = "dockernamed-secret-"
#: Of a service's labels, those that its secrets have as well.
_LABELS = (naming.LABEL_HUB, naming.LABEL_USER, naming.LABEL_SERVER, LABEL_START)


class ServiceSecrets:
    """Makes and removes the secrets of a Swarm's services.

    Args:
        swarm: the Swarm.
    """

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm
        self._busy: set[str] = set()  # ids of services that are to be given secrets soon
        # By the ids of services: the names of those that may be there for them. A name is known
        # before its secret is made, and so also where no answer comes.
        self._of: defaultdict[str, set[str]] = defaultdict(set)

    def given(self, service: str) -> None:
        """Those that were made are the service's now, or never will be."""
        self._busy.discard(service)

    def note(self, info: Mapping[str, Any]) -> None:
        """Take notice of those that a service has.

        Args:
            info: ``GET /services/{id}``.
        """
        container = (info["Spec"].get("TaskTemplate") or {}).get("ContainerSpec") or {}
        found = {str(one["SecretName"]) for one in container.get("Secrets") or () if is_ours(one)}
        if found:
            self._of[str(info["ID"])] |= found

    async def make(
        self,
        service: str,
        labels: Mapping[str, str],
        files: Mapping[str, PrivateFile],
        reader: Account | None,
    ) -> list[ServiceFile]:
        """Make a secret of each file. Until `given` they are nobody's leftovers.

        Args:
            service: the id of the service that they are for.
            labels: of that; those that say whose it is become the secrets' too.
            files: absolute path → file.
            reader: whom the service runs as; None where that is not known.

        Raises:
            ConfigError: a file is too large for a secret, or empty.
        """
        for path, file in files.items():
            _check(path, file)
        own = {name: value for name, value in labels.items() if name in _LABELS}
        names = [f"{_PREFIX}{secrets.token_hex(16)}" for _ in files]
        self._busy.add(service)
        if names:
            self._of[service].update(names)
        made = await asyncio.gather(
            *(
                self._make(name, path, file, reader, {**own, LABEL_SERVICE: service})
                for name, (path, file) in zip(names, sorted(files.items()), strict=True)
            ),
            return_exceptions=True,
        )
        for one in made:
            if isinstance(one, BaseException):
                self.given(service)
                raise one
        return [one for one in made if not isinstance(one, BaseException)]

    async def _make(
        self,
        name: str,
        path: str,
        file: PrivateFile,
        reader: Account | None,
        labels: Mapping[str, str],
    ) -> ServiceFile:
        id = await self._swarm.create_secret(name, file.content, labels)
        return ServiceFile(id, name, path, *file.readable_by(reader))

    async def remove(self, service: str, but: Collection[str] = ()) -> None:
        """Remove the secrets of a service, whether it has them or not, as far as they are known.

        Args:
            service: its id.
            but: names of those that stay.
        """
        known = self._of.get(service, set())
        await asyncio.gather(*(self._remove_known(known, name) for name in known.difference(but)))
        if not known:
            self._of.pop(service, None)

    async def _remove_known(self, known: set[str], name: str) -> None:
        await self._remove_one(name)
        known.discard(name)

    async def tidy(self, hub: str) -> None:
        """Remove the secrets of a Hub that no service has.

        Args:
            hub: the Hub's id.
        """
        label = f"{naming.LABEL_HUB}={hub}"
        found = await self._swarm.list_secrets([LABEL_SERVICE, label])
        if not found:
            return
        busy = set(self._busy)  # before the look at what services have: who is done by now has all
        used = {id for ids in await self._swarm.list_services([label], secrets_of) for id in ids}
        left = {
            str(one["ID"]): str(one["Spec"]["Labels"][LABEL_SERVICE])
            for one in found
            if one["ID"] not in used and one["Spec"]["Labels"][LABEL_SERVICE] not in busy
        }
        await asyncio.gather(*map(self._remove_one, left))
        for service in set(left.values()):
            self._of.pop(service, None)

    async def _remove_one(self, id_or_name: str) -> None:
        try:
            await self._swarm.remove_secret(id_or_name)
        except Conflict as error:
            LOG.debug("%s", error)  # a service was given it meanwhile


def is_ours(reference: Mapping[str, Any]) -> bool:
    """Whether a SecretReference of a ContainerSpec is one of those that are made here."""
    return str(reference.get("SecretName")).startswith(_PREFIX)


def secrets_of(service: Mapping[str, Any]) -> list[str]:
    """The ids of the secrets that a service has."""
    container = (service["Spec"].get("TaskTemplate") or {}).get("ContainerSpec") or {}
    return [str(one.get("SecretID")) for one in container.get("Secrets") or ()]


def _check(path: str, file: PrivateFile) -> None:
    size = len(file.content)
    if 0 < size <= MAX_SECRET:
        return
    hint = f"a Swarm's secret has from 1 to {MAX_SECRET} bytes, and this has {size}"
    hint += "; take it from a volume instead" if size else ""
    raise ConfigError(f"secret_files[{path!r}]", _HIDDEN, hint)
