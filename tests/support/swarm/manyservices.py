"""All servers of one user as services of a Swarm: what Hub and managers say of them."""

from __future__ import annotations

from typing import Any, ClassVar

from dockernamed.desired.volume_records import VolumeRecord
from support.hub.dockerview import HUB, SERVER, USER
from support.hub.hubproc import Hub
from support.hub.manyservers import ManyServers
from support.hub.waiting import eventually
from support.swarm.faults import forgotten, view_of


class ManyServices(ManyServers):
    """See `ManyServers`: containers are services here, and volumes the records of these."""

    #: {0} is the service's name, {1} the server's.
    starts: ClassVar = {
        "service": ("POST", "/services/create/{0}"),
        "secret": ("POST", "/secrets/create/{1}"),
        "scale": ("POST", "/services/{0}/update/1"),
    }
    stop = ("POST", "/services/{0}/update")

    def __init__(self, hub: Hub, user: str) -> None:
        super().__init__(hub, user)
        self._view = view_of(hub)

    def make_files(self, server: str) -> None:
        """See `ManyServers.make_files`."""
        labels = {HUB: self.hub.prefix, USER: self.user, SERVER: server, "mark": "as it was"}
        record = VolumeRecord(f"{self.container(server)}.{self.hub.prefix}", labels)
        self._view.client.create_config(record.config_name, b"-", record.all_labels)

    def files(self) -> dict[str, Any]:
        """See `ManyServers.files`."""
        found = self._view.client.configs({"label": f"{USER}={self.user}"})
        records = (VolumeRecord.read(one["Spec"]["Labels"]) for one in found)
        return {one.labels[SERVER]: one.labels for one in records if one is not None}

    def agreed(self) -> list[str]:
        """See `ManyServers.agreed`: of each there is one service, with one container."""
        eventually(
            lambda: forgotten(self._view, self.hub, self.user),
            lambda left: not left,
            what="the Hub's servers are the Swarm's services",
        )
        eventually(
            lambda: [one for one in self.hub.servers(self.user).values() if not one["ready"]],
            lambda pending: not pending,
            what="the Hub is sure of them",
        )
        return sorted(self.hub.servers(self.user))

    def nothing_is_left(self) -> None:
        """See `ManyServers.nothing_is_left`."""
        self._view.emptied(self.user)
