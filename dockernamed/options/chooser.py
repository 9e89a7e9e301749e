"""The choices for one server: a menu made from its settings, and the settings of a choice.

The pure modules (user_options, profiles, schema, form) take data. Here callables are called with
the spawner, and what was chosen is set on it. In order: the setting itself, JupyterHub's
``group_overrides``, the profile's override, its options', and last the plain key ``image``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from traitlets import TraitError

from ..callables import evaluated
from ..errors import ConfigError, EngineError
from ..images import registries
from ..images.allowed import AllowedImages, not_an_image
from ..timeouts import within
from ..timings import DEFAULT, Timings
from . import overrides, profile_config
from .form import Presence, images_of, presence, render
from .overrides import OVERRIDE, Layer, OverridableSettings
from .profiles import Requester
from .schema import schema
from .user_options import Choice, Menu, from_form, parse, recall, typed

#: Settings that are templates. What a user typed must not be expanded as one in them.
TEMPLATED = frozenset(
    {
        "default_url",
        "mounts",
        "name_template",
        "network_name",
        "networks",
        "notebook_dir",
        "read_only_volumes",
        "readiness",
        "server_volume",
        "volumes",
    }
)
#: Settings that name volumes. A name that was chosen is another one than the setting's.
OF_VOLUMES = frozenset(
    {
        *("mounts", "read_only_volumes", "server_volume", "volumes"),
        *("extra_create_kwargs", "extra_host_config"),
    }
)
#: Settings with texts that programs read: only names of fields are expanded there.
TEMPLATED_IN_PASSING = frozenset({"extra_create_kwargs", "extra_host_config", "extra_service_spec"})

#: Both, without what else an override may name.
TEMPLATES = OverridableSettings(frozenset(), TEMPLATED, TEMPLATED_IN_PASSING)

#: Gives the references of the images on the Engine.
ListImages = Callable[[], Awaitable[Iterable[str]]]


@dataclass(frozen=True)
class _Offer:
    """The settings about choices, each callable among them called once."""

    allowed_images: Any
    profile_list: Any
    common_options: Any

    @property
    def aliases(self) -> Mapping[Any, Any]:
        """Alias → reference of the images, for whoever may choose them."""
        return profile_config.image_aliases(self.allowed_images)


class Chooser:
    """What the owner of one server may choose.

    Args:
        spawner: its settings, ``user``, ``user_options`` and ``log`` are used; callables among the
            settings get it.
        list_images: asked when a form is made; None: forms don't say which images are there.
        timings: how long a form waits for that.
    """

    def __init__(
        self,
        spawner: Any,
        list_images: ListImages | None = None,
        timings: Timings = DEFAULT,
    ) -> None:
        self._spawner, self._list_images, self._timings = spawner, list_images, timings

    async def menu(self) -> Menu:
        """What may be chosen now.

        Raises:
            ConfigError: the settings cannot work.
        """
        return self._menu(await self._offer())

    def _menu(self, offer: _Offer) -> Menu:
        groups = frozenset(group.name for group in self._spawner.user.groups)
        requester = Requester(self._spawner.user.name, groups)
        images, labels = profile_config.images_seen(offer.allowed_images, requester)
        overridable = overridable_settings(self._spawner)
        catalogue = profile_config.read(offer.profile_list, offer.common_options, overridable)
        return Menu(AllowedImages(images), catalogue.seen_by(requester), overridable, labels)

    async def form(self) -> str:
        """The options form, or "" if there is nothing to choose."""
        offer = await self._offer()
        menu = self._menu(offer)
        if menu.empty:
            return ""
        saved, note = recall(self._spawner.user_options, menu)
        if note:
            self._spawner.log.warning("Saved options of %s: %s", self._spawner._log_name, note)
        # In a thread: templates are files.
        return await asyncio.to_thread(
            render,
            menu,
            user_options=saved,
            note=note,
            default_image=_aliased(self._spawner.image, offer.aliases),
            present=await self._presence(),
            template_paths=self._spawner.additional_profile_form_template_paths,
            template=self._spawner.profile_form_template,
        )

    async def from_form(self, fields: Mapping[str, object]) -> dict[str, object]:
        """The fields of a sent form, or of a link's query, as ``user_options``."""
        return from_form(fields, await self.menu())

    async def typed(self, user_options: object, *, others: bool = False) -> list[str]:
        """The options of a link whose values were typed, see `user_options.typed`."""
        return typed(user_options, await self.menu(), others=others)

    async def schema(self) -> dict[str, Any]:
        """The JSON Schema of what may be sent."""
        return schema(await self.menu(), f"user_options of {self._spawner.user.name}")

    async def apply(self, user_options: object, *, others: bool = False) -> Choice:
        """Check the options that were sent, and apply them to the spawner's settings.

        Args:
            user_options: what was sent.
            others: further keys are left to the admin's own hooks.

        Raises:
            OptionsError: it may not be chosen.
            ConfigError: the settings cannot work.
        """
        offer = await self._offer()
        choice = parse(user_options, self._menu(offer), others=others)
        default_image = self._spawner.image
        self._spawner.image = _aliased(self._spawner.image, offer.aliases)
        volumes: dict[str, str] = {}
        for layer in choice.layers:
            for name, value in layer.settings.items():
                given = await self._override(layer, name, value, offer.aliases)
                if name in OF_VOLUMES:
                    volumes |= dict.fromkeys(overrides.texts(given), layer.chosen)
        if choice.image is not None:
            self._spawner.image = choice.image
        unknown = self._registry_unknown(choice, offer, default_image)
        return replace(choice, volumes=volumes, registry_unknown=unknown)

    def _registry_unknown(self, choice: Choice, offer: _Offer, default_image: str) -> bool:
        """Whether only the user knows the registry of the image; refuse one that is not allowed."""
        field, asked = "", choice.options.get("image")
        if choice.image is not None:
            field = "image" if offer.allowed_images == "*" else ""
        elif named := [layer for layer in choice.layers if "image" in layer.settings]:
            field, asked = named[-1].field, named[-1].asked
        if not field:
            return False
        credentials = self._spawner.registry_credentials
        hosts = [f"{host}/" for host in credentials] if isinstance(credentials, Mapping) else []
        images = () if offer.allowed_images == "*" else offer.allowed_images
        profiles = [offer.profile_list, offer.common_options]
        known = registries.registries_in(default_image, images, profiles, hosts)
        allowed = registries.read(self._spawner.allowed_registries)
        return not registries.check_allowed(field, asked, self._spawner.image, allowed, known)

    async def _override(
        self, layer: Layer, name: str, value: Any, aliases: Mapping[Any, Any]
    ) -> Any:
        """Set one setting; returns the value that the layer gave."""
        value = await self._evaluated(name, value)
        current = getattr(self._spawner, name)
        if isinstance(value, Mapping):
            current = await self._evaluated(name, current)
        if name == "image" and not layer.field:
            value = _aliased(value, aliases)
        try:
            setattr(self._spawner, name, overrides.merged(current, value))
        except (TraitError, ValueError, TypeError) as error:
            raise layer.refused(name, value, str(error)) from error
        return value

    async def _evaluated(self, setting: str, value: Any) -> Any:
        """A setting's value, or what its callable returns."""
        if not callable(value):
            return value
        names = (self._spawner.user.name, self._spawner.name)
        made = await evaluated(value, self._spawner)
        return overrides.with_names_shielded(setting, made, names, TEMPLATES)

    async def _presence(self) -> Presence:
        if self._list_images is None:
            return lambda image: None
        try:
            listed = await within(self._timings.list_images, self._list_images())
        except (EngineError, asyncio.TimeoutError) as error:
            self._spawner.log.warning("The form cannot say which images are there: %s", error)
            return lambda image: None
        return presence(listed)

    async def _offer(self) -> _Offer:
        """The settings about choices as they are when a server starts, evaluated once.

        That is with the overrides of the user's groups, which JupyterHub applies at a start only.
        Applying them twice changes nothing.
        """
        groups = await self._group_overrides()
        names = ("allowed_images", "profile_list", "common_options")
        return _Offer(*[await self._setting(name, groups) for name in names])

    async def _setting(self, name: str, groups: Iterable[Mapping[str, Any]]) -> Any:
        value = getattr(self._spawner, name)
        for entry in groups:
            override = entry.get(OVERRIDE, {})
            if name in override:
                value = overrides.merged(value, await evaluated(override[name], self._spawner))
        return await evaluated(value, self._spawner)

    async def _group_overrides(self) -> list[Mapping[str, Any]]:
        found = await evaluated(self._spawner.group_overrides, self._spawner)
        mine = {group.name for group in self._spawner.user.groups}
        return [found[key] for key in sorted(found) if mine & set(found[key]["groups"])]


