"""KubeSpawner as an oracle: the same profiles and the same choice must mean the same here.

The table is generated, from a fixed seed: profile lists of all the shapes that KubeSpawner 7
documents, and for each of them user_options that it accepts. Where it accepts more than it says
(keys that nobody knows, a regex that matches the beginning only), we refuse; that is told below by
name, so that no difference is there by chance.
"""

from __future__ import annotations

import asyncio
import copy
import random
import re
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any
from unittest import mock

import pytest
from jupyterhub.traitlets import ByteSpecification
from support.examples import examples
from traitlets import Dict, Float, HasTraits, Integer, Unicode

from dockernamed.errors import OptionsError
from dockernamed.options import form, profile_config, user_options
from dockernamed.options.chooser import Chooser
from dockernamed.options.overrides import OverridableSettings

BASE: dict[str, Any] = {
    "image": "base/notebook:1",
    "default_url": "/tree",
    "environment": {"BASE": "kept", "GONE": "at first", "NESTED": {"deep": {"a": 1, "b": 2}}},
    "mem_limit": "1G",
    "cpu_limit": 0.5,
    "start_timeout": 60,
}
COMPARED = sorted(BASE)
#: Each makes a table of its own.
SEEDS = range(examples(40))


class Settings(HasTraits):
    """The settings that both sides are compared by, with KubeSpawner's types."""

    image = Unicode(BASE["image"]).tag(config=True)
    default_url = Unicode(BASE["default_url"]).tag(config=True)
    environment = Dict(copy.deepcopy(BASE["environment"])).tag(config=True)
    mem_limit = ByteSpecification(BASE["mem_limit"]).tag(config=True)
    cpu_limit = Float(BASE["cpu_limit"]).tag(config=True)
    start_timeout = Integer(BASE["start_timeout"]).tag(config=True)

    def __init__(self, profile_list: Any) -> None:
        super().__init__()
        self.profile_list = profile_list
        self.group_overrides: dict[str, Any] = {}
        self.common_options: dict[str, Any] = {}
        self.allowed_images: dict[str, Any] = {}
        self.allowed_registries = "*"  # KubeSpawner lets users name any
        self.registry_credentials: dict[str, Any] = {}
        self.user = mock.Mock(groups=[])
        self.user.name = "ann"
        self.name = ""


@pytest.fixture
def _no_kubernetes() -> Iterator[None]:
    kubespawner()
    with (
        mock.patch("kubespawner.spawner.load_config"),
        mock.patch("kubespawner.spawner.shared_client"),
    ):
        yield


pytestmark = pytest.mark.usefixtures("_no_kubernetes")


@cache
def kubespawner() -> Any:
    """The package; each worker collects this file, and one of them alone runs it."""
    return pytest.importorskip("kubespawner")


def kube(profile_list: Any) -> Any:
    """A KubeSpawner with these profiles, and no cluster."""
    spawner = kubespawner().KubeSpawner(_mock=True, profile_list=profile_list)
    for name, value in BASE.items():
        setattr(spawner, name, copy.deepcopy(value))
    return spawner


async def theirs(profile_list: Any, user_options: dict[str, Any]) -> dict[str, Any]:
    """What KubeSpawner would run."""
    spawner = kube(profile_list)
    spawner.user_options = user_options
    await spawner.load_user_options()
    return {name: getattr(spawner, name) for name in COMPARED}


async def ours(profile_list: Any, user_options: object) -> dict[str, Any]:
    """What we would run."""
    settings = Settings(profile_list)
    await Chooser(settings).apply(user_options)
    return {name: getattr(settings, name) for name in COMPARED}


