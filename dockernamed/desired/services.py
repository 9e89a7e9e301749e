"""One server as the body of a Swarm service. Pure.

The body of a container, with hardening, limits, mounts and all that an admin adds, is translated
key by key (`service_keys`); so a setting means the same for both. What follows the container's body
is only what containers have not: where the task runs, and what is done when it ends.

Nodes take some texts of a service for templates (``{{.Node.Hostname}}``): environment, hostname and
mounts. All that comes from settings or users is written so that it stays what it is. Only
``extra_service_spec`` can have such templates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .. import naming
from .changes import OURS
from .environment import Environment
from .placement import RESTARTS, RESTARTS_WITHIN, ServiceSettings
from .service_extra import checked_extra, with_extra
from .service_keys import NO_HEALTH_CHECK, NS, OLDEST, Translation, left_out, put
from .service_mounts import Api
from .spec import ServerSpec, container_config

__all__ = ["OLDEST", "Api", "ServiceFile", "api_of", "left_out", "scaled", "service_body"]

#: Labels of ours that a task's container has too.
_OF_CONTAINER = (naming.LABEL_HUB, naming.LABEL_USER, naming.LABEL_SERVER)
_CONTAINER = ("TaskTemplate", "ContainerSpec")


@dataclass(frozen=True)
class ServiceFile:
    """A Swarm secret as a file in the containers of a service.

    Attributes:
        id: of the secret.
        name: of the secret.
        path: absolute, in the container.
        mode: of the file.
        uid: whose it is; ``gid`` likewise.
    """

    id: str
    name: str
    path: str
    mode: int = 0o400
    uid: int = 0
    gid: int = 0

    def to_api(self) -> dict[str, Any]:
        """The SecretReference of a ContainerSpec."""
        file = {"Name": self.path, "UID": str(self.uid), "GID": str(self.gid), "Mode": self.mode}
        return {"SecretID": self.id, "SecretName": self.name, "File": file}


def service_body(
    spec: ServerSpec,
    env: Environment,
    *,
    name: str,
    start_id: str,
    files: Iterable[ServiceFile] = (),
    api: Api = OLDEST,
) -> dict[str, Any]:
    """The body of ``POST /services/create``, and of an update, for a spec.

    It asks for no tasks: see `scaled`.

    Args:
        spec: what is wanted.
        env: the environment; as of `container_config`.
        name: the service's.
        start_id: as of `container_labels`; volumes get it too.
        files: that it is given, ``ENV_FILE`` of a spec with a ``process`` among them.
        api: version of the Engine's API: newer ones can have more in a service.

    Returns:
        A new ServiceSpec in the API's spelling.

    Raises:
        ConfigError: a service cannot have what a setting asks for. What is hardened by default is
            left out where the API has no words for it: see `left_out`.
    """
    body = container_config(spec, env, name=name, start_id=start_id)
    service = Translation.of(spec, body, api).service()
    labels = {str(key): str(value) for key, value in body["Labels"].items()}
    service.update(Name=name, Labels=labels, Mode=_mode(0))
    shown = {key: one for key, one in labels.items() if not key.startswith(OURS)}
    shown.update({key: labels[key] for key in _OF_CONTAINER if key in labels})
    put(service, (*_CONTAINER, "Labels"), shown)
    if references := [file.to_api() for file in files]:
        put(service, (*_CONTAINER, "Secrets"), references)
    _place(service, spec.service)
    # Checked again: templates have been expanded in it since, and names of users may be keys.
    return with_extra(service, checked_extra(spec.service.extra))


def scaled(service: Mapping[str, Any], replicas: int) -> dict[str, Any]:
    """A ServiceSpec for another number of tasks; one that is to run is run anew.

    A Swarm makes no new task of a service that is never restarted while an old one is still being
    stopped, or lies on a lost node, unless the task's specification has changed.

    Args:
        service: as the Engine has it.
        replicas: 1 where it is to run, 0 where it is not.
    """
    task = dict(service["TaskTemplate"])
    if replicas:
        task["ForceUpdate"] = int(task.get("ForceUpdate") or 0) + 1
    return {**service, "TaskTemplate": task, "Mode": _mode(replicas)}


def api_of(version: str) -> Api:
    """A version of the API such as ``1.41``, to compare."""
    major, _, minor = version.partition(".")
    return int(major), int(minor)


def _mode(replicas: int) -> dict[str, Any]:
    return {"Replicated": {"Replicas": replicas}}


def _place(service: dict[str, Any], settings: ServiceSettings) -> None:
    task = service["TaskTemplate"]
    task["RestartPolicy"] = {"Condition": settings.restart_policy}
    if settings.restart_policy != "none":
        task["RestartPolicy"] |= {"MaxAttempts": RESTARTS, "Window": RESTARTS_WITHIN * NS}
    task["ContainerSpec"].setdefault("StopGracePeriod", round(settings.stop_grace * NS))
    task["ContainerSpec"].setdefault("Healthcheck", NO_HEALTH_CHECK)
    put(service, ("EndpointSpec", "Mode"), settings.endpoint_mode)
    if settings.constraints:
        put(service, ("TaskTemplate", "Placement", "Constraints"), list(settings.constraints))
    if settings.preferences:
        spread = [{"Spread": {"SpreadDescriptor": one}} for one in settings.preferences]
        put(service, ("TaskTemplate", "Placement", "Preferences"), spread)
    if settings.generic_resources:
        wanted = [
            {"DiscreteResourceSpec": {"Kind": kind, "Value": count}}
            for kind, count in settings.generic_resources.items()
        ]
        put(service, ("TaskTemplate", "Resources", "Reservations", "GenericResources"), wanted)
