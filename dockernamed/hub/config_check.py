"""The configuration as a whole, when the Hub starts: what cannot work in it, and what nobody reads.

What is found here would otherwise be an error page for each user, or would never be noticed.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import jinja2
from traitlets import TraitError
from traitlets.config import Config

from .. import naming, templates
from ..desired.isolation import check_further, check_internal, isolation
from ..desired.mounts import check_targets
from ..desired.network import check_reachable
from ..desired.proof import checked_readiness
from ..desired.volumes import RequestedVolumes, requested_volumes
from ..engine.connection import route_to
from ..engine.trust import ENVIRONMENT
from ..errors import ConfigError, TemplateError
from ..images import credentials
from ..lifecycle.further import AT_CREATE, FOR_HOST, further
from ..lifecycle.hardened import AMOUNTS, amount, wants_internal_network
from ..lifecycle.resolver import words_of
from ..lifecycle.secrets import problem_of
from ..options import chooser
from ..options.unread import OURS, unread_lines
from . import hardening_check, quota_check, sample, swarm_settings_check
from .config_types import (
    Configured,
    Fault,
    configured,
    example,
    fault_of,
    literal,
    names_in,
    reason,
    shown,
)
from .sample import Check

_VOLUME_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+")


@dataclass(frozen=True)
class Findings:
    """What the check of a configuration found.

    Attributes:
        settings: a spawner without a user, made of all lines of the right types.
        faults: lines that cannot work.
        unread: lines that nobody reads, as sentences.
        notes: what is allowed, but should be known, as sentences.
    """

    settings: Any
    faults: list[Fault]
    unread: list[str]
    notes: list[str]

    @property
    def fatal(self) -> list[str]:
        """What ends the Hub: with ``strict_config`` also the lines that nobody reads."""
        return [*map(str, self.faults), *(self.unread if self.settings.strict_config else ())]


def check_config(
    spawner_class: Any, config: Config, hub: Any, *, only_our_fields: bool = True
) -> Findings:
    """Check all that can be known of a configuration without asking anybody.

    Args:
        spawner_class: the class of which the Hub makes spawners.
        config: the whole configuration.
        hub: JupyterHub's object with the addresses of the Hub.
        only_our_fields: the spawner has no template fields of its own.
    """
    bare = spawner_class(config=Config())
    read = [name for name in spawner_class.section_names() if "Configurable" not in name]
    settable = bare.traits(config=True)
    known = {name: one for name, one in configured(config, read).items() if name in settable}
    wrong = {name: fault for name, one in known.items() if (fault := fault_of(one, bare))}
    right = {name: one.value for name, one in known.items() if name not in wrong}
    settings = spawner_class(config=Config({spawner_class.__name__: Config(right)}))
    errors = _errors(settings, _fields(settings, only_our_fields), hub)
    faults = [*wrong.values(), *(_fault(error, known, settings) for error in errors)]
    sections = {name: names_in(config, name) for name in config if isinstance(config[name], Config)}
    unread = list(unread_lines(sections, read, settable))
    return Findings(settings, faults, unread, _engine_notes(settings))


def _fields(settings: Any, only_ours: bool) -> Mapping[str, str]:
    fields = sample.fields_of(settings)
    return fields if only_ours else _AnyField(fields)


class _AnyField(dict[str, str]):
    """Has every field: those of a subclass are not known without a user."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return name


def _errors(settings: Any, fields: Mapping[str, str], hub: Any) -> Iterator[ConfigError]:
    of_swarm = swarm_settings_check.BY_NAME if swarm_settings_check.in_swarm(settings) else {}
    checks: tuple[Check, ...] = (*_CHECKS, *of_swarm.values(), partial(_hub, hub))
    for check in checks:
        try:
            check(settings, fields)
        except ConfigError as error:
            yield error

    allowed = hardening_check.allowed_anywhere(settings)

    def overriding(name: str, value: object) -> None:
        rest = {"allow_unsafe": allowed, "connection": settings.connection}
        if name in AMOUNTS:
            # As the setting will have it: bytes for "2G".
            value = settings.traits()[name]._validate(settings, value)
        changed = SimpleNamespace(**{**rest, name: value})
        for by_name in (_BY_NAME, hardening_check.BY_NAME, of_swarm):
            if name in by_name:
                by_name[name](changed, fields)
        quota_check.overriding(settings, name, value)

    yield from chooser.problems(settings, overriding)


