"""What a configuration sets for the spawner: read as traitlets would, and judged one by one.

traitlets itself reads a configuration only when a spawner is made, and gives up at the first value
that a setting does not take.
"""

from __future__ import annotations

import contextlib
import difflib
import re
import shlex
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

from jupyterhub.traitlets import ByteSpecification
from traitlets import Dict, Enum, HasTraits, Integer, List, TraitError, TraitType, Unicode, Union
from traitlets.config import Config
from traitlets.config.loader import DeferredConfig, LazyConfigValue

from ..errors import ConfigError

#: Settings whose values may be secrets, so that no message shows them.
SECRET = frozenset({"environment", "registry_credentials", "secret_environment", "secret_files"})
_BYTES = 'expected a number of bytes, or text such as "512M" with K, M, G or T at its end'
#: What traitlets says around the reason, and of the value, which we show ourselves.
_AROUND = re.compile(
    r"^(?:The value of )?(?:[Tt]he |Element of the )?'(?P<name>\w+)' trait of an? \w+ instance |"
    r", (?:not the \w+ .*|but a value of .* was specified)$",
    re.DOTALL,
)
_EXAMPLE = re.compile(r"Example:\s*`(.+?)`", re.DOTALL)
_PLURALS = {Unicode: "strings", Integer: "whole numbers", Dict: "dicts"}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt])?(?:i?b)?\s*", re.IGNORECASE)


@dataclass(frozen=True)
class Configured:
    """One setting in a configuration.

    Attributes:
        section: the section that counts: ``c.SECTION.NAME``.
        name: of the setting.
        value: what it is set to.
    """

    section: str
    name: str
    value: Any


@dataclass(frozen=True)
class Fault:
    """One line of a configuration that cannot work.

    Attributes:
        line: what it sets, ``c.SECTION.NAME``.
        value: what to, as shown.
        why: what is wrong with it.
        example: a line that works, or "".
    """

    line: str
    value: str
    why: str
    example: str = ""

    def __str__(self) -> str:
        shown = f"{self.line} = {self.value}: {self.why}"
        return f"{shown}; for example {self.example}" if self.example else shown


def configured(config: Config, sections: list[str]) -> dict[str, Configured]:
    """What a configuration sets in some sections, of which later ones win."""
    found: dict[str, Configured] = {}
    for section in sections:
        for name in names_in(config, section):
            found[name] = Configured(section, name, config[section][name])
    return found


def names_in(config: Config, section: str) -> list[str]:
    """The names that a configuration sets in a section; those of sections within it left out."""
    values = config.get(section, {})  # never config[section], which would make the section
    return [name for name, value in values.items() if not isinstance(value, Config)]


def fault_of(one: Configured, spawner: HasTraits) -> Fault | None:
    """What is wrong with the value of a setting, if something is.

    Args:
        one: a setting that the spawner has.
        spawner: made without any configuration.
    """
    trait = spawner.traits()[one.name]
    value = resolved(one, spawner)
    try:
        trait._validate(spawner, value)
    except Exception as error:  # TraitError, and whatever a validator stumbles over
        line = f"c.{one.section}.{one.name}"
        works = example(line, trait, spawner, value)
        return Fault(line, shown(one.name, value), reason(trait, error), works)
    return None


def resolved(one: Configured, spawner: HasTraits) -> Any:
    """The value of a setting, where it was appended to, or came from the command line, too."""
    if isinstance(one.value, LazyConfigValue):
        return one.value.get_value(getattr(spawner, one.name))
    if isinstance(one.value, DeferredConfig):
        return one.value.get_value(spawner.traits()[one.name])
    return one.value


def shown(name: str, value: object, limit: int = 200) -> str:
    """A value as one writes it in jupyterhub_config.py, cut to a limit; never a secret."""
    if name in SECRET:
        return f"<{type(value).__name__}>"
    text = literal(value)
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def literal(value: object) -> str:
    """``repr``, but with the quotes of our documents where they can be told from the text."""
    if isinstance(value, str) and '"' not in value and "\\" not in repr(value):
        return f'"{value}"'
    if type(value) is list:
        return f"[{', '.join(map(literal, value))}]"
    if type(value) is dict:
        return f"{{{', '.join(f'{literal(k)}: {literal(v)}' for k, v in value.items())}}}"
    return repr(value)