class Maker:
    """Makes profile lists and choices from them, the same ones for the same seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def override(self, hint: str) -> dict[str, Any]:
        """Some settings: plain ones, callables, dicts to merge, None to remove a key."""
        selection = self.random
        environment: dict[str, Any] = {hint.upper(): hint}
        if selection.random() < 0.3:
            environment["GONE"] = None
        if selection.random() < 0.3:
            environment["NESTED"] = {"deep": {"b": None, hint: selection.randrange(9)}}
        possible: dict[str, Any] = {
            "image": f"lab/{hint}:{selection.randrange(9)}",
            "default_url": selection.choice(["/lab", "/rstudio", lambda spawner: spawner.image]),
            "environment": selection.choice([environment, lambda spawner: environment]),
            "mem_limit": selection.choice(["512M", "2G", 3 * 2**30, lambda spawner: "4G"]),
            "cpu_limit": selection.choice([0.25, 1, 2.5, lambda spawner: spawner.cpu_limit * 2]),
            "start_timeout": selection.choice([30, 90]),
        }
        names = selection.sample(sorted(possible), selection.randrange(0, 4))
        return {name: possible[name] for name in names}

    def option(self, key: str) -> dict[str, Any]:
        """One option, with choices, a free text, or both."""
        selection = self.random
        made: dict[str, Any] = {"display_name": key.title()}
        kind = selection.choice(["choices", "both", "both", "text"])
        if kind != "text":
            made["choices"] = {
                f"c{index}": {
                    "display_name": f"Choice {index}",
                    "kubespawner_override": self.override(f"{key}{index}"),
                }
                for index in range(selection.randrange(1, 4))
            }
            for choice in made["choices"].values():
                if selection.random() < 0.3:
                    choice["default"] = True
        if kind != "choices":
            made["unlisted_choice"] = {
                "enabled": True,
                "display_name": "Other",
                "validation_regex": selection.choice(["^[a-z]+/[a-z]+:[0-9]+$", "[a-z/]+:[0-9]+"]),
                "kubespawner_override": selection.choice(
                    [
                        {"image": "{value}"},
                        {"image": "quay.io/{value}", "default_url": "/{value}/{other}"},
                        {"environment": {"ASKED": "{value}", "{value}": ["{{value}}", "x{value}"]}},
                        {"environment": {"NESTED": {"deep": {"a": None}}}, "mem_limit": "3G"},
                    ]
                ),
            }
        return made

    def profiles(self) -> Any:
        """A profile list, as a list or a dict, of all the shapes there are."""
        selection = self.random
        listed: list[dict[str, Any]] = []
        for index in range(selection.randrange(1, 5)):
            name = selection.choice(["GPU {}", "Größe {}!", "r & d {}", "日本 {}", "small--{}"])
            profile: dict[str, Any] = {"display_name": name.format(index)}
            if selection.random() < 0.4:
                profile["slug"] = f"slug-{index}"
            if selection.random() < 0.3:
                profile["default"] = True
            if selection.random() < 0.8:
                profile["kubespawner_override"] = self.override(f"profile{index}")
            keys = selection.sample(["image", "size", "tool"], selection.randrange(0, 4))
            if keys:
                profile["profile_options"] = {key: self.option(key) for key in keys}
            listed.append(profile)
        shape = selection.choice(["list", "dict", "callable", "async"])
        if shape == "dict":
            keys = [f"{selection.randrange(99)}-{index}" for index in range(len(listed))]
            return dict(zip(keys, listed, strict=True))
        if shape == "callable":
            return lambda spawner: copy.deepcopy(listed)
        if shape == "async":
            return self.awaited(listed)
        return listed

    @staticmethod
    def awaited(listed: list[dict[str, Any]]) -> Any:
        """The list as an async callable gives it."""

        async def profiles(spawner: Any) -> list[dict[str, Any]]:
            return copy.deepcopy(listed)

        return profiles

    def choice(self, profiles: list[dict[str, Any]]) -> dict[str, Any]:
        """user_options that are valid for an initialized profile list."""
        selection = self.random
        profile = selection.choice(profiles)
        chosen: dict[str, Any] = {"profile": profile["slug"]}
        for key, option in profile.get("profile_options", {}).items():
            choices = list(option.get("choices", ()))
            free = option["unlisted_choice"]["enabled"]
            if choices and selection.random() < 0.6:
                chosen[key] = selection.choice(choices)
            if free and (not choices or selection.random() < 0.5):
                chosen[f"{key}--unlisted-choice"] = (
                    f"lab/{selection.choice('abc')}:{selection.randrange(9)}"
                )
        if profile is next(p for p in profiles if p.get("default")) and selection.random() < 0.3:
            del chosen["profile"]
        return chosen


async def listed(profile_list: Any) -> list[dict[str, Any]]:
    """The profiles as KubeSpawner initializes them: slugs and defaults filled in."""
    spawner = kube(profile_list)
    found = spawner._sorted_dict_values(profile_list)
    if callable(found):
        found = found(spawner)
        found = await found if not isinstance(found, list) else found
    return spawner._get_initialized_profile_list(found)  # type: ignore[no-any-return]


@pytest.mark.parametrize("seed", SEEDS)
async def test_the_same_choice_means_the_same(seed: int) -> None:
    """Image, limits, environment, URL and timeout are KubeSpawner's, whatever it accepts."""
    maker = Maker(seed)
    profile_list = maker.profiles()
    profiles = await listed(profile_list)
    for _ in range(6):
        chosen = maker.choice(profiles)
        assert await ours(profile_list, chosen) == await theirs(profile_list, chosen)