def _fault(error: ConfigError, known: Mapping[str, Configured], settings: Any) -> Fault:
    """An error as the line that it is about."""
    name = error.field.partition("[")[0].partition(" ")[0]
    if name in ENVIRONMENT:
        return Fault(name, literal(error.value), error.hint)
    if "." in name:
        return Fault(f"c.{name}", literal(error.value), error.hint)
    section = known[name].section if name in known else OURS
    traits = settings.traits(config=True)
    overridden = re.search(r"\['(\w+)'\]$", error.field)
    is_override = overridden is not None and overridden[1] in traits
    line = f"c.{section}.{error.field}"
    value = shown(overridden[1] if overridden and is_override else name, error.value)
    if overridden and is_override:
        name, section = overridden[1], OURS
    trait, cause = traits.get(name), error.__cause__
    # Such a hint has a line already, or there is none that works.
    if trait is None or "c." in error.hint or "leave it out" in error.hint:
        return Fault(line, value, error.hint)
    wrong_type = isinstance(cause, TraitError)
    why = reason(trait, cause) if isinstance(cause, TraitError) else error.hint
    works = example(f"c.{section}.{name}", trait, settings, error.value if wrong_type else None)
    return Fault(line, value, why, works)


# --- each check --------------------------------------------------------------------------------


def _prefix(settings: Any, fields: Mapping[str, str]) -> None:
    naming.object_name(sample.KEY, prefix=settings.prefix)


def _name_template(settings: Any, fields: Mapping[str, str]) -> None:
    template = settings.name_template
    try:
        naming.object_name(sample.KEY, prefix=settings.prefix, template=template)
    except TemplateError:
        raise
    except ConfigError:  # the prefix, which is told by `_prefix`
        naming.object_name(sample.KEY, template=template)


def _template(name: str, settings: Any, fields: Mapping[str, str]) -> None:
    templates.expand_all(getattr(settings, name), fields, field=name)


def _arguments(name: str, settings: Any, fields: Mapping[str, str]) -> None:
    value = getattr(settings, name)
    if callable(value):
        return
    found = further(*((value, {}) if name == AT_CREATE else ({}, value)), fields)
    _check_names(name, requested_volumes(fields, binds=found.binds, api_mounts=found.mounts))


def _files(name: str, settings: Any, fields: Mapping[str, str]) -> None:
    _check_names(name, requested_volumes(fields, **{name: getattr(settings, name)}))


def _check_names(name: str, requested: RequestedVolumes) -> None:
    for one in requested.all:
        if one.is_named_volume and not _VOLUME_NAME.fullmatch(one.mount.source):
            hint = "a volume's name is two or more of a-z, A-Z, 0-9, '_', '.' and '-', the first "
            raise ConfigError(name, one.mount.source, f"{hint}a letter or digit")


def _targets(settings: Any, fields: Mapping[str, str]) -> None:
    values = {name: getattr(settings, name) for name in _FILES if name != "server_volume"}
    try:
        requested = requested_volumes(fields, **values)
    except ConfigError:
        return  # told by `_files`
    check_targets([one.mount for one in requested.mounts])


def _host_ip(settings: Any, fields: Mapping[str, str]) -> None:
    try:
        ipaddress.ip_address(settings.host_ip or "127.0.0.1")
    except ValueError:
        hint = "expected an IP address: Docker publishes ports at no names"
        raise ConfigError("host_ip", settings.host_ip, hint) from None


def _readiness(settings: Any, fields: Mapping[str, str]) -> None:
    value = templates.expand_all(str(settings.readiness), fields, field="readiness")
    checked_readiness(value)


