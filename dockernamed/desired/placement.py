"""What only a service of a Swarm has: where it runs, and how it is kept running there. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

#: Values of the setting `restart_policy`.
RESTART_POLICIES = ("none", "on-failure")
#: How often at most a server is started anew within how many seconds. One that fails more often is
#: not helped by it: without a limit, a Swarm tries for ever.
RESTARTS, RESTARTS_WITHIN = 3, 300
#: Values of the setting `endpoint_mode`.
ENDPOINT_MODES = ("dnsrr", "vip")


@dataclass(frozen=True)
class ServiceSettings:
    """What a server as a Swarm service has besides that of a container.

    Attributes:
        constraints: that its node must fulfil, in the Engine's words: ``node.labels.disk==ssd``.
        preferences: node attributes over whose values servers are spread, the first one first, such
            as ``node.labels.rack``.
        generic_resources: name → how many of it are reserved, such as ``{"GPU": 1}``.
        restart_policy: one of `RESTART_POLICIES`.
        endpoint_mode: one of `ENDPOINT_MODES`.
        stop_grace: seconds between SIGTERM and SIGKILL, which Swarm must know beforehand.
        image: the reference that nodes pull, with its digest if it has one; "": the server's own.
        auth: credentials of the image's registry, as of `Engine.pull`; None: none are passed on.
        extra: changes of the whole service, in the Engine API's spelling, made at last.
    """

    constraints: tuple[str, ...] = ()
    preferences: tuple[str, ...] = ()
    generic_resources: Mapping[str, int] = field(default_factory=dict)
    restart_policy: str = "none"
    endpoint_mode: str = "dnsrr"
    stop_grace: float = 10.0
    image: str = ""
    auth: Mapping[str, str] | None = field(default=None, repr=False, compare=False)
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> Mapping[str, Mapping[str, object]]:
        """What a service was made with, in the parts that can drift: only what was set."""
        unset = ServiceSettings()
        placement = ("constraints", "preferences", "generic_resources")
        service = ("restart_policy", "endpoint_mode", "stop_grace", "extra")
        return {
            part: {
                name: getattr(self, name)
                for name in names
                if getattr(self, name) != getattr(unset, name)
            }
            for part, names in (("placement", placement), ("service", service))
        }