@pytest.mark.parametrize("seed", SEEDS)
async def test_no_choice_means_the_same(seed: int) -> None:
    """The defaults are KubeSpawner's; where it finds none it fails, and we refuse."""
    profile_list = Maker(seed).profiles()
    try:
        expected = await theirs(profile_list, {})
    except ValueError:
        with pytest.raises(OptionsError, match="there is no default"):
            await ours(profile_list, {})
    else:
        assert await ours(profile_list, {}) == expected


@pytest.mark.parametrize("seed", SEEDS)
async def test_slugs_and_defaults_are_the_same(seed: int) -> None:
    """Slugs, generated or given, and which profile and choices are the default."""
    profile_list = Maker(seed).profiles()
    expected = await listed(profile_list)
    menu = await Chooser(Settings(profile_list)).menu()
    assert list(menu.catalogue.profiles or ()) == [profile["slug"] for profile in expected]
    default = next(profile for profile in expected if profile.get("default"))
    assert menu.default_profile is not None
    assert menu.default_profile.slug == default["slug"]
    for profile in expected:
        read = (menu.catalogue.profiles or {})[profile["slug"]]
        for key, option in profile.get("profile_options", {}).items():
            choices = option.get("choices", {})
            first = next((name for name, one in choices.items() if one.get("default")), None)
            default_pick = read.options[key].default
            assert (default_pick.key if default_pick else None) == first
            free = read.options[key].unlisted
            assert (free is not None) == option["unlisted_choice"]["enabled"]
            if free:
                name = option["unlisted_choice"]["display_name_in_choices"]
                assert free.display_name_in_choices == name


@pytest.mark.parametrize("seed", SEEDS)
async def test_form_fields_mean_the_same(seed: int) -> None:
    """What KubeSpawner's form sends, with the fields of all profiles, is read as it reads it."""
    maker = Maker(seed)
    profile_list = maker.profiles()
    profiles = await listed(profile_list)
    menu = await Chooser(Settings(profile_list)).menu()
    for _ in range(4):
        chosen = maker.choice(profiles)
        fields = {}
        for profile in profiles:
            mine = profile["slug"] == chosen.get("profile", menu.default_profile.slug)  # type: ignore[union-attr]
            for key, option in profile.get("profile_options", {}).items():
                name = f"profile-option-{profile['slug']}--{key}"
                free = f"{key}--unlisted-choice"
                if mine and free in chosen:
                    fields[f"profile-option-{profile['slug']}--{free}"] = [chosen[free]]
                elif mine and key in chosen:
                    fields[name] = [chosen[key]]
                elif option.get("choices"):
                    fields[name] = [next(iter(option["choices"]))]
        fields["profile"] = [chosen.get("profile", menu.default_profile.slug)]  # type: ignore[union-attr]
        expected = kube(profile_list)._options_from_form(fields)
        assert user_options.from_form(fields, menu) == expected
        assert await ours(profile_list, expected) == await theirs(profile_list, expected)