def example(line: str, trait: TraitType[Any, Any], spawner: HasTraits, value: Any) -> str:
    """A line that works: what was probably meant, or the example of the setting's description."""
    for meant in () if trait.name in SECRET else _meant(trait, value):
        with contextlib.suppress(Exception):  # what a validator stumbles over is not it
            trait._validate(spawner, meant)
            return f"{line} = {literal(meant)}"
    told = _EXAMPLE.search(trait.help or "")
    if told:
        return f"{line} = {' '.join(told[1].split())}"
    default = getattr(spawner, trait.name or "")
    return f"{line} = {literal(default)}" if isinstance(default, (str, int, float, list)) else ""


def reason(trait: TraitType[Any, Any], error: Exception) -> str:
    """Why a setting does not take a value, without the value."""
    if any(isinstance(one, ByteSpecification) for one in _kinds(trait)):
        return _BYTES
    kinds = _kinds(trait)
    if any(map(_parts, kinds)):
        # traitlets would say of a list that a list was expected.
        return f"expected {' or '.join(f'{_named(kind)}{_parts(kind)}' for kind in kinds)}"
    return _AROUND.sub("", str(error)).rstrip(".").replace("unicode string", "string")


def refused(error: TraitError, settings: HasTraits, who: str) -> ConfigError | None:
    """The error of a setting that did not take what somebody else's code gave it.

    Args:
        error: that the setting raised.
        settings: the spawner.
        who: whose code, such as ``pre_spawn_hook``.

    Returns:
        None: it is about no setting of this spawner.
    """
    # The error itself has only words, and not always the name.
    for frame, _ in traceback.walk_tb(error.__traceback__):
        found = frame.f_locals
        trait = found.get("self")
        if isinstance(trait, TraitType) and found.get("obj") is settings and "value" in found:
            return ConfigError(f"{trait.name} (by {who})", found["value"], reason(trait, error))
    return None


def _named(kind: TraitType[Any, Any]) -> str:
    return kind.info().replace("unicode string", "string")


def _parts(kind: TraitType[Any, Any]) -> str:
    """What a list or a dict of this kind has in it, behind its name; "" if that may be anything."""
    if not isinstance(kind, (List, Dict)):
        return ""
    inner = kind._trait if isinstance(kind, List) else kind._value_trait
    plural = next((many for one, many in _PLURALS.items() if isinstance(inner, one)), None)
    return f" {'of' if isinstance(kind, List) else 'whose values are'} {plural}" if plural else ""


def _kinds(trait: TraitType[Any, Any]) -> list[TraitType[Any, Any]]:
    return trait.trait_types if isinstance(trait, Union) else [trait]


def _meant(trait: TraitType[Any, Any], value: Any) -> Iterator[Any]:
    """Values that somebody may have meant who wrote this one, best first."""
    kinds = _kinds(trait)
    if isinstance(value, str):
        yield from _text_meant(kinds, value)
    if isinstance(value, (list, tuple)) and any(isinstance(kind, Dict) for kind in kinds):
        parts = [str(one).split(":") for one in value]
        if parts and all(len(part) == 2 for part in parts):
            yield dict(parts)
    if isinstance(value, Mapping) and any(isinstance(kind, List) for kind in kinds):
        yield [value]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield int(value)
        yield str(value)
    if isinstance(value, PurePath):
        yield str(value)


def _text_meant(kinds: list[TraitType[Any, Any]], text: str) -> Iterator[Any]:
    for kind in kinds:
        if isinstance(kind, ByteSpecification):
            size = _SIZE.fullmatch(text)
            if size:
                yield f"{size[1]}{size[2].upper()}" if size[2] else int(float(size[1]))
        elif isinstance(kind, Enum):
            plain = text.lower().replace("-", "")
            yield from difflib.get_close_matches(plain, kind.values or (), n=1)
        elif isinstance(kind, List):
            with contextlib.suppress(ValueError):
                yield shlex.split(text)
    for read in (int, float):
        with contextlib.suppress(ValueError):
            yield read(text)
    yield {"true": True, "yes": True, "false": False, "no": False}.get(text.lower(), text)
