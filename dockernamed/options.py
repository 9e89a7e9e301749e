"""Untrusted ``user_options`` in, a frozen `Choice` out.

Guarantees:

- `parse` is the only judge: what comes from the form, from the query of a link and over REST is
  converted to one shape (`from_form`) and then judged by the same rules.
- `parse` raises `OptionsError` and nothing else, whatever is sent: any type, any depth, any size.
- A message lists what *this* user may send, never what others may.
- ``parse(choice.options, menu) == choice``: what is remembered gives the same choice again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from .errors import OptionsError
from .images import AllowedImages

IMAGE = "image"


@dataclass(frozen=True)
class Choice:
    """What a user chose, checked.

    Attributes:
        image: the reference to run, or None when the setting ``image`` decides.
        overrides: settings to override, by name, merged in order of application. A value may be a
            callable that takes the spawner.
        options: the ``user_options`` in their normal form: what to remember for the next start.
        profile: slug of the profile, or None when there are no profiles.
        label: the choice in words, for logs and pages; "" for the default.
    """

    image: str | None = None
    overrides: dict[str, object] = field(default_factory=dict)
    options: dict[str, object] = field(default_factory=dict)
    profile: str | None = None
    label: str = ""


@dataclass(frozen=True)
class Menu:
    """What one user may choose, made anew for each request from settings already evaluated."""

    images: AllowedImages = field(default_factory=lambda: AllowedImages(None))

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that this user may send."""
        return (IMAGE,) if self.images.choices or self.images.wildcard else ()


def parse(user_options: object, menu: Menu) -> Choice:
    """Judge what a user asked for.

    Args:
        user_options: as JupyterHub got it; None and ``{}`` mean the default.
        menu: what this user may choose.

    Raises:
        OptionsError: an unknown key, an unknown choice, a wrong type; it lists the valid ones.
    """
    sent = _as_object(user_options)
    check_keys(sent, menu.keys)
    if IMAGE not in sent:
        return Choice()
    wanted = sent[IMAGE]
    image = menu.images.resolve(wanted)
    return Choice(image=image, options={IMAGE: wanted}, label=str(wanted))


def _as_object(user_options: object) -> Mapping[str, object]:
    if user_options is None:
        return {}
    if not isinstance(user_options, Mapping):
        raise OptionsError("user_options", user_options, "expected an object (key → value)")
    return user_options


def check_keys(sent: Mapping[str, object], known: Sequence[str]) -> None:
    """Refuse the first key that is not known.

    Raises:
        OptionsError: naming the key, its value and the keys that are known.
    """
    for key, value in sent.items():
        if key in known:
            continue
        if key == "user_options" and isinstance(value, Mapping):
            hint = (
                "this JupyterHub takes the options themselves as the body of the request: send "
                "the inner object alone"
            )
        elif key == "display_name":
            hint = "this JupyterHub takes no display_name with the options: leave it out"
        else:
            hint = "unknown option"
        raise OptionsError(str(key), value, hint, known)


def from_form(form: Mapping[str, object], menu: Menu) -> dict[str, object]:
    """Turn form fields (or the query of a link) into the ``user_options`` of a REST call.

    Nothing is judged here, and nothing is left out that `parse` should see. A field left empty
    counts as not given.

    Args:
        form: field → list of strings, as JupyterHub hands it over.
        menu: what this user may choose.
    """
    options: dict[str, object] = {}
    for name, values in form.items():
        value = _single(values)
        if name != "_xsrf" and value != "":
            options[name] = value
    return options


def _single(values: object) -> object:
    """The one value of a field; several, or what is no text (an upload), stay for the judge."""
    if isinstance(values, Iterable) and not isinstance(values, (str, bytes, Mapping)):
        listed = list(values)
        if not listed:
            return ""
        return listed[0] if len(listed) == 1 else listed
    return values