@pytest.mark.parametrize("seed", SEEDS)
async def test_kubespawners_own_template_renders_the_same(seed: int) -> None:
    """Its form.html, given our variables, makes the page that it makes of its own."""
    profile_list = Maker(seed).profiles()
    profiles = [copy.deepcopy(profile) for profile in await listed(profile_list)]
    one_default(profiles)
    for profile in profiles:  # & and the like are escaped here, and not there
        profile["display_name"] = re.sub(r"[^\w ]", "", profile["display_name"])
        for option in profile.get("profile_options", {}).values():
            one_default(option.setdefault("choices", {}).values())  # as its template expects
    menu = await Chooser(Settings(profiles)).menu()
    folder = kubespawner().__path__[0] + "/templates"
    page = await asyncio.to_thread(form.render, menu, template_paths=[folder])
    expected = kube(profiles)._render_options_form(profiles)
    assert squeezed(page) == squeezed(expected)


def one_default(entries: Iterable[dict[str, Any]]) -> None:
    """Leave the mark on the first: of several, its template shows the last, but it runs that."""
    marked = [entry for entry in entries if entry.pop("default", False)]
    for entry in marked[:1]:
        entry["default"] = True


def squeezed(page: str) -> str:
    """Without white space, which its environment leaves and ours trims."""
    return re.sub(r"\s+", "", page)


STRICTER: dict[str, dict[str, Any]] = {
    "a key that nobody knows": {"profile": "a", "colour": "red"},
    "an option of another profile": {"profile": "a", "only-b": "x"},
    "a regex that matches the beginning only": {"profile": "a", "o--unlisted-choice": "ab9"},
    "a free text with no profile given, so unchecked": {"o--unlisted-choice": "NOT ALLOWED"},
    "an unknown choice beside a free text": {"profile": "a", "o": "?", "o--unlisted-choice": "ab"},
    "an empty profile": {"profile": ""},
    "an empty choice": {"profile": "a", "o": ""},
    "no choice, as null": {"profile": "a", "o": None},
}


@pytest.mark.parametrize("case", STRICTER)
async def test_where_we_are_stricter(case: str) -> None:
    """KubeSpawner takes it in silence; here it is refused, with the reason."""
    free = {"enabled": True, "validation_regex": "[a-z]+"}
    choices = {"x": {"display_name": "X"}}
    profile_list = [
        {
            "display_name": "A",
            "profile_options": {"o": {"choices": choices, "unlisted_choice": free}},
        },
        {"display_name": "B", "profile_options": {"only-b": {"choices": choices}}},
    ]
    await theirs(profile_list, STRICTER[case])
    with pytest.raises(OptionsError):
        await ours(profile_list, STRICTER[case])


def test_every_setting_of_kubespawner_is_known_or_explained() -> None:
    """An override that KubeSpawner knows is either a setting here or named with what to use."""
    from dockernamed.options.kubernetes import KUBERNETES
    from dockernamed.options.overrides import FIXED
    from dockernamed.spawner import DockerNamedSpawner

    known = set(DockerNamedSpawner.class_trait_names(config=True)) | FIXED
    asked = set(kubespawner().KubeSpawner.class_trait_names(config=True))
    assert asked - known - set(KUBERNETES) == set()


def test_the_example_of_kubespawners_help_is_accepted() -> None:
    """The profile list in the help of its setting, but for what Kubernetes alone has."""
    example = kubespawner().KubeSpawner.profile_list.help
    text = example.split("c.KubeSpawner.profile_list = ", 1)[1].split("Dict example::", 1)[0]
    kubernetes = '\'extra_resource_guarantees\': {"nvidia.com/gpu": "1"}'
    text = text.replace(kubernetes, "'cpu_limit': 1")
    profile_list = eval(f"({text})")
    names = frozenset(COMPARED)
    catalogue = profile_config.read(profile_list, {}, OverridableSettings(names))
    profile_config.check(catalogue)
    assert list(catalogue.profiles or ()) == ["demo-1", "demo-2"]