def _aliased(image: Any, aliases: Mapping[Any, Any]) -> Any:
    """The reference that an alias stands for; anything else as it is."""
    return aliases.get(image, image) if isinstance(image, str) else image


def overridable_settings(spawner: Any) -> OverridableSettings:
    """What a choice can override, of such a spawner."""
    names = frozenset(spawner.trait_names(config=True))
    return OverridableSettings(names, TEMPLATED, TEMPLATED_IN_PASSING)


def images(spawner: Any) -> list[str]:
    """Every image that anybody can choose, and the default one, as far as known at the Hub's start.

    Args:
        spawner: one made of the Hub's configuration, with no user: callables are not asked.

    Raises:
        ConfigError: the settings cannot work.
    """
    profiles, common, allowed = (
        None if callable(value) else value
        for value in (spawner.profile_list, spawner.common_options, spawner.allowed_images)
    )
    overridable = overridable_settings(spawner)
    catalogue = profile_config.read(profiles or [], common or {}, overridable)
    aliases = profile_config.image_aliases(allowed)
    menu = Menu(AllowedImages(aliases or allowed), catalogue, overridable)
    named = {spawner.image, *images_of(menu)}
    return sorted({str(aliases.get(image, image)) for image in named})


def problems(
    spawner: Any, check: Callable[[str, object], object] = lambda name, value: None
) -> list[ConfigError]:
    """What cannot work in the settings about choices, as far as known when the Hub starts.

    Args:
        spawner: one made of the Hub's configuration, with no user.
        check: looks at a value of the right type that overrides a setting; raises ConfigError.

    Returns:
        Errors that say where it is, and what would work.
    """
    traits = spawner.traits()

    def accepts(name: str, value: Any) -> None:
        whole = value
        if isinstance(value, Mapping):
            whole = overrides.merged(getattr(spawner, name), value)
        traits[name]._validate(spawner, whole)
        check(name, value)

    known = [
        {} if callable(value) else value for value in (spawner.profile_list, spawner.common_options)
    ]
    overridable = replace(overridable_settings(spawner), check=accepts)
    found = profile_config.problems(known[0], known[1], overridable)
    found += overrides.problems_of_groups(spawner.group_overrides, overridable)
    if not callable(spawner.allowed_images):
        try:
            profile_config.images_seen(spawner.allowed_images, Requester(""))
            aliases = profile_config.image_aliases(spawner.allowed_images)
            AllowedImages(aliases or spawner.allowed_images)
        except ConfigError as error:
            found.append(error)
        else:
            found += [] if found else _image_problems(spawner, known, overridable)
    return found


def _image_problems(
    spawner: Any, known: Sequence[Any], overridable: OverridableSettings
) -> list[ConfigError]:
    """The default image, and those of profiles, that are neither an alias nor a reference."""
    aliases = profile_config.image_aliases(spawner.allowed_images)
    catalogue = profile_config.read(known[0], known[1], overridable)
    named = [("image", spawner.image)]
    chosen = images_of(Menu(AllowedImages(None), catalogue, overridable))
    named += [("profile_list", image) for image in sorted(set(chosen))]
    found = []
    for setting, image in named:
        hint = "" if image in aliases else not_an_image(image, [str(one) for one in aliases])
        if hint:
            found.append(ConfigError(setting, image, hint))
    return found