def _post_start(settings: Any, fields: Mapping[str, str]) -> None:
    value = settings.post_start_cmd
    if isinstance(value, str) and "{value}" in value:
        hint = "in a list what a user types stays one word: use a list of program and arguments"
        raise ConfigError("post_start_cmd", value, hint)
    if not callable(value):
        words_of(value)


def _amount(name: str, settings: Any, fields: Mapping[str, str]) -> None:
    value = getattr(settings, name)
    if not callable(value):
        amount(name, value)


def _memory(settings: Any, fields: Mapping[str, str]) -> None:
    limit, guarantee = settings.mem_limit, settings.mem_guarantee
    if guarantee and limit and not callable(limit) and guarantee > limit:
        hint = f"it is more than mem_limit = {limit}, which the Engine refuses"
        raise ConfigError("mem_guarantee", guarantee, hint)


def _form_template(settings: Any, fields: Mapping[str, str]) -> None:
    try:
        jinja2.Environment(autoescape=True).parse(settings.profile_form_template)
    except jinja2.TemplateSyntaxError as error:
        hint = f"Jinja cannot read it: line {error.lineno}: {error.message}"
        raise ConfigError("profile_form_template", settings.profile_form_template, hint) from None


def _engine(settings: Any, fields: Mapping[str, str]) -> None:
    """An address in DOCKER_HOST that leads nowhere is waited for: it is no line of the
    configuration. What the environment says of a way that is not to be trusted ends the Hub.
    """
    connection = settings.connection()
    try:
        route_to(connection)
        float(connection.deadline)
    except ConfigError as error:
        if settings.client_kwargs or settings.tls_config or error.field in ENVIRONMENT:
            raise


def _engine_notes(settings: Any) -> list[str]:
    try:
        return list(route_to(settings.connection()).notes)
    except ConfigError:
        return []  # told by `_engine`


def _isolation(settings: Any, fields: Mapping[str, str]) -> None:
    """Where the Hub runs is asked later: what holds for all places."""
    name = settings.network_name
    swarm = settings.resolver_class.overlay
    scope = isolation(settings.network_isolation, name, beside=False, swarm=swarm)
    if scope != "none":
        check_internal(wants_internal_network(settings), settings.use_internal_ip)


def _further_networks(settings: Any, fields: Mapping[str, str]) -> None:
    names = templates.expand_all(list(settings.networks), fields, field="networks")
    check_further(getattr(settings, "network_name", ""), names)


def _hub(hub: Any, settings: Any, fields: Mapping[str, str]) -> None:
    told = settings.hub_connect_url or hub.connect_ip or hub.connect_url
    if not told and settings.network_name != "host":
        check_reachable(hub.ip)


def _secrets(name: str, settings: Any, fields: Mapping[str, str]) -> None:
    problem_of(name, getattr(settings, name))


def _credentials(settings: Any, fields: Mapping[str, str]) -> None:
    credentials.check(settings.registry_credentials)


_FILES = ("server_volume", "volumes", "read_only_volumes", "mounts")
_PLAIN = sorted(chooser.TEMPLATED - {"name_template", *_FILES})
#: Checks that look at one setting, by its name: they count for overrides of it, too.
_BY_NAME: Mapping[str, Check] = {
    **{name: partial(_template, name) for name in _PLAIN},
    **{name: partial(_amount, name) for name in AMOUNTS},
    **{name: partial(_arguments, name) for name in (AT_CREATE, FOR_HOST)},
    **{name: partial(_files, name) for name in _FILES},
    **{name: partial(_secrets, name) for name in ("secret_environment", "secret_files")},
    credentials.SETTING: _credentials,
    "host_ip": _host_ip,
    "networks": _further_networks,
    "post_start_cmd": _post_start,
    "readiness": _readiness,
}
_CHECKS: tuple[Check, ...] = (
    _prefix,
    _name_template,
    *_BY_NAME.values(),
    *hardening_check.CHECKS,
    _targets,
    _memory,
    _isolation,
    _form_template,
    _engine,
    *quota_check.CHECKS,
)
